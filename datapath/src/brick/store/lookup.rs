//! LOOKUP, STAT, READLINK, ACCESS (brick-and-replicate.md B.3).

use std::time::{SystemTime, UNIX_EPOCH};

use crate::errno::{Errno, FsResult};
use crate::sys::fs::Stat;
use crate::sys::{fs, xattr};
use crate::wire::{Dict, Gfid, Iatt};

use super::handle::{handle_path, parked_path};
use super::node::Node;
use super::{Call, GFID_KEY, Parent, Store, Target, access, check_name};

/// The outcome of a lookup. A failed one still tells the parent's attributes, if there is a parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The object, or why it was not found.
    pub result: FsResult<Iatt>,
    /// The parent; all zero in a lookup by gfid.
    pub postparent: Iatt,
    /// What was asked for in xdata.
    pub xdata: Dict,
}

/// Attributes and what was asked for in xdata.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// The attributes.
    pub stat: Iatt,
    /// The reply's xdata.
    pub xdata: Dict,
}

impl Looked {
    fn failed(errno: Errno) -> Looked {
        Looked {
            result: Err(errno),
            postparent: Iatt::default(),
            xdata: Dict::null(),
        }
    }
}

impl Store {
    /// LOOKUP of `name` in `parent`.
    ///
    /// `result` is `ESTALE` if the parent is gone, `ENODATA` if the object has no gfid (and `gfidless-lookup` was not
    /// asked for), `EPERM` for `.glusterfs` in the root.
    pub fn lookup(&self, call: &Call<'_>, parent: Gfid, name: &[u8]) -> Looked {
        if let Err(e) = check_name(parent, name) {
            return Looked::failed(e);
        }
        let parent = match self.parent(parent) {
            Ok(parent) => parent,
            Err(e) => return Looked::failed(e),
        };
        let found = self.find_named(call, &parent, name);
        let postparent = self.iatt_from(&parent.node(), parent.gfid, &parent.stat);
        match (found, postparent) {
            (Ok((stat, xdata)), Ok(postparent)) => Looked {
                result: Ok(stat),
                postparent,
                xdata,
            },
            (Ok(_), Err(e)) => Looked::failed(e),
            (Err(e), postparent) => Looked {
                postparent: postparent.unwrap_or_default(),
                ..Looked::failed(e)
            },
        }
    }

    fn find_named(&self, call: &Call<'_>, parent: &Parent, name: &[u8]) -> FsResult<(Iatt, Dict)> {
        self.check(call, &parent.node(), &parent.stat, access::EXECUTE)?;
        let node = Node::at(&parent.fd, name);
        let mut stat = node.stat()?;
        let gfid = match node.gfid()? {
            Some(gfid) => {
                if !stat.is_dir() && stat.nlink < 2 || stat.is_dir() {
                    self.repair_handle(parent, name, gfid, &stat);
                    if !stat.is_dir() && stat.nlink < 2 {
                        stat = node.stat()?;
                    }
                }
                gfid
            }
            None => {
                let gfid = self.heal_gfid(call, parent, name, &node, &stat)?;
                stat = node.stat()?;
                gfid
            }
        };
        let iatt = self.iatt_from(&node, gfid, &stat)?;
        Ok((iatt, self.fill(&node, gfid, &stat, call.xdata)?))
    }

    /// Gives an object without a gfid the one that `gfid-req` asks for. One that is younger than a second may be in
    /// the middle of its creation, so it does not exist yet.
    fn heal_gfid(&self, call: &Call<'_>, parent: &Parent, name: &[u8], node: &Node, stat: &Stat) -> FsResult<Gfid> {
        let Some(gfid) = call.xdata.get_gfid("gfid-req").filter(|g| !g.is_null()) else {
            return if call.xdata.contains("gfidless-lookup") {
                Ok(Gfid::NULL)
            } else {
                Err(Errno::ENODATA)
            };
        };
        if age(stat.ctime) < 1.0 {
            return Err(Errno::ENOENT);
        }
        self.give_gfid(parent, name, node, stat, gfid)?;
        tracing::info!(%gfid, parent = %parent.gfid, name = %String::from_utf8_lossy(name), "gave a gfid to an object without one");
        Ok(gfid)
    }

    /// The gfid and handle of an object that lacks them. The handle comes first: a crash in between leaves a handle
    /// that the same request finds in place, whereas a gfid without handle could be given to two objects.
    fn give_gfid(&self, parent: &Parent, name: &[u8], node: &Node, stat: &Stat, gfid: Gfid) -> FsResult<()> {
        if stat.is_dir() {
            self.point_handle(parent.gfid, name, gfid)?;
        } else {
            self.link_handle(&parent.fd, name, gfid)?;
            self.record_name(node, parent.gfid, name, stat.nlink)?;
        }
        node.set(GFID_KEY, &gfid.0, libc::XATTR_CREATE)
    }

    /// LOOKUP by gfid. A stale handle, left by a crash, is removed. With `unlinked-lookup` in xdata, files that were
    /// unlinked while open are found too, with no links.
    pub fn lookup_gfid(&self, call: &Call<'_>, gfid: Gfid) -> Looked {
        let found = self.find_gfid(call, gfid);
        match found {
            Ok((stat, xdata)) => Looked {
                result: Ok(stat),
                postparent: Iatt::default(),
                xdata,
            },
            Err(e) => Looked::failed(e),
        }
    }

    fn find_gfid(&self, call: &Call<'_>, gfid: Gfid) -> FsResult<(Iatt, Dict)> {
        let unlinked = call.xdata.contains("unlinked-lookup");
        if self.inodes.is_parked(gfid) && !unlinked {
            return Err(Errno::ENOENT);
        }
        let (node, stat) = match self.locate_stat(gfid) {
            Err(Errno::ENOENT) if unlinked => {
                let node = Node::at(&self.hidden, &parked_path(gfid));
                let stat = node.stat()?;
                (node, stat)
            }
            other => other?,
        };
        if self.is_stale(gfid, &stat) {
            tracing::info!(%gfid, "removing a handle whose object has no name");
            self.retire_handle(gfid)?;
            return Err(Errno::ENOENT);
        }
        let iatt = self.iatt_from(&node, gfid, &stat)?;
        Ok((iatt, self.fill(&node, gfid, &stat, call.xdata)?))
    }

    /// Whether the handle is all that is left of a non-directory.
    fn is_stale(&self, gfid: Gfid, stat: &Stat) -> bool {
        !stat.is_dir() && stat.nlink == 1 && !self.inodes.is_parked(gfid) && self.has_own_handle(gfid, stat)
    }

    fn has_own_handle(&self, gfid: Gfid, stat: &Stat) -> bool {
        fs::lstatat(&*self.hidden, &handle_path(gfid)).is_ok_and(|handle| handle.same_inode(stat))
    }

    /// STAT and FSTAT. `ESTALE` if the gfid is gone.
    ///
    /// # Errors
    /// As above, or what the file system gives.
    pub fn stat(&self, call: &Call<'_>, target: Target<'_>) -> FsResult<Stated> {
        let (node, stat) = self.node_stat(target)?;
        let iatt = self.iatt_from(&node, target.gfid(), &stat)?;
        Ok(Stated {
            stat: iatt,
            xdata: self.fill(&node, target.gfid(), &stat, call.xdata)?,
        })
    }

    /// The attributes of an inode, for layers that need nothing else.
    ///
    /// # Errors
    /// `ESTALE` if the gfid is gone, or what the file system gives.
    pub fn attributes(&self, target: Target<'_>) -> FsResult<Iatt> {
        let (node, stat) = self.node_stat(target)?;
        self.iatt_from(&node, target.gfid(), &stat)
    }

    /// The node of a fop's target and its attributes.
    pub(super) fn node_stat(&self, target: Target<'_>) -> FsResult<(Node, Stat)> {
        if let Target::Gfid(gfid) = target {
            return self.locate_stat_known(gfid);
        }
        let node = self.node_of(target)?;
        let stat = node.stat()?;
        Ok((node, stat))
    }

    /// The node of a fop's target.
    pub(super) fn node_of(&self, target: Target<'_>) -> FsResult<Node> {
        match target {
            Target::Gfid(gfid) => self.locate_known(gfid),
            Target::File(file) => Ok(Node::whole(file.descriptor())),
            Target::Dir(dir) => Ok(Node::whole(dir.descriptor())),
        }
    }

    /// READLINK: at most `size` bytes of the text, and the link's attributes.
    ///
    /// # Errors
    /// `ESTALE` if the gfid is gone, `EINVAL` if it is no symbolic link.
    pub fn readlink(&self, _call: &Call<'_>, gfid: Gfid, size: usize) -> FsResult<(Vec<u8>, Iatt)> {
        let node = self.locate_known(gfid)?;
        let mut text = node.readlink()?;
        text.truncate(size);
        Ok((text, self.iatt(&node, gfid)?))
    }

    /// ACCESS: whether the caller has all bits of `mask` (4 read, 2 write, 1 execute; 0 asks for existence).
    ///
    /// # Errors
    /// `EACCES` if not, `ESTALE` if the gfid is gone.
    pub fn access(&self, call: &Call<'_>, gfid: Gfid, mask: u32) -> FsResult<()> {
        let (node, stat) = self.locate_stat_known(gfid)?;
        self.check(call, &node, &stat, mask & 7)
    }

    /// The gfid that `name` in `parent` has on disk, without any check or repair.
    ///
    /// # Errors
    /// `ESTALE` if the parent is gone, `ENOENT`, `ENODATA` if it has no gfid.
    pub fn gfid_of(&self, parent: Gfid, name: &[u8]) -> FsResult<Gfid> {
        check_name(parent, name)?;
        let parent = self.parent(parent)?;
        let value = xattr::get_at(&*parent.fd, name, GFID_KEY)?;
        Gfid::from_slice(&value).ok_or(Errno::EIO)
    }
}

/// Seconds since a time of the file system; negative if it lies in the future.
fn age((sec, nsec): (i64, u32)) -> f64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64());
    now - (sec as f64 + f64::from(nsec) / 1e9)
}
