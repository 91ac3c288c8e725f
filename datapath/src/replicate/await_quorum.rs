//! What a modification does that finds no write quorum: before it is refused, the bricks that are away are tried once
//! more. A brick that has just come back is connected to some hundred milliseconds later otherwise, and until then
//! modifications would be refused although the quorum is up.

use std::time::Duration;

use super::ReplicaSet;
use super::set::BrickEvent;
use crate::errno::FsResult;
use crate::exec;

/// How long a modification waits at most: a brick that is there is connected to in a fraction of it, one behind a
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
        if self.writable().is_ok() || self.options().read_only {
            return self.writable();
        }
        let (away, before) = (self.away(), self.failures());
        self.0.tell(BrickEvent::Wanted);
        let deadline = exec::now() + LIMIT;
        let mut tried = false;
        while self.writable().is_err() && !tried && exec::now() < deadline {
            exec::sleep(LOOK).await;
            let failures = self.failures();
            tried = away.iter().all(|&brick| failures[brick] != before[brick]);
        }
        self.writable()
    }

    fn away(&self) -> Vec<usize> {
        let up = self.up();
        (0..self.bricks()).filter(|brick| !up.contains(*brick)).collect()
    }
}
