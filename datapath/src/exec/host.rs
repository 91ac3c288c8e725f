//! Which machine a task plays. On a real core there is one; in a simulation, the tasks of several simulated machines
//! share one executor, and listening, connecting and being killed go by the identity kept here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::core;

/// A machine. 0 is the one that tasks have when nobody said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u16);

/// The host of the running task.
pub fn current() -> HostId {
    core::try_with(|core| core.host()).unwrap_or_default()
}

/// Runs `future` as `host`: what it binds, connects and spawns belongs to that machine.
pub fn scope<F: Future>(host: HostId, future: F) -> Scope<F> {
    Scope {
        host,
        future: Box::pin(future),
    }
}

/// Starts a task on `host`.
pub fn spawn_on<F: Future<Output: 'static> + 'static>(host: HostId, future: F) -> super::JoinHandle<F::Output> {
    core::with(|core| core.spawn(host, future))
}

/// Drops every task of `host`, except the one that calls (which ends at its next await). Returns how many there were.
pub fn abort_tasks(host: HostId) -> usize {
    core::with(|core| core.abort_host(host))
}

/// Stops the tasks of `host` as SIGSTOP does: none is polled until [`resume`]. The task given to `run` cannot be stopped.
pub fn pause(host: HostId) {
    core::with(|core| core.pause_host(host));
}

/// Lets the tasks of a stopped host go on.
pub fn resume(host: HostId) {
    core::with(|core| core.resume_host(host));
}

/// Future of [`scope`].
pub struct Scope<F> {
    host: HostId,
    future: Pin<Box<F>>,
}

impl<F> std::fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let outer = core::with(|core| core.set_host(self.host));
        let result = self.future.as_mut().poll(cx);
        core::with(|core| core.set_host(outer));
        result
    }
}
