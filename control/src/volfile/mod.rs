//! Volfiles: grammar, syntax tree, writer, and the graphs that are generated.
//!
//! The text form and its rules are GlusterFS's (wire-protocol.md 5.1). Nothing here reads or writes a file or
//! knows a process: text in, [`Graph`] out, and back. What a daemon does with a graph stays out of this module.

mod error;
mod generate;
mod graph;
mod lexer;
pub mod options;
mod parse;
mod write;

pub use error::{VolfileError, VolfileErrorKind};
pub use generate::{BrickSpec, FuseKind, GenerateError, VolumeSpec, brick_volfile, client_volfile, shd_volfile};
pub use graph::{Graph, Xlator, parse_bool};
pub use write::WriteError;
