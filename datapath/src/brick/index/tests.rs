//! The index against a real directory.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::wire::Value;

const FILE: Gfid = Gfid([9; 16]);
const PEND: &str = "trusted.afr.vol-client-0";

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("ringluster-index-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn open(&self) -> Index {
        let fd = OwnedFd::from(std::fs::File::open(&self.0).unwrap());
        Index::open(&fd, Watch::of_volume("vol")).unwrap()
    }

    fn names(&self, sub: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.0.join(sub))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn path(&self, sub: &str) -> PathBuf {
        self.0.join(sub)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn counters(data: u32, metadata: u32, entry: u32) -> Value {
    let bytes: Vec<u8> = [data, metadata, entry].iter().flat_map(|n| n.to_be_bytes()).collect();
    Value::ptr(bytes)
}

fn dict(pairs: &[(&'static str, Value)]) -> Dict {
    let mut d = Dict::new();
    pairs.iter().for_each(|(k, v)| {
        d.set(*k, v.clone());
    });
    d
}

fn nlink(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().nlink()
}

#[test]
fn a_transaction_enters_and_leaves_dirty() {
    let dir = Dir::new("dirty");
    let mut index = dir.open();
    assert!(
        dir.names("dirty").is_empty(),
        "the base file is made with the first entry"
    );
    let pre = dict(&[("trusted.afr.dirty", counters(1, 0, 0)), (PEND, counters(0, 0, 0))]);
    index.before_xattrop(FILE, 0, &pre, &Dict::null()).unwrap();
    index.after_xattrop(FILE, 0, false, &pre, &Dict::null());
    assert_eq!(index.count(Kind::Dirty), 1);
    assert!(dir.names("xattrop").is_empty());
    let names = dir.names("dirty");
    assert_eq!(names[0], FILE.to_string());
    assert!(names[1].starts_with("dirty-"));
    let base = dir.path("dirty").join(&names[1]);
    assert_eq!(
        (nlink(&base), std::fs::metadata(&base).unwrap().mode() & 0o7777),
        (2, 0)
    );

    let post = dict(&[
        ("trusted.afr.dirty", counters(u32::MAX, 0, 0)),
        (PEND, counters(0, 0, 0)),
    ]);
    let now = dict(&[("trusted.afr.dirty", counters(0, 0, 0)), (PEND, counters(0, 0, 0))]);
    index.before_xattrop(FILE, 0, &post, &Dict::null()).unwrap();
    index.after_xattrop(FILE, 0, false, &now, &Dict::null());
    assert_eq!(index.count(Kind::Dirty), 0);
    assert_eq!(dir.names("dirty").len(), 1);
}

#[test]
fn blame_stays_until_every_counter_is_zero() {
    let dir = Dir::new("blame");
    let mut index = dir.open();
    let two = |a: u32, b: u32| {
        dict(&[
            (PEND, counters(a, 0, 0)),
            ("trusted.afr.vol-client-1", counters(b, 0, 0)),
        ])
    };
    index.before_xattrop(FILE, 0, &two(1, 1), &Dict::null()).unwrap();
    index.after_xattrop(FILE, 0, false, &two(1, 1), &Dict::null());
    assert!(index.contains(Kind::Xattrop, FILE));
    index.after_xattrop(FILE, 0, false, &two(0, 1), &Dict::null());
    assert!(index.contains(Kind::Xattrop, FILE));
    index.after_xattrop(FILE, 0, false, &two(0, 0), &Dict::null());
    assert_eq!(index.count(Kind::Xattrop), 0);
    index.after_xattrop(FILE, 0, false, &two(0, 2), &Dict::null());
    assert!(index.contains(Kind::Xattrop, FILE), "a read that finds blame enters it");
}

#[test]
fn other_keys_and_other_operations_do_not_count() {
    let dir = Dir::new("others");
    let mut index = dir.open();
    let foreign = dict(&[
        ("trusted.afr.other-client-0", counters(1, 1, 1)),
        ("user.x", counters(1, 1, 1)),
    ]);
    index.before_xattrop(FILE, 0, &foreign, &Dict::null()).unwrap();
    index.after_xattrop(FILE, 0, false, &foreign, &Dict::null());
    index
        .before_xattrop(FILE, 4, &dict(&[(PEND, counters(1, 0, 0))]), &Dict::null())
        .unwrap();
    assert_eq!((index.count(Kind::Xattrop), index.count(Kind::Dirty)), (0, 0));
}

#[test]
fn entries_survive_a_restart_and_old_bases_go() {
    let dir = Dir::new("restart");
    let pend = dict(&[(PEND, counters(1, 0, 0))]);
    dir.open().before_xattrop(FILE, 0, &pend, &Dict::null()).unwrap();
    let mut index = dir.open();
    assert_eq!(index.count(Kind::Xattrop), 1);
    assert_eq!(dir.names("xattrop").len(), 2, "the old base has a link and stays");
    index.before_xattrop(Gfid([1; 16]), 0, &pend, &Dict::null()).unwrap();
    assert_eq!(dir.names("xattrop").len(), 4);
    index.after_xattrop(FILE, 0, false, &dict(&[(PEND, counters(0, 0, 0))]), &Dict::null());
    let root = Virtual::Dir(Kind::Xattrop);
    let fd = index.open_dir(root).unwrap();
    let (entries, end) = index.read_dir(root, &fd, 0, 131072).unwrap();
    assert!(end);
    let mut names: Vec<_> = entries
        .iter()
        .map(|e| String::from_utf8(e.name.clone()).unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".", "..", &Gfid([1; 16]).to_string()]);
    assert_eq!(dir.names("xattrop").len(), 2, "listing removed the old base");
}

#[test]
fn a_vanished_base_file_is_made_again() {
    let dir = Dir::new("base");
    let mut index = dir.open();
    let pend = dict(&[(PEND, counters(1, 0, 0))]);
    index.before_xattrop(FILE, 0, &pend, &Dict::null()).unwrap();
    let base = dir.names("xattrop").pop().unwrap();
    std::fs::remove_file(dir.path("xattrop").join(base)).unwrap();
    index.before_xattrop(Gfid([2; 16]), 0, &pend, &Dict::null()).unwrap();
    assert_eq!(index.count(Kind::Xattrop), 2);
}

#[test]
fn changed_names_are_kept_and_purged() {
    let dir = Dir::new("changes");
    let mut index = dir.open();
    let xdata = |key: &'static str, name: &str| Dict::new().with(key, Value::str(name));
    let pend = dict(&[(PEND, counters(0, 0, 1))]);
    index.before_xattrop(FILE, 0, &pend, &xdata(ENTRY_CREATE, "a")).unwrap();
    index.before_xattrop(FILE, 0, &pend, &xdata(ENTRY_CREATE, "b")).unwrap();
    let sub = format!("entry-changes/{FILE}");
    assert_eq!(dir.names(&sub), ["a", "b"]);
    assert_eq!(std::fs::metadata(dir.path(&sub)).unwrap().mode() & 0o7777, 0o600);

    index.after_xattrop(FILE, 0, true, &pend, &xdata(ENTRY_DELETE, "a"));
    assert_eq!(dir.names(&sub), ["b"]);
    let purge = Dict::new().with(PURGE_INDEX, Value::Int(1));
    index.after_xattrop(FILE, 0, true, &pend, &purge);
    assert_eq!(dir.names(&sub), ["b"], "no purge while somebody is blamed");
    index.after_xattrop(FILE, 0, true, &dict(&[(PEND, counters(0, 0, 0))]), &purge);
    let left: Vec<_> = dir
        .names("entry-changes")
        .into_iter()
        .filter(|n| !n.starts_with("entry-changes-"))
        .collect();
    assert_eq!(left.len(), 1, "a directory with names takes a random name");
    assert_ne!(left[0], FILE.to_string());
}

#[test]
fn names_may_not_lead_out_of_the_index() {
    let dir = Dir::new("escape");
    let mut index = dir.open();
    for bad in ["", ".", "..", "a/b", "../../x"] {
        let xdata = Dict::new().with(ENTRY_CREATE, Value::str(bad));
        assert_eq!(
            index.before_xattrop(FILE, 0, &Dict::new(), &xdata),
            Err(Errno::EINVAL),
            "{bad:?}"
        );
    }
    let long = "n".repeat(256);
    let xdata = Dict::new().with(ENTRY_CREATE, Value::str(&long));
    assert_eq!(
        index.before_xattrop(FILE, 0, &Dict::new(), &xdata),
        Err(Errno::ENAMETOOLONG)
    );
}

#[test]
fn the_healer_reads_and_trims_through_virtual_gfids() {
    let dir = Dir::new("virtual");
    let mut index = dir.open();
    let xdata = Dict::new().with(ENTRY_CREATE, Value::str("name"));
    index
        .before_xattrop(FILE, 0, &dict(&[(PEND, counters(0, 0, 1))]), &xdata)
        .unwrap();

    let top = index.virtual_dir(index.gfid_of(Kind::EntryChanges)).unwrap();
    assert_eq!(top, Virtual::Dir(Kind::EntryChanges));
    assert_eq!(index.entry_type(top), 2);
    let stat = index.stat(top).unwrap();
    assert_eq!(
        (stat.gfid, stat.ino, stat.flags),
        (index.gfid_of(Kind::EntryChanges), u64::MAX, 0x6ff)
    );

    let sub = index.lookup_name(top, FILE.to_string().as_bytes()).unwrap();
    assert_eq!(index.lookup_name(top, b"nonsense"), Err(Errno::ENOENT));
    let sub = index.virtual_dir(sub.gfid).unwrap();
    assert_eq!(sub, Virtual::Changes(FILE));
    let fd = index.open_dir(sub).unwrap();
    let (entries, _) = index.read_dir(sub, &fd, 0, 131072).unwrap();
    assert_eq!(entries.len(), 3);
    index.unlink(sub, b"name").unwrap();
    index.rmdir(top, FILE.to_string().as_bytes(), 0).unwrap();
    assert_eq!(index.rmdir(top, FILE.to_string().as_bytes(), 0), Err(Errno::ENOENT));
    assert_eq!(index.virtual_dir(FILE), None);

    let x = index.virtual_dir(index.gfid_of(Kind::Xattrop)).unwrap();
    index.unlink(x, FILE.to_string().as_bytes()).unwrap();
    assert_eq!(index.count(Kind::Xattrop), 0);
    assert_eq!(index.unlink(x, FILE.to_string().as_bytes()), Err(Errno::ENOENT));
    assert_eq!(index.unlink(x, b"../dirty"), Err(Errno::EINVAL));
}

#[test]
fn a_directory_with_names_is_wiped_on_request() {
    let dir = Dir::new("wipe");
    let mut index = dir.open();
    let pend = dict(&[(PEND, counters(0, 0, 1))]);
    for n in 0..300 {
        let xdata = Dict::new().with(ENTRY_CREATE, Value::str(&format!("a rather long name {n}")));
        index.before_xattrop(FILE, 0, &pend, &xdata).unwrap();
    }
    let top = Virtual::Dir(Kind::EntryChanges);
    index.rmdir(top, FILE.to_string().as_bytes(), 0).unwrap();
    let left = dir.names("entry-changes");
    let stray = left.iter().find(|n| !n.starts_with("entry-changes-")).unwrap();
    assert_ne!(*stray, FILE.to_string(), "without flags it takes a random name");
    index.rmdir(top, stray.as_bytes(), 1).unwrap();
    assert_eq!(dir.names("entry-changes").len(), 1, "only the base file is left");
}

#[test]
fn a_listing_resumes_where_its_budget_ended() {
    let dir = Dir::new("budget");
    let mut index = dir.open();
    for n in 1..=20 {
        index
            .before_xattrop(Gfid([n; 16]), 0, &dict(&[(PEND, counters(1, 0, 0))]), &Dict::null())
            .unwrap();
    }
    let x = Virtual::Dir(Kind::Xattrop);
    let fd = index.open_dir(x).unwrap();
    let (mut seen, mut off) = (Vec::new(), 0);
    loop {
        let (entries, end) = index.read_dir(x, &fd, off, 1000).unwrap();
        off = entries.last().map_or(off, |e| e.off);
        seen.extend(entries.into_iter().filter_map(|e| gfid_of_name(&e.name)));
        if end {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen.len(), 20);
    seen.dedup();
    assert_eq!(seen.len(), 20);
}
