//! Building the programs under test with cargo.

use super::binaries;
use super::error::{Context, Result, fail};
use std::path::Path;
use std::process::Command;

/// A cargo command in the workspace's directory.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")));
    command
}

/// Builds every program of the workspace in release, unless the programs were named by
/// [`binaries::DIRECTORY_VARIABLE`] or cargo did not start us and all of them are there.
///
/// # Errors
/// When the build fails or programs are missing afterwards.
pub fn programs() -> Result<()> {
    let named = std::env::var_os(binaries::DIRECTORY_VARIABLE).is_some();
    let by_cargo = std::env::var_os("CARGO").is_some();
    if !named && (by_cargo || !binaries::ours_missing()?.is_empty()) {
        let status = cargo()
            .args(["build", "--release", "--workspace", "--bins"])
            .status()
            .context("start cargo")?;
        if !status.success() {
            return Err(fail(format!("cargo build ended with {status}")));
        }
    }
    match binaries::ours_missing()? {
        missing if missing.is_empty() => Ok(()),
        missing => {
            let dir = binaries::our_directory()?;
            Err(fail(format!("not in {}: {}", dir.display(), missing.join(" "))))
        }
    }
}
