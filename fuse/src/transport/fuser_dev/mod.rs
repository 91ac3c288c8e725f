//! The transport over `/dev/fuse`, by the fuser crate.
//!
//! fuser's event loops read requests; `callbacks` turns each into a [`crate::request::Request`] and returns at once;
//! answers are written to the device by the core that made them (`reply`), without going back through an event loop.
//!
//! Limits that come from fuser 0.18 (pinned, because some of them are worked around here):
//! * INTERRUPT is refused, so the kernel stops sending it: a process that waits for a lock cannot be interrupted or
//!   killed until the lock is granted or refused. GlusterFS 10 behaves the same.
//! * `flock` and `fcntl` locks arrive alike; like GlusterFS, a mount treats a flock as a lock on the whole file.
//! * An inode's node id must be its inode number; see [`crate::inode`].
//! * Whether a truncate must drop set-user-id bits is not passed on; [`crate::dispatch`] decides by the caller's uid.
//! * CREATE and READDIRPLUS answers carry one lifetime for name and attributes: the shorter one is used.

mod callbacks;
mod convert;
mod reply;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, INodeNo, KernelConfig, SessionACL};

use super::buffers::BufferPool;
use super::{Intake, Notify, Session, TransportConfig};

/// Unused write buffers kept for reuse.
const KEPT_BUFFERS: usize = 64;

/// The callback object given to fuser.
struct Device {
    intake: Arc<dyn Intake>,
    config: TransportConfig,
    buffers: BufferPool,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Takes a mounted `/dev/fuse` descriptor and completes the INIT handshake. The kernel has queued INIT when mount(2)
/// returned, so this does not wait.
pub fn start(fd: OwnedFd, config: TransportConfig, intake: Arc<dyn Intake>) -> io::Result<Box<dyn Session>> {
    let mut fuser_config = Config::default();
    fuser_config.n_threads = Some(config.threads.clamp(1, 64));
    fuser_config.clone_fd = true;
    let buffers = BufferPool::new(config.max_write as usize, KEPT_BUFFERS);
    let device = Device {
        intake,
        config,
        buffers,
    };
    // Who may use the mount is the kernel's business (allow_other, default_permissions), not fuser's.
    let session = fuser::Session::from_fd(device, fd, SessionACL::All, fuser_config)?;
    let notifier: Arc<dyn Notify> = Arc::new(Notifier(session.notifier()));
    Ok(Box::new(FuserSession { session, notifier }))
}

struct FuserSession {
    session: fuser::Session<Device>,
    notifier: Arc<dyn Notify>,
}

impl Session for FuserSession {
    fn serve(self: Box<Self>) -> io::Result<()> {
        self.session.run()
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier)
    }
}

struct Notifier(fuser::Notifier);

impl Notify for Notifier {
    fn inval_inode(&self, node: u64, offset: i64, len: i64) -> io::Result<()> {
        self.0.inval_inode(INodeNo(node), offset, len)
    }

    fn inval_entry(&self, parent: u64, name: &[u8]) -> io::Result<()> {
        self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name))
    }
}

/// Asks the kernel for what the client handles; what an older kernel lacks is done without, and said in the log.
fn negotiate(config: &TransportConfig, kernel: &mut KernelConfig) {
    for (flag, name) in convert::wanted_capabilities(config) {
        if kernel.add_capabilities(flag).is_err() {
            tracing::info!("the kernel has no FUSE capability {name}: going without");
        }
    }
    // Each setter answers an impossible value with the nearest possible one. Without FUSE_MAX_PAGES the kernel
    // falls back to 128 KiB requests by itself.
    let nearest = |what: &str, asked: u64, possible: u64| {
        tracing::info!("{what} {asked} is not possible with this kernel, using {possible}");
    };
    if let Err(most) = kernel.set_max_write(config.max_write) {
        nearest("largest write", config.max_write.into(), most.into());
        kernel.set_max_write(most).ok();
    }
    if let Err(most) = kernel.set_max_readahead(config.max_write) {
        // Usual: the kernel offers its default here. The mount raises it afterwards, see `crate::mount`.
        kernel.set_max_readahead(most).ok();
    }
    if let Err(least) = kernel.set_max_background(config.max_background) {
        nearest("background-qlen", config.max_background.into(), least.into());
        kernel.set_max_background(least).ok();
    }
    if let Some(threshold) = config.congestion_threshold
        && let Err(least) = kernel.set_congestion_threshold(threshold)
    {
        nearest("congestion-threshold", threshold.into(), least.into());
        kernel.set_congestion_threshold(least).ok();
    }
    let granularity = Duration::from_nanos(u64::from(config.time_granularity_ns.max(1)));
    if let Err(possible) = kernel.set_time_granularity(granularity) {
        tracing::warn!("attr-times-granularity {granularity:?} is not a power of ten, using {possible:?}");
        kernel.set_time_granularity(possible).ok();
    }
}
