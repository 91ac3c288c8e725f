//! RPC records over a stream: reading, coalesced sending, and matching replies to calls.
//!
//! Both sides use it: a client's [`Connection`] and a brick's service. What a program's procedures mean is not
//! known here.

mod connection;
mod latency;
mod outbox;
mod reader;

pub use connection::{CallbackHandler, Connection, Oldest, Patience, RawReply, RpcError};
pub use outbox::Outbox;
pub use reader::{Record, RecordError, RecordReader};
