//! The lab: clusters of real processes on this machine, for the tests, the sandbox and the benchmarks.
//!
//! `lab` makes the machines, clusters and faults, `scenarios` are the tests that run on them, `stalls` measures what an
//! application notices of faults, `story` is the sandbox's demonstration and `package` makes the Debian package. Nothing
//! in this crate takes part in serving files.

pub mod lab;
pub mod package;
pub mod scenarios;
pub mod stalls;
pub mod story;
