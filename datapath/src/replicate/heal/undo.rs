//! Clearing the marks of a heal: what was read at the inspection is subtracted, so that what is added meanwhile stays
//! (brick-and-replicate.md E.7).

use crate::errno::FsResult;
use crate::replicate::lookup::Found;
use crate::replicate::pending::{Counters, Slot};
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
        let operand = |i: usize| self.operand_of(undo, i, dirty_resolved);
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

    fn operand_of(&self, undo: &Undo<'_>, i: usize, dirty_resolved: bool) -> Dict {
        let row = undo.found.said.get(i).and_then(Option::as_ref).map(|t| &t.pending);
        let only = |c: Counters| {
            let mut out = Counters::ZERO;
            for slot in undo.slots {
                out.0[*slot as usize] = c.slot(*slot).wrapping_neg();
            }
            out
        };
        let blame = |j: usize| {
            if undo.good.contains(j) {
                row.and_then(|r| r.blame.get(j)).map_or(Counters::ZERO, |c| only(*c))
            } else if undo.absent.contains(j) && dirty_resolved {
                let mut add = Counters::ZERO;
                undo.slots.iter().for_each(|s| add.0[*s as usize] = 1);
                add
            } else {
                Counters::ZERO
            }
        };
        self.0
            .keys
            .operand(Some(row.map_or(Counters::ZERO, |r| only(r.dirty))), blame)
    }
}
