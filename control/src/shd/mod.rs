//! The self-heal daemon: the `glusterfs` program with `--process-name glustershd` (wire-protocol.md 6.1).
//!
//! The process starts with one volume's volfile; further volumes are attached and detached by the management daemon.
//! What is healed and how is `datapath::replicate::heal`'s; here are only processes, volumes and commands.

mod healer;
mod ops;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use datapath::wire::OldDict;
use futures_util::future::{Either, select};

use self::healer::Healer;
use self::ops::ShdOps;
use crate::client::{ClientOptions, VolfileServer};
use crate::process::args::Args;
use crate::process::daemon::{self, Failure, Frame};
use crate::process::log::Log;
use crate::rpc::{Address, Server};
use crate::rt::{self, Listener, Signals, sync};

/// SETVOLUME name and credential pid of the daemon (wire-protocol.md 1.5).
const PROCESS_NAME: &str = "glustershd";
const CLIENT_PID: i32 = -6;
/// How long the management daemon may take for the first volfile.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// How often is looked whether a volume's bricks have changed.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// Pause before healers that could not start are tried again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Runs the self-heal daemon with these words (without the program's name) and returns the exit code.
pub fn main(words: &[String]) -> i32 {
    daemon::main("glustershd", words, check, |frame| async move {
        let Frame { args, log, status } = frame;
        let daemon = match start(&args, &log).await {
            Ok(daemon) => daemon,
            Err(failure) => return Err((failure, Some(status))),
        };
        if let Err(e) = status.report(0) {
            tracing::warn!("the starting process cannot be told of the success: {e}");
        }
        daemon.run(&log).await.map_err(|failure| (failure, None))
    })
}

fn check(args: &Args) -> Result<(), String> {
    match (&args.volfile, args.servers.is_empty(), &args.volfile_id) {
        (None, true, _) => Err("a volfile server (-s) or a volfile (-f) is needed".to_owned()),
        (_, _, None) => Err("--volfile-id is needed".to_owned()),
        _ => Ok(()),
    }
}

struct Daemon {
    args: Args,
    log: Log,
    /// By volfile key: `shd/VOL`.
    volumes: RefCell<BTreeMap<String, Rc<Healer>>>,
    /// Volumes between two healers.
    restarting: RefCell<BTreeSet<String>>,
    terminate: Rc<sync::Notify>,
    /// Attaching and detaching one after the other.
    changing: sync::Mutex<()>,
}

async fn start(args: &Args, log: &Log) -> Result<Rc<Daemon>, Failure> {
    let daemon = Rc::new(Daemon {
        args: args.clone(),
        log: log.clone(),
        volumes: RefCell::default(),
        restarting: RefCell::default(),
        terminate: Rc::new(sync::Notify::new()),
        changing: sync::Mutex::new(()),
    });
    // Before the volfile: GlusterFS's management daemon holds its answer back until it has found the socket.
    if let Some(path) = &args.socket_file {
        let listener = Listener::bind(&Address::Unix(path.clone()))
            .map_err(|e| Failure::new(format!("the socket {} cannot be opened: {e}", path.display())))?;
        let ops = Rc::new(ShdOps(daemon.clone()));
        rt::spawn(async move { Server::new(vec![ops]).serve(listener).await });
    }
    let key = args.volfile_id.clone().unwrap_or_default();
    // The pid file of the command line is held by the process itself.
    let healer = Healer::start(daemon.options(&key, args.volfile.clone()), None)
        .await
        .map_err(Failure::new)?;
    daemon.volumes.borrow_mut().insert(key, Rc::new(healer));
    rt::spawn(daemon.clone().follow_bricks());
    Ok(daemon)
}

impl Daemon {
    fn options(&self, key: &str, volfile: Option<PathBuf>) -> ClientOptions {
        let args = &self.args;
        let servers = args
            .servers
            .iter()
            .flat_map(|list| VolfileServer::parse_list(list, args.server_port))
            .collect();
        let mut options = ClientOptions::new(key, servers);
        options.volfile = volfile;
        options.volume_name = args.volume_name.clone();
        options.xlator_options = args.xlator_options.clone();
        options.process_name = PROCESS_NAME.to_owned();
        options.client_pid = args.client_pid.unwrap_or(CLIENT_PID);
        options.mgmt_port = args.server_port;
        options.fetch_limit = FETCH_LIMIT;
        // It belongs to this node's management daemon, which attaches and detaches its volumes.
        options.learn_servers = false;
        options.follow_bricks = false;
        options.log = Some(self.log.clone());
        options
    }

    /// The healer of a replica set by its translator's name.
    fn healer_of(&self, replicate: &str) -> Option<Rc<Healer>> {
        self.volumes
            .borrow()
            .values()
            .find(|healer| healer.spec().replicate == replicate)
            .cloned()
    }

    /// SVC_ATTACH: heal another volume. The volfile in the request is the one fetched under the key, which is followed.
    async fn attach(&self, key: &str, pid_file: Option<PathBuf>) -> Result<OldDict, String> {
        let _changing = self.changing.lock().await;
        let key = key.trim_end_matches('\0');
        if self.restarting.borrow().contains(key) {
            return Ok(OldDict::null());
        }
        if let Some(healer) = self.volumes.borrow().get(key) {
            // It may have changed.
            healer.refetch();
            return Ok(OldDict::null());
        }
        let own = self.args.pid_file.as_deref() == pid_file.as_deref();
        let pid_file = pid_file.filter(|_| !own);
        let healer = Healer::start(self.options(key, None), pid_file).await?;
        tracing::info!("healing volume {} too", healer.spec().volume);
        self.volumes.borrow_mut().insert(key.to_owned(), Rc::new(healer));
        Ok(OldDict::null())
    }

    /// SVC_DETACH: leave a volume alone. The process ends with its last volume.
    async fn detach(&self, key: &str) -> Result<OldDict, String> {
        let _changing = self.changing.lock().await;
        let key = key.trim_end_matches('\0');
        let removed = self.volumes.borrow_mut().remove(key);
        let restarting = self.restarting.borrow_mut().remove(key);
        match removed {
            Some(healer) => stop(healer).await,
            None if restarting => {}
            None => return Err(format!("'{key}' is not healed by this daemon")),
        }
        if self.volumes.borrow().is_empty() && self.restarting.borrow().is_empty() {
            self.terminate.notify_one();
        }
        Ok(OldDict::null())
    }

    /// A volume whose bricks have changed gets a new healer in place of its old one.
    async fn follow_bricks(self: Rc<Self>) {
        loop {
            rt::sleep(FOLLOW_INTERVAL).await;
            let outdated = |(_, healer): &(&String, &Rc<Healer>)| healer.is_outdated();
            let key = self.volumes.borrow().iter().find(outdated).map(|(key, _)| key.clone());
            if let Some(key) = key {
                self.replace(&key).await;
            }
        }
    }

    async fn replace(&self, key: &str) {
        let changing = self.changing.lock().await;
        let Some(old) = self.volumes.borrow_mut().remove(key) else {
            return;
        };
        tracing::info!("{key}: the volume's bricks have changed; the healers start anew");
        let pid_file = old.pid_path();
        self.restarting.borrow_mut().insert(key.to_owned());
        stop(old).await;
        drop(changing);
        loop {
            let changing = self.changing.lock().await;
            if !self.restarting.borrow().contains(key) {
                return; // Detached meanwhile.
            }
            match Healer::start(self.options(key, None), pid_file.clone()).await {
                Ok(healer) => {
                    self.restarting.borrow_mut().remove(key);
                    self.volumes.borrow_mut().insert(key.to_owned(), Rc::new(healer));
                    return;
                }
                Err(why) => tracing::error!("{key}: the healers cannot start: {why}; trying on"),
            }
            drop(changing);
            rt::sleep(RESTART_PAUSE).await;
        }
    }

    async fn run(self: Rc<Self>, log: &Log) -> Result<i32, Failure> {
        let numbers = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
        let mut signals = Signals::new(&numbers).map_err(|e| Failure::new(format!("signals: {e}")))?;
        let code = loop {
            let event = {
                let signal = std::pin::pin!(signals.next());
                let terminate = std::pin::pin!(self.terminate.notified());
                match select(signal, terminate).await {
                    Either::Left((signal, _)) => signal,
                    Either::Right(_) => break 0,
                }
            };
            match event {
                libc::SIGTERM | libc::SIGINT => break event,
                libc::SIGHUP => {
                    if let Err(e) = log.reopen() {
                        tracing::error!("the log cannot be opened anew: {e}");
                    }
                    self.volumes.borrow().values().for_each(|healer| healer.refetch());
                }
                _ => {}
            }
        };
        let volumes = std::mem::take(&mut *self.volumes.borrow_mut());
        for healer in volumes.into_values() {
            stop(healer).await;
        }
        if let Some(Err(e)) = self.args.socket_file.as_deref().map(std::fs::remove_file) {
            tracing::debug!("the socket cannot be removed: {e}");
        }
        Ok(code)
    }
}

/// Waits until no operation uses the healer any more, then ends it.
async fn stop(mut healer: Rc<Healer>) {
    loop {
        match Rc::try_unwrap(healer) {
            Ok(healer) => return healer.stop().await,
            Err(shared) => healer = shared,
        }
        rt::sleep(Duration::from_millis(10)).await;
    }
}
