//! The processes of this node: bricks and self-heal daemons of the volumes.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::super::model::{Brick, OpError, Volume};
use super::super::supervise::{
    NodeContext, ProcessEvent, ProcessHandle, ProcessSpec, Supervised, is_running, stop_leftover,
};
use super::{Daemon, Inner};
use crate::rt;

/// How long a command that starts processes waits for them to answer.
const ONLINE_LIMIT: Duration = Duration::from_secs(2);

/// What a brick or service looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Whether it answers on its socket.
    pub online: bool,
    /// Its pid while it runs.
    pub pid: Option<i32>,
}

impl Daemon {
    /// Paths of the volume's bricks that are to run on this node now.
    pub(super) fn wanted_bricks(&self, name: &str) -> Vec<String> {
        let Some(volume) = self.volume(name) else {
            return Vec::new();
        };
        if !volume.is_started() {
            return Vec::new();
        }
        let may_run = match (volume.follows_server_quorum(), self.0.server_quorum.get()) {
            (false, _) | (true, Some(true)) => |_: &ProcessSpec| true,
            (true, Some(false)) => |_: &ProcessSpec| false,
            // Nobody has said yet that they must not.
            (true, None) => is_running,
        };
        let context = self.context();
        let held = self.0.held.borrow();
        let local = volume.bricks.iter().filter(|brick| self.is_local(brick));
        let wanted = local.filter(|brick| !held.contains(&(name.to_string(), brick.path.clone())));
        wanted
            .filter(|brick| may_run(&only_known(&context, name, brick)))
            .map(|brick| brick.path.clone())
            .collect()
    }

    /// Starts the local bricks of a volume that do not run, and waits for them and for the self-heal daemon. `force`
    /// ignores those that cannot.
    ///
    /// # Errors
    /// That one could not be started, unless forced; the log says why.
    pub async fn bring_up(&self, name: &str, force: bool) -> Result<(), OpError> {
        self.need_volume(name)?;
        if force {
            self.0.held.borrow_mut().retain(|(volume, _)| volume != name);
        }
        let paths = self.wanted_bricks(name);
        let waiting: Vec<ProcessHandle> = paths
            .iter()
            .filter_map(|path| self.supervise_brick(name, path))
            .collect();
        // All at once: whoever is asked only after its first attempt has failed would try again.
        let results = futures_util::future::join_all(waiting.iter().map(ProcessHandle::ensure_started)).await;
        if let Some(why) = results.into_iter().find_map(Result::err).filter(|_| !force) {
            tracing::error!("volume {name}: {why}");
            return Err(OpError::new("Please check the log file for more details."));
        }
        // A command that follows at once should find the bricks answering; one that needs longer is still started.
        futures_util::future::join_all(waiting.iter().map(|handle| handle.wait_online(ONLINE_LIMIT))).await;
        self.settle_shd(name).await;
        self.await_shd(name).await;
        Ok(())
    }

    /// Supervises a local brick if it is not yet.
    pub(super) fn supervise_brick(&self, name: &str, path: &str) -> Option<ProcessHandle> {
        let mut volumes = self.0.volumes.borrow_mut();
        let entry = volumes.get_mut(name)?;
        let me = self.node().uuid;
        let brick = entry
            .volume
            .bricks
            .iter()
            .find(|b| b.node == me && b.path == path)?
            .clone();
        let process = entry.bricks.entry(path.to_string()).or_insert_with(|| {
            let daemon = Rc::downgrade(&self.0);
            let ports = daemon.clone();
            let pick = move || pick_port(&ports);
            let (volume, path) = (name.to_string(), path.to_string());
            let events = Rc::new(move |event| brick_event(&daemon, &volume, &path, event));
            Supervised::start(self.context().brick_spec(name, &brick, pick, events))
        });
        Some(process.handle())
    }

    fn context(&self) -> NodeContext {
        NodeContext {
            paths: self.0.config.paths.clone(),
            node: self.node().uuid,
            server_port: self.port(),
            restart_delay: self.0.config.brick_restart_delay,
        }
    }

    /// Stops the local bricks of a volume, all at once.
    pub(super) async fn stop_bricks(&self, name: &str) {
        let processes = match self.0.volumes.borrow_mut().get_mut(name) {
            Some(entry) => std::mem::take(&mut entry.bricks),
            None => return,
        };
        futures_util::future::join_all(processes.into_values().map(Supervised::stop)).await;
    }

    /// Ends local processes of a volume that this daemon does not supervise and that have no reason to run any more:
    /// bricks that are not among the volume's, all of them and the self-heal daemon if the volume is not started. They
    /// are left when the volume changed while no daemon ran here.
    pub(super) async fn stop_leftovers(&self, old: &Volume, new: Option<&Volume>) {
        let started = new.is_some_and(Volume::is_started);
        let kept = |brick: &&Brick| started && new.is_some_and(|new| new.bricks.iter().any(|b| b.path == brick.path));
        let context = self.context();
        for brick in old.bricks.iter().filter(|brick| self.is_local(brick) && !kept(brick)) {
            if self.brick_process(&old.name, &brick.path).is_none() {
                stop_leftover(&only_known(&context, &old.name, brick)).await;
            }
        }
        if !started && self.shd_process(&old.name).is_none() {
            stop_leftover(&context.shd_spec(&old.name)).await;
        }
    }

    /// Stops one local brick and keeps it stopped, or lets it run again.
    pub async fn hold_brick(&self, name: &str, path: &str, hold: bool) {
        let key = (name.to_string(), path.to_string());
        match hold {
            true => self.0.held.borrow_mut().insert(key),
            false => self.0.held.borrow_mut().remove(&key),
        };
        self.reconcile(name).await;
    }

    /// Starts or stops the volume's self-heal daemon, as its state and options ask for.
    pub(super) async fn settle_shd(&self, name: &str) {
        let wanted = self
            .volume(name)
            .is_some_and(|v| v.wants_shd() && v.bricks.iter().any(|b| self.is_local(b)));
        if !wanted {
            return self.stop_shd(name).await;
        }
        if let Some(entry) = self.0.volumes.borrow_mut().get_mut(name) {
            entry
                .shd
                .get_or_insert_with(|| Supervised::start(self.context().shd_spec(name)));
        }
    }

    /// Stops the volume's self-heal daemon.
    pub(super) async fn stop_shd(&self, name: &str) {
        let stopped = self
            .0
            .volumes
            .borrow_mut()
            .get_mut(name)
            .and_then(|entry| entry.shd.take());
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
    pub fn brick_process(&self, name: &str, path: &str) -> Option<ProcessHandle> {
        let volumes = self.0.volumes.borrow();
        volumes.get(name)?.bricks.get(path).map(Supervised::handle)
    }

    /// The volume's self-heal daemon, while it is supervised.
    pub fn shd_process(&self, name: &str) -> Option<ProcessHandle> {
        self.0.volumes.borrow().get(name)?.shd.as_ref().map(Supervised::handle)
    }

    /// How a local brick is.
    pub fn brick_status(&self, name: &str, path: &str) -> ProcessStatus {
        let volumes = self.0.volumes.borrow();
        status(volumes.get(name).and_then(|entry| entry.bricks.get(path)))
    }

    /// How the volume's self-heal daemon is.
    pub fn shd_status(&self, name: &str) -> ProcessStatus {
        status(self.0.volumes.borrow().get(name).and_then(|e| e.shd.as_ref()))
    }
}

/// A brick's process, to be recognised and never to be started.
fn only_known(context: &NodeContext, volume: &str, brick: &Brick) -> ProcessSpec {
    let no_port = || Err("it is not to be started".to_string());
    context.brick_spec(volume, brick, no_port, Rc::new(|_| ()))
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
fn brick_event(daemon: &Weak<Inner>, volume: &str, path: &str, event: ProcessEvent) {
    let Some(inner) = daemon.upgrade() else { return };
    match event {
        ProcessEvent::Started(port) => note_port(&inner, volume, path, port),
        // A brick that was adopted has signed in with the daemon's predecessor; clients need not wait for it to do so
        // again.
        ProcessEvent::Online(pid) => {
            let volumes = inner.volumes.borrow();
            let me = inner.node.get().uuid;
            let brick = volumes
                .get(volume)
                .and_then(|entry| entry.volume.bricks.iter().find(|b| b.node == me && b.path == path));
            let port = brick.map_or(0, |brick| brick.port);
            if port != 0 && inner.portmap.port_of(path).is_none() {
                inner.portmap.sign_in(path, port, pid);
            }
        }
        ProcessEvent::Gone => inner.portmap.forget(path),
    }
}

/// The port is only a memory aid for a restart of this daemon: the definition's version does not change.
fn note_port(inner: &Rc<Inner>, volume: &str, path: &str, port: u16) {
    let brick = {
        let mut volumes = inner.volumes.borrow_mut();
        let me = inner.node.get().uuid;
        let bricks = volumes.get_mut(volume).map(|entry| entry.volume.bricks.iter_mut());
        let Some(brick) = bricks.and_then(|mut all| all.find(|b| b.node == me && b.path == path)) else {
            return;
        };
        brick.port = port;
        brick.clone()
    };
    let (store, volume, inner) = (inner.store.clone(), volume.to_string(), inner.clone());
    rt::spawn(async move {
        if let Err(error) = inner.on_disk(move || store.save_brick(&volume, &brick)).await {
            tracing::error!("the port of a brick could not be stored: {error}");
        }
    });
}
