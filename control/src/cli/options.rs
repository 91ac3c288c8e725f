//! The options of the command itself, which may stand anywhere among its words.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::Level;

/// Default path of the daemon's socket.
pub(super) const DEFAULT_SOCKET: &str = "/var/run/glusterd.socket";
/// Where the option profiles of `volume set VOL group` lie, below the daemon's working directory.
const DEFAULT_WORKDIR: &str = "/var/lib/glusterd";
/// GlusterFS waits 120 s for most commands and longer for some; one limit is enough here.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Options and the words that are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// `--mode=script`: nothing is asked.
    pub(super) script: bool,
    pub(super) xml: bool,
    pub(super) socket: PathBuf,
    pub(super) workdir: PathBuf,
    /// Port of the daemons, for what asks bricks directly (`heal info`); the default is 24007.
    pub(super) port: Option<u16>,
    pub(super) timeout: Duration,
    pub(super) words: Vec<String>,
}

/// What to do instead of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instead {
    Help,
    Version,
    LogDirectory,
    StatedumpDirectory,
    /// The option is unknown or its value is.
    Unrecognized(String),
}

/// Separates options and words.
pub(super) fn parse(args: &[String], env: impl Fn(&str) -> Option<String>) -> Result<Options, Instead> {
    let mut options = Options {
        script: false,
        xml: false,
        socket: env("GLUSTERD_SOCK").unwrap_or_else(|| DEFAULT_SOCKET.to_owned()).into(),
        workdir: env("GLUSTERD_WORKDIR")
            .unwrap_or_else(|| DEFAULT_WORKDIR.to_owned())
            .into(),
        port: env("GLUSTERD_PORT").and_then(|port| port.parse().ok()),
        timeout: DEFAULT_TIMEOUT,
        words: Vec::new(),
    };
    for arg in args {
        let Some(option) = arg.strip_prefix("--") else {
            options.words.push(arg.clone());
            continue;
        };
        let unrecognized = || Err(Instead::Unrecognized(arg.clone()));
        match option
            .split_once('=')
            .map_or((option, None), |(name, value)| (name, Some(value)))
        {
            ("help", None) => return Err(Instead::Help),
            ("version", None) => return Err(Instead::Version),
            ("print-logdir", None) => return Err(Instead::LogDirectory),
            ("print-statedumpdir", None) => return Err(Instead::StatedumpDirectory),
            ("xml", None) => options.xml = true,
            ("nolog" | "inet6", None) => {}
            ("mode", Some("script")) => options.script = true,
            ("mode", Some("interactive")) => options.script = false,
            ("glusterd-sock", Some(path)) => options.socket = path.into(),
            ("workdir", Some(path)) => options.workdir = path.into(),
            ("port", Some(port)) => match port.parse() {
                Ok(port) => options.port = Some(port),
                Err(_) => return unrecognized(),
            },
            ("timeout", Some(seconds)) => match seconds.parse() {
                Ok(seconds) if seconds > 0 => options.timeout = Duration::from_secs(seconds),
                _ => return unrecognized(),
            },
            ("log-level", Some(level)) if level.parse::<Level>().is_ok() => {}
            ("log-file", Some(_)) => {}
            _ => return unrecognized(),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, Instead> {
        parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(), |_| None)
    }

    #[test]
    fn options_stand_anywhere() {
        let options = parsed(&["volume", "--mode=script", "info", "--xml", "--glusterd-sock=/x"]).unwrap();
        assert!(options.script && options.xml);
        assert_eq!(
            (options.words.join(" ").as_str(), options.socket),
            ("volume info", "/x".into())
        );
        assert_eq!(
            parsed(&["--mode=bogus"]),
            Err(Instead::Unrecognized("--mode=bogus".to_owned()))
        );
        assert_eq!(parsed(&["--what"]), Err(Instead::Unrecognized("--what".to_owned())));
        assert_eq!(parsed(&["--version"]), Err(Instead::Version));
    }

    #[test]
    fn the_environment_sets_paths() {
        let options = parse(&[], |name| {
            (name == "GLUSTERD_SOCK").then(|| "/run/other.socket".to_owned())
        })
        .unwrap();
        assert_eq!(options.socket, PathBuf::from("/run/other.socket"));
    }
}
