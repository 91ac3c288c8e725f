//! When the voters have lost their stores: a two-node cluster whose voting node was wiped has no majority for ever, though
//! the other node has the whole state.
//!
//! An administrator who probes the wiped node from the other one says thereby that this machine is to be a member again. If
//! then *every* voter but this node is found at its known address as a node without the store it had, nobody is left who
//! could decide anything else, and this node appoints itself the only voter. Changes that only the lost stores had are lost
//! with them. A voter that is merely dead or unreachable prevents this: it may know more, and may be deciding elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use datapath::wire::Gfid;
use openraft::Membership;

use super::links::Target;
use super::raft::Member;
use super::types::ClusterError;
use super::wire::{HelloAnswer, Procedure};
use super::{Inner, storage};
use crate::rt;

/// Time for each voter to say who it is.
const HELLO: Duration = Duration::from_secs(3);
/// Time for raft to lead after the appointment.
const LEAD: Duration = Duration::from_secs(5);

impl Inner {
    /// Makes this node the only voter if all others have lost their stores. True if it did.
    pub(super) async fn take_over(self: &Rc<Self>) -> Result<bool, ClusterError> {
        if self.has_quorum() {
            return Ok(false);
        }
        let me = self.identity.borrow().raft_id;
        let membership = self.running()?.raft.metrics().borrow().membership_config.clone();
        let membership = membership.membership();
        let voters: BTreeSet<u64> = membership.get_joint_config().iter().flatten().copied().collect();
        let lost: BTreeSet<u64> = voters.into_iter().filter(|id| *id != me).collect();
        if lost.is_empty() || membership.get_node(&me).is_none() {
            return Ok(false);
        }
        for voter in &lost {
            if !self.has_lost_its_store(*voter).await {
                return Ok(false);
            }
        }
        let nodes: BTreeMap<u64, Member> = membership
            .nodes()
            .filter(|(id, _)| !lost.contains(id))
            .map(|(id, member)| (*id, member.clone()))
            .collect();
        tracing::warn!("all other voters have lost their stores: this node goes on with its own copy of the state");
        let only_me = Membership::new(vec![[me].into()], nodes);
        let _one = self.exchange.lock().await;
        self.stop().await;
        let store = self.store.borrow().clone();
        let seized = store.seize(me, only_me).await;
        self.start().await?;
        seized.map_err(storage)?;
        let leading = self
            .running()?
            .raft
            .wait(Some(LEAD))
            .current_leader(me, "the appointment")
            .await;
        Ok(leading.is_ok())
    }

    async fn has_lost_its_store(&self, raft_id: u64) -> bool {
        let Some(known) = self.member_target(raft_id) else {
            return false;
        };
        let state = self.state();
        if let Some(peer) = state.peer_of_raft(raft_id)
            && self.ping(peer).await.is_ok()
        {
            return false;
        }
        let target = Target {
            uuid: Gfid::NULL,
            ..known
        };
        let envelope = self.envelope(0, ());
        let call = self
            .links
            .call_once::<_, HelloAnswer>(&target, Procedure::Hello, &envelope, HELLO);
        match rt::timeout(HELLO, call).await {
            Ok(Ok((hello, _))) => {
                hello.raft_id != raft_id && hello.cluster != self.identity.borrow().cluster && hello.peers == 0
            }
            _ => false,
        }
    }
}
