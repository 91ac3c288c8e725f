//! Replication in simulation: clients, six real brick services on real directories, a self-heal daemon, a simulated
//! network with virtual time, and faults by seed. Every acknowledged operation must be there at the end, on all six.
//!
//! A failing seed is run again alone with `SIM_SEED=n cargo test --test simulation`; `SIM_LOG=file` keeps its trace.

mod faults;
mod model;
#[path = "../support/mod.rs"]
mod support;
mod workload;
mod world;

use datapath::exec::host::scope;
use datapath::sim::{Sim, SimConfig, run};

use faults::{Faults, Limit};
use workload::Application;
use world::{CLIENT, World};

/// Seeds run by default: enough to meet every fault at every phase, few enough for seconds.
const SEEDS: u64 = 12;
const OPERATIONS: usize = 120;

fn seeds() -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED is a number")],
        Err(_) => (1..=SEEDS).collect(),
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
    println!("{} operations failed in {:?}", app.failed, world.sim.elapsed());
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

#[test]
fn the_same_seed_gives_the_same_trace() {
    if possible() {
        let run = || simulate(7, |w| one_application(w, Limit::QuorumKept));
        assert_eq!(run(), run(), "see SIM_LOG");
    }
}
