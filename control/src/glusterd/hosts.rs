//! Which node of the cluster a host name or address means.

use std::net::{IpAddr, ToSocketAddrs};

use datapath::sys::host;
use datapath::wire::Gfid;

use super::daemon::{Daemon, is_local_address};
use super::model::OpError;
use crate::cluster::Peer;
use crate::rt;

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

fn addresses(host: &str) -> Vec<IpAddr> {
    let found = (bare(host), 0).to_socket_addrs();
    found
        .map(|all| all.map(|a| a.ip().to_canonical()).collect())
        .unwrap_or_default()
}

/// Whether two texts name the same host without asking anybody: the same name, or the same address written differently.
fn same_name(a: &str, b: &str) -> bool {
    let (a, b) = (bare(a), bare(b));
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a.to_canonical() == b.to_canonical(),
        _ => a.eq_ignore_ascii_case(b),
    }
}

/// The node that a host name or address means; None if it is none of the cluster's. Names that the cluster knows need no
/// name service.
pub async fn node_of(daemon: &Daemon, host: &str) -> Option<Gfid> {
    let me = daemon.node().uuid;
    let state = daemon.cluster().state();
    let known = |peer: &&Peer| peer.hostnames.iter().any(|name| same_name(name, host));
    if let Some(peer) = state.peers.iter().find(known) {
        return Some(peer.uuid);
    }
    let (host, peers) = (host.to_string(), state.peers.clone());
    let resolve = move || {
        let wanted = addresses(&host);
        if wanted.iter().any(|address| is_local_address(*address)) {
            return Some(me);
        }
        let has = |peer: &&Peer| {
            let mut names = peer.hostnames.iter();
            names.any(|name| addresses(name).iter().any(|address| wanted.contains(address)))
        };
        peers
            .iter()
            .filter(|peer| peer.uuid != me)
            .find(has)
            .map(|peer| peer.uuid)
    };
    match rt::blocking(resolve).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!("the helper thread failed: {error}");
            None
        }
    }
}

/// The node of a brick's host, which must be connected.
///
/// # Errors
/// GlusterFS's words for a host that is no peer, or is away.
pub async fn connected_node_of(daemon: &Daemon, host: &str) -> Result<Gfid, OpError> {
    let node = node_of(daemon, host).await;
    let node = node.ok_or_else(|| OpError::new(format!("Host {host} is not in 'Peer in Cluster' state")))?;
    if node != daemon.node().uuid && !daemon.cluster().connected(node) {
        return Err(OpError::new(format!("Host {host} not connected")));
    }
    Ok(node)
}

/// The name of an address, if the name service of this node knows it both ways; "localhost" is nobody's name.
pub async fn confirmed_name(address: IpAddr) -> Option<String> {
    let look_up = move || {
        let name = host::name_of_address(address)?;
        let confirmed = addresses(&name).contains(&address.to_canonical());
        (confirmed && !name.starts_with("localhost")).then_some(name)
    };
    rt::blocking(look_up).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_compared() {
        assert!(same_name("W1", "w1") && same_name("[fe80::1]", "FE80:0::1"));
        assert!(same_name("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same_name("w1", "w10") && !same_name("10.0.0.1", "10.0.0.10"));
    }

    #[test]
    fn addresses_need_no_name_service() {
        assert_eq!(addresses("[::1]"), vec!["::1".parse::<IpAddr>().unwrap()]);
        assert!(addresses("no such host").is_empty());
    }
}
