//! The brick service: GlusterFS's on-disk format and every fop of GLUSTERFS v4 on one directory.
//!
//! `store` is the directory, `locks` and `index` are what AFR needs beside it, `server` speaks the protocol. No
//! replication logic may enter: a brick does not know that it has siblings.

pub mod access;
pub mod index;
pub mod locks;
pub mod server;
pub mod store;
