//! One changing command at a time in the whole cluster. The leader holds the lock in its memory; a leader that is
//! replaced forgets it, and then the versions that changes expect still keep two commands from mixing.

use std::cell::RefCell;
use std::time::Duration;

use datapath::wire::OldDict;

use super::super::model::{OpError, new_uuid};
use super::super::node;
use super::Daemon;
use crate::rt::{self, Instant, sync::OwnedSemaphorePermit};

/// How long a command waits for another one.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
const WAIT_POLL: Duration = Duration::from_millis(50);
/// How long a command waits for a majority to be heard of.
const QUORUM_LIMIT: Duration = Duration::from_secs(2);
/// A lock whose owner has not given it back is free again after this time (GlusterFS: 180 s).
const EXPIRY: Duration = Duration::from_secs(180);
/// How long the leader may take to answer. One that vanished is replaced in about this time; asking twice does no harm.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// The leader's side.
#[derive(Debug, Default)]
pub(super) struct Locks(RefCell<Option<(String, Instant)>>);

impl Locks {
    /// Gives the lock to the owner with this token if it is free. Answers whether the owner has it.
    fn take(&self, token: &str) -> bool {
        let mut held = self.0.borrow_mut();
        let now = Instant::now();
        match &*held {
            Some((owner, until)) if owner != token && *until > now => false,
            _ => {
                *held = Some((token.to_string(), now + EXPIRY));
                true
            }
        }
    }

    fn give_back(&self, token: &str) {
        self.0.borrow_mut().take_if(|(owner, _)| owner == token);
    }
}

/// The right to change the configuration; given back when dropped.
pub struct Transaction {
    _local: OwnedSemaphorePermit,
    daemon: Daemon,
    token: String,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transaction({})", self.token)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let (daemon, token) = (self.daemon.clone(), std::mem::take(&mut self.token));
        if daemon.leads() {
            return daemon.0.locks.give_back(&token);
        }
        rt::spawn(async move {
            if let Err(error) = daemon.ask_lock(node::UNLOCK, &token).await {
                tracing::debug!("the cluster's lock was not given back: {error}");
            }
        });
    }
}

impl Daemon {
    fn leads(&self) -> bool {
        self.0.cluster.leader() == Some(self.node().uuid)
    }

    /// Waits until no other command of the cluster changes anything; while the transaction lives none will.
    /// `subject` is the volume's name, or "all".
    ///
    /// # Errors
    /// There is no majority, or another command takes too long.
    pub async fn transaction(&self, subject: &str) -> Result<Transaction, OpError> {
        let local = self.0.transaction.clone().acquire_owned();
        let busy = || {
            let subject = if subject.is_empty() || subject == "all" {
                String::new()
            } else {
                format!(" for {subject}")
            };
            OpError::new(format!(
                "Another transaction is in progress{subject}. Please try again after some time."
            ))
        };
        let Ok(Ok(local)) = rt::timeout(WAIT_LIMIT, local).await else {
            return Err(busy());
        };
        self.await_quorum().await?;
        let token = new_uuid()
            .map_err(|e| OpError::new(format!("no random number: {e}")))?
            .to_string();
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let taken = match self.leads() {
                true => self.0.locks.take(&token),
                false => self.ask_lock(node::LOCK, &token).await?,
            };
            if taken {
                break;
            }
            if Instant::now() >= deadline {
                return Err(busy());
            }
            rt::sleep(WAIT_POLL).await;
        }
        // Whoever changed something before may have done it on another node: catch up first.
        self.follow().await?;
        Ok(Transaction {
            _local: local,
            daemon: self.clone(),
            token,
        })
    }

    /// Without a majority nothing can be changed. A node that has just started needs a moment to hear of the others.
    async fn await_quorum(&self) -> Result<(), OpError> {
        let deadline = Instant::now() + QUORUM_LIMIT;
        while !self.0.cluster.has_quorum() {
            if Instant::now() >= deadline {
                return Err(OpError::no_quorum());
            }
            rt::sleep(WAIT_POLL).await;
        }
        Ok(())
    }

    /// Asks the leader. Answers whether the lock is ours; while a leader is being elected it is not.
    async fn ask_lock(&self, kind: &str, token: &str) -> Result<bool, OpError> {
        let cluster = &self.0.cluster;
        let Some(leader) = cluster.leader() else {
            return match cluster.has_quorum() {
                true => Ok(false),
                false => Err(OpError::no_quorum()),
            };
        };
        let request = OldDict::new().with_str("token", token);
        match node::ask(self, leader, kind, &request, ASK_LIMIT).await {
            Ok(answer) => Ok(answer.get_i32("taken") == Some(1)),
            Err(error) if cluster.has_quorum() => {
                tracing::info!("the leader did not answer for the lock: {error}");
                Ok(false)
            }
            Err(_) => Err(OpError::no_quorum()),
        }
    }

    /// Answers a peer that asks this node, as the leader, for the lock.
    pub(in crate::glusterd) fn lock_for(&self, token: &str) -> bool {
        self.leads() && self.0.locks.take(token)
    }

    /// A peer gives the lock back.
    pub(in crate::glusterd) fn unlock_for(&self, token: &str) {
        self.0.locks.give_back(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time() {
        rt::block_on(async {
            let locks = Locks::default();
            assert!(locks.take("a") && locks.take("a"));
            assert!(!locks.take("b"));
            locks.give_back("b");
            assert!(!locks.take("b"), "only the owner gives it back");
            locks.give_back("a");
            assert!(locks.take("b"));
        })
        .unwrap();
    }
}
