//! The locks of a brick: inodelk, entrylk and POSIX record locks of every inode (brick-and-replicate.md C).
//!
//! Pure state machines: no I/O, no clock, no connection may enter. Time and identities come in with the request;
//! what must happen elsewhere (a waiting call to answer, a holder to notify) goes out as [`Effects`].

mod posix;
mod queue;
mod range;
mod table;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod table_tests;

use std::fmt;
use std::rc::Rc;

pub use posix::PosixLock;
pub use range::{END, Range};
pub use table::LockTable;

use crate::errno::{Errno, FsResult};
use crate::wire::Gfid;

/// A client as the brick tells them apart: all connections of one process-uuid (brick-and-replicate.md B.13).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientId(pub u64);

/// A waiting call, numbered by whoever will answer it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// The lk-owner of a credential: an opaque byte string, compared with its length.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LkOwner(Rc<[u8]>);

impl LkOwner {
    /// An owner with these bytes (copied, so that no received record stays alive for a lock).
    pub fn new(bytes: &[u8]) -> LkOwner {
        LkOwner(Rc::from(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none: the owner the server itself uses to drop all locks of an fd.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for LkOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Who holds a lock: an lk-owner of a client.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Owner {
    /// Which client.
    pub client: ClientId,
    /// Which of its lock owners.
    pub lk_owner: LkOwner,
}

/// Shared or exclusive. The wire's lock types 0 and 1; 2 (unlock) is an operation, not a kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum LockKind {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

impl LockKind {
    /// The number on the wire.
    pub fn wire(self) -> u32 {
        match self {
            LockKind::Read => 0,
            LockKind::Write => 1,
        }
    }

    /// The kind of a wire number; `None` for unlock and anything else.
    pub fn from_wire(number: u32) -> Option<LockKind> {
        match number {
            0 => Some(LockKind::Read),
            1 => Some(LockKind::Write),
            _ => None,
        }
    }
}

/// What a lock call wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOp {
    /// Take the lock or fail with `EAGAIN`.
    Try(LockKind),
    /// Take the lock; wait for it if need be.
    Wait(LockKind),
    /// Give it up. The kind is the one to match in an entrylk, and ignored otherwise.
    Unlock(LockKind),
}

/// Whether a request was granted or will be answered later by a [`Wakeup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Granted,
    /// It waits.
    Queued,
}

/// An inodelk or finodelk.
#[derive(Clone, Debug)]
pub struct InodelkRequest<'a> {
    /// The inode.
    pub gfid: Gfid,
    /// The lock domain as sent; the table moves metadata locks to a domain of their own.
    pub domain: &'a [u8],
    /// Who asks.
    pub owner: Owner,
    /// Process id of the caller.
    pub pid: i32,
    /// What.
    pub op: LockOp,
    /// `start` and `len` as they travel.
    pub start: u64,
    /// 0 = to the end.
    pub len: u64,
    /// Names the call in a later [`Wakeup`].
    pub request: RequestId,
}

/// An entrylk or fentrylk.
#[derive(Clone, Debug)]
pub struct EntrylkRequest<'a> {
    /// The directory.
    pub gfid: Gfid,
    /// The lock domain.
    pub domain: &'a [u8],
    /// Who asks.
    pub owner: Owner,
    /// Process id of the caller.
    pub pid: i32,
    /// What.
    pub op: LockOp,
    /// The name, or `None` for the whole directory.
    pub name: Option<&'a [u8]>,
    /// Names the call in a later [`Wakeup`].
    pub request: RequestId,
}

/// A POSIX lock call that takes or gives up (GETLK is [`LockTable::getlk`]).
#[derive(Clone, Debug)]
pub struct PosixRequest {
    /// The inode.
    pub gfid: Gfid,
    /// Who asks.
    pub owner: Owner,
    /// The client's open file it goes through.
    pub fd: i64,
    /// Process id from the flock.
    pub pid: u32,
    /// What.
    pub op: LockOp,
    /// Which bytes.
    pub range: Range,
    /// Names the call in a later [`Wakeup`].
    pub request: RequestId,
}

/// A call that waited and can be answered now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wakeup {
    /// Which.
    pub request: RequestId,
    /// Its result.
    pub result: FsResult<()>,
}

/// A holder that is to be told that somebody wants its lock (brick-and-replicate.md C.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contention {
    /// The holder.
    pub owner: Owner,
    /// The inode or directory.
    pub gfid: Gfid,
    /// The lock domain, after the metadata rule.
    pub domain: Rc<[u8]>,
    /// Process id the holder gave.
    pub pid: i32,
    /// The lock it holds.
    pub lock: ContendedLock,
}

/// The lock a [`Contention`] is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContendedLock {
    /// An inodelk.
    Inode(LockKind, Range),
    /// An entrylk; no name = the whole directory.
    Entry(LockKind, Option<Box<[u8]>>),
}

/// What a lock operation caused besides its own result.
#[derive(Default, Debug)]
#[must_use]
pub struct Effects {
    /// Calls to answer, in order.
    pub wakeups: Vec<Wakeup>,
    /// Holders to notify.
    pub contentions: Vec<Contention>,
}

/// Options of features/locks that this implementation honours.
#[derive(Clone, Copy, Debug)]
pub struct LockOptions {
    /// `notify-contention`: tell holders that somebody waits.
    pub notify_contention: bool,
    /// `notify-contention-delay` in nanoseconds: at most one notice per lock in this time.
    pub notify_delay_ns: u64,
}

impl Default for LockOptions {
    fn default() -> LockOptions {
        LockOptions {
            notify_contention: true,
            notify_delay_ns: 5_000_000_000,
        }
    }
}

/// Which locks a clear-locks command means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClearKind {
    /// Those that wait.
    Blocked,
    /// Those that are held.
    Granted,
    /// Both.
    All,
}

impl ClearKind {
    fn held(self) -> bool {
        self != ClearKind::Blocked
    }

    fn waiting(self) -> bool {
        self != ClearKind::Granted
    }
}

/// The kind and operation of an inodelk or lk call: `cmd` 1 tries, 2 waits; `kind` 0, 1 or 2 (wire-protocol.md 3.3).
/// `EOPNOTSUPP` for the query commands, `EINVAL` for what is not defined.
pub fn inodelk_op(cmd: u32, kind: u32) -> FsResult<LockOp> {
    const GETLK: u32 = 0;
    const SETLK: u32 = 1;
    const SETLKW: u32 = 2;
    const UNLOCK: u32 = 2;
    match (cmd, LockKind::from_wire(kind)) {
        (GETLK, _) => Err(Errno::EOPNOTSUPP),
        (SETLK, Some(kind)) => Ok(LockOp::Try(kind)),
        (SETLKW, Some(kind)) => Ok(LockOp::Wait(kind)),
        (SETLK | SETLKW, None) if kind == UNLOCK => Ok(LockOp::Unlock(LockKind::Write)),
        _ => Err(Errno::EINVAL),
    }
}

/// The operation of an entrylk call: `cmd` 0 waits, 1 unlocks, 2 tries; `kind` 0 or 1 (wire-protocol.md 3.3).
pub fn entrylk_op(cmd: u32, kind: u32) -> FsResult<LockOp> {
    let kind = LockKind::from_wire(kind).ok_or(Errno::EINVAL)?;
    match cmd {
        0 => Ok(LockOp::Wait(kind)),
        1 => Ok(LockOp::Unlock(kind)),
        2 => Ok(LockOp::Try(kind)),
        _ => Err(Errno::EINVAL),
    }
}
