//! Fops that remove a name: UNLINK and RMDIR (brick-and-replicate.md B.6).
//!
//! UNLINK of the last name, and what a crash after each step leaves: (1) handle removed or moved to `unlink/`: the name
//! with its content, whose handle the next lookup by name makes anew (the copy in `unlink/` goes at the next start);
//! (2) name removed: nothing but times.
//! RMDIR: (1) directory removed or moved to `landfill/`: a handle that points nowhere, which lookups by gfid answer with
//! `ENOENT` and the next directory of that gfid replaces; (2) handle removed: nothing but times.

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, Stat};
use crate::wire::{Dict, Gfid, Iatt, Value};

use super::handle::{handle_path, parked_path};
use super::inode::link_count;
use super::node::Node;
use super::{Call, Parent, Store, access, check_name, fault};

/// A name was removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// What had it; null if it had no gfid.
    pub gfid: Gfid,
    /// The parent before.
    pub preparent: Iatt,
    /// The parent after.
    pub postparent: Iatt,
    /// The reply's xdata.
    pub xdata: Dict,
}

/// A record that could not be brought up to date after the name was changed for good: the fop has succeeded, and what
/// is left is as after a crash at this point.
pub(super) fn afterwards(gfid: Gfid, result: FsResult<()>) {
    match result {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(e) => tracing::warn!(%gfid, error = %e, "the handle or path record of an object is out of date"),
    }
}

impl Store {
    /// UNLINK. Files that clients have open live on until the last of them closes.
    ///
    /// # Errors
    /// `ESTALE` if the parent is gone, `ENOENT`, `EISDIR`, `EACCES`; `EBUSY` if `dont-unlink-for-open-fd` or
    /// `unlink-only-if-dht-linkto-file` in xdata forbid it.
    pub fn unlink(&self, call: &Call<'_>, parent: Gfid, name: &[u8]) -> FsResult<Removed> {
        check_name(parent, name)?;
        let parent = self.parent(parent)?;
        let node = Node::at(&parent.fd, name);
        // That there is nothing is said before that it is forbidden.
        let stat = node.stat()?;
        self.check_parent(call, &parent)?;
        if stat.is_dir() {
            return Err(Errno::EISDIR);
        }
        self.check_sticky(call, &parent, &stat)?;
        let gfid = node.gfid()?.unwrap_or_default();
        self.check_unlink_conditions(call, &node, &stat, gfid)?;
        let preparent = self.iatt_from(&parent.node(), parent.gfid, &parent.stat)?;
        if gfid.is_null() {
            fs::unlinkat(&*parent.fd, name)?;
        } else if stat.nlink <= 2 {
            self.retire_around(&parent, name, gfid, || fs::unlinkat(&*parent.fd, name))?;
            self.stamp_parked(call, gfid);
        } else {
            fs::unlinkat(&*parent.fd, name)?;
            fault::point("unlink/one-of-many");
            self.lost_a_name(call, &parent, name, gfid);
        }
        let mut xdata = Dict::null();
        if call.xdata.contains("get-link-count") {
            xdata.set("get-link-count", Value::Uint(u64::from(link_count(&stat))));
        }
        Ok(Removed {
            gfid,
            preparent,
            postparent: self.touch_parent(call, &parent)?,
            xdata,
        })
    }

    fn check_unlink_conditions(&self, call: &Call<'_>, node: &Node, stat: &Stat, gfid: Gfid) -> FsResult<()> {
        let asked = |key: &str| call.xdata.get(key).is_some_and(|v| v.as_i64() != Some(0));
        if asked("dont-unlink-for-open-fd") && self.open_count(gfid) > 0 {
            return Err(Errno::EBUSY);
        }
        if asked("unlink-only-if-dht-linkto-file") {
            let is_linkto =
                stat.mode & !libc::S_IFMT == libc::S_ISVTX && node.find(b"trusted.glusterfs.dht.linkto")?.is_some();
            if !is_linkto {
                return Err(Errno::EBUSY);
            }
        }
        Ok(())
    }

    /// The sticky bit of the parent.
    pub(super) fn check_sticky(&self, call: &Call<'_>, parent: &Parent, victim: &Stat) -> FsResult<()> {
        let checked = self.options.borrow().access_control;
        if checked && !access::sticky_permits(call.who, &parent.stat, victim) {
            Err(Errno::EACCES)
        } else {
            Ok(())
        }
    }

    /// Retires the handle of the object whose last name `name` is, runs `remove`, and puts the handle back if that
    /// fails.
    pub(super) fn retire_around(
        &self,
        parent: &Parent,
        name: &[u8],
        gfid: Gfid,
        remove: impl FnOnce() -> FsResult<()>,
    ) -> FsResult<()> {
        self.retire_handle(gfid)?;
        fault::point("retire/handle");
        remove().inspect_err(|_| {
            let parked = fs::renameat(&*self.hidden, &parked_path(gfid), &*self.hidden, &handle_path(gfid), 0);
            self.inodes.unpark(gfid);
            if parked.is_err()
                && let Err(e) = self.link_handle(&parent.fd, name, gfid)
            {
                tracing::warn!(%gfid, error = %e, "a handle could not be put back; the next lookup by name will try");
            }
        })
    }

    /// The ctime of a file that lives on in `unlink/`.
    pub(super) fn stamp_parked(&self, call: &Call<'_>, gfid: Gfid) {
        let node = Node::at(&self.hidden, &parked_path(gfid));
        if self.inodes.is_parked(gfid) {
            self.apply_stamp(&node, gfid, call.stamp.for_object());
        }
    }

    /// Records that a file with other names has lost one. Without a handle there is nowhere to record it.
    pub(super) fn lost_a_name(&self, call: &Call<'_>, parent: &Parent, name: &[u8], gfid: Gfid) {
        let node = Node::at(&self.hidden, &handle_path(gfid));
        let record = || -> FsResult<()> {
            self.forget_name(&node, parent.gfid, name)?;
            self.apply_stamp(&node, gfid, call.stamp.for_object());
            Ok(())
        };
        afterwards(gfid, record());
    }

    /// RMDIR. With `flags` not 0 (only for GlusterFS itself and root) the directory is moved away with all it holds, to
    /// be purged later.
    ///
    /// # Errors
    /// `ESTALE` if the parent is gone, `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EACCES`.
    pub fn rmdir(&self, call: &Call<'_>, parent: Gfid, name: &[u8], flags: i32) -> FsResult<Removed> {
        check_name(parent, name)?;
        let parent = self.parent(parent)?;
        let node = Node::at(&parent.fd, name);
        // That there is nothing is said before that it is forbidden.
        let stat = node.stat()?;
        self.check_parent(call, &parent)?;
        if !stat.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.check_sticky(call, &parent, &stat)?;
        if flags != 0 && !call.who.is_super() {
            return Err(Errno::EACCES);
        }
        let gfid = node.gfid()?.unwrap_or_default();
        let preparent = self.iatt_from(&parent.node(), parent.gfid, &parent.stat)?;
        if flags == 0 {
            fs::rmdirat(&*parent.fd, name).map_err(|e| if e == Errno::EEXIST { Errno::ENOTEMPTY } else { e })?;
        } else {
            self.move_to_landfill(&parent, name, gfid)?;
        }
        fault::point("rmdir/removed");
        if !gfid.is_null() {
            afterwards(gfid, self.drop_dir_handle(parent.gfid, name, gfid));
        }
        Ok(Removed {
            gfid,
            preparent,
            postparent: self.touch_parent(call, &parent)?,
            xdata: Dict::null(),
        })
    }

    fn move_to_landfill(&self, parent: &Parent, name: &[u8], gfid: Gfid) -> FsResult<()> {
        let grave = |id: Gfid| format!("landfill/{id}").into_bytes();
        let bury = |id| fs::renameat(&*parent.fd, name, &*self.hidden, &grave(id), libc::RENAME_NOREPLACE);
        let first = if gfid.is_null() { Err(Errno::EEXIST) } else { bury(gfid) };
        match first {
            Err(Errno::EEXIST) => bury(Gfid::from_random(crate::brick::random16()?))?,
            other => other?,
        }
        // Directories below it may be open here; nothing may be found in them any more.
        self.dirs.borrow_mut().clear();
        self.inodes.forget_all();
        Ok(())
    }
}
