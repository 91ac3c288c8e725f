//! Our client and the C implementation's on one volume: each sees what the other does. Once on our cluster, once on
//! the C implementation's.

use super::common::{HEAL_LIMIT, expect_content, expect_errno, pattern};
use super::{Need, Scenario};
use crate::lab::disk::{BrickDisk, make_bricks};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::wait_for;
use crate::lab::{Cluster, Flavor, Lab, xattr};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

/// The C client on our cluster.
pub const C_CLIENT: Scenario = Scenario {
    name: "c_client",
    about: "the C 10.3 client mounts our volume; both clients see each other's work",
    needs: &[Need::Ours, Need::C],
    seconds: 180,
    run: || run(Flavor::Ringluster),
};

/// Our client on a C cluster.
pub const C_CLUSTER: Scenario = Scenario {
    name: "c_cluster",
    about: "our client mounts a C 10.3 volume; both clients see each other's work",
    needs: &[Need::Ours, Need::C],
    seconds: 180,
    run: || run(Flavor::C),
};

/// The kernel keeps attributes and names of the C client's mount for a second; changes by others show after it.
const SEEN_LIMIT: Duration = Duration::from_secs(3);

fn run(server: Flavor) -> Result<()> {
    let lab = Lab::with_hosts(2, false)?;
    let (host, other) = (lab.host("worker1")?, lab.host("worker2")?);
    let bricks = make_bricks(&lab, host, BrickDisk::Directory, 6)?;
    let cluster = Cluster::start(&lab, host, server, &bricks)?;
    let home = lab.make_dir("mounts")?;
    let ours = cluster
        .client(Flavor::Ringluster)
        .mount(host, &home.join("ours"))
        .context("our client")?;
    let theirs = cluster
        .client(Flavor::C)
        .mount(other, &home.join("theirs"))
        .context("the C client")?;
    exchange(&ours.path(), &theirs.path(), "ours").context("our client works, the C client looks")?;
    exchange(&theirs.path(), &ours.path(), "theirs").context("the C client works, ours looks")?;
    same_file(&ours.path(), &theirs.path()).context("both write one file")?;
    ours.unmount()?;
    theirs.unmount()?;
    cluster.expect_identical(HEAL_LIMIT)?;
    lab.remove()
}

/// `a` does everything in a directory of its own; `b` must see each result.
fn exchange(a: &Path, b: &Path, name: &str) -> Result<()> {
    let (a, b) = (a.join(name), b.join(name));
    fs::create_dir(&a).context("mkdir")?;
    fs::create_dir(a.join("sub")).context("mkdir")?;
    seen("a directory", || Ok(b.join("sub").is_dir()))?;

    fs::write(a.join("file"), pattern(1, 300_000)).context("create and write")?;
    expect_content(&b.join("file"), &pattern(1, 300_000))?;
    let mut file = File::options()
        .append(true)
        .open(a.join("file"))
        .context("open for append")?;
    file.write_all(b"tail").context("append")?;
    drop(file);
    let whole = [pattern(1, 300_000), b"tail".to_vec()].concat();
    seen("an append", || Ok(fs::read(b.join("file"))? == whole))?;

    for number in 0..50 {
        fs::write(a.join(format!("sub/n{number:02}")), b"x").context("create many")?;
    }
    let mut names: Vec<_> = fs::read_dir(b.join("sub"))
        .context("readdir")?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    names.sort();
    ensure(
        names.len() == 50 && names.first().is_some_and(|n| n == "n00"),
        format!("{} of 50 listed", names.len()),
    )?;

    fs::rename(a.join("file"), a.join("sub/moved")).context("rename")?;
    seen("a rename", || {
        Ok(!b.join("file").exists() && b.join("sub/moved").exists())
    })?;
    expect_content(&b.join("sub/moved"), &whole)?;
    fs::remove_file(a.join("sub/n00")).context("unlink")?;
    seen("an unlink", || Ok(!b.join("sub/n00").exists()))?;

    xattr::set(&a.join("sub/moved"), "user.colour", b"blue").context("setxattr")?;
    seen("an xattr", || {
        Ok(xattr::get(&b.join("sub/moved"), "user.colour")?.as_deref() == Some(b"blue"))
    })?;
    xattr::remove(&a.join("sub/moved"), "user.colour").context("removexattr")?;
    seen("a removed xattr", || {
        Ok(xattr::get(&b.join("sub/moved"), "user.colour")?.is_none())
    })?;

    attributes(&a, &b)?;
    fs::remove_dir_all(a.join("sub")).context("remove a tree")?;
    seen("a removed tree", || Ok(!b.join("sub").exists()))
}

fn attributes(a: &Path, b: &Path) -> Result<()> {
    symlink("sub/moved", a.join("symbolic")).context("symlink")?;
    fs::hard_link(a.join("sub/moved"), a.join("second")).context("link")?;
    seen("a symlink", || {
        Ok(fs::read_link(b.join("symbolic"))? == Path::new("sub/moved"))
    })?;
    seen("a second name", || Ok(fs::metadata(b.join("second"))?.nlink() == 2))?;
    fs::set_permissions(a.join("second"), fs::Permissions::from_mode(0o4751)).context("chmod")?;
    std::os::unix::fs::chown(a.join("second"), Some(1234), Some(4321)).context("chown")?;
    fs::set_permissions(a.join("second"), fs::Permissions::from_mode(0o640)).context("chmod")?;
    seen("mode and owner", || {
        let meta = fs::metadata(b.join("sub/moved"))?;
        Ok((meta.mode() & 0o7777, meta.uid(), meta.gid()) == (0o640, 1234, 4321))
    })?;
    let ours = fs::metadata(a.join("second"))?;
    seen("equal times and inode numbers", || {
        let meta = fs::metadata(b.join("second"))?;
        Ok((meta.mtime(), meta.mtime_nsec(), meta.ino()) == (ours.mtime(), ours.mtime_nsec(), ours.ino()))
    })?;
    File::options()
        .write(true)
        .open(a.join("second"))?
        .set_len(1000)
        .context("truncate")?;
    seen("a truncate", || Ok(fs::metadata(b.join("second"))?.len() == 1000))?;
    expect_errno(
        "rmdir of a full directory",
        fs::remove_dir(b.join("sub")),
        libc::ENOTEMPTY,
    )
}

/// Both have the file open and write in turns; each must read all of it at the end.
fn same_file(a: &Path, b: &Path) -> Result<()> {
    let path = "shared";
    let mut first = File::create(a.join(path)).context("create")?;
    let mut expected = Vec::new();
    for turn in 0..20u64 {
        let block = pattern(turn + 50, 5000);
        if turn % 2 == 0 {
            first.write_all(&block)?;
            first.sync_all()?;
        } else {
            let mut second = File::options().append(true).open(b.join(path)).context("open")?;
            second.write_all(&block)?;
            second.sync_all()?;
            std::io::Seek::seek(&mut first, std::io::SeekFrom::End(0))?;
        }
        expected.extend_from_slice(&block);
        let wanted = expected.len() as u64;
        seen("the size after a turn", || {
            Ok(fs::metadata(a.join(path))?.len() == wanted && fs::metadata(b.join(path))?.len() == wanted)
        })?;
    }
    drop(first);
    expect_content(&a.join(path), &expected)?;
    expect_content(&b.join(path), &expected)
}

/// Waits until the other client sees it.
fn seen(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(
        &format!("{what} is seen by the other client"),
        SEEN_LIMIT,
        || match condition() {
            Ok(true) => Ok(Some(())),
            Ok(false) => Err(fail("it is not as it should be")),
            Err(error) => Err(error),
        },
    )
}
