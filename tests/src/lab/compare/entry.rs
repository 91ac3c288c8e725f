//! One object of a brick, reduced to the facts that must agree on all bricks.

use super::hex;
use crate::lab::error::{Context, Result};
use crate::lab::xattr;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const MDATA: &str = "trusted.glusterfs.mdata";
const GFID: &str = "trusted.gfid";
const PENDING: &str = "trusted.afr.";

/// What is known of one object.
#[derive(Debug)]
pub(super) struct Entry {
    /// Everything that is compared, by name, in printable form.
    pub facts: BTreeMap<String, String>,
    /// Names and values of AFR counters that are not zero.
    pub pending: Vec<String>,
    /// The object's gfid, when it has a well-formed one.
    pub gfid: Option<[u8; 16]>,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Device and inode number on the brick.
    pub inode: (u64, u64),
    /// Size of a regular file, 0 for all else.
    pub bytes: u64,
}

pub(super) fn read_entry(path: &Path) -> Result<Entry> {
    let meta = fs::symlink_metadata(path).context(path.display())?;
    let kind = meta.file_type();
    let mut facts = BTreeMap::new();
    let mut fact = |key: &str, value: String| facts.insert(key.to_string(), value);
    fact("type", kind_name(&meta).into());
    fact("mode", format!("{:04o}", meta.mode() & 0o7777));
    fact("owner", format!("{}:{}", meta.uid(), meta.gid()));
    if !kind.is_dir() {
        // A directory's link count and size belong to the brick's own file system.
        fact("links", meta.nlink().to_string());
        fact("size", meta.size().to_string());
    }
    if kind.is_char_device() || kind.is_block_device() {
        fact("device", format!("{:#x}", meta.rdev()));
    }
    if kind.is_symlink() {
        fact(
            "target",
            fs::read_link(path).context(path.display())?.display().to_string(),
        );
    }
    if kind.is_file() {
        fact("content", content_digest(path)?);
    }
    let (mut pending, mut gfid) = (Vec::new(), None);
    for name in xattr::list(path)? {
        let Some(value) = xattr::get(path, &name)? else {
            continue;
        };
        if name.starts_with(PENDING) {
            if value.iter().any(|byte| *byte != 0) {
                pending.push(format!("{name}=0x{}", hex(&value)));
            }
            continue;
        }
        if name == GFID {
            gfid = value.as_slice().try_into().ok();
        }
        let printed = if name == MDATA {
            mdata_text(&value)
        } else {
            format!("0x{}", hex(&value))
        };
        facts.insert(name, printed);
    }
    let bytes = if kind.is_file() { meta.size() } else { 0 };
    Ok(Entry {
        facts,
        pending,
        gfid,
        is_dir: kind.is_dir(),
        inode: (meta.dev(), meta.ino()),
        bytes,
    })
}

fn kind_name(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_file() => "file",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "character device",
        () if kind.is_block_device() => "block device",
        () => "unknown",
    }
}

fn content_digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).context(path.display())?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = file.read(&mut buffer).context(path.display())?;
        match buffer.get(..length) {
            Some(part) if length > 0 => hash.update(part),
            _ => return Ok(hex(&hash.finalize())),
        }
    }
}

/// brick-and-replicate.md A.5: version, flags, then ctime, mtime and atime as seconds and nanoseconds.
fn mdata_text(value: &[u8]) -> String {
    let (Some((1, rest)), 57) = (value.split_first(), value.len()) else {
        return format!("malformed 0x{}", hex(value));
    };
    let words: Vec<u64> = rest
        .chunks_exact(8)
        .map(|word| word.iter().fold(0u64, |n, byte| (n << 8) | u64::from(*byte)))
        .collect();
    match words.as_slice() {
        [flags, cs, cn, ms, mn, r#as, an] => {
            format!("flags {flags} ctime {cs}.{cn:09} mtime {ms}.{mn:09} atime {as}.{an:09}", as = r#as)
        }
        _ => format!("malformed 0x{}", hex(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mdata_layout() {
        let mut value = vec![1];
        for word in [0u64, 5, 6, 7, 8, 9, 10] {
            value.extend(word.to_be_bytes());
        }
        let text = "flags 0 ctime 5.000000006 mtime 7.000000008 atime 9.000000010";
        assert_eq!(mdata_text(&value), text);
        assert!(mdata_text(&value[..56]).starts_with("malformed"));
    }
}
