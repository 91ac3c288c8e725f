//! The file of a node's share of the cluster: one redb database with the identity, raft's log and vote, the state machine
//! and the snapshot, as JSON values. What they mean to raft is in `raft.rs`.
//!
//! Every change is one redb transaction, so a crash leaves it whole or absent. What is acknowledged to others is committed
//! with [`Durability::Immediate`] (fsync) first:
//!
//! | a crash after | leaves | and so |
//! |---|---|---|
//! | creating the file | a database without identity | the next start is a first start |
//! | the vote | a vote that was not sent | raft does not vote otherwise in that term |
//! | appending | entries nobody may have heard of | the leader repeats or replaces them |
//! | noting the committed position (not synced) | possibly the older position | it is learnt again from the leader |
//! | applying | state and position together | nothing is applied twice or skipped |
//! | installing a snapshot | its state beside an older log | raft drops the log up to it at the next start |
//! | purging | the log from there on | it is covered by the snapshot, which was written before |
//! | a reset (join or leave) | the new identity with a new, empty store | the old raft id is never used again |
//!
//! Writes run on a helper thread, because an fsync may take long. Reads are made in place: the file is small and cached.

use std::fs::File;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datapath::wire::Gfid;
use openraft::storage::LogState;
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, Membership, StoredMembership, Vote};
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::gfid;
use super::machine::{Action, Command, Data};
use super::raft::{Member, Types};
use super::types::{ClusterError, State};
use crate::rt;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Version of what is in the file.
const FORMAT: u32 = 1;
/// Bytes of entries read at once (one at least), so that a message stays far below the RPC's limit.
const BATCH_BYTES: usize = 1 << 20;
/// Memory of redb's cache. The file is a few hundred KiB.
const CACHE_BYTES: usize = 4 << 20;

/// Who this store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub format: u32,
    /// Random per cluster.
    #[serde(with = "gfid")]
    pub cluster: Gfid,
    #[serde(with = "gfid")]
    pub uuid: Gfid,
    pub raft_id: u64,
    /// Addresses of the cluster that this node was told to join, from which it takes messages until it has the state.
    pub trusted: Vec<String>,
}

/// The state machine with its place in the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Image {
    pub applied: Option<LogId<u64>>,
    pub membership: StoredMembership<u64, Member>,
    pub data: Data,
}

/// The last snapshot. Its data is a serialized [`Data`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SavedSnapshot {
    pub meta: openraft::SnapshotMeta<u64, Member>,
    pub data: String,
}

struct Shared {
    db: Database,
    path: PathBuf,
    /// Counts the resets. A handle from before the last one can no longer write.
    generation: AtomicU64,
}

/// A handle to the file. Clones share it.
#[derive(Clone)]
pub(super) struct Store {
    shared: Arc<Shared>,
    generation: u64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.shared.path)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the file.
    pub async fn open(path: PathBuf) -> Result<Store, ClusterError> {
        let name = path.display().to_string();
        let opened = rt::blocking(move || open(path)).await;
        let shared = opened.map_err(|e| ClusterError::Storage(format!("{name}: damaged: {e}")))?;
        shared.map(|shared| Store {
            shared: Arc::new(shared),
            generation: 0,
        })
    }

    /// The identity, if the store has been set up.
    pub fn identity(&self) -> io::Result<Option<Identity>> {
        let identity: Option<Identity> = self.get("identity")?;
        match identity {
            Some(identity) if identity.format != FORMAT => {
                Err(self.wrong(format!("format {} is not known", identity.format)))
            }
            other => Ok(other),
        }
    }

    /// Sets the store up as a cluster of one voter with `import` as its first entry, in one transaction. Only the log and
    /// the vote are written: raft applies the entry when it starts.
    pub async fn found(&self, identity: Identity, me: Member, import: State) -> io::Result<Store> {
        let leader = CommittedLeaderId::new(1, identity.raft_id);
        let membership = Membership::new(
            vec![[identity.raft_id].into()],
            std::collections::BTreeMap::from([(identity.raft_id, me)]),
        );
        let first = Command {
            id: (identity.raft_id, 0),
            action: Action::Import(import),
        };
        let entry = |index, payload| Entry::<Types> {
            log_id: LogId::new(leader, index),
            payload,
        };
        let entries = [
            entry(0, EntryPayload::Membership(membership)),
            entry(1, EntryPayload::Normal(first)),
        ];
        let vote = Vote::<u64>::new_committed(1, identity.raft_id);
        self.reset(identity, Some((vote, entries))).await
    }

    /// Empties the store, in one transaction: a node that is about to join waits for its new cluster's leader.
    pub async fn clear(&self, identity: Identity) -> io::Result<Store> {
        self.reset(identity, None).await
    }

    /// Appends a membership that nobody has agreed to, and gives this node the leadership that goes with it, in one
    /// transaction. For a node that is alone left of its cluster.
    pub async fn seize(&self, raft_id: u64, membership: Membership<u64, Member>) -> io::Result<()> {
        let vote: Option<Vote<u64>> = self.get("vote")?;
        let last = self.log_state()?.last_log_id;
        let term = vote
            .map_or(0, |vote| vote.leader_id().term)
            .max(last.map_or(0, |id| id.leader_id.term))
            + 1;
        let index = last.map_or(0, |id| id.index + 1);
        let entry = Entry::<Types> {
            log_id: LogId::new(CommittedLeaderId::new(term, raft_id), index),
            payload: EntryPayload::Membership(membership),
        };
        let (row, vote) = (encode(&entry)?, encode(&Vote::<u64>::new_committed(term, raft_id))?);
        self.write(Durability::Immediate, move |txn| {
            let mut log = txn.open_table(LOG).map_err(other)?;
            log.insert(&index, row.as_slice()).map_err(other)?;
            let mut meta = txn.open_table(META).map_err(other)?;
            meta.insert("vote", vote.as_slice()).map_err(other)?;
            Ok(())
        })
        .await
    }

    async fn reset(&self, identity: Identity, start: Option<(Vote<u64>, [Entry<Types>; 2])>) -> io::Result<Store> {
        let identity = encode(&identity)?;
        let mut rows = Vec::new();
        let mut meta = vec![("identity", identity)];
        if let Some((vote, entries)) = start {
            for entry in &entries {
                rows.push((entry.log_id.index, encode(entry)?));
            }
            meta.push(("vote", encode(&vote)?));
            meta.push(("committed", encode(&entries.last().map(|e| e.log_id))?));
        }
        let next = self.generation + 1;
        let shared = self.shared.clone();
        let written = self.write(Durability::Immediate, move |txn| {
            txn.delete_table(LOG).map_err(other)?;
            txn.delete_table(META).map_err(other)?;
            let mut log = txn.open_table(LOG).map_err(other)?;
            for (index, row) in &rows {
                log.insert(index, row.as_slice()).map_err(other)?;
            }
            let mut table = txn.open_table(META).map_err(other)?;
            for (key, value) in &meta {
                table.insert(*key, value.as_slice()).map_err(other)?;
            }
            // Before the commit: writers queue behind it, and none of the old ones may come after it.
            shared.generation.store(next, Ordering::SeqCst);
            Ok(())
        });
        if let Err(e) = written.await {
            self.shared.generation.store(self.generation, Ordering::SeqCst);
            return Err(e);
        }
        Ok(Store {
            shared: self.shared.clone(),
            generation: next,
        })
    }

    /// A value of the META table.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        let txn = self.shared.db.begin_read().map_err(|e| self.wrong(e))?;
        let table = match txn.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(self.wrong(e)),
        };
        let Some(value) = table.get(key).map_err(|e| self.wrong(e))? else {
            return Ok(None);
        };
        serde_json::from_slice(value.value())
            .map(Some)
            .map_err(|e| self.wrong(format!("{key}: {e}")))
    }

    /// Sets a value of the META table.
    pub async fn put<T: Serialize>(&self, key: &'static str, value: &T, durability: Durability) -> io::Result<()> {
        let value = encode(value)?;
        self.write(durability, move |txn| {
            let mut table = txn.open_table(META).map_err(other)?;
            table.insert(key, value.as_slice()).map_err(other)?;
            Ok(())
        })
        .await
    }

    /// Installs a snapshot: the state and the snapshot itself, together.
    pub async fn put_snapshot(&self, image: Option<&Image>, snapshot: &SavedSnapshot) -> io::Result<()> {
        let image = image.map(encode).transpose()?;
        let snapshot = encode(snapshot)?;
        self.write(Durability::Immediate, move |txn| {
            let mut table = txn.open_table(META).map_err(other)?;
            if let Some(image) = image {
                table.insert("machine", image.as_slice()).map_err(other)?;
            }
            table.insert("snapshot", snapshot.as_slice()).map_err(other)?;
            Ok(())
        })
        .await
    }

    /// Where the log begins and ends.
    pub fn log_state(&self) -> io::Result<LogState<Types>> {
        let purged: Option<LogId<u64>> = self.get::<Option<LogId<u64>>>("purged")?.flatten();
        let last = self.last_entry()?.map(|entry| entry.log_id);
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last.or(purged),
        })
    }

    fn last_entry(&self) -> io::Result<Option<Entry<Types>>> {
        let txn = self.shared.db.begin_read().map_err(|e| self.wrong(e))?;
        let table = match txn.open_table(LOG) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(self.wrong(e)),
        };
        match table.last().map_err(|e| self.wrong(e))? {
            Some((index, row)) => self.entry(index.value(), row.value()).map(Some),
            None => Ok(None),
        }
    }

    /// The entries of a range of indexes; with `bounded`, a leading part of them of about [`BATCH_BYTES`].
    pub fn entries(&self, range: impl RangeBounds<u64>, bounded: bool) -> io::Result<Vec<Entry<Types>>> {
        let txn = self.shared.db.begin_read().map_err(|e| self.wrong(e))?;
        let table = match txn.open_table(LOG) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(e) => return Err(self.wrong(e)),
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        for row in table.range::<u64>(range).map_err(|e| self.wrong(e))? {
            let (index, row) = row.map_err(|e| self.wrong(e))?;
            bytes += row.value().len();
            if bounded && bytes > BATCH_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(self.entry(index.value(), row.value())?);
        }
        Ok(entries)
    }

    fn entry(&self, index: u64, row: &[u8]) -> io::Result<Entry<Types>> {
        let entry: Entry<Types> =
            serde_json::from_slice(row).map_err(|e| self.wrong(format!("log entry {index}: {e}")))?;
        if entry.log_id.index != index {
            return Err(self.wrong(format!("log entry {index} says it is {}", entry.log_id.index)));
        }
        Ok(entry)
    }

    /// Appends entries, on disk when it returns.
    pub async fn append(&self, entries: &[Entry<Types>]) -> io::Result<()> {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push((entry.log_id.index, encode(entry)?));
        }
        self.write(Durability::Immediate, move |txn| {
            let mut log = txn.open_table(LOG).map_err(other)?;
            for (index, row) in &rows {
                log.insert(index, row.as_slice()).map_err(other)?;
            }
            Ok(())
        })
        .await
    }

    /// Removes the entries from `index` on.
    pub async fn truncate(&self, index: u64) -> io::Result<()> {
        self.write(Durability::Immediate, move |txn| {
            let mut log = txn.open_table(LOG).map_err(other)?;
            log.retain_in(index.., |_, _| false).map_err(other)
        })
        .await
    }

    /// Removes the entries up to `upto`, which is remembered.
    pub async fn purge(&self, upto: LogId<u64>) -> io::Result<()> {
        let value = encode(&Some(upto))?;
        self.write(Durability::Immediate, move |txn| {
            let mut log = txn.open_table(LOG).map_err(other)?;
            log.retain_in(..=upto.index, |_, _| false).map_err(other)?;
            let mut meta = txn.open_table(META).map_err(other)?;
            meta.insert("purged", value.as_slice()).map_err(other)?;
            Ok(())
        })
        .await
    }

    /// One transaction on a helper thread.
    async fn write<F>(&self, durability: Durability, f: F) -> io::Result<()>
    where
        F: FnOnce(&WriteTransaction) -> io::Result<()> + Send + 'static,
    {
        let (shared, generation) = (self.shared.clone(), self.generation);
        let written = rt::blocking(move || {
            let mut txn = shared.db.begin_write().map_err(other)?;
            if shared.generation.load(Ordering::SeqCst) != generation {
                return Err(io::Error::other("this node has meanwhile joined or left a cluster"));
            }
            txn.set_durability(durability).map_err(other)?;
            f(&txn)?;
            txn.commit().map_err(other)
        });
        written.await.and_then(|result| result).map_err(|e| self.wrong(e))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> io::Error {
        io::Error::other(format!("{}: {what}", self.shared.path.display()))
    }
}

fn open(path: PathBuf) -> Result<Shared, ClusterError> {
    let wrong = |what: String| ClusterError::Storage(format!("{}: {what}", path.display()));
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|e| wrong(e.to_string()))?;
    let mark = path.with_extension("damaged");
    if mark.exists() {
        return Err(wrong(format!("it was found damaged, as {} says", mark.display())));
    }
    let mut db = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(&path)
        .map_err(|e| match e {
            DatabaseError::DatabaseAlreadyOpen => wrong("in use by another process".to_owned()),
            DatabaseError::Storage(redb::StorageError::Corrupted(what)) => wrong(format!("damaged: {what}")),
            DatabaseError::Storage(redb::StorageError::Io(e)) if e.kind() == io::ErrorKind::InvalidData => {
                wrong(format!("damaged: {e}"))
            }
            e => wrong(e.to_string()),
        })?;
    // redb mends a file by going back to the transaction before, which may forget a vote: what a crash cannot have done is
    // not mended but reported, also at the next start.
    match db.check_integrity() {
        Ok(true) => {}
        Err(DatabaseError::Storage(redb::StorageError::Io(e))) => return Err(wrong(e.to_string())),
        failed => {
            let why = failed.map_or_else(|e| e.to_string(), |_| "checksums do not match".to_owned());
            let text = format!(
                "damaged ({why}); if the cluster has other nodes, remove this directory, start again and probe this node from one of them"
            );
            std::fs::write(&mark, &text).map_err(|e| wrong(format!("{text}; {}: {e}", mark.display())))?;
            return Err(wrong(text));
        }
    }
    // A voter whose file is gone after a power failure would have forgotten its vote.
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|e| wrong(format!("its directory cannot be synced: {e}")))?;
    Ok(Shared {
        db,
        path,
        generation: AtomicU64::new(0),
    })
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}

impl Identity {
    /// A new identity in this file format.
    pub fn new(cluster: Gfid, uuid: Gfid, raft_id: u64, trusted: Vec<String>) -> Identity {
        Identity {
            format: FORMAT,
            cluster,
            uuid,
            raft_id,
            trusted,
        }
    }
}
