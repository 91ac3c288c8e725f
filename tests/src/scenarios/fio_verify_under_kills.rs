//! fio writes with checksums and reads back, direct and buffered, while every brick is killed once.

use super::common::{self, BRICKS, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::error::Result;
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "fio_verify_under_kills",
    about: "fio --verify=crc32c, direct and buffered, 4 jobs, while each brick is killed -9 and restarted",
    needs: &[Need::Ours, Need::Fio],
    seconds: 400,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let rounds = common::while_bricks_die(&setup.cluster, BRICKS, |round| fio(&setup, round))?;
    println!("   {rounds} rounds of fio while {BRICKS} bricks died and came back");
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    setup.finish()
}

/// One round; even rounds are direct, odd ones go through the page cache.
fn fio(setup: &Setup, round: usize) -> Result<()> {
    let direct = if round.is_multiple_of(2) {
        "--direct=1"
    } else {
        "--direct=0"
    };
    let at = setup.mount.inside();
    let cmd = setup
        .mount
        .host()
        .cmd("fio")
        .arg("--name=verify")
        .arg(format!("--directory={}", at.display()));
    let cmd = cmd.args([
        direct,
        "--rw=randwrite",
        "--bsrange=4k-64k",
        "--size=8m",
        "--numjobs=4",
        "--ioengine=psync",
    ]);
    let cmd = cmd.args([
        "--verify=crc32c",
        "--verify_fatal=1",
        "--do_verify=1",
        "--group_reporting",
        "--thread",
    ]);
    cmd.limit(Duration::from_secs(120)).run().map(drop)
}
