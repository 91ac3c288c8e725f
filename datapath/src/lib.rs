//! The data path of Ringluster: io_uring cores, buffers, wire protocol, brick store and replication.
//!
//! Nothing here resolves a name, parses a volfile or decides who is alive: the control crate does that and
//! publishes the result. Imports run downwards only; this crate imports neither `control` nor `fuse`.

pub mod brick;
pub mod client;
pub mod errno;
pub mod exec;
pub mod replicate;
pub mod rpc;
pub mod sim;
#[allow(unsafe_code)]
pub mod sys;
#[allow(unsafe_code)]
pub mod uring;
pub mod wire;
