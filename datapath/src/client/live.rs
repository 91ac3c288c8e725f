//! The volume of one core while its bricks change: add-brick, remove-brick and replace-brick without a remount.
//!
//! A change is a moment at which nothing is under way: new operations wait at the gate, those inside finish, delayed
//! post-ops are done and locks of transactions given back. Then the set is exchanged for its successor
//! ([`crate::replicate::ReplicaSet::successor`]), which takes over the sessions, open files and POSIX locks of the bricks
//! that stay. A brick that joins is to the successor a brick that is down until its session is made: what it misses is
//! blamed on it, so nothing depends on when each core makes the change. The gate opens when the new bricks have
//! been tried once, lest a set that needs them for its quorum refuses writes meanwhile.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::places::Places;
use super::spec::ClientSpec;
use super::{Caller, Fd, LkOp};
use crate::errno::FsResult;
use crate::exec;
use crate::exec::sync::Notify;
use crate::replicate::ReplicaSet;
use crate::wire::fop::Flock;

/// How long the gate stays closed for operations that do not finish, before those that wait are let through again and
/// the change is put off.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a change was put off.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
/// How long the gate waits for new bricks.
const JOIN_LIMIT: Duration = Duration::from_secs(3);

/// A volume whose bricks may change. Cheap to clone.
#[derive(Clone)]
pub struct LiveVolume(Rc<Inner>);

struct Inner {
    set: RefCell<ReplicaSet>,
    places: RefCell<Places>,
    closed: Cell<bool>,
    inside: Cell<usize>,
    changed: Notify,
}

impl fmt::Debug for LiveVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveVolume")
            .field("set", &self.0.set)
            .field("closed", &self.0.closed)
            .field("inside", &self.0.inside)
            .finish_non_exhaustive()
    }
}

impl From<ReplicaSet> for LiveVolume {
    fn from(set: ReplicaSet) -> LiveVolume {
        LiveVolume(Rc::new(Inner {
            places: RefCell::new(Places::new(set.bricks())),
            set: RefCell::new(set),
            closed: Cell::new(false),
            inside: Cell::new(0),
            changed: Notify::new(),
        }))
    }
}

/// The right to work on the volume as it is: its bricks do not change meanwhile.
pub struct Entered {
    set: ReplicaSet,
    volume: LiveVolume,
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)
    }
}

impl Deref for Entered {
    type Target = ReplicaSet;

    fn deref(&self) -> &ReplicaSet {
        &self.set
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let inner = &self.volume.0;
        inner.inside.set(inner.inside.get().saturating_sub(1));
        if inner.closed.get() {
            inner.changed.notify_waiters();
        }
    }
}

impl LiveVolume {
    /// The replica set there is now. It may be succeeded at any wait; for operations use [`LiveVolume::enter`].
    pub fn current(&self) -> ReplicaSet {
        self.0.set.borrow().clone()
    }

    /// Waits until the volume may be worked on. Not for what may last for ever.
    pub async fn enter(&self) -> Entered {
        while self.0.closed.get() {
            self.0.changed.notified().await;
        }
        self.0.inside.set(self.0.inside.get() + 1);
        Entered {
            set: self.current(),
            volume: self.clone(),
        }
    }

    /// [`ReplicaSet::lk`]. One that waits for its turn is not waited for by a change of bricks: when it is granted by
    /// the bricks it was sent to, those that joined meanwhile are asked too.
    ///
    /// # Errors
    /// As [`ReplicaSet::lk`].
    pub async fn lk(&self, caller: &Caller, fd: &Fd, op: LkOp, lock: &Flock) -> FsResult<Flock> {
        let entered = self.enter().await;
        if op != LkOp::SetWait {
            return entered.lk(caller, fd, op, lock).await;
        }
        let set = (*entered).clone();
        drop(entered);
        let granted = set.lk(caller, fd, op, lock).await?;
        let entered = self.enter().await;
        if entered.is_same(&set) {
            Ok(granted)
        } else {
            entered.lk(caller, fd, LkOp::Set, lock).await
        }
    }

    /// The index of the brick at `place`.
    pub(super) fn index(&self, place: usize) -> Option<usize> {
        self.0.places.borrow().index(place)
    }

    /// The place of the brick with this index.
    pub(super) fn place(&self, index: usize) -> Option<usize> {
        self.0.places.borrow().of(index)
    }

    /// Exchanges the set for one with the bricks of `spec`, when nothing is under way. The gate stays closed: see
    /// [`LiveVolume::open_gate`]. Returns the places of the bricks that joined.
    pub(super) async fn change_bricks(&self, spec: Arc<ClientSpec>) -> Vec<usize> {
        self.0.closed.set(true);
        while exec::timeout(DRAIN_LIMIT, self.drain()).await.is_err() {
            tracing::warn!("operations do not end: the change of the volume's bricks is put off");
            self.unbar();
            exec::sleep(DRAIN_PAUSE).await;
            self.0.closed.set(true);
        }
        // Nothing waits from here on: nobody sees the volume between its two shapes.
        let old = self.current();
        let was = self.0.places.borrow_mut().change(&old.spec().bricks, &spec.bricks);
        let new = old.successor(spec, &was);
        self.0.set.replace(new);
        let joined = was.iter().enumerate().filter(|(_, was)| was.is_none());
        joined.filter_map(|(index, _)| self.place(index)).collect()
    }

    /// Waits until nothing is under way and no lock of a transaction is held.
    async fn drain(&self) {
        let set = self.current();
        loop {
            while self.0.inside.get() > 0 {
                self.0.changed.notified().await;
            }
            set.release_everything().await;
            set.background_done().await;
            if self.0.inside.get() == 0 && set.is_idle() {
                return;
            }
        }
    }

    /// Lets operations in when every brick of the new set has been tried, at the latest after some seconds.
    pub(super) async fn open_gate(&self) {
        let set = self.current();
        // Late bricks are to the set what bricks are that are down.
        let _ = exec::timeout(JOIN_LIMIT, set.ready()).await;
        set.end_start_up();
        self.unbar();
    }

    fn unbar(&self) {
        self.0.closed.set(false);
        self.0.changed.notify_waiters();
    }
}
