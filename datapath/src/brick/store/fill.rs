//! What a client asks for besides attributes, in the xdata of lookup, stat and readdirp (brick-and-replicate.md B.3).

use crate::errno::FsResult;
use crate::sys::fs::{self, Stat};
use crate::wire::{Dict, Gfid, Key, Value};

use super::node::Node;
use super::{GFID_KEY, Store, VOLUME_ID_KEY, gfid2path, pattern};

/// The namespaces real xattr names are in.
const NAMESPACES: [&[u8]; 4] = [b"trusted.", b"user.", b"security.", b"system."];

/// The largest file that is returned with its lookup.
const MAX_CONTENT: u64 = 1024 * 1024;

/// Whether a name is in a namespace the file system knows.
pub(super) fn is_real_name(name: &[u8]) -> bool {
    NAMESPACES.iter().any(|n| name.starts_with(n))
}

/// Names that are never shown: the identity of the object and of the volume.
pub(super) fn is_identity(name: &[u8]) -> bool {
    name == GFID_KEY || name == VOLUME_ID_KEY
}

/// Names that a list of all xattrs leaves out.
pub(super) fn is_unlisted(name: &[u8]) -> bool {
    is_identity(name)
        || name.starts_with(gfid2path::PREFIX)
        || name == b"security.selinux"
        || name == b"trusted.glusterfs.selinux"
        || is_marker(name)
}

/// Xattrs of the marker translator and of geo-replication: `trusted.glusterfs.<uuid>.xtime` and the like.
fn is_marker(name: &[u8]) -> bool {
    if name.starts_with(b"trusted.glusterfs.quota.") {
        return true;
    }
    let Some(rest) = name.strip_prefix(b"trusted.glusterfs.") else {
        return false;
    };
    let Some((uuid, kind)) = rest.split_at_checked(36) else {
        return false;
    };
    let is_uuid = std::str::from_utf8(uuid).is_ok_and(|t| t.parse::<Gfid>().is_ok());
    is_uuid
        && [&b".xtime"[..], b".stime", b".entry_stime"]
            .iter()
            .any(|k| kind.starts_with(k))
}

impl Store {
    /// The answer to the keys of `request` about one object.
    pub(super) fn fill(&self, node: &Node, gfid: Gfid, stat: &Stat, request: &Dict) -> FsResult<Dict> {
        let mut reply = Dict::null();
        let mut everything = false;
        let mut wanted: Vec<&[u8]> = Vec::new();
        for (key, value) in request.iter() {
            match &*key.0 {
                b"list-xattr" => everything = true,
                b"glusterfs.content" => self.fill_content(node, stat, value, &mut reply),
                b"glusterfs.open-fd-count" | b"glusterfs.open-active-fd-count" => {
                    reply.set(key.clone(), Value::Uint(u64::from(self.open_count(gfid))));
                }
                name if is_real_name(name) || pattern::is_pattern(name) => wanted.push(name),
                _ => {}
            }
        }
        if everything || !wanted.is_empty() {
            fill_xattrs(node, everything, &wanted, &mut reply)?;
        }
        Ok(reply)
    }

    /// The whole content of a small regular file. A file that cannot be read is answered without it.
    fn fill_content(&self, node: &Node, stat: &Stat, limit: &Value, reply: &mut Dict) {
        let limit = limit
            .as_i64()
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0)
            .min(MAX_CONTENT);
        if !stat.is_reg() || stat.size > limit {
            return;
        }
        let read = || -> FsResult<Vec<u8>> {
            let fd = node.open(libc::O_RDONLY | libc::O_NONBLOCK)?;
            let mut content = vec![0; stat.size as usize];
            let n = fs::pread(&fd, &mut content, 0)?;
            content.truncate(n);
            Ok(content)
        };
        match read() {
            Ok(content) => {
                reply.set("glusterfs.content", Value::ptr(content));
            }
            Err(e) => tracing::debug!(error = %e, "content of a small file could not be read"),
        }
    }
}

fn fill_xattrs(node: &Node, everything: bool, wanted: &[&[u8]], reply: &mut Dict) -> FsResult<()> {
    for name in node.list()? {
        let asked = || {
            wanted
                .iter()
                .any(|w| *w == name || (pattern::is_pattern(w) && pattern::matches(w, &name)))
        };
        let show = !is_identity(&name) && ((everything && !is_unlisted(&name)) || asked());
        // It may have been removed since it was listed.
        if show && let Some(value) = node.find(&name)? {
            reply.set(Key(name.into()), Value::ptr(value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_and_geo_replication_names_are_not_listed() {
        let uuid = "26d7968e-2176-42b7-8d61-026858529a14";
        assert!(is_unlisted(format!("trusted.glusterfs.{uuid}.xtime").as_bytes()));
        assert!(is_unlisted(b"trusted.glusterfs.quota.size.1"));
        assert!(is_unlisted(b"trusted.gfid2path.0123456789abcdef"));
        assert!(!is_unlisted(b"trusted.glusterfs.dht"));
        assert!(!is_unlisted(b"trusted.afr.dirty"));
        assert!(!is_unlisted(b"user.glusterfs"));
    }
}
