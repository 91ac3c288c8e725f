//! Sockets: creation, addresses and options as safe calls. Data moves through the ring, never through here.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check;

/// A socket address in the kernel's form.
#[derive(Clone)]
pub struct SockAddr {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

/// A socket address in Rust's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// IPv4 or IPv6 address and port.
    Inet(SocketAddr),
    /// Path of a unix socket; empty when the socket has no name, a leading NUL for an abstract one.
    Unix(PathBuf),
}

impl std::fmt::Debug for SockAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SockAddr({:?})", self.name())
    }
}

impl SockAddr {
    /// An internet address.
    pub fn inet(addr: SocketAddr) -> SockAddr {
        match addr {
            SocketAddr::V4(v4) => SockAddr::from_struct(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => SockAddr::from_struct(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    /// A unix socket by path.
    ///
    /// # Errors
    /// `ENAMETOOLONG` beyond the 107 bytes that a `sockaddr_un` holds, `EINVAL` for an empty path (binding that would
    /// make the kernel invent a name).
    pub fn unix(path: &Path) -> io::Result<SockAddr> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: sockaddr_un is plain data for which zeros are valid.
        let mut un: libc::sockaddr_un = unsafe { zeroed() };
        un.sun_family = libc::AF_UNIX as libc::sa_family_t;
        if bytes.len() >= un.sun_path.len() {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        for (to, from) in un.sun_path.iter_mut().zip(bytes) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let mut addr = SockAddr::from_struct(un);
        // Abstract names count their bytes; paths end with the NUL that zeroing left.
        let end = size_of::<libc::sa_family_t>() + bytes.len() + usize::from(bytes.first() != Some(&0));
        addr.len = end as libc::socklen_t;
        Ok(addr)
    }

    fn empty() -> SockAddr {
        // SAFETY: sockaddr_storage is plain data for which zeros are valid (AF_UNSPEC).
        let storage = unsafe { zeroed() };
        SockAddr {
            storage,
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    fn from_struct<T>(value: T) -> SockAddr {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        let mut addr = SockAddr::empty();
        // SAFETY: the storage is at least as large as T (asserted above), aligned for every address type, and T is one
        // of libc's plain address structures.
        unsafe { (&raw mut addr.storage).cast::<T>().write(value) };
        addr.len = size_of::<T>() as libc::socklen_t;
        addr
    }

    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub fn family(&self) -> libc::c_int {
        libc::c_int::from(self.storage.ss_family)
    }

    /// The address in Rust's form; an unknown family reads as an unnamed unix socket.
    pub fn name(&self) -> Name {
        let storage = &raw const self.storage;
        match self.family() {
            libc::AF_INET => {
                // SAFETY: the family says that the storage holds a sockaddr_in, which fits and is aligned.
                let v4 = unsafe { storage.cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Name::Inet(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the storage holds a sockaddr_in6, which fits and is aligned.
                let v6 = unsafe { storage.cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Name::Inet(SocketAddr::V6(SocketAddrV6::new(
                    ip,
                    port,
                    v6.sin6_flowinfo,
                    v6.sin6_scope_id,
                )))
            }
            libc::AF_UNIX => {
                // SAFETY: the family says that the storage holds a sockaddr_un, which fits and is aligned.
                let un = unsafe { storage.cast::<libc::sockaddr_un>().read() };
                Name::Unix(unix_path(&un, self.len as usize))
            }
            _ => Name::Unix(PathBuf::new()),
        }
    }

    /// Address and length, for an operation that the kernel runs later: valid as long as `self` lives and stays where
    /// it is.
    pub fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.storage).cast(), self.len)
    }
}

fn unix_path(un: &libc::sockaddr_un, len: usize) -> PathBuf {
    let used = len
        .saturating_sub(size_of::<libc::sa_family_t>())
        .min(un.sun_path.len());
    let mut bytes: Vec<u8> = un.sun_path.iter().take(used).map(|c| c.to_ne_bytes()[0]).collect();
    if bytes.first() != Some(&0) {
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// A new stream socket (close-on-exec). It blocks on purpose: a ring waits for a blocking socket by itself, and answers
/// `EAGAIN` for a non-blocking one.
///
/// # Errors
/// `EMFILE`/`ENFILE` out of descriptors, `EAFNOSUPPORT` without that protocol.
pub fn stream_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was just made by the kernel and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A listening stream socket with `SO_REUSEADDR`, in the largest backlog the kernel allows.
///
/// # Errors
/// Those of bind(2) and listen(2): `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`...
pub fn listen(addr: &SockAddr) -> io::Result<OwnedFd> {
    let fd = stream_socket(addr.family())?;
    if addr.family() != libc::AF_UNIX {
        set_int(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    let (raw, len) = addr.as_raw();
    // SAFETY: `raw` and `len` describe the live address `addr`.
    check(unsafe { libc::bind(fd.as_raw_fd(), raw, len) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(fd.as_raw_fd(), 4096) })?;
    Ok(fd)
}

/// Whether somebody accepts connections at a unix address (a socket file outlives its process).
pub fn unix_listener_alive(addr: &SockAddr) -> bool {
    let Ok(fd) = stream_socket(libc::AF_UNIX) else {
        return true;
    };
    if set_nonblocking(fd.as_fd(), true).is_err() {
        return true;
    }
    let (raw, len) = addr.as_raw();
    // SAFETY: `raw` and `len` describe the live address `addr`.
    let result = check(unsafe { libc::connect(fd.as_raw_fd(), raw, len) });
    !matches!(result, Err(e) if matches!(e.raw_os_error(), Some(libc::ECONNREFUSED | libc::ENOENT)))
}

/// The socket's own address.
///
/// # Errors
/// `EBADF`/`ENOTSOCK` when `fd` is no socket.
pub fn local_name(fd: BorrowedFd<'_>) -> io::Result<Name> {
    let mut addr = SockAddr::empty();
    // SAFETY: storage and length are live and writable for the whole call, and the length is the storage's.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut addr.storage).cast(), &mut addr.len) })?;
    Ok(addr.name())
}

/// The other side's address.
///
/// # Errors
/// `ENOTCONN` when there is no other side (any more).
pub fn peer_name(fd: BorrowedFd<'_>) -> io::Result<Name> {
    let mut addr = SockAddr::empty();
    // SAFETY: storage and length are live and writable for the whole call, and the length is the storage's.
    check(unsafe { libc::getpeername(fd.as_raw_fd(), (&raw mut addr.storage).cast(), &mut addr.len) })?;
    Ok(addr.name())
}

fn set<T>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is live for the whole call and `len` is its size; the kernel only reads it.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const *value).cast(), len) }).map(drop)
}

fn set_int(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set(fd, level, option, &value)
}

fn seconds(time: Duration) -> libc::c_int {
    libc::c_int::try_from(time.as_secs().max(1)).unwrap_or(libc::c_int::MAX)
}

/// Sends small segments at once (`TCP_NODELAY`).
///
/// # Errors
/// `EOPNOTSUPP`/`ENOPROTOOPT` when the socket is not TCP.
pub fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, libc::c_int::from(on))
}

/// Keepalive probes: the first after `idle`, then every `interval`, dead after `count` unanswered ones.
/// Times are whole seconds, at least one.
///
/// # Errors
/// `ENOPROTOOPT` when the socket is not TCP, `EINVAL` outside the kernel's ranges (32767 s, 127 probes).
pub fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle))?;
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(interval))?;
    set_int(
        fd,
        libc::IPPROTO_TCP,
        libc::TCP_KEEPCNT,
        libc::c_int::try_from(count).unwrap_or(libc::c_int::MAX),
    )
}

/// Longest time that sent data may stay unacknowledged before the connection fails with `ETIMEDOUT`
/// (`TCP_USER_TIMEOUT`, milliseconds; zero = the kernel's default).
///
/// # Errors
/// `EOPNOTSUPP`/`ENOPROTOOPT` when the socket is not TCP.
pub fn set_user_timeout(fd: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let ms = libc::c_int::try_from(time.as_millis()).unwrap_or(libc::c_int::MAX);
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, ms)
}

/// Sizes of the kernel's buffers in bytes (it doubles them, and caps them at `net.core.[rw]mem_max`).
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_buffers(fd: BorrowedFd<'_>, send: usize, receive: usize) -> io::Result<()> {
    let int = |bytes: usize| libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, int(send))?;
    set_int(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, int(receive))
}

/// Sets or clears `O_NONBLOCK`.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: F_GETFL passes no memory.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let wanted = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    // SAFETY: F_SETFL passes no memory.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) }).map(drop)
}

/// Whether bytes were sent that the other side has not acknowledged (`SIOCOUTQ` less `SIOCOUTQNSD`), and how long ago it
/// last acknowledged any (`TCP_INFO`; milliseconds).
///
/// # Errors
/// `EINVAL`/`ENOTTY`/`EOPNOTSUPP` when the socket is not TCP or not connected.
pub fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    // linux/sockios.h: bytes in the queue, and those of them that were not sent yet.
    const SIOCOUTQ: libc::Ioctl = libc::TIOCOUTQ;
    const SIOCOUTQNSD: libc::Ioctl = 0x894b;
    let ask = |request| {
        let mut bytes: libc::c_int = 0;
        // SAFETY: both requests write one int to the address given, which is live and writable for the whole call.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut bytes) })?;
        Ok::<_, io::Error>(bytes)
    };
    if ask(SIOCOUTQ)? <= ask(SIOCOUTQNSD)? {
        return Ok(None);
    }
    // SAFETY: tcp_info is plain data for which zeros are valid.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let at = (&raw mut info).cast();
    // SAFETY: `info` and `len` are live and writable for the whole call, and `len` is the size of `info`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, at, &mut len) })?;
    Ok(Some(Duration::from_millis(info.tcpi_last_ack_recv.into())))
}

/// Half-closes: no more reading (`SHUT_RD`), no more writing (`SHUT_WR`) or both (`SHUT_RDWR`).
///
/// # Errors
/// `ENOTCONN` when the connection is gone already.
pub fn shutdown(fd: BorrowedFd<'_>, how: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), how) }).map(drop)
}

/// Breaks the connection now: what is queued is thrown away, a TCP peer gets RST, whoever waits on it is woken with an
/// error. The descriptor stays open (and useless) until its owner drops it.
pub fn reset(fd: BorrowedFd<'_>) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // Failing means that the socket is broken already, which is what is wanted.
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    // Connecting to AF_UNSPEC is how Linux dissolves a TCP connection while other references to it exist: with RST and
    // without sending what was queued. shutdown() would send it, and close() waits for the last reference.
    let unspec = SockAddr::empty();
    // SAFETY: the address is live for the whole call, and AF_UNSPEC needs no more than its family.
    let result = unsafe {
        libc::connect(
            fd.as_raw_fd(),
            unspec.as_raw().0,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result != 0 {
        // A unix socket knows no RST; the peer sees the end of the stream.
        let _ = shutdown(fd, libc::SHUT_RDWR);
    }
}

/// Process, user and group of the other side of a unix socket, as of when it connected.
///
/// # Errors
/// Those of getsockopt(2): `EOPNOTSUPP`/`ENOPROTOOPT` for other sockets.
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
    let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let at = (&raw mut cred).cast();
    // SAFETY: `cred` and `len` are live and writable for the whole call, and `len` is the size of `cred`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, at, &mut len) })?;
    Ok((cred.pid, cred.uid, cred.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["127.0.0.1:24007", "[fe80::1%3]:49152", "[::1]:1"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SockAddr::inet(addr).name(), Name::Inet(addr));
        }
        for path in ["/var/run/glusterd.socket", "\0abstract"] {
            assert_eq!(
                SockAddr::unix(Path::new(path)).unwrap().name(),
                Name::Unix(PathBuf::from(path))
            );
        }
        let unnamed = stream_socket(libc::AF_UNIX).unwrap();
        assert_eq!(local_name(unnamed.as_fd()).unwrap(), Name::Unix(PathBuf::new()));
        assert_eq!(
            SockAddr::unix(Path::new("")).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        let long = "x".repeat(108);
        assert_eq!(
            SockAddr::unix(Path::new(&long)).unwrap_err().raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );
    }

    #[test]
    fn listening_tells_its_port() {
        let fd = listen(&SockAddr::inet("127.0.0.1:0".parse().unwrap())).unwrap();
        let Name::Inet(addr) = local_name(fd.as_fd()).unwrap() else {
            panic!("not inet")
        };
        assert_ne!(addr.port(), 0);
        assert_eq!(peer_name(fd.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    }

    #[test]
    fn what_was_received_is_acknowledged() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_receiver, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut sender, b"nobody reads this").unwrap();
        // The machine acknowledges it, whether the program reads it or not.
        while unacknowledged(sender.as_fd()).unwrap().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn options_of_another_protocol_are_refused() {
        let fd = stream_socket(libc::AF_UNIX).unwrap();
        assert!(set_nodelay(fd.as_fd(), true).is_err());
        let fd = stream_socket(libc::AF_INET).unwrap();
        set_keepalive(fd.as_fd(), Duration::from_secs(20), Duration::from_secs(2), 9).unwrap();
        set_user_timeout(fd.as_fd(), Duration::from_secs(42)).unwrap();
        set_buffers(fd.as_fd(), 1 << 20, 1 << 20).unwrap();
    }

    #[test]
    fn a_dead_unix_socket_file_is_recognised() {
        let dir = std::env::temp_dir().join(format!("ringluster-net-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let addr = SockAddr::unix(&dir.join("s")).unwrap();
        let fd = listen(&addr).unwrap();
        assert!(unix_listener_alive(&addr));
        drop(fd);
        assert!(!unix_listener_alive(&addr));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
