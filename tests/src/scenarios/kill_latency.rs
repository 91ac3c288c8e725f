//! The longest 4 KiB direct write while a brick is killed and while it returns. Errors must be 0; the times are
//! printed, because another machine's disks are not this project's promise.

use super::common::{self, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::cluster::kill_process;
use crate::lab::error::{Context, Result, ensure, fail};
use std::alloc::Layout;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
const FILE_BLOCKS: u64 = 2048;
/// What the issue asks for; printed beside what was measured.
const WANTED: Duration = Duration::from_millis(100);

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "kill_latency",
    about: "every latency of 4 KiB direct writes while a brick is killed -9 and returns: no errors, longest printed",
    needs: &[Need::Ours],
    seconds: 180,
    run,
};

/// What one writer has seen.
#[derive(Debug, Default)]
struct Seen {
    /// When each write began, since the start, and how long it took.
    writes: Vec<(Duration, Duration)>,
    errors: Vec<String>,
}

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let path = setup.mount.path().join("direct");
    std::fs::write(&path, common::pattern(1, BLOCK * FILE_BLOCKS as usize)).context("prepare the file")?;
    let victim = setup.cluster.brick_pid(1)?;
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let (seen, marks) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&path, begin, &stop));
        let marks = disturb(&setup, victim, begin);
        stop.store(true, Ordering::Relaxed);
        let seen = writer.join().map_err(|_| fail("the writer panicked"))?;
        Ok::<_, crate::lab::LabError>((seen?, marks?))
    })?;
    report(&seen, marks);
    ensure(
        seen.errors.is_empty(),
        format!("{} writes failed: {}", seen.errors.len(), seen.errors.join("; ")),
    )?;
    ensure(
        seen.writes.len() > 100,
        format!("only {} writes were done", seen.writes.len()),
    )?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    setup.finish()
}

/// Kills the brick after two seconds and brings it back two seconds later. Returns both moments.
fn disturb(setup: &Setup, victim: crate::lab::process::Pid, begin: Instant) -> Result<[Duration; 2]> {
    std::thread::sleep(Duration::from_secs(2));
    let killed = begin.elapsed();
    kill_process(victim)?;
    std::thread::sleep(Duration::from_secs(2));
    let returned = begin.elapsed();
    setup.cluster.restart_bricks()?;
    std::thread::sleep(Duration::from_secs(2));
    Ok([killed, returned])
}

fn write_until(path: &Path, begin: Instant, stop: &AtomicBool) -> Result<Seen> {
    let file = File::options()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .context("open O_DIRECT")?;
    // O_DIRECT wants memory that begins at a multiple of the block size.
    let align = Layout::from_size_align(BLOCK, BLOCK).context("layout")?.align();
    let memory = common::pattern(7, 2 * BLOCK);
    let offset = memory.as_ptr().align_offset(align);
    let block = memory.get(offset..offset + BLOCK).ok_or_else(|| fail("alignment"))?;
    let mut seen = Seen::default();
    let mut place = 0x1234_5678_9abc_def1u64;
    while !stop.load(Ordering::Relaxed) {
        place = place
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = (place >> 33) % FILE_BLOCKS * BLOCK as u64;
        let start = begin.elapsed();
        match file.write_all_at(block, at) {
            Ok(()) => seen.writes.push((start, begin.elapsed().saturating_sub(start))),
            Err(error) => seen.errors.push(format!("at {start:?}: {error}")),
        }
    }
    Ok(seen)
}

fn report(seen: &Seen, [killed, returned]: [Duration; 2]) {
    let phases = [
        ("before the kill", Duration::ZERO..killed),
        ("brick dead", killed..returned),
        ("brick returning", returned..Duration::MAX),
    ];
    for (name, span) in phases {
        // A write that began before the kill and ended after it met the kill.
        let met = |write: &&(Duration, Duration)| write.0 + write.1 >= span.start && write.0 < span.end;
        let mut times: Vec<Duration> = seen.writes.iter().filter(met).map(|write| write.1).collect();
        times.sort_unstable();
        let at = |share: usize| {
            let index = (times.len() * share / 1000).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        let slow = times.iter().filter(|time| **time > WANTED).count();
        println!(
            "   {name:<16} {:>6} writes  p50 {:.2} ms  p99 {:.2} ms  longest {:.2} ms  over 100 ms: {slow}",
            times.len(),
            at(500),
            at(990),
            at(1000)
        );
    }
    println!("   errors: {}", seen.errors.len());
}
