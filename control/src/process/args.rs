//! The command line of bricks and daemons, as GlusterFS's management daemon writes it (wire-protocol.md 6.1).

use std::path::PathBuf;

use super::Level;
use crate::client::DEFAULT_PORT;

/// What a brick or daemon process is told by its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// `-s`: hosts of the management daemon, in order.
    pub servers: Vec<String>,
    /// `--volfile-server-port`.
    pub server_port: u16,
    /// `--volfile-id`.
    pub volfile_id: Option<String>,
    /// `-f`: a volfile instead of a server.
    pub volfile: Option<PathBuf>,
    /// `--volume-name`: another block than the last as top.
    pub volume_name: Option<String>,
    /// `-p`.
    pub pid_file: Option<PathBuf>,
    /// `-S`: the Unix socket for the management daemon.
    pub socket_file: Option<PathBuf>,
    /// `-l`; standard error if missing or `-`.
    pub log_file: Option<PathBuf>,
    /// `-L`.
    pub log_level: Level,
    /// `-N` or `--debug`: stay in the foreground.
    pub foreground: bool,
    /// `--brick-name`: the brick's path.
    pub brick_name: Option<String>,
    /// `--brick-port`.
    pub brick_port: Option<u16>,
    /// `--xlator-option NAME.KEY=VALUE`, in order.
    pub xlator_options: Vec<String>,
    /// `--process-name`.
    pub process_name: Option<String>,
    /// `--client-pid`.
    pub client_pid: Option<i32>,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            servers: Vec::new(),
            server_port: DEFAULT_PORT,
            volfile_id: None,
            volfile: None,
            volume_name: None,
            pid_file: None,
            socket_file: None,
            log_file: None,
            log_level: Level::Info,
            foreground: false,
            brick_name: None,
            brick_port: None,
            xlator_options: Vec::new(),
            process_name: None,
            client_pid: None,
        }
    }
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Run with these arguments.
    Run(Box<Args>),
    /// Print this text and end well.
    Print(String),
}

/// Options with a value that change nothing here: tuning of GlusterFS's logging and threads.
const IGNORED_WITH_VALUE: &[&str] = &[
    "--logger",
    "--log-format",
    "--log-buf-size",
    "--log-flush-timeout",
    "--run-id",
    "--io-engine",
    "--volfile-max-fetch-attempts",
];
/// The same without a value.
const IGNORED: &[&str] = &[
    "--localtime-logging",
    "--mem-accounting",
    "--global-threading",
    "--global-timer-wheel",
];
/// Known options that change what the process must do, and are not supported.
const REFUSED: &[&str] = &["--brick-mux", "--secure-mgmt"];

/// Options with a value that count.
const WITH_VALUE: &[&str] = &[
    "--volfile-server",
    "--volfile-server-port",
    "--volfile-server-transport",
    "--volfile-id",
    "--volfile",
    "--volume-name",
    "--pid-file",
    "--socket-file",
    "--log-file",
    "--log-level",
    "--brick-name",
    "--brick-port",
    "--xlator-option",
    "--process-name",
    "--client-pid",
];
const SHORT: &[(char, &str)] = &[
    ('s', "--volfile-server"),
    ('f', "--volfile"),
    ('p', "--pid-file"),
    ('S', "--socket-file"),
    ('l', "--log-file"),
    ('L', "--log-level"),
    ('N', "--no-daemon"),
    ('V', "--version"),
    ('?', "--help"),
];

/// Reads a command line without the program's name.
///
/// # Errors
/// One line that names the option that is unknown, not supported, or has a value that cannot be.
pub fn parse(words: &[String]) -> Result<Request, String> {
    let mut args = Args::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, attached) = split(word)?;
        if let Some(request) = switch(&name, attached.is_some(), &mut args)? {
            match request {
                Switch::Done => continue,
                Switch::Print(text) => return Ok(Request::Print(text)),
            }
        }
        if !WITH_VALUE.contains(&name.as_str()) && !IGNORED_WITH_VALUE.contains(&name.as_str()) {
            return Err(format!("unknown option '{word}'"));
        }
        let value = match attached {
            Some(value) => value,
            None => words
                .next()
                .cloned()
                .ok_or_else(|| format!("option {name} needs a value"))?,
        };
        take(&name, value, &mut args)?;
    }
    Ok(Request::Run(Box::new(args)))
}

/// The option's long name and the value written with it (`--key=value`, `-kvalue`).
fn split(word: &str) -> Result<(String, Option<String>), String> {
    if word.starts_with("--") {
        return Ok(match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
    }
    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
    let letter = letters.next().ok_or_else(|| format!("unexpected argument '{word}'"))?;
    let (_, name) = SHORT
        .iter()
        .find(|(short, _)| *short == letter)
        .ok_or_else(|| format!("unknown option '{word}'"))?;
    let rest = letters.as_str();
    Ok(((*name).to_owned(), (!rest.is_empty()).then(|| rest.to_owned())))
}

enum Switch {
    Done,
    Print(String),
}

/// Options without a value; `None` if `name` is none of them.
fn switch(name: &str, has_value: bool, args: &mut Args) -> Result<Option<Switch>, String> {
    let print = |text: &str| Switch::Print(format!("{text}\n"));
    let result = match name {
        "--no-daemon" => {
            args.foreground = true;
            Switch::Done
        }
        "--debug" => {
            args.foreground = true;
            args.log_level = Level::Debug;
            args.log_file = None;
            Switch::Done
        }
        "--version" => Switch::Print(crate::cli::version_text()),
        "--help" => Switch::Print(super::help::text()),
        "--print-logdir" => print("/var/log/glusterfs"),
        "--print-statedumpdir" => print("/var/run/gluster"),
        "--print-xlatordir" | "--print-libexecdir" => print("/usr/lib/glusterfs"),
        name if IGNORED.contains(&name) => Switch::Done,
        name if REFUSED.contains(&name) => return Err(format!("option {name} is not supported")),
        _ => return Ok(None),
    };
    match has_value {
        true => Err(format!("option {name} takes no value")),
        false => Ok(Some(result)),
    }
}

fn take(name: &str, value: String, args: &mut Args) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("option {name}: '{value}' {why}"));
    match name {
        "--volfile-server" => args.servers.push(value),
        "--volfile-server-port" => match value.parse() {
            Ok(port) => args.server_port = port,
            Err(_) => return wrong("is not a port"),
        },
        "--volfile-server-transport" if value == "tcp" || value == "socket" || value == "unix" => {}
        "--volfile-server-transport" => return wrong("is not a transport of this program (tcp, unix)"),
        "--volfile-id" => args.volfile_id = Some(value),
        "--volfile" => args.volfile = Some(value.into()),
        "--volume-name" => args.volume_name = Some(value),
        "--pid-file" => args.pid_file = Some(value.into()),
        "--socket-file" => args.socket_file = Some(value.into()),
        "--log-file" => args.log_file = (value != "-").then(|| value.into()),
        "--log-level" => args.log_level = value.parse().map_err(|why| format!("option {name}: {why}"))?,
        "--brick-name" => args.brick_name = Some(value),
        // "P,P2" is tcp and rdma; there is no rdma here.
        "--brick-port" => match value.split(',').next().unwrap_or_default().parse() {
            Ok(port) => args.brick_port = Some(port),
            Err(_) => return wrong("is not a port"),
        },
        "--xlator-option" => match value.split_once('=').is_some_and(|(key, _)| key.contains('.')) {
            true => args.xlator_options.push(value),
            false => return wrong("is not of the form NAME.KEY=VALUE"),
        },
        "--process-name" => args.process_name = Some(value),
        "--client-pid" => match value.parse() {
            Ok(pid) => args.client_pid = Some(pid),
            Err(_) => return wrong("is not a number"),
        },
        // What is left changes nothing here.
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Request, String> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_bricks_command_line_of_glusterd() {
        let Ok(Request::Run(args)) = line(
            "-s w1 --volfile-id 0001.w1.bricks-w1-b -p /var/run/gluster/vols/0001/w1-bricks-w1-b.pid \
             -S /var/run/gluster/7321f26c7587651f.socket --brick-name /bricks/w1/b \
             -l /var/log/glusterfs/bricks/bricks-w1-b.log \
             --xlator-option *-posix.glusterd-uuid=7b7266d0-3cbe-486c-92e2-af256b3ee6b9 --process-name brick \
             --brick-port 50159 --xlator-option 0001-server.listen-port=50159",
        ) else {
            panic!("refused")
        };
        assert_eq!(args.servers, ["w1"]);
        assert_eq!(args.volfile_id.as_deref(), Some("0001.w1.bricks-w1-b"));
        assert_eq!(
            (args.brick_name.as_deref(), args.brick_port),
            (Some("/bricks/w1/b"), Some(50_159))
        );
        assert_eq!(args.xlator_options.len(), 2);
        assert!(!args.foreground);
    }

    #[test]
    fn a_daemons_command_line_of_glusterd() {
        let Ok(Request::Run(args)) = line(
            "-s localhost --volfile-id shd/0001 -p /run/x.pid -l /log/x.log -S /run/x.socket \
             --xlator-option *replicate*.node-uuid=7b7266d0-3cbe-486c-92e2-af256b3ee6b9 --process-name glustershd \
             --client-pid=-6 --log-level=debug -N",
        ) else {
            panic!("refused")
        };
        assert_eq!(
            (args.client_pid, args.process_name.as_deref()),
            (Some(-6), Some("glustershd"))
        );
        assert_eq!((args.log_level, args.foreground), (Level::Debug, true));
    }

    /// An option is either in the help, or it changes nothing or is refused.
    #[test]
    fn the_help_lists_every_option() {
        let Ok(Request::Print(text)) = line("--help") else {
            panic!("no help")
        };
        let shorts = SHORT.iter().map(|(short, name)| format!("-{short}, {name}"));
        let longs = WITH_VALUE.iter().map(|name| format!("{name}="));
        for option in shorts.chain(longs) {
            assert!(text.contains(&option), "{option}");
        }
        for (spelling, _) in super::super::help::OPTIONS {
            let (option, value) = spelling
                .split_once('=')
                .map_or((*spelling, ""), |(option, _)| (option, "a.b=1"));
            let long = option.rsplit(", ").next().unwrap();
            let words = if value.is_empty() {
                vec![long.to_owned()]
            } else {
                vec![long.to_owned(), value.to_owned()]
            };
            let refusal = parse(&words).err().unwrap_or_default();
            assert!(
                !refusal.contains("unknown option") && !refusal.contains("unexpected"),
                "{spelling}: {refusal}"
            );
        }
    }

    #[test]
    fn wrong_options_are_named() {
        for (text, named) in [
            ("--frobnicate", "--frobnicate"),
            ("--frobnicate=3", "--frobnicate"),
            ("-x", "-x"),
            ("--brick-mux", "--brick-mux"),
            ("--brick-port", "--brick-port"),
            ("--brick-port=none", "'none'"),
            ("--xlator-option nodot=1", "nodot=1"),
            ("-L loud", "loud"),
            ("stray", "stray"),
            ("-N3", "--no-daemon"),
        ] {
            assert!(line(text).unwrap_err().contains(named), "{text}: {:?}", line(text));
        }
        let Ok(Request::Print(text)) = line("--version") else {
            panic!("no version")
        };
        assert!(text.starts_with("glusterfs 10.3\n"));
    }
}
