//! The comparison itself must see every kind of difference: bricks made by hand, then spoiled one way at a time.

use super::*;
use crate::lab::xattr;
use std::os::unix::fs::{PermissionsExt, symlink};

const FILE_GFID: [u8; 16] = [0xab, 0xcd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
const DIR_GFID: [u8; 16] = [0xde, 0xad, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];

/// Two equal bricks with a directory and a file in it; `None` where trusted attributes are not allowed.
fn two_bricks(name: &str) -> Option<(PathBuf, Vec<PathBuf>)> {
    let home = std::env::temp_dir().join(format!("ringluster-compare-{}-{name}", std::process::id()));
    let bricks: Vec<PathBuf> = (1..=2).map(|n| home.join(format!("b{n}"))).collect();
    for brick in &bricks {
        fs::create_dir_all(brick.join("d")).unwrap();
        fs::write(brick.join("d/f"), b"content").unwrap();
        let mut root = [0u8; 16];
        root[15] = 1;
        if xattr::set(brick, "trusted.gfid", &root).is_err() {
            eprintln!("skipped: no trusted.* attributes here");
            fs::remove_dir_all(&home).unwrap();
            return None;
        }
        xattr::set(&brick.join("d"), "trusted.gfid", &DIR_GFID).unwrap();
        xattr::set(&brick.join("d/f"), "trusted.gfid", &FILE_GFID).unwrap();
        let handles = brick.join(".glusterfs");
        fs::create_dir_all(handles.join("ab/cd")).unwrap();
        fs::create_dir_all(handles.join("de/ad")).unwrap();
        fs::hard_link(
            brick.join("d/f"),
            handles.join("ab/cd/abcd0102-0304-0506-0708-090a0b0c0d0e"),
        )
        .unwrap();
        let target = "../../00/00/00000000-0000-0000-0000-000000000001/d";
        symlink(target, handles.join("de/ad/dead0102-0304-0506-0708-090a0b0c0d0e")).unwrap();
    }
    Some((home, bricks))
}

fn verdict(name: &str, spoil: impl Fn(&Path)) -> Option<String> {
    let (home, bricks) = two_bricks(name)?;
    spoil(&bricks[1]);
    let result = compare_bricks(&bricks).unwrap().check();
    fs::remove_dir_all(&home).unwrap();
    Some(result.err().map(|error| error.to_string()).unwrap_or_default())
}

fn expect(name: &str, word: &str, spoil: impl Fn(&Path)) {
    if let Some(text) = verdict(name, spoil) {
        assert!(text.contains(word), "{name}: {text}");
    }
}

#[test]
fn equal_bricks_are_equal() {
    if let Some(text) = verdict("equal", |_| {}) {
        assert_eq!(text, "");
    }
}

#[test]
fn every_difference_is_seen() {
    expect("content", "d/f: content", |b| {
        fs::write(b.join("d/f"), b"Content").unwrap()
    });
    expect("size", "d/f: size", |b| {
        fs::write(b.join("d/f"), b"longer content").unwrap()
    });
    expect("mode", "d/f: mode", |b| {
        fs::set_permissions(b.join("d/f"), fs::Permissions::from_mode(0o600)).unwrap();
    });
    expect("missing", "d/g: missing on brick 1", |b| {
        fs::write(b.join("d/g"), b"").unwrap()
    });
    expect("xattr", "d/f: user.x", |b| {
        xattr::set(&b.join("d/f"), "user.x", b"1").unwrap()
    });
    expect("mdata", "d: trusted.glusterfs.mdata", |b| {
        xattr::set(&b.join("d"), "trusted.glusterfs.mdata", &[1; 57]).unwrap();
    });
    expect("owner", "d/f: owner", |b| {
        std::os::unix::fs::chown(b.join("d/f"), Some(7), Some(8)).unwrap()
    });
}

#[test]
fn every_fault_of_one_brick_is_seen() {
    expect(
        "handle",
        "d/f: handle ab/cd/abcd0102-0304-0506-0708-090a0b0c0d0e is missing",
        |b| {
            fs::remove_file(b.join(".glusterfs/ab/cd/abcd0102-0304-0506-0708-090a0b0c0d0e")).unwrap();
        },
    );
    expect("stray", "belongs to no file", |b| {
        fs::write(b.join(".glusterfs/ab/cd/abcdef02-0304-0506-0708-090a0b0c0d0e"), b"").unwrap();
    });
    expect("pending", "pending trusted.afr.0001-client-1", |b| {
        xattr::set(
            &b.join("d/f"),
            "trusted.afr.0001-client-1",
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        )
        .unwrap();
    });
    expect("index", "index xattrop still holds", |b| {
        fs::create_dir_all(b.join(".glusterfs/indices/xattrop")).unwrap();
        fs::write(
            b.join(".glusterfs/indices/xattrop/abcd0102-0304-0506-0708-090a0b0c0d0e"),
            b"",
        )
        .unwrap();
    });
}

#[test]
fn afr_zeroes_do_not_count() {
    if let Some(text) = verdict("zeroes", |b| {
        xattr::set(&b.join("d/f"), "trusted.afr.dirty", &[0; 12]).unwrap()
    }) {
        assert_eq!(text, "");
    }
}
