//! The encoding of gfx_dict (wire-protocol.md 3.2). What a dictionary can do is in `dict`.

use bytes::Bytes;

use super::xdr::{DecodeError, Decoder, Encoder, Why, Xdr, padded};
use super::{Dict, Gfid, Iatt, Key, MdataIatt, Value};

const TYPE_STR_OLD: i32 = 1;
const TYPE_INT: i32 = 2;
const TYPE_UINT: i32 = 3;
const TYPE_DOUBLE: i32 = 4;
const TYPE_STR: i32 = 5;
const TYPE_PTR: i32 = 6;
const TYPE_GFID: i32 = 7;
const TYPE_IATT: i32 = 8;
const TYPE_MDATA: i32 = 9;

/// The fixed head: xdr_size, count, number of pairs.
pub(crate) const HEAD_LEN: usize = 12;
/// The shortest pair: a key of one NUL, a type, an empty value.
const MIN_PAIR_LEN: usize = 4 + 4 + 4 + 4;
/// The count that says "no dictionary".
const NULL_COUNT: i32 = -1;

impl Value {
    /// The wire's number of this type.
    fn type_number(&self) -> i32 {
        match self {
            Value::StrOld(_) => TYPE_STR_OLD,
            Value::Int(_) => TYPE_INT,
            Value::Uint(_) => TYPE_UINT,
            Value::Double(_) => TYPE_DOUBLE,
            Value::Str(_) => TYPE_STR,
            Value::Ptr(_) => TYPE_PTR,
            Value::Gfid(_) => TYPE_GFID,
            Value::Iatt(_) => TYPE_IATT,
            Value::Mdata(_) => TYPE_MDATA,
        }
    }
}

/// Type word and value.
impl Xdr for Value {
    fn encode(&self, e: &mut Encoder) {
        self.type_number().encode(e);
        match self {
            Value::StrOld(b) | Value::Str(b) | Value::Ptr(b) => b.encode(e),
            Value::Int(i) => i.encode(e),
            Value::Uint(u) => u.encode(e),
            Value::Double(f) => f.to_bits().encode(e),
            Value::Gfid(g) => g.encode(e),
            Value::Iatt(iatt) => iatt.encode(e),
            Value::Mdata(m) => m.encode(e),
        }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Value, DecodeError> {
        let at = d.position();
        Ok(match i32::decode(d)? {
            TYPE_STR_OLD => Value::StrOld(d.opaque()?),
            TYPE_INT => Value::Int(i64::decode(d)?),
            TYPE_UINT => Value::Uint(d.u64()?),
            TYPE_DOUBLE => Value::Double(f64::from_bits(d.u64()?)),
            TYPE_STR => Value::Str(d.opaque()?),
            TYPE_PTR => Value::Ptr(d.opaque()?),
            TYPE_GFID => Value::Gfid(Gfid::decode(d)?),
            TYPE_IATT => Value::Iatt(Box::new(Iatt::decode(d)?)),
            TYPE_MDATA => Value::Mdata(MdataIatt::decode(d)?),
            value => {
                return Err(d.error_at(
                    at,
                    Why::Unknown {
                        what: "dictionary value type",
                        value: value.into(),
                    },
                ));
            }
        })
    }
}

/// A key travels with a NUL that its length includes.
impl Xdr for Key {
    fn encode(&self, e: &mut Encoder) {
        let len = self.0.len() + 1;
        e.put_len(len);
        e.put_raw(&self.0);
        e.put_raw(&[0]);
        e.pad(len);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Key, DecodeError> {
        let at = d.position();
        let mut key: Bytes = d.opaque()?;
        match key.split_last() {
            Some((0, text)) => {
                key.truncate(text.len());
                Ok(Key(key))
            }
            _ => Err(d.error_at(at, Why::KeyWithoutNul)),
        }
    }
}

/// The `xdr_size` field is written for receivers that find a WRITE's payload by it; like upstream, decoding goes
/// by the pairs themselves and neither trusts nor checks it, nor `count` beyond its meaning of "NULL".
impl Xdr for Dict {
    fn encode(&self, e: &mut Encoder) {
        if self.is_null() {
            0u32.encode(e);
            NULL_COUNT.encode(e);
            return 0u32.encode(e);
        }
        let head = e.len();
        e.put_u32(0);
        e.put_len(self.len());
        e.put_len(self.len());
        for (key, value) in self.iter() {
            key.encode(e);
            value.encode(e);
        }
        let size = e.len() - head - HEAD_LEN;
        debug_assert_eq!(size, padded(size));
        e.patch_u32(head, size as u32);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Dict, DecodeError> {
        let _xdr_size = d.u32()?;
        let at = d.position();
        let count = i32::decode(d)?;
        let pairs = d.count(MIN_PAIR_LEN)?;
        if count < 0 {
            return match (count, pairs) {
                (NULL_COUNT, 0) => Ok(Dict::null()),
                _ => Err(d.error_at(
                    at,
                    Why::Unknown {
                        what: "dictionary count",
                        value: count.into(),
                    },
                )),
            };
        }
        let mut out = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            out.push((Key::decode(d)?, Value::decode(d)?));
        }
        Ok(Dict::from_pairs(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ_on_the_wire() {
        assert_eq!(&Dict::null().to_bytes()[..], b"\0\0\0\0\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(&Dict::new().to_bytes()[..], [0; 12]);
        assert!(Dict::from_bytes(&Dict::null().to_bytes()).unwrap().is_null());
        assert!(!Dict::from_bytes(&Dict::new().to_bytes()).unwrap().is_null());
    }

    #[test]
    fn a_key_without_nul_is_refused() {
        let mut bytes = Dict::new().with("abc", Value::Int(1)).to_bytes().to_vec();
        bytes[19] = b'd';
        let err = Dict::from_bytes(&bytes.into()).unwrap_err();
        assert_eq!((err.at, err.why), (12, Why::KeyWithoutNul));
    }

    #[test]
    fn an_unknown_type_is_refused() {
        for bad in [0u8, 10] {
            let mut bytes = Dict::new().with("abc", Value::Int(1)).to_bytes().to_vec();
            bytes[23] = bad;
            let err = Dict::from_bytes(&bytes.into()).unwrap_err();
            assert_eq!(
                err.why,
                Why::Unknown {
                    what: "dictionary value type",
                    value: bad.into()
                }
            );
        }
    }

    #[test]
    fn a_null_dictionary_with_pairs_is_refused() {
        let mut bytes = Dict::new().with("abc", Value::Int(1)).to_bytes().to_vec();
        bytes[4..8].fill(0xff);
        assert!(Dict::from_bytes(&bytes.into()).is_err());
    }
}
