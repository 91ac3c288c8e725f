//! What the cluster agrees on, and the errors of agreeing. Plain data: no storage, no network.

use std::collections::BTreeMap;
use std::fmt;

use datapath::wire::Gfid;
use serde::{Deserialize, Serialize};

use super::gfid;
use crate::glusterd::model::Volume;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The UUID of `glusterd.info`, by which bricks name their node. A wiped node takes its old one back.
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    /// Random per life of the node's raft store: a wiped node rejoins under a new one, so that raft never counts a voter
    /// that forgot its vote.
    pub raft_id: u64,
    /// Names and addresses (v4 and v6), the primary one first. Empty while nobody has probed anybody.
    pub hostnames: Vec<String>,
    /// Its management port.
    pub port: u16,
}

/// What every node has the same copy of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Counts the changes. Never goes back on a node, not even when it joins or leaves a cluster.
    pub revision: u64,
    /// All nodes, this one included.
    pub peers: Vec<Peer>,
    /// All volumes by name, without the fields that only one node knows ([`crate::glusterd::model::Brick::port`],
    /// [`crate::glusterd::model::Brick::fsid`]): those are 0.
    pub volumes: BTreeMap<String, Volume>,
    /// The options of the whole cluster and the number of times they changed.
    pub options: (u32, Vec<(String, String)>),
    /// The op-version the cluster runs at.
    pub op_version: u32,
}

impl State {
    /// The peer of that uuid.
    pub fn peer(&self, uuid: Gfid) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.uuid == uuid)
    }

    /// The peer whose raft store has that id.
    pub fn peer_of_raft(&self, raft_id: u64) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.raft_id == raft_id)
    }

    /// The peer that is known under a name or address.
    pub fn peer_of_host(&self, host: &str) -> Option<&Peer> {
        let same = |name: &String| name.eq_ignore_ascii_case(host);
        self.peers.iter().find(|peer| peer.hostnames.iter().any(same))
    }
}

/// One change of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Creates or replaces a volume.
    PutVolume {
        /// The whole new definition.
        volume: Volume,
        /// The version the change was computed from; `None`: the volume must not exist.
        expect: Option<u32>,
    },
    /// Removes a volume.
    DeleteVolume {
        /// Its name.
        name: String,
        /// The version that was looked at.
        expect: u32,
    },
    /// Replaces the cluster-wide options.
    SetOptions {
        /// The new version: one more than the present one.
        version: u32,
        /// All of them.
        options: Vec<(String, String)>,
    },
    /// Sets the cluster's op-version, which cannot be lowered.
    SetOpVersion(u32),
    /// Adds a node or replaces what is known of it.
    PutPeer(Peer),
    /// Removes a node without bricks.
    RemovePeer(#[serde(with = "gfid")] Gfid),
}

/// Why the cluster did not do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterError {
    /// No majority of the voters answers. Nothing was changed.
    NoQuorum,
    /// The change was computed from a state that is no longer current.
    Conflict(String),
    /// The change is not possible, with the reason.
    Refused(String),
    /// The majority was lost under way: the change may still come into effect.
    Uncertain(String),
    /// The node with this uuid or name cannot be reached.
    Unreachable(String),
    /// This node is not (or no longer, or not yet) a member of the cluster it was asked about.
    NotMember(String),
    /// No such peer.
    NoPeer(String),
    /// The caller is not known as a peer.
    Denied(String),
    /// A message does not have the form it must have.
    Malformed(String),
    /// The other node carried the request out and failed, with its words.
    Failed(String),
    /// The store of this node failed or cannot be used.
    Storage(String),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQuorum => {
                f.write_str("a majority of the cluster's voting peers is not reachable; nothing was changed")
            }
            Self::Uncertain(why) => write!(
                f,
                "the majority of the cluster's voting peers was lost under way ({why}); the change may still come into effect"
            ),
            Self::Unreachable(what) => write!(f, "{what} is not reachable"),
            Self::NotMember(what) => write!(f, "{what} is not a member of this cluster"),
            Self::NoPeer(what) => write!(f, "{what} is not a peer"),
            Self::Denied(who) => write!(f, "{who} is not a peer of this node"),
            Self::Malformed(what) => write!(f, "malformed message: {what}"),
            Self::Storage(what) => write!(f, "cluster store: {what}"),
            Self::Conflict(text) | Self::Refused(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ClusterError {}

/// What a probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The node is now a member. Also for a wiped node that came back under its old uuid.
    Added(Peer),
    /// The node was a member under this name already.
    AlreadyMember(Peer),
    /// The name means this node.
    Localhost,
    /// The node was a member; it is now known under this name too.
    NewName(Peer),
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeError {
    /// The name does not resolve.
    Unresolved(String),
    /// Nobody answers, or nobody who speaks this protocol.
    Unreachable(String),
    /// The node is in another cluster.
    AnotherCluster,
    /// The node has volumes of its own.
    HasVolumes,
    /// The node's op-version range does not contain the cluster's: theirs (maximum) and ours.
    OpVersion(u32, u32),
    /// The host is known as the node of this uuid, which is alive elsewhere.
    InUse(#[serde(with = "gfid")] Gfid),
    /// The cluster could not decide.
    Cluster(ClusterError),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(why) | Self::Unreachable(why) => f.write_str(why),
            Self::AnotherCluster => f.write_str("the host is already part of another cluster"),
            Self::HasVolumes => f.write_str("the host has volumes configured"),
            Self::OpVersion(theirs, ours) => {
                write!(f, "the host supports op-version {theirs}, the cluster runs at {ours}")
            }
            Self::InUse(uuid) => write!(f, "the name belongs to the peer {uuid}"),
            Self::Cluster(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProbeError {}

impl From<ClusterError> for ProbeError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}
