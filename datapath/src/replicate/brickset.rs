//! A set of bricks of one replica set, as bits.

use std::fmt;

/// Bricks 0 to 63 of a replica set. GlusterFS's own limit for readable maps is 16; the volume's is 64 here.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct BrickSet(u64);

impl BrickSet {
    /// The most bricks one replica set may have.
    pub const MAX: usize = 64;
    /// No brick.
    pub const EMPTY: BrickSet = BrickSet(0);

    /// Bricks `0..count`.
    pub fn first(count: usize) -> BrickSet {
        debug_assert!(count <= Self::MAX);
        if count >= Self::MAX {
            BrickSet(u64::MAX)
        } else {
            BrickSet((1 << count) - 1)
        }
    }

    /// One brick.
    pub fn one(brick: usize) -> BrickSet {
        BrickSet(1 << brick)
    }

    /// Whether `brick` is in the set.
    pub fn contains(self, brick: usize) -> bool {
        brick < Self::MAX && self.0 & (1 << brick) != 0
    }

    /// Adds `brick`.
    pub fn insert(&mut self, brick: usize) {
        self.0 |= 1 << brick;
    }

    /// Takes `brick` out.
    pub fn remove(&mut self, brick: usize) {
        self.0 &= !(1 << brick);
    }

    /// How many bricks there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest brick.
    pub fn lowest(self) -> Option<usize> {
        (!self.is_empty()).then(|| self.0.trailing_zeros() as usize)
    }

    /// The bricks in index order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let at = BrickSet(bits).lowest()?;
            bits &= bits - 1;
            Some(at)
        })
    }

    /// Whether every brick of `self` is in `other`.
    pub fn is_subset(self, other: BrickSet) -> bool {
        self.0 & !other.0 == 0
    }
}

impl std::ops::BitAnd for BrickSet {
    type Output = BrickSet;
    fn bitand(self, rhs: BrickSet) -> BrickSet {
        BrickSet(self.0 & rhs.0)
    }
}

impl std::ops::BitOr for BrickSet {
    type Output = BrickSet;
    fn bitor(self, rhs: BrickSet) -> BrickSet {
        BrickSet(self.0 | rhs.0)
    }
}

impl std::ops::BitOrAssign for BrickSet {
    fn bitor_assign(&mut self, rhs: BrickSet) {
        self.0 |= rhs.0;
    }
}

impl std::ops::BitAndAssign for BrickSet {
    fn bitand_assign(&mut self, rhs: BrickSet) {
        self.0 &= rhs.0;
    }
}

impl std::ops::Sub for BrickSet {
    type Output = BrickSet;
    fn sub(self, rhs: BrickSet) -> BrickSet {
        BrickSet(self.0 & !rhs.0)
    }
}

impl FromIterator<usize> for BrickSet {
    fn from_iter<I: IntoIterator<Item = usize>>(iter: I) -> BrickSet {
        let mut set = BrickSet::EMPTY;
        for brick in iter {
            set.insert(brick);
        }
        set
    }
}

impl fmt::Debug for BrickSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_algebra() {
        let a: BrickSet = [0, 2, 5].into_iter().collect();
        let b = BrickSet::first(3);
        assert_eq!((a & b).iter().collect::<Vec<_>>(), [0, 2]);
        assert_eq!((a - b).lowest(), Some(5));
        assert_eq!((a | b).len(), 4);
        assert!(BrickSet::one(2).is_subset(a) && !b.is_subset(a));
        assert_eq!(BrickSet::first(64).len(), 64);
        assert_eq!(BrickSet::EMPTY.lowest(), None);
    }
}
