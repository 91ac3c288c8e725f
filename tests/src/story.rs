//! The sandbox's story: files are written, a brick is killed meanwhile, reading goes on, the brick returns, is healed,
//! and all bricks are compared. Told in lines as it happens; every line states something that has been checked.

use crate::lab::cluster::kill_process;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::signals::Interrupt;
use crate::lab::{Cluster, Mount};
use crate::scenarios::common::{expect_content, pattern, write_and_check};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The brick that dies, counted from 0.
const VICTIM: usize = 2;
const FILE_BYTES: usize = 64 << 10;
/// How long files are written before and after the kill.
const WRITING: Duration = Duration::from_millis(1500);
/// A heal of the story's files may take this long.
const HEAL_LIMIT: Duration = Duration::from_secs(120);

/// What the story has measured.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Files written while the brick died and was away.
    pub files: u64,
    /// The longest time one of them took: create, write, close.
    pub longest: Duration,
}

/// Plays the story on a mounted volume.
///
/// # Errors
/// The first thing that is not as promised.
pub fn tell(cluster: &Cluster, mount: &Mount, interrupt: Option<&Interrupt>) -> Result<Told> {
    let home = mount.path().join("story");
    fs::create_dir(&home).context(home.display())?;

    step(1, "writing a file of 32 MiB and reading it back");
    write_and_check(&home.join("large"), &pattern(1, 32 << 20))?;
    stop_if(interrupt)?;

    let told = write_while_a_brick_dies(cluster, &home, interrupt)?;
    stop_if(interrupt)?;

    step(3, "reading everything with the brick still dead");
    expect_content(&home.join("large"), &pattern(1, 32 << 20))?;
    check_files(&home, told.files)?;
    say(format!("{} files and the large one are as written", told.files));

    step(4, "the brick returns");
    cluster.restart_bricks()?;
    say("all six bricks are online");
    stop_if(interrupt)?;

    step(5, "healing");
    let begin = Instant::now();
    cluster.wait_healed(HEAL_LIMIT, |left| say(format!("entries left to heal: {left}")))?;
    say(format!("healed in {:.1} s", begin.elapsed().as_secs_f64()));
    stop_if(interrupt)?;

    step(
        6,
        "comparing all six bricks: data, modes, owners, times, extended attributes, handles",
    );
    let comparison = cluster.expect_identical(HEAL_LIMIT)?;
    for report in &comparison.bricks {
        let (digest, brick) = (&report.digest, report.brick.display());
        say(format!(
            "{digest}  {brick}  ({} entries, {} bytes)",
            report.entries, report.bytes
        ));
    }
    let first = comparison.bricks.first().ok_or_else(|| fail("no bricks"))?;
    ensure(
        comparison.bricks.iter().all(|report| report.digest == first.digest),
        "the digests differ",
    )?;
    say("the bricks are identical");
    Ok(told)
}

/// Writes small files one after the other; in the middle of it the brick is killed.
fn write_while_a_brick_dies(cluster: &Cluster, home: &Path, interrupt: Option<&Interrupt>) -> Result<Told> {
    let victim = cluster.brick_pid(VICTIM)?;
    let names = cluster.bricks();
    let name = names.get(VICTIM).ok_or_else(|| fail("the volume has too few bricks"))?;
    step(
        2,
        &format!(
            "writing files; meanwhile kill -9 {} ({})",
            victim.pid,
            cluster.brick_name(name)
        ),
    );
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let told = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_files(home, &stop, &written));
        let killed = pause(WRITING, interrupt).and_then(|()| {
            say(format!(
                "{} files written, killing the brick now",
                written.load(Ordering::Relaxed)
            ));
            kill_process(victim)?;
            pause(WRITING, interrupt)
        });
        stop.store(true, Ordering::Relaxed);
        let told = writer.join().map_err(|_| fail("the writer panicked"))?;
        killed?;
        told
    })?;
    say(format!(
        "{} files written, no error, the longest took {:.1} ms",
        told.files,
        told.longest.as_secs_f64() * 1000.0
    ));
    Ok(told)
}

fn write_files(home: &Path, stop: &AtomicBool, written: &AtomicU64) -> Result<Told> {
    let mut told = Told {
        files: 0,
        longest: Duration::ZERO,
    };
    while !stop.load(Ordering::Relaxed) {
        let (path, content) = (file_path(home, told.files), pattern(told.files + 2, FILE_BYTES));
        let begin = Instant::now();
        fs::write(&path, content).context(format!("write {}", path.display()))?;
        told.longest = told.longest.max(begin.elapsed());
        told.files += 1;
        written.store(told.files, Ordering::Relaxed);
        // A steady trickle: the story is about the failure, not about speed, and the disk is the user's.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(told)
}

fn check_files(home: &Path, files: u64) -> Result<()> {
    let listed = fs::read_dir(home).context(home.display())?.count();
    ensure(
        listed as u64 == files + 1,
        format!("{listed} names listed instead of {}", files + 1),
    )?;
    (0..files).try_for_each(|number| expect_content(&file_path(home, number), &pattern(number + 2, FILE_BYTES)))
}

fn file_path(home: &Path, number: u64) -> PathBuf {
    home.join(format!("file-{number:04}"))
}

fn pause(length: Duration, interrupt: Option<&Interrupt>) -> Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        stop_if(interrupt)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn stop_if(interrupt: Option<&Interrupt>) -> Result<()> {
    if interrupt.is_some_and(Interrupt::asked) {
        Err(fail("interrupted"))
    } else {
        Ok(())
    }
}

fn step(number: u32, what: &str) {
    println!("{number}. {what}");
}

fn say(what: impl std::fmt::Display) {
    println!("   {what}");
}
