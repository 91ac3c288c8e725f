//! The control plane of Ringluster: volfiles, the management daemon, the command line, process start-up,
//! health and failover. It never carries file data.

pub mod cli;
pub mod client;
pub mod cluster;
pub mod glusterd;
pub mod process;
pub mod rpc;
pub mod rt;
pub mod shd;
pub mod volfile;
