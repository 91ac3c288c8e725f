//! Names: lookup, the creating and removing operations, rename and link.

use bytes::Bytes;
use datapath::errno::{Errno, FsResult};
use datapath::wire::{Gfid, Iatt};

use super::Core;
use crate::inode;
use crate::ops::FileOps;
use crate::request::{Answer, Target, Who};

/// The longest name, bytes (NAME_MAX).
const NAME_MAX: usize = 255;

fn check_name(name: &[u8]) -> FsResult<()> {
    if name.len() > NAME_MAX {
        Err(Errno::ENAMETOOLONG)
    } else {
        Ok(())
    }
}

fn resolved(target: Target) -> FsResult<Gfid> {
    match target {
        Target::Gfid(gfid) => Ok(gfid),
        Target::Node(_) => Err(Errno::EIO),
    }
}

impl<V: FileOps> Core<V> {
    pub(super) async fn lookup(&self, who: Who, parent: u64, name: &[u8]) -> FsResult<Answer> {
        check_name(name)?;
        let parent = self.gfid(parent)?;
        let ttl = self.behaviour.negative_ttl;
        match self.ops.lookup(&self.caller(who), parent, name).await {
            // With no time-out an error, so that the kernel does not even keep a name it must ask about again.
            Err(Errno::ENOENT) if !ttl.is_zero() => Ok(Answer::Missing { ttl }),
            found => self.entry_answer(&found?).await,
        }
    }

    async fn entry_answer(&self, iatt: &Iatt) -> FsResult<Answer> {
        Ok(Answer::Entry(self.entry(iatt).await?))
    }

    pub(super) async fn mknod(&self, who: Who, parent: u64, name: &[u8], mode: u32, rdev: u32) -> FsResult<Answer> {
        check_name(name)?;
        let parent = self.gfid(parent)?;
        let dev = crate::attr::libc_dev(rdev);
        let iatt = self.ops.mknod(&self.caller(who), parent, name, mode, dev).await?;
        self.entry_answer(&iatt).await
    }

    pub(super) async fn mkdir(&self, who: Who, parent: u64, name: &[u8], mode: u32) -> FsResult<Answer> {
        check_name(name)?;
        let parent = self.gfid(parent)?;
        let iatt = self
            .ops
            .mkdir(&self.caller(who), parent, name, mode & !libc::S_IFMT)
            .await?;
        self.entry_answer(&iatt).await
    }

    pub(super) async fn symlink(&self, who: Who, parent: u64, name: &[u8], target: &[u8]) -> FsResult<Answer> {
        check_name(name)?;
        let parent = self.gfid(parent)?;
        let iatt = self.ops.symlink(&self.caller(who), parent, name, target).await?;
        self.entry_answer(&iatt).await
    }

    pub(super) async fn unlink(&self, who: Who, parent: u64, name: &[u8]) -> FsResult<Answer> {
        let parent = self.gfid(parent)?;
        self.ops.unlink(&self.caller(who), parent, name).await?;
        Ok(Answer::Done)
    }

    pub(super) async fn rmdir(&self, who: Who, parent: u64, name: &[u8]) -> FsResult<Answer> {
        let parent = self.gfid(parent)?;
        self.ops.rmdir(&self.caller(who), parent, name).await?;
        Ok(Answer::Done)
    }

    /// RENAME_NOREPLACE is the volume's to keep. The protocol has no form for EXCHANGE and WHITEOUT: `EINVAL`, as file
    /// systems answer that do not have them, so that programs use their fallback.
    pub(super) async fn rename(
        &self,
        who: Who,
        parent: u64,
        name: &[u8],
        to: Target,
        newname: &Bytes,
        flags: u32,
    ) -> FsResult<Answer> {
        check_name(newname)?;
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        let (from, to) = (self.gfid(parent)?, resolved(to)?);
        self.ops
            .rename(&self.caller(who), (from, name), (to, newname), flags)
            .await?;
        Ok(Answer::Done)
    }

    pub(super) async fn link(&self, who: Who, newparent: u64, of: Target, name: &[u8]) -> FsResult<Answer> {
        check_name(name)?;
        let (gfid, parent) = (resolved(of)?, self.gfid(newparent)?);
        let iatt = self.ops.link(&self.caller(who), gfid, parent, name).await?;
        self.entry_answer(&iatt).await
    }

    pub(super) async fn create(&self, who: Who, parent: u64, name: &[u8], mode: u32, flags: u32) -> FsResult<Answer> {
        check_name(name)?;
        let parent = self.gfid(parent)?;
        let (iatt, fd) = self
            .ops
            .create(&self.caller(who), parent, name, flags, mode | libc::S_IFREG)
            .await?;
        let entry = match self.entry(&iatt).await {
            Ok(entry) => entry,
            Err(e) => {
                self.ops.release(fd);
                return Err(e);
            }
        };
        let fh = self
            .handles
            .borrow_mut()
            .add_file(inode::node_of(iatt.gfid), iatt.gfid, fd);
        Ok(Answer::Created {
            entry,
            fh,
            mode: self.open_mode(flags),
        })
    }
}
