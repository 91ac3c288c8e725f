//! The brick service: GlusterFS's on-disk format and every fop of GLUSTERFS v4 on one directory.
//!
//! `store` is the directory, `locks` and `index` are what AFR needs beside it, `server` speaks the protocol. No
//! replication logic may enter: a brick does not know that it has siblings.

pub mod access;
pub mod index;
pub mod locks;
pub mod server;
pub mod store;

/// 16 random bytes: the core's, so that a simulation repeats them; the kernel's outside of a core.
pub(crate) fn random16() -> crate::errno::FsResult<[u8; 16]> {
    if !crate::exec::is_core() {
        return crate::sys::fs::random16();
    }
    let mut bytes = [0; 16];
    crate::exec::fill_random(&mut bytes);
    Ok(bytes)
}
