//! What is in the package: names, modes, fields, and the same bytes from the same sources.

use super::{field, programs};
use crate::lab::error::{Context, Result, ensure};
use crate::lab::{Cmd, Host, Lab};
use crate::package;
use std::fs;
use std::path::{Path, PathBuf};

/// Files a user of GlusterFS knows, and the modes in which they are packed.
const EXPECTED: [(&str, &str); 14] = [
    ("-rwxr-xr-x", "./usr/sbin/glusterd"),
    ("-rwxr-xr-x", "./usr/sbin/gluster"),
    ("-rwxr-xr-x", "./usr/sbin/glusterfs"),
    ("-rwxr-xr-x", "./usr/sbin/glusterfsd"),
    ("-rwxr-xr-x", "./sbin/mount.glusterfs"),
    ("-rw-r--r--", "./etc/glusterfs/glusterd.vol"),
    ("-rw-r--r--", "./etc/logrotate.d/glusterfs-common"),
    ("-rw-r--r--", "./lib/systemd/system/glusterd.service"),
    ("-rw-r--r--", "./usr/share/man/man8/glusterd.8.gz"),
    ("-rw-r--r--", "./usr/share/man/man8/gluster.8.gz"),
    ("-rw-r--r--", "./usr/share/man/man8/glusterfs.8.gz"),
    ("-rw-r--r--", "./usr/share/man/man8/glusterfsd.8.gz"),
    ("-rw-r--r--", "./usr/share/man/man8/mount.glusterfs.8.gz"),
    ("drwxr-xr-x", "./var/lib/glusterd/"),
];

/// Builds the package twice and answers one of the two.
pub fn same_bytes_twice(lab: &Lab) -> Result<PathBuf> {
    let [first, second] = ["one", "two"].map(|name| {
        let output = lab.make_dir(name)?;
        package::build(&programs()?, &output)
    });
    let (first, second) = (first?, second?);
    let read = |path: &Path| fs::read(path).context(path.display());
    ensure(read(&first)? == read(&second)?, "two builds of the package differ")?;
    Ok(first)
}

/// Everything is in it, belongs to root, and nobody but its owner may write it.
pub fn check(package: &Path) -> Result<()> {
    let list = Cmd::words("dpkg-deb -c").arg(package).run()?;
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, .., path] = words.as_slice() else {
            return Err(crate::lab::fail(format!("dpkg-deb -c: {line}")));
        };
        ensure(*owner == "root/root", format!("{path} belongs to {owner}"))?;
        ensure(
            matches!(*mode, "drwxr-xr-x" | "-rwxr-xr-x" | "-rw-r--r--"),
            format!("{path} is {mode}"),
        )?;
    }
    for (mode, path) in EXPECTED {
        let there = list
            .lines()
            .any(|line| line.starts_with(mode) && line.ends_with(&format!(" {path}")));
        ensure(there, format!("no {mode} {path} in the package:\n{list}"))?;
    }
    for name in package::REPLACED {
        for relation in ["Conflicts", "Replaces", "Provides"] {
            let value = field(package, relation)?;
            let named = value.split(", ").any(|entry| entry.split(' ').next() == Some(name));
            ensure(named, format!("{relation}: {value} does not name {name}"))?;
        }
    }
    let depends = field(package, "Depends")?;
    ensure(depends.contains("libc6 (>= 2."), format!("Depends: {depends}"))
}

/// The package's configuration files by the machine's package database, in the order of `dpkg -L`.
pub fn configuration(host: &Host) -> Result<Vec<String>> {
    let text = host.words("dpkg-query -W -f=${Conffiles}").arg(package::NAME).run()?;
    let paths = text.lines().filter_map(|line| line.split_whitespace().next());
    let mut paths: Vec<String> = paths.map(str::to_string).collect();
    paths.sort();
    Ok(paths)
}
