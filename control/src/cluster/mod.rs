//! The cluster: which nodes there are and what they all have to know (peers, volumes, options), replicated by raft.
//!
//! [`Cluster`] is the whole interface. Reads are local and need nobody; changes go through the leader's log and need a
//! majority of the voters. Nothing of volumes is done here: the daemon follows [`Cluster::changed`].
//!
//! * `types`: the data and the errors; `machine`: what a change does; `store`: the file; `raft`, `network`: glue to
//!   openraft; `wire`, `links`, `program`: messages between nodes; `propose`: changes; `liveness`: who answers;
//!   `voters`, `keeper`: who votes; `join`, `leave`, `recover`: how nodes come, go and are lost.

#[cfg(test)]
mod fixtures;
pub mod gfid;
mod join;
mod keeper;
mod leave;
mod links;
mod liveness;
mod machine;
mod network;
mod program;
mod propose;
mod raft;
mod recover;
mod store;
#[cfg(test)]
mod tests;
mod types;
mod voters;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datapath::wire::Gfid;
use futures_util::future::LocalBoxFuture;
use openraft::Raft;

use crate::client::resolve::Resolver;
use crate::glusterd::model::new_uuid;
use crate::rt::{self, Instant, OwnedTask, sync};
use links::{Lane, Links, Target};
use machine::Action;
use network::Network;
use raft::{Log, Machine, Member, Types};
use store::{Identity, Store};
use wire::{AskRequest, Envelope, Procedure};

pub use raft::Tuning;
pub use types::{Change, ClusterError, Peer, ProbeError, Probed, State};
pub use wire::CLUSTER;

/// How long the start waits for raft's task.
const STARTUP: Duration = Duration::from_secs(5);

/// Answers the daemon's requests: service name and body to body or error text.
type AskHandler = Rc<dyn Fn(&str, Bytes) -> LocalBoxFuture<'static, Result<Bytes, String>>>;

/// Raft on one life of the store.
#[derive(Clone)]
struct Running {
    raft: Raft<Types>,
}

/// What is behind a [`Cluster`].
pub(crate) struct Inner {
    port: Cell<u16>,
    /// Names the daemon gave for this node.
    own_names: Vec<String>,
    config: Arc<openraft::Config>,
    store: RefCell<Store>,
    identity: RefCell<Identity>,
    /// `None` while the store is being exchanged.
    running: RefCell<Option<Running>>,
    /// One exchange at a time.
    exchange: sync::Mutex<()>,
    published: Rc<sync::watch::Sender<Rc<State>>>,
    links: Links,
    /// When each peer last answered.
    heard: RefCell<HashMap<Gfid, Instant>>,
    handler: RefCell<Option<AskHandler>>,
    next_request: Cell<u64>,
    /// Raft ids of nodes that are being let in: members without being peers.
    joining: RefCell<BTreeSet<u64>>,
    /// Held while a node is let in, or while this one joins.
    admitting: sync::Mutex<()>,
    /// Held while raft's membership is changed: it allows one change at a time.
    membership_change: sync::Mutex<()>,
    /// Wakes those that ping.
    ping_soon: Rc<sync::Notify>,
    /// Wakes the keeper.
    look_soon: Rc<sync::Notify>,
    /// When the names of all peers were last resolved for a caller that is not known.
    looked_up: Cell<Option<Instant>>,
    /// Callers that were refused lately.
    refused: RefCell<HashMap<IpAddr, program::Stranger>>,
    tasks: RefCell<Vec<OwnedTask<()>>>,
}

/// This node's part in the cluster. Clones share it.
#[derive(Clone)]
pub struct Cluster(Rc<Inner>);

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("me", &self.me())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Opens the store in `dir` (`raft.redb`, and `addresses`, the memory of resolved names). The first start makes a
    /// cluster of this one node whose state is `import`; later `import` is ignored, and so is `me.uuid` if the node has
    /// taken another one by rejoining ([`Cluster::me`] tells). `me.raft_id` is always ignored.
    ///
    /// # Errors
    /// [`ClusterError::Storage`] naming the file: damaged, in use by another process, or not writable.
    pub async fn open(dir: PathBuf, me: Peer, import: State) -> Result<Cluster, ClusterError> {
        Cluster::open_tuned(dir, me, import, Tuning::default()).await
    }

    /// [`Cluster::open`] with other times and sizes.
    ///
    /// # Errors
    /// As [`Cluster::open`], and for times that contradict each other.
    pub async fn open_tuned(dir: PathBuf, me: Peer, import: State, tuning: Tuning) -> Result<Cluster, ClusterError> {
        let config = tuning.config().map_err(ClusterError::Storage)?;
        let mut store = Store::open(dir.join("raft.redb")).await?;
        let identity = match store.identity().map_err(storage)? {
            Some(identity) => identity,
            None => {
                let (founded, identity) = found(&store, &me, import).await?;
                store = founded;
                identity
            }
        };
        if identity.uuid != me.uuid {
            tracing::warn!(
                "this node is {} in the cluster, not {}: the cluster's word counts",
                identity.uuid,
                me.uuid
            );
        }
        let inner = Rc::new(Inner {
            port: Cell::new(me.port),
            own_names: me.hostnames,
            config: Arc::new(config),
            store: RefCell::new(store),
            identity: RefCell::new(identity),
            running: RefCell::new(None),
            exchange: sync::Mutex::new(()),
            published: Rc::new(sync::watch::Sender::new(Rc::new(State::default()))),
            links: Links::new(Resolver::new(Some(dir.join("addresses")))),
            heard: RefCell::default(),
            handler: RefCell::default(),
            next_request: Cell::new(random()?),
            joining: RefCell::default(),
            admitting: sync::Mutex::new(()),
            membership_change: sync::Mutex::new(()),
            ping_soon: Rc::default(),
            look_soon: Rc::default(),
            looked_up: Cell::new(None),
            refused: RefCell::default(),
            tasks: RefCell::default(),
        });
        inner.start().await?;
        let tasks = [
            rt::spawn_owned(liveness::watch_peers(Rc::downgrade(&inner))),
            rt::spawn_owned(keeper::keep(Rc::downgrade(&inner))),
        ];
        inner.tasks.borrow_mut().extend(tasks);
        Ok(Cluster(inner))
    }

    /// This node as the cluster knows it.
    pub fn me(&self) -> Peer {
        self.0.me()
    }

    /// The port the daemon listens on, if it was not known to [`Cluster::open`].
    pub fn set_port(&self, port: u16) {
        self.0.port.set(port);
    }

    /// The state as this node knows it.
    pub fn state(&self) -> Rc<State> {
        self.0.state()
    }

    /// Waits until the state's revision is greater than `seen`, and returns the state.
    pub async fn changed(&self, seen: u64) -> Rc<State> {
        let mut watch = self.0.published.subscribe();
        loop {
            let state = watch.borrow_and_update().clone();
            if state.revision > seen {
                return state;
            }
            if watch.changed().await.is_err() {
                // The sender lives as long as this handle.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Proposes a change and returns the revision it made, when this node too has it.
    ///
    /// # Errors
    /// Within 10 s: [`ClusterError::NoQuorum`], [`ClusterError::Conflict`], [`ClusterError::Refused`],
    /// [`ClusterError::Uncertain`], [`ClusterError::Storage`].
    pub async fn propose(&self, change: Change) -> Result<u64, ClusterError> {
        self.0.submit(Action::Change(change)).await
    }

    /// Whether a majority of the voters (this node counted, if it is one) has answered within the last 1.5 s.
    pub fn has_quorum(&self) -> bool {
        self.0.has_quorum()
    }

    /// Whether that peer has answered within the last 1.5 s. This node itself always has.
    pub fn connected(&self, uuid: Gfid) -> bool {
        self.0.connected(uuid)
    }

    /// The leader, if this node knows one.
    pub fn leader(&self) -> Option<Gfid> {
        let raft_id = self.0.leader_id()?;
        self.0.member_target(raft_id).map(|target| target.uuid)
    }

    /// Sends a request to the daemon of another node (or of this one) and returns its answer. `kind` names the service.
    ///
    /// # Errors
    /// [`ClusterError::NoPeer`], [`ClusterError::Unreachable`] (also when no answer came within `limit`),
    /// [`ClusterError::Failed`] with the other daemon's words.
    pub async fn ask(&self, uuid: Gfid, kind: &str, body: Bytes, limit: Duration) -> Result<Bytes, ClusterError> {
        if uuid == self.0.identity.borrow().uuid {
            let answer = rt::timeout(limit, self.0.answer(kind, body)).await;
            return answer.unwrap_or_else(|_| Err(ClusterError::Unreachable("this node's daemon".to_owned())));
        }
        let state = self.0.state();
        let peer = state.peer(uuid).ok_or_else(|| ClusterError::NoPeer(uuid.to_string()))?;
        let envelope = self.0.envelope(peer.raft_id, AskRequest { kind: kind.to_owned() });
        let target = Target::from(peer);
        let request = (&envelope, body.as_ref());
        let answer = self
            .0
            .links
            .call::<_, ()>(&target, Lane::Requests, Procedure::Ask, request, limit);
        match answer.await {
            Ok(((), payload)) => Ok(payload),
            Err(ClusterError::Uncertain(what)) => Err(ClusterError::Unreachable(what)),
            Err(e) => Err(e),
        }
    }

    /// Sets what answers [`Cluster::ask`] of other nodes.
    pub fn on_ask(&self, f: impl Fn(&str, Bytes) -> LocalBoxFuture<'static, Result<Bytes, String>> + 'static) {
        *self.0.handler.borrow_mut() = Some(Rc::new(f));
    }

    /// The programs to be served on the management port.
    pub fn programs(&self) -> Vec<Rc<dyn crate::rpc::Program>> {
        vec![Rc::new(program::ClusterProgram::new(Rc::downgrade(&self.0)))]
    }

    /// Makes the node called `host` a member.
    ///
    /// # Errors
    /// Why not; nothing has changed then that a second probe would not complete.
    pub async fn probe(&self, host: &str) -> Result<Probed, ProbeError> {
        self.0.probe(host).await
    }

    /// Removes a node; `force` also when it has bricks.
    ///
    /// # Errors
    /// [`ClusterError::NoPeer`], [`ClusterError::Refused`], [`ClusterError::NoQuorum`].
    pub async fn detach(&self, uuid: Gfid, force: bool) -> Result<(), ClusterError> {
        self.0.detach(uuid, force).await
    }

    /// Ends this node's part: raft stops and the file is closed once everything under way has ended. A process that ends
    /// need not call it: the file is always as a crash may leave it.
    pub async fn close(&self) {
        self.0.tasks.borrow_mut().clear();
        self.0.stop().await;
    }
}

impl Inner {
    /// Starts raft on the present store.
    async fn start(self: &Rc<Self>) -> Result<(), ClusterError> {
        let store = self.store.borrow().clone();
        let raft_id = self.identity.borrow().raft_id;
        let machine = Machine::load(store.clone(), self.published.clone()).map_err(storage)?;
        let network = Network(Rc::downgrade(self));
        let raft = Raft::new(raft_id, self.config.clone(), network, Log(store), machine.clone()).await;
        let raft = raft.map_err(|e| ClusterError::Storage(e.to_string()))?;
        if machine.has_members() {
            // Raft tells its membership to others (and here who has a majority) only when its task has run.
            let wait = raft.wait(Some(STARTUP));
            let known =
                |metrics: &openraft::RaftMetrics<u64, Member>| metrics.membership_config.nodes().next().is_some();
            if wait.metrics(known, "the membership is known").await.is_err() {
                tracing::warn!("raft is slow to start");
            }
        }
        *self.running.borrow_mut() = Some(Running { raft });
        Ok(())
    }

    /// Stops raft.
    async fn stop(&self) {
        let running = self.running.borrow_mut().take();
        if let Some(running) = running
            && let Err(e) = running.raft.shutdown().await
        {
            tracing::warn!("raft did not end in order: {e}");
        }
    }

    fn running(&self) -> Result<Running, ClusterError> {
        let running = self.running.borrow().clone();
        running.ok_or_else(|| ClusterError::NotMember("this node, which is joining or leaving a cluster,".to_owned()))
    }

    fn state(&self) -> Rc<State> {
        self.published.borrow().clone()
    }

    fn me(&self) -> Peer {
        let identity = self.identity.borrow();
        let state = self.state();
        let known = state.peer(identity.uuid);
        Peer {
            uuid: identity.uuid,
            raft_id: identity.raft_id,
            hostnames: known.map_or_else(|| self.own_names.clone(), |peer| peer.hostnames.clone()),
            port: self.port.get(),
        }
    }

    fn envelope<T>(&self, to: u64, body: T) -> Envelope<T> {
        Envelope {
            cluster: self.identity.borrow().cluster,
            to,
            body,
        }
    }

    /// The member that leads, as this node knows.
    fn leader_id(&self) -> Option<u64> {
        let running = self.running.borrow();
        running.as_ref().and_then(|r| r.raft.metrics().borrow().current_leader)
    }

    /// Where a member is: as the state says, else as it was added.
    fn member_target(&self, raft_id: u64) -> Option<Target> {
        if let Some(peer) = self.state().peer_of_raft(raft_id) {
            return Some(Target::from(peer));
        }
        let running = self.running.borrow();
        let metrics = running.as_ref()?.raft.metrics();
        let membership = metrics.borrow().membership_config.clone();
        membership.membership().get_node(&raft_id).map(|member| Target {
            uuid: member.uuid,
            hosts: member.hosts.clone(),
            port: member.port,
        })
    }

    /// Lets the daemon answer a request.
    async fn answer(&self, kind: &str, body: Bytes) -> Result<Bytes, ClusterError> {
        let handler = self.handler.borrow().clone();
        let handler = handler.ok_or_else(|| ClusterError::Failed(format!("nobody answers '{kind}' yet")))?;
        handler(kind, body).await.map_err(ClusterError::Failed)
    }
}

/// Sets a new store up as a cluster of one node.
async fn found(store: &Store, me: &Peer, mut import: State) -> Result<(Store, Identity), ClusterError> {
    let cluster = new_uuid().map_err(storage)?;
    let identity = Identity::new(cluster, me.uuid, random()?, Vec::new());
    let myself = Peer {
        raft_id: identity.raft_id,
        ..me.clone()
    };
    match import.peers.iter_mut().find(|peer| peer.uuid == me.uuid) {
        Some(peer) => *peer = myself,
        None => import.peers.push(myself),
    }
    let member = Member::from(me);
    let store = store.found(identity.clone(), member, import).await.map_err(storage)?;
    Ok((store, identity))
}

/// A random number that is not 0.
fn random() -> Result<u64, ClusterError> {
    let mut bytes = [0; 8];
    datapath::sys::clock::fill_random(&mut bytes).map_err(storage)?;
    // JSON readers other than ours round beyond 2^53.
    Ok((u64::from_le_bytes(bytes) >> 11).max(1))
}

fn storage(e: std::io::Error) -> ClusterError {
    ClusterError::Storage(e.to_string())
}
