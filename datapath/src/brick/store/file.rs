//! Open files and directories, and opening them (OPEN, OPENDIR, anonymous descriptors).

use std::cell::{OnceCell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::dir::RawEntry;
use crate::sys::fs::{self, Stat};
use crate::wire::Gfid;

use super::inode::Inodes;
use super::{Call, Store, access};

/// GlusterFS's own open flag: the file is opened to be executed (wire-protocol.md 3.7).
const FMODE_EXEC: i32 = 0o40;
/// Offsets, lengths and addresses of direct I/O are multiples of this many bytes; others go through the page cache.
pub(super) const DIRECT_ALIGN: u64 = 4096;

/// An open file. Dropping the last reference closes it; a file unlinked meanwhile is then gone.
#[derive(Debug)]
pub struct OpenFile {
    gfid: Gfid,
    flags: i32,
    fd: Arc<OwnedFd>,
    /// A second descriptor with `O_DIRECT`; `None` inside if the file system has no direct I/O.
    direct: OnceCell<Option<Arc<OwnedFd>>>,
    /// `None`: anonymous, not counted.
    counted: Option<Rc<Inodes>>,
}

/// The descriptor to use for one read or write.
#[derive(Clone, Debug)]
pub struct IoFile {
    /// The descriptor.
    pub fd: Arc<OwnedFd>,
    /// It bypasses the page cache and waits for the disk.
    pub direct: bool,
}

impl OpenFile {
    fn new(gfid: Gfid, flags: i32, fd: OwnedFd, counted: Option<Rc<Inodes>>) -> OpenFile {
        if let Some(inodes) = &counted {
            inodes.opened(gfid);
        }
        OpenFile {
            gfid,
            flags,
            fd: Arc::new(fd),
            direct: OnceCell::new(),
            counted,
        }
    }

    /// The file's gfid.
    pub fn gfid(&self) -> Gfid {
        self.gfid
    }

    /// The flags the client opened it with.
    pub fn flags(&self) -> i32 {
        self.flags
    }

    /// The descriptor that uses the page cache. It has neither `O_DIRECT` nor `O_SYNC`, whatever the client asked for.
    pub fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Whether the client opened it for writing.
    pub fn is_writable(&self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_RDONLY
    }

    /// Whether the client opened it for reading.
    pub fn is_readable(&self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_WRONLY
    }

    /// Whether every write must be on the disk before it is answered.
    pub fn is_sync(&self) -> bool {
        self.flags & (libc::O_SYNC | libc::O_DSYNC) != 0
    }

    /// The descriptor for I/O of `len` bytes at `off` from or to memory at `address`: direct if the client asked for it
    /// (`flags` are those of the open or of the request) and everything is aligned.
    pub fn io(&self, flags: i32, off: u64, len: u64, address: usize) -> IoFile {
        let aligned = |n: u64| n.is_multiple_of(DIRECT_ALIGN);
        let wanted = (self.flags | flags) & libc::O_DIRECT != 0;
        if wanted
            && len > 0
            && aligned(off)
            && aligned(len)
            && aligned(address as u64)
            && let Some(fd) = self.direct.get_or_init(|| self.open_direct())
        {
            return IoFile {
                fd: fd.clone(),
                direct: true,
            };
        }
        IoFile {
            fd: self.fd.clone(),
            direct: false,
        }
    }

    fn open_direct(&self) -> Option<Arc<OwnedFd>> {
        let flags = self.flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_NOATIME) | libc::O_DIRECT;
        match fs::reopen(&*self.fd, flags) {
            Ok(fd) => Some(Arc::new(fd)),
            Err(e) => {
                tracing::debug!(gfid = %self.gfid, error = %e, "no direct I/O on this file; the page cache is used");
                None
            }
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(inodes) = &self.counted {
            inodes.closed(self.gfid);
        }
    }
}

/// An open directory with a position of its own.
#[derive(Debug)]
pub struct OpenDir {
    gfid: Gfid,
    fd: Arc<OwnedFd>,
    /// Names read from the kernel but not yet given out, and the cookie of the position before them.
    pub(super) ahead: RefCell<(u64, Vec<RawEntry>)>,
}

impl OpenDir {
    /// The directory's gfid.
    pub fn gfid(&self) -> Gfid {
        self.gfid
    }

    /// The descriptor.
    pub fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.fd
    }
}

/// The flags for the kernel: what changes the meaning of later calls is kept on our side.
fn kernel_flags(flags: i32) -> i32 {
    const KEPT: i32 = libc::O_ACCMODE | libc::O_APPEND | libc::O_TRUNC | libc::O_NOATIME;
    // A device or FIFO that took the file's place must not block the brick.
    flags & KEPT | libc::O_NONBLOCK | libc::O_NOCTTY
}

/// What opening with `flags` needs, in the bits of [`access`].
pub(super) fn wanted_access(flags: i32) -> u32 {
    let by_mode = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => access::WRITE,
        libc::O_RDWR => access::READ | access::WRITE,
        _ if flags & FMODE_EXEC != 0 => access::EXECUTE,
        _ => access::READ,
    };
    if flags & libc::O_TRUNC != 0 {
        by_mode | access::WRITE
    } else {
        by_mode
    }
}

/// Whether data fops work on an object of this type.
pub(super) fn check_regular(stat: &Stat) -> FsResult<()> {
    match stat.file_type() {
        libc::S_IFREG => Ok(()),
        libc::S_IFDIR => Err(Errno::EISDIR),
        libc::S_IFLNK => Err(Errno::ELOOP),
        _ => Err(Errno::EINVAL),
    }
}

impl Store {
    /// OPEN of a regular file with the client's flags; `O_CREAT` and `O_EXCL` mean nothing here.
    ///
    /// # Errors
    /// `ESTALE` if the gfid is gone, `EISDIR`, `ELOOP`, `EACCES`, or what the file system gives.
    pub fn open_file(&self, call: &Call<'_>, gfid: Gfid, flags: i32) -> FsResult<Rc<OpenFile>> {
        let (node, stat) = self.locate_stat_known(gfid)?;
        check_regular(&stat)?;
        self.check(call, &node, &stat, wanted_access(flags))?;
        let fd = node.open(kernel_flags(flags))?;
        self.apply_stamp(&node, gfid, call.stamp.for_object());
        Ok(self.register(gfid, flags, fd))
    }

    /// A descriptor that no client holds, for one request or for the brick's own use: for reading and writing, found also
    /// for files unlinked while open. It is not counted and checks no permissions.
    ///
    /// # Errors
    /// `ESTALE` if the gfid is gone, `EISDIR`, `ELOOP`, or what the file system gives.
    pub fn open_anonymous(&self, gfid: Gfid, flags: i32) -> FsResult<Rc<OpenFile>> {
        let (node, stat) = self.locate_stat_known(gfid)?;
        check_regular(&stat)?;
        let flags = flags & !(libc::O_ACCMODE | libc::O_TRUNC | libc::O_APPEND) | libc::O_RDWR;
        let fd = match node.open(kernel_flags(flags)) {
            Err(Errno::EROFS | Errno::ETXTBSY) => node.open(libc::O_RDONLY)?,
            other => other?,
        };
        Ok(Rc::new(OpenFile::new(gfid, flags, fd, None)))
    }

    /// A counted open file made of a descriptor.
    pub(super) fn register(&self, gfid: Gfid, flags: i32, fd: OwnedFd) -> Rc<OpenFile> {
        let forced = if self.options.borrow().o_direct {
            libc::O_DIRECT
        } else {
            0
        };
        Rc::new(OpenFile::new(gfid, flags | forced, fd, Some(self.inodes.clone())))
    }

    /// OPENDIR.
    ///
    /// # Errors
    /// `ESTALE` if the gfid is gone, `ENOTDIR`, `EACCES`.
    pub fn open_dir(&self, call: &Call<'_>, gfid: Gfid) -> FsResult<Rc<OpenDir>> {
        let parent = self.parent(gfid)?;
        self.check(call, &parent.node(), &parent.stat, access::READ)?;
        self.apply_stamp(&parent.node(), gfid, call.stamp.for_object());
        self.open_dir_anonymous(gfid)
    }

    /// A directory descriptor for one request; checks no permissions.
    ///
    /// # Errors
    /// `ESTALE` if the gfid is gone, `ENOTDIR`.
    pub fn open_dir_anonymous(&self, gfid: Gfid) -> FsResult<Rc<OpenDir>> {
        let parent = self.parent(gfid)?;
        // Its own position: `.` is opened anew.
        let fd = fs::openat(&*parent.fd, b".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        Ok(Rc::new(OpenDir {
            gfid,
            fd: Arc::new(fd),
            ahead: RefCell::default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_follows_from_the_flags() {
        assert_eq!(wanted_access(libc::O_RDONLY), access::READ);
        assert_eq!(wanted_access(libc::O_RDONLY | FMODE_EXEC), access::EXECUTE);
        assert_eq!(wanted_access(libc::O_WRONLY), access::WRITE);
        assert_eq!(
            wanted_access(libc::O_RDONLY | libc::O_TRUNC),
            access::READ | access::WRITE
        );
    }
}
