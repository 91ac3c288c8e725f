//! The mount helper, called by mount(8) as `mount.glusterfs DEVICE DIR [-sfnv] -o OPTIONS`. See [`fuse::helper`].
//!
//! Cargo allows no dot in a program's name: it is built as `mount-glusterfs` and installed (or linked) as
//! `/sbin/mount.glusterfs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(fuse::helper::run(std::env::args_os().skip(1)))
}
