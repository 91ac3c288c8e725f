//! Nodes on one runtime: 127.0.0.1, 127.0.0.2 and so on, all with the same port.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use datapath::wire::Gfid;

use super::{LONG, Scratch, TUNING, eventually};
use crate::cluster::fixtures::volume;
use crate::cluster::{Change, Cluster, ClusterError, Peer, ProbeError, Probed, State};
use crate::glusterd::model::Volume;
use crate::rpc::{Address, Server};
use crate::rt::{self, Instant, Listener, OwnedTask};

/// One node: its cluster handle and what serves it.
pub(super) struct Node {
    pub cluster: Cluster,
    number: u8,
    server: Server,
    serving: RefCell<Option<OwnedTask<()>>>,
}

impl std::ops::Deref for Node {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// Where nodes keep their files, and the port they share.
pub(super) struct Place {
    scratch: Scratch,
    port: u16,
    _reserved: TcpListener,
}

pub(super) fn uuid(number: u8) -> Gfid {
    Gfid([number; 16])
}

pub(super) fn host(number: u8) -> String {
    format!("127.0.0.{number}")
}

impl Place {
    pub fn new(name: &str) -> Place {
        // Below the ports that connections get by themselves; whoever holds it on this address has it on all.
        let take = |port| TcpListener::bind((Ipv4Addr::new(127, 0, 0, 200), port)).ok();
        let reserved = (20_000..30_000).find_map(take).unwrap();
        Place {
            scratch: Scratch::new(name),
            port: reserved.local_addr().unwrap().port(),
            _reserved: reserved,
        }
    }

    pub fn directory(&self, number: u8) -> PathBuf {
        self.scratch.path().join(number.to_string())
    }

    /// Starts a node with its usual uuid.
    pub async fn start(&self, number: u8) -> Node {
        self.start_as(number, uuid(number)).await
    }

    pub async fn start_as(&self, number: u8, uuid: Gfid) -> Node {
        self.start_with(number, uuid, State::default()).await
    }

    pub async fn start_with(&self, number: u8, uuid: Gfid, import: State) -> Node {
        let me = Peer {
            uuid,
            raft_id: 0,
            hostnames: vec![host(number)],
            port: self.port,
        };
        let begun = Instant::now();
        let cluster = loop {
            match Cluster::open_tuned(self.directory(number), me.clone(), import.clone(), TUNING).await {
                Ok(cluster) => break cluster,
                // What the node was doing when it was stopped may still be ending.
                Err(ClusterError::Storage(why)) if why.contains("in use") && begun.elapsed() < LONG => {
                    rt::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err(e) => panic!("node {number}: {e}"),
            }
        };
        let server = Server::new(cluster.programs());
        let node = Node {
            cluster,
            number,
            server,
            serving: RefCell::new(None),
        };
        node.serve(self.port);
        node
    }

    /// Starts nodes 1 to `n` and lets 1 probe the others.
    pub async fn cluster(&self, n: u8) -> Vec<Node> {
        let mut nodes = Vec::new();
        for number in 1..=n {
            nodes.push(self.start(number).await);
        }
        for number in 2..=n {
            let probed = probe(&nodes[0], &host(number)).await.unwrap();
            assert!(matches!(probed, Probed::Added(peer) if peer.uuid == uuid(number)));
        }
        voters(&nodes, odd(n)).await;
        nodes
    }

    /// Removes what a node has on disk.
    pub fn wipe(&self, number: u8) {
        std::fs::remove_dir_all(self.directory(number)).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Probes a host, again while a busy machine lets the cluster believe that it has no majority.
pub(super) async fn probe(by: &Cluster, host: &str) -> Result<Probed, ProbeError> {
    let begun = Instant::now();
    loop {
        match by.probe(host).await {
            Err(ProbeError::Cluster(ClusterError::NoQuorum | ClusterError::Uncertain(_))) if begun.elapsed() < LONG => {
            }
            other => return other,
        }
    }
}

/// How many of `n` vote.
pub(super) fn odd(n: u8) -> usize {
    let most = usize::from(n).min(7);
    most - usize::from(most.is_multiple_of(2))
}

/// Waits until every node sees the same number of voters, no change under way, and everybody connected.
pub(super) async fn voters(nodes: &[Node], count: usize) {
    let settled = || {
        nodes.iter().all(|node| {
            let configs = node.configs();
            let all = nodes.iter().all(|other| node.connected(other.me().uuid));
            configs.len() == 1 && configs[0] == count && node.leader().is_some() && all
        })
    };
    eventually(&format!("{count} voters"), settled).await;
}

impl Node {
    fn serve(&self, port: u16) {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, self.number)), port);
        let listener = Listener::bind(&Address::Tcp(address)).unwrap();
        let server = self.server.clone();
        *self.serving.borrow_mut() = Some(rt::spawn_owned(async move { server.serve(listener).await }));
    }

    /// Ends the node as a kill does: without a word to anybody.
    pub async fn stop(self) {
        self.cut();
        self.cluster.close().await;
    }

    /// Cuts the node off the network.
    pub fn cut(&self) {
        *self.serving.borrow_mut() = None;
        self.server.peers().iter().for_each(|peer| peer.disconnect());
        self.cluster.0.links.set_cut(true);
    }

    /// Connects it again.
    pub fn mend(&self, place: &Place) {
        self.cluster.0.links.set_cut(false);
        self.serve(place.port());
    }

    /// Sizes of the sets of voters.
    pub fn configs(&self) -> Vec<usize> {
        let Ok(running) = self.cluster.0.running() else {
            return Vec::new();
        };
        let membership = running.raft.metrics().borrow().membership_config.clone();
        membership
            .membership()
            .get_joint_config()
            .iter()
            .map(|voters| voters.len())
            .collect()
    }

    /// Members of raft, learners included.
    pub fn members(&self) -> usize {
        let running = self.cluster.0.running().unwrap();
        let membership = running.raft.metrics().borrow().membership_config.clone();
        membership.nodes().count()
    }

    /// The term of raft.
    pub fn term(&self) -> u64 {
        let running = self.cluster.0.running().unwrap();
        running.raft.metrics().borrow().current_term
    }

    /// The index up to which the log has been purged.
    pub fn purged(&self) -> u64 {
        let running = self.cluster.0.running().unwrap();
        let purged = running.raft.metrics().borrow().purged;
        purged.map_or(0, |id| id.index)
    }

    /// [`Node::put`] that succeeds in the end.
    pub async fn put_surely(&self, version: u32) -> u64 {
        match self.put_decided(version).await {
            Ok(revision) => revision,
            // It was made, though its maker was told that it might not have been.
            Err(ClusterError::Conflict(_)) if self.version() == version => self.state().revision,
            Err(e) => panic!("change to version {version}: {e:?}"),
        }
    }

    /// [`Node::put`] that goes on while a busy machine lets the cluster believe that it has no majority.
    pub async fn put_decided(&self, version: u32) -> Result<u64, ClusterError> {
        let begun = Instant::now();
        loop {
            match self.put(version).await {
                Err(ClusterError::NoQuorum | ClusterError::Uncertain(_)) if begun.elapsed() < LONG => {}
                other => return other,
            }
        }
    }

    /// Creates or changes the volume `v`.
    pub async fn put(&self, version: u32) -> Result<u64, ClusterError> {
        let volume = Volume {
            version,
            ..volume("v", self.me().uuid)
        };
        let expect = version.checked_sub(1).filter(|version| *version > 0);
        self.propose(Change::PutVolume { volume, expect }).await
    }

    /// The version of the volume `v`; 0 if there is none.
    pub fn version(&self) -> u32 {
        self.state().volumes.get("v").map_or(0, |volume| volume.version)
    }
}

/// The node that leads, and the others.
pub(super) fn split(nodes: Vec<Node>) -> (Node, Vec<Node>) {
    let leader = nodes[0].leader().unwrap();
    let (mut leaders, followers): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|node| node.me().uuid == leader);
    (leaders.remove(0), followers)
}
