//! fuser's callbacks: each one copies the request into owned form and delivers it. No decision is taken here.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, Request as Header, TimeOrNow, WriteFlags,
};

use super::reply::FuserReply;
use super::{Device, convert, negotiate};
use crate::request::{AttrChange, LockRange, Op, Reply, Request, Target, Who};

fn name(name: &OsStr) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

impl Device {
    fn send(&self, header: &Header, node: INodeNo, op: Op, reply: FuserReply) {
        self.deliver(header, node, op, reply.boxed());
    }

    fn deliver(&self, header: &Header, node: INodeNo, op: Op, reply: Reply) {
        let who = Who {
            uid: header.uid(),
            gid: header.gid(),
            pid: header.pid(),
        };
        self.intake.deliver(Request {
            node: node.0,
            who,
            op,
            reply,
        });
    }
}

impl Filesystem for Device {
    fn init(&mut self, _req: &Header, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(&self.config, config);
        Ok(())
    }

    fn lookup(&self, req: &Header, parent: INodeNo, n: &OsStr, reply: fuser::ReplyEntry) {
        self.send(req, parent, Op::Lookup { name: name(n) }, FuserReply::Entry(reply));
    }

    fn forget(&self, req: &Header, ino: INodeNo, lookups: u64) {
        self.deliver(req, ino, Op::Forget { lookups }, Reply::none());
    }

    fn getattr(&self, req: &Header, ino: INodeNo, fh: Option<FileHandle>, reply: fuser::ReplyAttr) {
        self.send(req, ino, Op::Getattr { fh: fh.map(|f| f.0) }, FuserReply::Attr(reply));
    }

    fn setattr(
        &self,
        req: &Header,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: fuser::ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(convert::time_change), mtime.map(convert::time_change));
        let change = AttrChange {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
        };
        self.send(
            req,
            ino,
            Op::Setattr {
                change,
                fh: fh.map(|f| f.0),
            },
            FuserReply::Attr(reply),
        );
    }

    fn readlink(&self, req: &Header, ino: INodeNo, reply: fuser::ReplyData) {
        self.send(req, ino, Op::Readlink, FuserReply::Data(reply));
    }

    fn mknod(
        &self,
        req: &Header,
        parent: INodeNo,
        n: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: fuser::ReplyEntry,
    ) {
        self.send(
            req,
            parent,
            Op::Mknod {
                name: name(n),
                mode,
                rdev,
            },
            FuserReply::Entry(reply),
        );
    }

    fn mkdir(&self, req: &Header, parent: INodeNo, n: &OsStr, mode: u32, _umask: u32, reply: fuser::ReplyEntry) {
        self.send(req, parent, Op::Mkdir { name: name(n), mode }, FuserReply::Entry(reply));
    }

    fn unlink(&self, req: &Header, parent: INodeNo, n: &OsStr, reply: fuser::ReplyEmpty) {
        self.send(req, parent, Op::Unlink { name: name(n) }, FuserReply::Empty(reply));
    }

    fn rmdir(&self, req: &Header, parent: INodeNo, n: &OsStr, reply: fuser::ReplyEmpty) {
        self.send(req, parent, Op::Rmdir { name: name(n) }, FuserReply::Empty(reply));
    }

    fn symlink(&self, req: &Header, parent: INodeNo, n: &OsStr, target: &Path, reply: fuser::ReplyEntry) {
        let target = name(target.as_os_str());
        self.send(
            req,
            parent,
            Op::Symlink { name: name(n), target },
            FuserReply::Entry(reply),
        );
    }

    fn rename(
        &self,
        req: &Header,
        parent: INodeNo,
        n: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: fuser::ReplyEmpty,
    ) {
        let to = Target::Node(newparent.0);
        let op = Op::Rename {
            name: name(n),
            to,
            newname: name(newname),
            flags: flags.bits(),
        };
        self.send(req, parent, op, FuserReply::Empty(reply));
    }

    fn link(&self, req: &Header, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: fuser::ReplyEntry) {
        let op = Op::Link {
            of: Target::Node(ino.0),
            name: name(newname),
        };
        self.send(req, newparent, op, FuserReply::Entry(reply));
    }

    fn open(&self, req: &Header, ino: INodeNo, flags: OpenFlags, reply: fuser::ReplyOpen) {
        self.send(req, ino, Op::Open { flags: flags.0 as u32 }, FuserReply::Open(reply));
    }

    fn read(
        &self,
        req: &Header,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: fuser::ReplyData,
    ) {
        let op = Op::Read {
            fh: fh.0,
            offset,
            size,
            lock_owner: lock_owner.map(|o| o.0),
        };
        self.send(req, ino, op, FuserReply::Data(reply));
    }

    fn write(
        &self,
        req: &Header,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: fuser::ReplyWrite,
    ) {
        let op = Op::Write {
            fh: fh.0,
            offset,
            data: self.buffers.copy(data),
            flags: flags.0 as u32,
            kill_privileges: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
            lock_owner: lock_owner.map(|o| o.0),
        };
        self.send(req, ino, op, FuserReply::Write(reply));
    }

    fn flush(&self, req: &Header, ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, reply: fuser::ReplyEmpty) {
        self.send(
            req,
            ino,
            Op::Flush {
                fh: fh.0,
                lock_owner: lock_owner.0,
            },
            FuserReply::Empty(reply),
        );
    }

    fn release(
        &self,
        req: &Header,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: fuser::ReplyEmpty,
    ) {
        let op = Op::Release {
            fh: fh.0,
            flock_owner: lock_owner.map(|o| o.0),
        };
        self.send(req, ino, op, FuserReply::Empty(reply));
    }

    fn fsync(&self, req: &Header, ino: INodeNo, fh: FileHandle, datasync: bool, reply: fuser::ReplyEmpty) {
        self.send(req, ino, Op::Fsync { fh: fh.0, datasync }, FuserReply::Empty(reply));
    }

    fn opendir(&self, req: &Header, ino: INodeNo, _flags: OpenFlags, reply: fuser::ReplyOpen) {
        self.send(req, ino, Op::Opendir, FuserReply::Open(reply));
    }

    fn readdir(&self, req: &Header, ino: INodeNo, fh: FileHandle, offset: u64, reply: fuser::ReplyDirectory) {
        self.send(req, ino, Op::Readdir { fh: fh.0, offset }, FuserReply::Directory(reply));
    }

    fn readdirplus(&self, req: &Header, ino: INodeNo, fh: FileHandle, offset: u64, reply: fuser::ReplyDirectoryPlus) {
        self.send(
            req,
            ino,
            Op::Readdirplus { fh: fh.0, offset },
            FuserReply::DirectoryPlus(reply),
        );
    }

    fn releasedir(&self, req: &Header, ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: fuser::ReplyEmpty) {
        self.send(req, ino, Op::Releasedir { fh: fh.0 }, FuserReply::Empty(reply));
    }

    fn fsyncdir(&self, req: &Header, ino: INodeNo, fh: FileHandle, datasync: bool, reply: fuser::ReplyEmpty) {
        self.send(req, ino, Op::Fsyncdir { fh: fh.0, datasync }, FuserReply::Empty(reply));
    }

    fn statfs(&self, req: &Header, ino: INodeNo, reply: fuser::ReplyStatfs) {
        self.send(req, ino, Op::Statfs, FuserReply::Statfs(reply));
    }

    fn setxattr(
        &self,
        req: &Header,
        ino: INodeNo,
        n: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: fuser::ReplyEmpty,
    ) {
        let op = Op::Setxattr {
            name: name(n),
            value: Bytes::copy_from_slice(value),
            flags: flags as u32,
        };
        self.send(req, ino, op, FuserReply::Empty(reply));
    }

    fn getxattr(&self, req: &Header, ino: INodeNo, n: &OsStr, size: u32, reply: fuser::ReplyXattr) {
        self.send(req, ino, Op::Getxattr { name: name(n), size }, FuserReply::Xattr(reply));
    }

    fn listxattr(&self, req: &Header, ino: INodeNo, size: u32, reply: fuser::ReplyXattr) {
        self.send(req, ino, Op::Listxattr { size }, FuserReply::Xattr(reply));
    }

    fn removexattr(&self, req: &Header, ino: INodeNo, n: &OsStr, reply: fuser::ReplyEmpty) {
        self.send(req, ino, Op::Removexattr { name: name(n) }, FuserReply::Empty(reply));
    }

    fn access(&self, req: &Header, ino: INodeNo, mask: AccessFlags, reply: fuser::ReplyEmpty) {
        self.send(
            req,
            ino,
            Op::Access {
                mask: mask.bits() as u32,
            },
            FuserReply::Empty(reply),
        );
    }

    fn create(
        &self,
        req: &Header,
        parent: INodeNo,
        n: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: fuser::ReplyCreate,
    ) {
        self.send(
            req,
            parent,
            Op::Create {
                name: name(n),
                mode,
                flags: flags as u32,
            },
            FuserReply::Create(reply),
        );
    }

    fn getlk(
        &self,
        req: &Header,
        ino: INodeNo,
        fh: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: fuser::ReplyLock,
    ) {
        let range = LockRange {
            start,
            end,
            kind: typ,
            pid,
        };
        self.send(
            req,
            ino,
            Op::Getlk {
                fh: fh.0,
                lock_owner: lock_owner.0,
                range,
            },
            FuserReply::Lock(reply),
        );
    }

    fn setlk(
        &self,
        req: &Header,
        ino: INodeNo,
        fh: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: fuser::ReplyEmpty,
    ) {
        let range = LockRange {
            start,
            end,
            kind: typ,
            pid,
        };
        let op = Op::Setlk {
            fh: fh.0,
            lock_owner: lock_owner.0,
            range,
            wait: sleep,
        };
        self.send(req, ino, op, FuserReply::Empty(reply));
    }

    fn bmap(&self, req: &Header, ino: INodeNo, _blocksize: u32, _idx: u64, reply: fuser::ReplyBmap) {
        self.send(req, ino, Op::Bmap, FuserReply::Bmap(reply));
    }

    fn ioctl(
        &self,
        req: &Header,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: fuser::ReplyIoctl,
    ) {
        self.send(req, ino, Op::Ioctl, FuserReply::Ioctl(reply));
    }

    fn poll(
        &self,
        req: &Header,
        ino: INodeNo,
        _fh: FileHandle,
        _ph: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: fuser::ReplyPoll,
    ) {
        self.send(req, ino, Op::Poll, FuserReply::Poll(reply));
    }

    fn fallocate(
        &self,
        req: &Header,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: fuser::ReplyEmpty,
    ) {
        self.send(
            req,
            ino,
            Op::Fallocate {
                fh: fh.0,
                offset,
                length,
                mode,
            },
            FuserReply::Empty(reply),
        );
    }

    fn lseek(&self, req: &Header, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: fuser::ReplyLseek) {
        // A negative offset cannot be valid; as a huge one it ends in ENXIO like any offset past the end.
        self.send(
            req,
            ino,
            Op::Lseek {
                fh: fh.0,
                offset: offset as u64,
                whence,
            },
            FuserReply::Lseek(reply),
        );
    }

    fn copy_file_range(
        &self,
        req: &Header,
        ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: fuser::ReplyWrite,
    ) {
        self.send(req, ino_in, Op::CopyFileRange, FuserReply::Write(reply));
    }
}
