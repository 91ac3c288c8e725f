//! The list of every decoder of the wire, and of every procedure.
//!
//! Golden, property and fuzz tests all walk this one list, so a structure that is in it is tested by all of them.
//! Structures defined with `xdr_structs!` are in it by themselves; the few hand-written codecs are named here.

use std::fmt;

use bytes::Bytes;

use super::program::{self, Program};
use super::xdr::{DecodeError, Decoder, Encoder, Xdr};
use super::{Dict, Gfid, Iatt, Key, MdataIatt, Value};
use super::{auth, brickop, callback, cli, dump, fop, handshake, olddict, peer, portmap, rpc};

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
    show: fn(&Bytes) -> Result<String, DecodeError>,
}

impl DecoderEntry {
    /// The entry of `T`.
    pub const fn of<T: Xdr + fmt::Debug>(group: &'static str, name: &'static str) -> DecoderEntry {
        DecoderEntry {
            group,
            name,
            recode: recode::<T>,
            show: show::<T>,
        }
    }

    /// Decodes one value from the beginning of `bytes` and encodes it again.
    ///
    /// # Errors
    /// The decoder's.
    pub fn recode(&self, bytes: &Bytes) -> Result<Recoded, DecodeError> {
        (self.recode)(bytes)
    }

    /// Decodes one value from the beginning of `bytes` and shows it with the names of its fields.
    ///
    /// # Errors
    /// The decoder's.
    pub fn show(&self, bytes: &Bytes) -> Result<String, DecodeError> {
        (self.show)(bytes)
    }
}

impl DecoderEntry {
    /// What must hold for any bytes, and what property tests and fuzzers assert: they do not decode, or they
    /// decode to a value that encodes to bytes of the same meaning. Gives whether they decoded.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, bytes: &Bytes) -> Result<bool, String> {
        let Ok(first) = self.recode(bytes) else {
            return Ok(false);
        };
        let second = self
            .recode(&first.encoded)
            .map_err(|e| format!("{}: its own encoding does not decode: {e}", self.name))?;
        if !second.rest.is_empty() {
            return Err(format!(
                "{}: {} bytes of its own encoding are left over",
                self.name,
                second.rest.len()
            ));
        }
        if second.encoded != first.encoded {
            return Err(format!("{}: encoded differently the second time", self.name));
        }
        Ok(true)
    }
}

fn show<T: Xdr + fmt::Debug>(bytes: &Bytes) -> Result<String, DecodeError> {
    T::decode(&mut Decoder::new(bytes)).map(|value| format!("{value:?}"))
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
    DecoderEntry::of::<peer::WideUuid>("peer", "WideUuid"),
    DecoderEntry::of::<peer::UnfriendReq>("peer", "UnfriendReq"),
];

/// Every decoder there is.
pub fn decoders() -> impl Iterator<Item = &'static DecoderEntry> {
    [
        BASE,
        fop::parts::DECODERS,
        fop::requests::DECODERS,
        fop::replies::DECODERS,
        dump::DECODERS,
        handshake::DECODERS,
        portmap::DECODERS,
        callback::DECODERS,
        cli::DECODERS,
        brickop::DECODERS,
        peer::DECODERS,
    ]
    .into_iter()
    .flatten()
}

/// One procedure of a program.
#[derive(Clone, Copy, Debug)]
pub struct Procedure {
    /// GlusterFS's name.
    pub name: &'static str,
    /// The arguments. WRITE's are followed by a payload.
    pub request: DecoderEntry,
    /// The result; an empty one for callbacks, which nobody answers. READ's is followed by a payload.
    pub reply: DecoderEntry,
}

/// Finds the procedure a call header names, for tools that look at traffic.
pub fn procedure(prog: u32, vers: u32, proc: u32) -> Option<(Program, Procedure)> {
    let found = match (prog, vers) {
        key if key == program::DUMP.key() => (program::DUMP, dump::Proc::from_u32(proc)?.procedure()),
        key if key == program::FOP.key() => (program::FOP, fop::Proc::from_u32(proc)?.procedure()),
        key if key == program::HANDSHAKE_BRICK.key() => {
            (program::HANDSHAKE_BRICK, handshake::Proc::from_u32(proc)?.procedure())
        }
        key if key == program::PORTMAP.key() => (program::PORTMAP, portmap::Proc::from_u32(proc)?.procedure()),
        key if key == program::CALLBACK.key() => (program::CALLBACK, callback::Proc::from_u32(proc)?.procedure()),
        key if key == program::CLI.key() => (program::CLI, cli::Proc::from_u32(proc)?.procedure()),
        key if key == program::PEER.key() => (program::PEER, peer::FriendProc::from_u32(proc)?.procedure()),
        key if key == program::MGMT.key() => (program::MGMT, peer::MgmtProc::from_u32(proc)?.procedure()),
        key if key == program::MGMT_V3.key() => (program::MGMT_V3, peer::MgmtV3Proc::from_u32(proc)?.procedure()),
        key if key == program::MGMT_HANDSHAKE.key() => (
            program::MGMT_HANDSHAKE,
            peer::HandshakeProc::from_u32(proc)?.procedure(),
        ),
        key if key == program::BRICK_OP.key() => (program::BRICK_OP, brickop::Proc::from_u32(proc)?.procedure()),
        _ => return None,
    };
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The type names `impl Xdr for NAME` occurs with in the files of a directory and below.
    fn hand_written(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                hand_written(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let named = line
                    .strip_prefix("impl Xdr for ")
                    .or_else(|| line.strip_prefix("xdr_fields!("));
                let name: String = named
                    .unwrap_or("")
                    .chars()
                    .take_while(char::is_ascii_alphanumeric)
                    .collect();
                if name.starts_with(|c: char| c.is_ascii_uppercase()) {
                    found.insert(name);
                }
            }
        }
    }

    #[test]
    fn no_hand_written_codec_is_forgotten() {
        let mut found = BTreeSet::new();
        hand_written(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire"), &mut found);
        // `Bytes` is the primitive opaque, and the two bodies are inside Credential.
        for part in ["Bytes", "UnixCred", "LegacyCred"] {
            assert!(found.remove(part), "{part} has no codec");
        }
        let listed: BTreeSet<_> = BASE.iter().map(|entry| entry.name.to_owned()).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = decoders().map(|d| d.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn every_body_of_a_procedure_is_listed() {
        let listed: BTreeSet<_> = decoders().map(|d| d.name).chain(["()"]).collect();
        let programs = [
            program::DUMP,
            program::FOP,
            program::HANDSHAKE_BRICK,
            program::PORTMAP,
            program::CALLBACK,
            program::CLI,
            program::PEER,
            program::MGMT,
            program::MGMT_V3,
            program::MGMT_HANDSHAKE,
            program::BRICK_OP,
        ];
        let mut count = 0;
        for program in programs {
            for (_, procedure) in (0..100).filter_map(|p| procedure(program.number, program.version, p)) {
                assert!(listed.contains(procedure.request.name), "{}", procedure.name);
                assert!(listed.contains(procedure.reply.name), "{}", procedure.name);
                count += 1;
            }
        }
        assert!(count > 150, "{count} procedures");
    }
}
