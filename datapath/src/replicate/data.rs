//! Data transactions: write, truncate, fallocate, discard, zerofill and fsync under the eager data lock.
//!
//! The application is answered when a majority has acknowledged a write (DESIGN.md section 4); the transaction goes
//! on until every brick has answered or is gone, and its post-op records who missed it. The state machine is
//! [`super::data_lock`].

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::BrickSet;
use super::answers::Answers;
use super::data_lock::{ByteRange, Join, Leave, Phase, ReleasePlan};
use super::inode::Inode;
use super::locking::LockObject;
use super::lookup::INODELK_COUNT;
use super::pending::{Counters, Slot};
use super::set::{Inner, ReplicaSet};
use crate::client::{Reply, Subvol};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::exec::sync::oneshot;
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{ANONYMOUS_FD, DictRsp, FopRsp, FsyncReq, Iatt2Rsp, XattropReq};
use crate::wire::handshake::IF_LOCKED;
use crate::wire::{Dict, Gfid, Value, flags};

/// Bytes waiting to be sent to one brick beyond which it is treated as failed for the file, if a quorum keeps up.
const BACKLOG_LIMIT: usize = 64 << 20;
/// How much longer than a quorum a brick may take for the fsync before a post-op; longer if the quorum took longer.
const SYNC_GRACE: Duration = Duration::from_millis(500);
/// xdata key by which a brick tells that a write began at the old end of the file.
const WRITE_IS_APPEND: &str = "glusterfs.write-is-append";

/// One data operation as it goes to the bricks.
pub(super) struct DataOp<F> {
    /// Bytes it touches: overlapping operations run one after the other.
    pub range: ByteRange,
    /// Answer at the majority instead of at the last brick.
    pub early: bool,
    /// Sends it to one brick.
    pub start: F,
    /// What it means for durability.
    pub effect: Effect,
}

/// What an operation means for the dirty mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// May sit in a brick's page cache.
    Unstable,
    /// On disk when acknowledged.
    Stable,
    /// Makes everything before it stable.
    Sync,
    /// Changes the size: must be on disk before the dirty mark goes.
    Resize,
}

/// The asynchronous rest of an operation.
struct Course {
    set: ReplicaSet,
    inode: Rc<Inode>,
    ticket: u64,
    /// Bricks it was not sent to because they lag too far behind.
    skipped: BrickSet,
    needed: usize,
    early: bool,
    effect: Effect,
    app: Option<oneshot::Sender<FsResult<Iatt2Rsp>>>,
}

impl ReplicaSet {
    /// Runs one operation on every brick that holds the lock.
    pub(super) async fn data_op<F>(&self, gfid: Gfid, op: DataOp<F>) -> FsResult<Iatt2Rsp>
    where
        F: Fn(usize, &Subvol) -> Reply<Iatt2Rsp>,
    {
        self.become_writable().await?;
        let inode = self.inode(gfid);
        let (ticket, live) = self.join_data_lock(&inode, op.range).await?;
        let skipped = self.hopelessly_slow(live);
        let live = live - skipped;
        let replies: Vec<_> = live
            .iter()
            .map(|brick| {
                inode.write_sent(brick);
                (brick, (op.start)(brick, self.subvol(brick)))
            })
            .collect();
        let (tx, rx) = oneshot::oneshot();
        let course = Course {
            set: self.clone(),
            inode,
            ticket,
            skipped,
            needed: self.quorum().acks(live.len()),
            early: op.early,
            effect: op.effect,
            app: Some(tx),
        };
        exec::spawn(course.run(replies));
        rx.await.unwrap_or(Err(Errno::EIO))
    }

    /// Bricks so far behind that waiting for them would stop everybody, as long as a quorum is not among them.
    fn hopelessly_slow(&self, live: BrickSet) -> BrickSet {
        let slow: BrickSet = live
            .iter()
            .filter(|&b| self.subvol(b).backlog() > BACKLOG_LIMIT)
            .collect();
        if !slow.is_empty() && self.quorum().met(live - slow) {
            slow
        } else {
            BrickSet::EMPTY
        }
    }

    /// Waits until `range` may be worked on under the lock.
    async fn join_data_lock(&self, inode: &Rc<Inode>, range: ByteRange) -> FsResult<(u64, BrickSet)> {
        loop {
            let step = inode.data.borrow_mut().join(range, self.generation());
            match step {
                Join::Joined { ticket, live } => {
                    if let Err(e) = self.quorum_of(live & self.up()) {
                        self.leave(inode, ticket, &Leave::default());
                        return Err(e);
                    }
                    return Ok((ticket, live));
                }
                Join::Acquire => self.acquire(inode).await?,
                Join::Release => self.release_data_lock(inode, false).await,
                Join::Wait => inode.changed.notified().await,
            }
        }
    }

    /// Lock and pre-op.
    async fn acquire(&self, inode: &Rc<Inode>) -> FsResult<()> {
        self.writable()?;
        let owner = {
            let mut lock = inode.data.borrow_mut();
            lock.acquiring(self.generation(), self.sessions());
            lock.owner()
        };
        // Whatever happens to this task, waiters must not be left behind a lock that is never acquired.
        let mut guard = AcquireGuard {
            inode: inode.clone(),
            acquired: false,
        };
        let cred = self.own_cred(owner);
        let object = [LockObject::Inode {
            gfid: inode.gfid,
            start: 0,
            len: 0,
        }];
        let domain = self.0.domain.clone();
        let (locked, marked) = self.lock_and_mark(inode.gfid, &object, &domain, &cred).await?;
        if let Err(e) = self.check_pre_op(locked, &marked) {
            // Dirty marks that were set are taken back: nothing was done under them.
            self.clear_dirty(inode.gfid, marked.ok(), BrickSet::EMPTY, &cred).await;
            self.unlock(&object, &domain, locked, &cred).await;
            return Err(e);
        }
        inode.data.borrow_mut().acquired(locked, marked.ok());
        guard.acquired = true;
        Ok(())
    }

    /// Lock and pre-op in one round trip while nobody else wants the lock: a brick sets the mark if it has just granted
    /// the lock. No mark is ever set without it: a healer that holds the lock would take it for one left behind and
    /// clear it, and cleared once more by its owner it would count below zero.
    async fn lock_and_mark(
        &self,
        gfid: Gfid,
        object: &[LockObject; 1],
        domain: &Bytes,
        cred: &GlusterfsCred,
    ) -> FsResult<(BrickSet, Answers<DictRsp>)> {
        let up = self.up();
        if !up.iter().all(|brick| self.subvol(brick).is_ours()) {
            return self.lock_then_mark(gfid, object, domain, cred).await;
        }
        let if_locked = Dict::new().with(IF_LOCKED, Value::str(&String::from_utf8_lossy(domain)));
        // In this order: the bricks answer both in turn.
        let locking = self.start_lock(&object[0], domain, up, cred);
        let marking = self.start_marks(gfid, up, if_locked, cred);
        let granted = self.collect(locking).await;
        let (locked, marked) = (granted.ok(), self.collect(marking).await);
        let conflict = !granted.failed_with(Errno::EAGAIN).is_empty();
        let quorum = self.quorum_of(locked);
        if !conflict && quorum.is_ok() {
            return Ok((locked, marked.limited_to(locked)));
        }
        self.clear_dirty(gfid, marked.ok(), BrickSet::EMPTY, cred).await;
        self.unlock(object, domain, locked, cred).await;
        if conflict {
            self.lock_then_mark(gfid, object, domain, cred).await
        } else {
            Err(quorum.err().unwrap_or(Errno::EROFS))
        }
    }

    /// Lock, and the pre-op under it.
    async fn lock_then_mark(
        &self,
        gfid: Gfid,
        object: &[LockObject],
        domain: &Bytes,
        cred: &GlusterfsCred,
    ) -> FsResult<(BrickSet, Answers<DictRsp>)> {
        let locked = self.lock(object, domain, self.up(), cred).await;
        if let Err(e) = self.quorum_of(locked) {
            self.unlock(object, domain, locked, cred).await;
            return Err(e);
        }
        let marked = self.collect(self.start_marks(gfid, locked, Dict::null(), cred)).await;
        Ok((locked, marked))
    }

    /// Pre-op: dirty +1 on `bricks`; the answers will carry the blame there is.
    fn start_marks(
        &self,
        gfid: Gfid,
        bricks: BrickSet,
        xdata: Dict,
        cred: &GlusterfsCred,
    ) -> Vec<(usize, Reply<DictRsp>)> {
        let dict = self
            .0
            .keys
            .operand(Some(Counters::in_slot(Slot::Data, 1)), |_| Counters::ZERO);
        let req = XattropReq {
            gfid,
            flags: flags::xattrop::ADD_ARRAY,
            dict,
            xdata,
        };
        bricks.iter().map(|b| (b, self.subvol(b).call(cred, &req))).collect()
    }

    /// Refuses a write that no good copy would see (brick-and-replicate.md D.5).
    fn check_pre_op(&self, locked: BrickSet, marked: &Answers<DictRsp>) -> FsResult<()> {
        let done = marked.ok();
        if let Some(errno) = marked.symmetric_failure() {
            return Err(errno);
        }
        if !self.quorum().met(done) {
            return Err(if (locked - done) == marked.failed_with(Errno::ENOTCONN) {
                Errno::EROFS
            } else {
                marked.errno()
            });
        }
        let mut blamed = BrickSet::EMPTY;
        for (_, rsp) in marked.iter() {
            blamed |= self.0.keys.row(&rsp.dict).blamed(Slot::Data);
        }
        let good = BrickSet::first(self.bricks()) - blamed;
        if !good.is_empty() && (good & done).is_empty() {
            return Err(Errno::EIO);
        }
        Ok(())
    }

    /// An operation is over: gives the ticket back and releases the lock if that is due.
    fn leave(&self, inode: &Rc<Inode>, ticket: u64, end: &Leave) {
        let (release, idle_since) = {
            let mut lock = inode.data.borrow_mut();
            let release = lock.leave(ticket, end) || (!self.options().eager_lock && lock.ask_release());
            (
                release,
                (!release && !lock.is_active() && lock.phase() == Phase::Held).then(|| lock.activity()),
            )
        };
        inode.changed.notify_waiters();
        if release {
            self.release_soon(inode.clone());
        } else if let Some(activity) = idle_since {
            self.release_when_idle(inode.clone(), activity);
        }
    }

    fn release_soon(&self, inode: Rc<Inode>) {
        let set = self.clone();
        exec::spawn(async move {
            let ready = {
                let lock = inode.data.borrow();
                lock.phase() == Phase::Held && !lock.is_active()
            };
            if ready {
                set.release_data_lock(&inode, false).await;
            }
        });
    }

    /// After `post-op-delay-secs` without another operation the lock and the dirty mark go.
    fn release_when_idle(&self, inode: Rc<Inode>, activity: u64) {
        let set = self.clone();
        let delay = self.options().post_op_delay.max(Duration::from_millis(1));
        exec::spawn(async move {
            exec::sleep(delay).await;
            let idle = {
                let lock = inode.data.borrow();
                lock.phase() == Phase::Held && !lock.is_active() && lock.activity() == activity
            };
            if idle {
                set.release_data_lock(&inode, true).await;
            }
        });
    }

    /// Post-op and unlock. The caller has seen the lock held and idle in this turn.
    pub(super) async fn release_data_lock(&self, inode: &Rc<Inode>, idle: bool) {
        let (plan, owner) = {
            let mut lock = inode.data.borrow_mut();
            (lock.releasing(idle), lock.owner())
        };
        let mut guard = ReleaseGuard {
            inode: inode.clone(),
            recorded: false,
        };
        let cred = self.own_cred(owner);
        guard.recorded = self.post_op(inode, &plan, &cred).await;
        let object = [LockObject::Inode {
            gfid: inode.gfid,
            start: 0,
            len: 0,
        }];
        let domain = self.0.domain.clone();
        self.unlock(&object, &domain, plan.locked, &cred).await;
        drop(guard);
    }

    /// Returns whether nobody missed anything, or a quorum has it on record who did.
    async fn post_op(&self, inode: &Inode, plan: &ReleasePlan, cred: &GlusterfsCred) -> bool {
        let mut good = plan.good;
        if plan.sync && !plan.broken && self.options().ensure_durability {
            let synced = self.sync_before_post_op(inode.gfid, good, cred).await;
            // Too few to decide: what is known is better recorded than not.
            if self.quorum().met(synced) {
                good = synced;
            }
        }
        let missed = BrickSet::first(self.bricks()) - good;
        if !self.quorum().met(good) {
            return missed.is_empty();
        }
        if plan.broken {
            // The dirty marks stay, but they do not tell who missed what had been acknowledged before: a brick that was
            // away may have such a mark of its own, of an earlier transaction.
            if plan.done {
                let ours = self.still_in(inode.data.borrow().sessions());
                self.blame(inode.gfid, plan.dirty & good & ours, missed, None, cred)
                    .await;
            }
            return missed.is_empty();
        }
        if !missed.is_empty() {
            inode.need_refresh();
            self.distrust(missed);
        }
        let generation = self.generation();
        // A brick that has dropped the lock with its session may have been healed since: its mark is not ours any more.
        let ours = self.still_in(inode.data.borrow().sessions());
        let told = self
            .clear_dirty(inode.gfid, plan.dirty & good & ours, missed, cred)
            .await;
        if generation == self.generation() {
            inode.set_blamed(generation, missed);
        }
        missed.is_empty() || self.quorum().met(told)
    }

    /// Syncs the file on `bricks`; returns where that worked. One whose disk takes much longer than those of a quorum
    /// counts as failed, to be healed later: whoever waits for the lock must not wait for it.
    async fn sync_before_post_op(&self, gfid: Gfid, bricks: BrickSet, cred: &GlusterfsCred) -> BrickSet {
        let xdata = Dict::new()
            .with("batch-fsync", Value::Int(1))
            .with("glusterfs-internal-fop", Value::str("yes"));
        let req = FsyncReq {
            gfid,
            fd: ANONYMOUS_FD,
            data: 1,
            xdata,
        };
        let mut pending = self.start_all(bricks, |_, s| s.call(cred, &req));
        let mut answers = Answers::new(self.bricks());
        let began = exec::now();
        let mut until = None;
        loop {
            let next = match until {
                Some(until) => exec::timeout(until - exec::now(), pending.next()).await,
                None => Ok(pending.next().await),
            };
            let Ok(Some((brick, answer))) = next else { break };
            answers.put(brick, answer);
            let now = exec::now();
            if until.is_none() && self.quorum().met(answers.ok()) {
                until = Some(now + (now - began).max(SYNC_GRACE));
            }
        }
        // The file is gone: there is nothing to be synced.
        let gone = answers.failed_with(Errno::ENOENT) | answers.failed_with(Errno::ESTALE);
        let synced = answers.ok() | gone;
        for brick in (bricks - synced).iter() {
            let (name, error) = (self.subvol(brick).name(), answers.error(brick));
            match error {
                Some(e) => tracing::warn!("{name}: fsync of {gfid} before post-op failed: {e}"),
                None => tracing::warn!("{name}: fsync of {gfid} before post-op takes too long"),
            }
        }
        synced
    }

    /// Dirty -1 where it is set, blame +1 for every brick of `missed`. Returns where that worked.
    async fn clear_dirty(&self, gfid: Gfid, bricks: BrickSet, missed: BrickSet, cred: &GlusterfsCred) -> BrickSet {
        let dirty = Some(Counters::in_slot(Slot::Data, -1));
        self.blame(gfid, bricks, missed, dirty, cred).await
    }

    /// Adds `dirty` to the dirty mark, if that is to change, and one to the blame of every brick of `missed`. Returns
    /// where that worked.
    async fn blame(
        &self,
        gfid: Gfid,
        bricks: BrickSet,
        missed: BrickSet,
        dirty: Option<Counters>,
        cred: &GlusterfsCred,
    ) -> BrickSet {
        if bricks.is_empty() {
            return bricks;
        }
        let blame = |b: usize| {
            if missed.contains(b) {
                Counters::in_slot(Slot::Data, 1)
            } else {
                Counters::ZERO
            }
        };
        let dict = self.0.keys.operand(dirty, blame);
        let req = XattropReq {
            gfid,
            flags: flags::xattrop::ADD_ARRAY,
            dict,
            xdata: Dict::null(),
        };
        let answers = self.ask(bricks, |_, s| s.call(cred, &req)).await;
        for brick in answers.failed().iter() {
            let error = answers.error(brick);
            // The file is gone: nothing is left to be marked.
            if !matches!(error, Some(Errno::ENOENT | Errno::ESTALE)) {
                tracing::warn!("{}: post-op of {gfid} failed: {error:?}", self.subvol(brick).name());
            }
        }
        let gone = answers.failed_with(Errno::ENOENT) | answers.failed_with(Errno::ESTALE);
        answers.ok() | gone
    }

    /// Gives up the data lock of an inode as soon as its operations are over, and waits for that. Post-op and unlock
    /// are done, or under way on bricks that are gone, when this returns.
    pub(super) async fn settle(&self, inode: &Rc<Inode>) {
        loop {
            let phase = inode.data.borrow().phase();
            match phase {
                Phase::Free => return,
                Phase::Acquiring | Phase::Releasing => inode.changed.notified().await,
                Phase::Held => {
                    let now = inode.data.borrow_mut().ask_release();
                    if now {
                        self.release_data_lock(inode, true).await;
                    } else {
                        inode.changed.notified().await;
                    }
                }
            }
        }
    }

    /// Waits until no operation is under way: every live brick has answered.
    pub(super) async fn quiesce(&self, inode: &Rc<Inode>) {
        while inode.data.borrow().is_active() {
            inode.changed.notified().await;
        }
    }

    /// Gives up every held data lock: the bricks have changed, or the client ends.
    pub async fn release_everything(&self) {
        let inodes = self.0.inodes.borrow().all();
        for inode in inodes {
            self.settle(&inode).await;
        }
    }
}

impl Inner {
    /// Asks for release of every held lock.
    pub(super) fn release_all_locks(self: &Inner) {
        let inodes = self.inodes.borrow().all();
        for inode in inodes {
            self.ask_release(&inode);
        }
    }

    /// Somebody else wants the lock of `gfid`.
    pub(super) fn release_lock(&self, gfid: Gfid) {
        let inode = self.inodes.borrow_mut().get(gfid);
        self.ask_release(&inode);
    }

    fn ask_release(&self, inode: &Rc<Inode>) {
        let now = inode.data.borrow_mut().ask_release();
        if now && let Some(set) = self.me() {
            set.release_soon(inode.clone());
        }
        inode.changed.notify_waiters();
    }
}

/// Frees a lock whose acquisition ended early.
struct AcquireGuard {
    inode: Rc<Inode>,
    acquired: bool,
}

impl Drop for AcquireGuard {
    fn drop(&mut self) {
        if !self.acquired {
            self.inode.data.borrow_mut().not_acquired();
        }
        self.inode.changed.notify_waiters();
    }
}

/// Marks the lock free when its release is over.
struct ReleaseGuard {
    inode: Rc<Inode>,
    recorded: bool,
}

impl Drop for ReleaseGuard {
    fn drop(&mut self) {
        self.inode.data.borrow_mut().released(self.recorded);
        self.inode.changed.notify_waiters();
    }
}

impl Course {
    async fn run(mut self, replies: Vec<(usize, Reply<Iatt2Rsp>)>) {
        let mut answers = Answers::new(self.set.bricks());
        let mut pending: FuturesUnordered<_> = replies
            .into_iter()
            .map(|(brick, reply)| async move { (brick, reply.await) })
            .collect();
        let mut contended = false;
        while let Some((brick, answer)) = pending.next().await {
            self.inode.write_answered(brick);
            contended |= answer
                .as_ref()
                .is_ok_and(|r| r.xdata().get_i64(INODELK_COUNT).unwrap_or(0) > 1);
            answers.put(brick, answer);
            self.acknowledge_early(&answers);
        }
        let failed = self.judge(&mut answers);
        self.finish(answers, failed, contended).await;
    }

    /// The majority has it and nobody failed: the application need not wait for the rest.
    fn acknowledge_early(&mut self, answers: &Answers<Iatt2Rsp>) {
        if !self.early || self.app.is_none() || !answers.failed().is_empty() {
            return;
        }
        let ok = answers.ok();
        if ok.len() >= self.needed
            && self.set.quorum().met(ok)
            && let (Some(app), Some(rsp)) = (self.app.take(), answers.best(None))
        {
            // A caller that went away needs no answer.
            let _ = app.send(Ok(rsp.clone()));
        }
    }

    /// Bricks that missed the operation: failures, and writes shorter than the longest.
    fn judge(&self, answers: &mut Answers<Iatt2Rsp>) -> BrickSet {
        let longest = answers.iter().map(|(_, r)| r.op_ret).max().unwrap_or(0);
        let short: BrickSet = answers
            .iter()
            .filter(|(_, r)| r.op_ret < longest)
            .map(|(b, _)| b)
            .collect();
        for brick in short.iter() {
            answers.put(brick, Err(Errno::EIO));
        }
        answers.failed()
    }

    async fn finish(mut self, answers: Answers<Iatt2Rsp>, failed: BrickSet, contended: bool) {
        let ok = answers.ok();
        let missed = failed | self.skipped;
        // An append that is lost in a crash is caught by the size rule of heal.
        let append = answers
            .iter()
            .all(|(_, r)| r.xdata().get_i64(WRITE_IS_APPEND) == Some(1));
        let mut end = Leave {
            contended,
            unstable: self.effect == Effect::Unstable && !append,
            synced: self.effect == Effect::Sync,
            must_sync: self.effect == Effect::Resize,
            ..Leave::default()
        };
        let mut result = if missed.is_empty() {
            answers.best(None).cloned().ok_or(Errno::ENOTCONN)
        } else if let Some(errno) = answers.symmetric_failure() {
            // Every brick says the same: the request is at fault, nobody has missed anything.
            end.unstable = false;
            Err(errno)
        } else if self.set.quorum().met(ok) {
            end.failed = missed;
            answers.best(None).cloned().ok_or(Errno::EIO)
        } else {
            end.broken = true;
            let errno = answers.errno();
            Err(if errno == Errno::ENOTCONN || self.set.is_staleness(&answers, errno) {
                self.set.quorum_of(ok).err().unwrap_or(Errno::EROFS)
            } else {
                errno
            })
        };
        end.done = result.is_ok();
        let releases = self.inode.data.borrow().releases();
        // What was cut off would come back from whoever missed it, the longest copy wins where nobody is blamed: with a
        // brick away, that must be on record, too.
        let cut = self.effect == Effect::Resize && self.set.quorum().met(ok) && ok.len() < self.set.bricks();
        end.contended |= cut;
        let blame_first = cut || !end.failed.is_empty();
        self.set.leave(&self.inode, self.ticket, &end);
        if blame_first && self.app.is_some() {
            // The application hears of success only when it is on record who missed it.
            while self.inode.data.borrow().releases() == releases {
                self.inode.changed.notified().await;
            }
            if result.is_ok() && !self.inode.data.borrow().recorded_since(releases) {
                result = Err(self.set.quorum_of(BrickSet::EMPTY).err().unwrap_or(Errno::EROFS));
            }
        }
        if let Some(app) = self.app.take() {
            let _ = app.send(result);
        } else if let Err(e) = result {
            tracing::error!(
                "{}: a write was acknowledged by a majority and then lost its quorum: {e}",
                self.inode.gfid
            );
        }
    }
}

/// The payload of a write as the bricks get it, and the xdata that asks for what AFR wants to know.
pub(super) fn write_xdata(domain: &Bytes) -> Dict {
    let text = String::from_utf8_lossy(domain);
    Dict::new()
        .with(WRITE_IS_APPEND, Value::Uint(4))
        .with("glusterfs.inodelk-dom-count", Value::str(&text))
        .with("glusterfs.open-active-fd-count", Value::Uint(4))
}
