//! `trusted.gfid2path.*` and `trusted.pgfid.*`: which names a non-directory has (brick-and-replicate.md A.4).

use xxhash_rust::xxh64::xxh64;

use crate::errno::{Errno, FsResult};
use crate::wire::Gfid;

use super::Store;
use super::node::Node;

/// Names of these xattrs begin so.
pub(super) const PREFIX: &[u8] = b"trusted.gfid2path.";
/// Beyond this many links no further path is recorded.
const MAX_RECORDED: u64 = 500;

/// The xattr of one name: its key and value.
pub(super) fn xattr_of(parent: Gfid, name: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut value = format!("{parent}/").into_bytes();
    value.extend_from_slice(name);
    let mut key = PREFIX.to_vec();
    key.extend_from_slice(format!("{:016x}", xxh64(&value, 0)).as_bytes());
    (key, value)
}

/// The parent and name in such a value.
pub(super) fn parse(value: &[u8]) -> Option<(Gfid, &[u8])> {
    let (parent, name) = value.split_at_checked(36)?;
    let parent = std::str::from_utf8(parent).ok()?.parse().ok()?;
    name.strip_prefix(b"/")
        .filter(|n| !n.is_empty())
        .map(|name| (parent, name))
}

fn pgfid_key(parent: Gfid) -> Vec<u8> {
    format!("trusted.pgfid.{parent}").into_bytes()
}

/// Forgets every name: a parked file has none, but keeps the record of its last.
pub(super) fn forget_all(node: &Node) -> FsResult<()> {
    for key in node.list()?.into_iter().filter(|key| key.starts_with(PREFIX)) {
        node.remove(&key)?;
    }
    Ok(())
}

impl Store {
    /// Records a new name of a non-directory that has `links` links now (its handle not counted).
    pub(super) fn record_name(&self, node: &Node, parent: Gfid, name: &[u8], links: u64) -> FsResult<()> {
        let options = self.options();
        if options.build_pgfid {
            add_pgfid(node, parent, 1)?;
        }
        if options.gfid2path && links <= MAX_RECORDED {
            let (key, value) = xattr_of(parent, name);
            node.set(&key, &value, 0)?;
        }
        Ok(())
    }

    /// Forgets a name that was removed. A missing record is no error: the feature may have been off.
    pub(super) fn forget_name(&self, node: &Node, parent: Gfid, name: &[u8]) -> FsResult<()> {
        let options = self.options();
        if options.build_pgfid {
            add_pgfid(node, parent, -1)?;
        }
        if options.gfid2path {
            match node.remove(&xattr_of(parent, name).0) {
                Ok(()) | Err(Errno::ENODATA) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Adds to the link count within `parent`; a count that comes to zero is removed.
fn add_pgfid(node: &Node, parent: Gfid, change: i32) -> FsResult<()> {
    let key = pgfid_key(parent);
    let old = match node.find(&key)? {
        None => 0,
        Some(value) => u32::from_be_bytes(value.as_slice().try_into().map_err(|_| Errno::EIO)?),
    };
    match old.saturating_add_signed(change) {
        0 if old == 0 => Ok(()),
        0 => node.remove(&key),
        new => node.set(&key, &new.to_be_bytes(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_glusterfs_10_3_wrote() {
        let parent: Gfid = "e1d9bf0a-cfc8-44c8-afa4-b15ba12f0694".parse().unwrap();
        assert_eq!(xattr_of(parent, b"f").0, b"trusted.gfid2path.bf31ba0203eef373");
        assert_eq!(xattr_of(parent, b"hard").0, b"trusted.gfid2path.35da03ed50b642f0");
        assert_eq!(xattr_of(parent, b"sym").0, b"trusted.gfid2path.1450b8268dfbbd01");
    }

    #[test]
    fn values_are_parsed_back() {
        let (key, value) = xattr_of(Gfid::ROOT, b"f1");
        assert_eq!(value, b"00000000-0000-0000-0000-000000000001/f1");
        assert_eq!(key.len(), PREFIX.len() + 16);
        assert_eq!(key, [PREFIX, format!("{:016x}", xxh64(&value, 0)).as_bytes()].concat());
        assert_eq!(parse(&value), Some((Gfid::ROOT, &b"f1"[..])));
        assert_eq!(parse(&value[..36]), None);
        assert_eq!(parse(&value[..37]), None);
        assert_eq!(parse(b"short"), None);
    }
}
