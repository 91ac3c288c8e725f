//! Whole clusters in one process: several nodes on one runtime, each with a store, a server and addresses of its own.

mod changes;
mod chaos;
mod members;
mod nodes;
mod single;
mod storage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::raft::Tuning;
use crate::rt;

/// Long enough for a busy machine; nothing is measured by it.
pub(super) const LONG: Duration = Duration::from_secs(180);

/// Short logs. The times are the usual ones: a machine busy with other tests needs them.
pub(super) const TUNING: Tuning = Tuning {
    heartbeat: 250,
    election: (500, 1000),
    snapshot_after: 8,
    keep: 2,
};

/// A directory that is removed in the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until something is true.
pub(super) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let begun = rt::Instant::now();
    while !check() {
        assert!(begun.elapsed() < LONG, "never came true: {what}");
        rt::sleep(Duration::from_millis(20)).await;
    }
}
