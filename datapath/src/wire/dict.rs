//! gfx_dict: the typed dictionary that every fop carries as xdata (wire-protocol.md 3.2).

use std::fmt;

use bytes::Bytes;

use super::{Gfid, Iatt, MdataIatt};

/// A dictionary key, without the NUL that ends it on the wire.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub Bytes);

impl From<&'static str> for Key {
    fn from(s: &'static str) -> Key {
        Key(Bytes::from_static(s.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(s: String) -> Key {
        Key(Bytes::from(s))
    }
}

impl From<Bytes> for Key {
    fn from(b: Bytes) -> Key {
        Key(b)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// A typed value. The variants are the wire's types 1 to 9.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// 1: a value that came out of an old dictionary; bytes.
    StrOld(Bytes),
    /// 2: every signed size and booleans.
    Int(i64),
    /// 3: every unsigned size.
    Uint(u64),
    /// 4.
    Double(f64),
    /// 5: text, kept with the NUL its length includes on the wire. Build it with [`Value::str`].
    Str(Bytes),
    /// 6: raw bytes: xattr values, counters.
    Ptr(Bytes),
    /// 7.
    Gfid(Gfid),
    /// 8.
    Iatt(Box<Iatt>),
    /// 9.
    Mdata(MdataIatt),
}

impl Value {
    /// A text value; the NUL is added.
    pub fn str(text: &str) -> Value {
        let mut v = Vec::with_capacity(text.len() + 1);
        v.extend_from_slice(text.as_bytes());
        v.push(0);
        Value::Str(Bytes::from(v))
    }

    /// A raw value.
    pub fn ptr(bytes: impl Into<Bytes>) -> Value {
        Value::Ptr(bytes.into())
    }

    /// The bytes of a string or raw value; text loses the NUL that ends it.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Ptr(b) => Some(b),
            Value::Str(b) | Value::StrOld(b) => Some(b.strip_suffix(&[0]).unwrap_or(b)),
            Value::Gfid(g) => Some(&g.0),
            Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Iatt(_) | Value::Mdata(_) => None,
        }
    }

    /// The text of a string value, or of raw bytes that are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        let bytes = self.as_bytes()?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }

    /// The number in an integer value, or in decimal text.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Uint(u) => i64::try_from(*u).ok(),
            Value::Str(_) | Value::StrOld(_) => self.as_str()?.parse().ok(),
            _ => None,
        }
    }
}

/// An ordered dictionary. Order has no meaning but is kept, so that a decoded message encodes to the same bytes.
#[derive(Clone, PartialEq, Default)]
pub struct Dict {
    /// `None` is the NULL dictionary, which the wire tells from an empty one.
    pairs: Option<Vec<(Key, Value)>>,
}

impl Dict {
    /// The NULL dictionary (count -1 on the wire): no xdata.
    pub const fn null() -> Dict {
        Dict { pairs: None }
    }

    /// An empty dictionary (count 0 on the wire).
    pub const fn new() -> Dict {
        Dict {
            pairs: Some(Vec::new()),
        }
    }

    /// A dictionary of these pairs, in this order.
    pub fn from_pairs(pairs: Vec<(Key, Value)>) -> Dict {
        Dict { pairs: Some(pairs) }
    }

    /// Whether this is the NULL dictionary.
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

    /// The pairs in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Key, Value)> {
        self.pairs.iter().flatten()
    }

    /// The value of `key`: of several, the one decoded last.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.get_key(key.as_bytes())
    }

    /// [`Dict::get`] for a key that may not be UTF-8.
    pub fn get_key(&self, key: &[u8]) -> Option<&Value> {
        self.iter().rev().find(|(k, _)| k.0 == key).map(|(_, v)| v)
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key`, replacing its value in place if it is there. A NULL dictionary becomes a real one.
    pub fn set(&mut self, key: impl Into<Key>, value: Value) -> &mut Dict {
        let key = key.into();
        let pairs = self.pairs.get_or_insert_with(Vec::new);
        match pairs.iter_mut().find(|(k, _)| *k == key) {
            Some((_, v)) => *v = value,
            None => pairs.push((key, value)),
        }
        self
    }

    /// [`Dict::set`], chained by value.
    pub fn with(mut self, key: impl Into<Key>, value: Value) -> Dict {
        self.set(key, value);
        self
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let pairs = self.pairs.as_mut()?;
        let at = pairs.iter().position(|(k, _)| k.0 == key.as_bytes())?;
        Some(pairs.remove(at).1)
    }

    /// The integer of `key`, whatever integer type it travels as.
    pub fn get_i64(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    /// The unsigned integer of `key`.
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Uint(u) => Some(*u),
            other => other.as_i64().and_then(|i| u64::try_from(i).ok()),
        }
    }

    /// The text of `key`, without its NUL.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The bytes of `key` (text loses its NUL).
    pub fn get_bytes(&self, key: &str) -> Option<&[u8]> {
        self.get(key)?.as_bytes()
    }

    /// The gfid of `key`: a gfid value or 16 raw bytes.
    pub fn get_gfid(&self, key: &str) -> Option<Gfid> {
        Gfid::from_slice(self.get_bytes(key)?)
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pairs {
            None => f.write_str("NULL"),
            Some(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_and_remove_removes() {
        let mut d = Dict::null();
        assert!(d.is_null() && d.is_empty());
        d.set("a", Value::Int(1))
            .set("b", Value::str("two"))
            .set("a", Value::Uint(3));
        assert_eq!(d.len(), 2);
        assert_eq!(d.get_i64("a"), Some(3));
        assert_eq!(d.get_str("b"), Some("two"));
        assert_eq!(d.remove("a"), Some(Value::Uint(3)));
        assert!(!d.contains("a") && !d.is_null());
    }

    #[test]
    fn getters_are_tolerant_of_types() {
        let d = Dict::new()
            .with("n", Value::str("42"))
            .with("g", Value::ptr(vec![7u8; 16]));
        assert_eq!(d.get_i64("n"), Some(42));
        assert_eq!(d.get_u64("n"), Some(42));
        assert_eq!(d.get_gfid("g"), Some(Gfid([7; 16])));
        assert_eq!(d.get_gfid("n"), None);
    }
}
