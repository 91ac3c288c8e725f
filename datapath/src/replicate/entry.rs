//! Entry and metadata transactions: lock, pre-op unless all bricks take part, operation, post-op, unlock
//! (brick-and-replicate.md D.3 to D.7). They wait for every live brick: what they did is seen everywhere when they
//! return.

use bytes::Bytes;

use super::BrickSet;
use super::answers::Answers;
use super::locking::{LockObject, METADATA_START};
use super::pending::{Counters, Slot};
use super::set::ReplicaSet;
use crate::client::{Reply, Subvol};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{FopRsp, XattropReq};
use crate::wire::{Dict, Gfid, Key, Value, flags};

/// A directory whose names a transaction changes, with the name.
#[derive(Clone, Debug)]
pub(super) struct ChangedName {
    /// The directory.
    pub dir: Gfid,
    /// The name in it.
    pub name: Bytes,
}

/// An inode a transaction makes: bricks that miss it are blamed on it too.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewInode {
    /// Its gfid.
    pub gfid: Gfid,
    /// What to blame a brick for that does not have it.
    pub blame: Counters,
}

impl NewInode {
    /// A file: contents and attributes are to be healed.
    pub(super) fn file(gfid: Gfid) -> NewInode {
        NewInode {
            gfid,
            blame: Counters([1, 1, 0]),
        }
    }

    /// Anything else has attributes only.
    pub(super) fn special(gfid: Gfid) -> NewInode {
        NewInode {
            gfid,
            blame: Counters([0, 1, 0]),
        }
    }

    /// A directory: entries too; its data slot asks for a full crawl.
    pub(super) fn dir(gfid: Gfid) -> NewInode {
        NewInode {
            gfid,
            blame: Counters([1, 1, 1]),
        }
    }
}

/// What a transaction on names needs to know.
#[derive(Clone, Debug, Default)]
pub(super) struct EntryTxn {
    /// What is locked.
    pub locks: Vec<LockObject>,
    /// What changes.
    pub changes: Vec<ChangedName>,
    /// What is made.
    pub makes: Option<NewInode>,
    /// An errno that, where the operation is refused, is no failure of the bricks that gave it (ENOTEMPTY of rmdir).
    /// GlusterFS does not blame them either when the others have done it, and what they still have stays there for ever.
    pub harmless: Option<Errno>,
}

impl EntryTxn {
    /// A transaction on one name.
    pub(super) fn on(dir: Gfid, name: &Bytes) -> EntryTxn {
        EntryTxn {
            locks: vec![LockObject::Entry {
                gfid: dir,
                name: Some(name.clone()),
            }],
            changes: vec![ChangedName {
                dir,
                name: name.clone(),
            }],
            ..EntryTxn::default()
        }
    }
}

/// How a transaction on names ended.
struct Ending {
    /// Bricks that record it.
    by: BrickSet,
    /// Bricks that are blamed.
    missed: BrickSet,
    /// Dirty marks were set.
    marked: bool,
    /// Something has changed.
    made: bool,
}

impl ReplicaSet {
    /// Runs a transaction on names.
    pub(super) async fn entry_txn<T: FopRsp>(
        &self,
        txn: EntryTxn,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
    ) -> FsResult<Answers<T>> {
        self.entry_txn_checked(txn, start, |_| {}).await
    }

    /// [`ReplicaSet::entry_txn`] whose answers `check` may turn into failures: a brick that has not been healed can have
    /// another inode under a name, and succeed with that.
    pub(super) async fn entry_txn_checked<T: FopRsp>(
        &self,
        mut txn: EntryTxn,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
        check: impl Fn(&mut Answers<T>),
    ) -> FsResult<Answers<T>> {
        self.become_writable().await?;
        LockObject::sort(&mut txn.locks);
        let cred = self.own_cred(self.new_owner());
        let domain = self.0.domain.clone();
        let sessions = self.sessions();
        let locked = self.lock(&txn.locks, &domain, self.up(), &cred).await;
        if let Err(e) = self.quorum_of(locked) {
            self.unlock(&txn.locks, &domain, locked, &cred).await;
            return Err(e);
        }
        let result = self.entry_locked(&txn, locked, &sessions, &cred, (start, check)).await;
        self.unlock_later(txn.locks, locked, cred);
        result
    }

    async fn entry_locked<T: FopRsp>(
        &self,
        txn: &EntryTxn,
        locked: BrickSet,
        sessions: &[Option<u64>],
        cred: &GlusterfsCred,
        (start, check): (impl Fn(usize, &Subvol) -> Reply<T>, impl Fn(&mut Answers<T>)),
    ) -> FsResult<Answers<T>> {
        let mut live = locked & self.still_in(sessions);
        let optimistic = self.optimistic(live);
        if !optimistic {
            for change in &txn.changes {
                live &= self.entry_pre_op(change, live, cred).await;
            }
            live &= self.still_in(sessions);
            self.quorum_of(live)?;
        }
        let mut answers = self.ask(live, start).await;
        check(&mut answers);
        self.reject_unlocked(&mut answers, sessions);
        let ok = answers.ok();
        let symmetric = answers.symmetric_failure();
        let mut verdict = if ok.is_empty() {
            Err(self.entry_error(&answers))
        } else {
            self.quorum_of(ok).map_err(|_| self.entry_error(&answers))
        };
        let mut failed = answers.failed();
        if let (Some(errno), true) = (txn.harmless, verdict.is_err()) {
            failed = failed - answers.failed_with(errno);
        }
        // A request every brick refused has changed nothing: nobody has missed it.
        let missed = if symmetric.is_some() {
            BrickSet::EMPTY
        } else {
            (BrickSet::first(self.bricks()) - live) | failed
        };
        if verdict.is_ok() || symmetric.is_some() {
            if !optimistic || !missed.is_empty() {
                let ending = Ending {
                    by: if symmetric.is_some() { live } else { ok },
                    missed,
                    marked: !optimistic,
                    made: symmetric.is_none(),
                };
                let recorded = self.entry_post_op(txn, &ending, sessions, cred).await;
                verdict = verdict.and_then(|()| self.on_record(missed, recorded));
            }
        } else if optimistic {
            // Below quorum without a pre-op: the survivors are marked so that heal looks at the directory.
            for change in &txn.changes {
                self.entry_pre_op(change, ok, cred).await;
            }
        }
        if !missed.is_empty() {
            self.distrust(missed);
            txn.changes
                .iter()
                .for_each(|change| self.inode(change.dir).need_refresh());
        }
        verdict.map(|()| answers)
    }

    /// A brick whose session has ended since it was locked has dropped the lock, and a healer may have been there since:
    /// what it did counts as not done, and no mark of it is taken away.
    fn reject_unlocked<T>(&self, answers: &mut Answers<T>, sessions: &[Option<u64>]) {
        for brick in (answers.ok() - self.still_in(sessions)).iter() {
            answers.put(brick, Err(Errno::ENOTCONN));
        }
    }

    /// Only what is on record may be acknowledged: `missed` must be blamed by as many as can decide (`recorded`), or a
    /// quorum could come together later in which nobody knows what they missed.
    fn on_record(&self, missed: BrickSet, recorded: BrickSet) -> FsResult<()> {
        if missed.is_empty() {
            Ok(())
        } else {
            self.quorum_of(recorded)
        }
    }

    fn entry_error<T>(&self, answers: &Answers<T>) -> Errno {
        match answers.errno() {
            Errno::ENOTCONN => self.quorum_of(answers.ok()).err().unwrap_or(Errno::ENOTCONN),
            errno if self.is_staleness(answers, errno) => Errno::EROFS,
            errno => errno,
        }
    }

    /// Whether `errno` only says that some bricks have not been healed yet: they lack, or still have, what a good one
    /// that did the operation has. Then the request is right, but there is no quorum of good copies for it.
    pub(super) fn is_staleness<T>(&self, answers: &Answers<T>, errno: Errno) -> bool {
        matches!(
            errno,
            Errno::ENOENT
                | Errno::ESTALE
                | Errno::ENODATA
                | Errno::EEXIST
                | Errno::ENOTEMPTY
                | Errno::ENOTDIR
                | Errno::EISDIR
                // A directory would go below itself, on a brick where either is elsewhere.
                | Errno::EINVAL
        ) && !answers.ok().is_empty()
            && !self.quorum().met(answers.failed_with(errno))
    }

    /// No marks are needed while every brick of the set takes part.
    fn optimistic(&self, locked: BrickSet) -> bool {
        self.options().optimistic_change_log && locked.len() == self.bricks()
    }

    /// Dirty +1 on the directory; the name goes into the index of changed names. Returns where that worked.
    pub(super) async fn entry_pre_op(&self, change: &ChangedName, bricks: BrickSet, cred: &GlusterfsCred) -> BrickSet {
        let dict = self
            .0
            .keys
            .operand(Some(Counters::in_slot(Slot::Entry, 1)), |_| Counters::ZERO);
        let req = XattropReq {
            gfid: change.dir,
            flags: flags::xattrop::ADD_ARRAY,
            dict,
            xdata: self.name_index_xdata(&change.name),
        };
        self.ask(bricks, |_, s| s.call(cred, &req)).await.ok()
    }

    fn name_index_xdata(&self, name: &Bytes) -> Dict {
        if !self.options().granular_entry_heal {
            return Dict::null();
        }
        let mut text = name.to_vec();
        text.push(0);
        Dict::new().with("glusterfs.xattrop-entry-create", Value::Str(Bytes::from(text)))
    }

    /// Takes the dirty marks back and records who missed what. Returns where that worked.
    async fn entry_post_op(
        &self,
        txn: &EntryTxn,
        ending: &Ending,
        sessions: &[Option<u64>],
        cred: &GlusterfsCred,
    ) -> BrickSet {
        let Ending { by, missed, .. } = *ending;
        if let (Some(new), true, false) = (txn.makes, ending.made, missed.is_empty()) {
            let dict = self
                .0
                .keys
                .operand(None, |b| if missed.contains(b) { new.blame } else { Counters::ZERO });
            self.xattrop(new.gfid, by, dict, Dict::null(), cred).await;
        }
        let mut recorded = by;
        for change in &txn.changes {
            let dirty = ending.marked.then(|| Counters::in_slot(Slot::Entry, -1));
            let blame = |b: usize| {
                if missed.contains(b) {
                    Counters::in_slot(Slot::Entry, 1)
                } else {
                    Counters::ZERO
                }
            };
            // Without a pre-op the name is not in the index yet.
            let xdata = if ending.marked {
                Dict::null()
            } else {
                self.name_index_xdata(&change.name)
            };
            let operand = self.0.keys.operand(dirty, blame);
            recorded &= self
                .xattrop(change.dir, by & self.still_in(sessions), operand, xdata, cred)
                .await;
        }
        recorded & self.still_in(sessions)
    }

    /// Adds `dict` to the counters of `gfid` on `bricks`; returns where that worked.
    pub(super) async fn xattrop(
        &self,
        gfid: Gfid,
        bricks: BrickSet,
        dict: Dict,
        xdata: Dict,
        cred: &GlusterfsCred,
    ) -> BrickSet {
        let req = XattropReq {
            gfid,
            flags: flags::xattrop::ADD_ARRAY,
            dict,
            xdata,
        };
        let answers = self.ask(bricks, |_, s| s.call(cred, &req)).await;
        for brick in answers.failed().iter() {
            tracing::warn!(
                "{}: xattrop on {gfid} failed: {:?}",
                self.subvol(brick).name(),
                answers.error(brick)
            );
        }
        answers.ok()
    }

    /// A transaction on names also changed an inode itself (its change time); `answers` tells who missed it.
    pub(super) async fn blame_metadata<T>(&self, gfid: Gfid, answers: &Answers<T>) {
        let missed = BrickSet::first(self.bricks()) - answers.ok();
        if missed.is_empty() {
            return;
        }
        let blame = |b: usize| {
            if missed.contains(b) {
                Counters::in_slot(Slot::Metadata, 1)
            } else {
                Counters::ZERO
            }
        };
        let cred = self.own_cred(self.new_owner());
        self.xattrop(
            gfid,
            answers.ok(),
            self.0.keys.operand(None, blame),
            Dict::null(),
            &cred,
        )
        .await;
    }

    /// Runs a transaction on attributes or xattrs.
    pub(super) async fn metadata_txn<T: FopRsp>(
        &self,
        gfid: Gfid,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
    ) -> FsResult<Answers<T>> {
        self.become_writable().await?;
        let cred = self.own_cred(self.new_owner());
        let domain = self.0.domain.clone();
        let locks = vec![LockObject::Inode {
            gfid,
            start: METADATA_START,
            len: 0,
        }];
        let sessions = self.sessions();
        let locked = self.lock(&locks, &domain, self.up(), &cred).await;
        if let Err(e) = self.quorum_of(locked) {
            self.unlock(&locks, &domain, locked, &cred).await;
            return Err(e);
        }
        let result = self.metadata_locked(gfid, locked, &sessions, &cred, start).await;
        self.unlock_later(locks, locked, cred);
        result
    }

    async fn metadata_locked<T: FopRsp>(
        &self,
        gfid: Gfid,
        locked: BrickSet,
        sessions: &[Option<u64>],
        cred: &GlusterfsCred,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
    ) -> FsResult<Answers<T>> {
        let mut live = locked & self.still_in(sessions);
        let optimistic = self.optimistic(live);
        if !optimistic {
            let dict = self
                .0
                .keys
                .operand(Some(Counters::in_slot(Slot::Metadata, 1)), |_| Counters::ZERO);
            let req = XattropReq {
                gfid,
                flags: flags::xattrop::ADD_ARRAY,
                dict,
                xdata: Dict::null(),
            };
            let marked = self.ask(live, |_, s| s.call(cred, &req)).await;
            if let Some(errno) = marked.symmetric_failure() {
                return Err(errno);
            }
            live &= marked.ok() & self.still_in(sessions);
            self.quorum_of(live)?;
        }
        let mut answers = self.ask(live, start).await;
        self.reject_unlocked(&mut answers, sessions);
        let ok = answers.ok();
        let symmetric = answers.symmetric_failure();
        let all = BrickSet::first(self.bricks());
        let missed = if symmetric.is_some() { all - live } else { all - ok };
        let mut verdict = if symmetric.is_some() || self.quorum_of(ok).is_err() {
            Err(self.entry_error(&answers))
        } else {
            Ok(())
        };
        if !missed.is_empty() && symmetric.is_none() {
            self.distrust(missed);
        }
        let worth_recording = verdict.is_ok() || symmetric.is_some();
        if worth_recording && !(optimistic && (missed.is_empty() || symmetric.is_some())) {
            let by = if symmetric.is_some() { live } else { ok };
            let dirty = (!optimistic).then(|| Counters::in_slot(Slot::Metadata, -1));
            // A request every brick refused has changed nothing: nobody has missed it.
            let blame = |b: usize| {
                if missed.contains(b) && symmetric.is_none() {
                    Counters::in_slot(Slot::Metadata, 1)
                } else {
                    Counters::ZERO
                }
            };
            let recorded = self
                .xattrop(gfid, by, self.0.keys.operand(dirty, blame), Dict::null(), cred)
                .await;
            verdict = verdict.and_then(|()| self.on_record(missed, recorded & self.still_in(sessions)));
            self.inode(gfid).need_refresh();
        } else if optimistic && !worth_recording {
            // Below quorum and without a pre-op.
            self.mark_metadata(gfid, ok, cred).await;
            self.inode(gfid).need_refresh();
        }
        verdict.map(|()| answers)
    }

    /// Marks the attributes on `bricks` dirty, so that heal compares them with those of the others. Returns where that
    /// worked.
    pub(super) async fn mark_metadata(&self, gfid: Gfid, bricks: BrickSet, cred: &GlusterfsCred) -> BrickSet {
        let dirty = Some(Counters::in_slot(Slot::Metadata, 1));
        let dict = self.0.keys.operand(dirty, |_| Counters::ZERO);
        self.xattrop(gfid, bricks, dict, Dict::null(), cred).await
    }

    /// Runs `work` in the background; [`ReplicaSet::background_done`] waits for it.
    pub(super) fn later(&self, work: impl Future<Output = ()> + 'static) {
        let guard = self.background_guard();
        exec::spawn(async move {
            work.await;
            drop(guard);
        });
    }
}

/// A key for xdata from text made at run time.
pub(super) fn key(text: &str) -> Key {
    Key::from(text.to_string())
}
