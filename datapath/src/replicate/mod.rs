//! AFR: transactions, quorum, read choice and heal over the bricks of one replica set.
//!
//! What decides (quorum, pending matrix, readable sets, heal plans) is pure; what talks to bricks does so through
//! [`crate::client`]'s subvolumes. Nothing here knows about sockets, FUSE or volfiles.

mod brickset;
pub mod pending;
mod quorum;
pub mod readable;

pub use brickset::BrickSet;
pub use quorum::{Quorum, QuorumType};
