//! Bricks leave, join, are replaced and reset under a volume that is written and read on two machines all the time:
//! nobody remounts, no operation fails, and at the end every brick of the volume holds everything.

use super::common::{self, HEAL_LIMIT, pattern};
use super::{Need, Scenario};
use crate::lab::SixServers;
use crate::lab::compare::{compare_bricks, wait_identical};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::wait_for;
use crate::lab::six::node::{BRICK, DISK};
use crate::lab::six::{MANAGER, VOLUME, WORKERS, brick_name, worker};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "six_bricks",
    about: "remove-brick, add-brick, replace-brick and reset-brick under I/O on two mounts, without a remount",
    needs: &[Need::Ours],
    seconds: 420,
    run,
};

/// Bytes of each file.
const LENGTH: usize = 20_000;
/// Where the brick of `worker6` is made anew.
const AGAIN: &str = "/mnt/bricks/again";
/// Where the brick of `worker5` moves.
const OTHER: &str = "/mnt/bricks/other";

fn run() -> Result<()> {
    let six = SixServers::start(common::flavor())?;
    let writers = [Writer::new(six.mounted(1)?, 1), Writer::new(six.mounted(MANAGER)?, 2)];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running: Vec<_> = writers
            .iter()
            .map(|writer| scope.spawn(|| writer.write(&stop)))
            .collect();
        let changed = changes(&six, &writers);
        stop.store(true, Ordering::Release);
        for one in running {
            one.join().map_err(|_| fail("a writer panicked"))??;
        }
        changed
    })?;
    for writer in &writers {
        writer.check(&six.mounted(2)?)?;
    }
    six.wait_healed(HEAL_LIMIT)?;
    let bricks = (1..=WORKERS).map(|number| {
        let path = match number {
            5 => OTHER,
            6 => AGAIN,
            _ => BRICK,
        };
        Ok(six.host(number)?.outside(Path::new(path)))
    });
    let bricks: Vec<PathBuf> = bricks.collect::<Result<_>>()?;
    wait_identical(|| compare_bricks(&bricks))?;
    six.finish()
}

fn changes(six: &SixServers, writers: &[Writer]) -> Result<()> {
    let change = |on: usize, words: &[&str]| -> Result<()> {
        progress(writers)?;
        let args: Vec<&str> = ["volume", words[0], VOLUME]
            .iter()
            .chain(&words[1..])
            .copied()
            .collect();
        println!("   gluster {}", args.join(" "));
        six.gluster(on, &args)?.run()?;
        progress(writers)
    };
    progress(writers)?;
    change(2, &["remove-brick", "replica", "5", &brick_name(6), "force"])?;
    change(3, &["add-brick", "replica", "6", &format!("{}:{AGAIN}", worker(6))])?;
    six.wait_healed(HEAL_LIMIT)?;
    let (old, new) = (brick_name(5), format!("{}:{OTHER}", worker(5)));
    change(1, &["replace-brick", &old, &new, "commit", "force"])?;
    six.wait_healed(HEAL_LIMIT)?;
    change(4, &["reset-brick", &brick_name(4), "start"])?;
    // What was on the disk is lost; the directory is as a new disk has it.
    let disk = six.host(4)?.outside(Path::new(DISK));
    fs::rename(disk.join("0001"), disk.join("broken")).context("the broken brick")?;
    change(4, &["reset-brick", &brick_name(4), &brick_name(4), "commit", "force"])?;
    progress(writers)
}

/// Waits until every writer has written some more files.
fn progress(writers: &[Writer]) -> Result<()> {
    for writer in writers {
        let before = writer.done.load(Ordering::Acquire);
        wait_for("files are written", Duration::from_secs(30), || {
            let now = writer.done.load(Ordering::Acquire);
            Ok((now >= before + 20 || writer.failed.load(Ordering::Acquire)).then_some(()))
        })?;
    }
    Ok(())
}

/// Makes files on one machine and reads each again.
struct Writer {
    mount: PathBuf,
    seed: u64,
    done: AtomicUsize,
    failed: AtomicBool,
}

impl Writer {
    fn new(mount: PathBuf, seed: u64) -> Writer {
        Writer {
            mount,
            seed,
            done: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        }
    }

    fn file(&self, mount: &Path, number: usize) -> PathBuf {
        mount.join(format!("by-{}", self.seed)).join(number.to_string())
    }

    fn content(&self, number: usize) -> Vec<u8> {
        pattern(self.seed << 32 | number as u64, LENGTH)
    }

    fn write(&self, stop: &AtomicBool) -> Result<()> {
        let done = self.write_until(stop);
        self.failed.store(done.is_err(), Ordering::Release);
        done
    }

    fn write_until(&self, stop: &AtomicBool) -> Result<()> {
        fs::create_dir(self.mount.join(format!("by-{}", self.seed))).context("mkdir")?;
        for number in 0.. {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let file = self.file(&self.mount, number);
            fs::write(&file, self.content(number)).context(format!("write file {number}"))?;
            let again = number / 2;
            let read = fs::read(self.file(&self.mount, again)).context(format!("read file {again}"))?;
            ensure(read == self.content(again), format!("file {again} has other bytes"))?;
            self.done.store(number + 1, Ordering::Release);
        }
        Ok(())
    }

    /// Every file, on another machine's mount.
    fn check(&self, mount: &Path) -> Result<()> {
        let files = self.done.load(Ordering::Acquire);
        for number in 0..files {
            let read = fs::read(self.file(mount, number)).context(format!("read file {number}"))?;
            ensure(read == self.content(number), format!("file {number} has other bytes"))?;
        }
        println!("   {files} files of {LENGTH} bytes");
        Ok(())
    }
}
