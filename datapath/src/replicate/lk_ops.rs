//! POSIX and flock locks: brick after brick in index order, a quorum of grants (brick-and-replicate.md D.12).

use std::time::Duration;

use super::BrickSet;
use super::set::ReplicaSet;
use crate::client::{Caller, Fd, LkOp, Reply};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::wire::Dict;
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{Flock, LkCmd, LkReq, LkRsp, LockType};

/// When a lock has been waited for so long, the bricks that are to be asked later hear of it.
const SOON: Duration = Duration::from_millis(50);
/// So often afterwards: a brick remembers a conflict for three seconds.
const AGAIN: Duration = Duration::from_secs(1);

impl ReplicaSet {
    /// Takes, tests or gives back a lock. The owner is the caller's.
    ///
    /// # Errors
    /// `EAGAIN` on a conflict ([`LkOp::Set`]), `EROFS` when the grants are below the quorum.
    pub async fn lk(&self, caller: &Caller, fd: &Fd, op: LkOp, flock: &Flock) -> FsResult<Flock> {
        let cred = self.cred(caller, 0);
        let unlock = flock.kind == LockType::Unlock as u32;
        let cmd = match op {
            LkOp::Get => LkCmd::GetLk,
            LkOp::Set => LkCmd::SetLk,
            LkOp::SetWait => LkCmd::SetLkW,
        };
        let inode = self.inode(fd.gfid());
        if op != LkOp::Get && !unlock {
            inode.posix_locked.set(true);
        }
        if unlock {
            // Whatever the bricks say: it is not to be taken again.
            inode.held.borrow_mut().set(fd, &cred.lk_owner, flock);
        }
        // A lock that waits may outlive the numbers its bricks have in this set ([`crate::client::LiveVolume::lk`]).
        let numbers: Vec<Option<i64>> = (0..self.bricks()).map(|brick| fd.remote(brick)).collect();
        let number = |brick: usize| numbers.get(brick).copied().flatten();
        let mut granted = BrickSet::EMPTY;
        let mut answer = None;
        let mut last = Errno::ENOTCONN;
        for brick in self.up().iter() {
            let asked = self.lk_on(brick, (fd, number(brick)), cmd, flock, &cred);
            let answered = if op == LkOp::SetWait {
                let later = self.up() - granted - BrickSet::one(brick);
                let ask = |brick| drop(self.send_lk(brick, (fd, number(brick)), LkCmd::GetLk, flock, &cred));
                with_others_asked(asked, || later.iter().for_each(ask)).await
            } else {
                asked.await
            };
            match answered {
                Ok(reply) => {
                    granted.insert(brick);
                    let conflict = op == LkOp::Get && reply.kind != LockType::Unlock as u32;
                    answer.get_or_insert(reply.clone());
                    if conflict {
                        return Ok(reply);
                    }
                }
                Err(e @ (Errno::EAGAIN | Errno::EINTR)) => {
                    self.give_back(granted, fd, flock, &cred).await;
                    return Err(e);
                }
                Err(e) => last = e,
            }
        }
        if op == LkOp::Get || unlock {
            return answer.ok_or(last);
        }
        if let Err(e) = self.quorum_of(granted) {
            self.give_back(granted, fd, flock, &cred).await;
            return Err(if granted.is_empty() { last } else { e });
        }
        if op != LkOp::Get {
            inode.held.borrow_mut().set(fd, &cred.lk_owner, flock);
        }
        answer.ok_or(last)
    }

    async fn lk_on(
        &self,
        brick: usize,
        (fd, number): (&Fd, Option<i64>),
        cmd: LkCmd,
        flock: &Flock,
        cred: &GlusterfsCred,
    ) -> FsResult<Flock> {
        Ok(self.send_lk(brick, (fd, number), cmd, flock, cred)?.await?.flock)
    }

    fn send_lk(
        &self,
        brick: usize,
        (fd, number): (&Fd, Option<i64>),
        cmd: LkCmd,
        flock: &Flock,
        cred: &GlusterfsCred,
    ) -> FsResult<Reply<LkRsp>> {
        let number = number.ok_or(Errno::EBADFD)?;
        let flock = Flock {
            lk_owner: cred.lk_owner.clone(),
            ..flock.clone()
        };
        let req = lk_request(fd, number, cmd, flock);
        let subvol = self.subvol(brick);
        Ok(match cmd {
            // How long it waits is not the brick's doing.
            LkCmd::SetLkW => subvol.call_blocking(cred, &req),
            _ => subvol.call(cred, &req),
        })
    }

    async fn give_back(&self, granted: BrickSet, fd: &Fd, flock: &Flock, cred: &GlusterfsCred) {
        let unlock = Flock {
            kind: LockType::Unlock as u32,
            ..flock.clone()
        };
        for brick in granted.iter() {
            if let Err(e) = self
                .lk_on(brick, (fd, fd.remote(brick)), LkCmd::SetLk, &unlock, cred)
                .await
            {
                tracing::warn!("{}: unlock of {} failed: {e}", self.subvol(brick).name(), fd.gfid());
            }
        }
    }
}

/// Waits for a lock on one brick, and calls `ask_others` now and then meanwhile. A brick finds out whether a holder still
/// lives only while somebody wants its lock. Bricks are waited for one after the other, so each would begin to
/// wonder when the one before it has done; those asked for the lock in passing do it all at once.
async fn with_others_asked<T>(asked: impl Future<Output = T>, ask_others: impl Fn()) -> T {
    let mut asked = std::pin::pin!(asked);
    let mut pause = SOON;
    loop {
        match exec::timeout(pause, asked.as_mut()).await {
            Ok(answer) => return answer,
            Err(exec::Elapsed) => ask_others(),
        }
        pause = AGAIN;
    }
}

/// The request for `flock` through the fd a brick calls `number`.
pub(crate) fn lk_request(fd: &Fd, number: i64, cmd: LkCmd, flock: Flock) -> LkReq {
    LkReq {
        gfid: fd.gfid(),
        fd: number,
        cmd: cmd as u32,
        kind: flock.kind,
        flock,
        xdata: Dict::null(),
    }
}
