//! The replica set of one core: its bricks, their state, and the requests that go to several of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;

use super::answers::Answers;
use super::hedge::Budget;
use super::inode::{Inode, InodeTable};
use super::pending::PendingKeys;
use super::readable::ReadPolicy;
use super::{BrickSet, Quorum};
use crate::client::health::{Health, Record, State, Transition};
use crate::client::{Caller, ClientOptions, ClientSpec, Fd, FdTable, Monitor, Reply, Subvol, SubvolEvents};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::exec::sync::{Event, Notify};
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{Flock, FopRsp};
use crate::wire::xdr::Xdr;
use crate::wire::{Gfid, OldDict};

/// Inodes nobody uses that are remembered (`lru-limit` of the C client).
const INODES_REMEMBERED: usize = 65536;

/// A replica set. Cheap to clone.
#[derive(Clone)]
pub struct ReplicaSet(pub(super) Rc<Inner>);

pub(super) struct Inner {
    spec: RefCell<Arc<ClientSpec>>,
    /// The options of `spec`; replaced as a whole when the volfile changes, so whoever took them keeps what it saw.
    options: RefCell<Rc<ClientOptions>>,
    pub(super) subvols: Vec<Subvol>,
    pub(super) monitor: Rc<Monitor>,
    pub(super) keys: PendingKeys,
    quorum: Cell<Quorum>,
    policy: Cell<ReadPolicy>,
    /// Bricks on this machine.
    local: BrickSet,
    /// Lock domain of all transactions: the name of the replicate block.
    pub(super) domain: Bytes,
    pub(super) fds: Rc<FdTable>,
    pub(super) inodes: RefCell<InodeTable>,
    pub(super) up: Cell<BrickSet>,
    /// Bricks known not to have missed anything: reads may go to them even without a quorum.
    pub(super) trusted: Cell<BrickSet>,
    /// Grows with every brick that comes or goes; judgements of an older generation are asked again.
    pub(super) generation: Cell<u32>,
    /// Set once the first status of every brick is known.
    pub(super) ready: Event,
    pub(super) statuses: Cell<BrickSet>,
    /// How often each brick could not be reached.
    failures: RefCell<Vec<u32>>,
    pub(super) on_event: RefCell<Option<EventHandler>>,
    me: Weak<Inner>,
    /// New files' inode numbers leave this rest when divided by that many cores.
    pub(super) gfid_share: Cell<(u64, u64)>,
    /// How many reads may be sent to a second brick.
    pub(super) hedges: Budget,
    /// Work that goes on after its operation was answered.
    pub(super) background: Cell<usize>,
    pub(super) background_ended: Notify,
    /// Inodes a healer of this core is at, or whose names are looked at for one.
    pub(super) healing: RefCell<BTreeSet<Gfid>>,
}

fn read_policy(spec: &ClientSpec, local: BrickSet) -> ReadPolicy {
    ReadPolicy {
        pinned: spec.options.read_subvolume,
        local: if spec.options.choose_local {
            local
        } else {
            BrickSet::EMPTY
        },
        hash_mode: spec.options.read_hash_mode,
        client_pid: std::process::id(),
        bricks: spec.bricks.len(),
    }
}

/// A random gfid.
pub(super) fn new_gfid() -> Gfid {
    let mut bytes = [0; 16];
    crate::exec::fill_random(&mut bytes);
    Gfid::from_random(bytes)
}

/// Who is told of [`BrickEvent`]s.
type EventHandler = Box<dyn Fn(BrickEvent)>;

/// A brick came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrickEvent {
    /// The brick may be used.
    Up(usize),
    /// The brick may not be used: why.
    Down(usize, String),
    /// What is thought of the brick has changed.
    Health(usize, Transition),
    /// An operation cannot be done without bricks that are away: they are to be tried at once.
    Wanted,
}

impl std::fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaSet")
            .field("volume", &self.0.spec.borrow().volume)
            .field("up", &self.0.up.get())
            .finish()
    }
}

impl ReplicaSet {
    /// The set `spec` describes, with no brick connected. To be made on the core that will use it.
    pub fn new(spec: Arc<ClientSpec>) -> ReplicaSet {
        ReplicaSet::build(spec, Rc::new(FdTable::default()), |_| None)
    }

    /// A set for `spec` that uses the sessions `kept` has for some of its bricks, and the open files of `fds`.
    pub(super) fn build(spec: Arc<ClientSpec>, fds: Rc<FdTable>, kept: impl Fn(usize) -> Option<Subvol>) -> ReplicaSet {
        let bricks = spec.bricks.len();
        let local = spec
            .bricks
            .iter()
            .enumerate()
            .filter(|(_, b)| b.local)
            .map(|(i, _)| i)
            .collect();
        let inner = Rc::new_cyclic(|me: &Weak<Inner>| {
            let events: Weak<dyn SubvolEvents> = me.clone();
            let health = Health::new(bricks, spec.options.probe_timeout, spec.options.ping_timeout);
            let monitor = Monitor::new(&spec.volume, bricks, health, events.clone());
            Inner {
                subvols: (0..bricks)
                    .map(|i| match kept(i) {
                        Some(subvol) => {
                            subvol.move_to(i, spec.clone(), events.clone());
                            subvol
                        }
                        None => Subvol::new(i, spec.clone(), fds.clone(), events.clone()),
                    })
                    .collect(),
                monitor,
                keys: PendingKeys::new(spec.bricks.iter().map(|b| b.pending_name.as_str())),
                quorum: Cell::new(Quorum::new(bricks, spec.options.quorum)),
                policy: Cell::new(read_policy(&spec, local)),
                local,
                domain: Bytes::from(spec.replicate.clone()),
                inodes: RefCell::new(InodeTable::new(bricks, INODES_REMEMBERED, exec::random_u64())),
                up: Cell::new(BrickSet::EMPTY),
                trusted: Cell::new(BrickSet::EMPTY),
                generation: Cell::new(1),
                ready: Event::new(),
                statuses: Cell::new(BrickSet::EMPTY),
                failures: RefCell::new(vec![0; bricks]),
                on_event: RefCell::new(None),
                me: me.clone(),
                gfid_share: Cell::new((1, 0)),
                hedges: Budget::default(),
                background: Cell::new(0),
                background_ended: Notify::new(),
                healing: RefCell::default(),
                fds,
                options: RefCell::new(Rc::new(spec.options.clone())),
                spec: RefCell::new(spec),
            }
        });
        ReplicaSet(inner)
    }

    /// Takes over the options of `spec`, which has the same bricks: the next operation works by them. Operations under
    /// way finish by what they began with, except that the quorum is the new one from now on.
    pub fn set_options(&self, spec: &Arc<ClientSpec>) {
        let inner = &self.0;
        inner.quorum.set(Quorum::new(self.bricks(), spec.options.quorum));
        inner.policy.set(read_policy(spec, inner.local));
        let options = &spec.options;
        inner.monitor.set_timeouts(options.probe_timeout, options.ping_timeout);
        inner.options.replace(Rc::new(options.clone()));
        inner.spec.replace(spec.clone());
        inner.subvols.iter().for_each(|subvol| subvol.set_spec(spec.clone()));
        if !spec.options.eager_lock {
            inner.release_all_locks();
        }
    }

    /// What is told whenever a brick comes or goes.
    pub fn on_event(&self, told: impl Fn(BrickEvent) + 'static) {
        self.0.on_event.replace(Some(Box::new(told)));
    }

    /// Gives new files (not directories, which spread the load) inode numbers that leave `rest` when divided by
    /// `cores`: where several cores share a mount by inode number, a new file then belongs to the core that made it.
    pub fn share_gfids(&self, cores: usize, rest: usize) {
        if rest < cores {
            self.0.gfid_share.set((cores as u64, rest as u64));
        }
    }

    /// A gfid for a new file, see [`ReplicaSet::share_gfids`].
    pub(super) fn new_file_gfid(&self) -> Gfid {
        let (cores, rest) = self.0.gfid_share.get();
        loop {
            let gfid = new_gfid();
            if gfid.ino() % cores == rest {
                return gfid;
            }
        }
    }

    /// The topology.
    pub fn spec(&self) -> Arc<ClientSpec> {
        self.0.spec.borrow().clone()
    }

    /// Options of the graph, as they are now: [`ReplicaSet::set_options`] may change them at any wait.
    pub fn options(&self) -> Rc<ClientOptions> {
        self.0.options.borrow().clone()
    }

    /// Which brick of several to read from.
    pub(super) fn policy(&self) -> ReadPolicy {
        self.0.policy.get()
    }

    /// Bricks on this machine.
    pub fn local(&self) -> BrickSet {
        self.0.local
    }

    /// Number of bricks.
    pub fn bricks(&self) -> usize {
        self.0.subvols.len()
    }

    /// Bricks that are up.
    pub fn up(&self) -> BrickSet {
        self.0.up.get()
    }

    /// Bricks that may serve reads without a quorum.
    pub fn trusted(&self) -> BrickSet {
        self.0.trusted.get()
    }

    /// Whether every brick is up and known not to have missed anything.
    pub fn is_whole(&self) -> bool {
        self.trusted() == BrickSet::first(self.bricks())
    }

    /// The current generation.
    pub fn generation(&self) -> u32 {
        self.0.generation.get()
    }

    /// The session with one brick.
    pub fn subvol(&self, brick: usize) -> &Subvol {
        &self.0.subvols[brick]
    }

    /// What is thought of a brick, and what was before.
    pub fn health(&self, brick: usize) -> Record {
        self.0.monitor.record(brick)
    }

    /// The state of one inode.
    pub fn inode(&self, gfid: Gfid) -> Rc<Inode> {
        self.0.inodes.borrow_mut().get(gfid)
    }

    /// The state of an inode that is already known.
    pub(super) fn inode_if_known(&self, gfid: Gfid) -> Option<Rc<Inode>> {
        self.0.inodes.borrow().known(gfid)
    }

    /// Waits until operations may be answered: all bricks have given a first status, or the start-up wait is over.
    pub async fn ready(&self) {
        self.0.ready.wait().await;
    }

    /// Notes that `brick` cannot be reached now, which is a first status, too.
    pub fn unreachable(&self, brick: usize) {
        if let Some(count) = self.0.failures.borrow_mut().get_mut(brick) {
            *count = count.wrapping_add(1);
        }
        self.0.first_status(brick);
    }

    /// How often each brick could not be reached.
    pub(super) fn failures(&self) -> Vec<u32> {
        self.0.failures.borrow().clone()
    }

    /// Ends the start-up wait with the bricks there are.
    pub fn end_start_up(&self) {
        self.0.ready.set();
    }

    /// `brick` holds everything its peers hold: it may serve reads even when it is alone.
    pub fn trust(&self, brick: usize) {
        let mut trusted = self.0.trusted.get();
        trusted.insert(brick);
        self.0.trusted.set(trusted & self.up());
    }

    /// `bricks` missed something: they may not serve reads on their own until they are confirmed again.
    pub(super) fn distrust(&self, bricks: BrickSet) {
        self.0.trusted.set(self.0.trusted.get() - bricks);
    }

    /// Sends one request to every brick of `set` at once and waits for all answers. `start` sends it to one brick.
    pub async fn ask<T: Xdr + FopRsp>(&self, set: BrickSet, start: impl Fn(usize, &Subvol) -> Reply<T>) -> Answers<T> {
        self.collect(set.iter().map(|b| (b, start(b, self.subvol(b)))).collect())
            .await
    }

    /// Waits for the answers to requests that were sent.
    pub(super) async fn collect<T: Xdr + FopRsp>(&self, under_way: Vec<(usize, Reply<T>)>) -> Answers<T> {
        let mut answers = Answers::new(self.bricks());
        for (brick, reply) in under_way {
            answers.put(brick, reply.await);
        }
        answers
    }

    /// The credential of a request made for `caller`, stamped for the utime flags `flags`.
    pub fn cred(&self, caller: &Caller, flags: u32) -> GlusterfsCred {
        let lk_owner = match caller.lk_owner {
            0 => Bytes::copy_from_slice(&caller.pid.to_le_bytes()),
            owner => Bytes::copy_from_slice(&owner.to_le_bytes()),
        };
        let groups = if self.options().send_gids {
            caller.groups.to_vec()
        } else {
            Vec::new()
        };
        let cred = GlusterfsCred {
            pid: if self.client_pid() < 0 {
                self.client_pid()
            } else {
                caller.pid
            },
            uid: caller.uid,
            gid: caller.gid,
            groups,
            lk_owner,
            ..GlusterfsCred::default()
        };
        self.stamped(cred, flags)
    }

    /// The credential of a lock, changelog or background request of our own.
    pub fn own_cred(&self, lk_owner: u64) -> GlusterfsCred {
        GlusterfsCred {
            pid: self.client_pid(),
            lk_owner: Bytes::copy_from_slice(&lk_owner.to_le_bytes()),
            ..GlusterfsCred::default()
        }
    }

    fn client_pid(&self) -> i32 {
        self.0.spec.borrow().client_pid
    }

    fn stamped(&self, mut cred: GlusterfsCred, flags: u32) -> GlusterfsCred {
        // The limit is a count of groups less the bytes of the owner (wire-protocol.md 1.5).
        cred.groups
            .truncate(crate::wire::auth::V3_OWNER_AND_GROUPS.saturating_sub(cred.lk_owner.len()));
        if flags != 0 && self.options().utime {
            let now = exec::wall_clock();
            cred.flags = flags;
            cred.ctime_sec = now.sec as u64;
            cred.ctime_nsec = now.nsec;
        }
        cred
    }

    /// A lock owner for one transaction.
    pub(super) fn new_owner(&self) -> u64 {
        self.0.inodes.borrow_mut().owner()
    }

    /// Refuses a modification that has no write quorum, or a read-only volume.
    ///
    /// # Errors
    /// `EROFS` (DESIGN.md P6), `ENOTCONN` with no brick at all.
    pub fn writable(&self) -> FsResult<()> {
        if self.options().read_only {
            return Err(Errno::EROFS);
        }
        self.quorum_of(self.up())
    }

    /// Whether `set` may decide a modification.
    ///
    /// # Errors
    /// As [`ReplicaSet::writable`].
    pub fn quorum_of(&self, set: BrickSet) -> FsResult<()> {
        if self.quorum().met(set) {
            return Ok(());
        }
        Err(if self.up().is_empty() {
            Errno::ENOTCONN
        } else {
            Errno::EROFS
        })
    }

    /// The quorum rule.
    pub fn quorum(&self) -> Quorum {
        self.0.quorum.get()
    }

    /// The sessions there are now, by brick: see [`ReplicaSet::opened`].
    pub(super) fn sessions(&self) -> Vec<Option<u64>> {
        self.0.subvols.iter().map(Subvol::session_id).collect()
    }

    /// Notes the number a brick gave `fd` in one of `sessions`. While the other bricks were waited for, that session
    /// may have ended and the number with it: the anonymous fd serves until the file is opened again.
    pub(super) fn opened(&self, fd: &Fd, brick: usize, number: i64, sessions: &[Option<u64>]) {
        if self.subvol(brick).session_id() == sessions.get(brick).copied().flatten() {
            fd.set_remote(brick, Some(number));
        }
    }

    /// The bricks whose session is still that of `sessions`: the others have dropped the locks that were taken in it.
    pub(super) fn still_in(&self, sessions: &[Option<u64>]) -> BrickSet {
        let now = self.sessions();
        let same = |b: &usize| now.get(*b).copied().flatten().is_some() && now.get(*b) == sessions.get(*b);
        (0..self.bricks()).filter(same).collect()
    }

    /// Sends `fd`'s OPEN to bricks that were away when it was opened.
    pub(super) fn open_late(&self, fd: &Fd) {
        let late = self.up() - fd.open_on() - fd.opening();
        for brick in (late - self.lagging(late)).iter() {
            self.subvol(brick).open_late(fd, &self.own_cred(0));
        }
    }
}

impl Inner {
    /// The set this belongs to, unless it is being dropped.
    pub(super) fn me(&self) -> Option<ReplicaSet> {
        self.me.upgrade().map(ReplicaSet)
    }

    fn first_status(&self, brick: usize) {
        let mut known = self.statuses.get();
        known.insert(brick);
        self.statuses.set(known);
        if known.len() == self.subvols.len() {
            self.ready.set();
        }
    }

    /// One line of the log for each change.
    fn note_health(&self, brick: usize, change: &Transition) {
        let (volume, name) = (self.spec.borrow().volume.clone(), self.subvols[brick].name());
        match change.to {
            State::Up => tracing::info!("{volume}: {name}: {change}"),
            State::Suspect | State::Down => tracing::warn!("{volume}: {name}: {change}"),
        }
    }

    fn changed(&self, event: BrickEvent) {
        self.generation.set(self.generation.get().wrapping_add(1));
        self.tell(event);
    }

    pub(super) fn tell(&self, event: BrickEvent) {
        if let Some(told) = &*self.on_event.borrow() {
            told(event);
        }
    }
}

impl SubvolEvents for Inner {
    fn up(&self, brick: usize) {
        let mut up = self.up.get();
        up.insert(brick);
        self.up.set(up);
        self.monitor.connected(brick);
        self.changed(BrickEvent::Up(brick));
        self.first_status(brick);
        // A held lock does not cover the new brick: it is given up so that the next write includes it.
        self.release_all_locks();
    }

    fn down(&self, brick: usize, why: &str) {
        let mut up = self.up.get();
        up.remove(brick);
        self.up.set(up);
        let mut trusted = self.trusted.get();
        trusted.remove(brick);
        self.trusted.set(trusted);
        self.monitor.ended(brick, why);
        self.changed(BrickEvent::Down(brick, why.to_string()));
    }

    fn monitor(&self) -> &Rc<Monitor> {
        &self.monitor
    }

    fn subvols(&self) -> &[Subvol] {
        &self.subvols
    }

    fn health(&self, brick: usize, change: &Transition) {
        self.note_health(brick, change);
        self.tell(BrickEvent::Health(brick, change.clone()));
    }

    fn quorum(&self, set: BrickSet) -> bool {
        self.quorum.get().met(set)
    }

    fn blamed(&self, gfid: Gfid, blamed: &OldDict) {
        let named = |b: &usize| {
            let key = std::str::from_utf8(&self.keys.blame(*b).0);
            key.is_ok_and(|key| blamed.get_str(key).is_some())
        };
        let bricks: BrickSet = (0..self.subvols.len()).filter(named).collect();
        self.trusted.set(self.trusted.get() - bricks);
        if let Some(inode) = self.inodes.borrow().known(gfid) {
            inode.need_refresh();
        }
    }

    fn held_locks(&self) -> Vec<(Fd, Flock)> {
        self.inodes.borrow().held()
    }

    fn inodelk_contention(&self, _brick: usize, gfid: Gfid, domain: &[u8]) {
        if domain == self.domain {
            self.release_lock(gfid);
        }
    }

    fn entrylk_contention(&self, _brick: usize, _gfid: Gfid, _name: &[u8]) {
        // Entry locks are not kept beyond their operation: there is nothing to give up early.
    }
}
