//! Server quorum (`cluster.server-quorum-type server`): the bricks of a volume run on this node only while it sees
//! enough of the cluster's servers.

use std::time::Duration;

use super::Daemon;
use crate::rt;

/// How often the connections are counted.
const PACE: Duration = Duration::from_millis(500);
/// How long after its start this node does not call missing connections a loss.
const GRACE: Duration = Duration::from_secs(3);
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

    /// Stops and starts bricks as the server quorum is lost and regained.
    pub(super) async fn watch_server_quorum(&self) {
        // Nobody is connected yet: that is no loss.
        rt::sleep(GRACE).await;
        loop {
            rt::sleep(PACE).await;
            let has = self.has_server_quorum();
            let had = self.0.server_quorum.replace(has);
            // A volume that has just begun to follow the quorum, or an option that changed it, is looked at too: a turn
            // that finds everything in order does nothing.
            for name in self.volume_names() {
                let follows = self
                    .volume(&name)
                    .is_some_and(|v| v.is_started() && v.follows_server_quorum());
                if !follows {
                    continue;
                }
                match (had, has) {
                    (true, false) => {
                        tracing::error!("Server quorum lost for volume {name}. Stopping local bricks.");
                    }
                    (false, true) => {
                        tracing::error!("Server quorum regained for volume {name}. Starting local bricks.");
                    }
                    _ => {}
                }
                self.reconcile(&name).await;
            }
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
}
