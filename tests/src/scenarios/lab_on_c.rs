//! The lab's own check against the C implementation: what the lab calls identical and healed must be so for the
//! original, or every other scenario's verdict is worth nothing.

use super::common::{self, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure};
use crate::lab::{Flavor, xattr};
use std::fs;
use std::os::unix::fs::symlink;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "lab_on_c",
    about: "the lab judges the C implementation rightly: kill a brick, see the difference, heal, see none",
    needs: &[Need::C],
    seconds: 180,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(Flavor::C)?;
    let at = setup.mount.path();
    fs::create_dir(at.join("d")).context("mkdir")?;
    common::write_and_check(&at.join("d/before"), &common::pattern(1, 300_000))?;
    symlink("before", at.join("d/link")).context("symlink")?;
    fs::hard_link(at.join("d/before"), at.join("d/second")).context("link")?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;

    setup.cluster.kill_brick(2)?;
    common::write_and_check(&at.join("d/after"), &common::pattern(2, 300_000))?;
    xattr::set(&at.join("d/before"), "user.colour", b"blue")?;
    let spoiled = setup.cluster.compare()?;
    ensure(
        spoiled
            .differences
            .iter()
            .any(|line| line.contains("d/after: missing on brick 3")),
        "no difference seen",
    )?;
    setup.cluster.restart_bricks()?;
    let healed = setup.cluster.expect_identical(HEAL_LIMIT)?;
    let first = healed
        .bricks
        .first()
        .map(|brick| brick.digest.clone())
        .unwrap_or_default();
    ensure(
        healed.bricks.iter().all(|brick| brick.digest == first),
        "digests of identical bricks differ",
    )?;
    setup.finish()
}
