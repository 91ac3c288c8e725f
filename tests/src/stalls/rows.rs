//! The rows of the table: what happens, to which server, and what an application may notice of it.

use crate::lab::error::{Context, Result, fail};
use crate::lab::six::fault::{self, Repair};
use crate::lab::six::node::Role;
use crate::lab::six::{MANAGER, SixServers, WORKERS};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What an application may notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing: a quorum is up all the time.
    Nothing,
    /// Writes and creates are refused with EROFS, reads go on: bricks with clean data are up all the time.
    ReadOnly,
    /// Anything while it lasts: no server is up.
    Outage,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Name on the command line and in the table.
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    /// The worker whose mount is under load; the manager's always is.
    pub worker: Option<usize>,
    /// The worker whose brick is lost and reached again, when it is one.
    pub victim: Option<usize>,
    /// What an application may notice.
    pub allowed: Allowed,
    /// Makes it happen. What it returns undoes it.
    pub fault: fn(&mut SixServers) -> Result<Repair>,
}

const fn row(
    name: &'static str,
    about: &'static str,
    (worker, victim): (usize, Option<usize>),
    fault: fn(&mut SixServers) -> Result<Repair>,
) -> Row {
    Row {
        name,
        about,
        worker: Some(worker),
        victim,
        allowed: Allowed::Nothing,
        fault,
    }
}

/// Every row, in the order of the table.
pub const ALL: &[Row] = &[
    row(
        "brick-kill",
        "Scenario 1: the worker's own brick crashes (kill -9)",
        (1, Some(1)),
        |six| fault::kill(six, 1, Role::Brick, Signal::SIGKILL),
    ),
    row(
        "brick-stop",
        "the worker's own brick is ended with SIGTERM",
        (1, Some(1)),
        |six| fault::kill(six, 1, Role::Brick, Signal::SIGTERM),
    ),
    row(
        "other-brick-kill",
        "another worker's brick crashes (kill -9)",
        (1, Some(2)),
        |six| fault::kill(six, 2, Role::Brick, Signal::SIGKILL),
    ),
    row(
        "glusterd-stop",
        "Test 1: the local glusterd is stopped (SIGTERM)",
        (1, None),
        |six| fault::kill(six, 1, Role::Daemon, Signal::SIGTERM),
    ),
    row(
        "glusterd-kill",
        "the local glusterd crashes (kill -9)",
        (1, None),
        |six| fault::kill(six, 1, Role::Daemon, Signal::SIGKILL),
    ),
    row("shd-kill", "a self-heal daemon crashes (kill -9)", (1, None), |six| {
        fault::kill(six, 2, Role::Healer, Signal::SIGKILL)
    }),
    row(
        "client-kill",
        "another worker's client crashes while it creates in the same directory",
        (1, None),
        client_kill,
    ),
    row("server-stop", "a server is shut down in order", (1, Some(2)), |six| {
        fault::shut_down(six, 2)
    }),
    row(
        "partition",
        "Test 2: iptables -A OUTPUT -d <worker2> -j DROP",
        (1, Some(2)),
        |six| fault::cut_output(six, 1, 2),
    ),
    row(
        "one-way",
        "one-way partition: nothing from worker2 arrives",
        (1, Some(2)),
        |six| fault::cut_input(six, 1, 2),
    ),
    row(
        "half-open",
        "half-open connection: the answers of one TCP connection are lost",
        (1, Some(2)),
        |six| fault::half_open(six, 1, 2),
    ),
    row(
        "server-off",
        "Scenario 2: the server the manager has mounted from loses its power",
        (2, Some(1)),
        |six| fault::power_off(six, 1),
    ),
    row(
        "brick-sigstop",
        "a brick is stopped with SIGSTOP",
        (1, Some(2)),
        |six| fault::stop(six, 2, Role::Brick),
    ),
    row(
        "own-brick-sigstop",
        "the worker's own brick is stopped with SIGSTOP",
        (1, Some(1)),
        |six| fault::stop(six, 1, Role::Brick),
    ),
    row("hung-disk", "a worker's disk hangs (xfs_freeze)", (1, Some(2)), |six| {
        fault::freeze(six, 2)
    }),
    row("full-disk", "a worker's disk is full", (1, Some(2)), |six| {
        fault::fill(six, 2)
    }),
    row(
        "flapping",
        "a server is cut off and back every 300 ms",
        (1, Some(2)),
        |six| fault::flap(six, 2),
    ),
    row(
        "rolling",
        "the daemons and bricks of all six are restarted one after the other",
        (1, None),
        rolling,
    ),
    Row {
        name: "five-dead",
        about: "Scenario 3: five of six lose their power one after the other, and return",
        worker: Some(4),
        victim: Some(1),
        allowed: Allowed::ReadOnly,
        fault: |six| five_dead(six, [1, 6, 3, 2, 5]),
    },
    Row {
        name: "cold-start",
        about: "all six lose their power, five return, then the sixth (only the manager's mount is there to see it)",
        worker: None,
        // The fourth to return makes the quorum: nothing can be created before its brick's process starts.
        victim: Some(4),
        allowed: Allowed::Outage,
        fault: |six| cold_start(six, 6),
    },
];

/// A row by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ALL.iter().find(|row| row.name == name)
}

/// Kills the third worker's client while it is in the middle of creating files where the manager creates its own.
fn client_kill(six: &mut SixServers) -> Result<Repair> {
    let mount = six.mounted(3)?;
    let load = fs::read_dir(&mount)
        .context("list the mount")?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().ends_with(&format!("-{MANAGER}")));
    let dir = load
        .ok_or_else(|| fail("the manager's load has no directory"))?
        .path()
        .join("creates");
    let created = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&created);
    let other = std::thread::spawn(move || {
        if super::load::own_files().is_err() {
            return;
        }
        // Ends with the error that the killed client leaves.
        for number in 0u64.. {
            if fs::write(dir.join(format!("other-{number}")), b"x").is_err() {
                return;
            }
            seen.store(true, Ordering::Release);
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let repair = fault::kill(six, 3, Role::Client, Signal::SIGKILL)?;
    other.join().map_err(|_| fail("the other client's thread panicked"))?;
    if created.load(Ordering::Acquire) {
        return Ok(repair);
    }
    Err(fail("the other client has created nothing"))
}

/// `systemctl restart glusterd` after a package upgrade, as an administrator does it by hand: the next server follows
/// when the one before has its brick online again.
fn rolling(six: &mut SixServers) -> Result<Repair> {
    for number in 1..=WORKERS {
        let start = fault::end_server(six, number)?;
        start(six)?;
        // Clients come back by themselves, on their own time.
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(Box::new(|_| Ok(())))
}

/// Five servers lose their power, one each second. They return together.
///
/// # Errors
/// When a step fails.
pub fn five_dead(six: &mut SixServers, order: [usize; 5]) -> Result<Repair> {
    for number in order {
        six.power_off(number)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(Box::new(move |six| return_all(six, &order)))
}

/// Switches machines on at the same time and then mounts on each.
fn return_all(six: &mut SixServers, numbers: &[usize]) -> Result<()> {
    for number in numbers {
        six.power_on(*number)?;
    }
    for number in numbers {
        six.mount_patiently(*number)?;
    }
    Ok(())
}

/// All six lose their power; all but `missing` return at once, that one after the manager's mount works again.
///
/// # Errors
/// When a step fails.
pub fn cold_start(six: &mut SixServers, missing: usize) -> Result<Repair> {
    for number in 1..=WORKERS {
        six.power_off(number)?;
    }
    Ok(Box::new(move |six| {
        let five: Vec<usize> = (1..=WORKERS).filter(|number| *number != missing).collect();
        return_all(six, &five)?;
        let five_up = six.mounted(MANAGER)?;
        writable(&five_up).context("with five of six after a cold start")?;
        return_all(six, &[missing])
    }))
}

/// Waits until the mount takes files: an application that had errors tries again.
fn writable(mount: &Path) -> Result<()> {
    let probe = mount.join("probe");
    crate::lab::run::wait_for("the mount takes files", Duration::from_secs(100), || {
        fs::write(&probe, b"x").context("write")?;
        fs::remove_file(&probe).context("remove").map(Some)
    })
}
