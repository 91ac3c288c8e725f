//! Operations on attributes and xattrs that change them.

use bytes::Bytes;

use super::set::ReplicaSet;
use super::xattrs;
use crate::client::{Caller, Fd, SetAttr, TimeSet};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::wire::auth::utime;
use crate::wire::fop::{LookupReq, RemovexattrReq, SetattrReq, SetxattrReq};
use crate::wire::{Dict, Gfid, Iatt, Key, MdataIatt, Value, flags};

/// The xattr that holds the times of the ctime feature.
const MDATA: &str = "trusted.glusterfs.mdata";

impl ReplicaSet {
    /// Changes attributes; a new size is a truncate.
    ///
    /// # Errors
    /// What the bricks say; `EROFS` without a write quorum.
    pub async fn setattr(&self, caller: &Caller, gfid: Gfid, fd: Option<&Fd>, set: &SetAttr) -> FsResult<Iatt> {
        let mut stat = None;
        if let Some(size) = set.size {
            stat = Some(self.truncate(caller, gfid, fd, size).await?);
        }
        if set.changes_metadata() {
            // Times of writes under way would overwrite explicit ones.
            self.quiesce(&self.inode(gfid)).await;
            let (stbuf, valid) = self.wire_attributes(set);
            let cred = self.cred(caller, utime::CTIME);
            let req = SetattrReq {
                gfid,
                stbuf,
                valid,
                xdata: Dict::null(),
            };
            let answers = self.metadata_txn(gfid, |_, s| s.call(&cred, &req)).await?;
            let readable = self.inode(gfid).readable_stale();
            let good = readable.and_then(|r| (r.both() & answers.ok()).lowest());
            stat = answers.best(good).map(|r| r.poststat);
        }
        match stat {
            Some(iatt) if iatt.is_valid() => Ok(Iatt { gfid, ..iatt }),
            _ => self.getattr(caller, gfid, fd).await,
        }
    }

    /// The changed fields and which they are. "Now" is this client's clock, the same on every brick.
    fn wire_attributes(&self, set: &SetAttr) -> (Iatt, i32) {
        let now = exec::wall_clock();
        let at = |t: TimeSet| match t {
            TimeSet::Now => (now.sec, now.nsec),
            TimeSet::At(sec, nsec) => (sec, nsec),
        };
        let mut iatt = Iatt::default();
        let mut valid = 0;
        if let Some(mode) = set.mode {
            iatt.mode = mode;
            valid |= flags::setattr::MODE;
        }
        if let Some(uid) = set.uid {
            iatt.uid = uid;
            valid |= flags::setattr::UID;
        }
        if let Some(gid) = set.gid {
            iatt.gid = gid;
            valid |= flags::setattr::GID;
        }
        if let Some(t) = set.atime {
            (iatt.atime, iatt.atime_nsec) = at(t);
            valid |= flags::setattr::ATIME;
        }
        if let Some(t) = set.mtime {
            (iatt.mtime, iatt.mtime_nsec) = at(t);
            valid |= flags::setattr::MTIME;
        }
        (iatt, valid)
    }

    /// Sets one xattr; `flags` as setxattr(2).
    ///
    /// # Errors
    /// `EPERM`/`EOPNOTSUPP` for names that are not the application's; else as [`ReplicaSet::setattr`].
    pub async fn setxattr(&self, caller: &Caller, gfid: Gfid, name: &[u8], value: Bytes, flags: u32) -> FsResult<()> {
        xattrs::settable(name)?;
        let cred = self.cred(caller, utime::CTIME);
        let dict = Dict::new().with(Key(Bytes::copy_from_slice(name)), Value::Ptr(value));
        let req = SetxattrReq {
            gfid,
            flags,
            dict,
            xdata: Dict::new(),
        };
        self.metadata_txn(gfid, |_, s| s.call(&cred, &req)).await.map(drop)
    }

    /// Gives the root directory the same times on all bricks, when a brick has none stored yet: a new brick's root
    /// has only those of its directory, which differ (brick-and-replicate.md B.10).
    ///
    /// # Errors
    /// As [`ReplicaSet::setxattr`].
    pub async fn settle_root_times(&self) -> FsResult<()> {
        if !self.options().utime || self.options().read_only {
            return Ok(());
        }
        let xdata = Dict::new().with(MDATA, Value::Int(1));
        let req = LookupReq {
            gfid: Gfid::ROOT,
            xdata,
            ..LookupReq::default()
        };
        let cred = self.own_cred(0);
        let answers = self.ask(self.up(), |_, s| s.call(&cred, &req)).await;
        if answers.iter().all(|(_, r)| r.xdata.contains(MDATA)) {
            return Ok(());
        }
        let stored = answers
            .iter()
            .find(|(_, r)| r.xdata.contains(MDATA))
            .map(|(_, r)| r.prestat);
        let newest = || {
            answers
                .iter()
                .map(|(_, r)| r.prestat)
                .max_by_key(|s| (s.mtime, s.mtime_nsec))
        };
        let Some(from) = stored.or_else(newest) else {
            return Err(answers.errno());
        };
        let times = MdataIatt {
            atime: from.atime,
            mtime: from.mtime,
            ctime: from.ctime,
            atime_nsec: from.atime_nsec,
            mtime_nsec: from.mtime_nsec,
            ctime_nsec: from.ctime_nsec,
        };
        let dict = Dict::new().with("set-ctime-mdata", Value::Mdata(times));
        let req = SetxattrReq {
            gfid: Gfid::ROOT,
            flags: 0,
            dict,
            xdata: Dict::new(),
        };
        self.metadata_txn(Gfid::ROOT, |_, s| s.call(&cred, &req))
            .await
            .map(drop)
    }

    /// Removes one xattr.
    ///
    /// # Errors
    /// `ENODATA` if it is not there; else as [`ReplicaSet::setxattr`].
    pub async fn removexattr(&self, caller: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<()> {
        xattrs::settable(name)?;
        if xattrs::hidden(name) {
            return Err(Errno::ENODATA);
        }
        let cred = self.cred(caller, utime::CTIME);
        let req = RemovexattrReq {
            gfid,
            name: Bytes::copy_from_slice(name),
            xdata: Dict::null(),
        };
        self.metadata_txn(gfid, |_, s| s.call(&cred, &req)).await.map(drop)
    }
}
