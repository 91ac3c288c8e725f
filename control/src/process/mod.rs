//! What every process of ours does the same way: becoming a daemon, its log, its exit.
//!
//! Nothing here knows what a process is for.

pub mod log;

pub use log::{Level, Log};
