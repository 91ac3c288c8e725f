//! The network: listening ports, stream endpoints, and the pipe that carries segments from one endpoint to the other.
//!
//! Every endpoint sends through one pipe, named after it. A pipe delivers its segments one after the other, each at its
//! time; while its link is down it stalls. So bytes, the end of the stream and resets keep their order whatever happens.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::world::{Event, Pending, World};
use super::{SimSocket, ip_of};
use crate::exec::buf::PageBuf;
use crate::exec::driver::{Connected, Key, Payload, Socket};
use crate::exec::host::HostId;
use crate::exec::net::{Addr, Shutdown};

/// Attempts to connect before giving up: at 0, 1, 3, 7, 15, 31 and 63 seconds, failing at 127.
const SYN_ATTEMPTS: u32 = 7;
const SECOND_NS: u64 = 1_000_000_000;
/// Largest segment.
const SEGMENT_BYTES: usize = 64 << 10;

/// A listening socket.
pub(super) struct Port {
    pub(super) host: HostId,
    addr: Addr,
    /// Connected, waiting to be accepted.
    backlog: VecDeque<(u64, Rc<SimSocket>)>,
    accepting: VecDeque<Key>,
}

enum State {
    Connecting { key: Key, socket: Rc<SimSocket> },
    Open,
    Broken(i32),
}

struct Receive {
    key: Key,
    buf: PageBuf,
    at: usize,
    len: usize,
    all: bool,
    got: usize,
    /// Keeps the socket open.
    _socket: Socket,
}

struct Sending {
    key: Key,
    left: VecDeque<Bytes>,
    total: usize,
    /// Keeps the socket open.
    _socket: Socket,
}

/// One end of a stream.
pub(super) struct Endpoint {
    pub(super) host: HostId,
    pub(super) peer_host: HostId,
    local: Addr,
    peer: Addr,
    state: State,
    arrived: VecDeque<Bytes>,
    /// The other side has finished sending.
    ended: bool,
    /// This side has.
    finished: bool,
    receive: Option<Receive>,
    sending: Option<Sending>,
    /// Bytes that may still be sent.
    window: usize,
    /// Bytes read since the other side's window was last opened.
    consumed: usize,
    pub(super) user_timeout: Option<u64>,
}

/// What a pipe carries.
enum Segment {
    Data(Bytes),
    End,
    Reset,
    /// The other side may send so many more bytes.
    Window(usize),
}

/// One direction of a stream.
pub(super) struct Pipe {
    to: u64,
    pub(super) from_host: HostId,
    pub(super) to_host: HostId,
    /// Segments and when they arrive, in order.
    queue: VecDeque<(u64, Segment)>,
    /// A delivery is scheduled.
    pub(super) busy: bool,
    /// Since when the link is down (noticed by trying to deliver).
    pub(super) stalled: Option<u64>,
}

impl World {
    // ---- setting up ----

    fn free_port(&mut self, host: HostId) -> u16 {
        let next = self.next_port.entry(host).or_insert(49_151);
        *next = next.checked_add(1).unwrap_or(32_768);
        *next
    }

    pub(super) fn listen(&mut self, host: HostId, addr: &Addr) -> io::Result<(Socket, Addr)> {
        let mut addr = addr.clone();
        if let Addr::Inet(inet) = &mut addr {
            let ip = inet.ip();
            if !(ip.is_loopback() || ip.is_unspecified() || ip == ip_of(host)) {
                return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
            }
            if inet.port() == 0 {
                inet.set_port(self.free_port(host));
            }
        }
        if self.bound.contains_key(&(host, addr.clone())) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let (id, socket) = self.new_socket();
        self.bound.insert((host, addr.clone()), id);
        let port = Port {
            host,
            addr: addr.clone(),
            backlog: VecDeque::new(),
            accepting: VecDeque::new(),
        };
        self.ports.insert(id, port);
        Ok((Socket::Sim(socket), addr))
    }

    pub(super) fn accept(&mut self, key: Key, socket: &Socket) {
        let Socket::Sim(socket) = socket else {
            return self.fail(key, libc::ENOTSOCK, Payload::None);
        };
        let Some(port) = self.ports.get_mut(&socket.id) else {
            return self.fail(key, libc::EINVAL, Payload::None);
        };
        port.accepting.push_back(key);
        self.pending.insert(key, Pending::Accept(socket.id));
        self.match_accepts(socket.id);
    }

    fn match_accepts(&mut self, id: u64) {
        while let Some(port) = self.ports.get_mut(&id)
            && !port.accepting.is_empty()
            && let Some((endpoint, socket)) = port.backlog.pop_front()
            && let Some(key) = port.accepting.pop_front()
        {
            self.connected(key, endpoint, socket);
        }
    }

    fn connected(&mut self, key: Key, id: u64, socket: Rc<SimSocket>) {
        // An endpoint that is gone was reset meanwhile; its socket works and reports that.
        let unknown = || Addr::Unix(Default::default());
        let (local, peer) = match self.endpoints.get(&id) {
            Some(endpoint) => (endpoint.local.clone(), endpoint.peer.clone()),
            None => (unknown(), unknown()),
        };
        let connected = Connected {
            socket: Socket::Sim(socket),
            local,
            peer,
        };
        self.complete(key, Ok(0), Payload::Connected(Box::new(connected)));
    }

    pub(super) fn connect(&mut self, host: HostId, key: Key, addr: &Addr) {
        let Some(peer_host) = target(host, addr) else {
            return self.fail(key, libc::EHOSTUNREACH, Payload::None);
        };
        if matches!(addr, Addr::Unix(_)) && self.find_port(host, addr).is_none() {
            return self.fail(key, libc::ENOENT, Payload::None);
        }
        let local = match addr {
            Addr::Unix(_) => Addr::Unix(Default::default()),
            Addr::Inet(inet) => {
                let ip = if inet.ip().is_loopback() {
                    inet.ip()
                } else {
                    ip_of(host)
                };
                Addr::Inet(SocketAddr::new(ip, self.free_port(host)))
            }
        };
        let (id, socket) = self.new_socket();
        let state = State::Connecting { key, socket };
        let endpoint = self.endpoint(host, peer_host, (local, addr.clone()), state);
        self.endpoints.insert(id, endpoint);
        self.pending.insert(key, Pending::Connect(id));
        let time = self.now + self.latency(host, peer_host);
        self.at(
            time,
            Event::Syn {
                endpoint: id,
                attempt: 0,
            },
        );
    }

    fn endpoint(&self, host: HostId, peer_host: HostId, names: (Addr, Addr), state: State) -> Endpoint {
        let (local, peer) = names;
        Endpoint {
            host,
            peer_host,
            local,
            peer,
            state,
            arrived: VecDeque::new(),
            ended: false,
            finished: false,
            receive: None,
            sending: None,
            window: self.config.window,
            consumed: 0,
            user_timeout: None,
        }
    }

    fn find_port(&self, host: HostId, addr: &Addr) -> Option<u64> {
        let exact = self.bound.get(&(host, addr.clone()));
        let any = match addr {
            Addr::Inet(inet) => {
                let all = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), inet.port());
                let all6 = SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), inet.port());
                let bound = |addr| self.bound.get(&(host, Addr::Inet(addr)));
                bound(all).or_else(|| bound(all6))
            }
            Addr::Unix(_) => None,
        };
        exact.or(any).copied()
    }

    pub(super) fn syn(&mut self, id: u64, attempt: u32) {
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        let (from, to) = (endpoint.host, endpoint.peer_host);
        let (client, server) = (endpoint.local.clone(), endpoint.peer.clone());
        if !self.link_up(from, to) {
            if attempt >= SYN_ATTEMPTS {
                return self.connect_failed(id, libc::ETIMEDOUT);
            }
            let time = self.now + (SECOND_NS << attempt);
            return self.at(
                time,
                Event::Syn {
                    endpoint: id,
                    attempt: attempt + 1,
                },
            );
        }
        let back = self.now + self.latency(to, from);
        let Some(port) = self.find_port(to, &server) else {
            return self.at(back, Event::Refused { endpoint: id });
        };
        let (other, socket) = self.new_socket();
        let mut accepted = self.endpoint(to, from, (server, client), State::Open);
        accepted.window = self.config.window;
        self.endpoints.insert(other, accepted);
        let pipe = |to_id, from_host, to_host| Pipe {
            to: to_id,
            from_host,
            to_host,
            queue: VecDeque::new(),
            busy: false,
            stalled: None,
        };
        self.pipes.insert(id, pipe(other, from, to));
        self.pipes.insert(other, pipe(id, to, from));
        self.record("connect", from, to, id, &[]);
        if let Some(port) = self.ports.get_mut(&port) {
            port.backlog.push_back((other, socket));
        }
        self.match_accepts(port);
        self.at(
            back,
            Event::SynAck {
                endpoint: id,
                server: other,
                attempt: 0,
            },
        );
    }

    pub(super) fn syn_ack(&mut self, id: u64, server: u64, attempt: u32) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            // The attempt was given up; the server side learns it.
            return self.break_endpoint(server, libc::ECONNRESET);
        };
        let (from, to) = (endpoint.peer_host, endpoint.host);
        if !matches!(endpoint.state, State::Connecting { .. }) {
            return;
        }
        if !self.link_up(from, to) {
            if attempt >= SYN_ATTEMPTS {
                return self.connect_failed(id, libc::ETIMEDOUT);
            }
            let time = self.now + (SECOND_NS << attempt);
            return self.at(
                time,
                Event::SynAck {
                    endpoint: id,
                    server,
                    attempt: attempt + 1,
                },
            );
        }
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if let State::Connecting { key, socket } = std::mem::replace(&mut endpoint.state, State::Open) {
            self.connected(key, id, socket);
        }
    }

    pub(super) fn connect_failed(&mut self, id: u64, errno: i32) {
        if let Some(endpoint) = self.endpoints.remove(&id) {
            self.pipes.remove(&id);
            self.record(
                "connect failed",
                endpoint.host,
                endpoint.peer_host,
                id,
                &errno.to_le_bytes(),
            );
            if let State::Connecting { key, .. } = endpoint.state {
                self.fail(key, errno, Payload::None);
            }
        }
    }

    // ---- segments ----

    fn push(&mut self, id: u64, segment: Segment) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        let time = self.now + self.latency(pipe.from_host, pipe.to_host);
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let time = pipe.queue.back().map_or(time, |(last, _)| time.max(*last));
        pipe.queue.push_back((time, segment));
        if !pipe.busy && pipe.stalled.is_none() {
            pipe.busy = true;
            self.at(time, Event::Deliver { pipe: id });
        }
    }

    /// How long an endpoint's data has not been delivered, if there is any: since its link went down.
    pub(super) fn unacknowledged(&self, id: u64) -> Option<Duration> {
        let pipe = self.pipes.get(&id)?;
        let has_data = pipe
            .queue
            .iter()
            .any(|(_, segment)| matches!(segment, Segment::Data(_)));
        has_data.then(|| Duration::from_nanos(pipe.stalled.map_or(0, |since| self.now - since)))
    }

    pub(super) fn deliver(&mut self, id: u64) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        let (from, to, target) = (pipe.from_host, pipe.to_host, pipe.to);
        let up = self.link_up(from, to);
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.busy = false;
        if !up {
            pipe.stalled = Some(now);
            if let Some(time) = self.endpoints.get(&id).and_then(|endpoint| endpoint.user_timeout) {
                self.at(
                    now.saturating_add(time),
                    Event::Unacknowledged {
                        endpoint: id,
                        since: now,
                    },
                );
            }
            return;
        }
        if let Some((time, _)) = pipe.queue.front()
            && *time > now
        {
            // The queue was cleared and filled again since this delivery was scheduled.
            pipe.busy = true;
            let time = *time;
            return self.at(time, Event::Deliver { pipe: id });
        }
        let Some((_, segment)) = pipe.queue.pop_front() else {
            return;
        };
        match pipe.queue.front() {
            Some((time, _)) => {
                pipe.busy = true;
                let time = *time;
                self.at(time, Event::Deliver { pipe: id });
            }
            None if !self.endpoints.contains_key(&id) => {
                self.pipes.remove(&id);
            }
            None => {}
        }
        self.arrive((id, from), (target, to), segment);
    }

    fn arrive(&mut self, (source, from): (u64, HostId), (id, to): (u64, HostId), segment: Segment) {
        match &segment {
            Segment::Data(data) => self.record("data", from, to, id, data),
            Segment::End => self.record("end", from, to, id, &[]),
            Segment::Reset => self.record("reset", from, to, id, &[]),
            Segment::Window(_) => {}
        }
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            if matches!(segment, Segment::Data(_) | Segment::End) {
                let time = self.now + self.latency(to, from);
                self.at(
                    time,
                    Event::Reset {
                        endpoint: source,
                        from: to,
                    },
                );
            }
            return;
        };
        match segment {
            Segment::Data(data) => {
                endpoint.arrived.push_back(data);
                self.fill_receive(id);
            }
            Segment::End => {
                endpoint.ended = true;
                self.fill_receive(id);
            }
            Segment::Reset => self.break_endpoint(id, libc::ECONNRESET),
            Segment::Window(bytes) => {
                endpoint.window += bytes;
                self.continue_send(id);
            }
        }
    }

    /// The answer to a segment for a socket that is gone.
    pub(super) fn told_gone(&mut self, id: u64, from: HostId) {
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        let to = endpoint.host;
        if self.link_up(from, to) {
            self.record("reset", from, to, id, &[]);
            self.break_endpoint(id, libc::ECONNRESET);
        } else {
            // What was sent is sent again when the link is back, and answered then.
            self.unheard_resets.push((id, from));
        }
    }

    // ---- data ----

    pub(super) fn receive(&mut self, key: Key, socket: Socket, buf: PageBuf, what: (usize, usize, bool)) {
        let (at, len, all) = what;
        let id = match &socket {
            Socket::Sim(socket) => socket.id,
            Socket::Kernel(_) => return self.fail(key, libc::ENOTSOCK, Payload::Buf(buf)),
        };
        if at.checked_add(len).is_none_or(|end| end > buf.len()) {
            return self.fail(key, libc::EFAULT, Payload::Buf(buf));
        }
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return self.fail(key, libc::ENOTCONN, Payload::Buf(buf));
        };
        if endpoint.receive.is_some() {
            return self.fail(key, libc::EBUSY, Payload::Buf(buf));
        }
        endpoint.receive = Some(Receive {
            key,
            buf,
            at,
            len,
            all,
            got: 0,
            _socket: socket,
        });
        self.pending.insert(key, Pending::Receive(id));
        self.fill_receive(id);
    }

    /// Gives what has arrived to the receive that waits for it.
    fn fill_receive(&mut self, id: u64) {
        let open_at = self.config.window / 4;
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        let Some(receive) = &mut endpoint.receive else { return };
        while receive.got < receive.len
            && let Some(first) = endpoint.arrived.front_mut()
        {
            let count = first.len().min(receive.len - receive.got);
            let at = receive.at + receive.got;
            receive.buf[at..at + count].copy_from_slice(&first.split_to(count));
            receive.got += count;
            endpoint.consumed += count;
            if first.is_empty() {
                endpoint.arrived.pop_front();
            }
        }
        let broken = match endpoint.state {
            State::Broken(errno) => Some(errno),
            State::Connecting { .. } | State::Open => None,
        };
        let over = endpoint.ended || broken.is_some();
        let enough = if receive.all {
            receive.got == receive.len
        } else {
            receive.got > 0
        };
        if (enough || over)
            && let Some(Receive { key, buf, got, .. }) = endpoint.receive.take()
        {
            match broken {
                Some(errno) if got == 0 => self.fail(key, errno, Payload::Buf(buf)),
                _ => self.complete(key, Ok(got), Payload::Buf(buf)),
            }
        }
        if let Some(endpoint) = self.endpoints.get_mut(&id)
            && endpoint.consumed >= open_at
        {
            let bytes = std::mem::take(&mut endpoint.consumed);
            self.push(id, Segment::Window(bytes));
        }
    }

    pub(super) fn send(&mut self, key: Key, socket: Socket, bufs: Vec<Bytes>) {
        let id = match &socket {
            Socket::Sim(socket) => socket.id,
            Socket::Kernel(_) => return self.fail(key, libc::ENOTSOCK, Payload::None),
        };
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return self.fail(key, libc::EPIPE, Payload::None);
        };
        match endpoint.state {
            State::Broken(errno) => return self.fail(key, errno, Payload::None),
            State::Connecting { .. } => return self.fail(key, libc::ENOTCONN, Payload::None),
            State::Open if endpoint.finished => return self.fail(key, libc::EPIPE, Payload::None),
            State::Open if endpoint.sending.is_some() => return self.fail(key, libc::EBUSY, Payload::None),
            State::Open => {}
        }
        let left: VecDeque<Bytes> = bufs.into_iter().filter(|buf| !buf.is_empty()).collect();
        let total = left.iter().map(Bytes::len).sum();
        endpoint.sending = Some(Sending {
            key,
            left,
            total,
            _socket: socket,
        });
        self.pending.insert(key, Pending::Send(id));
        self.continue_send(id);
    }

    /// Sends as much as the window allows, cut at random places.
    fn continue_send(&mut self, id: u64) {
        loop {
            let odd = self.rng.one_in(8);
            let random = self.rng.next_u64();
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                return;
            };
            let Some(sending) = &mut endpoint.sending else { return };
            let Some(first) = sending.left.front_mut() else {
                if let Some(Sending { key, total, .. }) = endpoint.sending.take() {
                    self.complete(key, Ok(total), Payload::None);
                }
                return;
            };
            let most = first.len().min(endpoint.window).min(SEGMENT_BYTES);
            if most == 0 {
                return;
            }
            let count = if odd { 1 + (random % most as u64) as usize } else { most };
            let data = first.split_to(count);
            if first.is_empty() {
                sending.left.pop_front();
            }
            endpoint.window -= count;
            self.push(id, Segment::Data(data));
        }
    }

    // ---- ending ----

    pub(super) fn cancel(&mut self, key: Key) {
        let Some(pending) = self.pending.remove(&key) else {
            return;
        };
        let mut payload = Payload::None;
        match pending {
            Pending::Connect(id) => {
                self.endpoints.remove(&id);
                self.pipes.remove(&id);
            }
            Pending::Accept(id) => {
                if let Some(port) = self.ports.get_mut(&id) {
                    port.accepting.retain(|waiting| *waiting != key);
                }
            }
            Pending::Receive(id) => {
                if let Some(receive) = self.endpoints.get_mut(&id).and_then(|endpoint| endpoint.receive.take()) {
                    payload = Payload::Buf(receive.buf);
                }
            }
            Pending::Send(id) => {
                if let Some(endpoint) = self.endpoints.get_mut(&id) {
                    endpoint.sending = None;
                }
            }
            Pending::File => {}
        }
        self.fail(key, libc::ECANCELED, payload);
        self.close_dropped();
    }

    /// Breaks an endpoint: operations on it fail, now and later.
    pub(super) fn break_endpoint(&mut self, id: u64, errno: i32) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        let old = std::mem::replace(&mut endpoint.state, State::Broken(errno));
        let sending = endpoint.sending.take();
        if errno == libc::ECONNRESET {
            // A reset discards what was not read, as the kernel does.
            endpoint.arrived.clear();
        }
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.queue.clear();
        }
        if let State::Connecting { key, .. } = old {
            self.fail(key, errno, Payload::None);
        }
        if let Some(Sending { key, .. }) = sending {
            self.fail(key, errno, Payload::None);
        }
        self.fill_receive(id);
    }

    /// Stream::abort: this side breaks, the other side is reset.
    pub(super) fn abort(&mut self, id: u64) {
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        if matches!(endpoint.state, State::Broken(_)) {
            return;
        }
        self.break_endpoint(id, libc::ECONNABORTED);
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.arrived.clear();
        }
        self.push(id, Segment::Reset);
    }

    pub(super) fn shutdown(&mut self, id: u64, how: Shutdown) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::ENOTCONN);
        let endpoint = self.endpoints.get_mut(&id).ok_or_else(gone)?;
        if !matches!(endpoint.state, State::Open) {
            return Err(gone());
        }
        if how != Shutdown::Read && !std::mem::replace(&mut endpoint.finished, true) {
            self.push(id, Segment::End);
        }
        if how != Shutdown::Write
            && let Some(endpoint) = self.endpoints.get_mut(&id)
        {
            endpoint.ended = true;
            self.fill_receive(id);
        }
        Ok(())
    }

    /// The last reference to a socket went.
    pub(super) fn close(&mut self, id: u64) {
        if let Some(port) = self.ports.remove(&id) {
            self.bound.remove(&(port.host, port.addr));
            for key in port.accepting {
                self.fail(key, libc::ECONNABORTED, Payload::None);
            }
            for (endpoint, _socket) in port.backlog {
                self.abort(endpoint);
            }
            return;
        }
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        if matches!(endpoint.state, State::Open) && !endpoint.finished {
            let unread = !endpoint.arrived.is_empty();
            self.push(id, if unread { Segment::Reset } else { Segment::End });
        }
        self.drop_endpoint(id);
    }

    /// Forgets an endpoint; what it has sent is still delivered.
    pub(super) fn drop_endpoint(&mut self, id: u64) {
        let Some(endpoint) = self.endpoints.remove(&id) else {
            return;
        };
        if let State::Connecting { key, .. } = endpoint.state {
            self.fail(key, libc::ECONNABORTED, Payload::None);
        }
        if let Some(Receive { key, buf, .. }) = endpoint.receive {
            self.fail(key, libc::ECONNABORTED, Payload::Buf(buf));
        }
        if let Some(Sending { key, .. }) = endpoint.sending {
            self.fail(key, libc::ECONNABORTED, Payload::None);
        }
        if self.pipes.get(&id).is_some_and(|pipe| pipe.queue.is_empty()) {
            self.pipes.remove(&id);
        }
    }
}

/// The host that an address leads to from `host`.
fn target(host: HostId, addr: &Addr) -> Option<HostId> {
    let Addr::Inet(inet) = addr else { return Some(host) };
    let ip = inet.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return Some(host);
    }
    match ip {
        IpAddr::V4(v4) => match v4.octets() {
            [10, 0, high, low] => Some(HostId(u16::from_be_bytes([high, low]))),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}
