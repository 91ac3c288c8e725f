//! A replica set whose bricks change: what of the old set goes over into its successor.
//!
//! Sessions, open files and POSIX locks of the bricks that stay do; what was learnt of inodes does not, since it is
//! written in brick numbers. When it may be done is [`crate::client::LiveVolume`]'s business.

use std::rc::Rc;
use std::sync::Arc;

use super::BrickSet;
use super::set::{Inner, ReplicaSet};
use crate::client::ClientSpec;

/// Counts background work as under way until it is dropped.
pub(super) struct BackgroundGuard(ReplicaSet);

impl Drop for BackgroundGuard {
    fn drop(&mut self) {
        let inner = &self.0.0;
        inner.background.set(inner.background.get().saturating_sub(1));
        inner.background_ended.notify_waiters();
    }
}

/// The bricks of `old` by the numbers they have in a set where brick `i` is what was brick `was[i]`.
fn renumbered(old: BrickSet, was: &[Option<usize>]) -> BrickSet {
    let kept = was.iter().enumerate();
    kept.filter(|(_, was)| was.is_some_and(|was| old.contains(was)))
        .map(|(index, _)| index)
        .collect()
}

impl ReplicaSet {
    pub(super) fn background_guard(&self) -> BackgroundGuard {
        self.0.background.set(self.0.background.get() + 1);
        BackgroundGuard(self.clone())
    }

    /// Waits until no work goes on in the background.
    pub async fn background_done(&self) {
        while self.0.background.get() > 0 {
            self.0.background_ended.notified().await;
        }
    }

    /// Whether no transaction, no write and no background work is under way.
    pub fn is_idle(&self) -> bool {
        self.0.background.get() == 0 && !self.0.inodes.borrow().any_active()
    }

    /// Whether both are the same set, not one the other's successor.
    pub fn is_same(&self, other: &ReplicaSet) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The set for `spec`, whose brick `i` is brick `was[i]` of this one, or new. Takes over the sessions, open files
    /// and locks of the bricks that stay; the others' sessions are ended. This set must be idle
    /// ([`ReplicaSet::is_idle`]) and is of no use afterwards.
    pub fn successor(&self, spec: Arc<ClientSpec>, was: &[Option<usize>]) -> ReplicaSet {
        let old: &Inner = &self.0;
        old.on_event.replace(None);
        old.fds.renumber(was);
        let kept = |index: usize| was.get(index).copied().flatten().map(|was| self.subvol(was).clone());
        let new = ReplicaSet::build(spec, old.fds.clone(), kept);
        let inner: &Inner = &new.0;
        inner.up.set(renumbered(old.up.get(), was));
        inner.trusted.set(renumbered(old.trusted.get(), was));
        inner.generation.set(old.generation.get().wrapping_add(1));
        inner.statuses.set(renumbered(old.statuses.get(), was));
        if inner.statuses.get().len() == new.bricks() {
            inner.ready.set();
        }
        inner.gfid_share.set(old.gfid_share.get());
        for inode in old.inodes.borrow().all() {
            if inode.posix_locked.get() {
                let heir = new.inode(inode.gfid);
                heir.posix_locked.set(true);
                heir.held.replace(inode.held.take());
            }
        }
        // The watch over the sessions begins anew: a brick that hangs just now is found out again.
        inner.up.get().iter().for_each(|brick| inner.monitor.connected(brick));
        for (index, subvol) in old.subvols.iter().enumerate() {
            if !was.contains(&Some(index)) {
                subvol.retire();
            }
        }
        new
    }
}
