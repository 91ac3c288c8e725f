//! Operations on names: create, mknod, mkdir, symlink, link, unlink, rmdir, rename.

use std::cell::RefCell;

use bytes::Bytes;

use super::BrickSet;
use super::answers::Answers;
use super::entry::{ChangedName, EntryTxn, NewInode, key};
use super::locking::LockObject;
use super::set::{ReplicaSet, new_gfid};
use crate::client::{Caller, Fd, Subvol};
use crate::errno::{Errno, FsResult};
use crate::wire::auth::utime;
use crate::wire::fop::{
    CreateReq, CreateRsp, LinkReq, MkdirReq, MknodReq, ReleaseReq, RenameReq, RenameRsp, RmdirReq, SymlinkReq,
    UnlinkReq,
};
use crate::wire::{Dict, Gfid, Iatt, Value, flags};

/// utime flags of an operation that makes an inode: all its times, and the directory's.
const MAKES: u32 = utime::CTIME | utime::MTIME | utime::ATIME | utime::PARENT_CTIME | utime::PARENT_MTIME;
/// utime flags of an operation that changes names of an inode that exists.
const RENAMES: u32 = utime::CTIME | utime::PARENT_CTIME | utime::PARENT_MTIME;
/// Longest name GlusterFS takes, bytes.
const NAME_MAX: usize = 255;

/// Checks one path component.
fn component(name: &[u8]) -> FsResult<Bytes> {
    if name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." {
        return Err(Errno::EINVAL);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(Bytes::copy_from_slice(name))
}

fn gfid_req(gfid: Gfid) -> Dict {
    Dict::new().with(key("gfid-req"), Value::Gfid(gfid))
}

/// Where a CREATE has opened something.
struct OpenedAt {
    /// The session it was sent in, by brick: its number means nothing in another one.
    sessions: Vec<Option<u64>>,
    /// Brick, what it opened, and the number it gave it.
    numbers: Vec<(usize, Gfid, i64)>,
}

impl OpenedAt {
    fn new(bricks: usize) -> OpenedAt {
        OpenedAt {
            sessions: vec![None; bricks],
            numbers: Vec::new(),
        }
    }

    fn note(&mut self, answers: &Answers<CreateRsp>) {
        let number = |(brick, r): (usize, &CreateRsp)| Some((brick, r.stat.gfid, i64::try_from(r.fd).ok()?));
        self.numbers.extend(answers.iter().filter_map(number));
    }
}

impl ReplicaSet {
    /// The attributes to report of an inode just made: times and owners are the same on all bricks.
    fn made(&self, gfid: Gfid, stat: Iatt) -> FsResult<Iatt> {
        if stat.gfid != gfid && !stat.gfid.is_null() {
            // The name existed: an open of it without O_EXCL.
            return Ok(stat);
        }
        Ok(Iatt { gfid, ..stat })
    }

    /// Creates and opens a file.
    ///
    /// # Errors
    /// `EEXIST` with O_EXCL, `EROFS` without a write quorum, and what the bricks say.
    pub async fn create(
        &self,
        caller: &Caller,
        parent: Gfid,
        name: &[u8],
        flags: u32,
        mode: u32,
    ) -> FsResult<(Iatt, Fd)> {
        let bname = component(name)?;
        let gfid = self.new_file_gfid();
        let cred = self.cred(caller, MAKES);
        let wire = self.wire_flags(flags) | flags::open::CREAT;
        let mode = libc::S_IFREG | (mode & 0o7777);
        let req = CreateReq {
            pargfid: parent,
            flags: wire,
            mode,
            umask: 0,
            bname: bname.clone(),
            xdata: gfid_req(gfid),
        };
        let txn = EntryTxn {
            makes: Some(NewInode::file(gfid)),
            ..EntryTxn::on(parent, &bname)
        };
        // Where a quorum has made the file, whoever found another one under the name is stale.
        let opened = RefCell::new(OpenedAt::new(self.bricks()));
        let check = |answers: &mut Answers<CreateRsp>| {
            opened.borrow_mut().note(answers);
            let made = answers.iter().filter(|(_, r)| r.stat.gfid == gfid).map(|(b, _)| b);
            if self.quorum().met(made.collect()) {
                answers.reject(Errno::EEXIST, |r| r.stat.gfid != gfid);
            }
        };
        let start = |brick: usize, s: &Subvol| {
            opened.borrow_mut().sessions[brick] = s.session_id();
            s.call(&cred, &req)
        };
        let created = self.entry_txn_checked(txn, start, check).await;
        let opened = opened.into_inner();
        let answers = match created {
            Ok(answers) => answers,
            Err(e) => {
                self.close_all_but(&opened, &Answers::new(self.bricks()));
                return Err(e);
            }
        };
        let stat = self.made(gfid, answers.best(None).ok_or(Errno::EIO)?.stat)?;
        let good: BrickSet = answers
            .iter()
            .filter(|(_, r)| r.stat.gfid == stat.gfid)
            .map(|(b, _)| b)
            .collect();
        let answers = answers.limited_to(good);
        self.close_all_but(&opened, &answers);
        let reopen = wire & !(flags::open::CREAT | flags::open::EXCL | flags::open::TRUNC);
        let fd = Fd::new(stat.gfid, reopen, false, self.bricks());
        for (brick, rsp) in answers.iter() {
            if let Ok(number) = i64::try_from(rsp.fd) {
                self.opened(&fd, brick, number, &opened.sessions);
            }
        }
        self.0.fds.add(&fd);
        Ok((stat, fd))
    }

    /// Gives back the numbers of a CREATE that are of no use: of bricks that are not in `kept`.
    fn close_all_but(&self, opened: &OpenedAt, kept: &Answers<CreateRsp>) {
        for (brick, gfid, fd) in &opened.numbers {
            let same_session = self.still_in(&opened.sessions).contains(*brick);
            if kept.get(*brick).is_none() && same_session {
                let req = ReleaseReq {
                    gfid: *gfid,
                    fd: *fd,
                    xdata: Dict::new(),
                };
                drop(self.subvol(*brick).call(&self.own_cred(0), &req));
            }
        }
    }

    /// Makes a file, FIFO, socket or device node; `rdev` is the raw `dev_t`.
    ///
    /// # Errors
    /// As [`ReplicaSet::create`].
    pub async fn mknod(&self, caller: &Caller, parent: Gfid, name: &[u8], mode: u32, rdev: u64) -> FsResult<Iatt> {
        let bname = component(name)?;
        let gfid = self.new_file_gfid();
        let cred = self.cred(caller, MAKES);
        let req = MknodReq {
            pargfid: parent,
            dev: rdev,
            mode,
            umask: 0,
            bname: bname.clone(),
            xdata: gfid_req(gfid),
        };
        let regular = matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG);
        let makes = if regular {
            NewInode::file(gfid)
        } else {
            NewInode::special(gfid)
        };
        let txn = EntryTxn {
            makes: Some(makes),
            ..EntryTxn::on(parent, &bname)
        };
        let answers = self.entry_txn(txn, |_, s| s.call(&cred, &req)).await?;
        self.made(gfid, answers.best(None).ok_or(Errno::EIO)?.stat)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`ReplicaSet::create`].
    pub async fn mkdir(&self, caller: &Caller, parent: Gfid, name: &[u8], mode: u32) -> FsResult<Iatt> {
        let bname = component(name)?;
        let gfid = new_gfid();
        let cred = self.cred(caller, MAKES);
        let xdata = gfid_req(gfid).with("trusted.glusterfs.dht", Value::Ptr(Bytes::from_static(&WHOLE_RANGE)));
        let req = MkdirReq {
            pargfid: parent,
            mode: mode & 0o7777,
            umask: 0,
            bname: bname.clone(),
            xdata,
        };
        let txn = EntryTxn {
            makes: Some(NewInode::dir(gfid)),
            ..EntryTxn::on(parent, &bname)
        };
        let answers = self.entry_txn(txn, |_, s| s.call(&cred, &req)).await?;
        self.made(gfid, answers.best(None).ok_or(Errno::EIO)?.stat)
    }

    /// Makes a symlink.
    ///
    /// # Errors
    /// As [`ReplicaSet::create`].
    pub async fn symlink(&self, caller: &Caller, parent: Gfid, name: &[u8], target: &[u8]) -> FsResult<Iatt> {
        let bname = component(name)?;
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        let gfid = self.new_file_gfid();
        let cred = self.cred(caller, MAKES);
        let linkname = Bytes::copy_from_slice(target);
        let req = SymlinkReq {
            pargfid: parent,
            bname: bname.clone(),
            umask: 0,
            linkname,
            xdata: gfid_req(gfid),
        };
        let txn = EntryTxn {
            makes: Some(NewInode::special(gfid)),
            ..EntryTxn::on(parent, &bname)
        };
        let answers = self.entry_txn(txn, |_, s| s.call(&cred, &req)).await?;
        self.made(gfid, answers.best(None).ok_or(Errno::EIO)?.stat)
    }

    /// Gives an inode another name.
    ///
    /// # Errors
    /// As [`ReplicaSet::create`]; `EMLINK` above `storage.max-hardlinks`.
    pub async fn link(&self, caller: &Caller, gfid: Gfid, newparent: Gfid, newname: &[u8]) -> FsResult<Iatt> {
        let newbname = component(newname)?;
        let cred = self.cred(caller, RENAMES);
        let req = LinkReq {
            oldgfid: gfid,
            newpargfid: newparent,
            newbname: newbname.clone(),
            xdata: Dict::new(),
        };
        let answers = self
            .entry_txn(EntryTxn::on(newparent, &newbname), |_, s| s.call(&cred, &req))
            .await?;
        self.blame_metadata(gfid, &answers).await;
        Ok(answers.best(None).ok_or(Errno::EIO)?.stat)
    }

    /// Removes a name of anything but a directory.
    ///
    /// # Errors
    /// What the bricks say; `EROFS` without a write quorum.
    pub async fn unlink(&self, caller: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        let bname = component(name)?;
        let cred = self.cred(caller, RENAMES);
        let req = UnlinkReq {
            pargfid: parent,
            bname: bname.clone(),
            xflags: 0,
            xdata: Dict::new(),
        };
        // With a brick away, other names of the file have to remember that it missed the new change time.
        let others = match self.up().len() < self.bricks() {
            true => self
                .lookup(caller, parent, name)
                .await
                .ok()
                .filter(|stat| stat.nlink > 1),
            false => None,
        };
        let answers = self
            .entry_txn(EntryTxn::on(parent, &bname), |_, s| s.call(&cred, &req))
            .await?;
        if let Some(stat) = others {
            self.blame_metadata(stat.gfid, &answers).await;
        }
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY`; else as [`ReplicaSet::unlink`].
    pub async fn rmdir(&self, caller: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        let bname = component(name)?;
        let victim = self.lookup(caller, parent, name).await?;
        if !victim.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let cred = self.cred(caller, RENAMES);
        let req = RmdirReq {
            pargfid: parent,
            xflags: 0,
            bname: bname.clone(),
            xdata: Dict::new(),
        };
        let mut txn = EntryTxn::on(parent, &bname);
        txn.locks.push(LockObject::Entry {
            gfid: victim.gfid,
            name: None,
        });
        txn.harmless = Some(Errno::ENOTEMPTY);
        self.entry_txn(txn, |_, s| s.call(&cred, &req)).await.map(drop)
    }

    /// Renames; `flags` as renameat2(2).
    ///
    /// # Errors
    /// `EINVAL` for RENAME_EXCHANGE and RENAME_WHITEOUT, which the protocol cannot carry; `EEXIST` for
    /// RENAME_NOREPLACE when the new name exists; else as [`ReplicaSet::create`].
    pub async fn rename(
        &self,
        caller: &Caller,
        oldparent: Gfid,
        oldname: &[u8],
        newparent: Gfid,
        newname: &[u8],
        flags: u32,
    ) -> FsResult<()> {
        let (oldbname, newbname) = (component(oldname)?, component(newname)?);
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        let victim = match self.lookup(caller, newparent, newname).await {
            Ok(_) if flags & libc::RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            Ok(iatt) => Some(iatt),
            Err(Errno::ENOENT) => None,
            Err(e) => return Err(e),
        };
        // Where a brick may be stale, it may have another inode under the old name.
        let wanted = match self.is_whole() {
            true => None,
            false => Some(self.lookup(caller, oldparent, oldname).await?.gfid),
        };
        let cred = self.cred(caller, RENAMES);
        let mut txn = EntryTxn::on(newparent, &newbname);
        if (oldparent, &oldbname) != (newparent, &newbname) {
            txn.locks.push(LockObject::Entry {
                gfid: oldparent,
                name: Some(oldbname.clone()),
            });
            txn.changes.push(ChangedName {
                dir: oldparent,
                name: oldbname.clone(),
            });
        }
        if let Some(dir) = victim.filter(Iatt::is_dir) {
            txn.locks.push(LockObject::Entry {
                gfid: dir.gfid,
                name: None,
            });
        }
        txn.harmless = Some(Errno::ENOTEMPTY);
        let req = RenameReq {
            oldpargfid: oldparent,
            newpargfid: newparent,
            oldbname,
            newbname,
            xdata: Dict::new(),
        };
        let check = |answers: &mut Answers<RenameRsp>| {
            // If no brick has moved it, somebody else has replaced it since the lookup.
            if let Some(wanted) = wanted.filter(|w| answers.iter().any(|(_, r)| r.stat.gfid == *w)) {
                answers.reject(Errno::ESTALE, |r| r.stat.gfid != wanted);
            }
        };
        let answers = self.entry_txn_checked(txn, |_, s| s.call(&cred, &req), check).await?;
        let moved = answers.best(None).map(|r| r.stat.gfid).filter(|g| !g.is_null());
        let survivor = victim.filter(|v| !v.is_dir() && v.nlink > 1).map(|v| v.gfid);
        for gfid in moved.into_iter().chain(survivor) {
            self.blame_metadata(gfid, &answers).await;
        }
        Ok(())
    }
}

/// `trusted.glusterfs.dht` of a directory on a volume with one replica set: the whole hash range.
pub(super) const WHOLE_RANGE: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(component(b"a"), Ok(Bytes::from_static(b"a")));
        for bad in [&b""[..], b"a/b", b".", b".."] {
            assert_eq!(component(bad), Err(Errno::EINVAL));
        }
        assert_eq!(component(&[b'x'; 256]), Err(Errno::ENAMETOOLONG));
    }
}
