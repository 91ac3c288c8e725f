//! The small `!Send` executor of a core: tasks, timers, mailboxes, network and file operations. Its only wait is the driver.
//!
//! One thread runs one core ([`run`]) with one [`Driver`](driver::Driver): the kernel's ring
//! ([`crate::uring::UringDriver`]) or a simulation ([`crate::sim::SimDriver`]). Everything else here is the same code
//! for both. The functions below act on the core of the calling thread and panic where there is none.
//!
//! # Invariants
//! * Nothing blocks but [`driver::Driver::wait`]; no mutex anywhere; other threads reach a core through wakers and
//!   [`mailbox`] only.
//! * A buffer given to an operation belongs to the driver until the operation's final completion ([`driver`]).
//!   Dropping a future cancels its operation and frees nothing early.
//! * Operations started in one turn are submitted together; a busy task cannot delay completions by more than a turn
//!   (see `core`).
//! * What a task does depends on its messages, its driver's clock, completions and random bytes only, so under the
//!   simulated driver the same seed gives the same run.
//!
//! What may not enter: protocol, files' meaning, policy. `unsafe` lives in `sys` and `uring`.

pub mod buf;
mod core;
pub mod driver;
pub mod file;
pub mod fuse;
pub mod host;
pub mod mailbox;
pub mod net;
mod op;
pub mod sync;
mod task;
#[cfg(test)]
mod tests;
mod time;
mod timer;

use std::future::Future;
use std::io;

pub use self::core::run;
pub use self::task::{Aborted, JoinHandle};
pub use self::time::{Mono, WallTime};
pub use self::timer::{Elapsed, Sleep, sleep, sleep_until, timeout, yield_now};

/// How to build a core on the kernel's ring.
#[derive(Clone, Copy, Debug)]
pub struct CoreConfig {
    /// Size of the submission queue, a power of two; more operations than that may be in flight.
    pub entries: u32,
    /// CPU to tie the thread to, if any.
    pub pin_cpu: Option<usize>,
    /// Bytes of the registered buffer arena. All of it is resident memory.
    pub buffer_bytes: usize,
}

impl Default for CoreConfig {
    /// 1024 entries, not pinned, 32 MiB of buffers.
    fn default() -> CoreConfig {
        CoreConfig {
            entries: 1024,
            pin_cpu: None,
            buffer_bytes: 32 << 20,
        }
    }
}

/// Turns the calling thread into a core on the kernel's ring, and runs `make()` there until it is done.
///
/// # Errors
/// When the ring, the arena or the pinning is refused; the reason is in the error.
pub fn uring_core<F: Future>(config: CoreConfig, make: impl FnOnce() -> F) -> io::Result<F::Output> {
    if let Some(cpu) = config.pin_cpu {
        crate::sys::thread::pin_to_cpu(cpu)
            .map_err(|error| io::Error::new(error.kind(), format!("pinning a core to CPU {cpu}: {error}")))?;
    }
    let driver = crate::uring::UringDriver::new(config.entries, config.buffer_bytes)?;
    Ok(run(driver, async { make().await }))
}

/// Starts a task on this core, on the host of the current task. It first runs after the caller has yielded.
pub fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
    core::with(|core| core.spawn(core.host(), future))
}

/// The monotonic clock.
pub fn now() -> Mono {
    core::with(core::Core::now)
}

/// The date.
pub fn wall_clock() -> WallTime {
    core::with(|core| core.with_driver(|driver| driver.wall_clock()))
}

/// Eight random bytes as a number.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Fills `bytes` with random ones.
pub fn fill_random(bytes: &mut [u8]) {
    core::with(|core| core.with_driver(|driver| driver.fill_random(bytes)));
}

/// Whether the calling thread is a core: only then may the functions of this module be used.
pub fn is_core() -> bool {
    core::try_with(|_| ()).is_some()
}

/// Number of tasks on this core that have not finished (without the one given to [`run`]).
pub fn task_count() -> usize {
    core::with(core::Core::task_count)
}
