//! What every node does by itself from time to time: the leader keeps the membership as `voters.rs` wants it, any node
//! keeps its own record true, finds out whether it is still a member, and restarts raft after a failure of its store.

use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

use openraft::{ChangeMembers, RaftMetrics, ServerState};

use super::Inner;
use super::machine::Action;
use super::raft::Member;
use super::types::{Change, ClusterError, Peer};
use super::voters::{self, Step, View};
use crate::rt::{self, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(300);
/// Time for one change of the membership.
const CHANGE: Duration = Duration::from_secs(5);
/// Pause before raft is started again on a store that failed.
const RESTART: Duration = Duration::from_secs(2);
/// A node that has known no leader for so long asks whether it is still a member, and again after each such time.
const DOUBT: Duration = Duration::from_secs(3);
/// Entries a node may lag behind and still become a voter: they are on their way.
const SLACK: u64 = 20;

/// Runs until the cluster is dropped.
pub(super) async fn keep(cluster: Weak<Inner>) {
    let mut certain = Instant::now();
    let mut said = None;
    loop {
        let soon = {
            let Some(inner) = cluster.upgrade() else { return };
            inner.look(&mut certain, &mut said).await;
            inner.look_soon.clone()
        };
        let _ = rt::timeout(INTERVAL, soon.notified()).await;
    }
}

impl Inner {
    async fn look(self: &Rc<Self>, certain: &mut Instant, said: &mut Option<u64>) {
        let Ok(running) = self.running() else { return };
        let metrics = running.raft.metrics();
        // Nobody reports any more: raft has ended without a word.
        let ended = metrics.has_changed().is_err().then(|| "it has ended".to_owned());
        let metrics = metrics.borrow().clone();
        let failed = metrics.running_state.as_ref().err().map(|e| e.to_string());
        if let Some(why) = failed.or(ended) {
            tracing::error!("raft failed and is started again: {why}");
            rt::sleep(RESTART).await;
            self.restart().await;
            return;
        }
        if metrics.current_leader != *said {
            *said = metrics.current_leader;
            self.say_leader(metrics.current_leader);
        }
        // Whoever cannot win does not stand: it would only raise the term, and depose the leader when it comes back.
        let may_win = self.may_win() || !self.knows_all_voters(&metrics);
        running.raft.runtime_config().elect(may_win);
        let me = self.identity.borrow().raft_id;
        if metrics.state == ServerState::Leader && metrics.current_leader == Some(me) {
            self.lead(&metrics).await;
        }
        if metrics.current_leader.is_some() && self.is_recorded() {
            *certain = Instant::now();
            self.keep_record().await;
        } else if certain.elapsed() > DOUBT {
            *certain = Instant::now();
            self.doubt().await;
        }
    }

    fn say_leader(&self, leader: Option<u64>) {
        match leader.and_then(|id| self.member_target(id)) {
            Some(target) => tracing::info!("the cluster is led by {target} ({})", target.uuid),
            // While it joins that is no news.
            None if self.state().peers.len() < 2 => {}
            None => tracing::warn!("the cluster has no leader that this node knows of"),
        }
    }

    /// Whether this life of this node is a peer in the state.
    fn is_recorded(&self) -> bool {
        let raft_id = self.identity.borrow().raft_id;
        self.state().peer_of_raft(raft_id).is_some()
    }

    /// Whether all voters are peers, so that it is known who of them answers. After a crash raft's log may be ahead of the
    /// state.
    fn knows_all_voters(&self, metrics: &RaftMetrics<u64, Member>) -> bool {
        let state = self.state();
        let mut voters = metrics.membership_config.voter_ids();
        voters.all(|raft_id| state.peer_of_raft(raft_id).is_some())
    }

    /// One step towards the right membership.
    async fn lead(&self, metrics: &RaftMetrics<u64, Member>) {
        if !self.has_quorum() {
            return;
        }
        let Some(step) = voters::plan(&self.view(metrics)) else {
            return;
        };
        let Ok(running) = self.running() else { return };
        let changes = match step.clone() {
            Step::Vote(ids) => ChangeMembers::ReplaceAllVoters(ids),
            Step::Remove(ids) => ChangeMembers::RemoveNodes(ids),
            Step::Add(ids) => {
                let state = self.state();
                let member = |id| state.peer_of_raft(id).map(|peer| (id, Member::from(peer)));
                ChangeMembers::AddNodes(ids.into_iter().filter_map(member).collect())
            }
        };
        let _one = self.membership_change.lock().await;
        let result = rt::timeout(CHANGE, running.raft.change_membership(changes, true)).await;
        match result {
            Ok(Ok(_)) => tracing::info!("cluster membership: {}", self.describe(&step)),
            Ok(Err(e)) => tracing::warn!("cluster membership: {} failed: {e}", self.describe(&step)),
            Err(_) => tracing::warn!("cluster membership: {} takes long", self.describe(&step)),
        }
        // The next step follows at once.
        self.look_soon.notify_one();
    }

    fn describe(&self, step: &Step) -> String {
        let names = |ids: &BTreeSet<u64>| {
            let name = |id: &u64| match self.state().peer_of_raft(*id) {
                Some(peer) => peer.hostnames.first().cloned().unwrap_or_else(|| peer.uuid.to_string()),
                None => format!("a former life ({id})"),
            };
            ids.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        match step {
            Step::Vote(ids) => format!("voters {}", names(ids)),
            Step::Add(ids) => format!("learners {}", names(ids)),
            Step::Remove(ids) => format!("removal of {}", names(ids)),
        }
    }

    fn view(&self, metrics: &RaftMetrics<u64, Member>) -> View {
        let membership = metrics.membership_config.membership();
        let state = self.state();
        let me = self.identity.borrow().raft_id;
        let is_connected = |peer: &&Peer| self.connected(peer.uuid);
        let connected: BTreeSet<u64> = state
            .peers
            .iter()
            .filter(is_connected)
            .map(|peer| peer.raft_id)
            .collect();
        let matched = |id: u64| {
            let replication = metrics.replication.as_ref();
            replication
                .and_then(|all| all.get(&id).copied().flatten())
                .map(|log_id| log_id.index)
        };
        let last = metrics.last_log_index.unwrap_or(0);
        let caught_up = |id: &u64| *id == me || matched(*id).is_some_and(|index| index.saturating_add(SLACK) >= last);
        View {
            me,
            configs: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, _)| *id).collect(),
            peers: state.peers.iter().map(|peer| peer.raft_id).collect(),
            joining: self.joining.borrow().clone(),
            ready: connected.iter().filter(|id| caught_up(id)).copied().collect(),
            connected,
        }
    }

    /// Tells the cluster this node's port and, while it has no name at all, the names the daemon gave.
    async fn keep_record(&self) {
        let me = self.me();
        let state = self.state();
        let Some(known) = state.peer(me.uuid) else { return };
        let mut wanted = me;
        if wanted.hostnames.is_empty() {
            wanted.hostnames = self.own_names.clone();
        }
        if *known != wanted
            && let Err(e) = self.submit(Action::Change(Change::PutPeer(wanted))).await
        {
            tracing::debug!("this node's record stays as it is: {e}");
        }
    }

    /// Starts raft anew on the same store.
    async fn restart(self: &Rc<Self>) {
        let _one = self.exchange.lock().await;
        self.stop().await;
        if let Err(e) = self.start().await {
            tracing::error!("raft does not start: {e}");
        }
    }

    /// Reports what became of a node's own wish to be let in or to go.
    pub(super) fn said(&self, what: &str, result: Result<(), ClusterError>) {
        if let Err(e) = result {
            tracing::warn!("{what}: {e}");
        }
    }
}
