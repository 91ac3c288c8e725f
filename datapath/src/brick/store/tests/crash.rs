//! The process "dies" between the steps of a state change; what the next process finds is complete or harmless.

use super::super::fault::crash_at;
use super::super::testing::{Brick, Who, fresh_gfid};
use super::super::*;
use crate::wire::Value;

/// Quiet panics: the crashes are wanted.
pub(super) fn quietly<R>(f: impl FnOnce() -> R) -> R {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<super::super::fault::Crash>().is_none() {
            hook(info);
        }
    }));
    f()
}

/// Whatever is on the brick can be listed, looked up by name and by gfid, and removed.
fn assert_sound(brick: &Brick, dir: Gfid) {
    let who = Who::root();
    let open = brick.store().open_dir(&who.call(), dir).unwrap();
    let page = brick.store().readdirp(&who.call(), &open, 0, 1 << 20).unwrap();
    for entry in page.entries.iter().filter(|e| e.name != b"." && e.name != b"..") {
        let heal = Who::root().gfid(fresh_gfid());
        let looked = brick.store().lookup(&heal.call(), dir, &entry.name);
        let stat = looked
            .result
            .unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(&entry.name)));
        let by_gfid = brick.lookup_gfid(stat.gfid).unwrap();
        assert_eq!(
            (by_gfid.gfid, by_gfid.mode, by_gfid.nlink),
            (stat.gfid, stat.mode, stat.nlink)
        );
        if stat.is_dir() {
            assert_sound(brick, stat.gfid);
        }
    }
}

fn one_second() {
    std::thread::sleep(std::time::Duration::from_millis(1050));
}

#[test]
fn creation_dies_at_every_step() {
    quietly(|| {
        let mut dead = Vec::new();
        for point in ["new/made", "new/xattrs", "new/gfid", "new/handle"] {
            for kind in ["file", "dir", "link"] {
                let brick = Brick::new();
                let gfid = fresh_gfid();
                let who = Who::root().gfid(gfid);
                let died = crash_at(point, || {
                    let (store, call) = (brick.store(), who.call());
                    match kind {
                        "file" => drop(store.create(&call, Gfid::ROOT, b"n", libc::O_RDWR, 0o644)),
                        "dir" => drop(store.mkdir(&call, Gfid::ROOT, b"n", 0o755)),
                        _ => drop(store.symlink(&call, Gfid::ROOT, b"n", b"target")),
                    }
                });
                assert!(died, "{point} {kind}");
                dead.push((point, kind, gfid, brick));
            }
        }
        one_second();
        for (point, kind, gfid, brick) in dead {
            let brick = brick.reopen();
            assert_sound(&brick, Gfid::ROOT);
            let found = brick.lookup(Gfid::ROOT, "n").unwrap();
            if matches!(point, "new/gfid" | "new/handle") {
                assert_eq!(found.gfid, gfid);
            }
            // And it can be removed without a trace.
            let done = if kind == "dir" {
                brick.store().rmdir(&Who::root().call(), Gfid::ROOT, b"n", 0)
            } else {
                brick.store().unlink(&Who::root().call(), Gfid::ROOT, b"n")
            };
            assert_eq!(done.unwrap().gfid, found.gfid);
            assert!(std::fs::symlink_metadata(brick.handle(found.gfid)).is_err());
        }
    });
}

#[test]
fn links_and_unlinks_die_without_loss() {
    quietly(|| {
        let brick = Brick::new();
        let gfid = brick.file("f");
        std::fs::write(brick.path().join("f"), b"precious").unwrap();
        assert!(crash_at("link/linked", || drop(brick.store().link(
            &Who::root().call(),
            gfid,
            Gfid::ROOT,
            b"g"
        ))));
        let brick = brick.reopen();
        assert_sound(&brick, Gfid::ROOT);
        assert_eq!(brick.lookup(Gfid::ROOT, "g").unwrap().nlink, 2);
        assert!(crash_at("unlink/one-of-many", || drop(brick.store().unlink(
            &Who::root().call(),
            Gfid::ROOT,
            b"f"
        ))));
        let brick = brick.reopen();
        assert_sound(&brick, Gfid::ROOT);
        assert!(crash_at("retire/handle", || drop(brick.store().unlink(
            &Who::root().call(),
            Gfid::ROOT,
            b"g"
        ))));
        let brick = brick.reopen();
        assert_sound(&brick, Gfid::ROOT);
        assert_eq!(std::fs::read(brick.path().join("g")).unwrap(), b"precious");
        assert_eq!(brick.lookup_gfid(gfid).unwrap().nlink, 1);
        // The same with a client that has it open: the copy in unlink/ is dropped, the name stays.
        let file = brick
            .store()
            .open_file(&Who::root().call(), gfid, libc::O_RDWR)
            .unwrap();
        assert!(crash_at("retire/handle", || drop(brick.store().unlink(
            &Who::root().call(),
            Gfid::ROOT,
            b"g"
        ))));
        std::mem::forget(file);
        let brick = brick.reopen();
        assert_sound(&brick, Gfid::ROOT);
        assert_eq!(std::fs::read(brick.path().join("g")).unwrap(), b"precious");
    });
}

#[test]
fn renames_die_at_every_step() {
    quietly(|| {
        for point in [
            "retire/handle",
            "rename/renamed",
            "rename/forgotten",
            "handle/temporary",
        ] {
            let is_dir = point == "handle/temporary";
            let brick = Brick::new();
            let dir = brick.dir_in(Gfid::ROOT, "d");
            let moved = if is_dir {
                brick.dir_in(Gfid::ROOT, "n")
            } else {
                brick.file("n")
            };
            let victim = if is_dir {
                brick.dir_in(dir, "v")
            } else {
                brick.file_in(dir, "v")
            };
            let inside = if is_dir { brick.file_in(moved, "inside") } else { moved };
            let died = crash_at(point, || {
                drop(brick.store().rename(&Who::root().call(), Gfid::ROOT, b"n", dir, b"v"))
            });
            assert!(died, "{point}");
            let brick = brick.reopen();
            assert_sound(&brick, Gfid::ROOT);
            assert!(brick.lookup_gfid(moved).is_ok(), "{point}");
            assert!(brick.lookup_gfid(inside).is_ok(), "{point}");
            if point == "retire/handle" {
                assert_eq!(brick.lookup(dir, "v").unwrap().gfid, victim);
            } else {
                assert_eq!(brick.lookup(dir, "v").unwrap().gfid, moved);
                assert_eq!(brick.lookup_gfid(victim), Err(Errno::ENOENT));
            }
            // What was interrupted can be done again.
            let again = if point == "retire/handle" {
                (Gfid::ROOT, "n")
            } else {
                (dir, "v")
            };
            brick
                .store()
                .rename(&Who::root().call(), again.0, again.1.as_bytes(), dir, b"v2")
                .unwrap();
            assert_sound(&brick, Gfid::ROOT);
        }
    });
}

#[test]
fn an_interrupted_directory_rename_is_found_by_gfid_after_a_lookup_by_name() {
    quietly(|| {
        let brick = Brick::new();
        let dir = brick.dir_in(Gfid::ROOT, "d");
        let file = brick.file_in(dir, "f");
        assert!(crash_at("rename/renamed", || {
            drop(
                brick
                    .store()
                    .rename(&Who::root().call(), Gfid::ROOT, b"d", Gfid::ROOT, b"e"),
            );
        }));
        let brick = brick.reopen();
        assert_eq!(brick.lookup(dir, "f"), Err(Errno::ESTALE));
        assert_eq!(brick.lookup(Gfid::ROOT, "e").unwrap().gfid, dir);
        assert_eq!(brick.lookup(dir, "f").unwrap().gfid, file);
    });
}

#[test]
fn rmdir_dies_and_the_gfid_can_be_used_again() {
    quietly(|| {
        let brick = Brick::new();
        let dir = brick.dir_in(Gfid::ROOT, "d");
        assert!(crash_at("rmdir/removed", || drop(brick.store().rmdir(
            &Who::root().call(),
            Gfid::ROOT,
            b"d",
            0
        ))));
        let brick = brick.reopen();
        assert_eq!(brick.lookup_gfid(dir), Err(Errno::ENOENT));
        brick
            .store()
            .mkdir(&Who::root().gfid(dir).call(), Gfid::ROOT, b"e", 0o755)
            .unwrap();
        assert!(brick.lookup_gfid(dir).unwrap().is_dir());
        assert_sound(&brick, Gfid::ROOT);
    });
}

#[test]
fn a_stale_handle_does_not_hinder_its_gfids_heal() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    std::fs::write(brick.path().join("f"), b"content").unwrap();
    // The name vanished, as when the machine went down in the middle of a rename.
    std::fs::remove_file(brick.path().join("f")).unwrap();
    let brick = brick.reopen();
    let heal = Who::internal().gfid(gfid).with("glusterfs-internal-fop", Value::Int(1));
    let made = brick
        .store()
        .mknod(&heal.call(), Gfid::ROOT, b"f", libc::S_IFREG | 0o644, 0)
        .unwrap();
    assert_eq!((made.stat.gfid, made.stat.size, made.stat.nlink), (gfid, 7, 1));
}
