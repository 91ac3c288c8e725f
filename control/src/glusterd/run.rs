//! The daemon process: start, listeners, signals, end. Ending leaves bricks, self-heal daemons and clients alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use clap::Parser;
use datapath::sys::process::{self, PidFile, StatusPipe};

use super::config::{Arguments, CONFIG_FILE, Config};
use super::daemon::Daemon;
use super::programs;
use crate::process::notify::ServiceManager;
use crate::process::{Level, Log};
use crate::rpc::Address;
use crate::rt::{self, Listener};
use crate::volfile::Graph;

/// Descriptors that many clients and bricks may need.
const OPEN_FILES: u64 = 65_536;

/// Runs the daemon with the process's arguments and answers the exit status.
pub fn main() -> i32 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is asked for, anything else is a mistake; clap knows where each is printed.
            let _ = error.print();
            return if error.use_stderr() { 64 } else { 0 };
        }
    };
    if arguments.version {
        print!("{}", crate::cli::version_text());
        return 0;
    }
    match start(&arguments) {
        Ok(status) => status,
        Err(why) => {
            eprintln!("glusterd: {why}");
            1
        }
    }
}

fn start(arguments: &Arguments) -> Result<i32, String> {
    let config = read_config(arguments)?;
    let foreground = arguments.no_daemon || arguments.debug;
    let status = match foreground {
        true => StatusPipe::foreground(),
        false => process::daemonize().map_err(|e| format!("cannot become a daemon: {e}"))?,
    };
    // Whoever started the daemon may have blocked the signal that ends it.
    process::unblock_all_signals().map_err(|e| format!("signals cannot be unblocked: {e}"))?;
    let log = open_log(arguments, &config)?;
    let pid_file = lock_pid_file(&arguments.pid_file)?;
    // A rotation of the logs during the start must not end the daemon: SIGHUP means something only once it serves.
    for signal in [libc::SIGPIPE, libc::SIGHUP] {
        process::ignore_signal(signal).map_err(|e| format!("signal {signal}: {e}"))?;
    }
    if let Err(error) = process::raise_open_files(OPEN_FILES) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    let served = rt::block_on(serve(config, status, &log));
    let result = served.map_err(|e| format!("the runtime did not start: {e}"))?;
    if let Err(why) = &result {
        tracing::error!("{why}");
    }
    pid_file
        .remove()
        .map_err(|e| format!("the pid file cannot be removed: {e}"))?;
    result
}

fn read_config(arguments: &Arguments) -> Result<Config, String> {
    let path = &arguments.volfile;
    let graph = match std::fs::read(path) {
        Ok(text) => Some(Graph::parse(text).map_err(|e| format!("{}: {e}", path.display()))?),
        // Without the packaged file everything has its default; a file that was asked for must be there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(CONFIG_FILE) => None,
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    Config::new(graph.as_ref(), arguments)
}

fn open_log(arguments: &Arguments, config: &Config) -> Result<Log, String> {
    let level = match (&arguments.log_level, arguments.debug) {
        (Some(level), _) => level.parse::<Level>()?,
        (None, true) => Level::Debug,
        (None, false) => Level::Info,
    };
    let default = config.paths.logdir.join("glusterd.log");
    let file = match &arguments.log_file {
        _ if arguments.debug => None,
        Some(path) if path == Path::new("-") => None,
        Some(path) => Some(path.clone()),
        None => Some(default),
    };
    let log = Log::new(file.as_deref(), level).map_err(|e| match &file {
        Some(path) => format!("{}: {e}", path.display()),
        None => format!("standard error: {e}"),
    })?;
    log.install()?;
    Ok(log)
}

fn lock_pid_file(path: &Path) -> Result<PidFile, String> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    }
    PidFile::lock(path).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => format!("{}: another glusterd is running with this pid file", path.display()),
        _ => format!("{}: {e}", path.display()),
    })
}

/// Listens, takes the volumes up and serves until a signal asks for the end.
async fn serve(config: Config, status: StatusPipe, log: &Log) -> Result<i32, String> {
    let manager = ServiceManager::from_environment();
    let daemon = match listen(config).await {
        Ok(daemon) => daemon,
        Err(why) => {
            // The waiting parent exits with this; there is nobody else to tell.
            let _ = status.report(1);
            return Err(why);
        }
    };
    status
        .report(0)
        .map_err(|e| format!("the starting process is gone: {e}"))?;
    let mut signals = rt::Signals::new(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]).map_err(|e| e.to_string())?;
    daemon.resume().await;
    // Only now: a mount that is ordered after this service finds its volfile.
    manager.ready();
    loop {
        match signals.next().await {
            libc::SIGHUP => {
                manager.reloading();
                if let Err(error) = log.reopen() {
                    tracing::error!("the log cannot be opened anew: {error}");
                }
                tracing::info!("SIGHUP: volfiles are announced again");
                daemon.notify_volfile_change();
                manager.ready();
            }
            number => {
                manager.stopping();
                tracing::info!("signal {number}: the daemon ends, its bricks and clients go on");
                return Ok(0);
            }
        }
    }
}

async fn listen(config: Config) -> Result<Daemon, String> {
    let any = if config.inet6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let bind = |address: Address| Listener::bind(&address).map_err(|e| format!("cannot listen on {address}: {e}"));
    let tcp = bind(Address::Tcp(SocketAddr::new(any, config.port)))?;
    let port = match tcp.local() {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => 0,
    };
    // The volumes before the first connection is taken: whoever connects must find them.
    let daemon = Daemon::open(config.clone(), port).await?;
    let socket = config.socket.clone();
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    }
    let unix = bind(Address::Unix(socket))?;
    let (tcp_server, unix_server) = programs::servers(&daemon);
    daemon.attach(vec![tcp_server.clone(), unix_server.clone()]);
    tracing::info!("node {}: listening on port {port}", daemon.node().uuid);
    rt::spawn(async move { tcp_server.serve(tcp).await });
    rt::spawn(async move { unix_server.serve(unix).await });
    Ok(daemon)
}
