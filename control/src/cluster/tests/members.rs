//! Nodes that come, go, are wiped and are strangers.

use std::time::Duration;

use datapath::wire::Gfid;

use super::nodes::{Node, Place, host, odd, probe, uuid, voters};
use super::{LONG, eventually};
use crate::cluster::fixtures::volume;
use crate::cluster::wire::{self, Answer, CLUSTER, Envelope, Ping, Procedure};
use crate::cluster::{Change, ClusterError, ProbeError, Probed, State};
use crate::rpc::{Address, Client};
use crate::rt::{self, Instant};

/// Detaches a node, again while a busy machine lets the cluster believe that it has no majority.
async fn detach(by: &Node, uuid: Gfid, force: bool) {
    let begun = Instant::now();
    loop {
        match by.detach(uuid, force).await {
            Ok(()) => return,
            // The time before.
            Err(ClusterError::NoPeer(_)) if by.state().peer(uuid).is_none() => return,
            Err(ClusterError::NoQuorum | ClusterError::Uncertain(_)) if begun.elapsed() < LONG => {}
            Err(e) => panic!("{e:?}"),
        }
    }
}

#[test]
fn probing_says_what_it_found() {
    let place = Place::new("probe");
    rt::block_on(async {
        let nodes = place.cluster(2).await;
        assert_eq!(probe(&nodes[0], &host(1)).await, Ok(Probed::Localhost));
        let known = probe(&nodes[0], &host(2)).await.unwrap();
        assert!(matches!(known, Probed::AlreadyMember(peer) if peer.uuid == uuid(2)));
        // The first node under another name, from the second one.
        let renamed = probe(&nodes[1], "localhost").await.unwrap();
        assert!(matches!(renamed, Probed::NewName(peer) if peer.hostnames == ["127.0.0.1", "localhost"]));
        eventually("both know the name", || nodes[0].state().peers[0].hostnames.len() == 2).await;
        assert!(matches!(
            probe(&nodes[0], "no-such-host.invalid").await,
            Err(ProbeError::Unresolved(_))
        ));
        assert!(matches!(
            probe(&nodes[0], &host(99)).await,
            Err(ProbeError::Unreachable(_))
        ));
        // One of another cluster, and one with a volume.
        let (third, fourth) = (place.start(3).await, place.start(4).await);
        third.put_surely(1).await;
        assert_eq!(probe(&nodes[0], &host(3)).await, Err(ProbeError::HasVolumes));
        probe(&third, &host(4)).await.unwrap();
        assert_eq!(probe(&nodes[1], &host(4)).await, Err(ProbeError::AnotherCluster));
        assert_eq!(fourth.version(), 1);
        assert_eq!(nodes[0].state().peers.len(), 2);
    })
    .unwrap();
}

#[test]
fn a_follower_may_probe_and_revisions_never_go_back() {
    let place = Place::new("follower");
    rt::block_on(async {
        let nodes = place.cluster(3).await;
        let fourth = place.start(4).await;
        for version in 1..10 {
            // Away from here the node has seen many revisions.
            let options = Change::SetOptions {
                version,
                options: Vec::new(),
            };
            fourth.propose(options).await.unwrap();
        }
        let seen = fourth.state().revision;
        let changed = {
            let cluster = fourth.cluster.clone();
            rt::spawn(async move { cluster.changed(seen).await })
        };
        let leader = nodes[0].leader().unwrap();
        let follower = nodes.iter().find(|node| node.me().uuid != leader).unwrap();
        probe(follower, &host(4)).await.unwrap();
        let state = rt::timeout(LONG, changed.join()).await.unwrap().unwrap();
        assert_eq!(state.peers.len(), 4);
        assert!(state.revision > seen);
        fourth.put_surely(1).await;
        eventually("all have it", || nodes.iter().all(|node| node.version() == 1)).await;
    })
    .unwrap();
}

#[test]
fn a_wiped_node_comes_back_under_its_old_uuid() {
    let place = Place::new("wiped");
    rt::block_on(async {
        let mut nodes = place.cluster(3).await;
        nodes[0].put_surely(1).await;
        let third = nodes.remove(2);
        let (former, raft_id) = (third.me().uuid, third.me().raft_id);
        // While it is alive nobody else can be it.
        let wiped = third.me().hostnames[0].clone();
        third.stop().await;
        place.wipe(3);
        let fresh = place.start_as(3, uuid(33)).await;
        assert_eq!(fresh.version(), 0);
        eventually("the former life is missed", || !nodes[0].connected(former)).await;
        let probed = probe(&nodes[1], &wiped).await.unwrap();
        assert!(matches!(&probed, Probed::Added(peer) if peer.uuid == former && peer.raft_id != raft_id));
        eventually("it has the volumes again", || fresh.version() == 1).await;
        assert_eq!(fresh.me().uuid, former);
        nodes.push(fresh);
        voters(&nodes, 3).await;
        eventually("its former life is forgotten", || nodes[0].members() == 3).await;
        assert_eq!(nodes[0].state().peers.len(), 3);
        nodes[2].put_surely(2).await;
        // It stays who it is, whatever its daemon believes.
        nodes.pop().unwrap().stop().await;
        let again = place.start_as(3, uuid(33)).await;
        assert_eq!((again.me().uuid, again.version()), (former, 2));
    })
    .unwrap();
}

#[test]
fn one_that_lost_only_its_store_may_come_back_with_its_volumes() {
    let place = Place::new("lost");
    rt::block_on(async {
        let mut nodes = place.cluster(3).await;
        nodes[0].put_surely(1).await;
        nodes[0].put_surely(2).await;
        nodes.pop().unwrap().stop().await;
        place.wipe(3);
        // Its daemon still has the files of an older state, and takes them for its own.
        let import = State {
            volumes: [("v".to_owned(), volume("v", uuid(1)))].into(),
            ..State::default()
        };
        let third = place.start_with(3, uuid(3), import).await;
        assert_eq!(third.version(), 1);
        eventually("the former life is missed", || !nodes[0].connected(uuid(3))).await;
        probe(&nodes[0], &host(3)).await.unwrap();
        eventually("it has the cluster's state", || third.version() == 2).await;
        nodes.push(third);
        voters(&nodes, 3).await;
    })
    .unwrap();
}

#[test]
fn the_only_voter_of_two_may_be_wiped() {
    let place = Place::new("survivor");
    rt::block_on(async {
        let mut nodes = place.cluster(2).await;
        nodes[1].put_surely(1).await;
        let second = nodes.pop().unwrap();
        nodes.pop().unwrap().stop().await;
        eventually("it is missed", || !second.connected(uuid(1))).await;
        // Dead is not wiped: it may know more, so nothing is decided without it.
        let dead = probe(&second, &host(1)).await;
        assert!(matches!(dead, Err(ProbeError::Unreachable(_))), "{dead:?}");
        assert_eq!(second.put(2).await, Err(ClusterError::NoQuorum));
        place.wipe(1);
        let first = place.start_as(1, uuid(11)).await;
        let probed = probe(&second, &host(1)).await.unwrap();
        assert!(matches!(probed, Probed::Added(peer) if peer.uuid == uuid(1)));
        eventually("it has the volumes again", || first.version() == 1).await;
        first.put_surely(2).await;
        let nodes = [first, second];
        voters(&nodes, 1).await;
        eventually("its former life is forgotten", || nodes[0].members() == 2).await;
        // And it lasts.
        let [first, second] = nodes;
        second.stop().await;
        let second = place.start(2).await;
        second.put_surely(3).await;
        eventually("both have it", || first.version() == 3).await;
    })
    .unwrap();
}

#[test]
fn a_peer_is_found_by_any_of_its_names() {
    let place = Place::new("names");
    rt::block_on(async {
        let nodes = place.cluster(3).await;
        let mut peer = nodes[0].state().peer(uuid(2)).unwrap().clone();
        // Does not resolve, nobody there, somebody else there; then the right one.
        peer.hostnames = vec!["gone.invalid".into(), host(98), host(77), host(2)];
        let impostor = place.start(77).await;
        while nodes[0].propose(Change::PutPeer(peer.clone())).await.is_err() {}
        nodes[1].cut();
        eventually("it is missed", || !nodes[0].connected(uuid(2))).await;
        nodes[1].mend(&place);
        eventually("it is found", || nodes[0].connected(uuid(2))).await;
        voters(&nodes, 3).await;
        nodes[1].put_surely(1).await;
        assert_eq!(impostor.version(), 0);
    })
    .unwrap();
}

#[test]
fn a_detached_node_starts_anew_and_may_return() {
    let place = Place::new("detach");
    rt::block_on(async {
        let nodes = place.cluster(3).await;
        nodes[0].put_surely(1).await;
        let stranger = nodes[0].detach(uuid(77), false).await;
        assert!(matches!(stranger, Err(ClusterError::NoPeer(_))));
        let (seen, cluster) = (nodes[2].state().revision, nodes[2].cluster.clone());
        let changed = rt::spawn(async move {
            loop {
                let state = cluster.changed(seen).await;
                if state.peers.len() == 1 {
                    return state;
                }
                rt::sleep(Duration::from_millis(10)).await;
            }
        });
        detach(&nodes[1], uuid(3), false).await;
        let alone = rt::timeout(LONG, changed.join()).await.unwrap().unwrap();
        assert!(alone.volumes.is_empty() && alone.revision > seen);
        eventually("one of two votes", || {
            nodes[0].configs() == [1] && nodes[0].members() == 2
        })
        .await;
        assert_eq!(nodes[0].state().peers.len(), 2);
        // The volume of node 1 keeps node 1.
        assert!(matches!(
            nodes[1].detach(uuid(1), false).await,
            Err(ClusterError::Refused(_))
        ));
        probe(&nodes[0], &host(3)).await.unwrap();
        eventually("it is back", || nodes[2].version() == 1).await;
        voters(&nodes, 3).await;
    })
    .unwrap();
}

#[test]
fn a_leader_can_be_detached() {
    let place = Place::new("dethrone");
    rt::block_on(async {
        let nodes = place.cluster(3).await;
        let leader = nodes[0].leader().unwrap();
        let (old, rest): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|node| node.me().uuid == leader);
        detach(&rest[0], leader, false).await;
        voters(&rest, 1).await;
        rest[1].put_surely(1).await;
        eventually("the former leader is alone", || {
            old[0].state().peers.len() == 1 && old[0].has_quorum() && old[0].version() == 0
        })
        .await;
    })
    .unwrap();
}

#[test]
fn one_detached_while_away_learns_it_on_return() {
    let place = Place::new("away");
    rt::block_on(async {
        let mut nodes = place.cluster(3).await;
        nodes[0].put_surely(1).await;
        let third = nodes.pop().unwrap();
        eventually("it has it", || third.version() == 1).await;
        third.stop().await;
        detach(&nodes[0], uuid(3), false).await;
        eventually("it is gone", || nodes[0].members() == 2).await;
        let back = place.start(3).await;
        // Until it knows, it is read-only.
        assert_eq!(back.version(), 1);
        eventually("it is alone", || back.state().peers.len() == 1 && back.version() == 0).await;
        back.put_surely(1).await;
        assert_eq!(probe(&nodes[0], &host(3)).await, Err(ProbeError::HasVolumes));
    })
    .unwrap();
}

#[test]
fn beyond_seven_they_learn_and_take_over() {
    let place = Place::new("learners");
    rt::block_on(async {
        let mut nodes = place.cluster(9).await;
        assert_eq!(nodes[0].members(), 9);
        // A learner changes and reads like any other.
        for node in &nodes {
            let version = node.version() + 1;
            node.put_surely(version).await;
            eventually("all have it", || nodes.iter().all(|node| node.version() == version)).await;
        }
        let last = nodes.pop().unwrap();
        let leader = last.leader().unwrap();
        let voter = nodes
            .iter()
            .position(|node| node.me().uuid != leader && node.me().uuid != uuid(9));
        let gone = nodes.remove(voter.unwrap());
        nodes.push(last);
        let number = gone.me().uuid;
        gone.stop().await;
        detach(&nodes[0], number, true).await;
        voters(&nodes, odd(8)).await;
        nodes[1].put_surely(10).await;
    })
    .unwrap();
}

#[test]
fn an_interrupted_join_can_be_repeated() {
    let place = Place::new("interrupted");
    rt::block_on(async {
        let nodes = place.cluster(1).await;
        nodes[0].put_surely(1).await;
        let second = place.start(2).await;
        let before = second.me().raft_id;
        // Given up by the one who asked, in the middle: as if the leader had died.
        for pause in [1, 5, 20, 60, 150] {
            let second = host(2);
            let result = rt::timeout(Duration::from_millis(pause), nodes[0].probe(&second)).await;
            println!("after {pause} ms: {result:?}");
            // Whatever is left, the cluster can decide.
            let version = nodes[0].version() + 1;
            nodes[0].put_surely(version).await;
        }
        let probed = probe(&nodes[0], &host(2)).await.unwrap();
        assert!(matches!(probed, Probed::Added(_) | Probed::AlreadyMember(_)));
        assert_ne!(second.me().raft_id, before);
        eventually("it has everything", || second.version() == nodes[0].version()).await;
        assert_eq!(nodes[0].state().peers.len(), 2);
        eventually("only its present life is left", || nodes[0].members() == 2).await;
    })
    .unwrap();
}

#[test]
fn one_that_was_left_in_the_middle_of_joining_finds_back() {
    let place = Place::new("orphan");
    rt::block_on(async {
        let first = place.start(1).await;
        let second = place.start(2).await;
        // The order to join without anything that follows it.
        let request = wire::JoinRequest {
            replaces: second.me().raft_id,
            uuid: second.me().uuid,
            trusted: vec![host(1)],
        };
        let cluster = first.cluster.0.identity.borrow().cluster;
        let from = "127.0.0.1".parse().unwrap();
        second.cluster.0.join(cluster, request, from).await.unwrap().unwrap();
        assert!(!second.has_quorum());
        eventually("it is a cluster of its own again", || second.has_quorum()).await;
        second.put_surely(1).await;
        assert_eq!(second.me().uuid, uuid(2));
    })
    .unwrap();
}

#[test]
fn strangers_and_garbage_are_refused() {
    let place = Place::new("strangers");
    rt::block_on(async {
        let first = place.start(1).await;
        let address = Address::Tcp(format!("{}:{}", host(1), place.port()).parse().unwrap());
        let client = Client::connect_plain(&address).await.unwrap();
        let envelope = |body| Envelope {
            cluster: first.cluster.0.identity.borrow().cluster,
            to: 0,
            body,
        };
        let ping = wire::encode(&envelope(Ping { from: uuid(1) }), b"").unwrap();
        let send = async |procedure: Procedure, body: &[u8]| {
            let answer = client.call(CLUSTER, procedure as u32, body, LONG).await.unwrap();
            wire::decode::<Answer<serde_json::Value>>(answer).unwrap().0
        };
        // Alone it has no peers, so nobody is one.
        assert!(matches!(
            send(Procedure::Ping, &ping).await,
            Err(ClusterError::Denied(_))
        ));
        for procedure in [Procedure::Append, Procedure::Propose, Procedure::Ask, Procedure::Leave] {
            assert!(matches!(send(procedure, b"").await, Err(ClusterError::Denied(_))));
        }
        for garbage in [b"".as_slice(), b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b"\0\0\0\x05nulls"] {
            assert!(matches!(
                send(Procedure::Join, garbage).await,
                Err(ClusterError::Malformed(_))
            ));
        }
        assert!(send(Procedure::Hello, b"").await.is_ok());
        // A peer may err too.
        let second = place.start(2).await;
        probe(&first, &host(2)).await.unwrap();
        assert!(matches!(
            send(Procedure::Append, b"\0\0\0\x02{}").await,
            Err(ClusterError::Malformed(_))
        ));
        assert!(send(Procedure::Ping, &ping).await.is_ok());
        let mut other = envelope(Ping { from: uuid(1) });
        other.to = 5;
        let other = wire::encode(&other, b"").unwrap();
        assert!(matches!(
            send(Procedure::Ping, &other).await,
            Err(ClusterError::NotMember(_))
        ));
        assert!(client.call(CLUSTER, 99, b"", LONG).await.is_err());
        drop(second);
    })
    .unwrap();
}
