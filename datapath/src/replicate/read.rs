//! Read operations: one good brick, the next one when it fails (DESIGN.md P3, brick-and-replicate.md D.8).

use bytes::Bytes;

use super::BrickSet;
use super::set::ReplicaSet;
use crate::client::{Caller, Fd, Subvol};
use crate::errno::{Errno, FsResult};
use crate::wire::fop::{FstatReq, GetxattrReq, ReadReq, ReadlinkReq, SeekReq, StatReq, Statfs, StatfsReq};
use crate::wire::{Dict, Gfid, Iatt, Value, flags};

/// Which part of an inode a read looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Contents.
    Data,
    /// Attributes and xattrs.
    Metadata,
    /// Attributes that follow the contents: size and times.
    Both,
}

impl ReplicaSet {
    /// The bricks that may serve `part` of `gfid`, asking the bricks when that is not known for today's set.
    pub(super) async fn candidates(&self, gfid: Gfid, part: Part) -> FsResult<BrickSet> {
        self.become_believable().await?;
        let readable = match self.inode(gfid).readable(self.generation()) {
            Some(known) => known,
            None => self.refresh(gfid).await?.readable,
        };
        let set = match part {
            Part::Data => readable.data,
            Part::Metadata => readable.metadata,
            Part::Both => readable.both(),
        };
        let set = set & self.up();
        // No good copy of an inode that exists: split-brain, or all good copies are away.
        if set.is_empty() { Err(Errno::EIO) } else { Ok(set) }
    }

    /// Reads from the best brick; from the next one on an error that may be that brick's own, or when it takes long
    /// ([`super::hedge`]).
    pub(super) async fn read_one<T, Fut>(
        &self,
        gfid: Gfid,
        part: Part,
        read: impl Fn(usize, Subvol) -> Fut,
    ) -> FsResult<T>
    where
        Fut: Future<Output = FsResult<T>>,
    {
        let inode = self.inode(gfid);
        let left = self.candidates(gfid, part).await?;
        match self.hedged(&inode, left, &read).await {
            Err(e) if worth_another_brick(e) => {}
            answer => return answer,
        }
        inode.need_refresh();
        let left = self.candidates(gfid, part).await?;
        self.hedged(&inode, left, &read).await
    }

    /// Attributes of an inode.
    ///
    /// # Errors
    /// `ENOENT`/`ESTALE` when it is gone, `EIO` without a good copy, `ENOTCONN` without a brick to believe.
    pub async fn getattr(&self, caller: &Caller, gfid: Gfid, fd: Option<&Fd>) -> FsResult<Iatt> {
        let cred = self.cred(caller, 0);
        let open = fd.filter(|fd| !fd.is_dir() && fd.gfid() == gfid);
        let result = self
            .read_one(gfid, Part::Both, |brick, subvol| {
                let number = open.and_then(|fd| fd.remote(brick));
                let cred = cred.clone();
                async move {
                    match number {
                        Some(fd) => Ok(subvol
                            .call(
                                &cred,
                                &FstatReq {
                                    gfid,
                                    fd,
                                    xdata: Dict::null(),
                                },
                            )
                            .await?
                            .stat),
                        None => Ok(subvol
                            .call(
                                &cred,
                                &StatReq {
                                    gfid,
                                    xdata: Dict::null(),
                                },
                            )
                            .await?
                            .stat),
                    }
                }
            })
            .await;
        match result {
            // Contents in split-brain do not hide the attributes.
            Err(Errno::EIO) => self.lookup_gfid(caller, gfid).await,
            other => other,
        }
    }

    /// Reads up to `size` bytes at `off`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As [`ReplicaSet::getattr`].
    pub async fn read(&self, caller: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<Bytes> {
        let cred = self.cred(caller, 0);
        let gfid = fd.gfid();
        self.open_late(fd);
        self.read_one(gfid, Part::Data, |brick, subvol| {
            let req = ReadReq {
                gfid,
                fd: fd.remote_or_anonymous(brick),
                offset: off,
                size,
                flag: fd.flags(),
                xdata: Dict::null(),
            };
            let cred = cred.clone();
            async move { Ok(subvol.read(&cred, &req).await?.1) }
        })
        .await
    }

    /// The target of a symlink.
    ///
    /// # Errors
    /// As [`ReplicaSet::getattr`]; `EINVAL` for anything but a symlink.
    pub async fn readlink(&self, caller: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        let cred = self.cred(caller, 0);
        let req = ReadlinkReq {
            gfid,
            size: libc::PATH_MAX as u32,
            xdata: Dict::null(),
        };
        self.read_one(gfid, Part::Metadata, |_, s| {
            let (cred, req) = (cred.clone(), req.clone());
            async move { Ok(s.call(&cred, &req).await?.path) }
        })
        .await
    }

    /// The next data or hole at or after `off` (`whence` SEEK_DATA or SEEK_HOLE).
    ///
    /// # Errors
    /// `ENXIO` past the end; `EINVAL` for another `whence`.
    pub async fn lseek(&self, caller: &Caller, fd: &Fd, off: u64, whence: i32) -> FsResult<u64> {
        let what = match whence {
            libc::SEEK_DATA => flags::seek::DATA,
            libc::SEEK_HOLE => flags::seek::HOLE,
            _ => return Err(Errno::EINVAL),
        };
        let cred = self.cred(caller, 0);
        let gfid = fd.gfid();
        self.read_one(gfid, Part::Data, |brick, s| {
            let req = SeekReq {
                gfid,
                fd: fd.remote_or_anonymous(brick),
                offset: off,
                what,
                xdata: Dict::null(),
            };
            let cred = cred.clone();
            async move { Ok(s.call(&cred, &req).await?.offset) }
        })
        .await
    }

    /// One xattr.
    ///
    /// # Errors
    /// `ENODATA` if it is not there or not for clients to see (brick-and-replicate.md A.7).
    pub async fn getxattr(&self, caller: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<Bytes> {
        if super::xattrs::hidden(name) {
            return Err(Errno::ENODATA);
        }
        if let Some(answer) = super::xattrs::answered_here(gfid, name) {
            return Ok(answer);
        }
        if name == b"trusted.glusterfs.pathinfo" || name == b"glusterfs.pathinfo" {
            return self.pathinfo(gfid).await;
        }
        let cred = self.cred(caller, 0);
        let req = GetxattrReq {
            gfid,
            namelen: 1,
            name: Bytes::copy_from_slice(name),
            xdata: Dict::null(),
        };
        self.read_one(gfid, Part::Metadata, |_, s| {
            let (cred, req) = (cred.clone(), req.clone());
            async move {
                let rsp = s.call(&cred, &req).await?;
                let value = rsp.dict.get_key(&req.name).and_then(Value::as_bytes);
                value.map(Bytes::copy_from_slice).ok_or(Errno::ENODATA)
            }
        })
        .await
    }

    /// The names of all xattrs a client may see, each ended by NUL.
    ///
    /// # Errors
    /// As [`ReplicaSet::getattr`].
    pub async fn listxattr(&self, caller: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        let cred = self.cred(caller, 0);
        let req = GetxattrReq {
            gfid,
            namelen: 0,
            name: Bytes::new(),
            xdata: Dict::null(),
        };
        let dict = self
            .read_one(gfid, Part::Metadata, |_, s| {
                let (cred, req) = (cred.clone(), req.clone());
                async move { Ok(s.call(&cred, &req).await?.dict) }
            })
            .await?;
        let mut names = Vec::new();
        for (key, _) in dict.iter().filter(|(k, _)| !super::xattrs::unlisted(&k.0)) {
            names.extend_from_slice(&key.0);
            names.push(0);
        }
        Ok(Bytes::from(names))
    }

    async fn pathinfo(&self, gfid: Gfid) -> FsResult<Bytes> {
        let cred = self.own_cred(0);
        let name = Bytes::from_static(b"trusted.glusterfs.pathinfo");
        let req = GetxattrReq {
            gfid,
            namelen: 1,
            name,
            xdata: Dict::null(),
        };
        let answers = self.ask(self.up(), |_, s| s.call(&cred, &req)).await;
        if answers.ok().is_empty() {
            return Err(answers.errno());
        }
        let mut text = format!("(<REPLICATE:{}>", self.spec().replicate);
        for (_, rsp) in answers.iter() {
            if let Some(part) = rsp.dict.get_str("trusted.glusterfs.pathinfo") {
                text.push(' ');
                text.push_str(part);
            }
        }
        text.push(')');
        Ok(Bytes::from(text))
    }

    /// Numbers of the file system: those of the fullest brick.
    ///
    /// # Errors
    /// `ENOTCONN` when no brick answers.
    pub async fn statfs(&self, caller: &Caller) -> FsResult<Statfs> {
        let cred = self.cred(caller, 0);
        let req = StatfsReq {
            gfid: Gfid::ROOT,
            xdata: Dict::null(),
        };
        self.become_believable().await?;
        let answers = self.ask_anyone(self.up(), |_, s| s.call(&cred, &req)).await;
        let fullest = answers
            .iter()
            .map(|(_, r)| r.statfs.clone())
            .min_by_key(|s| s.bavail.saturating_mul(s.frsize));
        fullest.ok_or_else(|| answers.errno())
    }
}

/// Errors that may be one brick's own: another copy may do better.
pub(super) fn worth_another_brick(e: Errno) -> bool {
    matches!(
        e,
        Errno::ENOTCONN | Errno::EIO | Errno::ESTALE | Errno::ENOENT | Errno::EBADF | Errno::EBADFD
    )
}
