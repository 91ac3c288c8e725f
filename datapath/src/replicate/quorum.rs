//! Quorum: which sets of bricks may decide (brick-and-replicate.md D.2, DESIGN.md section 4).

use super::BrickSet;

/// `cluster.quorum-type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuorumType {
    /// Any brick is enough.
    None,
    /// More than half; of an even number exactly half counts when brick 0 is among them.
    Auto,
    /// At least this many bricks (`cluster.quorum-count`, 1 to the number of bricks).
    Fixed(usize),
}

/// The quorum rule of one replica set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorum {
    bricks: usize,
    kind: QuorumType,
}

impl Quorum {
    /// The rule for `bricks` bricks. Without an explicit type GlusterFS uses auto above two bricks, none up to two.
    pub fn new(bricks: usize, explicit: Option<QuorumType>) -> Quorum {
        let default = if bricks > 2 { QuorumType::Auto } else { QuorumType::None };
        Quorum {
            bricks,
            kind: explicit.unwrap_or(default),
        }
    }

    /// Number of bricks of the replica set.
    pub fn bricks(&self) -> usize {
        self.bricks
    }

    /// Whether `set` has the write quorum.
    pub fn met(&self, set: BrickSet) -> bool {
        match self.kind {
            QuorumType::None => !set.is_empty(),
            QuorumType::Fixed(count) => set.len() >= count.max(1),
            QuorumType::Auto => {
                set.len() > self.bricks / 2
                    || (self.bricks.is_multiple_of(2) && set.len() == self.bricks / 2 && set.contains(0))
            }
        }
    }

    /// How many acknowledgements let a write return when `live` bricks take part: a majority of the replica set under
    /// auto, a majority of the live bricks under none and fixed, never below the quorum count, never above `live`.
    pub fn acks(&self, live: usize) -> usize {
        let wanted = match self.kind {
            QuorumType::Auto => self.bricks / 2 + 1,
            QuorumType::None => live / 2 + 1,
            QuorumType::Fixed(count) => (live / 2 + 1).max(count),
        };
        wanted.clamp(1, live.max(1))
    }

    /// The fewest bricks an acknowledged change can be on; `None` where one brick may do.
    pub fn least(&self) -> Option<usize> {
        match self.kind {
            QuorumType::None => None,
            // Half of the bricks do if the first is among them.
            QuorumType::Auto => Some(self.bricks.div_ceil(2)),
            QuorumType::Fixed(count) => Some(count),
        }
    }

    /// Whether any two sets that may decide have a brick in common: whoever asks one hears of what another decided.
    pub fn is_decisive(&self) -> bool {
        match self.kind {
            QuorumType::None => self.bricks == 1,
            QuorumType::Auto => true,
            QuorumType::Fixed(count) => count * 2 > self.bricks,
        }
    }

    /// The number an accusation must reach to count where every brick is accused (brick-and-replicate.md E.3 rule 6);
    /// `None` when the rule is inactive.
    pub fn accusers(&self) -> Option<usize> {
        match self.kind {
            QuorumType::None => None,
            QuorumType::Auto => Some(self.bricks / 2 + 1),
            QuorumType::Fixed(count) => Some(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(bricks: &[usize]) -> BrickSet {
        bricks.iter().copied().collect()
    }

    #[test]
    fn auto_needs_four_of_six_or_three_with_the_first() {
        let q = Quorum::new(6, None);
        assert!(q.met(set(&[1, 2, 3, 4])));
        assert!(q.met(set(&[0, 2, 3])));
        assert!(!q.met(set(&[1, 2, 3])));
        assert!(!q.met(set(&[0, 1])));
        assert_eq!((q.acks(6), q.acks(4), q.acks(3)), (4, 4, 3));
    }

    #[test]
    fn two_bricks_default_to_none() {
        let q = Quorum::new(2, None);
        assert!(q.met(set(&[1])) && !q.met(BrickSet::EMPTY));
        assert_eq!((q.acks(2), q.acks(1)), (2, 1));
    }

    #[test]
    fn fixed_counts() {
        let q = Quorum::new(6, Some(QuorumType::Fixed(2)));
        assert!(q.met(set(&[4, 5])) && !q.met(set(&[5])));
        assert_eq!((q.acks(6), q.acks(2)), (4, 2));
        assert!(!q.is_decisive() && Quorum::new(6, Some(QuorumType::Fixed(4))).is_decisive());
        let odd = Quorum::new(3, Some(QuorumType::Auto));
        assert!(odd.met(set(&[1, 2])) && !odd.met(set(&[0])));
    }
}
