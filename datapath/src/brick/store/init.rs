//! Opening a brick directory: the checks and the layout of `.glusterfs` (brick-and-replicate.md A.1, A.2).

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::{dir, fs, xattr};
use crate::wire::Gfid;

use super::handle::handle_path;
use super::health::HealthCheck;
use super::inode::Inodes;
use super::recent::Recent;
use super::{GFID_KEY, HIDDEN, KEPT_DIRS, Options, Store, StoreConfig, StoreError, VOLUME_ID_KEY, reserve};

/// Folders of `.glusterfs` besides the hash directories, with their modes.
const FOLDERS: [(&str, u32); 9] = [
    ("indices", 0o600),
    ("indices/xattrop", 0o600),
    ("indices/dirty", 0o600),
    ("indices/entry-changes", 0o600),
    ("unlink", 0o600),
    ("landfill", 0o755),
    ("changelogs", 0o600),
    ("changelogs/htime", 0o600),
    ("changelogs/csnap", 0o600),
];

impl Store {
    /// Opens a brick, making what is missing of its layout. The process's umask becomes 0: modes are the clients'.
    ///
    /// A crash at any step leaves a layout that the next open completes.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with the directory.
    pub fn open(config: StoreConfig) -> Result<Store, StoreError> {
        let path = &config.root;
        let root = open_root(path)?;
        check_xattrs(&root, path)?;
        check_volume_id(&root, path, config.volume_id)?;
        fs::set_umask(0);
        check_root_gfid(&root, path)?;
        let layout = |what: &str| {
            let (what, path) = (what.to_owned(), path.clone());
            move |errno| StoreError::Layout { what, path, errno }
        };
        make_dir(&root, HIDDEN, 0o600).map_err(layout("create .glusterfs"))?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let hidden = fs::openat(&root, HIDDEN, flags, 0).map_err(layout("open .glusterfs"))?;
        make_layout(&hidden, path)?;
        own_root(&root, &config.options).map_err(layout("change the owner of the root"))?;
        move_old_landfill(&root, &hidden).map_err(layout("move the old .landfill"))?;
        empty_unlink(&hidden).map_err(layout("empty .glusterfs/unlink"))?;
        let hidden = Arc::new(hidden);
        Ok(Store {
            root: Arc::new(root),
            inodes: Rc::new(Inodes::new(hidden.clone())),
            hidden,
            root_path: config.root,
            volume_id: config.volume_id,
            options: Rc::new(config.options).into(),
            dirs: Recent::new(KEPT_DIRS).into(),
            reserve: reserve::Watch::default(),
        })
    }

    /// A check of this brick's disk.
    pub fn health_check(&self) -> HealthCheck {
        HealthCheck::new(self.hidden.clone())
    }
}

/// Opens the brick directory itself.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd, StoreError> {
    let text = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    // The path is absolute in practice; a relative one is taken from the working directory.
    let cwd = std::fs::File::open(if path.is_absolute() { "/" } else { "." });
    let layout = |errno| StoreError::Layout {
        what: "open the directory".into(),
        path: path.to_owned(),
        errno,
    };
    let cwd = cwd.map_err(|e| layout(e.into()))?;
    fs::openat(&cwd, text, libc::O_RDONLY | libc::O_DIRECTORY, 0).map_err(|errno| match errno {
        Errno::ENOENT => StoreError::Missing(path.to_owned()),
        Errno::ENOTDIR => StoreError::NotADirectory(path.to_owned()),
        errno => layout(errno),
    })
}

/// Tries whether `trusted.*` xattrs can be written.
pub(super) fn check_xattrs(root: &OwnedFd, path: &Path) -> Result<(), StoreError> {
    const PROBE: &[u8] = b"trusted.glusterfs.test";
    xattr::fset(root, PROBE, b"working", 0)
        .and_then(|()| xattr::fremove(root, PROBE))
        .map_err(|errno| StoreError::NoXattrs {
            path: path.to_owned(),
            errno,
        })
}

fn check_volume_id(root: &OwnedFd, path: &Path, expected: Gfid) -> Result<(), StoreError> {
    match xattr::fget(root, VOLUME_ID_KEY) {
        Ok(value) => match Gfid::from_slice(&value) {
            Some(found) if found == expected => Ok(()),
            found => Err(StoreError::WrongVolumeId {
                path: path.to_owned(),
                found,
                expected,
            }),
        },
        Err(Errno::ENODATA) => Err(StoreError::NoVolumeId(path.to_owned())),
        Err(errno) => Err(StoreError::NoXattrs {
            path: path.to_owned(),
            errno,
        }),
    }
}

fn check_root_gfid(root: &OwnedFd, path: &Path) -> Result<(), StoreError> {
    let layout = |errno| StoreError::Layout {
        what: "set the root's gfid".into(),
        path: path.to_owned(),
        errno,
    };
    match xattr::fget(root, GFID_KEY) {
        Ok(value) => match Gfid::from_slice(&value) {
            Some(Gfid::ROOT) => Ok(()),
            found => Err(StoreError::WrongRootGfid {
                path: path.to_owned(),
                found,
            }),
        },
        Err(Errno::ENODATA) => xattr::fset(root, GFID_KEY, &Gfid::ROOT.0, libc::XATTR_CREATE).map_err(layout),
        Err(errno) => Err(layout(errno)),
    }
}

/// Makes a directory unless it is there.
fn make_dir(at: &OwnedFd, path: &[u8], mode: u32) -> FsResult<()> {
    match fs::mkdirat(at, path, mode) {
        Err(Errno::EEXIST) if fs::lstatat(at, path)?.is_dir() => Ok(()),
        Err(Errno::EEXIST) => Err(Errno::ENOTDIR),
        done => done,
    }
}

fn make_layout(hidden: &OwnedFd, path: &Path) -> Result<(), StoreError> {
    let layout = |what: String| {
        let path = path.to_owned();
        move |errno| StoreError::Layout { what, path, errno }
    };
    for first in 0..=255u8 {
        let name = format!("{first:02x}");
        make_dir(hidden, name.as_bytes(), 0o700).map_err(layout(format!("create .glusterfs/{name}")))?;
    }
    make_dir(hidden, b"00/00", 0o700).map_err(layout("create .glusterfs/00/00".into()))?;
    let root_handle = handle_path(Gfid::ROOT);
    match fs::symlinkat(b"../../..", hidden, &root_handle) {
        Ok(()) => {}
        Err(Errno::EEXIST) if fs::readlinkat(hidden, &root_handle).is_ok_and(|text| text == b"../../..") => {}
        Err(errno) => return Err(layout("create the handle of the root".into())(errno)),
    }
    for (name, mode) in FOLDERS {
        make_dir(hidden, name.as_bytes(), mode).map_err(layout(format!("create .glusterfs/{name}")))?;
    }
    Ok(())
}

/// Gives the root the owner the options ask for.
pub(super) fn own_root(root: &OwnedFd, options: &Options) -> FsResult<()> {
    if options.brick_uid.is_none() && options.brick_gid.is_none() {
        return Ok(());
    }
    fs::fchown(root, options.brick_uid, options.brick_gid)
}

/// A `.landfill` in the root, as old releases kept it, goes into the present one under a random name.
fn move_old_landfill(root: &OwnedFd, hidden: &OwnedFd) -> FsResult<()> {
    match xattr::get_at(root, b".landfill", GFID_KEY) {
        Err(Errno::ENODATA) => {}
        // Not there, or an ordinary directory of the volume that happens to be called so.
        Err(Errno::ENOENT) | Ok(_) => return Ok(()),
        Err(e) => return Err(e),
    }
    let to = format!("landfill/{}", Gfid::from_random(crate::brick::random16()?)).into_bytes();
    fs::renameat(root, b".landfill", hidden, &to, libc::RENAME_NOREPLACE)
}

/// Files that were unlinked while open when the brick ended have no user any more.
fn empty_unlink(hidden: &OwnedFd) -> FsResult<()> {
    let folder = fs::openat(
        hidden,
        b"unlink",
        libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
        0,
    )?;
    loop {
        let names = dir::getdents(&folder, 64 * 1024)?;
        if names.is_empty() {
            return Ok(());
        }
        for entry in names.iter().filter(|e| e.name != b"." && e.name != b"..") {
            match fs::unlinkat(&folder, &entry.name) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(e) => {
                    let name = String::from_utf8_lossy(&entry.name);
                    tracing::warn!(%name, error = %e, "cannot remove a file from .glusterfs/unlink");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Brick, VOLUME_ID};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_layout_is_complete_and_reopening_keeps_it() {
        let brick = Brick::new();
        let base = brick.path().join(".glusterfs");
        let mode = |p: &str| std::fs::metadata(base.join(p)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(""), 0o600);
        assert_eq!(mode("a7"), 0o700);
        assert_eq!(mode("indices/entry-changes"), 0o600);
        let root_handle = base.join("00/00/00000000-0000-0000-0000-000000000001");
        assert_eq!(std::fs::read_link(root_handle).unwrap().to_str(), Some("../../.."));
        std::fs::write(base.join("unlink/leftover"), b"x").unwrap();
        let again = brick.reopen();
        assert!(!again.path().join(".glusterfs/unlink/leftover").exists());
    }

    #[test]
    fn wrong_directories_are_refused_with_a_reason() {
        let brick = Brick::new();
        let open = |root: &Path, volume_id| {
            Store::open(StoreConfig {
                root: root.to_owned(),
                volume_id,
                options: Options::default(),
            })
            .unwrap_err()
        };
        let missing = brick.path().join("nowhere");
        assert_eq!(open(&missing, VOLUME_ID), StoreError::Missing(missing.clone()));
        assert!(
            open(brick.path(), Gfid([9; 16]))
                .to_string()
                .contains("mismatching volume-id")
        );
        let plain = brick.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        assert_eq!(open(&plain, VOLUME_ID), StoreError::NoVolumeId(plain.clone()));
        let file = brick.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(open(&file, VOLUME_ID), StoreError::NotADirectory(file));
        assert!(matches!(
            open(Path::new("/proc/self"), VOLUME_ID),
            StoreError::NoXattrs { .. }
        ));
        let dir = std::fs::File::open(&plain).unwrap();
        xattr::fset(&dir, VOLUME_ID_KEY, &VOLUME_ID.0, 0).unwrap();
        xattr::fset(&dir, GFID_KEY, &[7; 16], 0).unwrap();
        assert!(matches!(
            open(&plain, VOLUME_ID),
            StoreError::WrongRootGfid { found: Some(_), .. }
        ));
    }

    #[test]
    fn an_old_landfill_is_moved_away() {
        let brick = Brick::new();
        std::fs::create_dir_all(brick.path().join(".landfill/rubbish")).unwrap();
        let brick = brick.reopen();
        assert!(!brick.path().join(".landfill").exists());
        assert_eq!(
            std::fs::read_dir(brick.path().join(".glusterfs/landfill"))
                .unwrap()
                .count(),
            1
        );
    }
}
