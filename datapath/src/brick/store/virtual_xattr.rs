//! Xattr names that the brick answers without there being such an xattr (brick-and-replicate.md A.7).

use std::os::unix::ffi::OsStrExt;

use crate::errno::{Errno, FsResult};
use crate::sys::{dir, fs};
use crate::wire::{Gfid, Value};

use super::node::Node;
use super::{HIDDEN, Store, gfid2path};

const REAL_FILENAME: &[u8] = b"glusterfs.get_real_filename:";

impl Store {
    /// The value of a virtual key; `None` if `name` is not one.
    pub(super) fn virtual_xattr(&self, node: &Node, gfid: Gfid, name: &[u8]) -> Option<FsResult<Value>> {
        if let Some(wanted) = name.strip_prefix(REAL_FILENAME) {
            return Some(self.real_filename(node, gfid, wanted));
        }
        match name {
            b"glusterfs.pathinfo" | b"trusted.glusterfs.pathinfo" => Some(self.pathinfo(node, gfid)),
            b"glusterfs.gfid2path" | b"glusterfs.gfidtopath" => Some(self.paths_text(node, gfid)),
            b"glusterfs.ancestry.path" => Some(self.ancestry(gfid)),
            b"trusted.glusterfs.node-uuid" | b"trusted.glusterfs.list-node-uuids" => {
                Some(Ok(Value::str(&self.options.borrow().node_uuid.to_string())))
            }
            b"glusterfs.open-fd-count" => Some(Ok(Value::Uint(u64::from(self.open_count(gfid))))),
            b"glusterfs.gfid.string" => Some(Ok(Value::str(&gfid.to_string()))),
            b"glusterfs.gfid" => Some(Ok(Value::ptr(gfid.0.to_vec()))),
            _ => None,
        }
    }

    /// The path of a directory from the volume's root, beginning with a slash; the root is empty.
    ///
    /// # Errors
    /// `ENOENT` if it or a directory above it is gone, `ENOTDIR`, `ELOOP` if handles form a circle.
    pub fn dir_path(&self, gfid: Gfid) -> FsResult<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = gfid;
        while !at.is_root() {
            let (parent, name) = self.read_dir_handle(at)?;
            names.push(name);
            at = parent;
            if names.len() > 8192 {
                return Err(Errno::ELOOP);
            }
        }
        Ok(names.iter().rev().flat_map(|n| [b"/", n.as_slice()].concat()).collect())
    }

    /// The paths of an object from the volume's root: one of a directory, those that gfid2path records of others.
    ///
    /// # Errors
    /// `ENODATA` if none is recorded, or what the file system gives.
    pub fn paths_of(&self, gfid: Gfid) -> FsResult<Vec<Vec<u8>>> {
        self.paths(&self.locate_known(gfid)?, gfid)
    }

    fn paths(&self, node: &Node, gfid: Gfid) -> FsResult<Vec<Vec<u8>>> {
        if node.stat()?.is_dir() {
            let path = self.dir_path(gfid)?;
            return Ok(vec![if path.is_empty() { b"/".to_vec() } else { path }]);
        }
        let mut paths = Vec::new();
        for key in node.list()?.into_iter().filter(|k| k.starts_with(gfid2path::PREFIX)) {
            let value = node.get(&key)?;
            let (parent, name) = gfid2path::parse(&value).ok_or(Errno::EIO)?;
            match self.dir_path(parent) {
                Ok(mut path) => {
                    path.push(b'/');
                    path.extend_from_slice(name);
                    paths.push(path);
                }
                // A record that a crash left of a directory that is gone.
                Err(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        paths.sort();
        if paths.is_empty() {
            Err(Errno::ENODATA)
        } else {
            Ok(paths)
        }
    }

    fn paths_text(&self, node: &Node, gfid: Gfid) -> FsResult<Value> {
        let paths = self.paths(node, gfid)?;
        let separator = self.options.borrow().gfid2path_separator.clone();
        Ok(text(paths.join(separator.as_bytes())))
    }

    fn ancestry(&self, gfid: Gfid) -> FsResult<Value> {
        match self.dir_path(gfid) {
            Ok(path) if path.is_empty() => Ok(Value::str("/")),
            Ok(path) => Ok(text(path)),
            Err(Errno::ENOTDIR) => Err(Errno::ENODATA),
            Err(e) => Err(e),
        }
    }

    fn pathinfo(&self, node: &Node, gfid: Gfid) -> FsResult<Value> {
        let options = self.options();
        let root = self.root_path.as_os_str().as_bytes();
        let host = if options.node_uuid_pathinfo {
            options.node_uuid.to_string()
        } else {
            options.hostname.clone()
        };
        let path = match self.paths(node, gfid) {
            Ok(paths) => paths.into_iter().next().unwrap_or_default(),
            Err(Errno::ENODATA) => [b"/.glusterfs/", super::handle::handle_path(gfid).as_slice()].concat(),
            Err(e) => return Err(e),
        };
        Ok(text(
            [b"<POSIX(", root, b"):", host.as_bytes(), b":", root, &path, b">"].concat(),
        ))
    }

    /// The name in a directory that equals `wanted` without regard to ASCII case.
    fn real_filename(&self, node: &Node, gfid: Gfid, wanted: &[u8]) -> FsResult<Value> {
        if !node.stat()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let fd = fs::openat(&*self.dir_fd(gfid)?, b".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        loop {
            let names = dir::getdents(&fd, 64 * 1024)?;
            if names.is_empty() {
                return Err(Errno::ENOENT);
            }
            let hidden = |name: &[u8]| gfid.is_root() && name == HIDDEN;
            if let Some(e) = names
                .iter()
                .find(|e| e.name.eq_ignore_ascii_case(wanted) && !hidden(&e.name))
            {
                return Ok(text(e.name.clone()));
            }
        }
    }
}

/// A text value of bytes that need not be UTF-8.
fn text(mut bytes: Vec<u8>) -> Value {
    bytes.push(0);
    Value::Str(bytes.into())
}
