//! One object on the disk, as something system calls can be made on.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, SetTime, Stat};
use crate::sys::xattr;
use crate::wire::Gfid;

use super::GFID_KEY;

/// An object: an open descriptor, or a path from an open directory. Symbolic links are never followed.
#[derive(Clone, Debug)]
pub(super) struct Node {
    fd: Arc<OwnedFd>,
    /// `None`: the descriptor is the object.
    path: Option<Vec<u8>>,
}

impl Node {
    /// The object a descriptor is open on.
    pub fn whole(fd: &Arc<OwnedFd>) -> Node {
        Node {
            fd: fd.clone(),
            path: None,
        }
    }

    /// The object at `path` from directory `dir`.
    pub fn at(dir: &Arc<OwnedFd>, path: &[u8]) -> Node {
        Node {
            fd: dir.clone(),
            path: Some(path.to_vec()),
        }
    }

    pub fn stat(&self) -> FsResult<Stat> {
        match &self.path {
            None => fs::fstat(&*self.fd),
            Some(path) => fs::lstatat(&*self.fd, path),
        }
    }

    /// Opens the object; a symbolic link gives `ELOOP`.
    pub fn open(&self, flags: i32) -> FsResult<OwnedFd> {
        match &self.path {
            None => fs::reopen(&*self.fd, flags),
            Some(path) => fs::openat(&*self.fd, path, flags | libc::O_NOFOLLOW, 0),
        }
    }

    pub fn get(&self, key: &[u8]) -> FsResult<Vec<u8>> {
        match &self.path {
            None => xattr::fget(&*self.fd, key),
            Some(path) => xattr::get_at(&*self.fd, path, key),
        }
    }

    /// [`Node::get`], where a missing attribute is `None`.
    pub fn find(&self, key: &[u8]) -> FsResult<Option<Vec<u8>>> {
        match self.get(key) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::ENODATA) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn set(&self, key: &[u8], value: &[u8], flags: i32) -> FsResult<()> {
        match &self.path {
            None => xattr::fset(&*self.fd, key, value, flags),
            Some(path) => xattr::set_at(&*self.fd, path, key, value, flags),
        }
    }

    pub fn remove(&self, key: &[u8]) -> FsResult<()> {
        match &self.path {
            None => xattr::fremove(&*self.fd, key),
            Some(path) => xattr::remove_at(&*self.fd, path, key),
        }
    }

    pub fn list(&self) -> FsResult<Vec<Vec<u8>>> {
        match &self.path {
            None => xattr::flist(&*self.fd),
            Some(path) => xattr::list_at(&*self.fd, path),
        }
    }

    /// The object's gfid; `None` if it has none. A value that is not 16 bytes is `EIO`.
    pub fn gfid(&self) -> FsResult<Option<Gfid>> {
        match self.find(GFID_KEY)? {
            None => Ok(None),
            Some(value) => Gfid::from_slice(&value).map(Some).ok_or(Errno::EIO),
        }
    }

    pub fn chmod(&self, mode: u32) -> FsResult<()> {
        match &self.path {
            None => fs::fchmod(&*self.fd, mode),
            Some(path) => fs::lchmodat(&*self.fd, path, mode),
        }
    }

    pub fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> FsResult<()> {
        match &self.path {
            None => fs::fchown(&*self.fd, uid, gid),
            Some(path) => fs::lchownat(&*self.fd, path, uid, gid),
        }
    }

    pub fn set_times(&self, atime: SetTime, mtime: SetTime) -> FsResult<()> {
        match &self.path {
            None => fs::futimens(&*self.fd, atime, mtime),
            Some(path) => fs::lutimensat(&*self.fd, path, atime, mtime),
        }
    }

    /// The text of a symbolic link.
    pub fn readlink(&self) -> FsResult<Vec<u8>> {
        fs::readlinkat(&*self.fd, self.path.as_deref().ok_or(Errno::EINVAL)?)
    }
}
