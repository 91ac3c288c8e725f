//! What a brick process is told by its volfile and command line, and the limits this implementation sets itself.

use std::time::Duration;

use super::auth::AuthConfig;
use crate::brick::index::Watch;
use crate::brick::locks::LockOptions;
use crate::wire::Gfid;

/// The longest record accepted from a client: a WRITE of 16 MiB with all its header would still fit. 10.3 goes up
/// to 1 GiB, its clients send at most 128 KiB of data in one call; a peer that announces more is not one of ours.
pub const MAX_RECORD_LEN: usize = 17 << 20;
/// The most bytes a READ gives in one reply; a client that asks for more gets a short read.
pub const MAX_READ_LEN: usize = 16 << 20;
/// The most bytes of entries in one READDIR or READDIRP reply, by the accounting of the wire.
pub const MAX_READDIR_LEN: usize = 1 << 20;
/// Requests of one connection that wait for a disk at the same time; further ones are not read from the socket.
pub const MAX_IN_FLIGHT: usize = 256;
/// Reply bytes queued for one connection above which its requests are not read from the socket.
pub const MAX_BACKLOG: usize = 8 << 20;
/// Lock requests of one connection that wait at the same time; one more fails with `ENOLCK`.
pub const MAX_WAITING_LOCKS: usize = 65_536;
/// Open files of one client; one more fails with `EMFILE`.
pub const MAX_FDS: usize = 1 << 20;

/// Whose uid and gid are replaced by the anonymous ones (brick-and-replicate.md B.2).
#[derive(Clone, Copy, Debug)]
pub struct Squash {
    /// `root-squash`: uid 0 and gid 0.
    pub root: bool,
    /// `all-squash`: everybody.
    pub all: bool,
    /// `anonuid`.
    pub anon_uid: u32,
    /// `anongid`.
    pub anon_gid: u32,
}

impl Default for Squash {
    fn default() -> Squash {
        Squash {
            root: false,
            all: false,
            anon_uid: 65534,
            anon_gid: 65534,
        }
    }
}

/// Probes that find a client that vanished (wire-protocol.md 1.1).
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered probes until the connection is dead.
    pub count: u32,
    /// `transport.tcp-user-timeout`: how long sent data may stay unacknowledged; zero leaves the kernel's default.
    pub user_timeout: Duration,
}

impl Default for KeepAlive {
    fn default() -> KeepAlive {
        KeepAlive {
            idle: Duration::from_secs(20),
            interval: Duration::from_secs(2),
            count: 9,
            user_timeout: Duration::from_secs(42),
        }
    }
}

/// The options of a brick's server side. Those of the storage are in its `Store`.
#[derive(Clone, Debug)]
pub struct BrickConfig {
    /// The name clients ask for (`remote-subvolume`): the brick's path.
    pub name: String,
    /// The volume's id.
    pub volume_id: Gfid,
    /// Names this process to clients (`process-uuid` in the SETVOLUME reply).
    pub process_uuid: String,
    /// Who may connect.
    pub auth: AuthConfig,
    /// Identity mapping.
    pub squash: Squash,
    /// `features.read-only`.
    pub read_only: bool,
    /// Lock options.
    pub locks: LockOptions,
    /// Which xattrs the index watches.
    pub watch: Watch,
    /// Socket options of accepted connections.
    pub keepalive: KeepAlive,
}

impl BrickConfig {
    /// The configuration of a brick with every option at its default.
    pub fn new(name: impl Into<String>, volume: &str, volume_id: Gfid, process_uuid: impl Into<String>) -> BrickConfig {
        BrickConfig {
            name: name.into(),
            volume_id,
            process_uuid: process_uuid.into(),
            auth: AuthConfig::default(),
            squash: Squash::default(),
            read_only: false,
            locks: LockOptions::default(),
            watch: Watch::of_volume(volume),
            keepalive: KeepAlive::default(),
        }
    }
}
