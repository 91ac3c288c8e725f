//! How a node ceases to be a member, and how a node's store begins a new life.
//!
//! The leader first removes the peer from the state (from then on it is none, whatever happens), then the keeper removes
//! it from raft's membership, then it is told. A node that was away is told when it returns: it asks, and only an answer
//! that a majority stands behind makes it give up its copy; until then it can be read and nothing else.

use std::rc::Rc;
use std::time::Duration;

use datapath::wire::Gfid;

use super::links::{Lane, Target};
use super::machine::{Action, Command};
use super::raft::Member;
use super::store::Identity;
use super::types::{Change, ClusterError, State};
use super::wire::{DetachRequest, MembershipAnswer, MembershipQuestion, Procedure};
use super::{Inner, storage};
use crate::glusterd::model::new_uuid;
use crate::rt;

/// Time for the leader to detach a node.
const DETACH: Duration = Duration::from_secs(9);
/// Time for the membership to follow the state.
const FOLLOW: Duration = Duration::from_secs(5);
/// Time for a node to be told.
const TELL: Duration = Duration::from_secs(2);

impl Inner {
    /// Removes a node, by way of the leader.
    pub(super) async fn detach(self: &Rc<Self>, uuid: Gfid, force: bool) -> Result<(), ClusterError> {
        if uuid == self.identity.borrow().uuid {
            return Err(ClusterError::Refused("a node cannot detach itself".to_owned()));
        }
        if self.state().peer(uuid).is_none() {
            return Err(ClusterError::NoPeer(uuid.to_string()));
        }
        let request = DetachRequest { uuid, force };
        let _: () = self.lead_or_forward(Procedure::Detach, request, DETACH).await?;
        self.wait_state(|state| state.peer(uuid).is_none()).await;
        Ok(())
    }

    /// Removes a node, as the leader.
    pub(super) async fn expel(self: &Rc<Self>, request: DetachRequest) -> Result<(), ClusterError> {
        let state = self.state();
        let Some(peer) = state.peer(request.uuid).cloned() else {
            return Err(ClusterError::NoPeer(request.uuid.to_string()));
        };
        let action = match request.force {
            true => Action::Expel(peer.uuid),
            false => Action::Change(Change::RemovePeer(peer.uuid)),
        };
        let command: Command = self.command(action);
        self.write(command).await?.outcome?;
        tracing::info!("peer {} ({}) is detached", peer.uuid, Target::from(&peer));
        if peer.raft_id == self.identity.borrow().raft_id {
            // This node leads others to the point where they can do without it, then finds itself expelled.
            self.look_soon.notify_one();
            return Ok(());
        }
        let inner = self.clone();
        // Whoever asked need not wait for a node that may be dead.
        rt::spawn(async move {
            inner.look_soon.notify_one();
            let Ok(running) = inner.running() else { return };
            let gone = |metrics: &openraft::RaftMetrics<u64, Member>| {
                metrics.membership_config.membership().get_node(&peer.raft_id).is_none()
            };
            if running
                .raft
                .wait(Some(FOLLOW))
                .metrics(gone, "the member is removed")
                .await
                .is_err()
            {
                tracing::warn!("peer {} is still in raft's membership", peer.uuid);
                return;
            }
            let envelope = inner.envelope(peer.raft_id, ());
            let target = Target::from(&peer);
            let told = inner
                .links
                .call::<_, ()>(&target, Lane::Requests, Procedure::Leave, (&envelope, b""), TELL);
            if let Err(e) = told.await {
                tracing::info!("peer {} will learn later that it is detached: {e}", peer.uuid);
            }
        });
        Ok(())
    }

    /// Whether a raft id is a member, for a node that doubts its own membership.
    pub(super) async fn membership(&self, question: MembershipQuestion) -> Result<MembershipAnswer, ClusterError> {
        let running = self.running()?;
        let leads = self.leader_id() == Some(self.identity.borrow().raft_id);
        // Someone who is being let in is a member only in a moment.
        let Ok(_nobody_joins) = self.admitting.try_lock() else {
            return Ok(MembershipAnswer::Unknown);
        };
        if !leads || !matches!(rt::timeout(TELL, running.raft.ensure_linearizable()).await, Ok(Ok(_))) {
            return Ok(MembershipAnswer::Unknown);
        }
        let membership = running.raft.metrics().borrow().membership_config.clone();
        let is_member = membership.membership().get_node(&question.raft_id).is_some()
            || self.state().peer_of_raft(question.raft_id).is_some();
        Ok(match is_member {
            true => MembershipAnswer::Member,
            false => MembershipAnswer::Expelled,
        })
    }

    /// This node knows no leader, or does not find itself among the peers: asks the others whether it is still one.
    pub(super) async fn doubt(self: &Rc<Self>) {
        let identity = self.identity.borrow().clone();
        let state = self.state();
        let mut targets: Vec<Target> = state
            .peers
            .iter()
            .filter(|p| p.uuid != identity.uuid)
            .map(Target::from)
            .collect();
        if targets.is_empty() {
            targets = identity
                .trusted
                .iter()
                .map(|host| Target {
                    uuid: Gfid::NULL,
                    hosts: vec![host.clone()],
                    port: self.port.get(),
                })
                .collect();
        }
        let question = MembershipQuestion {
            raft_id: identity.raft_id,
        };
        let envelope = self.envelope(0, question);
        let ask = |target: Target| {
            let envelope = &envelope;
            async move {
                let call = self
                    .links
                    .call_once::<_, MembershipAnswer>(&target, Procedure::Membership, envelope, TELL);
                matches!(call.await, Ok((MembershipAnswer::Expelled, _)))
            }
        };
        let expelled = futures_util::future::join_all(targets.into_iter().map(ask)).await;
        if expelled.contains(&true) && self.identity.borrow().raft_id == identity.raft_id {
            self.said("this node has been detached, but", self.go_alone().await);
        }
    }

    /// Becomes a cluster of this one node, without volumes.
    pub(super) async fn go_alone(self: &Rc<Self>) -> Result<(), ClusterError> {
        let uuid = self.identity.borrow().uuid;
        let next = Identity::new(new_uuid().map_err(storage)?, uuid, super::random()?, Vec::new());
        let state = self.state();
        let alone = State {
            // Following the present one, so that the daemon notices.
            revision: state.revision,
            op_version: state.op_version,
            ..State::default()
        };
        tracing::info!("this node is no longer a member of the cluster: it starts anew, without volumes");
        self.begin_life(next, Some(alone)).await
    }

    /// Exchanges the store's content: for a cluster of this one node with a state, or for a cluster that it joins. One
    /// transaction; if it fails the present life goes on.
    pub(super) async fn begin_life(self: &Rc<Self>, next: Identity, alone: Option<State>) -> Result<(), ClusterError> {
        let _one = self.exchange.lock().await;
        let mut me = self.me();
        self.stop().await;
        let store = self.store.borrow().clone();
        (me.uuid, me.raft_id) = (next.uuid, next.raft_id);
        let exchanged = match alone {
            Some(mut state) => {
                let member = Member::from(&me);
                state.peers.push(me);
                store.found(next.clone(), member, state).await
            }
            None => store.clear(next.clone()).await,
        };
        let result = match exchanged {
            Ok(store) => {
                *self.store.borrow_mut() = store;
                *self.identity.borrow_mut() = next;
                Ok(())
            }
            Err(e) => Err(storage(e)),
        };
        self.start().await?;
        self.look_soon.notify_one();
        result
    }
}
