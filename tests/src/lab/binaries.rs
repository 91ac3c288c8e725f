//! Where the programs under test are: ours beside the running test program, the C implementation's where its
//! packages put them.

use super::error::{Context, Result, fail};
use std::path::{Path, PathBuf};

/// Set to use our programs from another directory than the running program's.
pub const DIRECTORY_VARIABLE: &str = "RINGLUSTER_BIN";

/// Our programs a cluster needs.
pub const OURS: [&str; 5] = ["glusterd", "gluster", "glusterfsd", "glusterfs", "mount-glusterfs"];

/// Programs of the C implementation.
const THEIRS: [&str; 5] = [
    "/usr/sbin/glusterd",
    "/usr/sbin/gluster",
    "/usr/sbin/glusterfsd",
    "/usr/sbin/glusterfs",
    "/sbin/mount.glusterfs",
];

/// Directory of our programs.
///
/// # Errors
/// When the running program's own path is unknown.
pub fn our_directory() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(DIRECTORY_VARIABLE) {
        return Ok(dir.into());
    }
    let exe = this_program()?;
    let dir = exe
        .parent()
        .ok_or_else(|| fail("the running program has no directory"))?;
    // Test programs are one level deeper than the programs they test.
    let dir = if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    };
    Ok(dir.to_path_buf())
}

/// Path of the running program. The suite builds all programs, itself among them, while it runs: the kernel then calls
/// the file it was started from deleted, and the new one lies in its place.
///
/// # Errors
/// When the path is unknown.
pub fn this_program() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("path of the running program")?;
    let text = exe.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| exe.clone(), PathBuf::from))
}

/// Path of one of our programs.
///
/// # Errors
/// When it has not been built.
pub fn our(name: &str) -> Result<PathBuf> {
    let path = our_directory()?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(fail(format!(
        "{} is missing: cargo build --release --workspace makes it",
        path.display()
    )))
}

/// Names of our programs that have not been built.
///
/// # Errors
/// When the running program's own path is unknown.
pub fn ours_missing() -> Result<Vec<&'static str>> {
    let dir = our_directory()?;
    Ok(OURS.into_iter().filter(|name| !dir.join(name).is_file()).collect())
}

/// `PATH` with our programs first, so that our daemons find each other.
///
/// # Errors
/// When the running program's own path is unknown.
pub fn search_path() -> Result<String> {
    let rest = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    Ok(format!("{}:{rest}", our_directory()?.display()))
}

/// Whether the C implementation is installed.
#[must_use]
pub fn c_installed() -> bool {
    THEIRS.iter().all(|path| Path::new(path).exists())
}
