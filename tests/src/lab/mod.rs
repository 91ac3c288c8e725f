//! Machines, clusters and faults made of real processes, namespaces and mounts, and their guaranteed removal.
//!
//! A [`Lab`] owns one directory, one record of everything it made and any number of [`Host`]s. A [`Cluster`] is
//! one GlusterFS server (ours or the C implementation) with its bricks on a host; a [`Mount`] is a client.
//! [`SixServers`] is the whole installation of the user: six servers and a manager that can be switched off.
//! Everything is removed when the `Lab` is dropped, and by [`cleanup_leftovers`] when its process was killed.
//! Nothing here may decide whether a test has passed.

pub mod binaries;
pub mod build;
pub mod client;
pub mod cluster;
pub mod compare;
pub mod disk;
pub mod error;
pub mod fault;
pub mod gluster;
pub mod host;
pub mod mounts;
pub mod net;
pub mod packages;
pub mod process;
pub mod record;
pub mod run;
pub mod signals;
pub mod six;
pub mod xattr;

pub use client::{Client, Mount};
pub use cluster::{Cluster, Flavor};
pub use compare::{BrickReport, compare_bricks};
pub use error::{Context, LabError, Result, fail};
pub use host::{Host, Lab};
pub use record::cleanup_leftovers;
pub use run::{Cmd, Finished};
pub use six::SixServers;
