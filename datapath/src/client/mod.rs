//! The client graph of one core: sessions to the bricks and the file operations a mount offers.
//!
//! One core owns everything in here; nothing is `Send`. The control thread tells a core where bricks are
//! ([`ToCore`]) and hears what becomes of them ([`FromCore`]); names and ports are resolved there, never here.

mod spec;
mod types;

pub use spec::{BrickSpec, ClientOptions, ClientSpec, FavoriteChild, FromCore, ToCore};
pub use types::{Caller, DirEntry, LkOp, SetAttr, TimeSet};
