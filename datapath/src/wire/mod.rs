//! GlusterFS's wire protocol: XDR, RPC, dictionaries and the structures of every program.
//!
//! Bytes only: nothing in here does I/O, keeps state or decides anything. Decoding never panics and never
//! allocates by a length it has not checked against the bytes at hand. Facts: `wire-protocol.md`.

mod dict;
mod gfid;
mod iatt;

pub use dict::{Dict, Key, Value};
pub use gfid::Gfid;
pub use iatt::{Iatt, MdataIatt};
