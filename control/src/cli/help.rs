//! What `gluster` says about itself: its options and the families of commands (`volume heal help`). The commands' own
//! lines are [`super::words`]'; its manual page is made of the same words.

use super::run::topic_help;
use super::words::{PEER_COMMANDS, Pattern, VOLUME_COMMANDS};

/// Every option of the command itself, as it is written, and what it does.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "--mode=script",
        "never ask; --mode=interactive asks before commands that take data away, as by default",
    ),
    ("--xml", "print an XML document, for programs"),
    (
        "--glusterd-sock=FILE",
        "the management daemon's socket (/var/run/glusterd.socket, or GLUSTERD_SOCK)",
    ),
    (
        "--workdir=DIRECTORY",
        "where groups of options are found (/var/lib/glusterd, or GLUSTERD_WORKDIR)",
    ),
    (
        "--port=PORT",
        "port of the management daemons, where bricks are asked directly (24007, or GLUSTERD_PORT)",
    ),
    ("--timeout=SECONDS", "how long a command may take (600)"),
    ("--log-level=LEVEL", "accepted: this command keeps no log"),
    ("--log-file=FILE", "accepted: this command keeps no log"),
    ("--nolog", "accepted: this command keeps no log"),
    ("--inet6", "accepted: the socket is a local one"),
    ("--help", "list the families of commands and these options"),
    ("--version", "print the version"),
    ("--print-logdir", "print the directory of the logs"),
    ("--print-statedumpdir", "print the directory of state dumps"),
];

/// The commands below `volume`: spelling and what each does.
pub fn volume_commands() -> Vec<(&'static str, &'static str)> {
    lines(VOLUME_COMMANDS)
}

/// The commands below `peer` and `pool`: spelling and what each does.
pub fn peer_commands() -> Vec<(&'static str, &'static str)> {
    lines(PEER_COMMANDS)
}

fn lines(patterns: &[&Pattern]) -> Vec<(&'static str, &'static str)> {
    patterns
        .iter()
        .map(|pattern| (pattern.spelling, pattern.help))
        .collect()
}

/// The help of one family, `volume heal help` or `peer probe help`; `None` if these words ask for no help. GlusterFS
/// takes `help` for the name of a volume there, which nobody's is called. `volume set help` lists the options instead.
pub(super) fn family(words: &[&str]) -> Option<String> {
    let (topic, verb) = match words {
        ["volume", "set", "help"] => return None,
        [topic @ ("volume" | "peer"), verb, "help"] => (*topic, *verb),
        _ => return None,
    };
    let all = VOLUME_COMMANDS.iter().chain(PEER_COMMANDS).copied();
    let of_family = |pattern: &&Pattern| {
        let mut spelling = pattern.spelling.split_whitespace();
        spelling.next() == Some(topic) && spelling.next() == Some(verb)
    };
    let patterns: Vec<&Pattern> = all.filter(of_family).collect();
    let title = format!("gluster {topic} {verb} commands");
    (!patterns.is_empty()).then(|| topic_help(&title, &patterns))
}

/// The text of `--help` below the families of commands.
pub(super) fn options() -> String {
    format!("Options:\n{}\n", crate::process::help::aligned(OPTIONS))
}

#[cfg(test)]
mod tests {
    use super::super::bricks::Verb;
    use super::super::options::{self, Instead};
    use super::super::words::{self, Command, WordError};
    use super::*;

    /// Where the help lists a command. No wildcard: a command that is added must be put into the help.
    fn beginning(command: &Command) -> &'static str {
        match command {
            Command::Help => "help",
            Command::VolumeHelp => "volume help",
            Command::PeerHelp => "peer help",
            Command::PeerProbe { .. } => "peer probe",
            Command::PeerDetach { .. } => "peer detach",
            Command::PeerStatus => "peer status",
            Command::PoolList => "pool list",
            Command::Create(_) => "volume create",
            Command::Bricks(change) => match change.verb {
                Verb::Add => "volume add-brick",
                Verb::Remove => "volume remove-brick",
                Verb::Replace => "volume replace-brick",
                Verb::ResetStart | Verb::ResetCommit | Verb::ResetCommitForce => "volume reset-brick",
            },
            Command::Statedump { .. } => "volume statedump",
            Command::Start { .. } => "volume start",
            Command::Stop { .. } => "volume stop",
            Command::Delete { .. } => "volume delete",
            Command::Info { .. } => "volume info",
            Command::List => "volume list",
            Command::Status { .. } => "volume status",
            Command::Set { .. } | Command::SetGroup { .. } | Command::SetHelp => "volume set",
            Command::Get { .. } => "volume get",
            Command::Reset { .. } => "volume reset",
            Command::Heal { .. } => "volume heal",
        }
    }

    /// Words that GlusterFS's commands begin with, and arguments that fit most of them.
    const VERBS: &[&str] = &[
        "add-brick",
        "barrier",
        "bitrot",
        "clear-locks",
        "create",
        "delete",
        "get",
        "heal",
        "help",
        "info",
        "list",
        "log",
        "profile",
        "quota",
        "rebalance",
        "remove-brick",
        "rename",
        "replace-brick",
        "reset",
        "reset-brick",
        "set",
        "start",
        "statedump",
        "status",
        "stop",
        "sync",
        "top",
        "detach",
        "probe",
    ];
    const ARGUMENTS: &[&str] = &[
        "",
        "v",
        "v force",
        "h",
        "v k",
        "v k w",
        "v group g",
        "help",
        "v h:/a",
        "v h:/a h:/b",
        "v replica 2 h:/a h:/b",
        "v h:/a h:/b commit force",
        "v h:/a start",
        "v replica 1 h:/a force",
        "v full",
        "v info",
        "v all",
    ];

    fn spellings() -> Vec<&'static str> {
        let lines = [volume_commands(), peer_commands()].concat();
        lines.into_iter().map(|(spelling, _)| spelling).collect()
    }

    #[test]
    fn every_accepted_command_is_in_the_help() {
        let mut accepted = 0;
        for (topic, verb, arguments) in VERBS.iter().flat_map(|verb| {
            let lines = ARGUMENTS.iter().map(move |arguments| (*verb, *arguments));
            lines.flat_map(|(verb, arguments)| ["volume", "peer", "pool"].map(|topic| (topic, verb, arguments)))
        }) {
            let line = format!("{topic} {verb} {arguments}");
            let Ok(command) = words::parse(&line.split_whitespace().collect::<Vec<_>>()) else {
                continue;
            };
            accepted += 1;
            let beginning = beginning(&command);
            assert!(line.starts_with(beginning), "{line}: {command:?}");
            assert!(
                spellings().iter().any(|spelling| spelling.starts_with(beginning)),
                "{line}"
            );
        }
        assert!(accepted > 30, "only {accepted} lines were commands");
    }

    #[test]
    fn every_command_in_the_help_is_known() {
        for spelling in spellings() {
            let words: Vec<&str> = spelling.split_whitespace().take(2).collect();
            let known = !matches!(
                words::parse(&words),
                Err(WordError::Unrecognized { .. } | WordError::Unsupported(_))
            );
            assert!(known, "{spelling}");
        }
    }

    #[test]
    fn families() {
        let heal = family(&["volume", "heal", "help"]).unwrap();
        assert!(
            heal.starts_with("\ngluster volume heal commands\n============"),
            "{heal}"
        );
        assert!(
            heal.contains("volume heal <VOLNAME>") && !heal.contains("volume info"),
            "{heal}"
        );
        assert!(family(&["peer", "probe", "help"]).unwrap().contains("peer probe {"));
        assert_eq!(family(&["volume", "nothing", "help"]), None);
        assert_eq!(family(&["volume", "set", "help"]), None);
        assert_eq!(family(&["volume", "help"]), None);
    }

    #[test]
    fn every_option_in_the_help_is_one() {
        for (spelling, _) in OPTIONS {
            let option = spelling
                .replace("=FILE", "=/f")
                .replace("=DIRECTORY", "=/d")
                .replace("=PORT", "=5")
                .replace("=SECONDS", "=5")
                .replace("=LEVEL", "=INFO");
            let parsed = options::parse(std::slice::from_ref(&option), |_| None);
            assert!(!matches!(parsed, Err(Instead::Unrecognized(_))), "{option}");
        }
    }
}
