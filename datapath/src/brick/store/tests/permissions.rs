//! What callers other than root may do.

use super::super::testing::{Brick, Who, fresh_gfid};
use super::super::*;
use crate::wire::{Iatt, Value};

fn chmod(brick: &Brick, gfid: Gfid, mode: u32) {
    let new = Iatt {
        mode,
        ..Iatt::default()
    };
    brick
        .store()
        .setattr(&Who::root().call(), Target::Gfid(gfid), &new, valid::MODE)
        .unwrap();
}

fn create(brick: &Brick, who: &Who, parent: Gfid, name: &[u8]) -> FsResult<Created> {
    let xdata = Dict::new().with("gfid-req", Value::Gfid(fresh_gfid()));
    let call = Call {
        xdata: &xdata,
        ..who.call()
    };
    brick
        .store()
        .create(&call, parent, name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o644)
}

#[test]
fn objects_belong_to_their_maker_and_set_gid_directories_pass_on_their_group() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    chmod(&brick, dir, 0o777);
    let who = Who::user(1001);
    let made = create(&brick, &who, dir, b"f").unwrap().made.stat;
    assert_eq!((made.uid, made.gid), (1001, 1001));
    let team = Iatt {
        gid: 77,
        mode: 0o2777,
        ..Iatt::default()
    };
    brick
        .store()
        .setattr(&Who::root().call(), Target::Gfid(dir), &team, valid::MODE | valid::GID)
        .unwrap();
    assert_eq!(create(&brick, &who, dir, b"g").unwrap().made.stat.gid, 77);
    let gfid = fresh_gfid();
    let sub = Who {
        xdata: Dict::new().with("gfid-req", Value::Gfid(gfid)),
        ..Who::user(1001)
    };
    let sub = brick.store().mkdir(&sub.call(), dir, b"s", 0o755).unwrap().stat;
    assert_eq!((sub.gid, sub.mode & 0o7777, sub.uid), (77, 0o2755, 1001));
    assert_eq!(
        brick.try_create(&Who::root(), "root's").unwrap().made.stat.uid,
        0,
        "the identity was given back"
    );
}

#[test]
fn directories_guard_their_names_and_groups_count() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    let file = brick.file_in(dir, "f");
    let own = Iatt {
        gid: 500,
        mode: 0o770,
        ..Iatt::default()
    };
    brick
        .store()
        .setattr(&Who::root().call(), Target::Gfid(dir), &own, valid::MODE | valid::GID)
        .unwrap();
    let stranger = Who::user(1001);
    let call = stranger.call();
    let store = brick.store();
    assert_eq!(create(&brick, &stranger, dir, b"x").unwrap_err(), Errno::EACCES);
    assert_eq!(store.lookup(&call, dir, b"f").result, Err(Errno::EACCES));
    assert_eq!(store.unlink(&call, dir, b"f").unwrap_err(), Errno::EACCES);
    assert_eq!(store.link(&call, file, dir, b"y").unwrap_err(), Errno::EACCES);
    assert_eq!(store.rename(&call, dir, b"f", dir, b"z").unwrap_err(), Errno::EACCES);
    assert_eq!(store.open_dir(&call, dir).unwrap_err(), Errno::EACCES);
    assert_eq!(store.open_file(&call, file, libc::O_RDWR).unwrap_err(), Errno::EACCES);
    assert!(store.open_file(&call, file, libc::O_RDONLY).is_ok());
    assert_eq!(store.truncate(&call, Target::Gfid(file), 0).unwrap_err(), Errno::EACCES);
    assert_eq!(store.access(&call, dir, 1), Err(Errno::EACCES));
    assert_eq!(store.access(&call, file, 4), Ok(()));
    // A member of the group by a supplementary group only, which the kernel knows nothing of.
    let mut member = Who::user(1002);
    member.who.groups = vec![9, 500];
    let made = create(&brick, &member, dir, b"x").unwrap().made.stat;
    assert_eq!((made.uid, made.gid), (1002, 1002));
    assert!(store.lookup(&member.call(), dir, b"f").result.is_ok());
    assert!(store.rename(&member.call(), dir, b"x", dir, b"y").is_ok());
    // GlusterFS's own processes pass.
    let heal = Who {
        who: Identity {
            uid: 1001,
            pid: -6,
            ..Identity::default()
        },
        ..Who::root()
    };
    assert!(store.lookup(&heal.call(), dir, b"f").result.is_ok());
    store
        .set_options(Options {
            access_control: false,
            ..Options::default()
        })
        .unwrap();
    assert!(store.lookup(&stranger.call(), dir, b"f").result.is_ok());
}

#[test]
fn sticky_directories() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "tmp");
    chmod(&brick, dir, 0o1777);
    let (one, two) = (Who::user(1001), Who::user(1002));
    create(&brick, &one, dir, b"f").unwrap();
    create(&brick, &two, dir, b"mine").unwrap();
    assert_eq!(brick.store().unlink(&two.call(), dir, b"f").unwrap_err(), Errno::EACCES);
    assert_eq!(
        brick.store().rename(&two.call(), dir, b"f", dir, b"g").unwrap_err(),
        Errno::EACCES
    );
    assert_eq!(
        brick.store().rename(&two.call(), dir, b"mine", dir, b"f").unwrap_err(),
        Errno::EACCES
    );
    let (s, foreign) = (brick.store(), brick.lookup(dir, "f").unwrap().gfid);
    assert_eq!(s.link(&two.call(), foreign, dir, b"trap").unwrap_err(), Errno::EACCES);
    s.unlink(&one.call(), dir, b"f").unwrap();
}

#[test]
fn ownership_guards_attributes() {
    let brick = Brick::new();
    let dir = brick.dir_in(Gfid::ROOT, "d");
    chmod(&brick, dir, 0o777);
    let owner = Who::user(1001);
    let gfid = create(&brick, &owner, dir, b"f").unwrap().file.gfid();
    let set = |who: &Who, new: Iatt, bits| brick.store().setattr(&who.call(), Target::Gfid(gfid), &new, bits);
    let mode = Iatt {
        mode: libc::S_IFREG | 0o600,
        uid: 5,
        ..Iatt::default()
    };
    assert_eq!(set(&Who::user(1002), mode, valid::MODE).unwrap_err(), Errno::EPERM);
    assert_eq!(set(&owner, mode, valid::MODE).unwrap().post.mode, libc::S_IFREG | 0o600);
    assert_eq!(set(&owner, mode, valid::UID).unwrap_err(), Errno::EPERM);
    assert_eq!(set(&Who::root(), mode, valid::UID).unwrap().post.uid, 5);
    let link = fresh_gfid();
    brick
        .store()
        .symlink(&Who::root().gfid(link).call(), Gfid::ROOT, b"l", b"t")
        .unwrap();
    let healed = brick.store().setattr(
        &Who::internal().call(),
        Target::Gfid(link),
        &mode,
        valid::MODE | valid::UID,
    );
    assert_eq!(
        healed.unwrap().post.uid,
        5,
        "the mode of a symbolic link is left alone, not an error"
    );
}

#[test]
fn user_xattrs_need_permission_and_acls_ownership() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let stranger = Who::user(1001);
    let store = brick.store();
    let user = Dict::new().with("user.x", Value::ptr(&b"1"[..]));
    let target = Target::Gfid(gfid);
    assert_eq!(
        store.setxattr(&stranger.call(), target, &user, 0).unwrap_err(),
        Errno::EACCES
    );
    store.setxattr(&Who::root().call(), target, &user, 0).unwrap();
    assert!(store.getxattr(&stranger.call(), target, Some(b"user.x")).is_ok());
    assert_eq!(
        store.removexattr(&stranger.call(), target, b"user.x").unwrap_err(),
        Errno::EACCES
    );
    chmod(&brick, gfid, 0o600);
    assert_eq!(
        store.getxattr(&stranger.call(), target, Some(b"user.x")).unwrap_err(),
        Errno::EACCES
    );
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in [
        (1u16, 6u16, u32::MAX),
        (2, 4, 1001),
        (4, 0, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let acls = Dict::new().with("system.posix_acl_access", Value::ptr(acl));
    assert_eq!(
        store.setxattr(&stranger.call(), target, &acls, 0).unwrap_err(),
        Errno::EPERM
    );
    store.setxattr(&Who::root().call(), target, &acls, 0).unwrap();
    assert!(store.open_file(&stranger.call(), gfid, libc::O_RDONLY).is_ok());
    assert_eq!(
        store.open_file(&stranger.call(), gfid, libc::O_RDWR).unwrap_err(),
        Errno::EACCES
    );
    assert_eq!(
        store
            .open_file(&Who::user(1002).call(), gfid, libc::O_RDONLY)
            .unwrap_err(),
        Errno::EACCES
    );
    let broken = Dict::new().with("system.posix_acl_access", Value::ptr(&b"junk"[..]));
    assert_eq!(
        store.setxattr(&Who::root().call(), target, &broken, 0).unwrap_err(),
        Errno::EINVAL
    );
}
