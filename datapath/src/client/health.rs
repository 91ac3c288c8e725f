//! Whether the bricks of a volume answer: what makes one suspect, when it is given up, and when it may come back
//! (DESIGN.md section 5).
//!
//! Pure: it is told what was seen of each brick since the last look, and says what to do. Sockets, timers and calls are
//! [`super::monitor`]'s.
//!
//! # What counts
//! * **Silence**: nothing was heard of a brick although it was asked something. A ping goes out early in it.
//! * **A stalled call**: the brick talks, but a call that its peers have answered does not come back: its disk hangs. The
//!   same without peers, where a lock is held until the call comes back (heal).
//!
//! # What protects against mistakes
//! * Time counts only while this core ran: a look that comes late counts as one look.
//! * A brick is given up early only if most of the others have answered something since it was asked; if nobody answers,
//!   it is this machine or its network.
//! * A brick is not given up early where that would lose the write quorum. Then `ping-timeout` decides, as it does
//!   wherever these rules say "wait", unless a second connection finds out more: if it is answered, or refused, the
//!   silent one is a relic of before its server went down and came back.
//! * Who answered late, or when this core ran late, waits are longer for a while.

use std::time::Duration;

use crate::exec::Mono;
use crate::replicate::BrickSet;

/// Silence after which a ping is sent, as a part of the probe time-out.
const PING_PART: u32 = 4;
/// How often a brick that is asked nothing is pinged.
const IDLE_PING: Duration = Duration::from_secs(2);
/// How often a brick that is not given up in spite of its silence is sounded out by another connection.
const KNOCK: Duration = Duration::from_millis(500);
/// How much longer than the slowest recent answer a silence must be.
const PATIENCE: u32 = 2;
/// The probe time-out grows at most so many times: a write must not stall for longer than a second by default.
const LONGEST: u32 = 2;
/// What was slow counts half after this time.
const FORGET: Duration = Duration::from_secs(10);
/// A call that others have answered may be outstanding so long; fsync and the like longer.
const STALL: [Duration; 2] = [Duration::from_millis(750), Duration::from_secs(2)];
/// The same when such calls usually take long on this brick: so many times the usual time, up to the last bound.
const STALL_PATIENCE: u32 = 4;
const LONGEST_STALL: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(20)];
/// First and longest time for which a brick that was given up is kept out.
const HOLD_OFF: Duration = Duration::from_millis(200);
const LONGEST_HOLD_OFF: Duration = Duration::from_secs(5);
/// After so long without a strike, those before are forgotten.
const QUIET: Duration = Duration::from_secs(60);

/// What is thought of a brick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// There is no session with it.
    Down,
    /// It answers.
    Up,
    /// It is connected and does not answer: reads go elsewhere.
    Suspect,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Down => "down",
            State::Up => "up",
            State::Suspect => "suspect",
        })
    }
}

/// Why it is thought so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It answers (again).
    Answers,
    /// Nothing was heard although it was asked, for so long.
    Silent(Duration),
    /// It has not answered a call for so long that the others have answered.
    Stalled(Duration),
    /// It has not answered a call for so long that others wait for: a lock is held meanwhile.
    Obstructs(Duration),
    /// Nothing was heard for `ping-timeout`.
    PingTimeout(Duration),
    /// The connection ended: the words of who ended it.
    Ended(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Answers => f.write_str("it answers"),
            Cause::Silent(time) => write!(f, "silent for {} ms", time.as_millis()),
            Cause::Stalled(time) => write!(
                f,
                "a call its peers have answered is stalled for {} ms",
                time.as_millis()
            ),
            Cause::Obstructs(time) => write!(
                f,
                "a call is stalled for {} ms while a file is locked for it",
                time.as_millis()
            ),
            Cause::PingTimeout(time) => write!(
                f,
                "has not responded in the last {} seconds, disconnecting.",
                time.as_secs()
            ),
            Cause::Ended(why) => f.write_str(why),
        }
    }
}

/// A change of mind about a brick.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// What was thought before.
    pub from: State,
    /// What is thought now.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

impl std::fmt::Display for Transition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.cause)
    }
}

/// What is kept of a brick, to be shown.
#[derive(Clone, Debug)]
pub struct Record {
    /// What is thought of it.
    pub state: State,
    /// Since when.
    pub since: Mono,
    /// Why.
    pub cause: Option<Cause>,
    /// How often it became suspect.
    pub suspected: u64,
    /// How often it was given up for not answering.
    pub given_up: u64,
    /// How often its connection ended otherwise.
    pub lost: u64,
}

/// An unanswered call that peers are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Its number.
    pub id: u32,
    /// The time in which the brick usually answers such calls.
    pub usual: Duration,
    /// Bricks that have answered such a call that was sent no earlier.
    pub answered_by: BrickSet,
}

/// What was seen of a connected brick since the last look.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    /// Something arrived.
    pub heard: bool,
    /// How long its oldest call has been unanswered.
    pub asked: Option<Duration>,
    /// Its socket took data and more is waiting: the way to it is full, answers cannot be expected yet.
    pub sending: bool,
    /// The oldest unanswered calls: those of a moment, and slow ones.
    pub calls: [Option<Call>; 2],
}

/// One look at all bricks.
pub struct Look<'a> {
    /// When.
    pub now: Mono,
    /// How long after the last look it was meant to be.
    pub planned: Duration,
    /// How long after the last look it is.
    pub elapsed: Duration,
    /// What was seen, by brick; `None` of one that is not connected.
    pub seen: &'a [Option<Seen>],
    /// Whether a set of bricks may decide modifications.
    pub quorum: &'a dyn Fn(BrickSet) -> bool,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask the brick whether it lives.
    Ping(usize),
    /// Tell what is thought of it now.
    Tell(usize, Transition),
    /// Sound it out by another connection.
    Knock(usize),
    /// End its session.
    GiveUp(usize, Cause),
}

/// How a brick that was given up has to prove itself before it is let in again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// It answered nothing: it must answer promptly.
    Answer,
    /// It could not work: it must do something at its disk.
    Work,
}

/// A time that is forgotten by halves.
#[derive(Clone, Copy, Default, Debug)]
struct Fading {
    time: Duration,
    at: Mono,
}

impl Fading {
    fn get(&self, now: Mono) -> Duration {
        let halvings = (now - self.at).as_nanos() / FORGET.as_nanos();
        u32::try_from(halvings).map_or(Duration::ZERO, |n| self.time / 2u32.saturating_pow(n))
    }

    fn note(&mut self, now: Mono, time: Duration) {
        if time >= self.get(now) {
            *self = Fading { time, at: now };
        }
    }
}

#[derive(Debug)]
struct Brick {
    record: Record,
    /// Counted silence since it was asked.
    silence: Duration,
    /// Time without a question.
    idle: Duration,
    /// The look at which the ping went out that was not answered yet, and the silence before it.
    ping: Option<(u64, Duration)>,
    /// The silence at which it is sounded out next.
    knock_at: Duration,
    /// The look at which it was last heard.
    heard: u64,
    /// The slowest answer to a ping lately.
    slowest: Fading,
    /// The oldest calls and the counted time they are outstanding.
    calls: [Option<(u32, Duration)>; 2],
    /// Set when it was given up, until its session has ended.
    given_up: Option<Cause>,
    /// How often it was given up, forgotten after a quiet time.
    strikes: u32,
    struck_at: Mono,
    held_until: Mono,
    canary: Option<Canary>,
}

impl Brick {
    fn new() -> Brick {
        Brick {
            record: Record {
                state: State::Down,
                since: Mono::default(),
                cause: None,
                suspected: 0,
                given_up: 0,
                lost: 0,
            },
            silence: Duration::ZERO,
            idle: Duration::ZERO,
            ping: None,
            knock_at: Duration::ZERO,
            heard: 0,
            slowest: Fading::default(),
            calls: [None; 2],
            given_up: None,
            strikes: 0,
            struck_at: Mono::default(),
            held_until: Mono::default(),
            canary: None,
        }
    }

    fn change(&mut self, now: Mono, to: State, cause: Cause) -> Option<Transition> {
        let from = self.record.state;
        if from == to {
            return None;
        }
        (self.record.state, self.record.since) = (to, now);
        self.record.cause = Some(cause.clone());
        if to == State::Suspect {
            self.record.suspected += 1;
        }
        Some(Transition { from, to, cause })
    }

    /// Keeps it out for a while, longer each time.
    fn strike(&mut self, now: Mono) {
        if now - self.struck_at >= QUIET {
            self.strikes = 0;
        }
        self.struck_at = now;
        self.strikes = (self.strikes + 1).min(16);
        let time = HOLD_OFF
            .saturating_mul(1 << (self.strikes - 1).min(8))
            .min(LONGEST_HOLD_OFF);
        self.held_until = now + time;
    }
}

/// The judge of all bricks of a volume.
#[derive(Debug)]
pub struct Health {
    probe_timeout: Duration,
    /// Zero: none.
    ping_timeout: Duration,
    bricks: Vec<Brick>,
    look: u64,
    /// How late this core was.
    late: Fading,
}

impl Health {
    /// Nothing is known of any brick. A `ping_timeout` of zero gives up no brick against the rules.
    pub fn new(bricks: usize, probe_timeout: Duration, ping_timeout: Duration) -> Health {
        Health {
            probe_timeout,
            ping_timeout,
            bricks: (0..bricks).map(|_| Brick::new()).collect(),
            look: 0,
            late: Fading::default(),
        }
    }

    /// Changed options.
    pub fn set_timeouts(&mut self, probe_timeout: Duration, ping_timeout: Duration) {
        (self.probe_timeout, self.ping_timeout) = (probe_timeout, ping_timeout);
    }

    /// What is kept of `brick`.
    pub fn record(&self, brick: usize) -> &Record {
        &self.bricks[brick].record
    }

    /// How long `brick` must not be connected yet.
    pub fn hold_off(&self, brick: usize, now: Mono) -> Duration {
        self.bricks[brick].held_until - now
    }

    /// What `brick` has to show before it is used again.
    pub fn canary(&self, brick: usize) -> Option<Canary> {
        self.bricks[brick].canary
    }

    /// It did not show it: it is kept out longer.
    pub fn canary_failed(&mut self, brick: usize, now: Mono) {
        self.bricks[brick].strike(now);
    }

    /// The time in which a canary must answer.
    pub fn canary_limit(&self) -> Duration {
        self.probe_timeout
    }

    /// A session with `brick` is ready.
    pub fn connected(&mut self, brick: usize, now: Mono) -> Option<Transition> {
        let look = self.look;
        let brick = &mut self.bricks[brick];
        brick.silence = Duration::ZERO;
        brick.idle = Duration::ZERO;
        brick.ping = None;
        brick.knock_at = Duration::ZERO;
        brick.heard = look;
        brick.calls = [None; 2];
        brick.given_up = None;
        brick.canary = None;
        brick.change(now, State::Up, Cause::Answers)
    }

    /// The session with `brick` has ended.
    pub fn ended(&mut self, brick: usize, now: Mono, why: &str) -> Option<Transition> {
        let brick = &mut self.bricks[brick];
        let cause = match brick.given_up.take() {
            Some(cause) => {
                brick.record.given_up += 1;
                brick.canary = Some(match cause {
                    Cause::Stalled(_) | Cause::Obstructs(_) => Canary::Work,
                    _ => Canary::Answer,
                });
                brick.strike(now);
                cause
            }
            None => {
                brick.record.lost += 1;
                brick.canary = None;
                Cause::Ended(why.to_string())
            }
        };
        brick.change(now, State::Down, cause)
    }

    /// How long `brick` may be silent.
    fn limit(&self, brick: &Brick, now: Mono) -> Duration {
        let slow = (brick.slowest.get(now) * PATIENCE).max(self.late.get(now) * 2);
        let limit = slow.clamp(self.probe_timeout, self.probe_timeout * LONGEST);
        if self.ping_timeout.is_zero() {
            limit
        } else {
            limit.min(self.ping_timeout)
        }
    }

    fn stall_limit(brick: &Brick, kind: usize, usual: Duration, now: Mono) -> Duration {
        // Who was given up for this before may just be slow.
        let struck = now - brick.struck_at < QUIET;
        let base = STALL[kind] * (1 << if struck { brick.strikes.min(3) } else { 0 });
        base.max((usual * STALL_PATIENCE).min(LONGEST_STALL[kind]))
    }

    /// Whether `brick`, one of `up`, is given up because a call has been outstanding for `waited` under a lock that others
    /// may want; `usual` is the time such calls take. No peer has to have answered a like call: there may be none.
    pub fn obstructs(
        &mut self,
        brick: usize,
        now: Mono,
        (waited, usual): (Duration, Duration),
        up: BrickSet,
        quorum: &dyn Fn(BrickSet) -> bool,
    ) -> Option<Cause> {
        let state = self.bricks.get_mut(brick)?;
        let dispensable = !quorum(up) || quorum(up - BrickSet::one(brick));
        if waited < Self::stall_limit(state, 0, usual, now) || !dispensable || state.given_up.is_some() {
            return None;
        }
        let cause = Cause::Obstructs(waited);
        state.given_up = Some(cause.clone());
        Some(cause)
    }

    /// Looks at every brick.
    pub fn look(&mut self, look: &Look<'_>) -> Vec<Step> {
        self.look += 1;
        let mut steps = Vec::new();
        let counted = look.elapsed.min(look.planned);
        self.late.note(look.now, look.elapsed.saturating_sub(look.planned));
        let mut up: BrickSet = (0..self.bricks.len())
            .filter(|b| look.seen.get(*b).is_some_and(Option::is_some))
            .collect();
        for brick in up.iter() {
            if let Some(Some(seen)) = look.seen.get(brick) {
                self.note(brick, seen, counted, look.now);
            }
        }
        self.send_pings(up, &mut steps);
        for brick in up.iter() {
            let Some(Some(seen)) = look.seen.get(brick) else {
                continue;
            };
            match self.judge(brick, seen, look, up) {
                Verdict::Good => steps.extend(self.become_state(brick, look.now, State::Up, Cause::Answers)),
                Verdict::Suspect(cause) => {
                    steps.extend(self.become_state(brick, look.now, State::Suspect, cause));
                    steps.extend(self.knock(brick, look.now));
                }
                Verdict::GiveUp(cause) => {
                    up.remove(brick);
                    self.bricks[brick].given_up = Some(cause.clone());
                    steps.push(Step::GiveUp(brick, cause));
                }
            }
        }
        steps
    }

    /// A brick that would be given up if the others could do without it.
    fn knock(&mut self, number: usize, now: Mono) -> Option<Step> {
        let limit = self.limit(&self.bricks[number], now);
        let brick = &mut self.bricks[number];
        if brick.silence < limit.max(brick.knock_at) {
            return None;
        }
        brick.knock_at = brick.silence + KNOCK;
        Some(Step::Knock(number))
    }

    fn become_state(&mut self, brick: usize, now: Mono, to: State, cause: Cause) -> Option<Step> {
        let change = self.bricks[brick].change(now, to, cause)?;
        Some(Step::Tell(brick, change))
    }

    fn note(&mut self, brick: usize, seen: &Seen, counted: Duration, now: Mono) {
        let look = self.look;
        let brick = &mut self.bricks[brick];
        if seen.heard {
            if let Some((_, before)) = brick.ping {
                brick.slowest.note(now, brick.silence.saturating_sub(before));
            }
            (brick.silence, brick.idle, brick.ping, brick.heard) = (Duration::ZERO, Duration::ZERO, None, look);
            brick.knock_at = Duration::ZERO;
        } else if let Some(asked) = seen.asked {
            brick.idle = Duration::ZERO;
            if !seen.sending {
                brick.silence += counted.min(asked);
            }
        } else {
            brick.idle += counted;
        }
        for (kept, call) in brick.calls.iter_mut().zip(&seen.calls) {
            *kept = match (*kept, call) {
                (_, None) => None,
                (Some((id, time)), Some(call)) if id == call.id => Some((id, time + counted)),
                (_, Some(call)) => Some((call.id, counted.min(seen.asked.unwrap_or(counted)))),
            };
        }
    }

    /// A silent brick is pinged, and with it those that were not heard after that: they are the witnesses.
    fn send_pings(&mut self, up: BrickSet, steps: &mut Vec<Step>) {
        let (now, after) = (self.look, self.probe_timeout / PING_PART);
        let asked = |b: usize| {
            let brick = &self.bricks[b];
            let silent = brick.silence >= after;
            silent.then(|| brick.ping.map_or(now, |(at, _)| at))
        };
        let asked = up.iter().filter_map(asked).max();
        for brick in up.iter() {
            let brick_state = &mut self.bricks[brick];
            let wanted = asked.is_some_and(|at| brick_state.heard <= at) || brick_state.idle >= IDLE_PING;
            if wanted && brick_state.ping.is_none() {
                brick_state.ping = Some((now, brick_state.silence));
                steps.push(Step::Ping(brick));
            }
        }
    }

    fn judge(&self, brick: usize, seen: &Seen, look: &Look<'_>, up: BrickSet) -> Verdict {
        let state = &self.bricks[brick];
        let silence = state.silence;
        if !self.ping_timeout.is_zero() && silence >= self.ping_timeout {
            return Verdict::GiveUp(Cause::PingTimeout(self.ping_timeout));
        }
        let others = up - BrickSet::one(brick);
        let most = |set: BrickSet| !others.is_empty() && (set & others).len() * 2 > others.len();
        let dispensable = !(look.quorum)(up) || (look.quorum)(others);
        let limit = self.limit(state, look.now);
        if silence * 2 >= limit {
            let asked = state.ping.map_or(self.look, |(at, _)| at);
            let witnesses = others.iter().filter(|b| self.bricks[*b].heard > asked).collect();
            return if silence >= limit && dispensable && most(witnesses) {
                Verdict::GiveUp(Cause::Silent(silence))
            } else {
                Verdict::Suspect(Cause::Silent(silence))
            };
        }
        for (kind, (kept, call)) in state.calls.iter().zip(&seen.calls).enumerate() {
            let (Some((_, time)), Some(call)) = (*kept, call) else {
                continue;
            };
            let limit = Self::stall_limit(state, kind, call.usual, look.now);
            if time * 2 >= limit && most(call.answered_by) {
                return if time >= limit && dispensable {
                    Verdict::GiveUp(Cause::Stalled(time))
                } else {
                    Verdict::Suspect(Cause::Stalled(time))
                };
            }
        }
        Verdict::Good
    }
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look")
            .field("now", &self.now)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

enum Verdict {
    Good,
    Suspect(Cause),
    GiveUp(Cause),
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
