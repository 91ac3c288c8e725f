//! `peer probe` and `peer detach`: GlusterFS's checks, words and numbers around the cluster's own mechanics.

use std::net::IpAddr;
use std::time::Duration;

use datapath::errno::Errno;
use datapath::wire::{Gfid, OldDict};

use super::super::daemon::Daemon;
use super::super::hosts;
use super::super::model::OpError;
use super::super::node;
use super::{OpResult, text};
use crate::cluster::{Change, ClusterError, ProbeError, Probed};

/// How long a peer may look for a name.
const NAME_LIMIT: Duration = Duration::from_secs(5);

/// Result codes of a probe (wire-protocol.md 2.8); the first two are told as successes.
mod probe_code {
    pub const LOCALHOST: i32 = 1;
    pub const FRIEND: i32 = 2;
    pub const ANOTHER_CLUSTER: i32 = 3;
    pub const ADD_FAILED: i32 = 7;
    pub const QUORUM_NOT_MET: i32 = 8;
}

/// Result codes of a detach.
mod detach_code {
    pub const LOCALHOST: i32 = 1;
    pub const NOT_FRIEND: i32 = 2;
    pub const BRICK_EXIST: i32 = 3;
    pub const FRIEND_DOWN: i32 = 4;
    pub const QUORUM_NOT_MET: i32 = 5;
}

/// A probe that did what it should, or needed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeDone {
    /// The number beside the success.
    pub number: i32,
    /// What is said instead of "success".
    pub said: String,
}

fn error(errno: i32, text: impl Into<String>) -> OpError {
    OpError {
        errno,
        text: text.into(),
    }
}

const NO_PEER_QUORUM: &str = "Cluster quorum is not met. Changing peers is not allowed in this state";

/// Adds a host to the cluster.
///
/// # Errors
/// GlusterFS's words for what is in the way.
pub async fn probe(daemon: &Daemon, request: &OldDict) -> Result<ProbeDone, OpError> {
    let host = text(request, "hostname")?.to_string();
    let port = request.get_i32("port").unwrap_or(i32::from(daemon.port()));
    if daemon.volumes_follow_server_quorum() && !daemon.has_server_quorum() {
        return Err(error(probe_code::QUORUM_NOT_MET, NO_PEER_QUORUM));
    }
    // Nobody is needed to find out that a probe is not.
    if hosts::node_of(daemon, &host).await == Some(daemon.node().uuid) {
        return Ok(localhost());
    }
    // Without a majority the cluster still looks who is there: of two servers the one that voted may have been wiped.
    let _transaction = match daemon.transaction("").await {
        Err(why) if why == OpError::no_quorum() => None,
        other => Some(other?),
    };
    let probed = daemon.cluster().probe(&host).await;
    let done = probed.map_err(|why| refusal(&host, &why))?;
    if let Probed::Added(peer) = &done {
        take_name(daemon, peer.uuid).await;
    }
    daemon.follow().await?;
    daemon.await_peers(daemon.cluster().state().revision).await;
    Ok(match done {
        Probed::Added(peer) | Probed::NewName(peer) => {
            tracing::info!("peer {} ({}) is in the cluster", peer.uuid, host);
            ProbeDone {
                number: 0,
                said: String::new(),
            }
        }
        Probed::AlreadyMember(_) => ProbeDone {
            number: probe_code::FRIEND,
            said: format!("Host {host} port {port} already in peer list"),
        },
        Probed::Localhost => localhost(),
    })
}

/// The first node of a cluster has no name of its own: others know it by the address it probed from. As with GlusterFS
/// the node that was probed is asked what it calls that address. The name is taken if this node agrees.
async fn take_name(daemon: &Daemon, probed: Gfid) {
    let mut me = daemon.cluster().me();
    let Some(address) = me.hostnames.first().and_then(|name| name.parse::<IpAddr>().ok()) else {
        return;
    };
    let request = OldDict::new().with_str("address", &address.to_string());
    let answer = match node::ask(daemon, probed, node::NAME_OF, &request, NAME_LIMIT).await {
        Ok(answer) => answer,
        Err(why) => return tracing::info!("the name of {address} is not known: {why}"),
    };
    let name = answer.get_str("name").map(str::to_string);
    if name.is_none() || hosts::confirmed_name(address).await != name {
        return;
    }
    if let (Some(name), Some(first)) = (name, me.hostnames.first_mut()) {
        *first = name;
        if let Err(why) = daemon.cluster().propose(Change::PutPeer(me)).await {
            tracing::warn!("{address} stays without a name: {why}");
        }
    }
}

fn localhost() -> ProbeDone {
    ProbeDone {
        number: probe_code::LOCALHOST,
        said: "Probe on localhost not needed".into(),
    }
}

fn refusal(host: &str, why: &ProbeError) -> OpError {
    tracing::error!("probe of {host}: {why}");
    match why {
        ProbeError::Unresolved(_) | ProbeError::Unreachable(_) => {
            let errno = Errno::ENOTCONN;
            error(errno.0, format!("Probe returned with {errno}"))
        }
        ProbeError::AnotherCluster | ProbeError::HasVolumes => error(
            probe_code::ANOTHER_CLUSTER,
            format!("{host} is either already part of another cluster or having volumes configured"),
        ),
        ProbeError::Cluster(ClusterError::NoQuorum) => error(probe_code::QUORUM_NOT_MET, NO_PEER_QUORUM),
        other => error(
            probe_code::ADD_FAILED,
            format!("Failed to add peer information on {host}: {other}"),
        ),
    }
}

/// Takes a host out of the cluster.
pub(super) async fn detach(daemon: &Daemon, request: &OldDict) -> OpResult {
    let host = text(request, "hostname")?.to_string();
    let force = super::forced(request);
    let not_friend = || error(detach_code::NOT_FRIEND, format!("{host} is not part of cluster"));
    let node = hosts::node_of(daemon, &host).await.ok_or_else(not_friend)?;
    if node == daemon.node().uuid {
        return Err(error(detach_code::LOCALHOST, format!("{host} is localhost")));
    }
    let no_quorum = |why: OpError| match why == OpError::no_quorum() {
        true => error(detach_code::QUORUM_NOT_MET, NO_PEER_QUORUM),
        false => why,
    };
    let _transaction = daemon.transaction("").await.map_err(no_quorum)?;
    let others = daemon.other_peers();
    let up = |uuid| daemon.cluster().connected(uuid);
    if !force && others.iter().any(|peer| !up(peer.uuid)) {
        let text = "One of the peers is probably down. Check with 'peer status'";
        return Err(error(detach_code::FRIEND_DOWN, text));
    }
    let mut volumes = daemon
        .volume_names()
        .into_iter()
        .filter_map(|name| daemon.volume(&name));
    if volumes.any(|volume| volume.bricks.iter().any(|brick| brick.node == node)) {
        return Err(error(
            detach_code::BRICK_EXIST,
            format!(
                "Peer {host} hosts one or more bricks. If the peer is in not recoverable state then use either \
                 replace-brick or remove-brick command with force to remove all bricks from the peer and attempt the \
                 peer detach again."
            ),
        ));
    }
    if !force && daemon.volumes_follow_server_quorum() && !daemon.has_server_quorum() {
        return Err(error(detach_code::QUORUM_NOT_MET, NO_PEER_QUORUM));
    }
    match daemon.cluster().detach(node, force).await {
        Ok(()) => {}
        Err(ClusterError::NoQuorum) => return Err(error(detach_code::QUORUM_NOT_MET, NO_PEER_QUORUM)),
        Err(ClusterError::NoPeer(_)) => return Err(not_friend()),
        Err(why) => return Err(OpError::new(why.to_string())),
    }
    daemon.follow().await?;
    daemon.await_peers(daemon.cluster().state().revision).await;
    Ok(OldDict::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_glusterfs_words() {
        let text = |why: ProbeError| refusal("w9", &why);
        let unreachable = text(ProbeError::Unreachable("no route".into()));
        assert_eq!(
            (unreachable.errno, unreachable.text.as_str()),
            (107, "Probe returned with Transport endpoint is not connected")
        );
        let other = "w9 is either already part of another cluster or having volumes configured";
        assert_eq!(text(ProbeError::AnotherCluster).text, other);
        assert_eq!(text(ProbeError::HasVolumes), error(3, other));
        let quorum = text(ProbeError::Cluster(ClusterError::NoQuorum));
        assert_eq!(quorum, error(8, NO_PEER_QUORUM));
    }
}
