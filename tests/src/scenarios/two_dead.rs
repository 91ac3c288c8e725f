//! With two of six bricks dead everything goes on, on files opened before and made after.

use super::common::{self, HEAL_LIMIT, Setup, expect_content, pattern, write_and_check};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure};
use crate::lab::xattr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "two_dead",
    about: "2 of 6 bricks dead: reads and writes go on; after their return all six are identical",
    needs: &[Need::Ours],
    seconds: 240,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let at = setup.mount.path();
    fs::create_dir(at.join("d")).context("mkdir")?;
    write_and_check(&at.join("d/old"), &pattern(1, 500_000))?;
    write_and_check(&at.join("d/doomed"), &pattern(2, 10_000))?;
    let mut open = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(at.join("open"))?;
    open.write_all(&pattern(3, 100_000))?;

    // The first one is what a read is likely to use.
    setup.cluster.kill_brick(0)?;
    setup.cluster.kill_brick(3)?;

    open.write_all(&pattern(4, 100_000))
        .context("write to a file opened before")?;
    open.sync_all().context("fsync of a file opened before")?;
    let mut back = Vec::new();
    open.seek(SeekFrom::Start(0))?;
    open.read_to_end(&mut back).context("read of a file opened before")?;
    ensure(
        back == [pattern(3, 100_000), pattern(4, 100_000)].concat(),
        "an open file has other content",
    )?;
    expect_content(&at.join("d/old"), &pattern(1, 500_000))?;
    write_and_check(&at.join("d/new"), &pattern(5, 500_000))?;
    fs::create_dir(at.join("d/sub")).context("mkdir")?;
    fs::rename(at.join("d/new"), at.join("d/sub/renamed")).context("rename")?;
    fs::remove_file(at.join("d/doomed")).context("unlink")?;
    fs::hard_link(at.join("d/old"), at.join("d/linked")).context("link")?;
    std::os::unix::fs::symlink("old", at.join("d/symbolic")).context("symlink")?;
    std::os::unix::fs::chown(at.join("d/old"), Some(1000), Some(1001)).context("chown")?;
    xattr::set(&at.join("d/old"), "user.seen", b"by four")?;
    drop(open);

    setup.cluster.restart_bricks()?;
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    expect_content(&at.join("d/sub/renamed"), &pattern(5, 500_000))?;
    setup.finish()
}
