//! What a test can do to the world: cut links, kill, stop and power off hosts, hang disks.

use std::time::Duration;

use super::Sim;
use super::world::{Event, World};
use crate::exec::host::{self, HostId};

/// Longest wait of a retransmission after its link came back.
const LONGEST_BACKOFF_NS: u64 = 30_000_000_000;

impl Sim {
    /// Cuts the link between two hosts, both ways. What is under way is held.
    pub fn partition(&self, a: HostId, b: HostId) {
        let mut world = self.world.borrow_mut();
        world.record("partition", a, b, 0, &[]);
        world.cut.insert((a, b));
        world.cut.insert((b, a));
    }

    /// Cuts one direction only: `to` hears nothing from `from` any more.
    pub fn partition_one_way(&self, from: HostId, to: HostId) {
        let mut world = self.world.borrow_mut();
        world.record("partition one way", from, to, 0, &[]);
        world.cut.insert((from, to));
    }

    /// Joins two hosts again. What was held arrives after a while, as by retransmission.
    pub fn heal(&self, a: HostId, b: HostId) {
        let mut world = self.world.borrow_mut();
        world.record("heal", a, b, 0, &[]);
        world.cut.remove(&(a, b));
        world.cut.remove(&(b, a));
        world.retransmit();
    }

    /// Cuts `host` off from every other one of `others`.
    pub fn isolate(&self, host: HostId, others: impl IntoIterator<Item = HostId>) {
        for other in others {
            if other != host {
                self.partition(host, other);
            }
        }
    }

    /// Kills the processes of a host: its tasks are dropped, its listeners go, its connections are reset.
    /// Returns the number of tasks that were dropped.
    pub fn kill(&self, host: HostId) -> usize {
        self.world.borrow_mut().kill(host, true);
        host::abort_tasks(host)
    }

    /// Cuts a host's power: as [`Sim::kill`], but nobody is told. Peers notice by silence, or, after
    /// [`Sim::power_on`], by the reset that answers what they send.
    pub fn power_off(&self, host: HostId) -> usize {
        {
            let mut world = self.world.borrow_mut();
            world.powered_off.insert(host);
            world.kill(host, false);
        }
        host::abort_tasks(host)
    }

    /// The machine is back; its services must be started again ([`host::spawn_on`]).
    pub fn power_on(&self, host: HostId) {
        let mut world = self.world.borrow_mut();
        world.record("power on", host, host, 0, &[]);
        world.powered_off.remove(&host);
        world.retransmit();
    }

    /// Stops a host's processes as SIGSTOP does: none of its tasks runs until [`Sim::resume`], while its network side
    /// still accepts connections and bytes, as far as windows allow.
    pub fn stop(&self, host: HostId) {
        self.world.borrow_mut().record("stop", host, host, 0, &[]);
        host::pause(host);
    }

    /// Lets a stopped host go on.
    pub fn resume(&self, host: HostId) {
        self.world.borrow_mut().record("resume", host, host, 0, &[]);
        host::resume(host);
    }

    /// Resets all connections between two hosts; new ones are possible at once.
    pub fn reset_connections(&self, a: HostId, b: HostId) {
        let mut world = self.world.borrow_mut();
        let between = world.endpoints.iter().filter(|(_, endpoint)| {
            (endpoint.host == a && endpoint.peer_host == b) || (endpoint.host == b && endpoint.peer_host == a)
        });
        let ids: Vec<u64> = between.map(|(id, _)| *id).collect();
        for id in ids {
            world.break_endpoint(id, libc::ECONNRESET);
        }
    }

    /// Sets a link's one-way latency (jitter is added).
    pub fn set_latency(&self, a: HostId, b: HostId, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX / 4);
        self.world.borrow_mut().latency.insert((a.min(b), a.max(b)), ns);
    }

    /// From now on, no file operation of `host` completes, until [`Sim::resume_disk`].
    pub fn hang_disk(&self, host: HostId) {
        let mut world = self.world.borrow_mut();
        world.record("hang disk", host, host, 0, &[]);
        world.hung_disks.entry(host).or_default();
    }

    /// Completes what waited for a hung disk.
    pub fn resume_disk(&self, host: HostId) {
        let mut world = self.world.borrow_mut();
        world.record("resume disk", host, host, 0, &[]);
        let now = world.now;
        for completion in world.hung_disks.remove(&host).unwrap_or_default() {
            world.at(now, Event::File { host, completion });
        }
    }
}

impl World {
    fn kill(&mut self, host: HostId, tell: bool) {
        self.record(if tell { "kill" } else { "power off" }, host, host, 0, &[]);
        let mine = self.ports.iter().filter(|(_, port)| port.host == host);
        let ports: Vec<u64> = mine.map(|(id, _)| *id).collect();
        let mine = self.endpoints.iter().filter(|(_, endpoint)| endpoint.host == host);
        let endpoints: Vec<u64> = mine.map(|(id, _)| *id).collect();
        for id in ports {
            self.close(id);
        }
        for id in endpoints {
            if tell {
                self.abort(id);
            }
            self.drop_endpoint(id);
            if !tell {
                self.pipes.remove(&id);
            }
        }
    }

    /// Restarts the pipes whose link works again.
    fn retransmit(&mut self) {
        for (endpoint, from) in std::mem::take(&mut self.unheard_resets) {
            let time = self.now + self.latency(from, from);
            self.at(time, Event::Reset { endpoint, from });
        }
        let stalled = self.pipes.iter().filter(|(_, pipe)| pipe.stalled.is_some());
        let stalled: Vec<u64> = stalled.map(|(id, _)| *id).collect();
        for id in stalled {
            let Some(pipe) = self.pipes.get(&id) else { continue };
            let (from, to, since) = (pipe.from_host, pipe.to_host, pipe.stalled.unwrap_or(self.now));
            if !self.link_up(from, to) {
                continue;
            }
            // Back-off doubles: the next attempt may be as far away as the outage was long.
            let backoff = self.rng.between(0, (self.now - since).min(LONGEST_BACKOFF_NS));
            let time = self.now + self.latency(from, to) + backoff;
            if let Some(pipe) = self.pipes.get_mut(&id) {
                pipe.stalled = None;
                pipe.busy = true;
            }
            self.at(time, Event::Deliver { pipe: id });
        }
    }
}
