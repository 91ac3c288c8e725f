//! A client volfile's graph as the topology that data-path cores work by.
//!
//! Pure. What the data path does not implement and what would lose or misplace data if ignored is refused by name;
//! everything that only caches, orders or counts is passed through (wire-protocol.md 5.4).

use std::collections::HashSet;
use std::time::Duration;

use datapath::client::{BrickSpec, ClientOptions, ClientSpec, FavoriteChild};
use datapath::replicate::QuorumType;

use crate::process::Level;
use crate::volfile::{Graph, Xlator, parse_bool};

/// Translators that keep data in a form of their own: ignoring one would damage the volume.
const REFUSED: &[&str] = &[
    "features/shard",
    "features/cdc",
    "features/cloudsync",
    "cluster/nufa",
    "cluster/switch",
    "cluster/disperse",
    "features/thin-arbiter",
    "features/snapview-client",
    "features/gfid-access",
];

/// Why a volfile cannot be used by this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError(pub String);

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

fn refuse<T>(why: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError(why.into()))
}

/// What the process is, as opposed to what the volfile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// SETVOLUME `process-name`.
    pub name: String,
    /// Credential pid of internal requests.
    pub client_pid: i32,
    /// The key the volfile was asked by.
    pub volfile_key: String,
    /// `CTX_ID:...-GRAPH_ID:` and what follows, without the subvolume's part.
    pub client_id: String,
}

/// The topology and what only the control thread needs of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What the cores get.
    pub spec: ClientSpec,
    /// `remote-port` of each brick, if the volfile fixes it: the port is not asked for then.
    pub fixed_ports: Vec<Option<u16>>,
    /// `transport.address-family inet6`: bricks listen on IPv6 addresses too.
    pub inet6: bool,
    /// `event-threads` of the client translators: how many cores the process should run.
    pub event_threads: Option<usize>,
    /// `log-level` of the top translator.
    pub log_level: Option<Level>,
}

/// Reads the topology out of `graph`, from the block `top` (the last block if `None`) down.
pub fn parse(graph: &Graph, top: Option<&str>, process: &Process) -> Result<Parsed, SpecError> {
    let top = match top {
        Some(name) => graph
            .get(name)
            .ok_or_else(|| SpecError(format!("the volfile has no volume '{name}'")))?,
        None => graph
            .top()
            .ok_or_else(|| SpecError("the volfile is empty".to_owned()))?,
    };
    let mut options = ClientOptions::default();
    let replicate = descend(graph, top, &mut options)?;
    read_replicate(replicate, &mut options)?;
    let clients: Vec<&Xlator> = graph.children(replicate).collect();
    if clients.is_empty() || clients.len() > 64 {
        return refuse(format!(
            "'{}' has {} subvolumes, 1 to 64 are possible",
            replicate.name,
            clients.len()
        ));
    }
    let names = pending_names(replicate, clients.len())?;
    let bricks = clients
        .iter()
        .zip(names)
        .map(|(client, name)| brick(client, name))
        .collect::<Result<_, _>>()?;
    if let Some(first) = clients.first() {
        read_client(first, &mut options)?;
    }
    let credentials = clients
        .first()
        .and_then(|c| Some((c.option("username")?.to_owned(), c.option("password")?.to_owned())));
    let number = |client: &&Xlator, key: &str| client.option(key).and_then(|text| text.parse().ok());
    Ok(Parsed {
        fixed_ports: clients.iter().map(|client| number(client, "remote-port")).collect(),
        inet6: clients
            .first()
            .is_some_and(|client| client.option("transport.address-family") == Some("inet6")),
        event_threads: clients
            .first()
            .and_then(|client| number(client, "event-threads"))
            .map(usize::from),
        log_level: top.option("log-level").and_then(|text| text.parse().ok()),
        spec: ClientSpec {
            volume: top.name.clone(),
            replicate: replicate.name.clone(),
            volume_id: replicate.option("volume-id").map(str::to_owned),
            bricks,
            credentials,
            process_name: process.name.clone(),
            volfile_key: process.volfile_key.clone(),
            client_id: process.client_id.clone(),
            client_pid: process.client_pid,
            options,
        },
    })
}

/// From the top to the replica set, through translators that have one subvolume each.
fn descend<'a>(graph: &'a Graph, top: &'a Xlator, options: &mut ClientOptions) -> Result<&'a Xlator, SpecError> {
    let mut here = top;
    let mut seen = HashSet::new();
    while here.kind != "cluster/replicate" {
        if !seen.insert(here.name.as_str()) {
            return refuse(format!("the volfile is a circle at '{}'", here.name));
        }
        pass(here, options)?;
        let below: Vec<&Xlator> = graph.children(here).collect();
        here = match (below.as_slice(), here.kind.as_str()) {
            ([one], _) => one,
            ([], "protocol/client") => {
                return refuse(format!(
                    "'{}' is not replicated; only replicated volumes can be mounted",
                    top.name
                ));
            }
            ([], kind) => return refuse(format!("'{}' of type {kind} has no subvolume", here.name)),
            (many, "cluster/distribute") => {
                return refuse(format!(
                    "'{}' distributes over {} subvolumes; this version serves volumes of one replica set",
                    here.name,
                    many.len()
                ));
            }
            (many, kind) => return refuse(format!("'{}' of type {kind} has {} subvolumes", here.name, many.len())),
        };
    }
    Ok(here)
}

/// Whether a translator above the replica set may be left out, and what it changes.
fn pass(xlator: &Xlator, options: &mut ClientOptions) -> Result<(), SpecError> {
    let on = |key: &str, default: bool| xlator.option(key).map_or(Some(default), parse_bool).unwrap_or(default);
    match xlator.kind.as_str() {
        "features/utime" => options.utime = true,
        "features/read-only" => options.read_only |= on("read-only", true),
        "features/worm" if on("worm", true) => return refuse("write-once volumes (features.worm) are not supported"),
        kind if REFUSED.contains(&kind) => {
            return refuse(format!("translator {kind} ('{}') is not supported", xlator.name));
        }
        "cluster/distribute" | "protocol/client" | "features/worm" | "features/quiesce" | "system/posix-acl" => {}
        kind if kind.starts_with("performance/") || kind.starts_with("debug/") => {}
        kind => return refuse(format!("unknown translator {kind} ('{}')", xlator.name)),
    }
    Ok(())
}

fn pending_names(replicate: &Xlator, bricks: usize) -> Result<Vec<String>, SpecError> {
    let names: Vec<String> = match replicate.option("afr-pending-xattr") {
        Some(list) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        None => replicate.subvolumes.clone(),
    };
    if replicate.option("thin-arbiter").is_some() {
        return refuse("thin arbiters are not supported");
    }
    if replicate.option("arbiter-count").is_some_and(|count| count != "0") {
        return refuse("arbiter bricks are not supported by this version");
    }
    if names.len() != bricks || names.iter().any(String::is_empty) {
        return refuse(format!(
            "afr-pending-xattr of '{}' does not name its {bricks} subvolumes",
            replicate.name
        ));
    }
    Ok(names)
}

fn brick(client: &Xlator, pending_name: String) -> Result<BrickSpec, SpecError> {
    if client.kind != "protocol/client" {
        return refuse(format!(
            "'{}' below the replica set is of type {}",
            client.name, client.kind
        ));
    }
    let required = |key: &str| match client.option(key) {
        Some(value) if !value.is_empty() => Ok(value.to_owned()),
        _ => refuse(format!("'{}' has no {key}", client.name)),
    };
    if client.option_bool("transport.socket.ssl-enabled") == Some(true) {
        return refuse(format!(
            "'{}' wants TLS, which is not supported by this version",
            client.name
        ));
    }
    Ok(BrickSpec {
        subvolume: client.name.clone(),
        pending_name,
        host: required("remote-host")?,
        path: required("remote-subvolume")?,
        local: false,
    })
}

/// Sets `target` if the option is there; a value that does not parse is an error that names it.
fn set<T>(xlator: &Xlator, key: &str, parse: impl Fn(&str) -> Option<T>, target: &mut T) -> Result<(), SpecError> {
    let Some(text) = xlator.option(key) else { return Ok(()) };
    match parse(text) {
        Some(value) => *target = value,
        None => return refuse(format!("option {key} of '{}': '{text}' is not valid", xlator.name)),
    }
    Ok(())
}

/// Seconds, with the units of the volfile grammar (wire-protocol.md 5.1).
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..)? {
        "" | "s" | "sec" | "seconds" => 1,
        "m" | "min" => 60,
        "h" | "hr" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "wk" => 604_800,
        _ => return None,
    };
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(unit)?))
}

/// The range of `network.probe-timeout`.
fn milliseconds(text: &str) -> Option<Duration> {
    number(text, 10..=60_000).map(Duration::from_millis)
}

fn number<T: std::str::FromStr + PartialOrd>(text: &str, range: std::ops::RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|value| range.contains(value))
}

fn read_client(client: &Xlator, options: &mut ClientOptions) -> Result<(), SpecError> {
    set(client, "ping-timeout", seconds, &mut options.ping_timeout)?;
    set(client, "probe-timeout", milliseconds, &mut options.probe_timeout)?;
    set(client, "frame-timeout", seconds, &mut options.frame_timeout)?;
    set(client, "send-gids", parse_bool, &mut options.send_gids)?;
    set(client, "filter-O_DIRECT", parse_bool, &mut options.filter_o_direct)
}

fn read_replicate(afr: &Xlator, options: &mut ClientOptions) -> Result<(), SpecError> {
    let children = afr.subvolumes.len();
    for (key, target) in [
        ("eager-lock", &mut options.eager_lock),
        ("ensure-durability", &mut options.ensure_durability),
        ("optimistic-change-log", &mut options.optimistic_change_log),
        ("granular-entry-heal", &mut options.granular_entry_heal),
        ("use-anonymous-inode", &mut options.use_anonymous_inode),
        ("choose-local", &mut options.choose_local),
        ("self-heal-daemon", &mut options.self_heal_daemon),
    ] {
        set(afr, key, parse_bool, target)?;
    }
    set(afr, "post-op-delay-secs", seconds, &mut options.post_op_delay)?;
    set(afr, "heal-timeout", seconds, &mut options.heal_timeout)?;
    set(afr, "read-hash-mode", |t| number(t, 0..=5), &mut options.read_hash_mode)?;
    set(
        afr,
        "data-self-heal-window-size",
        |t| number(t, 1..=1024),
        &mut options.heal_window,
    )?;
    set(
        afr,
        "shd-max-threads",
        |t| number(t, 1..=64),
        &mut options.shd_max_threads,
    )?;
    set(
        afr,
        "favorite-child-policy",
        favorite_child,
        &mut options.favorite_child,
    )?;
    let index = |text: &str| match text.parse::<i64>().ok()? {
        -1 => Some(None),
        index => usize::try_from(index).ok().filter(|i| *i < children).map(Some),
    };
    set(afr, "read-subvolume-index", index, &mut options.read_subvolume)?;
    let by_name = |text: &str| afr.subvolumes.iter().position(|name| name == text).map(Some);
    set(afr, "read-subvolume", by_name, &mut options.read_subvolume)?;
    options.quorum = quorum(afr, children)?;
    Ok(())
}

fn favorite_child(text: &str) -> Option<FavoriteChild> {
    match text {
        "none" => Some(FavoriteChild::None),
        "size" => Some(FavoriteChild::Size),
        "ctime" => Some(FavoriteChild::Ctime),
        "mtime" => Some(FavoriteChild::Mtime),
        "majority" => Some(FavoriteChild::Majority),
        _ => None,
    }
}

/// `None` leaves the translator's own default: auto above two bricks.
fn quorum(afr: &Xlator, children: usize) -> Result<Option<QuorumType>, SpecError> {
    let count = |text: &str| number(text, 1..=children);
    match afr.option("quorum-type") {
        None => Ok(None),
        Some("none") => Ok(Some(QuorumType::None)),
        Some("auto") => Ok(Some(QuorumType::Auto)),
        Some("fixed") => match afr.option("quorum-count") {
            // "fixed" without a count asks for nothing, as in GlusterFS.
            None => Ok(Some(QuorumType::None)),
            Some(text) => match count(text) {
                Some(count) => Ok(Some(QuorumType::Fixed(count))),
                None => refuse(format!(
                    "option quorum-count of '{}': '{text}' is not 1 to {children}",
                    afr.name
                )),
            },
        },
        Some(text) => refuse(format!(
            "option quorum-type of '{}': '{text}' is not none, auto or fixed",
            afr.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: &str = include_str!("../../../tests/captures/generated/trusted-0001.tcp-fuse.vol");
    const SHD: &str = include_str!("../../../tests/captures/generated/0001-shd.vol");

    fn process() -> Process {
        Process {
            name: "fuse".to_owned(),
            client_pid: 0,
            volfile_key: "/0001".to_owned(),
            client_id: "CTX_ID:x-GRAPH_ID:0".to_owned(),
        }
    }

    fn parse_text(text: &str) -> Result<Parsed, SpecError> {
        parse(&Graph::parse(text).unwrap(), None, &process())
    }

    fn error(text: &str) -> String {
        parse_text(text).unwrap_err().0
    }

    #[test]
    fn a_generated_volfile_is_understood() {
        let parsed = parse_text(TRUSTED).unwrap();
        let spec = &parsed.spec;
        assert_eq!(
            (spec.volume.as_str(), spec.replicate.as_str()),
            ("0001", "0001-replicate-0")
        );
        assert_eq!(spec.bricks.len(), 6);
        let last = spec.bricks.last().unwrap();
        assert_eq!(
            (last.subvolume.as_str(), last.pending_name.as_str()),
            ("0001-client-5", "0001-client-5")
        );
        assert_eq!((last.host.as_str(), last.path.as_str()), ("w6", "/srv/node/w6/brick/b"));
        assert!(spec.credentials.is_some());
        assert_eq!(spec.volume_id.as_deref(), Some("a56c387a-e6ef-4445-9906-2c613da2e930"));
        let options = &spec.options;
        assert!(options.utime && options.granular_entry_heal && options.use_anonymous_inode);
        assert_eq!((options.quorum, options.ping_timeout), (None, Duration::from_secs(42)));
        assert_eq!(parsed.log_level, Some(Level::Info));
        assert!(!parse_text(SHD).unwrap().spec.options.utime);
    }

    #[test]
    fn options_are_checked_by_name() {
        let with = |line: &str| TRUSTED.replace("    option use-compound-fops off\n", &format!("    {line}\n"));
        let options = |line: &str| parse_text(&with(line)).unwrap().spec.options;
        assert_eq!(
            options("option quorum-type fixed option quorum-count 3").quorum,
            Some(QuorumType::Fixed(3))
        );
        assert_eq!(options("option read-subvolume 0001-client-2").read_subvolume, Some(2));
        assert_eq!(
            options("option heal-timeout 10m").heal_timeout,
            Duration::from_secs(600)
        );
        for (line, named) in [
            ("option quorum-type sometimes", "quorum-type"),
            ("option quorum-type fixed option quorum-count 7", "quorum-count"),
            ("option read-subvolume-index 6", "read-subvolume-index"),
            ("option eager-lock perhaps", "eager-lock"),
        ] {
            assert!(error(&with(line)).contains(named), "{line}");
        }
    }

    #[test]
    fn what_would_misplace_data_is_refused() {
        let shard = TRUSTED.replace("type features/utime", "type features/shard");
        assert!(error(&shard).contains("features/shard"));
        let unknown = TRUSTED.replace("type features/utime", "type features/novel");
        assert!(error(&unknown).contains("unknown translator features/novel"));
        let two = TRUSTED.replace(
            "subvolumes 0001-replicate-0\n",
            "subvolumes 0001-replicate-0 0001-client-0\n",
        );
        assert!(error(&two).contains("distributes over 2 subvolumes"));
        let plain = "volume c\n type protocol/client\n option remote-host h\n option remote-subvolume /b\nend-volume\n";
        assert!(error(plain).contains("only replicated volumes"));
        let arbiter = TRUSTED.replace("option use-compound-fops off", "option arbiter-count 1");
        assert!(error(&arbiter).contains("arbiter"));
    }

    #[test]
    fn topologies_are_compared_by_their_bricks() {
        let old = parse_text(TRUSTED).unwrap().spec;
        let changed = parse_text(&TRUSTED.replace("option ping-timeout 42", "option ping-timeout 10"))
            .unwrap()
            .spec;
        assert!(old.same_bricks(&changed) && old != changed);
        let moved = parse_text(&TRUSTED.replace("remote-host w3", "remote-host w9"))
            .unwrap()
            .spec;
        assert!(!old.same_bricks(&moved));
    }
}
