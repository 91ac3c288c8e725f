//! One application's operations, each noted in the model when it is answered.

use std::time::Duration;

use bytes::Bytes;
use datapath::client::{Fd, SetAttr, TimeSet, Volume};
use datapath::errno::{Errno, FsResult};
use datapath::exec::{self, Mono, sleep};
use datapath::wire::Gfid;

use super::faults::Limit;
use super::model::{Kind, Name, Node, Tree};
use super::world::{caller, random_below, random_time, tell};

const FILE_BYTES: usize = 192 * 1024;
const PAUSE: Duration = Duration::from_millis(200);
/// No operation may take longer while a quorum is up: a brick is given up after half a second, and a second one may fail
/// while the first is waited for.
const LONGEST: Duration = Duration::from_millis(1500);
/// What goes to the disk, or changes much there, is given more time, and a close may have to wait for such a call.
const SLOW: [&str; 5] = ["fsync", "flush", "truncate", "unlink", "rmdir"];
const LONGEST_SLOW: Duration = Duration::from_secs(5);
const XATTRS: [&[u8]; 2] = [b"user.one", b"user.two"];

fn about(what: &str, at: &Name) {
    tell(&format!("{what} {}/{}", at.0, String::from_utf8_lossy(&at.1)));
}

/// An application on one client.
pub struct Application {
    volume: Volume,
    limit: Limit,
    pub tree: Tree,
    /// How many operations failed.
    pub failed: u32,
    /// When the operation under way began, and the longest one of all.
    began: Mono,
    pub longest: Duration,
}

impl Application {
    /// On `volume`, where nothing is yet.
    pub fn new(volume: &Volume, limit: Limit) -> Application {
        Application {
            volume: volume.clone(),
            limit,
            tree: Tree::new(),
            failed: 0,
            began: exec::now(),
            longest: Duration::ZERO,
        }
    }

    /// Works.
    pub async fn run(&mut self, operations: usize) {
        for n in 0..operations {
            self.step(n).await;
            sleep(random_time(PAUSE)).await;
        }
    }

    /// Whether the operation is done. It may only fail where faults may take the quorum away.
    fn done<T>(&mut self, what: &str, result: FsResult<T>) -> Option<T> {
        self.timed(what);
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                tell(&format!("{what} failed: {e}"));
                let excused = matches!(e, Errno::EROFS | Errno::ENOTCONN | Errno::EIO);
                assert!(self.limit == Limit::None && excused, "{what}: {e}");
                self.failed += 1;
                None
            }
        }
    }

    /// Notes how long the operation took that ends now; the next one begins.
    fn timed(&mut self, what: &str) {
        let now = exec::now();
        let took = now - self.began;
        self.began = now;
        if took > self.longest {
            tell(&format!("{what} took {took:?}"));
            self.longest = took;
        }
        let limit = if SLOW.contains(&what) { LONGEST_SLOW } else { LONGEST };
        assert!(
            took <= limit || self.limit == Limit::None,
            "{what} took {took:?} with a quorum up"
        );
    }

    async fn step(&mut self, n: usize) {
        self.began = exec::now();
        let dirs = self.tree.dirs();
        let dir = dirs[random_below(dirs.len())];
        let new = |kind: &str| (dir, format!("{kind}{n}").into_bytes());
        match random_below(26) {
            0 | 1 => self.mkdir(new("dir")).await,
            2..=5 => self.create(new("file")).await,
            6 => self.symlink(new("symlink")).await,
            7..=11 => self.write().await,
            12 => self.truncate().await,
            13 | 14 => self.chmod(n).await,
            15 | 16 => self.xattr(n).await,
            17 => self.link(new("link")).await,
            18 => self.unlink().await,
            19 => self.rmdir().await,
            20 | 21 => self.rename(new("moved")).await,
            22 => self.rename_over().await,
            23 => self.rename_dir(new("moveddir")).await,
            24 => self.list(dir).await,
            _ => self.look().await,
        }
    }

    fn pick(&self, want: impl Fn(&Node) -> bool) -> Option<(Name, Gfid)> {
        let found = self.tree.select(want);
        (!found.is_empty()).then(|| found[random_below(found.len())].clone())
    }

    fn file(&self) -> Option<(Name, Gfid)> {
        self.pick(|node| matches!(node.kind, Kind::File(_)))
    }

    async fn mkdir(&mut self, at: Name) {
        about("mkdir", &at);
        let made = self.volume.mkdir(&caller(), at.0, &at.1, 0o755).await;
        match self.done("mkdir", made) {
            Some(iatt) => self
                .tree
                .add(at, iatt.gfid, Node::new(Kind::Dir(Default::default()), 0o755)),
            None => self.tree.doubt(&at),
        }
    }

    async fn symlink(&mut self, at: Name) {
        about("symlink", &at);
        let made = self.volume.symlink(&caller(), at.0, &at.1, b"some/where").await;
        match self.done("symlink", made) {
            Some(iatt) => self
                .tree
                .add(at, iatt.gfid, Node::new(Kind::Symlink(b"some/where".to_vec()), 0o777)),
            None => self.tree.doubt(&at),
        }
    }

    async fn create(&mut self, at: Name) {
        about("create", &at);
        let flags = (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR) as u32;
        let made = self.volume.create(&caller(), at.0, &at.1, flags, 0o644).await;
        let Some((iatt, fd)) = self.done("create", made) else {
            return self.tree.doubt(&at);
        };
        tell(&format!("    gfid {}", iatt.gfid));
        self.tree
            .add(at, iatt.gfid, Node::new(Kind::File(Default::default()), 0o644));
        self.write_some(iatt.gfid, &fd).await;
        self.close(fd).await;
    }

    async fn write(&mut self) {
        let Some((at, gfid)) = self.file() else { return };
        about("write", &at);
        let found = self.volume.lookup(&caller(), at.0, &at.1).await;
        let Some(iatt) = self.done("lookup", found) else { return };
        self.tree.check_iatt(gfid, &iatt).expect("lookup before a write");
        let opened = self.volume.open(&caller(), gfid, libc::O_RDWR as u32).await;
        let Some(fd) = self.done("open", opened) else { return };
        self.write_some(gfid, &fd).await;
        if random_below(3) == 0 {
            let synced = self.volume.fsync(&caller(), &fd, random_below(2) == 0).await;
            self.done("fsync", synced);
        }
        self.close(fd).await;
    }

    async fn close(&mut self, fd: Fd) {
        let flushed = self.volume.flush(&caller(), &fd).await;
        self.done("flush", flushed);
        self.volume.release(fd);
    }

    async fn write_some(&mut self, gfid: Gfid, fd: &Fd) {
        for _ in 0..random_below(5) {
            let (off, len) = (random_below(FILE_BYTES), 1 + random_below(40_000));
            let byte = exec::random_u64() as u8;
            let wrote = self
                .volume
                .write(&caller(), fd, off as u64, Bytes::from(vec![byte; len]), 0)
                .await;
            let wrote = self.done("write", wrote);
            assert!(wrote.is_none_or(|n| n as usize == len), "a write is whole or an error");
            self.tree.content(gfid).write(off, len, byte, wrote.is_some());
            if random_below(4) == 0 {
                self.read(gfid, fd, off, len).await;
            }
        }
    }

    async fn read(&mut self, gfid: Gfid, fd: &Fd, off: usize, len: usize) {
        let read = self.volume.read(&caller(), fd, off as u64, len as u32).await;
        if let Some(read) = self.done("read", read)
            && let Err(e) = self.tree.content(gfid).check(off, &read)
        {
            panic!("read of {gfid}: {e}");
        }
    }

    async fn truncate(&mut self) {
        let Some((_, gfid)) = self.file() else { return };
        let size = random_below(FILE_BYTES);
        tell(&format!("truncate {gfid} {size}"));
        let set = SetAttr {
            size: Some(size as u64),
            ..SetAttr::default()
        };
        let done = self.volume.setattr(&caller(), gfid, None, &set).await;
        let done = self.done("truncate", done);
        self.tree.content(gfid).truncate(size, done.is_some());
    }

    async fn chmod(&mut self, n: usize) {
        let Some((at, gfid)) = self.pick(|node| !matches!(node.kind, Kind::Symlink(_))) else {
            return;
        };
        about("attributes", &at);
        let mode = 0o700 | random_below(0o100) as u32;
        let mtime = n.is_multiple_of(2).then_some(TimeSet::At(1_000_000_000 + n as i64, 5));
        let set = SetAttr {
            mode: Some(mode),
            mtime,
            ..SetAttr::default()
        };
        let done = self.volume.setattr(&caller(), gfid, None, &set).await;
        let done = self.done("setattr", done);
        let node = self.tree.nodes.get_mut(&gfid).expect("picked");
        node.mode = mode;
        node.sure_metadata &= done.is_some();
    }

    async fn xattr(&mut self, n: usize) {
        let Some((at, gfid)) = self.pick(|node| !matches!(node.kind, Kind::Symlink(_))) else {
            return;
        };
        about("attributes", &at);
        let key = XATTRS[random_below(2)];
        let node = &self.tree.nodes[&gfid];
        let remove = node.sure_metadata && node.xattrs.contains_key(key) && random_below(3) == 0;
        let value = format!("value{n}").into_bytes();
        let done = if remove {
            self.volume.removexattr(&caller(), gfid, key).await
        } else {
            self.volume
                .setxattr(&caller(), gfid, key, Bytes::from(value.clone()), 0)
                .await
        };
        let done = self.done("xattr", done).is_some();
        let node = self.tree.nodes.get_mut(&gfid).expect("picked");
        node.sure_metadata &= done;
        if remove {
            node.xattrs.remove(key);
        } else {
            node.xattrs.insert(key.to_vec(), value);
        }
    }

    async fn link(&mut self, at: Name) {
        let Some((_, gfid)) = self.file() else { return };
        about(&format!("link {gfid} to"), &at);
        let done = self.volume.link(&caller(), gfid, at.0, &at.1).await;
        match self.done("link", done) {
            Some(_) => self.tree.link(at, gfid),
            None => {
                self.tree.doubt(&at);
                self.tree.nodes.get_mut(&gfid).expect("picked").sure_links = false;
            }
        }
    }

    async fn unlink(&mut self) {
        let Some((at, _)) = self.pick(|node| !matches!(node.kind, Kind::Dir(_))) else {
            return;
        };
        about("unlink", &at);
        let done = self.volume.unlink(&caller(), at.0, &at.1).await;
        match self.done("unlink", done) {
            Some(()) => self.tree.unlink(&at),
            None => self.tree.doubt(&at),
        }
    }

    async fn rmdir(&mut self) {
        let Some((at, gfid)) = self.pick(|node| matches!(node.kind, Kind::Dir(_))) else {
            return;
        };
        let empty = self.tree.names(gfid).is_empty();
        if !empty && random_below(3) > 0 || self.tree.unsure.iter().any(|(dir, _)| *dir == gfid) {
            return;
        }
        about("rmdir", &at);
        let done = self.volume.rmdir(&caller(), at.0, &at.1).await;
        if !empty && done == Err(Errno::ENOTEMPTY) {
            return;
        }
        match self.done("rmdir", done) {
            Some(()) => {
                assert!(empty, "only empty directories are removed");
                self.tree.unlink(&at);
            }
            None if empty => self.tree.doubt(&at),
            None => {}
        }
    }

    async fn rename(&mut self, to: Name) {
        let Some((from, _)) = self.pick(|node| !matches!(node.kind, Kind::Dir(_))) else {
            return;
        };
        self.rename_to(&from, &to).await;
    }

    async fn rename_over(&mut self) {
        let (Some((from, source)), Some((to, victim))) = (self.file(), self.file()) else {
            return;
        };
        // Two names of one file: rename(2) does nothing then.
        if source != victim {
            self.rename_to(&from, &to).await;
        }
    }

    async fn rename_dir(&mut self, to: Name) {
        let Some((from, dir)) = self.pick(|node| matches!(node.kind, Kind::Dir(_))) else {
            return;
        };
        if !self.tree.is_below(to.0, dir) {
            self.rename_to(&from, &to).await;
        }
    }

    async fn rename_to(&mut self, from: &Name, to: &Name) {
        about("rename", from);
        about("    to", to);
        let done = self.volume.rename(&caller(), from.0, &from.1, to.0, &to.1, 0).await;
        if done == Err(Errno::EINVAL) && !self.tree.unsure.is_empty() {
            // A rename that failed may have moved the new place below the directory.
            return;
        }
        match self.done("rename", done) {
            Some(()) => self.tree.rename(from, to),
            None => {
                self.tree.doubt(from);
                self.tree.doubt(to);
            }
        }
    }

    async fn look(&mut self) {
        let Some((at, gfid)) = self.pick(|_| true) else { return };
        self.check_one(&at, gfid).await;
        let missing = self.volume.lookup(&caller(), at.0, b"never made").await;
        if missing != Err(Errno::ENOENT) {
            self.done("lookup of nothing", missing.map(|_| panic!("there is nothing")));
        }
    }

    /// Lists a directory by small pages and compares the names.
    async fn list(&mut self, dir: Gfid) {
        tell(&format!("list {dir}"));
        let fd = self.volume.opendir(&caller(), dir).await.expect("opendir asks nobody");
        let mut listed = Vec::new();
        let mut off = 0;
        loop {
            let page = self.volume.readdirp(&caller(), &fd, off, 1024).await;
            let Some((entries, end)) = self.done("readdirp", page) else {
                return;
            };
            off = entries.last().map_or(off, |e| e.off);
            listed.extend(entries.into_iter().map(|e| e.name.to_vec()));
            if end {
                break;
            }
        }
        tell(&format!("    on brick {:?}", fd.listing()));
        self.volume.release(fd);
        listed.retain(|name| name != b"." && name != b".." && !self.tree.unsure.contains(&(dir, name.clone())));
        listed.sort();
        let foreign = |name: &Vec<u8>| dir == Gfid::ROOT && (name == b"shared" || name == b"crashing");
        listed.retain(|name| !foreign(name));
        let known: Vec<Vec<u8>> = self.tree.names(dir).keys().cloned().collect();
        let text = |names: &[Vec<u8>]| {
            names
                .iter()
                .map(|n| String::from_utf8_lossy(n).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(text(&listed), text(&known), "names in {dir}");
    }

    async fn check_one(&mut self, at: &Name, gfid: Gfid) {
        let text = String::from_utf8_lossy(&at.1).into_owned();
        let found = self.volume.lookup(&caller(), at.0, &at.1).await;
        let Some(iatt) = self.done(&text, found) else { return };
        self.tree
            .check_iatt(gfid, &iatt)
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        let node = &self.tree.nodes[&gfid];
        for key in XATTRS
            .iter()
            .filter(|_| node.sure_metadata && !matches!(node.kind, Kind::Symlink(_)))
        {
            match (self.volume.getxattr(&caller(), gfid, key).await, node.xattrs.get(*key)) {
                (Ok(value), Some(known)) if value == known[..] => {}
                (Err(Errno::ENODATA), None) => {}
                (Err(Errno::EROFS | Errno::ENOTCONN | Errno::EIO), _) if self.limit == Limit::None => {}
                (found, known) => panic!("{text}: xattr {found:?} instead of {known:?}"),
            }
        }
        match &node.kind {
            Kind::Dir(_) => {}
            Kind::Symlink(target) => {
                let target = Bytes::from(target.clone());
                let found = self.volume.readlink(&caller(), gfid).await;
                assert!(
                    self.done(&text, found).is_none_or(|found| found == target),
                    "{text}: target"
                );
            }
            Kind::File(content) => {
                let all = content.len() + 1;
                let opened = self.volume.open(&caller(), gfid, libc::O_RDONLY as u32).await;
                let Some(fd) = self.done(&text, opened) else { return };
                self.read(gfid, &fd, 0, all).await;
                self.volume.release(fd);
            }
        }
    }

    /// Everything that was acknowledged is seen through the volume, and nothing else.
    pub async fn check(&mut self) {
        self.limit = Limit::QuorumKept;
        self.began = exec::now();
        self.tree.healed = true;
        // Names first: one too many is told by its name, not by somebody's count of links.
        for dir in self.tree.dirs() {
            self.list(dir).await;
        }
        for (at, gfid) in self.tree.select(|_| true) {
            self.check_one(&at, gfid).await;
        }
    }

    /// What nobody knows is made the same everywhere by looking at it (name heal).
    pub async fn look_at_doubts(&mut self) {
        for (dir, name) in self.tree.unsure.clone() {
            match self.volume.lookup(&caller(), dir, &name).await {
                Ok(_) | Err(Errno::ENOENT | Errno::ESTALE) => {}
                Err(e) => panic!("{}: {e}", String::from_utf8_lossy(&name)),
            }
        }
    }
}
