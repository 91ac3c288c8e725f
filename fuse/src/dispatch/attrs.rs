//! Attributes, link targets and extended attributes.

use bytes::{Bytes, BytesMut};
use datapath::errno::{Errno, FsResult};
use datapath::wire::Iatt;

use super::{Core, by_node, files};
use crate::attr::Attr;
use crate::ops::{FileOps, SetAttr, TimeSet};
use crate::request::{Answer, AttrChange, TimeChange, Who};

/// Names a user can neither see nor change: the bookkeeping of GlusterFS itself.
const INTERNAL: [&[u8]; 7] = [
    b"trusted.gfid",
    b"trusted.afr.",
    b"trusted.gfid2path.",
    b"trusted.pgfid.",
    b"trusted.glusterfs.",
    b"trusted.ec.",
    b"glusterfs.",
];

/// XATTR_SIZE_MAX of Linux.
const XATTR_SIZE_MAX: usize = 65536;

fn is_internal(name: &[u8]) -> bool {
    INTERNAL.iter().any(|prefix| name.starts_with(prefix))
}

fn time_set(change: TimeChange) -> TimeSet {
    match change {
        TimeChange::Now => TimeSet::Now,
        TimeChange::At(sec, nsec) => TimeSet::At(sec, nsec),
    }
}

/// The answer to a request for an xattr or list: its size if the caller gave no room, the bytes if they fit.
fn sized(value: Bytes, room: u32) -> FsResult<Answer> {
    if value.len() > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    match room as usize {
        0 => Ok(Answer::XattrSize(value.len() as u32)),
        room if room < value.len() => Err(Errno::ERANGE),
        _ => Ok(Answer::Xattr(value)),
    }
}

/// The names of a list that the caller may see: nobody sees bookkeeping, only root sees `trusted.`.
fn visible_names(list: &Bytes, uid: u32) -> Bytes {
    let mut kept = BytesMut::with_capacity(list.len());
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if !is_internal(name) && (uid == 0 || !name.starts_with(b"trusted.")) {
            kept.extend_from_slice(name);
            kept.extend_from_slice(&[0]);
        }
    }
    kept.freeze()
}

impl<V: FileOps> Core<V> {
    fn attr_answer(&self, node: u64, iatt: &Iatt) -> Answer {
        self.inodes.borrow_mut().saw_mode(node, iatt.mode);
        Answer::Attr {
            attr: Attr::from_iatt(iatt),
            ttl: self.behaviour.attribute_ttl,
        }
    }

    pub(super) async fn getattr(&self, who: Who, node: u64, fh: Option<u64>) -> FsResult<Answer> {
        let caller = self.caller(who);
        let file = fh.and_then(|fh| self.handles.borrow().file(fh).ok());
        if let Some(file) = file {
            let iatt = self.ops.getattr(&caller, file.gfid, Some(&file.fd)).await?;
            return Ok(self.attr_answer(node, &iatt));
        }
        let gfid = self.gfid(node)?;
        let iatt = self.ops.getattr(&caller, gfid, None).await.map_err(by_node)?;
        Ok(self.attr_answer(node, &iatt))
    }

    pub(super) async fn setattr(&self, who: Who, node: u64, fh: Option<u64>, change: AttrChange) -> FsResult<Answer> {
        let caller = self.caller(who);
        let file = match fh {
            Some(fh) => Some(self.handles.borrow().file(fh)?),
            None => None,
        };
        let gfid = match &file {
            Some(file) => file.gfid,
            None => self.gfid(node)?,
        };
        let mut set = SetAttr {
            mode: change.mode.map(|m| m & 0o7777),
            uid: change.uid,
            gid: change.gid,
            size: change.size,
            atime: change.atime.map(time_set),
            mtime: change.mtime.map(time_set),
        };
        if set.size.is_some() && set.mode.is_none() && who.uid != 0 {
            set.mode = files::without_set_ids(self.inodes.borrow().mode(node));
        }
        let fd = file.as_ref().map(|f| &f.fd);
        let iatt = self.ops.setattr(&caller, gfid, fd, &set).await.map_err(by_node)?;
        Ok(self.attr_answer(node, &iatt))
    }

    pub(super) async fn readlink(&self, who: Who, node: u64) -> FsResult<Answer> {
        let gfid = self.gfid(node)?;
        Ok(Answer::Data(
            self.ops.readlink(&self.caller(who), gfid).await.map_err(by_node)?,
        ))
    }

    /// What the mount answers about a name without asking a brick (the C client does the same): the kernel asks for
    /// security.capability before first writes, and `ls` for ACLs of every file.
    fn local_xattr_error(&self, name: &[u8], asking: bool) -> Option<Errno> {
        let nothing = if asking { Errno::ENODATA } else { Errno::EOPNOTSUPP };
        match name {
            b"security.capability" if !self.behaviour.capability => Some(nothing),
            b"security.selinux" if !self.behaviour.selinux => Some(nothing),
            b"system.posix_acl_access" | b"system.posix_acl_default" if !self.behaviour.acl => Some(Errno::EOPNOTSUPP),
            _ => None,
        }
    }

    pub(super) async fn setxattr(
        &self,
        who: Who,
        node: u64,
        name: &[u8],
        value: Bytes,
        flags: u32,
    ) -> FsResult<Answer> {
        if let Some(e) = self.local_xattr_error(name, false) {
            return Err(e);
        }
        if name.starts_with(b"trusted.") && is_internal(name) {
            return Err(Errno::EPERM);
        }
        let gfid = self.gfid(node)?;
        self.ops
            .setxattr(&self.caller(who), gfid, name, value, flags)
            .await
            .map_err(by_node)?;
        Ok(Answer::Done)
    }

    pub(super) async fn getxattr(&self, who: Who, node: u64, name: &[u8], size: u32) -> FsResult<Answer> {
        if let Some(e) = self.local_xattr_error(name, true) {
            return Err(e);
        }
        let gfid = self.gfid(node)?;
        sized(
            self.ops
                .getxattr(&self.caller(who), gfid, name)
                .await
                .map_err(by_node)?,
            size,
        )
    }

    pub(super) async fn listxattr(&self, who: Who, node: u64, size: u32) -> FsResult<Answer> {
        let gfid = self.gfid(node)?;
        let list = self.ops.listxattr(&self.caller(who), gfid).await.map_err(by_node)?;
        sized(visible_names(&list, who.uid), size)
    }

    pub(super) async fn removexattr(&self, who: Who, node: u64, name: &[u8]) -> FsResult<Answer> {
        if let Some(e) = self.local_xattr_error(name, true) {
            return Err(e);
        }
        if is_internal(name) {
            return Err(Errno::EPERM);
        }
        let gfid = self.gfid(node)?;
        self.ops
            .removexattr(&self.caller(who), gfid, name)
            .await
            .map_err(by_node)?;
        Ok(Answer::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_what_the_caller_may_see() {
        let list = Bytes::from_static(b"user.a\0trusted.gfid\0trusted.mine\0trusted.afr.v-client-0\0user.b\0");
        assert_eq!(visible_names(&list, 0), &b"user.a\0trusted.mine\0user.b\0"[..]);
        assert_eq!(visible_names(&list, 5), &b"user.a\0user.b\0"[..]);
        assert!(visible_names(&Bytes::new(), 0).is_empty());
    }

    #[test]
    fn room_decides_the_answer() {
        let value = Bytes::from_static(b"12345");
        assert!(matches!(sized(value.clone(), 0), Ok(Answer::XattrSize(5))));
        assert!(matches!(sized(value.clone(), 4), Err(Errno::ERANGE)));
        assert!(matches!(sized(value.clone(), 5), Ok(Answer::Xattr(v)) if v == value));
        assert!(matches!(sized(Bytes::from(vec![0; 65537]), 0), Err(Errno::E2BIG)));
    }
}
