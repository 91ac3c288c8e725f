//! READDIR and READDIRP (brick-and-replicate.md B.7).

use crate::errno::{Errno, FsResult};
use crate::sys::dir::{self, RawEntry};
use crate::wire::{Dict, Gfid, Iatt};

use super::node::Node;
use super::{Call, HIDDEN, OpenDir, Store};

/// What one entry costs of the requested size, besides its name and a NUL (wire-protocol.md 3.9).
const ENTRY_COST: usize = 216;
/// Bytes of names read from the kernel at a time.
const READ_AHEAD: usize = 32 * 1024;

/// One name of a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dirent {
    /// The name; `.` and `..` are included.
    pub name: Vec<u8>,
    /// READDIR: the file system's inode number; READDIRP: the one derived from the gfid.
    pub ino: u64,
    /// The cookie of the position after this entry.
    pub off: u64,
    /// `DT_*`.
    pub d_type: u8,
    /// READDIRP: the attributes, unless it vanished or has no gfid.
    pub stat: Option<Iatt>,
    /// READDIRP: the xattrs asked for.
    pub xdata: Dict,
}

/// A part of a directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirPage {
    /// The entries in the file system's order.
    pub entries: Vec<Dirent>,
    /// The end was reached: op_errno is `ENOENT`, also if there are entries.
    pub eof: bool,
}

impl Store {
    /// READDIR from cookie `off` (0 is the start), as many names as `size` allows and at least one.
    ///
    /// # Errors
    /// What the file system gives, `EINVAL` for a cookie it does not take.
    pub fn readdir(&self, call: &Call<'_>, dir: &OpenDir, off: u64, size: usize) -> FsResult<DirPage> {
        let (raw, eof) = self.names(call, dir, off, size)?;
        let plain = |e: RawEntry| Dirent {
            name: e.name,
            ino: e.ino,
            off: e.off,
            d_type: e.d_type,
            stat: None,
            xdata: Dict::null(),
        };
        Ok(DirPage {
            entries: raw.into_iter().map(plain).collect(),
            eof,
        })
    }

    /// READDIRP: [`Store::readdir`] with attributes and xattrs.
    ///
    /// # Errors
    /// As [`Store::readdir`].
    pub fn readdirp(&self, call: &Call<'_>, dir: &OpenDir, off: u64, size: usize) -> FsResult<DirPage> {
        let (raw, eof) = self.names(call, dir, off, size)?;
        Ok(DirPage {
            entries: raw.into_iter().map(|e| self.dress_entry(call, dir, e)).collect(),
            eof,
        })
    }

    fn dress_entry(&self, call: &Call<'_>, dir: &OpenDir, raw: RawEntry) -> Dirent {
        let mut entry = Dirent {
            name: raw.name,
            ino: raw.ino,
            off: raw.off,
            d_type: raw.d_type,
            stat: None,
            xdata: Dict::null(),
        };
        if entry.name == b".." {
            entry.ino = match self.read_dir_handle(dir.gfid()) {
                Ok((parent, _)) => parent.ino(),
                // The root, or a directory that was removed while it is listed.
                Err(_) => Gfid::ROOT.ino(),
            };
            return entry;
        }
        match self.entry_stat(call, dir, &entry.name) {
            Ok(Some((stat, xdata))) => {
                entry.ino = stat.ino;
                entry.d_type = (stat.file_type() >> 12) as u8;
                entry.stat = Some(stat);
                entry.xdata = xdata;
            }
            Ok(None) | Err(Errno::ENOENT) => {}
            Err(e) => {
                let name = String::from_utf8_lossy(&entry.name);
                tracing::warn!(dir = %dir.gfid(), %name, error = %e, "an entry is listed without attributes");
            }
        }
        entry
    }

    /// The attributes of one entry; `None` if it has no gfid.
    fn entry_stat(&self, call: &Call<'_>, dir: &OpenDir, name: &[u8]) -> FsResult<Option<(Iatt, Dict)>> {
        let node = Node::at(dir.descriptor(), name);
        let stat = node.stat()?;
        let Some(gfid) = node.gfid()? else { return Ok(None) };
        let iatt = self.iatt_from(&node, gfid, &stat)?;
        Ok(Some((iatt, self.fill(&node, gfid, &stat, call.xdata)?)))
    }

    /// The names from `off` on that fit into `size`, and whether they are the last.
    fn names(&self, call: &Call<'_>, dir: &OpenDir, off: u64, size: usize) -> FsResult<(Vec<RawEntry>, bool)> {
        let no_dirs = call.xdata.contains("readdir-filter-directories");
        let mut ahead = dir.ahead.borrow_mut();
        if off == 0 || ahead.0 != off {
            dir::seekdir(&**dir.descriptor(), off)?;
            *ahead = (off, Vec::new());
        }
        let mut out: Vec<RawEntry> = Vec::new();
        let mut used = 0;
        loop {
            if ahead.1.is_empty() {
                // Kept in reverse, so that the next entry is taken off the end.
                ahead.1 = dir::getdents(&**dir.descriptor(), READ_AHEAD)?;
                ahead.1.reverse();
                if ahead.1.is_empty() {
                    return Ok((out, true));
                }
            }
            while let Some(entry) = ahead.1.pop() {
                let cost = ENTRY_COST + entry.name.len() + 1;
                if used + cost > size && !out.is_empty() {
                    ahead.1.push(entry);
                    return Ok((out, false));
                }
                ahead.0 = entry.off;
                if is_shown(dir, &entry, no_dirs) {
                    used += cost;
                    out.push(entry);
                }
            }
        }
    }

    /// The gfid that an entry of a directory has, if any: for the index and heal layers.
    ///
    /// # Errors
    /// What the file system gives.
    pub fn entry_gfid(&self, dir: &OpenDir, name: &[u8]) -> FsResult<Option<Gfid>> {
        super::check_name(dir.gfid(), name)?;
        Node::at(dir.descriptor(), name).gfid()
    }
}

fn is_shown(dir: &OpenDir, entry: &RawEntry, no_dirs: bool) -> bool {
    let hidden = dir.gfid().is_root() && entry.name == HIDDEN;
    !(hidden || no_dirs && entry.d_type == libc::DT_DIR)
}
