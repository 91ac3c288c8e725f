//! The 16-byte identity of an inode, the same on every brick.

use std::fmt;
use std::str::FromStr;

use super::xdr::{DecodeError, Decoder, Encoder, Xdr};

/// A GlusterFS file id: 16 raw bytes, written as a lower-case UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Gfid(pub [u8; 16]);

impl Gfid {
    /// "No gfid": all zero.
    pub const NULL: Gfid = Gfid([0; 16]);
    /// The root directory of every volume.
    pub const ROOT: Gfid = Gfid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Whether this is [`Gfid::NULL`].
    pub fn is_null(self) -> bool {
        self == Gfid::NULL
    }

    /// Whether this is [`Gfid::ROOT`].
    pub fn is_root(self) -> bool {
        self == Gfid::ROOT
    }

    /// The inode number derived from it: the last 8 bytes read big-endian (wire-protocol.md 3.1).
    pub fn ino(self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[8..]);
        u64::from_be_bytes(low)
    }

    /// A random (version 4) gfid made from 16 random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Gfid {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Gfid(bytes)
    }

    /// The gfid in a 16-byte value, or `None` when the length is another.
    pub fn from_slice(bytes: &[u8]) -> Option<Gfid> {
        bytes.try_into().ok().map(Gfid)
    }
}

impl fmt::Display for Gfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Gfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `opaque[16]`.
impl Xdr for Gfid {
    fn encode(&self, e: &mut Encoder) {
        e.put_raw(&self.0);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Gfid, DecodeError> {
        d.array().map(Gfid)
    }
}

/// The text is not 36 characters of the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadGfid;

impl fmt::Display for BadGfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a gfid in canonical UUID form")
    }
}

impl std::error::Error for BadGfid {}

impl FromStr for Gfid {
    type Err = BadGfid;

    fn from_str(s: &str) -> Result<Gfid, BadGfid> {
        let text = s.as_bytes();
        if text.len() != 36 {
            return Err(BadGfid);
        }
        let mut out = [0u8; 16];
        let mut at = 0;
        for (i, byte) in out.iter_mut().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                if text[at] != b'-' {
                    return Err(BadGfid);
                }
                at += 1;
            }
            let hi = (text[at] as char).to_digit(16).ok_or(BadGfid)?;
            let lo = (text[at + 1] as char).to_digit(16).ok_or(BadGfid)?;
            *byte = (hi * 16 + lo) as u8;
            at += 2;
        }
        Ok(Gfid(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let text = "26d7968e-2176-42b7-8d61-026858529a14";
        let gfid: Gfid = text.parse().unwrap();
        assert_eq!(gfid.to_string(), text);
        assert_eq!(gfid.ino(), 0x8d61_0268_5852_9a14);
    }

    #[test]
    fn root_is_inode_one() {
        assert_eq!(Gfid::ROOT.ino(), 1);
        assert_eq!(Gfid::ROOT.to_string(), "00000000-0000-0000-0000-000000000001");
    }

    #[test]
    fn bad_text_is_refused() {
        for bad in [
            "",
            "26d7968e-2176-42b7-8d61-026858529a1",
            "26d7968e+2176-42b7-8d61-026858529a14",
            "g6d7968e-2176-42b7-8d61-026858529a14",
        ] {
            assert_eq!(bad.parse::<Gfid>(), Err(BadGfid), "{bad}");
        }
    }
}
