//! The volfiles that the management daemon generates for a replicate volume: same translators, names, options and
//! line order as GlusterFS 10.3, so that its processes and ours run from the same file (wire-protocol.md 5.2, 5.3).

mod brick;
mod client;
mod xlator;

use std::collections::BTreeMap;
use std::fmt;

pub use brick::brick_volfile;
pub use client::{FuseKind, client_volfile, shd_volfile};

use super::write::WriteError;

/// One brick, as far as volfiles show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickSpec {
    /// The host as given to `volume create`.
    pub host: String,
    /// Absolute path of the brick on that host.
    pub path: String,
    /// The name of the brick's protocol/client xlator, e.g. `0001-client-0` (`brick-id` in the brick's file). It never
    /// changes, also when bricks before it go away.
    pub client_name: String,
    /// How many bricks of this volume share the brick's file system; statfs is divided by it.
    pub shared_brick_count: u32,
}

/// What the volfiles of a volume are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Name of the volume.
    pub name: String,
    /// Volume id as canonical uuid text.
    pub volume_id: String,
    /// User name of trusted clients.
    pub username: String,
    /// Their password.
    pub password: String,
    /// Bricks per replica set; the number of bricks is a multiple of it.
    pub replica_count: usize,
    /// All bricks, in volume order.
    pub bricks: Vec<BrickSpec>,
    /// The volume's options that are set.
    pub options: BTreeMap<String, String>,
    /// The management daemon's working directory (marker keeps a time-stamp file there).
    pub workdir: String,
}

impl VolumeSpec {
    /// The value of an option: as set, else the table's default, else None.
    pub fn option(&self, key: &str) -> Option<&str> {
        let set = self.options.get(key).map(String::as_str);
        set.or_else(|| super::options::find(key).and_then(|o| o.default.value()))
    }

    /// Whether a boolean option is on; what is not boolean counts as off.
    pub fn is_on(&self, key: &str) -> bool {
        self.option(key).and_then(super::graph::parse_bool).unwrap_or(false)
    }
}

/// Why no volfile could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerateError {
    /// The bricks do not fill whole replica sets.
    BrickCount {
        /// Number of bricks.
        bricks: usize,
        /// Bricks per replica set.
        replica: usize,
    },
    /// The volume has no brick of that index.
    NoSuchBrick(usize),
    /// A name or value cannot be written.
    Write(WriteError),
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrickCount { bricks, replica } => {
                write!(f, "{bricks} bricks do not make whole replica sets of {replica}")
            }
            Self::NoSuchBrick(index) => write!(f, "the volume has no brick number {index}"),
            Self::Write(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for GenerateError {}

impl From<WriteError> for GenerateError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

#[cfg(test)]
mod tests;
