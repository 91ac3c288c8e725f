//! Ctrl-C and termination as a flag, so that everything is taken down by the usual destructors.
//!
//! Handlers, not a blocked signal mask: a mask would be inherited by every daemon the lab starts, and none of them
//! could be terminated any more.

use super::error::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Counts interruptions asked for by the user.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP away from their default action.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> Result<Interrupt> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("signal runtime")?;
        let mut streams = {
            let _inside = runtime.enter();
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            kinds
                .into_iter()
                .map(signal)
                .collect::<std::io::Result<Vec<_>>>()
                .context("signal handlers")?
        };
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        let wait = async move {
            loop {
                std::future::poll_fn(|context| {
                    let any = streams.iter_mut().any(|stream| stream.poll_recv(context).is_ready());
                    if any {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
                // A second Ctrl-C while things are being removed must not leave half of them behind.
                if seen.fetch_add(1, Ordering::Relaxed) > 0 {
                    eprintln!("already taking everything down, please wait");
                }
            }
        };
        let thread = std::thread::Builder::new().name("signals".into());
        thread.spawn(move || runtime.block_on(wait)).context("signal thread")?;
        Ok(Interrupt(count))
    }

    /// Whether the user wants it to end.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Cmd;
    use crate::lab::process::Pid;
    use crate::lab::run::wait_for;
    use nix::sys::signal::Signal;
    use std::time::Duration;

    #[test]
    fn signals_are_counted_and_children_can_be_terminated() {
        let interrupt = Interrupt::install().unwrap();
        assert!(!interrupt.asked());
        let pid = Cmd::new("sh").args(["-c", "sleep 30 & echo $!"]).run().unwrap();
        let pid = Pid::of(pid.trim().parse().unwrap()).unwrap();
        pid.signal(Signal::SIGTERM).unwrap();
        assert!(pid.wait_gone(Duration::from_secs(5)), "a child ignores SIGTERM");
        Pid::own().unwrap().signal(Signal::SIGHUP).unwrap();
        wait_for("the signal", Duration::from_secs(5), || {
            Ok(interrupt.asked().then_some(()))
        })
        .unwrap();
    }
}
