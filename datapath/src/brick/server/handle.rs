//! What an fd number of a client stands for.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::brick::index::Virtual;
use crate::brick::store::{OpenDir, OpenFile};
use crate::wire::Gfid;

/// An open object of a client. Cheap to clone; the last clone closes it.
#[derive(Clone, Debug)]
pub enum OpenHandle {
    /// From OPEN or CREATE.
    File(Rc<OpenFile>),
    /// From OPENDIR.
    Dir(Rc<OpenDir>),
    /// From OPENDIR of an index directory.
    Index(Rc<OpenIndex>),
}

/// An index directory opened by the self-heal daemon.
#[derive(Debug)]
pub struct OpenIndex {
    /// Which.
    pub dir: Virtual,
    /// Its virtual gfid.
    pub gfid: Gfid,
    /// Open for listing.
    pub fd: OwnedFd,
}

impl OpenHandle {
    /// The inode's gfid.
    pub fn gfid(&self) -> Gfid {
        match self {
            OpenHandle::File(file) => file.gfid(),
            OpenHandle::Dir(dir) => dir.gfid(),
            OpenHandle::Index(index) => index.gfid,
        }
    }
}
