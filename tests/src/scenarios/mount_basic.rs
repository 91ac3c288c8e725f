//! Everything a POSIX user expects of a mount, one small check each; all failures are listed at the end.

mod data;
mod locks;
mod names;
mod rights;

use super::common::{self, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure, fail};
use std::fs;
use std::path::{Path, PathBuf};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "mount_basic",
    about: "all file operations through the mount, then six identical bricks",
    needs: &[Need::Ours, Need::Fio],
    seconds: 240,
    run,
};

/// A check and the empty directory it works in.
pub(crate) struct Place<'a> {
    setup: &'a Setup,
    name: String,
}

impl Place<'_> {
    /// The directory, for this process.
    fn dir(&self) -> PathBuf {
        self.setup.mount.path().join(&self.name)
    }

    /// A name in the directory, for this process.
    fn at(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A name in the directory, for commands on the host.
    fn inside(&self, name: &str) -> PathBuf {
        self.setup.mount.inside().join(&self.name).join(name)
    }

    /// A command on the host that has the mount.
    fn cmd(&self, program: &str) -> crate::lab::Cmd {
        self.setup.mount.host().cmd(program)
    }
}

type Check = (&'static str, fn(&Place<'_>) -> Result<()>);

const OWN: &[Check] = &[("mount_table", mount_table), ("statfs", statfs), ("df", df)];

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, check) in [OWN, data::CHECKS, names::CHECKS, rights::CHECKS, locks::CHECKS]
        .into_iter()
        .flatten()
    {
        count += 1;
        let place = Place {
            setup: &setup,
            name: (*name).into(),
        };
        let result = fs::create_dir(place.dir())
            .context("make the directory")
            .and_then(|()| check(&place));
        if let Err(error) = result {
            println!("   {name}: {error}");
            failures.push(format!("{name}: {error}"));
        }
    }
    println!("   {} of {count} checks passed", count - failures.len());
    if let Err(error) = setup.cluster.expect_identical(HEAL_LIMIT) {
        failures.push(error.to_string());
    }
    setup.finish()?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(fail(failures.join("\n")))
    }
}

fn mount_table(place: &Place<'_>) -> Result<()> {
    let table = place.cmd("mount").run()?;
    let cluster = &place.setup.cluster;
    let at = place.setup.mount.inside().display().to_string();
    let line = table
        .lines()
        .find(|line| line.contains(&at))
        .ok_or_else(|| fail("not in the output of mount"))?;
    let source = [
        format!("{}:0001", cluster.server()),
        format!("{}:/0001", cluster.server()),
    ];
    ensure(
        source.iter().any(|source| line.starts_with(&format!("{source} on "))),
        format!("other source: {line}"),
    )?;
    ensure(line.contains(" type fuse.glusterfs "), format!("other type: {line}"))
}

fn statfs(place: &Place<'_>) -> Result<()> {
    let ours = nix::sys::statvfs::statvfs(&place.dir())?;
    let brick = place.setup.cluster.bricks_outside();
    let brick = nix::sys::statvfs::statvfs(brick.first().map_or(Path::new("/"), PathBuf::as_path))?;
    let bytes = |s: &nix::sys::statvfs::Statvfs| s.blocks() * s.fragment_size();
    // Bricks that share a file system share its size: GlusterFS counts them in the volfile's shared-brick-count.
    let (shown, wanted) = (bytes(&ours), bytes(&brick) / common::BRICKS as u64);
    ensure(
        shown.abs_diff(wanted) < 1 << 20,
        format!("{shown} bytes instead of a sixth of the brick's, {wanted}"),
    )?;
    ensure(
        ours.name_max() == 255,
        format!("names may have {} bytes", ours.name_max()),
    )
}

fn df(place: &Place<'_>) -> Result<()> {
    let text = place.cmd("df").arg("-h").arg(place.inside("")).run()?;
    ensure(
        text.contains(":0001") || text.contains(":/0001"),
        format!("df -h does not name the volume:\n{text}"),
    )
}
