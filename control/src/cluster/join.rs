//! How a node becomes a member. Any node may be asked to probe; it looks who is there, and the leader lets the node in:
//!
//! 1. The node empties its store under a new raft id and waits (`Join`).
//! 2. It is added as a learner and gets the log or a snapshot: no majority depends on it yet.
//! 3. When it has caught up it is entered as a peer; the keeper gives it a vote if one is due.
//!
//! Broken off after 1, the node is alone and empty and may be probed again by anybody, and when it finds nobody who knows
//! it, it becomes a cluster of its own again; after 2, the keeper removes the learner; after 3 it is a member. A repeated
//! probe takes up where the last one ended.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use datapath::wire::Gfid;
use openraft::Raft;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};

use super::Inner;
use super::links::{Lane, Target};
use super::machine::Action;
use super::raft::{Member, Types};
use super::store::Identity;
use super::types::{Change, ClusterError, Peer, ProbeError, Probed, State};
use super::wire::{AdmitAnswer, AdmitRequest, HelloAnswer, JoinAnswer, JoinRequest, Procedure};
use crate::glusterd::model::MAX_OP_VERSION;
use crate::rpc::{Address, Client};
use crate::rt::{self, Instant};

/// Time for a node to say who it is, the search for its address included.
const HELLO: Duration = Duration::from_secs(5);
/// Time for a node to exchange its store.
const JOIN: Duration = Duration::from_secs(10);
/// Time for a new node to get the log or the snapshot.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Time for the leader to let a node in: all of the above.
const ADMIT: Duration = Duration::from_secs(60);

/// How long this node may take to have what the leader has decided.
const SETTLE: Duration = Duration::from_secs(2);

/// Keeps the keeper from removing a member that is no peer yet; also when the one who asked gives up.
struct Joining<'a>(&'a Inner, u64);

impl<'a> Joining<'a> {
    fn new(inner: &'a Inner, raft_id: u64) -> Joining<'a> {
        inner.joining.borrow_mut().insert(raft_id);
        Joining(inner, raft_id)
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        self.0.joining.borrow_mut().remove(&self.1);
        self.0.look_soon.notify_one();
    }
}

impl Inner {
    /// Waits for this node's state to be as the leader's has become; not for ever, for it may be cut off by now.
    pub(super) async fn wait_state(&self, is_so: impl Fn(&State) -> bool) {
        let mut watch = self.published.subscribe();
        let wait = async {
            while !is_so(&watch.borrow_and_update().clone()) {
                if watch.changed().await.is_err() {
                    return;
                }
            }
        };
        if rt::timeout(SETTLE, wait).await.is_err() {
            tracing::warn!("the cluster has decided, but this node does not have it yet");
        }
    }

    /// Looks who is at `host` and, if it is a node that may, makes it a member.
    pub(super) async fn probe(self: &Rc<Self>, host: &str) -> Result<Probed, ProbeError> {
        let addresses = self.links.resolver().resolve(host).await;
        let addresses = addresses.map_err(|e| ProbeError::Unresolved(e.to_string()))?;
        let target = Target {
            uuid: Gfid::NULL,
            hosts: vec![host.to_owned()],
            port: self.port.get(),
        };
        let (hello, _) = self.hello(&target).await?;
        let identity = self.identity.borrow().clone();
        if hello.raft_id == identity.raft_id {
            return Ok(Probed::Localhost);
        }
        let state = self.state();
        if hello.cluster == identity.cluster
            && let Some(peer) = state.peer_of_raft(hello.raft_id)
        {
            return self.name(peer.clone(), host).await;
        }
        if hello.cluster != identity.cluster && hello.peers > 0 {
            return Err(ProbeError::AnotherCluster);
        }
        let returns = match state.peer(hello.uuid) {
            Some(peer) => Some(peer.uuid),
            None => self.former(host, &addresses, hello.port).await?,
        };
        if hello.volumes > 0 && hello.cluster != identity.cluster && returns != Some(hello.uuid) {
            return Err(ProbeError::HasVolumes);
        }
        if hello.max_op_version < state.op_version {
            return Err(ProbeError::OpVersion(hello.max_op_version, state.op_version));
        }
        if returns.is_some() {
            self.take_over().await?;
        }
        self.take_name(&hello.you).await?;
        let mut hosts = vec![host.to_owned()];
        hosts.extend(
            addresses
                .iter()
                .map(IpAddr::to_string)
                .filter(|address| address != host),
        );
        let request = AdmitRequest {
            hosts,
            port: hello.port,
            returns: returns.map(|uuid| uuid.to_string()),
        };
        let answer: AdmitAnswer = self.lead_or_forward(Procedure::Admit, request, ADMIT).await?;
        let peer = answer?;
        // The leader has decided; whoever asked wants to find it so here, and to talk to the new peer.
        self.wait_state(|state| state.peer_of_raft(peer.raft_id).is_some())
            .await;
        let begun = Instant::now();
        while !self.connected(peer.uuid) && begun.elapsed() < SETTLE {
            rt::sleep(Duration::from_millis(10)).await;
        }
        Ok(Probed::Added(peer))
    }

    /// A member was probed, maybe under a name that is new.
    async fn name(&self, mut peer: Peer, host: &str) -> Result<Probed, ProbeError> {
        if peer.hostnames.iter().any(|name| name.eq_ignore_ascii_case(host)) {
            return Ok(Probed::AlreadyMember(peer));
        }
        peer.hostnames.push(host.to_owned());
        self.submit(Action::Change(Change::PutPeer(peer.clone()))).await?;
        Ok(Probed::NewName(peer))
    }

    /// The member that used to be at this host, if there was one: a wiped node has another uuid now.
    async fn former(&self, host: &str, addresses: &[IpAddr], port: u16) -> Result<Option<Gfid>, ProbeError> {
        let state = self.state();
        let me = self.identity.borrow().uuid;
        for peer in state.peers.iter().filter(|peer| peer.uuid != me && peer.port == port) {
            let mut same = peer.hostnames.iter().any(|name| name.eq_ignore_ascii_case(host));
            for name in &peer.hostnames {
                let known = match name.parse() {
                    Ok(address) => vec![address],
                    Err(_) => self.links.resolver().resolve(name).await.unwrap_or_default(),
                };
                same |= known.iter().any(|address| addresses.contains(address));
            }
            // Not what was true a second ago: whoever was wiped may be back at once.
            if same && self.ping(peer).await.is_ok() {
                return Err(ProbeError::InUse(peer.uuid));
            }
            if same {
                return Ok(Some(peer.uuid));
            }
        }
        Ok(None)
    }

    /// The first node of a cluster has no name until it probes another: that one sees its address.
    async fn take_name(&self, seen: &str) -> Result<(), ClusterError> {
        let mut me = self.me();
        if me.hostnames.is_empty() && !seen.is_empty() {
            me.hostnames.push(seen.to_owned());
            self.submit(Action::Change(Change::PutPeer(me))).await?;
        }
        Ok(())
    }

    async fn hello(&self, target: &Target) -> Result<(HelloAnswer, Client), ProbeError> {
        let envelope = self.envelope(0, ());
        let answer = self.links.call_once(target, Procedure::Hello, &envelope, HELLO).await;
        answer.map_err(|e| ProbeError::Unreachable(e.to_string()))
    }

    /// Says who this node is.
    pub(super) fn introduce(&self, caller: IpAddr) -> HelloAnswer {
        let identity = self.identity.borrow();
        let state = self.state();
        HelloAnswer {
            cluster: identity.cluster,
            uuid: identity.uuid,
            raft_id: identity.raft_id,
            port: self.port.get(),
            peers: state.peers.iter().filter(|peer| peer.uuid != identity.uuid).count(),
            volumes: state.volumes.len(),
            revision: state.revision,
            max_op_version: MAX_OP_VERSION,
            you: caller.to_string(),
            addresses: super::liveness::own_addresses(),
        }
    }

    /// Lets a node in, as the leader.
    pub(super) async fn admit(&self, request: AdmitRequest) -> AdmitAnswer {
        let _one = self.admitting.lock().await;
        if !self.has_quorum() {
            return Err(ClusterError::NoQuorum.into());
        }
        let target = Target {
            uuid: Gfid::NULL,
            hosts: request.hosts,
            port: request.port,
        };
        let (hello, client) = self.hello(&target).await?;
        let returns: Option<Gfid> = request.returns.as_deref().and_then(|text| text.parse().ok());
        let uuid = returns.unwrap_or(hello.uuid);
        let raft_id = match self.is_member(hello.raft_id)? {
            true => hello.raft_id,
            false => self.order_to_join(&target, &client, &hello, uuid).await?,
        };
        let _joining = Joining::new(self, raft_id);
        let peer = self.peer_record(&target, uuid, raft_id);
        self.let_in(&target, peer, hello.revision).await
    }

    fn is_member(&self, raft_id: u64) -> Result<bool, ClusterError> {
        let metrics = self.running()?.raft.metrics();
        let membership = metrics.borrow().membership_config.clone();
        Ok(membership.membership().get_node(&raft_id).is_some())
    }

    async fn order_to_join(
        &self,
        target: &Target,
        client: &Client,
        hello: &HelloAnswer,
        uuid: Gfid,
    ) -> Result<u64, ProbeError> {
        let mut trusted: Vec<String> = self
            .state()
            .peers
            .iter()
            .flat_map(|peer| peer.hostnames.clone())
            .collect();
        if let Address::Tcp(own) = client.local() {
            trusted.push(own.ip().to_string());
        }
        let request = JoinRequest {
            replaces: hello.raft_id,
            uuid,
            trusted,
        };
        let envelope = self.envelope(0, request);
        let joined = self
            .links
            .call_once::<_, JoinAnswer>(target, Procedure::Join, &envelope, JOIN);
        let (answer, _) = joined.await?;
        answer
    }

    /// The new member's record: the names it had, and the one it was probed by.
    fn peer_record(&self, target: &Target, uuid: Gfid, raft_id: u64) -> Peer {
        let state = self.state();
        let mut hostnames = state.peer(uuid).map(|peer| peer.hostnames.clone()).unwrap_or_default();
        if let Some(host) = target.hosts.first()
            && !hostnames.iter().any(|name| name.eq_ignore_ascii_case(host))
        {
            hostnames.push(host.clone());
        }
        Peer {
            uuid,
            raft_id,
            hostnames,
            port: target.port,
        }
    }

    async fn let_in(&self, target: &Target, peer: Peer, seen: u64) -> AdmitAnswer {
        let running = self.running()?;
        let member = Member {
            uuid: peer.uuid,
            hosts: target.hosts.clone(),
            port: peer.port,
        };
        let added = rt::timeout(JOIN, self.add_learner(&running.raft, peer.raft_id, member)).await;
        let added = added.unwrap_or_else(|_| {
            let why = "no majority has stored the new member";
            Err(ClusterError::Uncertain(why.to_owned()))
        })?;
        let wait = running.raft.wait(Some(CATCH_UP));
        let caught_up = wait.metrics(
            |metrics| {
                let replication = metrics.replication.as_ref();
                let matched = replication.and_then(|all| all.get(&peer.raft_id).copied().flatten());
                matched.is_some_and(|log_id| log_id.index >= added)
            },
            "the new node has caught up",
        );
        if caught_up.await.is_err() {
            return Err(ProbeError::Unreachable(format!(
                "{target} does not take the cluster's configuration over"
            )));
        }
        let action = Action::Admit {
            peer: peer.clone(),
            seen,
        };
        self.submit(action).await?;
        tracing::info!("peer {} ({target}) has joined the cluster", peer.uuid);
        Ok(peer)
    }

    /// Adds a learner and returns the index of the entry that says so, as soon as no other change is under way.
    async fn add_learner(&self, raft: &Raft<Types>, raft_id: u64, member: Member) -> Result<u64, ClusterError> {
        loop {
            let _one = self.membership_change.lock().await;
            match raft.add_learner(raft_id, member.clone(), false).await {
                Ok(added) => return Ok(added.log_id.index),
                // One that was given up by its caller.
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => {
                    rt::sleep(Duration::from_millis(50)).await;
                }
                Err(e) => return Err(ClusterError::Failed(e.to_string())),
            }
        }
    }

    /// Obeys the order to join the caller's cluster: this node's store begins a new life there.
    pub(super) async fn join(
        self: &Rc<Self>,
        cluster: Gfid,
        request: JoinRequest,
        from: IpAddr,
    ) -> Result<JoinAnswer, ClusterError> {
        // Two nodes that probe each other at the same time must not both give themselves up.
        let Ok(_one) = self.admitting.try_lock() else {
            return Err(ClusterError::Refused("the host is itself adding a peer".to_owned()));
        };
        let identity = self.identity.borrow().clone();
        let state = self.state();
        if request.replaces != identity.raft_id {
            return Err(ClusterError::Conflict(
                "the host has meanwhile joined another cluster".to_owned(),
            ));
        }
        let alone = state.peers.iter().all(|peer| peer.uuid == identity.uuid);
        if cluster == identity.cluster {
            // It was a member, or began to be one. Only a peer can know that it is one no longer.
            if !alone && !self.is_peer(from).await {
                return Err(ClusterError::Denied(from.to_string()));
            }
        } else if !alone {
            return Ok(Err(ProbeError::AnotherCluster));
        } else if !state.volumes.is_empty() && request.uuid != identity.uuid {
            return Ok(Err(ProbeError::HasVolumes));
        }
        let mut trusted = request.trusted;
        trusted.push(from.to_string());
        let next = Identity::new(cluster, request.uuid, super::random()?, trusted);
        let raft_id = next.raft_id;
        tracing::info!("this node joins the cluster of {from} as {}", next.uuid);
        self.begin_life(next, None).await?;
        Ok(Ok(raft_id))
    }

    /// Has the leader carry a request out: this node, or the one that is known to lead.
    pub(super) async fn lead_or_forward<Q, A>(
        self: &Rc<Self>,
        procedure: Procedure,
        request: Q,
        limit: Duration,
    ) -> Result<A, ClusterError>
    where
        Q: serde::Serialize + Clone,
        A: serde::de::DeserializeOwned,
    {
        let begun = Instant::now();
        loop {
            let result = match self.leader_id() {
                Some(leader) => match self.member_target(leader) {
                    Some(target) if leader != self.identity.borrow().raft_id => {
                        let envelope = self.envelope(leader, request.clone());
                        let call = self
                            .links
                            .call(&target, Lane::Requests, procedure, (&envelope, b""), limit);
                        call.await.map(|(answer, _)| answer)
                    }
                    _ => self.lead_here(procedure, &request).await,
                },
                None => Err(ClusterError::NoQuorum),
            };
            match result {
                Err(ClusterError::NoQuorum | ClusterError::Unreachable(_) | ClusterError::NotMember(_))
                    if begun.elapsed() < super::propose::PATIENCE => {}
                Err(ClusterError::Unreachable(_) | ClusterError::NotMember(_)) => return Err(ClusterError::NoQuorum),
                other => return other,
            }
            rt::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Carries out what others would be asked for, by the same way through the encoding.
    async fn lead_here<Q, A>(self: &Rc<Self>, procedure: Procedure, request: &Q) -> Result<A, ClusterError>
    where
        Q: serde::Serialize,
        A: serde::de::DeserializeOwned,
    {
        let own = self.envelope(self.identity.borrow().raft_id, request);
        let body = super::wire::encode(&own, b"")?;
        let localhost = IpAddr::from(std::net::Ipv4Addr::LOCALHOST);
        // Boxed: carrying a request out may itself lead here.
        let served: futures_util::future::LocalBoxFuture<'_, _> = Box::pin(self.serve(procedure, localhost, body));
        let (answer, _) = super::wire::decode::<super::wire::Answer<A>>(served.await?)?;
        answer
    }
}
