//! One node: what the daemon of a single server sees.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt;

use super::{LONG, Scratch, TUNING, eventually};
use crate::cluster::fixtures::{peer, volume};
use crate::cluster::{Change, Cluster, ClusterError, State};
use crate::glusterd::model::Volume;
use crate::rt;

fn put(version: u32, expect: Option<u32>) -> Change {
    let volume = Volume {
        version,
        ..volume("v", peer(1).uuid)
    };
    Change::PutVolume { volume, expect }
}

async fn open(scratch: &Scratch, import: State) -> Result<Cluster, ClusterError> {
    Cluster::open_tuned(scratch.path().to_owned(), peer(1), import, TUNING).await
}

#[test]
fn imports_changes_and_comes_back() {
    let scratch = Scratch::new("single");
    let import = State {
        volumes: [("old".to_owned(), volume("old", peer(1).uuid))].into(),
        op_version: 100_000,
        ..State::default()
    };
    let (me, revision) = rt::block_on(async {
        let cluster = open(&scratch, import).await.unwrap();
        // There at once, before any election.
        assert_eq!(cluster.state().revision, 1);
        assert!(cluster.state().volumes.contains_key("old"));
        assert_eq!(cluster.state().peers[0].raft_id, cluster.me().raft_id);
        assert!(cluster.has_quorum());
        let seen = cluster.state().revision;
        let waiting = {
            let cluster = cluster.clone();
            rt::spawn(async move { cluster.changed(seen).await.revision })
        };
        let revision = cluster.propose(put(1, None)).await.unwrap();
        assert_eq!(revision, 2);
        assert!(cluster.state().volumes.contains_key("v"));
        assert_eq!(rt::timeout(LONG, waiting.join()).await.unwrap(), Some(2));
        assert!(matches!(
            cluster.propose(put(1, None)).await,
            Err(ClusterError::Conflict(_))
        ));
        // Beyond the size after which a snapshot is made.
        let mut revision = revision;
        for version in 1..30 {
            revision = cluster.propose(put(version + 1, Some(version))).await.unwrap();
        }
        assert_eq!(cluster.leader(), Some(peer(1).uuid));
        (cluster.me(), revision)
    })
    .unwrap();
    // Dropped without an end, as a crash would leave it. The import counts no longer.
    rt::block_on(async {
        let cluster = open(&scratch, State::default()).await.unwrap();
        assert_eq!((cluster.me(), cluster.state().revision), (me, revision));
        assert_eq!(cluster.state().volumes["v"].version, 30);
        assert_eq!(cluster.propose(put(31, Some(30))).await, Ok(revision + 1));
        cluster.close().await;
    })
    .unwrap();
}

#[test]
fn a_copy_made_at_any_time_is_a_store() {
    let scratch = Scratch::new("copies");
    let crashed = Scratch::new("crashed");
    rt::block_on(async {
        let cluster = open(&scratch, State::default()).await.unwrap();
        let mut acknowledged = Vec::new();
        for version in 0..20 {
            let expect = (version > 0).then_some(version);
            let change = cluster.propose(put(version + 1, expect));
            let copy = async {
                rt::sleep(Duration::from_micros(u64::from(version) * 300)).await;
                // Blocks the runtime: it is a moment of the file between two writes, or inside one of a helper thread.
                std::fs::copy(
                    scratch.path().join("raft.redb"),
                    crashed.path().join(format!("{version}.redb")),
                )
                .unwrap();
            };
            let before = version;
            futures_util::join!(async { change.await.unwrap() }, copy);
            acknowledged.push(before);
        }
        cluster.close().await;
        for before in acknowledged {
            let directory = Scratch::new(&format!("reopened-{before}"));
            let copy = crashed.path().join(format!("{before}.redb"));
            std::fs::copy(copy, directory.path().join("raft.redb")).unwrap();
            let cluster = match open(&directory, State::default()).await {
                Ok(cluster) => cluster,
                // Not a crash: a copy is not made in one moment, so it may be of two states of the file.
                Err(ClusterError::Storage(why)) if why.contains("damaged") => continue,
                Err(e) => panic!("copy {before}: {e}"),
            };
            let version = cluster.state().volumes.get("v").map_or(0, |v| v.version);
            assert!(
                version >= before,
                "copy {before} has lost an acknowledged change: {version}"
            );
            cluster.close().await;
        }
    })
    .unwrap();
}

#[test]
fn requests_to_oneself_are_answered() {
    let scratch = Scratch::new("ask");
    rt::block_on(async {
        let cluster = open(&scratch, State::default()).await.unwrap();
        let ask = |kind: &'static str| {
            let cluster = cluster.clone();
            async move { cluster.ask(peer(1).uuid, kind, Bytes::from_static(b"body"), LONG).await }
        };
        assert!(matches!(ask("echo").await, Err(ClusterError::Failed(_))));
        cluster.on_ask(|kind, body| {
            let answer = match kind {
                "echo" => Ok(body),
                other => Err(format!("no service '{other}'")),
            };
            async move { answer }.boxed_local()
        });
        assert_eq!(ask("echo").await.unwrap(), "body");
        assert_eq!(ask("x").await, Err(ClusterError::Failed("no service 'x'".to_owned())));
        let stranger = cluster.ask(peer(7).uuid, "echo", Bytes::new(), LONG).await;
        assert!(matches!(stranger, Err(ClusterError::NoPeer(_))));
        eventually("a leader", || cluster.leader().is_some()).await;
    })
    .unwrap();
}
