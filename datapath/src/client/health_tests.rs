//! Tests of the judge of bricks: what it sees is made up here, look by look.

use proptest::prelude::*;

use super::*;
use crate::replicate::{Quorum, QuorumType};

const BRICKS: usize = 6;
const STEP: Duration = Duration::from_millis(50);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Bricks of which some do not answer, and a clock.
struct World {
    health: Health,
    quorum: Quorum,
    now: Mono,
    connected: BrickSet,
    /// Do not answer anything.
    silent: BrickSet,
    /// Do not answer calls, but pings.
    stalled: BrickSet,
    /// When the application began to ask them, if it does.
    asked: Option<Mono>,
    told: Vec<(Duration, Step)>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            health: Health::new(BRICKS, ms(500), Duration::from_secs(42)),
            quorum: Quorum::new(BRICKS, Some(QuorumType::Auto)),
            now: Mono(1_000_000_000_000),
            connected: BrickSet::EMPTY,
            silent: BrickSet::EMPTY,
            stalled: BrickSet::EMPTY,
            asked: Some(Mono(1_000_000_000_000)),
            told: Vec::new(),
        };
        (0..BRICKS).for_each(|b| world.connect(b));
        world
    }

    fn connect(&mut self, brick: usize) {
        self.connected.insert(brick);
        assert_eq!(self.health.connected(brick, self.now).map(|c| c.to), Some(State::Up));
    }

    fn seen(&self, brick: usize) -> Option<Seen> {
        let asked = self.asked.map(|since| self.now - since);
        let quiet = self.silent.contains(brick);
        let stalled = self.stalled.contains(brick) && asked.is_some();
        let call = stalled.then_some(Call {
            id: 7,
            usual: ms(1),
            answered_by: self.connected - self.stalled - self.silent,
        });
        self.connected.contains(brick).then_some(Seen {
            heard: !quiet && asked.is_some(),
            asked: asked.filter(|_| quiet || stalled),
            sending: false,
            calls: [call, None],
        })
    }

    /// One look, `late` later than meant.
    fn look(&mut self, late: Duration) -> Vec<Step> {
        self.now += STEP + late;
        let seen: Vec<_> = (0..BRICKS).map(|b| self.seen(b)).collect();
        let quorum = self.quorum;
        let steps = self.health.look(&Look {
            now: self.now,
            planned: STEP,
            elapsed: STEP + late,
            seen: &seen,
            quorum: &|set| quorum.met(set),
        });
        for step in &steps {
            if let Step::GiveUp(brick, _) = step {
                self.connected.remove(*brick);
                assert_eq!(
                    self.health.ended(*brick, self.now, "aborted").map(|c| c.to),
                    Some(State::Down)
                );
            }
        }
        steps
    }

    fn run(&mut self, time: Duration) {
        let begin = self.now;
        while self.now - begin < time {
            for step in self.look(Duration::ZERO) {
                self.told.push((self.now - begin, step));
            }
        }
    }

    /// Who was given up, and when.
    fn given_up(&self) -> Vec<(usize, Duration)> {
        let given_up = |(at, step): &(Duration, Step)| match step {
            Step::GiveUp(brick, _) => Some((*brick, *at)),
            _ => None,
        };
        self.told.iter().filter_map(given_up).collect()
    }
}

fn set(bricks: &[usize]) -> BrickSet {
    bricks.iter().copied().collect()
}

#[test]
fn bricks_that_answer_are_left_alone() {
    let mut world = World::new();
    world.run(Duration::from_secs(120));
    assert_eq!(world.told, []);
}

#[test]
fn a_silent_brick_is_suspect_soon_and_given_up_after_the_probe_time_out() {
    let mut world = World::new();
    world.silent = set(&[3]);
    world.run(Duration::from_secs(2));
    let suspect = |(_, step): &&(Duration, Step)| matches!(step, Step::Tell(3, change) if change.to == State::Suspect);
    let at = world.told.iter().find(suspect).unwrap().0;
    assert!(at <= ms(300), "{at:?}");
    let given_up = world.given_up();
    assert!(given_up.len() == 1 && given_up[0].0 == 3, "{given_up:?}");
    assert!(
        !world.told.iter().any(|(_, s)| matches!(s, Step::Knock(_))),
        "no need to"
    );
    assert!((ms(500)..=ms(600)).contains(&given_up[0].1), "{given_up:?}");
    let record = world.health.record(3);
    assert_eq!((record.state, record.suspected, record.given_up), (State::Down, 1, 1));
}

#[test]
fn an_idle_mount_asks_and_knows() {
    let mut world = World::new();
    world.asked = None;
    world.run(Duration::from_secs(10));
    let pings = world.told.iter().filter(|(_, s)| matches!(s, Step::Ping(0))).count();
    // Nothing was heard here because nobody answers a ping that is not modelled; the first goes out after the pause.
    assert_eq!(pings, 1);
    assert_eq!(world.given_up(), []);
}

#[test]
fn if_nobody_answers_it_is_us() {
    let mut world = World::new();
    world.silent = BrickSet::first(BRICKS);
    world.run(Duration::from_secs(41));
    assert_eq!(world.given_up(), []);
    let knocks = world.told.iter().filter(|(_, s)| *s == Step::Knock(4)).count();
    assert!((70..=82).contains(&knocks), "sounded out every half second: {knocks}");
    world.run(Duration::from_secs(2));
    assert_eq!(world.given_up().len(), BRICKS, "ping-timeout decides");
}

#[test]
fn a_quorum_is_not_thrown_away() {
    let mut world = World::new();
    world.silent = set(&[0, 1, 2]);
    world.run(Duration::from_secs(20));
    // With brick 0 three are enough, without it they are not.
    let given_up: BrickSet = world.given_up().iter().map(|(b, _)| *b).collect();
    assert_eq!(given_up.len(), 2, "{given_up:?}");
    assert!(world.quorum.met(world.connected));
    world.run(Duration::from_secs(25));
    assert_eq!(world.given_up().len(), 3);
}

#[test]
fn a_core_that_did_not_run_blames_nobody() {
    let mut world = World::new();
    world.silent = set(&[2]);
    for _ in 0..5 {
        assert!(
            !world
                .look(Duration::from_secs(3))
                .iter()
                .any(|s| matches!(s, Step::GiveUp(..)))
        );
    }
}

#[test]
fn a_stalled_call_gives_a_brick_up_unless_it_is_stalled_everywhere() {
    let mut world = World::new();
    world.stalled = set(&[5]);
    world.run(Duration::from_secs(2));
    let given_up = world.given_up();
    assert!(given_up.len() == 1 && given_up[0].0 == 5, "{given_up:?}");
    assert!((ms(750)..=ms(850)).contains(&given_up[0].1), "{given_up:?}");
    assert_eq!(world.health.canary(5), Some(Canary::Work));
    let mut world = World::new();
    world.stalled = BrickSet::first(BRICKS);
    world.run(Duration::from_secs(60));
    assert_eq!(world.given_up(), []);
}

#[test]
fn who_obstructs_is_given_up_without_peers_but_not_without_a_quorum() {
    let mut w = World::new();
    let (all, quorum, now) = (BrickSet::first(BRICKS), w.quorum, w.now);
    let met = |set| quorum.met(set);
    let mut obstructs = |waited, usual, up| w.health.obstructs(2, now, (waited, usual), up, &met);
    assert_eq!(obstructs(ms(700), ms(1), all), None);
    assert_eq!(obstructs(ms(800), ms(500), all), None, "it is always that slow");
    let barely: BrickSet = [1, 2, 3, 4].into_iter().collect();
    assert_eq!(obstructs(ms(800), ms(1), barely), None, "the quorum would go");
    assert_eq!(obstructs(ms(800), ms(1), all), Some(Cause::Obstructs(ms(800))));
    assert_eq!(obstructs(ms(800), ms(1), all), None, "once is enough");
    let down = w.health.ended(2, now, "reset").expect("a change");
    assert_eq!(down.cause, Cause::Obstructs(ms(800)));
    assert_eq!(w.health.canary(2), Some(Canary::Work));
}

#[test]
fn a_flapping_brick_is_kept_out_longer_each_time_and_forgiven_later() {
    let mut world = World::new();
    let mut holds = Vec::new();
    for _ in 0..7 {
        world.silent = set(&[4]);
        world.run(Duration::from_secs(3));
        assert!(!world.connected.contains(4));
        // What is left of the hold-off, seen from when it was given up.
        holds.push(world.health.bricks[4].held_until - world.health.record(4).since);
        world.silent = BrickSet::EMPTY;
        world.run(Duration::from_secs(6));
        world.connect(4);
        world.run(Duration::from_secs(1));
    }
    assert_eq!(holds[..3], [ms(200), ms(400), ms(800)]);
    assert_eq!(holds[6], Duration::from_secs(5));
    world.run(Duration::from_secs(61));
    world.silent = set(&[4]);
    world.run(Duration::from_secs(3));
    assert_eq!(
        world.health.bricks[4].held_until - world.health.record(4).since,
        ms(200)
    );
}

#[test]
fn a_clean_end_has_no_consequences() {
    let mut world = World::new();
    let change = world.health.ended(1, world.now, "connection closed by peer").unwrap();
    assert_eq!((change.from, change.to), (State::Up, State::Down));
    assert_eq!(world.health.hold_off(1, world.now), Duration::ZERO);
    assert_eq!(world.health.canary(1), None);
    assert_eq!(change.to_string(), "up -> down: connection closed by peer");
}

#[test]
fn slow_answers_make_it_patient() {
    let mut world = World::new();
    // Silent for 450 ms, then heard: 300 ms of it after the ping.
    world.silent = set(&[3]);
    world.run(ms(450));
    world.silent = BrickSet::EMPTY;
    world.run(ms(100));
    assert_eq!(world.health.record(3).state, State::Up);
    world.told.clear();
    world.silent = set(&[3]);
    world.run(Duration::from_secs(3));
    let at = world.given_up()[0].1;
    assert!(at > ms(550) && at <= ms(1000), "{at:?}");
}

#[test]
fn witnesses_that_are_asked_nothing_else_are_asked_whether_they_live() {
    let mut world = World::new();
    // Heard in the very look in which the silent brick is pinged, and asked nothing by the application after that.
    let mut pinged = BrickSet::EMPTY;
    for n in 0..30 {
        world.now += STEP;
        let waits = Seen {
            asked: Some(STEP * (n + 1)),
            ..Seen::default()
        };
        let seen: Vec<_> = (0..BRICKS)
            .map(|b| {
                let heard = n < 3 || pinged.contains(b);
                Some(if b == 0 {
                    waits
                } else {
                    Seen {
                        heard,
                        ..Seen::default()
                    }
                })
            })
            .collect();
        let quorum = world.quorum;
        let steps = world.health.look(&Look {
            now: world.now,
            planned: STEP,
            elapsed: STEP,
            seen: &seen,
            quorum: &|set| quorum.met(set),
        });
        pinged = steps
            .iter()
            .filter_map(|s| if let Step::Ping(b) = s { Some(*b) } else { None })
            .collect();
        if steps.iter().any(|s| matches!(s, Step::GiveUp(0, _))) {
            assert!(n <= 11, "given up after {n} looks");
            return;
        }
    }
    panic!("the brick was not given up");
}

#[test]
fn a_brick_whose_link_is_full_is_not_silent() {
    let mut health = Health::new(2, ms(500), Duration::from_secs(42));
    let (a, b) = (health.connected(0, Mono(1)), health.connected(1, Mono(1)));
    assert!(a.is_some() && b.is_some());
    let seen = |sending| {
        let quiet = Seen {
            asked: Some(Duration::from_secs(5)),
            sending,
            ..Seen::default()
        };
        [
            Some(quiet),
            Some(Seen {
                heard: true,
                ..Seen::default()
            }),
        ]
    };
    for n in 0..200 {
        let steps = health.look(&Look {
            now: Mono(1) + STEP * n,
            planned: STEP,
            elapsed: STEP,
            seen: &seen(true),
            quorum: &|set| !set.is_empty(),
        });
        assert_eq!(steps, []);
    }
}

proptest! {
    /// Whatever happens, early verdicts leave the quorum, and are made only with a majority of witnesses.
    #[test]
    fn early_verdicts_leave_a_quorum(
        script in prop::collection::vec((0u64..64, 0u64..64, 0u64..3, 0usize..BRICKS), 1..200)
    ) {
        let mut world = World::new();
        for (silent, stalled, late, back) in script {
            let bits = |n: u64| (0..BRICKS).filter(|b| n & (1 << b) != 0).collect::<BrickSet>();
            (world.silent, world.stalled) = (bits(silent), bits(stalled));
            if !world.connected.contains(back) && world.health.hold_off(back, world.now).is_zero() {
                world.connect(back);
            }
            for _ in 0..8 {
                let had = world.quorum.met(world.connected);
                let steps = world.look(ms(late * 40));
                let early = steps.iter().any(|s| matches!(s, Step::GiveUp(_, Cause::Silent(_) | Cause::Stalled(_))));
                prop_assert!(!early || !had || world.quorum.met(world.connected));
            }
        }
    }
}
