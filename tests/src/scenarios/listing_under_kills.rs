//! A large directory is listed through the mount while its bricks are killed, and stopped, one after the other.

use super::common::{self, BRICKS, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::fault::Stopped;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "listing_under_kills",
    about: "a directory of thousands is listed while each brick is killed or stopped in turn: every name once, no error",
    needs: &[Need::Ours],
    seconds: 300,
    run,
};

/// Names in the directory: six times what a brick is asked for at once.
const NAMES: usize = 3500;
/// Names between two misfortunes.
const BETWEEN: usize = 550;
/// A client finds a brick that is back within a second.
const BACK: Duration = Duration::from_millis(1500);

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let dir = setup.mount.path().join("large");
    fs::create_dir(&dir).context("mkdir")?;
    for n in 0..NAMES {
        File::create(dir.join(format!("name{n}"))).context(format!("create {n}"))?;
    }
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    list(&dir, |_| Ok(())).context("undisturbed")?;
    list(&dir, |brick| killed_and_back(&setup, brick)).context("bricks killed")?;
    setup.cluster.restart_bricks()?;
    let mut stopped = None;
    list(&dir, |brick| {
        // The one before goes on.
        stopped = None;
        std::thread::sleep(BACK);
        stopped = Some(Stopped::stop(setup.cluster.brick_pid(brick)?)?);
        Ok(())
    })
    .context("bricks stopped")?;
    drop(stopped);
    setup.finish()
}

/// The brick before is started again; this one goes and stays away while the listing goes on.
fn killed_and_back(setup: &Setup, brick: usize) -> Result<()> {
    if brick > 0 {
        setup.cluster.restart_bricks()?;
        std::thread::sleep(BACK);
    }
    setup.cluster.kill_brick(brick)
}

/// Lists the directory; after some names each, `disturb` is called with the next brick.
fn list(dir: &Path, mut disturb: impl FnMut(usize) -> Result<()>) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut longest = Duration::ZERO;
    let mut entries = fs::read_dir(dir).context("opendir")?;
    for n in 1.. {
        let began = Instant::now();
        let Some(entry) = entries.next() else { break };
        longest = longest.max(began.elapsed());
        let name = entry.context(format!("readdir after {} names", n - 1))?.file_name();
        ensure(
            names.insert(name.clone()),
            format!("{} is listed twice", name.display()),
        )?;
        if n % BETWEEN == BETWEEN / 2 && n / BETWEEN < BRICKS {
            disturb(n / BETWEEN)?;
        }
    }
    println!("{} names, the longest wait for one was {longest:?}", names.len());
    let missing = (0..NAMES)
        .map(|n| format!("name{n}"))
        .find(|name| !names.contains(name.as_ref() as &std::ffi::OsStr));
    match missing {
        Some(name) => Err(fail(format!("{name} is not listed"))),
        None => ensure(
            names.len() == NAMES,
            format!("{} names instead of {NAMES}", names.len()),
        ),
    }
}
