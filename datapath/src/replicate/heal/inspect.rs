//! One inode: what the bricks say of it, and the heals that follow from that.

use std::time::Duration;

use bytes::Bytes;

use super::plan::Evidence;
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::replicate::locking::LockObject;
use crate::replicate::lookup::Found;
use crate::replicate::{BrickSet, ReplicaSet};
use crate::wire::Gfid;
use crate::wire::auth::GlusterfsCred;

/// Between two looks at bricks that are waited for under a lock.
const LOOK: Duration = Duration::from_millis(50);

/// How long a healer waits for a client to give up a lock.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How the heal of one inode, or of one of its parts, ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// There was nothing to do.
    Nothing,
    /// Nothing can be done until a brick that is away returns.
    Waiting,
    /// Something was healed and nothing is left.
    Healed,
    /// Not now: a brick is away, somebody else heals it, or it is being written.
    Pending,
    /// It failed.
    Failed(Errno),
    /// Copies accuse each other; nobody guesses.
    SplitBrain,
}

impl Outcome {
    /// The graver of two.
    pub fn and(self, other: Outcome) -> Outcome {
        self.max(other)
    }
}

impl From<FsResult<Outcome>> for Outcome {
    fn from(r: FsResult<Outcome>) -> Outcome {
        match r {
            Ok(o) => o,
            // A brick that goes away in the middle: the next crawl goes on.
            Err(Errno::ENOTCONN | Errno::EAGAIN | Errno::EROFS) => Outcome::Pending,
            Err(e) => Outcome::Failed(e),
        }
    }
}

/// Locks of one heal.
pub(super) struct Held {
    pub locks: Vec<LockObject>,
    pub domain: Bytes,
    pub on: BrickSet,
    pub cred: GlusterfsCred,
}

/// Whether any brick bears a mark. Where there is nothing to heal, the mark is about a brick that is away or about a
/// change that is under way.
fn blames_anybody(found: &Found) -> bool {
    let mut all = found.said.iter().flatten();
    all.any(|t| t.pending.dirty.any() || !t.pending.blamed_any().is_empty())
}

impl ReplicaSet {
    /// Heals one inode: contents, then attributes, then names.
    pub async fn heal_inode(&self, gfid: Gfid) -> Outcome {
        let healed = self.heal_parts(gfid).await;
        if healed.is_ok() {
            self.inode(gfid).need_refresh();
        }
        healed.into()
    }

    async fn heal_parts(&self, gfid: Gfid) -> FsResult<Outcome> {
        let mut found = self.refresh_fully(gfid).await?;
        let Some(kind) = self.agreed_type(&found) else {
            return Ok(Outcome::SplitBrain);
        };
        let mut outcome = Outcome::Nothing;
        if kind == libc::S_IFREG {
            outcome = outcome.and(self.heal_data(gfid, &found).await.into());
            if outcome != Outcome::Nothing {
                found = self.refresh_fully(gfid).await?;
            }
        }
        outcome = outcome.and(self.heal_metadata(gfid, &found).await.into());
        if kind == libc::S_IFDIR {
            if outcome != Outcome::Nothing {
                found = self.refresh_fully(gfid).await?;
            }
            outcome = outcome.and(self.heal_entries(gfid, &found).await.into());
        }
        if outcome == Outcome::Nothing && blames_anybody(&found) {
            return Ok(Outcome::Waiting);
        }
        Ok(outcome)
    }

    /// The file type, if all copies have the same.
    fn agreed_type(&self, found: &Found) -> Option<u32> {
        let mut types = found.said.iter().flatten().map(|t| t.stat.file_type());
        let first = types.next()?;
        types.all(|t| t == first).then_some(first)
    }

    pub(super) fn evidence<'a>(&'a self, found: &'a Found, participants: BrickSet) -> Evidence<'a> {
        Evidence {
            said: &found.said,
            participants: participants
                .iter()
                .filter(|&b| found.said.get(b).is_some_and(Option::is_some))
                .collect(),
            quorum: self.quorum(),
            local: self.local(),
            policy: self.options().favorite_child,
        }
    }

    /// The domain in which heals exclude each other.
    pub(super) fn heal_domain(&self) -> Bytes {
        Bytes::from(format!("{}:self-heal", self.spec().replicate))
    }

    /// Takes the lock that makes this daemon the only healer of an inode. `Err(EAGAIN)` when another one is at it.
    pub(super) async fn heal_lock(&self, object: LockObject) -> FsResult<Held> {
        let domain = self.heal_domain();
        self.heal_lock_in(domain, object).await
    }

    /// [`ReplicaSet::heal_lock`] in a domain of the caller's.
    pub(super) async fn heal_lock_in(&self, domain: Bytes, object: LockObject) -> FsResult<Held> {
        let cred = self.own_cred(self.new_owner());
        let locks = vec![object];
        let on = self.lock_or_give_up(&locks, &domain, self.up(), &cred).await?;
        self.with_quorum(Held {
            locks,
            domain,
            on,
            cred,
        })
        .await
    }

    /// Keeps a lock that is held on a quorum, and gives back any other.
    pub(super) async fn with_quorum(&self, held: Held) -> FsResult<Held> {
        if let Err(e) = self.quorum_of(held.on) {
            self.give_back_heal(held).await;
            return Err(e);
        }
        Ok(held)
    }

    /// Takes a short lock in the transactions' own domain, waiting for writers to finish.
    pub(super) async fn heal_sublock(&self, outer: &Held, object: LockObject) -> FsResult<Held> {
        let domain = self.0.domain.clone();
        let bricks = outer.on & self.up();
        let on = self
            .lock_politely(&object, &domain, bricks, &outer.cred, LOCK_PATIENCE)
            .await?;
        self.with_quorum(Held {
            locks: vec![object],
            domain,
            on,
            cred: outer.cred.clone(),
        })
        .await
    }

    /// Does `work` under `held`, a lock that clients wait for. A brick that does not answer meanwhile is given up: its
    /// disk hangs, and it has no peer that does the same and could tell. What it has begun is fenced by the end of the
    /// session: a brick keeps the locks of one that has ended until everything of it is done.
    pub(super) async fn hurried<T>(&self, held: &Held, work: impl Future<Output = T>) -> T {
        let since = exec::now();
        let mut work = std::pin::pin!(work);
        let mut looks = 0;
        loop {
            match exec::timeout(LOOK, work.as_mut()).await {
                Ok(done) => return done,
                Err(exec::Elapsed) => {
                    // Time in which this core did not run does not count.
                    looks += 1;
                    held.on
                        .iter()
                        .for_each(|b| self.0.monitor.hurry(b, since, LOOK * looks));
                }
            }
        }
    }

    pub(super) async fn give_back_heal(&self, held: Held) {
        self.unlock(&held.locks, &held.domain, held.on, &held.cred).await;
    }
}
