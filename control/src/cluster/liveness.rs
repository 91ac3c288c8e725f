//! Who answers: a ping to every peer about twice a second. Raft's own messages do not tell it to every node, and the
//! daemon wants to know of every peer.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use datapath::wire::Gfid;

use super::Inner;
use super::links::{Lane, Target};
use super::types::{ClusterError, Peer};
use super::wire::{Ping, Pong, Procedure};
use crate::rt::{self, Instant, OwnedTask};

/// Between two pings of a peer.
const INTERVAL: Duration = Duration::from_millis(500);
/// Between two pings of a peer that refuses them.
const SOON: Duration = Duration::from_millis(100);
/// A peer that has been silent for longer is not connected.
const SILENCE: Duration = Duration::from_millis(1500);

/// One or two pings: within this time all that can answer have.
const LATELY: Duration = Duration::from_millis(900);
/// How long requests to a node that is not connected go on.
const GIVE_UP: Duration = Duration::from_secs(4);
/// How long connections to a node that is no longer a peer are kept.
const FORGET: Duration = Duration::from_secs(10);

/// Keeps one pinging task per peer, until the cluster is dropped.
pub(super) async fn watch_peers(cluster: Weak<Inner>) {
    let mut tasks: HashMap<Gfid, OwnedTask<()>> = HashMap::new();
    let Some(mut watch) = cluster.upgrade().map(|inner| inner.published.subscribe()) else {
        return;
    };
    loop {
        {
            let Some(inner) = cluster.upgrade() else { return };
            let (state, me) = (watch.borrow_and_update().clone(), inner.identity.borrow().uuid);
            let others: Vec<Gfid> = state
                .peers
                .iter()
                .map(|peer| peer.uuid)
                .filter(|uuid| *uuid != me)
                .collect();
            tasks.retain(|uuid, _| others.contains(uuid) || inner.lose(*uuid));
            for uuid in others {
                let start = || rt::spawn_owned(ping_for_ever(cluster.clone(), uuid));
                tasks.entry(uuid).or_insert_with(start);
            }
        }
        if watch.changed().await.is_err() {
            return;
        }
    }
}

async fn ping_for_ever(cluster: Weak<Inner>, uuid: Gfid) {
    loop {
        let begun = Instant::now();
        let (pause, soon) = {
            let Some(inner) = cluster.upgrade() else { return };
            let state = inner.state();
            let Some(peer) = state.peer(uuid) else { return };
            let result = inner.ping(peer).await;
            // One that does not know this node yet is about to learn of it.
            let pause = match &result {
                Err(ClusterError::Denied(_) | ClusterError::NotMember(_)) => SOON,
                _ => INTERVAL,
            };
            inner.note(peer, result);
            (pause, inner.ping_soon.clone())
        };
        let _ = rt::timeout(pause.saturating_sub(begun.elapsed()), soon.notified()).await;
    }
}

impl Inner {
    /// Asks a peer, in its present life, whether it is there.
    pub(super) async fn ping(&self, peer: &Peer) -> Result<(), ClusterError> {
        let from = self.identity.borrow().uuid;
        let envelope = self.envelope(peer.raft_id, Ping { from });
        let target = Target::from(peer);
        let call = self
            .links
            .call::<_, Pong>(&target, Lane::Raft, Procedure::Ping, (&envelope, b""), SILENCE);
        let (pong, _) = call.await?;
        self.links.learn(peer.uuid, pong.addresses);
        Ok(())
    }

    /// Notes a ping's end; each transition is one log line.
    fn note(self: &Rc<Self>, peer: &Peer, result: Result<(), ClusterError>) {
        let name = Target::from(peer);
        let was = self.heard.borrow().get(&peer.uuid).copied();
        match result {
            Ok(()) => {
                self.links.found(peer.uuid);
                if self.heard.borrow_mut().insert(peer.uuid, Instant::now()).is_none() {
                    tracing::info!("peer {} ({name}) is connected", peer.uuid);
                }
            }
            Err(e) => {
                // Its host may have vanished without a word.
                if matches!(e, ClusterError::Uncertain(_)) {
                    self.links.lose(peer.uuid);
                }
                if was.is_some_and(|was| was.elapsed() > SILENCE) {
                    self.heard.borrow_mut().remove(&peer.uuid);
                    self.give_up(peer.uuid);
                    let (ClusterError::Uncertain(why) | ClusterError::Unreachable(why)) = e else {
                        return tracing::warn!("peer {} ({name}) is disconnected: {e}", peer.uuid);
                    };
                    tracing::warn!("peer {} is disconnected: {why}", peer.uuid);
                }
            }
        }
    }

    /// Ends the requests to a node that stays away. They may take long, and a busy node is not a dead one.
    fn give_up(self: &Rc<Self>, uuid: Gfid) {
        let cluster = Rc::downgrade(self);
        rt::spawn(async move {
            rt::sleep(GIVE_UP).await;
            if let Some(inner) = cluster.upgrade()
                && !inner.connected(uuid)
            {
                inner.links.drop_lane(uuid, Lane::Requests);
            }
        });
    }

    /// Forgets a node that is no peer any more. False, for use in `retain`.
    fn lose(self: &Rc<Self>, uuid: Gfid) -> bool {
        let cluster = Rc::downgrade(self);
        rt::spawn(async move {
            // It may still owe an answer, the one to its own removal for instance.
            rt::sleep(FORGET).await;
            if let Some(inner) = cluster.upgrade()
                && inner.state().peer(uuid).is_none()
            {
                inner.links.forget(uuid);
            }
        });
        if self.heard.borrow_mut().remove(&uuid).is_some() {
            tracing::info!("peer {uuid} is no longer watched");
        }
        false
    }

    pub(super) fn connected(&self, uuid: Gfid) -> bool {
        self.heard_within(uuid, SILENCE)
    }

    fn heard_within(&self, uuid: Gfid, limit: Duration) -> bool {
        let heard = self.heard.borrow().get(&uuid).copied();
        uuid == self.identity.borrow().uuid || heard.is_some_and(|heard| heard.elapsed() <= limit)
    }

    /// Whether a majority of every set of voters that counts is connected.
    pub(super) fn has_quorum(&self) -> bool {
        self.hears_majority(SILENCE)
    }

    /// Whether a majority has answered so lately that an election may be won.
    pub(super) fn may_win(&self) -> bool {
        self.hears_majority(LATELY)
    }

    fn hears_majority(&self, limit: Duration) -> bool {
        let Ok(running) = self.running() else { return false };
        let membership = running.raft.metrics().borrow().membership_config.clone();
        let configs = membership.membership().get_joint_config();
        let me = self.identity.borrow().raft_id;
        let state = self.state();
        // By raft id: the next life of a wiped node is not the voter it was.
        let alive = |raft_id: &&u64| {
            let peer = state.peer_of_raft(**raft_id);
            **raft_id == me || peer.is_some_and(|peer| self.heard_within(peer.uuid, limit))
        };
        let is_most = |voters: &BTreeSet<u64>| 2 * voters.iter().filter(alive).count() > voters.len();
        !configs.is_empty() && configs.iter().all(is_most)
    }
}

/// Answers a ping.
pub(super) fn pong(inner: &Rc<Inner>, from: Gfid) -> Pong {
    // The way is open again: look at once, not at the next turn.
    if !inner.connected(from) && inner.state().peer(from).is_some() {
        inner.ping_soon.notify_waiters();
    }
    Pong {
        uuid: inner.identity.borrow().uuid,
        addresses: own_addresses(),
    }
}

/// The addresses this machine may call from.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let addresses = datapath::sys::host::interface_addresses().unwrap_or_default();
    addresses.into_iter().filter(|address| !address.is_loopback()).collect()
}
