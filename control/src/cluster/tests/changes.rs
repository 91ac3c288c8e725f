//! Changes through deaths, returns and partitions.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt;

use super::nodes::{Place, split, voters};
use super::{LONG, eventually};
use crate::cluster::{Change, ClusterError};
use crate::rt::{self, Instant};

#[test]
fn any_node_proposes_and_all_have_it() {
    let place = Place::new("propose");
    rt::block_on(async {
        let begun = Instant::now();
        let nodes = place.cluster(3).await;
        println!("three nodes after {:?}", begun.elapsed());
        let (leader, followers) = split(nodes);
        let begun = Instant::now();
        leader.put_surely(1).await;
        println!("a change at the leader took {:?}", begun.elapsed());
        let begun = Instant::now();
        let revision = followers[0].put_surely(2).await;
        println!("a change at a follower took {:?}", begun.elapsed());
        // There when the call returns, not only soon after.
        assert_eq!((followers[0].version(), followers[0].state().revision), (2, revision));
        assert_eq!(followers[1].changed(revision - 1).await.volumes["v"].version, 2);
        // What was computed from an old state is refused everywhere, and changes nothing.
        for node in [&leader, &followers[0], &followers[1]] {
            assert!(matches!(node.put_decided(2).await, Err(ClusterError::Conflict(_))));
            assert_eq!(node.state().revision, revision);
        }
        // Of two at the same time one wins.
        let (a, b) = futures_util::join!(followers[0].put_decided(3), followers[1].put_decided(3));
        assert!(!(a.is_ok() && b.is_ok()), "{a:?} {b:?}");
        assert_eq!(leader.changed(revision).await.volumes["v"].version, 3);
    })
    .unwrap();
}

#[test]
fn a_dead_leader_is_replaced_and_catches_up_by_the_log() {
    let place = Place::new("failover");
    rt::block_on(async {
        let (leader, followers) = split(place.cluster(3).await);
        leader.put_surely(1).await;
        let number = leader.me().uuid.0[0];
        let gone = leader.me().uuid;
        leader.stop().await;
        let begun = Instant::now();
        followers[0].put_surely(2).await;
        println!("a change after the leader's death took {:?}", begun.elapsed());
        assert_ne!(followers[0].leader(), Some(gone));
        eventually("the death is noticed", || !followers[0].connected(gone)).await;
        assert!(followers[0].has_quorum());
        let back = place.start(number).await;
        // What it has is readable at once.
        assert_eq!(back.version(), 1);
        eventually("it catches up", || back.version() == 2).await;
        back.put_surely(3).await;
        assert_eq!(back.version(), 3);
    })
    .unwrap();
}

#[test]
fn one_that_missed_much_catches_up_by_a_snapshot() {
    let place = Place::new("snapshot");
    rt::block_on(async {
        let (leader, mut followers) = split(place.cluster(3).await);
        leader.put_surely(1).await;
        let away = followers.remove(0);
        let number = away.me().uuid.0[0];
        eventually("it has it", || away.version() == 1).await;
        let seen = away.state().revision;
        away.stop().await;
        for version in 2..40 {
            leader.put_surely(version).await;
        }
        eventually("the log is purged", || leader.purged() > 20).await;
        let back = place.start(number).await;
        assert_eq!(back.version(), 1);
        let state = rt::timeout(LONG, back.changed(seen)).await.unwrap();
        assert!(state.revision > seen);
        eventually("it catches up", || back.version() == 39).await;
        assert_eq!(*back.state(), *leader.state());
        back.put_surely(40).await;
        // And has it after another start, from the snapshot it was sent.
        let number = back.me().uuid.0[0];
        back.stop().await;
        let back = place.start(number).await;
        assert_eq!(back.version(), 40);
    })
    .unwrap();
}

#[test]
fn a_minority_can_be_read_but_not_changed() {
    let place = Place::new("minority");
    rt::block_on(async {
        let (leader, mut followers) = split(place.cluster(3).await);
        leader.put_surely(1).await;
        // The leader itself is the one that is cut off: the worse case.
        leader.cut();
        eventually("the majority is missed", || !leader.has_quorum()).await;
        let begun = Instant::now();
        assert_eq!(leader.put(2).await, Err(ClusterError::NoQuorum));
        assert!(begun.elapsed() < LONG, "refused after {:?}", begun.elapsed());
        assert_eq!(leader.version(), 1);
        followers[0].put_surely(2).await;
        leader.mend(&place);
        eventually("it learns what it missed", || leader.version() == 2).await;
        leader.put_surely(3).await;
        // Two of three dead: the last one refuses, in time, and says why.
        followers.remove(0).stop().await;
        followers.remove(0).stop().await;
        let begun = Instant::now();
        let refused = leader.put(4).await;
        println!("refused after {:?}: {refused:?}", begun.elapsed());
        assert!(refused.is_err());
        assert!(begun.elapsed() < LONG, "refused after {:?}", begun.elapsed());
        assert_eq!(leader.version(), 3);
        assert!(!leader.has_quorum());
    })
    .unwrap();
}

#[test]
fn all_stop_and_start_again() {
    let place = Place::new("restart");
    rt::block_on(async {
        let nodes = place.cluster(3).await;
        nodes[1].put_surely(1).await;
        let state = nodes[1].state();
        for node in nodes {
            node.stop().await;
        }
        // The first one alone can be read, and says that it cannot decide.
        let first = place.start(1).await;
        eventually("it has the state", || first.version() == 1).await;
        assert!(!first.has_quorum());
        let second = place.start(2).await;
        second.put_surely(2).await;
        let third = place.start(3).await;
        let nodes = [first, second, third];
        voters(&nodes, 3).await;
        for node in &nodes {
            eventually("all have it", || node.version() == 2).await;
            assert_eq!(node.state().peers, state.peers);
        }
    })
    .unwrap();
}

#[test]
fn requests_reach_the_daemon_of_another_node() {
    let place = Place::new("asks");
    rt::block_on(async {
        let nodes = place.cluster(2).await;
        nodes[1].on_ask(|kind, body| {
            let kind = kind.to_owned();
            async move {
                match kind.as_str() {
                    "echo" => Ok(body),
                    "slow" => {
                        rt::sleep(LONG).await;
                        Ok(body)
                    }
                    other => Err(format!("no service '{other}'")),
                }
            }
            .boxed_local()
        });
        let ask = |kind: &'static str, body: Bytes, limit| nodes[0].ask(nodes[1].me().uuid, kind, body, limit);
        // Binary, and larger than a segment.
        let body = Bytes::from((0..=255u8).cycle().take(1 << 20).collect::<Vec<_>>());
        assert_eq!(ask("echo", body.clone(), LONG).await.unwrap(), body);
        let failed = ask("x", Bytes::new(), LONG).await;
        assert_eq!(failed, Err(ClusterError::Failed("no service 'x'".to_owned())));
        let late = ask("slow", Bytes::new(), Duration::from_millis(50)).await;
        assert!(matches!(late, Err(ClusterError::Unreachable(_))), "{late:?}");
        nodes[1].cut();
        let unreachable = ask("echo", Bytes::new(), LONG).await;
        assert!(
            matches!(unreachable, Err(ClusterError::Unreachable(_))),
            "{unreachable:?}"
        );
    })
    .unwrap();
}

#[test]
fn one_that_was_cut_off_does_not_depose_the_leader() {
    let place = Place::new("quiet");
    rt::block_on(async {
        let (leader, followers) = split(place.cluster(3).await);
        followers[0].cut();
        eventually("it is alone", || !followers[0].has_quorum()).await;
        // It would stand for election twice a second.
        let mut term = 0;
        while followers[0].term() != term {
            term = followers[0].term();
            rt::sleep(Duration::from_secs(2)).await;
        }
        followers[0].mend(&place);
        eventually("it is back", || {
            followers[0].has_quorum() && leader.connected(followers[0].me().uuid)
        })
        .await;
        leader.put_surely(1).await;
        eventually("it has it", || followers[0].version() == 1).await;
    })
    .unwrap();
}

#[test]
fn raft_is_started_again_when_it_fails() {
    let place = Place::new("failed");
    rt::block_on(async {
        let node = place.start(1).await;
        node.put_surely(1).await;
        // As after an error of the disk: raft has ended, the node has not.
        node.cluster.0.running().unwrap().raft.shutdown().await.unwrap();
        assert_eq!(node.version(), 1);
        let mut refused = 0;
        while let Err(e) = node.put(2).await {
            assert!(matches!(e, ClusterError::Storage(_) | ClusterError::NoQuorum), "{e:?}");
            refused += 1;
            assert!(refused < 100);
            rt::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(node.version(), 2);
    })
    .unwrap();
}

#[test]
fn what_is_too_large_is_refused() {
    let place = Place::new("large");
    rt::block_on(async {
        let node = place.start(1).await;
        let change = Change::SetOptions {
            version: 1,
            options: vec![("key".to_owned(), "x".repeat(5 << 20))],
        };
        let refused = node.propose(change).await.unwrap_err();
        assert!(
            matches!(&refused, ClusterError::Refused(text) if text.contains("too large")),
            "{refused:?}"
        );
    })
    .unwrap();
}
