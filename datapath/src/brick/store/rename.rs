//! RENAME (brick-and-replicate.md B.5).
//!
//! Steps and what a crash after each leaves: (1) the handle of an overwritten file whose last name this is retired: the
//! file still has its name, and the next lookup by name makes its handle anew; (2) renamed: a file's gfid2path still
//! tells the old name (lookups do not use it), a directory's handle points at the old place, where the gfid does not
//! match, until the next lookup by name corrects it; an overwritten directory leaves a handle that points nowhere;
//! (3) records changed: only times are missing.

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, Stat};
use crate::wire::{Dict, Gfid, Iatt, Value};

use super::handle::handle_path;
use super::inode::link_count;
use super::node::Node;
use super::remove::afterwards;
use super::{Call, Parent, Store, access, check_name, fault};

/// A name was moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renamed {
    /// The object.
    pub stat: Iatt,
    /// What was overwritten, if anything.
    pub victim: Option<Gfid>,
    /// The old parent before.
    pub preoldparent: Iatt,
    /// The old parent after.
    pub postoldparent: Iatt,
    /// The new parent before.
    pub prenewparent: Iatt,
    /// The new parent after.
    pub postnewparent: Iatt,
    /// The reply's xdata.
    pub xdata: Dict,
}

/// One end of a rename.
struct End<'a> {
    parent: Parent,
    name: &'a [u8],
}

/// What is at an end.
struct Found {
    stat: Stat,
    gfid: Gfid,
}

impl Store {
    /// RENAME of `old_name` in `old_parent` to `new_name` in `new_parent`, over what is there.
    ///
    /// # Errors
    /// `ESTALE` if a parent is gone, `ENOENT`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY`, `EINVAL` (into itself), `EACCES`.
    pub fn rename(
        &self,
        call: &Call<'_>,
        old_parent: Gfid,
        old_name: &[u8],
        new_parent: Gfid,
        new_name: &[u8],
    ) -> FsResult<Renamed> {
        check_name(old_parent, old_name)?;
        check_name(new_parent, new_name)?;
        let old = End {
            parent: self.parent(old_parent)?,
            name: old_name,
        };
        let new = End {
            parent: self.parent(new_parent)?,
            name: new_name,
        };
        let object = self.at_end(&old)?.ok_or(Errno::ENOENT)?;
        let victim = self.at_end(&new)?;
        self.check_rename(call, &old, &new, &object, victim.as_ref())?;
        let pre = |end: &End<'_>| self.iatt_from(&end.parent.node(), end.parent.gfid, &end.parent.stat);
        let (preoldparent, prenewparent) = (pre(&old)?, pre(&new)?);
        let is_same = victim.as_ref().is_some_and(|v| v.stat.same_inode(&object.stat));
        // Two names of one file: rename(2) leaves both.
        if !is_same {
            self.move_name(call, &old, &new, &object, victim.as_ref())?;
        }
        let node = Node::at(&new.parent.fd, new_name);
        self.apply_stamp(&node, object.gfid, call.stamp.for_object());
        let postoldparent = self.touch_parent(call, &old.parent)?;
        let postnewparent = if old_parent == new_parent {
            postoldparent
        } else {
            self.touch_parent(call, &new.parent)?
        };
        let mut xdata = Dict::null();
        if let Some(victim) = victim.as_ref().filter(|_| call.xdata.contains("get-link-count")) {
            xdata.set("get-link-count", Value::Uint(u64::from(link_count(&victim.stat))));
        }
        Ok(Renamed {
            stat: self.iatt(&node, object.gfid)?,
            victim: victim.filter(|_| !is_same).map(|v| v.gfid),
            preoldparent,
            postoldparent,
            prenewparent,
            postnewparent,
            xdata,
        })
    }

    fn at_end(&self, end: &End<'_>) -> FsResult<Option<Found>> {
        let node = Node::at(&end.parent.fd, end.name);
        match node.stat() {
            Ok(stat) => Ok(Some(Found {
                stat,
                gfid: node.gfid()?.unwrap_or_default(),
            })),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn check_rename(
        &self,
        call: &Call<'_>,
        old: &End<'_>,
        new: &End<'_>,
        object: &Found,
        victim: Option<&Found>,
    ) -> FsResult<()> {
        self.check_parent(call, &old.parent)?;
        self.check_parent(call, &new.parent)?;
        self.check_sticky(call, &old.parent, &object.stat)?;
        if object.stat.is_dir() && old.parent.gfid != new.parent.gfid {
            // Its `..` changes.
            self.check(call, &Node::at(&old.parent.fd, old.name), &object.stat, access::WRITE)?;
        }
        let Some(victim) = victim else { return Ok(()) };
        self.check_sticky(call, &new.parent, &victim.stat)?;
        match (object.stat.is_dir(), victim.stat.is_dir()) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            _ => Ok(()),
        }
    }

    fn move_name(
        &self,
        call: &Call<'_>,
        old: &End<'_>,
        new: &End<'_>,
        object: &Found,
        victim: Option<&Found>,
    ) -> FsResult<()> {
        let rename = || fs::renameat(&*old.parent.fd, old.name, &*new.parent.fd, new.name, 0);
        match victim {
            Some(v) if !v.stat.is_dir() && v.stat.nlink <= 2 && !v.gfid.is_null() => {
                self.retire_around(&new.parent, new.name, v.gfid, rename)?;
            }
            _ => rename().map_err(|e| if e == Errno::EEXIST { Errno::ENOTEMPTY } else { e })?,
        }
        fault::point("rename/renamed");
        if let Some(victim) = victim.filter(|v| !v.gfid.is_null()) {
            self.overwritten(call, new, victim);
        }
        if object.gfid.is_null() {
            return Ok(());
        }
        if object.stat.is_dir() {
            self.inodes.forget(object.gfid);
            let pointed = self.point_handle(new.parent.gfid, new.name, object.gfid);
            afterwards(
                object.gfid,
                pointed.inspect(|()| self.inodes.set_handle_seen(object.gfid)),
            );
        } else {
            afterwards(object.gfid, self.swap_record(old, new, object));
        }
        Ok(())
    }

    fn swap_record(&self, old: &End<'_>, new: &End<'_>, object: &Found) -> FsResult<()> {
        let node = Node::at(&self.hidden, &handle_path(object.gfid));
        self.forget_name(&node, old.parent.gfid, old.name)?;
        fault::point("rename/forgotten");
        self.record_name(&node, new.parent.gfid, new.name, object.stat.nlink.saturating_sub(1))
    }

    fn overwritten(&self, call: &Call<'_>, new: &End<'_>, victim: &Found) {
        if victim.stat.is_dir() {
            afterwards(
                victim.gfid,
                self.drop_dir_handle(new.parent.gfid, new.name, victim.gfid),
            );
        } else if victim.stat.nlink > 2 {
            self.lost_a_name(call, &new.parent, new.name, victim.gfid);
        } else {
            self.stamp_parked(call, victim.gfid);
        }
    }
}
