//! Which bricks hold a good copy of an inode (brick-and-replicate.md D.8) and which of them to read (D.10).

use super::pending::{PendingRow, Slot};
use super::{BrickSet, Quorum};
use crate::wire::{Gfid, Iatt};

/// What one brick said of an inode.
#[derive(Clone, Debug)]
pub struct Testimony {
    /// Attributes on that brick.
    pub stat: Iatt,
    /// Its pending xattrs.
    pub pending: PendingRow,
    /// Granted and waiting inode locks in the data domain there.
    pub inodelks: i64,
}

/// The bricks that may serve reads of one inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readable {
    /// Contents (of a directory: its names) are good.
    pub data: BrickSet,
    /// Attributes and xattrs are good.
    pub metadata: BrickSet,
}

impl Readable {
    /// Every brick of `set` is good.
    pub fn all(set: BrickSet) -> Readable {
        Readable {
            data: set,
            metadata: set,
        }
    }

    /// Bricks good in both respects.
    pub fn both(self) -> BrickSet {
        self.data & self.metadata
    }
}

/// Judges the copies from what each answering brick said (index = brick; `None` = no answer).
///
/// A brick accused by any answering brick is not readable. For files no lock is outstanding on, a copy smaller than
/// the largest unaccused one is stale too: it missed an append whose dirty mark was cleared without fsync.
pub fn judge(said: &[Option<Testimony>]) -> Readable {
    let answered: BrickSet = said
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_some())
        .map(|(i, _)| i)
        .collect();
    let is_dir = said.iter().flatten().any(|t| t.stat.is_dir());
    let data_slot = if is_dir { Slot::Entry } else { Slot::Data };
    let mut blamed_data = BrickSet::EMPTY;
    let mut blamed_meta = BrickSet::EMPTY;
    for testimony in said.iter().flatten() {
        blamed_data |= testimony.pending.blamed(data_slot);
        blamed_meta |= testimony.pending.blamed(Slot::Metadata);
    }
    let mut data = answered - blamed_data;
    let locked = said.iter().flatten().any(|t| t.inodelks > 0);
    if !is_dir && !locked {
        let size = |i: usize| said.get(i).and_then(Option::as_ref).map_or(0, |t| t.stat.size);
        let largest = data.iter().map(size).max().unwrap_or(0);
        data = data.iter().filter(|&i| size(i) == largest).collect();
    }
    Readable {
        data,
        metadata: answered - blamed_meta,
    }
}

/// Resolves "everyone is accused": where no brick is unaccused, those accused by fewer than the quorum are trusted
/// (brick-and-replicate.md E.3 rule 6); what stays empty is split-brain.
pub fn resolve(said: &[Option<Testimony>], slot: Slot, quorum: &Quorum) -> BrickSet {
    let answered: BrickSet = said
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_some())
        .map(|(i, _)| i)
        .collect();
    let accusations = |j: usize| {
        said.iter()
            .flatten()
            .filter(|t| t.pending.blamed(slot).contains(j))
            .count()
    };
    let clean: BrickSet = answered.iter().filter(|&j| accusations(j) == 0).collect();
    match (clean.is_empty(), quorum.accusers()) {
        (true, Some(limit)) => latest(
            said,
            slot,
            answered.iter().filter(|&j| accusations(j) < limit).collect(),
        ),
        _ => clean,
    }
}

/// Of copies that accuse each other those that were changed last: their times are the clients', alike on all bricks.
/// Names are not told apart by it.
fn latest(said: &[Option<Testimony>], slot: Slot, copies: BrickSet) -> BrickSet {
    let of = |b: usize| said.get(b).and_then(Option::as_ref);
    let at_odds = |b: usize| of(b).is_some_and(|t| !(t.pending.blamed(slot) & copies).is_empty());
    if slot == Slot::Entry || !copies.iter().any(at_odds) {
        return copies;
    }
    let time = |b: usize| match slot {
        Slot::Data => of(b).map(|t| (t.stat.mtime, t.stat.mtime_nsec)),
        _ => of(b).map(|t| (t.stat.ctime, t.stat.ctime_nsec)),
    };
    let last = copies.iter().map(time).max();
    copies.iter().filter(|&b| Some(time(b)) == last).collect()
}

/// What the blame in a directory says of a name in it that bricks have differently, where every brick is accused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// No acknowledged change made the difference.
    Nobody,
    /// This is what the last acknowledged change left: that inode, or no name.
    One(Option<Gfid>),
    /// It is one of several; who could tell is not among those that were heard.
    Several,
}

/// Who claims a name; `states` is what each brick that was heard has under it.
///
/// Whoever took part in an acknowledged change accuses everybody who missed it until they are healed, and with a quorum
/// heard, somebody who took part is among them: what the last change left is had by somebody who accuses all that have
/// something else. A brick that accuses nobody has only kept what it had.
pub fn claim(said: &[Option<Testimony>], states: &[(usize, Option<Gfid>)]) -> Claim {
    let all: BrickSet = states.iter().map(|(b, _)| *b).collect();
    let state = |brick: usize| states.iter().find(|(b, _)| *b == brick).and_then(|(_, s)| *s);
    let claimants = claimants(said, Slot::Entry, all, |a, b| state(a) == state(b));
    let mut claimed = claimants.iter().map(state);
    match claimed.next() {
        None => Claim::Nobody,
        Some(first) if claimed.all(|other| other == first) => Claim::One(first),
        Some(_) => Claim::Several,
    }
}

/// Those of `heard` that accuse every other that has something else, if there is one; `alike(a, b)` tells whether two
/// have the same.
pub fn claimants(
    said: &[Option<Testimony>],
    slot: Slot,
    heard: BrickSet,
    alike: impl Fn(usize, usize) -> bool,
) -> BrickSet {
    let claims = |brick: &usize| {
        let others: BrickSet = heard.iter().filter(|other| !alike(*brick, *other)).collect();
        let row = said.get(*brick).and_then(Option::as_ref).map(|t| &t.pending);
        !others.is_empty() && row.is_some_and(|row| (others - row.blamed(slot)).is_empty())
    };
    heard.iter().filter(claims).collect()
}

/// Hsieh's 32-bit hash over a gfid, by which GlusterFS spreads reads (`read-hash-mode` 1).
pub fn gfid_hash(gfid: Gfid) -> u32 {
    let mut h: u32 = 16;
    for group in gfid.0.chunks_exact(4) {
        let lo = u32::from(u16::from_le_bytes([group[0], group[1]]));
        let hi = u32::from(u16::from_le_bytes([group[2], group[3]]));
        h = h.wrapping_add(lo);
        let t = (hi << 11) ^ h;
        h = (h << 16) ^ t;
        h = h.wrapping_add(h >> 11);
    }
    h ^= h << 3;
    h = h.wrapping_add(h >> 5);
    h ^= h << 4;
    h = h.wrapping_add(h >> 17);
    h ^= h << 25;
    h.wrapping_add(h >> 6)
}

/// How a brick is picked among the readable ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadPolicy {
    /// `cluster.read-subvolume(-index)`: this brick whenever it is readable.
    pub pinned: Option<usize>,
    /// Bricks on this machine, when `cluster.choose-local` is on.
    pub local: BrickSet,
    /// `cluster.read-hash-mode`: 0 first readable, 1 by gfid, 2 by gfid and client.
    pub hash_mode: u32,
    /// Mixed into the hash in mode 2.
    pub client_pid: u32,
    /// Number of bricks of the replica set.
    pub bricks: usize,
}

impl ReadPolicy {
    /// The brick to read `gfid` from, out of `candidates`.
    ///
    /// With several local bricks the gfid's hash spreads the files over them: GlusterFS takes whichever answered last.
    pub fn pick(&self, gfid: Gfid, candidates: BrickSet) -> Option<usize> {
        if let Some(brick) = self.pinned.filter(|&b| candidates.contains(b)) {
            return Some(brick);
        }
        let local = candidates & self.local;
        if !local.is_empty() {
            return local.iter().nth(gfid_hash(gfid) as usize % local.len());
        }
        let hashed = match self.hash_mode {
            1 => Some(gfid_hash(gfid) as usize % self.bricks),
            2 => {
                let mut mixed = gfid;
                for (byte, pid) in mixed.0.iter_mut().zip(self.client_pid.to_be_bytes()) {
                    *byte ^= pid;
                }
                Some(gfid_hash(mixed) as usize % self.bricks)
            }
            _ => None,
        };
        hashed
            .filter(|&b| candidates.contains(b))
            .or_else(|| candidates.lowest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::pending::Counters;

    fn said(size: u64, mode: u32, blames: &[(usize, [i32; 3])]) -> Option<Testimony> {
        let mut pending = PendingRow {
            dirty: Counters::ZERO,
            blame: vec![Counters::ZERO; 3],
        };
        for (brick, counters) in blames {
            pending.blame[*brick] = Counters(*counters);
        }
        Some(Testimony {
            stat: Iatt {
                size,
                mode,
                flags: Iatt::VALID,
                ..Iatt::default()
            },
            pending,
            inodelks: 0,
        })
    }

    const REG: u32 = libc::S_IFREG | 0o644;
    const DIR: u32 = libc::S_IFDIR | 0o755;

    #[test]
    fn accused_bricks_are_not_read() {
        let r = judge(&[said(5, REG, &[(2, [1, 0, 0])]), said(5, REG, &[]), said(5, REG, &[])]);
        assert_eq!(r.data, [0, 1].into_iter().collect());
        assert_eq!(r.metadata, BrickSet::first(3));
        let r = judge(&[said(0, DIR, &[(1, [1, 0, 0])]), said(0, DIR, &[(0, [0, 0, 2])]), None]);
        assert_eq!(
            r.data,
            BrickSet::one(1),
            "a directory's entry slot counts, its data slot does not"
        );
    }

    #[test]
    fn smaller_copies_are_stale_unless_locked() {
        let mut all = [said(5, REG, &[]), said(9, REG, &[]), said(9, REG, &[])];
        assert_eq!(judge(&all).data, [1, 2].into_iter().collect());
        all[0].as_mut().unwrap().inodelks = 1;
        assert_eq!(judge(&all).data, BrickSet::first(3));
    }

    #[test]
    fn all_accused_falls_back_to_the_least_accused() {
        let all = [
            said(1, REG, &[(1, [1, 0, 0]), (2, [1, 0, 0])]),
            said(1, REG, &[(0, [1, 0, 0])]),
            said(1, REG, &[(0, [1, 0, 0])]),
        ];
        let q = Quorum::new(3, None);
        assert_eq!(resolve(&all, Slot::Data, &q), [1, 2].into_iter().collect());
        let none = Quorum::new(3, Some(super::super::QuorumType::None));
        assert!(resolve(&all, Slot::Data, &none).is_empty());
    }

    #[test]
    fn hash_check_values() {
        assert_eq!(
            gfid_hash("26d7968e-2176-42b7-8d61-026858529a14".parse().unwrap()),
            0x10f4_5534
        );
        assert_eq!(gfid_hash(Gfid::ROOT), 0xfe51_3317);
    }

    #[test]
    fn who_took_part_in_the_last_change_claims_a_name() {
        let accuses = |bricks: &[usize]| {
            let blames: Vec<_> = bricks.iter().map(|b| (*b, [0, 0, 1])).collect();
            said(0, DIR, &blames)
        };
        let (a, b) = (Some(Gfid([1; 16])), Some(Gfid([2; 16])));
        // 0 and 1 accuse each other of old things, 2 was away longest: 0 has removed what 2 still has.
        let rows = [accuses(&[1, 2]), accuses(&[0, 2]), accuses(&[])];
        assert_eq!(claim(&rows, &[(0, None), (1, None), (2, a)]), Claim::One(None));
        assert_eq!(claim(&rows, &[(0, a), (1, a), (2, None)]), Claim::One(a));
        assert_eq!(claim(&rows, &[(0, a), (1, a), (2, b)]), Claim::One(a), "renamed over");
        assert_eq!(claim(&rows, &[(0, a), (1, None), (2, None)]), Claim::Several);
        assert_eq!(claim(&rows, &[(0, a), (1, a), (2, a)]), Claim::Nobody);
        let rows = [accuses(&[1]), accuses(&[]), accuses(&[1])];
        assert_eq!(
            claim(&rows, &[(0, a), (1, None), (2, None)]),
            Claim::Nobody,
            "not acknowledged"
        );
    }

    #[test]
    fn local_bricks_come_first() {
        let mut p = ReadPolicy {
            pinned: None,
            local: BrickSet::one(3),
            hash_mode: 1,
            client_pid: 1,
            bricks: 6,
        };
        assert_eq!(p.pick(Gfid::ROOT, BrickSet::first(6)), Some(3));
        assert_eq!(
            p.pick(Gfid::ROOT, BrickSet::first(2)),
            Some(0xfe51_3317usize % 6).filter(|b| *b < 2).or(Some(0))
        );
        p.pinned = Some(1);
        assert_eq!(p.pick(Gfid::ROOT, BrickSet::first(6)), Some(1));
        assert_eq!(p.pick(Gfid::ROOT, BrickSet::EMPTY), None);
    }
}
