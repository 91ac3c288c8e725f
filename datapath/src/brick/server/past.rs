//! What a brick remembers of its clients' connections, for `gluster volume status VOL clients` and `detail`.

use std::collections::BTreeMap;

use super::clients::instance_of;
use crate::exec::{self, Mono};

/// Clients that are remembered; the one that was not seen for longest is forgotten first.
const REMEMBERED: usize = 256;

/// The past of one client instance (a process and its brick, over all its connections).
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    /// How often it was let in.
    pub count: u64,
    /// When and why its last connection ended, if one has.
    pub last_end: Option<(Mono, String)>,
    touched: Mono,
}

/// The past of all clients.
#[derive(Debug, Default)]
pub(super) struct Past(BTreeMap<String, Connections>);

impl Past {
    fn of(&mut self, uuid: &str) -> &mut Connections {
        let instance = instance_of(uuid).0;
        if !self.0.contains_key(instance) && self.0.len() >= REMEMBERED {
            let oldest = self
                .0
                .iter()
                .min_by_key(|(_, c)| c.touched)
                .map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        let connections = self.0.entry(instance.to_string()).or_default();
        connections.touched = exec::now();
        connections
    }

    /// The client was let in.
    pub fn connected(&mut self, uuid: &str) {
        self.of(uuid).count += 1;
    }

    /// A connection of it has ended.
    pub fn ended(&mut self, uuid: &str, why: &str) {
        let now = exec::now();
        self.of(uuid).last_end = Some((now, why.to_string()));
    }

    /// What is remembered of it.
    pub fn get(&self, uuid: &str) -> Option<&Connections> {
        self.0.get(instance_of(uuid).0)
    }
}
