//! Watches the sessions of a volume: looks at them regularly, pings, and ends those that [`super::health`] gives up.
//!
//! No decision is made here.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::health::{Call, Canary, Health, Look, Record, Seen, Step, Transition};
use super::subvol::{Subvol, SubvolEvents};
use crate::exec;
use crate::replicate::BrickSet;
use crate::rpc::{Connection, Patience};

/// Between two looks while a call is unanswered, and while none is.
const BUSY: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(250);
/// The kinds of calls that are compared with those of other bricks.
const COMPARED: [Patience; 2] = [Patience::Prompt, Patience::Slow];
/// The kinds of calls that are the brick's own doing when they take long: not those that wait for a lock.
const OBSTRUCTING: [Patience; 3] = [Patience::Prompt, Patience::Read, Patience::Slow];

/// A brick's connection and which session it is, if there is one.
type Session = Option<(Connection, u64)>;

/// What was there at the last look.
#[derive(Clone, Copy, Default)]
struct Before {
    session: Option<u64>,
    received: u64,
    sent: u64,
}

/// The watch over all sessions of a volume on this core.
pub struct Monitor {
    volume: String,
    health: RefCell<Health>,
    before: RefCell<Vec<Before>>,
    events: Weak<dyn SubvolEvents>,
    running: Cell<bool>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("volume", &self.volume)
            .finish_non_exhaustive()
    }
}

impl Monitor {
    /// A watch that rests until the first session is there. `events` hears of every change.
    pub fn new(volume: &str, bricks: usize, health: Health, events: Weak<dyn SubvolEvents>) -> Rc<Monitor> {
        Rc::new(Monitor {
            volume: volume.to_string(),
            health: RefCell::new(health),
            before: RefCell::new(vec![Before::default(); bricks]),
            events,
            running: Cell::new(false),
        })
    }

    /// What is kept of `brick`.
    pub fn record(&self, brick: usize) -> Record {
        self.health.borrow().record(brick).clone()
    }

    /// Changed options.
    pub fn set_timeouts(&self, probe_timeout: Duration, ping_timeout: Duration) {
        self.health.borrow_mut().set_timeouts(probe_timeout, ping_timeout);
    }

    pub(super) fn hold_off(&self, brick: usize) -> Duration {
        self.health.borrow().hold_off(brick, exec::now())
    }

    pub(super) fn canary(&self, brick: usize) -> Option<(Canary, Duration)> {
        let health = self.health.borrow();
        health.canary(brick).map(|canary| (canary, health.canary_limit()))
    }

    pub(super) fn canary_failed(&self, brick: usize) {
        self.health.borrow_mut().canary_failed(brick, exec::now());
    }

    /// A session with `brick` is ready.
    pub fn connected(self: &Rc<Self>, brick: usize) {
        let change = self.health.borrow_mut().connected(brick, exec::now());
        self.tell(brick, change);
        if !self.running.replace(true) {
            exec::spawn(self.clone().run());
        }
    }

    /// It has ended.
    pub fn ended(&self, brick: usize, why: &str) {
        let change = self.health.borrow_mut().ended(brick, exec::now(), why);
        self.tell(brick, change);
    }

    fn tell(&self, brick: usize, change: Option<Transition>) {
        let (Some(change), Some(events)) = (change, self.events.upgrade()) else {
            return;
        };
        events.health(brick, &change);
    }

    async fn run(self: Rc<Self>) {
        let mut last = exec::now();
        let mut planned = BUSY;
        loop {
            exec::sleep(planned).await;
            let now = exec::now();
            let sessions = self.sessions();
            if sessions.iter().all(Option::is_none) {
                break;
            }
            self.look(now, planned, now - last, &sessions);
            last = now;
            let asked = sessions.iter().flatten().any(|(c, _)| c.outstanding() > 0);
            planned = if asked { BUSY } else { IDLE };
        }
        self.running.set(false);
    }

    fn sessions(&self) -> Vec<Session> {
        let Some(events) = self.events.upgrade() else {
            return Vec::new();
        };
        let session = |s: &Subvol| Some((s.connection()?, s.session_id()?));
        events.subvols().iter().map(session).collect()
    }

    fn look(&self, now: exec::Mono, planned: Duration, elapsed: Duration, sessions: &[Session]) {
        let Some(events) = self.events.upgrade() else { return };
        let seen: Vec<Option<Seen>> = (0..sessions.len()).map(|b| self.seen(b, sessions)).collect();
        let steps = self.health.borrow_mut().look(&Look {
            now,
            planned,
            elapsed,
            seen: &seen,
            quorum: &|set| events.quorum(set),
        });
        for step in steps {
            match step {
                Step::Ping(brick) => {
                    if let Some(Some((connection, _))) = sessions.get(brick) {
                        // The answer is seen as a sign of life when it comes.
                        drop(super::subvol::ping(connection));
                    }
                }
                Step::Knock(brick) => {
                    if let Some(subvol) = events.subvols().get(brick) {
                        exec::spawn(subvol.clone().knock());
                    }
                }
                Step::Tell(brick, change) => events.health(brick, &change),
                Step::GiveUp(brick, cause) => {
                    if let Some(Some((connection, _))) = sessions.get(brick) {
                        connection.abort(&cause.to_string());
                    }
                }
            }
        }
    }

    /// Ends the session with `brick` if a call sent at `since` or later, during which a lock is held, has been
    /// outstanding for too long; at most `waited` counts.
    pub fn hurry(&self, brick: usize, since: exec::Mono, waited: Duration) {
        let Some(events) = self.events.upgrade() else { return };
        let sessions = self.sessions();
        let Some(Some((connection, _))) = sessions.get(brick) else {
            return;
        };
        let oldest = |kind: &Patience| Some((*kind, connection.oldest_since(*kind, since)?.sent));
        let Some((kind, sent)) = OBSTRUCTING.iter().filter_map(oldest).min_by_key(|(_, sent)| *sent) else {
            return;
        };
        let now = exec::now();
        let times = (waited.min(now - sent), connection.usual_time(kind).unwrap_or_default());
        let up = (0..sessions.len()).filter(|b| sessions[*b].is_some()).collect();
        let quorum = |set| events.quorum(set);
        let cause = self.health.borrow_mut().obstructs(brick, now, times, up, &quorum);
        if let Some(cause) = cause {
            connection.abort(&cause.to_string());
        }
    }

    fn seen(&self, brick: usize, sessions: &[Session]) -> Option<Seen> {
        let (connection, session) = sessions.get(brick)?.as_ref()?;
        let now = Before {
            session: Some(*session),
            received: connection.received(),
            sent: connection.sent(),
        };
        let before = std::mem::replace(self.before.borrow_mut().get_mut(brick)?, now);
        let same = before.session == now.session;
        Some(Seen {
            heard: !same || before.received != now.received,
            asked: connection.oldest_wait(),
            sending: same && before.sent != now.sent && connection.backlog() > 0,
            calls: COMPARED.map(|kind| compared(brick, kind, sessions)),
        })
    }
}

/// The oldest unanswered call of a kind, beside what the other bricks have done.
fn compared(brick: usize, kind: Patience, sessions: &[Session]) -> Option<Call> {
    let (connection, _) = sessions.get(brick)?.as_ref()?;
    let oldest = connection.oldest(kind)?;
    let later = |s: &Session| s.as_ref().is_some_and(|(c, _)| c.answered(kind) >= oldest.sent);
    let answered_by: BrickSet = sessions
        .iter()
        .enumerate()
        .filter(|(_, c)| later(c))
        .map(|(b, _)| b)
        .collect();
    Some(Call {
        id: oldest.xid,
        usual: connection.usual_time(kind).unwrap_or_default(),
        answered_by,
    })
}
