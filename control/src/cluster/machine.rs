//! The replicated state machine: what a committed command does to the state. Deterministic and without input or output,
//! because every node runs it on the same commands and must come to the same state.

use std::collections::VecDeque;

use datapath::wire::Gfid;
use serde::{Deserialize, Serialize};

use super::gfid;
use super::types::{Change, ClusterError, Peer, State};
use crate::glusterd::model::Volume;

/// Results that are remembered, so that a command that is sent twice (its answer was lost) has an effect once. A sender
/// has given up long before this many others were carried out.
const REMEMBERED: usize = 256;

/// Names a command: the sender's raft id and a number of the sender.
pub(super) type RequestId = (u64, u64);

/// The result of a command: the new revision, or why nothing was changed ([`ClusterError::Conflict`] or
/// [`ClusterError::Refused`]).
pub(super) type Outcome = Result<u64, ClusterError>;

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command {
    /// For recognising repetitions.
    pub id: RequestId,
    pub action: Action,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// The first entry of a cluster: what the node had before.
    Import(State),
    Change(Change),
    /// A node joins that has already shown the revision `seen` to its daemon.
    Admit {
        peer: Peer,
        seen: u64,
    },
    /// Removes a node, though it has bricks.
    Expel(#[serde(with = "gfid")] Gfid),
}

/// The replicated data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Data {
    pub state: State,
    recent: VecDeque<(RequestId, Outcome)>,
}

impl Data {
    /// Carries a command out.
    pub fn apply(&mut self, command: Command) -> Outcome {
        if let Some((_, outcome)) = self.recent.iter().find(|(id, _)| *id == command.id) {
            return outcome.clone();
        }
        let outcome = self.act(command.action);
        self.recent.push_back((command.id, outcome.clone()));
        while self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        outcome
    }

    fn act(&mut self, action: Action) -> Outcome {
        let state = &mut self.state;
        let revision = state.revision;
        match action {
            Action::Import(import) => {
                let newest = import.revision.max(revision);
                *state = import;
                state.volumes.values_mut().for_each(strip);
                state.revision = newest;
            }
            Action::Change(change) => self.change(change)?,
            Action::Admit { peer, seen } => {
                self.put_peer(peer)?;
                self.state.revision = revision.max(seen);
            }
            Action::Expel(uuid) => self.remove_peer(uuid)?,
        }
        self.state.revision += 1;
        Ok(self.state.revision)
    }

    fn change(&mut self, change: Change) -> Result<(), ClusterError> {
        match change {
            Change::PutVolume { volume, expect } => self.put_volume(volume, expect),
            Change::DeleteVolume { name, expect } => {
                self.expect_version(&name, Some(expect))?;
                self.state.volumes.remove(&name);
                Ok(())
            }
            Change::SetOptions { version, options } => {
                let present = self.state.options.0;
                if Some(version) != present.checked_add(1) {
                    return Err(ClusterError::Conflict(format!(
                        "the cluster's options have changed meanwhile (version {present})"
                    )));
                }
                self.state.options = (version, options);
                Ok(())
            }
            Change::SetOpVersion(version) if version < self.state.op_version => Err(ClusterError::Refused(format!(
                "op-version {version} is lower than the cluster's {}",
                self.state.op_version
            ))),
            Change::SetOpVersion(version) => {
                self.state.op_version = version;
                Ok(())
            }
            Change::PutPeer(peer) => self.put_peer(peer),
            Change::RemovePeer(uuid) => {
                let has_brick = |volume: &&Volume| volume.bricks.iter().any(|brick| brick.node == uuid);
                if let Some(volume) = self.state.volumes.values().find(has_brick) {
                    return Err(ClusterError::Refused(format!(
                        "volume {} has bricks on peer {uuid}",
                        volume.name
                    )));
                }
                self.remove_peer(uuid)
            }
        }
    }

    fn expect_version(&self, name: &str, expect: Option<u32>) -> Result<(), ClusterError> {
        let conflict = |text: String| Err(ClusterError::Conflict(text));
        match (self.state.volumes.get(name), expect) {
            (None, None) => Ok(()),
            (Some(volume), Some(expected)) if volume.version == expected => Ok(()),
            (Some(_), None) => conflict(format!("Volume {name} already exists")),
            (None, Some(_)) => conflict(format!("Volume {name} does not exist")),
            (Some(volume), Some(expected)) => conflict(format!(
                "volume {name} has changed meanwhile (version {}, not {expected})",
                volume.version
            )),
        }
    }

    fn put_volume(&mut self, mut volume: Volume, expect: Option<u32>) -> Result<(), ClusterError> {
        self.expect_version(&volume.name, expect)?;
        let before = self.state.volumes.get(&volume.name);
        // A peer may have been detached between the command's checks and now.
        let stranger = volume.bricks.iter().find(|brick| {
            let known = self.state.peer(brick.node).is_some();
            let kept = before.is_some_and(|v| v.bricks.iter().any(|b| b.node == brick.node && b.path == brick.path));
            !known && !kept
        });
        if let Some(brick) = stranger {
            return Err(ClusterError::Refused(format!(
                "brick {}: its node is not a peer",
                brick.label()
            )));
        }
        strip(&mut volume);
        self.state.volumes.insert(volume.name.clone(), volume);
        Ok(())
    }

    fn put_peer(&mut self, peer: Peer) -> Result<(), ClusterError> {
        for other in self.state.peers.iter().filter(|other| other.uuid != peer.uuid) {
            let shared = |name: &&String| peer.hostnames.iter().any(|own| own.eq_ignore_ascii_case(name));
            // Several daemons of one machine share its names, not its ports.
            if let Some(name) = other.hostnames.iter().find(shared)
                && other.port == peer.port
            {
                return Err(ClusterError::Refused(format!(
                    "{name} is the name of peer {}",
                    other.uuid
                )));
            }
            if other.raft_id == peer.raft_id && peer.raft_id != 0 {
                return Err(ClusterError::Refused(format!(
                    "peer {} has the same raft id",
                    other.uuid
                )));
            }
        }
        match self.state.peers.iter_mut().find(|known| known.uuid == peer.uuid) {
            Some(known) => *known = peer,
            None => self.state.peers.push(peer),
        }
        Ok(())
    }

    fn remove_peer(&mut self, uuid: Gfid) -> Result<(), ClusterError> {
        let before = self.state.peers.len();
        self.state.peers.retain(|peer| peer.uuid != uuid);
        if self.state.peers.len() == before {
            return Err(ClusterError::NoPeer(uuid.to_string()));
        }
        Ok(())
    }
}

/// Takes out of a volume what only one node knows.
fn strip(volume: &mut Volume) {
    for brick in &mut volume.bricks {
        (brick.port, brick.fsid) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixtures::{peer, volume};

    fn run(data: &mut Data, id: u64, change: Change) -> Outcome {
        data.apply(Command {
            id: (1, id),
            action: Action::Change(change),
        })
    }

    fn put(data: &mut Data, id: u64, version: u32, expect: Option<u32>) -> Outcome {
        let volume = Volume {
            version,
            ..volume("v", peer(1).uuid)
        };
        run(data, id, Change::PutVolume { volume, expect })
    }

    fn with_peer() -> Data {
        let mut data = Data::default();
        assert_eq!(run(&mut data, 0, Change::PutPeer(peer(1))), Ok(1));
        data
    }

    #[test]
    fn a_stale_version_is_a_conflict_and_changes_nothing() {
        let mut data = with_peer();
        assert_eq!(put(&mut data, 1, 1, None), Ok(2));
        let before = data.state.clone();
        for (id, expect) in [(2, None), (3, Some(0)), (4, Some(2))] {
            let outcome = put(&mut data, id, 9, expect);
            assert!(matches!(outcome, Err(ClusterError::Conflict(_))), "{outcome:?}");
        }
        assert_eq!(data.state, before);
        assert_eq!(put(&mut data, 5, 2, Some(1)), Ok(3));
        let gone = Change::DeleteVolume {
            name: "v".into(),
            expect: 1,
        };
        assert!(matches!(run(&mut data, 6, gone), Err(ClusterError::Conflict(_))));
        let gone = Change::DeleteVolume {
            name: "v".into(),
            expect: 2,
        };
        assert_eq!(run(&mut data, 7, gone), Ok(4));
        assert!(data.state.volumes.is_empty());
    }

    #[test]
    fn a_repeated_command_acts_once() {
        let mut data = with_peer();
        assert_eq!(put(&mut data, 1, 1, None), Ok(2));
        assert_eq!(put(&mut data, 1, 1, None), Ok(2));
        assert_eq!(data.state.revision, 2);
        for id in 2..2 + REMEMBERED as u64 {
            assert!(put(&mut data, id, 1, Some(7)).is_err());
        }
        assert_eq!(data.recent.len(), REMEMBERED);
        // Forgotten: it is a new command now, and stale.
        assert!(put(&mut data, 1, 1, None).is_err());
    }

    #[test]
    fn what_one_node_knows_stays_out() {
        let mut data = with_peer();
        assert_eq!(put(&mut data, 1, 1, None), Ok(2));
        let brick = &data.state.volumes["v"].bricks[0];
        assert_eq!((brick.port, brick.fsid), (0, 0));
        let text = serde_json::to_string(&data).unwrap();
        assert_eq!(serde_json::from_str::<Data>(&text).unwrap(), data);
    }

    #[test]
    fn peers_with_bricks_stay_unless_expelled() {
        let mut data = with_peer();
        put(&mut data, 1, 1, None).unwrap();
        let refused = run(&mut data, 2, Change::RemovePeer(peer(1).uuid));
        assert!(matches!(refused, Err(ClusterError::Refused(_))));
        let expelled = Command {
            id: (1, 3),
            action: Action::Expel(peer(1).uuid),
        };
        assert_eq!(data.apply(expelled), Ok(3));
        assert!(data.state.peers.is_empty());
        // The volume can still be changed, but not be given new bricks there.
        assert_eq!(put(&mut data, 4, 2, Some(1)), Ok(4));
        let mut moved = data.state.volumes["v"].clone();
        moved.bricks[0].path = "/elsewhere".into();
        let change = Change::PutVolume {
            volume: moved,
            expect: Some(2),
        };
        assert!(matches!(run(&mut data, 5, change), Err(ClusterError::Refused(_))));
        assert!(matches!(
            run(&mut data, 6, Change::RemovePeer(peer(1).uuid)),
            Err(ClusterError::Refused(_))
        ));
    }

    #[test]
    fn two_peers_do_not_share_a_name_or_an_id() {
        let mut data = with_peer();
        let mut second = Peer {
            hostnames: peer(1).hostnames,
            ..peer(2)
        };
        let refused = run(&mut data, 1, Change::PutPeer(second.clone()));
        assert!(matches!(refused, Err(ClusterError::Refused(_))));
        second.port += 1;
        assert_eq!(run(&mut data, 2, Change::PutPeer(second.clone())), Ok(2));
        second.raft_id = peer(1).raft_id;
        let refused = run(&mut data, 3, Change::PutPeer(second));
        assert!(matches!(refused, Err(ClusterError::Refused(_))));
    }

    #[test]
    fn a_joining_node_never_sees_the_revision_go_back() {
        let mut data = with_peer();
        let admit = |peer, seen| Command {
            id: (1, seen),
            action: Action::Admit { peer, seen },
        };
        assert_eq!(data.apply(admit(peer(2), 40)), Ok(41));
        assert_eq!(data.apply(admit(peer(3), 7)), Ok(42));
    }

    #[test]
    fn options_and_op_version_move_forward() {
        let mut data = Data::default();
        let set = |version| Change::SetOptions {
            version,
            options: vec![("k".into(), version.to_string())],
        };
        assert_eq!(run(&mut data, 1, set(1)), Ok(1));
        assert!(matches!(run(&mut data, 2, set(1)), Err(ClusterError::Conflict(_))));
        assert!(matches!(run(&mut data, 3, set(3)), Err(ClusterError::Conflict(_))));
        assert_eq!(run(&mut data, 4, Change::SetOpVersion(100_000)), Ok(2));
        assert!(run(&mut data, 5, Change::SetOpVersion(90_000)).is_err());
    }
}
