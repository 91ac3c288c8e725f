//! A source tree unpacked on the mount and compared, while every brick is killed once.

use super::common::{self, BRICKS, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, fail};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The workspace's own sources: a real tree that is there wherever the tests are.
const PARTS: [&str; 5] = ["datapath", "control", "fuse", "bench", "tests"];

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "tar_under_kills",
    about: "tar of a source tree and diff -r while each brick is killed -9 and restarted",
    needs: &[Need::Ours],
    seconds: 400,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or_else(|| fail("no workspace"))?;
    let archive = setup.lab.make_dir("archive")?.join("tree.tar");
    let host = setup.mount.host();
    host.cmd("tar")
        .arg("-C")
        .arg(source)
        .arg("-cf")
        .arg(&archive)
        .args(PARTS)
        .run()?;
    let rounds = common::while_bricks_die(&setup.cluster, BRICKS, |round| {
        let name = format!("tree-{round}");
        let at = setup.mount.inside().join(&name);
        fs::create_dir(setup.mount.path().join(&name)).context("mkdir")?;
        let limit = Duration::from_secs(120);
        host.cmd("tar")
            .arg("-C")
            .arg(&at)
            .arg("-xf")
            .arg(&archive)
            .limit(limit)
            .run()?;
        PARTS.iter().try_for_each(|part| {
            let cmd = host
                .cmd("diff")
                .args(["-r", "--no-dereference"])
                .arg(source.join(part))
                .arg(at.join(part));
            cmd.limit(limit).run().map(drop)
        })?;
        if round.is_multiple_of(2) {
            Ok(())
        } else {
            fs::remove_dir_all(setup.mount.path().join(&name)).context(name)
        }
    })?;
    println!("   {rounds} trees while {BRICKS} bricks died and came back");
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    setup.finish()
}
