//! AFR: transactions, quorum, read choice and heal over the bricks of one replica set.
//!
//! What decides (quorum, pending matrix, readable sets, the data lock, heal plans) is pure; what talks to bricks does
//! so through [`crate::client`]'s subvolumes. Nothing here knows about sockets, FUSE or volfiles.

mod answers;
mod attr_ops;
mod await_quorum;
mod brickset;
mod change;
mod data;
mod data_lock;
mod dir_ops;
mod dir_stream;
mod doubt;
mod entry;
mod file_ops;
pub mod heal;
mod hedge;
mod held;
mod inode;
mod lk_ops;
mod locking;
mod lookup;
mod name_ops;
pub mod pending;
mod quorum;
mod read;
pub mod readable;
mod set;
mod xattrs;

pub use answers::Answers;
pub use brickset::BrickSet;
pub(crate) use dir_stream::DirStream;
pub(crate) use lk_ops::lk_request;
pub use quorum::{Quorum, QuorumType};
pub use set::{BrickEvent, ReplicaSet};
