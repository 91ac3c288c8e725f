//! Program 52743234: calls from a server to its clients, which never answer (wire-protocol.md 2.5 and 3.10).

use bytes::Bytes;

use super::define::{wire_enum, xdr_procs, xdr_structs};
use super::fop::Flock;
use super::{Gfid, OldDict};

xdr_procs! {
    /// Procedures of the callback program. Unknown ones are ignored by whoever receives them.
    Proc in "callback" {
        /// glusterd, to everyone connected: volfiles changed.
        Fetchspec = 1, "FETCHSPEC": () => ();
        /// Nobody sends it.
        InoFlush = 2, "INO_FLUSH": () => ();
        /// Nobody sends it.
        EventNotify = 3, "EVENT_NOTIFY": EventNotify => ();
        GetSnaps = 4, "GET_SNAPS": () => ();
        CacheInvalidation = 5, "CACHE_INVALIDATION": CacheInvalidation => ();
        /// The brick's graph came up.
        ChildUp = 6, "CHILD_UP": () => ();
        /// The brick's graph went down; the connection stays.
        ChildDown = 7, "CHILD_DOWN": () => ();
        RecallLease = 8, "RECALL_LEASE": RecallLease => ();
        Statedump = 9, "STATEDUMP": Statedump => ();
        InodelkContention = 10, "INODELK_CONTENTION": InodelkContention => ();
        EntrylkContention = 11, "ENTRYLK_CONTENTION": EntrylkContention => ();
    }
}

xdr_structs! { "callback";
    /// gf_event_notify_req, as a callback.
    EventNotify {
        op: i32,
        dict: OldDict,
    }

    /// gf_iatt: the attributes of program 330, 100 bytes.
    OldIatt {
        gfid: Gfid,
        ino: u64,
        dev: u64,
        mode: u32,
        nlink: u32,
        uid: u32,
        gid: u32,
        rdev: u64,
        size: u64,
        blksize: u32,
        blocks: u64,
        atime: u32,
        atime_nsec: u32,
        mtime: u32,
        mtime_nsec: u32,
        ctime: u32,
        ctime_nsec: u32,
    }

    /// gfs3_cbk_cache_invalidation_req.
    CacheInvalidation {
        /// As text of 36 characters.
        gfid: Bytes,
        event_type: u32,
        /// Bits of [`invalidate`].
        flags: u32,
        /// Seconds the attributes stay valid.
        expire_time_attr: u32,
        stat: OldIatt,
        parent_stat: OldIatt,
        oldparent_stat: OldIatt,
        xdata: OldDict,
    }

    /// gfs3_recall_lease_req.
    RecallLease {
        gfid: Gfid,
        lease_type: u32,
        tid: Gfid,
        xdata: OldDict,
    }

    /// gf_statedump: the client process of this pid shall write a state dump.
    Statedump {
        pid: u32,
    }

    /// gfs4_inodelk_contention_req: someone waits for a lock the client holds.
    InodelkContention {
        gfid: Gfid,
        flock: Flock,
        pid: u32,
        domain: Bytes,
        xdata: OldDict,
    }

    /// gfs4_entrylk_contention_req.
    EntrylkContention {
        gfid: Gfid,
        /// `type` on the wire: read 0, write 1.
        kind: u32,
        pid: u32,
        name: Bytes,
        domain: Bytes,
        xdata: OldDict,
    }
}

wire_enum! {
    /// `event_type` of [`CacheInvalidation`].
    EventType {
        CacheInvalidation = 1,
        RecallLease = 2,
        InodelkContention = 3,
        EntrylkContention = 4,
    }
}

/// Bits of [`CacheInvalidation::flags`].
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub mod invalidate {
    pub const NLINK: u32 = 0x1;
    pub const MODE: u32 = 0x2;
    pub const OWN: u32 = 0x4;
    pub const SIZE: u32 = 0x8;
    pub const TIMES: u32 = 0x10;
    pub const ATIME: u32 = 0x20;
    pub const PERM: u32 = 0x40;
    pub const RENAME: u32 = 0x80;
    pub const FORGET: u32 = 0x100;
    pub const PARENT_TIMES: u32 = 0x200;
    pub const XATTR: u32 = 0x400;
    pub const XATTR_RM: u32 = 0x800;
    pub const EXPLICIT_LOOKUP: u32 = 0x1000;
    pub const INVAL_ATTR: u32 = 0x2000;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Xdr;

    #[test]
    fn old_iatt_has_100_bytes() {
        assert_eq!(OldIatt::default().to_bytes().len(), 100);
    }
}
