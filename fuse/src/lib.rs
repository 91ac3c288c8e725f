//! The FUSE mount client: kernel requests to file operations and back.
//!
//! | module | what it is |
//! |---|---|
//! | [`transport`] | the seam to the kernel, and its implementation over `/dev/fuse` |
//! | [`request`] | kernel requests and answers as owned values |
//! | [`router`] | which core serves a request, and the mailboxes in between |
//! | [`dispatch`] | one core: requests into operations of the volume, and answers back |
//! | [`inode`], [`handle`], [`groups`], [`attr`] | node ids, open files, callers' groups, attributes |
//! | [`ops`] | the file operations dispatch needs, as a trait |
//! | [`mount`] | the kernel mount |
//! | [`options`], [`servers`], [`client`] | the command line and the process `glusterfs` |
//! | [`helper`] | the program `mount.glusterfs` |
//!
//! Nothing below this crate knows of FUSE; nothing in it speaks to a brick.

pub mod attr;
pub mod client;
pub mod dispatch;
pub mod groups;
pub mod handle;
pub mod helper;
pub mod inode;
#[cfg(test)]
mod memory;
pub mod mount;
#[cfg(test)]
mod mount_tests;
pub mod ops;
pub mod options;
pub mod request;
pub mod router;
pub mod servers;
pub mod transport;
mod volume;
