//! The `-o` options of a GlusterFS mount (wire-protocol.md 7.2): which are passed on, how, and which are ignored.
//! Pure functions; what the client cannot do it refuses itself, by name.

use super::Refusal;
use crate::options::parse_bool;
use crate::servers;

/// What the options ask of `glusterfs`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Arguments that stand before the servers.
    pub before: Vec<String>,
    /// Backup volfile servers.
    pub servers: Vec<String>,
    /// `transport`.
    pub transport: Option<String>,
    /// `server-port`.
    pub port: Option<u16>,
    /// Options of the kernel mount.
    pub mount_options: Vec<String>,
}

/// Passed on as `--KEY=VALUE`.
pub(super) const WITH_VALUE: [&str; 24] = [
    "log-file",
    "gid-timeout",
    "attribute-timeout",
    "entry-timeout",
    "negative-timeout",
    "direct-io-mode",
    "fopen-keep-cache",
    "auto-invalidation",
    "kernel-writeback-cache",
    "attr-times-granularity",
    "use-readdirp",
    "background-qlen",
    "congestion-threshold",
    "reader-thread-count",
    "lru-limit",
    "inode-table-size",
    "invalidate-limit",
    "event-history",
    "dump-fuse",
    "oom-score-adj",
    "xlator-option",
    "io-engine",
    "fuse-flush-handle-interrupt",
    "fuse-dev-eperm-ratelimit-ns",
];

/// Passed on as `--NAME`.
pub(super) const FLAGS: [&str; 10] = [
    "acl",
    "selinux",
    "capability",
    "worm",
    "enable-ino32",
    "mem-accounting",
    "aux-gfid-mount",
    "thin-client",
    "resolve-gids",
    "localtime-logging",
];

/// Options of the kernel mount itself.
pub(super) const KERNEL: [&str; 18] = [
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazyatime",
    "nolazyatime",
    "lazytime",
    "nolazytime",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "suid",
    "nosuid",
];

/// Meant for other programs, or without a meaning for this file system.
pub(super) const IGNORED: [&str; 18] = [
    "rw",
    "defaults",
    "auto",
    "noauto",
    "_netdev",
    "async",
    "sync",
    "dirsync",
    "mand",
    "nomand",
    "silent",
    "loud",
    "iversion",
    "noiversion",
    "nofail",
    "user",
    "nouser",
    "auto_unmount",
];

impl Passed {
    /// Reads all options, in order.
    ///
    /// # Errors
    /// The first option that nobody knows, or whose value is wrong.
    pub fn parse(options: &[String]) -> Result<Passed, Refusal> {
        let mut passed = Passed {
            before: vec!["--process-name=fuse".to_owned()],
            ..Passed::default()
        };
        let mut backups = Backups::default();
        let mut in_server_list = false;
        for option in options.iter().flat_map(|o| o.split(',')).filter(|o| !o.is_empty()) {
            // mount(8) separates options by commas, so a comma list of servers arrives in pieces.
            if in_server_list && is_more_servers(option) {
                backups.more(option)?;
                continue;
            }
            in_server_list = match option.split_once('=') {
                Some((key @ ("backup-volfile-servers" | "backupvolfile-server"), list)) => {
                    backups.add(key, list)?;
                    true
                }
                Some((key, value)) => passed.valued(key, value).map(|()| false)?,
                None => passed.bare(option).map(|()| false)?,
            };
        }
        passed.servers = backups.all;
        Ok(passed)
    }

    fn valued(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        let invalid = || Refusal::new(1, format!("Invalid value of option {key}: \"{value}\""));
        match key {
            "log-level" => self.before.push(format!("--log-level={}", log_level(value))),
            "server-port" => self.port = Some(value.parse().ok().filter(|p| *p != 0).ok_or_else(invalid)?),
            "transport" => self.transport = Some(value.to_owned()),
            "process-name" => self.replace("--process-name=", &format!("fuse.{value}")),
            "subdir-mount" => self
                .before
                .push(format!("--subdir-mount=/{}", value.trim_start_matches('/'))),
            "volume-name" => self.before.push(format!("--volume-name={value}")),
            "no-root-squash" if parse_bool(value) == Some(true) => self.before.push("--no-root-squash=on".to_owned()),
            "root-squash" if parse_bool(value) == Some(false) => self.before.push("--no-root-squash=on".to_owned()),
            "no-root-squash" | "root-squash" if parse_bool(value).is_some() => {}
            "no-root-squash" | "root-squash" => return Err(invalid()),
            "halo-max-latency" | "halo-max-replicas" | "halo-min-replicas" => {
                self.before.push(format!("--xlator-option=*replicate*.{key}={value}"));
            }
            "context" | "fscontext" | "defcontext" | "rootcontext" => self.mount_options.push(format!("{key}={value}")),
            "fetch-attempts" => {
                let attempts: u32 = value.parse().map_err(|_| invalid())?;
                self.before.push(format!("--volfile-max-fetch-attempts={attempts}"));
            }
            // The client says in its log that these have no effect.
            "volfile-check" => self.before.push("--volfile-check".to_owned()),
            "volume-id" => self.before.push(format!("--volume-id={value}")),
            _ if key.starts_with("x-") || key.starts_with("comment") => {}
            _ if WITH_VALUE.contains(&key) => self.before.push(format!("--{key}={value}")),
            _ => return Err(Refusal::new(1, format!("Invalid option: {key}"))),
        }
        Ok(())
    }

    fn bare(&mut self, option: &str) -> Result<(), Refusal> {
        match option {
            "ro" => self.before.push("--read-only".to_owned()),
            "fopen-keep-cache" => self.before.push("--fopen-keep-cache".to_owned()),
            "no-root-squash" => self.before.push("--no-root-squash=on".to_owned()),
            "global-threading" => self.before.push("--global-threading".to_owned()),
            _ if IGNORED.contains(&option) || option.starts_with("x-") => {}
            _ if KERNEL.contains(&option) => self.mount_options.push(option.to_owned()),
            _ if FLAGS.contains(&option) => self.before.push(format!("--{option}")),
            _ => return Err(Refusal::new(1, format!("Invalid option: {option}"))),
        }
        Ok(())
    }

    fn replace(&mut self, prefix: &str, value: &str) {
        self.before.retain(|a| !a.starts_with(prefix));
        self.before.insert(0, format!("{prefix}{value}"));
    }
}

/// Backup servers of both spellings; the plural one wins, as in GlusterFS.
#[derive(Default)]
struct Backups {
    plural: bool,
    last_was_used: bool,
    all: Vec<String>,
}

impl Backups {
    fn add(&mut self, key: &str, list: &str) -> Result<(), Refusal> {
        let plural = key == "backup-volfile-servers";
        let servers = servers::split(list).map_err(|why| Refusal::new(1, format!("option {key}: {why}")))?;
        self.last_was_used = plural || !self.plural;
        if plural && !self.plural {
            self.plural = true;
            self.all.clear();
        }
        if self.last_was_used {
            self.all.extend(servers);
        }
        Ok(())
    }

    fn more(&mut self, list: &str) -> Result<(), Refusal> {
        let servers = servers::split(list).map_err(|why| Refusal::new(1, format!("backup server: {why}")))?;
        if self.last_was_used {
            self.all.extend(servers);
        }
        Ok(())
    }
}

/// Whether an option after a list of servers is one more server: no known option, and every part a host.
fn is_more_servers(option: &str) -> bool {
    let known = IGNORED.contains(&option)
        || KERNEL.contains(&option)
        || FLAGS.contains(&option)
        || matches!(option, "ro" | "fopen-keep-cache" | "no-root-squash")
        || option.starts_with("x-");
    !known && !option.contains('=') && servers::split(option).is_ok()
}

/// GlusterFS's names of levels, any case; what it does not know becomes INFO, with a warning.
fn log_level(value: &str) -> &'static str {
    match value.to_ascii_uppercase().as_str() {
        "NONE" => "NONE",
        "CRITICAL" => "CRITICAL",
        "ERROR" => "ERROR",
        "WARNING" => "WARNING",
        "INFO" => "INFO",
        "DEBUG" => "DEBUG",
        "TRACE" => "TRACE",
        _ => {
            eprintln!("mount.glusterfs: invalid log level \"{value}\", using INFO");
            "INFO"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Passed {
        Passed::parse(&[list.to_owned()]).unwrap()
    }

    fn refusal(list: &str) -> String {
        Passed::parse(&[list.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn both_spellings_take_both_separators() {
        for list in [
            "backupvolfile-server=w2:w3:w4",
            "backupvolfile-server=w2,w3,w4",
            "backup-volfile-servers=w2:w3:w4",
            "backup-volfile-servers=w2,w3:w4",
            "rw,backup-volfile-servers=\"w2,w3,w4\",_netdev",
            "backupvolfile-server=w9,backup-volfile-servers=w2:w3:w4,backupvolfile-server=w8,w7",
        ] {
            assert_eq!(parse(list).servers, ["w2", "w3", "w4"], "{list}");
        }
    }

    #[test]
    fn options_after_a_server_list_are_still_options() {
        let passed = parse("backupvolfile-server=w2,acl,noatime,ro,_netdev,log-level=debug");
        assert_eq!(passed.servers, ["w2"]);
        assert_eq!(
            passed.before,
            ["--process-name=fuse", "--acl", "--read-only", "--log-level=DEBUG"]
        );
        assert_eq!(passed.mount_options, ["noatime"]);
    }

    #[test]
    fn values_are_passed_and_checked() {
        let passed = parse("process-name=web,attribute-timeout=0.5,no-root-squash=yes,x-systemd.automount,defaults");
        let wanted = [
            "--process-name=fuse.web",
            "--attribute-timeout=0.5",
            "--no-root-squash=on",
        ];
        assert_eq!(passed.before, wanted);
        assert_eq!(parse("server-port=24107").port, Some(24107));
        assert_eq!(parse("root-squash=off").before[1], "--no-root-squash=on");
        assert_eq!(
            parse("halo-max-latency=9").before[1],
            "--xlator-option=*replicate*.halo-max-latency=9"
        );
        let passed = parse("fetch-attempts=5,volume-id=v,volfile-check=1");
        let wanted = ["--volfile-max-fetch-attempts=5", "--volume-id=v", "--volfile-check"];
        assert_eq!(passed.before[1..], wanted);
        assert_eq!(
            refusal("fetch-attempts=x"),
            "Invalid value of option fetch-attempts: \"x\""
        );
        assert_eq!(refusal("server-port=x"), "Invalid value of option server-port: \"x\"");
        assert_eq!(refusal("nosuch=1"), "Invalid option: nosuch");
        assert_eq!(refusal("nosuch"), "Invalid option: nosuch");
        assert!(refusal("backupvolfile-server=w2:99").contains("99"));
    }
}
