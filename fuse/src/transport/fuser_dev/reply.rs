//! Our answers as fuser's replies: one owned object per request, sent from whichever thread finishes it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use datapath::errno::{Errno, FsResult};
use datapath::wire::Iatt;
use fuser::{FileHandle, FopenFlags, Generation, INodeNo};

use super::convert::{file_attr, file_type};
use crate::attr::Attr;
use crate::request::{Answer, DirItem, Entry, OpenMode, Reply, ReplySink};

/// Node ids are derived from gfids and never reused for another inode.
const GENERATION: Generation = Generation(0);

/// fuser's reply object of one request.
pub(super) enum FuserReply {
    Empty(fuser::ReplyEmpty),
    Entry(fuser::ReplyEntry),
    Attr(fuser::ReplyAttr),
    Data(fuser::ReplyData),
    Open(fuser::ReplyOpen),
    Create(fuser::ReplyCreate),
    Write(fuser::ReplyWrite),
    Statfs(fuser::ReplyStatfs),
    Xattr(fuser::ReplyXattr),
    Lock(fuser::ReplyLock),
    Lseek(fuser::ReplyLseek),
    Directory(fuser::ReplyDirectory),
    DirectoryPlus(fuser::ReplyDirectoryPlus),
    Ioctl(fuser::ReplyIoctl),
    Bmap(fuser::ReplyBmap),
    Poll(fuser::ReplyPoll),
}

impl FuserReply {
    pub(super) fn boxed(self) -> Reply {
        Reply::new(Box::new(self))
    }

    fn error(self, errno: Errno) {
        let errno = fuser::Errno::from_i32(errno.0);
        match self {
            FuserReply::Empty(r) => r.error(errno),
            FuserReply::Entry(r) => r.error(errno),
            FuserReply::Attr(r) => r.error(errno),
            FuserReply::Data(r) => r.error(errno),
            FuserReply::Open(r) => r.error(errno),
            FuserReply::Create(r) => r.error(errno),
            FuserReply::Write(r) => r.error(errno),
            FuserReply::Statfs(r) => r.error(errno),
            FuserReply::Xattr(r) => r.error(errno),
            FuserReply::Lock(r) => r.error(errno),
            FuserReply::Lseek(r) => r.error(errno),
            FuserReply::Directory(r) => r.error(errno),
            FuserReply::DirectoryPlus(r) => r.error(errno),
            FuserReply::Ioctl(r) => r.error(errno),
            FuserReply::Bmap(r) => r.error(errno),
            FuserReply::Poll(r) => r.error(errno),
        }
    }

    fn success(self, answer: Answer) {
        match (self, answer) {
            (FuserReply::Empty(r), Answer::Done) => r.ok(),
            (FuserReply::Data(r), Answer::Data(data)) => r.data(&data),
            (FuserReply::Write(r), Answer::Written(n)) => r.written(n),
            (FuserReply::Open(r), Answer::Opened { fh, mode }) => r.opened(FileHandle(fh), open_flags(mode)),
            (FuserReply::Xattr(r), Answer::XattrSize(n)) => r.size(n),
            (FuserReply::Xattr(r), Answer::Xattr(data)) => r.data(&data),
            (FuserReply::Lock(r), Answer::Lock(l)) => r.locked(l.start, l.end, l.kind, l.pid),
            (FuserReply::Lseek(r), Answer::Offset(off)) => r.offset(off as i64),
            (FuserReply::Directory(r), Answer::Directory) => r.ok(),
            (FuserReply::DirectoryPlus(r), Answer::Directory) => r.ok(),
            (FuserReply::Statfs(r), Answer::Statfs(s)) => {
                let (bsize, namemax, frsize) = (s.bsize as u32, s.namemax as u32, s.frsize as u32);
                r.statfs(s.blocks, s.bfree, s.bavail, s.files, s.ffree, bsize, namemax, frsize);
            }
            (FuserReply::Attr(r), Answer::Attr { attr, ttl }) => match file_attr(attr.ino, &attr) {
                Some(attr) => r.attr(&ttl, &attr),
                None => r.error(fuser::Errno::EIO),
            },
            (FuserReply::Entry(r), Answer::Entry(e)) => match file_attr(e.node, &e.attr) {
                Some(attr) => r.entry_with_ttls(&e.attr_ttl, &e.entry_ttl, &attr, GENERATION),
                None => r.error(fuser::Errno::EIO),
            },
            // Node 0 says that the name does not exist (fuse_entry_out); the rest of the entry is not looked at.
            (FuserReply::Entry(r), Answer::Missing { ttl }) => match file_attr(0, &nothing()) {
                Some(attr) => r.entry_with_ttls(&Duration::ZERO, &ttl, &attr, GENERATION),
                None => r.error(fuser::Errno::ENOENT),
            },
            (FuserReply::Create(r), Answer::Created { entry: e, fh, mode }) => match file_attr(e.node, &e.attr) {
                Some(attr) => {
                    r.created(
                        &e.attr_ttl.min(e.entry_ttl),
                        &attr,
                        GENERATION,
                        FileHandle(fh),
                        open_flags(mode),
                    );
                }
                None => r.error(fuser::Errno::EIO),
            },
            (reply, answer) => {
                tracing::error!("an answer of the wrong kind was made for a request: {answer:?}");
                reply.error(Errno::EIO);
            }
        }
    }
}

impl ReplySink for FuserReply {
    fn add(&mut self, item: &DirItem) -> bool {
        let name = OsStr::from_bytes(&item.name);
        match self {
            FuserReply::Directory(r) => {
                // fuser has no "unknown" type; dispatch fills in the type before it gets here where it can.
                let kind = file_type(item.kind).unwrap_or(fuser::FileType::RegularFile);
                !r.add(INodeNo(item.ino), item.next, kind, name)
            }
            FuserReply::DirectoryPlus(r) => match &item.plus {
                Some(entry) => add_plus(r, item, name, entry),
                None => true,
            },
            _ => false,
        }
    }

    fn finish(self: Box<Self>, answer: FsResult<Answer>) {
        match answer {
            Ok(answer) => self.success(answer),
            Err(errno) => self.error(errno),
        }
    }
}

/// An entry whose attributes the kernel would refuse is left out (and counts as added).
fn add_plus(reply: &mut fuser::ReplyDirectoryPlus, item: &DirItem, name: &OsStr, entry: &Entry) -> bool {
    match file_attr(entry.node, &entry.attr) {
        Some(attr) => {
            let ttl = entry.attr_ttl.min(entry.entry_ttl);
            !reply.add(INodeNo(entry.node), item.next, name, &ttl, &attr, GENERATION)
        }
        None => true,
    }
}

/// Attributes of what is not there: fuser wants some.
fn nothing() -> Attr {
    Attr::from_iatt(&Iatt {
        mode: libc::S_IFREG,
        ..Iatt::default()
    })
}

fn open_flags(mode: OpenMode) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    if mode.direct_io {
        flags |= FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
    }
    if mode.keep_cache {
        flags |= FopenFlags::FOPEN_KEEP_CACHE;
    }
    flags
}
