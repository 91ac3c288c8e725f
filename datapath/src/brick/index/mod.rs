//! The pending-heal indices of a brick (features/index; brick-and-replicate.md A.6): which inodes have pending or
//! dirty counters, and which names of a directory changed while a brick was away.
//!
//! [`Index::before_xattrop`] runs before the counters are changed, [`Index::after_xattrop`] after it, so that a
//! crash leaves at worst a superfluous entry. Upstream queues the xattrops of one inode between the two; here the
//! brick runs both and the change between them without giving up its core, which serialises them by itself.
//! The self-heal daemon reads and trims the indices through gfids that exist only in this process ([`Virtual`]).

mod dir;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, Stat};
use crate::wire::{Dict, Gfid, Iatt};

use dir::{LinkDir, gfid_of_name, open_dir};

/// xattrop operation 0: the only one the index looks at (brick-and-replicate.md B.9).
const ADD_ARRAY: u32 = 0;
/// iatt flags of a virtual directory: no inode number, no gfid bit [as 10.3 sends them].
const VIRTUAL_FLAGS: u64 = 0x6ff;

/// Xdata keys of an xattrop that speak to the index.
const ENTRY_CREATE: &str = "glusterfs.xattrop-entry-create";
const ENTRY_DELETE: &str = "glusterfs.xattrop-entry-delete";
/// Asks to remove the changed names of a directory that nobody is blamed for any more.
pub const PURGE_INDEX: &str = "glusterfs.xattrop-purge-index";

/// Xdata keys of a lookup of a virtual directory.
pub const IA_TYPE_REQ: &str = "glusterfs.index-ia-type-get-req";
/// The answer to [`IA_TYPE_REQ`].
pub const IA_TYPE_RSP: &str = "glusterfs.index-ia-type-get-rsp";

/// The three index directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Inodes that blame a brick.
    Xattrop,
    /// Inodes with a transaction open, or left open by a crash.
    Dirty,
    /// Directories with names changed while a brick was away.
    EntryChanges,
}

impl Kind {
    /// The virtual xattr of the root that answers with the directory's gfid.
    pub fn gfid_key(self) -> &'static str {
        match self {
            Kind::Xattrop => "glusterfs.xattrop_index_gfid",
            Kind::Dirty => "glusterfs.xattrop_dirty_gfid",
            Kind::EntryChanges => "glusterfs.xattrop_entry_changes_gfid",
        }
    }

    /// The virtual xattr that answers with the number of entries.
    pub fn count_key(self) -> Option<&'static str> {
        match self {
            Kind::Xattrop => Some("glusterfs.xattrop_index_count"),
            Kind::Dirty => Some("glusterfs.xattrop_dirty_count"),
            Kind::EntryChanges => None,
        }
    }

    /// The type code entries have, as IA_TYPE_RSP tells it: 1 regular, 2 directory.
    fn entry_type(self) -> u64 {
        match self {
            Kind::Xattrop | Kind::Dirty => 1,
            Kind::EntryChanges => 2,
        }
    }
}

/// All kinds, for key look-ups.
pub const KINDS: [Kind; 3] = [Kind::Xattrop, Kind::Dirty, Kind::EntryChanges];

/// A directory that exists only for the self-heal daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Virtual {
    /// One of the three index directories.
    Dir(Kind),
    /// `entry-changes/<gfid>`: the changed names of that directory.
    Changes(Gfid),
}

/// Which xattr keys are counters (options `xattrop-dirty-watchlist`, `xattrop-pending-watchlist`): a key matches if
/// one of the strings is a prefix of it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Usually `trusted.afr.dirty`.
    pub dirty: Vec<String>,
    /// Usually `trusted.afr.<volume>-`.
    pub pending: Vec<String>,
}

impl Watch {
    /// The lists of a volume, as its brick volfile has them.
    pub fn of_volume(volume: &str) -> Watch {
        Watch {
            dirty: vec!["trusted.afr.dirty".into()],
            pending: vec![format!("trusted.afr.{volume}-")],
        }
    }

    fn kind(&self, key: &[u8]) -> Option<Kind> {
        let starts = |list: &[String]| list.iter().any(|w| key.starts_with(w.as_bytes()));
        match () {
            () if starts(&self.dirty) => Some(Kind::Dirty),
            () if starts(&self.pending) => Some(Kind::Xattrop),
            () => None,
        }
    }
}

/// One entry of a virtual directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The name.
    pub name: Vec<u8>,
    /// That of the inode it is about, or all ones if it is about none. The backend's says nothing: all names of an
    /// index are links to one base file.
    pub ino: u64,
    /// Cookie of the position after this entry.
    pub off: u64,
}

fn number_of(name: &[u8]) -> u64 {
    let gfid = std::str::from_utf8(name)
        .ok()
        .and_then(|text| text.parse::<Gfid>().ok());
    gfid.map_or(u64::MAX, |gfid| gfid.ino())
}

/// What the counters of one kind say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counters {
    Absent,
    Zero,
    Set,
}

/// The indices of a brick.
#[derive(Debug)]
pub struct Index {
    xattrop: LinkDir,
    dirty: LinkDir,
    changes: LinkDir,
    watch: Watch,
    /// Virtual gfids of the three directories, in the order of [`KINDS`].
    gfids: [Gfid; 3],
    /// The virtual gfid of `entry-changes/<gfid>` is gfid XOR this: no table to keep, and it can be turned back.
    mask: Gfid,
}

impl Index {
    /// Opens the index directories below `indices` (the option `index-base`), making what is missing.
    pub fn open(indices: &OwnedFd, watch: Watch) -> FsResult<Index> {
        let fresh = || crate::brick::random16().map(Gfid::from_random);
        Ok(Index {
            xattrop: LinkDir::open(indices, "xattrop")?,
            dirty: LinkDir::open(indices, "dirty")?,
            changes: LinkDir::open(indices, "entry-changes")?,
            watch,
            gfids: [fresh()?, fresh()?, fresh()?],
            mask: Gfid(crate::brick::random16()?),
        })
    }

    fn dir(&self, kind: Kind) -> &LinkDir {
        match kind {
            Kind::Xattrop => &self.xattrop,
            Kind::Dirty => &self.dirty,
            Kind::EntryChanges => &self.changes,
        }
    }

    fn dir_mut(&mut self, kind: Kind) -> &mut LinkDir {
        match kind {
            Kind::Xattrop => &mut self.xattrop,
            Kind::Dirty => &mut self.dirty,
            Kind::EntryChanges => &mut self.changes,
        }
    }

    /// How many entries a directory has.
    pub fn count(&self, kind: Kind) -> u64 {
        self.dir(kind).len() as u64
    }

    /// Whether the inode is in the index.
    pub fn contains(&self, kind: Kind, gfid: Gfid) -> bool {
        self.dir(kind).contains(gfid)
    }

    /// What counters in `dict` say, and of which kind.
    fn counters(&self, dict: &Dict, kind: Kind) -> Counters {
        let mut seen = Counters::Absent;
        for (key, value) in dict.iter().filter(|(key, _)| self.watch.kind(&key.0) == Some(kind)) {
            match value.as_bytes() {
                Some(bytes) if bytes.iter().any(|b| *b != 0) => return Counters::Set,
                Some(_) => seen = Counters::Zero,
                None => tracing::warn!(key = ?key, "a counter of an xattrop is not a byte string"),
            }
        }
        seen
    }

    /// Enters an inode whose counters are about to change. A failure must fail the xattrop: a counter that is set
    /// but not indexed would never be healed.
    pub fn before_xattrop(&mut self, gfid: Gfid, op: u32, addends: &Dict, xdata: &Dict) -> FsResult<()> {
        if op != ADD_ARRAY {
            return Ok(());
        }
        for kind in [Kind::Dirty, Kind::Xattrop] {
            if self.counters(addends, kind) == Counters::Set {
                self.dir_mut(kind).add(gfid)?;
            }
        }
        if let Some(name) = component(xdata, ENTRY_CREATE)? {
            self.changes.add_below(gfid, name)?;
        }
        Ok(())
    }

    /// Removes an inode whose counters have become zero. `reply` holds the counters after the change; failures are
    /// logged: the entry is then superfluous and the next heal drops it.
    pub fn after_xattrop(&mut self, gfid: Gfid, op: u32, is_dir: bool, reply: &Dict, xdata: &Dict) {
        if op != ADD_ARRAY {
            return;
        }
        let mut clean = false;
        for kind in [Kind::Dirty, Kind::Xattrop] {
            let result = match self.counters(reply, kind) {
                Counters::Absent => Ok(()),
                Counters::Zero => {
                    clean |= kind == Kind::Xattrop;
                    self.dir_mut(kind).remove(gfid)
                }
                Counters::Set => self.dir_mut(kind).add(gfid),
            };
            log_failure(gfid, kind, result);
        }
        let deleted = component(xdata, ENTRY_DELETE).and_then(|name| match name {
            Some(name) => self.changes.remove_below(gfid, name),
            None => Ok(()),
        });
        log_failure(gfid, Kind::EntryChanges, deleted);
        if clean && is_dir && xdata.contains(PURGE_INDEX) {
            let purged = self.changes.remove_dir(gfid);
            log_failure(gfid, Kind::EntryChanges, purged);
        }
    }

    /// The virtual gfid of an index directory.
    pub fn gfid_of(&self, kind: Kind) -> Gfid {
        self.gfids[kind as usize]
    }

    /// The virtual directory a gfid stands for, if any. Cheap: every request asks.
    pub fn virtual_dir(&self, gfid: Gfid) -> Option<Virtual> {
        if let Some(at) = self.gfids.iter().position(|g| *g == gfid) {
            return Some(Virtual::Dir(KINDS[at]));
        }
        let below = self.unmask(gfid);
        self.changes.contains(below).then_some(Virtual::Changes(below))
    }

    fn unmask(&self, gfid: Gfid) -> Gfid {
        let mut out = gfid;
        out.0.iter_mut().zip(self.mask.0).for_each(|(b, m)| *b ^= m);
        out
    }

    /// LOOKUP of a name below a virtual directory: only directories below `entry-changes` can be looked up.
    pub fn lookup_name(&self, parent: Virtual, name: &[u8]) -> FsResult<Iatt> {
        match (parent, gfid_of_name(name)) {
            (Virtual::Dir(Kind::EntryChanges), Some(gfid)) if self.changes.contains(gfid) => {
                self.stat(Virtual::Changes(gfid))
            }
            _ => Err(Errno::ENOENT),
        }
    }

    /// The attributes of a virtual directory.
    pub fn stat(&self, dir: Virtual) -> FsResult<Iatt> {
        match dir {
            Virtual::Dir(kind) => Ok(iatt(self.gfid_of(kind), &fs::fstat(self.dir(kind).fd())?)),
            Virtual::Changes(gfid) => {
                let stat = fs::lstatat(self.changes.fd(), gfid.to_string().as_bytes())?;
                Ok(iatt(self.unmask(gfid), &stat))
            }
        }
    }

    /// The answer to [`IA_TYPE_REQ`].
    pub fn entry_type(&self, dir: Virtual) -> u64 {
        match dir {
            Virtual::Dir(kind) => kind.entry_type(),
            Virtual::Changes(_) => 1,
        }
    }

    /// Opens a virtual directory for reading.
    pub fn open_dir(&self, dir: Virtual) -> FsResult<OwnedFd> {
        match dir {
            Virtual::Dir(kind) => self.dir(kind).list_fd(),
            Virtual::Changes(gfid) => open_dir(self.changes.fd(), gfid.to_string().as_bytes()),
        }
    }

    /// Entries of an open virtual directory from `off` on, at most `budget` bytes by the accounting of the wire
    /// (216 + name + 1 each). The flag says that the end has been reached. Base files are left out; old ones
    /// without entries are removed on the way.
    pub fn read_dir(&self, dir: Virtual, fd: &OwnedFd, off: u64, budget: usize) -> FsResult<(Vec<IndexEntry>, bool)> {
        const ENTRY_COST: usize = 217;
        const CHUNK: usize = 32 * 1024;
        crate::sys::dir::seekdir(fd, off)?;
        let (mut out, mut used) = (Vec::new(), 0usize);
        loop {
            let part = crate::sys::dir::getdents(fd, CHUNK)?;
            if part.is_empty() {
                return Ok((out, true));
            }
            for entry in part {
                if let Virtual::Dir(kind) = dir
                    && self.dir(kind).is_base(&entry.name)
                {
                    self.dir(kind).drop_if_stale(&entry.name);
                    continue;
                }
                used += ENTRY_COST + entry.name.len();
                if used > budget {
                    return Ok((out, false));
                }
                out.push(IndexEntry {
                    ino: number_of(&entry.name),
                    name: entry.name,
                    off: entry.off,
                });
            }
        }
    }

    /// UNLINK below a virtual directory; the parent's attributes before and after.
    pub fn unlink(&mut self, parent: Virtual, name: &[u8]) -> FsResult<(Iatt, Iatt)> {
        check_component(name)?;
        let pre = self.stat(parent)?;
        match parent {
            Virtual::Dir(kind) => self.dir_mut(kind).remove_name(name)?,
            Virtual::Changes(gfid) => self.changes.remove_below(gfid, name)?,
        }
        Ok((pre, self.stat(parent)?))
    }

    /// RMDIR below `entry-changes`; the parent's attributes before and after. With `flags` the names in it go too,
    /// otherwise a directory that is not empty takes a random name.
    pub fn rmdir(&mut self, parent: Virtual, name: &[u8], flags: i32) -> FsResult<(Iatt, Iatt)> {
        if parent != Virtual::Dir(Kind::EntryChanges) {
            return Err(Errno::ENOTDIR);
        }
        let gfid = gfid_of_name(name)
            .filter(|g| self.changes.contains(*g))
            .ok_or(Errno::ENOENT)?;
        let pre = self.stat(parent)?;
        match flags {
            0 => self.changes.remove_dir(gfid)?,
            _ => self.changes.wipe_dir(gfid)?,
        }
        Ok((pre, self.stat(parent)?))
    }
}

fn log_failure(gfid: Gfid, kind: Kind, result: FsResult<()>) {
    if let Err(e) = result {
        tracing::warn!(%gfid, ?kind, "index not updated: {e}");
    }
}

/// A single path component out of xdata; names of the wire may not lead out of the index.
fn component<'a>(xdata: &'a Dict, key: &str) -> FsResult<Option<&'a [u8]>> {
    let Some(value) = xdata.get(key) else { return Ok(None) };
    let name = value.as_bytes().ok_or(Errno::EINVAL)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    check_component(name)?;
    Ok(Some(name))
}

fn check_component(name: &[u8]) -> FsResult<()> {
    match name {
        b"" | b"." | b".." => Err(Errno::EINVAL),
        n if n.contains(&b'/') || n.contains(&0) => Err(Errno::EINVAL),
        n if n.len() > 255 => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// Without times: the backend's are those of this machine's bookkeeping and of no use to a client.
fn iatt(gfid: Gfid, stat: &Stat) -> Iatt {
    Iatt {
        gfid,
        flags: VIRTUAL_FLAGS,
        ino: u64::MAX,
        dev: stat.dev,
        size: stat.size,
        blocks: stat.blocks,
        nlink: u32::try_from(stat.nlink).unwrap_or(u32::MAX),
        uid: stat.uid,
        gid: stat.gid,
        blksize: u32::try_from(stat.blksize).unwrap_or(u32::MAX),
        mode: stat.mode,
        ..Iatt::default()
    }
}
