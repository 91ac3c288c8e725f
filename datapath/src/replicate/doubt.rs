//! Names that good bricks have differently although none of them is accused: a client has ended between its requests to
//! the bricks, with all of them there and so without a mark. Nothing is decided here: whoever meets such a name marks its
//! directory, and the self-heal daemon compares the names (name heal, brick-and-replicate.md E.4).

use std::time::Duration;

use bytes::Bytes;

use super::entry::ChangedName;
use super::locking::LockObject;
use super::lookup::{Found, having, name_lookup, states_of};
use super::pending::Slot;
use super::readable::judge;
use super::set::ReplicaSet;
use super::{Answers, BrickSet};
use crate::errno::{Errno, FsResult};
use crate::wire::Gfid;
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::Iatt2Rsp;

/// How long somebody may be at work under the name: he makes the bricks alike, or leaves a mark.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bricks to mark for a name they have differently, of those that said the directory is as in `found`: good ones
/// that have the name. Empty when there is no difference among good ones, or when it is known already.
fn to_mark(found: &Found, answers: &Answers<Iatt2Rsp>) -> BrickSet {
    let dirty = |t: &super::readable::Testimony| t.pending.dirty.slot(Slot::Entry) != 0;
    if found.said.iter().flatten().any(dirty) {
        return BrickSet::EMPTY;
    }
    let good = judge(&found.said).data;
    let mut states = states_of(answers).into_iter().filter(|(b, _)| good.contains(*b));
    match states.next() {
        Some((_, first)) if states.any(|(_, state)| state != first) => good - having(answers, None),
        _ => BrickSet::EMPTY,
    }
}

impl ReplicaSet {
    /// Has `name` looked at by the self-heal daemon, if it is still not the same on all good bricks when nobody is at
    /// work under it. In the background: who looked the name up has been answered.
    pub(super) fn doubt(&self, dir: Gfid, name: Bytes) {
        // One name leads to the heal of all of the directory.
        if self.options().read_only || !self.0.healing.borrow_mut().insert(dir) {
            return;
        }
        let set = self.clone();
        self.later(async move {
            if let Err(e) = set.mark_doubt(dir, &name).await {
                tracing::debug!("{dir}/{} is in doubt: {e}", String::from_utf8_lossy(&name));
            }
            set.0.healing.borrow_mut().remove(&dir);
        });
    }

    async fn mark_doubt(&self, dir: Gfid, name: &Bytes) -> FsResult<()> {
        let object = LockObject::Entry {
            gfid: dir,
            name: Some(name.clone()),
        };
        let (cred, domain) = (self.own_cred(self.new_owner()), self.0.domain.clone());
        let on = self.lock_politely(&object, &domain, self.up(), &cred, PATIENCE).await?;
        let marked = self.mark_doubt_locked(dir, name, on, &cred).await;
        self.unlock(&[object], &domain, on, &cred).await;
        marked
    }

    async fn mark_doubt_locked(&self, dir: Gfid, name: &Bytes, on: BrickSet, cred: &GlusterfsCred) -> FsResult<()> {
        self.quorum_of(on)?;
        let req = name_lookup(dir, name);
        let answers = self.ask(on, |_, s| s.call(cred, &req)).await;
        if !(answers.failed() - answers.failed_with(Errno::ENOENT)).is_empty() {
            return Err(answers.errno());
        }
        let found = self.refresh_fully(dir).await?;
        let name = name.clone();
        let bricks = to_mark(&found, &answers) & on;
        self.entry_pre_op(&ChangedName { dir, name }, bricks, cred).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::pending::{Counters, PendingRow};
    use crate::replicate::readable::{Readable, Testimony};
    use crate::wire::Iatt;

    /// A directory on three bricks; `blame` is (by, of), `dirty` a brick that has the mark.
    fn directory(blame: Option<(usize, usize)>, dirty: Option<usize>) -> Found {
        let said = |brick: usize| {
            let mut pending = PendingRow {
                blame: vec![Counters::ZERO; 3],
                ..PendingRow::default()
            };
            if let Some((_, of)) = blame.filter(|(by, _)| *by == brick) {
                pending.blame[of] = Counters::in_slot(Slot::Entry, 1);
            }
            if dirty == Some(brick) {
                pending.dirty = Counters::in_slot(Slot::Entry, 1);
            }
            let stat = Iatt {
                mode: libc::S_IFDIR | 0o755,
                ..Iatt::default()
            };
            Some(Testimony {
                stat,
                pending,
                inodelks: 0,
            })
        };
        Found {
            said: (0..3).map(said).collect(),
            readable: Readable::default(),
        }
    }

    /// What bricks have under the name: an inode by number, or none.
    fn named(states: [Option<u8>; 3]) -> Answers<Iatt2Rsp> {
        let mut answers = Answers::new(3);
        for (brick, state) in states.into_iter().enumerate() {
            let rsp = state.map(|n| {
                let mut rsp = Iatt2Rsp::default();
                rsp.prestat.gfid = Gfid([n; 16]);
                rsp
            });
            answers.put(brick, rsp.ok_or(Errno::ENOENT));
        }
        answers
    }

    #[test]
    fn only_a_difference_that_nobody_knows_of_is_marked() {
        let clean = directory(None, None);
        let two: BrickSet = [0, 1].into_iter().collect();
        assert_eq!(
            to_mark(&clean, &named([Some(1), Some(1), None])),
            two,
            "a create or unlink cut short"
        );
        assert_eq!(
            to_mark(&clean, &named([Some(1), Some(2), None])),
            two,
            "a rename cut short"
        );
        assert_eq!(to_mark(&clean, &named([Some(1); 3])), BrickSet::EMPTY);
        assert_eq!(to_mark(&clean, &named([None; 3])), BrickSet::EMPTY);
        let accused = directory(Some((0, 2)), None);
        let missed = named([Some(1), Some(1), None]);
        assert_eq!(to_mark(&accused, &missed), BrickSet::EMPTY, "it is known who missed it");
        let marked = directory(None, Some(1));
        assert_eq!(to_mark(&marked, &missed), BrickSet::EMPTY, "it is being healed");
    }
}
