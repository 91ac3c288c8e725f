//! The executor on the kernel's ring.

mod files;
mod fuse;
mod net;
mod tasks;
mod threads;

use std::future::Future;

use super::{CoreConfig, uring_core};

/// Runs a test on a small core of its own.
pub(super) fn core<F: Future>(make: impl FnOnce() -> F) -> F::Output {
    uring_core(
        CoreConfig {
            entries: 64,
            pin_cpu: None,
            buffer_bytes: 1 << 20,
        },
        make,
    )
    .unwrap()
}
