//! Which xattrs a mount shows and accepts (brick-and-replicate.md A.7).

use bytes::Bytes;

use crate::errno::{Errno, FsResult};
use crate::wire::Gfid;

/// Names that belong to the brick or to AFR: asked for by name they do not exist.
pub(super) fn hidden(name: &[u8]) -> bool {
    const EXACT: [&[u8]; 4] = [
        b"trusted.gfid",
        b"trusted.glusterfs.volume-id",
        b"trusted.glusterfs.mdata",
        b"trusted.glusterfs.dht",
    ];
    const PREFIX: [&[u8]; 3] = [b"trusted.afr.", b"trusted.gfid2path.", b"trusted.pgfid."];
    EXACT.contains(&name) || PREFIX.iter().any(|p| name.starts_with(p))
}

/// Names a listing leaves out.
pub(super) fn unlisted(name: &[u8]) -> bool {
    hidden(name) || name.starts_with(b"trusted.glusterfs.") || name.starts_with(b"glusterfs.")
}

/// Virtual names the client answers itself.
pub(super) fn answered_here(gfid: Gfid, name: &[u8]) -> Option<Bytes> {
    match name {
        b"glusterfs.gfid.string" => Some(Bytes::from(gfid.to_string())),
        b"glusterfs.gfid" => Some(Bytes::copy_from_slice(&gfid.0)),
        _ => None,
    }
}

/// Whether an application may set or remove `name`.
///
/// # Errors
/// `EPERM` for the brick's own names, `EOPNOTSUPP` for names that are computed.
pub(super) fn settable(name: &[u8]) -> FsResult<()> {
    if name.starts_with(b"trusted.gfid2path.") || name.starts_with(b"glusterfs.") {
        return Err(Errno::EOPNOTSUPP);
    }
    if name == b"trusted.gfid" || name == b"trusted.glusterfs.volume-id" || name.starts_with(b"trusted.afr.") {
        return Err(Errno::EPERM);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility() {
        assert!(hidden(b"trusted.afr.v-client-0") && hidden(b"trusted.gfid"));
        assert!(!hidden(b"user.a") && !hidden(b"trusted.mine"));
        assert_eq!(settable(b"trusted.gfid"), Err(Errno::EPERM));
        assert_eq!(settable(b"trusted.gfid2path.00"), Err(Errno::EOPNOTSUPP));
        assert_eq!(settable(b"user.a"), Ok(()));
        assert_eq!(
            answered_here(Gfid::ROOT, b"glusterfs.gfid.string")
                .as_deref()
                .map(<[u8]>::len),
            Some(36)
        );
    }
}
