//! The store: openraft's own suite, and what crashes and damage leave.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::testing::{StoreBuilder, Suite};
use openraft::{StorageError, StorageIOError};

use super::Scratch;
use crate::cluster::fixtures::peer;
use crate::cluster::raft::{Log, Machine, Member, Types};
use crate::cluster::store::{Identity, Store};
use crate::cluster::types::{ClusterError, State};
use crate::rt::{self, sync};

struct Builder {
    directory: PathBuf,
    next: AtomicU64,
}

impl StoreBuilder<Types, Log, Machine> for Builder {
    async fn build(&self) -> Result<((), Log, Machine), StorageError<u64>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let wrong = |e: &(dyn std::error::Error + 'static)| {
            StorageError::from(StorageIOError::read(&std::io::Error::other(e.to_string())))
        };
        let store = Store::open(self.directory.join(number.to_string()).join("raft.redb"));
        let store = store.await.map_err(|e| wrong(&e))?;
        let published = Rc::new(sync::watch::Sender::new(Rc::new(State::default())));
        let machine = Machine::load(store.clone(), published).map_err(|e| wrong(&e))?;
        Ok(((), Log(store), machine))
    }
}

#[test]
fn openraft_finds_nothing_wrong() {
    let scratch = Scratch::new("suite");
    let builder = Builder {
        directory: scratch.path().to_owned(),
        next: AtomicU64::new(0),
    };
    Suite::test_all(builder).unwrap();
}

fn identity(number: u8) -> Identity {
    Identity::new(peer(9).uuid, peer(number).uuid, peer(number).raft_id, Vec::new())
}

#[test]
fn a_first_start_is_whole_or_absent() {
    let scratch = Scratch::new("first");
    let path = scratch.path().join("raft.redb");
    rt::block_on(async {
        let empty = Store::open(path.clone()).await.unwrap();
        assert_eq!(empty.identity().unwrap(), None);
        // What a crash before the first transaction leaves.
        let crashed = scratch.path().join("crashed.redb");
        std::fs::copy(&path, &crashed).unwrap();
        let store = empty
            .found(identity(1), Member::default(), State::default())
            .await
            .unwrap();
        assert_eq!(store.identity().unwrap(), Some(identity(1)));
        assert_eq!(store.entries(.., false).unwrap().len(), 2);
        let crashed = Store::open(crashed).await.unwrap();
        assert_eq!(crashed.identity().unwrap(), None);
        // And after it.
        let copy = scratch.path().join("copy.redb");
        std::fs::copy(&path, &copy).unwrap();
        let copy = Store::open(copy).await.unwrap();
        assert_eq!(copy.identity().unwrap(), Some(identity(1)));
        assert_eq!(copy.log_state().unwrap(), store.log_state().unwrap());
    })
    .unwrap();
}

#[test]
fn an_old_life_cannot_write_any_more() {
    let scratch = Scratch::new("lives");
    rt::block_on(async {
        let empty = Store::open(scratch.path().join("raft.redb")).await.unwrap();
        let old = empty
            .found(identity(1), Member::default(), State::default())
            .await
            .unwrap();
        let new = old.clear(identity(2)).await.unwrap();
        assert!(old.truncate(0).await.is_err());
        assert!(empty.truncate(0).await.is_err());
        assert_eq!(new.identity().unwrap(), Some(identity(2)));
        assert!(new.entries(.., false).unwrap().is_empty());
        assert_eq!(new.get::<openraft::Vote<u64>>("vote").unwrap(), None);
        new.truncate(0).await.unwrap();
    })
    .unwrap();
}

#[test]
fn damage_is_named_with_its_file() {
    let scratch = Scratch::new("damage");
    let path = scratch.path().join("raft.redb");
    rt::block_on(async {
        let store = Store::open(path.clone()).await.unwrap();
        let busy = Store::open(path.clone()).await.unwrap_err();
        assert!(
            busy.to_string().contains("raft.redb: in use by another process"),
            "{busy}"
        );
        let founded = store.found(identity(1), Member::default(), State::default()).await;
        // Closed in order: after a crash a bad last transaction is a torn one, and was not acknowledged.
        drop((store, founded.unwrap()));
        let good = std::fs::read(&path).unwrap();
        let mut checked = 0;
        // Some page of the tree is in every block of this size.
        for at in (0..good.len()).step_by(4096) {
            let mut bad = good.clone();
            let end = bad.len().min(at + 4096);
            bad[at..end].iter_mut().for_each(|byte| *byte ^= 0xff);
            let path = scratch.path().join(format!("bad{at}.redb"));
            std::fs::write(&path, bad).unwrap();
            match Store::open(path.clone()).await {
                Err(ClusterError::Storage(why)) => {
                    assert!(why.contains(&format!("bad{at}.redb")), "{why}");
                    checked += 1;
                }
                Err(e) => panic!("another error: {e}"),
                // A page that was free.
                Ok(store) => assert_eq!(store.identity().unwrap(), Some(identity(1))),
            }
            std::fs::remove_file(path).unwrap();
        }
        assert!(checked > 1, "no damage was noticed");
        std::fs::write(&path, b"not a database at all").unwrap();
        let error = Store::open(path).await.unwrap_err().to_string();
        assert!(error.contains("raft.redb"), "{error}");
    })
    .unwrap();
}
