//! A client of a volume: from a list of volfile servers to running data-path cores.
//!
//! The control thread started here fetches and follows the volfile, resolves names, asks for the bricks' ports and
//! tells the cores; the cores (datapath::client) do everything else. What a core does beside keeping its sessions is
//! the caller's: FUSE requests, healing.

mod connect;
mod control;
pub mod fetch;
mod portmap;
pub mod resolve;
pub mod spec;

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use datapath::client::{ClientSpec, FromCore, LiveVolume, ToCore, Volume};
use datapath::exec::{self, CoreConfig, mailbox};
use datapath::sys;
use datapath::wire::Gfid;

pub use fetch::{DEFAULT_PORT, FetchError, VolfileServer};
pub use spec::SpecError;

use crate::process::Log;
use crate::rt;

/// Messages a core can have waiting; each brick needs a few.
const CORE_QUEUE: usize = 1024;
/// Messages of all cores to the control thread.
const CONTROL_QUEUE: usize = 8192;
/// Signals that belong to the process's main thread.
const SIGNALS: &[i32] = &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// What to mount and how.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Servers to get the volfile from, in order of preference.
    pub servers: Vec<VolfileServer>,
    /// The volfile's key, as typed: `0001`, `/0001`, `shd/0001`.
    pub volfile_id: String,
    /// A file to read the volfile from instead of a server; it is not followed.
    pub volfile: Option<PathBuf>,
    /// Another block than the last as top of the graph (`--volume-name`).
    pub volume_name: Option<String>,
    /// `--xlator-option NAME.KEY=VALUE`, applied to every volfile fetched.
    pub xlator_options: Vec<String>,
    /// SETVOLUME `process-name`: fuse, glustershd, gfapi.glfsheal...
    pub process_name: String,
    /// Credential pid of requests of the process itself: 0 for a mount.
    pub client_pid: i32,
    /// Port of the management daemons, asked for the bricks' ports.
    pub mgmt_port: u16,
    /// Number of cores; `None` takes `client.event-threads` (2 by default), bounded by the CPUs there are.
    pub cores: Option<usize>,
    /// Ring and buffers of each core.
    pub core: CoreConfig,
    /// How long the first volfile is asked for before giving up.
    pub fetch_limit: Duration,
    /// How often all servers are tried for the first volfile before giving up, instead of `fetch_limit`.
    pub fetch_attempts: Option<u32>,
    /// File in which resolved addresses are kept over restarts.
    pub address_file: Option<PathBuf>,
    /// Whether the hosts of the volume's bricks are volfile servers too, once the volume is known.
    pub learn_servers: bool,
    /// Whether the cores follow when the volume's bricks change; else only [`ClientHandle::bricks_changed`] tells.
    pub follow_bricks: bool,
    /// The process's log, whose level follows the volfile's `log-level`.
    pub log: Option<Log>,
}

impl ClientOptions {
    /// Options of a mount of `volfile_id` from `servers`; everything else at its default.
    pub fn new(volfile_id: impl Into<String>, servers: Vec<VolfileServer>) -> ClientOptions {
        let mgmt_port = servers
            .iter()
            .find_map(|server| match server {
                VolfileServer::Tcp(_, port) => Some(*port),
                VolfileServer::Unix(_) => None,
            })
            .unwrap_or(DEFAULT_PORT);
        ClientOptions {
            servers,
            volfile_id: volfile_id.into(),
            volfile: None,
            volume_name: None,
            xlator_options: Vec::new(),
            process_name: "fuse".to_owned(),
            client_pid: 0,
            mgmt_port,
            cores: None,
            core: CoreConfig::default(),
            fetch_limit: Duration::from_secs(10),
            fetch_attempts: None,
            address_file: None,
            learn_servers: true,
            follow_bricks: true,
            log: None,
        }
    }
}

/// Why a client did not start.
#[derive(Debug)]
pub enum StartError {
    /// No volfile.
    Fetch(FetchError),
    /// The volfile (or a `--xlator-option`) cannot be used.
    Volfile(String),
    /// A thread, ring or buffer was refused by the system.
    System(std::io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Fetch(e) => e.fmt(f),
            StartError::Volfile(why) => write!(f, "the volfile cannot be used: {why}"),
            StartError::System(e) => write!(f, "the client cannot be started: {e}"),
        }
    }
}

impl std::error::Error for StartError {}

/// How the client is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyError {
    /// A brick refused this client for good; its words.
    AuthFailed(String),
    /// Not all cores were ready in time.
    TimedOut,
    /// No brick could be reached.
    NoBrick,
    /// A core ended.
    CoreEnded(String),
}

impl std::fmt::Display for ReadyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadyError::AuthFailed(why) => write!(f, "a brick refuses this client: {why}"),
            ReadyError::TimedOut => f.write_str("the bricks did not answer in time"),
            ReadyError::NoBrick => f.write_str("no brick of the volume can be reached"),
            ReadyError::CoreEnded(why) => write!(f, "a core ended: {why}"),
        }
    }
}

impl std::error::Error for ReadyError {}

#[derive(Debug, Default)]
struct State {
    /// Cores that have had a first status of every brick.
    ready: BTreeSet<usize>,
    /// Most bricks up at that moment, over the cores.
    up_at_ready: usize,
    auth_failed: Option<String>,
    /// Cores whose thread ended, with the error if it was one.
    ended: Vec<(usize, Option<String>)>,
    /// The volume has other bricks than this client.
    bricks_changed: bool,
    /// Places of the bricks connected, per core.
    up: BTreeSet<(usize, usize)>,
}

/// What the threads of a client share. None of it is touched by a file operation.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.lock());
        self.changed.notify_all();
    }

    pub(crate) fn note(&self, core: usize, event: &FromCore) {
        self.update(|state| match event {
            FromCore::Up { brick } => drop(state.up.insert((core, *brick))),
            FromCore::Down { brick, .. } => drop(state.up.remove(&(core, *brick))),
            FromCore::Ready { up } => {
                state.ready.insert(core);
                state.up_at_ready = state.up_at_ready.max(*up);
            }
            FromCore::AuthFailed { why, .. } => state.auth_failed = Some(why.clone()),
            FromCore::NeedEndpoint { .. } | FromCore::Health { .. } | FromCore::Wanted => {}
        });
    }
}

/// A running client. Dropping it leaves it running; end it with [`ClientHandle::shutdown`].
#[derive(Debug)]
pub struct ClientHandle {
    spec: Arc<ClientSpec>,
    cores: Vec<mailbox::Sender<ToCore>>,
    threads: Vec<JoinHandle<()>>,
    control: mailbox::Sender<control::Order>,
    control_thread: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl ClientHandle {
    /// The topology the client started with.
    pub fn spec(&self) -> &Arc<ClientSpec> {
        &self.spec
    }

    /// Number of cores.
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Waits until every core has a first status of every brick.
    ///
    /// # Errors
    /// Refused by a brick, none reachable, or not within `limit`.
    pub fn ready_wait(&self, limit: Duration) -> Result<(), ReadyError> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if let Some(why) = &state.auth_failed {
                return Err(ReadyError::AuthFailed(why.clone()));
            }
            if let Some((core, error)) = state.ended.first() {
                let why = error.clone().unwrap_or_else(|| format!("core {core} was shut down"));
                return Err(ReadyError::CoreEnded(why));
            }
            if state.ready.len() == self.cores.len() {
                return if state.up_at_ready == 0 && state.up.is_empty() {
                    Err(ReadyError::NoBrick)
                } else {
                    Ok(())
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadyError::TimedOut);
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether a brick refused this client for good (authentication, a sub-directory that is missing).
    pub fn auth_failure(&self) -> Option<String> {
        self.shared.lock().auth_failed.clone()
    }

    /// Whether the volume's bricks have changed and this client was not to follow.
    pub fn bricks_changed(&self) -> bool {
        self.shared.lock().bricks_changed
    }

    /// How many bricks core `core` is connected to.
    pub fn bricks_up(&self, core: usize) -> usize {
        self.shared.lock().up.iter().filter(|(c, _)| *c == core).count()
    }

    /// Waits until some core's own work (what `per_core` returned) has ended, for `limit` at most.
    pub fn work_ended(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        while state.ended.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Asks for the volfile again (SIGHUP).
    pub fn refetch(&self) {
        self.order(control::Order::Refetch);
    }

    fn order(&self, order: control::Order) {
        if let Err(lost) = self.control.send(order) {
            tracing::debug!("the control thread does not take orders: {lost}");
        }
    }

    /// Finishes what is open, unlocks, closes the connections and ends all threads.
    pub fn shutdown(self) {
        for core in &self.cores {
            let mut message = ToCore::Shutdown;
            // A full queue empties as long as the core runs; a closed one belongs to a core that has ended.
            while let Err(mailbox::SendError::Full(back)) = core.send(message) {
                message = back;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        for thread in self.threads {
            // A panic has been printed by its thread.
            let _ = thread.join();
        }
        let _ = self.control.send(control::Order::Stop);
        let _ = self.control_thread.join();
    }
}

/// 16 random bytes as a uuid: names this process to the bricks.
fn context_id() -> std::io::Result<Gfid> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Gfid(bytes))
}

fn client_id(context: Gfid, core: usize) -> String {
    let host = sys::host::hostname().unwrap_or_else(|_| "localhost".to_owned());
    // A client identity is one connection per brick (wire-protocol.md 4.5): each core is a graph of its own.
    format!(
        "CTX_ID:{context}-GRAPH_ID:{core}-PID:{}-HOST:{host}",
        std::process::id()
    )
}

/// Starts a client: fetches the volfile, then runs `per_core(index, volume)` on each core's thread beside the
/// sessions. `per_core`'s future is dropped when the client is shut down. Blocks until the threads run; whether the
/// bricks answer is another question ([`ClientHandle::ready_wait`]).
///
/// # Errors
/// [`StartError`]; nothing is left running then.
pub fn start<Fut>(
    options: ClientOptions,
    per_core: impl Fn(usize, LiveVolume) -> Fut + Send + Sync + 'static,
) -> Result<ClientHandle, StartError>
where
    Fut: Future<Output = ()> + 'static,
{
    let context = context_id().map_err(StartError::System)?;
    let (events, from_cores) = mailbox::channel(CONTROL_QUEUE);
    let (control, orders) = mailbox::channel(16);
    let shared = Arc::new(Shared::default());
    let (answer, started) = std::sync::mpsc::sync_channel(1);
    let control_thread = {
        let (options, shared) = (options.clone(), shared.clone());
        spawn_thread("control".to_owned(), move || {
            let run = control::run(options, context, from_cores, orders, shared, answer);
            if let Err(e) = rt::block_on(run) {
                tracing::error!("the control thread cannot run: {e}");
            }
        })
        .map_err(StartError::System)?
    };
    // The control thread answers or ends; ending drops its side of the channel.
    let ended = || StartError::System(std::io::Error::other("the control thread ended"));
    let (parsed, senders, receivers) = started.recv().map_err(|_| ended())??;
    let per_core = Arc::new(per_core);
    let mut handle = ClientHandle {
        spec: parsed.clone(),
        cores: senders,
        threads: Vec::new(),
        control,
        control_thread,
        shared,
    };
    for (core, receiver) in receivers.into_iter().enumerate() {
        let mut spec = (*parsed).clone();
        spec.client_id = client_id(context, core);
        let (config, events, shared) = (options.core, events.clone(), handle.shared.clone());
        let per_core = per_core.clone();
        let thread = spawn_thread(format!("core-{core}"), move || {
            core_thread(core, config, Arc::new(spec), receiver, events, &shared, &*per_core);
        });
        match thread {
            Ok(thread) => handle.threads.push(thread),
            Err(e) => {
                handle.shutdown();
                return Err(StartError::System(e));
            }
        }
    }
    Ok(handle)
}

/// Starts a thread that leaves signals to the main thread.
fn spawn_thread(name: String, f: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        if let Err(e) = sys::process::block_signals(SIGNALS) {
            tracing::warn!("signals cannot be blocked in a thread: {e}");
        }
        f();
    })
}

fn core_thread<Fut: Future<Output = ()> + 'static>(
    core: usize,
    config: CoreConfig,
    spec: Arc<ClientSpec>,
    receiver: mailbox::Receiver<ToCore>,
    events: mailbox::Sender<(usize, FromCore)>,
    shared: &Arc<Shared>,
    per_core: &dyn Fn(usize, LiveVolume) -> Fut,
) {
    let result = exec::uring_core(config, || async {
        let (told, heard) = mailbox::channel(CORE_QUEUE);
        exec::spawn(forward(core, heard, events, shared.clone()));
        let volume = LiveVolume::from(Volume::new(spec));
        let work = per_core(core, volume.clone());
        let noted = shared.clone();
        let work = exec::spawn(async move {
            work.await;
            noted.update(|state| state.ended.push((core, None)));
        });
        datapath::client::serve(volume, receiver, told).await;
        work.abort();
    });
    if let Err(e) = result {
        tracing::error!("core {core} cannot run: {e}");
        shared.update(|state| state.ended.push((core, Some(e.to_string()))));
    }
}

/// Adds the core's number to what it tells.
async fn forward(
    core: usize,
    mut heard: mailbox::Receiver<FromCore>,
    events: mailbox::Sender<(usize, FromCore)>,
    shared: Arc<Shared>,
) {
    while let Some(event) = heard.recv().await {
        shared.note(core, &event);
        let mut event = (core, event);
        while let Err(mailbox::SendError::Full(back)) = events.send(event) {
            event = back;
            exec::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_finds_no_server_says_which() {
        let mut options = ClientOptions::new("v", vec![VolfileServer::Unix("/nonexistent/a.socket".into())]);
        options.fetch_limit = Duration::ZERO;
        let error = start(options, |_, _| async {}).unwrap_err();
        assert!(matches!(error, StartError::Fetch(FetchError::NoServer(_))));
        assert!(error.to_string().contains("/nonexistent/a.socket"), "{error}");
    }

    #[test]
    fn a_volfile_that_cannot_be_used_is_named() {
        let file = std::env::temp_dir().join(format!("client-volfile-{}", std::process::id()));
        std::fs::write(&file, "volume x\n type features/shard\n option a b\nend-volume\n").unwrap();
        let mut options = ClientOptions::new("v", Vec::new());
        options.volfile = Some(file.clone());
        let error = start(options, |_, _| async {}).unwrap_err();
        assert!(error.to_string().contains("features/shard"), "{error}");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_client_without_bricks_starts_and_stops() {
        let text = include_str!("../../../tests/captures/generated/trusted-0001.tcp-fuse.vol");
        let file = std::env::temp_dir().join(format!("client-nobricks-{}", std::process::id()));
        std::fs::write(&file, text.replace("remote-host w", "remote-host 192.0.2.")).unwrap();
        let mut options = ClientOptions::new("v", Vec::new());
        (options.volfile, options.cores) = (Some(file.clone()), Some(2));
        options.core.buffer_bytes = 1 << 20;
        let handle = start(options, |_, _| std::future::pending()).unwrap();
        assert_eq!((handle.cores(), handle.spec().bricks.len()), (2, 6));
        assert_eq!(handle.ready_wait(Duration::from_millis(50)), Err(ReadyError::TimedOut));
        handle.shutdown();
        std::fs::remove_file(file).unwrap();
    }
}
