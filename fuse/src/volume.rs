//! The volume as [`FileOps`]: nothing but calls handed on, each to the bricks there are when it begins.

use bytes::Bytes;
use datapath::client::{Fd, LiveVolume};
use datapath::errno::FsResult;
use datapath::wire::{Gfid, Iatt};

use crate::ops::{Caller, DirEntry, FileOps, Flock, LkOp, SetAttr, Statfs};

impl FileOps for LiveVolume {
    type Fd = Fd;

    fn share_gfids(&self, cores: usize, rest: usize) {
        self.current().share_gfids(cores, rest);
    }

    async fn lookup(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        self.enter().await.lookup(c, parent, name).await
    }

    async fn getattr(&self, c: &Caller, gfid: Gfid, fd: Option<&Fd>) -> FsResult<Iatt> {
        self.enter().await.getattr(c, gfid, fd).await
    }

    async fn setattr(&self, c: &Caller, gfid: Gfid, fd: Option<&Fd>, set: &SetAttr) -> FsResult<Iatt> {
        self.enter().await.setattr(c, gfid, fd, set).await
    }

    async fn readlink(&self, c: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        self.enter().await.readlink(c, gfid).await
    }

    async fn mknod(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32, rdev: u64) -> FsResult<Iatt> {
        self.enter().await.mknod(c, parent, name, mode, rdev).await
    }

    async fn mkdir(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32) -> FsResult<Iatt> {
        self.enter().await.mkdir(c, parent, name, mode).await
    }

    async fn symlink(&self, c: &Caller, parent: Gfid, name: &[u8], target: &[u8]) -> FsResult<Iatt> {
        self.enter().await.symlink(c, parent, name, target).await
    }

    async fn unlink(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        self.enter().await.unlink(c, parent, name).await
    }

    async fn rmdir(&self, c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        self.enter().await.rmdir(c, parent, name).await
    }

    async fn rename(&self, c: &Caller, from: (Gfid, &[u8]), to: (Gfid, &[u8]), flags: u32) -> FsResult<()> {
        self.enter().await.rename(c, from.0, from.1, to.0, to.1, flags).await
    }

    async fn link(&self, c: &Caller, gfid: Gfid, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        self.enter().await.link(c, gfid, parent, name).await
    }

    async fn open(&self, c: &Caller, gfid: Gfid, flags: u32) -> FsResult<Fd> {
        self.enter().await.open(c, gfid, flags).await
    }

    async fn create(&self, c: &Caller, parent: Gfid, name: &[u8], flags: u32, mode: u32) -> FsResult<(Iatt, Fd)> {
        self.enter().await.create(c, parent, name, flags, mode).await
    }

    async fn opendir(&self, c: &Caller, gfid: Gfid) -> FsResult<Fd> {
        self.enter().await.opendir(c, gfid).await
    }

    async fn read(&self, c: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<Bytes> {
        self.enter().await.read(c, fd, off, size).await
    }

    async fn write(&self, c: &Caller, fd: &Fd, off: u64, data: Bytes, flags: u32) -> FsResult<u32> {
        self.enter().await.write(c, fd, off, data, flags).await
    }

    async fn flush(&self, c: &Caller, fd: &Fd) -> FsResult<()> {
        self.enter().await.flush(c, fd).await
    }

    async fn fsync(&self, c: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        self.enter().await.fsync(c, fd, datasync).await
    }

    async fn fsyncdir(&self, c: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        self.enter().await.fsyncdir(c, fd, datasync).await
    }

    fn release(&self, fd: Fd) {
        // The fd's numbers are those of the set there is now.
        self.current().release(fd);
    }

    async fn readdirp(&self, c: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        self.enter().await.readdirp(c, fd, off, size).await
    }

    async fn statfs(&self, c: &Caller) -> FsResult<Statfs> {
        self.enter().await.statfs(c).await
    }

    async fn setxattr(&self, c: &Caller, gfid: Gfid, name: &[u8], value: Bytes, flags: u32) -> FsResult<()> {
        self.enter().await.setxattr(c, gfid, name, value, flags).await
    }

    async fn getxattr(&self, c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<Bytes> {
        self.enter().await.getxattr(c, gfid, name).await
    }

    async fn listxattr(&self, c: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        self.enter().await.listxattr(c, gfid).await
    }

    async fn removexattr(&self, c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<()> {
        self.enter().await.removexattr(c, gfid, name).await
    }

    async fn fallocate(&self, c: &Caller, fd: &Fd, mode: i32, off: u64, len: u64) -> FsResult<()> {
        self.enter().await.fallocate(c, fd, mode, off, len).await
    }

    async fn lseek(&self, c: &Caller, fd: &Fd, off: u64, whence: i32) -> FsResult<u64> {
        self.enter().await.lseek(c, fd, off, whence).await
    }

    async fn lk(&self, c: &Caller, fd: &Fd, op: LkOp, lock: &Flock) -> FsResult<Flock> {
        LiveVolume::lk(self, c, fd, op, lock).await
    }
}
