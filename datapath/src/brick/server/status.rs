//! What a running brick tells of itself (`gluster volume status`, statedumps).

use std::time::Duration;

use super::Brick;
use crate::brick::index::Kind;
use crate::exec;

/// One connection of a client.
#[derive(Clone, Debug)]
pub struct ClientStatus {
    /// Address and port, as text.
    pub peer: String,
    /// The client's process-uuid; empty before SETVOLUME.
    pub uuid: String,
    /// What it calls itself: `fuse`, `glustershd`...
    pub process_name: String,
    /// Its GlusterFS version.
    pub version: String,
    /// Its largest op-version.
    pub op_version: u32,
    /// Bytes received from it.
    pub bytes_read: u64,
    /// Bytes sent to it.
    pub bytes_written: u64,
    /// Files it has open (all connections of the client together).
    pub open_files: usize,
    /// How long it has been connected.
    pub connected: Duration,
    /// How long ago it last asked something.
    pub heard_ago: Duration,
    /// How often it was let in since the brick started, this time included.
    pub connections: u64,
    /// How long ago and why its last connection before this one ended, if there was one.
    pub last_end: Option<(Duration, String)>,
}

/// A snapshot of a brick.
#[derive(Clone, Debug)]
pub struct BrickStatus {
    /// Connections, oldest first.
    pub clients: Vec<ClientStatus>,
    /// Entries in the xattrop index.
    pub pending: u64,
    /// Entries in the dirty index.
    pub dirty: u64,
    /// Calls that wait for a lock.
    pub waiting_calls: usize,
    /// One line per lock.
    pub locks: Vec<String>,
}

impl BrickStatus {
    pub(super) fn of(brick: &Brick) -> BrickStatus {
        let conns = brick.conns.borrow();
        let past = brick.past.borrow();
        let now = exec::now();
        let clients = conns.values().map(|conn| {
            let (bytes_read, bytes_written) = conn.traffic();
            let client = conn.client();
            let admission = client.as_ref().map(|c| &c.admission);
            let text = |f: fn(&super::Admission) -> &String| admission.map(f).cloned().unwrap_or_default();
            let past = admission.and_then(|a| past.get(&a.uuid));
            ClientStatus {
                connected: now - conn.since(),
                heard_ago: now - conn.heard(),
                connections: past.map_or(0, |p| p.count),
                last_end: past
                    .and_then(|p| p.last_end.as_ref())
                    .map(|(at, why)| (now - *at, why.clone())),
                peer: conn.peer_text.clone(),
                uuid: text(|a| &a.uuid),
                process_name: text(|a| &a.process_name),
                version: text(|a| &a.version),
                op_version: admission.map_or(0, |a| a.op_version),
                bytes_read,
                bytes_written,
                open_files: client.as_ref().map_or(0, |c| c.fds.borrow().len()),
            }
        });
        let clients = clients.collect();
        let index = brick.index.borrow();
        BrickStatus {
            clients,
            pending: index.count(Kind::Xattrop),
            dirty: index.count(Kind::Dirty),
            waiting_calls: brick.waiting.borrow().len(),
            locks: brick.locks.borrow().dump(),
        }
    }
}
