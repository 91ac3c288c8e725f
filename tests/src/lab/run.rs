//! Running commands: each with a time limit, its output kept, and an error that shows both.
//!
//! Output goes to unlinked files rather than pipes, because a daemon that a command leaves behind would keep a
//! pipe open and its reader waiting.

use super::error::{Context, Result, fail};
use super::process::Pid;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Limit of a command that names none.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// A command about to run.
#[derive(Debug)]
pub struct Cmd {
    inner: Command,
    line: String,
    limit: Duration,
    stdin: Option<Vec<u8>>,
}

/// A command that has ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// Wall time it took.
    pub took: Duration,
}

impl Finished {
    /// Exit code; -1 after a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output and error together, for searching messages.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Cmd {
    /// A command on this machine, outside all namespaces.
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        let line = program.as_ref().to_string_lossy().into_owned();
        Cmd {
            inner: Command::new(program),
            line,
            limit: DEFAULT_LIMIT,
            stdin: None,
        }
    }

    /// A command given as words; the first is the program.
    pub fn words(line: &str) -> Cmd {
        let mut words = line.split_whitespace();
        words
            .by_ref()
            .next()
            .map(Cmd::new)
            .unwrap_or_else(|| Cmd::new(""))
            .args(words)
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.line.push(' ');
        self.line.push_str(&arg.as_ref().to_string_lossy());
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Cmd {
        args.into_iter().fold(self, Cmd::arg)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.inner.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Cmd {
        self.inner.current_dir(dir);
        self
    }

    /// Kills the command when it takes longer.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// Feeds the command's standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs to the end and returns whatever it said, good or bad.
    ///
    /// # Errors
    /// When it cannot be started or exceeds its limit.
    pub fn output(mut self) -> Result<Finished> {
        let (mut out, mut err) = (scratch_file()?, scratch_file()?);
        self.inner.stdout(out.try_clone()?).stderr(err.try_clone()?);
        match &self.stdin {
            Some(bytes) => {
                let mut file = scratch_file()?;
                file.write_all(bytes)?;
                file.seek(SeekFrom::Start(0))?;
                self.inner.stdin(file)
            }
            None => self.inner.stdin(Stdio::null()),
        };
        let begin = Instant::now();
        let mut child = self.start()?;
        let status = wait_limited(&mut child, self.limit);
        let (stdout, stderr) = (read_back(&mut out)?, read_back(&mut err)?);
        match status? {
            Some(status) => Ok(Finished {
                status,
                stdout,
                stderr,
                took: begin.elapsed(),
            }),
            None => Err(fail(format!(
                "`{}` did not end within {:?} and was killed; it said:\n{}{}",
                self.line,
                self.limit,
                tail(&stdout),
                tail(&stderr)
            ))),
        }
    }

    /// Runs to a successful end and returns the standard output.
    ///
    /// # Errors
    /// When it cannot be started, exceeds its limit or ends with another code than 0.
    pub fn run(self) -> Result<String> {
        let line = self.line.clone();
        let done = self.output()?;
        if done.status.success() {
            return Ok(done.stdout);
        }
        Err(fail(format!(
            "`{line}` ended with {}:\n{}{}",
            done.status,
            tail(&done.stdout),
            tail(&done.stderr)
        )))
    }

    /// Whether it ran to a successful end.
    #[must_use]
    pub fn succeeds(self) -> bool {
        self.output().is_ok_and(|done| done.status.success())
    }

    /// Starts it in the background with its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn background(mut self, log: &Path) -> Result<Background> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .context(log.display())?;
        self.inner.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = self.start()?;
        let pid = Pid::of(i32::try_from(child.id()).context("pid")?)?;
        Ok(Background {
            child,
            pid,
            line: self.line,
            kept: false,
        })
    }

    /// Own process group, so that the terminal's Ctrl-C reaches only the program that runs the lab.
    fn start(&mut self) -> Result<Child> {
        self.inner.process_group(0);
        self.inner.spawn().context(format!("cannot start `{}`", self.line))
    }
}

/// A command that runs in the background; dropping it kills it.
#[derive(Debug)]
pub struct Background {
    child: Child,
    /// Its identity.
    pub pid: Pid,
    line: String,
    kept: bool,
}

impl Background {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit` (it is killed then) or ends with another code than 0.
    pub fn finish(mut self, limit: Duration) -> Result<()> {
        match wait_limited(&mut self.child, limit)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(fail(format!("`{}` ended with {status}", self.line))),
            None => Err(fail(format!(
                "`{}` did not end within {limit:?} and was killed",
                self.line
            ))),
        }
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context(&self.line)
    }

    /// Lets it run on; the lab's teardown ends it.
    pub fn leave(mut self) {
        self.kept = true;
    }

    /// Kills it with SIGKILL and waits.
    pub fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_group(&mut self.child);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.kept {
            self.kill();
        }
    }
}

/// Waits with short sleeps first; `None` after the limit, with the child killed.
fn wait_limited(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            kill_group(child);
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills a child and what it started in its group. One stuck in the kernel is not waited for: the lab's teardown
/// finds it again by its environment.
fn kill_group(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // Fails only when the group is gone already.
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
    }
    let end = Instant::now() + Duration::from_secs(5);
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file without a name.
fn scratch_file() -> Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!(
        "ringluster-out-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .context(path.display())?;
    std::fs::remove_file(&path).context(path.display())?;
    Ok(file)
}

fn read_back(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The end of a long text: where the reason of a failure stands.
#[must_use]
pub fn tail(text: &str) -> &str {
    const KEEP: usize = 3000;
    let mut from = text.len().saturating_sub(KEEP);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Asks `condition` until it gives a value.
///
/// # Errors
/// The last error of `condition`, or `what` when it said "not yet" until `limit` was over.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    let mut last = String::new();
    loop {
        match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => last.clear(),
            Err(error) => last = format!(" ({error})"),
        }
        if Instant::now() >= end {
            return Err(fail(format!("{what}: not within {limit:?}{last}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_code_and_limit() {
        let done = Cmd::new("sh")
            .args(["-c", "echo out; echo err >&2; exit 3"])
            .output()
            .unwrap();
        assert_eq!(
            (done.code(), done.stdout.as_str(), done.stderr.as_str()),
            (3, "out\n", "err\n")
        );
        assert!(
            Cmd::new("sleep")
                .arg("5")
                .limit(Duration::from_millis(50))
                .run()
                .is_err()
        );
        assert_eq!(Cmd::new("cat").stdin("fed").run().unwrap(), "fed");
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_the_caller() {
        let begin = Instant::now();
        let pid = Cmd::new("sh").args(["-c", "sleep 30 & echo $!"]).run().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10));
        Pid::of(pid.trim().parse().unwrap())
            .unwrap()
            .signal(nix::sys::signal::Signal::SIGKILL)
            .unwrap();
    }
}
