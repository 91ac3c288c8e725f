//! Safe wrappers over system calls. All `unsafe` of the crate outside the ring lives here.
//!
//! A wrapper takes and returns owned or borrowed Rust values only (no raw descriptor, no raw address), so that
//! nothing above this folder can break memory safety. What decides (policy, protocol) may not enter.

pub mod buddy;
pub mod clock;
pub mod cred;
pub mod dir;
pub mod event;
pub mod fs;
pub mod host;
pub mod mem;
pub mod mount;
pub mod net;
pub mod process;
pub mod thread;
pub mod xattr;

use std::io;

/// Turns the `-1` of a C call into the thread's `errno`.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
