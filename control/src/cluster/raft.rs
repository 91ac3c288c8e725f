//! The glue between openraft and this module: type configuration, timing, log storage and state machine storage.
//! What commands do is in `machine.rs`, what the file holds in `store.rs`.

use std::cell::RefCell;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::rc::Rc;

use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    EntryPayload, LogId, LogState, OptionalSend, RaftLogReader, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership, Vote,
};
use redb::Durability;
use serde::{Deserialize, Serialize};

use datapath::wire::Gfid;

use super::gfid;
use super::machine::{Command, Data, Outcome};
use super::store::{Image, SavedSnapshot, Store};
use super::types::{Peer, State};
use crate::rt::sync::watch;

openraft::declare_raft_types!(
    /// Raft as it is used here.
    pub(super) Types:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = Member,
        SnapshotData = Vec<u8>,
);

/// How a member was reached when it was added. The peers of the state know better later on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    pub hosts: Vec<String>,
    pub port: u16,
}

impl Default for Member {
    fn default() -> Self {
        Member {
            uuid: Gfid::NULL,
            hosts: Vec::new(),
            port: 0,
        }
    }
}

impl From<&Peer> for Member {
    fn from(peer: &Peer) -> Self {
        Member {
            uuid: peer.uuid,
            hosts: peer.hostnames.clone(),
            port: peer.port,
        }
    }
}

/// Times of raft and sizes of its log. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Between two heartbeats.
    pub heartbeat: u64,
    /// Least and most additional silence after the leader's lease (which is the latter) before a voter stands for
    /// election.
    pub election: (u64, u64),
    /// Log entries after which a snapshot is made.
    pub snapshot_after: u64,
    /// Log entries kept behind a snapshot, for peers that were away for a short time.
    pub keep: u64,
}

impl Default for Tuning {
    /// For a local network and busy machines: a dead leader is replaced after 1.5 to 2 s.
    fn default() -> Self {
        Tuning {
            heartbeat: 250,
            election: (500, 1000),
            snapshot_after: 500,
            keep: 100,
        }
    }
}

impl Tuning {
    /// openraft's configuration.
    pub(super) fn config(&self) -> Result<openraft::Config, String> {
        let config = openraft::Config {
            cluster_name: "ringluster".to_owned(),
            heartbeat_interval: self.heartbeat,
            election_timeout_min: self.election.0,
            election_timeout_max: self.election.1,
            install_snapshot_timeout: 10_000,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_after),
            max_in_snapshot_log_to_keep: self.keep,
            replication_lag_threshold: self.snapshot_after.saturating_add(self.keep),
            ..openraft::Config::default()
        };
        config.validate().map_err(|e| e.to_string())
    }
}

/// The log of one life of the store.
#[derive(Debug, Clone)]
pub(super) struct Log(pub Store);

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<openraft::Entry<Types>>, StorageError<u64>> {
        self.0.entries(range, false).map_err(reading)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<openraft::Entry<Types>>, StorageError<u64>> {
        self.0.entries(start..end, true).map_err(reading)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError<u64>> {
        self.0.log_state().map_err(reading)
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let saved = self.0.put("vote", vote, Durability::Immediate).await;
        saved.map_err(|e| StorageIOError::write_vote(&e).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        self.0.get("vote").map_err(|e| StorageIOError::read_vote(&e).into())
    }

    /// Not synced: the state machine's transaction, which follows at once, is.
    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError<u64>> {
        self.0
            .put("committed", &committed, Durability::None)
            .await
            .map_err(writing)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        let committed: Option<Option<LogId<u64>>> = self.0.get("committed").map_err(reading)?;
        Ok(committed.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = openraft::Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        self.0.append(&entries).await.map_err(writing)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.0.truncate(log_id.index).await.map_err(writing)
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.0.purge(log_id).await.map_err(writing)
    }
}

/// The state machine of one life of the store. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    store: Store,
    image: Rc<RefCell<Image>>,
    published: Rc<watch::Sender<Rc<State>>>,
}

impl Machine {
    /// Reads the state as it was last applied, and publishes it through `published` from now on.
    pub fn load(store: Store, published: Rc<watch::Sender<Rc<State>>>) -> io::Result<Machine> {
        let image: Image = store.get("machine")?.unwrap_or_default();
        let machine = Machine {
            store,
            image: Rc::new(RefCell::new(image)),
            published,
        };
        if machine.image.borrow().applied.is_some() {
            machine.publish();
        }
        Ok(machine)
    }

    /// Whether it is known who the members are.
    pub fn has_members(&self) -> bool {
        self.image.borrow().membership.nodes().next().is_some()
    }

    fn publish(&self) {
        self.published
            .send_replace(Rc::new(self.image.borrow().data.state.clone()));
    }

    /// Replaces the state after it has been written.
    fn replace(&self, image: Image) {
        let changed = image.data.state != self.image.borrow().data.state;
        *self.image.borrow_mut() = image;
        if changed {
            self.publish();
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, Member>), StorageError<u64>> {
        let image = self.image.borrow();
        Ok((image.applied, image.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError<u64>>
    where
        I: IntoIterator<Item = openraft::Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut image = self.image.borrow().clone();
        let mut outcomes = Vec::new();
        for entry in entries {
            image.applied = Some(entry.log_id);
            outcomes.push(match entry.payload {
                EntryPayload::Blank => Ok(image.data.state.revision),
                EntryPayload::Membership(membership) => {
                    image.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Ok(image.data.state.revision)
                }
                EntryPayload::Normal(command) => image.data.apply(command),
            });
        }
        let written = self.store.put("machine", &image, Durability::Immediate).await;
        written.map_err(|e| StorageError::from(StorageIOError::write_state_machine(&e)))?;
        self.replace(image);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        // A snapshot is of this moment, whatever is applied while it is being written.
        Machine {
            image: Rc::new(RefCell::new(self.image.borrow().clone())),
            ..self.clone()
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, Member>,
        snapshot: Box<Vec<u8>>,
    ) -> Result<(), StorageError<u64>> {
        let unreadable = |e: &dyn std::fmt::Display| {
            let e = io::Error::other(e.to_string());
            StorageError::from(StorageIOError::read_snapshot(Some(meta.signature()), &e))
        };
        let data: Data = serde_json::from_slice(&snapshot).map_err(|e| unreadable(&e))?;
        let image = Image {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
            data,
        };
        let saved = SavedSnapshot {
            meta: meta.clone(),
            data: String::from_utf8(*snapshot).map_err(|e| unreadable(&e))?,
        };
        let written = self.store.put_snapshot(Some(&image), &saved).await;
        written.map_err(|e| StorageError::from(StorageIOError::write_snapshot(Some(meta.signature()), &e)))?;
        self.replace(image);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError<u64>> {
        let saved: Option<SavedSnapshot> = self
            .store
            .get("snapshot")
            .map_err(|e| StorageError::from(StorageIOError::read_snapshot(None, &e)))?;
        Ok(saved.map(|saved| Snapshot {
            meta: saved.meta,
            snapshot: Box::new(saved.data.into_bytes()),
        }))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError<u64>> {
        let image = self.image.borrow().clone();
        let meta = SnapshotMeta {
            last_log_id: image.applied,
            last_membership: image.membership,
            // One state per position in the log.
            snapshot_id: image.applied.map_or_else(|| "empty".to_owned(), |id| id.to_string()),
        };
        let failed = |e: io::Error| StorageError::from(StorageIOError::write_snapshot(Some(meta.signature()), &e));
        let data = serde_json::to_string(&image.data).map_err(|e| failed(io::Error::other(e)))?;
        let saved = SavedSnapshot {
            meta: meta.clone(),
            data,
        };
        self.store.put_snapshot(None, &saved).await.map_err(failed)?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(saved.data.into_bytes()),
        })
    }
}

fn reading(e: io::Error) -> StorageError<u64> {
    StorageIOError::read_logs(&e).into()
}

fn writing(e: io::Error) -> StorageError<u64> {
    StorageIOError::write_logs(&e).into()
}
