//! The daemon's state: volumes, their processes, ports, settings of the cluster. Commands change it through the few
//! functions here, so that files, volfiles, clients and processes follow every change.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use datapath::sys::host;
use datapath::wire::callback;
use datapath::wire::program;

use super::config::Config;
use super::history::History;
use super::model::{Brick, OpError, Volume};
use super::paths::brick_volfile_id;
use super::ports::Portmap;
use super::store::{NodeInfo, Store, StoreError};
use super::supervise::{NodeContext, ProcessEvent, ProcessHandle, Supervised};
use crate::rpc::{ProgramId, Server};
use crate::rt::{self, sync};
use crate::volfile::{FuseKind, GenerateError, Graph, brick_volfile, client_volfile, shd_volfile};

/// How long a command that starts processes waits for them to answer.
const ONLINE_LIMIT: Duration = Duration::from_secs(2);

/// A volume and what runs for it on this node.
struct Entry {
    volume: Volume,
    /// By brick index; None for bricks of other nodes and while the volume is stopped.
    bricks: Vec<Option<Supervised>>,
    shd: Option<Supervised>,
}

struct Inner {
    config: Config,
    store: Store,
    node: NodeInfo,
    port: Cell<u16>,
    volumes: RefCell<BTreeMap<String, Entry>>,
    portmap: Portmap,
    cluster_options: RefCell<(u32, Vec<(String, String)>)>,
    servers: RefCell<Vec<Server>>,
    /// One changing command at a time.
    transaction: sync::Mutex<()>,
    /// One writer of the working directory at a time.
    disk: sync::Mutex<()>,
    history: History,
}

impl Inner {
    /// Runs a file operation on a helper thread.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, OpError> {
        let _writer = self.disk.lock().await;
        let done = rt::blocking(work)
            .await
            .map_err(|e| OpError::new(format!("the helper thread failed: {e}")))?;
        done.map_err(|e| OpError::new(e.to_string()))
    }
}

/// The daemon. Clones share it.
#[derive(Clone)]
pub struct Daemon(Rc<Inner>);

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("node", &self.0.node.uuid)
            .finish_non_exhaustive()
    }
}

/// What a brick or service looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Whether it answers on its socket.
    pub online: bool,
    /// Its pid while it runs.
    pub pid: Option<i32>,
}

impl Daemon {
    /// Reads the working directory. Volumes that cannot be read are logged and left alone.
    ///
    /// # Errors
    /// [`StoreError`] if the node's own files cannot be read or written.
    pub fn load(config: Config) -> Result<Self, StoreError> {
        let store = Store::open(config.paths.clone())?;
        let node = store.node_info()?;
        let cluster_options = store.cluster_options()?;
        let mut volumes = BTreeMap::new();
        for name in store.volume_names()? {
            match store.load_volume(&name) {
                Ok(volume) => {
                    let bricks = volume.bricks.iter().map(|_| None).collect();
                    volumes.insert(
                        name,
                        Entry {
                            volume,
                            bricks,
                            shd: None,
                        },
                    );
                }
                Err(error) => tracing::error!("volume {name} is not available: {error}"),
            }
        }
        let history = History::new(config.paths.logdir.join("cmd_history.log"));
        Ok(Self(Rc::new(Inner {
            port: Cell::new(config.port),
            config,
            store,
            node,
            volumes: RefCell::new(volumes),
            portmap: Portmap::default(),
            cluster_options: RefCell::new(cluster_options),
            servers: RefCell::default(),
            transaction: sync::Mutex::new(()),
            disk: sync::Mutex::new(()),
            history,
        })))
    }

    /// Notes the TCP port that clients and bricks use, and the servers that change notices go out on.
    pub fn attach(&self, port: u16, servers: Vec<Server>) {
        self.0.port.set(port);
        *self.0.servers.borrow_mut() = servers;
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The working directory.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The node's identity.
    pub fn node(&self) -> NodeInfo {
        self.0.node
    }

    /// The registry of brick ports.
    pub fn portmap(&self) -> &Portmap {
        &self.0.portmap
    }

    /// The log of commands.
    pub fn history(&self) -> &History {
        &self.0.history
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.0.port.get()
    }

    /// Waits until no other command changes anything; while the guard lives none will.
    pub async fn transaction(&self) -> impl Sized + '_ {
        self.0.transaction.lock().await
    }

    /// Names of all volumes, sorted.
    pub fn volume_names(&self) -> Vec<String> {
        self.0.volumes.borrow().keys().cloned().collect()
    }

    /// A volume as it is now.
    pub fn volume(&self, name: &str) -> Option<Volume> {
        self.0.volumes.borrow().get(name).map(|entry| entry.volume.clone())
    }

    /// A volume that a command names.
    ///
    /// # Errors
    /// [`OpError::no_volume`].
    pub fn need_volume(&self, name: &str) -> Result<Volume, OpError> {
        self.volume(name).ok_or_else(|| OpError::no_volume(name))
    }

    /// Settings of the whole cluster with their version.
    pub fn cluster_options(&self) -> (u32, Vec<(String, String)>) {
        self.0.cluster_options.borrow().clone()
    }

    /// Replaces the settings of the whole cluster.
    ///
    /// # Errors
    /// [`OpError`] if they could not be stored.
    pub async fn set_cluster_options(&self, options: Vec<(String, String)>) -> Result<(), OpError> {
        let version = self.0.cluster_options.borrow().0 + 1;
        let (store, stored) = (self.0.store.clone(), options.clone());
        self.0
            .on_disk(move || store.save_cluster_options(version, &stored))
            .await?;
        *self.0.cluster_options.borrow_mut() = (version, options);
        Ok(())
    }

    /// Whether a brick is on this node.
    pub fn is_local(&self, brick: &Brick) -> bool {
        brick.node == self.0.node.uuid
    }

    /// Stores a new or changed volume and its volfiles and tells everybody who is connected if a volfile changed.
    /// Counts the volume's version up unless it is new.
    ///
    /// # Errors
    /// [`OpError`] if it could not be stored; memory then still has the old one.
    pub async fn save(&self, mut volume: Volume) -> Result<(), OpError> {
        if self.0.volumes.borrow().contains_key(&volume.name) {
            volume.version += 1;
        }
        let files = volfiles(&volume, &self.0.config.paths.workdir.to_string_lossy())
            .map_err(|e| OpError::new(format!("Failed to create volume files: {e}")))?;
        let (store, stored) = (self.0.store.clone(), volume.clone());
        let changed = self
            .0
            .on_disk(move || {
                store.save_volume(&stored)?;
                let mut changed = false;
                for (name, text) in files {
                    changed |= store.save_volfile(&stored.name, &name, &text)?;
                }
                Ok(changed)
            })
            .await?;
        let mut volumes = self.0.volumes.borrow_mut();
        match volumes.get_mut(&volume.name) {
            Some(entry) => entry.volume = volume,
            None => {
                let bricks = volume.bricks.iter().map(|_| None).collect();
                volumes.insert(
                    volume.name.clone(),
                    Entry {
                        volume,
                        bricks,
                        shd: None,
                    },
                );
            }
        }
        drop(volumes);
        if changed {
            self.notify_volfile_change();
        }
        Ok(())
    }

    /// Forgets a stopped volume.
    ///
    /// # Errors
    /// [`OpError`] if its directory could not be removed.
    pub async fn delete(&self, name: &str) -> Result<(), OpError> {
        let (store, volume) = (self.0.store.clone(), name.to_string());
        self.0.on_disk(move || store.delete_volume(&volume)).await?;
        self.0.volumes.borrow_mut().remove(name);
        Ok(())
    }

    /// FETCHSPEC to everybody who is connected.
    pub fn notify_volfile_change(&self) {
        let id = ProgramId::new(program::CALLBACK.number, program::CALLBACK.version);
        for server in self.0.servers.borrow().iter() {
            server.broadcast(id, callback::Proc::Fetchspec as u32, &[]);
        }
    }

    /// Starts the local bricks of a volume that do not run, and waits for them. `force` ignores those that cannot.
    ///
    /// # Errors
    /// The first brick's failure, unless forced.
    pub async fn start_bricks(&self, name: &str, force: bool) -> Result<(), OpError> {
        let mut waiting = Vec::new();
        for index in 0..self.need_volume(name)?.bricks.len() {
            if let Some(handle) = self.supervise_brick(name, index) {
                waiting.push(handle);
            }
        }
        // All at once: whoever is asked only after its first attempt has failed would try again.
        let results = futures_util::future::join_all(waiting.iter().map(ProcessHandle::ensure_started)).await;
        if let Some(why) = results.into_iter().find_map(Result::err).filter(|_| !force) {
            tracing::error!("volume {name}: {why}");
            let text = "Commit failed on localhost. Please check the log file for more details.";
            return Err(OpError::new(text));
        }
        // A command that follows at once should find the bricks answering; one that needs longer is still started.
        futures_util::future::join_all(waiting.iter().map(|handle| handle.wait_online(ONLINE_LIMIT))).await;
        Ok(())
    }

    /// Supervises a local brick if it is not yet; None for bricks of other nodes.
    fn supervise_brick(&self, name: &str, index: usize) -> Option<ProcessHandle> {
        let mut volumes = self.0.volumes.borrow_mut();
        let entry = volumes.get_mut(name)?;
        let brick = entry.volume.bricks.get(index)?.clone();
        if !self.is_local(&brick) {
            return None;
        }
        let slot = entry.bricks.get_mut(index)?;
        let process = slot.get_or_insert_with(|| {
            let daemon = Rc::downgrade(&self.0);
            let ports = daemon.clone();
            let pick = move || pick_port(&ports);
            let (volume, path) = (name.to_string(), brick.path.clone());
            let events = Rc::new(move |event| brick_event(&daemon, &volume, index, &path, event));
            Supervised::start(self.context().brick_spec(name, &brick, pick, events))
        });
        Some(process.handle())
    }

    fn context(&self) -> NodeContext {
        NodeContext {
            paths: self.0.config.paths.clone(),
            node: self.0.node.uuid,
            server_port: self.port(),
            restart_delay: self.0.config.brick_restart_delay,
        }
    }

    /// Stops the local bricks of a volume, all at once.
    pub async fn stop_bricks(&self, name: &str) {
        let processes: Vec<Supervised> = match self.0.volumes.borrow_mut().get_mut(name) {
            Some(entry) => entry.bricks.iter_mut().filter_map(Option::take).collect(),
            None => return,
        };
        futures_util::future::join_all(processes.into_iter().map(Supervised::stop)).await;
    }

    /// Starts or stops the volume's self-heal daemon, as its state and options ask for.
    pub async fn settle_shd(&self, name: &str) {
        let wanted = self
            .volume(name)
            .is_some_and(|v| v.wants_shd() && v.bricks.iter().any(|b| self.is_local(b)));
        let stopped = {
            let mut volumes = self.0.volumes.borrow_mut();
            let Some(entry) = volumes.get_mut(name) else { return };
            match (wanted, entry.shd.is_some()) {
                (true, false) => {
                    entry.shd = Some(Supervised::start(self.context().shd_spec(name)));
                    None
                }
                (false, true) => entry.shd.take(),
                _ => None,
            }
        };
        if let Some(process) = stopped {
            process.stop().await;
        }
    }

    /// Waits a little for the volume's self-heal daemon to answer, if there is one, so that the next command finds it.
    pub async fn await_shd(&self, name: &str) {
        if let Some(process) = self.shd_process(name) {
            process.wait_online(ONLINE_LIMIT).await;
        }
    }

    /// The process of a brick, while it is supervised.
    pub fn brick_process(&self, name: &str, index: usize) -> Option<ProcessHandle> {
        let volumes = self.0.volumes.borrow();
        volumes.get(name)?.bricks.get(index)?.as_ref().map(Supervised::handle)
    }

    /// The volume's self-heal daemon, while it is supervised.
    pub fn shd_process(&self, name: &str) -> Option<ProcessHandle> {
        self.0.volumes.borrow().get(name)?.shd.as_ref().map(Supervised::handle)
    }

    /// How a brick is.
    pub fn brick_status(&self, name: &str, index: usize) -> ProcessStatus {
        let volumes = self.0.volumes.borrow();
        status(
            volumes
                .get(name)
                .and_then(|e| e.bricks.get(index))
                .and_then(Option::as_ref),
        )
    }

    /// How the volume's self-heal daemon is.
    pub fn shd_status(&self, name: &str) -> ProcessStatus {
        status(self.0.volumes.borrow().get(name).and_then(|e| e.shd.as_ref()))
    }

    /// Takes up all started volumes: adopts or starts what should run. Volfiles are written anew, because this release
    /// may generate them differently than the one before.
    pub async fn resume(&self) {
        for name in self.volume_names() {
            let Some(volume) = self.volume(&name) else { continue };
            if let Err(error) = self.rewrite_volfiles(&volume).await {
                tracing::error!("volume {name}: {error}");
            }
            if volume.is_started() {
                for index in 0..volume.bricks.len() {
                    self.supervise_brick(&name, index);
                }
                self.settle_shd(&name).await;
            }
        }
    }

    async fn rewrite_volfiles(&self, volume: &Volume) -> Result<(), OpError> {
        let files = volfiles(volume, &self.0.config.paths.workdir.to_string_lossy());
        let files = files.map_err(|e| OpError::new(e.to_string()))?;
        let (store, name) = (self.0.store.clone(), volume.name.clone());
        self.0
            .on_disk(move || {
                for (file, text) in files {
                    store.save_volfile(&name, &file, &text)?;
                }
                Ok(())
            })
            .await
    }
}

fn status(process: Option<&Supervised>) -> ProcessStatus {
    ProcessStatus {
        online: process.is_some_and(|p| p.handle().is_online()),
        pid: process.and_then(Supervised::pid),
    }
}

fn pick_port(daemon: &Weak<Inner>) -> Result<u16, String> {
    let inner = daemon.upgrade().ok_or("the daemon is ending")?;
    inner.portmap.pick(inner.config.base_port, inner.config.max_port)
}

/// A brick's process started, answered or ended.
fn brick_event(daemon: &Weak<Inner>, volume: &str, index: usize, path: &str, event: ProcessEvent) {
    let Some(inner) = daemon.upgrade() else { return };
    match event {
        ProcessEvent::Started(port) => {
            let mut volumes = inner.volumes.borrow_mut();
            let Some(entry) = volumes.get_mut(volume) else { return };
            if let Some(brick) = entry.volume.bricks.get_mut(index) {
                brick.port = port;
            }
            // The port is only a memory aid for a restart of this daemon: the definition's version does not change.
            let Some(brick) = entry.volume.bricks.get(index).cloned() else {
                return;
            };
            let (store, volume, inner) = (inner.store.clone(), volume.to_string(), inner.clone());
            rt::spawn(async move {
                if let Err(error) = inner.on_disk(move || store.save_brick(&volume, &brick)).await {
                    tracing::error!("the port of a brick could not be stored: {error}");
                }
            });
        }
        // A brick that was adopted has signed in with the daemon's predecessor; clients need not wait for it to do so
        // again.
        ProcessEvent::Online(pid) => {
            let volumes = inner.volumes.borrow();
            let port = volumes
                .get(volume)
                .and_then(|e| e.volume.bricks.get(index))
                .map_or(0, |b| b.port);
            if port != 0 && inner.portmap.port_of(path).is_none() {
                inner.portmap.sign_in(path, port, pid);
            }
        }
        ProcessEvent::Gone => inner.portmap.forget(path),
    }
}

/// All volfiles of a volume: file name and text.
fn volfiles(volume: &Volume, workdir: &str) -> Result<Vec<(String, String)>, GenerateError> {
    let (spec, name) = (volume.spec(workdir), &volume.name);
    let text = |graph: Graph| graph.to_text().map_err(GenerateError::from);
    let mut files = vec![
        (
            format!("trusted-{name}.tcp-fuse.vol"),
            text(client_volfile(&spec, FuseKind::Trusted)?)?,
        ),
        (
            format!("{name}.tcp-fuse.vol"),
            text(client_volfile(&spec, FuseKind::Untrusted)?)?,
        ),
        (format!("{name}-shd.vol"), text(shd_volfile(&spec)?)?),
    ];
    for (index, brick) in volume.bricks.iter().enumerate() {
        files.push((
            format!("{}.vol", brick_volfile_id(name, brick)),
            text(brick_volfile(&spec, index)?)?,
        ));
    }
    Ok(files)
}

/// Whether an address belongs to this node.
pub fn is_local_address(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback()
        || match host::interface_addresses() {
            Ok(own) => own.contains(&address),
            Err(error) => {
                tracing::warn!("the addresses of this node are not known: {error}");
                false
            }
        }
}
