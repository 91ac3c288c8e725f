//! Values between fuser's types and ours. Pure functions.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo, InitFlags, TimeOrNow};

use crate::attr::Attr;
use crate::request::TimeChange;
use crate::transport::TransportConfig;

/// The capabilities to ask for, with their names for the log. Splicing is not among them: fuser reads into memory.
pub fn wanted_capabilities(config: &TransportConfig) -> Vec<(InitFlags, &'static str)> {
    let mut wanted = vec![
        (InitFlags::FUSE_ASYNC_READ, "ASYNC_READ"),
        (InitFlags::FUSE_BIG_WRITES, "BIG_WRITES"),
        (InitFlags::FUSE_ATOMIC_O_TRUNC, "ATOMIC_O_TRUNC"),
        (InitFlags::FUSE_POSIX_LOCKS, "POSIX_LOCKS"),
        (InitFlags::FUSE_FLOCK_LOCKS, "FLOCK_LOCKS"),
        (InitFlags::FUSE_ASYNC_DIO, "ASYNC_DIO"),
        (InitFlags::FUSE_PARALLEL_DIROPS, "PARALLEL_DIROPS"),
        (InitFlags::FUSE_HANDLE_KILLPRIV_V2, "HANDLE_KILLPRIV_V2"),
        (InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP, "DIRECT_IO_ALLOW_MMAP"),
    ];
    if config.auto_invalidate {
        wanted.push((InitFlags::FUSE_AUTO_INVAL_DATA, "AUTO_INVAL_DATA"));
    }
    if config.readdirplus {
        wanted.push((InitFlags::FUSE_DO_READDIRPLUS, "DO_READDIRPLUS"));
        wanted.push((InitFlags::FUSE_READDIRPLUS_AUTO, "READDIRPLUS_AUTO"));
    }
    if config.posix_acl {
        wanted.push((InitFlags::FUSE_POSIX_ACL, "POSIX_ACL"));
    }
    if config.writeback_cache {
        wanted.push((InitFlags::FUSE_WRITEBACK_CACHE, "WRITEBACK_CACHE"));
    }
    wanted
}

/// The file type of a mode; `None` for bits that name no type.
pub fn file_type(mode: u32) -> Option<FileType> {
    Some(match mode & libc::S_IFMT {
        libc::S_IFREG => FileType::RegularFile,
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        _ => return None,
    })
}

/// fuser's form of attributes. Its inode number is also the node id it sends in entry answers, so that is what goes
/// in. `None` if the mode names no file type: the kernel would refuse it anyway.
pub fn file_attr(node: u64, attr: &Attr) -> Option<FileAttr> {
    Some(FileAttr {
        ino: INodeNo(node),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(attr.mode)?,
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.blksize,
        flags: 0,
    })
}

/// Seconds and nanoseconds as a `SystemTime`; what it cannot hold becomes the epoch.
fn system_time((sec, nsec): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(sec.unsigned_abs());
    let base = if sec < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    base.and_then(|t| t.checked_add(Duration::from_nanos(u64::from(nsec))))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The time of a SETATTR. For times before the epoch fuser 0.18 *subtracts* the nanoseconds instead of adding them;
/// splitting the distance to the epoch gives back exactly the two numbers that the kernel sent.
pub fn time_change(time: TimeOrNow) -> TimeChange {
    match time {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(t) => match t.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(d) => TimeChange::At(d.as_secs() as i64, d.subsec_nanos()),
            Err(before) => {
                let d = before.duration();
                TimeChange::At(-(d.as_secs() as i64), d.subsec_nanos())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_type_has_its_bits() {
        for (mode, kind) in [
            (0o100644, FileType::RegularFile),
            (0o040755, FileType::Directory),
            (0o120777, FileType::Symlink),
            (0o020600, FileType::CharDevice),
            (0o060600, FileType::BlockDevice),
            (0o010600, FileType::NamedPipe),
            (0o140600, FileType::Socket),
        ] {
            assert_eq!(file_type(mode), Some(kind));
        }
        assert_eq!(file_type(0o644), None);
    }

    #[test]
    fn times_before_the_epoch_keep_their_nanoseconds() {
        let at = |s, n| SystemTime::UNIX_EPOCH - Duration::new(s, n);
        // fuser turns the kernel's (-2, 500) into "2 s and 500 ns before".
        assert_eq!(
            time_change(TimeOrNow::SpecificTime(at(2, 500))),
            TimeChange::At(-2, 500)
        );
        assert_eq!(system_time((-2, 500)), at(1, 999_999_500));
        assert_eq!(time_change(TimeOrNow::Now), TimeChange::Now);
        let after = SystemTime::UNIX_EPOCH + Duration::new(3, 4);
        assert_eq!(time_change(TimeOrNow::SpecificTime(after)), TimeChange::At(3, 4));
        // A time that SystemTime cannot hold must not end the process.
        system_time((i64::MAX, 999_999_999));
        system_time((i64::MIN, 0));
    }

    #[test]
    fn set_id_bits_reach_the_kernel() {
        let attr = Attr {
            mode: 0o104755,
            ino: 5,
            ..Attr::default()
        };
        let out = file_attr(5, &attr).unwrap();
        assert_eq!(
            (out.perm, out.kind, out.ino),
            (0o4755, FileType::RegularFile, INodeNo(5))
        );
    }
}
