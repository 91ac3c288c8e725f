//! Checks of owners, modes, times, extended attributes and ACLs.

use super::{Check, Place};
use crate::lab::error::{Context, Result, ensure};
use crate::lab::xattr;
use crate::scenarios::common::expect_errno;
use nix::sys::stat::UtimensatFlags;
use nix::sys::time::TimeSpec;
use rustix::fs::XattrFlags;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::time::{Duration, SystemTime};

pub(super) const CHECKS: &[Check] = &[
    ("modes", modes),
    ("owners", owners),
    ("times", times),
    ("times_move_on", times_move_on),
    ("other_users", other_users),
    ("groups", groups),
    ("sticky_directory", sticky_directory),
    ("xattrs", xattrs),
    ("xattr_limits", xattr_limits),
    ("private_xattrs_hidden", private_xattrs_hidden),
];

/// A shell command as an unprivileged user with one further group.
fn as_user(place: &Place<'_>, groups: &str, script: &str) -> bool {
    let cmd = place
        .cmd("setpriv")
        .args(["--reuid=1234", "--regid=1234", groups, "sh", "-c"]);
    cmd.arg(format!("cd '{}' && {script}", place.inside("").display()))
        .succeeds()
}

fn modes(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("f"), b"")?;
    for mode in [0o000, 0o777, 0o640, 0o4755, 0o2755, 0o1777] {
        fs::set_permissions(place.at("f"), fs::Permissions::from_mode(mode)).context(format!("chmod {mode:o}"))?;
        let now = fs::metadata(place.at("f"))?.mode() & 0o7777;
        ensure(now == mode, format!("{now:o} after chmod {mode:o}"))?;
    }
    let made = place
        .cmd("sh")
        .args(["-c", "umask 027; cd \"$1\" && touch g && mkdir d", "sh"])
        .arg(place.inside(""));
    made.run()?;
    let mode = |name: &str| fs::metadata(place.at(name)).map(|meta| meta.mode() & 0o7777);
    ensure(
        mode("g")? == 0o640 && mode("d")? == 0o750,
        format!("{:o} and {:o} with umask 027", mode("g")?, mode("d")?),
    )
}

fn owners(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("f"), b"")?;
    symlink("f", place.at("l"))?;
    chown(place.at("f"), Some(1234), Some(4321)).context("chown")?;
    lchown(place.at("l"), Some(7), Some(8)).context("lchown")?;
    let owner = |meta: fs::Metadata| (meta.uid(), meta.gid());
    ensure(owner(fs::metadata(place.at("f"))?) == (1234, 4321), "owner of the file")?;
    ensure(
        owner(fs::symlink_metadata(place.at("l"))?) == (7, 8),
        "owner of the link",
    )?;
    fs::create_dir(place.at("d"))?;
    chown(place.at("d"), None, Some(99))?;
    fs::set_permissions(place.at("d"), fs::Permissions::from_mode(0o2775))?;
    fs::write(place.at("d/f"), b"")?;
    ensure(
        fs::metadata(place.at("d/f"))?.gid() == 99,
        "a set-gid directory does not pass its group on",
    )
}

fn times(place: &Place<'_>) -> Result<()> {
    let file = File::create(place.at("f"))?;
    let at = |sec: u64, nsec: u32| SystemTime::UNIX_EPOCH + Duration::new(sec, nsec);
    let set = fs::FileTimes::new()
        .set_accessed(at(1_000_000, 123_456_789))
        .set_modified(at(2_000_000, 987_654_321));
    file.set_times(set).context("utimensat")?;
    let meta = fs::metadata(place.at("f"))?;
    let got = (meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec());
    ensure(
        got == (1_000_000, 123_456_789, 2_000_000, 987_654_321),
        format!("times {got:?}"),
    )?;
    symlink("f", place.at("l"))?;
    let then = TimeSpec::new(3_000_000, 5);
    nix::sys::stat::utimensat(
        nix::fcntl::AT_FDCWD,
        &place.at("l"),
        &then,
        &then,
        UtimensatFlags::NoFollowSymlink,
    )
    .context("utimensat of a symlink")?;
    let meta = fs::symlink_metadata(place.at("l"))?;
    ensure(
        (meta.mtime(), meta.mtime_nsec()) == (3_000_000, 5),
        "times of a symlink",
    )
}

fn times_move_on(place: &Place<'_>) -> Result<()> {
    let stamp = |name: &str| -> Result<(i64, i64, i64, i64)> {
        let meta = fs::metadata(place.at(name))?;
        Ok((meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
    };
    fs::write(place.at("f"), b"one")?;
    let (before, directory) = (stamp("f")?, stamp(".")?);
    std::thread::sleep(Duration::from_millis(20));
    File::options().append(true).open(place.at("f"))?.write_all(b"two")?;
    let written = stamp("f")?;
    ensure(
        (written.0, written.1) > (before.0, before.1),
        "mtime stands still at a write",
    )?;
    ensure(
        (written.2, written.3) > (before.2, before.3),
        "ctime stands still at a write",
    )?;
    std::thread::sleep(Duration::from_millis(20));
    fs::set_permissions(place.at("f"), fs::Permissions::from_mode(0o600))?;
    let changed = stamp("f")?;
    ensure(
        (changed.0, changed.1) == (written.0, written.1),
        "mtime moved at a chmod",
    )?;
    ensure(
        (changed.2, changed.3) > (written.2, written.3),
        "ctime stands still at a chmod",
    )?;
    fs::write(place.at("g"), b"")?;
    let after = stamp(".")?;
    ensure(
        (after.0, after.1) > (directory.0, directory.1),
        "a directory's mtime stands still at a create",
    )
}

fn other_users(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("secret"), b"secret")?;
    fs::set_permissions(place.at("secret"), fs::Permissions::from_mode(0o600))?;
    fs::write(place.at("public"), b"public")?;
    fs::set_permissions(place.at("public"), fs::Permissions::from_mode(0o644))?;
    let user = |script: &str| as_user(place, "--clear-groups", script);
    ensure(user("cat public"), "another user cannot read a 0644 file")?;
    ensure(!user("cat secret"), "another user can read a 0600 file of root")?;
    ensure(!user("echo x >> public"), "another user can write a 0644 file of root")?;
    ensure(!user("touch new"), "another user can create in root's directory")?;
    ensure(!user("rm -f public"), "another user can unlink in root's directory")?;
    ensure(!user("chmod 777 public"), "another user can chmod root's file")?;
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o777))?;
    ensure(
        user("echo mine > new && mkdir dir && cat new && chmod 600 new"),
        "a user cannot work in a 0777 directory",
    )?;
    let meta = fs::metadata(place.at("new"))?;
    ensure(
        (meta.uid(), meta.gid()) == (1234, 1234),
        format!("new file of {}:{}", meta.uid(), meta.gid()),
    )?;
    ensure(!user("chown 0 new"), "a user can give files away")
}

fn groups(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("f"), b"for the group")?;
    chown(place.at("f"), Some(0), Some(5678))?;
    fs::set_permissions(place.at("f"), fs::Permissions::from_mode(0o660))?;
    ensure(
        as_user(place, "--groups=5678", "cat f && echo x >> f"),
        "a member of the group is refused",
    )?;
    ensure(!as_user(place, "--groups=5679", "cat f"), "a stranger is let in")
}

fn sticky_directory(place: &Place<'_>) -> Result<()> {
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o1777))?;
    fs::write(place.at("roots"), b"")?;
    let user = |script: &str| as_user(place, "--clear-groups", script);
    ensure(
        !user("rm -f roots"),
        "another's file can be removed from a sticky directory",
    )?;
    ensure(
        !user("mv roots moved"),
        "another's file can be renamed in a sticky directory",
    )?;
    ensure(
        user("touch own && rm own"),
        "one's own file cannot be removed from a sticky directory",
    )
}

fn xattrs(place: &Place<'_>) -> Result<()> {
    let (file, dir) = (place.at("f"), place.at("d"));
    fs::write(&file, b"")?;
    fs::create_dir(&dir)?;
    for path in [&file, &dir] {
        xattr::set(path, "user.one", b"first")?;
        xattr::set(path, "user.empty", b"")?;
        xattr::set(path, "trusted.two", &[0, 1, 2, 255])?;
        ensure(xattr::get(path, "user.one")?.as_deref() == Some(b"first"), "value")?;
        ensure(xattr::get(path, "user.empty")?.as_deref() == Some(b""), "empty value")?;
        ensure(
            xattr::get(path, "trusted.two")?.as_deref() == Some(&[0, 1, 2, 255]),
            "binary value",
        )?;
        let names = xattr::list(path)?;
        for name in ["user.one", "user.empty", "trusted.two"] {
            ensure(
                names.iter().any(|n| n == name),
                format!("{name} is not listed in {names:?}"),
            )?;
        }
        xattr::set(path, "user.one", b"changed")?;
        ensure(
            xattr::get(path, "user.one")?.as_deref() == Some(b"changed"),
            "changed value",
        )?;
        xattr::remove(path, "user.one")?;
        ensure(xattr::get(path, "user.one")?.is_none(), "still there after its removal")?;
    }
    let flagged = |flags| rustix::fs::lsetxattr(&file, "user.empty", b"x", flags).map_err(std::io::Error::from);
    expect_errno("XATTR_CREATE", flagged(XattrFlags::CREATE), libc::EEXIST)?;
    flagged(XattrFlags::REPLACE).context("XATTR_REPLACE")?;
    let absent = rustix::fs::lsetxattr(&file, "user.none", b"x", XattrFlags::REPLACE).map_err(std::io::Error::from);
    expect_errno("XATTR_REPLACE of nothing", absent, libc::ENODATA)?;
    let removed = rustix::fs::lremovexattr(&file, "user.none").map_err(std::io::Error::from);
    expect_errno("removal of nothing", removed, libc::ENODATA)
}

fn xattr_limits(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("f"), b"")?;
    let value = vec![b'v'; 2000];
    xattr::set(&place.at("f"), "user.large", &value)?;
    ensure(
        xattr::get(&place.at("f"), "user.large")?.as_deref() == Some(&value),
        "a value of 2000 bytes",
    )?;
    let mut small = [0; 10];
    let short = rustix::fs::lgetxattr(place.at("f"), "user.large", &mut small[..]).map_err(std::io::Error::from);
    expect_errno("a buffer that is too small", short, libc::ERANGE)
}

fn private_xattrs_hidden(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("f"), b"content")?;
    let names = xattr::list(&place.at("f"))?;
    for name in &names {
        let private = [
            "trusted.gfid",
            "trusted.afr.",
            "trusted.glusterfs.mdata",
            "trusted.gfid2path",
            "trusted.glusterfs.dht",
        ];
        ensure(
            !private.iter().any(|p| name.starts_with(p)),
            format!("{name} shows through the mount"),
        )?;
    }
    ensure(
        xattr::set(&place.at("f"), "trusted.gfid", &[9; 16]).is_err(),
        "trusted.gfid can be set",
    )?;
    ensure(
        xattr::set(&place.at("f"), "trusted.afr.dirty", &[9; 12]).is_err(),
        "trusted.afr.dirty can be set",
    )
}
