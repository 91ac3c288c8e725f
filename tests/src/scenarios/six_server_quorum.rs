//! `cluster.server-quorum-type server`: bricks run only where enough servers see each other. Three of six lose their
//! power, a management daemon that was killed returns to a brick that nobody could stop, the ratio is changed.

use super::common::{self, HEAL_LIMIT, expect_content, pattern};
use super::{Need, Scenario};
use crate::lab::SixServers;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::process::Pid;
use crate::lab::run::wait_for;
use crate::lab::six::node::{DATA, Role};
use crate::lab::six::{MANAGER, VOLUME, WORKERS, fault};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "six_server_quorum",
    about: "server quorum: bricks of a minority stop, also one whose glusterd was away; ratio; changes are refused",
    needs: &[Need::Ours],
    seconds: 300,
    run,
};

/// Bricks stop and start within this time.
const LIMIT: Duration = Duration::from_secs(30);
/// What changes of a volume are refused with.
const REFUSED: &str = "Quorum not met. Volume operation not allowed.";
/// What changes of peers are refused with.
const PEERS_REFUSED: &str = "Cluster quorum is not met. Changing peers is not allowed in this state";

fn run() -> Result<()> {
    let mut six = SixServers::start(common::flavor())?;
    six.ask(&["volume", "set", VOLUME, "cluster.server-quorum-type", "server"])?;
    write(&six, "before", 1)?;
    half_is_gone(&mut six).context("three of six lose their power")?;
    read(&six, "before", 1)?;
    ratio(&mut six).context("cluster.server-quorum-ratio")?;
    for (name, seed) in [("before", 1), ("four-of-six", 2), ("all", 3)] {
        read(&six, name, seed)?;
    }
    six.expect_identical(HEAL_LIMIT)?;
    six.finish()
}

/// Writes a file on the manager's mount, as soon as it takes it.
fn write(six: &SixServers, name: &str, seed: u64) -> Result<()> {
    let file = six.mounted(MANAGER)?.join(name);
    wait_for("the mount takes files", LIMIT, || {
        fs::write(&file, pattern(seed, 300_000)).context(name).map(Some)
    })
}

/// Reads it on a worker's.
fn read(six: &SixServers, name: &str, seed: u64) -> Result<()> {
    let file = six.mounted(1)?.join(name);
    wait_for("the mount gives files", LIMIT, || {
        expect_content(&file, &pattern(seed, 300_000)).map(Some)
    })
}

/// The workers whose brick runs.
fn bricks(six: &SixServers) -> Vec<usize> {
    let runs = |number: &usize| six.process(*number, Role::Brick).is_ok();
    (1..=WORKERS).filter(runs).collect()
}

fn wait_bricks(six: &SixServers, wanted: &[usize]) -> Result<()> {
    let begin = Instant::now();
    wait_for(&format!("the bricks that run are {wanted:?}"), LIMIT, || {
        let now = bricks(six);
        if now == wanted {
            return Ok(Some(()));
        }
        Err(fail(format!("{now:?}")))
    })?;
    println!("   the bricks that run are {wanted:?} after {:.1?}", begin.elapsed());
    Ok(())
}

fn refused(six: &SixServers, number: usize, args: &[&str], why: &str) -> Result<()> {
    let done = six.gluster(number, args)?.output()?;
    let what = format!("gluster {}: {}", args.join(" "), done.all());
    ensure(!done.status.success() && done.all().contains(why), what)
}

/// The daemon of worker 1 is killed first: its brick runs on alone, until the daemon returns.
fn half_is_gone(six: &mut SixServers) -> Result<()> {
    let alone = six.process(1, Role::Brick)?;
    let daemon = fault::kill(six, 1, Role::Daemon, Signal::SIGKILL)?;
    for number in 4..=6 {
        six.power_off(number)?;
    }
    wait_bricks(six, &[1])?;
    ensure(alone.alive(), "the brick without a management daemon has ended")?;
    daemon(six)?;
    wait_bricks(six, &[])?;
    told(six, 2, &format!("Server quorum lost for volume {VOLUME}"))?;
    let set = ["volume", "set", VOLUME, "performance.cache-size", "64MB"];
    refused(six, 2, &set, REFUSED)?;
    refused(six, 1, &["volume", "start", VOLUME, "force"], REFUSED)?;
    refused(six, 3, &["volume", "stop", VOLUME], REFUSED)?;
    refused(six, 2, &["peer", "probe", "worker6"], PEERS_REFUSED)?;
    let touch = six.command(MANAGER, "touch")?.arg(Path::new(DATA).join("nobody"));
    ensure(
        !touch.limit(Duration::from_secs(20)).succeeds(),
        "a file was made without a brick",
    )?;
    ensure(bricks(six).is_empty(), "a brick was started without a quorum")?;
    six.power_on(4)?;
    wait_bricks(six, &[1, 2, 3, 4])?;
    told(six, 1, &format!("Server quorum regained for volume {VOLUME}"))?;
    write(six, "four-of-six", 2)?;
    for number in [5, 6] {
        six.power_on(number)?;
    }
    for number in 4..=6 {
        six.mount_patiently(number)?;
    }
    six.wait_all_online()?;
    six.expect_identical(HEAL_LIMIT)
}

/// A line of a worker's management daemon's log.
fn told(six: &SixServers, number: usize, line: &str) -> Result<()> {
    let log = six.host(number)?.outside(Path::new("/var/log/glusterfs/glusterd.log"));
    let text = fs::read_to_string(&log).context(log.display())?;
    ensure(text.contains(line), format!("{line:?} is not in {}", log.display()))
}

/// With 90 % all six are needed, with 50 % three are enough. Management daemons that are away do not take their bricks
/// along.
fn ratio(six: &mut SixServers) -> Result<()> {
    set_ratio(six, "90%")?;
    let mut away = vec![fault::kill(six, 6, Role::Daemon, Signal::SIGTERM)?];
    wait_bricks(six, &[6])?;
    let set = ["volume", "set", VOLUME, "performance.cache-size", "64MB"];
    refused(six, 1, &set, REFUSED)?;
    set_ratio(six, "50%")?;
    wait_bricks(six, &[1, 2, 3, 4, 5, 6])?;
    six.gluster(1, &set)?.run()?;
    let before = pids(six)?;
    for number in [4, 5] {
        away.push(fault::kill(six, number, Role::Daemon, Signal::SIGKILL)?);
    }
    // Longer than a loss has to last.
    std::thread::sleep(Duration::from_secs(5));
    ensure(pids(six)? == before, "three of six are not enough for 50 %")?;
    away.into_iter().try_for_each(|repair| repair(six))?;
    set_ratio(six, "51%")?;
    six.wait_all_online()?;
    ensure(pids(six)? == before, "a daemon that returned has exchanged its brick")?;
    write(six, "all", 3)
}

fn set_ratio(six: &SixServers, percent: &str) -> Result<()> {
    let set = ["volume", "set", "all", "cluster.server-quorum-ratio", percent];
    six.gluster(1, &set)?.run().map(drop)
}

fn pids(six: &SixServers) -> Result<Vec<Pid>> {
    (1..=WORKERS).map(|number| six.process(number, Role::Brick)).collect()
}
