//! One row on one cluster: load, fault, repair, and what is true afterwards.

use super::load::{Kind, Load, Sample, Seen};
use super::rows::{Allowed, Row};
use crate::lab::cluster::kill_process;
use crate::lab::error::{Context, Result, fail};
use crate::lab::six::node::Role;
use crate::lab::six::{MANAGER, SixServers};
use crate::lab::{Flavor, process};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long each phase takes.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Before the fault.
    pub before: Duration,
    /// The fault lasts until operations flow again, but at least and at most so long.
    pub fault: Range<Duration>,
    /// A fault during which operations cannot flow lasts so long.
    pub outage: Duration,
    /// After the repair, until operations flow and the lost brick is reached.
    pub after: Range<Duration>,
    /// Heal may take so long.
    pub heal: Duration,
}

impl Pace {
    /// For measuring.
    #[must_use]
    pub fn measured(flavor: Flavor) -> Pace {
        let seconds = Duration::from_secs;
        let (fault, after) = match flavor {
            Flavor::Ringluster => (30, 30),
            // Its ping timer takes 42 to 84 s.
            Flavor::C => (100, 60),
        };
        Pace {
            before: seconds(3),
            fault: seconds(5)..seconds(fault),
            outage: seconds(30),
            after: seconds(3)..seconds(after),
            heal: seconds(120),
        }
    }

    /// For the suite.
    #[must_use]
    pub fn short() -> Pace {
        let milliseconds = Duration::from_millis;
        Pace {
            before: milliseconds(700),
            fault: milliseconds(2500)..milliseconds(30_000),
            outage: milliseconds(8000),
            after: milliseconds(1000)..milliseconds(30_000),
            heal: milliseconds(60_000),
        }
    }
}

/// The longest time an operation had to wait within a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    /// Cut at the phase's ends.
    pub length: Duration,
    /// Whether it had not ended when the phase ended.
    pub open: bool,
}

/// One machine's figures.
#[derive(Debug)]
pub struct Figures {
    /// Its number.
    pub machine: usize,
    /// Per kind: before, during and after the fault.
    pub stalls: [[Stall; 3]; 3],
    /// Per kind: operations done without an error.
    pub done: [usize; 3],
    /// Per kind: what failed, and how often.
    pub errors: [BTreeMap<String, usize>; 3],
    /// From the repair, or from the start of the brick's process if that was later, until files that are created are
    /// on the brick at once.
    pub reached: Option<Duration>,
}

/// A row's result.
#[derive(Debug)]
pub struct Measured {
    /// The row.
    pub row: &'static Row,
    /// Whose programs.
    pub flavor: Flavor,
    /// Per loaded machine.
    pub machines: Vec<Figures>,
    /// Every operation of every machine.
    pub seen: Vec<Seen>,
    /// When what happened.
    pub times: Times,
    /// How long heal took after the load had ended.
    pub healed: Duration,
    /// Whether the cluster can be used for another row.
    pub usable: bool,
    /// What must not be: errors an application may not see, lost bytes, bricks that differ.
    pub wrong: Vec<String>,
}

/// When the phases began and ended, since the clock's start.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The fault began.
    pub fault: Duration,
    /// Its repair began.
    pub repair: Duration,
    /// The measured time ended.
    pub end: Duration,
    /// When the victim could be reached at the earliest.
    pub back: Duration,
}

impl Times {
    fn phases(&self) -> [Range<Duration>; 3] {
        [
            Duration::ZERO..self.fault,
            self.fault..self.repair,
            self.repair..self.end,
        ]
    }
}

/// Runs a row. What the row must not do is in [`Measured::wrong`].
///
/// # Errors
/// When the row could not be done at all: the cluster is not to be used any more then.
pub fn run(six: &mut SixServers, row: &'static Row, pace: &Pace) -> Result<Measured> {
    let clock = Instant::now();
    let mut loads = Vec::new();
    for machine in row.worker.into_iter().chain([MANAGER]) {
        let mount = six.mounted(machine)?;
        let watched = (row.victim, six.brick_paths());
        loads.push(Load::start((machine, &mount), row.name, clock, watched)?);
    }
    let times = phases(six, row, pace, (clock, &loads));
    let mut dirs = Vec::new();
    let mut seen = Vec::new();
    for load in loads {
        dirs.push(load.dir().to_path_buf());
        let machine = load.machine();
        seen.push(load.finish(Duration::from_secs(5), || kill_client(six, machine))?);
    }
    let times = times?;
    let mut wrong = Vec::new();
    for one in seen.iter().filter(|one| one.stuck) {
        wrong.push(format!(
            "machine {}: operations did not end; its client was killed",
            one.machine
        ));
        six.unmount(one.machine)?;
        six.mount_patiently(one.machine)?;
    }
    judge(row, &seen, &times, &mut wrong);
    let (healed, usable) = aftermath(six, (&dirs, &seen), pace, &mut wrong)?;
    Ok(Measured {
        row,
        flavor: six.flavor(),
        machines: seen.iter().map(|one| figures(one, &times)).collect(),
        seen,
        times,
        healed,
        usable,
        wrong,
    })
}

fn phases(six: &mut SixServers, row: &Row, pace: &Pace, (clock, loads): (Instant, &[Load])) -> Result<Times> {
    // The files have been made by now: the measured time begins.
    hold(clock, &(pace.before..Duration::from_secs(20)), || flow(loads, clock));
    let fault = clock.elapsed();
    let repair = (row.fault)(six).context("the fault")?;
    let longest = match row.allowed {
        Allowed::Nothing => pace.fault.end,
        Allowed::ReadOnly | Allowed::Outage => pace.outage,
    };
    hold(clock, &(pace.fault.start..longest), || flow(loads, clock));
    let repaired = clock.elapsed();
    loads.iter().for_each(Load::watch);
    let back = Instant::now();
    repair(six).context("the repair")?;
    let started = row.victim.and_then(|victim| brick_age(six, victim));
    let up = started.map_or(Duration::ZERO, |age| clock.elapsed().saturating_sub(age));
    hold(clock, &pace.after, || {
        flow(loads, clock) && loads.iter().all(Load::reached)
    });
    Ok(Times {
        fault,
        repair: repaired,
        end: clock.elapsed(),
        back: up.max(back.saturating_duration_since(clock)),
    })
}

/// Waits until `enough` holds, at least and at most so long.
fn hold(clock: Instant, limits: &Range<Duration>, enough: impl Fn() -> bool) {
    let begin = clock.elapsed();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let spent = clock.elapsed().saturating_sub(begin);
        if spent >= limits.end || (spent >= limits.start && enough()) {
            return;
        }
    }
}

fn flow(loads: &[Load], clock: Instant) -> bool {
    let now = clock.elapsed();
    loads.iter().all(|load| load.flows(now, Duration::from_millis(1500)))
}

/// How long a worker's brick process has been running.
fn brick_age(six: &SixServers, number: usize) -> Option<Duration> {
    process::age(&six.process(number, Role::Brick).ok()?)
}

/// Frees whoever waits in a mount for ever.
fn kill_client(six: &SixServers, machine: usize) {
    for pid in six.processes(machine, Role::Client).unwrap_or_default() {
        if let Err(error) = kill_process(pid) {
            eprintln!("client of machine {machine}: {error}");
        }
    }
}

fn judge(row: &Row, seen: &[Seen], times: &Times, wrong: &mut Vec<String>) {
    for one in seen {
        for (kind, samples) in Kind::ALL.into_iter().zip(&one.samples) {
            let what = format!("machine {} {}", one.machine, kind.name());
            let mut errors = samples.iter().filter(|sample| !allowed(row, kind, sample, times));
            if let Some(first) = errors.next() {
                let text = first.error.as_ref().map_or("", |error| &error.text);
                let at = first.begin.saturating_sub(times.fault);
                let more = errors.count();
                wrong.push(format!("{what}: `{text}` {at:?} after the fault began and {more} more"));
            }
            let good =
                |sample: &&Sample| sample.begin >= times.repair && sample.end.is_some() && sample.error.is_none();
            if !samples.iter().any(|sample| good(&sample)) {
                wrong.push(format!("{what}: nothing succeeds after the repair"));
            }
        }
        if row.victim.is_some() && one.reached.is_none() {
            wrong.push(format!("machine {}: the lost brick was not reached again", one.machine));
        }
    }
}

fn allowed(row: &Row, kind: Kind, sample: &Sample, times: &Times) -> bool {
    let Some(error) = &sample.error else { return true };
    let met = sample.end.is_none_or(|end| end >= times.fault);
    match row.allowed {
        Allowed::Nothing => false,
        Allowed::ReadOnly => met && kind != Kind::Read && error.errno == Some(libc::EROFS),
        Allowed::Outage => met,
    }
}

/// Every acknowledged byte, heal and the comparison of the bricks; then the files are removed. Returns how long heal took
/// and whether it has ended.
fn aftermath(
    six: &SixServers,
    (dirs, seen): (&[PathBuf], &[Seen]),
    pace: &Pace,
    wrong: &mut Vec<String>,
) -> Result<(Duration, bool)> {
    for (dir, one) in dirs.iter().zip(seen) {
        // On a mount that has written and on one that has not.
        for machine in [MANAGER, 5] {
            let at = six.mounted(machine)?.join(dir);
            if let Err(error) = one.acknowledged.check(&at) {
                wrong.push(format!("seen from machine {machine}: {error}"));
            }
        }
    }
    let begin = Instant::now();
    let healed = six.wait_healed(pace.heal);
    let took = begin.elapsed();
    let usable = healed.is_ok();
    match healed {
        Ok(()) => {
            if let Err(error) = six.expect_identical(pace.heal) {
                wrong.push(error.to_string());
            }
        }
        Err(error) => wrong.push(error.to_string()),
    }
    for dir in dirs {
        let at = six.mounted(MANAGER)?.join(dir);
        fs::remove_dir_all(&at).map_err(|error| fail(format!("remove {}: {error}", at.display())))?;
    }
    Ok((took, usable))
}

fn figures(seen: &Seen, times: &Times) -> Figures {
    let per_kind = |index: usize| seen.samples.get(index).map_or(&[][..], Vec::as_slice);
    let stalls = [0, 1, 2].map(|kind| times.phases().map(|phase| longest(per_kind(kind), &phase)));
    let done = [0, 1, 2].map(|kind| {
        let good = |sample: &&Sample| sample.end.is_some() && sample.error.is_none();
        per_kind(kind).iter().filter(good).count()
    });
    let errors = [0, 1, 2].map(|kind| {
        let mut counts = BTreeMap::new();
        for error in per_kind(kind).iter().filter_map(|sample| sample.error.as_ref()) {
            *counts.entry(error.text.clone()).or_default() += 1;
        }
        counts
    });
    Figures {
        machine: seen.machine,
        stalls,
        done,
        errors,
        reached: seen.reached.map(|at| at.saturating_sub(times.back)),
    }
}

/// The longest wait within a phase: of each operation only what lies within counts.
fn longest(samples: &[Sample], phase: &Range<Duration>) -> Stall {
    let waits = samples.iter().filter_map(|sample| {
        let end = sample.end.filter(|end| *end <= phase.end);
        let length = end.unwrap_or(phase.end).checked_sub(sample.begin.max(phase.start))?;
        Some(Stall {
            length,
            open: end.is_none(),
        })
    });
    waits.max_by_key(|stall| stall.length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(begin: u64, end: Option<u64>) -> Sample {
        Sample {
            begin: Duration::from_millis(begin),
            end: end.map(Duration::from_millis),
            error: None,
        }
    }

    #[test]
    fn a_stall_is_cut_at_the_phases() {
        let samples = [sample(0, Some(10)), sample(90, Some(250)), sample(260, None)];
        let phase = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
        let stall = |length, open| Stall {
            length: Duration::from_millis(length),
            open,
        };
        assert_eq!(longest(&samples[..1], &phase(0, 100)), stall(10, false));
        assert_eq!(longest(&samples, &phase(0, 101)), stall(11, true));
        assert_eq!(longest(&samples, &phase(100, 200)), stall(100, true));
        assert_eq!(longest(&samples, &phase(200, 300)), stall(50, false));
        assert_eq!(longest(&samples, &phase(200, 1000)), stall(740, true));
        assert_eq!(longest(&[], &phase(0, 1)), Stall::default());
    }
}
