//! Identity of processes: a pid together with its start time, so that a reused pid is never signalled.
//!
//! Reads `/proc` and sends signals; starting processes is `run.rs`.

use super::error::{Context, Result, fail};
use nix::sys::signal::{Signal, kill};
use std::fmt;
use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// A process that cannot be confused with a later one of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid {
    /// Process id in the initial pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Pid {
    /// Identity of a running process.
    ///
    /// # Errors
    /// When no such process exists.
    pub fn of(pid: i32) -> Result<Pid> {
        let (_, start) = stat_of(pid).ok_or_else(|| fail(format!("no process {pid}")))?;
        Ok(Pid { pid, start })
    }

    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> Result<Pid> {
        let pid = i32::try_from(std::process::id()).context("own pid")?;
        Pid::of(pid)
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn alive(&self) -> bool {
        stat_of(self.pid).is_some_and(|(state, start)| start == self.start && state != 'Z' && state != 'X')
    }

    /// Whether even its zombie has been collected. Until then it looks alive to whoever asks with `kill(pid, 0)`.
    #[must_use]
    pub fn collected(&self) -> bool {
        stat_of(self.pid).is_none_or(|(_, start)| start != self.start)
    }

    /// Sends a signal. A process that is gone already is no error.
    ///
    /// # Errors
    /// When the signal is refused.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.alive() {
            return Ok(());
        }
        match kill(nix::unistd::Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(errno) => Err(fail(format!(
                "cannot send {signal} to process {}: {}",
                self.pid,
                errno.desc()
            ))),
        }
    }

    /// Waits until it is gone; false when it still runs after `limit`.
    #[must_use]
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.alive() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Its command line, for messages.
    #[must_use]
    pub fn command(&self) -> String {
        let raw = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words: Vec<_> = raw
            .split(|b| *b == 0)
            .filter(|w| !w.is_empty())
            .map(String::from_utf8_lossy)
            .collect();
        words.join(" ")
    }

    /// Path of its program; a program that was replaced meanwhile has ` (deleted)` at the end.
    #[must_use]
    pub fn program(&self) -> Option<std::path::PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }

    /// The value of a variable in its environment.
    #[must_use]
    pub fn env_value(&self, name: &str) -> Option<String> {
        let raw = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut entries = raw
            .split(|b| *b == 0)
            .filter_map(|entry| std::str::from_utf8(entry).ok());
        entries.find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_string))
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start)
    }
}

impl FromStr for Pid {
    type Err = super::LabError;

    fn from_str(text: &str) -> Result<Pid> {
        let (pid, start) = text
            .split_once(' ')
            .ok_or_else(|| fail(format!("not a process record: {text}")))?;
        Ok(Pid {
            pid: pid.parse().context("pid")?,
            start: start.parse().context("start time")?,
        })
    }
}

/// Every process with this variable in its environment; children inherit it, so this finds whole families.
#[must_use]
pub fn with_env(name: &str, value: &str) -> Vec<Pid> {
    all()
        .into_iter()
        .filter(|pid| pid.env_value(name).as_deref() == Some(value))
        .collect()
}

/// Every process of the machine that this process can see.
#[must_use]
pub fn all() -> Vec<Pid> {
    let Ok(dir) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    dir.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Pid::of(pid).ok())
        .collect()
}

/// How long a process has been running, to a hundredth of a second; `None` when the clock cannot be read.
#[must_use]
pub fn age(pid: &Pid) -> Option<Duration> {
    // `start` counts the kernel's USER_HZ, which is 100 on every architecture Linux runs GlusterFS on.
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = text.split(' ').next()?.parse().ok()?;
    let started = Duration::from_millis(pid.start * 10);
    Duration::try_from_secs_f64(uptime).ok()?.checked_sub(started)
}

/// State letter of a process as in `ps`, if it is there.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    stat_of(pid).map(|(state, _)| state)
}

/// State letter and start time of a process.
fn stat_of(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold blanks and brackets itself: fields are counted after the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the line; `state` was field 3.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_alive_and_round_trips() {
        let own = Pid::own().unwrap();
        assert!(own.alive());
        assert_eq!(own.to_string().parse::<Pid>().unwrap(), own);
    }

    #[test]
    fn another_start_time_is_another_process() {
        let own = Pid::own().unwrap();
        let other = Pid {
            start: own.start + 1,
            ..own
        };
        assert!(!other.alive());
        other.signal(Signal::SIGKILL).unwrap();
    }
}
