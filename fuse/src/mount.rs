//! Making the mount: mount(2), the transport's handshake, the proof that it answers, and taking it away again.
//!
//! The kernel mount is made last, when the volume already answers, and removed by [`Mounted`]'s drop: however a start
//! fails, no mounted directory stays behind.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use datapath::sys;

use crate::transport::{Intake, Notify, TransportConfig, fuser_dev};

/// The file system type in /proc/mounts.
pub const FS_TYPE: &str = "fuse.glusterfs";

/// How long a new mount may take to answer for its root. Longer than a client's wait for its bricks at start-up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Read-ahead of the mount, KiB: with the kernel's default of 128 a sequential reader waits for every request.
const READ_AHEAD_KIB: u32 = 1024;

/// What to mount where.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// The mount point: an existing directory.
    pub target: PathBuf,
    /// The "device" shown by mount and df: `HOST:/VOLUME`.
    pub source: String,
    /// `MS_*` flags.
    pub flags: u64,
    /// Further options for the kernel, comma separated; usually empty.
    pub extra: String,
}

/// Why a mount could not be made; the text is complete and names the mount point.
#[derive(Debug)]
pub struct MountError(String);

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MountError {}

/// Checks what can be checked before any server is asked: the mount point, the privilege, the device.
pub fn check(target: &Path) -> Result<(), MountError> {
    let shown = target.display();
    if !sys::process::is_root() {
        return Err(MountError("mounting needs root".to_owned()));
    }
    match std::fs::metadata(target) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(MountError(format!("mount point {shown} is not a directory"))),
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => {
            return Err(MountError(format!(
                "mount point {shown} is the mount of a client that has ended; unmount it first (umount {shown})"
            )));
        }
        Err(e) => return Err(MountError(format!("mount point {shown}: {}", errno_text(&e)))),
    }
    if is_mounted(target) {
        return Err(MountError(format!("a GlusterFS volume is already mounted on {shown}")));
    }
    match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(e) => Err(MountError(format!(
            "/dev/fuse: {} (is the fuse kernel module loaded?)",
            errno_text(&e)
        ))),
    }
}

/// The system's text without the number that std appends.
fn errno_text(e: &io::Error) -> String {
    datapath::errno::Errno(e.raw_os_error().unwrap_or(libc::EIO)).to_string()
}

/// Whether /proc/mounts has a GlusterFS mount on exactly this directory.
pub fn is_mounted(target: &Path) -> bool {
    let target = real_path(target);
    let table = std::fs::read("/proc/mounts").unwrap_or_default();
    mount_points(&table).any(|(fs_type, path)| fs_type == FS_TYPE.as_bytes() && path == target)
}

/// Takes away a mount whose client has ended: its root answers "Transport endpoint is not connected" to everybody, and
/// only unmounting it helps. Whether there was one.
///
/// # Errors
/// It is there and cannot be unmounted.
pub fn clear_dead(target: &Path) -> io::Result<bool> {
    let mut cleared = false;
    // They may be stacked; each round takes one away.
    while std::fs::metadata(target).is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN)) && is_mounted(target) {
        sys::mount::unmount(target, true)?;
        cleared = true;
    }
    Ok(cleared)
}

/// The path without symbolic links. Of a dead mount nothing can be asked but its name in its parent.
fn real_path(target: &Path) -> PathBuf {
    let by_parent = || {
        let absolute = std::path::absolute(target).ok()?;
        let parent = std::fs::canonicalize(absolute.parent()?).ok()?;
        Some(parent.join(absolute.file_name()?))
    };
    let real = std::fs::canonicalize(target).ok().or_else(by_parent);
    real.unwrap_or_else(|| target.to_owned())
}

/// File system type and mount point of each line of a mount table.
fn mount_points(table: &[u8]) -> impl Iterator<Item = (&[u8], PathBuf)> {
    table.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b' ').skip(1);
        let path = fields.next()?;
        Some((
            fields.next()?,
            PathBuf::from(std::ffi::OsString::from_vec(unescape(path))),
        ))
    })
}

/// Undoes the table's `\040` for blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        match octal {
            Some(byte) if first == b'\\' => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// A mount that is being served. Dropping it unmounts.
pub struct Mounted {
    target: PathBuf,
    notifier: Arc<dyn Notify>,
    serving: Option<JoinHandle<io::Result<()>>>,
    ended: mpsc::Receiver<()>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Removes a kernel mount unless told to keep it.
struct Undo<'a>(Option<&'a Path>);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(target) = self.0
            && let Err(e) = sys::mount::unmount(target, true)
        {
            tracing::warn!("removing the mount on {}: {e}", target.display());
        }
    }
}

impl Mounted {
    /// Mounts, shakes hands with the kernel, starts serving, and waits until the root directory has answered.
    /// `on_end` runs on the serving thread when the mount is gone.
    pub fn new(
        spec: &MountSpec,
        config: TransportConfig,
        intake: Arc<dyn Intake>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Mounted, MountError> {
        let shown = spec.target.display();
        let failed = |what: &str, e: &io::Error| MountError(format!("{what} {shown}: {}", errno_text(e)));
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = OwnedFd::from(device.map_err(|e| MountError(format!("/dev/fuse: {}", errno_text(&e))))?);
        let data = kernel_options(device.as_raw_fd(), &config, &spec.extra);
        sys::mount::mount(&spec.source, &spec.target, FS_TYPE, spec.flags, &data)
            .map_err(|e| failed("mounting on", &e))?;
        let mut undo = Undo(Some(&spec.target));
        let session = fuser_dev::start(device, config, intake).map_err(|e| failed("FUSE handshake for", &e))?;
        let notifier = session.notifier();
        let (ended_tx, ended) = mpsc::channel();
        let serving = std::thread::Builder::new()
            .name("fuse-session".to_owned())
            .spawn(move || {
                let result = session.serve();
                on_end();
                // Nobody may be waiting for it any more.
                ended_tx.send(()).ok();
                result
            });
        let serving = serving.map_err(|e| failed("starting to serve", &e))?;
        undo.0 = None;
        let mounted = Mounted {
            target: spec.target.clone(),
            notifier,
            serving: Some(serving),
            ended,
        };
        mounted.wait_for_root()?;
        Ok(mounted)
    }

    /// Looks at the mount's root like any user would, on a thread that can be left behind if it never answers.
    fn wait_for_root(&self) -> Result<(), MountError> {
        let (tx, rx) = mpsc::channel();
        let target = self.target.clone();
        let asking = std::thread::Builder::new().name("fuse-root".to_owned()).spawn(move || {
            tx.send(std::fs::metadata(&target).map(|meta| meta.dev())).ok();
        });
        let shown = self.target.display();
        asking.map_err(|e| MountError(format!("{shown}: {e}")))?;
        match rx.recv_timeout(ANSWER_TIMEOUT) {
            Ok(Ok(dev)) => {
                set_read_ahead(dev);
                Ok(())
            }
            Ok(Err(e)) => Err(MountError(format!(
                "{shown} is mounted but its root answers: {}",
                errno_text(&e)
            ))),
            Err(_) => Err(MountError(format!(
                "{shown} did not answer within {} s",
                ANSWER_TIMEOUT.as_secs()
            ))),
        }
    }

    /// The way to invalidate kernel caches.
    pub fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier)
    }

    /// Waits at most `timeout` for the mount to end (by umount from outside, or [`Mounted::unmount`]).
    pub fn ended(&self, timeout: Duration) -> bool {
        !matches!(self.ended.recv_timeout(timeout), Err(mpsc::RecvTimeoutError::Timeout))
    }

    /// Waits for the end of the mount.
    pub fn wait(mut self) -> io::Result<()> {
        match self.serving.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the serving thread panicked")),
            None => Ok(()),
        }
    }

    /// Takes the mount away: at once if nobody uses it, else it disappears from the tree and its last users keep it
    /// until they close their files or this process ends.
    pub fn unmount(&self) -> io::Result<()> {
        unmount(&self.target)
    }
}

/// See [`Mounted::unmount`].
pub fn unmount(target: &Path) -> io::Result<()> {
    match sys::mount::unmount(target, false) {
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => sys::mount::unmount(target, true),
        other => other,
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let Some(serving) = &self.serving else { return };
        if !serving.is_finished()
            && let Err(e) = self.unmount()
        {
            tracing::warn!("unmounting {}: {e}", self.target.display());
        }
    }
}

/// The options of mount(2) for FUSE.
fn kernel_options(fd: i32, config: &TransportConfig, extra: &str) -> String {
    let mut options = format!(
        "fd={fd},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read={}",
        config.max_write
    );
    if !extra.is_empty() {
        options.push(',');
        options.push_str(extra);
    }
    options
}

/// Raises the mount's read-ahead to what one request can carry. A system that does not let us reads more slowly.
fn set_read_ahead(dev: u64) {
    let path = format!("/sys/class/bdi/{}:{}/read_ahead_kb", libc::major(dev), libc::minor(dev));
    if let Err(e) = std::fs::write(&path, READ_AHEAD_KIB.to_string()) {
        tracing::info!("{path} stays as it is: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_with_blanks_in_them() {
        let table = b"proc /proc proc rw 0 0\nh:/v /mnt/a\\040b fuse.glusterfs rw 0 0\n";
        let found: Vec<_> = mount_points(table).collect();
        assert_eq!(found[1], (FS_TYPE.as_bytes(), PathBuf::from("/mnt/a b")));
        assert_eq!(unescape(b"a\\134b\\0"), b"a\\b\\0");
        assert!(!is_mounted(Path::new("/proc")), "another file system");
    }

    #[test]
    fn a_bad_mount_point_is_named() {
        if !sys::process::is_root() {
            assert_eq!(
                check(Path::new("/nonexistent")).unwrap_err().to_string(),
                "mounting needs root"
            );
            return;
        }
        let missing = check(Path::new("/nonexistent/mnt")).unwrap_err().to_string();
        assert_eq!(missing, "mount point /nonexistent/mnt: No such file or directory");
        let file = check(Path::new("/etc/hostname")).unwrap_err().to_string();
        assert_eq!(file, "mount point /etc/hostname is not a directory");
    }

    #[test]
    fn kernel_options_are_those_of_glusterfs() {
        let config = TransportConfig {
            max_write: 131_072,
            ..TransportConfig::default()
        };
        assert_eq!(
            kernel_options(5, &config, "context=x"),
            "fd=5,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=131072,context=x"
        );
    }
}
