//! Lock and unlock phases of a transaction (brick-and-replicate.md D.3, D.4).
//!
//! All bricks are first asked at once, without blocking. If one refuses, what was granted is given back and the locks
//! are taken one brick after the other, in index order, so that two clients cannot wait for each other.

use bytes::Bytes;

use super::BrickSet;
use super::answers::Answers;
use super::set::ReplicaSet;
use crate::client::{Reply, Subvol};
use crate::errno::Errno;
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{CommonRsp, EntrylkCmd, EntrylkReq, Flock, Fop, InodelkCmd, InodelkReq, LockType};
use crate::wire::{Dict, Gfid};

/// The range of a metadata lock: bricks move it to the domain `<domain>:metadata` (brick-and-replicate.md C.3).
pub(super) const METADATA_START: u64 = i64::MAX as u64 - 1;

/// Something a transaction locks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LockObject {
    /// An inode range, `len` 0 = to the end.
    Inode {
        /// The inode.
        gfid: Gfid,
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// A name in a directory; `None` = all names.
    Entry {
        /// The directory.
        gfid: Gfid,
        /// The name.
        name: Option<Bytes>,
    },
}

impl LockObject {
    /// The order in which every client takes several entry locks: gfid, all-names before names, then by name.
    pub(super) fn sort(objects: &mut [LockObject]) {
        objects.sort_by(|a, b| a.key().cmp(&b.key()));
    }

    fn key(&self) -> (Gfid, Option<&Bytes>) {
        match self {
            LockObject::Inode { gfid, .. } => (*gfid, None),
            LockObject::Entry { gfid, name } => (*gfid, name.as_ref()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Try,
    Wait,
    Unlock,
}

/// Sends a lock request; how long one that waits takes is not the brick's doing.
fn send<R: Fop<Reply = CommonRsp>>(subvol: &Subvol, want: Want, cred: &GlusterfsCred, req: &R) -> Reply<CommonRsp> {
    if want == Want::Wait {
        subvol.call_blocking(cred, req)
    } else {
        subvol.call(cred, req)
    }
}

impl ReplicaSet {
    fn send_lock(
        &self,
        subvol: &Subvol,
        object: &LockObject,
        domain: &Bytes,
        want: Want,
        cred: &GlusterfsCred,
    ) -> Reply<CommonRsp> {
        match object {
            LockObject::Inode { gfid, start, len } => {
                let kind = if want == Want::Unlock {
                    LockType::Unlock
                } else {
                    LockType::Write
                } as u32;
                let cmd = if want == Want::Wait {
                    InodelkCmd::SetLkW
                } else {
                    InodelkCmd::SetLk
                } as u32;
                let flock = Flock {
                    kind,
                    start: *start,
                    len: *len,
                    ..Flock::default()
                };
                let req = InodelkReq {
                    gfid: *gfid,
                    cmd,
                    kind,
                    flock,
                    volume: domain.clone(),
                    xdata: Dict::null(),
                };
                send(subvol, want, cred, &req)
            }
            LockObject::Entry { gfid, name } => {
                let cmd = match want {
                    Want::Try => EntrylkCmd::LockNb,
                    Want::Wait => EntrylkCmd::Lock,
                    Want::Unlock => EntrylkCmd::Unlock,
                } as u32;
                let req = EntrylkReq {
                    gfid: *gfid,
                    cmd,
                    kind: LockType::Write as u32,
                    namelen: u64::from(name.is_some()),
                    name: name.clone().unwrap_or_default(),
                    volume: domain.clone(),
                    xdata: Dict::null(),
                };
                send(subvol, want, cred, &req)
            }
        }
    }

    /// Asks `bricks` for one lock, which a brick that cannot grant it at once refuses with `EAGAIN`.
    pub(super) fn start_lock(
        &self,
        object: &LockObject,
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> Vec<(usize, Reply<CommonRsp>)> {
        let send = |brick| self.send_lock(self.subvol(brick), object, domain, Want::Try, cred);
        bricks.iter().map(|brick| (brick, send(brick))).collect()
    }

    /// Locks `objects` (in their order) on `bricks`; returns the bricks that hold all of them. Others hold none.
    pub(super) async fn lock(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> BrickSet {
        let granted = self.try_lock(objects, domain, bricks, cred).await;
        let refused = granted.iter().any(|a| !a.failed_with(Errno::EAGAIN).is_empty());
        if !refused {
            let all = granted.iter().fold(bricks, |held, a| held & a.ok());
            self.unlock_granted(objects, domain, &granted, all, cred).await;
            return all;
        }
        self.unlock_granted(objects, domain, &granted, BrickSet::EMPTY, cred)
            .await;
        self.lock_in_order(objects, domain, bricks, cred).await
    }

    /// Like [`ReplicaSet::lock`], but gives up at the first conflict: `Err` with everything given back.
    pub(super) async fn lock_or_give_up(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> Result<BrickSet, Errno> {
        let granted = self.try_lock(objects, domain, bricks, cred).await;
        let refused = granted.iter().any(|a| !a.failed_with(Errno::EAGAIN).is_empty());
        let all = if refused {
            BrickSet::EMPTY
        } else {
            granted.iter().fold(bricks, |held, a| held & a.ok())
        };
        self.unlock_granted(objects, domain, &granted, all, cred).await;
        if refused { Err(Errno::EAGAIN) } else { Ok(all) }
    }

    async fn try_lock(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> Vec<Answers<CommonRsp>> {
        // Everything is sent before anything is waited for: one round trip however many objects.
        let under_way: Vec<Vec<(usize, Reply<CommonRsp>)>> = objects
            .iter()
            .map(|o| self.start_lock(o, domain, bricks, cred))
            .collect();
        let mut granted = Vec::with_capacity(objects.len());
        for replies in under_way {
            let mut answers = Answers::new(self.bricks());
            for (brick, reply) in replies {
                answers.put(brick, reply.await);
            }
            granted.push(answers);
        }
        granted
    }

    /// Gives back what was granted outside `keep`.
    async fn unlock_granted(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        granted: &[Answers<CommonRsp>],
        keep: BrickSet,
        cred: &GlusterfsCred,
    ) {
        for (object, answers) in objects.iter().zip(granted) {
            let give_back = answers.ok() - keep;
            if !give_back.is_empty() {
                self.unlock(std::slice::from_ref(object), domain, give_back, cred).await;
            }
        }
    }

    async fn lock_in_order(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> BrickSet {
        let mut all = bricks;
        let mut held = Vec::with_capacity(objects.len());
        for object in objects {
            let mut on = BrickSet::EMPTY;
            for brick in all.iter() {
                if self
                    .send_lock(self.subvol(brick), object, domain, Want::Wait, cred)
                    .await
                    .is_ok()
                {
                    on.insert(brick);
                }
            }
            all &= on;
            held.push((object, on));
        }
        for (object, on) in held {
            if !(on - all).is_empty() {
                self.unlock(std::slice::from_ref(object), domain, on - all, cred).await;
            }
        }
        all
    }

    /// Unlocks `objects` on `bricks` and waits for the answers. A brick that is gone has dropped its locks itself.
    pub(super) async fn unlock(&self, objects: &[LockObject], domain: &Bytes, bricks: BrickSet, cred: &GlusterfsCred) {
        let mut under_way = Vec::new();
        for object in objects {
            for brick in bricks.iter() {
                under_way.push((
                    brick,
                    self.send_lock(self.subvol(brick), object, domain, Want::Unlock, cred),
                ));
            }
        }
        for (brick, reply) in under_way {
            if let Err(e) = reply.await
                && e != Errno::ENOTCONN
            {
                tracing::warn!("{}: unlock of {objects:?} failed: {e}", self.subvol(brick).name());
            }
        }
    }

    /// [`ReplicaSet::unlock`] in the background.
    pub(super) fn unlock_later(&self, objects: Vec<LockObject>, bricks: BrickSet, cred: GlusterfsCred) {
        let set = self.clone();
        self.later(async move {
            let domain = set.0.domain.clone();
            set.unlock(&objects, &domain, bricks, &cred).await;
        });
    }
}
