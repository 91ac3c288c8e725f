//! `cargo deb-package`: builds the Debian package of the release programs and prints where it is.

use ::tests::lab::error::Result;
use ::tests::lab::{binaries, build};
use ::tests::package;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds the Debian package.
#[derive(Debug, Parser)]
#[command(name = "package")]
struct Options {
    /// Directory the package is put into (target/debian by default).
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(package) => {
            println!("{}", package.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("package: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<PathBuf> {
    build::programs()?;
    let programs = binaries::our_directory()?;
    let beside = || programs.parent().unwrap_or(&programs).join("debian");
    package::build(&programs, &options.output.unwrap_or_else(beside))
}
