//! Changes of the configuration: each is one proposal to the cluster, and returns when this node and all connected
//! peers have put it into effect.

use datapath::wire::OldDict;

use super::super::model::{OpError, Volume};
use super::super::node;
use super::follow::volfiles;
use super::{Daemon, FOLLOW_LIMIT};
use crate::cluster::{Change, ClusterError};

impl Daemon {
    /// Stores a new or changed volume in the cluster. Counts the volume's version up unless it is new.
    ///
    /// # Errors
    /// [`OpError`] if there is no majority, if the volume was changed by another command since it was read, or if this
    /// node could not store its files.
    pub async fn save(&self, volume: Volume) -> Result<(), OpError> {
        // A volume that has no volfiles must not get into the configuration of all nodes.
        volfiles(&volume, &self.0.config.paths.workdir.to_string_lossy())
            .map_err(|e| OpError::new(format!("Failed to create volume files: {e}")))?;
        let name = volume.name.clone();
        let known = self.0.cluster.state().volumes.contains_key(&name);
        let mut volume = volume.shared();
        let expect = known.then_some(volume.version);
        if known {
            volume.version += 1;
        }
        self.propose(&name, Change::PutVolume { volume, expect }).await
    }

    /// Forgets a stopped volume.
    ///
    /// # Errors
    /// As [`Daemon::save`].
    pub async fn delete(&self, volume: &Volume) -> Result<(), OpError> {
        let change = Change::DeleteVolume {
            name: volume.name.clone(),
            expect: volume.version,
        };
        self.propose(&volume.name, change).await
    }

    /// Replaces the settings of the whole cluster.
    ///
    /// # Errors
    /// As [`Daemon::save`].
    pub async fn set_cluster_options(&self, options: Vec<(String, String)>) -> Result<(), OpError> {
        let version = self.cluster_options().0 + 1;
        self.propose("all", Change::SetOptions { version, options }).await
    }

    async fn propose(&self, subject: &str, change: Change) -> Result<(), OpError> {
        let proposed = self.0.cluster.propose(change).await;
        let revision = proposed.map_err(|error| refusal(subject, &error))?;
        self.follow().await?;
        self.await_peers(revision).await;
        Ok(())
    }

    /// Waits for the connected peers to have put a revision into effect. One that does not is logged: it goes on by
    /// itself.
    pub(in crate::glusterd) async fn await_peers(&self, revision: u64) {
        let request = OldDict::new().with_int("revision", revision);
        for (peer, answer) in node::ask_connected(self, node::FOLLOW, &request, FOLLOW_LIMIT).await {
            if let Err(error) = answer {
                tracing::warn!("{} has not followed yet: {error}", self.peer_name(peer.uuid));
            }
        }
    }
}

/// Why the cluster did not take a change, in words for the user.
pub(super) fn refusal(subject: &str, error: &ClusterError) -> OpError {
    match error {
        ClusterError::NoQuorum => OpError::no_quorum(),
        ClusterError::Conflict(_) => OpError::new(format!(
            "Another transaction is in progress for {subject}. Please try again after some time."
        )),
        other => OpError::new(other.to_string()),
    }
}
