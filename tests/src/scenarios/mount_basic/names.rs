//! Checks of directories and names: listing, links, renames, special files.

use super::{Check, Place};
use crate::lab::error::{Context, Result, ensure};
use crate::scenarios::common::{expect_content, expect_errno};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, symlink};
use std::path::Path;

pub(super) const CHECKS: &[Check] = &[
    ("directories", directories),
    ("large_directory", large_directory),
    ("changed_while_listed", changed_while_listed),
    ("hard_links", hard_links),
    ("symlinks", symlinks),
    ("special_files", special_files),
    ("rename", rename),
    ("rename_flags", rename_flags),
    ("rename_directories", rename_directories),
    ("long_names", long_names),
    ("strange_names", strange_names),
    ("inode_numbers", inode_numbers),
];

fn directories(place: &Place<'_>) -> Result<()> {
    fs::create_dir_all(place.at("a/b/c/d/e")).context("mkdir -p")?;
    expect_errno("mkdir of an existing name", fs::create_dir(place.at("a")), libc::EEXIST)?;
    expect_errno(
        "rmdir of a full directory",
        fs::remove_dir(place.at("a")),
        libc::ENOTEMPTY,
    )?;
    fs::write(place.at("a/file"), b"")?;
    expect_errno("rmdir of a file", fs::remove_dir(place.at("a/file")), libc::ENOTDIR)?;
    expect_errno("unlink of a directory", fs::remove_file(place.at("a/b")), libc::EISDIR)?;
    expect_errno("a file as a directory", File::open(place.at("a/file/x")), libc::ENOTDIR)?;
    let links = fs::metadata(place.at("a"))?.nlink();
    ensure(links >= 2, format!("a directory with {links} links"))?;
    fs::remove_dir_all(place.at("a")).context("rm -r")?;
    ensure(!place.at("a").exists(), "still there after rm -r")
}

fn listed(dir: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).context("readdir")? {
        let name = entry.context("readdir")?.file_name().to_string_lossy().into_owned();
        ensure(names.insert(name.clone()), format!("{name} is listed twice"))?;
    }
    Ok(names)
}

fn large_directory(place: &Place<'_>) -> Result<()> {
    let wanted: BTreeSet<String> = (0..700).map(|n| format!("name-that-is-not-too-short-{n:05}")).collect();
    for name in &wanted {
        File::create(place.at(name)).context("create")?;
    }
    ensure(listed(&place.dir())? == wanted, "the listing is not what was created")?;
    let text = place.cmd("ls").arg("-la").arg(place.inside("")).run()?;
    // The total, . and .. come first.
    ensure(
        text.lines().count() == wanted.len() + 3,
        format!("ls -la shows {} lines", text.lines().count()),
    )
}

fn changed_while_listed(place: &Place<'_>) -> Result<()> {
    for number in 0..300 {
        File::create(place.at(&format!("f{number}")))?;
    }
    for entry in fs::read_dir(place.dir())? {
        fs::remove_file(entry?.path()).context("unlink while listing")?;
    }
    ensure(
        listed(&place.dir())?.is_empty(),
        "names are left after removing each one listed",
    )
}

fn hard_links(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("one"), b"content")?;
    fs::create_dir(place.at("d"))?;
    fs::hard_link(place.at("one"), place.at("d/two")).context("link")?;
    expect_errno(
        "link onto an existing name",
        fs::hard_link(place.at("one"), place.at("d/two")),
        libc::EEXIST,
    )?;
    let (one, two) = (fs::metadata(place.at("one"))?, fs::metadata(place.at("d/two"))?);
    ensure(
        one.ino() == two.ino() && one.nlink() == 2 && two.nlink() == 2,
        "not one file with two names",
    )?;
    fs::remove_file(place.at("one")).context("unlink")?;
    expect_content(&place.at("d/two"), b"content")?;
    ensure(fs::metadata(place.at("d/two"))?.nlink() == 1, "links after unlink")?;
    ensure(
        fs::hard_link(place.at("d"), place.at("e")).is_err(),
        "a directory could be linked",
    )
}

fn symlinks(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("target"), b"content")?;
    symlink("target", place.at("link")).context("symlink")?;
    symlink("nowhere", place.at("dangling")).context("symlink")?;
    symlink("x".repeat(4000), place.at("long")).context("symlink of 4000 bytes")?;
    expect_content(&place.at("link"), b"content")?;
    ensure(fs::read_link(place.at("link"))? == Path::new("target"), "readlink")?;
    ensure(
        fs::read_link(place.at("long"))?.as_os_str().len() == 4000,
        "a long target was cut",
    )?;
    ensure(fs::symlink_metadata(place.at("link"))?.len() == 6, "size of a symlink")?;
    expect_errno(
        "open of a dangling link",
        File::open(place.at("dangling")),
        libc::ENOENT,
    )?;
    symlink("loop", place.at("loop"))?;
    expect_errno("open of a loop", File::open(place.at("loop")), libc::ELOOP)
}

fn special_files(place: &Place<'_>) -> Result<()> {
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    nix::unistd::mkfifo(&place.at("fifo"), mode).context("mkfifo")?;
    let null = nix::sys::stat::makedev(1, 3);
    mknod(&place.at("null"), SFlag::S_IFCHR, mode, null).context("mknod c 1 3")?;
    mknod(
        &place.at("block"),
        SFlag::S_IFBLK,
        mode,
        nix::sys::stat::makedev(259, 70_000),
    )
    .context("mknod b")?;
    let made = place.cmd("sh").args([
        "-c",
        "cd \"$1\" && exec python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"",
        "sh",
    ]);
    let socket = made.arg(place.inside("")).succeeds();
    let kind = |name: &str| fs::symlink_metadata(place.at(name)).map(|meta| (meta.file_type(), meta.rdev()));
    ensure(kind("fifo")?.0.is_fifo(), "not a FIFO")?;
    ensure(
        kind("null")?.0.is_char_device() && kind("null")?.1 == null,
        "not character device 1,3",
    )?;
    let block = kind("block")?;
    ensure(
        block.0.is_block_device() && block.1 == nix::sys::stat::makedev(259, 70_000),
        "not block device 259,70000",
    )?;
    if socket {
        ensure(kind("socket")?.0.is_socket(), "not a socket")?;
    }
    let text = place
        .cmd("sh")
        .args(["-c", "echo through > \"$1\" & cat \"$1\"; wait", "sh"])
        .arg(place.inside("fifo"));
    ensure(text.run()? == "through\n", "a FIFO does not carry data")
}

fn rename(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("a"), b"a")?;
    fs::write(place.at("b"), b"b")?;
    fs::rename(place.at("a"), place.at("b")).context("rename onto a file")?;
    ensure(!place.at("a").exists(), "the old name is still there")?;
    expect_content(&place.at("b"), b"a")?;
    fs::create_dir(place.at("d"))?;
    fs::rename(place.at("b"), place.at("d/c")).context("rename into a directory")?;
    expect_content(&place.at("d/c"), b"a")?;
    expect_errno(
        "rename of nothing",
        fs::rename(place.at("none"), place.at("x")),
        libc::ENOENT,
    )?;
    fs::write(place.at("f"), b"")?;
    expect_errno(
        "file onto directory",
        fs::rename(place.at("f"), place.at("d")),
        libc::EISDIR,
    )?;
    let open = File::open(place.at("d/c"))?;
    fs::rename(place.at("d/c"), place.at("e")).context("rename of an open file")?;
    ensure(
        open.metadata()?.ino() == fs::metadata(place.at("e"))?.ino(),
        "another inode after rename",
    )
}

fn rename_flags(place: &Place<'_>) -> Result<()> {
    fs::write(place.at("a"), b"a")?;
    fs::write(place.at("b"), b"b")?;
    let flagged = |from: &str, to: &str, flags| {
        renameat2(AT_FDCWD, &place.at(from), AT_FDCWD, &place.at(to), flags).map_err(std::io::Error::from)
    };
    expect_errno(
        "NOREPLACE",
        flagged("a", "b", RenameFlags::RENAME_NOREPLACE),
        libc::EEXIST,
    )?;
    expect_content(&place.at("b"), b"b")?;
    flagged("a", "c", RenameFlags::RENAME_NOREPLACE).context("NOREPLACE to a free name")?;
    match flagged("b", "c", RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => {
            expect_content(&place.at("b"), b"a")?;
            expect_content(&place.at("c"), b"b")
        }
        // GlusterFS refuses it; what must not happen is a plain rename.
        refused => {
            expect_errno("EXCHANGE", refused, libc::EINVAL)?;
            expect_content(&place.at("b"), b"b")?;
            expect_content(&place.at("c"), b"a")
        }
    }
}

fn rename_directories(place: &Place<'_>) -> Result<()> {
    fs::create_dir_all(place.at("a/b"))?;
    fs::write(place.at("a/b/f"), b"deep")?;
    fs::rename(place.at("a"), place.at("z")).context("rename of a directory")?;
    expect_content(&place.at("z/b/f"), b"deep")?;
    expect_errno(
        "into its own child",
        fs::rename(place.at("z"), place.at("z/b/z")),
        libc::EINVAL,
    )?;
    fs::create_dir_all(place.at("full/x"))?;
    let onto_full = fs::rename(place.at("z"), place.at("full"));
    ensure(
        onto_full
            .as_ref()
            .is_err_and(|e| matches!(e.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST))),
        format!("onto a full directory: {onto_full:?}"),
    )?;
    fs::create_dir(place.at("empty"))?;
    fs::rename(place.at("z"), place.at("empty")).context("onto an empty directory")?;
    expect_content(&place.at("empty/b/f"), b"deep")?;
    fs::rename(place.at("empty/b"), place.at("full/x/b")).context("to another parent")?;
    expect_content(&place.at("full/x/b/f"), b"deep")
}

fn long_names(place: &Place<'_>) -> Result<()> {
    let name = "n".repeat(255);
    fs::write(place.at(&name), b"long").context("a name of 255 bytes")?;
    expect_content(&place.at(&name), b"long")?;
    ensure(
        listed(&place.dir())?.contains(&name),
        "a name of 255 bytes is not listed",
    )?;
    expect_errno(
        "a name of 256 bytes",
        File::create(place.at(&"n".repeat(256))),
        libc::ENAMETOOLONG,
    )
}

fn strange_names(place: &Place<'_>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let names: [&[u8]; 6] = [
        b"a b",
        b"new\nline",
        b"\xff\xfe not utf-8",
        "grün".as_bytes(),
        b"-rf",
        b"....",
    ];
    for name in names {
        let path = place.dir().join(std::ffi::OsStr::from_bytes(name));
        fs::write(&path, name).context(path.display())?;
        expect_content(&path, name)?;
    }
    let count = fs::read_dir(place.dir())?.count();
    ensure(count == names.len(), format!("{count} names listed"))
}

fn inode_numbers(place: &Place<'_>) -> Result<()> {
    for number in 0..20 {
        fs::write(place.at(&format!("f{number}")), b"")?;
    }
    fs::DirBuilder::new().mode(0o700).create(place.at("d"))?;
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(place.dir())? {
        let entry = entry?;
        use std::os::unix::fs::DirEntryExt;
        let (listed, looked_up) = (entry.ino(), fs::symlink_metadata(entry.path())?.ino());
        ensure(listed == looked_up, format!("readdir says {listed}, stat {looked_up}"))?;
        ensure(seen.insert(listed), format!("inode number {listed} twice"))?;
    }
    Ok(())
}
