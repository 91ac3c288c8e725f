//! The janitor: frees directory trees that a forced rmdir moved to `landfill/`.
//!
//! Trees are taken apart flat: a directory found in one is moved up into `landfill/` under a random name, so that no depth
//! matters and a crash leaves a smaller landfill. Handles go with the objects that lose their last name.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::fs::Stat;
use crate::sys::{dir, fs};
use crate::wire::Gfid;

use super::handle::{dir_text, handle_path};
use super::node::Node;
use super::{Store, gfid2path};

/// A purge that can be taken to a thread of its own.
#[derive(Clone, Debug)]
pub struct Janitor {
    hidden: Arc<OwnedFd>,
}

impl Store {
    /// A janitor for this brick; run it every ten seconds.
    pub fn janitor(&self) -> Janitor {
        Janitor {
            hidden: self.hidden.clone(),
        }
    }
}

impl Janitor {
    /// Empties the landfill; how many names were removed.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest is tried all the same and again at the next run.
    pub fn purge(&self) -> FsResult<u64> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let landfill = Arc::new(fs::openat(&*self.hidden, b"landfill", flags, 0)?);
        let mut removed = 0;
        loop {
            let before = removed;
            let (n, result) = self.pass(&landfill);
            removed += n;
            result?;
            if removed == before {
                return Ok(removed);
            }
        }
    }

    /// Removes what lies in the landfill now; directories found in it are left to the next pass.
    fn pass(&self, landfill: &Arc<OwnedFd>) -> (u64, FsResult<()>) {
        let mut removed = 0;
        let mut result = Ok(());
        let names = match names_of(landfill) {
            Ok(names) => names,
            Err(e) => return (0, Err(e)),
        };
        for name in names {
            match self.remove_entry(landfill, None, landfill, &name) {
                Ok(n) => removed += n,
                Err(e) => {
                    tracing::warn!(name = %String::from_utf8_lossy(&name), error = %e, "cannot purge from the landfill");
                    result = result.and(Err(e));
                }
            }
        }
        (removed, result)
    }

    /// Removes one name of `at`. A directory that is not in the landfill itself is moved there.
    fn remove_entry(
        &self,
        landfill: &Arc<OwnedFd>,
        parent: Option<Gfid>,
        at: &Arc<OwnedFd>,
        name: &[u8],
    ) -> FsResult<u64> {
        let node = Node::at(at, name);
        let stat = node.stat()?;
        let gfid = node.gfid()?;
        if !stat.is_dir() {
            fs::unlinkat(&**at, name)?;
            if let Some(gfid) = gfid {
                self.drop_name(gfid, &stat, parent, name)?;
            }
            return Ok(1);
        }
        if let Some(parent) = parent {
            if let Some(gfid) = gfid {
                self.drop_dir_handle(parent, name, gfid)?;
            }
            let to = Gfid::from_random(crate::brick::random16()?).to_string();
            fs::renameat(&**at, name, &**landfill, to.as_bytes(), libc::RENAME_NOREPLACE)?;
            return Ok(1);
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let inside = Arc::new(fs::openat(&**at, name, flags, 0)?);
        let mut removed = 1;
        for child in names_of(&inside)? {
            removed += self.remove_entry(landfill, Some(gfid.unwrap_or_default()), &inside, &child)?;
        }
        fs::rmdirat(&**at, name)?;
        Ok(removed)
    }

    /// A non-directory has lost a name: its handle goes with the last one, otherwise only the record of this one.
    fn drop_name(&self, gfid: Gfid, stat: &Stat, parent: Option<Gfid>, name: &[u8]) -> FsResult<()> {
        let handle = Node::at(&self.hidden, &handle_path(gfid));
        let now = match handle.stat() {
            Ok(now) if now.same_inode(stat) => now,
            Ok(_) | Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(e),
        };
        let done = if now.nlink <= 1 {
            fs::unlinkat(&*self.hidden, &handle_path(gfid))
        } else if parent.is_some_and(|parent| self.is_there_again(parent, name, stat)) {
            Ok(())
        } else {
            parent.map_or(Ok(()), |parent| handle.remove(&gfid2path::xattr_of(parent, name).0))
        };
        match done {
            Err(Errno::ENOENT | Errno::ENODATA) => Ok(()),
            done => done,
        }
    }

    /// A directory's handle goes unless the gfid has another place by now.
    fn drop_dir_handle(&self, parent: Gfid, name: &[u8], gfid: Gfid) -> FsResult<()> {
        let path = handle_path(gfid);
        let here = dir_text(parent, name)?;
        let leads_here = fs::readlinkat(&*self.hidden, &path).is_ok_and(|text| text == here);
        // A parent that was made anew may have got the same child again, with the same handle.
        if leads_here && fs::statat(&*self.hidden, &path).is_err() {
            return fs::unlinkat(&*self.hidden, &path);
        }
        Ok(())
    }

    /// Whether a file has the same name in a directory that was made anew with the gfid of the buried one.
    fn is_there_again(&self, parent: Gfid, name: &[u8], stat: &Stat) -> bool {
        let path = [handle_path(parent).as_slice(), b"/", name].concat();
        fs::lstatat(&*self.hidden, &path).is_ok_and(|found| found.same_inode(stat))
    }
}

fn names_of(at: &OwnedFd) -> FsResult<Vec<Vec<u8>>> {
    dir::seekdir(at, 0)?;
    let mut names = Vec::new();
    loop {
        let part = dir::getdents(at, 64 * 1024)?;
        if part.is_empty() {
            return Ok(names);
        }
        names.extend(part.into_iter().map(|e| e.name).filter(|n| n != b"." && n != b".."));
    }
}
