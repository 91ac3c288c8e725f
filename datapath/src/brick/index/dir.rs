//! One index directory: names that are hard links of a base file (brick-and-replicate.md A.6).
//!
//! Which gfids are in it and why is the business of the parent module; here are only the files.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use crate::errno::{Errno, FsResult};
use crate::sys::{dir, fs};
use crate::wire::Gfid;

/// How much of a directory is read in one call.
const LIST_BYTES: usize = 64 * 1024;
/// Index directories are the brick's own business.
const DIR_MODE: u32 = 0o600;

/// An index directory, open, with the set of gfids found in it.
#[derive(Debug)]
pub(super) struct LinkDir {
    fd: OwnedFd,
    /// `xattrop`, `dirty` or `entry-changes`: base files are called `<kind>-<uuid>`.
    kind: &'static str,
    /// Name of this start's base file. It is made when the first entry is.
    base: Vec<u8>,
    base_exists: bool,
    /// Everything in the directory, so that asking costs no system call. The brick owns the directory: nobody
    /// else changes it while it runs.
    members: BTreeSet<Gfid>,
}

impl LinkDir {
    /// Opens (or makes) `kind` below `parent` and reads it. Base files of earlier starts without entries go.
    pub fn open(parent: &OwnedFd, kind: &'static str) -> FsResult<LinkDir> {
        match fs::mkdirat(parent, kind.as_bytes(), DIR_MODE) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
        let fd = open_dir(parent, kind.as_bytes())?;
        let base = base_name(kind)?;
        let mut this = LinkDir {
            fd,
            kind,
            base,
            base_exists: false,
            members: BTreeSet::new(),
        };
        for name in this.names(&this.list_fd()?)? {
            if let Some(gfid) = gfid_of_name(&name) {
                this.members.insert(gfid);
            }
        }
        Ok(this)
    }

    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub fn contains(&self, gfid: Gfid) -> bool {
        self.members.contains(&gfid)
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether `name` is a base file of this or an earlier start.
    pub fn is_base(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.kind.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&b'-'))
    }

    /// A descriptor for one listing, with a position of its own.
    pub fn list_fd(&self) -> FsResult<OwnedFd> {
        open_dir(&self.fd, b".")
    }

    /// Every name but `.`, `..` and base files; removes base files of earlier starts that have no entries left.
    fn names(&self, list: &OwnedFd) -> FsResult<Vec<Vec<u8>>> {
        let mut out = Vec::new();
        loop {
            let part = dir::getdents(list, LIST_BYTES)?;
            if part.is_empty() {
                return Ok(out);
            }
            for entry in part {
                if entry.name == b"." || entry.name == b".." {
                    continue;
                }
                match self.is_base(&entry.name) {
                    true => self.drop_if_stale(&entry.name),
                    false => out.push(entry.name),
                }
            }
        }
    }

    /// Removes a base file of an earlier start once nothing links to it.
    pub fn drop_if_stale(&self, name: &[u8]) {
        if name == self.base {
            return;
        }
        let alone = fs::lstatat(&self.fd, name).is_ok_and(|s| s.nlink <= 1);
        if alone && let Err(e) = fs::unlinkat(&self.fd, name) {
            tracing::debug!(name = %String::from_utf8_lossy(name), "old index base file stays: {e}");
        }
    }

    /// Makes the entry of `gfid` if it is not there.
    pub fn add(&mut self, gfid: Gfid) -> FsResult<()> {
        if self.members.contains(&gfid) {
            return Ok(());
        }
        self.link(gfid.to_string().as_bytes())?;
        self.members.insert(gfid);
        Ok(())
    }

    /// Removes the entry of `gfid`. Not being there is no error.
    pub fn remove(&mut self, gfid: Gfid) -> FsResult<()> {
        if !self.members.contains(&gfid) {
            return Ok(());
        }
        gone_is_fine(fs::unlinkat(&self.fd, gfid.to_string().as_bytes()))?;
        self.members.remove(&gfid);
        Ok(())
    }

    /// Makes the directory `gfid` (entry-changes) if it is not there, and the entry `name` in it.
    pub fn add_below(&mut self, gfid: Gfid, name: &[u8]) -> FsResult<()> {
        if !self.members.contains(&gfid) {
            match fs::mkdirat(&self.fd, gfid.to_string().as_bytes(), DIR_MODE) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
            self.members.insert(gfid);
        }
        self.link(&below(gfid, name))
    }

    /// Removes `name` of the directory `gfid`. Not being there is no error.
    pub fn remove_below(&self, gfid: Gfid, name: &[u8]) -> FsResult<()> {
        match self.members.contains(&gfid) {
            true => gone_is_fine(fs::unlinkat(&self.fd, &below(gfid, name))),
            false => Ok(()),
        }
    }

    /// Removes the directory `gfid`. One that is not empty takes a random name instead: the healer will find that
    /// this gfid does not exist and empty it.
    pub fn remove_dir(&mut self, gfid: Gfid) -> FsResult<()> {
        if !self.members.contains(&gfid) {
            return Ok(());
        }
        let name = gfid.to_string();
        match fs::rmdirat(&self.fd, name.as_bytes()) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                let stray = Gfid::from_random(crate::brick::random16()?);
                fs::renameat(&self.fd, name.as_bytes(), &self.fd, stray.to_string().as_bytes(), 0)?;
                self.members.insert(stray);
            }
            Err(e) => return Err(e),
        }
        self.members.remove(&gfid);
        Ok(())
    }

    /// Removes the directory `gfid` with all names in it, as the healer asks for one whose gfid is gone.
    pub fn wipe_dir(&mut self, gfid: Gfid) -> FsResult<()> {
        let name = gfid.to_string();
        let list = open_dir(&self.fd, name.as_bytes())?;
        loop {
            let part = dir::getdents(&list, LIST_BYTES)?;
            let mut names = part.iter().filter(|e| e.name != b"." && e.name != b"..").peekable();
            if names.peek().is_none() {
                break;
            }
            for entry in names {
                gone_is_fine(fs::unlinkat(&list, &entry.name))?;
            }
            // Removing moves what is left; start over.
            dir::seekdir(&list, 0)?;
        }
        self.remove_dir(gfid)
    }

    /// Removes any name of the directory itself (a stray one, say), as the healer asks for.
    pub fn remove_name(&mut self, name: &[u8]) -> FsResult<()> {
        match gfid_of_name(name) {
            Some(gfid) if self.members.contains(&gfid) => self.remove(gfid),
            _ if self.is_base(name) => Err(Errno::EPERM),
            _ => fs::unlinkat(&self.fd, name),
        }
    }

    /// Links the base file to `name`, making a base file first if there is none, or if it has all the links a file
    /// may have.
    fn link(&mut self, name: &[u8]) -> FsResult<()> {
        if !self.base_exists {
            self.make_base()?;
        }
        match fs::linkat(&self.fd, &self.base, &self.fd, name) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(Errno::EMLINK) => {
                self.base = base_name(self.kind)?;
                self.make_base()?;
                fs::linkat(&self.fd, &self.base, &self.fd, name)
            }
            Err(Errno::ENOENT) => {
                self.make_base()?;
                fs::linkat(&self.fd, &self.base, &self.fd, name)
            }
            Err(e) => Err(e),
        }
    }

    fn make_base(&mut self) -> FsResult<()> {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
        match fs::openat(&self.fd, &self.base, flags, 0) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
        self.base_exists = true;
        Ok(())
    }
}

/// A base file name nobody has used.
fn base_name(kind: &str) -> FsResult<Vec<u8>> {
    Ok(format!("{kind}-{}", Gfid::from_random(crate::brick::random16()?)).into_bytes())
}

pub(super) fn open_dir(parent: &OwnedFd, name: &[u8]) -> FsResult<OwnedFd> {
    fs::openat(parent, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
}

/// The gfid an index name stands for.
pub(super) fn gfid_of_name(name: &[u8]) -> Option<Gfid> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

fn below(gfid: Gfid, name: &[u8]) -> Vec<u8> {
    [gfid.to_string().as_bytes(), b"/", name].concat()
}

fn gone_is_fine(result: FsResult<()>) -> FsResult<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}
