//! Extended attributes of open files and of names in an open directory.
//!
//! A name in a directory is reached by `setxattrat(2)` and its relatives (Linux 6.13); older kernels are served
//! through `/proc/self/fd/N/name`, which also never follows a symbolic link at the last component.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::errno::{Errno, FsResult};

use super::fs::{check, with_cstr};

const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;
const SYS_REMOVEXATTRAT: libc::c_long = 466;

/// Set once the kernel has said that it does not know `*xattrat`.
static NO_XATTRAT: AtomicBool = AtomicBool::new(false);

/// The kernel's `struct xattr_args`.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The first try of a read: most values GlusterFS keeps fit.
const FIRST_TRY: usize = 256;

/// Runs `at` with the name in the directory, or `path` with `/proc/self/fd/N/name` if the kernel lacks the call.
fn named<R>(
    dir: RawFd,
    name: &[u8],
    at: impl FnOnce(&CStr) -> FsResult<R>,
    path: impl FnOnce(&CStr) -> FsResult<R>,
) -> FsResult<R> {
    if !NO_XATTRAT.load(Ordering::Relaxed) {
        match with_cstr(name, at) {
            Err(Errno::ENOSYS) => NO_XATTRAT.store(true, Ordering::Relaxed),
            done => return done,
        }
    }
    let mut full = format!("/proc/self/fd/{dir}/").into_bytes();
    full.extend_from_slice(name);
    with_cstr(&full, path)
}

/// Reads a value of unknown length with `read(buffer, room)`.
fn grow(mut read: impl FnMut(*mut u8, usize) -> FsResult<usize>) -> FsResult<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(FIRST_TRY);
    loop {
        match read(out.as_mut_ptr(), out.capacity()) {
            Ok(n) if n <= out.capacity() => {
                // SAFETY: the kernel has filled the first `n` bytes, and n <= capacity.
                unsafe { out.set_len(n) };
                return Ok(out);
            }
            Ok(_) => return Err(Errno::EIO),
            Err(Errno::ERANGE) => {
                let need = read(std::ptr::null_mut(), 0)?;
                out = Vec::with_capacity(need.max(FIRST_TRY * 2));
            }
            Err(e) => return Err(e),
        }
    }
}

/// The value of attribute `key` of the open file `fd`. `ENODATA` if it has none.
pub fn fget(fd: impl AsFd, key: &[u8]) -> FsResult<Vec<u8>> {
    let fd = fd.as_fd().as_raw_fd();
    with_cstr(key, |key| {
        grow(|buf, room| {
            // SAFETY: `buf` has `room` writable bytes (or is null with room 0) and `key` is a C string.
            check(|| unsafe { libc::fgetxattr(fd, key.as_ptr(), buf.cast(), room) } as i64).map(|n| n as usize)
        })
    })
}

/// The value of attribute `key` of `name` in `dir`, symbolic links not followed.
pub fn get_at(dir: impl AsFd, name: &[u8], key: &[u8]) -> FsResult<Vec<u8>> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(key, |key| {
        named(
            dir,
            name,
            |name| grow(|buf, room| getxattrat(dir, name, key, buf, room)),
            |path| {
                grow(|buf, room| {
                    // SAFETY: `buf` has `room` writable bytes (or is null with room 0); the texts are C strings.
                    check(|| unsafe { libc::lgetxattr(path.as_ptr(), key.as_ptr(), buf.cast(), room) } as i64)
                        .map(|n| n as usize)
                })
            },
        )
    })
}

fn getxattrat(dir: RawFd, name: &CStr, key: &CStr, buf: *mut u8, room: usize) -> FsResult<usize> {
    let mut args = XattrArgs {
        value: buf as u64,
        size: u32::try_from(room).map_err(|_| Errno::E2BIG)?,
        flags: 0,
    };
    let len = std::mem::size_of::<XattrArgs>();
    check(|| {
        // SAFETY: `args` points at `room` writable bytes (or null with size 0); texts are C strings; all outlive it.
        unsafe {
            let (name, key) = (name.as_ptr(), key.as_ptr());
            libc::syscall(
                SYS_GETXATTRAT,
                dir,
                name,
                libc::AT_SYMLINK_NOFOLLOW,
                key,
                &raw mut args,
                len,
            )
        }
    })
    .map(|n| n as usize)
}

/// Sets attribute `key` of the open file `fd`. `flags`: 0, `XATTR_CREATE` or `XATTR_REPLACE`.
pub fn fset(fd: impl AsFd, key: &[u8], value: &[u8], flags: i32) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    with_cstr(key, |key| {
        // SAFETY: `value` is readable for its length and `key` is a C string; both outlive the call.
        check(|| unsafe { libc::fsetxattr(fd, key.as_ptr(), value.as_ptr().cast(), value.len(), flags) } as i64)
            .map(drop)
    })
}

/// Sets attribute `key` of `name` in `dir`, symbolic links not followed.
pub fn set_at(dir: impl AsFd, name: &[u8], key: &[u8], value: &[u8], flags: i32) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(key, |key| {
        named(
            dir,
            name,
            |name| setxattrat(dir, name, key, value, flags),
            |path| {
                let (data, len) = (value.as_ptr().cast(), value.len());
                // SAFETY: `value` is readable for its length and the texts are C strings; all outlive the call.
                check(|| unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), data, len, flags) } as i64).map(drop)
            },
        )
    })
}

fn setxattrat(dir: RawFd, name: &CStr, key: &CStr, value: &[u8], flags: i32) -> FsResult<()> {
    let size = u32::try_from(value.len()).map_err(|_| Errno::E2BIG)?;
    let args = XattrArgs {
        value: value.as_ptr() as u64,
        size,
        flags: flags as u32,
    };
    let len = std::mem::size_of::<XattrArgs>();
    check(|| {
        // SAFETY: `args` points at `value`, readable for its length; texts are C strings; all outlive the call.
        unsafe {
            let (name, key) = (name.as_ptr(), key.as_ptr());
            libc::syscall(
                SYS_SETXATTRAT,
                dir,
                name,
                libc::AT_SYMLINK_NOFOLLOW,
                key,
                &raw const args,
                len,
            )
        }
    })
    .map(drop)
}

/// Removes attribute `key` of the open file `fd`.
pub fn fremove(fd: impl AsFd, key: &[u8]) -> FsResult<()> {
    let fd = fd.as_fd().as_raw_fd();
    with_cstr(key, |key| {
        // SAFETY: `key` is a C string that outlives the call.
        check(|| unsafe { libc::fremovexattr(fd, key.as_ptr()) } as i64).map(drop)
    })
}

/// Removes attribute `key` of `name` in `dir`, symbolic links not followed.
pub fn remove_at(dir: impl AsFd, name: &[u8], key: &[u8]) -> FsResult<()> {
    let dir = dir.as_fd().as_raw_fd();
    with_cstr(key, |key| {
        named(
            dir,
            name,
            |name| {
                // SAFETY: both texts are C strings that outlive the call.
                check(|| unsafe {
                    libc::syscall(
                        SYS_REMOVEXATTRAT,
                        dir,
                        name.as_ptr(),
                        libc::AT_SYMLINK_NOFOLLOW,
                        key.as_ptr(),
                    )
                })
                .map(drop)
            },
            |path| {
                // SAFETY: both texts are C strings that outlive the call.
                check(|| unsafe { libc::lremovexattr(path.as_ptr(), key.as_ptr()) } as i64).map(drop)
            },
        )
    })
}

/// The attribute names of the open file `fd`.
pub fn flist(fd: impl AsFd) -> FsResult<Vec<Vec<u8>>> {
    let fd = fd.as_fd().as_raw_fd();
    grow(|buf, room| {
        // SAFETY: `buf` has `room` writable bytes, or is null with room 0.
        check(|| unsafe { libc::flistxattr(fd, buf.cast(), room) } as i64).map(|n| n as usize)
    })
    .map(|list| split(&list))
}

/// The attribute names of `name` in `dir`, symbolic links not followed.
pub fn list_at(dir: impl AsFd, name: &[u8]) -> FsResult<Vec<Vec<u8>>> {
    let dir = dir.as_fd().as_raw_fd();
    named(
        dir,
        name,
        |name| {
            grow(|buf, room| {
                // SAFETY: `buf` has `room` writable bytes (or is null with room 0) and `name` is a C string.
                check(|| unsafe {
                    libc::syscall(
                        SYS_LISTXATTRAT,
                        dir,
                        name.as_ptr(),
                        libc::AT_SYMLINK_NOFOLLOW,
                        buf,
                        room,
                    )
                })
                .map(|n| n as usize)
            })
        },
        |path| {
            grow(|buf, room| {
                // SAFETY: `buf` has `room` writable bytes (or is null with room 0) and `path` is a C string.
                check(|| unsafe { libc::llistxattr(path.as_ptr(), buf.cast(), room) } as i64).map(|n| n as usize)
            })
        },
    )
    .map(|list| split(&list))
}

fn split(list: &[u8]) -> Vec<Vec<u8>> {
    list.split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_descriptors_see_the_same_attributes_on_new_and_old_kernels() {
        let path = std::env::temp_dir().join(format!("ringluster-xattr-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        for old_kernel in [false, true] {
            NO_XATTRAT.store(old_kernel, Ordering::Relaxed);
            let file = std::fs::File::create(path.join("f")).unwrap();
            let big = vec![7u8; 1000];
            set_at(&dir, b"f", b"user.a", &big, 0).unwrap();
            fset(&file, b"user.b", b"", 0).unwrap();
            assert_eq!(fget(&file, b"user.a").unwrap(), big);
            assert_eq!(get_at(&dir, b"f", b"user.a").unwrap(), big);
            assert_eq!(get_at(&dir, b"f", b"user.b").unwrap(), b"");
            assert_eq!(get_at(&dir, b"f", b"user.c"), Err(Errno::ENODATA));
            assert_eq!(
                set_at(&dir, b"f", b"user.a", b"", libc::XATTR_CREATE),
                Err(Errno::EEXIST)
            );
            let mut names = list_at(&dir, b"f").unwrap();
            names.sort();
            assert_eq!(names, [b"user.a".to_vec(), b"user.b".to_vec()]);
            assert_eq!(flist(&file).unwrap().len(), 2);
            remove_at(&dir, b"f", b"user.a").unwrap();
            fremove(&file, b"user.b").unwrap();
            assert!(flist(&file).unwrap().is_empty());
        }
        NO_XATTRAT.store(false, Ordering::Relaxed);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
