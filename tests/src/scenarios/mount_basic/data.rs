//! Checks of file contents: reading, writing, holes, direct and mapped access.

use super::{Check, Place};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::scenarios::common::{expect_content, expect_errno, pattern, write_and_check};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

pub(super) const CHECKS: &[Check] = &[
    ("write_read", write_read),
    ("large_file", large_file),
    ("odd_offsets", odd_offsets),
    ("truncate", truncate),
    ("append_from_two", append_from_two),
    ("sparse_far", sparse_far),
    ("seek_data_hole", seek_data_hole),
    ("fallocate", fallocate_modes),
    ("direct", direct),
    ("mapped", mapped),
    ("unlinked_while_open", unlinked_while_open),
    ("fsync", fsync),
    ("tmpfile_refused", tmpfile_refused),
    ("many_open_files", many_open_files),
];

fn write_read(place: &Place<'_>) -> Result<()> {
    for size in [0, 1, 4095, 4096, 4097, 131_072, 1_048_577] {
        write_and_check(&place.at(&format!("f{size}")), &pattern(size as u64, size))?;
    }
    expect_errno(
        "create of an existing file",
        File::create_new(place.at("f1")),
        libc::EEXIST,
    )?;
    expect_errno("open of a missing file", File::open(place.at("none")), libc::ENOENT)?;
    fs::write(place.at("f4096"), b"short").context("overwrite")?;
    expect_content(&place.at("f4096"), b"short")
}

fn large_file(place: &Place<'_>) -> Result<()> {
    let content = pattern(3, 24 << 20);
    write_and_check(&place.at("large"), &content)?;
    let copied = place
        .cmd("cp")
        .arg(place.inside("large"))
        .arg(place.inside("copy"))
        .succeeds();
    ensure(copied, "cp failed")?;
    expect_content(&place.at("copy"), &content)
}

fn odd_offsets(place: &Place<'_>) -> Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(place.at("f"))?;
    let mut expected = vec![0; 300_000];
    for turn in 0..200u64 {
        let at = (turn * 7919) % 290_000;
        let block = pattern(turn, 1 + (turn as usize * 37) % 9000);
        file.write_all_at(&block, at).context("write")?;
        let from = at as usize;
        expected.splice(from..from + block.len(), block);
    }
    let written = file.metadata()?.len() as usize;
    expect_content(&place.at("f"), expected.get(..written).unwrap_or_default())
}

fn truncate(place: &Place<'_>) -> Result<()> {
    let content = pattern(5, 100_000);
    fs::write(place.at("f"), &content)?;
    let file = File::options().write(true).open(place.at("f"))?;
    file.set_len(33_333).context("shorten")?;
    expect_content(&place.at("f"), content.get(..33_333).unwrap_or_default())?;
    file.set_len(50_000).context("lengthen")?;
    let mut expected = content.get(..33_333).unwrap_or_default().to_vec();
    expected.resize(50_000, 0);
    expect_content(&place.at("f"), &expected)?;
    nix::unistd::truncate(&place.at("f"), 10).context("truncate by path")?;
    drop(File::create(place.at("f")).context("open with O_TRUNC")?);
    ensure(fs::metadata(place.at("f"))?.len() == 0, "O_TRUNC left bytes")
}

fn append_from_two(place: &Place<'_>) -> Result<()> {
    let open = || File::options().append(true).create(true).open(place.at("f"));
    let (mut one, mut two) = (open()?, open()?);
    let mut expected = Vec::new();
    for turn in 0..50 {
        let line = format!("line {turn}\n");
        if turn % 2 == 0 {
            one.write_all(line.as_bytes())?
        } else {
            two.write_all(line.as_bytes())?
        }
        expected.extend_from_slice(line.as_bytes());
    }
    expect_content(&place.at("f"), &expected)
}

fn sparse_far(place: &Place<'_>) -> Result<()> {
    const FAR: u64 = 5 << 30;
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(place.at("f"))?;
    file.write_all_at(b"end", FAR).context("write beyond 4 GiB")?;
    file.sync_all()?;
    let meta = file.metadata()?;
    ensure(meta.len() == FAR + 3, format!("size {}", meta.len()))?;
    ensure(meta.blocks() < 2048, format!("{} blocks for 3 bytes", meta.blocks()))?;
    let mut back = [1; 6];
    file.read_exact_at(&mut back, FAR - 3)?;
    ensure(&back == b"\0\0\0end", format!("read {back:?}"))?;
    // The bricks are compared byte by byte at the end: five GiB of zeroes would only cost time.
    file.set_len(4096).context("shorten")
}

fn seek_data_hole(place: &Place<'_>) -> Result<()> {
    const HOLE: i64 = 1 << 20;
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(place.at("f"))?;
    file.write_all_at(&pattern(1, 65_536), 0)?;
    file.write_all_at(&pattern(2, 65_536), 2 * HOLE as u64)?;
    file.sync_all()?;
    let hole = lseek(&file, 0, Whence::SeekHole).context("SEEK_HOLE")?;
    ensure((65_536..=HOLE).contains(&hole), format!("first hole at {hole}"))?;
    let data = lseek(&file, HOLE, Whence::SeekData).context("SEEK_DATA")?;
    ensure(
        (HOLE..=2 * HOLE).contains(&data),
        format!("data after the hole at {data}"),
    )?;
    let beyond = lseek(&file, 3 * HOLE, Whence::SeekData);
    ensure(
        beyond == Err(nix::errno::Errno::ENXIO),
        format!("SEEK_DATA beyond the end: {beyond:?}"),
    )
}

fn fallocate_modes(place: &Place<'_>) -> Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(place.at("f"))?;
    fallocate(&file, FallocateFlags::empty(), 0, 100_000).context("allocate")?;
    ensure(file.metadata()?.len() == 100_000, "allocation did not set the size")?;
    fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 200_000).context("KEEP_SIZE")?;
    ensure(file.metadata()?.len() == 100_000, "KEEP_SIZE changed the size")?;
    let mut expected = pattern(8, 100_000);
    file.write_all_at(&expected, 0)?;
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, punch, 8192, 16_384).context("PUNCH_HOLE")?;
    expected.splice(8192..8192 + 16_384, vec![0; 16_384]);
    expect_content(&place.at("f"), &expected)?;
    fallocate(&file, FallocateFlags::FALLOC_FL_ZERO_RANGE, 40_000, 10_000).context("ZERO_RANGE")?;
    expected.splice(40_000..50_000, vec![0; 10_000]);
    expect_content(&place.at("f"), &expected)
}

fn direct(place: &Place<'_>) -> Result<()> {
    const SIZE: usize = 64 << 10;
    let mut file = File::options();
    let file = file
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(place.at("f"))?;
    let memory = pattern(4, SIZE + 4096);
    let from = memory.as_ptr().align_offset(4096);
    let block = memory.get(from..from + SIZE).ok_or_else(|| fail("alignment"))?;
    file.write_all_at(block, 0).context("direct write")?;
    file.write_all_at(block, SIZE as u64).context("direct append")?;
    let mut back = vec![0; SIZE + 4096];
    let from = back.as_ptr().align_offset(4096);
    let target = back.get_mut(from..from + SIZE).ok_or_else(|| fail("alignment"))?;
    file.read_exact_at(target, SIZE as u64).context("direct read")?;
    ensure(target == block, "direct read differs")?;
    expect_content(&place.at("f"), &[block, block].concat())
}

/// Mapping memory is unsafe in Rust; fio does it and verifies what it wrote.
fn mapped(place: &Place<'_>) -> Result<()> {
    let cmd = place
        .cmd("fio")
        .arg("--name=mapped")
        .arg(format!("--directory={}", place.inside("").display()));
    let cmd = cmd.args([
        "--ioengine=mmap",
        "--rw=randwrite",
        "--bs=4k",
        "--size=2m",
        "--verify=crc32c",
        "--thread",
    ]);
    cmd.args(["--verify_fatal=1", "--do_verify=1"]).run().map(drop)
}

fn unlinked_while_open(place: &Place<'_>) -> Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(place.at("f"))?;
    file.write_all(b"before ")?;
    fs::remove_file(place.at("f")).context("unlink")?;
    expect_errno("open after unlink", File::open(place.at("f")), libc::ENOENT)?;
    file.write_all(b"after").context("write after unlink")?;
    file.seek(SeekFrom::Start(0))?;
    let mut text = String::new();
    file.read_to_string(&mut text).context("read after unlink")?;
    ensure(text == "before after", format!("read {text:?}"))?;
    ensure(
        file.metadata().context("fstat after unlink")?.nlink() == 0,
        "links are not 0",
    )?;
    // A new file of the same name is another file.
    write_and_check(&place.at("f"), b"new")?;
    let mut old = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut old)?;
    ensure(old == b"before after", "the unlinked file has changed")
}

fn fsync(place: &Place<'_>) -> Result<()> {
    let mut file = File::create(place.at("f"))?;
    file.write_all(&pattern(6, 10_000))?;
    file.sync_data().context("fdatasync")?;
    file.sync_all().context("fsync")?;
    File::open(place.dir())?.sync_all().context("fsync of the directory")
}

fn tmpfile_refused(place: &Place<'_>) -> Result<()> {
    let mut options = File::options();
    let open = options
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(place.dir());
    expect_errno("O_TMPFILE", open, libc::EOPNOTSUPP)
}

fn many_open_files(place: &Place<'_>) -> Result<()> {
    let open = |number: u64| {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(place.at(&format!("f{number}")))
    };
    let files: Vec<File> = (0..300)
        .map(open)
        .collect::<std::io::Result<_>>()
        .context("open 300 files")?;
    for (number, file) in files.iter().enumerate() {
        file.write_all_at(&pattern(number as u64, 100), 0)?;
    }
    drop(files);
    (0..300u64).try_for_each(|number| expect_content(&place.at(&format!("f{number}")), &pattern(number, 100)))
}
