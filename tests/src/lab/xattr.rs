//! Extended attributes of a path itself (symbolic links are not followed).
//!
//! Sizes are asked for by reading into a buffer of the kernel's maximum, so a value that grows meanwhile is no race.

use super::error::{Context, Result};
use rustix::io::Errno;
use std::path::Path;

/// The kernel's limit for a value and for a list of names.
const MAXIMUM: usize = 65536;

/// Sets an attribute.
///
/// # Errors
/// Whatever the kernel says.
pub fn set(path: &Path, name: &str, value: &[u8]) -> Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(path, name, value, flags).context(format!("{}: set {name}", path.display()))
}

/// An attribute's value, or `None` when it is not there.
///
/// # Errors
/// Whatever else the kernel says.
pub fn get(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; MAXIMUM];
    match rustix::fs::lgetxattr(path, name, &mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno).context(format!("{}: get {name}", path.display())),
    }
}

/// Removes an attribute.
///
/// # Errors
/// Whatever the kernel says, ENODATA included.
pub fn remove(path: &Path, name: &str) -> Result<()> {
    rustix::fs::lremovexattr(path, name).context(format!("{}: remove {name}", path.display()))
}

/// Names of all attributes, sorted.
///
/// # Errors
/// Whatever the kernel says.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let mut buffer = vec![0; MAXIMUM];
    let length = rustix::fs::llistxattr(path, &mut buffer).context(format!("{}: list", path.display()))?;
    buffer.truncate(length);
    let names = buffer.split(|b| *b == 0).filter(|name| !name.is_empty());
    let mut names: Vec<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}
