//! Values for property tests: every structure can be built out of a string of random bytes.
//!
//! Test code only. proptest supplies (and shrinks) the bytes; exhausted bytes read as zero, so a shrunk case is
//! one with short strings and zero numbers.

use bytes::Bytes;

use super::xdr::{ListItem, Xdr};
use super::{Dict, Gfid, Key, Value};

/// The random bytes a value is built from.
#[derive(Debug)]
pub(crate) struct Entropy<'a> {
    bytes: &'a [u8],
}

impl<'a> Entropy<'a> {
    /// Draws from `bytes`, front to back.
    pub(crate) fn new(bytes: &'a [u8]) -> Entropy<'a> {
        Entropy { bytes }
    }

    /// The next byte, 0 when there is none.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((b, rest)) => {
                self.bytes = rest;
                *b
            }
            None => 0,
        }
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// A number below `limit`, which is at most 256.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// Up to 39 bytes.
    pub(crate) fn text(&mut self) -> Vec<u8> {
        let len = self.below(40);
        (0..len).map(|_| self.byte()).collect()
    }
}

/// A type property tests can build.
pub(crate) trait Sample: Sized {
    /// One value.
    fn sample(s: &mut Entropy<'_>) -> Self;
}

/// One structure's round trip, its type erased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    /// The structure's name.
    pub(crate) name: &'static str,
    /// Builds a value, encodes and decodes it, and says whether it is the same; gives the encoding.
    pub(crate) round_trip: fn(&mut Entropy<'_>) -> Result<Bytes, String>,
}

impl Sampler {
    /// The sampler of `T`.
    pub(crate) const fn of<T: Sample + Xdr + PartialEq + std::fmt::Debug>(name: &'static str) -> Sampler {
        Sampler {
            name,
            round_trip: round_trip::<T>,
        }
    }
}

fn round_trip<T: Sample + Xdr + PartialEq + std::fmt::Debug>(s: &mut Entropy<'_>) -> Result<Bytes, String> {
    let value = T::sample(s);
    let bytes = value.to_bytes();
    let back = T::from_bytes(&bytes).map_err(|e| format!("{value:?} does not decode: {e}"))?;
    if back == value {
        Ok(bytes)
    } else {
        Err(format!("{value:?} came back as {back:?}"))
    }
}

impl Sample for u32 {
    fn sample(s: &mut Entropy<'_>) -> u32 {
        u32::from_be_bytes(s.array())
    }
}

impl Sample for i32 {
    fn sample(s: &mut Entropy<'_>) -> i32 {
        i32::from_be_bytes(s.array())
    }
}

impl Sample for u64 {
    fn sample(s: &mut Entropy<'_>) -> u64 {
        u64::from_be_bytes(s.array())
    }
}

impl Sample for i64 {
    fn sample(s: &mut Entropy<'_>) -> i64 {
        i64::from_be_bytes(s.array())
    }
}

impl Sample for Bytes {
    fn sample(s: &mut Entropy<'_>) -> Bytes {
        Bytes::from(s.text())
    }
}

impl<T: Sample + ListItem> Sample for Vec<T> {
    fn sample(s: &mut Entropy<'_>) -> Vec<T> {
        let len = s.below(5);
        (0..len).map(|_| T::sample(s)).collect()
    }
}

impl Sample for Gfid {
    fn sample(s: &mut Entropy<'_>) -> Gfid {
        Gfid(s.array())
    }
}

impl Sample for Key {
    fn sample(s: &mut Entropy<'_>) -> Key {
        Key(Sample::sample(s))
    }
}

impl Sample for Value {
    fn sample(s: &mut Entropy<'_>) -> Value {
        match s.below(9) {
            0 => Value::StrOld(Sample::sample(s)),
            1 => Value::Int(Sample::sample(s)),
            2 => Value::Uint(Sample::sample(s)),
            // A NaN is not equal to itself, so a round trip could not be judged.
            3 => Value::Double(
                Some(f64::from_bits(Sample::sample(s)))
                    .filter(|f| !f.is_nan())
                    .unwrap_or(0.5),
            ),
            4 => Value::Str(Sample::sample(s)),
            5 => Value::Ptr(Sample::sample(s)),
            6 => Value::Gfid(Sample::sample(s)),
            7 => Value::Iatt(Box::new(Sample::sample(s))),
            _ => Value::Mdata(Sample::sample(s)),
        }
    }
}

impl Sample for Dict {
    fn sample(s: &mut Entropy<'_>) -> Dict {
        if s.byte().is_multiple_of(4) {
            return Dict::null();
        }
        let len = s.below(6);
        Dict::from_pairs((0..len).map(|_| (Sample::sample(s), Sample::sample(s))).collect())
    }
}
