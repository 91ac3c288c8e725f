//! Safe wrappers over system calls. All `unsafe` of the crate outside the ring lives here.
pub mod host;
pub mod process;
