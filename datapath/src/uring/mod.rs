//! The io_uring driver: ring, in-flight slab and registered buffers.
//!
//! # The invariant of this folder
//! **Memory that the kernel was told about belongs to the in-flight slab until the operation's final completion.** An
//! entry of the slab ([`inflight::InFlight`]) owns descriptor, buffer, message header and address of its operation, all
//! at addresses that do not change when the slab grows. It is taken out only by the completion that ends the operation.
//! When the ring is closed with operations in flight, the driver cancels them and waits; if the kernel does not let go
//! (a disk that hangs), their memory is leaked rather than freed.
//!
//! What may not enter: policy of any kind. Everything above speaks [`crate::exec::driver`].

mod driver;
mod fuse;
mod inflight;
mod ring;

pub use driver::UringDriver;
pub use fuse::FuseEntry;
