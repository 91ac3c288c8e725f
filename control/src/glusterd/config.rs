//! How the daemon is set up: `glusterd.vol`, overridden by the command line. Several daemons fit one machine when each
//! has directories, a port and a socket of its own.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::paths::Paths;
use crate::volfile::Graph;

/// The configuration file of a packaged installation.
pub const CONFIG_FILE: &str = "/etc/glusterfs/glusterd.vol";
/// Port that clients and command lines connect to unless configured.
pub const DEFAULT_PORT: u16 = 24007;

/// The command line. Options with the same names and short forms as GlusterFS's daemon, and ones to move everything.
#[derive(Debug, Clone, Parser)]
#[command(name = "glusterd", disable_version_flag = true, about = "The management daemon")]
pub struct Arguments {
    /// Configuration file
    #[arg(short = 'f', long = "volfile", value_name = "FILE", default_value = CONFIG_FILE)]
    pub volfile: PathBuf,
    /// File to write the process id to
    #[arg(
        short = 'p',
        long = "pid-file",
        value_name = "FILE",
        default_value = "/var/run/glusterd.pid"
    )]
    pub pid_file: PathBuf,
    /// Stay in the foreground
    #[arg(short = 'N', long = "no-daemon")]
    pub no_daemon: bool,
    /// Stay in the foreground and log everything to standard error
    #[arg(long)]
    pub debug: bool,
    /// Least severity to log: DEBUG, WARNING, ERROR, INFO, CRITICAL, NONE, TRACE
    #[arg(short = 'L', long = "log-level", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log file ('-' for standard error)
    #[arg(short = 'l', long = "log-file", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'V', long = "version")]
    pub version: bool,
    /// Working directory, instead of the configured one
    #[arg(long, value_name = "DIRECTORY")]
    pub workdir: Option<PathBuf>,
    /// Run directory (pid files and sockets of bricks)
    #[arg(long, value_name = "DIRECTORY")]
    pub rundir: Option<PathBuf>,
    /// Log directory
    #[arg(long, value_name = "DIRECTORY")]
    pub logdir: Option<PathBuf>,
    /// TCP port, instead of the configured one; 0 for any
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Socket for the command line
    #[arg(short = 'S', long = "socket", visible_alias = "socket-file", value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// Accepted for compatibility
    #[arg(long = "xlator-option", value_name = "OPTION", hide = true)]
    pub xlator_option: Vec<String>,
}

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The three directories.
    pub paths: Paths,
    /// TCP port; 0 for any.
    pub port: u16,
    /// Listen on IPv6 too (`transport.address-family inet6`).
    pub inet6: bool,
    /// Socket for the command line.
    pub socket: PathBuf,
    /// First port for bricks.
    pub base_port: u16,
    /// Last port for bricks.
    pub max_port: u16,
    /// Wait before a brick that died is started again; None for never.
    pub brick_restart_delay: Option<Duration>,
}

impl Config {
    /// The configuration from the file's graph (None if there is no file) and the command line.
    ///
    /// # Errors
    /// What is wrong with which option.
    pub fn new(file: Option<&Graph>, arguments: &Arguments) -> Result<Self, String> {
        let options = match file {
            Some(graph) => Some(
                graph
                    .first_of_type("mgmt/glusterd")
                    .ok_or("the configuration file has no volume of type mgmt/glusterd")?,
            ),
            None => None,
        };
        let option = |key: &str| options.and_then(|x| x.option(key));
        let directory = |argument: &Option<PathBuf>, key: &str, default: &str| {
            let configured = || option(key).map_or_else(|| PathBuf::from(default), PathBuf::from);
            let path = argument.clone().unwrap_or_else(configured);
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(format!("{key} '{}' is not absolute", path.display()))
            }
        };
        let paths = Paths {
            workdir: directory(&arguments.workdir, "working-directory", "/var/lib/glusterd")?,
            rundir: directory(&arguments.rundir, "run-directory", "/var/run/gluster")?,
            logdir: directory(&arguments.logdir, "log-directory", "/var/log/glusterfs")?,
        };
        let configured_port = number(
            option("transport.socket.listen-port"),
            "transport.socket.listen-port",
            DEFAULT_PORT,
        )?;
        let (base_port, max_port) = (
            number(option("base-port"), "base-port", 49152)?,
            number(option("max-port"), "max-port", 60999)?,
        );
        if base_port == 0 || base_port > max_port {
            return Err(format!(
                "base-port {base_port} must be between 1 and max-port {max_port}"
            ));
        }
        Ok(Self {
            paths,
            port: arguments.port.unwrap_or(configured_port),
            inet6: option("transport.address-family") == Some("inet6"),
            socket: directory(&arguments.socket, "glusterd-sockfile", "/var/run/glusterd.socket")?,
            base_port,
            max_port,
            brick_restart_delay: restart_delay(option("brick-restart-delay"))?,
        })
    }
}

fn number(text: Option<&str>, key: &str, default: u16) -> Result<u16, String> {
    match text {
        Some(text) => text.parse().map_err(|_| format!("{key} '{text}' is not a port number")),
        None => Ok(default),
    }
}

/// Seconds, or milliseconds with the unit `ms`; 0 means never, absent means 3 s.
fn restart_delay(text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else {
        return Ok(Some(Duration::from_secs(3)));
    };
    let bad = || format!("brick-restart-delay '{text}' is neither seconds (3, 3s) nor milliseconds (500ms)");
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let value: u64 = digits.parse().map_err(|_| bad())?;
    let delay = match unit {
        "ms" => Duration::from_millis(value),
        "" | "s" | "sec" => Duration::from_secs(value),
        _ => return Err(bad()),
    };
    Ok((value != 0).then_some(delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(file: &str, arguments: &[&str]) -> Result<Config, String> {
        let arguments = Arguments::try_parse_from([&["glusterd"], arguments].concat()).unwrap();
        Config::new(Some(&Graph::parse(file).unwrap()), &arguments)
    }

    fn block(lines: &str) -> String {
        format!("volume management\ntype mgmt/glusterd\noption working-directory /w\n{lines}\nend-volume\n")
    }

    #[test]
    fn reads_the_packaged_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/generated/glusterd.vol");
        let config = parse(&std::fs::read_to_string(path).unwrap(), &[]).unwrap();
        assert_eq!(config.paths.workdir, PathBuf::from("/var/lib/glusterd"));
        assert_eq!((config.port, config.base_port, config.max_port), (24007, 49152, 60999));
        assert_eq!(config.brick_restart_delay, Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_command_line_wins() {
        let arguments = [
            "--workdir",
            "/x",
            "--port",
            "0",
            "--socket",
            "/s",
            "--rundir",
            "/r",
            "--logdir",
            "/l",
        ];
        let config = parse(
            &block("option transport.socket.listen-port 5\noption brick-restart-delay 500ms"),
            &arguments,
        );
        let config = config.unwrap();
        assert_eq!(config.paths.workdir, PathBuf::from("/x"));
        assert_eq!((config.port, config.socket), (0, PathBuf::from("/s")));
        assert_eq!(config.brick_restart_delay, Some(Duration::from_millis(500)));
    }

    #[test]
    fn says_which_option_is_wrong() {
        let error = |lines: &str| parse(&block(lines), &[]).unwrap_err();
        assert!(error("option base-port 0").contains("base-port 0"));
        assert!(error("option max-port many").contains("max-port 'many'"));
        assert!(error("option brick-restart-delay soon").contains("'soon'"));
        assert!(
            parse(&block(""), &["--workdir", "rel"])
                .unwrap_err()
                .contains("not absolute")
        );
        assert!(
            parse("volume a type b/c option k v end-volume", &[])
                .unwrap_err()
                .contains("mgmt/glusterd")
        );
        assert_eq!(
            parse(&block("option brick-restart-delay 0"), &[])
                .unwrap()
                .brick_restart_delay,
            None
        );
    }
}
