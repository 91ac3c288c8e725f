//! Debian packages the tests need, installed when they are missing and this is Debian as root.

use super::error::{Result, fail};
use super::run::Cmd;
use std::path::Path;
use std::time::Duration;

/// Program that shows a package is there, and the package.
const NEEDED: [(&str, &str); 14] = [
    ("/usr/sbin/glusterd", "glusterfs-server"),
    ("/usr/sbin/glusterfs", "glusterfs-client"),
    ("/usr/bin/fio", "fio"),
    ("/usr/bin/setfattr", "attr"),
    ("/usr/bin/setfacl", "acl"),
    ("/usr/sbin/mkfs.xfs", "xfsprogs"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/bin/git", "git"),
    ("/usr/bin/nsenter", "util-linux"),
    // Not run as a service manager: they check our units and rotate our logs.
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/sbin/logrotate", "logrotate"),
];

/// Packages whose program is neither at its usual path nor on `PATH`.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    NEEDED
        .iter()
        .filter(|(program, _)| !present(program))
        .map(|(_, package)| *package)
        .collect()
}

/// Installs what is missing.
///
/// # Errors
/// When packages are missing and cannot be installed here.
pub fn install() -> Result<()> {
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let names = wanted.join(" ");
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(fail(format!(
            "missing packages: {names} (they are installed by themselves on Debian as root)"
        )));
    }
    eprintln!("installing {names}");
    let apt = |args: &[&str]| {
        let cmd = Cmd::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive");
        cmd.limit(Duration::from_secs(600)).run().map(drop)
    };
    // The packages' services are not wanted on this machine: the tests run their own, on their own paths.
    apt(&["-q", "update"])?;
    let mut args = vec!["-q", "-y", "--no-install-recommends", "install"];
    args.extend(&wanted);
    apt(&args)?;
    match missing() {
        left if left.is_empty() => Ok(()),
        left => Err(fail(format!(
            "still missing after the installation: {}",
            left.join(" ")
        ))),
    }
}

fn present(program: &str) -> bool {
    let path = Path::new(program);
    let Some(name) = path.file_name() else { return false };
    path.exists()
        || std::env::var_os("PATH").is_some_and(|dirs| std::env::split_paths(&dirs).any(|dir| dir.join(name).exists()))
}
