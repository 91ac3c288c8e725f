//! What an operation does that finds too few bricks, a modification no write quorum, a reader nobody to believe: before
//! it fails, the bricks that are away are tried once more. A brick that has just come back is connected to some hundred
//! milliseconds later otherwise, and until then operations would fail although a quorum is up.

use std::time::Duration;

use super::set::BrickEvent;
use super::{BrickSet, ReplicaSet};
use crate::errno::{Errno, FsResult};
use crate::exec;

/// How long an operation waits at most: a brick that is there is connected to in a fraction of it, one behind a
/// network that swallows everything says nothing in any time.
const LIMIT: Duration = Duration::from_millis(300);
/// Between two looks. Whoever waits has no quorum: it does not matter how exactly.
const LOOK: Duration = Duration::from_millis(2);

impl ReplicaSet {
    /// Whether modifications may begin, as [`ReplicaSet::writable`]; without a quorum, after the bricks that are
    /// away have been tried.
    ///
    /// # Errors
    /// As [`ReplicaSet::writable`].
    pub async fn become_writable(&self) -> FsResult<()> {
        if !self.options().read_only {
            self.wait_for_bricks(|| self.writable().is_ok()).await;
        }
        self.writable()
    }

    /// [`ReplicaSet::believable`]; if there is none, after the bricks that are away have been tried.
    ///
    /// # Errors
    /// `ENOTCONN` when there is none then.
    pub(super) async fn become_believable(&self) -> FsResult<BrickSet> {
        self.wait_for_bricks(|| !self.believable().is_empty()).await;
        let found = self.believable();
        if found.is_empty() {
            Err(Errno::ENOTCONN)
        } else {
            Ok(found)
        }
    }

    async fn wait_for_bricks(&self, enough: impl Fn() -> bool) {
        if enough() {
            return;
        }
        let (away, before) = (BrickSet::first(self.bricks()) - self.up(), self.failures());
        self.0.tell(BrickEvent::Wanted);
        let deadline = exec::now() + LIMIT;
        let mut tried = false;
        while !enough() && !tried && exec::now() < deadline {
            exec::sleep(LOOK).await;
            let failures = self.failures();
            tried = away.iter().all(|brick| failures[brick] != before[brick]);
        }
    }
}
