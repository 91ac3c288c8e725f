//! The user's tests and every other fault on the six servers, by the rows of [`crate::stalls`]: no error where a quorum
//! is up, every acknowledged byte is there, heal ends, the bricks are identical. Times are printed.

use super::common::{self};
use super::{Need, Scenario, six_full_disk};
use crate::lab::SixServers;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::six::{MANAGER, WORKERS};
use crate::stalls::rows::{self, Row};
use crate::stalls::stage::{self, Pace};
use crate::stalls::{load, table};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Test 1, Test 2, Test 3, Scenario 1 and Scenario 2 of the user's manual.
pub const USER_TESTS: Scenario = Scenario {
    name: "six_user_tests",
    about: "Test 1 (glusterd stopped), 2 (iptables), 3 (10,000 writes read elsewhere at once), brick and server die",
    needs: &[Need::Ours],
    seconds: 420,
    run: || {
        let mut six = SixServers::start(common::flavor())?;
        read_elsewhere(&six, 10_000).context("Test 3")?;
        judge(&mut six, &["glusterd-stop", "partition", "brick-kill", "server-off"])?;
        six.finish()
    },
};

/// What else can happen to one server.
pub const FAULTS: Scenario = Scenario {
    name: "six_faults",
    about: "SIGSTOPped brick, hung disk, full for short and for long, half-open, one-way, flapping, client killed, rolling",
    needs: &[Need::Ours],
    seconds: 420,
    run: || {
        let mut six = SixServers::start(common::flavor())?;
        let names = [
            "client-kill",
            "one-way",
            "half-open",
            "brick-sigstop",
            "hung-disk",
            "full-disk",
            "flapping",
            "rolling",
        ];
        judge(&mut six, &names)?;
        six_full_disk::stays_full(&mut six).context("a disk that stays full")?;
        six.finish()
    },
};

/// Scenario 3, in one order, and the power of all six.
pub const OUTAGES: Scenario = Scenario {
    name: "six_outages",
    about: "Scenario 3: five of six lose their power and return; all six do, and five start without the sixth",
    needs: &[Need::Ours],
    seconds: 300,
    run: || {
        let mut six = SixServers::start(common::flavor())?;
        judge(&mut six, &["five-dead", "cold-start"])?;
        six.finish()
    },
};

/// Every row, one cluster.
pub const EVERY_ROW: Scenario = Scenario {
    name: "six_every_row",
    about: "every row of `bench --stalls` in short, judged",
    needs: &[Need::Ours],
    seconds: 1500,
    run: || {
        let mut six = SixServers::start(common::flavor())?;
        let names: Vec<&str> = rows::ALL.iter().map(|row| row.name).collect();
        judge(&mut six, &names)?;
        six.finish()
    },
};

/// Scenario 3 with each server as the survivor.
pub const SURVIVORS: Scenario = Scenario {
    name: "six_survivors",
    about: "Scenario 3 with each of the six as the only survivor, the others dying in shuffled orders",
    needs: &[Need::Ours],
    seconds: 1200,
    run: || {
        let mut six = SixServers::start(common::flavor())?;
        let orders = [
            &SURVIVOR_1,
            &SURVIVOR_2,
            &SURVIVOR_3,
            &SURVIVOR_4,
            &SURVIVOR_5,
            &SURVIVOR_6,
        ];
        let mut wrong = Vec::new();
        for row in orders {
            one(&mut six, row, &mut wrong)?;
        }
        verdict(&wrong)?;
        six.finish()
    },
};

/// A row whose survivor's mount is under load.
macro_rules! survivor {
    ($name:ident, $text:literal, $survivor:literal, $order:expr) => {
        static $name: Row = Row {
            name: $text,
            about: "five die, this one survives",
            worker: Some($survivor),
            victim: None,
            allowed: rows::Allowed::ReadOnly,
            fault: |six| rows::five_dead(six, $order),
        };
    };
}

survivor!(SURVIVOR_1, "survivor-1", 1, [4, 2, 6, 5, 3]);
survivor!(SURVIVOR_2, "survivor-2", 2, [5, 1, 3, 4, 6]);
survivor!(SURVIVOR_3, "survivor-3", 3, [6, 5, 4, 2, 1]);
survivor!(SURVIVOR_4, "survivor-4", 4, [1, 2, 3, 5, 6]);
survivor!(SURVIVOR_5, "survivor-5", 5, [3, 6, 1, 4, 2]);
survivor!(SURVIVOR_6, "survivor-6", 6, [2, 4, 5, 1, 3]);

/// Runs rows in turn and fails at the end with everything that was wrong.
fn judge(six: &mut SixServers, names: &[&str]) -> Result<()> {
    let mut wrong = Vec::new();
    for name in names {
        let row = rows::find(name).ok_or_else(|| fail(format!("no row {name}")))?;
        one(six, row, &mut wrong)?;
    }
    verdict(&wrong)
}

fn one(six: &mut SixServers, row: &'static Row, wrong: &mut Vec<String>) -> Result<()> {
    if wrong.is_empty() {
        println!("{}", table::head());
    }
    let measured = stage::run(six, row, &Pace::short()).context(row.name)?;
    table::lines(&measured).iter().for_each(|line| println!("{line}"));
    wrong.extend(measured.wrong.iter().map(|line| format!("{}: {line}", row.name)));
    ensure(measured.usable, format!("{}: {}", row.name, wrong.join("\n")))
}

fn verdict(wrong: &[String]) -> Result<()> {
    ensure(wrong.is_empty(), wrong.join("\n"))
}

/// Test 3: a file is written on one machine and read on another the moment the write has returned. Two threads meet
/// at a barrier, nobody sleeps.
fn read_elsewhere(six: &SixServers, rounds: usize) -> Result<()> {
    let mounts: Vec<PathBuf> = (1..=MANAGER).map(|number| six.mounted(number)).collect::<Result<_>>()?;
    let first = mounts.first().ok_or_else(|| fail("no mounts"))?;
    fs::create_dir(first.join("test3")).context("mkdir")?;
    let barrier = Barrier::new(2);
    let failed = AtomicBool::new(false);
    let problem = Mutex::new(None);
    let side = |writes_even: bool| -> Result<()> {
        load::own_files()?;
        for round in 0..rounds {
            let even = round.is_multiple_of(2);
            let done = if even == writes_even {
                let done = write_round(&mounts, round);
                barrier.wait();
                done
            } else {
                barrier.wait();
                read_round(&mounts, round)
            };
            if let Err(error) = done {
                problem
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
                failed.store(true, Ordering::Release);
            }
            barrier.wait();
            if failed.load(Ordering::Acquire) {
                return Ok(());
            }
        }
        Ok(())
    };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| side(false));
        let own = side(true);
        let other = other.join().map_err(|_| fail("the other side panicked"))?;
        own.and(other)
    })?;
    if let Some(error) = problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let took: Duration = begin.elapsed();
    println!("   Test 3: {rounds} writes read on another machine at once in {took:.1?}");
    fs::remove_dir_all(first.join("test3")).context("remove")
}

/// New files and old ones in turn: names are made again every 100 rounds, with another content and length.
fn round_file(round: usize) -> (String, Vec<u8>) {
    let content = common::pattern(round as u64, 100 + round % 5000);
    (format!("test3/file-{}", round % 100), content)
}

fn write_round(mounts: &[PathBuf], round: usize) -> Result<()> {
    let at = mounts.get(round % mounts.len()).ok_or_else(|| fail("no mount"))?;
    let (name, content) = round_file(round);
    fs::write(at.join(&name), content).context(format!(
        "round {round}: write {name} on machine {}",
        round % mounts.len() + 1
    ))
}

fn read_round(mounts: &[PathBuf], round: usize) -> Result<()> {
    // Never the writer's own: 1 to WORKERS machines further.
    let reader = (round + 1 + round / mounts.len() % WORKERS) % mounts.len();
    let at = mounts.get(reader).ok_or_else(|| fail("no mount"))?;
    let (name, content) = round_file(round);
    common::expect_content(&at.join(name), &content).context(format!("round {round} on machine {}", reader + 1))
}
