//! A brick volfile's graph as the configuration of the brick service.
//!
//! Pure. Options of translators that are part of the brick service are read; a translator or switch that would change
//! what is on disk and is not implemented is refused by name (wire-protocol.md 5.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use datapath::brick::index::Watch;
use datapath::brick::server::{AuthConfig, BrickConfig, KeepAlive, Squash};
use datapath::brick::store::{Options, Reserve, StoreConfig};
use datapath::sys;
use datapath::wire::Gfid;

use crate::process::Level;
use crate::volfile::{Graph, Xlator, parse_bool};

/// A translator and the switch that turns on what is not implemented.
const REFUSED_WHEN_ON: &[(&str, &str)] = &[
    ("features/trash", "trash"),
    ("features/changelog", "changelog"),
    ("features/bitrot-stub", "bitrot"),
    ("features/worm", "worm"),
    ("features/worm", "worm-file-level"),
    ("features/leases", "leases"),
    ("features/quota", "server-quota"),
    ("features/marker", "quota"),
    ("features/marker", "inode-quota"),
    ("features/marker", "xtime"),
    ("features/barrier", "barrier"),
    ("features/locks", "mandatory-locking"),
    ("features/locks", "enforce-mandatory-lock"),
];
/// Translators that may stand in a brick graph.
const KNOWN: &[&str] = &[
    "storage/posix",
    "features/trash",
    "features/changelog",
    "features/bitrot-stub",
    "features/access-control",
    "features/locks",
    "features/worm",
    "features/read-only",
    "features/leases",
    "features/upcall",
    "performance/io-threads",
    "features/selinux",
    "features/marker",
    "features/barrier",
    "features/index",
    "features/quota",
    "features/simple-quota",
    "debug/io-stats",
    "protocol/server",
];

/// Everything a brick process needs to know of its volfile.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) store: StoreConfig,
    pub(super) config: BrickConfig,
    pub(super) listen: SocketAddr,
    pub(super) log_level: Option<Level>,
    /// Zero switches the check off.
    pub(super) health_interval: Duration,
    pub(super) health_timeout: Duration,
}

struct Reader<'a> {
    xlator: &'a Xlator,
}

impl<'a> Reader<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.xlator.option(key)
    }

    fn wrong<T>(&self, key: &str, text: &str) -> Result<T, String> {
        Err(format!("option {key} of '{}': '{text}' is not valid", self.xlator.name))
    }

    fn parsed<T>(&self, key: &str, default: T, parse: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => parse(text).map_or_else(|| self.wrong(key, text), Ok),
        }
    }

    fn boolean(&self, key: &str, default: bool) -> Result<bool, String> {
        self.parsed(key, default, parse_bool)
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T, String> {
        self.parsed(key, default, |text| text.parse().ok())
    }

    fn seconds(&self, key: &str, default: u64) -> Result<Duration, String> {
        self.number(key, default).map(Duration::from_secs)
    }

    fn required(&self, key: &str) -> Result<&'a str, String> {
        self.text(key)
            .ok_or_else(|| format!("'{}' has no option {key}", self.xlator.name))
    }
}

/// Reads the brick called `brick` (the only one if `None`) out of `graph`. `port` overrides the volfile's.
pub(super) fn read(graph: &Graph, brick: Option<&str>, port: Option<u16>, process_uuid: &str) -> Result<Plan, String> {
    for xlator in &graph.xlators {
        check_supported(xlator)?;
    }
    let of = |kind: &'static str| {
        graph
            .first_of_type(kind)
            .map(|xlator| Reader { xlator })
            .ok_or_else(|| format!("the volfile has no {kind}"))
    };
    let (server, posix) = (of("protocol/server")?, of("storage/posix")?);
    if graph.top().map(|top| top.kind.as_str()) != Some("protocol/server") {
        return Err("the volfile's top is not protocol/server".to_owned());
    }
    let name = brick_name(&server, brick)?;
    let volume_id = id(&posix, "volume-id")?;
    let volume = posix.xlator.name.strip_suffix("-posix").unwrap_or(&posix.xlator.name);
    let mut config = BrickConfig::new(&name, volume, volume_id, process_uuid);
    config.auth = auth(&server, &name)?;
    config.squash = squash(&server)?;
    config.keepalive = keepalive(&server)?;
    config.read_only = match graph.first_of_type("features/read-only") {
        Some(xlator) => Reader { xlator }.boolean("read-only", false)?,
        None => false,
    };
    if let Some(xlator) = graph.first_of_type("features/locks") {
        let locks = Reader { xlator };
        config.locks.notify_contention = locks.boolean("notify-contention", true)?;
        let delay = locks.seconds("notify-contention-delay", 5)?;
        config.locks.notify_delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    }
    if let Some(xlator) = graph.first_of_type("features/index") {
        config.watch = watch(&Reader { xlator }, volume);
    }
    let access_control = graph.first_of_type("features/access-control").is_some();
    Ok(Plan {
        store: StoreConfig {
            root: posix.required("directory")?.into(),
            volume_id,
            options: options(&posix, access_control)?,
        },
        config,
        listen: listen(&server, port)?,
        log_level: graph
            .first_of_type("debug/io-stats")
            .and_then(|x| x.option("log-level")?.parse().ok()),
        health_interval: posix.seconds("health-check-interval", 30)?,
        health_timeout: posix.seconds("health-check-timeout", 20)?,
    })
}

fn check_supported(xlator: &Xlator) -> Result<(), String> {
    if !KNOWN.contains(&xlator.kind.as_str()) {
        return Err(format!(
            "translator {} ('{}') is not supported",
            xlator.kind, xlator.name
        ));
    }
    for (kind, key) in REFUSED_WHEN_ON {
        let on = |text: &str| parse_bool(text).unwrap_or(text != "off");
        if xlator.kind == *kind && xlator.option(key).is_some_and(on) {
            return Err(format!(
                "option {key} of '{}' is on, which is not supported",
                xlator.name
            ));
        }
    }
    Ok(())
}

fn brick_name(server: &Reader<'_>, brick: Option<&str>) -> Result<String, String> {
    let served = &server.xlator.subvolumes;
    match (brick, served.as_slice()) {
        (Some(brick), _) if served.iter().any(|name| name == brick) => Ok(brick.to_owned()),
        (Some(brick), _) => Err(format!("the volfile does not serve the brick '{brick}'")),
        (None, [only]) => Ok(only.clone()),
        (None, many) => Err(format!("the volfile serves {} bricks and none was named", many.len())),
    }
}

fn id(posix: &Reader<'_>, key: &str) -> Result<Gfid, String> {
    let text = posix.required(key)?;
    text.parse().or_else(|_| posix.wrong(key, text))
}

fn auth(server: &Reader<'_>, brick: &str) -> Result<AuthConfig, String> {
    let list = |text: &str| {
        text.split(',')
            .map(|word| word.trim().to_owned())
            .filter(|w| !w.is_empty())
            .collect()
    };
    let addr = |verb: &str| server.text(&format!("auth.addr.{brick}.{verb}"));
    let mut auth = AuthConfig::default();
    if let Some(text) = addr("allow") {
        auth.allow = list(text);
    }
    if let Some(text) = addr("reject") {
        auth.reject = list(text);
    }
    if let Some(users) = server.text(&format!("auth.login.{brick}.allow")) {
        auth.login_allow = users.split(',').map(|user| user.trim().to_owned()).collect();
    }
    for user in &auth.login_allow {
        if let Some(password) = server.text(&format!("auth.login.{user}.password")) {
            auth.passwords.insert(user.clone(), password.to_owned());
        }
    }
    auth.allow_insecure = server.boolean("rpc-auth-allow-insecure", true)?;
    auth.strict = server.boolean("strict-auth-accept", false)?;
    if server.boolean("transport.socket.ssl-enabled", false)? {
        return Err(format!(
            "'{}' wants TLS, which is not supported by this version",
            server.xlator.name
        ));
    }
    Ok(auth)
}

fn squash(server: &Reader<'_>) -> Result<Squash, String> {
    Ok(Squash {
        root: server.boolean("root-squash", false)?,
        all: server.boolean("all-squash", false)?,
        anon_uid: server.number("anonuid", 65_534)?,
        anon_gid: server.number("anongid", 65_534)?,
    })
}

fn keepalive(server: &Reader<'_>) -> Result<KeepAlive, String> {
    let default = KeepAlive::default();
    Ok(KeepAlive {
        idle: server.seconds("transport.socket.keepalive-time", default.idle.as_secs())?,
        interval: server.seconds("transport.socket.keepalive-interval", default.interval.as_secs())?,
        count: server.number("transport.socket.keepalive-count", default.count)?,
        user_timeout: server.seconds("transport.tcp-user-timeout", default.user_timeout.as_secs())?,
    })
}

fn watch(index: &Reader<'_>, volume: &str) -> Watch {
    let default = Watch::of_volume(volume);
    let list = |key: &str, default: Vec<String>| {
        index.text(key).map_or(default, |text| {
            text.split(',').map(|word| word.trim().to_owned()).collect()
        })
    };
    Watch {
        dirty: list("xattrop-dirty-watchlist", default.dirty),
        pending: list("xattrop-pending-watchlist", default.pending),
    }
}

fn listen(server: &Reader<'_>, port: Option<u16>) -> Result<SocketAddr, String> {
    let port = match port {
        Some(port) => port,
        None => server.number("listen-port", 0)?,
    };
    let ip = match (
        server.text("transport.socket.bind-address"),
        server.text("transport.address-family"),
    ) {
        (Some(text), _) => text
            .parse()
            .or_else(|_| server.wrong("transport.socket.bind-address", text))?,
        (None, Some("inet6")) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (None, Some("inet") | None) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (None, Some(other)) => return server.wrong("transport.address-family", other),
    };
    Ok(SocketAddr::new(ip, port))
}

/// A number of `storage.reserve`: percent with or without the sign, or a size with a unit.
fn reserve(text: &str) -> Option<Reserve> {
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().map(Reserve::from_number);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        "PB" => 50,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    Some(Reserve::from_number(number * (1u64 << shift) as f64))
}

fn options(posix: &Reader<'_>, access_control: bool) -> Result<Options, String> {
    let default = Options::default();
    let owner = |key: &str| {
        posix.parsed(key, None, |text| match text.parse::<i64>().ok()? {
            -1 => Some(None),
            id => u32::try_from(id).ok().map(Some),
        })
    };
    let mode = |key: &str, default: u32| posix.parsed(key, default, |text| u32::from_str_radix(text, 8).ok());
    Ok(Options {
        ctime: posix.boolean("ctime", default.ctime)?,
        gfid2path: posix.boolean("gfid2path", default.gfid2path)?,
        gfid2path_separator: posix
            .text("gfid2path-separator")
            .map_or(default.gfid2path_separator, str::to_owned),
        build_pgfid: posix.boolean("update-link-count-parent", default.build_pgfid)?,
        max_hardlinks: posix.number("max-hardlinks", default.max_hardlinks)?,
        fips_mode_rchecksum: posix.boolean("fips-mode-rchecksum", default.fips_mode_rchecksum)?,
        reserve: posix.parsed("reserve", default.reserve, reserve)?,
        shared_brick_count: posix.number("shared-brick-count", default.shared_brick_count)?,
        create_mask: mode("create-mask", default.create_mask)?,
        create_directory_mask: mode("create-directory-mask", default.create_directory_mask)?,
        force_create_mode: mode("force-create-mode", default.force_create_mode)?,
        force_directory_mode: mode("force-directory-mode", default.force_directory_mode)?,
        brick_uid: owner("brick-uid")?,
        brick_gid: owner("brick-gid")?,
        o_direct: posix.boolean("o-direct", default.o_direct)?,
        node_uuid_pathinfo: posix.boolean("node-uuid-pathinfo", default.node_uuid_pathinfo)?,
        node_uuid: posix.parsed("glusterd-uuid", default.node_uuid, |text| text.parse().ok())?,
        hostname: sys::host::hostname().unwrap_or(default.hostname),
        export_statfs_size: posix.boolean("export-statfs-size", default.export_statfs_size)?,
        access_control,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLFILE: &str = include_str!("../../../../tests/captures/generated/0001.w1.srv-node-w1-brick-b.vol");
    const BRICK: &str = "/srv/node/w1/brick/b";

    fn plan(text: &str) -> Result<Plan, String> {
        read(&Graph::parse(text).unwrap(), Some(BRICK), Some(50_159), "uuid")
    }

    #[test]
    fn a_generated_volfile_is_understood() {
        let plan = plan(VOLFILE).unwrap();
        assert_eq!(plan.store.root, std::path::Path::new(BRICK));
        assert_eq!(plan.store.volume_id.to_string(), "a56c387a-e6ef-4445-9906-2c613da2e930");
        assert!(plan.store.options.fips_mode_rchecksum && plan.store.options.access_control);
        assert_eq!(plan.config.name, BRICK);
        assert_eq!(plan.config.watch.pending, ["trusted.afr.0001-"]);
        assert_eq!(plan.config.auth.login_allow.len(), 1);
        assert_eq!(plan.config.auth.passwords.len(), 1);
        assert_eq!(plan.listen, "0.0.0.0:50159".parse().unwrap());
        assert_eq!(plan.health_interval, Duration::from_secs(30));
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        for (from, to, named) in [
            ("option server-quota off", "option server-quota on", "server-quota"),
            ("option worm off", "option worm on", "worm"),
            (
                "option enforce-mandatory-lock off",
                "option enforce-mandatory-lock forced",
                "enforce-mandatory-lock",
            ),
            ("type features/quota", "type features/arbiter", "features/arbiter"),
            (
                "option shared-brick-count 1",
                "option shared-brick-count many",
                "shared-brick-count",
            ),
            ("option volume-id a56c387a-e6ef", "option volume-id zzzz", "volume-id"),
        ] {
            let changed = VOLFILE.replacen(from, to, 1);
            assert_ne!(changed, VOLFILE, "{from} is not in the volfile");
            assert!(plan(&changed).unwrap_err().contains(named), "{to}");
        }
        let error = read(&Graph::parse(VOLFILE).unwrap(), Some("/other"), None, "u").unwrap_err();
        assert!(error.contains("'/other'"), "{error}");
    }

    #[test]
    fn reserves() {
        assert_eq!(reserve("1"), Some(Reserve::Percent(1.0)));
        assert_eq!(reserve("2%"), Some(Reserve::Percent(2.0)));
        assert_eq!(reserve("1GB"), Some(Reserve::Bytes(1 << 30)));
        assert_eq!(reserve("many"), None);
    }
}
