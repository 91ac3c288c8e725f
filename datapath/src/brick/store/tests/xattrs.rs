//! Xattrs: what clients see and set, virtual keys, arithmetic.

use super::super::testing::{Brick, Who, fresh_gfid};
use super::super::*;
use crate::wire::Value;

fn get(brick: &Brick, gfid: Gfid, name: &str) -> FsResult<String> {
    let got = brick
        .store()
        .getxattr(&Who::root().call(), Target::Gfid(gfid), Some(name.as_bytes()))?;
    let bytes = got.dict.get(name).unwrap().as_bytes().unwrap();
    assert_eq!(bytes.len(), got.size);
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn names_have_their_rules() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let key = String::from_utf8(gfid2path::xattr_of(Gfid::ROOT, b"f").0).unwrap();
    for hidden in ["trusted.gfid", "trusted.glusterfs.volume-id", key.as_str(), "user.none"] {
        assert_eq!(get(&brick, gfid, hidden), Err(Errno::ENODATA), "{hidden}");
    }
    let set = |key: &str, value: Value, flags| {
        let pairs = Dict::new().with(key.to_owned(), value);
        brick
            .store()
            .setxattr(&Who::root().call(), Target::Gfid(gfid), &pairs, flags)
    };
    let sixteen = || Value::ptr(vec![1; 16]);
    assert_eq!(set("trusted.gfid", sixteen(), 0).unwrap_err(), Errno::EPERM);
    assert_eq!(
        set("trusted.glusterfs.volume-id", sixteen(), 0).unwrap_err(),
        Errno::EPERM
    );
    assert_eq!(set(&key, sixteen(), 0).unwrap_err(), Errno::EOPNOTSUPP);
    assert_eq!(set("glusterfs.whatever", sixteen(), 0).unwrap_err(), Errno::EOPNOTSUPP);
    assert_eq!(
        set("trusted.glusterfs.mdata", Value::ptr(vec![1; 12]), 0).unwrap_err(),
        Errno::EINVAL
    );
    assert_eq!(set("set-ctime-mdata", sixteen(), 0).unwrap_err(), Errno::EINVAL);
    let reply = set("user.a", Value::ptr(&b"1"[..]), 0).unwrap();
    assert!(reply.contains("virt-gf-prestat") && reply.contains("virt-gf-poststat"));
    assert_eq!(set("user.a", Value::ptr(&b"2"[..]), 1).unwrap_err(), Errno::EEXIST);
    assert_eq!(set("user.b", Value::ptr(&b"2"[..]), 2).unwrap_err(), Errno::ENODATA);
    assert_eq!(get(&brick, gfid, "user.a").unwrap(), "1");
    let all = |who: Who| brick.store().getxattr(&who.call(), Target::Gfid(gfid), None).unwrap();
    let shown = all(Who::root());
    assert_eq!(
        shown.dict.len(),
        1,
        "the times are not for applications: {:?}",
        shown.dict
    );
    assert_eq!(shown.size, "user.a".len() + 1);
    let shown = all(Who::internal());
    assert_eq!(shown.dict.len(), 2, "heal copies them: {:?}", shown.dict);
    assert_eq!(shown.size, "user.a".len() + "trusted.glusterfs.mdata".len() + 2);
    let remove = |name: &[u8]| brick.store().removexattr(&Who::root().call(), Target::Gfid(gfid), name);
    assert_eq!(remove(b"trusted.gfid").unwrap_err(), Errno::EPERM);
    remove(b"user.a").unwrap();
    assert_eq!(remove(b"user.a").unwrap_err(), Errno::ENODATA);
    set("user.a", Value::ptr(&b"1"[..]), 0).unwrap();
    set("user.b", Value::ptr(&b"1"[..]), 0).unwrap();
    let many = Who::root()
        .with("user.a", Value::ptr(&b""[..]))
        .with("user.b", Value::ptr(&b""[..]));
    brick
        .store()
        .removexattr(&many.call(), Target::Gfid(gfid), b"")
        .unwrap();
    assert_eq!(get(&brick, gfid, "user.b"), Err(Errno::ENODATA));
}

#[test]
fn labels_of_clients_do_not_label_the_bricks_files() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let label = Dict::new().with("security.selinux", Value::ptr(&b"label"[..]));
    brick
        .store()
        .setxattr(&Who::root().call(), Target::Gfid(gfid), &label, 0)
        .unwrap();
    assert_eq!(brick.xattr("f", "trusted.glusterfs.selinux").unwrap(), b"label");
    assert_eq!(get(&brick, gfid, "security.selinux").unwrap(), "label");
    let all = brick
        .store()
        .getxattr(&Who::root().call(), Target::Gfid(gfid), None)
        .unwrap();
    assert!(!all.dict.contains("trusted.glusterfs.selinux"));
}

#[test]
fn mdata_is_merged_not_replaced() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let before = brick.lookup_gfid(gfid).unwrap();
    let sent = Times {
        ctime: (before.ctime + 50, 1),
        mtime: (5, 5),
        atime: (before.atime, before.atime_nsec),
    };
    let pairs = Dict::new().with("trusted.glusterfs.mdata", Value::ptr(sent.encode().to_vec()));
    brick
        .store()
        .setxattr(&Who::root().flags(0).call(), Target::Gfid(gfid), &pairs, 0)
        .unwrap();
    let after = brick.lookup_gfid(gfid).unwrap();
    assert_eq!((after.ctime, after.mtime), (before.ctime + 50, before.mtime));
}

#[test]
fn virtual_keys() {
    let brick = Brick::new();
    let node = Gfid([0x11; 16]);
    let options = Options {
        hostname: "worker1".into(),
        node_uuid: node,
        ..Options::default()
    };
    brick.store().set_options(options.clone()).unwrap();
    let dir = brick.dir_in(Gfid::ROOT, "Dir");
    let gfid = brick.file_in(dir, "File");
    brick
        .store()
        .link(&Who::root().call(), gfid, Gfid::ROOT, b"other")
        .unwrap();
    let root = brick.path().display();
    assert_eq!(get(&brick, gfid, "glusterfs.gfid2path").unwrap(), "/Dir/File:/other");
    assert_eq!(get(&brick, dir, "glusterfs.gfid2path").unwrap(), "/Dir");
    assert_eq!(get(&brick, dir, "glusterfs.ancestry.path").unwrap(), "/Dir");
    assert_eq!(get(&brick, gfid, "glusterfs.ancestry.path"), Err(Errno::ENODATA));
    let path = get(&brick, dir, "trusted.glusterfs.pathinfo").unwrap();
    assert_eq!(path, format!("<POSIX({root}):worker1:{root}/Dir>"));
    assert_eq!(
        get(&brick, gfid, "trusted.glusterfs.node-uuid").unwrap(),
        node.to_string()
    );
    brick
        .store()
        .set_options(Options {
            node_uuid_pathinfo: true,
            ..options
        })
        .unwrap();
    let path = get(&brick, gfid, "glusterfs.pathinfo").unwrap();
    assert_eq!(path, format!("<POSIX({root}):{node}:{root}/Dir/File>"));
    let open = brick
        .store()
        .open_file(&Who::root().call(), gfid, libc::O_RDONLY)
        .unwrap();
    let count = || {
        let got = brick.store().getxattr(
            &Who::root().call(),
            Target::Gfid(gfid),
            Some(b"glusterfs.open-fd-count"),
        );
        got.unwrap().dict.get("glusterfs.open-fd-count").cloned()
    };
    assert_eq!(count(), Some(Value::Uint(1)));
    drop(open);
    assert_eq!(count(), Some(Value::Uint(0)));
    assert_eq!(get(&brick, dir, "glusterfs.get_real_filename:fILE").unwrap(), "File");
    assert_eq!(get(&brick, dir, "glusterfs.get_real_filename:none"), Err(Errno::ENOENT));
    assert_eq!(get(&brick, gfid, "glusterfs.get_real_filename:x"), Err(Errno::ENOTDIR));
}

fn xattrop(brick: &Brick, gfid: Gfid, operation: u32, value: &[u8]) -> FsResult<Option<Vec<u8>>> {
    let pairs = Dict::new().with("trusted.afr.dirty", Value::ptr(value.to_vec()));
    let reply = brick
        .store()
        .xattrop(&Who::root().call(), Target::Gfid(gfid), operation, &pairs)?;
    Ok(reply.get_bytes("trusted.afr.dirty").map(<[u8]>::to_vec))
}

#[test]
fn the_change_log_is_added_to() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let before = brick.lookup_gfid(gfid).unwrap();
    let one = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    let minus = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        xattrop(&brick, gfid, op::ADD_ARRAY, &[0; 12]).unwrap(),
        Some(vec![0; 12])
    );
    assert!(brick.xattr("f", "trusted.afr.dirty").is_none(), "zeros only read");
    assert_eq!(xattrop(&brick, gfid, op::ADD_ARRAY, &one).unwrap(), Some(one.to_vec()));
    assert_eq!(
        xattrop(&brick, gfid, op::ADD_ARRAY, &minus).unwrap().unwrap(),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    );
    assert_eq!(brick.xattr("f", "trusted.afr.dirty").unwrap()[11], 2);
    assert_eq!(
        xattrop(&brick, gfid, op::GET_AND_SET, &[9; 12]).unwrap().unwrap()[11],
        2
    );
    assert_eq!(brick.xattr("f", "trusted.afr.dirty").unwrap(), [9; 12]);
    for (operation, value) in [
        (2, &one[..]),
        (3, &one),
        (op::ADD_ARRAY, &one[..3]),
        (op::ADD_ARRAY64, &one),
        (99, &one),
    ] {
        assert_eq!(xattrop(&brick, gfid, operation, value).unwrap_err(), Errno::EINVAL);
    }
    assert_eq!(
        xattrop(&brick, gfid, op::ADD_ARRAY, &one[..4]).unwrap_err(),
        Errno::ERANGE
    );
    assert_eq!(
        xattrop(&brick, fresh_gfid(), op::ADD_ARRAY, &one).unwrap_err(),
        Errno::ESTALE
    );
    assert_eq!(brick.lookup_gfid(gfid).unwrap(), before, "no time changes");
}

#[test]
fn defaults_count_only_where_nothing_is() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let value = [0, 0, 0, 1, 0, 0, 0, 10];
    assert_eq!(
        xattrop(&brick, gfid, op::ADD_ARRAY_WITH_DEFAULT, &value)
            .unwrap()
            .unwrap(),
        [0, 0, 0, 11]
    );
    assert_eq!(
        xattrop(&brick, gfid, op::ADD_ARRAY_WITH_DEFAULT, &value)
            .unwrap()
            .unwrap(),
        [0, 0, 0, 12]
    );
    assert_eq!(
        xattrop(&brick, gfid, op::GET_AND_SET, &[1; 8]).unwrap().unwrap(),
        [0, 0, 0, 12]
    );
    let dir = brick.dir_in(Gfid::ROOT, "d");
    assert_eq!(xattrop(&brick, dir, op::GET_AND_SET, &[1; 8]).unwrap(), None);
    assert_eq!(
        xattrop(&brick, dir, op::ADD_ARRAY64, &[0xff; 8]).unwrap().unwrap(),
        [1, 1, 1, 1, 1, 1, 1, 0]
    );
}
