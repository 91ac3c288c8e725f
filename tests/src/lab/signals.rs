//! Ctrl-C and termination as a flag, so that everything is taken down by the usual destructors.

use super::error::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts interruptions asked for by the user.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP away from their default action. Must be called before any thread starts.
    ///
    /// # Errors
    /// When the signals cannot be blocked.
    pub fn install() -> Result<Interrupt> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("block signals")?;
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                while set.wait().is_ok() {
                    // A second Ctrl-C while things are being removed must not leave half of them behind.
                    if seen.fetch_add(1, Ordering::Relaxed) > 0 {
                        eprintln!("already taking everything down, please wait");
                    }
                }
            })
            .context("signal thread")?;
        Ok(Interrupt(count))
    }

    /// Whether the user wants it to end.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}
