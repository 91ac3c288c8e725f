//! What a volume is: the definition that the daemon keeps in memory and stores in its working directory. Processes,
//! connections and files are not in here.

use std::fmt;

use datapath::wire::Gfid;
use serde::{Deserialize, Serialize};

use crate::cluster::gfid;
use crate::volfile::{BrickSpec, VolumeSpec, options, parse_bool};

/// The op-version that GlusterFS 10 (and this daemon) speaks at most.
pub const MAX_OP_VERSION: u32 = 100_000;
/// Least op-version of servers for a volume with no particular option.
pub const BASE_OP_VERSION: u32 = 40_000;
/// Least op-version of clients for a replicate volume with no particular option.
pub const BASE_CLIENT_OP_VERSION: u32 = 30_800;
/// `type` of a replicate volume.
pub const TYPE_REPLICATE: i32 = 2;

/// `status` of a volume, with its number in files and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeStatus {
    /// Never started.
    Created,
    /// Its bricks are to run.
    Started,
    /// Its bricks are not to run.
    Stopped,
}

impl VolumeStatus {
    /// The number in `info` and in CLI replies.
    pub fn number(self) -> i32 {
        match self {
            Self::Created => 0,
            Self::Started => 1,
            Self::Stopped => 2,
        }
    }

    /// The status of that number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Created, Self::Started, Self::Stopped]
            .into_iter()
            .find(|s| s.number() == number)
    }
}

/// One brick of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brick {
    /// The node that has it.
    #[serde(with = "gfid")]
    pub node: Gfid,
    /// Its host as given to `volume create`.
    pub host: String,
    /// Absolute path.
    pub path: String,
    /// The path without symbolic links.
    pub real_path: String,
    /// The port it was last started on; 0 if never, or on another node. Not part of the cluster's configuration.
    #[serde(skip)]
    pub port: u16,
    /// The name of its protocol/client xlator.
    pub brick_id: String,
    /// The part of the path below the mount point of its file system.
    pub mount_dir: String,
    /// `f_fsid` of its file system; 0 on other nodes. Not part of the cluster's configuration.
    #[serde(skip)]
    pub fsid: u64,
    /// Keys of its file that have no meaning here, kept as they are.
    pub extra: Vec<(String, String)>,
}

impl Brick {
    /// HOST:PATH, as the command line shows bricks.
    pub fn label(&self) -> String {
        format!("{}:{}", self.host, self.path)
    }
}

/// A replicate volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its id.
    #[serde(with = "gfid")]
    pub id: Gfid,
    /// Whether its bricks are to run.
    pub status: VolumeStatus,
    /// Bricks per replica set.
    pub replica_count: usize,
    /// Counts the changes; peers compare it.
    pub version: u32,
    /// Credentials of trusted clients.
    pub username: String,
    /// See `username`.
    pub password: String,
    /// Bricks in order.
    pub bricks: Vec<Brick>,
    /// Options that are set, newest first as GlusterFS lists them.
    pub options: Vec<(String, String)>,
    /// Keys of `info` that have no meaning here, kept as they are.
    pub extra: Vec<(String, String)>,
}

/// The options GlusterFS 10 gives a new replicate volume, in its listing order.
pub const NEW_VOLUME_OPTIONS: [(&str, &str); 5] = [
    ("cluster.granular-entry-heal", "on"),
    ("storage.fips-mode-rchecksum", "on"),
    ("transport.address-family", "inet"),
    ("nfs.disable", "on"),
    ("performance.client-io-threads", "off"),
];

impl Volume {
    /// The value of an option: as set, else its default.
    pub fn option(&self, key: &str) -> Option<&str> {
        let set = self.options.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        set.or_else(|| options::find(key).and_then(|o| o.default.value()))
    }

    /// Whether a boolean option is on.
    pub fn is_on(&self, key: &str) -> bool {
        self.option(key).and_then(parse_bool).unwrap_or(false)
    }

    /// Sets an option. One that is set keeps its place in the list, a new one is put in front.
    pub fn set_option(&mut self, key: &str, value: &str) {
        match self.options.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.to_string(),
            None => self.options.insert(0, (key.to_string(), value.to_string())),
        }
    }

    /// Whether its bricks are to run.
    pub fn is_started(&self) -> bool {
        self.status == VolumeStatus::Started
    }

    /// Whether the self-heal daemon is to run for it.
    pub fn wants_shd(&self) -> bool {
        self.is_started() && self.is_on("cluster.self-heal-daemon")
    }

    /// Whether its bricks run only while enough servers are connected (`cluster.server-quorum-type`).
    pub fn follows_server_quorum(&self) -> bool {
        self.option("cluster.server-quorum-type") == Some("server")
    }

    /// The definition without what only one node knows: what all nodes have the same copy of.
    pub fn shared(&self) -> Self {
        let mut volume = self.clone();
        for brick in &mut volume.bricks {
            (brick.port, brick.fsid) = (0, 0);
        }
        volume
    }

    /// Least op-version of servers and of clients for the options that are set.
    pub fn op_versions(&self) -> (u32, u32) {
        let set = self.options.iter().filter_map(|(key, _)| options::find(key));
        set.fold((BASE_OP_VERSION, BASE_CLIENT_OP_VERSION), |(op, client), spec| {
            (op.max(spec.op_version), client.max(spec.client_op_version))
        })
    }

    /// What its volfiles are made from.
    pub fn spec(&self, workdir: &str) -> VolumeSpec {
        let bricks = self.bricks.iter().map(|brick| BrickSpec {
            host: brick.host.clone(),
            path: brick.path.clone(),
            client_name: brick.brick_id.clone(),
            shared_brick_count: self.shared_brick_count(brick),
        });
        VolumeSpec {
            name: self.name.clone(),
            volume_id: self.id.to_string(),
            username: self.username.clone(),
            password: self.password.clone(),
            replica_count: self.replica_count,
            bricks: bricks.collect(),
            options: self.options.iter().cloned().collect(),
            workdir: workdir.to_string(),
        }
    }

    /// How many bricks of this volume are on the same file system of the same node; 1 where that is not known.
    fn shared_brick_count(&self, brick: &Brick) -> u32 {
        let same = |other: &&Brick| other.node == brick.node && other.fsid == brick.fsid && brick.fsid != 0;
        u32::try_from(self.bricks.iter().filter(same).count().max(1)).unwrap_or(1)
    }

    /// Index of the brick HOST:PATH.
    pub fn brick_index(&self, label: &str) -> Option<usize> {
        // An IPv6 address has colons of its own.
        let (host, path) = label.split_once(":/")?;
        let path = normal_path(path);
        self.bricks.iter().position(|b| b.host == host && b.path == path)
    }
}

/// A path without doubled and trailing slashes.
pub fn normal_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// A random (version 4) uuid.
///
/// # Errors
/// The system has no random bytes to give.
pub fn new_uuid() -> std::io::Result<Gfid> {
    let mut bytes = [0; 16];
    datapath::sys::clock::fill_random(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Ok(Gfid(bytes))
}

/// The failure of a command: what the user is told, and the number beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpError {
    /// GlusterFS's number; most failures have [`OpError::INTERNAL`].
    pub errno: i32,
    /// The text, GlusterFS's where it has one.
    pub text: String,
}

impl OpError {
    /// The number of all failures that have none of their own.
    pub const INTERNAL: i32 = 30_800;
    /// No such volume.
    pub const NO_VOLUME: i32 = 30_806;

    /// A failure with the usual number.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            errno: Self::INTERNAL,
            text: text.into(),
        }
    }

    /// No majority of the cluster answers: nothing can be changed.
    pub fn no_quorum() -> Self {
        Self::new("Quorum not met. Volume operation not allowed.")
    }

    /// The volume is unknown.
    pub fn no_volume(name: &str) -> Self {
        Self::new(format!("Volume {name} does not exist"))
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}

impl std::error::Error for OpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_needless_slashes() {
        assert_eq!(normal_path("//a//b/"), "/a/b");
        assert_eq!(normal_path("/"), "/");
    }

    #[test]
    fn uuids_are_random_and_of_version_4() {
        let (a, b) = (new_uuid().unwrap(), new_uuid().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.to_string().as_bytes()[14], b'4');
    }
}
