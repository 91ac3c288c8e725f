//! Processes: becoming a daemon, pid files, signals, limits.
//!
//! Policy (which signals, which files, what to say) belongs to the control crate; nothing here logs.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The daemon's end of the pipe its original parent waits on (wire-protocol.md 6.2, steps 3 to 5).
#[derive(Debug)]
pub struct StatusPipe {
    pipe: Option<File>,
}

impl StatusPipe {
    /// For a process that stays in the foreground: nobody waits.
    pub fn foreground() -> StatusPipe {
        StatusPipe { pipe: None }
    }

    /// Lets the waiting parent exit with `status`. On success (0) standard input, output and error are turned to
    /// /dev/null; with an error they stay, so that the last words reach whoever started the daemon.
    pub fn report(mut self, status: i32) -> io::Result<()> {
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };
        if status == 0 {
            redirect_to_null()?;
        }
        pipe.write_all(&status.to_ne_bytes())
    }
}

fn redirect_to_null() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: dup2 takes two descriptor numbers and touches no memory; `null` is open.
        check(unsafe { libc::dup2(null.as_raw_fd(), standard) })?;
    }
    Ok(())
}

/// Makes this process a daemon in a session of its own, by a double fork. The original process does not return from
/// here: it waits for [`StatusPipe::report`] and exits with the absolute value of that status, low 8 bits; with 1 if
/// the daemon ends without a report.
///
/// # Errors
/// The pipe or a fork failed, or the process has more than one thread (the others would be missing in the child).
pub fn daemonize() -> io::Result<StatusPipe> {
    if thread_count()? > 1 {
        return Err(io::Error::other("a process with threads cannot become a daemon"));
    }
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptor numbers into an array of two.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: pipe2 has just returned these two descriptors; nobody else owns them.
    let (reader, writer) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the process has one thread (checked above), so the child may use everything.
    let child = check(unsafe { libc::fork() })?;
    if child > 0 {
        drop(writer);
        let status = parent_status(File::from(reader), child);
        // SAFETY: _exit ends the process without running the exit handlers, which belong to the child now.
        unsafe { libc::_exit(status) }
    }
    drop(reader);
    // SAFETY: setsid has no arguments; umask and fork neither touch memory of ours.
    unsafe {
        check(libc::setsid())?;
        libc::umask(0o022);
        if check(libc::fork())? > 0 {
            libc::_exit(0);
        }
    }
    std::env::set_current_dir("/")?;
    Ok(StatusPipe {
        pipe: Some(File::from(writer)),
    })
}

fn parent_status(mut pipe: File, child: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: waitpid writes one int through the pointer given. The intermediate child exits at once.
    unsafe { libc::waitpid(child, &mut status, 0) };
    let mut word = [0; 4];
    match pipe.read_exact(&mut word) {
        Ok(()) => i32::from_ne_bytes(word).wrapping_abs() & 255,
        Err(_) => 1,
    }
}

fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// A pid file that this process holds locked. Dropping it releases the lock and leaves the file. The kernel also gives
/// the lock up when this process opens and closes the file by any other way, so leave it alone.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    path: PathBuf,
}

impl PidFile {
    /// Opens or creates the file, locks it (`lockf`) and writes `PID\n` into it. Call it in the process that keeps
    /// running: the lock is not inherited by a fork.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock; whatever the file system says otherwise.
    pub fn lock(path: &Path) -> io::Result<PidFile> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_CLOEXEC);
        let file = options.open(path)?;
        // SAFETY: lockf takes a descriptor and numbers.
        if unsafe { libc::lockf(file.as_raw_fd(), libc::F_TLOCK, 0) } != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EACCES) => io::ErrorKind::WouldBlock.into(),
                _ => error,
            });
        }
        let mut pid_file = PidFile {
            file,
            path: path.to_owned(),
        };
        pid_file.write()?;
        Ok(pid_file)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        writeln!(self.file, "{}", std::process::id())
    }

    /// Deletes the file and releases the lock.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The pid in a pid file, if that process is running. A file that is missing, empty or names a process that has gone
/// gives `None`.
pub fn running_pid(path: &Path) -> Option<i32> {
    let pid = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    is_running(pid).then_some(pid)
}

/// Whether a process with this id exists and is not a zombie.
pub fn is_running(pid: i32) -> bool {
    if pid <= 0 {
        return false;
    }
    // The state letter follows the command in parentheses, which may itself contain any character.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit(") ").next().map(|rest| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// Sends `signal` (0 only checks) to one process.
///
/// # Errors
/// `InvalidInput` for pids of 0 and below, which would address groups of processes.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill takes numbers only.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Ignores `signal` in this process (SIGPIPE: a broken connection is an error number, not a death).
pub fn ignore_signal(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid disposition and no handler of ours is involved.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn signal_set(signals: &[i32]) -> io::Result<libc::sigset_t> {
    // SAFETY: sigset_t is plain data; sigemptyset makes it valid before it is used.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives the calls, which only write to it.
    check(unsafe { libc::sigemptyset(&mut set) })?;
    for &signal in signals {
        // SAFETY: as above; an invalid number is an error.
        check(unsafe { libc::sigaddset(&mut set, signal) })?;
    }
    Ok(set)
}

/// Blocks `signals` in the calling thread and the threads it starts: for data-path cores, so that signals go to the
/// control thread.
pub fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals)?;
    // SAFETY: `set` is valid and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        n => Err(io::Error::from_raw_os_error(n)),
    }
}

/// Waits until one of `signals`, which must be blocked in every thread (see [`block_signals`]), arrives; returns it.
pub fn wait_signal(signals: &[i32]) -> io::Result<i32> {
    let set = signal_set(signals)?;
    let mut signal = 0;
    // SAFETY: `set` is valid and the signal number is written to an int that outlives the call.
    match unsafe { libc::sigwait(&set, &mut signal) } {
        0 => Ok(signal),
        n => Err(io::Error::from_raw_os_error(n)),
    }
}

/// Unblocks every signal in the calling thread (a daemon may inherit a mask from whoever started it).
pub fn unblock_all_signals() -> io::Result<()> {
    let set = signal_set(&[])?;
    // SAFETY: `set` is valid and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        n => Err(io::Error::from_raw_os_error(n)),
    }
}

/// Raises the limit of open files to `wanted`, or as far as the hard limit lets it; returns the limit reached.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit writes one rlimit through the pointer given.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    let raised = libc::rlimit {
        rlim_cur: wanted,
        rlim_max: limit.rlim_max.max(wanted),
    };
    // SAFETY: setrlimit reads one rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
        return Ok(wanted);
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Makes `target`'s descriptor refer to the file that `source` has open (dup3): a log file is exchanged under the
/// threads that write to it without a lock.
pub fn replace_open_file(target: &File, source: &File) -> io::Result<()> {
    // SAFETY: dup3 takes two open descriptors and a flag; both files are borrowed for the call.
    check(unsafe { libc::dup3(source.as_raw_fd(), target.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const LOCKED_FILE: &str = "RINGLUSTER_TEST_LOCKED_FILE";
    const REFUSED: i32 = 77;

    /// Runs as a process of its own for the test below; alone it has nothing to lock.
    #[test]
    fn second_locker() {
        if let Some(path) = std::env::var_os(LOCKED_FILE) {
            match PidFile::lock(Path::new(&path)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::process::exit(REFUSED),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_pid_file_is_locked_against_other_processes() {
        let path = std::env::temp_dir().join(format!("ringluster-pid-{}", std::process::id()));
        let held = PidFile::lock(&path).unwrap();
        // Locks of one process never conflict with each other: another process must try.
        let tried = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sys::process::tests::second_locker"])
            .env(LOCKED_FILE, &path)
            .status()
            .unwrap();
        assert_eq!(tried.code(), Some(REFUSED));
        // Only now: reading the file here gives the lock up.
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        assert_eq!(running_pid(&path), Some(std::process::id() as i32));
        held.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn running_means_running() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(is_running(pid));
        kill(pid, libc::SIGKILL).unwrap();
        // A zombie does not run any more, although kill(pid, 0) would still succeed.
        while is_running(pid) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(!is_running(-1) && !is_running(0));
        assert!(kill(0, 0).is_err());
    }
}
