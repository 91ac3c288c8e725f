//! Small things the integration tests share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with the test, unless `TEST_KEEP` is set.
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new empty directory whose name begins with `what`.
    pub fn new(what: &str) -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringluster-{what}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var_os("TEST_KEEP").is_some() {
            println!("kept: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Whether trusted xattrs can be set here: needs root and a file system that has them.
pub fn trusted_xattrs() -> bool {
    let dir = TempDir::new("probe");
    datapath::brick::store::init_brick(dir.path(), datapath::wire::Gfid([1; 16])).is_ok()
}

/// Runs something when it goes, also when a test fails.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    /// Runs `last` at the end.
    pub fn new(last: F) -> OnDrop<F> {
        OnDrop(Some(last))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}
