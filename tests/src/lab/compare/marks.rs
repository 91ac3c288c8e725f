//! What the indices of a brick list and which changelog marks those inodes carry: told when heal does not end.

use super::{handles, hex};
use crate::lab::xattr;
use std::fs;
use std::path::Path;

/// One line for each inode of the brick's xattrop and dirty index, with its `trusted.afr.*`.
#[must_use]
pub fn indexed(brick: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for index in ["xattrop", "dirty"] {
        for name in handles::names(&brick.join(".glusterfs/indices").join(index)) {
            if name.starts_with(&format!("{index}-")) || name.len() < 4 {
                continue;
            }
            let handle = Path::new(".glusterfs").join(&name[..2]).join(&name[2..4]).join(&name);
            lines.push(format!("{index} {name} {}", marks(&brick.join(handle))));
        }
    }
    lines
}

fn marks(inode: &Path) -> String {
    let size = fs::metadata(inode).map_or("no inode".to_owned(), |meta| format!("{} bytes", meta.len()));
    let names = xattr::list(inode).unwrap_or_default();
    let ours = names.iter().filter(|name| name.starts_with("trusted.afr."));
    let shown = ours.map(|name| {
        let value = xattr::get(inode, name).ok().flatten().unwrap_or_default();
        format!("{}={}", name, hex(&value))
    });
    std::iter::once(size).chain(shown).collect::<Vec<_>>().join(" ")
}
