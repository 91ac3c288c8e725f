//! Pending xattrs: three big-endian counters per accused brick (brick-and-replicate.md A.4, D.5, D.8).

use bytes::Bytes;

use super::BrickSet;
use crate::wire::{Dict, Key, Value};

/// What a transaction changes; also the slot of a pending counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// File contents.
    Data = 0,
    /// Attributes and xattrs.
    Metadata = 1,
    /// Names in a directory.
    Entry = 2,
}

/// One pending xattr: data, metadata, entry.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters(pub [i32; 3]);

impl Counters {
    /// All three zero.
    pub const ZERO: Counters = Counters([0; 3]);
    /// Bytes of the value on disk and on the wire.
    pub const LEN: usize = 12;

    /// `amount` in one slot.
    pub fn in_slot(slot: Slot, amount: i32) -> Counters {
        let mut c = Counters::ZERO;
        c.0[slot as usize] = amount;
        c
    }

    /// Reads a value. A missing one is zero; so is one of another length, which no brick writes.
    pub fn parse(value: Option<&[u8]>) -> Counters {
        let mut c = Counters::ZERO;
        if let Some(bytes) = value
            && bytes.len() >= Counters::LEN
        {
            for (counter, word) in c.0.iter_mut().zip(bytes.chunks_exact(4)) {
                *counter = i32::from_be_bytes([word[0], word[1], word[2], word[3]]);
            }
        }
        c
    }

    /// The 12 bytes of it.
    pub fn to_bytes(self) -> Bytes {
        let mut out = Vec::with_capacity(Counters::LEN);
        for counter in self.0 {
            out.extend_from_slice(&counter.to_be_bytes());
        }
        Bytes::from(out)
    }

    /// The counter of `slot`.
    pub fn slot(self, slot: Slot) -> i32 {
        self.0[slot as usize]
    }

    /// Whether any counter is set.
    pub fn any(self) -> bool {
        self != Counters::ZERO
    }

    /// Element-wise negation: the addend that brings the counters back to zero.
    pub fn negated(self) -> Counters {
        Counters(self.0.map(i32::wrapping_neg))
    }
}

/// The xattr key that marks an inode with a transaction in progress.
pub const DIRTY: &str = "trusted.afr.dirty";

/// The xattr names of one replica set: `trusted.afr.dirty` and one blame key per brick, from `afr-pending-xattr`.
#[derive(Clone, Debug)]
pub struct PendingKeys {
    blame: Vec<Key>,
}

impl PendingKeys {
    /// From the elements of the volfile's `afr-pending-xattr`, in child order.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> PendingKeys {
        PendingKeys {
            blame: names
                .into_iter()
                .map(|n| Key::from(format!("trusted.afr.{n}")))
                .collect(),
        }
    }

    /// The key that blames `brick`.
    pub fn blame(&self, brick: usize) -> &Key {
        &self.blame[brick]
    }

    /// Number of bricks.
    pub fn len(&self) -> usize {
        self.blame.len()
    }

    /// Whether the set has no brick.
    pub fn is_empty(&self) -> bool {
        self.blame.is_empty()
    }

    /// Adds the keys that make a lookup return all counters (value: the wanted length).
    pub fn request(&self, xdata: &mut Dict) {
        for key in &self.blame {
            xdata.set(key.clone(), Value::Uint(Counters::LEN as u64));
        }
        xdata.set(DIRTY, Value::Uint(Counters::LEN as u64));
    }

    /// The operand of an xattrop: `dirty` plus `blame(i)` for every brick. All blame keys are always sent: the index
    /// layer judges "nothing pending" from the keys of the request (brick-and-replicate.md A.6).
    pub fn operand(&self, dirty: Option<Counters>, blame: impl Fn(usize) -> Counters) -> Dict {
        let mut pairs = Vec::with_capacity(self.blame.len() + 1);
        for (i, key) in self.blame.iter().enumerate() {
            pairs.push((key.clone(), Value::Ptr(blame(i).to_bytes())));
        }
        if let Some(d) = dirty {
            pairs.push((Key::from(DIRTY), Value::Ptr(d.to_bytes())));
        }
        Dict::from_pairs(pairs)
    }

    /// What one brick's reply says: its dirty counters and its blame of every brick.
    pub fn row(&self, xdata: &Dict) -> PendingRow {
        PendingRow {
            dirty: Counters::parse(xdata.get_bytes(DIRTY)),
            blame: self
                .blame
                .iter()
                .map(|k| Counters::parse(xdata.get_key(&k.0).and_then(Value::as_bytes)))
                .collect(),
        }
    }
}

/// One brick's row of the pending matrix.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PendingRow {
    /// Its `trusted.afr.dirty`.
    pub dirty: Counters,
    /// Its blame of each brick.
    pub blame: Vec<Counters>,
}

impl PendingRow {
    /// The bricks it blames in `slot`. A brick's blame of itself is a legacy state and is kept.
    pub fn blamed(&self, slot: Slot) -> BrickSet {
        self.blame
            .iter()
            .enumerate()
            .filter(|(_, c)| c.slot(slot) != 0)
            .map(|(i, _)| i)
            .collect()
    }

    /// The bricks it blames in any slot.
    pub fn blamed_any(&self) -> BrickSet {
        self.blame
            .iter()
            .enumerate()
            .filter(|(_, c)| c.any())
            .map(|(i, _)| i)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_round_trip() {
        let c = Counters([1, -1, 0x0102_0304]);
        assert_eq!(&c.to_bytes()[..], [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(Counters::parse(Some(&c.to_bytes())), c);
        assert_eq!(Counters::parse(None), Counters::ZERO);
        assert_eq!(Counters::parse(Some(&[1, 2])), Counters::ZERO);
        assert_eq!(Counters([1, 0, i32::MIN]).negated(), Counters([-1, 0, i32::MIN]));
    }

    #[test]
    fn operand_names_every_brick() {
        let keys = PendingKeys::new(["v-client-0", "v-client-1"]);
        let d = keys.operand(Some(Counters::in_slot(Slot::Data, 1)), |i| {
            if i == 1 {
                Counters::in_slot(Slot::Data, 1)
            } else {
                Counters::ZERO
            }
        });
        assert_eq!(d.len(), 3);
        let row = keys.row(&d);
        assert_eq!(row.dirty, Counters([1, 0, 0]));
        assert_eq!(row.blamed(Slot::Data), BrickSet::one(1));
        assert!(row.blamed(Slot::Entry).is_empty());
    }
}
