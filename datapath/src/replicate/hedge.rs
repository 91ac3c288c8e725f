//! Reads and questions that do not wait for one slow brick (DESIGN.md section 5).
//!
//! A read goes to one brick; when that takes longer than it usually does, a second one is asked too and the first good
//! answer counts. A question to all bricks is answered when a quorum has answered and the rest had its usual time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::BrickSet;
use super::answers::Answers;
use super::inode::Inode;
use super::read::worth_another_brick;
use super::set::ReplicaSet;
use crate::client::{Reply, Subvol};
use crate::errno::{Errno, FsResult};
use crate::exec::{self, Mono};
use crate::wire::fop::FopRsp;
use crate::wire::xdr::Xdr;

/// Hedges there can be at once after a quiet time, and the part of all reads that may be hedged in the long run.
const BURST: f32 = 32.0;
const SHARE: f32 = 0.08;

/// Keeps hedges from becoming a storm: when all bricks are slow, asking twice makes them slower.
#[derive(Debug)]
pub(super) struct Budget(Cell<f32>);

impl Default for Budget {
    fn default() -> Budget {
        Budget(Cell::new(BURST / 4.0))
    }
}

impl Budget {
    fn earn(&self) {
        self.0.set((self.0.get() + SHARE).min(BURST));
    }

    fn spend(&self) -> bool {
        let left = self.0.get();
        if left < 1.0 {
            return false;
        }
        self.0.set(left - 1.0);
        true
    }
}

/// What is known of a read before it begins, and while it goes on.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// The brick to read from if nothing speaks against it.
    pub prefer: Option<usize>,
    /// For a read that takes several calls: when the last was answered. As long as answers come, nobody else is asked.
    pub progress: Cell<Option<Mono>>,
}

impl Hints {
    /// What is left of `delay` since the last sign of progress.
    fn rest(&self, delay: Duration) -> Option<Duration> {
        let until = self.progress.get()? + delay;
        let now = exec::now();
        (until > now).then(|| until - now)
    }
}

/// Answers that are still to come, each with its brick.
pub(super) type Pending<T> = FuturesUnordered<std::pin::Pin<Box<dyn Future<Output = (usize, FsResult<T>)>>>>;

impl ReplicaSet {
    /// Bricks that have left a call unanswered for longer than they usually take, and are silent.
    pub(super) fn lagging(&self, bricks: BrickSet) -> BrickSet {
        bricks.iter().filter(|b| self.subvol(*b).lags()).collect()
    }

    /// The brick to read from: one that lags or has not answered a write of ours only if there is no other.
    fn choose(&self, inode: &Inode, left: BrickSet, prefer: Option<usize>) -> Option<usize> {
        let idle = left - inode.busy();
        let good = |brick: &usize| (idle - self.lagging(idle)).contains(*brick);
        if let Some(brick) = prefer.filter(good) {
            return Some(brick);
        }
        let pick = |set| self.policy().pick(inode.gfid, set);
        pick(idle - self.lagging(idle)).or_else(|| pick(idle))
    }

    /// [`ReplicaSet::choose`]; waits while every brick has a write of ours to answer.
    async fn choose_settled(&self, inode: &Inode, left: BrickSet, prefer: Option<usize>) -> Option<usize> {
        loop {
            let left = left & self.up();
            if left.is_empty() {
                return None;
            }
            if let Some(brick) = self.choose(inode, left, prefer) {
                return Some(brick);
            }
            inode.changed.notified().await;
        }
    }

    /// Reads from the best of the bricks `left`, from the next one when that fails or takes long.
    ///
    /// # Errors
    /// The last brick's, or the first that another brick would give as well; `ENOTCONN` with no brick left.
    pub(super) async fn hedged<T, Fut>(
        &self,
        inode: &Rc<Inode>,
        left: BrickSet,
        read: &impl Fn(usize, Subvol) -> Fut,
    ) -> FsResult<T>
    where
        Fut: Future<Output = FsResult<T>>,
    {
        self.hedged_by(&Hints::default(), inode, left, read).await
    }

    /// [`ReplicaSet::hedged`] for a read of which something is known.
    ///
    /// # Errors
    /// As [`ReplicaSet::hedged`].
    pub(super) async fn hedged_by<T, Fut>(
        &self,
        hints: &Hints,
        inode: &Rc<Inode>,
        mut left: BrickSet,
        read: &impl Fn(usize, Subvol) -> Fut,
    ) -> FsResult<T>
    where
        Fut: Future<Output = FsResult<T>>,
    {
        self.0.hedges.earn();
        let mut last = Errno::ENOTCONN;
        let mut running = FuturesUnordered::new();
        let ask = |brick: usize| {
            let answer = read(brick, self.subvol(brick).clone());
            async move { (brick, answer.await) }
        };
        let mut hedge_at = None;
        let mut rest = None;
        loop {
            if running.is_empty() {
                let Some(brick) = self.choose_settled(inode, left, hints.prefer).await else {
                    return Err(last);
                };
                left.remove(brick);
                running.push(ask(brick));
                hedge_at = Some(self.subvol(brick).hedge_delay());
            }
            let answer = match hedge_at.filter(|_| !left.is_empty()) {
                Some(delay) => exec::timeout(rest.take().unwrap_or(delay), running.next()).await,
                None => Ok(running.next().await),
            };
            match answer {
                Ok(Some((_, Ok(answer)))) => return Ok(answer),
                Ok(Some((_, Err(e)))) if !worth_another_brick(e) => return Err(e),
                Ok(Some((brick, Err(e)))) => {
                    tracing::debug!("{}: read of {} failed: {e}", self.subvol(brick).name(), inode.gfid);
                    last = e;
                }
                Ok(None) => {}
                Err(exec::Elapsed) => {
                    rest = hedge_at.and_then(|delay| hints.rest(delay));
                    if rest.is_some() {
                        continue;
                    }
                    hedge_at = self.second_brick(inode, left, hedge_at).map(|brick| {
                        left.remove(brick);
                        running.push(ask(brick));
                        Subvol::LONGEST_HEDGE
                    });
                }
            }
        }
    }

    /// Who else may be asked; `None` when nobody is, now or later.
    fn second_brick(&self, inode: &Inode, left: BrickSet, waited: Option<Duration>) -> Option<usize> {
        // After the longest delay it is not a hedge any more: the first brick does not answer.
        let may = waited.is_some_and(|w| w >= Subvol::LONGEST_HEDGE) || self.0.hedges.spend();
        may.then(|| self.choose(inode, left & self.up(), None)).flatten()
    }

    /// Sends one request to every brick of `set` and waits until a quorum has answered and the others had their time.
    /// Bricks whose answer is missing then count as not asked, and so do, where no quorum has answered (bricks may have
    /// gone meanwhile), those that may have missed something.
    pub(super) async fn ask_quickly<T: Xdr + FopRsp + 'static>(
        &self,
        set: BrickSet,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
    ) -> Answers<T> {
        let answers = self.ask_anyone(set, start).await;
        let answered = answers.ok() | answers.failed();
        if self.quorum().met(answered - answers.failed_with(Errno::ENOTCONN)) {
            answers
        } else {
            // Without a quorum only those count that are known to have missed nothing.
            let trusted = self.trusted();
            answers.limited_to(trusted)
        }
    }

    /// [`ReplicaSet::ask_quickly`] where it does not matter what a brick has missed.
    pub(super) async fn ask_anyone<T: Xdr + FopRsp + 'static>(
        &self,
        set: BrickSet,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
    ) -> Answers<T> {
        let mut pending = self.start_all(set, start);
        self.gather(&mut pending, set, |_| true).await.0
    }

    /// Sends one request to every brick of `set`.
    pub(super) fn start_all<T: Xdr + FopRsp + 'static>(
        &self,
        set: BrickSet,
        start: impl Fn(usize, &Subvol) -> Reply<T>,
    ) -> Pending<T> {
        let one = |brick| {
            let reply = start(brick, self.subvol(brick));
            let answer: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(async move { (brick, reply.await) });
            answer
        };
        set.iter().map(one).collect()
    }

    /// Waits for the answers of `asked`: for all, or until they are enough (`suffice` too) and the rest had its time.
    /// Gives them and the bricks that are still to answer.
    pub(super) async fn gather<T>(
        &self,
        pending: &mut Pending<T>,
        asked: BrickSet,
        suffice: impl Fn(&Answers<T>) -> bool,
    ) -> (Answers<T>, BrickSet) {
        let mut answers = Answers::new(self.bricks());
        let mut missing = asked;
        let begin = exec::now();
        loop {
            let next = if self.enough(&answers, missing) && suffice(&answers) {
                let Some(until) = self.patience(missing, begin) else {
                    break;
                };
                match exec::timeout(until - exec::now(), pending.next()).await {
                    Ok(next) => next,
                    Err(exec::Elapsed) => break,
                }
            } else {
                pending.next().await
            };
            let Some((brick, answer)) = next else { break };
            missing.remove(brick);
            answers.put(brick, answer);
        }
        (answers, missing)
    }

    /// Whether there are answers enough to go on without `missing`.
    fn enough<T>(&self, answers: &Answers<T>, missing: BrickSet) -> bool {
        if missing.is_empty() {
            return false;
        }
        let answered = (answers.ok() | answers.failed()) - answers.failed_with(Errno::ENOTCONN);
        let known_good = !(answered & self.trusted()).is_empty();
        self.quorum().met(answered) || known_good && self.lagging(missing) == missing
    }

    /// Until when the answers of `missing` are waited for; `None` if they lag already.
    fn patience(&self, missing: BrickSet, begin: Mono) -> Option<Mono> {
        let waiting = missing - self.lagging(missing);
        let delay = waiting.iter().map(|b| self.subvol(b).straggle_delay()).max()?;
        let until = begin + delay;
        (until > exec::now()).then_some(until)
    }
}
