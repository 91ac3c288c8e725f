//! Lock and unlock phases of a transaction (brick-and-replicate.md D.3, D.4).
//!
//! All bricks are first asked at once, without blocking. If one refuses, what was granted is given back and the locks
//! are taken one brick after the other, in index order, so that two clients cannot wait for each other.
//!
//! Who holds a lock holds it on the first brick, too, so that is where one waits for it. A later brick that does not
//! grant it soon, or the first one when the others are free, keeps it for a session that has ended with work at its
//! disk, which may hang: the transaction goes on without that brick, as if it were away.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::answers::Answers;
use super::set::ReplicaSet;
use super::{BrickSet, Quorum};
use crate::client::{Reply, Subvol};
use crate::errno::Errno;
use crate::exec;
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

/// How long a brick may take to grant a lock, if the others are a quorum; how often the others are tried while the
/// first one does not grant it.
const GRANT: Duration = Duration::from_millis(500);

/// How waiting for a lock on one brick ended.
enum Waited {
    /// It is held there.
    Granted,
    /// The brick has failed.
    Gone,
    /// It takes its time: the transaction goes on without it.
    Slow,
    /// The same, and it is held on these already.
    OnOthers(BrickSet),
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

/// Bricks on which somebody else has one of the locks.
fn refused(granted: &[Answers<CommonRsp>]) -> BrickSet {
    let refused = granted.iter().map(|answers| answers.failed_with(Errno::EAGAIN));
    refused.fold(BrickSet::EMPTY, |all, some| all | some)
}

/// The bricks to begin again with when a lock was got on `held` only: those and the ones that were merely `slow`, if they
/// are a quorum together. They are fewer each time: without one that has gone, `held` would be a quorum.
fn again(quorum: &Quorum, held: BrickSet, slow: BrickSet) -> Option<BrickSet> {
    (!slow.is_empty() && !quorum.met(held) && quorum.met(held | slow)).then_some(held | slow)
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
        let refused = refused(&granted);
        if refused.is_empty() {
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
        let refused = !refused(&granted).is_empty();
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

    /// Takes the locks one brick after the other. A brick that did not grant one soon is asked again if those that were
    /// expected to do without it have gone away since: with a quorum up, nobody is to hear that there is none.
    async fn lock_in_order(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        mut bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> BrickSet {
        loop {
            let (held, slow) = self.lock_in_order_once(objects, domain, bricks, cred).await;
            match again(&self.quorum(), held, slow & self.up()) {
                // From the beginning, in order: nobody may wait for a brick while he keeps a later one.
                Some(those) => {
                    self.unlock(objects, domain, held, cred).await;
                    bricks = those & self.up();
                }
                None => return held,
            }
        }
    }

    /// Returns the bricks that hold all locks, and those that were given up because they did not grant one soon.
    async fn lock_in_order_once(
        &self,
        objects: &[LockObject],
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
    ) -> (BrickSet, BrickSet) {
        let (mut all, mut slow) = (bricks, BrickSet::EMPTY);
        let mut held = Vec::with_capacity(objects.len());
        for object in objects {
            let mut on = BrickSet::EMPTY;
            for brick in all.iter() {
                let others = all - BrickSet::one(brick);
                match self
                    .wait_for_lock(object, domain, brick, others, on.is_empty(), cred)
                    .await
                {
                    Waited::Granted => on.insert(brick),
                    Waited::Gone => all = others,
                    Waited::Slow => {
                        slow.insert(brick);
                        all = others;
                    }
                    Waited::OnOthers(granted) => {
                        slow |= all - granted;
                        (on, all) = (granted, granted);
                        break;
                    }
                }
            }
            held.push((object, on));
        }
        for (object, on) in held {
            if !(on - all).is_empty() {
                self.unlock(std::slice::from_ref(object), domain, on - all, cred).await;
            }
        }
        (all, slow)
    }

    /// Asks one brick for a lock and waits for it. While the first one keeps it for somebody, the `others` are tried now
    /// and then: where they are free, nobody works under that lock any more.
    async fn wait_for_lock(
        &self,
        object: &LockObject,
        domain: &Bytes,
        brick: usize,
        others: BrickSet,
        first: bool,
        cred: &GlusterfsCred,
    ) -> Waited {
        let mut reply = Box::pin(self.send_lock(self.subvol(brick), object, domain, Want::Wait, cred));
        while self.quorum().met(others) {
            match exec::timeout(GRANT, reply.as_mut()).await {
                Ok(Ok(_)) => return Waited::Granted,
                Ok(Err(_)) => return Waited::Gone,
                Err(exec::Elapsed) if !first => {
                    self.give_back_late(reply, object, domain, brick, cred);
                    return Waited::Slow;
                }
                Err(exec::Elapsed) => {}
            }
            let objects = std::slice::from_ref(object);
            let granted = self.try_lock(objects, domain, others, cred).await;
            let free = granted.iter().fold(others, |on, answers| on & answers.ok());
            if refused(&granted).is_empty() && self.quorum().met(free) {
                self.give_back_late(reply, object, domain, brick, cred);
                return Waited::OnOthers(free);
            }
            self.unlock(objects, domain, free, cred).await;
        }
        match reply.await {
            Ok(_) => Waited::Granted,
            Err(_) => Waited::Gone,
        }
    }

    /// Nobody waits any more for a lock that a brick may still grant.
    fn give_back_late(
        &self,
        reply: Pin<Box<Reply<CommonRsp>>>,
        object: &LockObject,
        domain: &Bytes,
        brick: usize,
        cred: &GlusterfsCred,
    ) {
        tracing::info!("{}: does not grant a lock", self.subvol(brick).name());
        let (set, object, domain, cred) = (self.clone(), object.clone(), domain.clone(), cred.clone());
        // The brick may keep it as long as its disk hangs: no end of work waits for this.
        exec::spawn(async move {
            if reply.await.is_ok() {
                set.unlock(&[object], &domain, BrickSet::one(brick), &cred).await;
            }
        });
    }

    /// [`ReplicaSet::lock`] for those who have time: as long as somebody else has it on any brick, it is waited for
    /// without it on the others, so that nobody waits for who waits.
    ///
    /// # Errors
    /// `EAGAIN` when a brick does not grant it within `patience`; nothing is held then.
    pub(super) async fn lock_politely(
        &self,
        object: &LockObject,
        domain: &Bytes,
        bricks: BrickSet,
        cred: &GlusterfsCred,
        patience: Duration,
    ) -> Result<BrickSet, Errno> {
        let objects = std::slice::from_ref(object);
        let granted = self.try_lock(objects, domain, bricks, cred).await;
        let refused = refused(&granted);
        if refused.is_empty() {
            return Ok(granted.iter().fold(bricks, |held, a| held & a.ok()));
        }
        self.unlock_granted(objects, domain, &granted, BrickSet::EMPTY, cred)
            .await;
        for brick in refused.iter() {
            let mut reply = Box::pin(self.send_lock(self.subvol(brick), object, domain, Want::Wait, cred));
            match exec::timeout(patience, reply.as_mut()).await {
                Ok(Ok(_)) => self.unlock(objects, domain, BrickSet::one(brick), cred).await,
                // It has gone away.
                Ok(Err(_)) => {}
                Err(exec::Elapsed) => {
                    self.give_back_late(reply, object, domain, brick, cred);
                    return Err(Errno::EAGAIN);
                }
            }
        }
        Ok(self.lock_in_order(objects, domain, bricks & self.up(), cred).await)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_brick_is_asked_again_when_it_is_needed_after_all() {
        let quorum = Quorum::new(6, None);
        let set = |bricks: &[usize]| -> BrickSet { bricks.iter().copied().collect() };
        // 2 was given up for 3, which is gone now, and 0 was away all the time.
        let (held, slow) = (set(&[1, 4, 5]), set(&[2]));
        assert_eq!(again(&quorum, held, slow), Some(set(&[1, 2, 4, 5])));
        assert_eq!(again(&quorum, held, BrickSet::EMPTY), None, "nobody else is there");
        assert_eq!(again(&quorum, set(&[4, 5]), slow), None, "no quorum is there");
        assert_eq!(again(&quorum, set(&[1, 3, 4, 5]), slow), None, "it is not needed");
    }
}
