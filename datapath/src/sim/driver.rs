//! [`Driver`] on the simulated world.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use crate::exec::driver::{Completion, Driver, Key, Op, Park, Socket, Unpark};
use crate::exec::host::HostId;
use crate::exec::net::{Addr, Shutdown, SocketOption};
use crate::exec::{Mono, WallTime};
use crate::sys::mem::{Arena, PAGE_BYTES};

/// Virtual time that a turn costs when tasks are ready: a task that spins sees time pass.
const TURN_NS: u64 = 1_000;
/// The date at the start: 2026-01-01 00:00:00 UTC.
const START_SEC: i64 = 1_767_225_600;
/// The monotonic clock at the start; not zero, so that "some time before" can be said.
const START_NS: u64 = 1_000_000_000_000;

/// Drives one executor in a simulated world.
pub struct SimDriver {
    world: Rc<RefCell<World>>,
    arena: Option<Arena>,
}

impl std::fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDriver").finish_non_exhaustive()
    }
}

/// A simulation has one thread: nobody else can wake it.
#[derive(Debug)]
struct NoUnpark;

impl Unpark for NoUnpark {
    fn unpark(&self) {}
}

fn simulated(socket: &Socket) -> io::Result<u64> {
    match socket {
        Socket::Sim(socket) => Ok(socket.id),
        Socket::Kernel(_) => Err(io::Error::other("a kernel socket in a simulation")),
    }
}

impl SimDriver {
    pub(super) fn new(world: Rc<RefCell<World>>) -> io::Result<SimDriver> {
        let arena = Arena::new(world.borrow().config.buffer_bytes.max(PAGE_BYTES))?;
        Ok(SimDriver {
            world,
            arena: Some(arena),
        })
    }
}

impl Driver for SimDriver {
    fn submit(&mut self, host: HostId, key: Key, op: Op) {
        let mut world = self.world.borrow_mut();
        world.close_dropped();
        match op {
            Op::Connect { addr } => world.connect(host, key, &addr),
            Op::Accept { socket } => world.accept(key, &socket),
            Op::Recv {
                socket,
                buf,
                at,
                len,
                all,
            } => world.receive(key, socket, buf, (at, len, all)),
            Op::Send { socket, bufs } => world.send(key, socket, bufs),
            op => world.file(host, key, op),
        }
    }

    fn cancel(&mut self, key: Key) {
        self.world.borrow_mut().cancel(key);
    }

    fn wait(&mut self, park: Park, done: &mut Vec<Completion>) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.close_dropped();
        let limit = match park {
            Park::Poll => world.now + TURN_NS,
            Park::Until(None) => u64::MAX,
            Park::Until(Some(deadline)) => deadline.0.saturating_sub(START_NS),
        };
        while world.done.is_empty() && world.step(limit) {}
        if world.done.is_empty() {
            if limit == u64::MAX {
                return Err(io::Error::other(
                    "every task waits and nothing is left to happen in the simulation",
                ));
            }
            world.now = world.now.max(limit);
        }
        done.append(&mut world.done);
        Ok(())
    }

    fn now(&self) -> Mono {
        Mono(START_NS + self.world.borrow().now)
    }

    fn wall_clock(&self) -> WallTime {
        let elapsed = Duration::from_nanos(self.world.borrow().now);
        let sec = START_SEC.saturating_add_unsigned(elapsed.as_secs());
        WallTime {
            sec,
            nsec: elapsed.subsec_nanos(),
        }
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        self.world.borrow_mut().task_rng.fill(bytes);
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(NoUnpark)
    }

    fn take_arena(&mut self) -> Option<Arena> {
        self.arena.take()
    }

    fn listen(&mut self, host: HostId, addr: &Addr) -> io::Result<(Socket, Addr)> {
        let mut world = self.world.borrow_mut();
        world.close_dropped();
        world.listen(host, addr)
    }

    fn abort(&mut self, socket: &Socket) {
        if let Ok(id) = simulated(socket) {
            self.world.borrow_mut().abort(id);
        }
    }

    fn shutdown(&mut self, socket: &Socket, how: Shutdown) -> io::Result<()> {
        self.world.borrow_mut().shutdown(simulated(socket)?, how)
    }

    fn set_option(&mut self, socket: &Socket, option: SocketOption) -> io::Result<()> {
        let id = simulated(socket)?;
        if let SocketOption::UserTimeout(time) = option
            && let Some(endpoint) = self.world.borrow_mut().endpoints.get_mut(&id)
        {
            let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            endpoint.user_timeout = (ns > 0).then_some(ns);
        }
        Ok(())
    }

    fn unacknowledged(&mut self, socket: &Socket) -> io::Result<Option<Duration>> {
        Ok(self.world.borrow().unacknowledged(simulated(socket)?))
    }
}
