//! Directory listings: one brick per listing, because cookies mean nothing on another.

use super::BrickSet;
use super::read::Part;
use super::set::ReplicaSet;
use crate::client::{Caller, DirEntry, Fd};
use crate::errno::{Errno, FsResult};
use crate::wire::fop::{FsyncdirReq, OpendirReq, ReaddirpReq};
use crate::wire::{Dict, Gfid};

/// Names the volume keeps for itself.
const PRIVATE_PREFIX: &[u8] = b".glusterfs-anonymous-inode-";
const PRIVATE_NAME: &[u8] = b".landfill";

impl ReplicaSet {
    /// Opens a directory. The bricks are asked when it is read.
    ///
    /// # Errors
    /// None today; the signature is that of every open.
    pub async fn opendir(&self, _caller: &Caller, gfid: Gfid) -> FsResult<Fd> {
        let fd = Fd::new(gfid, 0, true, self.bricks());
        self.0.fds.add(&fd);
        Ok(fd)
    }

    async fn open_directory(&self, caller: &Caller, fd: &Fd, brick: usize) -> FsResult<i64> {
        if let Some(number) = fd.remote(brick) {
            return Ok(number);
        }
        let req = OpendirReq {
            gfid: fd.gfid(),
            xdata: Dict::null(),
        };
        let sessions = self.sessions();
        let rsp = self.subvol(brick).call(&self.cred(caller, 0), &req).await?;
        self.opened(fd, brick, rsp.fd, &sessions);
        Ok(rsp.fd)
    }

    /// Entries from cookie `off` on, about `size` bytes of them, and whether the end was reached.
    ///
    /// # Errors
    /// `ENOTCONN` when the listing's brick is gone in the middle: cookies of another brick are not comparable, so the
    /// listing has to be started again.
    pub async fn readdirp(&self, caller: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        if off == 0 {
            fd.set_listing(None);
        }
        match fd.listing() {
            Some(brick) => self.list_from(caller, fd, brick, off, size).await,
            None if off != 0 => Err(Errno::ENOTCONN),
            None => self.list_anew(caller, fd, size).await,
        }
    }

    async fn list_anew(&self, caller: &Caller, fd: &Fd, size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        let left = self.candidates(fd.gfid(), Part::Data).await?;
        let inode = self.inode(fd.gfid());
        let list = |brick, _| async move { Ok((brick, self.list_from(caller, fd, brick, 0, size).await?)) };
        let (brick, entries) = self.hedged(&inode, left, &list).await?;
        fd.set_listing(Some(brick));
        Ok(entries)
    }

    async fn list_from(
        &self,
        caller: &Caller,
        fd: &Fd,
        brick: usize,
        off: u64,
        size: u32,
    ) -> FsResult<(Vec<DirEntry>, bool)> {
        let number = self.open_directory(caller, fd, brick).await?;
        let req = ReaddirpReq {
            gfid: fd.gfid(),
            fd: number,
            offset: off,
            size,
            xdata: Dict::new(),
        };
        let rsp = self.subvol(brick).call(&self.cred(caller, 0), &req).await?;
        // Attributes from one brick are right only where nothing is pending anywhere.
        let clean = self.is_whole();
        let end = rsp.op_errno == Errno::ENOENT.0 || rsp.entries.is_empty();
        let root = fd.gfid() == Gfid::ROOT;
        let entries = rsp
            .entries
            .into_iter()
            .filter(|e| !(root && is_private(&e.entry.name)))
            .map(|e| {
                let busy = || {
                    self.inode_if_known(e.stat.gfid)
                        .is_some_and(|i| i.busy().contains(brick))
                };
                let usable = clean && e.stat.is_valid() && !e.stat.gfid.is_null() && !busy();
                DirEntry {
                    ino: if e.stat.gfid.is_null() {
                        e.entry.d_ino
                    } else {
                        e.stat.gfid.ino()
                    },
                    name: e.entry.name,
                    off: e.entry.d_off,
                    d_type: e.entry.d_type,
                    iatt: usable.then_some(e.stat),
                }
            })
            .collect();
        Ok((entries, end))
    }

    /// fsync(2) of a directory on every live brick.
    ///
    /// # Errors
    /// The bricks' errno when all of them fail.
    pub async fn fsyncdir(&self, caller: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        let up = self.up();
        let mut open = BrickSet::EMPTY;
        let mut last = Errno::ENOTCONN;
        for brick in up.iter() {
            match self.open_directory(caller, fd, brick).await {
                Ok(_) => open.insert(brick),
                Err(e) => last = e,
            }
        }
        let cred = self.cred(caller, 0);
        let answers = self
            .ask(open, |brick, s| {
                let fd_number = fd.remote_or_anonymous(brick);
                let req = FsyncdirReq {
                    gfid: fd.gfid(),
                    fd: fd_number,
                    data: i32::from(datasync),
                    xdata: Dict::null(),
                };
                s.call(&cred, &req)
            })
            .await;
        if !answers.ok().is_empty() {
            return Ok(());
        }
        Err(if answers.failed().is_empty() {
            last
        } else {
            answers.errno()
        })
    }
}

fn is_private(name: &[u8]) -> bool {
    name.starts_with(PRIVATE_PREFIX) || name == PRIVATE_NAME
}
