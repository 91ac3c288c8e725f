//! The command line of `glusterfs` (wire-protocol.md 6.1, 7.2): GlusterFS's options, and what they mean here.
//!
//! Three kinds: honoured; accepted without effect, because they tune something this client does not have; and known
//! but impossible so far, which are refused by name, since a user who gives them relies on them. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};

use crate::dispatch::{Behaviour, DirectIo};
use crate::servers;
use crate::transport::TransportConfig;

/// The port of the management daemon.
pub const GLUSTERD_PORT: u16 = 24007;

/// What `--version` prints first; tools parse it (wire-protocol.md 6.1).
pub const VERSION: &str = "glusterfs 10.3";

/// The command line as given.
#[derive(Parser, Debug, Clone)]
#[command(name = "glusterfs", disable_version_flag = true, args_override_self = true)]
#[allow(missing_docs, reason = "the options are GlusterFS's; its help says the same words")]
pub struct Args {
    /// Server to get the volume file from; may be repeated, and may be a list.
    #[arg(short = 's', long = "volfile-server", value_name = "SERVER", action = ArgAction::Append)]
    pub volfile_server: Vec<String>,
    /// Listening port number of volfile server.
    #[arg(long, value_name = "PORT")]
    pub volfile_server_port: Option<u16>,
    /// Transport type to get volfile from server.
    #[arg(long, value_name = "TRANSPORT")]
    pub volfile_server_transport: Option<String>,
    /// 'key' of the volfile to be fetched from server.
    #[arg(long, value_name = "KEY")]
    pub volfile_id: Option<String>,
    /// File to use as volume file.
    #[arg(short = 'f', long, value_name = "VOLFILE")]
    pub volfile: Option<PathBuf>,
    /// Name of this process in the clients' lists.
    #[arg(long, value_name = "NAME")]
    pub process_name: Option<String>,
    /// File to use for logging ("-" is stderr).
    #[arg(short = 'l', long, value_name = "LOGFILE")]
    pub log_file: Option<PathBuf>,
    /// Logging severity.
    #[arg(short = 'L', long, value_name = "LOGLEVEL")]
    pub log_level: Option<String>,
    /// File to use as pid file.
    #[arg(short = 'p', long, value_name = "PIDFILE")]
    pub pid_file: Option<PathBuf>,
    /// File to use as unix-socket.
    #[arg(short = 'S', long, value_name = "SOCKFILE")]
    pub socket_file: Option<PathBuf>,
    /// Run in foreground.
    #[arg(short = 'N', long)]
    pub no_daemon: bool,
    /// Run in the foreground and log everything to the console.
    #[arg(long)]
    pub debug: bool,
    /// Add or override an option of a translator: NAME.OPTION=VALUE.
    #[arg(long, value_name = "OPTION", action = ArgAction::Append)]
    pub xlator_option: Vec<String>,
    /// The pid that marks this client's internal requests.
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    pub client_pid: Option<i32>,
    /// Further kernel mount options.
    #[arg(long, value_name = "OPTIONS", action = ArgAction::Append)]
    pub fuse_mountopts: Vec<String>,
    /// Mount this directory of the volume as the root (not supported yet: refused).
    #[arg(long, value_name = "PATH")]
    pub subdir_mount: Option<String>,
    /// Mount read-only.
    #[arg(long)]
    pub read_only: bool,
    /// Check POSIX access control lists.
    #[arg(long)]
    pub acl: bool,
    /// Pass SELinux labels on to the bricks.
    #[arg(long)]
    pub selinux: bool,
    /// Pass file capabilities on to the bricks.
    #[arg(long)]
    pub capability: bool,
    /// How long the kernel may keep attributes, in seconds with a fraction; 0 by default.
    #[arg(long, value_name = "SECONDS")]
    pub attribute_timeout: Option<String>,
    /// How long the kernel may keep names, in seconds with a fraction; 0 by default.
    #[arg(long, value_name = "SECONDS")]
    pub entry_timeout: Option<String>,
    /// How long the kernel may remember that a name is missing, in seconds; 0 by default.
    #[arg(long, value_name = "SECONDS")]
    pub negative_timeout: Option<String>,
    /// How long a user's supplementary groups are remembered, in seconds; 300 by default.
    #[arg(long, value_name = "SECONDS")]
    pub gid_timeout: Option<String>,
    /// Keep the kernel's page cache out of it: on, off, or auto as the file was opened.
    #[arg(long, value_name = "BOOL|auto", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub direct_io_mode: Option<String>,
    /// Keep a file's pages in the kernel when it is opened again.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub fopen_keep_cache: Option<String>,
    /// Let the kernel drop a file's pages when its times or size have changed; on by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub auto_invalidation: Option<String>,
    /// Let the kernel collect writes; off by default, because other clients see them later.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub kernel_writeback_cache: Option<String>,
    /// Resolution of time stamps in nanoseconds; 0 (the finest) by default.
    #[arg(long, value_name = "NS", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub attr_times_granularity: Option<u32>,
    /// Read attributes together with names; on by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub use_readdirp: Option<String>,
    /// Requests the kernel may keep in the background, 16 to 65535.
    #[arg(long, value_name = "N")]
    pub background_qlen: Option<u16>,
    /// Background requests from which the kernel calls the mount congested.
    #[arg(long, value_name = "N")]
    pub congestion_threshold: Option<u16>,
    /// Threads that read requests from the kernel, 1 to 64.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub reader_thread_count: Option<usize>,
    /// How often the volfile servers are tried before giving up; 0, the default, tries for ten seconds.
    #[arg(long, value_name = "N")]
    pub volfile_max_fetch_attempts: Option<u32>,
    /// Ask the bricks not to squash root.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub no_root_squash: Option<String>,
    /// How readily the kernel kills this process when memory is short, -1000 to 1000.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Print program version.
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Print path of default log directory.
    #[arg(long)]
    pub print_logdir: bool,
    /// Print path of default state-dump directory.
    #[arg(long)]
    pub print_statedumpdir: bool,
    #[command(flatten)]
    pub refused: Refused,
    #[command(flatten)]
    pub ignored: Ignored,
    /// The mount point.
    pub mount_point: Option<PathBuf>,
}

/// Options that promise something this client does not do.
#[derive(clap::Args, Debug, Clone)]
#[allow(missing_docs, reason = "see Args")]
pub struct Refused {
    #[arg(long, hide = true)]
    pub worm: bool,
    #[arg(long, hide = true)]
    pub aux_gfid_mount: bool,
    #[arg(long, hide = true)]
    pub thin_client: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub enable_ino32: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub secure_mgmt: Option<String>,
    #[arg(long, hide = true)]
    pub dump_fuse: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub volume_name: Option<String>,
}

/// Options that tune machinery this client does not have.
#[derive(clap::Args, Debug, Clone)]
#[allow(missing_docs, reason = "see Args")]
pub struct Ignored {
    #[arg(long, hide = true)]
    pub logger: Option<String>,
    #[arg(long, hide = true)]
    pub log_format: Option<String>,
    #[arg(long, hide = true)]
    pub log_buf_size: Option<String>,
    #[arg(long, hide = true)]
    pub log_flush_timeout: Option<String>,
    #[arg(long, hide = true)]
    pub localtime_logging: bool,
    #[arg(long, hide = true)]
    pub run_id: Option<String>,
    #[arg(long, hide = true)]
    pub mem_accounting: bool,
    #[arg(long, hide = true)]
    pub brick_mux: bool,
    #[arg(long, hide = true)]
    pub resolve_gids: bool,
    #[arg(long, hide = true)]
    pub volfile_check: bool,
    #[arg(long, hide = true)]
    pub volume_id: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub global_threading: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub global_timer_wheel: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub io_engine: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub event_history: Option<String>,
    #[arg(long, hide = true)]
    pub lru_limit: Option<String>,
    #[arg(long, hide = true)]
    pub invalidate_limit: Option<String>,
    #[arg(long, hide = true)]
    pub inode_table_size: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub fuse_flush_handle_interrupt: Option<String>,
    #[arg(long, hide = true)]
    pub fuse_dev_eperm_ratelimit_ns: Option<String>,
}

impl Refused {
    /// The first of them that was given.
    fn given(&self) -> Option<&'static str> {
        [
            (self.worm, "--worm"),
            (self.aux_gfid_mount, "--aux-gfid-mount"),
            (self.thin_client, "--thin-client"),
            (self.enable_ino32.is_some(), "--enable-ino32"),
            (self.secure_mgmt.is_some(), "--secure-mgmt"),
            (self.dump_fuse.is_some(), "--dump-fuse"),
            (self.volume_name.is_some(), "--volume-name"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

impl Ignored {
    /// Those that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            (self.logger.is_some(), "--logger"),
            (self.log_format.is_some(), "--log-format"),
            (self.log_buf_size.is_some(), "--log-buf-size"),
            (self.log_flush_timeout.is_some(), "--log-flush-timeout"),
            (self.localtime_logging, "--localtime-logging"),
            (self.run_id.is_some(), "--run-id"),
            (self.mem_accounting, "--mem-accounting"),
            (self.brick_mux, "--brick-mux"),
            (self.resolve_gids, "--resolve-gids"),
            (self.volfile_check, "--volfile-check"),
            (self.volume_id.is_some(), "--volume-id"),
            (self.global_threading.is_some(), "--global-threading"),
            (self.global_timer_wheel.is_some(), "--global-timer-wheel"),
            (self.io_engine.is_some(), "--io-engine"),
            (self.event_history.is_some(), "--event-history"),
            (self.lru_limit.is_some(), "--lru-limit"),
            (self.invalidate_limit.is_some(), "--invalidate-limit"),
            (self.inode_table_size.is_some(), "--inode-table-size"),
            (
                self.fuse_flush_handle_interrupt.is_some(),
                "--fuse-flush-handle-interrupt",
            ),
            (
                self.fuse_dev_eperm_ratelimit_ns.is_some(),
                "--fuse-dev-eperm-ratelimit-ns",
            ),
        ];
        all.into_iter()
            .filter_map(|(given, name)| given.then_some(name))
            .collect()
    }
}

/// A boolean as GlusterFS writes it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" | "enable" => Some(true),
        "0" | "off" | "no" | "false" | "disable" => Some(false),
        _ => None,
    }
}

fn boolean(name: &str, given: &Option<String>, default: bool) -> Result<bool, String> {
    match given {
        None => Ok(default),
        Some(text) => parse_bool(text).ok_or_else(|| format!("{name}: \"{text}\" is neither on nor off")),
    }
}

/// Seconds, possibly with a fraction; at most ten years, so that nothing overflows.
fn seconds(name: &str, given: &Option<String>, default: f64) -> Result<Duration, String> {
    const TEN_YEARS: f64 = 10.0 * 365.0 * 86400.0;
    let Some(text) = given else {
        return Ok(Duration::from_secs_f64(default));
    };
    match text.parse::<f64>() {
        Ok(s) if (0.0..=TEN_YEARS).contains(&s) => Ok(Duration::from_secs_f64(s)),
        _ => Err(format!("{name}: \"{text}\" is not a number of seconds")),
    }
}

impl Args {
    /// Parses a command line, program name first.
    ///
    /// # Errors
    /// One line that says what is wrong. (`--help` is an error too: its text is what the user asked for.)
    pub fn from_command_line<I, T>(args: I) -> Result<Args, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        Args::try_parse_from(args)
    }

    /// Whether this is the self-heal daemon's process.
    pub fn is_self_heal_daemon(&self) -> bool {
        self.process_name.as_deref() == Some("glustershd")
    }

    /// All volfile servers in the order given, lists taken apart, without repetitions.
    pub fn servers(&self) -> Result<Vec<String>, String> {
        let mut servers: Vec<String> = Vec::new();
        for list in &self.volfile_server {
            for server in servers::split(list)? {
                if !servers.contains(&server) {
                    servers.push(server);
                }
            }
        }
        if servers.is_empty() {
            Err("no volfile server is given (--volfile-server)".to_owned())
        } else {
            Ok(servers)
        }
    }

    /// How the mount behaves.
    pub fn behaviour(&self) -> Result<Behaviour, String> {
        let direct_io = match self.direct_io_mode.as_deref() {
            None | Some("auto") => DirectIo::Auto,
            Some(text) => match parse_bool(text) {
                Some(true) => DirectIo::Enable,
                Some(false) => DirectIo::Disable,
                None => return Err(format!("--direct-io-mode: \"{text}\" is neither on, off nor auto")),
            },
        };
        Ok(Behaviour {
            attribute_ttl: seconds("--attribute-timeout", &self.attribute_timeout, 0.0)?,
            entry_ttl: seconds("--entry-timeout", &self.entry_timeout, 0.0)?,
            negative_ttl: seconds("--negative-timeout", &self.negative_timeout, 0.0)?,
            gid_ttl: seconds("--gid-timeout", &self.gid_timeout, 300.0)?,
            direct_io,
            keep_cache: boolean("--fopen-keep-cache", &self.fopen_keep_cache, false)?,
            acl: self.acl,
            selinux: self.selinux,
            capability: self.capability,
            // The kernel refuses by the mount's own flag, which a remount may change.
            read_only: false,
        })
    }

    /// How the kernel connection is set up.
    pub fn transport(&self) -> Result<TransportConfig, String> {
        let default = TransportConfig::default();
        let threads = self.reader_thread_count.unwrap_or(default.threads);
        if !(1..=64).contains(&threads) {
            return Err(format!("--reader-thread-count: {threads} is not within 1 to 64"));
        }
        let max_background = self.background_qlen.unwrap_or(default.max_background);
        if max_background < 16 {
            return Err(format!("--background-qlen: {max_background} is not within 16 to 65535"));
        }
        Ok(TransportConfig {
            threads,
            max_background,
            congestion_threshold: self.congestion_threshold,
            readdirplus: boolean("--use-readdirp", &self.use_readdirp, true)?,
            auto_invalidate: boolean("--auto-invalidation", &self.auto_invalidation, true)?,
            writeback_cache: boolean("--kernel-writeback-cache", &self.kernel_writeback_cache, false)?,
            time_granularity_ns: self.attr_times_granularity.unwrap_or(0),
            posix_acl: self.acl,
            ..default
        })
    }

    /// The pid that marks internal requests; the option wins over `--no-root-squash`, which is -4 (GlusterFS's
    /// "no root squash" client).
    pub fn client_pid(&self) -> Result<i32, String> {
        let unsquashed = boolean("--no-root-squash", &self.no_root_squash, false)?;
        Ok(self.client_pid.unwrap_or(if unsquashed { -4 } else { 0 }))
    }

    /// Refuses what is known but impossible here.
    pub fn check_supported(&self) -> Result<(), String> {
        if let Some(option) = self.refused.given() {
            return Err(format!("{option} is not supported"));
        }
        if let Some(file) = &self.volfile {
            return Err(format!(
                "--volfile ({}): mounting from a local volfile is not supported",
                file.display()
            ));
        }
        if let Some(path) = &self.subdir_mount {
            return Err(format!(
                "--subdir-mount: mounting the sub-directory {path} of a volume is not supported yet"
            ));
        }
        match self.volfile_server_transport.as_deref() {
            None | Some("tcp" | "socket") => Ok(()),
            Some(other) => Err(format!(
                "--volfile-server-transport: \"{other}\" is not supported, only tcp"
            )),
        }
    }

    /// How often the volfile servers are tried; `None` = by time.
    pub fn fetch_attempts(&self) -> Option<u32> {
        self.volfile_max_fetch_attempts.filter(|n| *n > 0)
    }

    /// Whether the log's level may be that of the volfile (`diagnostics.client-log-level`): one that is given on the
    /// command line wins.
    pub fn volfile_sets_log_level(&self) -> bool {
        self.log_level.is_none() && !self.debug
    }

    /// Where the log goes: the option, or what GlusterFS calls it after the mount point
    /// (`/var/log/glusterfs/mnt-data.log`).
    pub fn log_path(&self) -> PathBuf {
        if let Some(path) = &self.log_file {
            return path.clone();
        }
        let name = match &self.mount_point {
            Some(point) => point.to_string_lossy().trim_matches('/').replace('/', "-"),
            None => "glusterfs".to_owned(),
        };
        PathBuf::from("/var/log/glusterfs").join(format!("{name}.log"))
    }
}

/// Kernel mount flags and remaining data options out of `--fuse-mountopts`.
///
/// # Errors
/// Names an option that mount(2) does not have.
pub fn kernel_mount_options(options: &[String], read_only: bool) -> Result<(u64, String), String> {
    let mut flags = if read_only { libc::MS_RDONLY } else { 0 };
    let mut data: Vec<&str> = Vec::new();
    for option in options.iter().flat_map(|o| o.split(',')).filter(|o| !o.is_empty()) {
        let (set, clear) = match option {
            "atime" => (0, libc::MS_NOATIME),
            "noatime" => (libc::MS_NOATIME, 0),
            "diratime" => (0, libc::MS_NODIRATIME),
            "nodiratime" => (libc::MS_NODIRATIME, 0),
            "relatime" => (libc::MS_RELATIME, libc::MS_STRICTATIME),
            "norelatime" => (0, libc::MS_RELATIME),
            "strictatime" => (libc::MS_STRICTATIME, 0),
            "nostrictatime" => (0, libc::MS_STRICTATIME),
            "lazyatime" | "lazytime" => (libc::MS_LAZYTIME, 0),
            "nolazyatime" | "nolazytime" => (0, libc::MS_LAZYTIME),
            "dev" => (0, libc::MS_NODEV),
            "nodev" => (libc::MS_NODEV, 0),
            "exec" => (0, libc::MS_NOEXEC),
            "noexec" => (libc::MS_NOEXEC, 0),
            "suid" => (0, libc::MS_NOSUID),
            "nosuid" => (libc::MS_NOSUID, 0),
            "ro" => (libc::MS_RDONLY, 0),
            "rw" => (0, 0),
            _ if ["context=", "fscontext=", "defcontext=", "rootcontext="]
                .iter()
                .any(|p| option.starts_with(p)) =>
            {
                data.push(option);
                (0, 0)
            }
            _ => return Err(format!("--fuse-mountopts: unknown mount option \"{option}\"")),
        };
        flags = flags & !clear | set;
    }
    Ok((flags, data.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::from_command_line(std::iter::once("glusterfs").chain(line.split_whitespace())).unwrap()
    }

    fn refusal(line: &str) -> String {
        match Args::from_command_line(std::iter::once("glusterfs").chain(line.split_whitespace())) {
            Err(e) => e.to_string(),
            Ok(args) => {
                let problems = [
                    args.check_supported(),
                    args.behaviour().map(drop),
                    args.transport().map(drop),
                ];
                problems.into_iter().find_map(Result::err).unwrap_or_default()
            }
        }
    }

    #[test]
    fn the_mount_helpers_command_line() {
        let args = parse(
            "--process-name fuse --volfile-server=worker1 --volfile-server=worker2:worker3,worker1 \
             --volfile-server-port=24107 --volfile-id=/0001 --fuse-mountopts=noatime,nosuid \
             --fuse-mountopts=noatime,nosuid --log-level=DEBUG /mnt/a/b",
        );
        assert_eq!(args.servers().unwrap(), ["worker1", "worker2", "worker3"]);
        assert_eq!(args.volfile_server_port, Some(24107));
        assert_eq!(args.volfile_id.as_deref(), Some("/0001"));
        assert_eq!(args.log_path(), PathBuf::from("/var/log/glusterfs/mnt-a-b.log"));
        let (flags, data) = kernel_mount_options(&args.fuse_mountopts, false).unwrap();
        assert_eq!((flags, data.as_str()), (libc::MS_NOATIME | libc::MS_NOSUID, ""));
        args.check_supported().unwrap();
    }

    #[test]
    fn the_self_heal_daemons_command_line() {
        let args = parse(
            "-s localhost --volfile-id shd/0001 -p /run/x.pid -l /log/glustershd.log -S /run/x.socket \
             --xlator-option *replicate*.node-uuid=7b7266d0 --process-name glustershd --client-pid=-6",
        );
        assert!(args.is_self_heal_daemon());
        assert_eq!(args.client_pid().unwrap(), -6);
        assert_eq!(args.xlator_option, ["*replicate*.node-uuid=7b7266d0"]);
        assert!(args.mount_point.is_none());
    }

    #[test]
    fn the_command_lines_log_level_wins() {
        assert!(parse("-s h --volfile-id v /mnt").volfile_sets_log_level());
        assert!(!parse("-s h --volfile-id v -L WARNING /mnt").volfile_sets_log_level());
        assert!(!parse("-s h --volfile-id v --debug /mnt").volfile_sets_log_level());
    }

    #[test]
    fn attempts_and_options_without_effect() {
        let args = parse("--volfile-max-fetch-attempts=3 --lru-limit=5 --volfile-check --io-engine --volume-id=x /mnt");
        assert_eq!(args.fetch_attempts(), Some(3));
        let given = ["--volfile-check", "--volume-id", "--io-engine", "--lru-limit"];
        assert_eq!(args.ignored.given(), given);
        let args = parse("--volfile-max-fetch-attempts=0 /mnt");
        assert_eq!(args.fetch_attempts(), None);
        assert!(args.ignored.given().is_empty());
        assert!(refusal("--volfile-max-fetch-attempts=many /mnt").contains("many"));
        // Whatever is accepted without effect is told of when it is given.
        let names: Vec<&str> = crate::helper::usage::WITHOUT_EFFECT.to_vec();
        for name in names {
            let line = [format!("--{name}"), format!("--{name}=5")];
            let told = line.iter().any(|line| {
                let args = Args::from_command_line(["glusterfs", line, "/mnt"]);
                args.is_ok_and(|args| args.ignored.given().iter().any(|told| *told == format!("--{name}")))
            });
            assert!(told, "{name}");
        }
    }

    #[test]
    fn defaults_cache_nothing_by_time() {
        let behaviour = parse("-s h --volfile-id v /mnt").behaviour().unwrap();
        assert_eq!(
            (behaviour.attribute_ttl, behaviour.entry_ttl),
            (Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(behaviour.gid_ttl, Duration::from_secs(300));
        let behaviour = parse("--attribute-timeout=1.5 --direct-io-mode=enable --fopen-keep-cache --acl /mnt")
            .behaviour()
            .unwrap();
        assert_eq!(behaviour.attribute_ttl, Duration::from_millis(1500));
        assert_eq!(behaviour.direct_io, DirectIo::Enable);
        assert!(behaviour.keep_cache && behaviour.acl);
        assert_eq!(
            parse("--direct-io-mode=auto /m").behaviour().unwrap().direct_io,
            DirectIo::Auto
        );
        let transport = parse("--use-readdirp=no --reader-thread-count=4 --background-qlen=128 /m")
            .transport()
            .unwrap();
        assert!(!transport.readdirplus);
        assert_eq!((transport.threads, transport.max_background), (4, 128));
    }

    #[test]
    fn refusals_name_the_option() {
        assert!(refusal("--no-such-option /m").contains("--no-such-option"));
        assert_eq!(refusal("--worm /m"), "--worm is not supported");
        assert!(refusal("--subdir-mount=/a /m").contains("/a"));
        assert!(refusal("--attribute-timeout=-1 /m").contains("\"-1\""));
        assert!(refusal("--attribute-timeout=1e99 /m").contains("1e99"));
        assert!(refusal("--use-readdirp=perhaps /m").contains("perhaps"));
        assert!(refusal("--reader-thread-count=65 /m").contains("65"));
        assert!(refusal("--volfile-server-transport=rdma /m").contains("rdma"));
        assert!(
            kernel_mount_options(&["user_xattr".to_owned()], false)
                .unwrap_err()
                .contains("user_xattr")
        );
        assert_eq!(
            refusal("--mem-accounting --lru-limit=5 --global-threading --log-buf-size 5 /m"),
            ""
        );
    }
}
