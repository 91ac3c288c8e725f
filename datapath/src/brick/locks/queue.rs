//! One lock domain of one inode: granted locks, and requests that wait in arrival order.
//!
//! The rules are those inodelk and entrylk share (brick-and-replicate.md C.3, C.4); what makes two locks conflict
//! is the [`Shape`]'s business. Nothing here knows of gfids, connections or time other than what it is handed.

use std::collections::VecDeque;

use super::{Outcome, Owner, RequestId, Wakeup};
use crate::errno::{Errno, FsResult};

/// What is locked, and when two such things cannot be held by different owners at once.
pub(super) trait Shape: Clone {
    /// Whether the two conflict when their owners differ.
    fn conflicts(&self, other: &Self) -> bool;
}

/// A granted or waiting lock.
#[derive(Clone, Debug)]
pub(super) struct Entry<S> {
    pub owner: Owner,
    pub shape: S,
    /// Process id of the caller, for contention notices and dumps.
    pub pid: i32,
    /// Whom to tell when a waiting lock is granted.
    pub request: RequestId,
    /// When its holder was last told that somebody waits (nanoseconds of the caller's clock).
    pub notified_ns: Option<u64>,
}

/// Whether and how often a holder hears of those who wait.
#[derive(Clone, Copy)]
pub(super) struct NotifyClock {
    pub now_ns: u64,
    /// `None` switches notices off.
    pub delay_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Queue<S> {
    held: Vec<Entry<S>>,
    waiting: VecDeque<Entry<S>>,
}

impl<S> Default for Queue<S> {
    fn default() -> Queue<S> {
        Queue {
            held: Vec::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<S: Shape> Queue<S> {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty()
    }

    /// Granted and waiting locks together.
    pub fn len(&self) -> usize {
        self.held.len() + self.waiting.len()
    }

    pub fn held(&self) -> &[Entry<S>] {
        &self.held
    }

    pub fn waiting(&self) -> impl Iterator<Item = &Entry<S>> {
        self.waiting.iter()
    }

    /// Grants `entry`, or queues it when `wait`, or fails with `EAGAIN`. Holders that must hear of it are appended
    /// to `contended`.
    pub fn lock(
        &mut self,
        entry: Entry<S>,
        wait: bool,
        clock: NotifyClock,
        contended: &mut Vec<Entry<S>>,
    ) -> FsResult<Outcome> {
        let blocked = self.blocked_by_holder(&entry, clock, contended);
        if !blocked && !self.must_queue_behind(&entry) {
            self.held.push(entry);
            return Ok(Outcome::Granted);
        }
        if !wait {
            return Err(Errno::EAGAIN);
        }
        self.waiting.push_back(entry);
        Ok(Outcome::Queued)
    }

    /// Whether another owner holds a conflicting lock; collects the holders that are due a notice.
    fn blocked_by_holder(&mut self, entry: &Entry<S>, clock: NotifyClock, contended: &mut Vec<Entry<S>>) -> bool {
        let mut blocked = false;
        for held in &mut self.held {
            if held.owner == entry.owner || !held.shape.conflicts(&entry.shape) {
                continue;
            }
            blocked = true;
            let Some(delay_ns) = clock.delay_ns else { break };
            let due = held
                .notified_ns
                .is_none_or(|at| clock.now_ns.saturating_sub(at) >= delay_ns);
            if due {
                held.notified_ns = Some(clock.now_ns);
                contended.push(held.clone());
            }
        }
        blocked
    }

    /// Anti-starvation: a grantable request still waits behind a conflicting waiting one, unless its owner already
    /// holds or waits for a lock in this domain (it may be nested under it).
    fn must_queue_behind(&self, entry: &Entry<S>) -> bool {
        self.waiting.iter().any(|w| w.shape.conflicts(&entry.shape)) && !self.knows_owner(&entry.owner)
    }

    fn knows_owner(&self, owner: &Owner) -> bool {
        self.held.iter().any(|e| e.owner == *owner) || self.waiting.iter().any(|e| e.owner == *owner)
    }

    /// Releases one held lock of `owner` that `matches`, or fails with `EINVAL`. The caller re-grants.
    pub fn unlock(&mut self, owner: &Owner, matches: impl Fn(&S) -> bool) -> FsResult<()> {
        let at = self
            .held
            .iter()
            .position(|e| e.owner == *owner && matches(&e.shape))
            .ok_or(Errno::EINVAL)?;
        self.held.remove(at);
        Ok(())
    }

    /// Drops the held and the waiting locks the two predicates choose and returns how many; waiting ones end with
    /// `EAGAIN`. The caller re-grants.
    pub fn clear(
        &mut self,
        held: impl Fn(&Entry<S>) -> bool,
        waiting: impl Fn(&Entry<S>) -> bool,
        wakeups: &mut Vec<Wakeup>,
    ) -> usize {
        let before = self.len();
        self.held.retain(|e| !held(e));
        self.waiting.retain(|e| {
            let drop = waiting(e);
            if drop {
                wakeups.push(Wakeup {
                    request: e.request,
                    result: Err(Errno::EAGAIN),
                });
            }
            !drop
        });
        before - self.len()
    }

    /// Re-evaluates the waiting requests in arrival order and grants what can be granted.
    pub fn regrant(&mut self, clock: NotifyClock, wakeups: &mut Vec<Wakeup>, contended: &mut Vec<Entry<S>>) {
        for entry in std::mem::take(&mut self.waiting) {
            let request = entry.request;
            if let Ok(Outcome::Granted) = self.lock(entry, true, clock, contended) {
                wakeups.push(Wakeup {
                    request,
                    result: Ok(()),
                });
            }
        }
    }
}
