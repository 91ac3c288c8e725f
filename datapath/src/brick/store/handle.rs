//! Handles: how an object is found by its gfid (brick-and-replicate.md A.3).
//!
//! A non-directory's handle is a hard link to it, a directory's a symbolic link whose text names its place.
//! Directories are opened one component at a time from the root or the nearest one already open, so the depth of a tree
//! is limited by nothing but names, and a planted symbolic link leads nowhere.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, Stat};
use crate::sys::xattr;
use crate::wire::Gfid;

use super::node::Node;
use super::{GFID_KEY, Parent, Store, fault};

/// Directory nesting beyond this is taken for a cycle of damaged handles.
const MAX_DEPTH: usize = 8192;
/// A directory's handle text is shorter than this.
const MAX_TEXT: usize = 512;
/// ... and at least this long.
const MIN_TEXT: usize = 50;
/// `../../PP/QQ/` and 36 characters of gfid, before the slash and the name.
const TEXT_PREFIX: usize = 48;

/// `xx/yy/<gfid>`, relative to `.glusterfs`.
pub(super) fn handle_path(gfid: Gfid) -> Vec<u8> {
    format!("{:02x}/{:02x}/{gfid}", gfid.0[0], gfid.0[1]).into_bytes()
}

/// `unlink/<gfid>`, relative to `.glusterfs`.
pub(super) fn parked_path(gfid: Gfid) -> Vec<u8> {
    format!("unlink/{gfid}").into_bytes()
}

/// The text of the handle of directory `name` in `parent`.
///
/// # Errors
/// `ENAMETOOLONG` if nobody could read it back.
pub(super) fn dir_text(parent: Gfid, name: &[u8]) -> FsResult<Vec<u8>> {
    let mut text = format!("../../{:02x}/{:02x}/{parent}/", parent.0[0], parent.0[1]).into_bytes();
    text.extend_from_slice(name);
    if text.len() < MAX_TEXT {
        Ok(text)
    } else {
        Err(Errno::ENAMETOOLONG)
    }
}

/// The parent and name in a directory's handle text; `None` if it is malformed.
pub(super) fn parse_dir_text(text: &[u8]) -> Option<(Gfid, &[u8])> {
    if !(MIN_TEXT..MAX_TEXT).contains(&text.len()) || !text.starts_with(b"../../") || text[TEXT_PREFIX] != b'/' {
        return None;
    }
    let parent: Gfid = std::str::from_utf8(&text[12..TEXT_PREFIX]).ok()?.parse().ok()?;
    let name = &text[TEXT_PREFIX + 1..];
    let expected = dir_text(parent, name).ok()?;
    (expected == text && !name.contains(&b'/') && name != b"." && name != b"..").then_some((parent, name))
}

impl Store {
    /// The open directory `gfid`.
    ///
    /// # Errors
    /// `ENOENT` if there is none, `ENOTDIR` if `gfid` is something else, `EIO` if its handle is malformed.
    pub(super) fn dir_fd(&self, gfid: Gfid) -> FsResult<Arc<OwnedFd>> {
        if gfid.is_root() {
            return Ok(self.root.clone());
        }
        if let Some(fd) = self.dirs.borrow_mut().get(&gfid) {
            return Ok(fd.clone());
        }
        let (mut fd, path) = self.climb(gfid)?;
        for (gfid, name) in path.iter().rev() {
            fd = self.open_child_dir(&fd, name, *gfid)?;
        }
        Ok(fd)
    }

    /// From `gfid` upwards to a directory that is open: that one and the (gfid, name) steps down from it, last first.
    #[allow(clippy::type_complexity, reason = "a private pair used once")]
    fn climb(&self, gfid: Gfid) -> FsResult<(Arc<OwnedFd>, Vec<(Gfid, Vec<u8>)>)> {
        let mut steps = Vec::new();
        let mut at = gfid;
        loop {
            let (parent, name) = self.read_dir_handle(at)?;
            steps.push((at, name));
            if steps.len() > MAX_DEPTH {
                return Err(Errno::ELOOP);
            }
            if parent.is_root() {
                return Ok((self.root.clone(), steps));
            }
            if let Some(fd) = self.dirs.borrow_mut().get(&parent) {
                return Ok((fd.clone(), steps));
            }
            at = parent;
        }
    }

    /// Where the directory `gfid` is according to its handle.
    pub(super) fn read_dir_handle(&self, gfid: Gfid) -> FsResult<(Gfid, Vec<u8>)> {
        let path = handle_path(gfid);
        let text =
            fs::readlinkat(&*self.hidden, &path).map_err(|e| if e == Errno::EINVAL { Errno::ENOTDIR } else { e })?;
        // A user's symbolic link has a gfid of its own; a directory's handle has none.
        if xattr::get_at(&*self.hidden, &path, GFID_KEY).is_ok() {
            return Err(Errno::ENOTDIR);
        }
        let (parent, name) = parse_dir_text(&text).ok_or_else(|| {
            tracing::error!(%gfid, text = %String::from_utf8_lossy(&text), "malformed handle of a directory");
            Errno::EIO
        })?;
        Ok((parent, name.to_vec()))
    }

    /// Opens directory `name` of `dir` and remembers it. `ENOENT` if it is not the directory `gfid`.
    fn open_child_dir(&self, dir: &Arc<OwnedFd>, name: &[u8], gfid: Gfid) -> FsResult<Arc<OwnedFd>> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let opened = match fs::openat(&**dir, name, flags, 0) {
            Err(Errno::EMFILE | Errno::ENFILE) => {
                // What is kept open for speed is what can be spared.
                self.dirs.borrow_mut().clear();
                fs::openat(&**dir, name, flags, 0)
            }
            other => other,
        };
        let fd = match opened {
            Ok(fd) => Arc::new(fd),
            // Another object has taken the name: the handle is stale.
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(Errno::ENOENT),
            Err(e) => return Err(e),
        };
        if Node::whole(&fd).gfid()? != Some(gfid) {
            return Err(Errno::ENOENT);
        }
        self.dirs.borrow_mut().insert(gfid, fd.clone());
        Ok(fd)
    }

    /// The object `gfid` and its attributes. Files that were unlinked while open are found as long as they are open.
    ///
    /// # Errors
    /// `ENOENT` if there is none, `EINVAL` for the null gfid.
    pub(super) fn locate_stat(&self, gfid: Gfid) -> FsResult<(Node, Stat)> {
        let with_stat = |node: Node| node.stat().map(|stat| (node, stat));
        if gfid.is_null() {
            return Err(Errno::EINVAL);
        }
        if gfid.is_root() {
            return with_stat(Node::whole(&self.root));
        }
        let open = self.dirs.borrow_mut().get(&gfid).cloned();
        if let Some(fd) = open {
            let found = with_stat(Node::whole(&fd))?;
            if found.1.nlink > 0 {
                return Ok(found);
            }
            // Removed behind our back.
            self.dirs.borrow_mut().remove(&gfid);
        }
        if self.inodes.is_parked(gfid) {
            return with_stat(Node::at(&self.hidden, &parked_path(gfid)));
        }
        let (node, stat) = with_stat(Node::at(&self.hidden, &handle_path(gfid)))?;
        if !stat.is_symlink() || node.gfid()?.is_some() {
            return Ok((node, stat));
        }
        with_stat(Node::whole(&self.dir_fd(gfid)?))
    }

    /// [`Store::locate_stat`] for a fop that a client believes in: `ESTALE` instead of `ENOENT`.
    pub(super) fn locate_stat_known(&self, gfid: Gfid) -> FsResult<(Node, Stat)> {
        self.locate_stat(gfid)
            .map_err(|e| if e == Errno::ENOENT { Errno::ESTALE } else { e })
    }

    /// The object `gfid` for a fop that a client believes in.
    pub(super) fn locate_known(&self, gfid: Gfid) -> FsResult<Node> {
        self.locate_stat_known(gfid).map(|(node, _)| node)
    }

    /// Makes the handle of the non-directory `name` in `dir`.
    ///
    /// # Errors
    /// `EEXIST` if the gfid belongs to another inode.
    pub(super) fn link_handle(&self, dir: &Arc<OwnedFd>, name: &[u8], gfid: Gfid) -> FsResult<()> {
        let path = handle_path(gfid);
        self.with_hash_dirs(gfid, || fs::linkat(&**dir, name, &*self.hidden, &path))
            .or_else(|e| {
                if e != Errno::EEXIST {
                    return Err(e);
                }
                let (ours, theirs) = (fs::lstatat(&**dir, name)?, fs::lstatat(&*self.hidden, &path)?);
                if ours.same_inode(&theirs) {
                    Ok(())
                } else {
                    Err(Errno::EEXIST)
                }
            })
    }

    /// Makes the handle of directory `name` in `parent`, in place of one that points elsewhere. The exchange is one
    /// rename, so a crash leaves the old handle or the new one (and at worst a forgotten temporary link, which the next
    /// exchange of the same gfid removes).
    pub(super) fn point_handle(&self, parent: Gfid, name: &[u8], gfid: Gfid) -> FsResult<()> {
        let text = dir_text(parent, name)?;
        let path = handle_path(gfid);
        match self.with_hash_dirs(gfid, || fs::symlinkat(&text, &*self.hidden, &path)) {
            Err(Errno::EEXIST) => {}
            done => return done,
        }
        if fs::readlinkat(&*self.hidden, &path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        // A file's handle, or that of a user's symbolic link.
        let taken = Node::at(&self.hidden, &path);
        if !taken.stat()?.is_symlink() || taken.gfid()?.is_some() {
            return Err(Errno::EEXIST);
        }
        let mut temporary = path.clone();
        temporary.extend_from_slice(b".new");
        match fs::unlinkat(&*self.hidden, &temporary) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
        fs::symlinkat(&text, &*self.hidden, &temporary)?;
        fault::point("handle/temporary");
        fs::renameat(&*self.hidden, &temporary, &*self.hidden, &path, 0)
    }

    /// Runs `make`, which makes a handle, again after making the hash directories it lacks.
    fn with_hash_dirs(&self, gfid: Gfid, make: impl Fn() -> FsResult<()>) -> FsResult<()> {
        match make() {
            Err(Errno::ENOENT) => {}
            done => return done,
        }
        let second = format!("{:02x}/{:02x}", gfid.0[0], gfid.0[1]).into_bytes();
        for dir in [&second[..2], &second[..]] {
            match fs::mkdirat(&*self.hidden, dir, 0o700) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
        }
        make()
    }

    /// Removes a handle; that it is not there is as good.
    pub(super) fn unlink_handle(&self, gfid: Gfid) -> FsResult<()> {
        match fs::unlinkat(&*self.hidden, &handle_path(gfid)) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Removes a directory's handle if it still names this place.
    pub(super) fn drop_dir_handle(&self, parent: Gfid, name: &[u8], gfid: Gfid) -> FsResult<()> {
        self.dirs.borrow_mut().remove(&gfid);
        self.inodes.forget(gfid);
        match self.read_dir_handle(gfid) {
            Ok((p, n)) if p == parent && n == name => self.unlink_handle(gfid),
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EIO) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The victim's handle after its last name: removed, or parked while clients have it open.
    pub(super) fn retire_handle(&self, gfid: Gfid) -> FsResult<()> {
        if self.inodes.open_count(gfid) == 0 {
            self.inodes.forget(gfid);
            return self.unlink_handle(gfid);
        }
        match fs::renameat(&*self.hidden, &handle_path(gfid), &*self.hidden, &parked_path(gfid), 0) {
            Ok(()) => {
                self.inodes.park(gfid);
                Ok(())
            }
            Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Whether a directory's handle leads to a directory with its gfid.
    fn handle_leads(&self, gfid: Gfid) -> bool {
        let led = || -> FsResult<bool> {
            let (parent, name) = self.read_dir_handle(gfid)?;
            let node = Node::at(&self.dir_fd(parent)?, &name);
            Ok(node.stat()?.is_dir() && node.gfid()? == Some(gfid))
        };
        led().unwrap_or(false)
    }

    /// Repairs what a crash between two steps of a fop may have left of the handle of an object just found by name.
    pub(super) fn repair_handle(&self, parent: &Parent, name: &[u8], gfid: Gfid, stat: &Stat) {
        let done = if stat.is_dir() {
            if self.inodes.known(gfid).handle_seen {
                return;
            }
            // One that works is left alone: during a heal the gfid may be at two places.
            let sound = self.handle_leads(gfid);
            let pointed = if sound {
                Ok(())
            } else {
                self.point_handle(parent.gfid, name, gfid)
            };
            pointed.inspect(|()| self.inodes.set_handle_seen(gfid))
        } else if stat.nlink < 2 {
            self.link_handle(&parent.fd, name, gfid)
        } else {
            return;
        };
        if let Err(e) = done {
            tracing::warn!(%gfid, name = %String::from_utf8_lossy(name), error = %e, "the handle of an object could not be repaired");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_reference() {
        let gfid: Gfid = "26d7968e-2176-42b7-8d61-026858529a14".parse().unwrap();
        assert_eq!(handle_path(gfid), b"26/d7/26d7968e-2176-42b7-8d61-026858529a14");
        let text = dir_text(gfid, b"sub").unwrap();
        assert_eq!(text, b"../../26/d7/26d7968e-2176-42b7-8d61-026858529a14/sub");
        assert_eq!(parse_dir_text(&text), Some((gfid, &b"sub"[..])));
        assert_eq!(dir_text(gfid, &[b'n'; 470]), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn malformed_texts_are_refused() {
        let good = b"../../26/d7/26d7968e-2176-42b7-8d61-026858529a14/sub";
        assert!(parse_dir_text(good).is_some());
        for at in 0..TEXT_PREFIX + 1 {
            let mut bad = good.to_vec();
            bad[at] = b'!';
            assert_eq!(parse_dir_text(&bad), None, "byte {at}");
        }
        let deeper = b"../../26/d7/26d7968e-2176-42b7-8d61-026858529a14/a/b";
        let dots = b"../../26/d7/26d7968e-2176-42b7-8d61-026858529a14/..";
        for bad in [&b""[..], b"../../..", &good[..48], &good[..49], deeper, dots] {
            assert_eq!(parse_dir_text(bad), None);
        }
    }
}
