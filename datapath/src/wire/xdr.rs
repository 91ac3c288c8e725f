//! XDR, the byte encoding under every message: big-endian words, 4-byte alignment (wire-protocol.md "Notation").
//!
//! Only primitives may live here; structures are defined with the macros of `define` in their own modules.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// The largest record a receiver collects (wire-protocol.md 1.1); no length inside a message can be larger.
pub const MAX_RECORD_LEN: usize = 1 << 30;

/// `len` rounded up to the 4-byte unit of XDR.
pub const fn padded(len: usize) -> usize {
    (len + 3) & !3
}

/// What is wrong with bytes that do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The message ends inside a field.
    Truncated {
        /// Bytes the field needs.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count is above what the protocol allows here.
    TooLong {
        /// The length found.
        len: usize,
        /// The largest one allowed.
        limit: usize,
    },
    /// A number that selects a layout or meaning is not one of the protocol's.
    Unknown {
        /// What the number selects.
        what: &'static str,
        /// The number found.
        value: i64,
    },
    /// A dictionary key does not end with the NUL its length must include.
    KeyWithoutNul,
    /// Bytes are left over behind the last field.
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Bytes that are not a message of the expected kind. A server answers GARBAGE_ARGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset in the decoded bytes at which the bad field begins.
    pub at: usize,
    /// The innermost structure and field, if the field belongs to a structure.
    pub field: Option<&'static str>,
    /// What is wrong there.
    pub why: Why,
}

impl DecodeError {
    /// The same error, said to be in `field` unless an inner field is already named.
    #[must_use]
    pub fn within(mut self, field: &'static str) -> DecodeError {
        self.field.get_or_insert(field);
        self
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Why::Truncated { wanted, left } => write!(f, "needs {wanted} bytes, {left} are left"),
            Why::TooLong { len, limit } => write!(f, "length {len} is above the limit {limit}"),
            Why::Unknown { what, value } => write!(f, "unknown {what} {value}"),
            Why::KeyWithoutNul => f.write_str("dictionary key without its final NUL"),
            Why::Trailing { bytes } => write!(f, "{bytes} bytes left over"),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {}: {}",
            self.field.unwrap_or("message"),
            self.at,
            self.why
        )
    }
}

impl std::error::Error for DecodeError {}

/// Something with a fixed place in the protocol: it can be written and read back.
pub trait Xdr: Sized {
    /// Appends the encoding.
    fn encode(&self, e: &mut Encoder);

    /// Reads one value and moves the decoder behind it.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not such a value; the decoder is then of no further use.
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// The encoding alone, as bytes.
    fn to_bytes(&self) -> Bytes {
        let mut e = Encoder::new();
        self.encode(&mut e);
        e.freeze()
    }

    /// Decodes the whole of `bytes`.
    ///
    /// # Errors
    /// As [`Xdr::decode`], and [`Why::Trailing`] when bytes are left over.
    fn from_bytes(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let value = Self::decode(&mut d)?;
        d.finish()?;
        Ok(value)
    }
}

/// Appends XDR to a buffer. Cannot fail: lengths of Rust values in memory fit the protocol's u32, because no
/// record may reach 1 GiB and the sender of a record checks that.
#[derive(Debug, Default)]
pub struct Encoder {
    buf: BytesMut,
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// An empty encoder with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Encoder {
        Encoder {
            buf: BytesMut::with_capacity(bytes),
        }
    }

    /// Appends to what `buf` already holds.
    pub fn from_buf(buf: BytesMut) -> Encoder {
        Encoder { buf }
    }

    /// The buffer with everything encoded.
    pub fn into_buf(self) -> BytesMut {
        self.buf
    }

    /// Everything encoded, immutable.
    pub fn freeze(self) -> Bytes {
        self.buf.freeze()
    }

    /// Bytes encoded so far.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing is encoded yet.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// An unsigned word.
    pub fn put_u32(&mut self, v: u32) {
        self.buf.put_u32(v);
    }

    /// An unsigned hyper.
    pub fn put_u64(&mut self, v: u64) {
        self.buf.put_u64(v);
    }

    /// Bytes as they are: no length, no padding.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.buf.put_slice(bytes);
    }

    /// `opaque<>` and `string`: length, bytes, padding.
    pub fn put_opaque(&mut self, bytes: &[u8]) {
        self.put_len(bytes.len());
        self.buf.put_slice(bytes);
        self.pad(bytes.len());
    }

    /// A length or count word.
    pub(crate) fn put_len(&mut self, len: usize) {
        debug_assert!(len <= MAX_RECORD_LEN, "a length of {len} cannot be sent");
        self.buf.put_u32(len as u32);
    }

    /// The zero bytes that follow `len` bytes of an opaque.
    pub(crate) fn pad(&mut self, len: usize) {
        self.buf.put_bytes(0, padded(len) - len);
    }

    /// Overwrites the word at offset `at`, which must be encoded already.
    pub fn patch_u32(&mut self, at: usize, v: u32) {
        self.buf[at..at + 4].copy_from_slice(&v.to_be_bytes());
    }
}

/// Reads XDR out of a record. Opaque fields are slices of the record, not copies: keep one only as long as the
/// whole record may stay in memory.
#[derive(Debug)]
pub struct Decoder<'a> {
    data: &'a Bytes,
    at: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder at the beginning of `data`.
    pub fn new(data: &'a Bytes) -> Decoder<'a> {
        Decoder { data, at: 0 }
    }

    /// The offset of the next byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.data.len() - self.at
    }

    /// An error about the field that began at offset `at`.
    pub fn error_at(&self, at: usize, why: Why) -> DecodeError {
        DecodeError { at, field: None, why }
    }

    /// An error about the next field.
    pub fn error(&self, why: Why) -> DecodeError {
        self.error_at(self.at, why)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self
            .data
            .get(self.at..)
            .and_then(|rest| rest.get(..len))
            .ok_or_else(|| {
                self.error(Why::Truncated {
                    wanted: len,
                    left: self.remaining(),
                })
            })?;
        self.at += len;
        Ok(bytes)
    }

    /// Exactly `N` bytes, unpadded (`opaque[N]` with N a multiple of 4).
    ///
    /// # Errors
    /// [`Why::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// An unsigned word.
    ///
    /// # Errors
    /// [`Why::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// An unsigned hyper.
    ///
    /// # Errors
    /// [`Why::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// `len` bytes as a slice of the record, without padding behind them.
    ///
    /// # Errors
    /// [`Why::Truncated`].
    pub fn raw(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let from = self.at;
        self.take(len)?;
        Ok(self.data.slice(from..self.at))
    }

    /// `opaque<>` or `string` of at most `limit` bytes, as a slice of the record.
    ///
    /// # Errors
    /// [`Why::TooLong`], [`Why::Truncated`].
    pub fn opaque_max(&mut self, limit: usize) -> Result<Bytes, DecodeError> {
        let at = self.at;
        let len = self.u32()? as usize;
        if len > limit {
            return Err(self.error_at(at, Why::TooLong { len, limit }));
        }
        let bytes = self.raw(len)?;
        self.take(padded(len) - len)?;
        Ok(bytes)
    }

    /// `opaque<>` or `string`, bounded by the record alone.
    ///
    /// # Errors
    /// [`Why::TooLong`], [`Why::Truncated`].
    pub fn opaque(&mut self) -> Result<Bytes, DecodeError> {
        self.opaque_max(MAX_RECORD_LEN)
    }

    /// A count of elements that take at least `min_len` bytes each; a count that the bytes left cannot hold is
    /// refused before anything is allocated by it.
    ///
    /// # Errors
    /// [`Why::TooLong`], [`Why::Truncated`].
    pub fn count(&mut self, min_len: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let len = self.u32()? as usize;
        let limit = self.remaining() / min_len.max(1);
        if len > limit {
            return Err(self.error_at(at, Why::TooLong { len, limit }));
        }
        Ok(len)
    }

    /// Everything not read yet: the payload of a WRITE call or READ reply.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.data.slice(self.at..);
        self.at = self.data.len();
        rest
    }

    /// Ends decoding.
    ///
    /// # Errors
    /// [`Why::Trailing`] when bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(self.error(Why::Trailing { bytes })),
        }
    }
}

impl Xdr for () {
    fn encode(&self, _: &mut Encoder) {}

    fn decode(_: &mut Decoder<'_>) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Xdr for u32 {
    fn encode(&self, e: &mut Encoder) {
        e.put_u32(*self);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<u32, DecodeError> {
        d.u32()
    }
}

impl Xdr for i32 {
    fn encode(&self, e: &mut Encoder) {
        e.put_u32(*self as u32);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<i32, DecodeError> {
        d.u32().map(|v| v as i32)
    }
}

impl Xdr for u64 {
    fn encode(&self, e: &mut Encoder) {
        e.put_u64(*self);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<u64, DecodeError> {
        d.u64()
    }
}

impl Xdr for i64 {
    fn encode(&self, e: &mut Encoder) {
        e.put_u64(*self as u64);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<i64, DecodeError> {
        d.u64().map(|v| v as i64)
    }
}

/// `opaque<>` and `string`.
impl Xdr for Bytes {
    fn encode(&self, e: &mut Encoder) {
        e.put_opaque(self);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Bytes, DecodeError> {
        d.opaque()
    }
}

/// An element of an XDR optional list: a word 1 before each element and a word 0 behind the last.
pub trait ListItem: Xdr {}

impl<T: ListItem> Xdr for Vec<T> {
    fn encode(&self, e: &mut Encoder) {
        for item in self {
            e.put_u32(1);
            item.encode(e);
        }
        e.put_u32(0);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        loop {
            let at = d.position();
            match d.u32()? {
                0 => return Ok(items),
                1 => items.push(T::decode(d)?),
                value => {
                    return Err(d.error_at(
                        at,
                        Why::Unknown {
                            what: "list marker",
                            value: value.into(),
                        },
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_is_padded_and_bounded() {
        let mut e = Encoder::new();
        e.put_opaque(b"abcde");
        let bytes = e.freeze();
        assert_eq!(&bytes[..], b"\0\0\0\x05abcde\0\0\0");
        assert_eq!(Decoder::new(&bytes).opaque().unwrap(), "abcde");
        let short = Decoder::new(&bytes).opaque_max(4).unwrap_err();
        assert_eq!(short.why, Why::TooLong { len: 5, limit: 4 });
        let cut = bytes.slice(..11);
        assert_eq!(
            Decoder::new(&cut).opaque().unwrap_err().why,
            Why::Truncated { wanted: 3, left: 2 }
        );
    }

    #[test]
    fn opaque_is_a_slice_of_the_record() {
        let bytes = Bytes::from(b"\0\0\0\x04wxyz".to_vec());
        let field = Decoder::new(&bytes).opaque().unwrap();
        assert_eq!(field.as_ptr(), bytes[4..].as_ptr());
    }

    #[test]
    fn an_absurd_count_is_refused_without_allocating() {
        let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let err = Decoder::new(&bytes).count(4).unwrap_err();
        assert_eq!(
            err.why,
            Why::TooLong {
                len: 0xffff_ffff,
                limit: 1
            }
        );
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let bytes = Bytes::from_static(&[0, 0, 0, 1, 9]);
        assert_eq!(u32::from_bytes(&bytes).unwrap_err().why, Why::Trailing { bytes: 1 });
    }

    #[test]
    fn errors_name_the_innermost_field() {
        let err = DecodeError {
            at: 3,
            field: None,
            why: Why::KeyWithoutNul,
        };
        let err = err.within("Inner.x").within("Outer.y");
        assert_eq!(
            err.to_string(),
            "Inner.x at offset 3: dictionary key without its final NUL"
        );
    }
}
