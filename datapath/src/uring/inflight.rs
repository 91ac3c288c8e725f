//! An operation in flight: what it owns, how it looks in the submission queue, what its completion gives back.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use io_uring::squeue::{Entry, Entry128};
use io_uring::{opcode, types};

use super::fuse::FuseEntry;
use crate::exec::buf::PageBuf;
use crate::exec::driver::{Connected, Op, Payload, Socket};
use crate::exec::net::Addr;
use crate::sys::mem::Region;
use crate::sys::net as sys;

/// Most buffers in one message (`UIO_MAXIOV`).
const MOST_IOVECS: usize = 1024;
/// Most bytes per operation: the kernel's own limit for one read or write, page-aligned.
const MOST_BYTES: usize = 0x7fff_f000;

/// Buffers of a message being sent, and the header through which the kernel sees them.
pub(super) struct Message {
    header: libc::msghdr,
    iovecs: Vec<libc::iovec>,
    /// What is left to send; the first may be partly sent.
    bufs: std::collections::VecDeque<Bytes>,
    sent: usize,
}

impl Message {
    fn new(bufs: Vec<Bytes>) -> Box<Message> {
        // SAFETY: msghdr is plain data for which zeros (null pointers, zero lengths) are valid.
        let header = unsafe { std::mem::zeroed() };
        let bufs = bufs.into_iter().filter(|buf| !buf.is_empty()).collect();
        let mut message = Box::new(Message {
            header,
            iovecs: Vec::new(),
            bufs,
            sent: 0,
        });
        message.fill();
        message
    }

    /// Points header and iovecs at what is left.
    fn fill(&mut self) {
        let first = self.bufs.iter().take(MOST_IOVECS);
        self.iovecs.clear();
        self.iovecs.extend(first.map(|buf| libc::iovec {
            iov_base: buf.as_ptr().cast_mut().cast(),
            iov_len: buf.len(),
        }));
        self.header.msg_iov = self.iovecs.as_mut_ptr();
        self.header.msg_iovlen = self.iovecs.len();
    }

    /// `count` bytes went out; whether something is left.
    fn advance(&mut self, mut count: usize) -> bool {
        self.sent += count;
        while count > 0 {
            let Some(first) = self.bufs.front_mut() else { break };
            if count < first.len() {
                let _ = first.split_to(count);
                break;
            }
            count -= first.len();
            self.bufs.pop_front();
        }
        self.fill();
        !self.bufs.is_empty()
    }
}

/// What an operation owns while the kernel works on it.
pub(super) enum State {
    Connect {
        socket: OwnedFd,
        addr: Box<sys::SockAddr>,
        peer: Addr,
    },
    Accept {
        listener: Rc<OwnedFd>,
    },
    Recv {
        socket: Rc<OwnedFd>,
        buf: PageBuf,
        at: usize,
        len: usize,
        all: bool,
    },
    Send {
        socket: Rc<OwnedFd>,
        message: Box<Message>,
    },
    Read {
        fd: Arc<OwnedFd>,
        offset: Option<u64>,
        buf: PageBuf,
        len: usize,
        fixed: bool,
    },
    Write {
        fd: Arc<OwnedFd>,
        offset: Option<u64>,
        data: Bytes,
        dsync: bool,
        fixed: bool,
    },
    Fsync {
        fd: Arc<OwnedFd>,
        datasync: bool,
    },
    Poll {
        fd: Arc<OwnedFd>,
        events: u32,
    },
    Fuse {
        fd: Arc<OwnedFd>,
        entry: FuseEntry,
        /// The first command of the entry.
        register: bool,
    },
}

/// An entry of the in-flight slab.
pub(super) struct InFlight {
    state: State,
    pub(super) user_data: u64,
    pub(super) cancelled: bool,
}

/// What to do with a completion.
pub(super) enum Next {
    /// Not over: submit the entry again (a partly sent message, a read that must not use registered memory).
    Again,
    /// Over.
    Done(io::Result<usize>),
}

fn kernel(socket: Socket) -> io::Result<Rc<OwnedFd>> {
    match socket {
        Socket::Kernel(fd) => Ok(fd),
        Socket::Sim(_) => Err(io::Error::other("a simulated socket on a real ring")),
    }
}

impl InFlight {
    /// Takes an operation in. On failure its buffer comes back with the error.
    pub(super) fn new(user_data: u64, op: Op, region: Option<&Region>) -> Result<InFlight, (io::Error, Payload)> {
        let none = |error| (error, Payload::None);
        let state = match op {
            Op::Connect { addr } => InFlight::connect(addr).map_err(none)?,
            Op::Accept { socket } => State::Accept {
                listener: kernel(socket).map_err(none)?,
            },
            Op::Recv {
                socket,
                buf,
                at,
                len,
                all,
            } => {
                if at.checked_add(len).is_none_or(|end| end > buf.len()) {
                    return Err((io::Error::from(io::ErrorKind::InvalidInput), Payload::Buf(buf)));
                }
                match kernel(socket) {
                    Ok(socket) => State::Recv {
                        socket,
                        buf,
                        at,
                        len,
                        all,
                    },
                    Err(error) => return Err((error, Payload::Buf(buf))),
                }
            }
            Op::Send { socket, bufs } => State::Send {
                socket: kernel(socket).map_err(none)?,
                message: Message::new(bufs),
            },
            Op::Read { fd, offset, buf, len } => {
                let len = len.min(buf.len());
                // Devices and pipes may refuse registered memory (/dev/fuse does), so for files only.
                let fixed = offset.is_some() && region.is_some_and(|region| region.contains(&buf));
                State::Read {
                    fd,
                    offset,
                    buf,
                    len,
                    fixed,
                }
            }
            Op::Write {
                fd,
                offset,
                data,
                dsync,
            } => {
                let fixed = offset.is_some() && region.is_some_and(|region| region.contains(&data));
                State::Write {
                    fd,
                    offset,
                    data,
                    dsync,
                    fixed,
                }
            }
            Op::Fsync { fd, datasync } => State::Fsync { fd, datasync },
            Op::Poll { fd, events } => State::Poll { fd, events },
            Op::FuseRegister { fd, entry } => State::Fuse {
                fd,
                entry,
                register: true,
            },
            Op::FuseCommit { fd, entry } => State::Fuse {
                fd,
                entry,
                register: false,
            },
        };
        Ok(InFlight {
            state,
            user_data,
            cancelled: false,
        })
    }

    fn connect(peer: Addr) -> io::Result<State> {
        let addr = match &peer {
            Addr::Inet(addr) => sys::SockAddr::inet(*addr),
            Addr::Unix(path) => sys::SockAddr::unix(path)?,
        };
        let socket = sys::stream_socket(addr.family())?;
        if matches!(peer, Addr::Inet(_)) {
            sys::set_nodelay(socket.as_fd(), true)?;
        }
        Ok(State::Connect {
            socket,
            addr: Box::new(addr),
            peer,
        })
    }

    /// The submission entry; none if there is nothing that could be submitted. Its pointers lead into memory owned by
    /// `self`, none of it inside `self`'s own bytes, so `self` may move.
    pub(super) fn entry(&mut self) -> Option<Entry128> {
        let entry = match &mut self.state {
            State::Connect { socket, addr, .. } => {
                let (raw, len) = addr.as_raw();
                opcode::Connect::new(fd(socket), raw, len).build()
            }
            State::Accept { listener } => {
                let accept = opcode::Accept::new(fd(listener), std::ptr::null_mut(), std::ptr::null_mut());
                accept.flags(libc::SOCK_CLOEXEC).build()
            }
            State::Recv {
                socket,
                buf,
                at,
                len,
                all,
            } => {
                let room = &mut buf[*at..*at + *len];
                let flags = if *all { libc::MSG_WAITALL } else { 0 };
                opcode::Recv::new(fd(socket), room.as_mut_ptr(), capped(room.len()))
                    .flags(flags)
                    .build()
            }
            State::Send { socket, message } => {
                let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
                opcode::SendMsg::new(fd(socket), &raw const message.header)
                    .flags(flags)
                    .build()
            }
            State::Read {
                fd,
                offset,
                buf,
                len,
                fixed,
            } => read(fd, *offset, &mut buf[..*len], *fixed),
            State::Write {
                fd,
                offset,
                data,
                dsync,
                fixed,
            } => write(fd, *offset, data, *dsync, *fixed),
            State::Fsync { fd: file, datasync } => {
                let flags = if *datasync {
                    types::FsyncFlags::DATASYNC
                } else {
                    types::FsyncFlags::empty()
                };
                opcode::Fsync::new(fd(file)).flags(flags).build()
            }
            State::Poll { fd: file, events } => opcode::PollAdd::new(fd(file), *events).build(),
            State::Fuse { fd, entry, register } => {
                let command = if *register {
                    entry.register_command(fd)
                } else {
                    entry.commit_command(fd)
                };
                return command.map(|command| command.user_data(self.user_data));
            }
        };
        Some(entry.user_data(self.user_data).into())
    }

    /// The socket it works on, if it is one that can be aborted.
    pub(super) fn socket(&self) -> Option<RawFd> {
        match &self.state {
            State::Recv { socket, .. } | State::Send { socket, .. } => Some(socket.as_raw_fd()),
            State::Connect { .. }
            | State::Accept { .. }
            | State::Read { .. }
            | State::Write { .. }
            | State::Fsync { .. }
            | State::Poll { .. }
            | State::Fuse { .. } => None,
        }
    }

    /// Judges the kernel's result.
    pub(super) fn judge(&mut self, result: i32) -> Next {
        let Ok(count) = usize::try_from(result) else {
            return match (-result, &mut self.state) {
                (libc::EINTR, _) if !self.cancelled => Next::Again,
                // Not every file system takes registered memory; ordinary memory always works.
                (
                    libc::EINVAL | libc::EOPNOTSUPP | libc::EFAULT,
                    State::Read {
                        fixed: fixed @ true, ..
                    }
                    | State::Write {
                        fixed: fixed @ true, ..
                    },
                ) if !self.cancelled => {
                    *fixed = false;
                    Next::Again
                }
                (errno, _) => Next::Done(Err(io::Error::from_raw_os_error(errno))),
            };
        };
        match &mut self.state {
            State::Send { message, .. } => {
                if !message.advance(count) {
                    return Next::Done(Ok(message.sent));
                }
                if self.cancelled {
                    return Next::Done(Err(io::Error::from_raw_os_error(libc::ECANCELED)));
                }
                if count == 0 {
                    return Next::Done(Err(io::Error::from(io::ErrorKind::WriteZero)));
                }
                Next::Again
            }
            _ => Next::Done(Ok(count)),
        }
    }

    /// Takes the operation apart after its final completion.
    pub(super) fn finish(self, result: io::Result<usize>) -> (io::Result<usize>, Payload) {
        match self.state {
            State::Recv { buf, .. } | State::Read { buf, .. } => (result, Payload::Buf(buf)),
            State::Fuse { mut entry, .. } => {
                entry.completed(&result);
                (result, Payload::Fuse(entry))
            }
            State::Connect { socket, peer, .. } => match result.and_then(|_| sys::local_name(socket.as_fd())) {
                Ok(local) => {
                    let socket = Socket::Kernel(Rc::new(socket));
                    (
                        Ok(0),
                        Payload::Connected(Box::new(Connected {
                            socket,
                            local: local.into(),
                            peer,
                        })),
                    )
                }
                Err(error) => (Err(error), Payload::None),
            },
            State::Accept { .. } => match result.and_then(accepted) {
                Ok(connected) => (Ok(0), Payload::Connected(Box::new(connected))),
                Err(error) => (Err(error), Payload::None),
            },
            State::Send { .. } | State::Write { .. } | State::Fsync { .. } | State::Poll { .. } => {
                (result, Payload::None)
            }
        }
    }
}

fn accepted(raw: usize) -> io::Result<Connected> {
    let raw = RawFd::try_from(raw).map_err(io::Error::other)?;
    // SAFETY: a successful ACCEPT completion gives a new descriptor that nobody else knows.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let local = Addr::from(sys::local_name(socket.as_fd())?);
    if matches!(local, Addr::Inet(_)) {
        sys::set_nodelay(socket.as_fd(), true)?;
    }
    // A connection that was reset already has no peer; reading from it will say so.
    let peer = sys::peer_name(socket.as_fd())?.into();
    Ok(Connected {
        socket: Socket::Kernel(Rc::new(socket)),
        local,
        peer,
    })
}

fn fd(owned: &impl AsRawFd) -> types::Fd {
    types::Fd(owned.as_raw_fd())
}

fn read(file: &OwnedFd, offset: Option<u64>, room: &mut [u8], fixed: bool) -> Entry {
    let (at, len) = (room.as_mut_ptr(), capped(room.len()));
    let offset = offset.unwrap_or(u64::MAX);
    if fixed {
        opcode::ReadFixed::new(fd(file), at, len, 0).offset(offset).build()
    } else {
        opcode::Read::new(fd(file), at, len).offset(offset).build()
    }
}

fn write(file: &OwnedFd, offset: Option<u64>, data: &Bytes, dsync: bool, fixed: bool) -> Entry {
    let (at, len) = (data.as_ptr(), capped(data.len()));
    let offset = offset.unwrap_or(u64::MAX);
    let flags = if dsync { libc::RWF_DSYNC } else { 0 };
    if fixed {
        opcode::WriteFixed::new(fd(file), at, len, 0)
            .offset(offset)
            .rw_flags(flags)
            .build()
    } else {
        opcode::Write::new(fd(file), at, len)
            .offset(offset)
            .rw_flags(flags)
            .build()
    }
}

fn capped(len: usize) -> u32 {
    len.min(MOST_BYTES) as u32
}

#[cfg(test)]
mod message_tests {
    use super::*;

    #[test]
    fn a_message_goes_on_where_it_stopped() {
        let bufs: Vec<Bytes> = (0..3000u32).map(|i| Bytes::copy_from_slice(&i.to_be_bytes())).collect();
        let mut message = Message::new(bufs);
        assert_eq!(message.iovecs.len(), MOST_IOVECS);
        assert!(message.advance(5));
        assert_eq!((message.bufs.len(), message.iovecs[0].iov_len), (2999, 3));
        assert!(message.advance(3 + 4 * 2997));
        assert_eq!(message.bufs[0], &2999u32.to_be_bytes()[..]);
        assert!(!message.advance(4));
        assert_eq!(message.sent, 12_000);
    }
}
