//! The node's own files: `glusterd.info` (its uuid), `glusterd.upgrade`, and `options` (settings of the whole cluster).

use std::io::ErrorKind;

use datapath::wire::Gfid;

use super::super::model::{MAX_OP_VERSION, new_uuid};
use super::file::{KeyValues, key_value_text, write_atomically};
use super::{Store, StoreError};

/// `glusterd.info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node's uuid, for ever.
    pub uuid: Gfid,
    /// The op-version that the cluster works at.
    pub op_version: u32,
}

/// `state` of a peer that belongs to the cluster (wire-protocol.md 2.8).
const PEER_IN_CLUSTER: &str = "3";
/// The key in `options` that counts its changes.
const OPTION_VERSION: &str = "global-option-version";

impl Store {
    /// The node's identity; a new one is made and stored if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; in particular a file that is there but has no uuid is never replaced: the node would become
    /// another one.
    pub fn node_info(&self) -> Result<NodeInfo, StoreError> {
        let path = self.paths.workdir.join("glusterd.info");
        match KeyValues::read(&path) {
            Ok(file) => {
                let op_version = file.parse_or("operating-version", MAX_OP_VERSION)?;
                Ok(NodeInfo {
                    uuid: file.parse("UUID")?,
                    op_version,
                })
            }
            Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                let uuid = new_uuid().map_err(|e| StoreError::io(&path, e))?;
                let info = NodeInfo {
                    uuid,
                    op_version: MAX_OP_VERSION,
                };
                self.save_node_info(&info)?;
                Ok(info)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores the node's identity and the marker of the release that wrote the directory.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_node_info(&self, info: &NodeInfo) -> Result<(), StoreError> {
        let text = key_value_text([
            ("UUID", info.uuid.to_string()),
            ("operating-version", info.op_version.to_string()),
        ]);
        write_atomically(&self.paths.workdir.join("glusterd.info"), text.as_bytes())?;
        let marker = format!("maximum-operating-version={MAX_OP_VERSION}\n");
        write_atomically(&self.paths.workdir.join("glusterd.upgrade"), marker.as_bytes())
    }

    /// The settings of the whole cluster, without their version; none if there is no file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cluster_options(&self) -> Result<(u32, Vec<(String, String)>), StoreError> {
        let path = self.paths.workdir.join("options");
        match KeyValues::read(&path) {
            Ok(file) => {
                let version = file.parse_or(OPTION_VERSION, 0)?;
                Ok((
                    version,
                    file.pairs()
                        .iter()
                        .filter(|(k, _)| k != OPTION_VERSION)
                        .cloned()
                        .collect(),
                ))
            }
            Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                self.save_cluster_options(0, &[])?;
                Ok((0, Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// Stores what is known of the other nodes, one file each, and removes the files of nodes that are gone.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_peers<'a>(&self, peers: impl Iterator<Item = (Gfid, &'a [String])>) -> Result<(), StoreError> {
        let directory = self.paths.workdir.join("peers");
        let mut kept = Vec::new();
        for (uuid, hostnames) in peers {
            let mut pairs = vec![
                ("uuid".to_string(), uuid.to_string()),
                ("state".into(), PEER_IN_CLUSTER.into()),
            ];
            let names = hostnames.iter().enumerate();
            pairs.extend(names.map(|(i, name)| (format!("hostname{}", i + 1), name.clone())));
            let text = key_value_text(pairs.iter().map(|(key, value)| (key.as_str(), value.clone())));
            let path = directory.join(uuid.to_string());
            if std::fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
                write_atomically(&path, text.as_bytes())?;
            }
            kept.push(path);
        }
        let io = |e| StoreError::io(&directory, e);
        for entry in std::fs::read_dir(&directory).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if !kept.contains(&path) {
                std::fs::remove_file(&path).map_err(|e| StoreError::io(&path, e))?;
            }
        }
        Ok(())
    }

    /// Stores the settings of the whole cluster.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_cluster_options(&self, version: u32, options: &[(String, String)]) -> Result<(), StoreError> {
        let set = options.iter().map(|(k, v)| (k.as_str(), v.clone()));
        let text = key_value_text(set.chain([(OPTION_VERSION, version.to_string())]));
        write_atomically(&self.paths.workdir.join("options"), text.as_bytes())
    }
}
