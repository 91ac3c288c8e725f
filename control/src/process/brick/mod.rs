//! The brick process: `glusterfsd` as the management daemon starts it (wire-protocol.md 6.1 to 6.4).
//!
//! The control thread fetches the volfile, listens, signs in to the portmapper, watches the disk and answers brick
//! operations; file operations are the core's alone. The brick goes on when the management daemon is away.

mod core;
mod ops;
mod plan;

use std::cell::RefCell;
use std::net::TcpListener;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use datapath::sys;
use datapath::wire::portmap::{Proc, SignInReq, SignInRsp, SignOutReq, SignOutRsp};
use futures_util::future::{Either, select};

use self::core::{Core, Opened, Order};
use self::ops::BrickOps;
use self::plan::Plan;
use super::args::Args;
use super::daemon::{self, Failure, Frame};
use super::log::{Log, Timestamp};
use crate::client::VolfileServer;
use crate::client::fetch::{Fetched, Fetcher, Notices, Patience};
use crate::client::resolve::Resolver;
use crate::rpc::{Address, Client, ProgramId, Server};
use crate::rt::{self, Listener, Signals, sync};
use crate::volfile::Graph;

/// How long the management daemon may take for the first volfile.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// One call to the portmapper.
const PORTMAP_LIMIT: Duration = Duration::from_secs(5);
/// Pause before a refused SIGNIN is tried again.
const SIGNIN_PAUSE: Duration = Duration::from_secs(1);
/// How often trees of forced removals are freed.
const JANITOR_INTERVAL: Duration = Duration::from_secs(10);
/// How often the control thread looks whether the core still runs.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The disk may take as long as this where no limit is set: a year.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long clients may be busy leaving after the brick's disk has failed, before the process ends.
const FAILURE_GRACE: Duration = Duration::from_secs(1);
/// How long the core may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Where statedumps go.
const STATEDUMP_DIRECTORY: &str = "/var/run/gluster";

/// Runs `glusterfsd` with these words (without the program's name) and returns the exit code.
pub fn main(words: &[String]) -> i32 {
    daemon::main("glusterfsd", words, check, |frame| async move {
        let Frame { args, log, status } = frame;
        let mut status = Some(status);
        let brick = match start(&args, &log).await {
            Ok(brick) => brick,
            Err(failure) => return Err((failure, status)),
        };
        if let Some(Err(e)) = status.take().map(|status| status.report(0)) {
            tracing::warn!("the starting process cannot be told of the success: {e}");
        }
        brick.run(&log).await.map_err(|failure| (failure, None))
    })
}

fn check(args: &Args) -> Result<(), String> {
    if args.volfile.is_none() && args.servers.is_empty() {
        return Err("a volfile server (-s) or a volfile (-f) is needed".to_owned());
    }
    if args.volfile.is_none() && args.volfile_id.is_none() {
        return Err("--volfile-id is needed".to_owned());
    }
    Ok(())
}

struct Brick {
    args: Args,
    plan: RefCell<Plan>,
    process_uuid: String,
    port: u16,
    core: Rc<Core>,
    opened: Opened,
    notices: Notices,
    /// The connection to the management daemon, while there is one.
    daemon: Rc<RefCell<Option<Client>>>,
    terminate: Rc<sync::Notify>,
    disk_failed: Rc<sync::Notify>,
}

/// From the command line to a brick that serves.
async fn start(args: &Args, log: &Log) -> Result<Rc<Brick>, Failure> {
    let host = sys::host::hostname().unwrap_or_else(|_| "localhost".to_owned());
    let process_uuid = format!("{host}-{}-{}", std::process::id(), seconds());
    let notices = Notices::default();
    let source = fetch(args, &notices).await?;
    let text = match &source {
        Source::Server(_, fetched) => fetched.text.clone(),
        Source::File(text) => text.clone(),
    };
    let plan = read_plan(args, &text, &process_uuid).map_err(|why| Failure::new(format!("volfile: {why}")))?;
    if let Some(level) = plan.log_level {
        log.set_level(level.max(args.log_level));
    }
    let listener = listen(&plan)?;
    let port = listener
        .local_addr()
        .map_err(|e| Failure::new(format!("the brick's port: {e}")))?
        .port();
    let (core, opened) = Core::start(&plan, listener).await?;
    let brick = Rc::new(Brick {
        args: args.clone(),
        plan: RefCell::new(plan),
        process_uuid,
        port,
        core: Rc::new(core),
        opened,
        notices: notices.clone(),
        daemon: Rc::default(),
        terminate: Rc::new(sync::Notify::new()),
        disk_failed: Rc::new(sync::Notify::new()),
    });
    brick.clone().serve_operations()?;
    if let Source::Server(fetcher, fetched) = source {
        let (follower, log) = (brick.clone(), log.clone());
        rt::spawn(async move {
            let connected = |client: &Client| {
                follower.daemon.replace(Some(client.clone()));
                rt::spawn(sign_in(client.clone(), follower.name(), follower.port));
            };
            fetcher
                .follow(fetched, notices, connected, |text| {
                    follower.volfile_changed(&text, &log)
                })
                .await;
        });
    }
    rt::spawn(brick.clone().watch_disk());
    rt::spawn(brick.clone().clean());
    Ok(brick)
}

enum Source {
    Server(Rc<Fetcher>, Fetched),
    File(Bytes),
}

async fn fetch(args: &Args, notices: &Notices) -> Result<Source, Failure> {
    if let Some(path) = &args.volfile {
        let text = std::fs::read(path).map_err(|e| Failure::new(format!("{} cannot be read: {e}", path.display())))?;
        return Ok(Source::File(text.into()));
    }
    let servers = args
        .servers
        .iter()
        .flat_map(|list| VolfileServer::parse_list(list, args.server_port))
        .collect();
    let fetcher = Rc::new(Fetcher {
        key: args.volfile_id.clone().unwrap_or_default(),
        is_client: false,
        extra: args
            .brick_name
            .iter()
            .map(|name| ("brick_name", name.clone()))
            .collect(),
        servers: RefCell::new(servers),
        resolver: Resolver::new(None),
    });
    let fetched = fetcher
        .fetch(&notices.handler(), Patience::For(FETCH_LIMIT))
        .await
        .map_err(|e| Failure::new(e.to_string()))?;
    Ok(Source::Server(fetcher, fetched))
}

fn read_plan(args: &Args, text: &[u8], process_uuid: &str) -> Result<Plan, String> {
    let mut graph = Graph::parse(text).map_err(|e| e.to_string())?;
    for option in &args.xlator_options {
        graph.apply_xlator_option(option)?;
    }
    plan::read(&graph, args.brick_name.as_deref(), args.brick_port, process_uuid)
}

/// The listening socket is opened here, so that a port in use is told by its number (wire-protocol.md 6.2).
fn listen(plan: &Plan) -> Result<TcpListener, Failure> {
    TcpListener::bind(plan.listen).map_err(|e| {
        let status = e.raw_os_error().unwrap_or(1);
        Failure::with_status(format!("cannot listen on {}: {e}", plan.listen), status)
    })
}

/// Tells the portmapper where the brick listens, until it has understood or the connection is over.
async fn sign_in(client: Client, brick: String, port: u16) {
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let request = SignInReq {
        brick: Bytes::from(brick.into_bytes()),
        port: i32::from(port),
        pid,
    };
    while client.end_reason().is_none() {
        let reply: Result<SignInRsp, _> = client
            .call_typed(ProgramId::PORTMAP, Proc::SignIn as u32, &request, PORTMAP_LIMIT)
            .await;
        match reply {
            Ok(reply) if reply.op_ret == 0 => return tracing::info!("signed in with port {port}"),
            Ok(reply) => tracing::warn!("the portmapper refuses the brick: error {}", reply.op_errno),
            Err(e) => tracing::warn!("signing in failed: {e}"),
        }
        rt::sleep(SIGNIN_PAUSE).await;
    }
}

fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

impl Brick {
    fn name(&self) -> String {
        self.plan.borrow().config.name.clone()
    }

    fn serve_operations(self: Rc<Self>) -> Result<(), Failure> {
        let Some(path) = &self.args.socket_file else {
            return Ok(());
        };
        let listener = Listener::bind(&Address::Unix(path.clone()))
            .map_err(|e| Failure::new(format!("the socket {} cannot be opened: {e}", path.display())))?;
        let ops = Rc::new(BrickOps {
            core: self.core.clone(),
            terminate: self.terminate.clone(),
        });
        rt::spawn(async move { Server::new(vec![ops]).serve(listener).await });
        Ok(())
    }

    /// Options may change while the brick runs; its place may not.
    fn volfile_changed(&self, text: &[u8], log: &Log) {
        let new = match read_plan(&self.args, text, &self.process_uuid) {
            Ok(new) => new,
            Err(why) => return tracing::error!("the changed volfile cannot be used, the old one stays: {why}"),
        };
        let same_place = {
            let old = self.plan.borrow();
            old.store.root == new.store.root && old.store.volume_id == new.store.volume_id
        };
        if !same_place {
            return tracing::error!("the volfile names another directory or volume now; restart the brick to follow");
        }
        if let Some(level) = new.log_level {
            log.set_level(level);
        }
        tracing::info!("the volfile has changed; the new options are in force");
        self.core.order(Order::Reconfigure(Box::new((
            new.config.clone(),
            new.store.options.clone(),
        ))));
        self.plan.replace(new);
    }

    /// Writes and reads a time stamp regularly; a disk that fails or hangs takes the brick down, so that clients turn
    /// to the others.
    async fn watch_disk(self: Rc<Self>) {
        loop {
            let limit = self.check_due().await;
            let check = self.opened.health.clone();
            let why = match rt::timeout(limit, rt::blocking(move || check.run(seconds()))).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(e))) => e.to_string(),
                Ok(Err(e)) => e.to_string(),
                Err(_) => format!("the disk does not answer within {} s", limit.as_secs()),
            };
            tracing::error!("{}: health-check failed, going down: {why}", self.name());
            self.core.order(Order::ChildUp(false));
            rt::sleep(FAILURE_GRACE).await;
            return self.disk_failed.notify_one();
        }
    }

    /// Waits for `storage.health-check-interval`, which may change meanwhile and is off while it is 0. Returns how long
    /// the disk may take to answer: `storage.health-check-timeout`, where 0 means any time.
    async fn check_due(&self) -> Duration {
        let begin = rt::Instant::now();
        loop {
            rt::sleep(WATCH_INTERVAL).await;
            let plan = self.plan.borrow();
            if !plan.health_interval.is_zero() && rt::Instant::now() - begin >= plan.health_interval {
                return match plan.health_timeout {
                    Duration::ZERO => NO_LIMIT,
                    limit => limit,
                };
            }
        }
    }

    /// Frees what forced removals left behind.
    async fn clean(self: Rc<Self>) {
        loop {
            rt::sleep(JANITOR_INTERVAL).await;
            let janitor = self.opened.janitor.clone();
            match rt::blocking(move || janitor.purge()).await {
                Ok(Ok(0)) => {}
                Ok(Ok(n)) => tracing::debug!("{n} names removed from the landfill"),
                Ok(Err(e)) => tracing::warn!("the landfill cannot be emptied: {e}"),
                Err(e) => tracing::warn!("the landfill's cleaner ended: {e}"),
            }
        }
    }

    async fn run(self: Rc<Self>, log: &Log) -> Result<i32, Failure> {
        let numbers = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
        let mut signals = Signals::new(&numbers).map_err(|e| Failure::new(format!("signals: {e}")))?;
        let code = loop {
            match self.next_event(&mut signals).await {
                Event::Signal(libc::SIGHUP) => {
                    if let Err(e) = log.reopen() {
                        tracing::error!("the log cannot be opened anew: {e}");
                    }
                    self.notices.poke();
                }
                Event::Signal(libc::SIGUSR1) => self.statedump().await,
                Event::Signal(signal @ (libc::SIGTERM | libc::SIGINT)) => break signal,
                Event::Signal(_) => {}
                Event::Terminate => break libc::SIGTERM,
                Event::DiskFailed => break 1,
                Event::CoreEnded => {
                    tracing::error!("the brick's core has ended");
                    break 1;
                }
            }
        };
        self.sign_out().await;
        self.stop().await;
        if let Some(Err(e)) = self.args.socket_file.as_deref().map(std::fs::remove_file) {
            tracing::debug!("the socket cannot be removed: {e}");
        }
        Ok(code)
    }

    async fn next_event(&self, signals: &mut Signals) -> Event {
        let signal = std::pin::pin!(signals.next());
        let terminate = std::pin::pin!(self.terminate.notified());
        let disk = std::pin::pin!(self.disk_failed.notified());
        let core = std::pin::pin!(async {
            while self.core.is_running() {
                rt::sleep(WATCH_INTERVAL).await;
            }
        });
        match select(select(signal, terminate), select(disk, core)).await {
            Either::Left((Either::Left((signal, _)), _)) => Event::Signal(signal),
            Either::Left((Either::Right(_), _)) => Event::Terminate,
            Either::Right((Either::Left(_), _)) => Event::DiskFailed,
            Either::Right((Either::Right(_), _)) => Event::CoreEnded,
        }
    }

    async fn sign_out(&self) {
        let Some(client) = self.daemon.borrow().clone() else {
            return;
        };
        if client.end_reason().is_some() {
            return;
        }
        let brick = Bytes::from(self.name().into_bytes());
        let request = SignOutReq {
            brick,
            port: i32::from(self.port),
            rdma_port: 0,
        };
        let reply: Result<SignOutRsp, _> = client
            .call_typed(ProgramId::PORTMAP, Proc::SignOut as u32, &request, PORTMAP_LIMIT)
            .await;
        match reply {
            Ok(_) => tracing::info!("signed out"),
            Err(e) => tracing::warn!("signing out failed: {e}"),
        }
    }

    async fn stop(&self) {
        if !self.core.is_running() || !self.core.order(Order::Stop) {
            return;
        }
        let ended = rt::timeout(STOP_LIMIT, async {
            while self.core.is_running() {
                rt::sleep(Duration::from_millis(5)).await;
            }
        });
        if ended.await.is_err() {
            tracing::warn!("the brick's core does not end; the process ends without it");
        }
    }

    /// SIGUSR1 (wire-protocol.md 6.4).
    async fn statedump(&self) {
        let name = self.name();
        let dashes = name.trim_start_matches('/').replace('/', "-");
        let file = format!("{dashes}.{}.dump.{}", std::process::id(), seconds());
        let path = Path::new(STATEDUMP_DIRECTORY).join(file);
        let start = Timestamp::now();
        let Some(status) = self.core.status().await else {
            return tracing::error!("no statedump: the brick's core has ended");
        };
        let mut text = format!("DUMP-START-TIME: {start}\n\n[xlator.protocol.server.{name}]\n");
        text.push_str(&format!(
            "clients={}\nwaiting-calls={}\n",
            status.clients.len(),
            status.waiting_calls
        ));
        for client in &status.clients {
            text.push_str(&format!(
                "client={} {} {} open-files={} read={} written={}\n",
                client.peer,
                client.process_name,
                client.uuid,
                client.open_files,
                client.bytes_read,
                client.bytes_written
            ));
        }
        text.push_str(&format!(
            "\n[xlator.features.index]\npending={}\ndirty={}\n",
            status.pending, status.dirty
        ));
        text.push_str("\n[xlator.features.locks]\n");
        status.locks.iter().for_each(|lock| text.push_str(&format!("{lock}\n")));
        text.push_str(&format!("\nDUMP-END-TIME: {}\n", Timestamp::now()));
        match std::fs::create_dir_all(STATEDUMP_DIRECTORY).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => tracing::info!("statedump written to {}", path.display()),
            Err(e) => tracing::error!("the statedump {} cannot be written: {e}", path.display()),
        }
    }
}

enum Event {
    Signal(i32),
    Terminate,
    DiskFailed,
    CoreEnded,
}
