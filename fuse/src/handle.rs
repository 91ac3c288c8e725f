//! Open files and directories of one core, by the handle number the kernel sends back.
//!
//! The low 8 bits of a handle say which core opened it; that core serves every request that carries it, because the
//! volume's fd cannot leave it. No I/O here.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use datapath::errno::{Errno, FsResult};
use datapath::wire::Gfid;

use crate::ops::DirEntry;

/// Bits of a handle that name the core.
const CORE_BITS: u32 = 8;
/// The most cores a mount can use.
pub const MAX_CORES: usize = 1 << CORE_BITS;

/// The core that issued a handle.
pub fn owner(fh: u64) -> usize {
    (fh & (MAX_CORES as u64 - 1)) as usize
}

/// An open file.
#[derive(Debug)]
pub struct File<F> {
    /// The node it was opened through.
    pub node: u64,
    /// Its gfid.
    pub gfid: Gfid,
    /// The volume's fd.
    pub fd: F,
    /// Whether some lock was taken through it, so that closing must give it back.
    pub locked: Cell<bool>,
}

/// An open directory with the part of its listing that was fetched but not yet handed to the kernel.
#[derive(Debug)]
pub struct Dir<F> {
    /// Its gfid.
    pub gfid: Gfid,
    /// The volume's fd.
    pub fd: F,
    /// See [`Listing`].
    pub listing: RefCell<Listing>,
}

/// Entries read ahead of the kernel, which takes a page at a time where a brick gives many.
#[derive(Debug, Default)]
pub struct Listing {
    /// The offset the kernel must ask for to continue with `entries`; anything else is a seek and empties it.
    pub at: u64,
    /// Entries not yet delivered.
    pub entries: VecDeque<DirEntry>,
    /// Nothing follows `entries`.
    pub eof: bool,
}

impl Listing {
    /// Makes the listing continue at `offset`, dropping what was read ahead if that is somewhere else.
    pub fn seek(&mut self, offset: u64) {
        if self.at != offset {
            *self = Listing {
                at: offset,
                ..Listing::default()
            };
        }
    }
}

#[derive(Debug)]
enum Open<F> {
    File(Rc<File<F>>),
    Dir(Rc<Dir<F>>),
}

/// The handles of one core.
#[derive(Debug)]
pub struct HandleTable<F> {
    core: u64,
    next: u64,
    open: HashMap<u64, Open<F>>,
    /// Files open per node, so that an unlinked file can still be asked about.
    by_node: HashMap<u64, Vec<u64>>,
}

impl<F> HandleTable<F> {
    /// A table for core number `core`, which must be below [`MAX_CORES`].
    pub fn new(core: usize) -> HandleTable<F> {
        HandleTable {
            core: core as u64 % MAX_CORES as u64,
            next: 1,
            open: HashMap::new(),
            by_node: HashMap::new(),
        }
    }

    fn insert(&mut self, open: Open<F>) -> u64 {
        let fh = self.next << CORE_BITS | self.core;
        self.next += 1;
        self.open.insert(fh, open);
        fh
    }

    /// Registers an open file and returns its handle.
    pub fn add_file(&mut self, node: u64, gfid: Gfid, fd: F) -> u64 {
        let fh = self.insert(Open::File(Rc::new(File {
            node,
            gfid,
            fd,
            locked: Cell::new(false),
        })));
        self.by_node.entry(node).or_default().push(fh);
        fh
    }

    /// Registers an open directory and returns its handle.
    pub fn add_dir(&mut self, gfid: Gfid, fd: F) -> u64 {
        self.insert(Open::Dir(Rc::new(Dir {
            gfid,
            fd,
            listing: RefCell::default(),
        })))
    }

    /// The file of a handle, `EBADF` if there is none.
    pub fn file(&self, fh: u64) -> FsResult<Rc<File<F>>> {
        match self.open.get(&fh) {
            Some(Open::File(file)) => Ok(Rc::clone(file)),
            _ => Err(Errno::EBADF),
        }
    }

    /// The directory of a handle, `EBADF` if there is none.
    pub fn dir(&self, fh: u64) -> FsResult<Rc<Dir<F>>> {
        match self.open.get(&fh) {
            Some(Open::Dir(dir)) => Ok(Rc::clone(dir)),
            _ => Err(Errno::EBADF),
        }
    }

    /// The handle of any open file of a node on this core.
    pub fn any_of(&self, node: u64) -> Option<u64> {
        self.by_node.get(&node)?.first().copied()
    }

    /// Takes a file out of the table.
    pub fn remove_file(&mut self, fh: u64) -> FsResult<Rc<File<F>>> {
        let file = self.file(fh)?;
        self.open.remove(&fh);
        if let Some(list) = self.by_node.get_mut(&file.node) {
            list.retain(|other| *other != fh);
            if list.is_empty() {
                self.by_node.remove(&file.node);
            }
        }
        Ok(file)
    }

    /// Takes a directory out of the table.
    pub fn remove_dir(&mut self, fh: u64) -> FsResult<Rc<Dir<F>>> {
        let dir = self.dir(fh)?;
        self.open.remove(&fh);
        Ok(dir)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_name_their_core_and_their_kind() {
        let mut table: HandleTable<&str> = HandleTable::new(3);
        let file = table.add_file(7, Gfid::NULL, "fd");
        let dir = table.add_dir(Gfid::ROOT, "dir");
        assert_eq!((owner(file), owner(dir)), (3, 3));
        assert_ne!(file, dir);
        assert_eq!(table.file(file).unwrap().fd, "fd");
        assert_eq!(table.file(dir).err(), Some(Errno::EBADF));
        assert_eq!(table.dir(file).err(), Some(Errno::EBADF));
        assert_eq!(table.any_of(7), Some(file));
        table.remove_file(file).unwrap();
        assert!(table.any_of(7).is_none());
        assert_eq!(table.remove_file(file).err(), Some(Errno::EBADF));
        table.remove_dir(dir).unwrap();
        assert!(table.is_empty());
    }

    #[test]
    fn a_listing_survives_only_when_read_on() {
        let entry = DirEntry {
            name: "a".into(),
            off: 5,
            ino: 2,
            d_type: 8,
            iatt: None,
        };
        let mut listing = Listing {
            at: 4,
            entries: VecDeque::from([entry]),
            eof: true,
        };
        listing.seek(4);
        assert_eq!(listing.entries.len(), 1);
        listing.seek(0);
        assert!(listing.entries.is_empty() && !listing.eof && listing.at == 0);
    }
}
