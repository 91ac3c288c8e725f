//! Operations on open files: open, write, truncate, allocation, flush, fsync, release.

use bytes::Bytes;
use futures_util::StreamExt;

use super::BrickSet;
use super::answers::Answers;
use super::data::{DataOp, Effect, write_xdata};
use super::data_lock::ByteRange;
use super::hedge::Pending;
use super::set::ReplicaSet;
use crate::client::{Caller, Fd};
use crate::errno::{Errno, FsResult};
use crate::wire::auth::utime;
use crate::wire::fop::{
    DiscardReq, FallocateReq, FlushReq, FsyncReq, FtruncateReq, OpenReq, OpenRsp, ReleaseReq, ReleasedirReq,
    TruncateReq, WriteReq, ZerofillReq,
};
use crate::wire::{Dict, Gfid, Iatt, flags};

impl ReplicaSet {
    /// Opens a file on every brick that is up.
    ///
    /// # Errors
    /// The bricks' errno; `EROFS` when it is opened for writing without a write quorum.
    pub async fn open(&self, caller: &Caller, gfid: Gfid, flags: u32) -> FsResult<Fd> {
        let writes = flags & flags::open::ACCMODE != flags::open::RDONLY || flags & flags::open::TRUNC != 0;
        if writes {
            self.become_writable().await?;
        }
        let wire = self.wire_flags(flags) & !(flags::open::TRUNC | flags::open::CREAT | flags::open::EXCL);
        let cred = self.cred(caller, 0);
        let req = OpenReq {
            gfid,
            flags: wire,
            xdata: Dict::null(),
        };
        let sessions = self.sessions();
        let up = self.up();
        let mut pending = self.start_all(up, |_, s| s.call(&cred, &req));
        let inode = self.inode(gfid);
        let good_one = |answers: &Answers<OpenRsp>| {
            let readable = inode.readable(self.generation());
            readable.is_some_and(|r| !(r.metadata & answers.ok()).is_empty())
        };
        let (answers, missing) = self.gather(&mut pending, up, good_one).await;
        let fd = Fd::new(gfid, wire, false, self.bricks());
        for (brick, rsp) in answers.iter() {
            self.opened(&fd, brick, rsp.fd, &sessions);
        }
        if !missing.is_empty() {
            self.open_on_stragglers(&fd, missing, pending, sessions);
        }
        self.0.fds.add(&fd);
        if let Err(e) = self.opened_where_good(gfid, &answers).await {
            self.release(fd);
            return Err(e);
        }
        if flags & flags::open::TRUNC != 0
            && let Err(e) = self.truncate(caller, gfid, Some(&fd), 0).await
        {
            self.release(fd);
            return Err(e);
        }
        Ok(fd)
    }

    /// Whether a good copy is among those that were opened.
    async fn opened_where_good(&self, gfid: Gfid, answers: &Answers<OpenRsp>) -> FsResult<()> {
        let good = match answers.ok().is_empty() {
            true => BrickSet::EMPTY,
            false => self.candidates(gfid, super::read::Part::Metadata).await? & answers.ok(),
        };
        if !good.is_empty() {
            return Ok(());
        }
        Err(if answers.failed().is_empty() {
            Errno::ENOTCONN
        } else {
            answers.errno()
        })
    }

    /// Takes the numbers of bricks that answer an OPEN after it was over.
    fn open_on_stragglers(
        &self,
        fd: &Fd,
        missing: BrickSet,
        mut pending: Pending<OpenRsp>,
        sessions: Vec<Option<u64>>,
    ) {
        fd.set_opening(missing);
        let (set, fd) = (self.clone(), fd.clone());
        self.later(async move {
            while let Some((brick, answer)) = pending.next().await {
                fd.not_opening(brick);
                if let Ok(rsp) = answer {
                    let session = sessions.get(brick).copied().flatten();
                    set.subvol(brick).take_late(&fd, rsp.fd, session);
                }
            }
        });
    }

    /// Open flags as they travel (wire-protocol.md 3.7).
    pub(super) fn wire_flags(&self, flags: u32) -> u32 {
        let mut wire = flags & !flags::open::LARGEFILE;
        if self.options().filter_o_direct {
            wire &= !flags::open::DIRECT;
        }
        wire
    }

    /// Writes `data` at `off`; returns the bytes written once a majority of the bricks has them. With O_SYNC or
    /// O_DSYNC in `flags` (or on the fd) each brick has them on disk.
    ///
    /// # Errors
    /// `EROFS` without a write quorum, `ENOSPC` and the like when the bricks say so.
    pub async fn write(&self, caller: &Caller, fd: &Fd, off: u64, data: Bytes, flags: u32) -> FsResult<u32> {
        self.open_late(fd);
        let gfid = fd.gfid();
        let cred = self.cred(caller, utime::CTIME | utime::MTIME);
        let flag = fd.flags() | flags;
        let sync = flag & flags::open::SYNC != 0;
        let xdata = write_xdata(&self.0.domain);
        let size = data.len() as u32;
        let range = if flag & flags::open::APPEND != 0 {
            ByteRange::ALL
        } else {
            ByteRange::new(off, data.len() as u64)
        };
        let op = DataOp {
            range,
            early: true,
            effect: if sync { Effect::Stable } else { Effect::Unstable },
            start: |brick: usize, s: &crate::client::Subvol| {
                let fd = fd.remote_or_anonymous(brick);
                let req = WriteReq {
                    gfid,
                    fd,
                    offset: off,
                    size,
                    flag,
                    xdata: xdata.clone(),
                };
                s.write(&cred, &req, data.clone())
            },
        };
        let rsp = self.data_op(gfid, op).await?;
        u32::try_from(rsp.op_ret).map_err(|_| Errno::EIO)
    }

    /// Sets the length of a file.
    ///
    /// # Errors
    /// As [`ReplicaSet::write`].
    pub async fn truncate(&self, caller: &Caller, gfid: Gfid, fd: Option<&Fd>, size: u64) -> FsResult<Iatt> {
        let cred = self.cred(caller, utime::CTIME | utime::MTIME);
        let rsp = self
            .data_op(
                gfid,
                DataOp {
                    range: ByteRange::ALL,
                    early: false,
                    effect: Effect::Resize,
                    start: |brick: usize, s: &crate::client::Subvol| match fd.and_then(|fd| fd.remote(brick)) {
                        Some(fd) => s.call(
                            &cred,
                            &FtruncateReq {
                                gfid,
                                fd,
                                offset: size,
                                xdata: Dict::null(),
                            },
                        ),
                        None => s.call(
                            &cred,
                            &TruncateReq {
                                gfid,
                                offset: size,
                                xdata: Dict::null(),
                            },
                        ),
                    },
                },
            )
            .await?;
        Ok(rsp.poststat)
    }

    /// fallocate(2): allocation (mode 0 or KEEP_SIZE), punched holes, zeroed ranges.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for other modes; else as [`ReplicaSet::write`].
    pub async fn fallocate(&self, caller: &Caller, fd: &Fd, mode: i32, off: u64, len: u64) -> FsResult<()> {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let gfid = fd.gfid();
        let (cred, data_cred) = (self.cred(caller, utime::ATIME | utime::MTIME), self.cred(caller, 3));
        let kind = mode;
        if !matches!(kind, 0 | KEEP | PUNCH | ZERO) {
            return Err(Errno::EOPNOTSUPP);
        }
        let (offset, size, xdata) = (off, len, Dict::null());
        let op = DataOp {
            range: ByteRange::ALL,
            early: false,
            effect: Effect::Resize,
            start: |brick: usize, s: &crate::client::Subvol| {
                let fd = fd.remote_or_anonymous(brick);
                let xdata = xdata.clone();
                match kind {
                    PUNCH => s.call(
                        &data_cred,
                        &DiscardReq {
                            gfid,
                            fd,
                            offset,
                            size,
                            xdata,
                        },
                    ),
                    ZERO => s.call(
                        &data_cred,
                        &ZerofillReq {
                            gfid,
                            fd,
                            offset,
                            size,
                            xdata,
                        },
                    ),
                    _ => s.call(
                        &cred,
                        &FallocateReq {
                            gfid,
                            fd,
                            flags: (mode & KEEP) as u32,
                            offset,
                            size,
                            xdata,
                        },
                    ),
                }
            },
        };
        self.data_op(gfid, op).await.map(drop)
    }

    /// close(2) of one descriptor: every live brick has answered all writes when it returns; POSIX locks of the owner
    /// are gone.
    ///
    /// # Errors
    /// The bricks' errno when all of them refuse.
    pub async fn flush(&self, caller: &Caller, fd: &Fd) -> FsResult<()> {
        let inode = self.inode(fd.gfid());
        self.quiesce(&inode).await;
        if inode.owes_blame(self.generation(), self.bricks()) {
            // Who missed a write must be on record before anybody is told that the file is closed: another client may
            // see that brick and read there.
            self.settle(&inode).await;
        } else if !inode.data.borrow().is_free() {
            let (set, inode) = (self.clone(), inode.clone());
            self.later(async move { set.settle(&inode).await });
        }
        if !inode.posix_locked.get() {
            return Ok(());
        }
        let cred = self.cred(caller, 0);
        inode.held.borrow_mut().forget_owner(&cred.lk_owner);
        let answers = self
            .ask(fd.open_on() & self.up(), |brick, s| {
                let req = FlushReq {
                    gfid: fd.gfid(),
                    fd: fd.remote_or_anonymous(brick),
                    xdata: Dict::null(),
                };
                s.call(&cred, &req)
            })
            .await;
        if answers.ok().is_empty() && !answers.failed().is_empty() {
            Err(answers.errno())
        } else {
            Ok(())
        }
    }

    /// fsync(2) on every live brick.
    ///
    /// # Errors
    /// As [`ReplicaSet::write`].
    pub async fn fsync(&self, caller: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        self.open_late(fd);
        let gfid = fd.gfid();
        let cred = self.cred(caller, 0);
        let op = DataOp {
            range: ByteRange::ALL,
            early: false,
            effect: Effect::Sync,
            start: |brick: usize, s: &crate::client::Subvol| {
                let fd = fd.remote_or_anonymous(brick);
                s.call(
                    &cred,
                    &FsyncReq {
                        gfid,
                        fd,
                        data: u32::from(datasync),
                        xdata: write_xdata(&self.0.domain),
                    },
                )
            },
        };
        self.data_op(gfid, op).await?;
        let inode = self.inode(gfid);
        if inode.owes_blame(self.generation(), self.bricks()) {
            self.settle(&inode).await;
        }
        Ok(())
    }

    /// The last close: gives the fd back to the bricks, after the transaction that may still use it.
    pub fn release(&self, fd: Fd) {
        if fd.release() {
            return;
        }
        if let Some(inode) = self.inode_if_known(fd.gfid()) {
            inode.held.borrow_mut().forget_fd(&fd);
        }
        let set = self.clone();
        self.later(async move {
            if !fd.is_dir() {
                let inode = set.inode(fd.gfid());
                // Another fd may be writing: its lock is its own business.
                if set.0.fds.of(fd.gfid()).is_empty() {
                    set.settle(&inode).await;
                }
            }
            let cred = set.own_cred(0);
            let (gfid, xdata) = (fd.gfid(), Dict::new());
            for brick in fd.open_on().iter() {
                let Some(number) = fd.remote(brick) else { continue };
                let subvol = set.subvol(brick);
                if fd.is_dir() {
                    drop(subvol.call(
                        &cred,
                        &ReleasedirReq {
                            gfid,
                            fd: number,
                            xdata: xdata.clone(),
                        },
                    ));
                } else {
                    drop(subvol.call(
                        &cred,
                        &ReleaseReq {
                            gfid,
                            fd: number,
                            xdata: xdata.clone(),
                        },
                    ));
                }
            }
        });
    }
}
