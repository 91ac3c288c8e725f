//! Brick directories: plain ones, or each on a file system of its own in a loop-mounted image.
//!
//! A brick's metadata is extended attributes; they must fit the inode (512 bytes, XFS's default) or every create
//! pays for an extra block.

use super::error::{Context, Result, fail};
use super::host::{Host, Lab};
use super::record::Item;
use super::run::Cmd;
use super::xattr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const MKFS_XFS: &str = "mkfs.xfs -q -i size=512";

/// What a brick directory stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrickDisk {
    /// A directory of the lab's own file system.
    Directory,
    /// A loop-mounted XFS image of this many MiB (at least 300).
    Xfs(u64),
    /// A loop-mounted ext4 image of this many MiB with 512-byte inodes.
    Ext4(u64),
}

/// Makes `count` brick directories for `host` (they exist afterwards, empty) and returns their paths there.
///
/// # Errors
/// When an image cannot be made or mounted, or extended attributes are not supported.
pub fn make_bricks(lab: &Lab, host: &Host, disk: BrickDisk, count: usize) -> Result<Vec<PathBuf>> {
    let home = lab.make_dir("bricks")?;
    (1..=count)
        .map(|number| make_brick(lab, host, disk, &home, number))
        .collect()
}

fn make_brick(lab: &Lab, host: &Host, disk: BrickDisk, home: &Path, number: usize) -> Result<PathBuf> {
    let place = home.join(format!("brick{number}"));
    fs::create_dir_all(&place).context(place.display())?;
    if let Some((mib, mkfs)) = image_of(disk) {
        let image = home.join(format!("brick{number}.img"));
        make_image(lab, &image, mib, mkfs)?;
        // Mounts of one machine are not seen by another.
        host.words("mount -o loop,noatime").arg(&image).arg(&place).run()?;
    }
    // As administrators do it: the brick is a directory below the mount point, so that a disk that is not
    // mounted is noticed.
    let brick = place.join("0001");
    let outside = host.outside(&brick);
    fs::create_dir_all(&outside).context(brick.display())?;
    check_xattrs(&outside)?;
    Ok(brick)
}

/// Makes a sparse image of `mib` MiB with an XFS file system in it. Its loop devices are removed with the lab.
///
/// # Errors
/// When the image exists already or `mkfs` fails.
pub fn make_xfs_image(lab: &Lab, image: &Path, mib: u64) -> Result<()> {
    make_image(lab, image, mib.max(300), MKFS_XFS)
}

fn make_image(lab: &Lab, image: &Path, mib: u64, mkfs: &str) -> Result<()> {
    File::create_new(image)?.set_len(mib << 20).context(image.display())?;
    Cmd::words(mkfs).arg(image).run()?;
    lab.record().add(&Item::Loop(image.into()))
}

fn image_of(disk: BrickDisk) -> Option<(u64, &'static str)> {
    match disk {
        BrickDisk::Directory => None,
        BrickDisk::Xfs(mib) => Some((mib.max(300), MKFS_XFS)),
        BrickDisk::Ext4(mib) => Some((mib, "mkfs.ext4 -q -I 512")),
    }
}

/// Fails with the reason when `dir` cannot hold a brick's extended attributes.
///
/// # Errors
/// When setting, reading or removing a `trusted.` attribute fails.
pub fn check_xattrs(dir: &Path) -> Result<()> {
    const NAME: &str = "trusted.ringluster.probe";
    let value = [7u8; 64];
    let what = || {
        format!(
            "{} cannot hold a brick: it needs trusted.* extended attributes",
            dir.display()
        )
    };
    xattr::set(dir, NAME, &value).context(what())?;
    let back = xattr::get(dir, NAME).context(what())?;
    xattr::remove(dir, NAME).context(what())?;
    if back.as_deref() == Some(&value[..]) {
        Ok(())
    } else {
        Err(fail(what()))
    }
}
