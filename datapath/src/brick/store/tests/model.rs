//! Random sequences of namespace fops against a model, with the process dying at random steps.
//!
//! After each death the brick shows the names from before or from after the fop, never anything between; after a
//! lookup of every name (which is what repairs), names, gfids, links, handles and path records agree again.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::fault::crash_at;
use super::super::testing::{Brick, Who, fresh_gfid};
use super::super::*;
use super::crash::quietly;
use crate::sys::xattr;

/// Directory -> name -> object.
type Tree = BTreeMap<Gfid, BTreeMap<String, Gfid>>;

#[derive(Clone, Debug)]
enum Step {
    Create(Gfid, String, Gfid),
    Mkdir(Gfid, String, Gfid),
    Symlink(Gfid, String, Gfid),
    Link(Gfid, Gfid, String),
    Unlink(Gfid, String),
    Rmdir(Gfid, String),
    Rename(Gfid, String, Gfid, String),
    Open(Gfid),
    Close,
}

/// Where a step can die.
fn points(step: &Step) -> &'static [&'static str] {
    match step {
        Step::Create(..) | Step::Mkdir(..) | Step::Symlink(..) => &["new/made", "new/xattrs", "new/gfid", "new/handle"],
        Step::Link(..) => &["link/linked"],
        Step::Unlink(..) => &["unlink/one-of-many", "retire/handle"],
        Step::Rmdir(..) => &["rmdir/removed"],
        Step::Rename(..) => &[
            "retire/handle",
            "rename/renamed",
            "rename/forgotten",
            "handle/temporary",
        ],
        Step::Open(..) | Step::Close => &["none"],
    }
}

/// A small generator (xorshift): the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

struct Run {
    brick: Option<Brick>,
    tree: Tree,
    /// Non-directories and whether they are regular.
    files: BTreeMap<Gfid, bool>,
    open: Vec<Rc<OpenFile>>,
    random: Random,
    deaths: usize,
}

impl Run {
    fn brick(&self) -> &Brick {
        self.brick.as_ref().unwrap()
    }

    fn name(&mut self) -> String {
        format!("n{}", self.random.below(6))
    }

    fn step(&mut self) -> Step {
        let dirs: Vec<Gfid> = self.tree.keys().copied().collect();
        let files: Vec<Gfid> = self.files.keys().copied().collect();
        let (dir, to) = (*self.random.of(&dirs), *self.random.of(&dirs));
        let (name, new) = (self.name(), self.name());
        match self.random.below(16) {
            0..=2 => Step::Create(dir, name, fresh_gfid()),
            3 | 4 => Step::Mkdir(dir, name, fresh_gfid()),
            5 => Step::Symlink(dir, name, fresh_gfid()),
            6 | 7 if !files.is_empty() => Step::Link(*self.random.of(&files), dir, name),
            8 | 9 => Step::Unlink(dir, name),
            10 => Step::Rmdir(dir, name),
            11 if !files.is_empty() => Step::Open(*self.random.of(&files)),
            12 => Step::Close,
            _ => Step::Rename(dir, name, to, new),
        }
    }

    /// Runs a step on the brick; what it says.
    fn act(&mut self, step: &Step) -> FsResult<()> {
        let who = |gfid: Gfid| Who::root().gfid(gfid);
        let root = Who::root();
        let s = self.brick.as_ref().unwrap().store();
        let exclusive = libc::O_RDWR | libc::O_EXCL;
        match step {
            Step::Create(d, n, g) => s.create(&who(*g).call(), *d, n.as_bytes(), exclusive, 0o644).map(drop),
            Step::Mkdir(d, n, g) => s
                .mkdir(&who(*g).call(), *d, n.as_bytes(), 0o755)
                .map(drop)
                .map_err(|r| r.errno),
            Step::Symlink(d, n, g) => s.symlink(&who(*g).call(), *d, n.as_bytes(), b"text").map(drop),
            Step::Link(g, d, n) => s.link(&root.call(), *g, *d, n.as_bytes()).map(drop),
            Step::Unlink(d, n) => s.unlink(&root.call(), *d, n.as_bytes()).map(drop),
            Step::Rmdir(d, n) => s.rmdir(&root.call(), *d, n.as_bytes(), 0).map(drop),
            Step::Rename(d, n, to, new) => s.rename(&root.call(), *d, n.as_bytes(), *to, new.as_bytes()).map(drop),
            Step::Open(g) => {
                let file = s.open_file(&root.call(), *g, libc::O_RDWR)?;
                self.open.push(file);
                Ok(())
            }
            Step::Close => {
                self.open.pop();
                Ok(())
            }
        }
    }

    fn at(&self, dir: &Gfid, name: &str) -> Option<Gfid> {
        self.tree[dir].get(name).copied()
    }

    fn is_below(&self, top: Gfid, dir: Gfid) -> bool {
        top == dir
            || self.tree[&top]
                .values()
                .any(|g| self.tree.contains_key(g) && self.is_below(*g, dir))
    }

    fn links(&self, gfid: Gfid) -> usize {
        self.tree
            .values()
            .flat_map(BTreeMap::values)
            .filter(|g| **g == gfid)
            .count()
    }

    fn forget_unlinked(&mut self, gfid: Gfid) {
        if self.links(gfid) == 0 {
            self.files.remove(&gfid);
        }
    }

    /// The model's answer, and its change if the answer is success.
    fn expect(&mut self, step: &Step) -> FsResult<()> {
        match step {
            Step::Create(d, n, g) | Step::Symlink(d, n, g) | Step::Mkdir(d, n, g) => {
                if self.at(d, n).is_some() {
                    return Err(Errno::EEXIST);
                }
                self.tree.get_mut(d).unwrap().insert(n.clone(), *g);
                if matches!(step, Step::Mkdir(..)) {
                    self.tree.insert(*g, BTreeMap::new());
                } else {
                    self.files.insert(*g, matches!(step, Step::Create(..)));
                }
            }
            Step::Link(g, d, n) => {
                if self.at(d, n).is_some() {
                    return Err(Errno::EEXIST);
                }
                self.tree.get_mut(d).unwrap().insert(n.clone(), *g);
            }
            Step::Unlink(d, n) => {
                let gfid = self.at(d, n).ok_or(Errno::ENOENT)?;
                if self.tree.contains_key(&gfid) {
                    return Err(Errno::EISDIR);
                }
                self.tree.get_mut(d).unwrap().remove(n);
                self.forget_unlinked(gfid);
            }
            Step::Rmdir(d, n) => {
                let gfid = self.at(d, n).ok_or(Errno::ENOENT)?;
                if !self.tree.get(&gfid).ok_or(Errno::ENOTDIR)?.is_empty() {
                    return Err(Errno::ENOTEMPTY);
                }
                self.tree.get_mut(d).unwrap().remove(n);
                self.tree.remove(&gfid);
            }
            Step::Rename(d, n, to, new) => return self.expect_rename((d, n), (to, new)),
            Step::Open(g) => return if self.files[g] { Ok(()) } else { Err(Errno::ELOOP) },
            Step::Close => {}
        }
        Ok(())
    }

    fn expect_rename(&mut self, (d, n): (&Gfid, &str), (to, new): (&Gfid, &str)) -> FsResult<()> {
        let object = self.at(d, n).ok_or(Errno::ENOENT)?;
        let victim = self.at(to, new);
        let is_dir = self.tree.contains_key(&object);
        if victim == Some(object) {
            return Ok(());
        }
        match victim.map(|v| self.tree.get(&v)) {
            Some(None) if is_dir => return Err(Errno::ENOTDIR),
            Some(Some(_)) if !is_dir => return Err(Errno::EISDIR),
            _ => {}
        }
        if is_dir && self.is_below(object, *to) {
            return Err(Errno::EINVAL);
        }
        // Into its own ancestor's place: the kernel sees that first.
        if victim.is_some_and(|v| self.tree.get(&v).is_some_and(|inside| !inside.is_empty())) {
            return Err(Errno::ENOTEMPTY);
        }
        self.tree.get_mut(d).unwrap().remove(n);
        self.tree.get_mut(to).unwrap().insert(new.to_owned(), object);
        if let Some(victim) = victim {
            self.tree.remove(&victim);
            self.forget_unlinked(victim);
        }
        Ok(())
    }

    /// The names on the disk, without looking anything up.
    fn on_disk(&self) -> Tree {
        let mut tree = Tree::new();
        let mut todo = vec![(Gfid::ROOT, self.brick().path().to_owned())];
        while let Some((gfid, path)) = todo.pop() {
            let mut names = BTreeMap::new();
            let dir = std::fs::File::open(&path).unwrap();
            for entry in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if gfid.is_root() && name == ".glusterfs" {
                    continue;
                }
                // One that died before it got a gfid.
                let Ok(id) = xattr::get_at(&dir, name.as_bytes(), GFID_KEY) else {
                    continue;
                };
                let id = Gfid::from_slice(&id).unwrap();
                if entry.file_type().unwrap().is_dir() {
                    todo.push((id, entry.path()));
                }
                names.insert(name, id);
            }
            tree.insert(gfid, names);
        }
        tree
    }

    /// Removes what died before it got a gfid, as heal does, and looks up every name.
    fn repair(&self) {
        let mut todo = vec![Gfid::ROOT];
        while let Some(dir) = todo.pop() {
            let who = Who::root();
            let open = self.brick().store().open_dir(&who.call(), dir).unwrap();
            let page = self.brick().store().readdirp(&who.call(), &open, 0, 1 << 20).unwrap();
            for e in page.entries.iter().filter(|e| e.name != b"." && e.name != b"..") {
                let looked = self.brick().store().lookup(&who.call(), dir, &e.name).result;
                match looked {
                    Ok(stat) if stat.is_dir() => todo.push(stat.gfid),
                    Ok(_) => {}
                    Err(Errno::ENODATA) => {
                        let store = self.brick().store();
                        let gone = if e.d_type == libc::DT_DIR {
                            store.rmdir(&who.call(), dir, &e.name, 0)
                        } else {
                            store.unlink(&who.call(), dir, &e.name)
                        };
                        assert!(gone.unwrap().gfid.is_null());
                    }
                    Err(e) => panic!("{e:?}"),
                }
            }
        }
    }

    fn die_at(&mut self, step: &Step) {
        let point = *self.random.of(points(step));
        let died = {
            let mut result = Ok(());
            let died = crash_at(point, || result = self.act(step));
            if !died {
                assert_eq!(result, self.expect(step), "{step:?}");
            }
            died
        };
        if !died {
            return;
        }
        self.deaths += 1;
        // The descriptors of the dead process close without its doing anything.
        self.open.drain(..).for_each(std::mem::forget);
        self.brick = self.brick.take().map(Brick::reopen);
        let found = self.on_disk();
        if found != self.tree {
            let (tree, files) = (self.tree.clone(), self.files.clone());
            self.expect(step).unwrap();
            assert_eq!(
                found, self.tree,
                "{step:?} died at {point}, before it was {tree:?} {files:?}"
            );
        }
        self.repair();
    }

    /// Everything agrees with the model.
    fn check(&self) {
        assert_eq!(self.on_disk(), self.tree);
        let mut expected: BTreeSet<String> = self
            .tree
            .keys()
            .chain(self.files.keys())
            .map(ToString::to_string)
            .collect();
        for gfid in self.files.keys() {
            let iatt = self.brick().lookup_gfid(*gfid).unwrap();
            assert_eq!((iatt.gfid, iatt.nlink as usize), (*gfid, self.links(*gfid)));
        }
        for (dir, names) in &self.tree {
            assert_eq!(self.brick().lookup_gfid(*dir).unwrap().gfid, *dir);
            let gfids: BTreeMap<String, Gfid> = names
                .keys()
                .map(|n| (n.clone(), self.brick().lookup(*dir, n).unwrap().gfid))
                .collect();
            assert_eq!(gfids, *names);
        }
        let base = self.brick().path().join(".glusterfs");
        for first in 0..=255u8 {
            for second in std::fs::read_dir(base.join(format!("{first:02x}"))).unwrap() {
                for handle in std::fs::read_dir(second.unwrap().path()).unwrap() {
                    let name = handle.unwrap().file_name().into_string().unwrap();
                    // A directory's handle may dangle after a death; nothing finds it.
                    if !expected.remove(&name) && !name.ends_with(".new") {
                        let gfid: Gfid = name.parse().unwrap();
                        assert_eq!(self.brick().lookup_gfid(gfid), Err(Errno::ENOENT), "{name}");
                    }
                }
            }
        }
        assert!(expected.is_empty(), "without handle: {expected:?}");
    }

    /// Without deaths, path records and handles are exact.
    fn check_records(&self) {
        for gfid in self.files.keys() {
            let mut paths = Vec::new();
            for (dir, names) in &self.tree {
                for (name, _) in names.iter().filter(|(_, g)| *g == gfid) {
                    let mut path = self.brick().store().dir_path(*dir).unwrap();
                    path.push(b'/');
                    path.extend_from_slice(name.as_bytes());
                    paths.push(path);
                }
            }
            paths.sort();
            assert_eq!(self.brick().store().paths_of(*gfid).unwrap(), paths);
        }
    }
}

fn run(seed: u64, steps: usize, deaths: bool) {
    let tree = Tree::from([(Gfid::ROOT, BTreeMap::new())]);
    let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut run = Run {
        brick: Some(Brick::new()),
        tree,
        files: BTreeMap::new(),
        open: Vec::new(),
        random,
        deaths: 0,
    };
    for i in 0..steps {
        let step = run.step();
        if deaths && run.random.below(3) == 0 {
            run.die_at(&step);
        } else {
            let result = run.act(&step);
            assert_eq!(result, run.expect(&step), "seed {seed} step {i} {step:?}");
        }
        if i % 25 == 0 {
            run.check();
        }
    }
    run.check();
    assert!(!deaths || run.deaths > steps / 20, "only {} deaths", run.deaths);
    if !deaths {
        run.check_records();
        run.open.clear();
        let parked = run.brick().path().join(".glusterfs/unlink");
        assert_eq!(std::fs::read_dir(parked).unwrap().count(), 0);
    }
}

#[test]
fn random_fops_agree_with_the_model() {
    for seed in 1..=4 {
        run(seed, 400, false);
    }
}

#[test]
fn random_deaths_lose_nothing() {
    quietly(|| {
        for seed in 1..=6 {
            run(seed, 300, true);
        }
    });
}
