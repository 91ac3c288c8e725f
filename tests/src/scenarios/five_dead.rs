//! With five of six bricks dead reads of clean data go on; writes follow `cluster.quorum-type`: refused with EROFS by
//! `auto` (the default of six replicas), done by `none`.

use super::common::{self, HEAL_LIMIT, Setup, expect_content, expect_errno, pattern, write_and_check};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    kill_five(&setup)?;
    reads_go_on(&at)?;
    writes_are_refused(&at)?;
    reads_go_on(&at).context("after refused writes")?;
    setup.cluster.restart_bricks()?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    write_and_check(&at.join("d/again"), &pattern(2, 100_000)).context("with all bricks back")?;

    let volume = setup.cluster.volume();
    setup
        .cluster
        .gluster(&["volume", "set", volume, "cluster.quorum-type", "none"])?
        .run()?;
    // Mounted after the change: a client that takes it over while it runs is another scenario.
    let another = setup.cluster.mount("without-quorum")?;
    kill_five(&setup)?;
    write_and_check(&another.path().join("d/alone"), b"one brick").context("quorum-type none")?;
    fs::remove_file(another.path().join("d/again")).context("unlink with quorum-type none")?;
    setup.cluster.restart_bricks()?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    expect_content(&at.join("d/alone"), b"one brick")?;
    another.unmount()?;
    setup.finish()
}

/// All but the fourth.
fn kill_five(setup: &Setup) -> Result<()> {
    [0, 1, 2, 4, 5]
        .into_iter()
        .try_for_each(|brick| setup.cluster.kill_brick(brick))
}

fn writes_are_refused(at: &Path) -> Result<()> {
    let file = at.join("d/f");
    expect_errno("create", fs::write(at.join("d/new"), b"x"), libc::EROFS)?;
    expect_errno("mkdir", fs::create_dir(at.join("d/newdir")), libc::EROFS)?;
    expect_errno("unlink", fs::remove_file(&file), libc::EROFS)?;
    expect_errno("rename", fs::rename(&file, at.join("d/g")), libc::EROFS)?;
    let mode = fs::Permissions::from_mode(0o600);
    expect_errno("chmod", fs::set_permissions(&file, mode), libc::EROFS)?;
    let open = File::options().append(true).open(&file);
    let written = open.and_then(|mut file| file.write_all(b"more").and(file.sync_all()));
    expect_errno("write", written, libc::EROFS)
}

/// Contents (not from the page cache), names and attributes are those from before.
fn reads_go_on(at: &Path) -> Result<()> {
    let file = File::open(at.join("d/f")).context("open")?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).context("drop cached pages")?;
    expect_content(&at.join("d/f"), &pattern(1, 500_000))?;
    let names = fs::read_dir(at.join("d")).context("readdir")?.count();
    ensure(names == 1, format!("{names} names listed instead of 1"))?;
    ensure(
        fs::metadata(at.join("d/f")).context("stat")?.len() == 500_000,
        "another size",
    )
}
