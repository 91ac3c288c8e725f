//! The self-heal daemon's loop: when to crawl which brick (brick-and-replicate.md E.1, E.8).
//!
//! When a brick returns, every other brick's index lists what it missed, and each of their machines has a daemon. They
//! begin one after the other, so that a short absence is healed by one daemon and a long one by all: six that begin
//! together want the same locks, and what they lose time with is missing to clients where processors are few.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::crawl::CrawlSummary;
use crate::exec::{self, Mono, WallTime, sync::Notify};
use crate::replicate::{BrickSet, ReplicaSet};
use crate::wire::Gfid;

/// Pause after a crawl that healed something: there may be more.
const AGAIN_SOON: Duration = Duration::from_millis(200);
/// Pause after a crawl that left something while all bricks are up: a writer or another healer is at it.
const RETRY: Duration = Duration::from_secs(1);
/// How often a brick's index is looked at although nothing came or went: what another client could not reach, or what
/// a full disk refused, is found this way.
const LOOK: Duration = Duration::from_secs(5);
/// The same while a brick is away: then the index grows with every change, and hardly any of it can be healed.
const LOOK_DEGRADED: Duration = Duration::from_secs(60);
/// An inode that has been dirty for so long is looked at: writers are done by then, or give their lock up when asked.
/// What a client that crashed has left, or a post-op that failed, is found this way.
const DIRTY_AGE: Duration = Duration::from_secs(20);
/// How much later than the one before the healer of each further brick begins when a brick returns.
const STAGGER: Duration = Duration::from_millis(300);
/// How long entries that wait for a brick that is away are not looked at again. They may have another reason by then: a
/// client that could not reach one of the bricks that are here.
const WAITING: Duration = Duration::from_secs(600);
/// Crawls remembered per brick for `heal statistics`.
const HISTORY: usize = 50;

/// What kind of crawl.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrawlKind {
    /// The brick's indices.
    Index,
    /// The whole tree.
    Full,
}

/// One crawl of one brick.
#[derive(Clone, Debug)]
pub struct CrawlRecord {
    /// Index of the brick.
    pub brick: usize,
    /// What was crawled.
    pub kind: CrawlKind,
    /// When it began.
    pub started: WallTime,
    /// When it ended; `None` while it runs.
    pub ended: Option<WallTime>,
    /// What it did.
    pub summary: CrawlSummary,
}

/// A request to the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HealCommand {
    /// Crawl the indices now.
    Index,
    /// Crawl the whole tree now.
    Full,
}

/// The healers of one volume: one per local brick. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HealDaemon(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    set: ReplicaSet,
    wake: Vec<Notify>,
    /// The sessions with the bricks when somebody last said that one came or went.
    sessions: RefCell<Vec<Option<u64>>>,
    /// How often bricks have come.
    came: Cell<u64>,
    /// What each brick's healer waits for after being woken.
    delay: Vec<Cell<Duration>>,
    waiting: Vec<RefCell<Waiting>>,
    full: Vec<Cell<bool>>,
    history: RefCell<Vec<VecDeque<CrawlRecord>>>,
}

impl HealDaemon {
    /// Starts healing `set`: one healer per brick of this machine.
    pub fn start(set: ReplicaSet) -> HealDaemon {
        let bricks = set.bricks();
        let daemon = HealDaemon(Rc::new(Inner {
            wake: (0..bricks).map(|_| Notify::new()).collect(),
            sessions: RefCell::new(vec![None; bricks]),
            came: Cell::new(0),
            delay: (0..bricks).map(|_| Cell::default()).collect(),
            waiting: (0..bricks).map(|_| RefCell::default()).collect(),
            full: (0..bricks).map(|_| Cell::new(false)).collect(),
            history: RefCell::new(vec![VecDeque::new(); bricks]),
            set,
        }));
        for brick in daemon.0.set.local().iter() {
            exec::spawn(daemon.clone().heal_brick(brick));
        }
        daemon
    }

    /// A brick came or went. When one came, the healers look again, each in its turn. With one less there is nothing to
    /// heal that was not there before.
    pub fn bricks_changed(&self) {
        let up = self.0.set.up();
        let sessions = self.0.set.sessions();
        let last = self.0.sessions.replace(sessions.clone());
        // One that went and came back at once has a new session, and may have missed something.
        let came: BrickSet = up
            .iter()
            .filter(|&brick| sessions.get(brick) != last.get(brick))
            .collect();
        if came.is_empty() {
            return;
        }
        self.0.came.update(|n| n + 1);
        for brick in self.0.set.local().iter() {
            self.0.delay[brick].set(STAGGER * turn(brick, up, came));
            self.0.waiting[brick].take();
            self.0.wake[brick].notify_one();
        }
    }

    /// The options have changed: the pauses that are under way may be too long now.
    pub fn options_changed(&self) {
        self.0.wake.iter().for_each(Notify::notify_one);
    }

    /// Carries out a command. `false`: heal is off or no brick of this machine is up.
    pub fn command(&self, command: HealCommand) -> bool {
        let local = self.0.set.local();
        if !self.0.set.options().self_heal_daemon || (local & self.0.set.up()).is_empty() {
            return false;
        }
        for brick in local.iter() {
            if command == HealCommand::Full {
                self.0.full[brick].set(true);
            }
            self.0.wake[brick].notify_one();
        }
        true
    }

    /// The crawls of `brick` that are remembered, oldest first.
    pub fn history(&self, brick: usize) -> Vec<CrawlRecord> {
        self.0
            .history
            .borrow()
            .get(brick)
            .map(|h| h.iter().cloned().collect())
            .unwrap_or_default()
    }

    async fn heal_brick(self, brick: usize) {
        let set = self.0.set.clone();
        set.ready().await;
        let mut dirty = DirtySince::default();
        loop {
            let pause = if set.options().self_heal_daemon && self.may_heal(brick) {
                let kind = if self.0.full[brick].take() {
                    CrawlKind::Full
                } else {
                    CrawlKind::Index
                };
                self.crawl(brick, kind).await
            } else {
                set.options().heal_timeout
            };
            self.pause(brick, pause, &mut dirty).await;
            let delay = self.0.delay[brick].take();
            if !delay.is_zero() {
                exec::sleep(delay).await;
            }
        }
    }

    /// Waits for `pause`, for a wake-up, until the brick's index is no longer empty, or until something on it has been
    /// dirty for long.
    async fn pause(&self, brick: usize, pause: Duration, dirty: &mut DirtySince) {
        let end = exec::now() + pause;
        loop {
            let left = end - exec::now();
            if left.is_zero() {
                return;
            }
            let look = if self.0.set.up().len() < self.0.set.bricks() {
                LOOK_DEGRADED
            } else {
                LOOK
            };
            if exec::timeout(left.min(look), self.0.wake[brick].notified())
                .await
                .is_ok()
            {
                return;
            }
            if left > look && self.may_heal(brick) && self.is_needed(brick, dirty).await {
                return;
            }
        }
    }

    async fn is_needed(&self, brick: usize, dirty: &mut DirtySince) -> bool {
        let set = &self.0.set;
        let known = self.0.waiting[brick].borrow_mut().fresh(exec::now());
        let blamed = set.blamed_entries(brick).await;
        if blamed.is_ok_and(|blamed| blamed.iter().any(|gfid| !known.contains(gfid))) {
            return true;
        }
        let now_dirty = set.dirty_entries(brick).await;
        let found = now_dirty.is_ok_and(|now_dirty| dirty.look(exec::now(), now_dirty));
        if found {
            self.0.waiting[brick].take();
        }
        found
    }

    /// Healing needs the brick itself and a quorum to judge by.
    fn may_heal(&self, brick: usize) -> bool {
        let up = self.0.set.up();
        up.contains(brick) && up.len() > 1 && self.0.set.quorum().met(up)
    }

    async fn crawl(&self, brick: usize, kind: CrawlKind) -> Duration {
        let set = &self.0.set;
        self.record(brick, kind);
        let result = match kind {
            CrawlKind::Index => {
                let came = self.0.came.get();
                let mut waiting = self.0.waiting[brick].borrow_mut().fresh(exec::now());
                let result = set.crawl_index(brick, Rc::make_mut(&mut waiting)).await;
                // A brick that has come meanwhile may be the one that was waited for.
                if self.0.came.get() == came {
                    self.0.waiting[brick].borrow_mut().entries = waiting;
                }
                result
            }
            CrawlKind::Full => set.crawl_tree(brick).await,
        };
        let summary = result.unwrap_or_else(|e| {
            tracing::info!("{}: crawl ended: {e}", set.subvol(brick).name());
            CrawlSummary::default()
        });
        self.finish(brick, summary);
        if summary.healed > 0 {
            tracing::info!("{}: crawl healed {summary:?}", set.subvol(brick).name());
            AGAIN_SOON
        } else if summary.failed > 0 && set.up().len() == set.bricks() {
            RETRY
        } else {
            set.options().heal_timeout
        }
    }

    fn record(&self, brick: usize, kind: CrawlKind) {
        let mut history = self.0.history.borrow_mut();
        let of_brick = &mut history[brick];
        if of_brick.len() == HISTORY {
            of_brick.pop_front();
        }
        let summary = CrawlSummary::default();
        of_brick.push_back(CrawlRecord {
            brick,
            kind,
            started: exec::wall_clock(),
            ended: None,
            summary,
        });
    }

    fn finish(&self, brick: usize, summary: CrawlSummary) {
        if let Some(last) = self.0.history.borrow_mut()[brick].back_mut() {
            last.ended = Some(exec::wall_clock());
            last.summary = summary;
        }
    }
}

/// The how-manieth healer to begin that of `brick` is, of those whose bricks were there all along; then come those of
/// the bricks that have just come, which have hardly anything to tell.
fn turn(brick: usize, up: BrickSet, came: BrickSet) -> u32 {
    let before = |set: BrickSet| set.iter().filter(|b| *b < brick).count();
    let there = up - came;
    let turn = if there.contains(brick) {
        before(there)
    } else {
        there.len() + before(came)
    };
    turn as u32
}

/// Entries of one brick's index that nobody can heal before some brick returns.
#[derive(Default, Debug)]
struct Waiting {
    since: Mono,
    entries: Rc<HashSet<Gfid>>,
}

impl Waiting {
    /// Those that need not be looked at again yet.
    fn fresh(&mut self, now: Mono) -> Rc<HashSet<Gfid>> {
        if now - self.since >= WAITING {
            self.since = now;
            self.entries = Rc::default();
        }
        Rc::clone(&self.entries)
    }
}

/// Since when which inodes are seen dirty on a brick.
#[derive(Default)]
struct DirtySince(BTreeMap<Gfid, Mono>);

impl DirtySince {
    /// Takes what is dirty now; `true` when some of it has been for long. Each is told of once in that time.
    fn look(&mut self, now: Mono, dirty: Vec<Gfid>) -> bool {
        let since = |gfid: &Gfid| self.0.get(gfid).copied().unwrap_or(now);
        self.0 = dirty.into_iter().map(|gfid| (gfid, since(&gfid))).collect();
        let mut found = false;
        for since in self.0.values_mut().filter(|since| now - **since >= DIRTY_AGE) {
            (*since, found) = (now, true);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_there_begin_one_after_the_other() {
        let all = BrickSet::first(6);
        let turns = |came: BrickSet| -> Vec<u32> { (0..6).map(|brick| turn(brick, all, came)).collect() };
        assert_eq!(turns(BrickSet::one(0)), [5, 0, 1, 2, 3, 4]);
        assert_eq!(turns(BrickSet::one(3)), [0, 1, 2, 5, 3, 4]);
        assert_eq!(turns(all), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_waits_is_looked_at_again_after_a_while() {
        let at = |secs| Mono::default() + Duration::from_secs(secs);
        let mut waiting = Waiting::default();
        assert!(waiting.fresh(at(1000)).is_empty());
        waiting.entries = Rc::new(HashSet::from([Gfid([1; 16])]));
        assert_eq!(waiting.fresh(at(1599)).len(), 1);
        assert!(waiting.fresh(at(1600)).is_empty());
    }

    #[test]
    fn what_stays_dirty_is_told_of_and_what_comes_and_goes_is_not() {
        let (a, b) = (Gfid([1; 16]), Gfid([2; 16]));
        let mut dirty = DirtySince::default();
        let at = |secs| Mono::default() + Duration::from_secs(secs);
        assert!(!dirty.look(at(0), vec![a, b]));
        assert!(!dirty.look(at(15), vec![a]));
        assert!(dirty.look(at(20), vec![a, b]), "a was dirty all the time");
        assert!(!dirty.look(at(25), vec![a, b]), "a was told of, b is new");
        assert!(dirty.look(at(40), vec![a, b]));
        assert!(!dirty.look(at(60), Vec::new()));
    }
}
