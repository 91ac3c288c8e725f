//! Names: create, mkdir, link, unlink, rename and their traces on the disk.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::testing::{Brick, Who, fresh_gfid};
use super::super::*;
use crate::sys::xattr;
use crate::wire::Value;

fn gfid2path(parent: Gfid, name: &str) -> String {
    let (key, _) = gfid2path::xattr_of(parent, name.as_bytes());
    String::from_utf8(key).unwrap()
}

#[test]
fn a_new_file_is_complete_on_the_disk() {
    let brick = Brick::new();
    let gfid = fresh_gfid();
    let who = Who::root()
        .gfid(gfid)
        .with("user.mark", Value::ptr(&b"m"[..]))
        .with("glusterfs-internal-fop", Value::Int(1));
    let call = who.call();
    let created = brick
        .store()
        .create(&call, Gfid::ROOT, b"f", libc::O_RDWR, 0o100640)
        .unwrap();
    assert!(created.is_new);
    let on_disk = std::fs::metadata(brick.path().join("f")).unwrap();
    let handle = std::fs::metadata(brick.handle(gfid)).unwrap();
    assert_eq!(
        (on_disk.ino(), on_disk.nlink(), on_disk.mode() & 0o7777),
        (handle.ino(), 2, 0o640)
    );
    assert_eq!(brick.xattr("f", "trusted.gfid").unwrap(), gfid.0);
    assert_eq!(brick.xattr("f", "user.mark").unwrap(), b"m");
    let path = brick.xattr("f", &gfid2path(Gfid::ROOT, "f")).unwrap();
    assert_eq!(path, b"00000000-0000-0000-0000-000000000001/f");
    let times = Times::decode(&brick.xattr("f", "trusted.glusterfs.mdata").unwrap()).unwrap();
    assert_eq!(times, Times::all((call.stamp.sec, 7)));
    let made = created.made;
    assert_eq!(
        (made.stat.nlink, made.stat.ino, made.stat.mtime),
        (1, gfid.ino(), call.stamp.sec)
    );
    assert_eq!(made.postparent.mtime, call.stamp.sec);
    assert!(made.preparent.mtime != call.stamp.sec);
    assert_eq!(&made.xdata, call.xdata);
    assert_eq!(brick.store().open_count(gfid), 1);
    drop(created.file);
    assert_eq!(brick.store().open_count(gfid), 0);
}

#[test]
fn create_opens_what_is_there_unless_exclusive() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let other = Who::root().gfid(fresh_gfid());
    let again = brick
        .store()
        .create(&other.call(), Gfid::ROOT, b"f", libc::O_RDWR | libc::O_CREAT, 0o600)
        .unwrap();
    assert!(!again.is_new);
    assert_eq!((again.file.gfid(), again.made.stat.gfid), (gfid, gfid));
    let exclusive = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    for flags in [exclusive, 0] {
        let result = brick.store().create(&other.call(), Gfid::ROOT, b"f", flags, 0o600);
        assert_eq!(result.unwrap_err(), Errno::EEXIST);
    }
    std::os::unix::fs::symlink("/etc/passwd", brick.path().join("planted")).unwrap();
    let result = brick.store().create(
        &other.call(),
        Gfid::ROOT,
        b"planted",
        libc::O_RDWR | libc::O_CREAT,
        0o600,
    );
    assert_eq!(result.unwrap_err(), Errno::ELOOP);
}

#[test]
fn bad_names_and_missing_gfids_are_refused() {
    let brick = Brick::new();
    let who = Who::root().gfid(fresh_gfid());
    let long = [b'x'; 256];
    for (name, errno) in [
        (&b""[..], Errno::EINVAL),
        (b".", Errno::EINVAL),
        (b"..", Errno::EINVAL),
        (b"a/b", Errno::EINVAL),
        (b"a\0b", Errno::EINVAL),
        (b".glusterfs", Errno::EPERM),
        (&long, Errno::ENAMETOOLONG),
    ] {
        let call = who.call();
        assert_eq!(
            brick.store().create(&call, Gfid::ROOT, name, 0, 0o600).unwrap_err(),
            errno
        );
        assert_eq!(
            brick.store().mkdir(&call, Gfid::ROOT, name, 0o700).unwrap_err().errno,
            errno
        );
        assert_eq!(brick.store().unlink(&call, Gfid::ROOT, name).unwrap_err(), errno);
        assert_eq!(brick.store().rmdir(&call, Gfid::ROOT, name, 0).unwrap_err(), errno);
        assert_eq!(
            brick
                .store()
                .rename(&call, Gfid::ROOT, b"x", Gfid::ROOT, name)
                .unwrap_err(),
            errno
        );
        assert_eq!(brick.store().lookup(&call, Gfid::ROOT, name).result.unwrap_err(), errno);
    }
    let none = Who::root();
    assert_eq!(
        brick
            .store()
            .create(&none.call(), Gfid::ROOT, b"f", 0, 0o600)
            .unwrap_err(),
        Errno::EINVAL
    );
    assert_eq!(
        brick.store().symlink(&none.call(), Gfid::ROOT, b"f", b"t").unwrap_err(),
        Errno::EINVAL
    );
    let gone = brick.store().create(&who.call(), fresh_gfid(), b"f", 0, 0o600);
    assert_eq!(gone.unwrap_err(), Errno::ESTALE);
    let file = brick.file("f");
    assert_eq!(
        brick.store().create(&who.call(), file, b"f", 0, 0o600).unwrap_err(),
        Errno::ENOTDIR
    );
}

#[test]
fn a_gfid_cannot_be_given_twice() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let who = Who::root().gfid(gfid);
    assert_eq!(
        brick
            .store()
            .mknod(&who.call(), Gfid::ROOT, b"g", libc::S_IFREG | 0o600, 0)
            .unwrap_err(),
        Errno::EEXIST
    );
    assert!(!brick.path().join("g").exists(), "rolled back");
    assert!(brick.handle(gfid).exists());
}

#[test]
fn directories_and_their_handles() {
    let brick = Brick::new();
    let a = brick.dir_in(Gfid::ROOT, "a");
    let b = brick.dir_in(a, "b");
    let text = std::fs::read_link(brick.handle(b)).unwrap();
    let expected = format!("../../{:02x}/{:02x}/{a}/b", a.0[0], a.0[1]);
    assert_eq!(text.to_str().unwrap(), expected);
    assert!(std::fs::symlink_metadata(brick.handle(b)).unwrap().is_symlink());
    let iatt = brick.lookup_gfid(b).unwrap();
    assert!(iatt.is_dir());
    assert_eq!((iatt.gfid, iatt.nlink), (b, 2));
    let who = Who::root();
    assert_eq!(
        brick.store().rmdir(&who.call(), Gfid::ROOT, b"a", 0).unwrap_err(),
        Errno::ENOTEMPTY
    );
    assert_eq!(brick.store().unlink(&who.call(), a, b"b").unwrap_err(), Errno::EISDIR);
    let removed = brick.store().rmdir(&who.call(), a, b"b", 0).unwrap();
    assert_eq!(removed.gfid, b);
    assert!(std::fs::symlink_metadata(brick.handle(b)).is_err());
    assert_eq!(brick.lookup_gfid(b), Err(Errno::ENOENT));
    let file = brick.file("f");
    assert_eq!(
        brick.store().rmdir(&who.call(), Gfid::ROOT, b"f", 0).unwrap_err(),
        Errno::ENOTDIR
    );
    assert!(brick.lookup_gfid(file).is_ok());
}

#[test]
fn trees_deeper_than_the_kernels_symlink_limit_are_reached_by_gfid() {
    let mut brick = Brick::new();
    let mut dirs = vec![Gfid::ROOT];
    for i in 0..120 {
        dirs.push(brick.dir_in(dirs[i], &format!("d{i}")));
    }
    let file = brick.file_in(dirs[120], "deep");
    brick = brick.reopen();
    assert_eq!(brick.lookup(dirs[120], "deep").unwrap().gfid, file);
    assert!(brick.lookup_gfid(dirs[119]).unwrap().is_dir());
    let path: String = (0..120).map(|i| format!("/d{i}")).collect();
    assert_eq!(brick.store().dir_path(dirs[120]).unwrap(), path.as_bytes());
    assert_eq!(
        brick.store().paths_of(file).unwrap(),
        [format!("{path}/deep").into_bytes()]
    );
    // A rename above does not disturb what is open below.
    let who = Who::root();
    brick
        .store()
        .rename(&who.call(), dirs[1], b"d1", Gfid::ROOT, b"moved")
        .unwrap();
    assert_eq!(brick.lookup(dirs[120], "deep").unwrap().gfid, file);
    brick = brick.reopen();
    assert_eq!(brick.lookup(dirs[120], "deep").unwrap().gfid, file);
    assert!(brick.store().dir_path(dirs[120]).unwrap().starts_with(b"/moved/d2/"));
}

#[test]
fn symlinks_fifos_and_devices_have_hard_linked_handles() {
    let brick = Brick::new();
    let link = fresh_gfid();
    // Even one whose text looks like a directory's handle.
    let text = b"../../00/00/00000000-0000-0000-0000-000000000001/x".to_vec();
    let made = brick
        .store()
        .symlink(&Who::root().gfid(link).call(), Gfid::ROOT, b"l", &text)
        .unwrap();
    assert_eq!(made.stat.file_type(), libc::S_IFLNK);
    assert_eq!(brick.store().readlink(&Who::root().call(), link, 4096).unwrap().0, text);
    assert_eq!(
        brick.store().readlink(&Who::root().call(), link, 5).unwrap().0,
        b"../.."
    );
    assert_eq!(brick.lookup_gfid(link).unwrap().gfid, link);
    assert_eq!(
        brick.store().open_dir(&Who::root().call(), link).unwrap_err(),
        Errno::ENOTDIR
    );
    assert_eq!(std::fs::symlink_metadata(brick.path().join("l")).unwrap().nlink(), 2);
    let fifo = Who::root().gfid(fresh_gfid());
    let made = brick
        .store()
        .mknod(&fifo.call(), Gfid::ROOT, b"p", libc::S_IFIFO | 0o600, 0)
        .unwrap();
    assert_eq!((made.stat.mode, made.stat.nlink), (libc::S_IFIFO | 0o600, 1));
    let dev = Who::root().gfid(fresh_gfid());
    let made = brick
        .store()
        .mknod(
            &dev.call(),
            Gfid::ROOT,
            b"null",
            libc::S_IFCHR | 0o666,
            libc::makedev(1, 3),
        )
        .unwrap();
    assert_eq!(made.stat.rdev, 1 << 32 | 3);
    let opened = brick
        .store()
        .open_file(&Who::root().call(), made.stat.gfid, libc::O_RDONLY);
    assert_eq!(opened.unwrap_err(), Errno::EINVAL);
    let dir = brick
        .store()
        .mknod(&dev.call(), Gfid::ROOT, b"d", libc::S_IFDIR | 0o755, 0);
    assert_eq!(dir.unwrap_err(), Errno::EINVAL);
}

#[test]
fn links_are_counted_recorded_and_limited() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let dir = brick.dir_in(Gfid::ROOT, "d");
    let who = Who::root();
    let made = brick.store().link(&who.call(), gfid, dir, b"g").unwrap();
    assert_eq!(made.stat.nlink, 2);
    assert!(brick.xattr("f", &gfid2path(dir, "g")).is_some());
    assert_eq!(
        brick.store().link(&who.call(), gfid, dir, b"g").unwrap_err(),
        Errno::EEXIST
    );
    assert_eq!(
        brick.store().link(&who.call(), dir, Gfid::ROOT, b"h").unwrap_err(),
        Errno::EPERM
    );
    assert_eq!(
        brick
            .store()
            .link(&who.call(), fresh_gfid(), Gfid::ROOT, b"h")
            .unwrap_err(),
        Errno::ESTALE
    );
    brick
        .store()
        .set_options(Options {
            max_hardlinks: 2,
            ..Options::default()
        })
        .unwrap();
    assert_eq!(
        brick.store().link(&who.call(), gfid, dir, b"h").unwrap_err(),
        Errno::EMLINK
    );
    let asked = Who::root().with("get-link-count", Value::Uint(0));
    let removed = brick.store().unlink(&asked.call(), Gfid::ROOT, b"f").unwrap();
    assert_eq!(removed.xdata.get_u64("get-link-count"), Some(2));
    assert!(brick.xattr("d/g", &gfid2path(Gfid::ROOT, "f")).is_none());
    assert_eq!(brick.lookup_gfid(gfid).unwrap().nlink, 1);
    brick.store().unlink(&who.call(), dir, b"g").unwrap();
    assert_eq!(brick.lookup_gfid(gfid), Err(Errno::ENOENT));
    assert!(!brick.handle(gfid).exists());
}

#[test]
fn a_file_unlinked_while_open_lives_until_it_is_closed() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let who = Who::root();
    let file = brick.store().open_file(&who.call(), gfid, libc::O_RDWR).unwrap();
    let busy = Who::root().with("dont-unlink-for-open-fd", Value::Int(1));
    assert_eq!(
        brick.store().unlink(&busy.call(), Gfid::ROOT, b"f").unwrap_err(),
        Errno::EBUSY
    );
    brick.store().unlink(&who.call(), Gfid::ROOT, b"f").unwrap();
    let parked = brick.path().join(format!(".glusterfs/unlink/{gfid}"));
    assert!(parked.exists() && !brick.handle(gfid).exists());
    let written = brick
        .store()
        .write(&who.call(), &file, 0, 0, &[std::io::IoSlice::new(b"still here")])
        .unwrap();
    assert_eq!((written.post.nlink, written.post.size), (0, 10));
    assert_eq!(brick.lookup_gfid(gfid), Err(Errno::ENOENT));
    let unlinked = Who::root().with("unlinked-lookup", Value::Int(1));
    assert_eq!(
        brick.store().lookup_gfid(&unlinked.call(), gfid).result.unwrap().nlink,
        0
    );
    // Its change log goes on, by gfid and by descriptor.
    let add = Dict::new().with(
        "trusted.afr.dirty",
        Value::ptr(vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    );
    brick
        .store()
        .xattrop(&who.call(), Target::Gfid(gfid), op::ADD_ARRAY, &add)
        .unwrap();
    brick
        .store()
        .xattrop(&who.call(), Target::File(&file), op::ADD_ARRAY, &add)
        .unwrap();
    let anonymous = brick.store().open_anonymous(gfid, libc::O_RDONLY).unwrap();
    let mut content = [0; 10];
    assert_eq!(brick.store().read(&anonymous, 0, 0, &mut content).unwrap(), 10);
    let second = brick.store().open_file(&who.call(), gfid, libc::O_RDONLY).unwrap();
    drop(file);
    assert!(parked.exists());
    drop(second);
    assert!(!parked.exists());
    assert_eq!(brick.store().attributes(Target::Gfid(gfid)), Err(Errno::ESTALE));
}

#[test]
fn a_healed_name_is_a_link_to_the_file_that_is_here() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let heal = Who::internal().gfid(gfid).with("glusterfs-internal-fop", Value::Int(1));
    let made = brick
        .store()
        .mknod(&heal.call(), Gfid::ROOT, b"g", libc::S_IFREG | 0o600, 0)
        .unwrap();
    assert_eq!((made.stat.nlink, made.stat.gfid), (2, gfid));
    assert!(brick.xattr("f", &gfid2path(Gfid::ROOT, "g")).is_some());
    // Also from among the unlinked ones.
    let file = brick.store().open_file(&heal.call(), gfid, libc::O_RDWR).unwrap();
    brick.store().unlink(&heal.call(), Gfid::ROOT, b"f").unwrap();
    brick.store().unlink(&heal.call(), Gfid::ROOT, b"g").unwrap();
    brick
        .store()
        .mknod(&heal.call(), Gfid::ROOT, b"back", libc::S_IFREG | 0o600, 0)
        .unwrap();
    drop(file);
    assert_eq!(brick.lookup(Gfid::ROOT, "back").unwrap().gfid, gfid);
    assert!(brick.handle(gfid).exists());
}

#[test]
fn linkto_files_only() {
    let brick = Brick::new();
    brick.file("f");
    let who = Who::root().with("unlink-only-if-dht-linkto-file", Value::Int(1));
    assert_eq!(
        brick.store().unlink(&who.call(), Gfid::ROOT, b"f").unwrap_err(),
        Errno::EBUSY
    );
    let linkto = Who::root()
        .gfid(fresh_gfid())
        .with("trusted.glusterfs.dht.linkto", Value::str("v-replicate-1"));
    brick
        .store()
        .mknod(&linkto.call(), Gfid::ROOT, b"l", libc::S_IFREG | 0o1000, 0)
        .unwrap();
    assert_eq!(
        brick.xattr("l", "trusted.glusterfs.dht.linkto").unwrap(),
        b"v-replicate-1\0"
    );
    brick.store().unlink(&who.call(), Gfid::ROOT, b"l").unwrap();
}

#[test]
fn renames_of_files_swap_the_path_record() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let dir = brick.dir_in(Gfid::ROOT, "d");
    let victim = brick.file_in(dir, "g");
    let who = Who::root().with("get-link-count", Value::Uint(0));
    let call = who.call();
    let renamed = brick.store().rename(&call, Gfid::ROOT, b"f", dir, b"g").unwrap();
    assert_eq!((renamed.victim, renamed.stat.gfid), (Some(victim), gfid));
    assert_eq!(renamed.xdata.get_u64("get-link-count"), Some(1));
    assert_eq!(
        (renamed.postoldparent.mtime, renamed.postnewparent.mtime),
        (call.stamp.sec, call.stamp.sec)
    );
    assert_eq!(
        (renamed.stat.ctime, renamed.stat.mtime),
        (call.stamp.sec, call.stamp.sec)
    );
    assert!(brick.xattr("d/g", &gfid2path(dir, "g")).is_some());
    assert!(brick.xattr("d/g", &gfid2path(Gfid::ROOT, "f")).is_none());
    assert!(!brick.handle(victim).exists());
    assert_eq!(brick.lookup(Gfid::ROOT, "f"), Err(Errno::ENOENT));
    // Two names of one file stay.
    brick.store().link(&who.call(), gfid, Gfid::ROOT, b"h").unwrap();
    let renamed = brick.store().rename(&who.call(), Gfid::ROOT, b"h", dir, b"g").unwrap();
    assert_eq!((renamed.victim, renamed.stat.nlink), (None, 2));
    assert!(brick.lookup(Gfid::ROOT, "h").is_ok());
    assert!(brick.xattr("h", &gfid2path(Gfid::ROOT, "h")).is_some());
    assert_eq!(
        brick.store().rename(&who.call(), dir, b"none", dir, b"x").unwrap_err(),
        Errno::ENOENT
    );
}

#[test]
fn a_rename_over_an_open_file_parks_it() {
    let brick = Brick::new();
    let victim = brick.file("v");
    brick.file("f");
    let who = Who::root();
    let file = brick.store().open_file(&who.call(), victim, libc::O_RDWR).unwrap();
    brick
        .store()
        .rename(&who.call(), Gfid::ROOT, b"f", Gfid::ROOT, b"v")
        .unwrap();
    let parked = brick.path().join(format!(".glusterfs/unlink/{victim}"));
    assert!(parked.exists());
    drop(file);
    assert!(!parked.exists());
}

#[test]
fn renames_of_directories_move_the_handle() {
    let brick = Brick::new();
    let a = brick.dir_in(Gfid::ROOT, "a");
    let b = brick.dir_in(Gfid::ROOT, "b");
    let sub = brick.dir_in(a, "sub");
    let full = brick.dir_in(b, "full");
    let file = brick.file_in(full, "f");
    let empty = brick.dir_in(b, "empty");
    let who = Who::root();
    let rename = |op, on: &str, np, nn: &str| brick.store().rename(&who.call(), op, on.as_bytes(), np, nn.as_bytes());
    assert_eq!(rename(a, "sub", b, "full").unwrap_err(), Errno::ENOTEMPTY);
    assert_eq!(rename(a, "sub", full, "f").unwrap_err(), Errno::ENOTDIR);
    assert_eq!(rename(full, "f", b, "empty").unwrap_err(), Errno::EISDIR);
    assert_eq!(rename(Gfid::ROOT, "a", a, "inside").unwrap_err(), Errno::EINVAL);
    let renamed = rename(a, "sub", b, "empty").unwrap();
    assert_eq!(renamed.victim, Some(empty));
    assert!(std::fs::symlink_metadata(brick.handle(empty)).is_err());
    let text = std::fs::read_link(brick.handle(sub)).unwrap();
    assert_eq!(
        text.to_str().unwrap(),
        format!("../../{:02x}/{:02x}/{b}/empty", b.0[0], b.0[1])
    );
    assert_eq!(brick.lookup_gfid(file).unwrap().gfid, file);
    // A failed rename leaves the victim's handle.
    assert!(brick.handle(file).exists());
}

#[test]
fn the_same_gfid_elsewhere_takes_the_handle_along() {
    let brick = Brick::new();
    let old = brick.dir_in(Gfid::ROOT, "old");
    let made = brick
        .store()
        .mkdir(&Who::root().gfid(old).call(), Gfid::ROOT, b"new", 0o755)
        .unwrap();
    assert_eq!(made.stat.gfid, old);
    assert!(
        std::fs::read_link(brick.handle(old))
            .unwrap()
            .to_str()
            .unwrap()
            .ends_with("/new")
    );
    let again = brick
        .store()
        .mkdir(&Who::root().gfid(old).call(), Gfid::ROOT, b"new", 0o755);
    assert_eq!(again.unwrap_err().errno, Errno::EEXIST);
    // A lookup of the old place does not take it back.
    let brick = brick.reopen();
    assert_eq!(brick.lookup(Gfid::ROOT, "old").unwrap().gfid, old);
    assert!(
        std::fs::read_link(brick.handle(old))
            .unwrap()
            .to_str()
            .unwrap()
            .ends_with("/new")
    );
    brick.store().rmdir(&Who::root().call(), Gfid::ROOT, b"old", 0).unwrap();
    assert!(brick.lookup_gfid(old).is_ok(), "the handle points at the other place");
    // Neither a file nor a user's symbolic link loses its handle to a directory.
    let link = fresh_gfid();
    brick
        .store()
        .symlink(&Who::root().gfid(link).call(), Gfid::ROOT, b"l", b"text")
        .unwrap();
    for taken in [link, brick.file("f")] {
        let refused = brick
            .store()
            .mkdir(&Who::root().gfid(taken).call(), Gfid::ROOT, b"dir", 0o755);
        assert_eq!(refused.unwrap_err().errno, Errno::EEXIST);
        assert!(brick.lookup_gfid(taken).is_ok());
        assert!(!brick.path().join("dir").exists());
    }
}

#[test]
fn mkdir_checks_the_parents_layout() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    let set = Dict::new().with("trusted.glusterfs.dht", Value::ptr(vec![1; 16]));
    brick
        .store()
        .setxattr(&Who::root().call(), Target::Gfid(dir), &set, 0)
        .unwrap();
    let who = |layout: u8| {
        Who::root()
            .gfid(fresh_gfid())
            .with("glusterfs.preop.parent.key", Value::str("trusted.glusterfs.dht"))
            .with("trusted.glusterfs.dht", Value::ptr(vec![layout; 16]))
    };
    let refused = brick.store().mkdir(&who(2).call(), dir, b"s", 0o755).unwrap_err();
    assert_eq!(refused.errno, Errno::EIO);
    assert!(refused.xdata.contains("glusterfs.preop.check.failed"));
    brick.store().mkdir(&who(1).call(), dir, b"s", 0o755).unwrap();
}

#[test]
fn a_forced_rmdir_buries_the_tree_and_the_janitor_frees_it() {
    let brick = Brick::new();
    let top = brick.dir_in(Gfid::ROOT, "top");
    let mut at = top;
    let mut gfids = vec![top];
    for i in 0..60 {
        gfids.push(brick.file_in(at, &format!("f{i}")));
        at = brick.dir_in(at, "down");
        gfids.push(at);
    }
    let kept = brick.file("kept");
    brick
        .store()
        .link(&Who::root().call(), kept, at, b"other-name")
        .unwrap();
    assert_eq!(
        brick
            .store()
            .rmdir(&Who::user(5).call(), Gfid::ROOT, b"top", 1)
            .unwrap_err(),
        Errno::EACCES
    );
    brick.store().rmdir(&Who::root().call(), Gfid::ROOT, b"top", 1).unwrap();
    assert_eq!(brick.lookup(Gfid::ROOT, "top"), Err(Errno::ENOENT));
    assert_eq!(brick.lookup_gfid(at), Err(Errno::ENOENT));
    assert!(brick.path().join(format!(".glusterfs/landfill/{top}")).is_dir());
    assert!(brick.store().janitor().purge().unwrap() >= 122);
    assert_eq!(
        std::fs::read_dir(brick.path().join(".glusterfs/landfill"))
            .unwrap()
            .count(),
        0
    );
    for gfid in gfids {
        assert!(std::fs::symlink_metadata(brick.handle(gfid)).is_err(), "{gfid}");
    }
    let kept = brick.lookup_gfid(kept).unwrap();
    assert_eq!(kept.nlink, 1);
    let names = xattr::list_at(&**brick.store().root_dir(), b"kept").unwrap();
    assert_eq!(names.iter().filter(|n| n.starts_with(b"trusted.gfid2path.")).count(), 1);
}

#[test]
fn masks_and_forced_modes() {
    let brick = Brick::new();
    let options = Options {
        create_mask: 0o750,
        force_create_mode: 0o004,
        create_directory_mask: 0o700,
        force_directory_mode: 0o011,
        ..Options::default()
    };
    brick.store().set_options(options).unwrap();
    let file = brick.try_create(&Who::root(), "f").unwrap();
    assert_eq!(file.made.stat.mode & 0o7777, 0o644 & 0o750 | 0o004);
    brick.dir_in(Gfid::ROOT, "d");
    let mode = std::fs::metadata(brick.path().join("d")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o711);
}

#[test]
fn a_link_that_cannot_be_recorded_is_undone() {
    // Each name costs an xattr: ext4 runs out of room for them, others reach max-hardlinks.
    let brick = Brick::new();
    let gfid = brick.file("f");
    let mut names = 1;
    let failed = loop {
        let name = format!("a-rather-long-name-that-takes-its-room-{names}");
        match brick
            .store()
            .link(&Who::root().call(), gfid, Gfid::ROOT, name.as_bytes())
        {
            Ok(made) => names += 1.min(made.stat.nlink),
            Err(e) => break e,
        }
    };
    assert!(
        failed == Errno::ENOSPC || failed == Errno::EMLINK && names == 100,
        "{failed:?} after {names}"
    );
    assert_eq!(brick.lookup_gfid(gfid).unwrap().nlink, names);
    assert_eq!(std::fs::read_dir(brick.path()).unwrap().count() as u32, names + 1);
    assert_eq!(brick.store().paths_of(gfid).unwrap().len() as u32, names);
}

#[test]
fn directories_removed_behind_our_back_are_gone() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    assert!(brick.lookup_gfid(dir).is_ok());
    std::fs::remove_dir(brick.path().join("d")).unwrap();
    assert_eq!(brick.lookup_gfid(dir), Err(Errno::ENOENT));
    let who = Who::root().gfid(fresh_gfid());
    assert_eq!(
        brick.store().mkdir(&who.call(), dir, b"x", 0o755).unwrap_err().errno,
        Errno::ESTALE
    );
}

#[test]
fn the_janitor_leaves_what_was_made_anew_in_a_directory_of_the_same_gfid() {
    let brick = Brick::new();
    let top = brick.dir_in(Gfid::ROOT, "top");
    let below = brick.dir_in(top, "below");
    let file = brick.file_in(top, "file");
    brick.store().rmdir(&Who::root().call(), Gfid::ROOT, b"top", 1).unwrap();
    // Heal makes the directory anew in its new place, and links the file that still has its handle.
    for (parent, name, gfid) in [(Gfid::ROOT, &b"moved"[..], top), (top, &b"below"[..], below)] {
        brick
            .store()
            .mkdir(&Who::root().gfid(gfid).call(), parent, name, 0o755)
            .unwrap();
    }
    brick.store().link(&Who::root().call(), file, top, b"file").unwrap();
    brick.store().janitor().purge().unwrap();
    assert_eq!(brick.lookup_gfid(below).unwrap().gfid, below);
    assert_eq!(brick.lookup(top, "file").unwrap().nlink, 1);
    let pairs = std::fs::symlink_metadata(brick.path().join("moved/file")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&pairs), 2);
    let key = super::super::gfid2path::xattr_of(top, b"file").0;
    let record = brick.xattr("moved/file", std::str::from_utf8(&key).unwrap());
    assert!(record.is_some(), "the name is still recorded");
}
