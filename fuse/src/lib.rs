//! The FUSE mount client: kernel requests to file operations and back.
