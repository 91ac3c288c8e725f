//! The node ids the kernel holds: node id to gfid, with the kernel's lookup counts.
//!
//! A node id is the gfid's 64-bit inode number, so every core can compute it without asking, and it says which core
//! owns the inode: the low part, modulo the number of cores. (The FUSE protocol wants one node id per inode, and
//! fuser sends the inode number as node id anyway.) Two gfids with the same number would be one inode for the kernel,
//! which could hand one file's data out as the other's; the table notices that and refuses both with an I/O error.
//! Pure data, no I/O; one table per core, holding the nodes that core owns.

use std::collections::HashMap;

use datapath::errno::{Errno, FsResult};
use datapath::wire::Gfid;

use crate::request::ROOT_NODE;

/// The node id of a gfid.
pub fn node_of(gfid: Gfid) -> u64 {
    if gfid.is_root() { ROOT_NODE } else { gfid.ino() }
}

/// Which of `cores` cores owns a node. The root belongs to core 0.
pub fn owner(node: u64, cores: usize) -> usize {
    if node == ROOT_NODE {
        0
    } else {
        (node % cores.max(1) as u64) as usize
    }
}

#[derive(Debug)]
struct Node {
    gfid: Gfid,
    /// What the kernel will hand back by FORGET.
    lookups: u64,
    /// Another gfid wanted the same node id while this one was known.
    clash: bool,
    /// The mode last seen in any answer about this inode; 0 when none was.
    mode: u32,
}

/// The nodes of one core.
#[derive(Debug, Default)]
pub struct InodeTable {
    nodes: HashMap<u64, Node>,
}

impl InodeTable {
    /// An empty table; the root is always known.
    pub fn new() -> InodeTable {
        InodeTable::default()
    }

    /// Records that the kernel is being told of `gfid` `lookups` times. Call it before the answer is sent.
    pub fn learn(&mut self, gfid: Gfid, lookups: u64, mode: u32) {
        let id = node_of(gfid);
        if id == ROOT_NODE && gfid.is_root() {
            return;
        }
        let node = self.nodes.entry(id).or_insert(Node {
            gfid,
            lookups: 0,
            clash: false,
            mode,
        });
        node.lookups = node.lookups.saturating_add(lookups);
        node.mode = mode;
        if node.gfid != gfid && !node.clash {
            node.clash = true;
            tracing::error!(
                "inode number {id} is shared by gfids {} and {gfid}: refusing both",
                node.gfid
            );
        }
    }

    /// FORGET: the kernel gave back `lookups`; at zero the node is dropped.
    pub fn forget(&mut self, id: u64, lookups: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(lookups);
            if node.lookups == 0 {
                self.nodes.remove(&id);
            }
        }
    }

    /// The gfid of a node: `ESTALE` when the kernel was never told of it, `EIO` when two gfids claim it.
    pub fn gfid(&self, id: u64) -> FsResult<Gfid> {
        if id == ROOT_NODE {
            return Ok(Gfid::ROOT);
        }
        match self.nodes.get(&id) {
            Some(Node { clash: true, .. }) => Err(Errno::EIO),
            Some(node) => Ok(node.gfid),
            None => Err(Errno::ESTALE),
        }
    }

    /// Notes the mode an answer showed.
    pub fn saw_mode(&mut self, id: u64, mode: u32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.mode = mode;
        }
    }

    /// The mode last seen of a node, 0 when unknown.
    pub fn mode(&self, id: u64) -> u32 {
        self.nodes.get(&id).map_or(0, |n| n.mode)
    }

    /// How many nodes (besides the root) the kernel holds here.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether only the root is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gfid(high: u8, low: u8) -> Gfid {
        let mut bytes = [0; 16];
        bytes[0] = high;
        bytes[15] = low;
        Gfid(bytes)
    }

    #[test]
    fn a_node_lives_as_long_as_its_lookups() {
        let mut table = InodeTable::new();
        let g = gfid(9, 77);
        table.learn(g, 1, 0o100644);
        table.learn(g, 2, 0o104755);
        assert_eq!(table.gfid(77), Ok(g));
        assert_eq!(table.mode(77), 0o104755);
        table.forget(77, 2);
        assert_eq!(table.gfid(77), Ok(g));
        table.forget(77, 1);
        assert_eq!(table.gfid(77), Err(Errno::ESTALE));
        assert!(table.is_empty());
        table.forget(77, 1);
    }

    #[test]
    fn the_root_is_never_forgotten() {
        let mut table = InodeTable::new();
        table.learn(Gfid::ROOT, 1, 0o40755);
        table.forget(ROOT_NODE, 5);
        assert_eq!(table.gfid(ROOT_NODE), Ok(Gfid::ROOT));
        assert_eq!(owner(ROOT_NODE, 4), 0);
    }

    #[test]
    fn two_gfids_with_one_number_are_refused_until_both_are_forgotten() {
        let mut table = InodeTable::new();
        table.learn(gfid(1, 42), 1, 0);
        table.learn(gfid(2, 42), 1, 0);
        assert_eq!(table.gfid(42), Err(Errno::EIO));
        table.forget(42, 2);
        table.learn(gfid(2, 42), 1, 0);
        assert_eq!(table.gfid(42), Ok(gfid(2, 42)));
    }

    #[test]
    fn every_node_has_one_owner() {
        for cores in 1..5 {
            for node in 0..100 {
                assert!(owner(node, cores) < cores);
            }
        }
    }
}
