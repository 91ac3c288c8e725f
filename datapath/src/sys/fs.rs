//! File-system calls relative to a directory descriptor: what the brick store is made of.
//!
//! Every function is one system call (two where an old kernel needs a detour), retried on `EINTR`, with its
//! error number returned. Paths are byte strings; one with a NUL in it is refused with `EINVAL` before the call.
//! No policy: what is a legal name, who may do it and what a crash leaves is the caller's business.

use std::ffi::{CStr, CString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::errno::{Errno, FsResult};

/// Paths shorter than this are passed on the stack.
const STACK_PATH: usize = 320;

/// Calls `f` with `path` as a C string.
pub(super) fn with_cstr<R>(path: &[u8], f: impl FnOnce(&CStr) -> FsResult<R>) -> FsResult<R> {
    if path.len() < STACK_PATH {
        let mut buf = [0u8; STACK_PATH];
        buf[..path.len()].copy_from_slice(path);
        let text = CStr::from_bytes_with_nul(&buf[..=path.len()]).map_err(|_| Errno::EINVAL)?;
        f(text)
    } else {
        let text = CString::new(path).map_err(|_| Errno::EINVAL)?;
        f(&text)
    }
}

/// The result of a call that returns -1 on failure; the closure is repeated while a signal interrupts it.
pub(super) fn check(mut call: impl FnMut() -> i64) -> FsResult<i64> {
    loop {
        let ret = call();
        if ret >= 0 {
            return Ok(ret);
        }
        let errno = Errno::last();
        if errno != Errno::EINTR {
            return Err(errno);
        }
    }
}

/// What `stat(2)` says of an inode. Times are seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of struct stat")]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    /// Raw `dev_t`.
    pub rdev: u64,
    pub size: u64,
    pub blksize: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    pub atime: (i64, u32),
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
}

impl Stat {
    /// The file-type bits.
    pub fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == libc::S_IFDIR
    }

    /// Whether this is a regular file.
    pub fn is_reg(&self) -> bool {
        self.file_type() == libc::S_IFREG
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == libc::S_IFLNK
    }

    /// Whether both are the same inode of the same file system.
    pub fn same_inode(&self, other: &Stat) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }

    fn from_libc(s: &libc::stat) -> Stat {
        Stat {
            dev: s.st_dev,
            ino: s.st_ino,
            mode: s.st_mode,
            nlink: s.st_nlink,
            uid: s.st_uid,
            gid: s.st_gid,
            rdev: s.st_rdev,
            size: s.st_size.max(0) as u64,
            blksize: s.st_blksize.max(0) as u64,
            blocks: s.st_blocks.max(0) as u64,
            atime: (s.st_atime, s.st_atime_nsec as u32),
            mtime: (s.st_mtime, s.st_mtime_nsec as u32),
            ctime: (s.st_ctime, s.st_ctime_nsec as u32),
        }
    }
}

/// `openat(2)`; `O_CLOEXEC` is always added.
pub fn openat(dir: impl AsFd, path: &[u8], flags: i32, mode: u32) -> FsResult<OwnedFd> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `dir` is borrowed, hence open.
        let fd = check(|| unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC, mode) } as i64)?;
        // SAFETY: the kernel has just returned this descriptor and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    })
}

/// Opens the file behind `fd` again, with flags of its own (through `/proc/self/fd`).
pub fn reopen(fd: impl AsFd, flags: i32) -> FsResult<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    with_cstr(path.as_bytes(), |path| {
        // SAFETY: `path` is a C string that outlives the call.
        let new = check(|| unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) } as i64)?;
        // SAFETY: the kernel has just returned this descriptor and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(new as i32) })
    })
}

/// `mkdirat(2)`.
pub fn mkdirat(dir: impl AsFd, path: &[u8], mode: u32) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `dir` is open.
        check(|| unsafe { libc::mkdirat(dir, path.as_ptr(), mode) } as i64).map(drop)
    })
}

/// `mknodat(2)`; `mode` has the file type, `rdev` is a raw `dev_t`.
pub fn mknodat(dir: impl AsFd, path: &[u8], mode: u32, rdev: u64) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `dir` is open.
        check(|| unsafe { libc::mknodat(dir, path.as_ptr(), mode, rdev) } as i64).map(drop)
    })
}

/// `symlinkat(2)`: makes `path` point at the text `target`.
pub fn symlinkat(target: &[u8], dir: impl AsFd, path: &[u8]) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(target, |target| {
        with_cstr(path, |path| {
            // SAFETY: both are C strings that outlive the call and `dir` is open.
            check(|| unsafe { libc::symlinkat(target.as_ptr(), dir, path.as_ptr()) } as i64).map(drop)
        })
    })
}

/// `linkat(2)` without following a symbolic link at the old name.
pub fn linkat(old_dir: impl AsFd, old: &[u8], new_dir: impl AsFd, new: &[u8]) -> FsResult<()> {
    let (old_dir, new_dir) = (old_dir.as_fd().as_raw_fd(), new_dir.as_fd().as_raw_fd());
    with_cstr(old, |old| {
        with_cstr(new, |new| {
            // SAFETY: both are C strings that outlive the call and both directories are open.
            check(|| unsafe { libc::linkat(old_dir, old.as_ptr(), new_dir, new.as_ptr(), 0) } as i64).map(drop)
        })
    })
}

/// `unlinkat(2)` of a non-directory.
pub fn unlinkat(dir: impl AsFd, path: &[u8]) -> FsResult<()> {
    unlink_flags(dir, path, 0)
}

/// `unlinkat(2)` of an empty directory.
pub fn rmdirat(dir: impl AsFd, path: &[u8]) -> FsResult<()> {
    unlink_flags(dir, path, libc::AT_REMOVEDIR)
}

fn unlink_flags(dir: impl AsFd, path: &[u8], flags: i32) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `dir` is open.
        check(|| unsafe { libc::unlinkat(dir, path.as_ptr(), flags) } as i64).map(drop)
    })
}

/// `renameat2(2)`; `flags` are `RENAME_NOREPLACE`, `RENAME_EXCHANGE` or 0.
pub fn renameat(old_dir: impl AsFd, old: &[u8], new_dir: impl AsFd, new: &[u8], flags: u32) -> FsResult<()> {
    let (old_dir, new_dir) = (old_dir.as_fd().as_raw_fd(), new_dir.as_fd().as_raw_fd());
    with_cstr(old, |old| {
        with_cstr(new, |new| {
            // SAFETY: both are C strings that outlive the call and both directories are open.
            check(|| unsafe { libc::renameat2(old_dir, old.as_ptr(), new_dir, new.as_ptr(), flags) } as i64).map(drop)
        })
    })
}

/// `readlinkat(2)`: the text of a symbolic link.
pub fn readlinkat(dir: impl AsFd, path: &[u8]) -> FsResult<Vec<u8>> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(path, |path| {
        let mut out: Vec<u8> = Vec::with_capacity(512);
        loop {
            let room = out.capacity();
            // SAFETY: `out` has `room` writable bytes and `path` is a C string; both outlive the call.
            let n = check(|| unsafe { libc::readlinkat(dir, path.as_ptr(), out.as_mut_ptr().cast(), room) } as i64)?
                as usize;
            if n < room {
                // SAFETY: the kernel filled the first `n` bytes, and n < capacity.
                unsafe { out.set_len(n) };
                return Ok(out);
            }
            out.reserve(room * 2);
        }
    })
}

/// `fstatat(2)` without following a symbolic link.
pub fn lstatat(dir: impl AsFd, path: &[u8]) -> FsResult<Stat> {
    stat_flags(dir, path, libc::AT_SYMLINK_NOFOLLOW)
}

/// `fstatat(2)` that follows symbolic links.
pub fn statat(dir: impl AsFd, path: &[u8]) -> FsResult<Stat> {
    stat_flags(dir, path, 0)
}

fn stat_flags(dir: impl AsFd, path: &[u8], flags: i32) -> FsResult<Stat> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(path, |path| {
        let mut buf = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `buf` has room for one stat and `path` is a C string; both outlive the call.
        check(|| unsafe { libc::fstatat(dir, path.as_ptr(), buf.as_mut_ptr(), flags) } as i64)?;
        // SAFETY: the call succeeded, so the kernel has filled `buf`.
        Ok(Stat::from_libc(unsafe { buf.assume_init_ref() }))
    })
}

/// `fstat(2)`.
pub fn fstat(fd: impl AsFd) -> FsResult<Stat> {
    let fd = fd.as_fd().as_raw_fd();
    let mut buf = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `buf` has room for one stat and outlives the call; `fd` is open.
    check(|| unsafe { libc::fstat(fd, buf.as_mut_ptr()) } as i64)?;
    // SAFETY: the call succeeded, so the kernel has filled `buf`.
    Ok(Stat::from_libc(unsafe { buf.assume_init_ref() }))
}

/// `fchmod(2)`.
pub fn fchmod(fd: impl AsFd, mode: u32) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed and `fd` is open.
    check(|| unsafe { libc::fchmod(fd, mode) } as i64).map(drop)
}

/// The number of `fchmodat2(2)`, the same on every architecture (Linux 6.6).
const SYS_FCHMODAT2: libc::c_long = 452;

/// Changes the mode of the object itself. On kernels before 6.6 a symbolic link gives `EOPNOTSUPP`.
pub fn lchmodat(dir: impl AsFd, path: &[u8], mode: u32) -> FsResult<()> {
    let raw = dir.as_fd().as_raw_fd();
    let direct = with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `raw` is open.
        check(|| unsafe { libc::syscall(SYS_FCHMODAT2, raw, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW) })
    });
    match direct {
        Err(Errno::ENOSYS) => {}
        other => return other.map(drop),
    }
    if lstatat(&dir, path)?.is_symlink() {
        return Err(Errno::EOPNOTSUPP);
    }
    with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `raw` is open.
        check(|| unsafe { libc::fchmodat(raw, path.as_ptr(), mode, 0) } as i64).map(drop)
    })
}

/// `fchown(2)`; `None` leaves that id alone.
pub fn fchown(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed and `fd` is open.
    check(|| unsafe { libc::fchown(fd, uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX)) } as i64).map(drop)
}

/// `fchownat(2)` without following a symbolic link; `None` leaves that id alone.
pub fn lchownat(dir: impl AsFd, path: &[u8], uid: Option<u32>, gid: Option<u32>) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    let (uid, gid) = (uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX));
    with_cstr(path, |path| {
        // SAFETY: `path` is a C string that outlives the call and `dir` is open.
        check(|| unsafe { libc::fchownat(dir, path.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) } as i64).map(drop)
    })
}

/// One of the two times of `utimensat(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it.
    Omit,
    /// The kernel's current time.
    Now,
    /// Seconds and nanoseconds (below 1e9) since the epoch.
    At(i64, u32),
}

impl SetTime {
    fn timespec(self) -> libc::timespec {
        match self {
            SetTime::Omit => libc::timespec {
                tv_sec: 0,
                tv_nsec: libc::UTIME_OMIT,
            },
            SetTime::Now => libc::timespec {
                tv_sec: 0,
                tv_nsec: libc::UTIME_NOW,
            },
            SetTime::At(sec, nsec) => libc::timespec {
                tv_sec: sec,
                tv_nsec: i64::from(nsec),
            },
        }
    }
}

/// `futimens(2)`.
pub fn futimens(fd: impl AsFd, atime: SetTime, mtime: SetTime) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    let times = [atime.timespec(), mtime.timespec()];
    // SAFETY: `times` is an array of two timespecs that outlives the call; `fd` is open.
    check(|| unsafe { libc::futimens(fd, times.as_ptr()) } as i64).map(drop)
}

/// `utimensat(2)` without following a symbolic link.
pub fn lutimensat(dir: impl AsFd, path: &[u8], atime: SetTime, mtime: SetTime) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    let times = [atime.timespec(), mtime.timespec()];
    with_cstr(path, |path| {
        // SAFETY: `times` and `path` outlive the call and `dir` is open.
        check(|| unsafe { libc::utimensat(dir, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) } as i64)
            .map(drop)
    })
}

/// A file offset or length as the kernel's signed type: beyond 2^63-1 is `EFBIG`.
fn offset(n: u64) -> FsResult<i64> {
    i64::try_from(n).map_err(|_| Errno::EFBIG)
}

/// `ftruncate(2)`; `size` in bytes.
pub fn ftruncate(fd: impl AsFd, size: u64) -> FsResult<()> {
    let (fd, size) = (fd.as_fd().as_raw_fd(), offset(size)?);
    // SAFETY: no memory is passed and `fd` is open.
    check(|| unsafe { libc::ftruncate(fd, size) } as i64).map(drop)
}

/// `fallocate(2)`; `mode` are the `FALLOC_FL_*` bits, offset and length are bytes.
pub fn fallocate(fd: impl AsFd, mode: i32, off: u64, len: u64) -> FsResult<()> {
    let (fd, off, len) = (fd.as_fd().as_raw_fd(), offset(off)?, offset(len)?);
    // SAFETY: no memory is passed and `fd` is open.
    check(|| unsafe { libc::fallocate(fd, mode, off, len) } as i64).map(drop)
}

/// `lseek(2)`; returns the new position.
pub fn lseek(fd: impl AsFd, off: i64, whence: i32) -> FsResult<i64> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed and `fd` is open.
    check(|| unsafe { libc::lseek(fd, off, whence) })
}

/// `fsync(2)`, or `fdatasync(2)` if `datasync`.
pub fn fsync(fd: impl AsFd, datasync: bool) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed and `fd` is open.
    check(|| i64::from(unsafe { if datasync { libc::fdatasync(fd) } else { libc::fsync(fd) } })).map(drop)
}

/// `syncfs(2)`: writes out the whole file system that holds `fd`.
pub fn syncfs(fd: impl AsFd) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed and `fd` is open.
    check(|| unsafe { libc::syncfs(fd) } as i64).map(drop)
}

/// One `pread(2)`; fewer bytes than asked for means the end of the file was met.
pub fn pread(fd: impl AsFd, buf: &mut [u8], off: u64) -> FsResult<usize> {
    let (fd, off) = (fd.as_fd().as_raw_fd(), offset(off)?);
    // SAFETY: `buf` is writable for its whole length and outlives the call; `fd` is open.
    check(|| unsafe { libc::pread(fd, buf.as_mut_ptr().cast(), buf.len(), off) } as i64).map(|n| n as usize)
}

/// `preadv2(2)` with `RWF_NOWAIT`: only what is in the page cache. `EAGAIN` means it would have to wait,
/// `EOPNOTSUPP` that this file system cannot tell.
pub fn pread_nowait(fd: impl AsFd, buf: &mut [u8], off: u64) -> FsResult<usize> {
    let (fd, off) = (fd.as_fd().as_raw_fd(), offset(off)?);
    let iov = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: `iov` describes `buf`, which is writable; both outlive the call and `fd` is open.
    check(|| unsafe { libc::preadv2(fd, &raw const iov, 1, off, libc::RWF_NOWAIT) } as i64).map(|n| n as usize)
}

/// One `pwrite(2)`; may write less than asked for.
pub fn pwrite(fd: impl AsFd, buf: &[u8], off: u64) -> FsResult<usize> {
    let (fd, off) = (fd.as_fd().as_raw_fd(), offset(off)?);
    // SAFETY: `buf` is readable for its whole length and outlives the call; `fd` is open.
    check(|| unsafe { libc::pwrite(fd, buf.as_ptr().cast(), buf.len(), off) } as i64).map(|n| n as usize)
}

/// One `pwritev(2)` of at most 1024 slices; may write less than asked for.
pub fn pwritev(fd: impl AsFd, bufs: &[IoSlice<'_>], off: u64) -> FsResult<usize> {
    let (fd, off) = (fd.as_fd().as_raw_fd(), offset(off)?);
    let count = bufs.len().min(1024) as i32;
    // SAFETY: IoSlice is ABI-compatible with iovec; the slices are readable and outlive the call; `fd` is open.
    check(|| unsafe { libc::pwritev(fd, bufs.as_ptr().cast(), count, off) } as i64).map(|n| n as usize)
}

/// One `copy_file_range(2)`; offsets and length in bytes. Returns the bytes copied.
pub fn copy_file_range(src: impl AsFd, src_off: u64, dst: impl AsFd, dst_off: u64, len: usize) -> FsResult<usize> {
    let (src, dst) = (src.as_fd().as_raw_fd(), dst.as_fd().as_raw_fd());
    let (mut from, mut to) = (offset(src_off)?, offset(dst_off)?);
    // SAFETY: both offsets are live local variables; both descriptors are open.
    check(|| unsafe { libc::copy_file_range(src, &raw mut from, dst, &raw mut to, len, 0) } as i64).map(|n| n as usize)
}

/// What `statvfs(3)` says; block counts are in units of `frsize` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of struct statvfs and of gf_statfs")]
pub struct StatVfs {
    pub bsize: u64,
    pub frsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub favail: u64,
    pub fsid: u64,
    pub flag: u64,
    pub namemax: u64,
}

/// `fstatvfs(3)`.
pub fn fstatvfs(fd: impl AsFd) -> FsResult<StatVfs> {
    let fd = fd.as_fd().as_raw_fd();
    let mut buf = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `buf` has room for one statvfs and outlives the call; `fd` is open.
    check(|| unsafe { libc::fstatvfs(fd, buf.as_mut_ptr()) } as i64)?;
    // SAFETY: the call succeeded, so the C library has filled `buf`.
    let s = unsafe { buf.assume_init_ref() };
    Ok(StatVfs {
        bsize: s.f_bsize,
        frsize: s.f_frsize,
        blocks: s.f_blocks,
        bfree: s.f_bfree,
        bavail: s.f_bavail,
        files: s.f_files,
        ffree: s.f_ffree,
        favail: s.f_favail,
        fsid: s.f_fsid,
        flag: s.f_flag,
        namemax: s.f_namemax,
    })
}

/// Sets the process's file-mode creation mask (shared by all threads) and returns the former one.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: umask takes no memory and cannot fail.
    unsafe { libc::umask(mask) }
}

/// Splits a raw `dev_t` into major and minor number.
pub fn major_minor(rdev: u64) -> (u32, u32) {
    (libc::major(rdev), libc::minor(rdev))
}

/// Reads `/dev/urandom`'s pool: 16 random bytes.
pub fn random16() -> FsResult<[u8; 16]> {
    let mut out = [0u8; 16];
    // SAFETY: `out` is writable for 16 bytes and outlives the call; requests up to 256 bytes are never cut short.
    check(|| unsafe { libc::getrandom(out.as_mut_ptr().cast(), out.len(), 0) } as i64)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_in_a_path_is_refused_short_or_long() {
        let dir = std::fs::File::open("/").unwrap();
        assert_eq!(lstatat(&dir, b"tmp\0x"), Err(Errno::EINVAL));
        let mut long = vec![b'a'; 400];
        long[200] = 0;
        assert_eq!(lstatat(&dir, &long), Err(Errno::EINVAL));
    }

    #[test]
    fn long_links_are_read_whole() {
        let dir = std::env::temp_dir().join(format!("ringluster-fs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let fd = std::fs::File::open(&dir).unwrap();
        let target = vec![b'x'; 1500];
        symlinkat(&target, &fd, b"link").unwrap();
        assert_eq!(readlinkat(&fd, b"link").unwrap(), target);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn offsets_beyond_the_kernels_range_are_efbig() {
        let f = std::fs::File::open("/").unwrap();
        assert_eq!(ftruncate(&f, u64::MAX), Err(Errno::EFBIG));
    }
}
