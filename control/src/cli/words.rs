//! The words of the command line: which commands there are, how they are spelt, what is wrong with a wrong one.
//!
//! Pure: turns words into a [`Command`] or a [`WordError`] that carries GlusterFS's own text. Nothing is asked or sent.

use super::bricks::{self, BrickChange};
use super::create::{self, CreateArgs};

/// Spelling and one-line help of a command, as `volume help` and the usage messages print them.
pub(super) struct Pattern {
    pub(super) spelling: &'static str,
    pub(super) help: &'static str,
}

pub(super) const fn pattern(spelling: &'static str, help: &'static str) -> Pattern {
    Pattern { spelling, help }
}

pub(super) const CREATE: Pattern = pattern(
    "volume create <NEW-VOLNAME> [[replica <COUNT> [arbiter <COUNT>]]|[replica 2 thin-arbiter 1]] \
     [disperse [<COUNT>]] [disperse-data <COUNT>] [redundancy <COUNT>] [transport <tcp|rdma|tcp,rdma>] \
     <NEW-BRICK> <TA-BRICK>... [force]",
    "create a new volume of specified type with mentioned bricks",
);
const DELETE: Pattern = pattern("volume delete <VOLNAME>", "delete volume specified by <VOLNAME>");
const GET: Pattern = pattern(
    "volume get <VOLNAME|all> <key|all>",
    "Get the value of the all options or given option for volume <VOLNAME> or all option. gluster volume get all all \
     is to get all global options",
);
const HEAL: Pattern = pattern(
    "volume heal <VOLNAME> [enable | disable | full |statistics [heal-count [replica <HOSTNAME:BRICKNAME>]] |info \
     [summary | split-brain] |split-brain {bigger-file <FILE> | latest-mtime <FILE> |source-brick \
     <HOSTNAME:BRICKNAME> [<FILE>]} |granular-entry-heal {enable | disable}]",
    "self-heal commands on volume specified by <VOLNAME>",
);
const VOLUME_HELP: Pattern = pattern("volume help", "display help for volume commands");
const INFO: Pattern = pattern("volume info [all|<VOLNAME>]", "list information of all volumes");
const LIST: Pattern = pattern("volume list", "list all volumes in cluster");
const RESET: Pattern = pattern(
    "volume reset <VOLNAME> [option] [force]",
    "reset all the reconfigured options",
);
const SET: Pattern = pattern("volume set <VOLNAME> <KEY> <VALUE>", "set options for volume <VOLNAME>");
const SET_GROUP: Pattern = pattern(
    "volume set <VOLNAME> group <GROUP>",
    "This option can be used for setting multiple pre-defined volume options where group_name is a file under \
     /var/lib/glusterd/groups containing one key value pair per line",
);
const START: Pattern = pattern("volume start <VOLNAME> [force]", "start volume specified by <VOLNAME>");
const STATEDUMP: Pattern = pattern(
    "volume statedump <VOLNAME> [[nfs|quotad] [all|mem|iobuf|callpool|priv|fd|inode|history]... | [client \
     <hostname:process-id>]]",
    "perform statedump on bricks",
);
const STATUS: Pattern = pattern(
    "volume status [all | <VOLNAME> [nfs|shd|<BRICK>|quotad]] [detail|clients|mem|inode|fd|callpool|tasks|client-list]",
    "display status of all or specified volume(s)/brick",
);
const STOP: Pattern = pattern("volume stop <VOLNAME> [force]", "stop volume specified by <VOLNAME>");
const PEER_DETACH: Pattern = pattern(
    "peer detach { <HOSTNAME> | <IP-address> } [force]",
    "detach peer specified by <HOSTNAME>",
);
const PEER_HELP: Pattern = pattern("peer help", "display help for peer commands");
const PEER_PROBE: Pattern = pattern(
    "peer probe { <HOSTNAME> | <IP-address> }",
    "probe peer specified by <HOSTNAME>",
);
const PEER_STATUS: Pattern = pattern("peer status", "list status of peers");
const POOL_LIST: Pattern = pattern("pool list", "list all the nodes in the pool (including localhost)");

/// The commands of `volume help`, in its order.
pub(super) const VOLUME_COMMANDS: &[&Pattern] = &[
    &bricks::ADD,
    &CREATE,
    &DELETE,
    &GET,
    &HEAL,
    &VOLUME_HELP,
    &INFO,
    &LIST,
    &bricks::REMOVE,
    &bricks::REPLACE,
    &RESET,
    &bricks::RESET,
    &SET,
    &SET_GROUP,
    &START,
    &STATEDUMP,
    &STATUS,
    &STOP,
];
/// The commands of `peer help`, in its order.
pub(super) const PEER_COMMANDS: &[&Pattern] = &[&PEER_DETACH, &PEER_HELP, &PEER_PROBE, &PEER_STATUS, &POOL_LIST];

/// What `volume status` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusKind {
    Processes,
    Detail,
    Clients,
    ClientList,
    Tasks,
}

impl StatusKind {
    /// The bit of the `cmd` key (wire-protocol.md 2.7).
    pub(super) fn flag(self) -> u32 {
        match self {
            StatusKind::Processes => 0,
            // The list is made here, out of the same answer.
            StatusKind::Clients | StatusKind::ClientList => 2,
            StatusKind::Detail => 32,
            StatusKind::Tasks => 64,
        }
    }
}

/// To what `volume status` is restricted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StatusOf {
    Everything,
    Brick(String),
    SelfHealDaemon,
}

/// What `volume heal` does. The numbers on the wire are in [`HealOp::number`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HealOp {
    Index,
    Full,
    Enable,
    Disable,
    GranularEnable,
    GranularDisable,
    Statistics,
    HealCount,
    HealCountReplica(String),
    Info,
    InfoSummary,
    InfoSplitBrain,
    BiggerFile(String),
    LatestMtime(String),
    SourceBrick { brick: String, file: Option<String> },
}

impl HealOp {
    /// The `heal-op` key (wire-protocol.md 2.7).
    pub(super) fn number(&self) -> u32 {
        match self {
            HealOp::Index => 1,
            HealOp::Full => 2,
            HealOp::Info => 3,
            HealOp::InfoSplitBrain => 6,
            HealOp::Statistics => 7,
            HealOp::HealCount => 8,
            HealOp::HealCountReplica(_) => 9,
            HealOp::BiggerFile(_) => 10,
            HealOp::SourceBrick { .. } => 11,
            HealOp::Enable => 12,
            HealOp::Disable => 13,
            HealOp::LatestMtime(_) => 14,
            HealOp::GranularEnable => 15,
            HealOp::GranularDisable => 16,
            HealOp::InfoSummary => 17,
        }
    }
}

/// One command, its words understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    VolumeHelp,
    PeerHelp,
    PeerProbe {
        host: String,
    },
    PeerDetach {
        host: String,
        force: bool,
    },
    PeerStatus,
    PoolList,
    Create(CreateArgs),
    Bricks(BrickChange),
    Statedump {
        volume: String,
        options: Vec<String>,
    },
    Start {
        volume: String,
        force: bool,
    },
    Stop {
        volume: String,
        force: bool,
    },
    Delete {
        volume: String,
    },
    Info {
        volume: Option<String>,
    },
    List,
    Status {
        volume: Option<String>,
        of: StatusOf,
        kind: StatusKind,
    },
    Set {
        volume: String,
        pairs: Vec<(String, String)>,
    },
    SetGroup {
        volume: String,
        group: String,
    },
    SetHelp,
    Get {
        volume: String,
        key: String,
    },
    Reset {
        volume: String,
        key: String,
        force: bool,
    },
    Heal {
        volume: String,
        op: HealOp,
    },
}

/// What is wrong with the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WordError {
    /// The word at this position begins no command.
    Unrecognized { word: String, position: usize },
    /// The words end before they name a command.
    Incomplete,
    /// The command is known, its words are not its pattern's; with a message of its own if there is one.
    Usage {
        spelling: &'static str,
        message: Option<String>,
    },
    /// What should be a host is neither an address nor a name.
    Host { spelling: &'static str, host: String },
    /// The command is understood, and something it names cannot be.
    Refused(String),
    /// The command is GlusterFS's, but not (yet) carried out by this program.
    Unsupported(String),
}

impl WordError {
    pub(super) fn usage(pattern: &Pattern) -> WordError {
        WordError::Usage {
            spelling: pattern.spelling,
            message: None,
        }
    }

    pub(super) fn because(pattern: &Pattern, message: impl Into<String>) -> WordError {
        WordError::Usage {
            spelling: pattern.spelling,
            message: Some(message.into()),
        }
    }
}

type Parsed = Result<Command, WordError>;

/// Commands of GlusterFS that this program knows of and does not carry out.
const OTHER_VOLUME_COMMANDS: &[&str] = &[
    "barrier",
    "bitrot",
    "clear-locks",
    "geo-replication",
    "inode-quota",
    "log",
    "profile",
    "quota",
    "rebalance",
    "sync",
    "top",
    "rename",
];

/// Understands the words of one command.
pub(super) fn parse(words: &[&str]) -> Parsed {
    match words {
        ["help"] => Ok(Command::Help),
        ["volume", rest @ ..] => volume(rest),
        ["peer", rest @ ..] => peer(rest),
        ["pool", "list"] => Ok(Command::PoolList),
        ["pool"] | [] => Err(WordError::Incomplete),
        ["pool", word, ..] => unrecognized(word, 1),
        ["snapshot" | "system::" | "global" | "nfs-ganesha" | "get-state", ..] => {
            Err(WordError::Unsupported(words.join(" ")))
        }
        [word, ..] => unrecognized(word, 0),
    }
}

/// Whether a word may be a host: an address, an IPv6 one with its scope at most and without brackets, or a name.
pub(super) fn is_host(word: &str) -> bool {
    let address = word.split_once('%').map_or(word, |(address, _)| address);
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return true;
    }
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    word.split('.').all(plain) && end(word.chars().next()) && end(word.chars().next_back())
}

fn unrecognized(word: &str, position: usize) -> Parsed {
    Err(WordError::Unrecognized {
        word: word.to_owned(),
        position,
    })
}

fn peer(words: &[&str]) -> Parsed {
    match words {
        ["help"] => Ok(Command::PeerHelp),
        ["status"] => Ok(Command::PeerStatus),
        ["status", ..] => Err(WordError::usage(&PEER_STATUS)),
        ["probe", host] if !is_host(host) => Err(WordError::Host {
            spelling: PEER_PROBE.spelling,
            host: (*host).to_owned(),
        }),
        ["probe", host] => Ok(Command::PeerProbe {
            host: (*host).to_owned(),
        }),
        ["probe", ..] => Err(WordError::usage(&PEER_PROBE)),
        ["detach", host] => Ok(Command::PeerDetach {
            host: (*host).to_owned(),
            force: false,
        }),
        ["detach", host, "force"] => Ok(Command::PeerDetach {
            host: (*host).to_owned(),
            force: true,
        }),
        ["detach", ..] => Err(WordError::usage(&PEER_DETACH)),
        [] => Err(WordError::Incomplete),
        [word, ..] => unrecognized(word, 1),
    }
}

fn volume(words: &[&str]) -> Parsed {
    match words {
        ["help"] => Ok(Command::VolumeHelp),
        ["create", rest @ ..] => create::parse(rest).map(Command::Create),
        ["add-brick", rest @ ..] => bricks::add(rest).map(Command::Bricks),
        ["remove-brick", rest @ ..] => bricks::remove(rest).map(Command::Bricks),
        ["replace-brick", rest @ ..] => bricks::replace(rest).map(Command::Bricks),
        ["reset-brick", rest @ ..] => bricks::reset(rest).map(Command::Bricks),
        ["statedump", volume, options @ ..] => Ok(Command::Statedump {
            volume: (*volume).to_owned(),
            options: options.iter().map(|word| (*word).to_owned()).collect(),
        }),
        ["statedump"] => Err(WordError::usage(&STATEDUMP)),
        ["start", rest @ ..] => forced(rest, &START).map(|(volume, force)| Command::Start { volume, force }),
        ["stop", rest @ ..] => forced(rest, &STOP).map(|(volume, force)| Command::Stop { volume, force }),
        ["delete", volume] => Ok(Command::Delete {
            volume: (*volume).to_owned(),
        }),
        ["delete", ..] => Err(WordError::usage(&DELETE)),
        ["info"] | ["info", "all"] => Ok(Command::Info { volume: None }),
        ["info", volume] => Ok(Command::Info {
            volume: Some((*volume).to_owned()),
        }),
        ["info", ..] => Err(WordError::usage(&INFO)),
        ["list"] => Ok(Command::List),
        ["list", ..] => Err(WordError::usage(&LIST)),
        ["status", rest @ ..] => status(rest),
        ["set", rest @ ..] => set(rest),
        ["get", volume, key] => Ok(Command::Get {
            volume: (*volume).to_owned(),
            key: (*key).to_owned(),
        }),
        ["get", ..] => Err(WordError::usage(&GET)),
        ["reset", rest @ ..] => reset(rest),
        ["heal", rest @ ..] => heal(rest),
        [] => Err(WordError::Incomplete),
        [word, ..] if OTHER_VOLUME_COMMANDS.contains(word) => {
            Err(WordError::Unsupported(format!("volume {}", words.join(" "))))
        }
        [word, ..] => unrecognized(word, 1),
    }
}

fn forced(words: &[&str], pattern: &Pattern) -> Result<(String, bool), WordError> {
    match words {
        [volume] => Ok(((*volume).to_owned(), false)),
        [volume, "force"] => Ok(((*volume).to_owned(), true)),
        _ => Err(WordError::usage(pattern)),
    }
}

fn status(words: &[&str]) -> Parsed {
    let (volume, rest) = match words {
        [] => {
            return Ok(Command::Status {
                volume: None,
                of: StatusOf::Everything,
                kind: StatusKind::Processes,
            });
        }
        ["all", rest @ ..] => (None, rest),
        [volume, rest @ ..] => (Some((*volume).to_owned()), rest),
    };
    let (of, kind) = match rest {
        [] => (StatusOf::Everything, StatusKind::Processes),
        [word] => match status_kind(word, words)? {
            Some(kind) => (StatusOf::Everything, kind),
            None => (status_of(word, words)?, StatusKind::Processes),
        },
        [of, kind] => match status_kind(kind, words)? {
            Some(kind) => (status_of(of, words)?, kind),
            None => return Err(WordError::usage(&STATUS)),
        },
        _ => return Err(WordError::usage(&STATUS)),
    };
    if volume.is_none() && of != StatusOf::Everything {
        return Err(WordError::usage(&STATUS));
    }
    Ok(Command::Status { volume, of, kind })
}

fn status_kind(word: &str, words: &[&str]) -> Result<Option<StatusKind>, WordError> {
    Ok(Some(match word {
        "detail" => StatusKind::Detail,
        "clients" => StatusKind::Clients,
        "client-list" => StatusKind::ClientList,
        "tasks" => StatusKind::Tasks,
        "mem" | "inode" | "fd" | "callpool" => {
            return Err(WordError::Unsupported(format!("volume status {}", words.join(" "))));
        }
        _ => return Ok(None),
    }))
}

fn status_of(word: &str, words: &[&str]) -> Result<StatusOf, WordError> {
    match word {
        "shd" => Ok(StatusOf::SelfHealDaemon),
        "nfs" | "quotad" | "snapd" => Err(WordError::Unsupported(format!("volume status {}", words.join(" ")))),
        brick => Ok(StatusOf::Brick(brick.to_owned())),
    }
}

fn set(words: &[&str]) -> Parsed {
    match words {
        ["help"] => Ok(Command::SetHelp),
        [volume, "group", group] => Ok(Command::SetGroup {
            volume: (*volume).to_owned(),
            group: (*group).to_owned(),
        }),
        [volume, pairs @ ..] if !pairs.is_empty() && pairs.len() % 2 == 0 => {
            let pairs = pairs.chunks_exact(2).filter_map(|pair| match pair {
                [key, value] => Some(((*key).to_owned(), (*value).to_owned())),
                _ => None,
            });
            Ok(Command::Set {
                volume: (*volume).to_owned(),
                pairs: pairs.collect(),
            })
        }
        _ => Err(WordError::usage(&SET_GROUP)),
    }
}

fn reset(words: &[&str]) -> Parsed {
    let (volume, key, force) = match words {
        [volume] => (volume, "all", false),
        [volume, "force"] => (volume, "all", true),
        [volume, key] => (volume, *key, false),
        [volume, key, "force"] => (volume, *key, true),
        _ => return Err(WordError::usage(&RESET)),
    };
    Ok(Command::Reset {
        volume: (*volume).to_owned(),
        key: key.to_owned(),
        force,
    })
}

fn heal(words: &[&str]) -> Parsed {
    let owned = |word: &str| word.to_owned();
    let [volume, rest @ ..] = words else {
        return Err(WordError::usage(&HEAL));
    };
    let op = match rest {
        [] => HealOp::Index,
        ["full"] => HealOp::Full,
        ["enable"] => HealOp::Enable,
        ["disable"] => HealOp::Disable,
        ["granular-entry-heal", "enable"] => HealOp::GranularEnable,
        ["granular-entry-heal", "disable"] => HealOp::GranularDisable,
        ["statistics"] => HealOp::Statistics,
        ["statistics", "heal-count"] => HealOp::HealCount,
        ["statistics", "heal-count", "replica", brick] => HealOp::HealCountReplica(owned(brick)),
        ["info"] => HealOp::Info,
        ["info", "summary"] => HealOp::InfoSummary,
        ["info", "split-brain"] => HealOp::InfoSplitBrain,
        ["split-brain", "bigger-file", file] => HealOp::BiggerFile(owned(file)),
        ["split-brain", "latest-mtime", file] => HealOp::LatestMtime(owned(file)),
        ["split-brain", "source-brick", brick] => HealOp::SourceBrick {
            brick: owned(brick),
            file: None,
        },
        ["split-brain", "source-brick", brick, file] => HealOp::SourceBrick {
            brick: owned(brick),
            file: Some(owned(file)),
        },
        _ => return Err(WordError::usage(&HEAL)),
    };
    Ok(Command::Heal {
        volume: owned(volume),
        op,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Parsed {
        parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn wrong_words_are_told_apart() {
        let unrecognized = |word: &str, position| {
            Err(WordError::Unrecognized {
                word: word.to_owned(),
                position,
            })
        };
        assert_eq!(words("foo"), unrecognized("foo", 0));
        assert_eq!(words("volume foo"), unrecognized("foo", 1));
        assert_eq!(words("volume"), Err(WordError::Incomplete));
        assert_eq!(words("peer"), Err(WordError::Incomplete));
        assert_eq!(words("volume stop v bogus"), Err(WordError::usage(&STOP)));
        assert_eq!(words("volume set v key"), Err(WordError::usage(&SET_GROUP)));
        assert_eq!(words("volume heal v info bogus"), Err(WordError::usage(&HEAL)));
        assert!(matches!(
            words("volume rebalance v status"),
            Err(WordError::Unsupported(_))
        ));
    }

    #[test]
    fn hosts_are_what_glusterfs_takes_for_them() {
        for host in [
            "w1",
            "w_1.example",
            "10.0.0",
            "10.78.9.300",
            "fd00::1",
            "fe80::1%eth0",
            "a-b",
        ] {
            assert!(is_host(host), "{host}");
        }
        for other in ["[fd00::1]", "w!1", "fd00::zz", "a..b", "-a", "a-", "", ".", "a b"] {
            assert!(!is_host(other), "{other}");
        }
        assert!(matches!(words("peer probe [fd00::1]"), Err(WordError::Host { .. })));
    }

    #[test]
    fn status_words() {
        let status = |of, kind| {
            Ok(Command::Status {
                volume: Some("v".to_owned()),
                of,
                kind,
            })
        };
        assert_eq!(
            words("volume status v"),
            status(StatusOf::Everything, StatusKind::Processes)
        );
        assert_eq!(
            words("volume status v clients"),
            status(StatusOf::Everything, StatusKind::Clients)
        );
        assert_eq!(
            words("volume status v shd"),
            status(StatusOf::SelfHealDaemon, StatusKind::Processes)
        );
        let brick = StatusOf::Brick("h:/b".to_owned());
        assert_eq!(words("volume status v h:/b detail"), status(brick, StatusKind::Detail));
        assert_eq!(words("volume status a b c d"), Err(WordError::usage(&STATUS)));
    }

    #[test]
    fn pairs_of_set() {
        let pairs = [("a", "1"), ("b", "2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .to_vec();
        assert_eq!(
            words("volume set v a 1 b 2"),
            Ok(Command::Set {
                volume: "v".to_owned(),
                pairs
            })
        );
    }
}
