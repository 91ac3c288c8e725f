//! What a client remembers of an inode: which copies are good, the data lock it may hold, writes under way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::BrickSet;
use super::data_lock::DataLock;
use super::held::HeldLocks;
use super::readable::Readable;
use crate::client::Fd;
use crate::exec::sync::Notify;
use crate::wire::Gfid;
use crate::wire::fop::Flock;

/// The state of one inode on this core. Everything may be forgotten when nobody holds it: it is learnt again.
#[derive(Debug)]
pub struct Inode {
    /// Its identity.
    pub gfid: Gfid,
    /// The good copies, and the generation of the set they were judged in.
    readable: Cell<Option<(u32, Readable)>>,
    /// The data lock and the transaction under it.
    pub(super) data: RefCell<DataLock>,
    /// Woken whenever `data` or `in_flight` changes.
    pub(super) changed: Notify,
    /// Writes sent and not answered, per brick: such a brick may not show what the application was told is written.
    in_flight: RefCell<Vec<u32>>,
    /// Bricks that are on record as having missed writes of this client, and the generation in which that was recorded.
    blamed: Cell<(u32, BrickSet)>,
    /// Whether this client ever took a POSIX lock here: FLUSH has something to release then.
    pub(super) posix_locked: Cell<bool>,
    /// Those it holds now.
    pub(super) held: RefCell<HeldLocks>,
}

impl Inode {
    fn new(gfid: Gfid, bricks: usize, owner: u64) -> Inode {
        Inode {
            gfid,
            readable: Cell::new(None),
            data: RefCell::new(DataLock::new(owner)),
            changed: Notify::new(),
            in_flight: RefCell::new(vec![0; bricks]),
            blamed: Cell::default(),
            posix_locked: Cell::new(false),
            held: RefCell::default(),
        }
    }

    /// The good copies, if they were judged in `generation`.
    pub fn readable(&self, generation: u32) -> Option<Readable> {
        self.readable.get().filter(|(g, _)| *g == generation).map(|(_, r)| r)
    }

    /// The good copies as last judged, however long ago.
    pub fn readable_stale(&self) -> Option<Readable> {
        self.readable.get().map(|(_, r)| r)
    }

    /// Notes a judgement.
    pub fn set_readable(&self, generation: u32, readable: Readable) {
        self.readable.set(Some((generation, readable)));
    }

    /// The next read must ask the bricks again.
    pub fn need_refresh(&self) {
        self.readable.set(None);
        self.blamed.set((0, BrickSet::EMPTY));
    }

    /// Notes that it is on record in `generation` that `missed` missed writes of this client.
    pub(super) fn set_blamed(&self, generation: u32, missed: BrickSet) {
        self.blamed.set((generation, missed));
    }

    /// Whether a brick has missed writes under the lock that is held and is not on record for that.
    pub(super) fn owes_blame(&self, generation: u32, bricks: usize) -> bool {
        let (since, blamed) = self.blamed.get();
        let recorded = if since == generation { blamed } else { BrickSet::EMPTY };
        let good = self.data.borrow().good();
        good.is_some_and(|good| !(BrickSet::first(bricks) - good - recorded).is_empty())
    }

    pub(super) fn write_sent(&self, brick: usize) {
        if let Some(n) = self.in_flight.borrow_mut().get_mut(brick) {
            *n += 1;
        }
    }

    pub(super) fn write_answered(&self, brick: usize) {
        if let Some(n) = self.in_flight.borrow_mut().get_mut(brick) {
            *n = n.saturating_sub(1);
        }
        self.changed.notify_waiters();
    }

    /// Bricks that may not show what was written: with a write under way, or without the lock that is held (a brick that
    /// is there but did not grant it, or failed under it).
    pub(super) fn busy(&self) -> BrickSet {
        let in_flight = self.in_flight.borrow();
        let busy = in_flight.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, _)| i);
        let good = self.data.borrow().good();
        let without = good.map_or(BrickSet::EMPTY, |good| BrickSet::first(in_flight.len()) - good);
        busy.collect::<BrickSet>() | without
    }
}

/// The inodes this core knows, by gfid.
#[derive(Debug)]
pub struct InodeTable {
    map: BTreeMap<Gfid, Rc<Inode>>,
    bricks: usize,
    limit: usize,
    next_owner: u64,
}

impl InodeTable {
    /// At most about `limit` inodes that nobody uses are remembered. `owner_seed` makes lock owners of two processes
    /// differ in logs; the server tells them apart by connection anyway.
    pub fn new(bricks: usize, limit: usize, owner_seed: u64) -> InodeTable {
        InodeTable {
            map: BTreeMap::new(),
            bricks,
            limit,
            next_owner: owner_seed | 1,
        }
    }

    /// The state of `gfid`, new if it was not known.
    pub fn get(&mut self, gfid: Gfid) -> Rc<Inode> {
        if let Some(inode) = self.map.get(&gfid) {
            return inode.clone();
        }
        if self.map.len() >= self.limit {
            self.prune();
        }
        let owner = self.owner();
        let inode = Rc::new(Inode::new(gfid, self.bricks, owner));
        self.map.insert(gfid, inode.clone());
        inode
    }

    /// The state of `gfid` if it is in memory.
    pub fn known(&self, gfid: Gfid) -> Option<Rc<Inode>> {
        self.map.get(&gfid).cloned()
    }

    /// A lock owner no other transaction of this core uses.
    pub fn owner(&mut self) -> u64 {
        self.next_owner = self.next_owner.wrapping_add(2);
        self.next_owner
    }

    /// Every inode in memory.
    pub fn all(&self) -> Vec<Rc<Inode>> {
        self.map.values().cloned().collect()
    }

    /// Whether a transaction or a write is under way on any inode.
    pub fn any_active(&self) -> bool {
        self.map
            .values()
            .any(|inode| !inode.data.borrow().is_free() || !inode.busy().is_empty())
    }

    /// Every lock held on any inode.
    pub fn held(&self) -> Vec<(Fd, Flock)> {
        self.map.values().flat_map(|inode| inode.held.borrow().all()).collect()
    }

    /// Forgets what nobody holds and no lock or write hangs on.
    fn prune(&mut self) {
        self.map.retain(|_, inode| {
            Rc::strong_count(inode) > 1
                || !inode.data.borrow().is_free()
                || !inode.busy().is_empty()
                || !inode.held.borrow().is_empty()
        });
    }
}
