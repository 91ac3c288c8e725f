//! What the application was told is there: a tree of inodes, in which failed operations leave things unsure.

use std::collections::{BTreeMap, BTreeSet};

use datapath::wire::{Gfid, Iatt};

/// A name: its directory and the name in it.
pub type Name = (Gfid, Vec<u8>);

/// A file's contents, as far as they are known.
#[derive(Clone, Default)]
pub struct Content {
    /// The longest it can be.
    bytes: Vec<u8>,
    /// Which bytes are known.
    sure: Vec<bool>,
    /// The shortest it can be.
    least: usize,
}

impl Content {
    /// Its length, if it is known.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A write of `len` times `byte` at `off`, done or failed.
    pub fn write(&mut self, off: usize, len: usize, byte: u8, done: bool) {
        let end = off + len;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.sure.resize(end, true);
        }
        self.sure[off..end].fill(done);
        if done {
            self.bytes[off..end].fill(byte);
            self.least = self.least.max(end);
        }
    }

    /// A new length, set or failed to be set.
    pub fn truncate(&mut self, size: usize, done: bool) {
        if done {
            self.bytes.resize(size, 0);
            self.sure.resize(size, true);
            self.least = size;
        } else if size < self.bytes.len() {
            self.sure[size..].fill(false);
            self.least = self.least.min(size);
        } else {
            self.bytes.resize(size, 0);
            self.sure.resize(size, true);
        }
    }

    /// Compares with what was read from `off` on; says what is wrong.
    pub fn check(&self, off: usize, read: &[u8]) -> Result<(), String> {
        for (i, byte) in read.iter().enumerate() {
            let at = off + i;
            match (self.sure.get(at), self.bytes.get(at)) {
                (Some(true), Some(known)) if known != byte => {
                    return Err(format!("byte {at} is {byte:#04x} instead of {known:#04x}"));
                }
                (None, _) => return Err(format!("there is a byte {at} although {} is the end", self.bytes.len())),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What an inode is.
pub enum Kind {
    File(Content),
    Dir(BTreeMap<Vec<u8>, Gfid>),
    Symlink(Vec<u8>),
}

/// An inode.
pub struct Node {
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Mode and xattrs are what is said here.
    pub sure_metadata: bool,
    /// It has exactly the names that are in the tree.
    pub sure_links: bool,
}

impl Node {
    /// A new one.
    pub fn new(kind: Kind, mode: u32) -> Node {
        Node {
            kind,
            mode,
            xattrs: BTreeMap::new(),
            sure_metadata: true,
            sure_links: true,
        }
    }

    fn file_type(&self) -> u32 {
        match self.kind {
            Kind::File(_) => libc::S_IFREG,
            Kind::Dir(_) => libc::S_IFDIR,
            Kind::Symlink(_) => libc::S_IFLNK,
        }
    }
}

/// All of it.
pub struct Tree {
    pub nodes: BTreeMap<Gfid, Node>,
    /// Names of failed operations: they may be there or not, and are not used again.
    pub unsure: BTreeSet<Name>,
    /// Everything is healed. Before, a brick that is being healed may have a name too many or too few, and count it.
    pub healed: bool,
}

impl Tree {
    /// Only the root.
    pub fn new() -> Tree {
        let root = Node::new(Kind::Dir(BTreeMap::new()), 0o755);
        Tree {
            nodes: BTreeMap::from([(Gfid::ROOT, root)]),
            unsure: BTreeSet::new(),
            healed: false,
        }
    }

    /// The directories.
    pub fn dirs(&self) -> Vec<Gfid> {
        let dirs = self.nodes.iter().filter(|(_, node)| matches!(node.kind, Kind::Dir(_)));
        dirs.map(|(gfid, _)| *gfid).collect()
    }

    /// The names in a directory.
    pub fn names(&self, dir: Gfid) -> &BTreeMap<Vec<u8>, Gfid> {
        match self.nodes.get(&dir).map(|node| &node.kind) {
            Some(Kind::Dir(names)) => names,
            _ => panic!("{dir} is a directory"),
        }
    }

    fn names_mut(&mut self, dir: Gfid) -> &mut BTreeMap<Vec<u8>, Gfid> {
        match self.nodes.get_mut(&dir).map(|node| &mut node.kind) {
            Some(Kind::Dir(names)) => names,
            _ => panic!("{dir} is a directory"),
        }
    }

    /// All names whose inode satisfies `want`, with it.
    pub fn select(&self, want: impl Fn(&Node) -> bool) -> Vec<(Name, Gfid)> {
        let mut found = Vec::new();
        for dir in self.dirs() {
            for (name, gfid) in self.names(dir) {
                if want(&self.nodes[gfid]) {
                    found.push(((dir, name.clone()), *gfid));
                }
            }
        }
        found
    }

    /// A file's contents.
    pub fn content(&mut self, gfid: Gfid) -> &mut Content {
        match self.nodes.get_mut(&gfid).map(|node| &mut node.kind) {
            Some(Kind::File(content)) => content,
            _ => panic!("{gfid} is a file"),
        }
    }

    /// A new inode with its first name.
    pub fn add(&mut self, at: Name, gfid: Gfid, node: Node) {
        self.nodes.insert(gfid, node);
        self.link(at, gfid);
    }

    /// Another name.
    pub fn link(&mut self, at: Name, gfid: Gfid) {
        self.names_mut(at.0).insert(at.1, gfid);
    }

    /// A name goes; an inode without names goes too, except directories that are only unsure of their name.
    pub fn unlink(&mut self, at: &Name) {
        let gfid = self.names_mut(at.0).remove(&at.1).expect("the name is there");
        if !self.has_name(gfid) {
            self.nodes.remove(&gfid);
        }
    }

    /// A name may have gone or come: nobody knows.
    pub fn doubt(&mut self, at: &Name) {
        self.unsure.insert(at.clone());
        let Some(gfid) = self.names_mut(at.0).remove(&at.1) else {
            return;
        };
        let named = self.has_name(gfid);
        let node = self.nodes.get_mut(&gfid).expect("it had a name");
        node.sure_links = false;
        // A directory is still reached by its gfid; only an empty one can have been removed.
        if !named && !matches!(&node.kind, Kind::Dir(names) if !names.is_empty()) {
            self.nodes.remove(&gfid);
        }
    }

    /// A name moves, over whatever has the new one.
    pub fn rename(&mut self, from: &Name, to: &Name) {
        if self.names(to.0).contains_key(&to.1) {
            self.unlink(to);
        }
        let gfid = self.names_mut(from.0).remove(&from.1).expect("the name is there");
        self.link(to.clone(), gfid);
    }

    fn has_name(&self, gfid: Gfid) -> bool {
        self.dirs()
            .iter()
            .any(|dir| self.names(*dir).values().any(|g| *g == gfid))
    }

    /// Whether `dir` is `above` or below it.
    pub fn is_below(&self, dir: Gfid, above: Gfid) -> bool {
        let inside = |d: Gfid| {
            self.names(d)
                .values()
                .copied()
                .filter(|g| matches!(self.nodes[g].kind, Kind::Dir(_)))
        };
        dir == above || inside(above).any(|child| self.is_below(dir, child))
    }

    /// Compares attributes; says what is wrong.
    pub fn check_iatt(&self, gfid: Gfid, iatt: &Iatt) -> Result<(), String> {
        let node = &self.nodes[&gfid];
        if iatt.gfid != gfid {
            return Err(format!("gfid {} instead of {gfid}", iatt.gfid));
        }
        if iatt.mode & libc::S_IFMT != node.file_type() {
            return Err(format!("mode {:o}", iatt.mode));
        }
        if node.sure_metadata && !matches!(node.kind, Kind::Symlink(_)) && iatt.mode & 0o7777 != node.mode {
            return Err(format!("mode {:o} instead of {:o}", iatt.mode & 0o7777, node.mode));
        }
        let links = self
            .dirs()
            .iter()
            .map(|d| self.names(*d).values().filter(|g| **g == gfid).count())
            .sum::<usize>();
        if self.healed && node.sure_links && !matches!(node.kind, Kind::Dir(_)) && iatt.nlink as usize != links {
            return Err(format!("{} links instead of {links}", iatt.nlink));
        }
        if let Kind::File(content) = &node.kind
            && !(content.least as u64..=content.bytes.len() as u64).contains(&iatt.size)
        {
            return Err(format!(
                "size {} instead of {} to {}",
                iatt.size,
                content.least,
                content.bytes.len()
            ));
        }
        Ok(())
    }
}
