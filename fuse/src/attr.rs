//! Inode attributes on their way to the kernel: from a brick's iatt to `struct fuse_attr` terms. No I/O.

use datapath::wire::Iatt;

/// What `stat` shows, in the kernel's encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "struct stat names")]
pub struct Attr {
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    /// Seconds and nanoseconds since the epoch.
    pub atime: (i64, u32),
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    /// File type and permission bits.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// Device number, see [`kernel_dev`].
    pub rdev: u32,
    pub blksize: u32,
}

impl Attr {
    /// The attributes of an iatt; the inode number comes from the gfid, so that every client shows the same one
    /// (wire-protocol.md 3.1).
    pub fn from_iatt(iatt: &Iatt) -> Attr {
        Attr {
            ino: iatt.gfid.ino(),
            size: iatt.size,
            blocks: iatt.blocks,
            atime: (iatt.atime, iatt.atime_nsec),
            mtime: (iatt.mtime, iatt.mtime_nsec),
            ctime: (iatt.ctime, iatt.ctime_nsec),
            mode: iatt.mode,
            nlink: iatt.nlink,
            uid: iatt.uid,
            gid: iatt.gid,
            rdev: kernel_dev((iatt.rdev >> 32) as u32, iatt.rdev as u32),
            blksize: iatt.blksize,
        }
    }
}

/// The 32-bit device number of the FUSE protocol (the kernel's `new_encode_dev`): 12 bits of major, 20 of minor.
pub fn kernel_dev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}

/// The `dev_t` of a FUSE device number.
pub fn libc_dev(dev: u32) -> u64 {
    let major = (dev >> 8) & 0xfff;
    let minor = (dev & 0xff) | (dev >> 12) & 0xfff00;
    libc::makedev(major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datapath::wire::Gfid;

    #[test]
    fn device_numbers_survive_both_ways() {
        for (major, minor) in [(0, 0), (1, 3), (8, 0), (259, 300), (0xfff, 0xfffff)] {
            assert_eq!(
                libc_dev(kernel_dev(major, minor)),
                libc::makedev(major, minor),
                "{major}:{minor}"
            );
        }
    }

    #[test]
    fn the_inode_number_is_the_gfids() {
        let gfid: Gfid = "12ed8f5d-c112-4a76-b05d-3389c05b7e5b".parse().unwrap();
        let iatt = Iatt {
            gfid,
            ino: 7,
            rdev: 1 << 32 | 3,
            atime: -1,
            atime_nsec: 5,
            ..Iatt::default()
        };
        let attr = Attr::from_iatt(&iatt);
        assert_eq!(attr.ino, 0xb05d_3389_c05b_7e5b);
        assert_eq!(attr.rdev, 0x103);
        assert_eq!(attr.atime, (-1, 5));
    }
}
