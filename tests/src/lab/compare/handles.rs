//! The `.glusterfs` directory of a brick: each object has its handle, each handle its object, the indices are empty
//! (brick-and-replicate.md A.2, A.3, A.6).

use super::{Entry, hex, shown};
use crate::lab::error::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Gfids below this many are GlusterFS's own (root, trash, internal operations) and need no visible object.
const RESERVED: u8 = 16;

pub(super) fn check(brick: &Path, map: &BTreeMap<PathBuf, Entry>, faults: &mut Vec<String>) -> Result<()> {
    let mut known = BTreeSet::new();
    for (path, entry) in map {
        let Some(gfid) = entry.gfid else {
            faults.push(format!("{}: no well-formed trusted.gfid", shown(path)));
            continue;
        };
        known.insert(text(&gfid));
        if !path.as_os_str().is_empty() {
            check_handle(brick, path, entry, &gfid, map, faults);
        }
    }
    stray_handles(brick, &known, faults);
    for index in ["xattrop", "dirty", "entry-changes"] {
        for name in names(&brick.join(".glusterfs/indices").join(index)) {
            // A directory of changes renamed away to a fresh uuid waits for the healer to wipe it; it says nothing
            // about any object (A.6).
            let renamed_away = index == "entry-changes" && !known.contains(&name);
            if !name.starts_with(&format!("{index}-")) && !renamed_away {
                faults.push(format!("index {index} still holds {name}"));
            }
        }
    }
    for name in names(&brick.join(".glusterfs/unlink")) {
        faults.push(format!("an unlinked file is still parked: {name}"));
    }
    Ok(())
}

fn check_handle(
    brick: &Path,
    path: &Path,
    entry: &Entry,
    gfid: &[u8; 16],
    map: &BTreeMap<PathBuf, Entry>,
    faults: &mut Vec<String>,
) {
    let handle = handle_path(gfid);
    let full = brick.join(".glusterfs").join(&handle);
    let mut fault = |what: String| faults.push(format!("{}: handle {handle} {what}", shown(path)));
    let Ok(meta) = fs::symlink_metadata(&full) else {
        return fault("is missing".into());
    };
    if !entry.is_dir {
        if (meta.dev(), meta.ino()) != entry.inode {
            fault("is another inode".into());
        }
        return;
    }
    let parent = path
        .parent()
        .and_then(|parent| map.get(parent))
        .and_then(|parent| parent.gfid);
    let (Some(parent), Some(name)) = (parent, path.file_name()) else {
        return fault("cannot be checked: its parent has no gfid".into());
    };
    let wanted = format!("../../{}/{}", handle_path(&parent), name.to_string_lossy());
    match fs::read_link(&full) {
        Ok(target) if target.to_string_lossy() == wanted => {}
        Ok(target) => fault(format!("points to {} instead of {wanted}", target.display())),
        Err(error) => fault(format!("is no symlink: {error}")),
    }
}

fn stray_handles(brick: &Path, known: &BTreeSet<String>, faults: &mut Vec<String>) {
    let home = brick.join(".glusterfs");
    let is_hash = |name: &String| name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit());
    for first in names(&home).into_iter().filter(is_hash) {
        for second in names(&home.join(&first)) {
            for name in names(&home.join(&first).join(&second)) {
                if known.contains(&name) || is_reserved(&name) || is_anonymous(&home, &first, &second, &name) {
                    continue;
                }
                faults.push(format!("handle {first}/{second}/{name} belongs to no file"));
            }
        }
    }
}

fn is_reserved(name: &str) -> bool {
    let digits: String = name.chars().filter(|c| *c != '-').collect();
    let (Some(high), Some(low)) = (digits.get(..30), digits.get(30..)) else {
        return false;
    };
    high.bytes().all(|b| b == b'0') && u8::from_str_radix(low, 16).is_ok_and(|n| n < RESERVED)
}

/// The handle of the self-heal daemon's own directory.
fn is_anonymous(home: &Path, first: &str, second: &str, name: &str) -> bool {
    let link = fs::read_link(home.join(first).join(second).join(name));
    link.is_ok_and(|target| target.to_string_lossy().contains(super::ANONYMOUS))
}

pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(listed) = fs::read_dir(dir) else {
        return Vec::new();
    };
    listed
        .flatten()
        .map(|item| item.file_name().to_string_lossy().into_owned())
        .collect()
}

fn handle_path(gfid: &[u8; 16]) -> String {
    let text = text(gfid);
    let (first, second) = (text.get(0..2).unwrap_or_default(), text.get(2..4).unwrap_or_default());
    format!("{first}/{second}/{text}")
}

fn text(gfid: &[u8; 16]) -> String {
    let all = hex(gfid);
    let part = |range: std::ops::Range<usize>| all.get(range).unwrap_or_default().to_string();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gfid_text_and_reserved_ones() {
        let mut gfid = [0u8; 16];
        gfid[15] = 1;
        assert_eq!(text(&gfid), "00000000-0000-0000-0000-000000000001");
        assert!(is_reserved(&text(&gfid)));
        gfid[0] = 0xab;
        assert!(!is_reserved(&text(&gfid)));
        assert_eq!(handle_path(&gfid), "ab/00/ab000000-0000-0000-0000-000000000001");
    }
}
