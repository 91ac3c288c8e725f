//! Loads on many small files: four threads, a directory each.

use super::Plan;
use super::buffer::Aligned;
use super::large::{join, per_second};
use crate::figure::Sample;
use ::tests::lab::error::{Context, Result, fail};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const JOBS: usize = 4;
const SIZE: usize = 4096;

pub(super) fn create(dir: &Path, plan: &Plan) -> Result<Sample> {
    let homes: Vec<PathBuf> = (0..JOBS).map(|job| dir.join(format!("small{job}"))).collect();
    for home in &homes {
        fs::create_dir(home).context(home.display())?;
    }
    run(&homes, |home| {
        let content = Aligned::random(SIZE, 5);
        let begin = Instant::now();
        let mut latencies = Vec::new();
        while begin.elapsed() < plan.length {
            let path = home.join(format!("f{}", latencies.len()));
            let at = Instant::now();
            let mut file = File::create_new(&path).context(path.display())?;
            file.write_all(content.get())?;
            drop(file);
            latencies.push(at.elapsed());
        }
        Ok(latencies)
    })
}

/// Does `work` to each file in turn, from the first again when all had their turn, until the time is over.
pub(super) fn each(dir: &Path, plan: &Plan, work: fn(&Path) -> Result<()>) -> Result<Sample> {
    run(&homes(dir), |home| {
        let count = fs::read_dir(home)?.count();
        if count == 0 {
            return Err(fail("no files: file_create_4k must run before"));
        }
        let begin = Instant::now();
        let mut latencies = Vec::new();
        while begin.elapsed() < plan.length {
            let path = home.join(format!("f{}", latencies.len() % count));
            let at = Instant::now();
            work(&path)?;
            latencies.push(at.elapsed());
        }
        Ok(latencies)
    })
}

pub(super) fn unlink_all(dir: &Path) -> Result<Sample> {
    once(dir, Duration::ZERO, |path| {
        fs::remove_file(path).context(path.display())
    })
}

/// stat of each file once, after the second for which a FUSE kernel may answer from its cache by default.
pub(super) fn stat_all(dir: &Path) -> Result<Sample> {
    once(dir, Duration::from_millis(1200), stat)
}

/// Does `work` to each file once, `pause` after the directories were listed (which may fill caches).
fn once(dir: &Path, pause: Duration, work: fn(&Path) -> Result<()>) -> Result<Sample> {
    // Counted before the clock starts: listing may fill caches, but names only.
    let counts = homes(dir)
        .iter()
        .map(|home| Ok(fs::read_dir(home)?.count()))
        .collect::<Result<Vec<_>>>()?;
    std::thread::sleep(pause);
    run(&homes(dir), |home| {
        let job = homes(dir).iter().position(|other| other == home);
        let count = job.and_then(|job| counts.get(job)).copied().unwrap_or_default();
        let mut latencies = Vec::with_capacity(count);
        for number in 0..count {
            let path = home.join(format!("f{number}"));
            let at = Instant::now();
            work(&path)?;
            latencies.push(at.elapsed());
        }
        Ok(latencies)
    })
}

fn stat(path: &Path) -> Result<()> {
    let size = fs::metadata(path).context(path.display())?.len();
    if size == SIZE as u64 {
        Ok(())
    } else {
        Err(fail(format!("{} has {size} bytes", path.display())))
    }
}

pub(super) fn read(path: &Path) -> Result<()> {
    let mut content = Vec::with_capacity(SIZE);
    File::open(path).context(path.display())?.read_to_end(&mut content)?;
    if content.len() == SIZE {
        Ok(())
    } else {
        Err(fail(format!("{} is short", path.display())))
    }
}

fn homes(dir: &Path) -> Vec<PathBuf> {
    (0..JOBS).map(|job| dir.join(format!("small{job}"))).collect()
}

fn run(homes: &[PathBuf], job: impl Fn(&Path) -> Result<Vec<Duration>> + Sync) -> Result<Sample> {
    let begin = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = homes.iter().map(|home| scope.spawn(|| job(home))).collect();
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    Ok(Sample::new(per_second(latencies.len(), begin.elapsed()), latencies))
}
