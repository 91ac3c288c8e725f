//! The attributes of an inode on the wire: gfx_iattx and gfx_mdata_iatt (wire-protocol.md 3.1).

use super::Gfid;
use super::define::xdr_fields;

/// gfx_iattx: what a brick says of an inode. 148 bytes on the wire; all zero means "no information".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct Iatt {
    pub gfid: Gfid,
    /// Which fields are valid; a brick sends [`Iatt::VALID`].
    pub flags: u64,
    pub ino: u64,
    pub dev: u64,
    /// `major << 32 | minor`.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    pub attributes: u64,
    pub attributes_mask: u64,
    /// Seconds since the epoch, like the other times; nanoseconds are in `*_nsec`.
    pub atime: i64,
    pub mtime: i64,
    pub ctime: i64,
    pub btime: i64,
    pub atime_nsec: u32,
    pub mtime_nsec: u32,
    pub ctime_nsec: u32,
    pub btime_nsec: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub blksize: u32,
    /// Complete `st_mode`: file type and permission bits.
    pub mode: u32,
}

impl Iatt {
    /// The flags a posix brick sends: everything except the birth time.
    pub const VALID: u64 = 0x17ff;
    /// Bytes it takes on the wire.
    pub const WIRE_LEN: usize = 148;

    /// The file-type bits of `mode` (`S_IFDIR`, `S_IFREG`, ...).
    pub fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == libc::S_IFDIR
    }

    /// Whether this is a regular file.
    pub fn is_reg(&self) -> bool {
        self.file_type() == libc::S_IFREG
    }

    /// Whether anything is filled in at all.
    pub fn is_valid(&self) -> bool {
        self.flags != 0 && self.mode != 0
    }
}

/// gfx_mdata_iatt: the times of the ctime feature, 36 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct MdataIatt {
    pub atime: i64,
    pub mtime: i64,
    pub ctime: i64,
    pub atime_nsec: u32,
    pub mtime_nsec: u32,
    pub ctime_nsec: u32,
}

xdr_fields!(Iatt {
    gfid,
    flags,
    ino,
    dev,
    rdev,
    size,
    blocks,
    attributes,
    attributes_mask,
    atime,
    mtime,
    ctime,
    btime,
    atime_nsec,
    mtime_nsec,
    ctime_nsec,
    btime_nsec,
    nlink,
    uid,
    gid,
    blksize,
    mode,
});

xdr_fields!(MdataIatt {
    atime,
    mtime,
    ctime,
    atime_nsec,
    mtime_nsec,
    ctime_nsec
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xdr::Xdr;

    #[test]
    fn wire_sizes() {
        assert_eq!(Iatt::default().to_bytes().len(), Iatt::WIRE_LEN);
        assert_eq!(MdataIatt::default().to_bytes().len(), 36);
    }

    #[test]
    fn mode_is_the_last_word() {
        let bytes = Iatt {
            mode: 0x81a4,
            ..Iatt::default()
        }
        .to_bytes();
        assert_eq!(bytes[144..], [0, 0, 0x81, 0xa4]);
    }
}
