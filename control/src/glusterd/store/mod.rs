//! The working directory: GlusterFS's files in GlusterFS's formats (wire-protocol.md 6.5), so that its daemon and this
//! one can take over from each other. Every file is replaced as a whole: written beside, synced, renamed, directory
//! synced. Reading forgives unknown keys and names what it cannot forgive.

mod checksum;
mod file;
mod node;
mod volume;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use checksum::volume_checksum;
use file::remove_leftovers;
pub use file::{KeyValues, write_atomically};
pub use node::NodeInfo;
pub(in crate::glusterd) use volume::NEW_VOLUME_EXTRA;

use super::paths::Paths;

/// Why the working directory could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system failed.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its error.
        error: io::Error,
    },
    /// A file has a line that is not KEY=VALUE.
    BadLine {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// A key that must be there is missing.
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// The value of a key makes no sense.
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// The volume is of a kind that this daemon cannot run.
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        what: String,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::BadLine { path, line } => write!(f, "{}: line {line} is not KEY=VALUE", path.display()),
            Self::MissingKey { path, key } => write!(f, "{}: the key '{key}' is missing", path.display()),
            Self::BadValue { path, key, value } => {
                write!(f, "{}: '{value}' is no valid value of '{key}'", path.display())
            }
            Self::Unsupported { path, what } => write!(f, "{}: {what} is not supported", path.display()),
        }
    }
}

impl std::error::Error for StoreError {}

/// The working directory of one daemon.
#[derive(Debug, Clone)]
pub struct Store {
    paths: Paths,
}

/// Directories that GlusterFS makes in its working directory.
const DIRECTORIES: [&str; 11] = [
    "vols",
    "peers",
    "snaps",
    "groups",
    "hooks/1",
    "glustershd",
    "quotad",
    "bitd",
    "scrub",
    "ss_brick",
    "geo-replication",
];
/// Operations that have hooks.
const HOOKS: [&str; 9] = [
    "create",
    "start",
    "stop",
    "set",
    "reset",
    "add-brick",
    "remove-brick",
    "delete",
    "gsync-create",
];

impl Store {
    /// Opens the working directory and makes what is missing in it and in the run and log directories. Leftovers of an
    /// interrupted write are removed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(paths: Paths) -> Result<Self, StoreError> {
        let make = |path: PathBuf| std::fs::create_dir_all(&path).map_err(|e| StoreError::io(&path, e));
        for directory in DIRECTORIES {
            make(paths.workdir.join(directory))?;
        }
        for hook in HOOKS {
            make(paths.workdir.join("hooks/1").join(hook).join("pre"))?;
            make(paths.workdir.join("hooks/1").join(hook).join("post"))?;
        }
        make(paths.rundir.clone())?;
        make(paths.logdir.join("bricks"))?;
        remove_leftovers(&paths.workdir, false)?;
        remove_leftovers(&paths.workdir.join("vols"), true)?;
        remove_leftovers(&paths.workdir.join("peers"), true)?;
        Ok(Self { paths })
    }

    /// Where everything is.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
}

#[cfg(test)]
mod tests;
