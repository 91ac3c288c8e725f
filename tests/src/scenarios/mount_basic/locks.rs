//! Checks of flock and of byte-range locks. Open-file-description locks stand for fcntl locks of several processes:
//! the file system sees the same requests, with another owner for each open file.

use super::{Check, Place};
use crate::lab::error::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

pub(super) const CHECKS: &[Check] = &[
    ("flock", flock),
    ("range_locks", range_locks),
    ("lock_waits", lock_waits),
    ("lock_of_a_dead_process", lock_of_a_dead_process),
];

fn open(place: &Place<'_>) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(place.at("f"))
        .context("open")
}

fn flock(place: &Place<'_>) -> Result<()> {
    let (one, two) = (open(place)?, open(place)?);
    one.lock().context("lock")?;
    ensure(
        matches!(two.try_lock(), Err(TryLockError::WouldBlock)),
        "two exclusive locks",
    )?;
    ensure(
        matches!(two.try_lock_shared(), Err(TryLockError::WouldBlock)),
        "shared beside exclusive",
    )?;
    one.unlock().context("unlock")?;
    two.try_lock_shared().context("shared lock")?;
    one.try_lock_shared().context("second shared lock")?;
    ensure(
        matches!(one.try_lock(), Err(TryLockError::WouldBlock)),
        "upgrade beside a shared lock",
    )?;
    drop(two);
    soon("lock after the other was closed", || one.try_lock().is_ok())
}

/// The kernel tells a FUSE file system of a close after the close has returned.
fn soon(what: &str, condition: impl Fn() -> bool) -> Result<()> {
    crate::lab::run::wait_for(what, Duration::from_secs(2), || Ok(condition().then_some(())))
}

fn range(kind: i32, start: i64, length: i64) -> libc::flock {
    // The kernel's lock types and whence fit the field's 16 bits.
    #[allow(clippy::cast_possible_truncation)]
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

fn range_locks(place: &Place<'_>) -> Result<()> {
    let (one, two) = (open(place)?, open(place)?);
    let set = |file: &File, kind, start, length| fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, start, length)));
    set(&one, libc::F_WRLCK, 0, 100).context("write lock")?;
    let refused = set(&two, libc::F_WRLCK, 50, 10);
    ensure(
        matches!(refused, Err(Errno::EAGAIN | Errno::EACCES)),
        format!("overlapping write lock: {refused:?}"),
    )?;
    set(&two, libc::F_WRLCK, 100, 10).context("lock beside the other")?;
    let mut asked = range(libc::F_RDLCK, 10, 5);
    fcntl(&two, FcntlArg::F_OFD_GETLK(&mut asked)).context("F_GETLK")?;
    ensure(
        i32::from(asked.l_type) == libc::F_WRLCK,
        "F_GETLK does not find the lock",
    )?;
    set(&one, libc::F_UNLCK, 40, 20).context("unlock the middle")?;
    set(&two, libc::F_WRLCK, 45, 10).context("lock in the gap")?;
    let refused = set(&two, libc::F_RDLCK, 0, 10);
    ensure(refused.is_err(), "a read lock on the rest of a split write lock")?;
    drop(one);
    soon("lock of everything after the other was closed", || {
        set(&two, libc::F_WRLCK, 0, 0).is_ok()
    })
}

fn lock_waits(place: &Place<'_>) -> Result<()> {
    const HELD: Duration = Duration::from_millis(300);
    let (one, two) = (open(place)?, open(place)?);
    fcntl(&one, FcntlArg::F_OFD_SETLKW(&range(libc::F_WRLCK, 0, 0))).context("lock")?;
    std::thread::scope(|scope| {
        let begin = Instant::now();
        let waiter = scope.spawn(move || {
            let locked = fcntl(&two, FcntlArg::F_OFD_SETLKW(&range(libc::F_WRLCK, 0, 10)));
            (locked, begin.elapsed())
        });
        std::thread::sleep(HELD);
        drop(one);
        match waiter.join() {
            Ok((Ok(_), waited)) => ensure(waited >= HELD, format!("got the lock after {waited:?}, too early")),
            Ok((Err(errno), _)) => Err(errno).context("waiting lock"),
            Err(_) => Err(crate::lab::fail("the waiter panicked")),
        }
    })
}

fn lock_of_a_dead_process(place: &Place<'_>) -> Result<()> {
    drop(open(place)?);
    let script = "exec 9>>\"$1\"; flock 9; echo locked > \"$1.sign\"; exec sleep 60";
    let log = place.setup.lab.dir().join("locker.log");
    let mut locker = place
        .cmd("sh")
        .args(["-c", script, "sh"])
        .arg(place.inside("f"))
        .background(&log)?;
    crate::lab::run::wait_for("the other process locks", Duration::from_secs(5), || {
        Ok(place.at("f.sign").exists().then_some(()))
    })?;
    let file = open(place)?;
    ensure(
        matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        "locked although another process holds it",
    )?;
    locker.kill();
    let free = || Ok(file.try_lock().is_ok().then_some(()));
    crate::lab::run::wait_for("the lock of a killed process goes", Duration::from_secs(5), free)
}
