//! The management daemon: volumes and their files, options, brick supervision, the management programs.

pub mod blame;
pub mod brickdir;
pub mod config;
pub mod daemon;
pub mod history;
pub mod hooks;
pub mod hosts;
pub mod model;
pub mod node;
pub mod ops;
pub mod paths;
pub mod ports;
pub mod programs;
pub mod run;
pub mod store;
pub mod supervise;
