//! SETATTR and FSETATTR: owner, then mode, then times (brick-and-replicate.md B.8, B.10). A crash between two of them
//! leaves the earlier ones done; the client that was not answered repeats or reports it, and heal compares them.

use crate::errno::FsResult;
use crate::sys::fs::{SetTime, Stat};
use crate::wire::{Dict, Iatt};

use super::mdata::{Time, Times};
use super::node::Node;
use super::{Call, PrePost, Stamp, Store, Target, access, flag};

/// The `valid` bits of a setattr (wire-protocol.md 3.8).
pub mod valid {
    /// Permission bits.
    pub const MODE: i32 = 0x1;
    /// Owner.
    pub const UID: i32 = 0x2;
    /// Group.
    pub const GID: i32 = 0x4;
    /// Access time, as given.
    pub const ATIME: i32 = 0x10;
    /// Modification time, as given.
    pub const MTIME: i32 = 0x20;
    /// Change time: heal copies it from a source.
    pub const CTIME: i32 = 0x40;
    /// Access time now.
    pub const ATIME_NOW: i32 = 0x80;
    /// Modification time now.
    pub const MTIME_NOW: i32 = 0x100;
}

/// A new time of an object. A time that comes with "now" is the client's now, the same for all bricks.
fn new_time(bits: i32, given: i32, now: i32, value: Time, stamp: Stamp) -> SetTime {
    if bits & given != 0 {
        SetTime::At(value.0, value.1.min(999_999_999))
    } else if bits & now == 0 {
        SetTime::Omit
    } else if stamp.flags == 0 {
        SetTime::Now
    } else {
        SetTime::At(stamp.time().0, stamp.time().1)
    }
}

impl Store {
    /// Sets what `bits` (of [`valid`]) select from `new`. Modes of symbolic links are left alone.
    ///
    /// # Errors
    /// `ESTALE`, `EPERM` where ownership is needed, `EACCES`, or what the file system gives.
    pub fn setattr(&self, call: &Call<'_>, target: Target<'_>, new: &Iatt, bits: i32) -> FsResult<PrePost> {
        let (node, stat) = self.node_stat(target)?;
        let pre = self.iatt_from(&node, target.gfid(), &stat)?;
        let atime = new_time(
            bits,
            valid::ATIME,
            valid::ATIME_NOW,
            (new.atime, new.atime_nsec),
            call.stamp,
        );
        let mtime = new_time(
            bits,
            valid::MTIME,
            valid::MTIME_NOW,
            (new.mtime, new.mtime_nsec),
            call.stamp,
        );
        let change = access::Change {
            mode: (bits & valid::MODE != 0).then_some(new.mode & 0o7777),
            uid: (bits & valid::UID != 0).then_some(new.uid),
            gid: (bits & valid::GID != 0).then_some(new.gid),
            times: (atime, mtime) != (SetTime::Omit, SetTime::Omit),
        };
        let mode = self.permitted_mode(call, &node, &stat, &change)?;
        if change.uid.is_some() || change.gid.is_some() {
            node.chown(change.uid, change.gid)?;
        }
        if let Some(mode) = mode.filter(|_| !stat.is_symlink()) {
            node.chmod(mode)?;
        }
        if (atime, mtime) != (SetTime::Omit, SetTime::Omit) {
            node.set_times(atime, mtime)?;
        }
        let ctime = (bits & valid::CTIME != 0).then_some((new.ctime, new.ctime_nsec));
        self.set_explicit_times(&node, target, (atime, mtime, ctime), call.stamp)?;
        Ok(PrePost {
            pre,
            post: self.touched(call, &node, target.gfid())?,
            xdata: Dict::null(),
        })
    }

    fn permitted_mode(
        &self,
        call: &Call<'_>,
        node: &Node,
        stat: &Stat,
        change: &access::Change,
    ) -> FsResult<Option<u32>> {
        if !self.options.borrow().access_control {
            return Ok(change.mode);
        }
        let acl = || node.get(access::ACL_ACCESS.as_bytes()).ok();
        access::may_change(call.who, stat, acl, change)
    }

    /// The xattr follows explicit times, also backwards; ctime only forwards. An object without the xattr gets it only
    /// if the call is stamped.
    fn set_explicit_times(
        &self,
        node: &Node,
        target: Target<'_>,
        (atime, mtime, ctime): (SetTime, SetTime, Option<Time>),
        stamp: Stamp,
    ) -> FsResult<()> {
        if !self.options.borrow().ctime {
            return Ok(());
        }
        let mut times = match self.times_of(node, target.gfid())? {
            Some(times) => times,
            None if stamp.flags == 0 => return Ok(()),
            None => Times::all(stamp.time()),
        };
        let actual = if atime == SetTime::Now || mtime == SetTime::Now {
            Times::from_stat(&node.stat()?)
        } else {
            times
        };
        times.atime = chosen(atime, times.atime, actual.atime);
        times.mtime = chosen(mtime, times.mtime, actual.mtime);
        if let Some((sec, nsec)) = ctime {
            times.stamp(Stamp {
                flags: flag::CTIME,
                sec,
                nsec,
            });
        }
        self.write_times(node, target.gfid(), times)
    }
}

fn chosen(set: SetTime, old: Time, actual: Time) -> Time {
    match set {
        SetTime::Omit => old,
        SetTime::Now => actual,
        SetTime::At(sec, nsec) => (sec, nsec),
    }
}
