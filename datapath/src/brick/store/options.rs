//! The options of storage/posix that change what a fop does (wire-protocol.md 5.4; brick-and-replicate.md F.3).

use crate::wire::Gfid;

/// How much of the file system is kept free for GlusterFS's own writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reserve {
    /// Percent of all blocks, 0 to below 100.
    Percent(f64),
    /// Bytes.
    Bytes(u64),
}

impl Reserve {
    /// A `storage.reserve` number: below 100 it is percent, otherwise bytes.
    pub fn from_number(n: f64) -> Reserve {
        if n < 100.0 {
            Reserve::Percent(n.max(0.0))
        } else {
            Reserve::Bytes(n as u64)
        }
    }

    /// The bytes to keep free of a file system of `total` bytes.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Reserve::Percent(p) => (total as f64 * p / 100.0) as u64,
            Reserve::Bytes(b) => b,
        }
    }
}

/// The reconfigurable options of one brick. `Default` is the translator's default; a new volume's volfile says more.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// `ctime`: times are kept in `trusted.glusterfs.mdata`.
    pub ctime: bool,
    /// `gfid2path`: paths are kept in `trusted.gfid2path.*`.
    pub gfid2path: bool,
    /// `gfid2path-separator`, at most 7 characters.
    pub gfid2path_separator: String,
    /// `update-link-count-parent`: link counts are kept in `trusted.pgfid.*`.
    pub build_pgfid: bool,
    /// `max-hardlinks`; 0 is unlimited.
    pub max_hardlinks: u64,
    /// `fips-mode-rchecksum`: SHA-256 instead of MD5.
    pub fips_mode_rchecksum: bool,
    /// `reserve`.
    pub reserve: Reserve,
    /// `shared-brick-count`: STATFS numbers are divided by it.
    pub shared_brick_count: u64,
    /// `create-mask`: permission bits a new file may have.
    pub create_mask: u32,
    /// `create-directory-mask`.
    pub create_directory_mask: u32,
    /// `force-create-mode`: permission bits a new file always has.
    pub force_create_mode: u32,
    /// `force-directory-mode`.
    pub force_directory_mode: u32,
    /// `brick-uid`: owner of the root; `None` leaves it.
    pub brick_uid: Option<u32>,
    /// `brick-gid`.
    pub brick_gid: Option<u32>,
    /// `o-direct`: every file is opened with `O_DIRECT`.
    pub o_direct: bool,
    /// `node-uuid-pathinfo`: pathinfo names the node by its uuid.
    pub node_uuid_pathinfo: bool,
    /// The uuid of the management daemon (`glusterd-uuid`).
    pub node_uuid: Gfid,
    /// The name pathinfo gives this host.
    pub hostname: String,
    /// `export-statfs-size`: off makes STATFS answer zeros.
    pub export_statfs_size: bool,
    /// Whether the caller's permissions are checked (features/access-control is in the graph).
    pub access_control: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ctime: true,
            gfid2path: true,
            gfid2path_separator: ":".into(),
            build_pgfid: false,
            max_hardlinks: 100,
            fips_mode_rchecksum: false,
            reserve: Reserve::Percent(1.0),
            shared_brick_count: 1,
            create_mask: 0o777,
            create_directory_mask: 0o777,
            force_create_mode: 0,
            force_directory_mode: 0,
            brick_uid: None,
            brick_gid: None,
            o_direct: false,
            node_uuid_pathinfo: false,
            node_uuid: Gfid::NULL,
            hostname: String::new(),
            export_statfs_size: true,
            access_control: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_numbers_below_100_are_percent() {
        assert_eq!(Reserve::from_number(1.0).bytes(1000), 10);
        assert_eq!(Reserve::from_number(4096.0).bytes(1000), 4096);
        assert_eq!(Reserve::from_number(0.0).bytes(1000), 0);
    }
}
