//! The list of every decoder of the wire.
//!
//! Golden, property and fuzz tests all walk this one list, so a structure that is in it is tested by all of them.
//! Structures defined with `xdr_structs!` are in it by themselves; the few hand-written codecs are named here.

use bytes::Bytes;

use super::xdr::{DecodeError, Decoder, Encoder, Xdr};
use super::{Dict, Gfid, Iatt, Key, MdataIatt, Value, auth, fop, olddict, rpc};

/// What decoding and encoding again made of some bytes.
#[derive(Clone, Debug)]
pub struct Recoded {
    /// The value, encoded.
    pub encoded: Bytes,
    /// What lay behind the value: a payload, or bytes that do not belong there.
    pub rest: Bytes,
}

/// One decoder, its type erased.
#[derive(Clone, Copy, Debug)]
pub struct DecoderEntry {
    /// The module it belongs to; the fuzz targets are one per group.
    pub group: &'static str,
    /// The structure's name.
    pub name: &'static str,
    recode: fn(&Bytes) -> Result<Recoded, DecodeError>,
}

impl DecoderEntry {
    /// The entry of `T`.
    pub const fn of<T: Xdr>(group: &'static str, name: &'static str) -> DecoderEntry {
        DecoderEntry {
            group,
            name,
            recode: recode::<T>,
        }
    }

    /// Decodes one value from the beginning of `bytes` and encodes it again.
    ///
    /// # Errors
    /// The decoder's.
    pub fn recode(&self, bytes: &Bytes) -> Result<Recoded, DecodeError> {
        (self.recode)(bytes)
    }
}

fn recode<T: Xdr>(bytes: &Bytes) -> Result<Recoded, DecodeError> {
    let mut d = Decoder::new(bytes);
    let value = T::decode(&mut d)?;
    let mut e = Encoder::with_capacity(bytes.len());
    value.encode(&mut e);
    Ok(Recoded {
        encoded: e.freeze(),
        rest: d.rest(),
    })
}

/// The hand-written codecs.
const BASE: &[DecoderEntry] = &[
    DecoderEntry::of::<Gfid>("base", "Gfid"),
    DecoderEntry::of::<Iatt>("base", "Iatt"),
    DecoderEntry::of::<MdataIatt>("base", "MdataIatt"),
    DecoderEntry::of::<Key>("base", "Key"),
    DecoderEntry::of::<Value>("base", "Value"),
    DecoderEntry::of::<Dict>("base", "Dict"),
    DecoderEntry::of::<olddict::OldDict>("base", "OldDict"),
    DecoderEntry::of::<auth::Credential>("rpc", "Credential"),
    DecoderEntry::of::<rpc::CallHeader>("rpc", "CallHeader"),
    DecoderEntry::of::<rpc::ReplyHeader>("rpc", "ReplyHeader"),
    DecoderEntry::of::<fop::DirEntry>("fop", "DirEntry"),
    DecoderEntry::of::<fop::DirEntryPlus>("fop", "DirEntryPlus"),
];

/// Every decoder there is.
pub fn decoders() -> impl Iterator<Item = &'static DecoderEntry> {
    [
        BASE,
        fop::parts::DECODERS,
        fop::requests::DECODERS,
        fop::replies::DECODERS,
    ]
    .into_iter()
    .flatten()
}
