//! The server side of the messages between nodes: who may call, and where each procedure goes.

use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use openraft::{Raft, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Inner;
use super::liveness;
use super::raft::Types;
use super::types::{ClusterError, ProbeError};
use super::wire::{
    self, AdmitRequest, Answer, AppendRequest, AskRequest, CLUSTER, DetachRequest, Envelope, JoinRequest,
    MembershipQuestion, Ping, Procedure, ProposeRequest, SnapshotAnswer, SnapshotRequest, VoteQuestion,
};
use crate::rpc::{Address, Call, Program, ProgramId, Refusal};
use crate::rt::Instant;

/// How often all names are resolved because an unknown address calls.
const LOOK_UP: Duration = Duration::from_secs(2);

/// How long a stranger that was reported is not reported again, and how many are remembered for that.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const STRANGERS: usize = 64;
/// How long a stranger may turn out to be a new peer.
const GRACE: Duration = Duration::from_secs(2);

/// A caller that is no peer.
#[derive(Debug)]
pub(super) struct Stranger {
    first: Instant,
    said: bool,
}

/// The program on the management port.
pub(super) struct ClusterProgram(Weak<Inner>);

impl ClusterProgram {
    pub fn new(cluster: Weak<Inner>) -> ClusterProgram {
        ClusterProgram(cluster)
    }
}

impl Program for ClusterProgram {
    fn id(&self) -> ProgramId {
        CLUSTER
    }

    fn name(&self) -> &'static str {
        "Ringluster cluster"
    }

    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
        async move {
            let inner = self.0.upgrade().ok_or(Refusal::SystemErr)?;
            let procedure = Procedure::from_number(call.procedure).ok_or(Refusal::ProcUnavail)?;
            let Address::Tcp(from) = call.peer.address() else {
                return Err(Refusal::ProcUnavail);
            };
            let from = from.ip().to_canonical();
            let answer = if procedure.is_open() || inner.is_peer(from).await {
                inner.serve(procedure, from, call.args).await
            } else {
                inner.say_refused(from, procedure);
                wire::encode(&Answer::<()>::Err(ClusterError::Denied(from.to_string())), b"")
            };
            answer.map_err(|e| {
                tracing::error!("{procedure:?} of {from}: {e}");
                Refusal::SystemErr
            })
        }
        .boxed_local()
    }
}

impl Inner {
    /// One line per stranger and minute, however often it calls. A node that has just become a peer may call before this
    /// one has heard of it: only whoever is still refused after a while is reported.
    fn say_refused(&self, from: IpAddr, procedure: Procedure) {
        let mut refused = self.refused.borrow_mut();
        refused.retain(|_, stranger| stranger.first.elapsed() < SAY_AGAIN);
        if refused.len() >= STRANGERS && !refused.contains_key(&from) {
            return;
        }
        let stranger = refused.entry(from).or_insert_with(|| Stranger {
            first: Instant::now(),
            said: false,
        });
        if !stranger.said && stranger.first.elapsed() > GRACE {
            stranger.said = true;
            tracing::warn!("{from} is no peer: its messages are refused ({procedure:?})");
        }
    }

    /// Whether a message from that address may come from another node of the cluster.
    pub(super) async fn is_peer(&self, from: IpAddr) -> bool {
        let state = self.state();
        let me = self.identity.borrow().uuid;
        let others = || state.peers.iter().filter(|peer| peer.uuid != me);
        let mut known: Vec<IpAddr> = others()
            .flat_map(|peer| self.links.known_addresses(peer.uuid))
            .collect();
        let names = || others().flat_map(|peer| peer.hostnames.iter());
        known.extend(names().filter_map(|name| name.parse::<IpAddr>().ok()));
        known.extend(
            self.identity
                .borrow()
                .trusted
                .iter()
                .filter_map(|name| name.parse::<IpAddr>().ok()),
        );
        if is_among(from, &known) {
            return true;
        }
        // Names may mean other addresses now. A stranger must not keep the resolver busy.
        if self.looked_up.get().is_some_and(|at| at.elapsed() < LOOK_UP) {
            return false;
        }
        self.looked_up.set(Some(Instant::now()));
        let names = names().filter(|name| name.parse::<IpAddr>().is_err());
        let found = futures_util::future::join_all(names.map(|name| self.links.resolver().resolve(name))).await;
        let found: Vec<IpAddr> = found.into_iter().flatten().flatten().collect();
        is_among(from, &found)
    }

    /// Carries a request out. The error is one of encoding the answer.
    pub(super) async fn serve(
        self: &Rc<Self>,
        procedure: Procedure,
        from: IpAddr,
        args: Bytes,
    ) -> Result<Bytes, ClusterError> {
        tracing::trace!("{procedure:?} of {from}");
        match procedure {
            Procedure::Hello => wire::encode(&Answer::Ok(self.introduce(from)), b""),
            Procedure::Membership => {
                self.with(args, async |q: MembershipQuestion, _| self.membership(q).await)
                    .await
            }
            Procedure::Join => {
                let answer = match wire::decode::<Envelope<JoinRequest>>(args) {
                    Ok((Envelope { cluster, body, .. }, _)) => self.join(cluster, body, from).await,
                    Err(e) => Err(e),
                };
                wire::encode(&answer, b"")
            }
            Procedure::Leave => self.with(args, async |(): (), _| self.go_alone().await).await,
            Procedure::Admit => {
                let f = async |request: AdmitRequest, _| match self.admit(request).await {
                    Err(ProbeError::Cluster(e @ ClusterError::NoQuorum)) => Err(e),
                    answer => Ok(answer),
                };
                self.with(args, f).await
            }
            Procedure::Detach => self.with(args, async |q: DetachRequest, _| self.expel(q).await).await,
            Procedure::Ping => {
                self.with(args, async |ping: Ping, _| Ok(liveness::pong(self, ping.from)))
                    .await
            }
            Procedure::Append => {
                let f = async |rpc: AppendRequest, _| self.raft()?.append_entries(rpc).await.map_err(broken);
                self.with(args, f).await
            }
            Procedure::Vote => {
                let f = async |rpc: VoteQuestion, _| self.raft()?.vote(rpc).await.map_err(broken);
                self.with(args, f).await
            }
            Procedure::Snapshot => {
                let f = async |rpc: SnapshotRequest, data: Bytes| {
                    let snapshot = Snapshot {
                        meta: rpc.meta,
                        snapshot: Box::new(data.to_vec()),
                    };
                    let done = self.raft()?.install_full_snapshot(rpc.vote, snapshot).await;
                    done.map(|answer| SnapshotAnswer { vote: answer.vote }).map_err(broken)
                };
                self.with(args, f).await
            }
            Procedure::Propose => {
                let f = async |rpc: ProposeRequest, _| self.write(rpc.command).await;
                self.with(args, f).await
            }
            Procedure::Ask => {
                let result = match self.open(args) {
                    Ok((AskRequest { kind }, body)) => self.answer(&kind, body).await,
                    Err(e) => Err(e),
                };
                match result {
                    Ok(body) => wire::encode(&Answer::Ok(()), &body),
                    Err(e) => wire::encode(&Answer::<()>::Err(e), b""),
                }
            }
        }
    }

    /// Takes a request apart that must be meant for this node in this cluster, carries it out and encodes the answer.
    async fn with<Q, A, F>(&self, args: Bytes, f: F) -> Result<Bytes, ClusterError>
    where
        Q: DeserializeOwned,
        A: Serialize,
        F: AsyncFnOnce(Q, Bytes) -> Result<A, ClusterError>,
    {
        let answer = match self.open(args) {
            Ok((request, payload)) => f(request, payload).await,
            Err(e) => Err(e),
        };
        wire::encode(&answer, b"")
    }

    fn open<Q: DeserializeOwned>(&self, args: Bytes) -> Result<(Q, Bytes), ClusterError> {
        let (envelope, payload) = wire::decode::<Envelope<Q>>(args)?;
        let identity = self.identity.borrow();
        if envelope.cluster != identity.cluster || (envelope.to != 0 && envelope.to != identity.raft_id) {
            return Err(ClusterError::NotMember(format!("peer {}", identity.uuid)));
        }
        Ok((envelope.body, payload))
    }

    fn raft(&self) -> Result<Raft<Types>, ClusterError> {
        self.running().map(|running| running.raft)
    }
}

fn broken(e: impl std::fmt::Display) -> ClusterError {
    ClusterError::Storage(e.to_string())
}

/// Whether an address belongs to one of these. On one machine a daemon calls others from any loopback address.
fn is_among(from: IpAddr, known: &[IpAddr]) -> bool {
    let known = || known.iter().map(IpAddr::to_canonical);
    known().any(|address| address == from) || (from.is_loopback() && known().any(|address| address.is_loopback()))
}
