//! Fops on a brick in a temporary directory, checked through replies and through what is on the disk.

mod crash;
mod data;
mod lookup;
mod model;
mod names;
mod permissions;
mod xattrs;
