//! Kernel requests as owned values: what every transport produces and what [`crate::dispatch`] consumes.
//!
//! Nothing here knows how a request reached us (fuser, a ring, a test) or what a volume is. A transport decodes one
//! kernel message into a [`Request`], hands it to the [`crate::router::Router`], and later gets exactly one
//! [`Answer`] (or an error number) through the [`ReplySink`] it put into it.

use std::time::Duration;

use bytes::Bytes;
use datapath::errno::{Errno, FsResult};
use datapath::wire::Gfid;

use crate::attr::Attr;

/// The node id of the mount's root directory, fixed by the FUSE protocol.
pub const ROOT_NODE: u64 = 1;

/// Who made the system call behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Who {
    /// Effective (file system) user id.
    pub uid: u32,
    /// Effective (file system) group id.
    pub gid: u32,
    /// Thread id of the caller; 0 for requests the kernel makes on its own, such as write-back.
    pub pid: u32,
}

/// One kernel request and the way to answer it.
#[derive(Debug)]
pub struct Request {
    /// The inode the request addresses (the parent directory in entry operations).
    pub node: u64,
    /// The caller.
    pub who: Who,
    /// What is wanted.
    pub op: Op,
    /// Where the answer goes.
    pub reply: Reply,
}

/// The times of a setattr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChange {
    /// The server's or client's current time.
    Now,
    /// Seconds since the epoch (negative before it) and nanoseconds, 0..=999_999_999.
    At(i64, u32),
}

/// What a SETATTR changes; absent fields stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// Permission bits, as `chmod` takes them.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size in bytes.
    pub size: Option<u64>,
    /// New access time.
    pub atime: Option<TimeChange>,
    /// New modification time.
    pub mtime: Option<TimeChange>,
}

/// A byte-range lock as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// First byte.
    pub start: u64,
    /// Last byte, inclusive; `i64::MAX` reaches to the end of the file, however long it grows.
    pub end: u64,
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub kind: i32,
    /// The process that holds (or wants) it.
    pub pid: u32,
}

/// Every operation a mount can be asked for. Names and file data are owned: a transport's buffer is free again as soon
/// as the request has been built.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the FUSE protocol's own")]
pub enum Op {
    Lookup {
        name: Bytes,
    },
    Forget {
        lookups: u64,
    },
    Getattr {
        fh: Option<u64>,
    },
    Setattr {
        change: AttrChange,
        fh: Option<u64>,
    },
    Readlink,
    Mknod {
        name: Bytes,
        mode: u32,
        rdev: u32,
    },
    Mkdir {
        name: Bytes,
        mode: u32,
    },
    Symlink {
        name: Bytes,
        target: Bytes,
    },
    Unlink {
        name: Bytes,
    },
    Rmdir {
        name: Bytes,
    },
    Rename {
        name: Bytes,
        to: Target,
        newname: Bytes,
        flags: u32,
    },
    Link {
        of: Target,
        name: Bytes,
    },
    Open {
        flags: u32,
    },
    Create {
        name: Bytes,
        mode: u32,
        flags: u32,
    },
    Read {
        fh: u64,
        offset: u64,
        size: u32,
        lock_owner: Option<u64>,
    },
    Write {
        fh: u64,
        offset: u64,
        data: Bytes,
        flags: u32,
        kill_privileges: bool,
        lock_owner: Option<u64>,
    },
    Flush {
        fh: u64,
        lock_owner: u64,
    },
    Fsync {
        fh: u64,
        datasync: bool,
    },
    Release {
        fh: u64,
        flock_owner: Option<u64>,
    },
    Opendir,
    Readdir {
        fh: u64,
        offset: u64,
    },
    Readdirplus {
        fh: u64,
        offset: u64,
    },
    Releasedir {
        fh: u64,
    },
    Fsyncdir {
        fh: u64,
        datasync: bool,
    },
    Statfs,
    Setxattr {
        name: Bytes,
        value: Bytes,
        flags: u32,
    },
    Getxattr {
        name: Bytes,
        size: u32,
    },
    Listxattr {
        size: u32,
    },
    Removexattr {
        name: Bytes,
    },
    Access {
        mask: u32,
    },
    Getlk {
        fh: u64,
        lock_owner: u64,
        range: LockRange,
    },
    Setlk {
        fh: u64,
        lock_owner: u64,
        range: LockRange,
        wait: bool,
    },
    Fallocate {
        fh: u64,
        offset: u64,
        length: u64,
        mode: i32,
    },
    Lseek {
        fh: u64,
        offset: u64,
        whence: i32,
    },
    CopyFileRange,
    Ioctl,
    Bmap,
    Poll,
}

/// The second inode of a rename or link: named by node id until its own core has looked the gfid up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// As the kernel sent it.
    Node(u64),
    /// Resolved by the core that owns the node.
    Gfid(Gfid),
}

impl Op {
    /// The open file or directory the operation works on, if it carries one.
    pub fn handle(&self) -> Option<u64> {
        match self {
            Op::Getattr { fh } | Op::Setattr { fh, .. } => *fh,
            Op::Read { fh, .. }
            | Op::Write { fh, .. }
            | Op::Flush { fh, .. }
            | Op::Fsync { fh, .. }
            | Op::Release { fh, .. }
            | Op::Readdir { fh, .. }
            | Op::Readdirplus { fh, .. }
            | Op::Releasedir { fh }
            | Op::Fsyncdir { fh, .. }
            | Op::Getlk { fh, .. }
            | Op::Setlk { fh, .. }
            | Op::Fallocate { fh, .. }
            | Op::Lseek { fh, .. } => Some(*fh),
            _ => None,
        }
    }

    /// Makes a GETATTR or SETATTR work on an open file.
    pub fn use_handle(&mut self, handle: u64) {
        if let Op::Getattr { fh } | Op::Setattr { fh, .. } = self {
            *fh = Some(handle);
        }
    }

    /// The node whose gfid another core must fill in before the operation can run.
    pub fn unresolved(&self) -> Option<u64> {
        match self {
            Op::Rename {
                to: Target::Node(node), ..
            }
            | Op::Link {
                of: Target::Node(node), ..
            } => Some(*node),
            _ => None,
        }
    }

    /// Fills in what [`Op::unresolved`] asked for.
    pub fn resolve(&mut self, gfid: Gfid) {
        if let Op::Rename { to: target, .. } | Op::Link { of: target, .. } = self {
            *target = Target::Gfid(gfid);
        }
    }

    /// The operation's name, for log lines.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Lookup { .. } => "LOOKUP",
            Op::Forget { .. } => "FORGET",
            Op::Getattr { .. } => "GETATTR",
            Op::Setattr { .. } => "SETATTR",
            Op::Readlink => "READLINK",
            Op::Mknod { .. } => "MKNOD",
            Op::Mkdir { .. } => "MKDIR",
            Op::Symlink { .. } => "SYMLINK",
            Op::Unlink { .. } => "UNLINK",
            Op::Rmdir { .. } => "RMDIR",
            Op::Rename { .. } => "RENAME",
            Op::Link { .. } => "LINK",
            Op::Open { .. } => "OPEN",
            Op::Create { .. } => "CREATE",
            Op::Read { .. } => "READ",
            Op::Write { .. } => "WRITE",
            Op::Flush { .. } => "FLUSH",
            Op::Fsync { .. } => "FSYNC",
            Op::Release { .. } => "RELEASE",
            Op::Opendir => "OPENDIR",
            Op::Readdir { .. } => "READDIR",
            Op::Readdirplus { .. } => "READDIRPLUS",
            Op::Releasedir { .. } => "RELEASEDIR",
            Op::Fsyncdir { .. } => "FSYNCDIR",
            Op::Statfs => "STATFS",
            Op::Setxattr { .. } => "SETXATTR",
            Op::Getxattr { .. } => "GETXATTR",
            Op::Listxattr { .. } => "LISTXATTR",
            Op::Removexattr { .. } => "REMOVEXATTR",
            Op::Access { .. } => "ACCESS",
            Op::Getlk { .. } => "GETLK",
            Op::Setlk { wait: false, .. } => "SETLK",
            Op::Setlk { wait: true, .. } => "SETLKW",
            Op::Fallocate { .. } => "FALLOCATE",
            Op::Lseek { .. } => "LSEEK",
            Op::CopyFileRange => "COPY_FILE_RANGE",
            Op::Ioctl => "IOCTL",
            Op::Bmap => "BMAP",
            Op::Poll => "POLL",
        }
    }
}

/// A name's inode, as LOOKUP and the creating operations return it. Each one sent counts as a lookup of `node`.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The node id the kernel shall use.
    pub node: u64,
    /// Attributes.
    pub attr: Attr,
    /// How long the kernel may use the attributes without asking.
    pub attr_ttl: Duration,
    /// How long the kernel may use the name without asking.
    pub entry_ttl: Duration,
}

/// How an open file behaves in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// Bypass the page cache.
    pub direct_io: bool,
    /// Keep what the page cache has from earlier opens.
    pub keep_cache: bool,
}

/// One name of a directory listing.
#[derive(Clone, Debug)]
pub struct DirItem {
    /// The name.
    pub name: Bytes,
    /// Where the listing goes on after this name.
    pub next: u64,
    /// Inode number shown by readdir.
    pub ino: u64,
    /// File type bits as in `st_mode` (`S_IFREG`...); 0 when unknown.
    pub kind: u32,
    /// For READDIRPLUS: attributes. "." and ".." need not have them.
    pub plus: Option<Entry>,
}

/// File system statistics, as `statvfs` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "statvfs names")]
pub struct FsStat {
    pub bsize: u64,
    pub frsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub namemax: u64,
}

/// A successful answer.
#[derive(Debug)]
#[allow(missing_docs, reason = "named like the operations they answer")]
pub enum Answer {
    /// Nothing but success.
    Done,
    Entry(Entry),
    /// LOOKUP: there is no such name, which the kernel may remember for `ttl`.
    Missing {
        ttl: Duration,
    },
    Attr {
        attr: Attr,
        ttl: Duration,
    },
    /// Read data or a link's target.
    Data(Bytes),
    Opened {
        fh: u64,
        mode: OpenMode,
    },
    Created {
        entry: Entry,
        fh: u64,
        mode: OpenMode,
    },
    Written(u32),
    Statfs(FsStat),
    /// Size of an xattr value or list, when the caller gave no buffer.
    XattrSize(u32),
    /// An xattr value or list.
    Xattr(Bytes),
    Lock(LockRange),
    Offset(u64),
    /// The names given to [`Reply::add`].
    Directory,
}

/// The transport's half of a reply.
pub trait ReplySink: Send {
    /// Adds a name to a directory answer. `false` when it does not fit: then it has not been added. Only called for
    /// READDIR and READDIRPLUS.
    fn add(&mut self, item: &DirItem) -> bool;

    /// Sends the answer. An answer that does not fit the operation is a bug of the caller; the transport logs it and
    /// answers `EIO`.
    fn finish(self: Box<Self>, answer: FsResult<Answer>);
}

/// An answer still to be given. Dropping it unanswered makes the transport answer `EIO`.
pub struct Reply(Option<Box<dyn ReplySink>>);

impl Reply {
    /// Wraps a transport's sink.
    pub fn new(sink: Box<dyn ReplySink>) -> Reply {
        Reply(Some(sink))
    }

    /// For requests without an answer (FORGET).
    pub fn none() -> Reply {
        Reply(None)
    }

    /// See [`ReplySink::add`].
    pub fn add(&mut self, item: &DirItem) -> bool {
        self.0.as_mut().is_some_and(|sink| sink.add(item))
    }

    /// Answers the request.
    pub fn send(mut self, answer: FsResult<Answer>) {
        if let Some(sink) = self.0.take() {
            sink.finish(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.finish(Err(Errno::EIO));
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Reply(pending)"
        } else {
            "Reply(none)"
        })
    }
}
