//! Raft's messages to one member, over the connections of `links.rs`.

use std::future::Future;
use std::rc::Weak;
use std::time::Duration;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::SnapshotResponse;
use openraft::{OptionalSend, Snapshot, Vote};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Inner;
use super::links::{Lane, Target};
use super::raft::{Member, Types};
use super::types::ClusterError;
use super::wire::{AppendAnswer, AppendRequest, Procedure, SnapshotAnswer, SnapshotRequest, VoteAnswer, VoteQuestion};

/// Pause before a member that did not answer is tried again.
const RETRY: Duration = Duration::from_millis(200);

type RpcResult<A> = Result<A, RPCError<u64, Member, RaftError<u64>>>;

/// Makes the connections of a raft instance.
pub(super) struct Network(pub Weak<Inner>);

/// Raft's way to one member.
pub(super) struct Connection {
    cluster: Weak<Inner>,
    raft_id: u64,
    member: Member,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Member) -> Connection {
        Connection {
            cluster: self.0.clone(),
            raft_id: target,
            member: node.clone(),
        }
    }
}

impl Connection {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        procedure: Procedure,
        request: &Q,
        payload: &[u8],
        limit: Duration,
    ) -> Result<A, ClusterError> {
        let ended = || ClusterError::Storage("the cluster has been closed".to_owned());
        let inner = self.cluster.upgrade().ok_or_else(ended)?;
        // What the state says now comes before what was known when the member was added.
        let mut target = Target {
            uuid: self.member.uuid,
            hosts: self.member.hosts.clone(),
            port: self.member.port,
        };
        if let Some(peer) = inner.state().peer_of_raft(self.raft_id) {
            let mut hosts = peer.hostnames.clone();
            hosts.extend(target.hosts.into_iter().filter(|host| !peer.hostnames.contains(host)));
            target = Target {
                hosts,
                ..Target::from(peer)
            };
        }
        let envelope = inner.envelope(self.raft_id, request);
        let answer = inner
            .links
            .call(&target, Lane::Raft, procedure, (&envelope, payload), limit)
            .await;
        answer.map(|(answer, _)| answer)
    }
}

/// Every failure is taken for unreachability: raft repeats what matters after a pause.
fn unreachable(e: ClusterError) -> Unreachable {
    tracing::debug!("raft: {e}");
    Unreachable::new(&e)
}

impl RaftNetwork<Types> for Connection {
    async fn append_entries(&mut self, rpc: AppendRequest, option: RPCOption) -> RpcResult<AppendAnswer> {
        let answer = self.call(Procedure::Append, &rpc, b"", option.hard_ttl()).await;
        answer.map_err(|e| RPCError::Unreachable(unreachable(e)))
    }

    async fn vote(&mut self, rpc: VoteQuestion, option: RPCOption) -> RpcResult<VoteAnswer> {
        let answer = self.call(Procedure::Vote, &rpc, b"", option.hard_ttl()).await;
        answer.map_err(|e| RPCError::Unreachable(unreachable(e)))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let request = SnapshotRequest {
            vote,
            meta: snapshot.meta,
        };
        let sending =
            self.call::<_, SnapshotAnswer>(Procedure::Snapshot, &request, &snapshot.snapshot, option.hard_ttl());
        futures_util::pin_mut!(sending, cancel);
        match futures_util::future::select(sending, cancel).await {
            futures_util::future::Either::Left((Ok(answer), _)) => Ok(SnapshotResponse::new(answer.vote)),
            futures_util::future::Either::Left((Err(e), _)) => Err(StreamingError::Unreachable(unreachable(e))),
            futures_util::future::Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(RETRY))
    }
}
