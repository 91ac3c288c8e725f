//! FUSE over io_uring on a core's own ring: the core that takes a request from the kernel also finishes it.
//!
//! The connection is set up on /dev/fuse (INIT by read and write, with `FUSE_OVER_IO_URING`); then entries are
//! registered for every possible CPU, or the kernel does not use the rings. FORGET, INTERRUPT and notifications stay on
//! /dev/fuse. Decoding and answering requests is the FUSE client's business, not this file's.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::driver::{Completion, Op, Payload};
use super::op::submit;
pub use crate::uring::FuseEntry;

/// Offers an entry to the kernel and waits for its first request.
///
/// Dropping the future withdraws the entry.
///
/// # Errors
/// `EINVAL` for a payload buffer that is too small or an unknown queue, `EOPNOTSUPP` when the kernel's parameter
/// fuse.enable_uring is off, `ENOTCONN` after unmounting, `EAGAIN` while the connection is being set up. The entry comes
/// back unless the driver is no ring.
pub async fn register(fd: &Arc<OwnedFd>, entry: FuseEntry) -> (io::Result<()>, Option<FuseEntry>) {
    unpack(
        submit(Op::FuseRegister {
            fd: Arc::clone(fd),
            entry,
        })
        .await,
    )
}

/// Gives the reply that `entry` holds ([`FuseEntry::set_reply`]) and waits for the next request.
///
/// # Errors
/// `EBUSY` while bytes lent from the entry are in use (nothing has happened then), `EINVAL` if it holds no request,
/// `ENOTCONN` after unmounting.
pub async fn commit(fd: &Arc<OwnedFd>, entry: FuseEntry) -> (io::Result<()>, Option<FuseEntry>) {
    if entry.is_lent() || !entry.has_request() {
        let errno = if entry.is_lent() { libc::EBUSY } else { libc::EINVAL };
        return (Err(io::Error::from_raw_os_error(errno)), Some(entry));
    }
    unpack(
        submit(Op::FuseCommit {
            fd: Arc::clone(fd),
            entry,
        })
        .await,
    )
}

fn unpack(completion: Completion) -> (io::Result<()>, Option<FuseEntry>) {
    let entry = match completion.payload {
        Payload::Fuse(entry) => Some(entry),
        Payload::None | Payload::Buf(_) | Payload::Connected(_) => None,
    };
    (completion.result.map(drop), entry)
}
