//! The immutable topology a control thread publishes to its cores, and the messages between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::health::Transition;
use crate::replicate::QuorumType;

/// One brick of the replica set, as the volfile's `protocol/client` block names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrickSpec {
    /// Name of the `protocol/client` block, for example `0001-client-0`.
    pub subvolume: String,
    /// Element of `afr-pending-xattr`: the blame key is `trusted.afr.` + this.
    pub pending_name: String,
    /// `remote-host`.
    pub host: String,
    /// `remote-subvolume`: the brick's path on its host.
    pub path: String,
    /// Whether the brick is on this machine: reads go to it first.
    pub local: bool,
}

impl BrickSpec {
    /// Whether both are the same directory of the same host, blamed under the same name. The block's name may differ:
    /// it counts the bricks, and changes when another is removed.
    pub fn is_same_brick(&self, other: &BrickSpec) -> bool {
        (&self.host, &self.path, &self.pending_name) == (&other.host, &other.path, &other.pending_name)
    }
}

/// `cluster.favorite-child-policy`: who wins a split-brain without being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the names are GlusterFS's own")]
pub enum FavoriteChild {
    #[default]
    None,
    Size,
    Ctime,
    Mtime,
    Majority,
}

/// Options of the client graph, with the translators' defaults (brick-and-replicate.md part F).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// `quorum-type`/`quorum-count`; `None` when the volfile does not say.
    pub quorum: Option<QuorumType>,
    /// `eager-lock`: keep a file's data lock between writes.
    pub eager_lock: bool,
    /// `post-op-delay-secs`: how long an idle lock and dirty mark are kept.
    pub post_op_delay: Duration,
    /// `ensure-durability`: fsync before a dirty mark is cleared at once.
    pub ensure_durability: bool,
    /// `optimistic-change-log`: no dirty mark for metadata and entry operations while all bricks are up.
    pub optimistic_change_log: bool,
    /// `granular-entry-heal`: names changed while a brick is away are kept in its peers' index.
    pub granular_entry_heal: bool,
    /// `use-anonymous-inode`: entry heal parks names in the anonymous-inode directory.
    pub use_anonymous_inode: bool,
    /// `choose-local`: read from the local brick.
    pub choose_local: bool,
    /// `read-hash-mode`, 0 to 5.
    pub read_hash_mode: u32,
    /// `read-subvolume(-index)`: brick index.
    pub read_subvolume: Option<usize>,
    /// `favorite-child-policy`.
    pub favorite_child: FavoriteChild,
    /// `data-self-heal-window-size`, units of 128 KiB, 1 to 1024.
    pub heal_window: u32,
    /// `shd-max-threads`, 1 to 64: files healed at the same time.
    pub shd_max_threads: usize,
    /// `heal-timeout`: pause between index sweeps.
    pub heal_timeout: Duration,
    /// `self-heal-daemon`: whether the daemon crawls at all.
    pub self_heal_daemon: bool,
    /// `ping-timeout`; zero = never.
    pub ping_timeout: Duration,
    /// `probe-timeout` (`network.probe-timeout`): silence with something outstanding that makes a brick suspect, and
    /// soon after given up (DESIGN.md section 5). Ringluster only.
    pub probe_timeout: Duration,
    /// `frame-timeout`: an unanswered call fails after this.
    pub frame_timeout: Duration,
    /// `features/utime` is in the graph: times come from the client.
    pub utime: bool,
    /// `send-gids`.
    pub send_gids: bool,
    /// `filter-O_DIRECT` (`network.remote-dio`): O_DIRECT is dropped before OPEN and CREATE.
    pub filter_o_direct: bool,
    /// `features/read-only` is on.
    pub read_only: bool,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            quorum: None,
            eager_lock: true,
            post_op_delay: Duration::from_secs(1),
            ensure_durability: true,
            optimistic_change_log: true,
            granular_entry_heal: false,
            use_anonymous_inode: false,
            choose_local: true,
            read_hash_mode: 1,
            read_subvolume: None,
            favorite_child: FavoriteChild::None,
            heal_window: 8,
            shd_max_threads: 1,
            heal_timeout: Duration::from_secs(600),
            self_heal_daemon: true,
            ping_timeout: Duration::from_secs(42),
            probe_timeout: Duration::from_millis(500),
            frame_timeout: Duration::from_secs(1800),
            utime: false,
            send_gids: true,
            filter_o_direct: false,
            read_only: false,
        }
    }
}

/// Everything a core needs to know of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// Volume name (the top block of the volfile).
    pub volume: String,
    /// Name of the `cluster/replicate` block: also the lock domain, for example `0001-replicate-0`.
    pub replicate: String,
    /// Volume id, text; sent in SETVOLUME and names the anonymous-inode directory.
    pub volume_id: Option<String>,
    /// The bricks in child order, 1 to 64.
    pub bricks: Vec<BrickSpec>,
    /// `username`/`password` of a trusted volfile.
    pub credentials: Option<(String, String)>,
    /// SETVOLUME `process-name`: fuse, glustershd, gfapi.glfsheal...
    pub process_name: String,
    /// SETVOLUME `volfile-key`: the id the volfile was asked by.
    pub volfile_key: String,
    /// Context id of this process: `CTX_ID:<uuid>-GRAPH_ID:<n>-PID:<pid>-HOST:<host>` (wire-protocol.md 4.5). The
    /// session appends `-PC_NAME:<subvolume>-RECON_NO:-<n>`.
    pub client_id: String,
    /// pid of internal requests: 0 for a mount, -6 for the self-heal daemon, -7 for the heal tool.
    pub client_pid: i32,
    /// Options of the graph.
    pub options: ClientOptions,
}

impl ClientSpec {
    /// Whether `other` has the same bricks at the same places, so that only options can differ.
    pub fn same_bricks(&self, other: &ClientSpec) -> bool {
        self.replicate == other.replicate
            && self.volume_id == other.volume_id
            && self.bricks.len() == other.bricks.len()
            && self
                .bricks
                .iter()
                .zip(&other.bricks)
                .all(|(one, two)| one.is_same_brick(two) && one.subvolume == two.subvolume)
    }
}

/// From the control thread to a core.
#[derive(Clone, Debug)]
pub enum ToCore {
    /// Where `brick` listens now: connect.
    Endpoint {
        /// Its place ([`super::Places`]).
        brick: usize,
        /// Address of the brick's port.
        addr: SocketAddr,
    },
    /// The brick cannot be located now (no address, no port, daemon away). Counts as its first status at start.
    Unreachable {
        /// Its place ([`super::Places`]).
        brick: usize,
        /// Why, for the log.
        why: String,
    },
    /// The volfile has changed: new options, other bricks or both. The client's identity in it is ignored.
    Topology(Arc<ClientSpec>),
    /// Finish: flush, unlock, close.
    Shutdown,
}

/// From a core to the control thread.
#[derive(Clone, Debug)]
pub enum FromCore {
    /// The core has no connection to `brick` and wants its [`ToCore::Endpoint`]. Sent at start, after each
    /// disconnect and after each failed attempt; the control thread paces the answers.
    NeedEndpoint {
        /// Its place ([`super::Places`]).
        brick: usize,
    },
    /// The session is ready: SETVOLUME accepted and fds re-opened.
    Up {
        /// Its place ([`super::Places`]).
        brick: usize,
    },
    /// The session ended.
    Down {
        /// Its place ([`super::Places`]).
        brick: usize,
        /// Why, for the log and `volume status`.
        why: String,
    },
    /// What a core thinks of a brick has changed.
    Health {
        /// Its place ([`super::Places`]).
        brick: usize,
        /// From what to what, and why.
        change: Transition,
    },
    /// An operation cannot be done without the bricks the core has no connection to: they are to be tried at once.
    Wanted,
    /// Every brick has given its first status, or the start-up wait is over: operations are answered now.
    Ready {
        /// How many bricks are up.
        up: usize,
    },
    /// A brick refused SETVOLUME for good (authentication, missing sub-directory).
    AuthFailed {
        /// Its place ([`super::Places`]).
        brick: usize,
        /// The brick's own words.
        why: String,
    },
}
