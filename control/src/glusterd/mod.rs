//! The management daemon: volumes and their files, options, brick supervision, the management programs.

pub mod config;
pub mod model;
pub mod paths;
pub mod ports;
pub mod store;
pub mod supervise;
