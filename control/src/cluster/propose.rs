//! How a change gets into the log: at the leader, directly; elsewhere, by a message to the leader, repeated while leaders
//! change. A command has an id, so repeating it does no harm.

use std::time::Duration;

use openraft::error::{ClientWriteError, Fatal, RaftError};

use super::Inner;
use super::links::Lane;
use super::machine::{Action, Command, Outcome};
use super::types::ClusterError;
use super::wire::{Procedure, ProposeAnswer, ProposeRequest};
use crate::rt::{self, Instant};

/// How long a leader is looked for: longer than an election takes.
pub(super) const PATIENCE: Duration = Duration::from_millis(4000);
/// How long a command that was sent is repeated before its fate is called uncertain.
const LIMIT: Duration = Duration::from_millis(8000);
/// How long the leader waits for a majority to store a command.
const COMMIT: Duration = Duration::from_millis(5000);
/// How long this node may lag behind the leader's answer.
const APPLY: Duration = Duration::from_millis(1500);
/// Most bytes of a command as JSON: a quarter of what a message may have.
const LARGEST: usize = crate::rpc::MAX_RECORD / 4;
/// Pause before the next attempt.
const RETRY: Duration = Duration::from_millis(100);

impl Inner {
    /// Has a command carried out and waits until this node has its result too.
    pub(super) async fn submit(&self, action: Action) -> Outcome {
        let command = self.command(action);
        let size = serde_json::to_vec(&command).map_or(usize::MAX, |text| text.len());
        if size > LARGEST {
            let text = format!("a change of {size} bytes is too large: at most {LARGEST} are possible");
            return Err(ClusterError::Refused(text));
        }
        let answer = self.commit(command).await?;
        let applied = match self.running() {
            Ok(running) => {
                let wait = running.raft.wait(Some(APPLY));
                wait.applied_index_at_least(Some(answer.index), "a proposed change")
                    .await
                    .is_ok()
            }
            Err(_) => false,
        };
        if !applied {
            tracing::warn!(
                "log entry {} is decided, but this node does not have it yet",
                answer.index
            );
        }
        answer.outcome
    }

    pub(super) fn command(&self, action: Action) -> Command {
        let number = self.next_request.get();
        self.next_request.set(number.wrapping_add(1));
        Command {
            id: (self.identity.borrow().raft_id, number),
            action,
        }
    }

    async fn commit(&self, command: Command) -> Result<ProposeAnswer, ClusterError> {
        let begun = Instant::now();
        let mut sent = None;
        loop {
            let left = LIMIT.saturating_sub(begun.elapsed());
            let result = match rt::timeout(left, self.attempt(&command)).await {
                Ok(result) => result,
                Err(_) => Err(ClusterError::Uncertain("no answer of the leader in time".to_owned())),
            };
            match result {
                Err(ClusterError::Uncertain(why)) => sent = Some(why),
                // The leader is another one meanwhile, or dead: wait for the election.
                Err(ClusterError::NoQuorum | ClusterError::Unreachable(_) | ClusterError::NotMember(_)) => {}
                other => return other,
            }
            let limit = if sent.is_some() { LIMIT } else { PATIENCE };
            if begun.elapsed() + RETRY >= limit {
                return Err(sent.map_or(ClusterError::NoQuorum, ClusterError::Uncertain));
            }
            rt::sleep(RETRY).await;
        }
    }

    async fn attempt(&self, command: &Command) -> Result<ProposeAnswer, ClusterError> {
        match self.leader_id() {
            Some(leader) if leader == self.identity.borrow().raft_id => self.write(command.clone()).await,
            Some(leader) => self.forward(leader, command.clone()).await,
            None => Err(ClusterError::NoQuorum),
        }
    }

    async fn forward(&self, leader: u64, command: Command) -> Result<ProposeAnswer, ClusterError> {
        let target = self.member_target(leader).ok_or(ClusterError::NoQuorum)?;
        let envelope = self.envelope(leader, ProposeRequest { command });
        let call = self
            .links
            .call(&target, Lane::Raft, Procedure::Propose, (&envelope, b""), COMMIT);
        call.await.map(|(answer, _)| answer)
    }

    /// Writes a command to the log, if this node leads. [`ClusterError::NoQuorum`]: it does not, or it cannot reach a
    /// majority, and nothing was written.
    pub(super) async fn write(&self, command: Command) -> Result<ProposeAnswer, ClusterError> {
        let running = self.running()?;
        // A leader that lost its majority would keep the entry, and it would come into effect much later.
        if !self.has_quorum() {
            return Err(ClusterError::NoQuorum);
        }
        match rt::timeout(COMMIT, running.raft.client_write(command)).await {
            Ok(Ok(answer)) => Ok(ProposeAnswer {
                index: answer.log_id.index,
                outcome: answer.data,
            }),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(ClusterError::NoQuorum),
            Ok(Err(RaftError::APIError(e))) => Err(ClusterError::Failed(e.to_string())),
            // The leader is being taken out of the cluster, or ends.
            Ok(Err(RaftError::Fatal(Fatal::Stopped))) => {
                Err(ClusterError::Uncertain("the leader has stopped".to_owned()))
            }
            Ok(Err(RaftError::Fatal(e))) => Err(ClusterError::Storage(e.to_string())),
            Err(_) => Err(ClusterError::Uncertain("no majority has stored it in time".to_owned())),
        }
    }
}
