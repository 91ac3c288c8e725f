//! The units as systemd reads them: without a complaint, and in an order in which the user's mount comes after the daemon
//! it asks. systemd need not run for that.

use super::{FSTAB, MOUNT_POINT};
use crate::lab::Host;
use crate::lab::error::{Context, Result, ensure};
use crate::lab::run::tail;
use std::fs;
use std::path::Path;

/// Units, and what systemd must have understood.
const UNDERSTOOD: [(&str, &[&str]); 2] = [
    (
        "glusterd.service",
        &[
            // A mount of a network file system is after this target, which nothing else pulls in.
            "Before: remote-fs-pre.target",
            "Wants: remote-fs-pre.target",
            // A stop goes the other way round: the daemon, then the bricks.
            "After: glusterfsd.service",
            "Wants: glusterfsd.service",
            "After: network.target",
            "KillMode: process",
            "OOMPolicy: continue",
        ],
    ),
    (
        "glusterfsd.service",
        &["Before: remote-fs-pre.target", "After: network.target"],
    ),
];

/// See the module.
pub fn check(host: &Host) -> Result<()> {
    for (unit, wanted) in UNDERSTOOD {
        let quiet = host.words("systemd-analyze --man=yes verify").arg(unit).output()?;
        ensure(
            quiet.status.success() && quiet.all().is_empty(),
            format!("{unit}: {}", quiet.all()),
        )?;
        understood(host, Path::new(unit), wanted)?;
    }
    mount_unit(host)
}

/// systemd's own view of a unit (an installed one by its name, else a file), with the dependencies it has added itself.
fn understood(host: &Host, unit: &Path, wanted: &[&str]) -> Result<()> {
    let cmd = host.words("systemd-analyze --man=no verify").arg(unit);
    let all = cmd.env("SYSTEMD_LOG_LEVEL", "debug").output()?.all();
    let name = unit.file_name().unwrap_or_default().display();
    let begin = format!("-> Unit {name}:");
    let mut own = all.lines().skip_while(|line| !line.contains(&begin));
    ensure(own.next().is_some(), format!("{name} was not read: {}", tail(&all)))?;
    let view: Vec<&str> = own
        .take_while(|line| !line.contains("-> Unit "))
        .map(str::trim)
        .collect();
    for line in wanted {
        let there = view
            .iter()
            .any(|seen| seen == line || seen.starts_with(&format!("{line} (")));
        ensure(there, format!("{name}: no \"{line}\" in\n{}", view.join("\n")))?;
    }
    Ok(())
}

/// The mount unit that systemd makes of the user's fstab line.
fn mount_unit(host: &Host) -> Result<()> {
    let inside = Path::new("/run/systemd/generator");
    let generated = host.outside(inside);
    for directory in ["normal", "early", "late"] {
        fs::create_dir_all(generated.join(directory)).context(directory)?;
    }
    fs::write(host.outside(Path::new("/run/fstab")), FSTAB)?;
    host.words("/lib/systemd/system-generators/systemd-fstab-generator")
        .args(["normal", "early", "late"].map(|name| format!("/run/systemd/generator/{name}")))
        .env("SYSTEMD_FSTAB", "/run/fstab")
        .run()?;
    let unit = format!("{}.mount", MOUNT_POINT.trim_start_matches('/').replace('/', "-"));
    let made = generated.join("normal").join(&unit);
    fs::rename(&made, generated.join(&unit)).context(made.display())?;
    let wanted = [
        "After: remote-fs-pre.target",
        "After: network-online.target",
        "Before: remote-fs.target",
    ];
    understood(host, &inside.join(&unit), &wanted)?;
    let required = generated.join("normal/remote-fs.target.requires").join(&unit);
    ensure(
        fs::symlink_metadata(&required).is_ok(),
        "the mount is not part of remote-fs.target",
    )?;
    // Its presence means "systemd runs here" to other programs.
    let systemd = host.outside(Path::new("/run/systemd"));
    fs::remove_dir_all(&systemd).context(systemd.display())
}
