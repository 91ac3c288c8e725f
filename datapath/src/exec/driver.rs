//! The seam between the executor and the world: operations go in, completions come out, and time is asked for here.
//!
//! Two implementations: [`crate::uring::UringDriver`] (the kernel) and [`crate::sim::SimDriver`] (a simulation).
//!
//! # The ownership rule
//! An [`Op`] owns everything it touches: descriptor, buffer, address. [`Driver::submit`] moves it into the driver, and
//! only the final [`Completion`] gives the buffer back. Dropping the future that waits merely calls [`Driver::cancel`];
//! the memory stays with the driver until the kernel has let go of it.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::buf::PageBuf;
use super::host::HostId;
use super::net::{Addr, Shutdown, SocketOption};
use super::time::{Mono, WallTime};
use crate::sim::SimSocket;
use crate::sys::mem::Arena;
use crate::uring::FuseEntry;

/// Names an operation in flight: index and generation. The index is not reused before its completion was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Place in the table of waiters; dense, so a driver may use it as the index of its own table.
    pub index: u32,
    /// How often that place was used before.
    pub generation: u32,
}

impl Key {
    /// One number, as io_uring's `user_data`. The topmost bit is left free for the driver's own entries.
    pub fn pack(self) -> u64 {
        (u64::from(self.generation & 0x7fff_ffff) << 32) | u64::from(self.index)
    }
}

/// A socket, of the kernel or simulated. Clones are the same socket; the last one closes it.
#[derive(Clone, Debug)]
pub enum Socket {
    /// A descriptor of this process.
    Kernel(Rc<OwnedFd>),
    /// A socket of the simulated network.
    Sim(Rc<SimSocket>),
}

/// A connected or accepted socket and both its addresses.
#[derive(Debug)]
pub struct Connected {
    /// The socket.
    pub socket: Socket,
    /// Our side.
    pub local: Addr,
    /// The other side.
    pub peer: Addr,
}

/// What a core may ask its driver to do. Every variant owns what it uses.
#[derive(Debug)]
pub enum Op {
    /// Opens a stream to `addr`.
    Connect {
        /// To where.
        addr: Addr,
    },
    /// Takes the next connection of a listening socket.
    Accept {
        /// The listener.
        socket: Socket,
    },
    /// Receives into `buf[at..at + len]`; with `all`, completes only when full, at the end of the stream or on error.
    Recv {
        /// From where.
        socket: Socket,
        /// To where.
        buf: PageBuf,
        /// First byte to write.
        at: usize,
        /// Most bytes to take; `at + len` is within the buffer.
        len: usize,
        /// Wait for all of `len`.
        all: bool,
    },
    /// Sends all of `bufs`, in order.
    Send {
        /// To where.
        socket: Socket,
        /// What.
        bufs: Vec<Bytes>,
    },
    /// Reads up to `len` bytes at `offset` into the start of `buf`; `offset` None = the file's own position (streams).
    Read {
        /// From where.
        fd: Arc<OwnedFd>,
        /// Byte position, or none for devices and pipes.
        offset: Option<u64>,
        /// To where.
        buf: PageBuf,
        /// Most bytes to read, at most the buffer's length.
        len: usize,
    },
    /// Writes `data` at `offset`, possibly less than all of it.
    Write {
        /// To where.
        fd: Arc<OwnedFd>,
        /// Byte position, or none for devices and pipes.
        offset: Option<u64>,
        /// What.
        data: Bytes,
        /// Return only when this data is durable (`RWF_DSYNC`).
        dsync: bool,
    },
    /// Makes a file durable; `datasync` leaves out metadata that reading does not need.
    Fsync {
        /// Which file.
        fd: Arc<OwnedFd>,
        /// As fdatasync(2).
        datasync: bool,
    },
    /// Waits until `fd` is ready for any of `events` (poll(2) bits).
    Poll {
        /// What to watch.
        fd: Arc<OwnedFd>,
        /// `POLLIN`, `POLLOUT`...
        events: u32,
    },
    /// Offers a FUSE ring entry; completes with its first request.
    FuseRegister {
        /// The FUSE connection.
        fd: Arc<OwnedFd>,
        /// The entry.
        entry: FuseEntry,
    },
    /// Answers the request in a FUSE ring entry; completes with the next one.
    FuseCommit {
        /// The FUSE connection.
        fd: Arc<OwnedFd>,
        /// The entry.
        entry: FuseEntry,
    },
}

/// What an operation gives back besides its number.
#[derive(Debug)]
pub enum Payload {
    /// Nothing.
    None,
    /// The buffer of a Recv or Read, also after an error.
    Buf(PageBuf),
    /// The entry of a FUSE command, also after an error.
    Fuse(FuseEntry),
    /// The socket of a Connect or Accept.
    Connected(Box<Connected>),
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// Which one.
    pub key: Key,
    /// Bytes moved (or poll bits), or the error. A cancelled operation fails with `ECANCELED`.
    pub result: io::Result<usize>,
    /// What was lent or made.
    pub payload: Payload,
}

/// How long a driver may wait when nothing has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Park {
    /// Not at all: tasks are ready. Submissions are flushed and what has completed is collected.
    Poll,
    /// Until then (or for ever), or until the first completion, or until unparked.
    Until(Option<Mono>),
}

/// Wakes a core that waits in its driver. The only part of a core that other threads hold.
pub trait Unpark: Send + Sync + std::fmt::Debug {
    /// Makes the current or the next [`Driver::wait`] return soon.
    fn unpark(&self);
}

/// The world as a core sees it.
pub trait Driver {
    /// Starts an operation of a task of `host` (which matters in a simulation only); its completion comes from a later
    /// `wait`, also when it fails at once.
    fn submit(&mut self, host: HostId, key: Key, op: Op);
    /// Asks that an operation end soon. It still completes, with or without success.
    fn cancel(&mut self, key: Key);
    /// Passes on what was submitted, waits as `park` says, and appends what has completed.
    ///
    /// # Errors
    /// Only when the driver itself is broken; the core then stops.
    fn wait(&mut self, park: Park, done: &mut Vec<Completion>) -> io::Result<()>;
    /// The monotonic clock.
    fn now(&self) -> Mono;
    /// The date.
    fn wall_clock(&self) -> WallTime;
    /// Fills `bytes` with random ones.
    fn fill_random(&mut self, bytes: &mut [u8]);
    /// What other threads use to end `wait`.
    fn unparker(&self) -> Arc<dyn Unpark>;
    /// Hands over the buffer arena that was registered with the driver, once.
    fn take_arena(&mut self) -> Option<Arena>;
    /// Opens a listening socket on `host`; gives its real address (port 0 = any).
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`...
    fn listen(&mut self, host: HostId, addr: &Addr) -> io::Result<(Socket, Addr)>;
    /// Breaks a connection at once (RST); operations on it fail.
    fn abort(&mut self, socket: &Socket);
    /// Half-closes a connection.
    ///
    /// # Errors
    /// `ENOTCONN` when it is gone already.
    fn shutdown(&mut self, socket: &Socket, how: Shutdown) -> io::Result<()>;
    /// Sets an option; a simulated socket accepts and ignores all of them.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    fn set_option(&mut self, socket: &Socket, option: SocketOption) -> io::Result<()>;
    /// Whether bytes are on their way that the other side's machine has not acknowledged, and how long ago it last
    /// acknowledged any.
    ///
    /// # Errors
    /// Those of ioctl(2) and getsockopt(2).
    fn unacknowledged(&mut self, socket: &Socket) -> io::Result<Option<Duration>>;
}
