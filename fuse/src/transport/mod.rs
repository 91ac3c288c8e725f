//! The seam between the kernel and the rest of the client.
//!
//! A transport takes requests from the kernel on its own threads, turns them into [`Request`]s, gives them to an
//! [`Intake`] and sends the answers back. It knows nothing of volumes, gfids or cores. There is one implementation,
//! [`fuser_dev`], over `/dev/fuse`; a second one over io_uring fits the same three traits.

pub mod buffers;
pub mod fuser_dev;

use std::io;
use std::sync::Arc;

use crate::request::Request;

/// Where a transport delivers requests. Called from the transport's threads; may make the caller wait when the cores
/// are behind (which is the back-pressure on the kernel), but never for a request to be finished.
pub trait Intake: Send + Sync + 'static {
    /// Takes one request.
    fn deliver(&self, request: Request);
}

/// Tells the kernel that something it cached is out of date. May be used from any thread, except that it must not be
/// called on behalf of a request that holds the same inode's lock in the kernel.
pub trait Notify: Send + Sync {
    /// Drops cached attributes and the cached data of `len` bytes from `offset` (0 = all that follows).
    fn inval_inode(&self, node: u64, offset: i64, len: i64) -> io::Result<()>;

    /// Drops a cached name.
    fn inval_entry(&self, parent: u64, name: &[u8]) -> io::Result<()>;
}

/// A mounted file system's transport, ready to serve.
pub trait Session: Send {
    /// Serves until the file system is unmounted; returns an error when the kernel connection broke otherwise.
    fn serve(self: Box<Self>) -> io::Result<()>;

    /// The way to invalidate kernel caches.
    fn notifier(&self) -> Arc<dyn Notify>;
}

/// How the kernel connection is set up.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Threads reading requests (`reader-thread-count`), 1..=64.
    pub threads: usize,
    /// Largest write (and read) in one request, bytes; the kernel may allow less.
    pub max_write: u32,
    /// Requests the kernel keeps in flight on its own account (`background-qlen`).
    pub max_background: u16,
    /// Background requests at which the kernel sees congestion; `None` = 3/4 of the former.
    pub congestion_threshold: Option<u16>,
    /// READDIRPLUS (`use-readdirp`).
    pub readdirplus: bool,
    /// Drop cached pages when size or mtime changed (`auto-invalidation`).
    pub auto_invalidate: bool,
    /// Buffer writes in the kernel (`kernel-writeback-cache`).
    pub writeback_cache: bool,
    /// Granularity of times in nanoseconds (`attr-times-granularity`); 0 = 1 ns.
    pub time_granularity_ns: u32,
    /// The kernel checks POSIX ACLs (`acl`).
    pub posix_acl: bool,
}

impl Default for TransportConfig {
    fn default() -> TransportConfig {
        TransportConfig {
            threads: 2,
            max_write: 1 << 20,
            max_background: 64,
            congestion_threshold: None,
            readdirplus: true,
            auto_invalidate: true,
            writeback_cache: false,
            time_granularity_ns: 0,
            posix_acl: false,
        }
    }
}
