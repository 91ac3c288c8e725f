//! `trusted.glusterfs.mdata`: the times of an object, the same on every brick (brick-and-replicate.md A.5, B.10).

use crate::sys::fs::Stat;
use crate::wire::MdataIatt;

/// The xattr's name.
pub(super) const KEY: &[u8] = b"trusted.glusterfs.mdata";
/// Its length in bytes.
pub const SIZE: usize = 57;
const VERSION: u8 = 1;

/// One time: seconds and nanoseconds since the epoch.
pub type Time = (i64, u32);

/// Which times a fop updates: the client's flag word (brick-and-replicate.md B.10).
pub mod flag {
    /// The object's ctime.
    pub const CTIME: u32 = 1;
    /// The object's mtime.
    pub const MTIME: u32 = 2;
    /// The object's atime.
    pub const ATIME: u32 = 4;
    /// All three: a new object.
    pub const ALL: u32 = 7;
    /// The parent's are the same bits, this many places up.
    pub const PARENT_SHIFT: u32 = 3;
}

/// The time a client stamped a call with, and which times it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bits of [`flag`]; 0 updates nothing.
    pub flags: u32,
    /// Seconds since the epoch.
    pub sec: i64,
    /// Nanoseconds, below 1e9.
    pub nsec: u32,
}

impl Stamp {
    /// A stamp that updates nothing.
    pub const NONE: Stamp = Stamp {
        flags: 0,
        sec: 0,
        nsec: 0,
    };

    /// The time itself.
    pub fn time(&self) -> Time {
        (self.sec, self.nsec.min(999_999_999))
    }

    /// The stamp as it applies to the parent directory.
    pub(super) fn for_parent(self) -> Stamp {
        Stamp {
            flags: (self.flags >> flag::PARENT_SHIFT) & flag::ALL,
            ..self
        }
    }

    /// The stamp as it applies to the object.
    pub(super) fn for_object(self) -> Stamp {
        Stamp {
            flags: self.flags & flag::ALL,
            ..self
        }
    }
}

/// The three times of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Change of attributes or names.
    pub ctime: Time,
    /// Change of content.
    pub mtime: Time,
    /// Last read.
    pub atime: Time,
}

impl Times {
    /// All three the same.
    pub fn all(time: Time) -> Times {
        Times {
            ctime: time,
            mtime: time,
            atime: time,
        }
    }

    /// What the file system says.
    pub fn from_stat(s: &Stat) -> Times {
        Times {
            ctime: s.ctime,
            mtime: s.mtime,
            atime: s.atime,
        }
    }

    /// What a client sent; nanoseconds out of range are brought into it.
    pub fn from_wire(m: &MdataIatt) -> Times {
        let time = |sec, nsec: u32| (sec, nsec.min(999_999_999));
        Times {
            ctime: time(m.ctime, m.ctime_nsec),
            mtime: time(m.mtime, m.mtime_nsec),
            atime: time(m.atime, m.atime_nsec),
        }
    }

    /// The bytes of the xattr.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut out = [0u8; SIZE];
        out[0] = VERSION;
        for (i, (sec, nsec)) in [self.ctime, self.mtime, self.atime].into_iter().enumerate() {
            let at = 9 + 16 * i;
            out[at..at + 8].copy_from_slice(&sec.to_be_bytes());
            out[at + 8..at + 16].copy_from_slice(&u64::from(nsec).to_be_bytes());
        }
        out
    }

    /// The times in the bytes of the xattr; `None` if it is not one (another length or version).
    pub fn decode(bytes: &[u8]) -> Option<Times> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        if bytes[0] != VERSION {
            return None;
        }
        let number = |at: usize| bytes[at..at + 8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let time = |at: usize| -> Option<Time> {
            let nsec = u32::try_from(number(at + 8)).ok().filter(|n| *n < 1_000_000_000)?;
            Some((number(at) as i64, nsec))
        };
        Some(Times {
            ctime: time(9)?,
            mtime: time(25)?,
            atime: time(41)?,
        })
    }

    /// Newest wins, for the times the stamp is for.
    pub fn stamp(&mut self, stamp: Stamp) {
        let time = stamp.time();
        for (bit, field) in [
            (flag::CTIME, &mut self.ctime),
            (flag::MTIME, &mut self.mtime),
            (flag::ATIME, &mut self.atime),
        ] {
            if stamp.flags & bit != 0 && time > *field {
                *field = time;
            }
        }
    }

    /// Newest wins, for all three.
    pub fn merge(&mut self, other: &Times) {
        self.ctime = self.ctime.max(other.ctime);
        self.mtime = self.mtime.max(other.mtime);
        self.atime = self.atime.max(other.atime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference() {
        let times = Times {
            ctime: (0x0102_0304, 5),
            mtime: (6, 7),
            atime: (8, 999_999_999),
        };
        let bytes = times.encode();
        assert_eq!(bytes.len(), 57);
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[1..9], [0; 8]);
        assert_eq!(bytes[9..25], [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(bytes[32], 6);
        assert_eq!(Times::decode(&bytes), Some(times));
        assert_eq!(Times::decode(&bytes[..12]), None);
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(Times::decode(&other), None);
        other[0] = 1;
        other[20] = 0xff;
        assert_eq!(Times::decode(&other), None, "nanoseconds out of range");
    }

    #[test]
    fn what_glusterfs_10_3_wrote_is_read() {
        let mut bytes = [0u8; SIZE];
        bytes[0] = 1;
        for (at, nsec) in [(9, 0x30eb_b7d2u32), (25, 0x2920_2ecf), (41, 0x28e5_e042)] {
            bytes[at + 4..at + 8].copy_from_slice(&0x6b03_5f41u32.to_be_bytes());
            bytes[at + 12..at + 16].copy_from_slice(&nsec.to_be_bytes());
        }
        let times = Times::decode(&bytes).unwrap();
        assert_eq!(times.ctime, (1_795_383_105, 0x30eb_b7d2));
        assert_eq!((times.mtime.1, times.atime.1), (0x2920_2ecf, 0x28e5_e042));
        assert_eq!(times.encode(), bytes);
    }

    #[test]
    fn whatever_a_client_sends_can_be_read_back() {
        let sent = MdataIatt {
            atime: i64::MIN,
            mtime_nsec: u32::MAX,
            ctime_nsec: 1_000_000_000,
            ..Default::default()
        };
        let times = Times::from_wire(&sent);
        assert_eq!(Times::decode(&times.encode()), Some(times));
        let stamp = Stamp {
            flags: flag::ALL,
            sec: -1,
            nsec: u32::MAX,
        };
        assert_eq!(
            Times::decode(&Times::all(stamp.time()).encode()),
            Some(Times::all((-1, 999_999_999)))
        );
    }

    #[test]
    fn newest_wins_per_field() {
        let mut times = Times::all((100, 5));
        times.stamp(Stamp {
            flags: flag::CTIME | flag::ATIME,
            sec: 100,
            nsec: 6,
        });
        assert_eq!(
            times,
            Times {
                ctime: (100, 6),
                mtime: (100, 5),
                atime: (100, 6)
            }
        );
        times.stamp(Stamp {
            flags: flag::ALL,
            sec: 99,
            nsec: 999,
        });
        assert_eq!(times.mtime, (100, 5));
        times.merge(&Times {
            ctime: (1, 1),
            mtime: (200, 0),
            atime: (1, 1),
        });
        assert_eq!(
            times,
            Times {
                ctime: (100, 6),
                mtime: (200, 0),
                atime: (100, 6)
            }
        );
    }

    #[test]
    fn the_parents_bits_are_above_the_objects() {
        let stamp = Stamp {
            flags: 0b011_001,
            sec: 1,
            nsec: 2,
        };
        assert_eq!(stamp.for_parent().flags, flag::CTIME | flag::MTIME);
        assert_eq!(stamp.for_object().flags, flag::CTIME);
    }
}
