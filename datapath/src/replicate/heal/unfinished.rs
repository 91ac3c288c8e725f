//! A rename over a name that only some bricks have done and nobody acknowledged: good bricks have two inodes under it.
//!
//! With every brick here, an acknowledged change is on all good ones: the difference is none, and it is not guessed at
//! but undone. The inode that moved still has its old name where nothing was done, and its copies get it back when that
//! directory is healed; then the name here goes from it. Nothing is lost that way, whatever became of the rename. What
//! does not look like this is a split-brain (brick-and-replicate.md E.5).

use super::inspect::Held;
use crate::errno::{Errno, FsResult};
use crate::replicate::lookup::having;
use crate::replicate::{Answers, BrickSet, ReplicaSet};
use crate::wire::Gfid;
use crate::wire::fop::{Iatt2Rsp, LookupReq};

/// One of the two inodes.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// Good bricks that have it under the name.
    on: BrickSet,
    /// The other side's bricks have it, too, under other names.
    elsewhere: bool,
    /// On some of its bricks this is its only name.
    last_name: bool,
}

/// What becomes of the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Undoing {
    /// These bricks have what stays.
    Keep(BrickSet),
    /// The inode that moved must have its old name first.
    Wait,
    /// It is something else.
    SplitBrain,
}

fn decide(one: Side, other: Side) -> Undoing {
    let (kept, moved) = match (one.elsewhere, other.elsewhere) {
        (false, false) => return Undoing::SplitBrain,
        (true, false) => (other, one),
        (false, true) => (one, other),
        // Both have more names: nothing is lost either way. All healers decide alike.
        (true, true) if one.on.lowest() < other.on.lowest() => (one, other),
        (true, true) => (other, one),
    };
    if moved.last_name {
        Undoing::Wait
    } else {
        Undoing::Keep(kept.on)
    }
}

impl ReplicaSet {
    /// What is to stay under a name that `holders`, whom nobody accuses of having missed anything, have differently; `seen`
    /// is what they have.
    pub(super) async fn undo_rename(
        &self,
        seen: &Answers<Iatt2Rsp>,
        holders: BrickSet,
        lock: &Held,
    ) -> FsResult<Undoing> {
        let having = |gfid: Gfid| having(seen, Some(gfid)) & holders;
        let gfid_on = |b: usize| seen.get(b).map_or(Gfid::NULL, |r| r.prestat.gfid);
        let Some(first) = holders.lowest().map(gfid_on) else {
            return Ok(Undoing::SplitBrain);
        };
        let one = having(first);
        let Some(second) = (holders - one).lowest().map(gfid_on) else {
            return Ok(Undoing::SplitBrain);
        };
        let other = having(second);
        let plain = |b: usize| {
            seen.get(b)
                .is_some_and(|r| !r.prestat.gfid.is_null() && !r.prestat.is_dir())
        };
        if one | other != holders || !holders.iter().all(plain) || !self.quorum().is_decisive() {
            return Ok(Undoing::SplitBrain);
        }
        if lock.on != BrickSet::first(self.bricks()) {
            // Who is away may know which of them was acknowledged.
            return Ok(Undoing::Wait);
        }
        let last_name = |on: BrickSet| on.iter().any(|b| seen.get(b).is_none_or(|r| r.prestat.nlink < 2));
        let side = async |gfid: Gfid, on: BrickSet, others: BrickSet| -> FsResult<Side> {
            Ok(Side {
                on,
                elsewhere: self.is_on(gfid, others, lock).await?,
                last_name: last_name(on),
            })
        };
        let (one, other) = (side(first, one, other).await?, side(second, other, one).await?);
        Ok(decide(one, other))
    }

    /// Whether all `bricks` have an inode.
    async fn is_on(&self, gfid: Gfid, bricks: BrickSet, lock: &Held) -> FsResult<bool> {
        let req = LookupReq {
            gfid,
            ..LookupReq::default()
        };
        let answers = self.ask(bricks, |_, s| s.call(&lock.cred, &req)).await;
        let missing = answers.failed_with(Errno::ENOENT) | answers.failed_with(Errno::ESTALE);
        if (answers.failed() - missing).is_empty() {
            Ok(missing.is_empty())
        } else {
            Err(answers.errno())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(on: &[usize], elsewhere: bool, last_name: bool) -> Side {
        Side {
            on: on.iter().copied().collect(),
            elsewhere,
            last_name,
        }
    }

    #[test]
    fn what_was_replaced_comes_back_once_what_replaced_it_has_its_old_name() {
        let replaced = side(&[0], false, true);
        let keep = Undoing::Keep(replaced.on);
        assert_eq!(decide(replaced, side(&[2, 4], true, true)), Undoing::Wait);
        assert_eq!(decide(replaced, side(&[2, 4], true, false)), keep);
        assert_eq!(decide(side(&[2, 4], true, false), replaced), keep);
    }

    #[test]
    fn two_that_were_made_under_one_name_are_a_split_brain() {
        let (one, other) = (side(&[0, 1], false, true), side(&[2, 3], false, true));
        assert_eq!(decide(one, other), Undoing::SplitBrain);
    }

    #[test]
    fn of_two_with_more_names_all_healers_keep_the_same() {
        let (one, other) = (side(&[1, 2], true, false), side(&[0], true, false));
        assert_eq!(decide(one, other), Undoing::Keep(other.on));
        assert_eq!(decide(other, one), Undoing::Keep(other.on));
    }
}
