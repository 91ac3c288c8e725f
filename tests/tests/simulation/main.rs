//! Replication in simulation: one client, six real brick services on real directories, a self-heal daemon, a simulated
//! network with virtual time, and faults by seed. Every acknowledged operation must be there at the end, on all six.
//!
//! A failing seed is run again alone with `SIM_SEED=n cargo test --test simulation`.

#[path = "../support/mod.rs"]
mod support;
mod world;

use datapath::sim::{SimConfig, run};

use world::{World, workload};

/// Seeds run by default: enough to meet every fault at every phase, few enough for seconds.
const SEEDS: u64 = 12;

fn seeds() -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED is a number")],
        Err(_) => (1..=SEEDS).collect(),
    }
}

/// One run; returns the hash of its trace. `SIM_LOG=file` keeps the trace as text.
fn one(seed: u64) -> u64 {
    let dir = support::TempDir::new("sim");
    let root = dir.path().to_path_buf();
    let log = std::env::var_os("SIM_LOG");
    let config = SimConfig {
        keep_log: log.is_some(),
        ..SimConfig::new(seed)
    };
    let (result, hash) = run(config, |sim| async move {
        let _log = log.map(|file| {
            support::OnDrop::new({
                let sim = sim.clone();
                move || std::fs::write(file, sim.log().join("\n")).expect("the log is written")
            })
        });
        let world = World::new(sim, root);
        let model = workload(&world).await;
        world.settle().await;
        model.check_through(&world).await;
        world.compare_bricks();
        world.client_errors()
    })
    .expect("the simulation starts");
    assert_eq!(
        result, 0,
        "seed {seed}: operations failed although a quorum was up all the time"
    );
    println!("seed {seed}: trace {hash:016x}");
    hash
}

#[test]
fn acknowledged_operations_survive_faults_and_heal_makes_all_bricks_equal() {
    if !support::trusted_xattrs() {
        println!("SKIPPED: needs root and a file system with trusted xattrs");
        return;
    }
    for seed in seeds() {
        one(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    if !support::trusted_xattrs() {
        println!("SKIPPED: needs root and a file system with trusted xattrs");
        return;
    }
    assert_eq!(one(7), one(7), "see SIM_LOG");
}
