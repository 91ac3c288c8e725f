//! The process `glusterfs`: from its command line to a mount that answers, and to its end.
//!
//! The parent process returns when the mount answers, or with one line about what is wrong. The order keeps that
//! promise: everything that can fail (options, mount point, servers, bricks) comes before mount(2), and a kernel mount
//! is removed again if its root does not answer.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use control::client::{ClientHandle, ClientOptions, VolfileServer};
use control::process::{Level, Log};
use datapath::client::LiveVolume;
use datapath::sys::process::{self, PidFile, StatusPipe};

use crate::dispatch::{Behaviour, Core};
use crate::mount::{self, MountSpec, Mounted};
use crate::options::{self, Args, GLUSTERD_PORT};
use crate::router::{Announced, Router, ToCore, announce};
use crate::transport::TransportConfig;

/// Signals the main thread waits for; blocked everywhere else.
const SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
/// How long the bricks may take to give their first status.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long the cores may take to start.
const GATHER_LIMIT: Duration = Duration::from_secs(30);
/// How long a mount that was told to go may stay, kept by its users.
const GOING_LIMIT: Duration = Duration::from_secs(5);
/// How often the main thread looks for a refusal by the bricks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Open files a client may need: each file open on the mount costs none here, sockets and rings do.
const OPEN_FILES: u64 = 65536;

/// What wakes the main thread.
enum Event {
    Signal(i32),
    MountEnded,
}

/// Everything `glusterfs` does; returns its exit code.
pub fn main<I: IntoIterator<Item = OsString>>(args: I) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = match Args::from_command_line(&args) {
        Ok(parsed) => parsed,
        Err(e) if !e.use_stderr() => {
            print!("{e}");
            return 0;
        }
        Err(e) => {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default();
            eprintln!("glusterfs: {}", line.trim_start_matches("error: "));
            return 1;
        }
    };
    if let Some(text) = information(&parsed) {
        println!("{text}");
        return 0;
    }
    if parsed.is_self_heal_daemon() {
        let words: Vec<String> = args
            .iter()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        return u8::try_from(control::shd::main(&words) & 255).unwrap_or(1);
    }
    match run(parsed) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("glusterfs: {why}");
            1
        }
    }
}

/// What is only printed.
fn information(args: &Args) -> Option<String> {
    if args.version {
        return Some(format!(
            "{}\nRingluster {}",
            options::VERSION,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if args.print_logdir {
        return Some("/var/log/glusterfs".to_owned());
    }
    args.print_statedumpdir.then(|| "/var/run/gluster".to_owned())
}

/// A start that has passed every check of its command line.
struct Plan {
    args: Args,
    target: PathBuf,
    spec: MountSpec,
    behaviour: Behaviour,
    transport: TransportConfig,
    client: ClientOptions,
    foreground: bool,
    /// What was mounted there was of a client that had ended; it was unmounted.
    cleared: bool,
}

impl Plan {
    fn new(args: Args) -> Result<Plan, String> {
        args.check_supported()?;
        let behaviour = args.behaviour()?;
        let transport = args.transport()?;
        let servers = args.servers()?;
        let id = args
            .volfile_id
            .clone()
            .filter(|id| !id.is_empty())
            .ok_or("no volume is given (--volfile-id)")?;
        let point = args.mount_point.clone().ok_or("no mount point is given")?;
        // Whoever mounts again wants the volume back.
        let cleared = mount::clear_dead(&point)
            .map_err(|e| format!("{}: unmounting what a dead client left: {e}", point.display()))?;
        mount::check(&point).map_err(|e| e.to_string())?;
        // A daemon's working directory is "/".
        let target = std::fs::canonicalize(&point).map_err(|e| format!("mount point {}: {e}", point.display()))?;
        let (flags, extra) = options::kernel_mount_options(&args.fuse_mountopts, args.read_only)?;
        let first = servers.first().map(String::as_str).unwrap_or_default();
        let spec = MountSpec {
            target: target.clone(),
            // As it was typed: `mount -a` finds by the fstab line's own words that it is mounted already.
            source: format!("{first}:{id}"),
            flags,
            extra,
        };
        let port = args.volfile_server_port.unwrap_or(GLUSTERD_PORT);
        let servers = servers.into_iter().map(|host| VolfileServer::Tcp(host, port)).collect();
        let mut client = ClientOptions::new(id, servers);
        client.xlator_options.clone_from(&args.xlator_option);
        client.process_name = args.process_name.clone().unwrap_or_else(|| "fuse".to_owned());
        client.client_pid = args.client_pid()?;
        client.fetch_attempts = args.fetch_attempts();
        client.address_file = Some(PathBuf::from("/var/lib/glusterd/ringluster-addresses"));
        let foreground = args.no_daemon || args.debug;
        Ok(Plan {
            args,
            target,
            spec,
            behaviour,
            transport,
            client,
            foreground,
            cleared,
        })
    }

    fn open_log(&self) -> Result<Log, String> {
        let level = match (&self.args.log_level, self.args.debug) {
            (_, true) => Level::Debug,
            (Some(text), false) => text.parse()?,
            (None, false) => Level::Info,
        };
        let path = self.args.log_path();
        let path = (!self.args.debug && path != Path::new("-")).then_some(path);
        let log = Log::new(path.as_deref(), level)
            .map_err(|e| format!("log file {}: {e}", path.unwrap_or_default().display()))?;
        log.install()?;
        Ok(log)
    }
}

/// An error is still to be printed; an exit code says that everything has been.
fn run(args: Args) -> Result<u8, String> {
    let mut plan = Plan::new(args)?;
    let log = plan.open_log()?;
    if plan.cleared {
        let text = "a dead mount was unmounted: its client had ended, files open there are lost";
        tracing::warn!("{}: {text}", plan.target.display());
        eprintln!("glusterfs: {}: {text}", plan.target.display());
    }
    plan.client.log = plan.args.volfile_sets_log_level().then(|| log.clone());
    process::unblock_all_signals().map_err(|e| format!("signals: {e}"))?;
    process::ignore_signal(libc::SIGPIPE).map_err(|e| format!("signals: {e}"))?;
    let pipe = if plan.foreground {
        StatusPipe::foreground()
    } else {
        process::daemonize().map_err(|e| format!("becoming a daemon: {e}"))?
    };
    // From here on this is the daemon, and the parent waits for a word on the pipe; without one it exits with 1.
    process::block_signals(&SIGNALS).map_err(|e| format!("signals: {e}"))?;
    let mut pipe = Some(pipe);
    let result = serve(&plan, &log, &mut pipe);
    match &result {
        Ok(()) => tracing::info!("the mount on {} has ended", plan.target.display()),
        Err(why) => {
            tracing::error!("{why}");
            // Before the parent is let go, so that the line is there when the mount command returns.
            eprintln!("glusterfs: {why}");
        }
    }
    let code = u8::from(result.is_err());
    if let Some(pipe) = pipe {
        pipe.report(i32::from(code))
            .map_err(|e| format!("telling the parent process: {e}"))?;
    }
    Ok(code)
}

/// Starts client and mount, reports success on the pipe, and stays until the mount is gone.
fn serve(plan: &Plan, log: &Log, pipe: &mut Option<StatusPipe>) -> Result<(), String> {
    tracing::info!("mounting {} on {}", plan.spec.source, plan.target.display());
    let without_effect = plan.args.ignored.given();
    if !without_effect.is_empty() {
        tracing::warn!("options without effect in this client: {}", without_effect.join(" "));
    }
    let pid_file = plan.args.pid_file.as_deref().map(PidFile::lock).transpose();
    let pid_file = pid_file.map_err(|e| format!("pid file {}: {e}", shown(plan.args.pid_file.as_deref())))?;
    prepare_process(&plan.args);
    let (announced_tx, announced) = mpsc::channel();
    let behaviour = plan.behaviour.clone();
    let handle = control::client::start(plan.client.clone(), move |index, volume| {
        core(index, volume, announced_tx.clone(), behaviour.clone())
    })
    .map_err(|e| e.to_string())?;
    let result = serve_mount(plan, log, pipe, &handle, &announced);
    handle.shutdown();
    if let Some(file) = pid_file
        && let Err(e) = file.remove()
    {
        tracing::warn!("pid file: {e}");
    }
    result
}

fn shown(path: Option<&Path>) -> String {
    path.map(|p| p.display().to_string()).unwrap_or_default()
}

/// What one core runs beside its sessions.
async fn core(index: usize, volume: LiveVolume, gatherer: mpsc::Sender<Announced>, behaviour: Behaviour) {
    let Some(mut mailbox) = announce(index, &gatherer) else {
        return;
    };
    if let Some(ToCore::Begin(router)) = mailbox.recv().await {
        Core::new(index, volume, router, behaviour).run(mailbox).await;
    }
}

fn prepare_process(args: &Args) {
    if let Err(e) = process::raise_open_files(OPEN_FILES) {
        tracing::warn!("limit of open files: {e}");
    }
    if let Some(score) = args.oom_score_adj
        && let Err(e) = std::fs::write("/proc/self/oom_score_adj", score.to_string())
    {
        tracing::warn!("--oom-score-adj {score}: {e}");
    }
}

fn serve_mount(
    plan: &Plan,
    log: &Log,
    pipe: &mut Option<StatusPipe>,
    handle: &ClientHandle,
    announced: &mpsc::Receiver<Announced>,
) -> Result<(), String> {
    let router = Router::gather(announced, handle.cores(), GATHER_LIMIT).ok_or("the cores did not start")?;
    handle
        .ready_wait(READY_LIMIT)
        .map_err(|e| format!("volume {}: {e}", plan.client.volfile_id))?;
    let (events_tx, events) = mpsc::channel();
    let mount_ended = events_tx.clone();
    // Nobody is there to hear it when the main thread has given up first.
    let on_end = move || drop(mount_ended.send(Event::MountEnded));
    let intake = Arc::new(router.clone());
    let mounted = Mounted::new(&plan.spec, plan.transport.clone(), intake, on_end).map_err(|e| e.to_string())?;
    wait_for_signals(events_tx)?;
    if let Some(pipe) = pipe.take() {
        pipe.report(0).map_err(|e| format!("telling the parent process: {e}"))?;
    }
    let result = stay(log, handle, &mounted, &events);
    if mounted.ended(Duration::ZERO) {
        mounted
            .wait()
            .map_err(|e| format!("the connection to the kernel: {e}"))?;
    }
    router.shutdown();
    result
}

/// Signals become events, by a thread of their own that lives as long as the process.
fn wait_for_signals(events: mpsc::Sender<Event>) -> Result<(), String> {
    let waiting = move || {
        while let Ok(signal) = process::wait_signal(&SIGNALS) {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(waiting);
    thread.map(drop).map_err(|e| format!("signals: {e}"))
}

/// Waits for the end of the mount: from outside, by signal, or because the bricks will not have this client.
fn stay(log: &Log, handle: &ClientHandle, mounted: &Mounted, events: &mpsc::Receiver<Event>) -> Result<(), String> {
    loop {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::MountEnded) => return Ok(()),
            Ok(Event::Signal(libc::SIGHUP)) => {
                if let Err(e) = log.reopen() {
                    tracing::error!("reopening the log: {e}");
                }
                handle.refetch();
            }
            Ok(Event::Signal(signal)) => {
                tracing::info!("signal {signal}: unmounting");
                return leave(mounted);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if let Some(why) = handle.auth_failure() {
                    leave(mounted)?;
                    return Err(format!("a brick refuses this client: {why}"));
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return leave(mounted),
        }
    }
}

fn leave(mounted: &Mounted) -> Result<(), String> {
    mounted.unmount().map_err(|e| format!("unmounting: {e}"))?;
    if !mounted.ended(GOING_LIMIT) {
        tracing::warn!("files are still open on the mount: they get \"Transport endpoint is not connected\" now");
    }
    Ok(())
}
