//! Processes: what every one of ours does the same way (command line, becoming a daemon, log, exit), and the brick
//! process.
//!
//! Nothing here carries file data or decides about volumes.

pub mod args;
pub mod brick;
pub mod daemon;
pub mod help;
pub mod log;
pub mod notify;

pub use log::{Level, Log};
