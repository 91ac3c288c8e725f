//! What is remembered of inodes: their times, whether their handle was seen, how many descriptors are open.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, Stat};
use crate::wire::{Gfid, Iatt};

use super::Store;
use super::handle;
use super::mdata::{self, Stamp, Times};
use super::node::Node;
use super::recent::Recent;

/// Inodes whose times are kept in memory, at least.
const KEPT_INODES: usize = 32 * 1024;

/// What is known of one inode.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The times in the xattr; `None`: not read yet.
    times: Option<Times>,
    /// A directory's handle has been compared with its place.
    pub handle_seen: bool,
}

#[derive(Debug, Default)]
struct Opened {
    count: u32,
    /// The last name is gone and the handle is in `unlink/`.
    parked: bool,
}

/// The inodes of a brick that something is remembered of.
#[derive(Debug)]
pub(super) struct Inodes {
    known: RefCell<Recent<Gfid, Known>>,
    open: RefCell<HashMap<Gfid, Opened>>,
    hidden: Arc<OwnedFd>,
}

impl Inodes {
    pub fn new(hidden: Arc<OwnedFd>) -> Inodes {
        Inodes {
            known: RefCell::new(Recent::new(KEPT_INODES)),
            open: RefCell::default(),
            hidden,
        }
    }

    pub fn open_count(&self, gfid: Gfid) -> u32 {
        self.open.borrow().get(&gfid).map_or(0, |o| o.count)
    }

    pub fn opened(&self, gfid: Gfid) {
        self.open.borrow_mut().entry(gfid).or_default().count += 1;
    }

    /// A descriptor was closed; with the last one a parked file goes for good.
    pub fn closed(&self, gfid: Gfid) {
        let mut open = self.open.borrow_mut();
        let Some(opened) = open.get_mut(&gfid) else { return };
        opened.count = opened.count.saturating_sub(1);
        if opened.count > 0 {
            return;
        }
        let parked = opened.parked;
        open.remove(&gfid);
        drop(open);
        if parked {
            self.forget(gfid);
            match fs::unlinkat(&*self.hidden, &handle::parked_path(gfid)) {
                Ok(()) | Err(Errno::ENOENT) => {}
                // It stays until the next start empties the folder.
                Err(e) => tracing::warn!(%gfid, error = %e, "an unlinked file could not be removed from unlink/"),
            }
        }
    }

    pub fn is_parked(&self, gfid: Gfid) -> bool {
        self.open.borrow().get(&gfid).is_some_and(|o| o.parked)
    }

    /// The handle of an open inode has been moved to `unlink/`.
    pub fn park(&self, gfid: Gfid) {
        self.open.borrow_mut().entry(gfid).or_default().parked = true;
    }

    /// A parked inode has got a name and a handle again.
    pub fn unpark(&self, gfid: Gfid) {
        if let Some(opened) = self.open.borrow_mut().get_mut(&gfid) {
            opened.parked = false;
        }
    }

    /// The inode is gone or may have been changed behind our back.
    pub fn forget(&self, gfid: Gfid) {
        self.known.borrow_mut().remove(&gfid);
    }

    pub fn forget_all(&self) {
        self.known.borrow_mut().clear();
    }

    pub fn known(&self, gfid: Gfid) -> Known {
        self.known.borrow_mut().get(&gfid).copied().unwrap_or_default()
    }

    pub fn set_handle_seen(&self, gfid: Gfid) {
        self.update(gfid, |k| k.handle_seen = true);
    }

    fn set_times(&self, gfid: Gfid, times: Times) {
        self.update(gfid, |k| k.times = Some(times));
    }

    fn update(&self, gfid: Gfid, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.borrow_mut();
        if let Some(k) = known.get(&gfid) {
            change(k);
        } else {
            let mut k = Known::default();
            change(&mut k);
            known.insert(gfid, k);
        }
    }
}

impl Store {
    /// The times in the object's xattr, if it has them.
    pub(super) fn times_of(&self, node: &Node, gfid: Gfid) -> FsResult<Option<Times>> {
        if gfid.is_null() {
            return Ok(None);
        }
        if let Some(times) = self.inodes.known(gfid).times {
            return Ok(Some(times));
        }
        let Some(value) = node.find(mdata::KEY)? else {
            return Ok(None);
        };
        let Some(times) = Times::decode(&value) else {
            tracing::warn!(%gfid, bytes = value.len(), "trusted.glusterfs.mdata is damaged; the file system's times are used");
            return Ok(None);
        };
        self.inodes.set_times(gfid, times);
        Ok(Some(times))
    }

    /// Writes the object's times if they differ from what is there.
    pub(super) fn write_times(&self, node: &Node, gfid: Gfid, times: Times) -> FsResult<()> {
        if self.inodes.known(gfid).times == Some(times) {
            return Ok(());
        }
        if let Err(e) = node.set(mdata::KEY, &times.encode(), 0) {
            self.inodes.forget(gfid);
            return Err(e);
        }
        self.inodes.set_times(gfid, times);
        Ok(())
    }

    /// Updates the times the stamp is for (newest wins). An object that has no xattr yet gets one with the stamp in
    /// all three places, as 10.3 does: the file system's times would differ from brick to brick. Times that cannot be written do not undo what has been done: they are logged and stay old.
    pub(super) fn apply_stamp(&self, node: &Node, gfid: Gfid, stamp: Stamp) {
        if stamp.flags == 0 || !self.options.borrow().ctime {
            return;
        }
        let write = || -> FsResult<()> {
            let mut times = self.times_of(node, gfid)?.unwrap_or_else(|| Times::all(stamp.time()));
            times.stamp(stamp);
            self.write_times(node, gfid, times)
        };
        if let Err(e) = write() {
            tracing::warn!(%gfid, error = %e, "the times of an object could not be written");
        }
    }

    /// The first times of a new object: those of the stamp, if it is for any.
    pub(super) fn stamp_new(&self, node: &Node, gfid: Gfid, stamp: Stamp) -> FsResult<()> {
        if stamp.flags == 0 || !self.options.borrow().ctime {
            return Ok(());
        }
        self.write_times(node, gfid, Times::all(stamp.time()))
    }

    /// The object's attributes as clients see them.
    pub(super) fn iatt(&self, node: &Node, gfid: Gfid) -> FsResult<Iatt> {
        self.iatt_from(node, gfid, &node.stat()?)
    }

    /// [`Store::iatt`] of a node that has been stat'ed already.
    pub(super) fn iatt_from(&self, node: &Node, gfid: Gfid, stat: &Stat) -> FsResult<Iatt> {
        let times = if self.options.borrow().ctime {
            self.times_of(node, gfid)?
        } else {
            None
        };
        Ok(compose(gfid, stat, times.unwrap_or_else(|| Times::from_stat(stat))))
    }
}

/// Attributes from the file system's, the gfid and the times (brick-and-replicate.md B.2, A.3).
pub(super) fn compose(gfid: Gfid, s: &Stat, times: Times) -> Iatt {
    let (major, minor) = fs::major_minor(s.rdev);
    Iatt {
        gfid,
        flags: Iatt::VALID,
        ino: if gfid.is_null() { u64::MAX } else { gfid.ino() },
        dev: s.dev,
        rdev: u64::from(major) << 32 | u64::from(minor),
        size: s.size,
        blocks: s.blocks.min(s.size.div_ceil(512)),
        attributes: 0,
        attributes_mask: 0,
        atime: times.atime.0,
        mtime: times.mtime.0,
        ctime: times.ctime.0,
        btime: 0,
        atime_nsec: times.atime.1,
        mtime_nsec: times.mtime.1,
        ctime_nsec: times.ctime.1,
        btime_nsec: 0,
        nlink: link_count(s),
        uid: s.uid,
        gid: s.gid,
        blksize: s.blksize as u32,
        mode: s.mode,
    }
}

/// The links users see: a non-directory's handle is not one of them.
pub(super) fn link_count(s: &Stat) -> u32 {
    let links = if s.is_dir() { s.nlink } else { s.nlink.saturating_sub(1) };
    links.min(u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_those_clients_see() {
        let gfid = Gfid([1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 1, 2]);
        let file = Stat {
            mode: libc::S_IFREG | 0o644,
            nlink: 3,
            size: 513,
            blocks: 8,
            ..Stat::default()
        };
        let iatt = compose(gfid, &file, Times::all((5, 6)));
        assert_eq!((iatt.ino, iatt.nlink, iatt.blocks, iatt.flags), (0x102, 2, 2, 0x17ff));
        assert_eq!((iatt.atime, iatt.mtime_nsec, iatt.ctime), (5, 6, 5));
        let dir = Stat {
            mode: libc::S_IFDIR | 0o755,
            nlink: 3,
            ..Stat::default()
        };
        assert_eq!(compose(gfid, &dir, Times::default()).nlink, 3);
        let device = Stat {
            mode: libc::S_IFCHR,
            nlink: 0,
            rdev: 0x0103,
            ..Stat::default()
        };
        let iatt = compose(Gfid::NULL, &device, Times::default());
        assert_eq!((iatt.rdev, iatt.nlink, iatt.ino), (1 << 32 | 3, 0, u64::MAX));
    }
}
