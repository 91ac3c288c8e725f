//! The record mark before each RPC message on a stream (wire-protocol.md 1.1).
//!
//! Only the mark itself: reading from sockets and joining fragments belongs to `rpc`.

use bytes::Bytes;

use super::xdr::{Encoder, MAX_RECORD_LEN};

/// Bytes of a mark.
pub const MARK_LEN: usize = 4;

const LAST: u32 = 1 << 31;

/// A fragment's head: its length in bytes, the mark not counted, and whether it is the record's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes that follow; at most 0x7fff_ffff.
    pub len: usize,
    /// Whether the record ends with this fragment.
    pub last: bool,
}

impl Mark {
    /// The mark of a record that is one fragment of `len` bytes, which is below [`MAX_RECORD_LEN`].
    pub fn whole(len: usize) -> Mark {
        debug_assert!(len < MAX_RECORD_LEN, "a record of {len} bytes cannot be sent");
        Mark { len, last: true }
    }

    /// Reads a mark.
    pub fn from_bytes(bytes: [u8; MARK_LEN]) -> Mark {
        let word = u32::from_be_bytes(bytes);
        Mark {
            len: (word & !LAST) as usize,
            last: word & LAST != 0,
        }
    }

    /// The mark as it travels.
    pub fn to_bytes(self) -> [u8; MARK_LEN] {
        let last = if self.last { LAST } else { 0 };
        (self.len as u32 | last).to_be_bytes()
    }
}

/// Builds a whole record: the mark, then what `fill` encodes, announced as followed by `payload_len` bytes that
/// the caller sends behind it (0 for everything but WRITE calls and READ replies).
pub fn build(payload_len: usize, fill: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::with_capacity(512);
    e.put_u32(0);
    fill(&mut e);
    let mark = Mark::whole(e.len() - MARK_LEN + payload_len);
    e.patch_u32(0, u32::from_be_bytes(mark.to_bytes()));
    e.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        assert_eq!(Mark::from_bytes([0x80, 0, 0, 0x8c]), Mark { len: 140, last: true });
        assert_eq!(Mark::from_bytes([0, 0, 0, 40]), Mark { len: 40, last: false });
        assert_eq!(Mark::whole(140).to_bytes(), [0x80, 0, 0, 0x8c]);
        assert_eq!(Mark::from_bytes([0xff; 4]).len, 0x7fff_ffff);
    }

    #[test]
    fn a_record_counts_its_payload() {
        let record = build(100, |e| e.put_u32(7));
        assert_eq!(record[..], [0x80, 0, 0, 104, 0, 0, 0, 7]);
    }
}
