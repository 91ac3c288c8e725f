//! A directory that a brick has elsewhere is moved to where it belongs, with all that is in it. Made anew it would be
//! empty, and the old one would be one without a handle.
//!
//! Two healers (of the old and of the new directory) may each think the other place is wrong. Only one of them moves a
//! directory at a time, and only while the brick it goes by still has it there.

use bytes::Bytes;

use super::inspect::Held;
use crate::errno::{Errno, FsResult};
use crate::replicate::ReplicaSet;
use crate::replicate::locking::LockObject;
use crate::replicate::lookup::name_lookup;
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{GetxattrReq, RenameReq};
use crate::wire::{Dict, Gfid};

/// Where a directory belongs, and by whose word.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub dir: Gfid,
    pub name: &'a Bytes,
    /// A brick that has it there.
    pub model: usize,
}

impl ReplicaSet {
    /// Moves the directory `gfid`, which `brick` has somewhere else, to `place`. `false`: it is nowhere to be found there.
    ///
    /// # Errors
    /// `EAGAIN` if it must wait: for another healer, or for a directory that is in the way.
    pub(super) async fn move_directory(
        &self,
        gfid: Gfid,
        place: Place<'_>,
        brick: usize,
        cred: &GlusterfsCred,
    ) -> FsResult<bool> {
        let lock = self.lock_move(gfid).await?;
        let moved = self.move_locked(gfid, place, brick, cred).await;
        self.give_back_heal(lock).await;
        moved
    }

    /// The right to move `gfid`. Not a lock of the directory itself: most bricks may not have it.
    async fn lock_move(&self, gfid: Gfid) -> FsResult<Held> {
        let domain = Bytes::from([&self.heal_domain(), &b":moves"[..]].concat());
        let object = LockObject::Entry {
            gfid: Gfid::ROOT,
            name: Some(Bytes::from(gfid.to_string())),
        };
        self.heal_lock_in(domain, object).await
    }

    async fn move_locked(&self, gfid: Gfid, place: Place<'_>, brick: usize, cred: &GlusterfsCred) -> FsResult<bool> {
        if self.gfid_of(place.model, place.dir, place.name, cred).await? != gfid {
            return Err(Errno::EAGAIN);
        }
        let Some((oldpargfid, oldbname)) = self.place_on(brick, gfid, cred).await? else {
            return Ok(false);
        };
        let (name, dir) = (place.name, place.dir);
        let req = RenameReq {
            oldpargfid,
            newpargfid: dir,
            oldbname,
            newbname: name.clone(),
            xdata: Dict::new(),
        };
        match self.subvol(brick).call(cred, &req).await {
            Ok(_) => {
                let (brick, name) = (self.subvol(brick).name(), String::from_utf8_lossy(name));
                tracing::info!("{brick}: moved {gfid} from {oldpargfid} to {name} of {dir}");
                Ok(true)
            }
            // It would go below itself: the place is below it there, and is to be healed first.
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ESTALE) => Err(Errno::EAGAIN),
            Err(e) => Err(e),
        }
    }

    /// What `brick` has under a name.
    async fn gfid_of(&self, brick: usize, dir: Gfid, name: &Bytes, cred: &GlusterfsCred) -> FsResult<Gfid> {
        match self.subvol(brick).call(cred, &name_lookup(dir, name)).await {
            Ok(rsp) => Ok(rsp.prestat.gfid),
            Err(Errno::ENOENT | Errno::ESTALE) => Ok(Gfid::NULL),
            Err(e) => Err(e),
        }
    }

    /// The directory and the name in it under which `brick` has the directory `gfid`.
    async fn place_on(&self, brick: usize, gfid: Gfid, cred: &GlusterfsCred) -> FsResult<Option<(Gfid, Bytes)>> {
        let req = GetxattrReq {
            gfid,
            namelen: 1,
            name: Bytes::from_static(b"glusterfs.gfid2path"),
            xdata: Dict::null(),
        };
        let rsp = match self.subvol(brick).call(cred, &req).await {
            Ok(rsp) => rsp,
            Err(Errno::ENOTCONN) => return Err(Errno::ENOTCONN),
            Err(_) => return Ok(None),
        };
        let path = rsp.dict.iter().next().and_then(|(_, value)| value.as_bytes());
        let names = path.map(components).unwrap_or_default();
        let Some((last, above)) = names.split_last() else {
            return Ok(None);
        };
        let mut dir = Gfid::ROOT;
        for name in above {
            dir = self.gfid_of(brick, dir, name, cred).await?;
            if dir.is_null() {
                return Ok(None);
            }
        }
        let there = self.gfid_of(brick, dir, last, cred).await? == gfid;
        Ok(there.then(|| (dir, last.clone())))
    }
}

/// The names of a path. A directory has one, whatever its names contain.
fn components(path: &[u8]) -> Vec<Bytes> {
    let text = path.strip_suffix(b"\0").unwrap_or(path);
    let names = text.split(|b| *b == b'/').filter(|name| !name.is_empty());
    names.map(Bytes::copy_from_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::components;

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(components(b"/a/b:c/d\0"), [&b"a"[..], b"b:c", b"d"]);
        assert!(components(b"/").is_empty() && components(b"").is_empty());
    }
}
