//! The simulated driver: virtual time, an in-memory network and faults, all by seed.
//!
//! The same tasks that run on a ring run here, all machines of a test in one executor ([`crate::exec::host`]), and the
//! same seed gives the same run, event by event: [`Sim::trace_hash`] says so. Time stands still while tasks run and
//! jumps to the next event when all wait, so a minute of timeouts costs nothing.
//!
//! # The network
//! * Host *n* has the address 10.0.*n*/256.*n*%256 ([`ip_of`]); 127.0.0.1 and unix paths are the host itself.
//! * A stream is reliable and ordered like TCP: bytes arrive after the link's latency plus jitter, cut into segments at
//!   random places, at most [`SimConfig::window`] of them unread.
//! * A cut link holds what is under way and delivers it some time after it was healed, as retransmission would; a
//!   connection attempt is repeated after 1, 2, 4... seconds and gives up (`ETIMEDOUT`) after the seventh.
//! * More than one receive or one send at a time on a stream is refused (`EBUSY`): a mistake that a real socket would
//!   answer with mixed bytes.
//!
//! # What is real
//! Files: reads and writes act on real descriptors at once and complete a little later. `fsync` does nothing (no
//! simulated power failure loses page cache). [`crate::exec::file::poll`] is refused (`ENOSYS`).
//!
//! Nothing here may ask the real clock, a real random source or iterate over a hash map.

mod disk;
mod driver;
mod faults;
mod net;
mod rng;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

pub use self::driver::SimDriver;
pub use self::rng::Rng;
use self::world::World;
use crate::exec::host::HostId;

/// How a simulated world behaves.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// Each link's base latency is drawn from this range, in nanoseconds.
    pub latency_ns: (u64, u64),
    /// Added to each segment's latency: 0 to this many nanoseconds.
    pub jitter_ns: u64,
    /// How long a file operation takes, in nanoseconds.
    pub disk_ns: (u64, u64),
    /// Bytes that a stream takes before the other side reads them.
    pub window: usize,
    /// Bytes of the buffer arena.
    pub buffer_bytes: usize,
    /// Keep the trace as text too ([`Sim::log`]).
    pub keep_log: bool,
}

impl SimConfig {
    /// A quick local network: 50 to 300 us one way, 20 us jitter, 20 to 200 us per file operation, 256 KiB windows.
    pub fn new(seed: u64) -> SimConfig {
        SimConfig {
            seed,
            latency_ns: (50_000, 300_000),
            jitter_ns: 20_000,
            disk_ns: (20_000, 200_000),
            window: 256 << 10,
            buffer_bytes: 64 << 20,
            keep_log: false,
        }
    }
}

/// A handle on the simulated world, for the test that runs in it. Clones are the same world.
#[derive(Clone)]
pub struct Sim {
    world: Rc<RefCell<World>>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("trace_hash", &self.trace_hash())
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// A new world.
    pub fn new(config: SimConfig) -> Sim {
        Sim {
            world: Rc::new(RefCell::new(World::new(config))),
        }
    }

    /// The driver to give to [`crate::exec::run`].
    ///
    /// # Errors
    /// `ENOMEM` when the buffer arena cannot be mapped.
    pub fn driver(&self) -> std::io::Result<SimDriver> {
        SimDriver::new(Rc::clone(&self.world))
    }

    /// Hash over everything that happened so far: equal for equal runs, and (nearly surely) only for those.
    pub fn trace_hash(&self) -> u64 {
        self.world.borrow().trace.hash()
    }

    /// Number of things that happened so far.
    pub fn trace_count(&self) -> u64 {
        self.world.borrow().trace.count()
    }

    /// What happened, one line each, if [`SimConfig::keep_log`] was set.
    pub fn log(&self) -> Vec<String> {
        self.world.borrow().trace.log().to_vec()
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.world.borrow().now)
    }
}

/// Runs `make(sim)` in a new world until it is done; gives its output and the hash of the run.
///
/// # Errors
/// As [`Sim::driver`].
///
/// # Panics
/// When every task waits and nothing is left to happen.
pub fn run<F: Future>(config: SimConfig, make: impl FnOnce(Sim) -> F) -> std::io::Result<(F::Output, u64)> {
    let sim = Sim::new(config);
    let output = crate::exec::run(sim.driver()?, make(sim.clone()));
    Ok((output, sim.trace_hash()))
}

/// The address of a simulated host.
pub fn ip_of(host: HostId) -> IpAddr {
    let [high, low] = host.0.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

/// A socket of the simulated network. The last reference closes it.
#[derive(Debug)]
pub struct SimSocket {
    id: u64,
    /// Closing is left to the world's next step: a drop may come at any moment, even from inside the world.
    closing: Rc<RefCell<Vec<u64>>>,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.closing.borrow_mut().push(self.id);
    }
}
