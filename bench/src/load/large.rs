//! Loads on one large file.

use super::Plan;
use super::buffer::{Aligned, Random};
use crate::figure::Sample;
use ::tests::lab::error::{Context, Result, fail};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK: u64 = 4096;
const CHUNK: usize = 1 << 20;

pub(super) fn sequential_write(path: &Path, plan: &Plan) -> Result<Sample> {
    let buffer = Aligned::random(CHUNK, 1);
    let chunks = plan.file_bytes / buffer.get().len() as u64;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    let mut file = File::create_new(path).context(path.display())?;
    for _ in 0..chunks {
        let at = Instant::now();
        file.write_all(buffer.get())?;
        latencies.push(at.elapsed());
    }
    // What close waits for belongs to the figure.
    drop(file);
    let rate = megabytes(plan.file_bytes, begin.elapsed());
    // Dirty pages of the bricks must not slow the next load.
    File::open(path)?.sync_all()?;
    Ok(Sample::new(rate, latencies))
}

pub(super) fn sequential_read(path: &Path) -> Result<Sample> {
    let mut file = File::open(path).context(path.display())?;
    let size = file.metadata()?.len();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).context("drop the cached pages")?;
    let mut buffer = Aligned::random(CHUNK, 2);
    let mut latencies = Vec::new();
    let mut total = 0;
    let begin = Instant::now();
    loop {
        let at = Instant::now();
        let length = file.read(buffer.get_mut())?;
        if length == 0 {
            break;
        }
        total += length as u64;
        latencies.push(at.elapsed());
    }
    if total != size {
        return Err(fail(format!("{total} of {size} bytes read")));
    }
    Ok(Sample::new(megabytes(total, begin.elapsed()), latencies))
}

/// 4 KiB at random places with O_DIRECT.
pub(super) fn random(path: &Path, plan: &Plan, jobs: u64, write: bool) -> Result<Sample> {
    let begin = Instant::now();
    let end = begin + plan.length;
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs)
            .map(|job| scope.spawn(move || random_job(path, job, end, write)))
            .collect();
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    Ok(Sample::new(per_second(latencies.len(), begin.elapsed()), latencies))
}

fn random_job(path: &Path, job: u64, end: Instant, write: bool) -> Result<Vec<Duration>> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(write)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .context(path.display())?;
    let blocks = (file.metadata()?.len() / BLOCK).max(1);
    let mut buffer = Aligned::random(4096, job + 3);
    let mut places = Random::new(job + 100);
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let place = places.next() % blocks * BLOCK;
        let at = Instant::now();
        if write {
            file.write_all_at(buffer.get(), place)?;
        } else {
            file.read_exact_at(buffer.get_mut(), place)?;
        }
        latencies.push(at.elapsed());
    }
    Ok(latencies)
}

pub(super) fn write_fsync(path: &Path, plan: &Plan) -> Result<Sample> {
    let buffer = Aligned::random(4096, 9);
    let mut file = File::create(path).context(path.display())?;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < plan.length {
        let at = Instant::now();
        file.write_all(buffer.get())?;
        file.sync_all()?;
        latencies.push(at.elapsed());
    }
    Ok(Sample::new(per_second(latencies.len(), begin.elapsed()), latencies))
}

/// The result of a load's thread.
pub(super) fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|_| fail("a load thread panicked"))
        .and_then(|result| result)
}

// Counts and sizes are far below 2^52, where f64 is exact.
#[allow(clippy::cast_precision_loss)]
pub(super) fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

#[allow(clippy::cast_precision_loss)]
fn megabytes(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9)
}
