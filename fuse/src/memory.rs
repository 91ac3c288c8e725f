//! A file system in memory behind [`FileOps`], for tests of everything above the volume.
//!
//! It keeps the volume's promises as far as a mount can see them: gfids, link counts, files that live on while open,
//! stable directory offsets, conflicting locks. Shared by all cores of a test through one mutex.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use datapath::errno::{Errno, FsResult};
use datapath::exec;
use datapath::wire::{Gfid, Iatt};

use crate::ops::{Caller, DirEntry, FileOps, Flock, LkOp, SetAttr, Statfs, TimeSet};

const PAGE: usize = 4096;

#[derive(Debug)]
enum Body {
    File(Vec<u8>),
    /// Offset of the entry to name and inode.
    Dir(BTreeMap<u64, (Bytes, Gfid)>),
    Link(Bytes),
    Special,
}

#[derive(Debug)]
struct Node {
    iatt: Iatt,
    body: Body,
    xattrs: BTreeMap<Vec<u8>, Bytes>,
    locks: Vec<(u64, Flock)>,
    open: u32,
}

#[derive(Debug)]
struct State {
    nodes: HashMap<Gfid, Node>,
    next_offset: u64,
    /// What was asked, for tests that count.
    calls: Vec<&'static str>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<State>>);

/// An open file of [`Memory`].
#[derive(Clone, Debug)]
pub struct MemFd {
    gfid: Gfid,
    flags: u32,
}

fn random_gfid() -> Gfid {
    let mut bytes = [0; 16];
    exec::fill_random(&mut bytes);
    Gfid::from_random(bytes)
}

impl State {
    fn node(&mut self, gfid: Gfid) -> FsResult<&mut Node> {
        self.nodes.get_mut(&gfid).ok_or(Errno::ENOENT)
    }

    fn dir(&mut self, gfid: Gfid) -> FsResult<&mut BTreeMap<u64, (Bytes, Gfid)>> {
        match &mut self.node(gfid)?.body {
            Body::Dir(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn find(&mut self, parent: Gfid, name: &[u8]) -> FsResult<(u64, Gfid)> {
        let entry = self.dir(parent)?.iter().find(|(_, (n, _))| n == name);
        entry.map(|(off, (_, gfid))| (*off, *gfid)).ok_or(Errno::ENOENT)
    }

    fn add(&mut self, c: &Caller, parent: Gfid, name: &[u8], mode: u32, rdev: u64, body: Body) -> FsResult<Iatt> {
        if self.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let gfid = random_gfid();
        let now = exec::wall_clock();
        let size = if let Body::Link(target) = &body {
            target.len() as u64
        } else {
            0
        };
        let iatt = Iatt {
            gfid,
            flags: Iatt::VALID,
            ino: gfid.ino(),
            rdev: u64::from(libc::major(rdev)) << 32 | u64::from(libc::minor(rdev)),
            mode,
            size,
            nlink: if mode & libc::S_IFMT == libc::S_IFDIR { 2 } else { 1 },
            uid: c.uid,
            gid: c.gid,
            blksize: 4096,
            atime: now.sec,
            mtime: now.sec,
            ctime: now.sec,
            mtime_nsec: now.nsec,
            ctime_nsec: now.nsec,
            ..Iatt::default()
        };
        self.nodes.insert(
            gfid,
            Node {
                iatt,
                body,
                xattrs: BTreeMap::new(),
                locks: Vec::new(),
                open: 0,
            },
        );
        self.enter(parent, name, gfid)?;
        Ok(iatt)
    }

    fn enter(&mut self, parent: Gfid, name: &[u8], gfid: Gfid) -> FsResult<()> {
        self.next_offset += 1;
        let offset = self.next_offset;
        self.dir(parent)?.insert(offset, (Bytes::copy_from_slice(name), gfid));
        self.touch(parent)
    }

    fn touch(&mut self, gfid: Gfid) -> FsResult<()> {
        let now = exec::wall_clock();
        let iatt = &mut self.node(gfid)?.iatt;
        (iatt.mtime, iatt.mtime_nsec, iatt.ctime, iatt.ctime_nsec) = (now.sec, now.nsec, now.sec, now.nsec);
        Ok(())
    }

    fn leave(&mut self, parent: Gfid, offset: u64) -> FsResult<()> {
        let Some((_, gfid)) = self.dir(parent)?.remove(&offset) else {
            return Ok(());
        };
        self.touch(parent)?;
        let node = self.node(gfid)?;
        node.iatt.nlink = node.iatt.nlink.saturating_sub(1);
        self.reap(gfid);
        Ok(())
    }

    fn reap(&mut self, gfid: Gfid) {
        let gone = self.nodes.get(&gfid).is_some_and(|n| {
            n.open == 0 && (n.iatt.nlink == 0 || n.iatt.is_dir() && n.iatt.nlink < 2 && !gfid.is_root())
        });
        if gone {
            self.nodes.remove(&gfid);
        }
    }

    fn conflict(&mut self, gfid: Gfid, owner: u64, wanted: &Flock) -> FsResult<Option<Flock>> {
        let overlaps = |l: &Flock| end(l) > wanted.start && end(wanted) > l.start;
        let clash = |l: &Flock| l.kind == libc::F_WRLCK as u32 || wanted.kind == libc::F_WRLCK as u32;
        let locks = &self.node(gfid)?.locks;
        Ok(locks
            .iter()
            .find(|(o, l)| *o != owner && overlaps(l) && clash(l))
            .map(|(_, l)| l.clone()))
    }

    /// Whole locks only, which is all the tests use: an owner's overlapping ones are replaced.
    fn lock(&mut self, gfid: Gfid, owner: u64, wanted: &Flock) -> FsResult<()> {
        let locks = &mut self.node(gfid)?.locks;
        locks.retain(|(o, l)| *o != owner || end(l) <= wanted.start || end(wanted) <= l.start);
        if wanted.kind != libc::F_UNLCK as u32 {
            locks.push((owner, wanted.clone()));
        }
        Ok(())
    }
}

fn end(lock: &Flock) -> u64 {
    if lock.len == 0 { u64::MAX } else { lock.start + lock.len }
}

impl Memory {
    /// An empty file system.
    pub fn new() -> Memory {
        let root = Iatt {
            gfid: Gfid::ROOT,
            ino: 1,
            flags: Iatt::VALID,
            mode: libc::S_IFDIR | 0o755,
            nlink: 2,
            blksize: 4096,
            ..Iatt::default()
        };
        let body = Body::Dir(BTreeMap::new());
        let node = Node {
            iatt: root,
            body,
            xattrs: BTreeMap::new(),
            locks: Vec::new(),
            open: 0,
        };
        // Two offsets are taken by "." and "..".
        Memory(Arc::new(Mutex::new(State {
            nodes: [(Gfid::ROOT, node)].into(),
            next_offset: 2,
            calls: Vec::new(),
        })))
    }

    fn state(&self, call: &'static str) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap();
        state.calls.push(call);
        state
    }

    /// How often an operation was asked for.
    pub fn count(&self, call: &str) -> usize {
        self.0.lock().unwrap().calls.iter().filter(|c| **c == call).count()
    }

    /// Changes a file behind the mount's back, like another client.
    pub fn write_elsewhere(&self, name: &[u8], content: &[u8]) {
        let mut state = self.0.lock().unwrap();
        let (_, gfid) = state.find(Gfid::ROOT, name).unwrap();
        let node = state.node(gfid).unwrap();
        node.body = Body::File(content.to_vec());
        node.iatt.size = content.len() as u64;
        node.iatt.mtime += 1;
    }

    /// How many inodes exist, the root included.
    pub fn inodes(&self) -> usize {
        self.0.lock().unwrap().nodes.len()
    }
}

impl Memory {
    fn try_lock(&self, owner: u64, gfid: Gfid, op: LkOp, lock: &Flock) -> FsResult<Flock> {
        let mut state = self.state("lk");
        let conflict = state.conflict(gfid, owner, lock)?;
        match (op, conflict) {
            (LkOp::Get, Some(other)) => Ok(other),
            (LkOp::Get, None) => Ok(Flock {
                kind: libc::F_UNLCK as u32,
                ..lock.clone()
            }),
            (_, Some(_)) if lock.kind != libc::F_UNLCK as u32 => Err(Errno::EAGAIN),
            _ => {
                state.lock(gfid, owner, lock)?;
                Ok(lock.clone())
            }
        }
    }
}

impl FileOps for Memory {
    type Fd = MemFd;

    /// Not done here: the tests want inodes of the other core.
    fn share_gfids(&self, _cores: usize, _rest: usize) {}

    async fn lookup(&self, _c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        let mut state = self.state("lookup");
        let (_, gfid) = state.find(parent, name)?;
        Ok(state.node(gfid)?.iatt)
    }

    async fn getattr(&self, _c: &Caller, gfid: Gfid, fd: Option<&MemFd>) -> FsResult<Iatt> {
        let iatt = self.state("getattr").node(gfid)?.iatt;
        if iatt.nlink == 0 && fd.is_none() {
            return Err(Errno::ENOENT);
        }
        Ok(iatt)
    }

    async fn setattr(&self, _c: &Caller, gfid: Gfid, fd: Option<&MemFd>, set: &SetAttr) -> FsResult<Iatt> {
        let now = exec::wall_clock();
        let time = |t: TimeSet| match t {
            TimeSet::Now => (now.sec, now.nsec),
            TimeSet::At(s, n) => (s, n),
        };
        let mut state = self.state("setattr");
        let node = state.node(gfid)?;
        if node.iatt.nlink == 0 && fd.is_none() {
            return Err(Errno::ENOENT);
        }
        let iatt = &mut node.iatt;
        if let Some(mode) = set.mode {
            iatt.mode = iatt.mode & libc::S_IFMT | mode;
        }
        iatt.uid = set.uid.unwrap_or(iatt.uid);
        iatt.gid = set.gid.unwrap_or(iatt.gid);
        if let (Some(size), Body::File(data)) = (set.size, &mut node.body) {
            data.resize(size as usize, 0);
            iatt.size = size;
            (iatt.mtime, iatt.mtime_nsec) = (now.sec, now.nsec);
        }
        if let Some(t) = set.atime {
            (iatt.atime, iatt.atime_nsec) = time(t);
        }
        if let Some(t) = set.mtime {
            (iatt.mtime, iatt.mtime_nsec) = time(t);
        }
        (iatt.ctime, iatt.ctime_nsec) = (now.sec, now.nsec);
        Ok(*iatt)
    }

    async fn readlink(&self, _c: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        match &self.state("readlink").node(gfid)?.body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    async fn mknod(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32, rdev: u64) -> FsResult<Iatt> {
        let body = if mode & libc::S_IFMT == libc::S_IFREG {
            Body::File(Vec::new())
        } else {
            Body::Special
        };
        self.state("mknod").add(c, parent, name, mode, rdev, body)
    }

    async fn mkdir(&self, c: &Caller, parent: Gfid, name: &[u8], mode: u32) -> FsResult<Iatt> {
        let mut state = self.state("mkdir");
        state.add(c, parent, name, libc::S_IFDIR | mode, 0, Body::Dir(BTreeMap::new()))
    }

    async fn symlink(&self, c: &Caller, parent: Gfid, name: &[u8], target: &[u8]) -> FsResult<Iatt> {
        let body = Body::Link(Bytes::copy_from_slice(target));
        self.state("symlink")
            .add(c, parent, name, libc::S_IFLNK | 0o777, 0, body)
    }

    async fn unlink(&self, _c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        let mut state = self.state("unlink");
        let (offset, gfid) = state.find(parent, name)?;
        if state.node(gfid)?.iatt.is_dir() {
            return Err(Errno::EISDIR);
        }
        state.leave(parent, offset)
    }

    async fn rmdir(&self, _c: &Caller, parent: Gfid, name: &[u8]) -> FsResult<()> {
        let mut state = self.state("rmdir");
        let (offset, gfid) = state.find(parent, name)?;
        if !state.dir(gfid)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        state.leave(parent, offset)
    }

    async fn rename(&self, _c: &Caller, from: (Gfid, &[u8]), to: (Gfid, &[u8]), flags: u32) -> FsResult<()> {
        let mut state = self.state("rename");
        let (offset, gfid) = state.find(from.0, from.1)?;
        if let Ok((old, _)) = state.find(to.0, to.1) {
            if flags & libc::RENAME_NOREPLACE != 0 {
                return Err(Errno::EEXIST);
            }
            state.leave(to.0, old)?;
        }
        state.dir(from.0)?.remove(&offset);
        state.enter(to.0, to.1, gfid)
    }

    async fn link(&self, _c: &Caller, gfid: Gfid, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        let mut state = self.state("link");
        if state.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        state.enter(parent, name, gfid)?;
        let node = state.node(gfid)?;
        node.iatt.nlink += 1;
        Ok(node.iatt)
    }

    async fn open(&self, _c: &Caller, gfid: Gfid, flags: u32) -> FsResult<MemFd> {
        self.state("open").node(gfid)?.open += 1;
        Ok(MemFd { gfid, flags })
    }

    async fn create(&self, c: &Caller, parent: Gfid, name: &[u8], flags: u32, mode: u32) -> FsResult<(Iatt, MemFd)> {
        let mut state = self.state("create");
        let iatt = state.add(c, parent, name, mode, 0, Body::File(Vec::new()))?;
        state.node(iatt.gfid)?.open += 1;
        Ok((iatt, MemFd { gfid: iatt.gfid, flags }))
    }

    async fn opendir(&self, _c: &Caller, gfid: Gfid) -> FsResult<MemFd> {
        self.state("opendir").node(gfid)?.open += 1;
        Ok(MemFd { gfid, flags: 0 })
    }

    async fn read(&self, _c: &Caller, fd: &MemFd, off: u64, size: u32) -> FsResult<Bytes> {
        match &self.state("read").node(fd.gfid)?.body {
            Body::File(data) => {
                let rest = data.get(off as usize..).unwrap_or_default();
                Ok(Bytes::copy_from_slice(&rest[..rest.len().min(size as usize)]))
            }
            _ => Err(Errno::EISDIR),
        }
    }

    async fn write(&self, _c: &Caller, fd: &MemFd, off: u64, new: Bytes, _flags: u32) -> FsResult<u32> {
        let mut state = self.state("write");
        let node = state.node(fd.gfid)?;
        let Body::File(data) = &mut node.body else {
            return Err(Errno::EBADF);
        };
        let at = if fd.flags & libc::O_APPEND as u32 != 0 {
            data.len()
        } else {
            off as usize
        };
        if data.len() < at + new.len() {
            data.resize(at + new.len(), 0);
        }
        data[at..at + new.len()].copy_from_slice(&new);
        node.iatt.size = data.len() as u64;
        node.iatt.blocks = node.iatt.size.div_ceil(512);
        state.touch(fd.gfid)?;
        Ok(new.len() as u32)
    }

    async fn flush(&self, c: &Caller, fd: &MemFd) -> FsResult<()> {
        let mut state = self.state("flush");
        state.node(fd.gfid)?.locks.retain(|(owner, _)| *owner != c.lk_owner);
        Ok(())
    }

    async fn fsync(&self, _c: &Caller, fd: &MemFd, _datasync: bool) -> FsResult<()> {
        self.state("fsync").node(fd.gfid).map(drop)
    }

    async fn fsyncdir(&self, _c: &Caller, fd: &MemFd, _datasync: bool) -> FsResult<()> {
        self.state("fsyncdir").dir(fd.gfid).map(drop)
    }

    fn release(&self, fd: MemFd) {
        let mut state = self.state("release");
        if let Ok(node) = state.node(fd.gfid) {
            node.open = node.open.saturating_sub(1);
        }
        state.reap(fd.gfid);
    }

    async fn readdirp(&self, _c: &Caller, fd: &MemFd, off: u64, _size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        let mut state = self.state("readdirp");
        let mut found: Vec<(u64, Bytes, Gfid)> = Vec::new();
        let dots = [(1, Bytes::from_static(b".")), (2, Bytes::from_static(b".."))];
        found.extend(dots.into_iter().filter(|(o, _)| *o > off).map(|(o, n)| (o, n, fd.gfid)));
        let entries = state.dir(fd.gfid)?.range(off + 1..);
        found.extend(entries.map(|(o, (n, g))| (*o, n.clone(), *g)));
        // Small pieces, so that listings need several.
        let eof = found.len() <= 50;
        found.truncate(50);
        let mut list = Vec::new();
        for (off, name, gfid) in found {
            let iatt = state.node(gfid)?.iatt;
            let dot = name.starts_with(b".");
            let d_type = (iatt.mode & libc::S_IFMT) >> 12;
            // Some without attributes, as bricks answer for names they are not sure about.
            let iatt = (!dot && off % 3 != 0).then_some(iatt);
            list.push(DirEntry {
                name,
                off,
                ino: gfid.ino(),
                d_type,
                iatt,
            });
        }
        Ok((list, eof))
    }

    async fn statfs(&self, _c: &Caller) -> FsResult<Statfs> {
        drop(self.state("statfs"));
        Ok(Statfs {
            bsize: 4096,
            frsize: 4096,
            blocks: 1000,
            bfree: 600,
            bavail: 500,
            files: 100,
            ffree: 90,
            favail: 90,
            namemax: 255,
            ..Statfs::default()
        })
    }

    async fn setxattr(&self, _c: &Caller, gfid: Gfid, name: &[u8], value: Bytes, flags: u32) -> FsResult<()> {
        let mut state = self.state("setxattr");
        let xattrs = &mut state.node(gfid)?.xattrs;
        match (flags as i32, xattrs.contains_key(name)) {
            (libc::XATTR_CREATE, true) => return Err(Errno::EEXIST),
            (libc::XATTR_REPLACE, false) => return Err(Errno::ENODATA),
            _ => xattrs.insert(name.to_vec(), value),
        };
        Ok(())
    }

    async fn getxattr(&self, _c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<Bytes> {
        self.state("getxattr")
            .node(gfid)?
            .xattrs
            .get(name)
            .cloned()
            .ok_or(Errno::ENODATA)
    }

    async fn listxattr(&self, _c: &Caller, gfid: Gfid) -> FsResult<Bytes> {
        let mut list = b"trusted.gfid\0".to_vec();
        for name in self.state("listxattr").node(gfid)?.xattrs.keys() {
            list.extend_from_slice(name);
            list.push(0);
        }
        Ok(list.into())
    }

    async fn removexattr(&self, _c: &Caller, gfid: Gfid, name: &[u8]) -> FsResult<()> {
        self.state("removexattr")
            .node(gfid)?
            .xattrs
            .remove(name)
            .map(drop)
            .ok_or(Errno::ENODATA)
    }

    async fn fallocate(&self, _c: &Caller, fd: &MemFd, mode: i32, off: u64, len: u64) -> FsResult<()> {
        let mut state = self.state("fallocate");
        let node = state.node(fd.gfid)?;
        let Body::File(data) = &mut node.body else {
            return Err(Errno::ENODEV);
        };
        let (from, to) = (off as usize, (off + len) as usize);
        if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && data.len() < to {
            data.resize(to, 0);
        }
        if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 {
            let to = to.min(data.len());
            data[from.min(to)..to].fill(0);
        }
        node.iatt.size = data.len() as u64;
        Ok(())
    }

    async fn lseek(&self, _c: &Caller, fd: &MemFd, off: u64, whence: i32) -> FsResult<u64> {
        let mut state = self.state("lseek");
        let Body::File(data) = &state.node(fd.gfid)?.body else {
            return Err(Errno::EINVAL);
        };
        if off as usize >= data.len() {
            return Err(Errno::ENXIO);
        }
        // A page of zeros counts as a hole.
        let is_hole = |page: &[u8]| page.iter().all(|b| *b == 0);
        let mut at = off as usize;
        while at < data.len() {
            let page_end = (at / PAGE * PAGE + PAGE).min(data.len());
            if is_hole(&data[at / PAGE * PAGE..page_end]) == (whence == libc::SEEK_HOLE) {
                return Ok(at as u64);
            }
            at = page_end;
        }
        if whence == libc::SEEK_HOLE {
            Ok(data.len() as u64)
        } else {
            Err(Errno::ENXIO)
        }
    }

    async fn lk(&self, c: &Caller, fd: &MemFd, op: LkOp, lock: &Flock) -> FsResult<Flock> {
        loop {
            match self.try_lock(c.lk_owner, fd.gfid, op, lock) {
                Err(Errno::EAGAIN) if op == LkOp::SetWait => exec::sleep(Duration::from_millis(5)).await,
                result => return result,
            }
        }
    }
}
