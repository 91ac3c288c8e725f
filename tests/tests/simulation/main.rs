//! Replication in simulation: clients, six real brick services on real directories, a self-heal daemon, a simulated
//! network with virtual time, and faults by seed. Every acknowledged operation must be there at the end, on all six.
//!
//! A failing seed is run again alone with `SIM_SEED=n cargo test --test simulation`; `SIM_LOG=file` keeps its trace.

mod back;
mod faults;
mod listing;
mod locks;
mod model;
mod shared;
#[path = "../support/mod.rs"]
mod support;
mod workload;
mod world;

use std::time::Duration;

use datapath::errno::Errno;
use datapath::exec::host::{scope, spawn_on};
use datapath::exec::sleep;
use datapath::sim::{Sim, SimConfig, run};
use datapath::wire::Gfid;

use faults::{Faults, Limit};
use shared::Shared;
use workload::Application;
use world::{BRICKS, CLIENT, CRASHING, SECOND, World, caller, host};

/// Seeds run by default: enough to meet every fault at every phase, few enough for seconds.
const SEEDS: u64 = 8;
/// Seeds that have found something, besides those.
const FOUND: [u64; 13] = [10, 12, 23, 55, 66, 70, 114, 138, 157, 197, 232, 256, 325];
const OPERATIONS: usize = 120;

fn seeds() -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED is a number")],
        Err(_) => (1..=SEEDS).chain(FOUND).collect(),
    }
}

/// Runs `story` in a new world; returns the hash of its trace.
fn simulate<F: Future<Output = ()>>(seed: u64, story: impl FnOnce(World) -> F) -> u64 {
    println!("seed {seed}");
    let dir = support::TempDir::new("sim");
    let root = dir.path().to_path_buf();
    let log = std::env::var_os("SIM_LOG");
    let config = SimConfig {
        keep_log: log.is_some(),
        ..SimConfig::new(seed)
    };
    let told = |sim: &Sim| {
        let sim = sim.clone();
        log.map(|file| {
            support::OnDrop::new(move || std::fs::write(file, sim.log().join("\n")).expect("the log is written"))
        })
    };
    let ((), hash) = run(config, |sim| async move {
        let _log = told(&sim);
        let world = World::new(sim, root);
        story(world).await;
    })
    .expect("the simulation starts");
    println!("seed {seed}: trace {hash:016x}");
    hash
}

fn possible() -> bool {
    let possible = support::trusted_xattrs();
    if !possible {
        println!("SKIPPED: needs root and a file system with trusted xattrs");
    }
    possible
}

/// An application works while faults happen; then everything heals and is compared.
async fn one_application(world: World, limit: Limit) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    world.watch(&volume);
    let faults = Faults::start(&world, limit);
    let mut app = Application::new(&volume, limit);
    scope(CLIENT, app.run(OPERATIONS)).await;
    faults.end().await;
    world.settle().await;
    scope(CLIENT, app.look_at_doubts()).await;
    world.settle().await;
    world.compare_bricks();
    scope(CLIENT, app.check()).await;
    println!(
        "{} operations failed in {:?}, the longest took {:?}",
        app.failed,
        world.sim.elapsed(),
        app.longest
    );
}

#[test]
fn no_operation_fails_while_a_quorum_is_up_and_heal_makes_all_bricks_equal() {
    if possible() {
        for seed in seeds() {
            simulate(seed, |w| one_application(w, Limit::QuorumKept));
        }
    }
}

#[test]
fn acknowledged_operations_survive_the_loss_of_the_quorum() {
    if possible() {
        for seed in seeds() {
            simulate(seed, |w| one_application(w, Limit::None));
        }
    }
}

/// Two clients and one that crashes write the same file while faults happen to the bricks.
async fn several_clients(world: World) {
    let first = scope(CLIENT, world.client(CLIENT, "client")).await;
    let second = scope(SECOND, world.client(SECOND, "second")).await;
    world.watch(&first);
    world.watch(&second);
    let shared = scope(CLIENT, Shared::create(&first)).await;
    let faults = Faults::start(&world, Limit::QuorumKept);
    let pause = Duration::from_millis(100);
    let writers = [
        spawn_on(CLIENT, shared.clone().work(first.clone(), pause)),
        spawn_on(SECOND, shared.clone().work(second.clone(), pause)),
        datapath::exec::spawn(shared.clone().crash_again_and_again(world.clone())),
    ];
    sleep(Duration::from_secs(20)).await;
    shared.end();
    for writer in writers {
        assert!(writer.await.is_ok(), "a writer was stopped");
    }
    world.sim.kill(CRASHING);
    faults.end().await;
    world.settle().await;
    scope(CLIENT, shared.look_at_doubts(&first)).await;
    world.settle().await;
    world.compare_bricks();
    scope(CLIENT, shared.check(&first)).await;
    scope(SECOND, shared.check(&second)).await;
}

#[test]
fn clients_of_one_file_see_each_others_writes_and_a_crashed_one_leaves_nothing_open() {
    if possible() {
        for seed in seeds() {
            simulate(seed, several_clients);
        }
    }
}

/// With one brick left that is known to have missed nothing, reading goes on and writing is refused; with none, nothing
/// goes; when they return, everything does.
async fn one_brick_left(world: World) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    world.watch(&volume);
    let mut app = Application::new(&volume, Limit::QuorumKept);
    scope(CLIENT, app.run(40)).await;
    world.settle().await;
    while !world.is_whole() {
        sleep(Duration::from_millis(100)).await;
    }
    let last = world::random_below(BRICKS);
    for brick in (0..BRICKS).filter(|brick| *brick != last) {
        world.sim.kill(host(brick));
        sleep(Duration::from_millis(20)).await;
    }
    scope(CLIENT, app.check()).await;
    let refused = scope(CLIENT, volume.mkdir(&caller(), Gfid::ROOT, b"refused", 0o755)).await;
    assert_eq!(refused.err(), Some(Errno::EROFS));
    world.sim.kill(host(last));
    sleep(Duration::from_millis(20)).await;
    let nobody = scope(CLIENT, volume.lookup(&caller(), Gfid::ROOT, b"refused")).await;
    assert_eq!(nobody.err(), Some(Errno::ENOTCONN));
    (0..BRICKS).for_each(|brick| world.start(brick));
    world.settle().await;
    scope(CLIENT, app.run(20)).await;
    world.settle().await;
    scope(CLIENT, app.check()).await;
    world.compare_bricks();
}

#[test]
fn the_last_good_brick_is_read_and_not_written() {
    if possible() {
        for seed in seeds().into_iter().take(4) {
            simulate(seed, one_brick_left);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    if possible() {
        let run = || simulate(7, |w| one_application(w, Limit::QuorumKept));
        assert_eq!(run(), run(), "see SIM_LOG");
    }
}
