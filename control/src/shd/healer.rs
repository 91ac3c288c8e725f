//! One volume of the self-heal daemon: a client of the volume whose core runs the healers, and the orders it takes.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datapath::client::{ClientSpec, Volume};
use datapath::exec::{self, mailbox};
use datapath::replicate::heal::{CrawlRecord, HealCommand, HealDaemon};
use datapath::sys::process::PidFile;

use crate::client::{self, ClientHandle, ClientOptions, StartError};
use crate::rt;
use crate::rt::sync::oneshot;

const QUEUE: usize = 64;
/// How often the core looks whether a brick has come or gone.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Orders to the healers' core.
enum Order {
    /// Start a crawl; whether any healer could take it.
    Heal(HealCommand, oneshot::Sender<bool>),
    /// Number of entries in the index of each brick; `None` for one that is not connected.
    Count(oneshot::Sender<Vec<Option<u64>>>),
    /// The crawls remembered, per brick.
    History(oneshot::Sender<Vec<Vec<CrawlRecord>>>),
    /// Which bricks are connected.
    Up(oneshot::Sender<Vec<bool>>),
}

/// A volume being healed.
pub(super) struct Healer {
    handle: ClientHandle,
    orders: mailbox::Sender<Order>,
    pid_file: Option<PidFile>,
    pid_path: Option<PathBuf>,
}

impl Healer {
    /// Fetches the volfile and starts the healers. `pid_file` is written and held as long as the volume is healed.
    pub(super) async fn start(mut options: ClientOptions, pid_file: Option<PathBuf>) -> Result<Healer, String> {
        let pid_path = pid_file;
        let pid_file = match &pid_path {
            Some(path) => Some(lock(path)?),
            None => None,
        };
        let (orders, received) = mailbox::channel(QUEUE);
        // Taken by the one core there is.
        let received = Arc::new(Mutex::new(Some(received)));
        options.cores = Some(1);
        let started = rt::blocking(move || {
            client::start(options, move |_, volume| {
                let received = received.lock().unwrap_or_else(PoisonError::into_inner).take();
                async move {
                    match received {
                        Some(received) => heal(volume.current(), received).await,
                        None => tracing::error!("the healers have more than one core"),
                    }
                }
            })
        });
        let started: Result<ClientHandle, StartError> = started
            .await
            .map_err(|e| format!("the client cannot be started: {e}"))?;
        Ok(Healer {
            handle: started.map_err(|e| e.to_string())?,
            orders,
            pid_file,
            pid_path,
        })
    }

    /// The volume's topology.
    pub(super) fn spec(&self) -> &Arc<ClientSpec> {
        self.handle.spec()
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        match self.orders.send(order(answer)) {
            Ok(()) => answered.await.ok(),
            Err(e) => {
                tracing::error!("the healers' core takes no orders: {e}");
                None
            }
        }
    }

    /// Starts a crawl; `false` if no brick of this machine can be crawled.
    pub(super) async fn heal(&self, command: HealCommand) -> bool {
        self.ask(|answer| Order::Heal(command, answer)).await.unwrap_or(false)
    }

    /// Entries in the index of each brick.
    pub(super) async fn counts(&self) -> Vec<Option<u64>> {
        self.ask(Order::Count).await.unwrap_or_default()
    }

    /// The crawls remembered, per brick, oldest first.
    pub(super) async fn history(&self) -> Vec<Vec<CrawlRecord>> {
        self.ask(Order::History).await.unwrap_or_default()
    }

    /// Which bricks are connected.
    pub(super) async fn up(&self) -> Vec<bool> {
        self.ask(Order::Up).await.unwrap_or_default()
    }

    /// Asks for the volfile again.
    pub(super) fn refetch(&self) {
        self.handle.refetch();
    }

    /// Whether the volume has other bricks by now: this healer works for those it began with.
    pub(super) fn is_outdated(&self) -> bool {
        self.handle.bricks_changed()
    }

    /// The pid file, to be held by whoever takes this healer's place.
    pub(super) fn pid_path(&self) -> Option<PathBuf> {
        self.pid_path.clone()
    }

    /// Ends the healing of this volume.
    pub(super) async fn stop(self) {
        let Healer { handle, pid_file, .. } = self;
        if let Err(e) = rt::blocking(move || handle.shutdown()).await {
            tracing::warn!("the healers did not end well: {e}");
        }
        if let Some(Err(e)) = pid_file.map(PidFile::remove) {
            tracing::debug!("the pid file cannot be removed: {e}");
        }
    }
}

fn lock(path: &Path) -> Result<PidFile, String> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| format!("{} cannot be made: {e}", directory.display()))?;
    }
    PidFile::lock(path).map_err(|e| format!("the pid file {} cannot be locked: {e}", path.display()))
}

/// The core's work: healers, and orders to them.
async fn heal(volume: Volume, mut orders: mailbox::Receiver<Order>) {
    let daemon = HealDaemon::start(volume.clone());
    exec::spawn(watch(volume.clone(), daemon.clone()));
    while let Some(order) = orders.recv().await {
        // Whoever asked may have gone.
        match order {
            Order::Heal(command, answer) => drop(answer.send(daemon.command(command))),
            Order::Count(answer) => {
                let volume = volume.clone();
                exec::spawn(async move {
                    let mut counts = Vec::with_capacity(volume.bricks());
                    for brick in 0..volume.bricks() {
                        counts.push(volume.heal_count(brick).await.ok());
                    }
                    drop(answer.send(counts));
                });
            }
            Order::History(answer) => {
                drop(answer.send((0..volume.bricks()).map(|brick| daemon.history(brick)).collect()));
            }
            Order::Up(answer) => {
                let up = volume.up();
                drop(answer.send((0..volume.bricks()).map(|brick| up.contains(brick)).collect()));
            }
        }
    }
}

/// Healing starts when a brick returns, not at the next turn (DESIGN.md section 6).
async fn watch(volume: Volume, daemon: HealDaemon) {
    let mut last = (volume.generation(), volume.options());
    loop {
        exec::sleep(WATCH_INTERVAL).await;
        let now = (volume.generation(), volume.options());
        if now.0 != last.0 {
            daemon.bricks_changed();
        }
        if !Rc::ptr_eq(&now.1, &last.1) {
            daemon.options_changed();
        }
        last = now;
    }
}
