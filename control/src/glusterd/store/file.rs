//! Files of KEY=VALUE lines, and how a file is replaced so that a crash leaves the old or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::StoreError;

/// What a half-written file is called until it is complete.
const SUFFIX: &str = ".tmp";

/// Replaces a file: the new content is written beside it, synced, and renamed over it, and the directory is synced.
///
/// # Errors
/// [`StoreError::Io`]; the old file is then still there.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    replace(path, content).map_err(|e| StoreError::io(path, e))
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(SUFFIX);
    // Credentials of trusted clients are in there: nobody else may read it.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes files that an interrupted write left in a directory, and in those below it if asked to.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn remove_leftovers(directory: &Path, below: bool) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(directory).map_err(|e| StoreError::io(directory, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io(directory, e))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| StoreError::io(&path, e))?;
        if kind.is_dir() {
            if below {
                remove_leftovers(&path, true)?;
            }
        } else if path.to_string_lossy().ends_with(SUFFIX) {
            tracing::warn!("removing {}, left by an interrupted write", path.display());
            std::fs::remove_file(&path).map_err(|e| StoreError::io(&path, e))?;
        }
    }
    Ok(())
}

/// The pairs of a file, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyValues {
    path: std::path::PathBuf,
    pairs: Vec<(String, String)>,
}

impl KeyValues {
    /// Reads a file. Empty lines are skipped.
    ///
    /// # Errors
    /// [`StoreError::Io`] (also for bytes that are not UTF-8), [`StoreError::BadLine`].
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let text = std::fs::read_to_string(path).map_err(|e| StoreError::io(path, e))?;
        let mut pairs = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty()) {
            let bad = || StoreError::BadLine {
                path: path.to_owned(),
                line: index + 1,
            };
            let (key, value) = line
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(bad)?;
            pairs.push((key.to_string(), value.to_string()));
        }
        Ok(Self {
            path: path.to_owned(),
            pairs,
        })
    }

    /// The pairs, in file order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The value of a key; of several, the last.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// [`StoreError::MissingKey`].
    pub fn need(&self, key: &str) -> Result<&str, StoreError> {
        let missing = || StoreError::MissingKey {
            path: self.path.clone(),
            key: key.to_string(),
        };
        self.get(key).ok_or_else(missing)
    }

    /// The parsed value of a key that must be there.
    ///
    /// # Errors
    /// [`StoreError::MissingKey`], [`StoreError::BadValue`].
    pub fn parse<T: std::str::FromStr>(&self, key: &str) -> Result<T, StoreError> {
        let value = self.need(key)?;
        value.parse().map_err(|_| self.bad(key, value))
    }

    /// The parsed value of a key, or the default if it is not there.
    ///
    /// # Errors
    /// [`StoreError::BadValue`].
    pub fn parse_or<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T, StoreError> {
        match self.get(key) {
            Some(value) => value.parse().map_err(|_| self.bad(key, value)),
            None => Ok(default),
        }
    }

    /// The error for a value that makes no sense.
    pub fn bad(&self, key: &str, value: &str) -> StoreError {
        StoreError::BadValue {
            path: self.path.clone(),
            key: key.to_string(),
            value: value.to_string(),
        }
    }
}

/// The text of pairs, one per line.
pub fn key_value_text<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect()
}
