//! The client graph of one core: sessions to the bricks and the file operations a mount offers.
//!
//! One core owns everything in here; nothing is `Send`. The control thread tells a core where bricks are
//! ([`ToCore`]) and hears what becomes of them ([`FromCore`]); names and ports are resolved there, never here.

mod core;
mod establish;
mod fd;
pub mod health;
mod live;
mod monitor;
mod places;
mod reply;
mod spec;
mod subvol;
mod types;

pub use core::{confirm, serve};
pub use fd::{Fd, FdTable};
pub use live::{Entered, LiveVolume};
pub use monitor::Monitor;
pub use places::Places;
pub use reply::{DataReply, Reply};

pub use spec::{BrickSpec, ClientOptions, ClientSpec, FavoriteChild, FromCore, ToCore};
pub use subvol::{SessionEnd, Subvol, SubvolEvents};
pub use types::{Caller, DirEntry, LkOp, SetAttr, TimeSet};

/// The volume as one core offers it. With one replica set it is that set; distribution over several will stand here.
pub type Volume = crate::replicate::ReplicaSet;
