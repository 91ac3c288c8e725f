//! Why a directory cannot be opened as a brick, or made one: texts for the administrator.

use std::fmt;
use std::path::PathBuf;

use crate::errno::Errno;
use crate::wire::Gfid;

/// Why a brick directory was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is nothing at the path.
    Missing(PathBuf),
    /// What is there is not a directory.
    NotADirectory(PathBuf),
    /// The file system does not keep `trusted.*` extended attributes (or the process is not root).
    NoXattrs {
        /// The brick directory.
        path: PathBuf,
        /// What the attempt gave.
        errno: Errno,
    },
    /// The directory has no volume id: it was never part of a volume, or another file system is mounted there.
    NoVolumeId(PathBuf),
    /// The directory belongs to another volume.
    WrongVolumeId {
        /// The brick directory.
        path: PathBuf,
        /// The id in the xattr; `None` if it is not 16 bytes long.
        found: Option<Gfid>,
        /// The id in the volfile.
        expected: Gfid,
    },
    /// The directory's gfid is not that of a volume's root.
    WrongRootGfid {
        /// The brick directory.
        path: PathBuf,
        /// The gfid in the xattr; `None` if it is not 16 bytes long.
        found: Option<Gfid>,
    },
    /// The directory, or one above it, is part of a volume already.
    AlreadyInVolume {
        /// The directory that carries GlusterFS's xattrs.
        path: PathBuf,
        /// Whether that is a directory above the brick.
        is_parent: bool,
    },
    /// A part of the layout could not be read or made.
    Layout {
        /// What was tried, e.g. "create .glusterfs/ab".
        what: String,
        /// The brick directory.
        path: PathBuf,
        /// What it gave.
        errno: Errno,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Missing(path) => write!(f, "brick directory {} does not exist", path.display()),
            StoreError::NotADirectory(path) => write!(f, "brick path {} is not a directory", path.display()),
            StoreError::NoXattrs { path, errno } => write!(
                f,
                "extended attributes cannot be used on brick {}: {errno}. The file system must support trusted \
                 extended attributes and the process must run as root",
                path.display()
            ),
            StoreError::NoVolumeId(path) => write!(
                f,
                "brick {} has no extended attribute trusted.glusterfs.volume-id: it is not a brick, or its file \
                 system is not mounted",
                path.display()
            ),
            StoreError::WrongVolumeId {
                path,
                found: Some(found),
                expected,
            } => write!(
                f,
                "mismatching volume-id: brick {} belongs to volume id {found}, not {expected}",
                path.display()
            ),
            StoreError::WrongVolumeId { path, found: None, .. } => {
                write!(
                    f,
                    "the volume-id of brick {} is damaged: it is not 16 bytes long",
                    path.display()
                )
            }
            StoreError::WrongRootGfid {
                path,
                found: Some(found),
            } => write!(
                f,
                "brick {} has gfid {found}, not that of a volume's root: it is a directory inside another brick",
                path.display()
            ),
            StoreError::WrongRootGfid { path, found: None } => {
                write!(
                    f,
                    "the gfid of brick {} is damaged: it is not 16 bytes long",
                    path.display()
                )
            }
            StoreError::AlreadyInVolume { path, is_parent: false } => {
                write!(f, "{} is already part of a volume", path.display())
            }
            StoreError::AlreadyInVolume { path, is_parent: true } => {
                write!(f, "parent directory {} is already part of a volume", path.display())
            }
            StoreError::Layout { what, path, errno } => {
                write!(f, "cannot {what} in brick {}: {errno}", path.display())
            }
        }
    }
}

impl std::error::Error for StoreError {}
