//! The text of `mount.glusterfs -h`, and the same lines for its manual page. Only words: what the options do is in
//! [`super::mount_options`] and in the client.

/// Options with a meaning of their own, as they are written after `-o`, and what they do.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "backupvolfile-server=SERVER[:SERVER...]",
        "further servers for the volume file; : or , between names, IPv6 addresses in []",
    ),
    (
        "backup-volfile-servers=SERVER[:SERVER...]",
        "the same; wins over the other spelling",
    ),
    ("server-port=PORT", "port of the management daemons (24007)"),
    ("transport=tcp", "tcp is the only one"),
    (
        "fetch-attempts=N",
        "how often the servers are tried for the volume file (0: for ten seconds)",
    ),
    (
        "log-level=LEVEL",
        "NONE, CRITICAL, ERROR, WARNING, INFO (the default), DEBUG or TRACE",
    ),
    (
        "log-file=FILE",
        "log file (/var/log/glusterfs/ and the mount point with dashes)",
    ),
    ("ro", "mount read-only"),
    ("acl", "check POSIX access control lists"),
    ("selinux", "pass SELinux labels on to the bricks"),
    ("capability", "pass file capabilities on to the bricks"),
    (
        "attribute-timeout=SECONDS",
        "how long the kernel may keep attributes (0)",
    ),
    ("entry-timeout=SECONDS", "how long the kernel may keep names (0)"),
    (
        "negative-timeout=SECONDS",
        "how long the kernel may remember that a name is missing (0)",
    ),
    ("gid-timeout=SECONDS", "how long a user's groups are remembered (300)"),
    (
        "direct-io-mode=on|off|auto",
        "keep the kernel's page cache out of it (auto: as the file was opened)",
    ),
    (
        "fopen-keep-cache[=on|off]",
        "keep a file's pages when it is opened again (off)",
    ),
    (
        "auto-invalidation=on|off",
        "drop a file's pages when its times or size have changed (on)",
    ),
    ("kernel-writeback-cache=on|off", "let the kernel collect writes (off)"),
    (
        "attr-times-granularity=NS",
        "resolution of time stamps in nanoseconds (0, the finest)",
    ),
    ("use-readdirp=on|off", "read attributes together with names (on)"),
    (
        "background-qlen=N",
        "requests the kernel may keep in the background, 16 to 65535",
    ),
    (
        "congestion-threshold=N",
        "background requests from which the mount counts as congested",
    ),
    (
        "reader-thread-count=N",
        "threads that read requests from the kernel, 1 to 64",
    ),
    (
        "no-root-squash[=on|off]",
        "ask the bricks not to squash root; root-squash=off is the same",
    ),
    (
        "oom-score-adj=N",
        "how readily the kernel kills the client when memory is short",
    ),
    (
        "xlator-option=NAME.KEY=VALUE",
        "set an option of a block of the volume file",
    ),
    ("process-name=NAME", "the client's name in lists becomes fuse.NAME"),
    (
        "halo-max-latency=MS",
        "with halo-max-replicas=N and halo-min-replicas=N: options of the replicate block",
    ),
    (
        "context=LABEL",
        "SELinux label of everything; also fscontext, defcontext, rootcontext",
    ),
];

/// Options that are known, and refused with a line that names them.
pub const REFUSED: &[&str] = &[
    "subdir-mount",
    "volume-name",
    "worm",
    "aux-gfid-mount",
    "thin-client",
    "enable-ino32",
    "dump-fuse",
];

/// Options that tune what this client does not have: accepted, without effect, which the client's log says. The volume
/// is always the one of the device, as in GlusterFS, where `volume-id` is read and then overwritten.
pub const WITHOUT_EFFECT: &[&str] = &[
    "event-history",
    "fuse-dev-eperm-ratelimit-ns",
    "fuse-flush-handle-interrupt",
    "global-threading",
    "inode-table-size",
    "invalidate-limit",
    "io-engine",
    "localtime-logging",
    "lru-limit",
    "mem-accounting",
    "resolve-gids",
    "volfile-check",
    "volume-id",
];

/// The text of `-h`.
pub fn text() -> String {
    const COLUMN: usize = 42;
    let mut text = "Usage: mount.glusterfs SERVER[,SERVER...]:/VOLUME MOUNTPOINT [-o OPTION[=VALUE],...]\n  -f  check \
                    everything but do not mount     -s -n -v  accepted\n  -V  print the version                         \
                    -h        this text\n\nOptions:\n  \
                    remount                                    change the kernel's flags of a mount that is there: ro, rw, noatime...\n"
        .to_owned();
    for (option, help) in OPTIONS {
        text.push_str(&format!("  {option:COLUMN$} {help}\n"));
    }
    let lists = [
        ("Of the kernel's mount", super::mount_options::KERNEL.join(" ")),
        ("Known, but refused", REFUSED.join(" ")),
        ("Without effect", WITHOUT_EFFECT.join(" ")),
        (
            "For mount(8) and other programs",
            super::mount_options::IGNORED.join(" ") + " x-... comment=...",
        ),
    ];
    for (what, list) in lists {
        text.push_str(&format!("{what}:\n{}", wrapped(&list)));
    }
    text
}

/// Words in lines of at most 100 characters.
fn wrapped(words: &str) -> String {
    let (mut text, mut length) = (String::new(), 0);
    for word in words.split_whitespace() {
        if length == 0 || length + word.len() > 98 {
            text.push_str(if length == 0 { " " } else { "\n " });
            length = 1;
        }
        text.push_str(&format!(" {word}"));
        length += word.len() + 1;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::mount_options::{FLAGS, Passed, WITH_VALUE};
    use super::*;

    fn names() -> Vec<&'static str> {
        let meaning = OPTIONS.iter().map(|(spelling, _)| {
            let end = spelling.find(['=', '[']).unwrap_or(spelling.len());
            spelling.get(..end).unwrap()
        });
        meaning
            .chain(REFUSED.iter().copied())
            .chain(WITHOUT_EFFECT.iter().copied())
            .collect()
    }

    #[test]
    fn every_option_of_the_tables_is_in_the_text() {
        for option in WITH_VALUE.iter().chain(&FLAGS) {
            assert!(names().contains(option), "{option}");
        }
    }

    /// With one of the values, or without one.
    #[test]
    fn every_option_of_the_text_is_accepted() {
        for name in names() {
            let lines = ["", "=5", "=on", "=a.b=1", "=INFO"].map(|value| format!("{name}{value}"));
            assert!(
                lines
                    .iter()
                    .any(|line| Passed::parse(std::slice::from_ref(line)).is_ok()),
                "{name}"
            );
        }
    }

    #[test]
    fn the_text_fits() {
        let text = text();
        assert!(text.lines().all(|line| line.len() <= 140), "{text}");
        assert!(text.contains("_netdev") && text.contains("noatime") && text.contains("subdir-mount"));
    }
}
