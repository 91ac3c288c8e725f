//! The client process: a FUSE mount of a volume, or (`--process-name glustershd`) the self-heal daemon. See
//! [`fuse::client`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(fuse::client::main(std::env::args_os()))
}
