//! What several scenarios do: a six-brick cluster on one host, data to write, bricks killed in turn.

use crate::lab::disk::{BrickDisk, make_bricks};
use crate::lab::error::{Context, Result, fail};
use crate::lab::{Cluster, Flavor, Lab, Mount};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bricks of the volume: the user's six.
pub const BRICKS: usize = 6;
/// A heal may take this long.
pub const HEAL_LIMIT: Duration = Duration::from_secs(120);

/// Set to `c` to run the scenarios against the C implementation: a scenario that fails there is itself wrong, or
/// tests something that is meant to be better.
pub const FLAVOR_VARIABLE: &str = "RINGLUSTER_SUITE_FLAVOR";

/// The implementation under test.
#[must_use]
pub fn flavor() -> Flavor {
    match std::env::var(FLAVOR_VARIABLE).as_deref() {
        Ok("c") => Flavor::C,
        _ => Flavor::Ringluster,
    }
}

/// A lab with one host, a six-brick cluster on it and a mount. Fields drop in order: mount first, lab last.
#[derive(Debug)]
pub struct Setup {
    /// The cluster's own client's mount.
    pub mount: Mount,
    /// The cluster.
    pub cluster: Cluster,
    /// The lab.
    pub lab: Lab,
}

impl Setup {
    /// Starts everything with either implementation.
    ///
    /// # Errors
    /// When a step fails.
    pub fn new(flavor: Flavor) -> Result<Setup> {
        let (lab, cluster) = cluster(flavor)?;
        let mount = cluster.mount("mnt")?;
        Ok(Setup { mount, cluster, lab })
    }

    /// Unmounts and removes everything, reporting what cannot be removed.
    ///
    /// # Errors
    /// When something is left.
    pub fn finish(self) -> Result<()> {
        self.mount.unmount()?;
        self.lab.remove()
    }
}

/// A lab with one host and a started six-brick cluster on it.
///
/// # Errors
/// When a step fails.
pub fn cluster(flavor: Flavor) -> Result<(Lab, Cluster)> {
    let lab = Lab::with_hosts(1, false)?;
    let host = lab.host("worker1")?;
    let bricks = make_bricks(&lab, host, BrickDisk::Directory, BRICKS)?;
    let cluster = Cluster::start(&lab, host, flavor, &bricks)?;
    Ok((lab, cluster))
}

/// Bytes that differ from block to block and from seed to seed, so that a misplaced block is noticed.
#[must_use]
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes a file and reads it back.
///
/// # Errors
/// When either fails or the content differs.
pub fn write_and_check(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).context(format!("write {}", path.display()))?;
    expect_content(path, content)
}

/// Fails unless the file holds exactly `content`.
///
/// # Errors
/// As said.
pub fn expect_content(path: &Path, content: &[u8]) -> Result<()> {
    let back = fs::read(path).context(format!("read {}", path.display()))?;
    if back == content {
        return Ok(());
    }
    let at = back
        .iter()
        .zip(content)
        .position(|(a, b)| a != b)
        .unwrap_or(back.len().min(content.len()));
    let (is, should) = (back.len(), content.len());
    Err(fail(format!(
        "{}: {is} bytes instead of {should}, first difference at {at}",
        path.display()
    )))
}

/// Repeats `work` while `kills` bricks are killed and restarted one after the other (each waits for the heal of the
/// one before), so that the load meets every brick's death. Returns how often the work was done.
///
/// # Errors
/// The first error of either side.
pub fn while_bricks_die(cluster: &Cluster, kills: usize, mut work: impl FnMut(usize) -> Result<()>) -> Result<usize> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill_in_turn(cluster, kills, &stop));
        let mut rounds = 0;
        let worked = loop {
            let last = killer.is_finished();
            if let Err(error) = work(rounds) {
                break Err(error);
            }
            rounds += 1;
            if last {
                break Ok(rounds);
            }
        };
        stop.store(true, Ordering::Release);
        let killed = killer.join().map_err(|_| fail("the killer of bricks panicked"))?;
        worked.and_then(|rounds| killed.map(|()| rounds))
    })
}

/// Kills one brick after the other, with a second of its absence and a heal in between.
fn kill_in_turn(cluster: &Cluster, kills: usize, stop: &AtomicBool) -> Result<()> {
    for kill in 0..kills {
        pause(Duration::from_millis(500), stop);
        if stop.load(Ordering::Acquire) {
            return Ok(());
        }
        cluster.kill_brick(kill % cluster.bricks().len())?;
        pause(Duration::from_secs(1), stop);
        cluster.restart_bricks()?;
        // Under load entries keep coming and going, so 0 may never be seen: the next kill waits a bounded time.
        let end = Instant::now() + Duration::from_secs(5);
        while cluster.heal_entries()? != Some(0) && Instant::now() < end && !stop.load(Ordering::Acquire) {
            pause(Duration::from_millis(300), stop);
        }
    }
    Ok(())
}

fn pause(length: Duration, stop: &AtomicBool) {
    let end = Instant::now() + length;
    while Instant::now() < end && !stop.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Fails unless `result` is an error of this number.
///
/// # Errors
/// As said.
pub fn expect_errno<T>(what: &str, result: std::io::Result<T>, errno: i32) -> Result<()> {
    let wanted = std::io::Error::from_raw_os_error(errno);
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => Err(fail(format!("{what}: {error} instead of {wanted}"))),
        Ok(_) => Err(fail(format!("{what}: succeeded instead of {wanted}"))),
    }
}
