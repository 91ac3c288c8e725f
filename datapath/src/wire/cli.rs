//! Program 1238463: the command line talks to glusterd (wire-protocol.md 2.7).
//!
//! Structures only. The keys of each command's dictionary belong to CLI and glusterd.

use bytes::Bytes;

use super::OldDict;
use super::define::{xdr_procs, xdr_structs};

xdr_procs! {
    /// Procedures of the CLI program.
    Proc in "cli" {
        Probe = 1, "PROBE": CliReq => CliRsp;
        Deprobe = 2, "DEPROBE": CliReq => CliRsp;
        ListFriends = 3, "LIST_FRIENDS": ListFriendsReq => ListFriendsRsp;
        CreateVolume = 4, "CREATE_VOLUME": CliReq => CliRsp;
        GetVolume = 5, "GET_VOLUME": CliReq => CliRsp;
        GetNextVolume = 6, "GET_NEXT_VOLUME": CliReq => CliRsp;
        DeleteVolume = 7, "DELETE_VOLUME": CliReq => CliRsp;
        StartVolume = 8, "START_VOLUME": CliReq => CliRsp;
        StopVolume = 9, "STOP_VOLUME": CliReq => CliRsp;
        RenameVolume = 10, "RENAME_VOLUME": CliReq => CliRsp;
        DefragVolume = 11, "DEFRAG_VOLUME": CliReq => CliRsp;
        SetVolume = 12, "SET_VOLUME": CliReq => CliRsp;
        AddBrick = 13, "ADD_BRICK": CliReq => CliRsp;
        RemoveBrick = 14, "REMOVE_BRICK": CliReq => CliRsp;
        ReplaceBrick = 15, "REPLACE_BRICK": CliReq => CliRsp;
        LogRotate = 16, "LOG_ROTATE": CliReq => CliRsp;
        Getspec = 17, "GETSPEC": CliReq => CliRsp;
        PmapPortbybrick = 18, "PMAP_PORTBYBRICK": CliReq => CliRsp;
        SyncVolume = 19, "SYNC_VOLUME": CliReq => CliRsp;
        ResetVolume = 20, "RESET_VOLUME": CliReq => CliRsp;
        FsmLog = 21, "FSM_LOG": FsmLogReq => FsmLogRsp;
        GsyncSet = 22, "GSYNC_SET": CliReq => CliRsp;
        ProfileVolume = 23, "PROFILE_VOLUME": CliReq => CliRsp;
        Quota = 24, "QUOTA": CliReq => CliRsp;
        TopVolume = 25, "TOP_VOLUME": CliReq => CliRsp;
        Getwd = 26, "GETWD": GetwdReq => GetwdRsp;
        StatusVolume = 27, "STATUS_VOLUME": CliReq => CliRsp;
        StatusAll = 28, "STATUS_ALL": CliReq => CliRsp;
        Mount = 29, "MOUNT": MountReq => MountRsp;
        Umount = 30, "UMOUNT": UmountReq => UmountRsp;
        HealVolume = 31, "HEAL_VOLUME": CliReq => CliRsp;
        StatedumpVolume = 32, "STATEDUMP_VOLUME": CliReq => CliRsp;
        ListVolume = 33, "LIST_VOLUME": CliReq => CliRsp;
        ClrlocksVolume = 34, "CLRLOCKS_VOLUME": CliReq => CliRsp;
        UuidReset = 35, "UUID_RESET": CliReq => CliRsp;
        UuidGet = 36, "UUID_GET": CliReq => CliRsp;
        CopyFile = 37, "COPY_FILE": CliReq => CliRsp;
        SysExec = 38, "SYS_EXEC": CliReq => CliRsp;
        Snap = 39, "SNAP": CliReq => CliRsp;
        BarrierVolume = 40, "BARRIER_VOLUME": CliReq => CliRsp;
        GetVolOpt = 41, "GET_VOL_OPT": CliReq => CliRsp;
        Ganesha = 42, "GANESHA": CliReq => CliRsp;
        Bitrot = 43, "BITROT": CliReq => CliRsp;
        AttachTier = 44, "ATTACH_TIER": CliReq => CliRsp;
        Tier = 45, "TIER": CliReq => CliRsp;
        GetState = 46, "GET_STATE": CliReq => CliRsp;
        ResetBrick = 47, "RESET_BRICK": CliReq => CliRsp;
        RemoveTierBrick = 48, "REMOVE_TIER_BRICK": CliReq => CliRsp;
        AddTierBrick = 49, "ADD_TIER_BRICK": CliReq => CliRsp;
    }
}

impl Proc {
    /// Whether glusterd answers it on TCP too; everything else is for the unix socket alone.
    pub fn is_read_only(self) -> bool {
        use Proc::{GetVolume, Getwd, ListFriends, ListVolume, Mount, StatusVolume, Umount, UuidGet};
        matches!(
            self,
            ListFriends | UuidGet | GetVolume | Getwd | StatusVolume | ListVolume | Mount | Umount
        )
    }
}

xdr_structs! { "cli";
    /// gf_cli_req: nearly every command.
    CliReq {
        dict: OldDict,
    }

    /// gf_cli_rsp: the answer to nearly every command.
    CliRsp {
        op_ret: i32,
        op_errno: i32,
        /// What the user is told.
        op_errstr: Bytes,
        dict: OldDict,
    }

    /// gf1_cli_peer_list_req.
    ListFriendsReq {
        /// 1 peers, 2 the whole pool.
        flags: i32,
        dict: OldDict,
    }

    /// gf1_cli_peer_list_rsp.
    ListFriendsRsp {
        op_ret: i32,
        op_errno: i32,
        friends: OldDict,
    }

    /// gf1_cli_fsm_log_req.
    FsmLogReq {
        name: Bytes,
    }

    /// gf1_cli_fsm_log_rsp.
    FsmLogRsp {
        op_ret: i32,
        op_errno: i32,
        op_errstr: Bytes,
        fsm_log: Bytes,
    }

    /// gf1_cli_getwd_req.
    GetwdReq {
        unused: i32,
    }

    /// gf1_cli_getwd_rsp.
    GetwdRsp {
        op_ret: i32,
        op_errno: i32,
        wd: Bytes,
    }

    /// gf1_cli_mount_req.
    MountReq {
        label: Bytes,
        dict: OldDict,
    }

    /// gf1_cli_mount_rsp.
    MountRsp {
        op_ret: i32,
        op_errno: i32,
        path: Bytes,
    }

    /// gf1_cli_umount_req.
    UmountReq {
        lazy: i32,
        path: Bytes,
    }

    /// gf1_cli_umount_rsp.
    UmountRsp {
        op_ret: i32,
        op_errno: i32,
    }
}
