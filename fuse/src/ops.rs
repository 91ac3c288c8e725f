//! The file operations a mount is made of, as a trait, so that dispatch and transport are testable without bricks.
//!
//! The real implementation is [`datapath::client::Volume`]; tests use an in-memory double. The trait has no policy of
//! its own: errors, ordering and durability are the volume's.

use bytes::Bytes;
pub use datapath::client::{Caller, DirEntry, LkOp, SetAttr, TimeSet};
use datapath::errno::FsResult;
pub use datapath::wire::fop::{Flock, Statfs};
use datapath::wire::{Gfid, Iatt};

/// See the module. All methods are `!Send` futures of the core that owns the volume.
pub(crate) trait FileOps: Clone + 'static {
    /// An open file or directory.
    type Fd: Clone + 'static;

    /// New files shall have inode numbers that leave `rest` when divided by `cores`.
    fn share_gfids(&self, cores: usize, rest: usize);
    async fn lookup(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<Iatt>;
    async fn getattr(&self, c: &Caller, gfid: Gfid, fd: Option<&Self::Fd>) -> FsResult<Iatt>;
    async fn setattr(&self, c: &Caller, gfid: Gfid, fd: Option<&Self::Fd>, set: &SetAttr) -> FsResult<Iatt>;
    async fn readlink(&self, c: &Caller, gfid: Gfid) -> FsResult<Bytes>;
    async fn mknod(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32, rdev: u64) -> FsResult<Iatt>;
    async fn mkdir(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32) -> FsResult<Iatt>;
    async fn symlink(&self, c: &Caller, parent: Gfid, name: &[u8], target: &[u8]) -> FsResult<Iatt>;
    async fn unlink(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()>;
    async fn rmdir(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()>;
    async fn rename(&self, c: &Caller, from: (Gfid, &[u8]), to: (Gfid, &[u8]), flags: u32) -> FsResult<()>;
    async fn link(&self, c: &Caller, gfid: Gfid, parent: Gfid, name: &[u8]) -> FsResult<Iatt>;
    async fn open(&self, c: &Caller, gfid: Gfid, flags: u32) -> FsResult<Self::Fd>;
    async fn create(&self, c: &Caller, parent: Gfid, name: &[u8], flags: u32, mode: u32) -> FsResult<(Iatt, Self::Fd)>;
    async fn opendir(&self, c: &Caller, gfid: Gfid) -> FsResult<Self::Fd>;
    async fn read(&self, c: &Caller, fd: &Self::Fd, off: u64, size: u32) -> FsResult<Bytes>;
    async fn write(&self, c: &Caller, fd: &Self::Fd, off: u64, data: Bytes, flags: u32) -> FsResult<u32>;
    async fn flush(&self, c: &Caller, fd: &Self::Fd) -> FsResult<()>;
    async fn fsync(&self, c: &Caller, fd: &Self::Fd, datasync: bool) -> FsResult<()>;
    async fn fsyncdir(&self, c: &Caller, fd: &Self::Fd, datasync: bool) -> FsResult<()>;
    fn release(&self, fd: Self::Fd);
    async fn readdirp(&self, c: &Caller, fd: &Self::Fd, off: u64, size: u32) -> FsResult<(Vec<DirEntry>, bool)>;
    async fn statfs(&self, c: &Caller) -> FsResult<Statfs>;
    async fn setxattr(&self, c: &Caller, gfid: Gfid, name: &[u8], value: Bytes, flags: u32) -> FsResult<()>;
    async fn getxattr(&self, c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<Bytes>;
    async fn listxattr(&self, c: &Caller, gfid: Gfid) -> FsResult<Bytes>;
    async fn removexattr(&self, c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<()>;
    async fn fallocate(&self, c: &Caller, fd: &Self::Fd, mode: i32, off: u64, len: u64) -> FsResult<()>;
    async fn lseek(&self, c: &Caller, fd: &Self::Fd, off: u64, whence: i32) -> FsResult<u64>;
    async fn lk(&self, c: &Caller, fd: &Self::Fd, op: LkOp, lock: &Flock) -> FsResult<Flock>;
}
