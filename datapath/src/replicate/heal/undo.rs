//! Clearing the marks of a heal: what was read at the inspection is subtracted, so that what is added meanwhile stays
//! (brick-and-replicate.md E.7). Not more than is there: the marks are read once more under the lock, and one that
//! somebody else has taken away meanwhile (a healer whose last answer was lost, a client of another version) would count
//! below zero otherwise, and hide the next one.

use crate::errno::FsResult;
use crate::replicate::lookup::Found;
use crate::replicate::pending::{Counters, PendingRow, Slot};
use crate::replicate::{BrickSet, ReplicaSet};
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::XattropReq;
use crate::wire::{Dict, Gfid, Value, flags};

/// What a heal has achieved.
#[derive(Clone, Debug)]
pub(super) struct Undo<'a> {
    pub gfid: Gfid,
    pub slots: &'a [Slot],
    /// Bricks that took part and are good now.
    pub good: BrickSet,
    /// The marks as they were at the inspection.
    pub found: &'a Found,
    /// Dirty marks were resolved without these bricks: they are blamed, or they would come back as witnesses.
    pub absent: BrickSet,
    /// Remove the index of changed names.
    pub purge_names: bool,
}

impl ReplicaSet {
    pub(super) async fn undo_pending(&self, undo: &Undo<'_>, cred: &GlusterfsCred) -> FsResult<()> {
        let dirty_resolved = undo.good.iter().any(|i| {
            undo.found.said[i]
                .as_ref()
                .is_some_and(|t| undo.slots.iter().any(|s| t.pending.dirty.slot(*s) != 0))
        });
        let mut xdata = Dict::null();
        if undo.purge_names {
            xdata = Dict::new().with("glusterfs.xattrop-purge-index", Value::Int(1));
        }
        let now = self.refresh_fully(undo.gfid).await?;
        let operand = |i: usize| self.operand_of(undo, &now, i, dirty_resolved);
        let answers = self
            .ask(undo.good, |i, s| {
                let dict = operand(i);
                let req = XattropReq {
                    gfid: undo.gfid,
                    flags: flags::xattrop::ADD_ARRAY,
                    dict,
                    xdata: xdata.clone(),
                };
                s.call(cred, &req)
            })
            .await;
        if answers.failed().is_empty() {
            Ok(())
        } else {
            Err(answers.errno())
        }
    }

    fn operand_of(&self, undo: &Undo<'_>, now: &Found, i: usize, dirty_resolved: bool) -> Dict {
        let row = |found: &Found| found.said.get(i).and_then(Option::as_ref).map(|t| t.pending.clone());
        let (then, now) = (row(undo.found).unwrap_or_default(), row(now).unwrap_or_default());
        let less = |then: Counters, now: Counters| {
            let mut out = Counters::ZERO;
            for slot in undo.slots {
                out.0[*slot as usize] = -removable(then.slot(*slot), now.slot(*slot));
            }
            out
        };
        let of = |row: &PendingRow, j: usize| row.blame.get(j).copied().unwrap_or_default();
        let blame = |j: usize| {
            if undo.good.contains(j) {
                less(of(&then, j), of(&now, j))
            } else if undo.absent.contains(j) && dirty_resolved {
                let mut add = Counters::ZERO;
                undo.slots.iter().for_each(|s| add.0[*s as usize] = 1);
                add
            } else {
                Counters::ZERO
            }
        };
        self.0.keys.operand(Some(less(then.dirty, now.dirty)), blame)
    }
}

/// How much of a counter that was `then` can be taken from it when it is `now`: what is left of it. A negative one (left
/// by other versions) goes the same way, up to zero.
fn removable(then: i32, now: i32) -> i32 {
    if then >= 0 {
        now.clamp(0, then)
    } else {
        // The smallest number has no opposite; the rest of it goes with the next heal.
        now.clamp(then.max(-i32::MAX), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::removable;

    #[test]
    fn no_more_is_taken_than_is_there() {
        assert_eq!(removable(2, 2), 2);
        assert_eq!(removable(2, 5), 2, "what was added stays");
        assert_eq!(removable(2, 1), 1, "somebody took one away");
        assert_eq!(removable(2, 0), 0);
        assert_eq!(removable(2, -1), 0, "it does not get worse");
        assert_eq!(removable(0, 3), 0);
        assert_eq!(removable(-1, -1), -1, "back to zero");
        assert_eq!(removable(-1, 0), 0);
        assert_eq!(removable(-1, 1), 0);
        assert_eq!(removable(i32::MIN, i32::MIN), -i32::MAX);
    }
}
