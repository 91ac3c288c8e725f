//! With five of six bricks dead reads of clean data go on; writes follow `cluster.quorum-type`: refused with EROFS by
//! `auto` (the default of six replicas), done by `none`.

use super::common::{self, HEAL_LIMIT, Setup, expect_content, expect_errno, pattern, write_and_check};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure};
use crate::lab::run::wait_for;
use std::fs;
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "five_dead",
    about: "5 of 6 bricks dead: reads go on, writes give EROFS with quorum-type auto and go on with none",
    needs: &[Need::Ours],
    seconds: 240,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let at = setup.mount.path();
    fs::create_dir(at.join("d")).context("mkdir")?;
    write_and_check(&at.join("d/f"), &pattern(1, 500_000))?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;

    for brick in [0, 1, 2, 4, 5] {
        setup.cluster.kill_brick(brick)?;
    }
    let another = setup.cluster.mount("second")?;
    for mount in [&at, &another.path()] {
        expect_content(&mount.join("d/f"), &pattern(1, 500_000))?;
        let names: Vec<_> = fs::read_dir(mount.join("d")).context("readdir")?.flatten().collect();
        ensure(names.len() == 1, format!("{} names listed instead of 1", names.len()))?;
        ensure(
            fs::metadata(mount.join("d/f")).context("stat")?.len() == 500_000,
            "another size",
        )?;
        expect_errno("create", fs::write(mount.join("d/new"), b"x"), libc::EROFS)?;
        expect_errno("mkdir", fs::create_dir(mount.join("d/newdir")), libc::EROFS)?;
        expect_errno("unlink", fs::remove_file(mount.join("d/f")), libc::EROFS)?;
        expect_errno("rename", fs::rename(mount.join("d/f"), mount.join("d/g")), libc::EROFS)?;
        let open = fs::File::options().append(true).open(mount.join("d/f"));
        let written = open.and_then(|mut file| std::io::Write::write_all(&mut file, b"more").and(file.sync_all()));
        expect_errno("write", written, libc::EROFS)?;
    }
    another.unmount()?;

    set(&setup, &["cluster.quorum-type", "none"])?;
    wait_for("writes go on with quorum-type none", Duration::from_secs(10), || {
        Ok(fs::write(at.join("d/alone"), b"one brick").is_ok().then_some(()))
    })?;
    set(&setup, &["cluster.quorum-type", "auto"])?;
    setup.cluster.restart_bricks()?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    expect_content(&at.join("d/alone"), b"one brick")?;
    write_and_check(&at.join("d/again"), &pattern(2, 100_000))?;
    setup.finish()
}

fn set(setup: &Setup, option: &[&str]) -> Result<()> {
    let volume = setup.cluster.volume();
    setup
        .cluster
        .gluster(&[&["volume", "set", volume], option].concat())?
        .run()
        .map(drop)
}
