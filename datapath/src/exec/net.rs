//! Streams and listeners, of the kernel or simulated, by the driver of the core.
//!
//! A stream is a shared handle (`Clone`): one task may receive while another sends. One receive and one send at a time
//! per stream is the caller's duty; two sends at once would mix their bytes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::buf::PageBuf;
use super::core;
use super::driver::{Completion, Connected, Op, Payload, Socket};
use super::op::submit;
use crate::sys::net as sys;

/// Where a stream leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addr {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket by path (empty: a socket without name).
    Unix(PathBuf),
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Inet(addr) => addr.fmt(f),
            Addr::Unix(path) => path.display().fmt(f),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Addr {
        Addr::Inet(addr)
    }
}

impl From<sys::Name> for Addr {
    fn from(name: sys::Name) -> Addr {
        match name {
            sys::Name::Inet(addr) => Addr::Inet(addr),
            sys::Name::Unix(path) => Addr::Unix(path),
        }
    }
}

/// Which direction of a stream to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more is received.
    Read,
    /// Nothing more is sent; the other side sees the end of the stream.
    Write,
    /// Both.
    Both,
}

/// Options of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// Whether small segments go out at once. On for every TCP stream made here.
    NoDelay(bool),
    /// Probes on an idle connection: whole seconds, at least one.
    KeepAlive {
        /// Silence before the first probe.
        idle: Duration,
        /// Between probes.
        interval: Duration,
        /// Unanswered probes until the connection is dead.
        count: u32,
    },
    /// Longest time that sent data may stay unacknowledged (millisecond resolution).
    UserTimeout(Duration),
    /// Sizes of the kernel's buffers in bytes.
    Buffers {
        /// `SO_SNDBUF`.
        send: usize,
        /// `SO_RCVBUF`.
        receive: usize,
    },
}

struct Inner {
    socket: Socket,
    local: Addr,
    peer: Addr,
}

/// A connected byte stream. The last clone closes it.
#[derive(Clone)]
pub struct Stream(Rc<Inner>);

impl Stream {
    /// Connects. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// `ECONNREFUSED`, `ENOENT` (unix), `EHOSTUNREACH`, `ETIMEDOUT`...
    pub async fn connect(addr: &Addr) -> io::Result<Stream> {
        Stream::from_completion(submit(Op::Connect { addr: addr.clone() }).await)
    }

    /// Takes over a connected socket of the standard library or inherited from a parent process.
    ///
    /// # Errors
    /// When `fd` is no connected stream socket.
    pub fn from_std(fd: impl Into<OwnedFd>) -> io::Result<Stream> {
        let fd: OwnedFd = fd.into();
        sys::set_nonblocking(fd.as_fd(), false)?;
        let (local, peer) = (
            Addr::from(sys::local_name(fd.as_fd())?),
            Addr::from(sys::peer_name(fd.as_fd())?),
        );
        if matches!(local, Addr::Inet(_)) {
            sys::set_nodelay(fd.as_fd(), true)?;
        }
        Ok(Stream(Rc::new(Inner {
            socket: Socket::Kernel(Rc::new(fd)),
            local,
            peer,
        })))
    }

    fn from_completion(completion: Completion) -> io::Result<Stream> {
        completion.result?;
        match completion.payload {
            Payload::Connected(connected) => {
                let Connected { socket, local, peer } = *connected;
                Ok(Stream(Rc::new(Inner { socket, local, peer })))
            }
            Payload::None | Payload::Buf(_) | Payload::Fuse(_) => Err(io::Error::other("the driver gave no socket")),
        }
    }

    /// Sends all of `bufs` in order and returns when the kernel has taken them.
    ///
    /// Dropping the future may leave a part sent: the stream is then of no use but to be aborted.
    ///
    /// # Errors
    /// `EPIPE`, `ECONNRESET`, `ETIMEDOUT`..., `ECANCELED` after [`Stream::abort`].
    pub async fn send(&self, bufs: Vec<Bytes>) -> io::Result<()> {
        if bufs.iter().all(Bytes::is_empty) {
            return Ok(());
        }
        submit(Op::Send {
            socket: self.0.socket.clone(),
            bufs,
        })
        .await
        .result
        .map(drop)
    }

    /// Receives what is there, at least one byte, into `buf[at..]`; 0 means the end of the stream (or no room).
    ///
    /// Dropping the future loses the buffer, and with it bytes that had arrived.
    ///
    /// # Errors
    /// `ECONNRESET`, `ETIMEDOUT`..., `ECANCELED` after [`Stream::abort`]. The buffer always comes back.
    pub async fn recv(&self, buf: PageBuf, at: usize) -> (io::Result<usize>, PageBuf) {
        let len = buf.len().saturating_sub(at);
        self.receive(buf, at, len, false).await
    }

    /// Like [`Stream::recv`], at most `len` bytes.
    pub async fn recv_some(&self, buf: PageBuf, at: usize, len: usize) -> (io::Result<usize>, PageBuf) {
        self.receive(buf, at, len, false).await
    }

    /// Receives exactly `len` bytes into `buf[at..at + len]`; fewer only at the end of the stream.
    ///
    /// # Errors
    /// As [`Stream::recv`].
    pub async fn recv_exact(&self, mut buf: PageBuf, at: usize, len: usize) -> (io::Result<usize>, PageBuf) {
        let mut got = 0;
        while got < len {
            // The kernel waits for all of it, but may be interrupted half-way.
            let (result, back) = self.receive(buf, at + got, len - got, true).await;
            buf = back;
            match result {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(got), buf)
    }

    async fn receive(&self, buf: PageBuf, at: usize, len: usize, all: bool) -> (io::Result<usize>, PageBuf) {
        let room = buf.len().saturating_sub(at);
        if len > room {
            return (Err(io::Error::from(io::ErrorKind::InvalidInput)), buf);
        }
        if len == 0 {
            return (Ok(0), buf);
        }
        let completion = submit(Op::Recv {
            socket: self.0.socket.clone(),
            buf,
            at,
            len,
            all,
        })
        .await;
        super::file::with_buffer(completion)
    }

    /// Breaks the connection now: a TCP peer gets RST, what was queued is thrown away, operations in flight fail.
    pub fn abort(&self) {
        core::try_with(|core| core.with_driver(|driver| driver.abort(&self.0.socket)));
    }

    /// Closes one direction or both, in order: what was sent still arrives.
    ///
    /// # Errors
    /// `ENOTCONN` when the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        core::with(|core| core.with_driver(|driver| driver.shutdown(&self.0.socket, how)))
    }

    /// Sets an option.
    ///
    /// # Errors
    /// Those of setsockopt(2), `EOPNOTSUPP` for TCP options of a unix socket.
    pub fn set_option(&self, option: SocketOption) -> io::Result<()> {
        core::with(|core| core.with_driver(|driver| driver.set_option(&self.0.socket, option)))
    }

    /// Keepalive probes on an idle connection.
    ///
    /// # Errors
    /// As [`Stream::set_option`].
    pub fn set_keepalive(&self, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
        self.set_option(SocketOption::KeepAlive { idle, interval, count })
    }

    /// Longest time that sent data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    ///
    /// # Errors
    /// As [`Stream::set_option`].
    pub fn set_user_timeout(&self, time: Duration) -> io::Result<()> {
        self.set_option(SocketOption::UserTimeout(time))
    }

    /// How long ago the other side's machine last acknowledged anything, if bytes are on their way to it; what has not
    /// been sent yet because its program does not read does not count.
    ///
    /// # Errors
    /// Those of ioctl(2) and getsockopt(2), for a unix socket too.
    pub fn unacknowledged(&self) -> io::Result<Option<Duration>> {
        core::with(|core| core.with_driver(|driver| driver.unacknowledged(&self.0.socket)))
    }

    /// The other side's address.
    pub fn peer(&self) -> &Addr {
        &self.0.peer
    }

    /// Our side's address.
    pub fn local(&self) -> &Addr {
        &self.0.local
    }

    /// The kernel's socket; none in a simulation.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0.socket {
            Socket::Kernel(fd) => Some(fd.as_fd()),
            Socket::Sim(_) => None,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("local", &self.0.local)
            .field("peer", &self.0.peer)
            .finish_non_exhaustive()
    }
}

/// A listening socket. Dropping it stops listening.
pub struct Listener {
    socket: Socket,
    local: Addr,
}

impl Listener {
    /// Listens at `addr` (port 0: any free port). A unix socket file that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`...
    pub async fn bind(addr: &Addr) -> io::Result<Listener> {
        let (socket, local) = core::with(|core| {
            let host = core.host();
            core.with_driver(|driver| driver.listen(host, addr))
        })?;
        Ok(Listener { socket, local })
    }

    /// Takes over a listening socket of the standard library or inherited from a parent process.
    ///
    /// # Errors
    /// When `fd` is no socket.
    pub fn from_std(fd: impl Into<OwnedFd>) -> io::Result<Listener> {
        let fd: OwnedFd = fd.into();
        sys::set_nonblocking(fd.as_fd(), false)?;
        let local = sys::local_name(fd.as_fd())?.into();
        Ok(Listener {
            socket: Socket::Kernel(Rc::new(fd)),
            local,
        })
    }

    /// The next connection. Dropping the future loses none: one that arrives too late is closed.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ECONNABORTED`...; the listener stays usable.
    pub async fn accept(&self) -> io::Result<Stream> {
        Stream::from_completion(
            submit(Op::Accept {
                socket: self.socket.clone(),
            })
            .await,
        )
    }

    /// The address with its real port.
    pub fn local(&self) -> &Addr {
        &self.local
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
