//! Clients that hold a lock others want and whose machine has vanished (DESIGN.md P5).
//!
//! A client that lost its power or its network cannot give its locks back, and its connection ends only after
//! `transport.tcp-user-timeout`. So while a lock is wanted, its holders must at least acknowledge at the level of TCP:
//! who does not is disconnected. A client that is merely busy, or stopped, acknowledges: its machine does that.
//!
//! For the locks of transactions that is safe: a client that comes back finds its connection reset and repeats or blames,
//! as after any other end of it. Record locks belong to applications, which do not expect to lose one: their holders get
//! more time, and only those are looked at who stand in somebody's way. A client that was cut off from some bricks still
//! holds its lock on the others, where whoever wants it must ask, too.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::Brick;
use super::connection::Conn;
use crate::brick::locks::ClientId;
use crate::exec::{self, Mono};
use crate::wire::Gfid;

/// Between two looks at the holders.
const LOOK: Duration = Duration::from_millis(100);
/// How often a silent holder is asked for a sign of life.
const ASK: Duration = Duration::from_millis(300);
/// A machine that has not acknowledged for so long is gone. Three retransmissions fit into it.
const GONE: Duration = Duration::from_millis(650);
/// [`ASK`] and [`GONE`] for holders of record locks: an interruption of the network that short loses none.
const ASK_RECORD: Duration = Duration::from_millis(500);
const GONE_RECORD: Duration = Duration::from_millis(1500);
/// How long after the last conflict the holders are looked at: whoever met it asks again, or waits.
const MEMORY: Duration = Duration::from_secs(3);

/// Inodes whose locks others want.
#[derive(Debug, Default)]
pub(super) struct Contended {
    /// When a conflict was last met, by inode.
    met: RefCell<BTreeMap<Gfid, Mono>>,
    /// When record locks of these clients were last in somebody's way, by inode.
    records: RefCell<BTreeMap<Gfid, BTreeMap<ClientId, Mono>>>,
    looking: Cell<bool>,
}

impl Brick {
    /// A lock of `gfid` was wanted and is held.
    pub(super) fn contended(self: &Rc<Self>, gfid: Gfid) {
        self.contended.met.borrow_mut().insert(gfid, exec::now());
        self.start_looking();
    }

    /// Record locks that `holders` have of `gfid` are in somebody's way.
    pub(super) fn record_contended(self: &Rc<Self>, gfid: Gfid, holders: BTreeSet<ClientId>) {
        let now = exec::now();
        let mut records = self.contended.records.borrow_mut();
        let met = records.entry(gfid).or_default();
        met.extend(holders.into_iter().map(|id| (id, now)));
        drop(records);
        self.start_looking();
    }

    fn start_looking(self: &Rc<Self>) {
        if self.contended.looking.replace(true) {
            return;
        }
        let brick = Rc::clone(self);
        exec::spawn(async move {
            while brick.look_at_holders() {
                exec::sleep(LOOK).await;
            }
            brick.contended.looking.set(false);
        });
    }

    /// Whether it is worth to look again.
    fn look_at_holders(self: &Rc<Self>) -> bool {
        for id in self.transaction_holders() {
            self.look_at(id, ASK, GONE);
        }
        for id in self.record_holders() {
            self.look_at(id, ASK_RECORD, GONE_RECORD);
        }
        !(self.contended.met.borrow().is_empty() && self.contended.records.borrow().is_empty())
    }

    /// Who holds locks of transactions that others want.
    fn transaction_holders(&self) -> BTreeSet<ClientId> {
        let now = exec::now();
        let waited_for = !self.waiting.borrow().is_empty();
        let locks = self.locks.borrow();
        let mut met = self.contended.met.borrow_mut();
        // A call that waits keeps the inode it waits for, whichever that is; the table is small.
        met.retain(|gfid, at| now - *at < MEMORY || waited_for && locks.is_locked(*gfid));
        met.keys().flat_map(|gfid| locks.holders(*gfid)).collect()
    }

    /// Who holds record locks that others want.
    fn record_holders(&self) -> BTreeSet<ClientId> {
        let now = exec::now();
        let locks = self.locks.borrow();
        let mut records = self.contended.records.borrow_mut();
        let mut found = BTreeSet::new();
        records.retain(|gfid, met| {
            // Who is in the way of those that wait changes with every grant.
            let (waited_for, blocking) = locks.record_blockers(*gfid);
            let held: BTreeSet<ClientId> = locks.posix_held(*gfid).iter().map(|l| l.owner.client).collect();
            met.retain(|id, at| now - *at < MEMORY && held.contains(id));
            found.extend(met.keys().copied().chain(blocking));
            waited_for || !met.is_empty()
        });
        found
    }

    /// Disconnects a client whose machine has not acknowledged anything for `gone`, and asks one that is silent.
    fn look_at(self: &Rc<Self>, id: ClientId, ask: Duration, gone: Duration) {
        let Some(client) = self.clients.borrow().get(id).cloned() else {
            return;
        };
        let may_ask = client.admission.ours;
        let unheard = |c: &Rc<Conn>| c.unacknowledged(ask, may_ask) >= gone && !c.is_closed();
        for conn in client.connections().into_iter().filter(unheard) {
            tracing::warn!(
                peer = %conn.peer_text,
                "holds a lock that others want and has not acknowledged anything for {} ms, disconnecting",
                gone.as_millis()
            );
            self.disconnected(
                &conn,
                "its machine did not acknowledge anything while others wanted its locks",
            );
        }
    }
}
