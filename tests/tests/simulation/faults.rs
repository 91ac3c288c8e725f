//! Misfortunes of bricks: what happens, to whom, for how long.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use datapath::exec::host::HostId;
use datapath::exec::{self, sleep};

use super::world::{BRICKS, CLIENT, CRASHING, SECOND, World, host, random_below, random_time, tell};

/// Longest time between two misfortunes.
const PEACE: Duration = Duration::from_millis(1500);
/// Longest time that a client takes for a mishap (ping-timeout is 42 seconds).
const SHORT: Duration = Duration::from_secs(20);
/// A time after which a client has given a brick up.
const LONG: Duration = Duration::from_secs(60);
/// Bricks that may be without something at a time: the other four are a quorum, and good.
const SPARE: usize = 2;

const NAMES: [&str; 12] = [
    "killed",
    "killed",
    "killed",
    "killed",
    "connections reset",
    "partition",
    "partition",
    "isolated",
    "one way",
    "stopped",
    "power off",
    "disk hangs",
];

/// What may happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Four bricks are always up and good: no operation may fail.
    QuorumKept,
    /// Anything to any brick: operations may fail, but what was acknowledged stays.
    None,
}

/// Faults under way.
pub struct Faults {
    world: World,
    limit: Limit,
    /// Bricks something happened to since everything was whole.
    harmed: RefCell<BTreeSet<usize>>,
    /// Bricks something happens to now.
    suffering: RefCell<BTreeSet<usize>>,
    over: Cell<bool>,
}

impl Faults {
    /// Begins.
    pub fn start(world: &World, limit: Limit) -> Rc<Faults> {
        let faults = Rc::new(Faults {
            world: world.clone(),
            limit,
            harmed: RefCell::default(),
            suffering: RefCell::default(),
            over: Cell::new(false),
        });
        exec::spawn(faults.clone().run());
        faults
    }

    /// No new ones; waits until those under way have passed.
    pub async fn end(&self) {
        self.over.set(true);
        while !self.suffering.borrow().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn run(self: Rc<Faults>) {
        while !self.over.get() {
            sleep(random_time(PEACE)).await;
            let brick = random_below(BRICKS);
            if self.over.get() || !self.may_harm(brick) {
                continue;
            }
            self.harmed.borrow_mut().insert(brick);
            self.suffering.borrow_mut().insert(brick);
            let me = self.clone();
            exec::spawn(async move {
                me.harm(brick).await;
                tell(&format!("brick {brick}: over"));
                me.suffering.borrow_mut().remove(&brick);
            });
        }
    }

    fn may_harm(&self, brick: usize) -> bool {
        let (mut harmed, suffering) = (self.harmed.borrow_mut(), self.suffering.borrow());
        if suffering.is_empty() && self.world.is_whole() {
            harmed.clear();
        }
        let spared = self.limit == Limit::None || harmed.contains(&brick) || harmed.len() < SPARE;
        spared && !suffering.contains(&brick)
    }

    async fn harm(&self, brick: usize) {
        let (sim, here) = (&self.world.sim, host(brick));
        let client = [CLIENT, SECOND, CRASHING][random_below(3)];
        let kind = random_below(12);
        tell(&format!("brick {brick}: {} (client {})", NAMES[kind], client.0));
        match kind {
            0..=3 => {
                sim.kill(here);
                sleep(random_time(Duration::from_secs(5))).await;
                self.world.start(brick);
            }
            4 => sim.reset_connections(client, here),
            5 | 6 => {
                sim.partition(client, here);
                sleep(if random_below(2) == 0 { LONG } else { random_time(SHORT) }).await;
                sim.heal(client, here);
            }
            7 => {
                let others = (0..BRICKS).map(host).chain([CLIENT, SECOND, CRASHING, HostId(200)]);
                let others: Vec<HostId> = others.filter(|other| *other != here).collect();
                sim.isolate(here, others.iter().copied());
                sleep(random_time(LONG)).await;
                others.iter().for_each(|other| sim.heal(here, *other));
            }
            8 => {
                let (from, to) = if random_below(2) == 0 {
                    (client, here)
                } else {
                    (here, client)
                };
                sim.partition_one_way(from, to);
                sleep(random_time(LONG)).await;
                sim.heal(from, to);
            }
            9 => {
                sim.stop(here);
                sleep(if random_below(3) == 0 { LONG } else { random_time(SHORT) }).await;
                sim.resume(here);
            }
            10 => {
                sim.power_off(here);
                sleep(random_time(LONG)).await;
                sim.power_on(here);
                self.world.start(brick);
            }
            _ => {
                sim.hang_disk(here);
                sleep(random_time(SHORT)).await;
                sim.resume_disk(here);
            }
        }
    }
}
