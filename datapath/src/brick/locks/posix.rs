//! POSIX record locks of one inode (brick-and-replicate.md C.5): ranges of one owner merge and split, other owners
//! conflict, flush and release drop locks by owner or by fd.

use std::collections::VecDeque;

use super::range::Range;
use super::{ClientId, LockKind, Outcome, Owner, RequestId, Wakeup};
use crate::errno::{Errno, FsResult};

/// A record lock, granted or waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PosixLock {
    /// Who.
    pub owner: Owner,
    /// The open file of the client it was taken through: release of that fd drops it.
    pub fd: i64,
    /// Shared or exclusive.
    pub kind: LockKind,
    /// Which bytes.
    pub range: Range,
    /// Process id the client gave, told to those who ask with GETLK.
    pub pid: u32,
}

impl PosixLock {
    /// A lock that nobody takes: what would be in the way of such a one is asked.
    pub fn question(owner: &Owner, kind: LockKind, range: Range) -> PosixLock {
        PosixLock {
            owner: owner.clone(),
            fd: -1,
            kind,
            range,
            pid: 0,
        }
    }

    fn conflicts(&self, other: &PosixLock) -> bool {
        self.owner != other.owner
            && self.range.overlaps(other.range)
            && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

/// Granted record locks and those waited for, in arrival order.
#[derive(Default, Debug)]
pub(super) struct PosixLocks {
    held: Vec<PosixLock>,
    waiting: VecDeque<(PosixLock, RequestId)>,
}

impl PosixLocks {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty()
    }

    /// Granted and waiting locks together.
    pub fn len(&self) -> usize {
        self.held.len() + self.waiting.len()
    }

    pub fn held(&self) -> &[PosixLock] {
        &self.held
    }

    pub fn waiting(&self) -> impl Iterator<Item = &PosixLock> {
        self.waiting.iter().map(|(lock, _)| lock)
    }

    /// The first granted lock that `want` would conflict with.
    pub fn conflicting(&self, want: &PosixLock) -> Option<&PosixLock> {
        self.held.iter().find(|h| h.conflicts(want))
    }

    /// All granted locks that `want` would conflict with.
    pub fn all_conflicting<'a>(&'a self, want: &'a PosixLock) -> impl Iterator<Item = &'a PosixLock> {
        self.held.iter().filter(|h| h.conflicts(want))
    }

    /// Takes `want`, or queues it when there is a `request` to wake later, or fails with `EAGAIN`. Replacing a
    /// write lock by a read lock can let others in, hence the wakeups.
    pub fn set(&mut self, want: PosixLock, wait: Option<RequestId>, wakeups: &mut Vec<Wakeup>) -> FsResult<Outcome> {
        if self.conflicting(&want).is_some() {
            let request = wait.ok_or(Errno::EAGAIN)?;
            self.waiting.push_back((want, request));
            return Ok(Outcome::Queued);
        }
        self.grant(want);
        self.regrant(wakeups);
        Ok(Outcome::Granted)
    }

    /// Gives up `range` of what `owner` holds. Holding nothing there is no error, as in fcntl(2).
    pub fn unset(&mut self, owner: &Owner, range: Range, wakeups: &mut Vec<Wakeup>) {
        self.subtract(owner, range);
        self.regrant(wakeups);
    }

    /// FLUSH with an owner: all its granted locks go.
    pub fn drop_owner(&mut self, owner: &Owner, wakeups: &mut Vec<Wakeup>) {
        self.held.retain(|h| h.owner != *owner);
        self.regrant(wakeups);
    }

    /// RELEASE, or FLUSH without an owner: the locks taken through the fd go; requests waiting through it end with
    /// `EAGAIN`.
    pub fn drop_fd(&mut self, client: ClientId, fd: i64, wakeups: &mut Vec<Wakeup>) {
        let meant = |l: &PosixLock| l.owner.client == client && l.fd == fd;
        self.clear(meant, |l, _| meant(l), wakeups);
    }

    /// Drops the held and the waiting locks the two predicates choose and returns how many; waiting ones end with
    /// `EAGAIN`; others are granted.
    pub fn clear(
        &mut self,
        held: impl Fn(&PosixLock) -> bool,
        waiting: impl Fn(&PosixLock, RequestId) -> bool,
        wakeups: &mut Vec<Wakeup>,
    ) -> usize {
        let before = self.len();
        self.held.retain(|l| !held(l));
        self.waiting.retain(|(l, request)| {
            let drop = waiting(l, *request);
            if drop {
                wakeups.push(Wakeup {
                    request: *request,
                    result: Err(Errno::EAGAIN),
                });
            }
            !drop
        });
        let dropped = before - self.len();
        if dropped > 0 {
            self.regrant(wakeups);
        }
        dropped
    }

    /// Enters `lock`, replacing what its owner held in that range and joining neighbours of the same kind.
    fn grant(&mut self, mut lock: PosixLock) {
        self.subtract(&lock.owner, lock.range);
        while let Some(at) = self
            .held
            .iter()
            .position(|h| h.owner == lock.owner && h.kind == lock.kind && h.range.touches(lock.range))
        {
            let neighbour = self.held.remove(at);
            lock.range = lock.range.hull(neighbour.range);
        }
        self.held.push(lock);
    }

    fn subtract(&mut self, owner: &Owner, range: Range) {
        let mut kept = Vec::with_capacity(self.held.len() + 1);
        for lock in self.held.drain(..) {
            if lock.owner != *owner {
                kept.push(lock);
                continue;
            }
            let (before, after) = lock.range.minus(range);
            for part in [before, after].into_iter().flatten() {
                kept.push(PosixLock {
                    range: part,
                    ..lock.clone()
                });
            }
        }
        self.held = kept;
    }

    /// Grants waiting requests in arrival order until no further one can be: a grant may itself give something up.
    fn regrant(&mut self, wakeups: &mut Vec<Wakeup>) {
        loop {
            let Some(at) = self.waiting.iter().position(|(w, _)| self.conflicting(w).is_none()) else {
                return;
            };
            let Some((lock, request)) = self.waiting.remove(at) else {
                return;
            };
            self.grant(lock);
            wakeups.push(Wakeup {
                request,
                result: Ok(()),
            });
        }
    }
}
