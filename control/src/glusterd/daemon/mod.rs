//! The daemon's state: what runs on this node for the volumes of the cluster. The configuration itself is the cluster's
//! (`crate::cluster`); here its volumes get files, volfiles and processes, and commands change it through the few
//! functions of this folder, so that files, volfiles, clients and processes follow every change on every node.

mod change;
mod follow;
mod lock;
mod processes;
mod quorum;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use datapath::sys::host;
use datapath::wire::{Gfid, callback, program};

use self::lock::Locks;
use super::config::Config;
use super::history::History;
use super::model::{Brick, OpError, Volume};
use super::ports::Portmap;
use super::store::{NodeInfo, Store, StoreError};
use super::supervise::Supervised;
use crate::cluster::{Cluster, Peer, State};
use crate::rpc::{ProgramId, Server};
use crate::rt::{self, sync};

pub use lock::Transaction;
pub use processes::ProcessStatus;
pub use quorum::QuorumCount;

/// How long a command waits for connected peers to have put a change into effect.
const FOLLOW_LIMIT: Duration = Duration::from_secs(15);

/// A volume and what runs for it on this node.
struct Entry {
    volume: Volume,
    /// The supervised local bricks, by their path.
    bricks: BTreeMap<String, Supervised>,
    shd: Option<Supervised>,
}

impl Entry {
    fn new(volume: Volume) -> Self {
        Self {
            volume,
            bricks: BTreeMap::new(),
            shd: None,
        }
    }
}

struct Inner {
    config: Config,
    store: Store,
    cluster: Cluster,
    node: Cell<NodeInfo>,
    port: Cell<u16>,
    volumes: RefCell<BTreeMap<String, Entry>>,
    portmap: Portmap,
    servers: RefCell<Vec<Server>>,
    /// One changing command at a time on this node; the leader's lock makes it one in the cluster.
    transaction: Arc<sync::Semaphore>,
    /// The cluster's lock, while this node is the leader.
    locks: Locks,
    /// One writer of the working directory at a time.
    disk: sync::Mutex<()>,
    /// One turn of following the cluster's state at a time.
    following: sync::Mutex<()>,
    /// One turn of starting and stopping processes at a time.
    settling: sync::Mutex<()>,
    /// The revision of the cluster's state that this node has put into effect.
    applied: sync::watch::Sender<u64>,
    /// Processes are started and stopped: not before the listeners are there, since they ask for their volfiles.
    live: Cell<bool>,
    /// Bricks (volume, path) that a `reset-brick start` keeps stopped.
    held: RefCell<BTreeSet<(String, String)>>,
    /// Whether bricks that follow the server quorum may run; None while that is not known yet.
    server_quorum: Cell<Option<bool>>,
    history: History,
}

impl Inner {
    /// Runs a file operation on a helper thread.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, OpError> {
        let _writer = self.disk.lock().await;
        let done = rt::blocking(work)
            .await
            .map_err(|e| OpError::new(format!("the helper thread failed: {e}")))?;
        done.map_err(|e| OpError::new(e.to_string()))
    }
}

/// The daemon. Clones share it.
#[derive(Clone)]
pub struct Daemon(Rc<Inner>);

/// A daemon that does not keep itself alive.
#[derive(Clone)]
pub struct WeakDaemon(Weak<Inner>);

impl std::fmt::Debug for WeakDaemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WeakDaemon")
    }
}

impl WeakDaemon {
    /// The daemon, unless it is ending.
    pub fn upgrade(&self) -> Option<Daemon> {
        self.0.upgrade().map(Daemon)
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("node", &self.0.node.get().uuid)
            .finish_non_exhaustive()
    }
}

impl Daemon {
    /// Reads the working directory and opens the cluster's configuration in it. A directory that has none yet (a
    /// GlusterFS daemon's, or an empty one) is imported. Volumes that cannot be read are logged and left alone.
    /// `port` is the TCP port that peers, clients and bricks use.
    ///
    /// # Errors
    /// If the node's own files or the configuration cannot be read or written.
    pub async fn open(config: Config, port: u16) -> Result<Self, String> {
        let store = Store::open(config.paths.clone()).map_err(|e| e.to_string())?;
        let node = store.node_info().map_err(|e| e.to_string())?;
        let options = store.cluster_options().map_err(|e| e.to_string())?;
        let stored = stored_volumes(&store).map_err(|e| e.to_string())?;
        let import = State {
            revision: 0,
            peers: Vec::new(),
            volumes: stored
                .iter()
                .map(|(name, volume)| (name.clone(), volume.shared()))
                .collect(),
            options,
            op_version: node.op_version,
        };
        let me = Peer {
            uuid: node.uuid,
            raft_id: 0,
            hostnames: Vec::new(),
            port,
        };
        let cluster = Cluster::open(config.paths.workdir.join("cluster"), me, import)
            .await
            .map_err(|e| format!("the cluster's configuration cannot be opened: {e}"))?;
        let history = History::new(config.paths.logdir.join("cmd_history.log"));
        let volumes = stored
            .into_iter()
            .map(|(name, volume)| (name, Entry::new(volume)))
            .collect();
        let daemon = Self(Rc::new(Inner {
            config,
            store,
            cluster,
            node: Cell::new(node),
            port: Cell::new(port),
            volumes: RefCell::new(volumes),
            portmap: Portmap::default(),
            servers: RefCell::default(),
            transaction: Arc::new(sync::Semaphore::new(1)),
            locks: Locks::default(),
            disk: sync::Mutex::new(()),
            following: sync::Mutex::new(()),
            settling: sync::Mutex::new(()),
            applied: sync::watch::Sender::new(0),
            live: Cell::new(false),
            held: RefCell::default(),
            server_quorum: Cell::new(None),
            history,
        }));
        super::node::serve(&daemon);
        daemon.adopt_newer_files().await;
        // What is not in the cluster's state goes, what is there gets its files; nothing is started yet.
        if let Err(error) = daemon.follow().await {
            tracing::error!("{error}");
        }
        daemon.rewrite_all_volfiles().await;
        Ok(daemon)
    }

    /// A handle for callbacks that the daemon itself owns.
    pub fn downgrade(&self) -> WeakDaemon {
        WeakDaemon(Rc::downgrade(&self.0))
    }

    /// Notes the servers that change notices go out on.
    pub fn attach(&self, servers: Vec<Server>) {
        *self.0.servers.borrow_mut() = servers;
    }

    /// The configuration of this process.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The working directory.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The cluster's configuration.
    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// The node's identity.
    pub fn node(&self) -> NodeInfo {
        self.0.node.get()
    }

    /// The registry of brick ports.
    pub fn portmap(&self) -> &Portmap {
        &self.0.portmap
    }

    /// The log of commands.
    pub fn history(&self) -> &History {
        &self.0.history
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.0.port.get()
    }

    /// Names of all volumes, sorted.
    pub fn volume_names(&self) -> Vec<String> {
        self.0.volumes.borrow().keys().cloned().collect()
    }

    /// A volume as this node has it.
    pub fn volume(&self, name: &str) -> Option<Volume> {
        self.0.volumes.borrow().get(name).map(|entry| entry.volume.clone())
    }

    /// A volume that a command names.
    ///
    /// # Errors
    /// [`OpError::no_volume`].
    pub fn need_volume(&self, name: &str) -> Result<Volume, OpError> {
        self.volume(name).ok_or_else(|| OpError::no_volume(name))
    }

    /// Settings of the whole cluster with their version.
    pub fn cluster_options(&self) -> (u32, Vec<(String, String)>) {
        self.0.cluster.state().options.clone()
    }

    /// The peers without this node, in the cluster's order.
    pub fn other_peers(&self) -> Vec<Peer> {
        let me = self.node().uuid;
        let state = self.0.cluster.state();
        state.peers.iter().filter(|peer| peer.uuid != me).cloned().collect()
    }

    /// How messages name a node: "localhost", else its first host name.
    pub fn peer_name(&self, uuid: Gfid) -> String {
        if uuid == self.node().uuid {
            return "localhost".to_string();
        }
        let state = self.0.cluster.state();
        let peer = state.peers.iter().find(|peer| peer.uuid == uuid);
        let name = peer.and_then(|peer| peer.hostnames.first()).cloned();
        name.unwrap_or_else(|| uuid.to_string())
    }

    /// Whether a brick is on this node.
    pub fn is_local(&self, brick: &Brick) -> bool {
        brick.node == self.node().uuid
    }

    /// FETCHSPEC to everybody who is connected.
    pub fn notify_volfile_change(&self) {
        let id = ProgramId::new(program::CALLBACK.number, program::CALLBACK.version);
        for server in self.0.servers.borrow().iter() {
            server.broadcast(id, callback::Proc::Fetchspec as u32, &[]);
        }
    }
}

/// The volumes of the working directory.
fn stored_volumes(store: &Store) -> Result<BTreeMap<String, Volume>, StoreError> {
    let mut volumes = BTreeMap::new();
    for name in store.volume_names()? {
        match store.load_volume(&name) {
            Ok(volume) => {
                volumes.insert(name, volume);
            }
            Err(error) => tracing::error!("volume {name} is not available: {error}"),
        }
    }
    Ok(volumes)
}

/// Whether an address belongs to this node.
pub fn is_local_address(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback()
        || match host::interface_addresses() {
            Ok(own) => own.contains(&address),
            Err(error) => {
                tracing::warn!("the addresses of this node are not known: {error}");
                false
            }
        }
}
