//! The data lock of an inode and the transaction that lives under it: a pure state machine.
//!
//! AFR's data transaction is lock, pre-op (dirty +1), operations, post-op (dirty -1, blame), unlock. The lock is
//! eager: operations that come while it is held join it and send nothing but themselves (brick-and-replicate.md
//! D.5, D.6). I/O is in [`super::data`].

use super::BrickSet;

/// Where the lock stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not held.
    Free,
    /// Lock and pre-op are under way.
    Acquiring,
    /// Held; operations join.
    Held,
    /// Post-op and unlock are under way.
    Releasing,
}

/// A byte range `[start, end)`; `end` is `u64::MAX` for "to the end of the file".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The whole file.
    pub const ALL: ByteRange = ByteRange {
        start: 0,
        end: u64::MAX,
    };

    /// `len` bytes from `start`.
    pub fn new(start: u64, len: u64) -> ByteRange {
        ByteRange {
            start,
            end: start.saturating_add(len),
        }
    }

    fn overlaps(self, other: ByteRange) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Whether an operation may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// It is in: send it to these bricks.
    Joined {
        /// To be given back to [`DataLock::leave`].
        ticket: u64,
        /// Locked bricks that have not failed in this transaction.
        live: BrickSet,
    },
    /// The lock is free: acquire it, then ask again.
    Acquire,
    /// The lock is held idle but must be given up first: release it, then ask again.
    Release,
    /// Wait for a change, then ask again.
    Wait,
}

/// What an operation reports when all bricks have answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// Bricks that failed it while others did not.
    pub failed: BrickSet,
    /// Somebody else waits for the lock.
    pub contended: bool,
    /// It succeeded.
    pub done: bool,
    /// It failed below quorum: the dirty mark must stay so that heal decides.
    pub broken: bool,
    /// It may be lost by a crash of a brick after the dirty mark is cleared.
    pub unstable: bool,
    /// It was an fsync: everything before it is stable now.
    pub synced: bool,
    /// Clearing the mark without fsync could make heal choose wrongly (truncate).
    pub must_sync: bool,
}

/// The lock with its transaction.
#[derive(Debug)]
pub struct DataLock {
    phase: Phase,
    owner: u64,
    generation: u32,
    /// The bricks' sessions before they were locked: a brick drops the lock with its session.
    sessions: Vec<Option<u64>>,
    locked: BrickSet,
    dirty: BrickSet,
    failed: BrickSet,
    done: bool,
    broken: bool,
    release_asked: bool,
    unstable: bool,
    must_sync: bool,
    next_ticket: u64,
    active: Vec<(u64, ByteRange)>,
    /// Counts releases: a waiter for "the post-op that comes next" waits for it to grow.
    releases: u64,
    /// The last of the releases that did not bring on record who missed something.
    unrecorded: u64,
    /// Grows with every operation: an idle timer that finds it unchanged releases.
    activity: u64,
}

/// What a release has to do.
#[derive(Clone, Copy, Debug)]
pub struct ReleasePlan {
    /// Bricks to unlock.
    pub locked: BrickSet,
    /// Bricks whose dirty mark is set.
    pub dirty: BrickSet,
    /// Bricks with all operations: they record the blame.
    pub good: BrickSet,
    /// Something has succeeded: whoever is not good missed it.
    pub done: bool,
    /// Something has failed below quorum: the dirty marks stay.
    pub broken: bool,
    /// fsync first.
    pub sync: bool,
}

impl DataLock {
    /// A free lock whose requests carry `owner`.
    pub fn new(owner: u64) -> DataLock {
        DataLock {
            phase: Phase::Free,
            owner,
            generation: 0,
            sessions: Vec::new(),
            locked: BrickSet::EMPTY,
            dirty: BrickSet::EMPTY,
            failed: BrickSet::EMPTY,
            done: false,
            broken: false,
            release_asked: false,
            unstable: false,
            must_sync: false,
            next_ticket: 1,
            active: Vec::new(),
            releases: 0,
            unrecorded: 0,
            activity: 0,
        }
    }

    /// The lock owner.
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// Where the lock stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether nothing is held or under way.
    pub fn is_free(&self) -> bool {
        self.phase == Phase::Free
    }

    /// The bricks that have everything that was done under the lock; `None` while it is free.
    pub fn good(&self) -> Option<BrickSet> {
        matches!(self.phase, Phase::Held | Phase::Releasing).then(|| self.locked - self.failed)
    }

    /// Whether an operation is under way.
    pub fn is_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// See the field.
    pub fn releases(&self) -> u64 {
        self.releases
    }

    /// Whether all releases after the first `releases` have brought on record who missed what.
    pub fn recorded_since(&self, releases: u64) -> bool {
        self.unrecorded <= releases
    }

    /// The sessions of the bricks when the lock was asked for.
    pub fn sessions(&self) -> &[Option<u64>] {
        &self.sessions
    }

    /// See the field.
    pub fn activity(&self) -> u64 {
        self.activity
    }

    /// Asks to start an operation on `range` while the set of bricks is in `generation`.
    pub fn join(&mut self, range: ByteRange, generation: u32) -> Join {
        match self.phase {
            Phase::Free => Join::Acquire,
            Phase::Acquiring | Phase::Releasing => Join::Wait,
            Phase::Held if self.release_asked || self.generation != generation => {
                self.release_asked = true;
                if self.active.is_empty() {
                    Join::Release
                } else {
                    Join::Wait
                }
            }
            Phase::Held if self.active.iter().any(|(_, r)| r.overlaps(range)) => Join::Wait,
            Phase::Held => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.activity += 1;
                self.active.push((ticket, range));
                Join::Joined {
                    ticket,
                    live: self.locked - self.failed,
                }
            }
        }
    }

    /// Lock and pre-op begin, in `generation` and with these sessions.
    pub fn acquiring(&mut self, generation: u32, sessions: Vec<Option<u64>>) {
        debug_assert_eq!(self.phase, Phase::Free);
        self.phase = Phase::Acquiring;
        self.generation = generation;
        self.sessions = sessions;
    }

    /// Lock and pre-op are done: held on `locked`, dirty set on `dirty`.
    pub fn acquired(&mut self, locked: BrickSet, dirty: BrickSet) {
        debug_assert_eq!(self.phase, Phase::Acquiring);
        self.phase = Phase::Held;
        self.locked = locked;
        self.dirty = dirty;
        self.failed = locked - dirty;
        self.done = false;
        self.broken = false;
        self.release_asked = false;
        self.unstable = false;
        self.must_sync = false;
    }

    /// Lock or pre-op failed; everything granted was given back.
    pub fn not_acquired(&mut self) {
        self.phase = Phase::Free;
    }

    /// An operation is over on all bricks. Returns whether the lock should be released now.
    pub fn leave(&mut self, ticket: u64, end: &Leave) -> bool {
        self.active.retain(|(t, _)| *t != ticket);
        self.failed |= end.failed;
        self.done |= end.done;
        self.broken |= end.broken;
        if end.synced && end.failed.is_empty() {
            self.unstable = false;
        }
        self.unstable |= end.unstable;
        self.must_sync |= end.must_sync;
        self.release_asked |= end.contended || end.broken || !self.failed.is_empty();
        self.release_asked && self.active.is_empty() && self.phase == Phase::Held
    }

    /// Asks for release as soon as no operation is under way. Returns whether that is now.
    pub fn ask_release(&mut self) -> bool {
        if self.phase != Phase::Held {
            return false;
        }
        self.release_asked = true;
        self.active.is_empty()
    }

    /// Release begins. `idle` tells that only time passed: nobody waits and nothing failed, so no fsync is due for
    /// plain writes.
    pub fn releasing(&mut self, idle: bool) -> ReleasePlan {
        debug_assert!(self.phase == Phase::Held && self.active.is_empty());
        self.phase = Phase::Releasing;
        ReleasePlan {
            locked: self.locked,
            dirty: self.dirty,
            good: self.locked - self.failed,
            done: self.done,
            broken: self.broken,
            sync: self.must_sync || (self.unstable && !(idle && self.failed.is_empty())),
        }
    }

    /// Release is over; `recorded`: nobody has missed anything, or a quorum knows who has.
    pub fn released(&mut self, recorded: bool) {
        debug_assert_eq!(self.phase, Phase::Releasing);
        self.phase = Phase::Free;
        self.release_asked = false;
        self.locked = BrickSet::EMPTY;
        self.dirty = BrickSet::EMPTY;
        self.failed = BrickSet::EMPTY;
        self.releases += 1;
        if !recorded {
            self.unrecorded = self.releases;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> DataLock {
        let mut l = DataLock::new(7);
        assert_eq!(l.join(ByteRange::ALL, 1), Join::Acquire);
        l.acquiring(1, Vec::new());
        assert_eq!(l.join(ByteRange::ALL, 1), Join::Wait);
        l.acquired(BrickSet::first(3), BrickSet::first(3));
        l
    }

    fn ticket(j: Join) -> u64 {
        match j {
            Join::Joined { ticket, .. } => ticket,
            other => panic!("not joined: {other:?}"),
        }
    }

    #[test]
    fn disjoint_operations_share_the_lock() {
        let mut l = held();
        let a = ticket(l.join(ByteRange::new(0, 4096), 1));
        let b = ticket(l.join(ByteRange::new(4096, 4096), 1));
        assert_eq!(l.join(ByteRange::new(100, 1), 1), Join::Wait);
        assert!(!l.leave(a, &Leave::default()));
        let c = ticket(l.join(ByteRange::new(100, 1), 1));
        assert!(!l.leave(b, &Leave::default()) && !l.leave(c, &Leave::default()));
        assert_eq!(l.phase(), Phase::Held, "an idle lock is kept");
    }

    #[test]
    fn a_failed_brick_ends_the_transaction_with_blame() {
        let mut l = held();
        let a = ticket(l.join(ByteRange::ALL, 1));
        let failed = BrickSet::one(2);
        assert!(l.leave(
            a,
            &Leave {
                failed,
                unstable: true,
                ..Leave::default()
            }
        ));
        assert_eq!(l.join(ByteRange::ALL, 1), Join::Release);
        let plan = l.releasing(false);
        assert_eq!(plan.good, BrickSet::first(2));
        assert!(plan.sync && !plan.broken);
        l.released(true);
        assert_eq!(l.join(ByteRange::ALL, 1), Join::Acquire);
        assert_eq!(l.releases(), 1);
        assert!(l.recorded_since(0));
    }

    #[test]
    fn what_was_done_before_something_broke_is_still_to_be_recorded() {
        let broken = Leave {
            broken: true,
            ..Leave::default()
        };
        let done = Leave {
            done: true,
            ..Leave::default()
        };
        let mut l = held();
        let (a, b) = (
            ticket(l.join(ByteRange::new(0, 1), 1)),
            ticket(l.join(ByteRange::new(8, 1), 1)),
        );
        assert!(!l.leave(a, &done) && l.leave(b, &broken));
        let plan = l.releasing(false);
        assert!(plan.broken && plan.done);
        l.released(false);
        l.acquiring(1, Vec::new());
        l.acquired(BrickSet::first(3), BrickSet::first(3));
        let c = ticket(l.join(ByteRange::ALL, 1));
        assert!(l.leave(c, &broken));
        let plan = l.releasing(false);
        assert!(plan.broken && !plan.done, "that was another transaction");
    }

    #[test]
    fn what_is_not_on_record_is_remembered() {
        let mut l = held();
        l.releasing(false);
        l.released(false);
        assert!(!l.recorded_since(0), "who began before hears of it");
        assert!(l.recorded_since(1), "who began afterwards does not");
        l.acquiring(1, Vec::new());
        l.acquired(BrickSet::first(3), BrickSet::first(3));
        l.releasing(false);
        l.released(true);
        assert!(!l.recorded_since(0) && l.recorded_since(1));
    }

    #[test]
    fn a_new_generation_needs_a_new_lock() {
        let mut l = held();
        let a = ticket(l.join(ByteRange::new(0, 1), 1));
        assert_eq!(l.join(ByteRange::new(8, 1), 2), Join::Wait);
        assert!(l.leave(a, &Leave::default()), "release was asked for");
    }

    #[test]
    fn idle_release_needs_no_fsync_unless_truncated() {
        let mut l = held();
        let a = ticket(l.join(ByteRange::ALL, 1));
        assert!(!l.leave(
            a,
            &Leave {
                unstable: true,
                ..Leave::default()
            }
        ));
        assert!(!l.releasing(true).sync);
        l.released(true);
        l.acquiring(1, Vec::new());
        l.acquired(BrickSet::first(3), BrickSet::first(3));
        let a = ticket(l.join(ByteRange::ALL, 1));
        l.leave(
            a,
            &Leave {
                must_sync: true,
                ..Leave::default()
            },
        );
        assert!(l.releasing(true).sync);
    }

    #[test]
    fn pre_op_failure_counts_as_failed() {
        let mut l = DataLock::new(1);
        l.acquiring(1, Vec::new());
        l.acquired(BrickSet::first(3), BrickSet::first(2));
        let Join::Joined { ticket, live } = l.join(ByteRange::ALL, 1) else {
            panic!("not joined")
        };
        assert_eq!(live, BrickSet::first(2), "the others go on without it");
        assert!(l.leave(ticket, &Leave::default()), "and record the blame at once");
    }
}
