//! Lookup by name and by gfid, its repairs and its answers in xdata; listing directories.

use super::super::testing::{Brick, Who, fresh_gfid};
use super::super::*;
use crate::sys::fs;
use crate::wire::Value;

#[test]
fn failures_have_the_references_errno() {
    let brick = Brick::new();
    let looked = brick.store().lookup(&Who::root().call(), Gfid::ROOT, b"none");
    assert_eq!(looked.result, Err(Errno::ENOENT));
    assert_eq!(looked.postparent.gfid, Gfid::ROOT, "the parent is told all the same");
    assert_eq!(brick.lookup(fresh_gfid(), "x"), Err(Errno::ESTALE));
    assert_eq!(brick.lookup_gfid(fresh_gfid()), Err(Errno::ENOENT));
    assert_eq!(brick.lookup_gfid(Gfid::NULL), Err(Errno::EINVAL));
    assert_eq!(brick.store().attributes(Target::Gfid(fresh_gfid())), Err(Errno::ESTALE));
    assert_eq!(brick.lookup(Gfid::ROOT, ".glusterfs"), Err(Errno::EPERM));
    let root = brick.lookup_gfid(Gfid::ROOT).unwrap();
    assert_eq!((root.ino, root.gfid), (1, Gfid::ROOT));
}

#[test]
fn an_object_without_a_gfid_gets_the_one_asked_for_once_it_is_old_enough() {
    let brick = Brick::new();
    std::fs::write(brick.path().join("found"), b"x").unwrap();
    std::fs::create_dir(brick.path().join("dir")).unwrap();
    assert_eq!(brick.lookup(Gfid::ROOT, "found"), Err(Errno::ENODATA));
    let gfidless = Who::root().with("gfidless-lookup", Value::Int(1));
    assert!(
        brick
            .store()
            .lookup(&gfidless.call(), Gfid::ROOT, b"found")
            .result
            .unwrap()
            .gfid
            .is_null()
    );
    let (gfid, dir) = (fresh_gfid(), fresh_gfid());
    let heal = |name: &[u8], gfid| {
        brick
            .store()
            .lookup(&Who::root().gfid(gfid).call(), Gfid::ROOT, name)
            .result
    };
    assert_eq!(heal(b"found", gfid), Err(Errno::ENOENT), "its creation may be going on");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(heal(b"found", gfid).unwrap().gfid, gfid);
    assert_eq!(heal(b"dir", dir).unwrap().gfid, dir);
    assert_eq!(brick.lookup_gfid(gfid).unwrap().nlink, 1);
    assert!(brick.lookup_gfid(dir).unwrap().is_dir());
    assert_eq!(
        heal(b"found", fresh_gfid()).unwrap().gfid,
        gfid,
        "a gfid is never changed"
    );
}

#[test]
fn xdata_asks_for_xattrs_by_name_by_pattern_and_all() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let set = Dict::new()
        .with("user.a", Value::ptr(&b"1"[..]))
        .with("trusted.afr.v-client-0", Value::ptr(vec![0; 12]));
    brick
        .store()
        .setxattr(&Who::root().call(), Target::Gfid(gfid), &set, 0)
        .unwrap();
    let ask = |key: &'static str| {
        brick
            .store()
            .lookup(&Who::root().with(key, Value::Uint(12)).call(), Gfid::ROOT, b"f")
            .xdata
    };
    assert_eq!(ask("user.a"), Dict::new().with("user.a", Value::ptr(&b"1"[..])));
    assert_eq!(ask("trusted.afr.*").len(), 1);
    assert!(ask("trusted.afr.dirty").is_empty());
    assert!(ask("trusted.gfid").is_empty());
    assert!(ask("glusterfs.parent-entrylk").is_empty());
    let all = ask("list-xattr");
    assert!(
        all.contains("user.a") && all.contains("trusted.afr.v-client-0") && all.contains("trusted.glusterfs.mdata")
    );
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(
        ask("glusterfs.open-fd-count").get_u64("glusterfs.open-fd-count"),
        Some(0)
    );
}

#[test]
fn small_content_comes_with_the_lookup() {
    let brick = Brick::new();
    brick.file("f");
    std::fs::write(brick.path().join("f"), b"content").unwrap();
    let ask = |n| {
        let who = Who::root().with("glusterfs.content", Value::Uint(n));
        let xdata = brick.store().lookup(&who.call(), Gfid::ROOT, b"f").xdata;
        xdata.get_bytes("glusterfs.content").map(<[u8]>::to_vec)
    };
    assert_eq!(ask(7), Some(b"content".to_vec()));
    assert_eq!(ask(6), None);
}

#[test]
fn a_lost_handle_is_made_anew_and_a_stale_one_removed() {
    let brick = Brick::new();
    let file = brick.file("f");
    let dir = brick.dir_in(Gfid::ROOT, "d");
    std::fs::remove_file(brick.handle(file)).unwrap();
    std::fs::remove_file(brick.handle(dir)).unwrap();
    let brick = brick.reopen();
    assert_eq!(brick.lookup_gfid(file), Err(Errno::ENOENT));
    assert_eq!(brick.lookup(Gfid::ROOT, "f").unwrap().nlink, 1);
    assert!(brick.lookup_gfid(file).is_ok());
    assert!(brick.lookup(Gfid::ROOT, "d").is_ok());
    assert!(brick.lookup_gfid(dir).is_ok());
    std::fs::remove_file(brick.path().join("f")).unwrap();
    assert_eq!(brick.lookup_gfid(file), Err(Errno::ENOENT));
    assert!(!brick.handle(file).exists());
}

#[test]
fn planted_symlinks_lead_nowhere() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    let brick = brick.reopen();
    // Someone with access to the brick puts a link in the directory's place.
    std::fs::remove_dir(brick.path().join("d")).unwrap();
    std::os::unix::fs::symlink("/etc", brick.path().join("d")).unwrap();
    assert_eq!(brick.lookup(dir, "passwd"), Err(Errno::ESTALE));
    // And another directory with another gfid.
    std::fs::remove_file(brick.path().join("d")).unwrap();
    brick.dir_in(Gfid::ROOT, "d");
    assert_eq!(brick.lookup(dir, "passwd"), Err(Errno::ESTALE));
}

#[test]
fn malformed_handles_are_errors() {
    let brick = Brick::new();
    let gfid = fresh_gfid();
    let handle = brick.handle(gfid);
    std::fs::create_dir_all(handle.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("../../../../etc", &handle).unwrap();
    assert_eq!(brick.lookup(gfid, "passwd"), Err(Errno::EIO));
    std::fs::remove_file(&handle).unwrap();
    // A circle.
    let text = handle::dir_text(gfid, b"self").unwrap();
    fs::symlinkat(&text, &**brick.store().hidden_dir(), &handle::handle_path(gfid)).unwrap();
    assert_eq!(brick.lookup(gfid, "x"), Err(Errno::ELOOP));
}

#[test]
fn directories_are_listed_in_pages_that_resume_at_any_cookie() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    let mut expected: Vec<String> = (0..300).map(|i| format!("entry-{i:04}")).collect();
    for name in &expected {
        brick.file_in(dir, name);
    }
    let who = Who::root().with("trusted.afr.dirty", Value::Uint(12));
    let open = brick.store().open_dir(&who.call(), dir).unwrap();
    let (mut off, mut seen, mut cookies) = (0, Vec::new(), Vec::new());
    loop {
        let page = brick.store().readdirp(&who.call(), &open, off, 4096).unwrap();
        assert!(page.entries.len() <= 4096 / 227 + 1);
        let Some(last) = page.entries.last() else {
            assert!(page.eof);
            break;
        };
        off = last.off;
        for e in &page.entries {
            if e.name == b".." {
                assert_eq!(e.stat, None);
            } else if e.name == b"." {
                assert_eq!(e.stat.unwrap().gfid, dir);
            } else {
                assert_eq!((e.ino, e.d_type), (e.stat.unwrap().ino, libc::DT_REG));
                seen.push(String::from_utf8(e.name.clone()).unwrap());
                cookies.push(e.off);
            }
        }
        if page.eof {
            let after = brick.store().readdirp(&who.call(), &open, off, 4096).unwrap();
            assert_eq!(
                after,
                DirPage {
                    entries: Vec::new(),
                    eof: true
                }
            );
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    let other = brick.store().open_dir(&who.call(), dir).unwrap();
    let page = brick.store().readdir(&who.call(), &other, cookies[100], 1).unwrap();
    assert_eq!(page.entries[0].name, seen[101].as_bytes());
    assert_eq!(page.entries.len(), 1, "at least one, however small the size");
}

#[test]
fn the_roots_list_hides_glusterfs_and_may_leave_out_directories() {
    let brick = Brick::new();
    brick.file("f");
    let names = |who: Who| {
        let open = brick.store().open_dir(&who.call(), Gfid::ROOT).unwrap();
        let page = brick.store().readdir(&who.call(), &open, 0, 1 << 20).unwrap();
        assert!(page.eof);
        let mut names: Vec<_> = page
            .entries
            .into_iter()
            .map(|e| String::from_utf8(e.name).unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(Who::root()), [".", "..", "f"]);
    assert_eq!(
        names(Who::root().with("readdir-filter-directories", Value::Int(1))),
        ["f"]
    );
}
