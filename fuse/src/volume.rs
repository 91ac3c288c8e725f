//! The volume as [`FileOps`]: nothing but calls handed on.

use bytes::Bytes;
use datapath::client::{Fd, Volume};
use datapath::errno::FsResult;
use datapath::wire::{Gfid, Iatt};

use crate::ops::{Caller, DirEntry, FileOps, Flock, LkOp, SetAttr, Statfs};

impl FileOps for Volume {
    type Fd = Fd;

    fn share_gfids(&self, cores: usize, rest: usize) {
        Volume::share_gfids(self, cores, rest);
    }

    async fn lookup(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        Volume::lookup(self, c, parent, name).await
    }

    async fn getattr(&self, c: &Caller, gfid: Gfid, fd: Option<&Fd>) -> FsResult<Iatt> {
        Volume::getattr(self, c, gfid, fd).await
    }

    async fn setattr(&self, c: &Caller, gfid: Gfid, fd: Option<&Fd>, set: &SetAttr) -> FsResult<Iatt> {
        Volume::setattr(self, c, gfid, fd, set).await
    }

    async fn readlink(&self, c: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        Volume::readlink(self, c, gfid).await
    }

    async fn mknod(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32, rdev: u64) -> FsResult<Iatt> {
        Volume::mknod(self, c, parent, name, mode, rdev).await
    }

    async fn mkdir(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32) -> FsResult<Iatt> {
        Volume::mkdir(self, c, parent, name, mode).await
    }

    async fn symlink(&self, c: &Caller, parent: Gfid, name: &[u8], target: &[u8]) -> FsResult<Iatt> {
        Volume::symlink(self, c, parent, name, target).await
    }

    async fn unlink(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        Volume::unlink(self, c, parent, name).await
    }

    async fn rmdir(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        Volume::rmdir(self, c, parent, name).await
    }

    async fn rename(&self, c: &Caller, from: (Gfid, &[u8]), to: (Gfid, &[u8]), flags: u32) -> FsResult<()> {
        Volume::rename(self, c, from.0, from.1, to.0, to.1, flags).await
    }

    async fn link(&self, c: &Caller, gfid: Gfid, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        Volume::link(self, c, gfid, parent, name).await
    }

    async fn open(&self, c: &Caller, gfid: Gfid, flags: u32) -> FsResult<Fd> {
        Volume::open(self, c, gfid, flags).await
    }

    async fn create(&self, c: &Caller, parent: Gfid, name: &[u8], flags: u32, mode: u32) -> FsResult<(Iatt, Fd)> {
        Volume::create(self, c, parent, name, flags, mode).await
    }

    async fn opendir(&self, c: &Caller, gfid: Gfid) -> FsResult<Fd> {
        Volume::opendir(self, c, gfid).await
    }

    async fn read(&self, c: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<Bytes> {
        Volume::read(self, c, fd, off, size).await
    }

    async fn write(&self, c: &Caller, fd: &Fd, off: u64, data: Bytes, flags: u32) -> FsResult<u32> {
        Volume::write(self, c, fd, off, data, flags).await
    }

    async fn flush(&self, c: &Caller, fd: &Fd) -> FsResult<()> {
        Volume::flush(self, c, fd).await
    }

    async fn fsync(&self, c: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        Volume::fsync(self, c, fd, datasync).await
    }

    async fn fsyncdir(&self, c: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        Volume::fsyncdir(self, c, fd, datasync).await
    }

    fn release(&self, fd: Fd) {
        Volume::release(self, fd);
    }

    async fn readdirp(&self, c: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        Volume::readdirp(self, c, fd, off, size).await
    }

    async fn statfs(&self, c: &Caller) -> FsResult<Statfs> {
        Volume::statfs(self, c).await
    }

    async fn setxattr(&self, c: &Caller, gfid: Gfid, name: &[u8], value: Bytes, flags: u32) -> FsResult<()> {
        Volume::setxattr(self, c, gfid, name, value, flags).await
    }

    async fn getxattr(&self, c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<Bytes> {
        Volume::getxattr(self, c, gfid, name).await
    }

    async fn listxattr(&self, c: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        Volume::listxattr(self, c, gfid).await
    }

    async fn removexattr(&self, c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<()> {
        Volume::removexattr(self, c, gfid, name).await
    }

    async fn fallocate(&self, c: &Caller, fd: &Fd, mode: i32, off: u64, len: u64) -> FsResult<()> {
        Volume::fallocate(self, c, fd, mode, off, len).await
    }

    async fn lseek(&self, c: &Caller, fd: &Fd, off: u64, whence: i32) -> FsResult<u64> {
        Volume::lseek(self, c, fd, off, whence).await
    }

    async fn lk(&self, c: &Caller, fd: &Fd, op: LkOp, lock: &Flock) -> FsResult<Flock> {
        Volume::lk(self, c, fd, op, lock).await
    }
}
