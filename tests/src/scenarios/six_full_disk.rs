//! A disk that stays full for longer than the brick's health check waits: the brick's process goes on, and the brick is
//! used again once there is room. (GlusterFS's ends, and nothing starts it again.)

use super::common::{self, HEAL_LIMIT, expect_content, pattern};
use super::{Need, Scenario};
use crate::lab::SixServers;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::wait_for;
use crate::lab::six::node::{DISK, Role};
use crate::lab::six::{MANAGER, VOLUME, fault};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The same on a cluster of its own.
pub const SCENARIO: Scenario = Scenario {
    name: "six_full_disk",
    about: "a disk that stays full over several health checks (also part of six_faults)",
    needs: &[Need::Ours],
    seconds: 200,
    run: || {
        let mut six = SixServers::start(common::flavor())?;
        stays_full(&mut six)?;
        six.finish()
    },
};

/// Whose disk it is.
const VICTIM: usize = 2;
/// How long it stays full: several checks.
const FULL: Duration = Duration::from_secs(4);
/// A check that is due comes within this time.
const CHECK_LIMIT: Duration = Duration::from_secs(20);
/// Length of the time stamp that a check writes.
const STAMP: u64 = 25;
/// The directory on the volume.
const DIR: &str = "full-disk";

/// Fills a worker's disk for several health checks under writes on the manager's mount.
///
/// # Errors
/// When a write fails, the brick's process ends, or the brick is not used again afterwards.
pub fn stays_full(six: &mut SixServers) -> Result<()> {
    let brick = six.process(VICTIM, Role::Brick)?;
    let stamp = six.brick(VICTIM)?.join(".glusterfs/health_check");
    check_every(six, "1")?;
    // There is none before the first check.
    let _ = fs::remove_file(&stamp);
    wait_for("checks are made every second", CHECK_LIMIT, || {
        Ok(is_stamp(&stamp).then_some(()))
    })?;
    // A check that finds its old stamp writes over it and needs no room.
    check_every(six, "0")?;
    wait_for("checks are no longer made", CHECK_LIMIT, || {
        let _ = fs::remove_file(&stamp);
        std::thread::sleep(Duration::from_millis(1500));
        Ok((!stamp.exists()).then_some(()))
    })?;
    let mount = six.mounted(MANAGER)?.join(DIR);
    fs::create_dir(&mount).context(DIR)?;
    let repair = fault::fill(six, VICTIM)?;
    let rest = fill_the_rest(six)?;
    check_every(six, "1")?;
    let files = write_for(&mount, FULL)?;
    ensure(!is_stamp(&stamp), "a check found room on the full disk")?;
    ensure(brick.alive(), "the brick's process has ended on a full disk")?;
    let row = six.status(1)?;
    let online = row.get(VICTIM - 1).is_some_and(|row| row.online);
    ensure(online, "the brick with the full disk is not online")?;
    if rest.exists() {
        fs::remove_file(&rest).context(rest.display())?;
    }
    repair(six)?;
    wait_for("a check finds room", CHECK_LIMIT, || Ok(is_stamp(&stamp).then_some(())))?;
    used_again(six, files)?;
    ensure(
        six.process(VICTIM, Role::Brick)? == brick,
        "the brick is not served by the process that served it before",
    )?;
    six.ask(&["volume", "reset", VOLUME, "storage.health-check-interval"])
        .map(drop)
}

fn check_every(six: &SixServers, seconds: &str) -> Result<()> {
    six.ask(&["volume", "set", VOLUME, "storage.health-check-interval", seconds])
        .map(drop)
}

fn is_stamp(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.len() == STAMP)
}

/// Takes the blocks that are too few for the filler's extents, if there are any.
fn fill_the_rest(six: &SixServers) -> Result<PathBuf> {
    let path = six.host(VICTIM)?.outside(Path::new(DISK)).join("rest");
    let append = || -> std::io::Result<()> {
        let mut file = File::options().create(true).append(true).open(&path)?;
        file.write_all(&[1; 4096])?;
        file.sync_all()
    };
    for _ in 0..4096 {
        if let Err(error) = append() {
            let full = error.raw_os_error() == Some(libc::ENOSPC);
            return if full {
                Ok(path)
            } else {
                Err(error).context(path.display())
            };
        }
    }
    Err(fail("the full disk took 16 MiB more"))
}

/// Writes files of 20,000 bytes for a time. Returns how many.
fn write_for(dir: &Path, time: Duration) -> Result<u64> {
    let end = Instant::now() + time;
    for number in 0.. {
        if Instant::now() >= end {
            return Ok(number);
        }
        let file = dir.join(number.to_string());
        fs::write(&file, pattern(number, 20_000)).context(file.display())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(fail("files cannot be counted"))
}

/// What the brick has missed is on it, and what is written now comes at once.
fn used_again(six: &SixServers, files: u64) -> Result<()> {
    six.expect_identical(HEAL_LIMIT)?;
    let brick = six.brick(VICTIM)?.join(DIR);
    for number in 0..files {
        expect_content(&brick.join(number.to_string()), &pattern(number, 20_000))?;
    }
    let now = six.mounted(MANAGER)?.join(DIR).join("now");
    fs::write(&now, pattern(7, 20_000)).context(now.display())?;
    expect_content(&brick.join("now"), &pattern(7, 20_000))?;
    println!("   the disk was full for {FULL:?}: {files} files written, the brick's process went on");
    Ok(())
}
