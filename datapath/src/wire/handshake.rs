//! Program 14398633: SETVOLUME of bricks, GETSPEC and its like of glusterd (wire-protocol.md 2.3, 4.3, 4.5).
//!
//! Structures only. The keys of the dictionaries and what they lead to belong to client and server.

use bytes::Bytes;

use super::OldDict;
use super::define::{xdr_procs, xdr_structs};
use super::dump::GfCommonRsp;

/// Key of SETVOLUME by which a client of this implementation makes itself known to bricks that are of it too; all others
/// ignore it. Such a brick answers with the same key. Its value is the version of what they have agreed on.
pub const OURS: &str = "ringluster";
/// Key of an xattrop's xdata, between those of this implementation: it is done only if the caller holds an inode lock on
/// the inode in the domain that is the value, else answered with `EAGAIN`. The lock may be asked for by the call just
/// before: a brick takes both in their order.
pub const IF_LOCKED: &str = "ringluster.if-locked";

xdr_procs! {
    /// Procedures of both handshake programs, which share one number.
    Proc in "handshake" {
        /// Brick.
        Setvolume = 1, "SETVOLUME": SetvolumeReq => SetvolumeRsp;
        /// glusterd.
        Getspec = 2, "GETSPEC": GetspecReq => GetspecRsp;
        /// Brick; answered like PING of GF-DUMP.
        Ping = 3, "PING": () => GfCommonRsp;
        /// Brick; no client since 7 sends it.
        SetLkVer = 4, "SET_LK_VER": SetLkVerReq => SetLkVerRsp;
        /// glusterd; the rebalance process reports its status.
        EventNotify = 5, "EVENT_NOTIFY": EventNotifyReq => EventNotifyRsp;
        /// glusterd; gfapi asks.
        GetVolumeInfo = 6, "GET_VOLUME_INFO": GetVolumeInfoReq => GetVolumeInfoRsp;
        /// glusterd; the snapshot server asks.
        GetSnapshotInfo = 7, "GET_SNAPSHOT_INFO": GetSnapshotInfoReq => GetSnapshotInfoRsp;
    }
}

xdr_structs! { "handshake";
    /// gf_setvolume_req: a client introduces itself to a brick.
    SetvolumeReq {
        dict: OldDict,
    }

    /// gf_setvolume_rsp. `op_errno` is 22 on success.
    SetvolumeRsp {
        op_ret: i32,
        op_errno: i32,
        dict: OldDict,
    }

    /// gf_getspec_req: asks for a volfile.
    GetspecReq {
        /// 1 for clients.
        flags: u32,
        key: Bytes,
        /// min-op-version and max-op-version at least.
        xdata: OldDict,
    }

    /// gf_getspec_rsp.
    GetspecRsp {
        /// Length of `spec` on success.
        op_ret: i32,
        op_errno: i32,
        /// The volfile's text.
        spec: Bytes,
        xdata: OldDict,
    }

    /// gf_set_lk_ver_req.
    SetLkVerReq {
        uid: Bytes,
        lk_ver: i32,
    }

    /// gf_set_lk_ver_rsp.
    SetLkVerRsp {
        op_ret: i32,
        op_errno: i32,
        lk_ver: i32,
    }

    /// gf_event_notify_req.
    EventNotifyReq {
        /// 0: rebalance status.
        op: i32,
        dict: OldDict,
    }

    /// gf_event_notify_rsp.
    EventNotifyRsp {
        op_ret: i32,
        op_errno: i32,
        dict: OldDict,
    }

    /// gf_get_volume_info_req.
    GetVolumeInfoReq {
        dict: OldDict,
    }

    /// gf_get_volume_info_rsp.
    GetVolumeInfoRsp {
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        dict: OldDict,
    }

    /// gf_getsnap_name_uuid_req.
    GetSnapshotInfoReq {
        dict: OldDict,
    }

    /// gf_getsnap_name_uuid_rsp.
    GetSnapshotInfoRsp {
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        dict: OldDict,
    }
}
