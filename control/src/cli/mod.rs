//! The `gluster` command line: commands, their requests and GlusterFS's output layouts.
