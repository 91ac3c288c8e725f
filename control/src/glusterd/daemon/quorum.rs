//! Server quorum (`cluster.server-quorum-type server`): the bricks of a volume run on this node only while it sees
//! enough of the cluster's servers.

use std::time::Duration;

use super::Daemon;
use crate::rt::{self, Instant};

/// How often the connections are counted.
const PACE: Duration = Duration::from_millis(500);
/// How long after its start this node does not call missing connections a loss.
const GRACE: Duration = Duration::from_secs(3);
/// How long connections must have been missing before bricks are stopped: a pause of the network or of a busy server must
/// not end a volume.
const PATIENCE: Duration = Duration::from_secs(2);
/// The share of the servers that must be connected, in percent.
const RATIO: &str = "cluster.server-quorum-ratio";

/// How many servers there are and how many are connected, this one included in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumCount {
    /// Servers of the cluster.
    pub servers: usize,
    /// Of these, the connected ones.
    pub connected: usize,
}

impl QuorumCount {
    /// Whether the connected servers are enough: `ratio` percent of all, rounded up, or more than half if it is not set.
    fn suffices(self, ratio: Option<f64>) -> bool {
        match ratio {
            Some(percent) => self.connected as f64 >= (self.servers as f64 * percent / 100.0).ceil(),
            None => self.connected > self.servers / 2,
        }
    }
}

/// Turns what is counted again and again into what bricks are to follow.
#[derive(Debug, Default)]
struct Verdict {
    /// Whether there is a quorum; None until that is known for the first time.
    quorum: Option<bool>,
    missing_since: Option<Instant>,
}

impl Verdict {
    fn count(&mut self, has: bool, now: Instant) -> Option<bool> {
        if has {
            *self = Verdict {
                quorum: Some(true),
                missing_since: None,
            };
            return self.quorum;
        }
        let since = *self.missing_since.get_or_insert(now);
        let patience = if self.quorum.is_some() { PATIENCE } else { GRACE };
        if now.saturating_duration_since(since) >= patience {
            self.quorum = Some(false);
        }
        self.quorum
    }
}

fn percent(text: &str) -> Option<f64> {
    text.trim_end_matches('%').parse().ok()
}

impl Daemon {
    /// Whether this node sees enough servers to run the bricks of volumes that ask for it.
    pub fn has_server_quorum(&self) -> bool {
        let others = self.other_peers();
        let connected = others.iter().filter(|peer| self.cluster().connected(peer.uuid)).count();
        let count = QuorumCount {
            servers: others.len() + 1,
            connected: connected + 1,
        };
        let (_, options) = self.cluster_options();
        let ratio = options
            .iter()
            .find(|(key, _)| key == RATIO)
            .and_then(|(_, value)| percent(value));
        count.suffices(ratio)
    }

    /// Whether any volume asks for the server quorum: then peers are not changed without it either.
    pub fn volumes_follow_server_quorum(&self) -> bool {
        let volumes = self.0.volumes.borrow();
        volumes.values().any(|entry| entry.volume.follows_server_quorum())
    }

    /// Stops and starts bricks as the server quorum is lost and regained. Bricks that ran when this daemon began, with
    /// nobody connected yet, are left alone until it is known whether there is one.
    pub(super) async fn watch_server_quorum(&self) {
        let mut verdict = Verdict::default();
        loop {
            let now = verdict.count(self.has_server_quorum(), Instant::now());
            let before = self.0.server_quorum.replace(now);
            // A volume that has just begun to follow the quorum is looked at too: a turn that finds everything in order
            // does nothing.
            for name in self.volume_names() {
                let follows = self
                    .volume(&name)
                    .is_some_and(|v| v.is_started() && v.follows_server_quorum());
                if !follows {
                    continue;
                }
                match (before, now) {
                    (None | Some(true), Some(false)) => {
                        tracing::error!("Server quorum lost for volume {name}. Stopping local bricks.");
                    }
                    (Some(false), Some(true)) => {
                        tracing::error!("Server quorum regained for volume {name}. Starting local bricks.");
                    }
                    _ => {}
                }
                self.reconcile(&name).await;
            }
            rt::sleep(PACE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_unless_a_ratio_is_set() {
        let count = |connected, servers| QuorumCount { servers, connected };
        assert!(count(1, 1).suffices(None));
        assert!(!count(1, 2).suffices(None) && count(2, 2).suffices(None));
        assert!(!count(3, 6).suffices(None) && count(4, 6).suffices(None));
        assert!(count(3, 6).suffices(percent("50%")) && !count(2, 6).suffices(percent("50")));
        assert!(!count(3, 6).suffices(percent("51")) && count(4, 6).suffices(percent("51")));
        assert!(count(1, 6).suffices(percent("0")));
    }

    #[test]
    fn a_loss_counts_when_it_lasts_and_a_quorum_at_once() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut verdict = Verdict::default();
        assert_eq!(verdict.count(false, start), None);
        assert_eq!(verdict.count(false, after(2999)), None, "nobody is connected yet");
        assert_eq!(
            verdict.count(false, after(3000)),
            Some(false),
            "a start without a quorum"
        );
        assert_eq!(verdict.count(true, after(3500)), Some(true));
        assert_eq!(verdict.count(false, after(4000)), Some(true));
        assert_eq!(verdict.count(true, after(5500)), Some(true), "it was a pause");
        assert_eq!(verdict.count(false, after(6000)), Some(true));
        assert_eq!(verdict.count(false, after(7999)), Some(true));
        assert_eq!(verdict.count(false, after(8000)), Some(false));
        assert_eq!(Verdict::default().count(true, start), Some(true), "known at once");
    }
}
