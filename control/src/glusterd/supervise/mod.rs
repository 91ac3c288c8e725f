//! Keeps the processes of the node running: bricks and self-heal daemons (wire-protocol.md 6.1 to 6.3).
//!
//! One task per process: it adopts the process if it runs already, else starts it, connects to its unix socket, notices
//! its end, and starts it again after a pause that grows. Which processes there should be is decided elsewhere.

mod argv;
mod launch;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use datapath::sys::process;
use datapath::wire::brickop::{BrickOpReq, BrickOpRsp, Proc};
use datapath::wire::{Xdr, program};

pub use argv::NodeContext;

use crate::rpc::{self, ProgramId};
use crate::rt::{self, Address, OwnedTask, sync};

/// Longest pause between two starts of a process that keeps dying.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that lived so long counts as healthy: the next pause is the shortest again.
const HEALTHY: Duration = Duration::from_secs(60);
/// Pauses between attempts to connect to a process's socket: quickly at first, then like GlusterFS.
const CONNECT_QUICK: Duration = Duration::from_millis(50);
const CONNECT_SLOW: Duration = Duration::from_secs(3);
/// Quick attempts before slow ones.
const QUICK_ATTEMPTS: u32 = 100;
/// How long a request to a process may take.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// How long a stopped process may take to end before that is reported.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const STOP_POLL: Duration = Duration::from_millis(20);

/// Makes the arguments for a port (0 for processes without one).
pub type Arguments = Box<dyn Fn(u16) -> Vec<String>>;

/// What a supervised process is.
pub struct ProcessSpec {
    /// For log lines: "brick w1:/b".
    pub label: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Arguments,
    /// Its pid file.
    pub pid_file: PathBuf,
    /// Its unix socket.
    pub socket: PathBuf,
    /// Picks a listening port; None if the process has none.
    pub pick_port: Option<Box<dyn Fn() -> Result<u16, String>>>,
    /// Pause before it is started again after it died; None: it stays down until somebody asks for it.
    pub restart_delay: Option<Duration>,
    /// Send SIGKILL after this time if SIGTERM does not end it.
    pub kill_after: Option<Duration>,
    /// Told what happens.
    pub events: Rc<dyn Fn(ProcessEvent)>,
}

impl std::fmt::Debug for ProcessSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessSpec")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// What happened to a supervised process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It was started with this port.
    Started(u16),
    /// It answers on its socket; the pid.
    Online(i32),
    /// It is gone.
    Gone,
}

#[derive(Default)]
struct State {
    pid: Option<i32>,
    client: Option<rpc::Client>,
    /// When it last began or ceased to answer.
    changed: Option<rt::Instant>,
    /// How often it did.
    changes: u64,
}

impl State {
    fn set_client(&mut self, client: Option<rpc::Client>) {
        self.client = client;
        self.changed = Some(rt::Instant::now());
        self.changes += 1;
    }
}

struct Shared {
    label: String,
    state: RefCell<State>,
    /// A start is under way. Interrupting it could leave a process behind that has not yet written its pid file.
    launching: Cell<bool>,
    /// The process is to be stopped: no further start.
    stopping: Cell<bool>,
    /// Asks for a start at once.
    kick: sync::Notify,
    /// Number of starts tried so far, and how the last one went.
    attempts: sync::watch::Sender<(u64, Result<(), String>)>,
}

/// A supervised process. Dropping it ends the supervision and leaves the process running.
pub struct Supervised {
    shared: Rc<Shared>,
    spec: Rc<ProcessSpec>,
    task: OwnedTask<()>,
}

impl std::fmt::Debug for Supervised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervised")
            .field("label", &self.shared.label)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// A way to ask a process something that does not borrow its supervisor.
#[derive(Clone)]
pub struct ProcessHandle(Rc<Shared>);

impl std::fmt::Debug for ProcessHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProcessHandle({})", self.0.label)
    }
}

impl Supervised {
    /// Starts the supervision, and with it the process unless it runs already.
    pub fn start(spec: ProcessSpec) -> Self {
        let shared = Rc::new(Shared {
            label: spec.label.clone(),
            state: RefCell::default(),
            launching: Cell::new(false),
            stopping: Cell::new(false),
            kick: sync::Notify::new(),
            attempts: sync::watch::Sender::new((0, Ok(()))),
        });
        let spec = Rc::new(spec);
        let task = rt::spawn_owned(supervise(shared.clone(), spec.clone()));
        Self { shared, spec, task }
    }

    /// A handle to wait for it and to call it.
    pub fn handle(&self) -> ProcessHandle {
        ProcessHandle(self.shared.clone())
    }

    /// Its pid while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.shared.state.borrow().pid.filter(|pid| process::is_running(*pid))
    }

    /// Ends the process and the supervision: SIGTERM, wait, remove its files.
    pub async fn stop(self) {
        self.shared.stopping.set(true);
        while self.shared.launching.get() {
            rt::sleep(STOP_POLL).await;
        }
        drop(self.task);
        let client = self.shared.state.borrow_mut().client.take();
        if let Some(client) = client {
            client.close();
        }
        let pid = launch::running(&self.spec);
        if let Some(pid) = pid {
            tracing::info!("stopping {} (pid {pid})", self.spec.label);
            terminate(pid, &self.spec).await;
        }
        for file in [&self.spec.pid_file, &self.spec.socket] {
            // A process that ends in order removes its own files.
            if let Err(error) = std::fs::remove_file(file)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("{}: {error}", file.display());
            }
        }
        (self.spec.events)(ProcessEvent::Gone);
    }
}

impl ProcessHandle {
    /// Whether it answers on its socket.
    pub fn is_online(&self) -> bool {
        self.0
            .state
            .borrow()
            .client
            .as_ref()
            .is_some_and(|c| c.end_reason().is_none())
    }

    /// How long it has been answering, or not answering, and how often that has changed since this daemon supervises it.
    /// None while it has never answered.
    pub fn history(&self) -> Option<(Duration, u64)> {
        let state = self.0.state.borrow();
        state
            .changed
            .map(|changed| (rt::Instant::now() - changed, state.changes))
    }

    /// Makes sure that it runs: starts it at once if it is down. Returns when it runs or the start failed.
    ///
    /// # Errors
    /// Why it could not be started.
    pub async fn ensure_started(&self) -> Result<(), String> {
        let mut attempts = self.0.attempts.subscribe();
        let before = attempts.borrow_and_update().0;
        if before > 0 {
            if self.0.state.borrow().pid.is_some_and(process::is_running) {
                return Ok(());
            }
            self.0.kick.notify_one();
        }
        loop {
            if attempts.changed().await.is_err() {
                return Err(format!("{}: the supervision has ended", self.0.label));
            }
            let (count, result) = attempts.borrow_and_update().clone();
            if count > before {
                return result;
            }
        }
    }

    /// Waits until it answers on its socket, for `limit` at most. Answers whether it does.
    pub async fn wait_online(&self, limit: Duration) -> bool {
        let deadline = rt::Instant::now() + limit;
        while !self.is_online() {
            if rt::Instant::now() >= deadline {
                return false;
            }
            rt::sleep(CONNECT_QUICK).await;
        }
        true
    }

    /// Calls the brick-op program of the process.
    ///
    /// # Errors
    /// Why there is no answer. A negative `op_ret` is an answer.
    pub async fn call(&self, procedure: Proc, mut request: BrickOpReq) -> Result<BrickOpRsp, String> {
        let client = self.0.state.borrow().client.clone();
        let client = client.ok_or_else(|| format!("{} is not connected", self.0.label))?;
        request.op = procedure as i32;
        let id = ProgramId::new(program::BRICK_OP.number, program::BRICK_OP.version);
        let reply = client.call(id, procedure as u32, &request.to_bytes(), CALL_LIMIT).await;
        let reply = reply.map_err(|e| format!("{}: {e}", self.0.label))?;
        BrickOpRsp::from_bytes(&reply).map_err(|e| format!("{}: malformed answer: {e}", self.0.label))
    }
}

/// Whether a process runs, supervised or not.
pub fn is_running(spec: &ProcessSpec) -> bool {
    launch::running(spec).is_some()
}

/// Ends a process that nobody supervises: it was left by a daemon that ended before the process had no more reason to
/// run.
pub async fn stop_leftover(spec: &ProcessSpec) {
    let Some(pid) = launch::running(spec) else { return };
    tracing::info!("stopping {} (pid {pid}), which is not to run any more", spec.label);
    terminate(pid, spec).await;
}

async fn terminate(pid: i32, spec: &ProcessSpec) {
    if let Err(error) = process::kill(pid, libc::SIGTERM) {
        tracing::warn!("{} (pid {pid}) cannot be stopped: {error}", spec.label);
        return;
    }
    let start = rt::Instant::now();
    let mut killed = false;
    while process::is_running(pid) {
        let waited = rt::Instant::now() - start;
        if !killed && spec.kill_after.is_some_and(|limit| waited > limit) {
            killed = true;
            tracing::warn!("{} (pid {pid}) ignored SIGTERM, killing it", spec.label);
            // It may have ended a moment ago; then there is nothing left to do.
            let _ = process::kill(pid, libc::SIGKILL);
        }
        if waited > STOP_LIMIT {
            tracing::error!(
                "{} (pid {pid}) still runs {} s after SIGTERM",
                spec.label,
                STOP_LIMIT.as_secs()
            );
            return;
        }
        rt::sleep(STOP_POLL).await;
    }
}

async fn supervise(shared: Rc<Shared>, spec: Rc<ProcessSpec>) {
    let shortest = spec.restart_delay.unwrap_or_default();
    let mut pause = shortest;
    loop {
        if shared.stopping.get() {
            return;
        }
        let result = match launch::running(&spec) {
            Some(pid) => {
                tracing::info!("{} runs already (pid {pid})", spec.label);
                Ok(pid)
            }
            None => {
                shared.launching.set(true);
                let started = launch::start(&spec).await;
                shared.launching.set(false);
                started
            }
        };
        shared.state.borrow_mut().pid = result.as_ref().ok().copied();
        let outcome = result.as_ref().map(drop).map_err(Clone::clone);
        shared
            .attempts
            .send_modify(|(count, last)| (*count, *last) = (*count + 1, outcome));
        match result {
            Ok(pid) => {
                let born = rt::Instant::now();
                attend(&shared, &spec, pid).await;
                (spec.events)(ProcessEvent::Gone);
                tracing::warn!("{} (pid {pid}) has ended", spec.label);
                if rt::Instant::now() - born > HEALTHY {
                    pause = shortest;
                }
            }
            Err(why) => tracing::error!("{} could not be started: {why}", spec.label),
        }
        match spec.restart_delay {
            None => shared.kick.notified().await,
            Some(_) => {
                tracing::info!("{} is started again in {} ms", spec.label, pause.as_millis());
                // Either somebody asks for it or the pause is over.
                let _ = rt::timeout(pause, shared.kick.notified()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Holds the connection to a running process; returns when the process is gone.
async fn attend(shared: &Rc<Shared>, spec: &ProcessSpec, pid: i32) {
    let mut attempt = 0;
    let address = Address::Unix(spec.socket.clone());
    while process::is_running(pid) {
        match rpc::Client::connect_plain(&address).await {
            Ok(client) => {
                attempt = 0;
                shared.state.borrow_mut().set_client(Some(client.clone()));
                tracing::info!("{} (pid {pid}) is connected", spec.label);
                (spec.events)(ProcessEvent::Online(pid));
                let why = client.ended().await;
                shared.state.borrow_mut().set_client(None);
                tracing::info!("{} (pid {pid}) disconnected: {why}", spec.label);
            }
            Err(error) => {
                if attempt == QUICK_ATTEMPTS {
                    tracing::warn!(
                        "{} (pid {pid}) does not answer on {}: {error}",
                        spec.label,
                        spec.socket.display()
                    );
                }
                attempt = attempt.saturating_add(1);
            }
        }
        rt::sleep(if attempt < QUICK_ATTEMPTS {
            CONNECT_QUICK
        } else {
            CONNECT_SLOW
        })
        .await;
    }
    shared.state.borrow_mut().pid = None;
}

#[cfg(test)]
mod tests;
