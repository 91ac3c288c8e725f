//! Making a directory a brick at volume create, and making it an ordinary directory again: for the management daemon.

use std::path::{Path, PathBuf};

use crate::errno::Errno;
use crate::sys::{fs, xattr};
use crate::wire::Gfid;

use super::init::{check_xattrs, open_root};
use super::{GFID_KEY, HIDDEN, StoreError, VOLUME_ID_KEY};

/// Whether `path` can become a brick: it exists, keeps `trusted.*` xattrs, and neither it nor a directory above it is
/// part of a volume.
///
/// # Errors
/// What is wrong.
pub fn check_new_brick(path: &Path) -> Result<(), StoreError> {
    let root = open_root(path)?;
    check_xattrs(&root, path)?;
    let real = path.canonicalize().map_err(|e| StoreError::Layout {
        what: "resolve the path".into(),
        path: path.to_owned(),
        errno: e.into(),
    })?;
    for (depth, dir) in real.ancestors().enumerate() {
        if carries_marks(dir)? {
            // The brick is named as the administrator named it.
            let named = if depth == 0 {
                path.to_owned()
            } else {
                PathBuf::from(dir)
            };
            return Err(StoreError::AlreadyInVolume {
                path: named,
                is_parent: depth > 0,
            });
        }
    }
    Ok(())
}

/// Whether a directory carries a volume id or a gfid.
fn carries_marks(path: &Path) -> Result<bool, StoreError> {
    let dir = open_root(path)?;
    for key in [VOLUME_ID_KEY, GFID_KEY] {
        match xattr::fget(&dir, key) {
            Ok(_) => return Ok(true),
            // A directory above may be on a file system without xattrs.
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => {}
            Err(errno) => {
                let what = format!("read {}", String::from_utf8_lossy(key));
                return Err(StoreError::Layout {
                    what,
                    path: path.to_owned(),
                    errno,
                });
            }
        }
    }
    Ok(false)
}

/// Makes `path` a brick of the volume: writes the volume id and makes `.glusterfs`. Doing it again is harmless; a crash
/// in between leaves a directory that this function completes or [`remove_brick_marks`] cleans.
///
/// # Errors
/// [`StoreError::WrongVolumeId`] if it belongs to another volume, or what the file system gave.
pub fn init_brick(path: &Path, volume_id: Gfid) -> Result<(), StoreError> {
    let root = open_root(path)?;
    check_xattrs(&root, path)?;
    let layout = |what: &str, errno| StoreError::Layout {
        what: what.into(),
        path: path.to_owned(),
        errno,
    };
    match xattr::fset(&root, VOLUME_ID_KEY, &volume_id.0, libc::XATTR_CREATE) {
        Ok(()) => {}
        Err(Errno::EEXIST) => {
            let value = xattr::fget(&root, VOLUME_ID_KEY).map_err(|e| layout("read the volume-id", e))?;
            let found = Gfid::from_slice(&value);
            if found != Some(volume_id) {
                return Err(StoreError::WrongVolumeId {
                    path: path.to_owned(),
                    found,
                    expected: volume_id,
                });
            }
        }
        Err(errno) => return Err(layout("write the volume-id", errno)),
    }
    match fs::mkdirat(&root, HIDDEN, 0o600) {
        // The mode must not depend on the caller's umask.
        Ok(()) => fs::lchmodat(&root, HIDDEN, 0o600).map_err(|e| layout("set the mode of .glusterfs", e)),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(layout("create .glusterfs", errno)),
    }
}

/// Takes the volume id and the root's gfid off a directory, so that it can be used in another volume. Its contents and
/// `.glusterfs` stay.
///
/// # Errors
/// What the file system gave.
pub fn remove_brick_marks(path: &Path) -> Result<(), StoreError> {
    let root = open_root(path)?;
    for key in [VOLUME_ID_KEY, GFID_KEY] {
        match xattr::fremove(&root, key) {
            Ok(()) | Err(Errno::ENODATA) => {}
            Err(errno) => {
                let what = format!("remove {}", String::from_utf8_lossy(key));
                return Err(StoreError::Layout {
                    what,
                    path: path.to_owned(),
                    errno,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{VOLUME_ID, temp_dir};
    use super::*;

    #[test]
    fn a_directory_becomes_a_brick_once() {
        let dir = temp_dir();
        let sub = dir.path().join("a/b");
        std::fs::create_dir_all(&sub).unwrap();
        check_new_brick(&sub).unwrap();
        init_brick(&dir.path().join("a"), VOLUME_ID).unwrap();
        init_brick(&dir.path().join("a"), VOLUME_ID).unwrap();
        let error = check_new_brick(&sub).unwrap_err();
        assert!(
            matches!(error, StoreError::AlreadyInVolume { is_parent: true, .. }),
            "{error}"
        );
        let error = check_new_brick(&dir.path().join("a")).unwrap_err();
        assert!(
            matches!(error, StoreError::AlreadyInVolume { is_parent: false, .. }),
            "{error}"
        );
        let error = init_brick(&dir.path().join("a"), Gfid([3; 16])).unwrap_err();
        assert!(matches!(error, StoreError::WrongVolumeId { .. }), "{error}");
        remove_brick_marks(&dir.path().join("a")).unwrap();
        check_new_brick(&sub).unwrap();
        assert!(matches!(
            check_new_brick(&dir.path().join("none")),
            Err(StoreError::Missing(_))
        ));
        assert!(matches!(
            check_new_brick(Path::new("/proc")),
            Err(StoreError::NoXattrs { .. })
        ));
    }
}
