//! Byte ranges of locks: inclusive bounds, with "to the end of the file" as the largest offset.

use crate::errno::{Errno, FsResult};

/// The last offset there is; a length of 0 means "up to here" (brick-and-replicate.md C.3).
pub const END: u64 = i64::MAX as u64;

/// The bytes `start..=end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Last byte, inclusive; [`END`] = to the end of the file.
    pub end: u64,
}

impl Range {
    /// The range of a lock request as it travels: `start` and `len` are signed 64-bit numbers in unsigned fields.
    /// A length of 0 reaches to [`END`]; a negative one covers the bytes before `start`, as in fcntl(2).
    /// `EINVAL` when the range would begin before byte 0 or is empty.
    pub fn from_wire(start: u64, len: u64) -> FsResult<Range> {
        let first = i64::try_from(start).map_err(|_| Errno::EINVAL)?;
        let len = len as i64;
        if len >= 0 {
            let end = if len == 0 {
                i64::MAX
            } else {
                first.saturating_add(len - 1)
            };
            return Ok(Range { start, end: end as u64 });
        }
        let begin = first.checked_add(len).filter(|b| *b >= 0).ok_or(Errno::EINVAL)?;
        Ok(Range {
            start: begin as u64,
            end: (first - 1) as u64,
        })
    }

    /// The `len` field that describes this range: 0 when it reaches to [`END`].
    pub fn wire_len(self) -> u64 {
        if self.end == END { 0 } else { self.end - self.start + 1 }
    }

    /// Whether the two ranges share a byte.
    pub fn overlaps(self, other: Range) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Whether the two ranges share a byte or lie side by side.
    pub fn touches(self, other: Range) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }

    /// What remains of `self` without `other`: the part before and the part after.
    pub fn minus(self, other: Range) -> (Option<Range>, Option<Range>) {
        if !self.overlaps(other) {
            return (Some(self), None);
        }
        let before = (self.start < other.start).then(|| Range {
            start: self.start,
            end: other.start - 1,
        });
        let after = (self.end > other.end).then(|| Range {
            start: other.end + 1,
            end: self.end,
        });
        (before, after)
    }

    /// The smallest range that holds both.
    pub fn hull(self, other: Range) -> Range {
        Range {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_the_wire() {
        assert_eq!(Range::from_wire(10, 20), Ok(Range { start: 10, end: 29 }));
        assert_eq!(Range::from_wire(0, 0), Ok(Range { start: 0, end: END }));
        assert_eq!(
            Range::from_wire(END - 1, 0),
            Ok(Range {
                start: END - 1,
                end: END
            })
        );
        assert_eq!(Range::from_wire(END, 5), Ok(Range { start: END, end: END }));
        assert_eq!(Range::from_wire(10, (-4i64) as u64), Ok(Range { start: 6, end: 9 }));
        assert_eq!(Range::from_wire(3, (-4i64) as u64), Err(Errno::EINVAL));
        assert_eq!(Range::from_wire(u64::MAX, 1), Err(Errno::EINVAL));
        assert_eq!(Range::from_wire(0, i64::MIN as u64), Err(Errno::EINVAL));
    }

    #[test]
    fn the_wire_length_is_the_one_asked_for() {
        for (start, len) in [(0, 0), (10, 20), (0, 1), (END - 1, 0)] {
            assert_eq!(Range::from_wire(start, len).unwrap().wire_len(), len);
        }
    }

    #[test]
    fn subtraction_leaves_both_sides() {
        let all = Range { start: 0, end: END };
        let mid = Range { start: 5, end: 9 };
        assert_eq!(
            all.minus(mid),
            (Some(Range { start: 0, end: 4 }), Some(Range { start: 10, end: END }))
        );
        assert_eq!(mid.minus(all), (None, None));
        assert_eq!(mid.minus(Range { start: 10, end: 12 }), (Some(mid), None));
    }

    #[test]
    fn neighbours_touch_but_do_not_overlap() {
        let (a, b) = (Range { start: 0, end: 4 }, Range { start: 5, end: 9 });
        assert!(a.touches(b) && b.touches(a) && !a.overlaps(b));
        assert!(!a.touches(Range { start: 6, end: 7 }));
        let last = Range { start: END, end: END };
        assert!(last.touches(Range { start: 0, end: END }));
    }
}
