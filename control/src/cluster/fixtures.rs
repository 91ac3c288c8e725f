//! Peers and volumes for the tests of this module.

use datapath::wire::Gfid;

use super::types::Peer;
use crate::glusterd::model::{Brick, Volume, VolumeStatus};

/// A peer made from a number.
pub(super) fn peer(number: u8) -> Peer {
    Peer {
        uuid: Gfid([number; 16]),
        raft_id: u64::from(number) * 1000,
        hostnames: vec![format!("127.0.0.{number}")],
        port: 24007,
    }
}

/// A volume of version 1 with one brick, as the node that has it knows it.
pub(super) fn volume(name: &str, node: Gfid) -> Volume {
    Volume {
        name: name.to_owned(),
        id: Gfid([9; 16]),
        status: VolumeStatus::Created,
        replica_count: 1,
        version: 1,
        username: "u".to_owned(),
        password: "p".to_owned(),
        bricks: vec![Brick {
            node,
            host: "127.0.0.1".to_owned(),
            path: "/bricks/b1".to_owned(),
            real_path: "/bricks/b1".to_owned(),
            port: 49152,
            brick_id: format!("{name}-client-0"),
            mount_dir: "/b1".to_owned(),
            fsid: 77,
            extra: Vec::new(),
        }],
        options: vec![("k".to_owned(), "v".to_owned())],
        extra: Vec::new(),
    }
}
