//! Starting one process and recognising one that runs (wire-protocol.md 6.2).

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use datapath::sys::process;

use super::{ProcessEvent, ProcessSpec};
use crate::process::notify::SOCKET_VARIABLE;
use crate::rt;

/// How often a start is repeated with another port because the first was taken.
const PORT_TRIES: usize = 20;
/// How long the starting process may take until it has become a daemon.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Exit status of a process whose port is in use.
const ADDRESS_IN_USE: i32 = libc::EADDRINUSE;

/// The pid of the process if it runs: the one in its pid file, provided that this pid was started with this pid file
/// (the number may have been given to somebody else since).
pub(super) fn running(spec: &ProcessSpec) -> Option<i32> {
    let pid = process::running_pid(&spec.pid_file)?;
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let pid_file = spec.pid_file.as_os_str().as_encoded_bytes();
    command_line
        .split(|b| *b == 0)
        .any(|argument| argument == pid_file)
        .then_some(pid)
}

/// Starts the process and waits until it has become a daemon. Answers its pid.
///
/// # Errors
/// Why it did not start.
pub(super) async fn start(spec: &ProcessSpec) -> Result<i32, String> {
    for file in [&spec.pid_file, &spec.socket] {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        }
    }
    remove_stale(&spec.socket)?;
    for _ in 0..PORT_TRIES {
        let port = spec.pick_port.as_ref().map_or(Ok(0), |pick| pick())?;
        match run(spec, port).await? {
            Some(0) => {
                (spec.events)(ProcessEvent::Started(port));
                let missing = || format!("it left no pid in {}", spec.pid_file.display());
                return running(spec).ok_or_else(missing);
            }
            Some(ADDRESS_IN_USE) if spec.pick_port.is_some() => {
                tracing::info!("{}: port {port} is in use, trying another", spec.label);
            }
            Some(code) => return Err(format!("{} ended with exit status {code}", spec.program.display())),
            None => return Err(format!("{} was killed by a signal", spec.program.display())),
        }
    }
    Err(format!("{PORT_TRIES} ports in a row were in use"))
}

fn remove_stale(socket: &Path) -> Result<(), String> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", socket.display())),
        _ => Ok(()),
    }
}

/// Runs the executable until it exits, which a daemon's first process does when the daemon is up or has failed.
async fn run(spec: &ProcessSpec, port: u16) -> Result<Option<i32>, String> {
    let arguments = (spec.arguments)(port);
    tracing::info!(
        "starting {}: {} {}",
        spec.label,
        spec.program.display(),
        arguments.join(" ")
    );
    let mut command = Command::new(&spec.program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // It is not this process that the service manager waits for.
        .env_remove(SOCKET_VARIABLE)
        .process_group(0);
    let describe = |e: std::io::Error| format!("{}: {e}", spec.program.display());
    let mut child = rt::Child::spawn(command).map_err(describe)?;
    match rt::timeout(START_LIMIT, child.wait()).await {
        Ok(status) => Ok(status.map_err(describe)?.code()),
        Err(_) => Err(format!(
            "{} did not become a daemon in {} s",
            spec.program.display(),
            START_LIMIT.as_secs()
        )),
    }
}

/// The executable of that name beside the running one, else on the PATH.
pub(super) fn find_program(name: &str) -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(name)));
    match beside {
        Some(path) if path.is_file() => path,
        _ => PathBuf::from(name),
    }
}
