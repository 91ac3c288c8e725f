//! The world: time, the queue of events and everything that exists.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use super::net::{Endpoint, Pipe, Port};
use super::rng::Rng;
use super::trace::{Happening, Trace};
use super::{SimConfig, SimSocket};
use crate::exec::driver::{Completion, Key, Payload};
use crate::exec::host::HostId;
use crate::exec::net::Addr;

/// What will happen at its time.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection attempt reaches the other host; how often it was tried before.
    Syn { endpoint: u64, attempt: u32 },
    /// The answer reaches the host that connects.
    SynAck { endpoint: u64, server: u64, attempt: u32 },
    /// The refusal does.
    Refused { endpoint: u64 },
    /// The next segment of a pipe (named by its sending endpoint) arrives.
    Deliver { pipe: u64 },
    /// Somebody sent to a socket that is gone, and is told.
    Reset { endpoint: u64, from: HostId },
    /// Data has been unacknowledged for as long as the socket allows, if its pipe is stalled since `since`.
    Unacknowledged { endpoint: u64, since: u64 },
    /// A file operation is done.
    File { host: HostId, completion: Completion },
}

/// What an operation in flight hangs on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    Connect(u64),
    Accept(u64),
    Receive(u64),
    Send(u64),
    File,
}

/// Everything there is.
pub(super) struct World {
    pub(super) config: SimConfig,
    /// Nanoseconds since the start.
    pub(super) now: u64,
    /// For the network; the tasks' random bytes come from another stream, so that a task that draws more does not
    /// change the latencies.
    pub(super) rng: Rng,
    pub(super) task_rng: Rng,
    pub(super) trace: Trace,
    /// By time, then in the order of scheduling.
    pub(super) events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub(super) done: Vec<Completion>,
    pub(super) pending: BTreeMap<Key, Pending>,
    last_socket: u64,
    pub(super) endpoints: BTreeMap<u64, Endpoint>,
    pub(super) pipes: BTreeMap<u64, Pipe>,
    pub(super) ports: BTreeMap<u64, Port>,
    pub(super) bound: BTreeMap<(HostId, Addr), u64>,
    pub(super) next_port: BTreeMap<HostId, u16>,
    pub(super) closing: Rc<RefCell<Vec<u64>>>,
    /// Links cut, in the direction (from, to).
    pub(super) cut: BTreeSet<(HostId, HostId)>,
    pub(super) powered_off: BTreeSet<HostId>,
    /// Base latency by link, drawn when first used or set by the test.
    pub(super) latency: BTreeMap<(HostId, HostId), u64>,
    /// Resets that met a cut link: (whom to tell, who tells).
    pub(super) unheard_resets: Vec<(u64, HostId)>,
    /// Hosts whose disk hangs, and what waits for it.
    pub(super) hung_disks: BTreeMap<HostId, Vec<Completion>>,
}

impl World {
    pub(super) fn new(config: SimConfig) -> World {
        World {
            now: 0,
            rng: Rng::new(config.seed),
            task_rng: Rng::new(config.seed ^ 0x7461_736b_7461_736b),
            trace: Trace::new(config.keep_log),
            config,
            events: BTreeMap::new(),
            scheduled: 0,
            done: Vec::new(),
            pending: BTreeMap::new(),
            last_socket: 0,
            endpoints: BTreeMap::new(),
            pipes: BTreeMap::new(),
            ports: BTreeMap::new(),
            bound: BTreeMap::new(),
            next_port: BTreeMap::new(),
            closing: Rc::default(),
            cut: BTreeSet::new(),
            powered_off: BTreeSet::new(),
            latency: BTreeMap::new(),
            unheard_resets: Vec::new(),
            hung_disks: BTreeMap::new(),
        }
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((time.max(self.now), self.scheduled), event);
    }

    pub(super) fn new_socket(&mut self) -> (u64, Rc<SimSocket>) {
        self.last_socket += 1;
        let id = self.last_socket;
        (
            id,
            Rc::new(SimSocket {
                id,
                closing: Rc::clone(&self.closing),
            }),
        )
    }

    pub(super) fn complete(&mut self, key: Key, result: io::Result<usize>, payload: Payload) {
        self.pending.remove(&key);
        self.done.push(Completion { key, result, payload });
    }

    pub(super) fn fail(&mut self, key: Key, errno: i32, payload: Payload) {
        self.complete(key, Err(io::Error::from_raw_os_error(errno)), payload);
    }

    pub(super) fn record(&mut self, what: &'static str, from: HostId, to: HostId, socket: u64, data: &[u8]) {
        self.trace.record(
            self.now,
            Happening {
                what,
                from,
                to,
                socket,
                data,
            },
        );
    }

    /// Whether a segment gets through.
    pub(super) fn link_up(&self, from: HostId, to: HostId) -> bool {
        let off = |host| self.powered_off.contains(&host);
        !off(from) && !off(to) && !self.cut.contains(&(from, to))
    }

    /// One segment's time on a link.
    pub(super) fn latency(&mut self, from: HostId, to: HostId) -> u64 {
        let link = (from.min(to), from.max(to));
        let base = match self.latency.get(&link) {
            Some(base) => *base,
            None => {
                let (low, high) = if from == to {
                    (2_000, 10_000)
                } else {
                    self.config.latency_ns
                };
                let base = self.rng.between(low, high);
                self.latency.insert(link, base);
                base
            }
        };
        base + self.rng.between(0, self.config.jitter_ns)
    }

    /// Closes the sockets whose last reference went.
    pub(super) fn close_dropped(&mut self) {
        loop {
            let next = self.closing.borrow_mut().pop();
            match next {
                Some(id) => self.close(id),
                None => return,
            }
        }
    }

    /// Lets the next event happen if it is due by `limit`; false if none is.
    pub(super) fn step(&mut self, limit: u64) -> bool {
        match self.events.first_entry() {
            Some(first) if first.key().0 <= limit => {
                let ((time, _), event) = first.remove_entry();
                self.now = self.now.max(time);
                self.happen(event);
                self.close_dropped();
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Syn { endpoint, attempt } => self.syn(endpoint, attempt),
            Event::SynAck {
                endpoint,
                server,
                attempt,
            } => self.syn_ack(endpoint, server, attempt),
            Event::Refused { endpoint } => self.connect_failed(endpoint, libc::ECONNREFUSED),
            Event::Deliver { pipe } => self.deliver(pipe),
            Event::Reset { endpoint, from } => self.told_gone(endpoint, from),
            Event::Unacknowledged { endpoint, since } => {
                if self
                    .pipes
                    .get(&endpoint)
                    .is_some_and(|pipe| pipe.stalled == Some(since))
                {
                    self.break_endpoint(endpoint, libc::ETIMEDOUT);
                }
            }
            Event::File { host, completion } => match self.hung_disks.get_mut(&host) {
                Some(waiting) => waiting.push(completion),
                None => {
                    // Cancelled ones have completed already.
                    if self.pending.remove(&completion.key).is_some() {
                        self.done.push(completion);
                    }
                }
            },
        }
    }
}
