//! The untyped dictionary of handshake, management, CLI and callbacks (wire-protocol.md 3.4).
//!
//! On the wire it always lies in an `opaque<>`: no bytes at all are "no dictionary", four zero bytes an empty one.
//! Values have no type: text and decimal numbers end with a NUL that their length includes, uuids are 16 raw bytes.

use std::fmt;

use bytes::Bytes;

use super::xdr::{DecodeError, Decoder, Encoder, Why, Xdr};
use super::{Gfid, Key};

/// The shortest pair: two lengths, no key, the NUL behind it, no value.
const MIN_PAIR_LEN: usize = 4 + 4 + 1;

/// An ordered dictionary of byte strings. Order has no meaning but is kept, so that a decoded message encodes to
/// the same bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OldDict {
    /// `None` is "no dictionary".
    pairs: Option<Vec<(Key, Bytes)>>,
}

impl OldDict {
    /// No dictionary: an opaque of no bytes.
    pub const fn null() -> OldDict {
        OldDict { pairs: None }
    }

    /// An empty dictionary.
    pub const fn new() -> OldDict {
        OldDict {
            pairs: Some(Vec::new()),
        }
    }

    /// A dictionary of these pairs in this order; the values are as on the wire.
    pub fn from_pairs(pairs: Vec<(Key, Bytes)>) -> OldDict {
        OldDict { pairs: Some(pairs) }
    }

    /// Whether there is no dictionary.
    pub fn is_null(&self) -> bool {
        self.pairs.is_none()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.as_ref().map_or(0, Vec::len)
    }

    /// The pairs in order, values as on the wire.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Key, Bytes)> {
        self.pairs.iter().flatten()
    }

    /// The value of `key` as on the wire; of several, the last.
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.iter().rev().find(|(k, _)| k.0 == key.as_bytes()).map(|(_, v)| v)
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key` to raw bytes, replacing its value in place if it is there.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Bytes>) -> &mut OldDict {
        let (key, value) = (key.into(), value.into());
        let pairs = self.pairs.get_or_insert_with(Vec::new);
        match pairs.iter_mut().find(|(k, _)| *k == key) {
            Some((_, v)) => *v = value,
            None => pairs.push((key, value)),
        }
        self
    }

    /// Sets `key` to text; the NUL is added.
    pub fn set_str(&mut self, key: impl Into<Key>, text: &str) -> &mut OldDict {
        let mut value = Vec::with_capacity(text.len() + 1);
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        self.set(key, value)
    }

    /// Sets `key` to a number as decimal text.
    pub fn set_int(&mut self, key: impl Into<Key>, number: impl Into<i128>) -> &mut OldDict {
        let number: i128 = number.into();
        self.set_str(key, &number.to_string())
    }

    /// Sets `key` to the 16 raw bytes of a uuid.
    pub fn set_uuid(&mut self, key: impl Into<Key>, uuid: Gfid) -> &mut OldDict {
        self.set(key, uuid.0.to_vec())
    }

    /// [`OldDict::set_str`], chained by value.
    #[must_use]
    pub fn with_str(mut self, key: impl Into<Key>, text: &str) -> OldDict {
        self.set_str(key, text);
        self
    }

    /// [`OldDict::set_int`], chained by value.
    #[must_use]
    pub fn with_int(mut self, key: impl Into<Key>, number: impl Into<i128>) -> OldDict {
        self.set_int(key, number);
        self
    }

    /// Removes `key` and returns its value as on the wire.
    pub fn remove(&mut self, key: &str) -> Option<Bytes> {
        let pairs = self.pairs.as_mut()?;
        let at = pairs.iter().position(|(k, _)| k.0 == key.as_bytes())?;
        Some(pairs.remove(at).1)
    }

    /// The bytes of `key` up to its first NUL, as a consumer of C strings sees them.
    pub fn get_bytes(&self, key: &str) -> Option<&[u8]> {
        self.get(key)?.split(|b| *b == 0).next()
    }

    /// The text of `key` up to its first NUL; `None` also when it is not UTF-8.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(key)?).ok()
    }

    /// The number in decimal text; `None` also when the text is no number that fits.
    pub fn get_i64(&self, key: &str) -> Option<i64> {
        self.get_str(key)?.trim().parse().ok()
    }

    /// [`OldDict::get_i64`] for a smaller number.
    pub fn get_i32(&self, key: &str) -> Option<i32> {
        self.get_str(key)?.trim().parse().ok()
    }

    /// [`OldDict::get_i64`] for an unsigned number.
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        self.get_str(key)?.trim().parse().ok()
    }

    /// [`OldDict::get_i64`] for a smaller unsigned number.
    pub fn get_u32(&self, key: &str) -> Option<u32> {
        self.get_str(key)?.trim().parse().ok()
    }

    /// A uuid of 16 raw bytes or of 36 characters.
    pub fn get_uuid(&self, key: &str) -> Option<Gfid> {
        Gfid::from_slice(self.get(key)?).or_else(|| self.get_str(key)?.parse().ok())
    }

    /// The dictionary without the opaque's length and padding around it: what the opaque contains.
    pub fn serialize(&self) -> Bytes {
        let mut e = Encoder::with_capacity(self.serialized_len());
        self.put_pairs(&mut e);
        e.freeze()
    }

    /// Reads what an opaque contains; no bytes are [`OldDict::null`].
    ///
    /// # Errors
    /// [`DecodeError`] when a length does not fit, a key lacks its NUL, or bytes are left over.
    pub fn deserialize(bytes: &Bytes) -> Result<OldDict, DecodeError> {
        if bytes.is_empty() {
            return Ok(OldDict::null());
        }
        let mut d = Decoder::new(bytes);
        let count = d.count(MIN_PAIR_LEN)?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let key_len = d.u32()? as usize;
            let value_len = d.u32()? as usize;
            let key = d.raw(key_len)?;
            let at = d.position();
            if d.array::<1>()? != [0] {
                return Err(d.error_at(at, Why::KeyWithoutNul));
            }
            pairs.push((Key(key), d.raw(value_len)?));
        }
        d.finish()?;
        Ok(OldDict::from_pairs(pairs))
    }

    fn serialized_len(&self) -> usize {
        match &self.pairs {
            None => 0,
            Some(pairs) => {
                4 + pairs
                    .iter()
                    .map(|(k, v)| MIN_PAIR_LEN + k.0.len() + v.len())
                    .sum::<usize>()
            }
        }
    }

    fn put_pairs(&self, e: &mut Encoder) {
        let Some(pairs) = &self.pairs else { return };
        e.put_len(pairs.len());
        for (key, value) in pairs {
            e.put_len(key.0.len());
            e.put_len(value.len());
            e.put_raw(&key.0);
            e.put_raw(&[0]);
            e.put_raw(value);
        }
    }
}

impl Xdr for OldDict {
    fn encode(&self, e: &mut Encoder) {
        let len = self.serialized_len();
        e.put_len(len);
        self.put_pairs(e);
        e.pad(len);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<OldDict, DecodeError> {
        let at = d.position() + 4;
        let bytes = d.opaque()?;
        OldDict::deserialize(&bytes).map_err(|e| DecodeError { at: at + e.at, ..e })
    }
}

/// Text values are shown as text, with the NUL they carry.
impl fmt::Debug for OldDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pairs {
            None => f.write_str("NULL"),
            Some(pairs) => f
                .debug_map()
                .entries(pairs.iter().map(|(k, v)| (k, String::from_utf8_lossy(v))))
                .finish(),
        }
    }
}

#[cfg(test)]
impl super::sample::Sample for OldDict {
    fn sample(s: &mut super::sample::Entropy<'_>) -> OldDict {
        if s.byte().is_multiple_of(4) {
            return OldDict::null();
        }
        let len = s.below(6);
        OldDict::from_pairs(
            (0..len)
                .map(|_| (Key(Bytes::from(s.text())), Bytes::from(s.text())))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op_versions() -> OldDict {
        OldDict::new()
            .with_str("max-op-version", "100000")
            .with_int("min-op-version", 1)
    }

    #[test]
    fn the_reference_example() {
        // wire-protocol.md 8.1: 59 bytes and one byte of padding.
        let bytes = op_versions().to_bytes();
        assert_eq!(&bytes[..8], b"\0\0\0\x3b\0\0\0\x02");
        assert_eq!(
            &bytes[8..],
            b"\0\0\0\x0e\0\0\0\x07max-op-version\x00100000\0\0\0\0\x0e\0\0\0\x02min-op-version\x001\0\0"
        );
        assert_eq!(OldDict::from_bytes(&bytes).unwrap(), op_versions());
    }

    #[test]
    fn null_and_empty_differ() {
        assert_eq!(&OldDict::null().to_bytes()[..], [0; 4]);
        assert_eq!(&OldDict::new().to_bytes()[..], b"\0\0\0\x04\0\0\0\0");
        assert!(OldDict::from_bytes(&OldDict::null().to_bytes()).unwrap().is_null());
        assert!(!OldDict::from_bytes(&OldDict::new().to_bytes()).unwrap().is_null());
    }

    #[test]
    fn getters_read_c_strings() {
        let mut d = op_versions();
        d.set("raw", &b"no-nul"[..])
            .set_uuid("id", Gfid::ROOT)
            .set_str("idtext", &Gfid::ROOT.to_string());
        assert_eq!(d.get_i32("max-op-version"), Some(100_000));
        assert_eq!(d.get_str("raw"), Some("no-nul"));
        assert_eq!(d.get_i32("raw"), None);
        assert_eq!(
            (d.get_uuid("id"), d.get_uuid("idtext")),
            (Some(Gfid::ROOT), Some(Gfid::ROOT))
        );
        assert_eq!(d.remove("raw").unwrap(), "no-nul");
        assert!(!d.contains("raw"));
    }

    #[test]
    fn damage_is_refused() {
        let good = op_versions().serialize();
        for cut in 1..good.len() {
            assert!(OldDict::deserialize(&good.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut bad = good.to_vec();
        bad[4 + 8 + 14] = b'x';
        assert_eq!(OldDict::deserialize(&bad.into()).unwrap_err().why, Why::KeyWithoutNul);
        let mut long = good.to_vec();
        long.push(0);
        assert_eq!(
            OldDict::deserialize(&long.into()).unwrap_err().why,
            Why::Trailing { bytes: 1 }
        );
    }
}
