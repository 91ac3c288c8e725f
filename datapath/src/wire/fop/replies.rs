//! The reply of every fop (wire-protocol.md 3.6), fields in wire order.
//!
//! Every field travels also on error, zero-filled. Data that follow a READ reply are not part of its structure.

use bytes::Bytes;

use super::parts::{DirEntry, DirEntryPlus, Flock, Lease, LockEntry, Statfs};
use crate::errno::{Errno, FsResult};
use crate::wire::define::xdr_structs;
use crate::wire::xdr::Xdr;
use crate::wire::{Dict, Iatt};

xdr_structs! { "fop";
    /// gfx_common_rsp: nothing but the result.
    CommonRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
    }

    /// gfx_common_1iatt_rsp.
    Iatt1Rsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        stat: Iatt,
    }

    /// gfx_common_2iatt_rsp: before and after; of the parent for UNLINK, RMDIR and NAMELINK. In LOOKUP `prestat`
    /// is the object and `poststat` its parent.
    Iatt2Rsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        prestat: Iatt,
        poststat: Iatt,
    }

    /// gfx_common_3iatt_rsp: the object, and its parent before and after.
    Iatt3Rsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        stat: Iatt,
        preparent: Iatt,
        postparent: Iatt,
    }

    /// gfx_common_dict_rsp. The two iatts always travel, in GETXATTR as zeros.
    DictRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        dict: Dict,
        prestat: Iatt,
        poststat: Iatt,
    }

    /// gfx_rename_rsp.
    RenameRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        stat: Iatt,
        preoldparent: Iatt,
        postoldparent: Iatt,
        prenewparent: Iatt,
        postnewparent: Iatt,
    }

    /// gfx_readlink_rsp; `op_ret` is the length of `path`.
    ReadlinkRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        buf: Iatt,
        path: Bytes,
    }

    /// gfx_open_rsp, also of OPENDIR.
    OpenRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        fd: i64,
    }

    /// gfx_create_rsp.
    CreateRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        stat: Iatt,
        /// Unsigned here, unlike everywhere else.
        fd: u64,
        preparent: Iatt,
        postparent: Iatt,
    }

    /// gfx_read_rsp; `op_ret` raw bytes follow. `op_errno` ENOENT says that the file ends with them. The only
    /// reply whose xdata is last.
    ReadRsp {
        op_ret: i32,
        op_errno: i32,
        stat: Iatt,
        /// Bytes of payload.
        size: u32,
        xdata: Dict,
    }

    /// gfx_statfs_rsp.
    StatfsRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        statfs: Statfs,
    }

    /// gfx_lk_rsp; all zero on error, `kind` 2 for a GETLK without conflict.
    LkRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        flock: Flock,
    }

    /// gfx_lease_rsp.
    LeaseRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        lease: Lease,
    }

    /// gfx_rchecksum_rsp.
    RchecksumRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        flags: u32,
        weak_checksum: u32,
        /// 32 bytes: SHA-256, or MD5 and 16 zeros.
        strong_checksum: Bytes,
    }

    /// gfx_seek_rsp.
    SeekRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        offset: u64,
    }

    /// gfx_readdir_rsp; `op_ret` is the number of entries, `op_errno` ENOENT says the directory ends with them.
    ReaddirRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        entries: Vec<DirEntry>,
    }

    /// gfx_readdirp_rsp; results as in [`ReaddirRsp`].
    ReaddirpRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        entries: Vec<DirEntryPlus>,
    }

    /// gfx_getactivelk_rsp; `op_ret` is the number of locks.
    GetactivelkRsp {
        op_ret: i32,
        op_errno: i32,
        xdata: Dict,
        locks: Vec<LockEntry>,
    }
}

/// What all replies have.
pub trait FopRsp: Xdr + Default {
    /// -1 on error, otherwise what the fop says.
    fn op_ret(&self) -> i32;
    /// A Linux error number; means nothing on success except for READ and READDIR(P).
    fn op_errno(&self) -> i32;
    /// Further results.
    fn xdata(&self) -> &Dict;
    /// A reply with these results and everything else zero.
    fn with_status(op_ret: i32, op_errno: i32, xdata: Dict) -> Self;

    /// The failure this errno names.
    fn failure(errno: Errno) -> Self {
        Self::with_status(-1, errno.0, Dict::null())
    }

    /// The reply itself, or the error it reports. An error without number becomes EIO, so that it stays one.
    ///
    /// # Errors
    /// The brick's errno.
    fn into_result(self) -> FsResult<Self> {
        match (self.op_ret(), self.op_errno()) {
            (0.., _) => Ok(self),
            (_, errno) if errno > 0 => Err(Errno(errno)),
            _ => Err(Errno::EIO),
        }
    }
}

macro_rules! fop_rsp {
    ($( $name:ident ),* $(,)?) => { $(
        impl FopRsp for $name {
            fn op_ret(&self) -> i32 {
                self.op_ret
            }

            fn op_errno(&self) -> i32 {
                self.op_errno
            }

            fn xdata(&self) -> &Dict {
                &self.xdata
            }

            fn with_status(op_ret: i32, op_errno: i32, xdata: Dict) -> $name {
                $name { op_ret, op_errno, xdata, ..Default::default() }
            }
        }
    )* };
}

fop_rsp!(
    Iatt1Rsp,
    Iatt2Rsp,
    Iatt3Rsp,
    DictRsp,
    RenameRsp,
    ReadlinkRsp,
    OpenRsp,
    CreateRsp,
    ReadRsp,
    StatfsRsp,
    LkRsp,
    LeaseRsp,
    RchecksumRsp,
    SeekRsp,
    ReaddirRsp,
    ReaddirpRsp,
    GetactivelkRsp,
);

impl FopRsp for CommonRsp {
    fn op_ret(&self) -> i32 {
        self.op_ret
    }

    fn op_errno(&self) -> i32 {
        self.op_errno
    }

    fn xdata(&self) -> &Dict {
        &self.xdata
    }

    fn with_status(op_ret: i32, op_errno: i32, xdata: Dict) -> CommonRsp {
        CommonRsp {
            op_ret,
            op_errno,
            xdata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results() {
        assert_eq!(CommonRsp::failure(Errno::ENOENT).into_result(), Err(Errno::ENOENT));
        assert_eq!(SeekRsp::with_status(-1, 0, Dict::null()).into_result(), Err(Errno::EIO));
        // op_errno means nothing on success.
        assert!(OpenRsp::with_status(0, 22, Dict::null()).into_result().is_ok());
    }

    #[test]
    fn a_failed_read_has_172_bytes() {
        assert_eq!(ReadRsp::failure(Errno::EIO).to_bytes().len(), 172);
    }
}
