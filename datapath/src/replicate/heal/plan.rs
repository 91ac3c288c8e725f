//! Sources and sinks from the pending matrix (brick-and-replicate.md E.3). Pure: testimonies in, plan out.
//!
//! Healing goes on among the bricks that take part, a quorum of them: any write that counted reached a brick among
//! them, so whoever missed it is accused here.

use crate::client::FavoriteChild;
use crate::replicate::pending::Slot;
use crate::replicate::readable::{Testimony, claimants};
use crate::replicate::{BrickSet, Quorum};
use crate::wire::Iatt;

/// What is to be done for one slot of one inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// All copies are good and nothing is marked.
    Nothing,
    /// Copies are good; only marks are left to be cleared.
    ClearMarks {
        /// Bricks whose copies are good.
        sources: BrickSet,
    },
    /// Copy from `source` to `sinks`.
    Heal {
        /// The brick to copy from.
        source: usize,
        /// All good bricks.
        sources: BrickSet,
        /// Bricks to be brought up to date.
        sinks: BrickSet,
    },
    /// Entry only: none of these bricks' names are authoritative; names that any of them has are made everywhere.
    Merge {
        /// Bricks whose names count.
        bricks: BrickSet,
    },
    /// Every copy is accused, and who knows which of them is the last one is away.
    Wait,
    /// Every copy is accused: a policy or a person decides.
    SplitBrain,
}

/// Which copies the last acknowledged change left, where every copy is accused.
enum Last {
    /// Blame does not tell.
    Unknown,
    /// These.
    Copies(BrickSet),
    /// One of several.
    OneOf,
}

/// What the planner is told of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What each brick said; index = brick.
    pub said: &'a [Option<Testimony>],
    /// Bricks that are locked and answered.
    pub participants: BrickSet,
    /// The quorum rule.
    pub quorum: Quorum,
    /// Bricks to prefer as source: local ones.
    pub local: BrickSet,
    /// Who wins a split-brain.
    pub policy: FavoriteChild,
}

impl Evidence<'_> {
    fn testimony(&self, brick: usize) -> Option<&Testimony> {
        self.said
            .get(brick)?
            .as_ref()
            .filter(|_| self.participants.contains(brick))
    }

    /// Bricks that accuse `brick` in `slot`. A brick that accuses itself (a state of old releases) accuses nobody else.
    fn accusers(&self, brick: usize, slot: Slot) -> usize {
        self.participants
            .iter()
            .filter_map(|i| self.testimony(i).map(|t| t.pending.blamed(slot)).map(|b| (i, b)))
            .filter(|(i, blamed)| blamed.contains(brick) && (*i == brick || !blamed.contains(*i)))
            .count()
    }

    fn unaccused(&self, slot: Slot) -> BrickSet {
        self.participants
            .iter()
            .filter(|&j| self.accusers(j, slot) == 0)
            .collect()
    }

    /// How strongly a brick's own dirty mark says that it saw an unfinished change.
    fn witness(&self, brick: usize, slot: Slot) -> i32 {
        self.testimony(brick).map_or(0, |t| t.pending.dirty.slot(slot))
    }

    fn stat(&self, brick: usize) -> Iatt {
        self.testimony(brick).map_or_else(Iatt::default, |t| t.stat)
    }

    /// Whether any participant blames anybody, present or not.
    fn any_blame(&self, slot: Slot) -> bool {
        self.participants
            .iter()
            .filter_map(|i| self.testimony(i))
            .any(|t| !(t.pending.blamed(slot) & self.participants).is_empty())
    }

    fn any_dirty(&self, slot: Slot) -> bool {
        self.participants.iter().any(|i| self.witness(i, slot) != 0)
    }

    fn prefer(&self, sources: BrickSet) -> Option<usize> {
        (sources & self.local).lowest().or_else(|| sources.lowest())
    }

    fn sources(&self, slot: Slot) -> BrickSet {
        let clean = self.unaccused(slot);
        match (clean.is_empty(), self.quorum.accusers()) {
            (true, Some(limit)) => self
                .participants
                .iter()
                .filter(|&j| self.accusers(j, slot) < limit)
                .collect(),
            _ => clean,
        }
    }

    /// Bricks that have missed no acknowledged change, though somebody accuses them: whoever missed one is accused by
    /// all who have it, and those are a quorum less the bricks that are not here. Names that only others have may have
    /// been removed since. Empty where that cannot be told.
    fn complete(&self, slot: Slot) -> BrickSet {
        let Some(least) = self.quorum.least() else {
            return BrickSet::EMPTY;
        };
        let absent = self.said.len() - self.participants.len();
        let witnesses = least.saturating_sub(absent);
        self.participants
            .iter()
            .filter(|&j| self.accusers(j, slot) < witnesses)
            .collect()
    }

    /// Where every copy is accused: whoever took part in the last acknowledged change accuses all that have something
    /// else (see [`crate::replicate::readable::claim`]). `same(a, b)` tells whether two copies are alike.
    fn last(&self, slot: Slot, same: impl Fn(usize, usize) -> bool) -> Last {
        let alike = |b: usize| -> BrickSet { self.participants.iter().filter(|&o| same(b, o)).collect() };
        let claimants = claimants(self.said, slot, self.participants, &same);
        match claimants.lowest().map(alike) {
            None => Last::Unknown,
            Some(copies) if (claimants - copies).is_empty() => Last::Copies(copies),
            Some(_) => Last::OneOf,
        }
    }

    /// What follows where every copy is accused; `None` if blame does not help.
    fn by_claims(&self, slot: Slot, same: impl Fn(usize, usize) -> bool) -> Option<Plan> {
        if !self.quorum.is_decisive() || !self.unaccused(slot).is_empty() {
            return None;
        }
        match self.last(slot, same) {
            Last::Copies(sources) => Some(self.heal_from(sources)),
            Last::OneOf if self.participants.len() < self.said.len() => Some(Plan::Wait),
            Last::OneOf | Last::Unknown => None,
        }
    }

    /// Whether bricks of `sources` accuse each other: their copies may differ.
    fn at_odds(&self, sources: BrickSet, slot: Slot) -> bool {
        let blamed = |b: usize| self.testimony(b).map(|t| t.pending.blamed(slot)).unwrap_or_default();
        sources.iter().any(|b| !(blamed(b) & sources).is_empty())
    }

    /// Plan for the contents of a file.
    pub fn data(&self) -> Plan {
        let slot = Slot::Data;
        // Times of writes are the clients', alike on all bricks.
        let copy = |b: usize| (self.stat(b).size, self.stat(b).mtime, self.stat(b).mtime_nsec);
        if let Some(plan) = self.by_claims(slot, |a, b| copy(a) == copy(b)) {
            return plan;
        }
        let mut sources = self.sources(slot);
        if sources.is_empty() {
            return match self.by_policy() {
                Some(winner) => self.heal_from(BrickSet::one(winner)),
                None => Plan::SplitBrain,
            };
        }
        let size = |b: usize| self.stat(b).size;
        let first = sources.lowest().map(size);
        let sizes_differ = sources.iter().any(|b| Some(size(b)) != first);
        let witnessed = sources.iter().any(|b| self.witness(b, slot) != 0);
        let at_odds = self.at_odds(sources, slot);
        if sizes_differ || witnessed || at_odds {
            // Nobody is accused of it, so the copies may differ: the fullest one wins. Of copies that accuse each other,
            // the one that was written last.
            let written = |b: usize| (self.stat(b).mtime, self.stat(b).mtime_nsec);
            let rank = |b: usize| {
                (
                    at_odds.then(|| written(b)),
                    size(b),
                    self.witness(b, slot),
                    self.stat(b).ctime,
                    self.stat(b).ctime_nsec,
                )
            };
            sources = sources
                .iter()
                .max_by_key(|&b| (rank(b), std::cmp::Reverse(b)))
                .map(BrickSet::one)
                .unwrap_or_default();
        }
        if sources == self.participants {
            return self.marks_only(slot, sources);
        }
        self.heal_from(sources)
    }

    /// Plan for attributes and xattrs. `differs(a, b)` tells whether two copies differ.
    pub fn metadata(&self, differs: impl Fn(usize, usize) -> bool) -> Plan {
        let slot = Slot::Metadata;
        if let Some(plan) = self.by_claims(slot, |a, b| !differs(a, b)) {
            return plan;
        }
        let mut sources = self.sources(slot);
        if sources.is_empty() {
            return match self.by_policy() {
                Some(winner) => self.heal_from(BrickSet::one(winner)),
                None => Plan::SplitBrain,
            };
        }
        let witnessed = |b: usize| self.witness(b, slot) != 0;
        // A dirty mark tells that copies may differ, not which is the last: the change time does, which never goes back on
        // a brick. A brick that lacks a change may be the only one with a mark.
        let chosen = match sources.iter().any(witnessed) {
            true => sources.iter().max_by_key(|&b| {
                let changed = (self.stat(b).ctime, self.stat(b).ctime_nsec);
                (changed, witnessed(b), std::cmp::Reverse(b))
            }),
            false => self.newest_changed(sources),
        };
        let chosen = chosen.unwrap_or(0);
        if sources.iter().any(|b| differs(chosen, b)) {
            sources = sources.iter().filter(|&b| b == chosen || !differs(chosen, b)).collect();
        }
        if sources == self.participants {
            return self.marks_only(slot, sources);
        }
        Plan::Heal {
            source: chosen,
            sources,
            sinks: self.participants - sources,
        }
    }

    /// The preferred source, unless another has a later change time: that one saw more.
    fn newest_changed(&self, sources: BrickSet) -> Option<usize> {
        let preferred = self.prefer(sources)?;
        let time = |b: usize| (self.stat(b).ctime, self.stat(b).ctime_nsec);
        sources
            .iter()
            .max_by_key(|&b| (time(b), b == preferred, std::cmp::Reverse(b)))
    }

    /// Plan for the names of a directory.
    pub fn entry(&self) -> Plan {
        let slot = Slot::Entry;
        if !self.any_blame(slot) && !self.any_dirty(slot) {
            return Plan::Nothing;
        }
        let sources = self.unaccused(slot);
        let accusing = sources.iter().any(|b| {
            self.testimony(b)
                .is_some_and(|t| !(t.pending.blamed(slot) & self.participants).is_empty())
        });
        if sources.is_empty() || !accusing {
            let complete = self.complete(slot);
            let bricks = if complete.is_empty() {
                self.participants
            } else {
                complete
            };
            return Plan::Merge { bricks };
        }
        // A dirty mark on a good brick tells of an unfinished change: the good bricks may differ among each other. Those
        // they accuse missed changes that were finished, so their names and marks do not count: a merge with them
        // (which 10.3 does) would bring back what was removed meanwhile.
        if sources.iter().any(|b| self.witness(b, slot) != 0) {
            return Plan::Merge { bricks: sources };
        }
        self.heal_from(sources)
    }

    fn heal_from(&self, sources: BrickSet) -> Plan {
        match self.prefer(sources) {
            Some(source) => Plan::Heal {
                source,
                sources,
                sinks: self.participants - sources,
            },
            None => Plan::SplitBrain,
        }
    }

    fn marks_only(&self, slot: Slot, sources: BrickSet) -> Plan {
        if self.any_blame(slot) || self.any_dirty(slot) {
            Plan::ClearMarks { sources }
        } else {
            Plan::Nothing
        }
    }

    /// `cluster.favorite-child-policy`: needs every brick's word (brick-and-replicate.md E.5).
    fn by_policy(&self) -> Option<usize> {
        if self.participants.len() != self.quorum.bricks() {
            return None;
        }
        let all = || self.participants.iter();
        match self.policy {
            FavoriteChild::None => None,
            FavoriteChild::Size => {
                let largest = all().map(|b| self.stat(b).size).max()?;
                let mut with = all().filter(|&b| self.stat(b).size == largest);
                let winner = with.next()?;
                (with.next().is_none() && !self.stat(winner).is_dir()).then_some(winner)
            }
            FavoriteChild::Ctime => all().max_by_key(|&b| (self.stat(b).ctime, self.stat(b).ctime_nsec)),
            FavoriteChild::Mtime => all().max_by_key(|&b| (self.stat(b).mtime, self.stat(b).mtime_nsec)),
            FavoriteChild::Majority => {
                let key = |b: usize| (self.stat(b).mtime, self.stat(b).mtime_nsec, self.stat(b).size);
                all().find(|&b| all().filter(|&o| key(o) == key(b)).count() > self.participants.len() / 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::pending::{Counters, PendingRow};

    struct Case {
        said: Vec<Option<Testimony>>,
        quorum: Quorum,
    }

    fn case(n: usize) -> Case {
        let t = || Testimony {
            stat: Iatt {
                mode: libc::S_IFREG | 0o644,
                flags: Iatt::VALID,
                size: 10,
                ..Iatt::default()
            },
            pending: PendingRow {
                dirty: Counters::ZERO,
                blame: vec![Counters::ZERO; n],
            },
            inodelks: 0,
        };
        Case {
            said: (0..n).map(|_| Some(t())).collect(),
            quorum: Quorum::new(n, None),
        }
    }

    impl Case {
        fn blame(mut self, by: usize, of: usize, slot: Slot) -> Case {
            self.said[by].as_mut().unwrap().pending.blame[of].0[slot as usize] += 1;
            self
        }
        fn dirty(mut self, brick: usize, slot: Slot) -> Case {
            self.said[brick].as_mut().unwrap().pending.dirty.0[slot as usize] += 1;
            self
        }
        fn size(mut self, brick: usize, size: u64) -> Case {
            self.said[brick].as_mut().unwrap().stat.size = size;
            self
        }
        fn changed(mut self, brick: usize, ctime: i64) -> Case {
            self.said[brick].as_mut().unwrap().stat.ctime = ctime;
            self
        }
        fn written(mut self, brick: usize, mtime: i64) -> Case {
            self.said[brick].as_mut().unwrap().stat.mtime = mtime;
            self
        }
        fn evidence(&self) -> Evidence<'_> {
            Evidence {
                said: &self.said,
                participants: (0..self.said.len()).filter(|&b| self.said[b].is_some()).collect(),
                quorum: self.quorum,
                local: BrickSet::EMPTY,
                policy: FavoriteChild::None,
            }
        }
    }

    fn set(b: &[usize]) -> BrickSet {
        b.iter().copied().collect()
    }

    #[test]
    fn clean_copies_need_nothing() {
        let c = case(3);
        assert_eq!(c.evidence().data(), Plan::Nothing);
        assert_eq!(c.evidence().metadata(|_, _| false), Plan::Nothing);
        assert_eq!(c.evidence().entry(), Plan::Nothing);
    }

    #[test]
    fn the_accused_is_the_sink() {
        let c = case(3).blame(0, 2, Slot::Data).blame(1, 2, Slot::Data);
        assert_eq!(
            c.evidence().data(),
            Plan::Heal {
                source: 0,
                sources: set(&[0, 1]),
                sinks: set(&[2])
            }
        );
        assert_eq!(c.evidence().entry(), Plan::Nothing);
    }

    #[test]
    fn dirty_without_blame_takes_the_largest() {
        let c = case(3).dirty(0, Slot::Data).dirty(1, Slot::Data).size(1, 20);
        assert_eq!(
            c.evidence().data(),
            Plan::Heal {
                source: 1,
                sources: set(&[1]),
                sinks: set(&[0, 2])
            }
        );
    }

    #[test]
    fn who_took_part_in_the_last_write_is_the_source_though_it_is_accused() {
        // 0 was accused by 1 of something that 2 has healed there; 1 missed what 0 and 2 have written since.
        let c = case(3)
            .blame(1, 0, Slot::Data)
            .blame(1, 2, Slot::Data)
            .blame(0, 1, Slot::Data)
            .written(0, 8)
            .written(2, 8);
        let plan = Plan::Heal {
            source: 0,
            sources: set(&[0]),
            sinks: set(&[1, 2]),
        };
        assert_eq!(c.evidence().data(), plan, "both claim it: the last that was written");
        let mut away = case(5)
            .blame(1, 0, Slot::Data)
            .blame(1, 2, Slot::Data)
            .blame(0, 1, Slot::Data)
            .written(0, 8)
            .written(2, 8);
        (away.said[3], away.said[4]) = (None, None);
        assert_eq!(away.evidence().data(), Plan::Wait, "3 or 4 knows");
        let known = case(4)
            .blame(1, 0, Slot::Data)
            .blame(0, 1, Slot::Data)
            .blame(0, 3, Slot::Data)
            .blame(3, 2, Slot::Data)
            .written(0, 8)
            .written(2, 8);
        let plan = Plan::Heal {
            source: 0,
            sources: set(&[0, 2]),
            sinks: set(&[1, 3]),
        };
        assert_eq!(
            known.evidence().data(),
            plan,
            "only 0 accuses all that have something else"
        );
        assert_eq!(known.evidence().metadata(|_, _| false), Plan::Nothing);
    }

    #[test]
    fn everyone_accused() {
        let c = case(3)
            .blame(0, 1, Slot::Data)
            .blame(0, 2, Slot::Data)
            .blame(1, 0, Slot::Data)
            .blame(2, 0, Slot::Data);
        assert_eq!(
            c.evidence().data(),
            Plan::Heal {
                source: 1,
                sources: set(&[1, 2]),
                sinks: set(&[0])
            }
        );
        let mut worse = c;
        worse.quorum = Quorum::new(3, Some(crate::replicate::QuorumType::None));
        assert_eq!(worse.evidence().data(), Plan::SplitBrain);
        let mut by_size = worse.size(2, 99);
        by_size.quorum = Quorum::new(3, Some(crate::replicate::QuorumType::None));
        let e = Evidence {
            policy: FavoriteChild::Size,
            ..by_size.evidence()
        };
        assert_eq!(
            e.data(),
            Plan::Heal {
                source: 2,
                sources: set(&[2]),
                sinks: set(&[0, 1])
            }
        );
    }

    #[test]
    fn an_absent_brick_is_no_sink_and_its_blame_is_no_work() {
        let mut c = case(3).blame(0, 2, Slot::Data).blame(1, 2, Slot::Data);
        c.said[2] = None;
        assert_eq!(c.evidence().data(), Plan::Nothing);
    }

    #[test]
    fn names_merge_when_dirty_or_unaccusing() {
        let c = case(3).dirty(1, Slot::Entry);
        assert_eq!(
            c.evidence().entry(),
            Plan::Merge {
                bricks: set(&[0, 1, 2])
            }
        );
        let c = case(3)
            .blame(0, 1, Slot::Entry)
            .blame(1, 0, Slot::Entry)
            .blame(1, 2, Slot::Entry)
            .blame(0, 2, Slot::Entry);
        assert_eq!(
            c.evidence().entry(),
            Plan::Merge { bricks: set(&[0, 1]) },
            "a quorum says that the third has missed something"
        );
        let c = case(3)
            .blame(0, 1, Slot::Entry)
            .blame(0, 2, Slot::Entry)
            .blame(1, 0, Slot::Entry)
            .blame(1, 2, Slot::Entry)
            .blame(2, 0, Slot::Entry)
            .blame(2, 1, Slot::Entry);
        assert_eq!(
            c.evidence().entry(),
            Plan::Merge {
                bricks: set(&[0, 1, 2])
            },
            "each is accused by a quorum"
        );
        let c = case(3)
            .blame(0, 1, Slot::Entry)
            .blame(2, 1, Slot::Entry)
            .dirty(2, Slot::Entry);
        assert_eq!(
            c.evidence().entry(),
            Plan::Merge { bricks: set(&[0, 2]) },
            "what the stale brick still has does not come back"
        );
        let c = case(3)
            .blame(0, 1, Slot::Entry)
            .blame(2, 1, Slot::Entry)
            .dirty(1, Slot::Entry);
        assert_eq!(
            c.evidence().entry(),
            Plan::Heal {
                source: 0,
                sources: set(&[0, 2]),
                sinks: set(&[1])
            }
        );
    }

    #[test]
    fn metadata_differences_among_sources_heal_too() {
        let c = case(3);
        let plan = c.evidence().metadata(|a, b| (a == 2) != (b == 2));
        assert_eq!(
            plan,
            Plan::Heal {
                source: 0,
                sources: set(&[0, 1]),
                sinks: set(&[2])
            }
        );
        let c = case(3).dirty(1, Slot::Metadata);
        let plan = c.evidence().metadata(|a, b| a != b);
        assert_eq!(
            plan,
            Plan::Heal {
                source: 1,
                sources: set(&[1]),
                sinks: set(&[0, 2])
            }
        );
        // The mark is on a brick that lacks what the others have.
        let c = case(3).dirty(0, Slot::Metadata).changed(1, 9).changed(2, 9);
        let plan = c.evidence().metadata(|a, b| (a == 0) != (b == 0));
        assert_eq!(
            plan,
            Plan::Heal {
                source: 1,
                sources: set(&[1, 2]),
                sinks: set(&[0])
            }
        );
        let c = case(3).blame(0, 1, Slot::Metadata);
        assert_eq!(
            c.evidence().metadata(|_, _| false),
            Plan::Heal {
                source: 0,
                sources: set(&[0, 2]),
                sinks: set(&[1])
            }
        );
    }
}
