//! Open files: open, read, write, flush, fsync, release, space and holes.

use bytes::Bytes;
use datapath::errno::{Errno, FsResult};

use super::{Core, DirectIo, by_node};
use crate::ops::{Caller, FileOps, SetAttr};
use crate::request::{Answer, OpenMode, Who};

/// A write as the kernel asks for it.
pub(super) struct Write {
    pub offset: u64,
    pub data: Bytes,
    /// Flags of the open file.
    pub flags: u32,
    /// The caller may not keep set-id bits (FUSE_HANDLE_KILLPRIV_V2).
    pub kill_privileges: bool,
}

/// Flags that concern the open call only, never the file on a brick.
const OPEN_ONLY: u32 = (libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY | libc::O_TRUNC) as u32;

/// The mode without the bits that a write by an ordinary user takes away; `None` if there are none: set-user-id, and
/// set-group-id where the group may execute (otherwise it used to mean mandatory locking).
pub(super) fn without_set_ids(mode: u32) -> Option<u32> {
    let mut drop = mode & libc::S_ISUID;
    if mode & libc::S_IXGRP != 0 {
        drop |= mode & libc::S_ISGID;
    }
    (drop != 0 && mode & libc::S_IFMT == libc::S_IFREG).then_some(mode & !drop & 0o7777)
}

impl<V: FileOps> Core<V> {
    pub(super) fn open_mode(&self, flags: u32) -> OpenMode {
        let direct_io = match self.behaviour.direct_io {
            DirectIo::Enable => true,
            DirectIo::Disable => false,
            DirectIo::Auto => flags & libc::O_DIRECT as u32 != 0,
        };
        OpenMode {
            direct_io,
            keep_cache: self.behaviour.keep_cache && !direct_io,
        }
    }

    pub(super) async fn open(&self, who: Who, node: u64, flags: u32) -> FsResult<Answer> {
        let gfid = self.gfid(node)?;
        let caller = self.caller(who);
        let fd = self
            .ops
            .open(&caller, gfid, flags & !OPEN_ONLY)
            .await
            .map_err(by_node)?;
        if flags & libc::O_TRUNC as u32 != 0 {
            let mode = if who.uid == 0 {
                None
            } else {
                without_set_ids(self.inodes.borrow().mode(node))
            };
            let set = SetAttr {
                size: Some(0),
                mode,
                ..SetAttr::default()
            };
            if let Err(e) = self.ops.setattr(&caller, gfid, Some(&fd), &set).await {
                self.ops.release(fd);
                return Err(e);
            }
        }
        let fh = self.handles.borrow_mut().add_file(node, gfid, fd);
        Ok(Answer::Opened {
            fh,
            mode: self.open_mode(flags),
        })
    }

    pub(super) async fn read(
        &self,
        who: Who,
        fh: u64,
        offset: u64,
        size: u32,
        lock_owner: Option<u64>,
    ) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        let caller = self.caller_owning(who, lock_owner);
        Ok(Answer::Data(self.ops.read(&caller, &file.fd, offset, size).await?))
    }

    pub(super) async fn write(&self, caller: Caller, fh: u64, write: Write) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        if write.kill_privileges {
            self.drop_set_ids(&caller, file.node, file.gfid, Some(&file.fd)).await?;
        }
        let written = self
            .ops
            .write(&caller, &file.fd, write.offset, write.data, write.flags)
            .await?;
        Ok(Answer::Written(written))
    }

    /// Takes set-id bits away if the file was last seen with them. (File capabilities the brick's kernel removes.)
    async fn drop_set_ids(
        &self,
        caller: &Caller,
        node: u64,
        gfid: datapath::wire::Gfid,
        fd: Option<&V::Fd>,
    ) -> FsResult<()> {
        let Some(mode) = without_set_ids(self.inodes.borrow().mode(node)) else {
            return Ok(());
        };
        // The writer need not be the owner: this is the file system's own doing.
        let root = Caller {
            uid: 0,
            gid: 0,
            ..caller.clone()
        };
        let set = SetAttr {
            mode: Some(mode),
            ..SetAttr::default()
        };
        let iatt = self.ops.setattr(&root, gfid, fd, &set).await?;
        self.inodes.borrow_mut().saw_mode(node, iatt.mode);
        Ok(())
    }

    pub(super) async fn flush(&self, who: Who, fh: u64, lock_owner: u64) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        self.ops
            .flush(&self.caller_owning(who, Some(lock_owner)), &file.fd)
            .await?;
        Ok(Answer::Done)
    }

    pub(super) async fn fsync(&self, who: Who, fh: u64, datasync: bool) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        self.ops.fsync(&self.caller(who), &file.fd, datasync).await?;
        Ok(Answer::Done)
    }

    /// The last reference is gone. The kernel does not wait for the answer and shows no error of it to anyone.
    pub(super) async fn release(&self, who: Who, fh: u64, flock_owner: Option<u64>) -> FsResult<Answer> {
        let file = self.handles.borrow_mut().remove_file(fh)?;
        if let Some(owner) = flock_owner
            && file.locked.get()
        {
            self.unlock_all(who, &file, owner).await;
        }
        self.ops.release(file.fd.clone());
        Ok(Answer::Done)
    }

    pub(super) async fn fallocate(&self, who: Who, fh: u64, offset: u64, length: u64, mode: i32) -> FsResult<Answer> {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        let file = self.handles.borrow().file(fh)?;
        if !matches!(mode, 0 | KEEP | PUNCH | ZERO) && mode != ZERO | KEEP {
            return Err(Errno::EOPNOTSUPP);
        }
        self.ops
            .fallocate(&self.caller(who), &file.fd, mode, offset, length)
            .await?;
        Ok(Answer::Done)
    }

    pub(super) async fn lseek(&self, who: Who, fh: u64, offset: u64, whence: i32) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        if !matches!(whence, libc::SEEK_DATA | libc::SEEK_HOLE) {
            return Err(Errno::EINVAL);
        }
        if offset > i64::MAX as u64 {
            return Err(Errno::ENXIO);
        }
        Ok(Answer::Offset(
            self.ops.lseek(&self.caller(who), &file.fd, offset, whence).await?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::without_set_ids;

    #[test]
    fn a_users_write_takes_set_ids_away() {
        assert_eq!(without_set_ids(0o104755), Some(0o755));
        assert_eq!(without_set_ids(0o106755), Some(0o755));
        assert_eq!(without_set_ids(0o102755), Some(0o755));
        assert_eq!(
            without_set_ids(0o102745),
            None,
            "set-group-id without group execute stays"
        );
        assert_eq!(without_set_ids(0o100755), None);
        assert_eq!(without_set_ids(0o042755), None, "directories keep theirs");
        assert_eq!(without_set_ids(0), None);
    }
}
