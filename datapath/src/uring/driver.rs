//! [`Driver`] on the kernel: the in-flight slab and the wake-up of a sleeping core.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::{opcode, types};

use super::inflight::{InFlight, Next};
use super::ring::Ring;
use crate::exec::driver::{Completion, Driver, Key, Op, Park, Socket, Unpark};
use crate::exec::host::HostId;
use crate::exec::net::{Addr, Shutdown, SocketOption};
use crate::exec::{Mono, WallTime};
use crate::sys::event::EventFd;
use crate::sys::mem::{Arena, PAGE_BYTES};
use crate::sys::{clock, net as sys};

/// `user_data` of the read that waits for other threads.
const WAKE: u64 = u64::MAX;
/// `user_data` of cancellations, whose own results nobody needs.
const CANCEL: u64 = u64::MAX - 1;
/// How long a closing driver waits for the kernel to let go of the memory in flight.
const PATIENCE: Duration = Duration::from_secs(10);

impl Unpark for EventFd {
    fn unpark(&self) {
        self.signal();
    }
}

/// Work that found no room in the submission queue.
#[derive(Clone, Copy)]
enum Retry {
    Submit(u32),
    Cancel(u64),
    Wake,
}

/// One ring, for one thread.
pub struct UringDriver {
    ring: Ring,
    /// Index = [`Key::index`]. See the invariant of the module.
    slots: Vec<Option<Box<InFlight>>>,
    live: usize,
    retry: VecDeque<Retry>,
    /// Operations that failed before they reached the kernel.
    failed: Vec<Completion>,
    collected: Vec<(u64, i32)>,
    wake: Arc<EventFd>,
    /// Where the kernel puts the wake counter; owned by the ring while `wake_armed`.
    wake_count: Box<[u8; 8]>,
    wake_armed: bool,
    arena: Option<Arena>,
    random: RandomPool,
}

impl std::fmt::Debug for UringDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringDriver")
            .field("in_flight", &self.live)
            .finish_non_exhaustive()
    }
}

impl UringDriver {
    /// A ring with `entries` submission entries, on the calling thread, and a registered arena of `buffer_bytes`.
    ///
    /// # Errors
    /// `ENOSYS`/`EPERM` where io_uring is missing or forbidden, `ENOMEM`, `EMFILE`.
    pub fn new(entries: u32, buffer_bytes: usize) -> io::Result<UringDriver> {
        let mut ring = Ring::new(entries)?;
        let arena = Arena::new(buffer_bytes.max(PAGE_BYTES)).map_err(|error| {
            io::Error::new(error.kind(), format!("a buffer arena of {buffer_bytes} bytes: {error}"))
        })?;
        if let Err(error) = ring.register(arena.region()) {
            tracing::warn!(%error, buffer_bytes, "buffers are not registered with the ring; going on without");
        }
        let mut driver = UringDriver {
            ring,
            slots: Vec::new(),
            live: 0,
            retry: VecDeque::new(),
            failed: Vec::new(),
            collected: Vec::with_capacity(256),
            wake: Arc::new(EventFd::new()?),
            wake_count: Box::new([0; 8]),
            wake_armed: false,
            arena: Some(arena),
            random: RandomPool::default(),
        };
        driver.arm_wake();
        Ok(driver)
    }

    fn arm_wake(&mut self) {
        let fd = types::Fd(self.wake.as_fd().as_raw_fd());
        let entry = opcode::Read::new(fd, self.wake_count.as_mut_ptr(), 8)
            .build()
            .user_data(WAKE);
        // SAFETY: `wake_count` is a heap cell of the driver, touched by nobody while armed, and freed only after the
        // completion (`drop` leaks it otherwise). The eventfd is kept by the driver as well.
        self.wake_armed = unsafe { self.ring.push(&entry.into()) };
        if !self.wake_armed {
            self.retry.push_back(Retry::Wake);
        }
    }

    /// Queues (again) what slot `index` holds.
    fn push_slot(&mut self, index: u32) {
        let Some(Some(flight)) = self.slots.get_mut(index as usize) else {
            return;
        };
        let Some(entry) = flight.entry() else {
            let user_data = flight.user_data;
            let failed = self.fail_slot(index, user_data);
            return self.failed.extend(failed);
        };
        // SAFETY: all memory of the entry is owned by the slot (boxed or heap), which is emptied by the operation's
        // final completion only.
        if !unsafe { self.ring.push(&entry) } {
            self.retry.push_back(Retry::Submit(index));
        }
    }

    /// Ends an operation that has nothing to submit.
    fn fail_slot(&mut self, index: u32, user_data: u64) -> Option<Completion> {
        let flight = self.slots.get_mut(index as usize)?.take()?;
        self.live -= 1;
        let (result, payload) = flight.finish(Err(io::Error::from_raw_os_error(libc::EINVAL)));
        Some(Completion {
            key: unpack(user_data),
            result,
            payload,
        })
    }

    fn push_cancel(&mut self, target: u64) {
        if !self.ring.push_cancel(target, CANCEL) {
            self.retry.push_back(Retry::Cancel(target));
        }
    }

    fn retry_all(&mut self) {
        for _ in 0..self.retry.len() {
            match self.retry.pop_front() {
                Some(Retry::Submit(index)) => self.push_slot(index),
                Some(Retry::Cancel(target)) => self.push_cancel(target),
                Some(Retry::Wake) => self.arm_wake(),
                None => return,
            }
        }
    }

    /// Turns what the kernel has completed into completions.
    fn harvest(&mut self, done: &mut Vec<Completion>) {
        done.append(&mut self.failed);
        let mut collected = std::mem::take(&mut self.collected);
        self.ring.collect(&mut collected);
        for (user_data, result) in collected.drain(..) {
            match user_data {
                CANCEL => {}
                WAKE => {
                    self.wake_armed = false;
                    self.arm_wake();
                }
                _ => done.extend(self.complete(user_data, result)),
            }
        }
        self.collected = collected;
    }

    fn complete(&mut self, user_data: u64, result: i32) -> Option<Completion> {
        let index = (user_data & u64::from(u32::MAX)) as u32;
        let slot = self.slots.get_mut(index as usize)?;
        let flight = slot.as_mut().filter(|flight| flight.user_data == user_data)?;
        match flight.judge(result) {
            Next::Again => {
                self.push_slot(index);
                None
            }
            Next::Done(result) => {
                let flight = slot.take()?;
                self.live -= 1;
                let (result, payload) = flight.finish(result);
                Some(Completion {
                    key: unpack(user_data),
                    result,
                    payload,
                })
            }
        }
    }

    /// Cancels everything and waits until the kernel has let go of all memory; false if it does not.
    fn drain(&mut self) -> bool {
        let deadline = self.now() + PATIENCE;
        for flight in self.slots.iter_mut().flatten() {
            flight.cancelled = true;
        }
        // Entries that never reached the kernel need no completion.
        for retry in std::mem::take(&mut self.retry) {
            if let Retry::Submit(index) = retry
                && self.slots.get_mut(index as usize).and_then(Option::take).is_some()
            {
                self.live -= 1;
            }
        }
        let mut done = Vec::new();
        while self.live > 0 || self.wake_armed {
            if self.now() >= deadline || !self.ring.push_cancel_all(CANCEL) {
                return false;
            }
            if self.ring.wait(Some(50_000_000)).is_err() {
                return false;
            }
            self.collected.clear();
            self.ring.collect(&mut self.collected);
            for (user_data, result) in std::mem::take(&mut self.collected) {
                match user_data {
                    CANCEL => {}
                    WAKE => self.wake_armed = false,
                    _ => done.extend(self.complete(user_data, result)),
                }
            }
            done.clear();
        }
        true
    }
}

fn unpack(user_data: u64) -> Key {
    Key {
        index: user_data as u32,
        generation: (user_data >> 32) as u32,
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        if !self.drain() {
            tracing::error!(
                in_flight = self.live,
                "operations did not end; their memory stays allocated"
            );
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::replace(&mut self.wake_count, Box::new([0; 8])));
        }
    }
}

impl Driver for UringDriver {
    fn submit(&mut self, _host: HostId, key: Key, op: Op) {
        match InFlight::new(key.pack(), op, self.ring.region()) {
            Ok(flight) => {
                let index = key.index as usize;
                if index >= self.slots.len() {
                    self.slots.resize_with(index + 1, || None);
                }
                debug_assert!(self.slots[index].is_none(), "{key:?} is still in flight");
                self.slots[index] = Some(Box::new(flight));
                self.live += 1;
                self.push_slot(key.index);
            }
            Err((error, payload)) => self.failed.push(Completion {
                key,
                result: Err(error),
                payload,
            }),
        }
    }

    fn cancel(&mut self, key: Key) {
        let target = key.pack();
        if let Some(Some(flight)) = self.slots.get_mut(key.index as usize)
            && flight.user_data == target
        {
            flight.cancelled = true;
            self.push_cancel(target);
        }
    }

    fn wait(&mut self, park: Park, done: &mut Vec<Completion>) -> io::Result<()> {
        self.retry_all();
        let nothing_yet = self.failed.is_empty() && self.retry.is_empty();
        match park {
            Park::Until(deadline) if nothing_yet => {
                let time = deadline.map(|deadline| deadline.0.saturating_sub(self.now().0));
                self.ring.wait(time)?;
            }
            Park::Poll | Park::Until(_) => self.ring.turn()?,
        }
        self.harvest(done);
        Ok(())
    }

    fn now(&self) -> Mono {
        Mono(clock::monotonic_ns())
    }

    fn wall_clock(&self) -> WallTime {
        let (sec, nsec) = clock::realtime();
        WallTime { sec, nsec }
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        self.random.fill(bytes);
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::<EventFd>::clone(&self.wake)
    }

    fn take_arena(&mut self) -> Option<Arena> {
        self.arena.take()
    }

    fn listen(&mut self, _host: HostId, addr: &Addr) -> io::Result<(Socket, Addr)> {
        let fd = match addr {
            Addr::Inet(inet) => sys::listen(&sys::SockAddr::inet(*inet))?,
            Addr::Unix(path) => {
                let unix = sys::SockAddr::unix(path)?;
                match sys::listen(&unix) {
                    // The file outlives its process; take it over if nobody answers there.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse && !sys::unix_listener_alive(&unix) => {
                        std::fs::remove_file(path)?;
                        sys::listen(&unix)?
                    }
                    result => result?,
                }
            }
        };
        let local = sys::local_name(fd.as_fd())?.into();
        Ok((Socket::Kernel(fd.into()), local))
    }

    fn abort(&mut self, socket: &Socket) {
        let Socket::Kernel(fd) = socket else { return };
        sys::reset(fd.as_fd());
        let raw = fd.as_raw_fd();
        let flights = self
            .slots
            .iter_mut()
            .flatten()
            .filter(|flight| flight.socket() == Some(raw));
        let targets: Vec<u64> = flights
            .map(|flight| {
                flight.cancelled = true;
                flight.user_data
            })
            .collect();
        for target in targets {
            self.push_cancel(target);
        }
    }

    fn shutdown(&mut self, socket: &Socket, how: Shutdown) -> io::Result<()> {
        let Socket::Kernel(fd) = socket else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        sys::shutdown(fd.as_fd(), how)
    }

    fn set_option(&mut self, socket: &Socket, option: SocketOption) -> io::Result<()> {
        let Socket::Kernel(fd) = socket else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let fd = fd.as_fd();
        match option {
            SocketOption::NoDelay(on) => sys::set_nodelay(fd, on),
            SocketOption::KeepAlive { idle, interval, count } => sys::set_keepalive(fd, idle, interval, count),
            SocketOption::UserTimeout(time) => sys::set_user_timeout(fd, time),
            SocketOption::Buffers { send, receive } => sys::set_buffers(fd, send, receive),
        }
    }

    fn unacknowledged(&mut self, socket: &Socket) -> io::Result<Option<Duration>> {
        match socket {
            Socket::Kernel(fd) => sys::unacknowledged(fd.as_fd()),
            Socket::Sim(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }
}

/// Random bytes of the kernel, fetched in pieces that are worth a system call.
struct RandomPool {
    bytes: [u8; 512],
    left: usize,
}

impl Default for RandomPool {
    fn default() -> RandomPool {
        RandomPool {
            bytes: [0; 512],
            left: 0,
        }
    }
}

impl RandomPool {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(self.bytes.len()) {
            if self.left < chunk.len() {
                if let Err(error) = clock::fill_random(&mut self.bytes) {
                    // Gfids and keys made from anything else would collide.
                    panic!("the kernel gives no random bytes: {error}");
                }
                self.left = self.bytes.len();
            }
            chunk.copy_from_slice(&self.bytes[self.left - chunk.len()..self.left]);
            self.left -= chunk.len();
        }
    }
}
