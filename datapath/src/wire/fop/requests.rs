//! The request of every fop (wire-protocol.md 3.5), fields in wire order.
//!
//! Strings are bytes as they come; what a name may contain is the server's business. Data that follow a WRITE are
//! not part of its structure.

use bytes::Bytes;

use super::parts::{Flock, Lease, LockEntry};
use crate::wire::define::xdr_structs;
use crate::wire::{Dict, Gfid, Iatt};

xdr_structs! { "fop";
    /// gfx_stat_req: attributes by gfid.
    StatReq {
        gfid: Gfid,
        xdata: Dict,
    }

    /// gfx_readlink_req: target of a symbolic link.
    ReadlinkReq {
        gfid: Gfid,
        size: u32,
        xdata: Dict,
    }

    /// gfx_mknod_req: a device, fifo, socket or plain file.
    MknodReq {
        pargfid: Gfid,
        /// The client's raw `dev_t`, unlike the `rdev` of replies.
        dev: u64,
        mode: u32,
        umask: u32,
        bname: Bytes,
        xdata: Dict,
    }

    /// gfx_mkdir_req: a directory. `xdata` must carry `gfid-req`.
    MkdirReq {
        pargfid: Gfid,
        mode: u32,
        umask: u32,
        bname: Bytes,
        xdata: Dict,
    }

    /// gfx_unlink_req: the last name of a file goes.
    UnlinkReq {
        pargfid: Gfid,
        bname: Bytes,
        xflags: u32,
        xdata: Dict,
    }

    /// gfx_rmdir_req: note the order: `xflags` before `bname`, unlike UNLINK.
    RmdirReq {
        pargfid: Gfid,
        /// 1: with everything below, into the landfill.
        xflags: i32,
        bname: Bytes,
        xdata: Dict,
    }

    /// gfx_symlink_req: a symbolic link.
    SymlinkReq {
        pargfid: Gfid,
        bname: Bytes,
        umask: u32,
        /// The target.
        linkname: Bytes,
        xdata: Dict,
    }

    /// gfx_rename_req: renames.
    RenameReq {
        oldpargfid: Gfid,
        newpargfid: Gfid,
        oldbname: Bytes,
        newbname: Bytes,
        xdata: Dict,
    }

    /// gfx_link_req: another name for a file.
    LinkReq {
        /// The file.
        oldgfid: Gfid,
        /// The directory.
        newpargfid: Gfid,
        newbname: Bytes,
        xdata: Dict,
    }

    /// gfx_truncate_req: cuts or extends by gfid.
    TruncateReq {
        gfid: Gfid,
        offset: u64,
        xdata: Dict,
    }

    /// gfx_open_req: opens a file.
    OpenReq {
        gfid: Gfid,
        /// Wire open flags, see `wire::flags`.
        flags: u32,
        xdata: Dict,
    }

    /// gfx_read_req: reads; the data follow the reply.
    ReadReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        size: u32,
        /// The fd's open flags as the host numbers them.
        flag: u32,
        xdata: Dict,
    }

    /// gfx_write_req: the header of a write; `size` raw bytes follow it in the record.
    WriteReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        /// Bytes of payload.
        size: u32,
        /// The fd's open flags as the host numbers them.
        flag: u32,
        xdata: Dict,
    }

    /// gfx_statfs_req: numbers of the file system.
    StatfsReq {
        gfid: Gfid,
        xdata: Dict,
    }

    /// gfx_flush_req: an application closes its descriptor.
    FlushReq {
        gfid: Gfid,
        fd: i64,
        xdata: Dict,
    }

    /// gfx_fsync_req: makes a file durable.
    FsyncReq {
        gfid: Gfid,
        fd: i64,
        /// 1: data only.
        data: u32,
        xdata: Dict,
    }

    /// gfx_setxattr_req: sets xattrs.
    SetxattrReq {
        gfid: Gfid,
        /// 1 XATTR_CREATE, 2 XATTR_REPLACE.
        flags: u32,
        dict: Dict,
        xdata: Dict,
    }

    /// gfx_getxattr_req: reads one xattr, or all.
    GetxattrReq {
        gfid: Gfid,
        /// A flag: 0 lists all.
        namelen: u32,
        name: Bytes,
        xdata: Dict,
    }

    /// gfx_removexattr_req: removes an xattr.
    RemovexattrReq {
        gfid: Gfid,
        name: Bytes,
        xdata: Dict,
    }

    /// gfx_opendir_req: opens a directory.
    OpendirReq {
        gfid: Gfid,
        xdata: Dict,
    }

    /// gfx_fsyncdir_req: makes a directory durable.
    FsyncdirReq {
        gfid: Gfid,
        fd: i64,
        /// 1: data only.
        data: i32,
        xdata: Dict,
    }

    /// gfx_access_req: asks for permissions.
    AccessReq {
        gfid: Gfid,
        /// R 4, W 2, X 1.
        mask: u32,
        xdata: Dict,
    }

    /// gfx_create_req: creates and opens a file. `xdata` must carry `gfid-req`.
    CreateReq {
        pargfid: Gfid,
        /// Wire open flags, see `wire::flags`.
        flags: u32,
        mode: u32,
        umask: u32,
        bname: Bytes,
        xdata: Dict,
    }

    /// gfx_ftruncate_req: cuts or extends by fd.
    FtruncateReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        xdata: Dict,
    }

    /// gfx_fstat_req: attributes by fd.
    FstatReq {
        gfid: Gfid,
        fd: i64,
        xdata: Dict,
    }

    /// gfx_lk_req: POSIX lock.
    LkReq {
        gfid: Gfid,
        fd: i64,
        /// A [`super::LkCmd`].
        cmd: u32,
        /// `type` on the wire; repeats that of `flock`.
        kind: u32,
        flock: Flock,
        xdata: Dict,
    }

    /// gfx_lookup_req: by name (`pargfid`, `bname`) or by gfid alone (`pargfid` null, `bname` empty).
    LookupReq {
        gfid: Gfid,
        pargfid: Gfid,
        flags: u32,
        /// One path component, empty for a lookup by gfid.
        bname: Bytes,
        xdata: Dict,
    }

    /// gfx_readdir_req: names.
    ReaddirReq {
        gfid: Gfid,
        fd: i64,
        /// 0, or the last `d_off` received.
        offset: u64,
        /// Budget in upstream's memory bytes, not encoded bytes.
        size: u32,
        xdata: Dict,
    }

    /// gfx_inodelk_req: locks a range of an inode in a domain.
    InodelkReq {
        gfid: Gfid,
        /// A [`super::InodelkCmd`].
        cmd: u32,
        /// `type` on the wire: a [`super::LockType`].
        kind: u32,
        flock: Flock,
        /// The lock domain.
        volume: Bytes,
        xdata: Dict,
    }

    /// gfx_finodelk_req: [`InodelkReq`] by fd.
    FinodelkReq {
        gfid: Gfid,
        fd: i64,
        /// A [`super::InodelkCmd`].
        cmd: u32,
        /// `type` on the wire: a [`super::LockType`].
        kind: u32,
        flock: Flock,
        /// The lock domain.
        volume: Bytes,
        xdata: Dict,
    }

    /// gfx_entrylk_req: locks a name of a directory, or all names, in a domain.
    EntrylkReq {
        gfid: Gfid,
        /// An [`super::EntrylkCmd`].
        cmd: u32,
        /// `type` on the wire: read 0, write 1.
        kind: u32,
        /// A flag: 1 a name is given, 0 all names.
        namelen: u64,
        name: Bytes,
        /// The lock domain.
        volume: Bytes,
        xdata: Dict,
    }

    /// gfx_fentrylk_req: [`EntrylkReq`] by fd.
    FentrylkReq {
        gfid: Gfid,
        fd: i64,
        /// An [`super::EntrylkCmd`].
        cmd: u32,
        /// `type` on the wire: read 0, write 1.
        kind: u32,
        /// A flag: 1 a name is given, 0 all names.
        namelen: u64,
        name: Bytes,
        /// The lock domain.
        volume: Bytes,
        xdata: Dict,
    }

    /// gfx_xattrop_req: arithmetic on xattrs: the changelog of replication.
    XattropReq {
        gfid: Gfid,
        /// The operation, see `wire::flags::xattrop`.
        flags: u32,
        dict: Dict,
        xdata: Dict,
    }

    /// gfx_fxattrop_req: [`XattropReq`] by fd.
    FxattropReq {
        gfid: Gfid,
        fd: i64,
        /// The operation, see `wire::flags::xattrop`.
        flags: u32,
        dict: Dict,
        xdata: Dict,
    }

    /// gfx_fgetxattr_req: reads one xattr, or all, by fd.
    FgetxattrReq {
        gfid: Gfid,
        fd: i64,
        /// A flag: 0 lists all.
        namelen: u32,
        name: Bytes,
        xdata: Dict,
    }

    /// gfx_fsetxattr_req: sets xattrs by fd.
    FsetxattrReq {
        gfid: Gfid,
        fd: i64,
        /// 1 XATTR_CREATE, 2 XATTR_REPLACE.
        flags: u32,
        dict: Dict,
        xdata: Dict,
    }

    /// gfx_rchecksum_req: checksums of a range.
    RchecksumReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        len: u32,
        flags: u32,
        xdata: Dict,
    }

    /// gfx_setattr_req: changes attributes.
    SetattrReq {
        gfid: Gfid,
        stbuf: Iatt,
        /// Which fields of `stbuf` count, see `wire::flags::setattr`.
        valid: i32,
        xdata: Dict,
    }

    /// gfx_fsetattr_req: changes attributes by fd.
    FsetattrReq {
        gfid: Gfid,
        fd: i64,
        stbuf: Iatt,
        /// Which fields of `stbuf` count, see `wire::flags::setattr`.
        valid: i32,
        xdata: Dict,
    }

    /// gfx_readdirp_req: names with attributes.
    ReaddirpReq {
        gfid: Gfid,
        fd: i64,
        /// 0, or the last `d_off` received.
        offset: u64,
        /// Budget in upstream's memory bytes, not encoded bytes.
        size: u32,
        xdata: Dict,
    }

    /// gfx_release_req: closes a file.
    ReleaseReq {
        gfid: Gfid,
        fd: i64,
        xdata: Dict,
    }

    /// gfx_releasedir_req: closes a directory.
    ReleasedirReq {
        gfid: Gfid,
        fd: i64,
        xdata: Dict,
    }

    /// gfx_fremovexattr_req: removes an xattr by fd.
    FremovexattrReq {
        gfid: Gfid,
        fd: i64,
        name: Bytes,
        xdata: Dict,
    }

    /// gfx_fallocate_req: reserves space.
    FallocateReq {
        gfid: Gfid,
        fd: i64,
        /// 1 keep the size; other modes are other fops.
        flags: u32,
        offset: u64,
        size: u64,
        xdata: Dict,
    }

    /// gfx_discard_req: punches a hole.
    DiscardReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        size: u64,
        xdata: Dict,
    }

    /// gfx_zerofill_req: writes zeros.
    ZerofillReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        size: u64,
        xdata: Dict,
    }

    /// gfx_ipc_req: message to a translator.
    IpcReq {
        op: i32,
        xdata: Dict,
    }

    /// gfx_seek_req: finds data or a hole.
    SeekReq {
        gfid: Gfid,
        fd: i64,
        offset: u64,
        /// 0 data, 1 hole: not the numbers of lseek.
        what: i32,
        xdata: Dict,
    }

    /// gfx_lease_req: lease of a client.
    LeaseReq {
        gfid: Gfid,
        lease: Lease,
        xdata: Dict,
    }

    /// gfx_getactivelk_req: lists locks.
    GetactivelkReq {
        gfid: Gfid,
        xdata: Dict,
    }

    /// gfx_setactivelk_req: takes over locks.
    SetactivelkReq {
        gfid: Gfid,
        locks: Vec<LockEntry>,
        xdata: Dict,
    }

    /// gfx_icreate_req: no caller exists.
    IcreateReq {
        gfid: Gfid,
        mode: u32,
        xdata: Dict,
    }

    /// gfx_namelink_req: crashes a brick of 10.3: never send it.
    NamelinkReq {
        pargfid: Gfid,
        bname: Bytes,
        xdata: Dict,
    }

    /// gfx_put_req: the header of a PUT; raw bytes follow it. Bricks do not serve it.
    PutReq {
        pargfid: Gfid,
        bname: Bytes,
        mode: u32,
        umask: u32,
        flag: u32,
        offset: u64,
        /// Bytes of payload.
        size: u32,
        xattr: Dict,
        xdata: Dict,
    }

    /// gfx_copy_file_range_req: copies between two open files.
    CopyFileRangeReq {
        /// Source.
        gfid1: Gfid,
        /// Destination.
        gfid2: Gfid,
        fd_in: i64,
        fd_out: i64,
        off_in: u64,
        off_out: u64,
        size: u32,
        flag: u32,
        xdata: Dict,
    }
}
