//! storage/posix and features/access-control: every fop on one directory in GlusterFS's on-disk format.
//!
//! Synchronous system calls on the calling thread; no locks, no connections, no replication, no indices (those are
//! `brick::locks`, `brick::index` and `brick::server`). What may wait for the disk (O_DIRECT and cold reads, fsync) is
//! left to the caller: [`OpenFile`] gives the descriptor, and the fops have a part before and a part after.
//!
//! A [`Store`] belongs to one thread. Paths never leave the brick: an object is reached from a directory descriptor by
//! one path component, directories are opened with `O_NOFOLLOW`, and a directory found by its handle must carry the
//! gfid it was looked for.

mod checksum;
mod data;
mod entry;
mod error;
mod fault;
mod file;
mod fill;
mod gfid2path;
mod handle;
mod health;
mod init;
mod inode;
mod landfill;
mod list;
mod lookup;
mod mdata;
mod node;
mod options;
mod pattern;
mod precheck;
mod recent;
mod remove;
mod rename;
mod reserve;
mod setattr;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod virtual_xattr;
mod xattrop;
mod xattrs;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::cred::FsIds;
use crate::sys::fs::Stat;
use crate::wire::{Dict, Gfid, Iatt};

use super::access::{self, Identity};

pub use checksum::{Rchecksum, adler32};
pub use data::{CopiedRange, ReadDone, WritePlan, Written};
pub use entry::{Created, Made, Refused};
pub use error::StoreError;
pub use file::{IoFile, OpenDir, OpenFile};
pub use health::HealthCheck;
pub use landfill::Janitor;
pub use list::{DirPage, Dirent};
pub use lookup::{Looked, Stated};
pub use mdata::{SIZE as MDATA_SIZE, Stamp, Time, Times, flag};
pub use options::{Options, Reserve};
pub use precheck::{check_new_brick, init_brick, remove_brick_marks};
pub use remove::Removed;
pub use rename::Renamed;
pub use reserve::Statfs;
pub use setattr::valid;
pub use xattrop::op;
pub use xattrs::Xattrs;

use inode::Inodes;
use node::Node;
use recent::Recent;

/// The directory GlusterFS keeps for itself in the brick root.
pub(super) const HIDDEN: &[u8] = b".glusterfs";
/// The xattr that holds an object's gfid.
pub(super) const GFID_KEY: &[u8] = b"trusted.gfid";
/// The xattr of the root that holds the volume's id.
pub(super) const VOLUME_ID_KEY: &[u8] = b"trusted.glusterfs.volume-id";

/// Directory descriptors kept open, at least.
const KEPT_DIRS: usize = 512;

/// What to open as a brick.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The brick directory.
    pub root: PathBuf,
    /// The volume's id, from the volfile.
    pub volume_id: Gfid,
    /// The translator's options.
    pub options: Options,
}

/// The circumstances of one fop.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who it is made for.
    pub who: &'a Identity,
    /// The client's time stamp.
    pub stamp: Stamp,
    /// The request's xdata.
    pub xdata: &'a Dict,
}

/// The inode a fop is for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// By its gfid.
    Gfid(Gfid),
    /// Through an open file.
    File(&'a OpenFile),
    /// Through an open directory.
    Dir(&'a OpenDir),
}

impl Target<'_> {
    /// The inode's gfid.
    pub fn gfid(&self) -> Gfid {
        match self {
            Target::Gfid(gfid) => *gfid,
            Target::File(file) => file.gfid(),
            Target::Dir(dir) => dir.gfid(),
        }
    }
}

/// Attributes before and after a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrePost {
    /// Before.
    pub pre: Iatt,
    /// After.
    pub post: Iatt,
    /// The reply's xdata.
    pub xdata: Dict,
}

/// A brick directory in service.
#[derive(Debug)]
pub struct Store {
    root: Arc<OwnedFd>,
    /// `.glusterfs`
    hidden: Arc<OwnedFd>,
    root_path: PathBuf,
    volume_id: Gfid,
    options: RefCell<Rc<Options>>,
    /// Open directories by gfid. A descriptor stays right when its directory is renamed.
    dirs: RefCell<Recent<Gfid, Arc<OwnedFd>>>,
    inodes: Rc<Inodes>,
    reserve: reserve::Watch,
}

/// A directory that an entry fop works in.
#[derive(Debug)]
struct Parent {
    gfid: Gfid,
    fd: Arc<OwnedFd>,
    stat: Stat,
}

impl Parent {
    fn node(&self) -> Node {
        Node::whole(&self.fd)
    }
}

impl Store {
    /// The options in force.
    pub fn options(&self) -> Rc<Options> {
        self.options.borrow().clone()
    }

    /// Puts other options in force, as a changed volfile asks.
    ///
    /// # Errors
    /// The root could not be given the owner that `brick-uid` and `brick-gid` ask for.
    pub fn set_options(&self, options: Options) -> FsResult<()> {
        init::own_root(&self.root, &options)?;
        *self.options.borrow_mut() = Rc::new(options);
        self.reserve.forget();
        Ok(())
    }

    /// The brick directory.
    pub fn root_path(&self) -> &Path {
        &self.root_path
    }

    /// The volume's id.
    pub fn volume_id(&self) -> Gfid {
        self.volume_id
    }

    /// The descriptor of `.glusterfs`, for the index layer.
    pub fn hidden_dir(&self) -> &Arc<OwnedFd> {
        &self.hidden
    }

    /// The descriptor of the brick's root.
    pub fn root_dir(&self) -> &Arc<OwnedFd> {
        &self.root
    }

    /// How many descriptors clients hold on an inode.
    pub fn open_count(&self, gfid: Gfid) -> u32 {
        self.inodes.open_count(gfid)
    }

    /// The directory `gfid` for an entry fop: `ESTALE` if it is gone.
    fn parent(&self, gfid: Gfid) -> FsResult<Parent> {
        if gfid.is_null() {
            return Err(Errno::EINVAL);
        }
        let fd = self
            .dir_fd(gfid)
            .map_err(|e| if e == Errno::ENOENT { Errno::ESTALE } else { e })?;
        let stat = crate::sys::fs::fstat(&*fd)?;
        if stat.nlink == 0 {
            self.dirs.borrow_mut().remove(&gfid);
            return Err(Errno::ESTALE);
        }
        Ok(Parent { gfid, fd, stat })
    }

    /// Whether the caller has the `want` bits (of [`access`]) on an object.
    fn check(&self, call: &Call<'_>, node: &Node, stat: &Stat, want: u32) -> FsResult<()> {
        if !self.options.borrow().access_control {
            return Ok(());
        }
        let acl = || node.get(access::ACL_ACCESS.as_bytes()).ok();
        if access::permits(call.who, stat, acl, want) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Whether the caller may add and remove names in `parent`.
    fn check_parent(&self, call: &Call<'_>, parent: &Parent) -> FsResult<()> {
        self.check(call, &parent.node(), &parent.stat, access::WRITE | access::EXECUTE)
    }

    /// Takes on the caller's identity for the system call that makes an object.
    fn assume(&self, call: &Call<'_>) -> FsIds {
        FsIds::assume(call.who.uid, call.who.gid)
    }

    /// Stamps the parent of a changed name and gives its attributes afterwards.
    fn touch_parent(&self, call: &Call<'_>, parent: &Parent) -> FsResult<Iatt> {
        let node = parent.node();
        let stat = node.stat()?;
        self.apply_stamp(&node, parent.gfid, call.stamp.for_parent());
        self.iatt_from(&node, parent.gfid, &stat)
    }
}

/// Whether `name` can be the name of an object in `parent`.
///
/// # Errors
/// `EINVAL` if it is empty, `.`, `..` or holds a slash or NUL, `ENAMETOOLONG` beyond 255 bytes, `EPERM` for
/// GlusterFS's own directory.
fn check_name(parent: Gfid, name: &[u8]) -> FsResult<()> {
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|b| matches!(b, b'/' | 0)) {
        return Err(Errno::EINVAL);
    }
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG);
    }
    if parent.is_root() && name == HIDDEN {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}
