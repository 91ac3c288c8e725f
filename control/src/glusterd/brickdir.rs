//! A brick's directory on this node: whether it may become a brick, making it one, and what its file system is. All of
//! it blocks on the file system, so callers run it on a helper thread. The texts are GlusterFS's.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use datapath::brick::store::{StoreError, check_new_brick, init_brick, remove_brick_marks};
use datapath::errno::Errno;
use datapath::replicate::pending::{Counters, Slot};
use datapath::sys::fs::{StatVfs, fstatvfs};
use datapath::sys::xattr;
use datapath::wire::Gfid;

use super::model::OpError;

/// The xattr that makes a directory a brick of one volume.
const VOLUME_ID: &[u8] = b"trusted.glusterfs.volume-id";

/// Facts of a directory that is to become a brick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickDirectory {
    /// The path without symbolic links.
    pub real_path: String,
    /// The part of it below the mount point of its file system.
    pub mount_dir: String,
    /// `f_fsid` of its file system.
    pub fsid: u64,
    /// Whether the directory was made by the check.
    pub created: bool,
}

/// The file system under a path, for `volume status detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Block counts and sizes.
    pub stat: StatVfs,
    /// The device.
    pub device: String,
    /// Its type.
    pub kind: String,
    /// Mount options.
    pub options: String,
}

/// Checks a directory that is to become a brick, and makes it if only its last component is missing.
///
/// # Errors
/// GlusterFS's text for what is wrong. `label` is HOST:PATH, `workdir` the daemon's own. A directory made by a failed check is removed.
pub fn prepare(label: &str, path: &str, workdir: &Path, force: bool) -> Result<BrickDirectory, OpError> {
    let created = make(label, path)?;
    let result = examine(label, path, workdir, force).map(|facts| BrickDirectory { created, ..facts });
    if result.is_err() && created {
        discard(path);
    }
    result
}

/// Takes back a directory that [`prepare`] made.
pub fn discard(path: &str) {
    if let Err(error) = std::fs::remove_dir(path) {
        tracing::warn!("{path}: cannot be removed again: {error}");
    }
}

fn make(label: &str, path: &str) -> Result<bool, OpError> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if Path::new(path).is_dir() {
                return Ok(false);
            }
            Err(OpError::new(format!(
                "The provided path {path} which is already present, is not a directory"
            )))
        }
        Err(error) => {
            let reason = Errno::from(error);
            Err(OpError::new(format!(
                "Failed to create brick directory for brick {label}. Reason : {reason} "
            )))
        }
    }
}

fn examine(label: &str, path: &str, workdir: &Path, force: bool) -> Result<BrickDirectory, OpError> {
    let failed = |e: std::io::Error| OpError::new(format!("{label}: {}", Errno::from(e)));
    let real = std::fs::canonicalize(path).map_err(failed)?;
    if real.starts_with(std::fs::canonicalize(workdir).unwrap_or_else(|_| workdir.to_owned())) {
        let text = "Brick isn't allowed to be created inside glusterd's working directory.";
        return Err(OpError::new(text));
    }
    let mount = mount_point(&real).map_err(failed)?;
    if !force {
        check_place(label, &real, &mount).map_err(|e| e.unwrap_or_else(failed))?;
    }
    match check_new_brick(Path::new(path)) {
        Ok(()) => {}
        // With force a directory that once was a brick is used again.
        Err(StoreError::AlreadyInVolume { is_parent: false, .. }) if force => {}
        Err(error) => return Err(OpError::new(error.to_string())),
    }
    let stat = File::open(&real)
        .map_err(failed)
        .and_then(|f| fstatvfs(f).map_err(|e| failed(e.into())))?;
    let real_path = real.to_string_lossy().into_owned();
    let below = real
        .strip_prefix(&mount)
        .map_or_else(|_| real_path.clone(), |p| format!("/{}", p.display()));
    Ok(BrickDirectory {
        real_path,
        mount_dir: below,
        fsid: stat.fsid,
        created: false,
    })
}

/// Without force a brick is neither a mount point nor in the root partition.
fn check_place(label: &str, real: &Path, mount: &Path) -> Result<(), Result<OpError, std::io::Error>> {
    if real == mount {
        return Err(Ok(OpError::new(format!(
            "The brick {label} is a mount point. Please create a sub-directory under the mount point and use that as \
             the brick directory. Or use 'force' at the end of the command if you want to override this behavior."
        ))));
    }
    let device = |p: &Path| std::fs::metadata(p).map(|m| m.dev()).map_err(Err);
    if device(real)? == device(Path::new("/"))? {
        return Err(Ok(OpError::new(format!(
            "The brick {label} is being created in the root partition. It is recommended that you don't use the \
             system's root partition for storage backend. Or use 'force' at the end of the command if you want to \
             override this behavior."
        ))));
    }
    Ok(())
}

/// The highest directory above a path that is on the same device.
fn mount_point(path: &Path) -> std::io::Result<PathBuf> {
    let device = std::fs::metadata(path)?.dev();
    let mut top = path.to_path_buf();
    for above in path.ancestors().skip(1) {
        if std::fs::metadata(above)?.dev() != device {
            break;
        }
        top = above.to_path_buf();
    }
    Ok(top)
}

/// Makes the directory a brick of the volume.
///
/// # Errors
/// What the file system gave.
pub fn claim(path: &str, volume: Gfid) -> Result<(), OpError> {
    let directory = Path::new(path);
    let failed = |e: StoreError| OpError::new(e.to_string());
    remove_brick_marks(directory).map_err(failed)?;
    init_brick(directory, volume).map_err(failed)
}

/// Marks the root directory of a new brick of a volume that has data: its entries are not to be trusted.
///
/// # Errors
/// What the file system gave.
pub fn mark_dirty(path: &str) -> Result<(), OpError> {
    let failed = |e: Errno| OpError::new(format!("{path} cannot be marked as new: {e}"));
    let directory = File::open(path).map_err(|e| failed(e.into()))?;
    let dirty = Counters::in_slot(Slot::Entry, 1).to_bytes();
    xattr::fset(&directory, b"trusted.afr.dirty", &dirty, 0).map_err(failed)
}

/// Whether the directory of a brick that is to be reset can be taken: without force not if it still is the brick.
///
/// # Errors
/// GlusterFS's text.
pub fn check_reset(path: &str, volume: Gfid, force: bool) -> Result<(), OpError> {
    let Ok(directory) = File::open(path) else {
        // It is made anew.
        return Ok(());
    };
    match xattr::fget(&directory, VOLUME_ID) {
        Ok(found) if !force || found != volume.0 => Err(OpError::new(
            "Brick not available.It may be containing or be contained by an existing brick.Use 'force' option to \
             override this.",
        )),
        _ => Ok(()),
    }
}

/// Takes the marks of this volume off a brick's directory again; those of another volume stay.
pub fn release(path: &str, volume: Gfid) {
    let marked = File::open(path).map_err(Errno::from);
    match marked.and_then(|directory| xattr::fget(&directory, VOLUME_ID)) {
        Ok(value) if Gfid::from_slice(&value) == Some(volume) => {}
        _ => return,
    }
    if let Err(error) = remove_brick_marks(Path::new(path)) {
        tracing::warn!("{error}");
    }
}

/// Whether a brick's directory is there and belongs to the volume: what a start without force demands.
///
/// # Errors
/// GlusterFS's text for what is wrong.
pub fn check_for_start(path: &str, volume_name: &str, volume: Gfid) -> Result<(), OpError> {
    let missing = |e: Errno| {
        OpError::new(format!(
            "Failed to find brick directory {path} for volume {volume_name}. Reason : {e}"
        ))
    };
    let directory = File::open(path).map_err(|e| missing(e.into()))?;
    let no_id = |e: Errno| {
        OpError::new(format!(
            "Failed to get extended attribute trusted.glusterfs.volume-id for brick dir {path}. Reason : {e}"
        ))
    };
    let found = xattr::fget(&directory, VOLUME_ID).map_err(no_id)?;
    if found == volume.0 {
        return Ok(());
    }
    let found = Gfid::from_slice(&found).map_or_else(|| "no uuid".to_string(), |id| id.to_string());
    Err(OpError::new(format!(
        "Volume id mismatch for brick {path}. Expected volume id {volume}, volume id {found} found"
    )))
}

/// The file system under a path.
///
/// # Errors
/// What the file system gave.
pub fn file_system(path: &str) -> Result<FileSystem, Errno> {
    let stat = fstatvfs(File::open(path)?)?;
    let device = std::fs::metadata(path)?.dev();
    let (major, minor) = datapath::sys::fs::major_minor(device);
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let line = table
        .lines()
        .rfind(|l| l.split(' ').nth(2) == Some(format!("{major}:{minor}").as_str()));
    // Fields: … options (sixth) … "-" type device super-options (proc(5)).
    let field = |side: Option<&str>, n: usize| side.and_then(|s| s.split(' ').nth(n)).unwrap_or("").to_string();
    let (before, after) = match line.and_then(|l| l.split_once(" - ")) {
        Some((before, after)) => (Some(before), Some(after)),
        None => (None, None),
    };
    Ok(FileSystem {
        stat,
        device: field(after, 1),
        kind: field(after, 0),
        options: field(before, 5),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("glusterd-brickdir-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self, below: &str) -> String {
            self.0.join(below).to_string_lossy().into_owned()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn text(result: Result<BrickDirectory, OpError>) -> String {
        result.unwrap_err().text
    }

    #[test]
    fn a_directory_becomes_a_brick_and_is_recognised() {
        let scratch = Scratch::new("claim");
        let path = scratch.path("b");
        let volume = Gfid([7; 16]);
        let facts = prepare("w1:/b", &path, Path::new("/nowhere"), true).unwrap();
        assert!(facts.created && facts.fsid != 0 && facts.real_path.ends_with("/b"));
        claim(&path, volume).unwrap();
        check_for_start(&path, "v", volume).unwrap();
        let other = check_for_start(&path, "v", Gfid([8; 16])).unwrap_err();
        assert!(other.text.starts_with("Volume id mismatch for brick"), "{other}");
        assert!(
            text(prepare("w1:/b", &scratch.path("b/sub"), Path::new("/nowhere"), true))
                .contains("already part of a volume")
        );
        assert!(
            !Path::new(&scratch.path("b/sub")).exists(),
            "the directory made for the check is gone"
        );
        release(&path, Gfid([8; 16]));
        check_for_start(&path, "v", volume).unwrap();
        release(&path, volume);
        assert!(
            check_for_start(&path, "v", volume)
                .unwrap_err()
                .text
                .contains("volume-id")
        );
    }

    #[test]
    fn wrong_paths_have_glusterfs_texts() {
        let scratch = Scratch::new("wrong");
        std::fs::write(scratch.0.join("file"), "").unwrap();
        let file = scratch.path("file");
        let want = format!("The provided path {file} which is already present, is not a directory");
        assert_eq!(text(prepare("w1:/x", &file, Path::new("/nowhere"), true)), want);
        let want = "Failed to create brick directory for brick w1:/x. Reason : No such file or directory ";
        assert_eq!(
            text(prepare("w1:/x", &scratch.path("no/such"), Path::new("/nowhere"), true)),
            want
        );
        let root = text(prepare("w1:/x", "/", Path::new("/nowhere"), false));
        assert!(root.starts_with("The brick w1:/x is a mount point."), "{root}");
        let inside = text(prepare("w1:/x", &scratch.path("lib"), &scratch.0, true));
        assert_eq!(
            inside,
            "Brick isn't allowed to be created inside glusterd's working directory."
        );
        let missing = check_for_start(&scratch.path("none"), "v", Gfid([7; 16]))
            .unwrap_err()
            .text;
        assert!(
            missing.ends_with("for volume v. Reason : No such file or directory"),
            "{missing}"
        );
    }

    #[test]
    fn file_systems_are_described() {
        let found = file_system("/").unwrap();
        assert!(found.stat.blocks > 0 && !found.kind.is_empty() && found.options.contains('r'));
    }
}
