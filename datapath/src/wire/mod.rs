//! GlusterFS's wire protocol: XDR, RPC, dictionaries and the structures of every program.
//!
//! Bytes only: nothing in here does I/O, keeps state or decides anything. Decoding never panics and never
//! allocates by a length it has not checked against the bytes at hand. Facts: `wire-protocol.md`.

pub mod auth;
pub mod brickop;
pub mod callback;
pub mod cli;
mod define;
mod dict;
mod dict_codec;
pub mod dump;
#[cfg(test)]
mod examples;
pub mod flags;
pub mod fop;
mod gfid;
pub mod handshake;
mod iatt;
pub mod olddict;
pub mod peer;
pub mod portmap;
pub mod program;
#[cfg(test)]
mod proptests;
pub mod record;
pub mod registry;
pub mod rpc;
#[cfg(test)]
pub(crate) mod sample;
pub mod xdr;

pub use dict::{Dict, Key, Value};
pub use gfid::Gfid;
pub use iatt::{Iatt, MdataIatt};
pub use olddict::OldDict;
pub use xdr::{DecodeError, Decoder, Encoder, Xdr};
