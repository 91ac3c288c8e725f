//! What one glusterd says to another: op-version handshake, membership, transactions (wire-protocol.md 2.8).
//!
//! Structures only. The keys of the dictionaries and the order of calls belong to glusterd.

use bytes::Bytes;

use super::define::{wire_enum, xdr_procs, xdr_structs};
use super::xdr::{DecodeError, Decoder, Encoder, Why, Xdr};
use super::{Gfid, OldDict};

xdr_procs! {
    /// Procedures of the management handshake.
    HandshakeProc in "peer" {
        Versions = 1, "VERSIONS": VersionsReq => VersionsRsp;
        VersionsAck = 2, "VERSIONS_ACK": VersionsReq => VersionsRsp;
    }
}

xdr_procs! {
    /// Procedures of membership.
    FriendProc in "peer" {
        ProbeQuery = 1, "PROBE_QUERY": ProbeReq => ProbeRsp;
        FriendAdd = 2, "FRIEND_ADD": FriendReq => FriendRsp;
        FriendRemove = 3, "FRIEND_REMOVE": UnfriendReq => UnfriendRsp;
        FriendUpdate = 4, "FRIEND_UPDATE": FriendUpdate => FriendUpdateRsp;
    }
}

xdr_procs! {
    /// Procedures of transactions, version 2.
    MgmtProc in "peer" {
        ClusterLock = 1, "CLUSTER_LOCK": ClusterLockReq => ClusterLockRsp;
        ClusterUnlock = 2, "CLUSTER_UNLOCK": ClusterUnlockReq => ClusterUnlockRsp;
        StageOp = 3, "STAGE_OP": StageOpReq => StageOpRsp;
        CommitOp = 4, "COMMIT_OP": CommitOpReq => CommitOpRsp;
    }
}

xdr_procs! {
    /// Procedures of transactions, version 3. POST_COMMIT goes out before POST_VALIDATE.
    MgmtV3Proc in "peer" {
        Lock = 1, "LOCK": V3LockReq => V3LockRsp;
        PreValidate = 2, "PRE_VALIDATE": V3PreValidateReq => V3PreValidateRsp;
        BrickOp = 3, "BRICK_OP": V3BrickOpReq => V3BrickOpRsp;
        Commit = 4, "COMMIT": V3CommitReq => V3CommitRsp;
        PostValidate = 5, "POST_VALIDATE": V3PostValidateReq => V3PostValidateRsp;
        Unlock = 6, "UNLOCK": V3UnlockReq => V3UnlockRsp;
        PostCommit = 7, "POST_COMMIT": V3PostCommitReq => V3PostCommitRsp;
    }
}

/// A uuid in this program's layout: every byte is a word of its own, 64 bytes in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WideUuid(pub Gfid);

impl From<Gfid> for WideUuid {
    fn from(uuid: Gfid) -> WideUuid {
        WideUuid(uuid)
    }
}

impl Xdr for WideUuid {
    fn encode(&self, e: &mut Encoder) {
        for byte in self.0.0 {
            e.put_u32(byte.into());
        }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<WideUuid, DecodeError> {
        let mut uuid = Gfid::NULL;
        for byte in &mut uuid.0 {
            let at = d.position();
            let word = d.u32()?;
            *byte = u8::try_from(word).map_err(|_| {
                d.error_at(
                    at,
                    Why::Unknown {
                        what: "uuid byte",
                        value: word.into(),
                    },
                )
            })?;
        }
        Ok(WideUuid(uuid))
    }
}

/// gd1_mgmt_unfriend_req. Real senders encode a [`FriendReq`] without volumes in its place, which is four zero
/// bytes longer; so does this. Both lengths are read.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs, reason = "the field names are the protocol's own")]
pub struct UnfriendReq {
    pub uuid: WideUuid,
    pub hostname: Bytes,
    pub port: i32,
}

impl Xdr for UnfriendReq {
    fn encode(&self, e: &mut Encoder) {
        self.uuid.encode(e);
        self.hostname.encode(e);
        self.port.encode(e);
        OldDict::null().encode(e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<UnfriendReq, DecodeError> {
        let uuid = Xdr::decode(d).map_err(|e| e.within("UnfriendReq.uuid"))?;
        let hostname = Xdr::decode(d).map_err(|e| e.within("UnfriendReq.hostname"))?;
        let port = Xdr::decode(d).map_err(|e| e.within("UnfriendReq.port"))?;
        if d.remaining() > 0 {
            OldDict::decode(d).map_err(|e| e.within("UnfriendReq (vols)"))?;
        }
        Ok(UnfriendReq { uuid, hostname, port })
    }
}

xdr_structs! { "peer";
    /// gd1_mgmt_probe_req.
    ProbeReq {
        uuid: WideUuid,
        hostname: Bytes,
        port: i32,
    }

    /// gd1_mgmt_probe_rsp; `op_errno` is a [`ProbeResult`].
    ProbeRsp {
        uuid: WideUuid,
        hostname: Bytes,
        port: i32,
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
    }

    /// gd1_mgmt_friend_req.
    FriendReq {
        uuid: WideUuid,
        hostname: Bytes,
        port: i32,
        vols: OldDict,
    }

    /// gd1_mgmt_friend_rsp.
    FriendRsp {
        uuid: WideUuid,
        hostname: Bytes,
        op_ret: i32,
        op_errno: i32,
        port: i32,
    }

    /// gd1_mgmt_unfriend_rsp.
    UnfriendRsp {
        uuid: WideUuid,
        hostname: Bytes,
        op_ret: i32,
        op_errno: i32,
        port: i32,
    }

    /// gd1_mgmt_friend_update.
    FriendUpdate {
        uuid: WideUuid,
        friends: OldDict,
        port: i32,
    }

    /// gd1_mgmt_friend_update_rsp.
    FriendUpdateRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
    }

    /// gf_mgmt_hndsk_req.
    VersionsReq {
        dict: OldDict,
    }

    /// gf_mgmt_hndsk_rsp; `op_errno` is 22 on success.
    VersionsRsp {
        op_ret: i32,
        op_errno: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_cluster_lock_req.
    ClusterLockReq {
        uuid: WideUuid,
    }

    /// gd1_mgmt_cluster_lock_rsp.
    ClusterLockRsp {
        uuid: WideUuid,
        op_ret: i32,
        op_errno: i32,
    }

    /// gd1_mgmt_cluster_unlock_req.
    ClusterUnlockReq {
        uuid: WideUuid,
    }

    /// gd1_mgmt_cluster_unlock_rsp.
    ClusterUnlockRsp {
        uuid: WideUuid,
        op_ret: i32,
        op_errno: i32,
    }

    /// gd1_mgmt_stage_op_req.
    StageOpReq {
        uuid: WideUuid,
        op: i32,
        buf: OldDict,
    }

    /// gd1_mgmt_stage_op_rsp.
    StageOpRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        dict: OldDict,
    }

    /// gd1_mgmt_commit_op_req.
    CommitOpReq {
        uuid: WideUuid,
        op: i32,
        buf: OldDict,
    }

    /// gd1_mgmt_commit_op_rsp; the text is last, unlike in [`StageOpRsp`].
    CommitOpRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        dict: OldDict,
        op_errstr: Bytes,
    }

    /// gd1_mgmt_v3_lock_req.
    V3LockReq {
        uuid: WideUuid,
        txn_id: WideUuid,
        op: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_lock_rsp.
    V3LockRsp {
        uuid: WideUuid,
        txn_id: WideUuid,
        dict: OldDict,
        op_ret: i32,
        op_errno: i32,
    }

    /// gd1_mgmt_v3_unlock_req.
    V3UnlockReq {
        uuid: WideUuid,
        txn_id: WideUuid,
        op: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_unlock_rsp.
    V3UnlockRsp {
        uuid: WideUuid,
        txn_id: WideUuid,
        dict: OldDict,
        op_ret: i32,
        op_errno: i32,
    }

    /// gd1_mgmt_v3_pre_val_req.
    V3PreValidateReq {
        uuid: WideUuid,
        op: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_pre_val_rsp.
    V3PreValidateRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_brick_op_req.
    V3BrickOpReq {
        uuid: WideUuid,
        op: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_brick_op_rsp.
    V3BrickOpRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_commit_req.
    V3CommitReq {
        uuid: WideUuid,
        op: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_commit_rsp; the text is last.
    V3CommitRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        dict: OldDict,
        op_errstr: Bytes,
    }

    /// gd1_mgmt_v3_post_commit_req.
    V3PostCommitReq {
        uuid: WideUuid,
        op: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_post_commit_rsp; the text is last.
    V3PostCommitRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        dict: OldDict,
        op_errstr: Bytes,
    }

    /// gd1_mgmt_v3_post_val_req.
    V3PostValidateReq {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        dict: OldDict,
    }

    /// gd1_mgmt_v3_post_val_rsp.
    V3PostValidateRsp {
        uuid: WideUuid,
        op: i32,
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        dict: OldDict,
    }
}

wire_enum! {
    /// `op` of transactions (GD_OP).
    Op {
        Create = 1,
        StartBrick = 2,
        StopBrick = 3,
        Delete = 4,
        Start = 5,
        Stop = 6,
        Defrag = 7,
        AddBrick = 8,
        RemoveBrick = 9,
        ReplaceBrick = 10,
        Set = 11,
        Reset = 12,
        Sync = 13,
        LogRotate = 14,
        GsyncSet = 15,
        Profile = 16,
        Quota = 17,
        Status = 18,
        Rebalance = 19,
        Heal = 20,
        Statedump = 21,
        List = 22,
        ClearLocks = 23,
        DefragBrick = 24,
        CopyFile = 25,
        SysExec = 26,
        GsyncCreate = 27,
        Snap = 28,
        Barrier = 29,
        Ganesha = 30,
        Bitrot = 31,
        DetachTier = 32,
        TierMigrate = 33,
        ScrubStatus = 34,
        ScrubOndemand = 35,
        ResetBrick = 36,
        MaxOpVersion = 37,
        TierStartStop = 38,
        TierStatus = 39,
    }
}

wire_enum! {
    /// How far two nodes have come with each other; stored in the peer's file, too.
    FriendState {
        Default = 0,
        ReqSent = 1,
        ReqReceived = 2,
        Befriended = 3,
        ReqAccepted = 4,
        ReqSentReceived = 5,
        Rejected = 6,
        UnfriendSent = 7,
        ProbeReceived = 8,
        ConnectedReceived = 9,
        ConnectedAccepted = 10,
    }
}

wire_enum! {
    /// `op_errno` of [`ProbeRsp`].
    ProbeResult {
        Success = 0,
        Localhost = 1,
        AlreadyFriend = 2,
        InAnotherCluster = 3,
        VolumeConflict = 4,
        SameUuid = 5,
        UnknownPeer = 6,
        AddFailed = 7,
        QuorumNotMet = 8,
        MissedSnapConflict = 9,
        SnapConflict = 10,
        Detaching = 11,
    }
}

#[cfg(test)]
mod sampling {
    use super::*;
    use crate::wire::sample::{Entropy, Sample};

    impl Sample for WideUuid {
        fn sample(s: &mut Entropy<'_>) -> WideUuid {
            WideUuid(Sample::sample(s))
        }
    }

    impl Sample for UnfriendReq {
        fn sample(s: &mut Entropy<'_>) -> UnfriendReq {
            UnfriendReq {
                uuid: Sample::sample(s),
                hostname: Sample::sample(s),
                port: Sample::sample(s),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_sixteen_words() {
        let bytes = WideUuid(Gfid([0xab; 16])).to_bytes();
        assert_eq!(bytes, [0, 0, 0, 0xab].repeat(16));
        let wrong: Bytes = [0, 0, 1, 0xab].repeat(16).into();
        assert_eq!(
            WideUuid::from_bytes(&wrong).unwrap_err().why,
            Why::Unknown {
                what: "uuid byte",
                value: 0x1ab
            }
        );
    }

    #[test]
    fn unfriend_is_read_with_and_without_the_spare_word() {
        let req = UnfriendReq {
            hostname: Bytes::from_static(b"p2"),
            port: 24007,
            ..UnfriendReq::default()
        };
        let long = req.to_bytes();
        assert_eq!(UnfriendReq::from_bytes(&long).unwrap(), req);
        assert_eq!(UnfriendReq::from_bytes(&long.slice(..long.len() - 4)).unwrap(), req);
    }
}
