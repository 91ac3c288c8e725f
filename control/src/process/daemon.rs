//! The frame of a daemon process: command line, log, fork, pid file, runtime, exit status.
//!
//! The order is the management daemon's contract (wire-protocol.md 6.2): the starting process waits until the daemon
//! reports success or the number of its failure.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use datapath::sys::process::{self, PidFile, StatusPipe};

use super::args::{self, Args, Request};
use super::log::Log;
use crate::rt;

/// How long a predecessor that is ending may still hold the pid file.
const PID_FILE_PATIENCE: Duration = Duration::from_secs(3);
/// Descriptors wanted: open files of all clients, and their connections.
const OPEN_FILES: u64 = 1 << 20;

/// What the daemon's own part gets.
#[derive(Debug)]
pub struct Frame {
    /// The command line.
    pub args: Args,
    /// The log, installed.
    pub log: Log,
    /// To be told when the daemon serves.
    pub status: StatusPipe,
}

/// Why a daemon could not do its work: the text for its log and its starter, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One line.
    pub message: String,
    /// 1 to 255; 98 (EADDRINUSE) makes the management daemon try another port.
    pub status: i32,
}

impl Failure {
    /// A failure with status 1.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            status: 1,
        }
    }

    /// A failure with the error's number as status.
    pub fn with_status(message: impl Into<String>, status: i32) -> Failure {
        Failure {
            message: message.into(),
            status,
        }
    }
}

/// Runs a daemon named `name` (for its messages) and returns the process's exit code.
pub fn main<Fut: Future<Output = Result<i32, (Failure, Option<StatusPipe>)>>>(
    name: &str,
    words: &[String],
    check: impl FnOnce(&Args) -> Result<(), String>,
    run: impl FnOnce(Frame) -> Fut,
) -> i32 {
    let args = match args::parse(words) {
        Ok(Request::Run(args)) => *args,
        Ok(Request::Print(text)) => {
            print!("{text}");
            return 0;
        }
        Err(message) => return complain(name, &message),
    };
    if let Err(message) = check(&args) {
        return complain(name, &message);
    }
    if !process::is_root() {
        return complain(name, "must be run as root");
    }
    let (log, status) = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(message) => return complain(name, &message),
    };
    let pid_file = match args.pid_file.as_deref().map(lock_pid_file).transpose() {
        Ok(pid_file) => pid_file,
        Err(message) => return fail(name, &Failure::new(message), Some(status)),
    };
    tracing::info!("{name} {} started: {}", env!("CARGO_PKG_VERSION"), words.join(" "));
    let code = match rt::block_on(run(Frame { args, log, status })) {
        Ok(Ok(code)) => code,
        Ok(Err((failure, status))) => fail(name, &failure, status),
        Err(e) => fail(
            name,
            &Failure::new(format!("the control runtime cannot be started: {e}")),
            None,
        ),
    };
    // The management daemon deletes the file too when it has asked for the end.
    if let Some(Err(e)) = pid_file.map(PidFile::remove)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("the pid file cannot be removed: {e}");
    }
    tracing::info!("{name} ended with status {code}");
    code
}

fn complain(name: &str, message: &str) -> i32 {
    eprintln!("{name}: {message}");
    1
}

/// Log, then fork, then what a child does not inherit or should not have inherited.
fn prepare(args: &Args) -> Result<(Log, StatusPipe), String> {
    let log = Log::new(args.log_file.as_deref(), args.log_level).map_err(|e| {
        format!(
            "the log file {} cannot be opened: {e}",
            args.log_file.as_deref().unwrap_or(Path::new("-")).display()
        )
    })?;
    log.install()?;
    let status = match args.foreground {
        true => StatusPipe::foreground(),
        false => process::daemonize().map_err(|e| format!("the process cannot become a daemon: {e}"))?,
    };
    process::unblock_all_signals().map_err(|e| format!("signals cannot be unblocked: {e}"))?;
    // SIGHUP too: a rotation of the logs during the start must not end the process, which hears it once it serves.
    for signal in [libc::SIGPIPE, libc::SIGHUP] {
        process::ignore_signal(signal).map_err(|e| format!("signal {signal} cannot be ignored: {e}"))?;
    }
    match process::raise_open_files(OPEN_FILES) {
        Ok(limit) => tracing::debug!("{limit} open files are possible"),
        Err(e) => tracing::warn!("the limit of open files cannot be raised: {e}"),
    }
    Ok((log, status))
}

fn lock_pid_file(path: &Path) -> Result<PidFile, String> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| format!("{} cannot be made: {e}", directory.display()))?;
    }
    let start = Instant::now();
    loop {
        match PidFile::lock(path) {
            Ok(file) => return Ok(file),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if start.elapsed() > PID_FILE_PATIENCE {
                    return Err(format!("another process holds the pid file {}", path.display()));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(e) => return Err(format!("the pid file {} cannot be written: {e}", path.display())),
        }
    }
}

/// Says why to the log and to whoever waits, and returns the exit code.
fn fail(name: &str, failure: &Failure, status: Option<StatusPipe>) -> i32 {
    tracing::error!("{}", failure.message);
    if let Some(status) = status {
        complain(name, &failure.message);
        if let Err(e) = status.report(failure.status) {
            tracing::warn!("the starting process cannot be told: {e}");
        }
    }
    failure.status
}
