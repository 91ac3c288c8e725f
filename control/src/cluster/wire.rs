//! Messages between nodes: the RPC program on the management port and its bodies.
//!
//! The program is Ringluster's own (GlusterFS's peers speak other programs and are not spoken to): number 0x52494e47
//! ("RING"), which none of GlusterFS's programs has (wire-protocol.md 2.1), version 1. A body is the length of a JSON text
//! (u32, big-endian), that text, and a payload of bytes whose meaning the procedure knows.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use datapath::wire::Gfid;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{SnapshotMeta, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::gfid;
use super::machine::{Command, Outcome};
use super::raft::{Member, Types};
use super::types::{ClusterError, Peer, ProbeError};
use crate::rpc::ProgramId;

/// The program of node-to-node messages.
pub const CLUSTER: ProgramId = ProgramId::new(0x5249_4e47, 1);

/// Its procedures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Procedure {
    /// Who are you? For anybody.
    Hello = 1,
    /// Is a raft id a member? For anybody.
    Membership = 2,
    /// Join this cluster. For anybody while the node is alone and has no volumes.
    Join = 3,
    /// You are no longer a member: start anew.
    Leave = 4,
    /// Are you there?
    Ping = 5,
    Append = 6,
    Vote = 7,
    Snapshot = 8,
    /// For the leader: a command for the log.
    Propose = 9,
    /// For the leader: let a node in.
    Admit = 10,
    /// For the leader: remove a node.
    Detach = 11,
    /// The daemon's own requests.
    Ask = 12,
}

impl Procedure {
    /// The procedure of that number.
    pub fn from_number(number: u32) -> Option<Procedure> {
        use Procedure::{Admit, Append, Ask, Detach, Hello, Join, Leave, Membership, Ping, Propose, Snapshot, Vote};
        [
            Hello, Membership, Join, Leave, Ping, Append, Vote, Snapshot, Propose, Admit, Detach, Ask,
        ]
        .into_iter()
        .find(|procedure| *procedure as u32 == number)
    }

    /// Whether a node that is no peer may call it; the procedure itself then looks more closely.
    pub fn is_open(self) -> bool {
        matches!(self, Procedure::Hello | Procedure::Membership | Procedure::Join)
    }
}

/// What a request is wrapped in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope<T> {
    /// The sender's cluster.
    #[serde(with = "gfid")]
    pub cluster: Gfid,
    /// The raft id of the receiver that is meant; 0 for whoever it is.
    pub to: u64,
    pub body: T,
}

/// What an answer is: the result, or why there is none.
pub(super) type Answer<T> = Result<T, ClusterError>;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HelloAnswer {
    #[serde(with = "gfid")]
    pub cluster: Gfid,
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    pub raft_id: u64,
    pub port: u16,
    /// Peers beside itself.
    pub peers: usize,
    pub volumes: usize,
    /// Newest revision its daemon has seen.
    pub revision: u64,
    /// The op-version it supports at most.
    pub max_op_version: u32,
    /// The caller's address as the node sees it.
    pub you: String,
    /// From which addresses the node may call.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// Membership's question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MembershipQuestion {
    pub raft_id: u64,
}

/// Membership's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MembershipAnswer {
    /// It is a member as far as the answering node knows.
    Member,
    /// It is none, and a majority has confirmed that the answer is current.
    Expelled,
    /// The answering node cannot tell for certain.
    Unknown,
}

/// Orders a node into the caller's cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct JoinRequest {
    /// The raft store that is to be replaced: the one that said hello.
    pub replaces: u64,
    /// The uuid the node is to have: its own, or the one it had before it was wiped.
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    /// Addresses of the cluster.
    pub trusted: Vec<String>,
}

/// The raft id of the new store of a node, or why it does not join.
pub(super) type JoinAnswer = Result<u64, ProbeError>;

/// Are you the one?
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ping {
    #[serde(with = "gfid")]
    pub from: Gfid,
}

/// Who answers, and from which addresses it may call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pong {
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    pub addresses: Vec<std::net::IpAddr>,
}

pub(super) type AppendRequest = AppendEntriesRequest<Types>;
pub(super) type AppendAnswer = AppendEntriesResponse<u64>;
pub(super) type VoteQuestion = VoteRequest<u64>;
pub(super) type VoteAnswer = VoteResponse<u64>;

/// A snapshot; its data is the payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotRequest {
    pub vote: Vote<u64>,
    pub meta: SnapshotMeta<u64, Member>,
}

/// The follower's vote after it has installed a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotAnswer {
    pub vote: Vote<u64>,
}

/// A command for the leader.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ProposeRequest {
    pub command: Command,
}

/// Where in the log the command is and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ProposeAnswer {
    pub index: u64,
    pub outcome: Outcome,
}

/// A node to let in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AdmitRequest {
    /// Where it was reached: the name it was probed by first.
    pub hosts: Vec<String>,
    pub port: u16,
    /// The uuid of the member that it was before it was wiped.
    pub returns: Option<String>,
}

/// The new member, or why there is none.
pub(super) type AdmitAnswer = Result<Peer, ProbeError>;

/// A node to remove.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DetachRequest {
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    pub force: bool,
}

/// A request of the daemon; its body is the payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AskRequest {
    pub kind: String,
}

/// A body of a JSON text and a payload.
pub(super) fn encode<T: Serialize>(value: &T, payload: &[u8]) -> Result<Bytes, ClusterError> {
    let text = serde_json::to_vec(value).map_err(|e| ClusterError::Malformed(e.to_string()))?;
    let length = u32::try_from(text.len()).map_err(|_| ClusterError::Malformed("too long".to_owned()))?;
    let mut body = BytesMut::with_capacity(4 + text.len() + payload.len());
    body.put_u32(length);
    body.put_slice(&text);
    body.put_slice(payload);
    Ok(body.freeze())
}

/// Takes a body apart.
pub(super) fn decode<T: DeserializeOwned>(mut body: Bytes) -> Result<(T, Bytes), ClusterError> {
    let malformed = |what: String| ClusterError::Malformed(what);
    let Some((length, rest)) = body.split_first_chunk::<4>() else {
        return Err(malformed(format!("{} bytes are no message", body.len())));
    };
    let length = u32::from_be_bytes(*length) as usize;
    let Some(text) = rest.get(..length) else {
        return Err(malformed(format!(
            "a text of {length} bytes in a message of {}",
            body.len()
        )));
    };
    let value = serde_json::from_slice(text).map_err(|e| malformed(e.to_string()))?;
    Ok((value, body.split_off(4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_survive_and_bad_ones_are_named() {
        let body = encode(&AskRequest { kind: "x".into() }, b"payload").unwrap();
        let (request, payload) = decode::<AskRequest>(body.clone()).unwrap();
        assert_eq!((request.kind.as_str(), payload.as_ref()), ("x", b"payload".as_slice()));
        for length in 0..body.len() - "payload".len() {
            assert!(matches!(
                decode::<AskRequest>(body.slice(..length)),
                Err(ClusterError::Malformed(_))
            ));
        }
        let text = decode::<Ping>(body).unwrap_err().to_string();
        assert!(text.contains("from"), "{text}");
        let huge = Bytes::from_static(&[0xff; 64]);
        assert!(decode::<Ping>(huge).unwrap_err().to_string().contains("4294967295"));
    }

    #[test]
    fn a_node_of_an_earlier_release_is_understood() {
        let own = HelloAnswer {
            cluster: Gfid::NULL,
            uuid: Gfid::NULL,
            raft_id: 7,
            port: 24_007,
            peers: 0,
            volumes: 0,
            revision: 1,
            max_op_version: 100_000,
            you: "10.0.0.1".into(),
            addresses: vec!["fd00::2".parse().unwrap()],
        };
        assert_eq!(decode::<HelloAnswer>(encode(&own, b"").unwrap()).unwrap().0, own);
        let mut text = serde_json::to_value(&own).unwrap();
        text.as_object_mut().unwrap().remove("addresses");
        let old = decode::<HelloAnswer>(encode(&text, b"").unwrap()).unwrap().0;
        assert_eq!(old.you, own.you);
        assert!(old.addresses.is_empty());
    }

    #[test]
    fn every_procedure_has_its_number() {
        let known = (0..64).filter_map(Procedure::from_number).collect::<Vec<_>>();
        assert_eq!(known.len(), 12);
        assert_eq!(known.iter().filter(|procedure| procedure.is_open()).count(), 3);
    }
}
