//! Clients that hold a lock others want and whose machine has vanished (DESIGN.md P5).
//!
//! A client that lost its power or its network cannot give its locks back, and its connection ends only after
//! `transport.tcp-user-timeout`. So while a lock is wanted, its holders must at least acknowledge at the level of TCP:
//! who does not is disconnected. That is safe: the locks looked at are those of transactions, and a client that comes
//! back finds its connection reset and repeats or blames, as after any other end of it. A client that is merely busy, or
//! stopped, acknowledges: its machine does that.

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
/// How long after the last conflict the holders are looked at: whoever met it asks again, or waits.
const MEMORY: Duration = Duration::from_secs(3);

/// Inodes whose locks others want.
#[derive(Debug, Default)]
pub(super) struct Contended {
    /// When a conflict was last met, by inode.
    met: RefCell<BTreeMap<Gfid, Mono>>,
    looking: Cell<bool>,
}

impl Brick {
    /// A lock of `gfid` was wanted and is held.
    pub(super) fn contended(self: &Rc<Self>, gfid: Gfid) {
        self.contended.met.borrow_mut().insert(gfid, exec::now());
        if !self.contended.looking.replace(true) {
            let brick = Rc::clone(self);
            exec::spawn(async move {
                while brick.look_at_holders() {
                    exec::sleep(LOOK).await;
                }
                brick.contended.looking.set(false);
            });
        }
    }

    /// Whether it is worth to look again.
    fn look_at_holders(self: &Rc<Self>) -> bool {
        let now = exec::now();
        let waited_for = !self.waiting.borrow().is_empty();
        let mut met = self.contended.met.borrow_mut();
        // A call that waits keeps the inode it waits for, whichever that is; the table is small.
        met.retain(|gfid, at| now - *at < MEMORY || waited_for && self.locks.borrow().is_locked(*gfid));
        let gfids: Vec<Gfid> = met.keys().copied().collect();
        drop(met);
        let locks = self.locks.borrow();
        let holders: BTreeSet<ClientId> = gfids.iter().flat_map(|gfid| locks.holders(*gfid)).collect();
        drop(locks);
        let mut gone = Vec::new();
        for id in holders {
            let Some(client) = self.clients.borrow().get(id).cloned() else {
                continue;
            };
            let may_ask = client.admission.ours;
            let unheard = |c: &Rc<Conn>| c.unacknowledged(ASK, may_ask) >= GONE;
            gone.extend(client.connections().into_iter().filter(unheard));
        }
        for conn in gone.into_iter().filter(|c| !c.is_closed()) {
            tracing::warn!(
                peer = %conn.peer_text,
                "holds a lock that others want and has not acknowledged anything for {} ms, disconnecting",
                GONE.as_millis()
            );
            self.disconnected(
                &conn,
                "its machine did not acknowledge anything while others wanted its locks",
            );
        }
        !self.contended.met.borrow().is_empty()
    }
}
