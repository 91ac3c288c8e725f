//! Bit masks and numbers inside fop arguments (wire-protocol.md 3.7 and 3.8).

/// Open flags of OPEN, CREATE and PUT as they travel: octal values of the Linux x86-64 ABI.
#[allow(missing_docs, reason = "the names are those of open(2)")]
pub mod open {
    pub const RDONLY: u32 = 0;
    pub const WRONLY: u32 = 0o1;
    pub const RDWR: u32 = 0o2;
    pub const ACCMODE: u32 = 0o3;
    /// The kernel opens to execute.
    pub const FMODE_EXEC: u32 = 0o40;
    pub const CREAT: u32 = 0o100;
    pub const EXCL: u32 = 0o200;
    pub const NOCTTY: u32 = 0o400;
    pub const TRUNC: u32 = 0o1000;
    pub const APPEND: u32 = 0o2000;
    pub const NONBLOCK: u32 = 0o4000;
    /// Stands for both O_SYNC and O_DSYNC; a receiver opens with O_SYNC.
    pub const SYNC: u32 = 0o10000;
    pub const ASYNC: u32 = 0o20000;
    pub const DIRECT: u32 = 0o40000;
    pub const LARGEFILE: u32 = 0o100_000;
    pub const DIRECTORY: u32 = 0o200_000;
    pub const NOFOLLOW: u32 = 0o400_000;
    pub const NOATIME: u32 = 0o1_000_000;
    pub const CLOEXEC: u32 = 0o2_000_000;
}

/// Wire flag and host flag. `FMODE_EXEC` is the kernel's own bit, which open(2) knows nothing of.
const OPEN_MAP: [(u32, i32); 15] = [
    (open::WRONLY, libc::O_WRONLY),
    (open::RDWR, libc::O_RDWR),
    (open::CREAT, libc::O_CREAT),
    (open::EXCL, libc::O_EXCL),
    (open::NOCTTY, libc::O_NOCTTY),
    (open::TRUNC, libc::O_TRUNC),
    (open::APPEND, libc::O_APPEND),
    (open::NONBLOCK, libc::O_NONBLOCK),
    (open::ASYNC, libc::O_ASYNC),
    (open::DIRECT, libc::O_DIRECT),
    (open::LARGEFILE, libc::O_LARGEFILE),
    (open::DIRECTORY, libc::O_DIRECTORY),
    (open::NOFOLLOW, libc::O_NOFOLLOW),
    (open::NOATIME, libc::O_NOATIME),
    (open::CLOEXEC, libc::O_CLOEXEC),
];

/// Open flags of this host as they travel; what the protocol does not know is dropped.
pub fn open_to_wire(host: i32) -> u32 {
    let mapped = OPEN_MAP
        .iter()
        .filter(|(_, h)| *h != 0 && host & h == *h)
        .fold(0, |acc, (wire, _)| acc | wire);
    let exec = host as u32 & open::FMODE_EXEC;
    let sync = if host & libc::O_DSYNC != 0 { open::SYNC } else { 0 };
    mapped | exec | sync
}

/// Open flags off the wire as open(2) of this host takes them; unknown bits are dropped.
pub fn open_from_wire(wire: u32) -> i32 {
    let mapped = OPEN_MAP
        .iter()
        .filter(|(w, _)| wire & w != 0)
        .fold(0, |acc, (_, host)| acc | host);
    let sync = if wire & open::SYNC != 0 { libc::O_SYNC } else { 0 };
    mapped | sync
}

/// `valid` of SETATTR and FSETATTR: which fields of `stbuf` count.
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub mod setattr {
    pub const MODE: i32 = 0x1;
    pub const UID: i32 = 0x2;
    pub const GID: i32 = 0x4;
    /// Never sent: TRUNCATE is a fop of its own.
    pub const SIZE: i32 = 0x8;
    pub const ATIME: i32 = 0x10;
    pub const MTIME: i32 = 0x20;
    pub const CTIME: i32 = 0x40;
    pub const ATIME_NOW: i32 = 0x80;
    pub const MTIME_NOW: i32 = 0x100;
}

/// `flags` of XATTROP and FXATTROP: what is done with each value.
pub mod xattrop {
    /// Element-wise sum of big-endian i32.
    pub const ADD_ARRAY: u32 = 0;
    /// Element-wise sum of big-endian i64.
    pub const ADD_ARRAY64: u32 = 1;
    /// EINVAL in 10.3.
    pub const OR_ARRAY: u32 = 2;
    /// EINVAL in 10.3.
    pub const AND_ARRAY: u32 = 3;
    /// Stores the new value and returns the old.
    pub const GET_AND_SET: u32 = 4;
    /// [`ADD_ARRAY`] where a missing value has a default.
    pub const ADD_ARRAY_WITH_DEFAULT: u32 = 5;
    /// [`ADD_ARRAY64`] where a missing value has a default.
    pub const ADD_ARRAY64_WITH_DEFAULT: u32 = 6;
}

/// `flags` of SETXATTR and FSETXATTR.
pub mod setxattr {
    /// The xattr must not exist.
    pub const CREATE: u32 = 1;
    /// The xattr must exist.
    pub const REPLACE: u32 = 2;
}

/// `what` of SEEK.
pub mod seek {
    /// The next data.
    pub const DATA: i32 = 0;
    /// The next hole.
    pub const HOLE: i32 = 1;
}

/// `flags` of FALLOCATE.
pub mod fallocate {
    /// The file's size stays.
    pub const KEEP_SIZE: u32 = 1;
}

/// `xflags` of RMDIR.
pub mod rmdir {
    /// Removes everything below as well.
    pub const RECURSIVE: i32 = 1;
}

/// `mask` of ACCESS.
#[allow(missing_docs, reason = "the names are those of access(2)")]
pub mod access {
    pub const EXEC: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const READ: u32 = 4;
}

/// Bits of `ia_flags`: which fields of an iatt are valid.
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub mod iatt {
    pub const TYPE: u64 = 0x1;
    pub const MODE: u64 = 0x2;
    pub const NLINK: u64 = 0x4;
    pub const UID: u64 = 0x8;
    pub const GID: u64 = 0x10;
    pub const ATIME: u64 = 0x20;
    pub const MTIME: u64 = 0x40;
    pub const CTIME: u64 = 0x80;
    pub const INO: u64 = 0x100;
    pub const SIZE: u64 = 0x200;
    pub const BLOCKS: u64 = 0x400;
    pub const BTIME: u64 = 0x800;
    pub const GFID: u64 = 0x1000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_seen_on_the_wire() {
        // wire-protocol.md 3.7.
        assert_eq!(open_to_wire(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL), 0xc2);
        assert_eq!(open_from_wire(0xc2), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL);
        assert_eq!(open_to_wire(libc::O_DIRECT | libc::O_APPEND), 0o42000);
    }

    #[test]
    fn both_kinds_of_sync_arrive_as_o_sync() {
        for flag in [libc::O_SYNC, libc::O_DSYNC] {
            assert_eq!(open_to_wire(flag), open::SYNC);
        }
        assert_eq!(open_from_wire(open::SYNC), libc::O_SYNC);
    }

    #[test]
    fn unknown_bits_are_dropped() {
        assert_eq!(open_to_wire(libc::O_PATH | libc::O_TMPFILE), open::DIRECTORY);
        assert_eq!(open_from_wire(0x8000_0000 | 0o10_000_000), 0);
    }
}
