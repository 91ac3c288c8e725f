//! The arguments and results of file operations.

use std::rc::Rc;

use bytes::Bytes;

use crate::wire::Iatt;

/// Who asks: identity of the process behind a kernel request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id; negative ones mark internal clients (wire-protocol.md 1.5).
    pub pid: i32,
    /// Supplementary groups.
    pub groups: Rc<[u32]>,
    /// The kernel's lock owner; 0 = none.
    pub lk_owner: u64,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeSet {
    /// The current time.
    Now,
    /// Seconds and nanoseconds since the epoch.
    At(i64, u32),
}

/// What setattr changes; `None` leaves a field alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// New length in bytes: a truncate.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<TimeSet>,
    /// Modification time.
    pub mtime: Option<TimeSet>,
}

impl SetAttr {
    /// Whether anything but the size changes.
    pub fn changes_metadata(&self) -> bool {
        self.mode.is_some() || self.uid.is_some() || self.gid.is_some() || self.atime.is_some() || self.mtime.is_some()
    }
}

/// One name of a directory listing.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The name.
    pub name: Bytes,
    /// Cookie after this entry: the offset that continues behind it.
    pub off: u64,
    /// Inode number derived from the gfid.
    pub ino: u64,
    /// `DT_*`.
    pub d_type: u32,
    /// Attributes, when the brick had them and they may be believed without a lookup.
    pub iatt: Option<Iatt>,
}

/// What a lock call wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LkOp {
    /// F_GETLK: the lock that would conflict.
    Get,
    /// F_SETLK: at once or EAGAIN.
    Set,
    /// F_SETLKW: wait.
    SetWait,
}
