//! The second half of the comparison's requests: attributes, counters, locks, listings, removal.

use super::script::{NO, STAMP, Script, afr_asks, lookup, name};
use super::*;

pub(super) async fn attributes(s: &mut Script<'_>) {
    let stbuf = Iatt {
        mode: 0o600,
        uid: 5,
        gid: 6,
        ..Iatt::default()
    };
    let valid = setattr::MODE | setattr::UID | setattr::GID;
    s.run(
        "mode and owner",
        1,
        SetattrReq {
            gfid: gfid(1),
            stbuf,
            valid,
            xdata: NO,
        },
    )
    .await;
    let t = STAMP as i64 + 500;
    let stbuf = Iatt {
        atime: t,
        mtime: t + 1,
        ..Iatt::default()
    };
    let valid = setattr::ATIME | setattr::MTIME;
    s.run(
        "times",
        1,
        FsetattrReq {
            gfid: gfid(1),
            fd: 0,
            stbuf,
            valid,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "unknown",
        1,
        SetattrReq {
            gfid: gfid(9),
            stbuf,
            valid,
            xdata: NO,
        },
    )
    .await;
    let dict = |k: &'static str| Dict::new().with(k, Value::ptr(&b"value"[..]));
    let set = |k, flags| SetxattrReq {
        gfid: gfid(1),
        flags,
        dict: dict(k),
        xdata: NO,
    };
    s.run("user.x", 1, set("user.x", 0)).await;
    s.run("user.x create", 1, set("user.x", 1)).await;
    s.run("user.none replace", 1, set("user.none", 2)).await;
    s.run(
        "user.y by fd",
        1,
        FsetxattrReq {
            gfid: gfid(1),
            fd: 0,
            flags: 0,
            dict: dict("user.y"),
            xdata: NO,
        },
    )
    .await;
    for key in [
        "trusted.gfid",
        "trusted.glusterfs.volume-id",
        "trusted.gfid2path.0",
        "glusterfs.unknown",
    ] {
        s.run(key, 1, set(key, 0)).await;
    }
    let get = |key| GetxattrReq {
        gfid: gfid(1),
        namelen: 1,
        name: name(key),
        xdata: NO,
    };
    for key in [
        "user.x",
        "user.none",
        "trusted.gfid",
        "trusted.glusterfs.mdata",
        "glusterfs.gfid.string",
        "glusterfs.gfid2path",
        "glusterfs.open-fd-count",
        "system.posix_acl_access",
        "glusterfs.xattrop_index_count",
    ] {
        s.run(key, 0, get(key)).await;
    }
    s.run(
        "all",
        0,
        GetxattrReq {
            gfid: gfid(1),
            namelen: 0,
            name: Bytes::new(),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "user.x",
        0,
        FgetxattrReq {
            gfid: gfid(1),
            fd: 0,
            namelen: 1,
            name: name("user.x"),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "user.x",
        1,
        RemovexattrReq {
            gfid: gfid(1),
            name: name("user.x"),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "user.x again",
        1,
        RemovexattrReq {
            gfid: gfid(1),
            name: name("user.x"),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "user.y",
        1,
        FremovexattrReq {
            gfid: gfid(1),
            fd: 0,
            name: name("user.y"),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "trusted.gfid",
        1,
        RemovexattrReq {
            gfid: gfid(1),
            name: name("trusted.gfid"),
            xdata: NO,
        },
    )
    .await;
    s.raw.cred.borrow_mut().pid = -6;
    s.run(
        "all, as the healer",
        0,
        GetxattrReq {
            gfid: gfid(1),
            namelen: 0,
            name: Bytes::new(),
            xdata: NO,
        },
    )
    .await;
    s.run("mdata, as the healer", 0, get("trusted.glusterfs.mdata")).await;
    let listed = Dict::new().with("list-xattr", Value::Int(1));
    s.run("f, as the healer", 0, lookup(Gfid::ROOT, "f", listed.clone()))
        .await;
    s.raw.cred.borrow_mut().pid = 4242;
    s.run("f, list-xattr", 0, lookup(Gfid::ROOT, "f", listed)).await;
    for mask in [4, 2, 1, 7, 0] {
        s.run(
            &format!("{mask}"),
            0,
            AccessReq {
                gfid: gfid(1),
                mask,
                xdata: NO,
            },
        )
        .await;
    }
    {
        let mut cred = s.raw.cred.borrow_mut();
        (cred.uid, cred.gid) = (1000, 1000);
    }
    for mask in [4, 2, 1, 0] {
        s.run(
            &format!("{mask} as 1000"),
            0,
            AccessReq {
                gfid: gfid(1),
                mask,
                xdata: NO,
            },
        )
        .await;
    }
    s.run(
        "as 1000",
        0,
        OpenReq {
            gfid: gfid(1),
            flags: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "as 1000",
        1,
        SetattrReq {
            gfid: gfid(1),
            stbuf,
            valid: setattr::MODE,
            xdata: NO,
        },
    )
    .await;
    let mkdir = MkdirReq {
        pargfid: Gfid::ROOT,
        mode: 0o755,
        umask: 0,
        bname: name("u"),
        xdata: gfid_req(gfid(30)),
    };
    s.run("as 1000", 31, mkdir).await;
    {
        let mut cred = s.raw.cred.borrow_mut();
        (cred.uid, cred.gid) = (0, 0);
    }
}

fn counters(n: u32) -> Value {
    let bytes: Vec<u8> = [n, 0, 0].iter().flat_map(|n| n.to_be_bytes()).collect();
    Value::ptr(bytes)
}

pub(super) async fn counters_and_index(s: &mut Script<'_>) {
    let ops = |flags, dict| XattropReq {
        gfid: gfid(1),
        flags,
        dict,
        xdata: NO,
    };
    let dirty = |n| {
        Dict::new()
            .with("trusted.afr.dirty", counters(n))
            .with("trusted.afr.vol-client-1", counters(0))
    };
    s.run("pre-op", 3, ops(0, dirty(1))).await;
    s.run("read", 0, ops(0, dirty(0))).await;
    s.run(
        "post-op",
        0,
        FxattropReq {
            gfid: gfid(1),
            fd: 0,
            flags: 0,
            dict: dirty(u32::MAX),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "blame",
        0,
        ops(0, Dict::new().with("trusted.afr.vol-client-1", counters(1))),
    )
    .await;
    s.run(
        "root",
        0,
        LookupReq {
            gfid: Gfid::ROOT,
            xdata: afr_asks(),
            ..LookupReq::default()
        },
    )
    .await;
    s.run("f", 0, lookup(Gfid::ROOT, "f", afr_asks())).await;
    s.run(
        "get and set",
        0,
        ops(4, Dict::new().with("trusted.afr.vol-client-1", counters(0))),
    )
    .await;
    s.run(
        "or",
        0,
        ops(2, Dict::new().with("trusted.afr.vol-client-1", counters(1))),
    )
    .await;
    s.run(
        "unknown",
        0,
        XattropReq {
            gfid: gfid(9),
            ..ops(0, dirty(1))
        },
    )
    .await;
    let index = GetxattrReq {
        gfid: Gfid::ROOT,
        namelen: 1,
        name: name("glusterfs.xattrop_index_gfid"),
        xdata: NO,
    };
    let dir = s
        .raw
        .fop(&index)
        .await
        .unwrap()
        .dict
        .get_gfid("glusterfs.xattrop_index_gfid")
        .unwrap();
    let asked = Dict::new().with("glusterfs.index-ia-type-get-req", Value::Int(1));
    let found = s.raw.lookup_gfid(dir, asked).await.unwrap();
    let seen = Iatt {
        gfid: Gfid::NULL,
        ..found.prestat
    };
    s.trace.push((
        "LOOKUP of the index".into(),
        format!("{} {}", dict(&found.xdata), iatt(&seen)),
    ));
    let fd = s.raw.fop(&OpendirReq { gfid: dir, xdata: NO }).await.unwrap().fd;
    let typed = Dict::new().with("get-gfid-type", Value::Int(1));
    s.run(
        "index",
        0,
        ReaddirReq {
            gfid: dir,
            fd,
            offset: 0,
            size: 131072,
            xdata: typed,
        },
    )
    .await;
    s.run(
        "index",
        0,
        ReleasedirReq {
            gfid: dir,
            fd,
            xdata: Dict::new(),
        },
    )
    .await;
}

pub(super) async fn locks(s: &mut Script<'_>) {
    let flock = |kind, start, len| Flock {
        kind,
        start,
        len,
        pid: 7,
        lk_owner: name("ownerAAA"),
        ..Flock::default()
    };
    let inode = |cmd, kind, start, len| InodelkReq {
        gfid: gfid(1),
        cmd,
        kind,
        flock: Flock {
            lk_owner: Bytes::new(),
            pid: 0,
            ..flock(kind, start, len)
        },
        volume: name("vol-replicate-0"),
        xdata: NO,
    };
    s.run("take", 0, inode(1, 1, 0, 0)).await;
    s.run("nested", 0, inode(1, 1, 0, 0)).await;
    s.raw.become_owner(b"ownerBBB");
    s.run("other owner", 0, inode(1, 1, 5, 5)).await;
    s.run("metadata", 0, inode(1, 1, 0x7fff_ffff_ffff_fffe, 0)).await;
    s.run("f", 0, lookup(Gfid::ROOT, "f", afr_asks())).await;
    s.run("unlock of another's", 0, inode(1, 2, 0, 0)).await;
    s.raw.become_owner(b"ownerAAA");
    s.run("unlock, wrong range", 0, inode(1, 2, 0, 9)).await;
    s.run("unlock", 0, inode(1, 2, 0, 0)).await;
    s.run("unlock nested", 0, inode(1, 2, 0, 0)).await;
    s.run("unlock too much", 0, inode(1, 2, 0, 0)).await;
    s.run("query", 0, inode(0, 1, 0, 0)).await;
    s.run(
        "of nothing",
        0,
        InodelkReq {
            gfid: gfid(9),
            ..inode(1, 1, 0, 0)
        },
    )
    .await;
    let entry = |cmd, kind, n: &'static str| EntrylkReq {
        gfid: gfid(2),
        cmd,
        kind,
        namelen: u64::from(!n.is_empty()),
        name: name(n),
        volume: name("vol-replicate-0"),
        xdata: NO,
    };
    s.run("name", 0, entry(2, 1, "n")).await;
    s.raw.become_owner(b"ownerBBB");
    s.run("same name", 0, entry(2, 1, "n")).await;
    s.run("other name", 0, entry(2, 1, "m")).await;
    s.run("directory", 0, entry(2, 1, "")).await;
    s.run("held name", 0, lookup(gfid(2), "hard", afr_asks())).await;
    s.run("unlock other type", 0, entry(1, 0, "m")).await;
    s.run("unlock", 0, entry(1, 1, "m")).await;
    s.raw.become_owner(b"ownerAAA");
    s.run("unlock", 0, entry(1, 1, "n")).await;
    let lk = |cmd, kind, start, len| LkReq {
        gfid: gfid(1),
        fd: 0,
        cmd,
        kind,
        flock: flock(kind, start, len),
        xdata: NO,
    };
    s.run("take", 0, lk(1, 1, 10, 20)).await;
    s.run("own query", 0, lk(0, 1, 0, 0)).await;
    s.raw.become_owner(b"ownerBBB");
    let other = |cmd, kind| {
        let req = lk(cmd, kind, 0, 0);
        LkReq {
            flock: Flock {
                lk_owner: name("ownerBBB"),
                ..req.flock.clone()
            },
            ..req
        }
    };
    s.run("other query", 0, other(0, 1)).await;
    s.run("other take", 0, other(1, 1)).await;
    s.run("other unlock", 0, other(1, 2)).await;
    s.raw.become_owner(b"ownerAAA");
    s.run("split", 0, lk(1, 2, 15, 5)).await;
    s.run(
        "f",
        0,
        GetactivelkReq {
            gfid: gfid(1),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "drop all",
        0,
        FlushReq {
            gfid: gfid(1),
            fd: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "f",
        0,
        GetactivelkReq {
            gfid: gfid(1),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "off",
        0,
        LeaseReq {
            gfid: gfid(1),
            ..LeaseReq::default()
        },
    )
    .await;
    s.run("off", 0, IpcReq::default()).await;
}

pub(super) async fn listings_and_removal(s: &mut Script<'_>) {
    let opened = s
        .run(
            "d",
            0,
            OpendirReq {
                gfid: gfid(2),
                xdata: NO,
            },
        )
        .await;
    let fd = opened.fd;
    s.run(
        "a file",
        0,
        OpendirReq {
            gfid: gfid(1),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "unknown",
        0,
        OpendirReq {
            gfid: gfid(9),
            xdata: NO,
        },
    )
    .await;
    let list = |size| ReaddirReq {
        gfid: gfid(2),
        fd,
        offset: 0,
        size,
        xdata: NO,
    };
    let page = s.run("all", 0, list(131072)).await;
    let offset = page.entries.last().map_or(0, |e| e.d_off);
    s.run("end", 0, ReaddirReq { offset, ..list(131072) }).await;
    s.run(
        "all",
        0,
        ReaddirpReq {
            gfid: gfid(2),
            fd,
            offset: 0,
            size: 131072,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "root",
        0,
        ReaddirpReq {
            gfid: Gfid::ROOT,
            fd: -2,
            offset: 0,
            size: 131072,
            xdata: NO,
        },
    )
    .await;
    s.run("bad fd", 0, ReaddirReq { fd: 44, ..list(100) }).await;
    s.run(
        "d",
        0,
        FsyncdirReq {
            gfid: gfid(2),
            fd,
            data: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "d",
        0,
        ReleasedirReq {
            gfid: gfid(2),
            fd,
            xdata: Dict::new(),
        },
    )
    .await;
    let rename = |from, to| RenameReq {
        oldpargfid: Gfid::ROOT,
        newpargfid: gfid(2),
        oldbname: name(from),
        newbname: name(to),
        xdata: NO,
    };
    s.run("f", 25, rename("f", "moved")).await;
    s.run("f again", 25, rename("f", "moved")).await;
    s.run("directory into itself", 25, rename("d", "d")).await;
    let rmdir = |bname| RmdirReq {
        pargfid: Gfid::ROOT,
        xflags: 0,
        bname: name(bname),
        xdata: Dict::new(),
    };
    s.run("not empty", 25, rmdir("d")).await;
    s.run("nothing", 25, rmdir("none")).await;
    for entry in ["sl", "p", "c", "hard", "moved", "moved"] {
        let req = UnlinkReq {
            pargfid: gfid(2),
            bname: name(entry),
            xflags: 0,
            xdata: Dict::new(),
        };
        s.run(entry, 25, req).await;
    }
    s.run(
        "open but unlinked",
        0,
        FstatReq {
            gfid: gfid(1),
            fd: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "unlinked",
        0,
        StatReq {
            gfid: gfid(1),
            xdata: NO,
        },
    )
    .await;
    s.write("unlinked", 0, 0, b"still", 0, NO).await;
    s.read("unlinked", 0, 0, 5).await;
    s.run(
        "of unlinked",
        0,
        XattropReq {
            gfid: gfid(1),
            flags: 0,
            dict: Dict::new().with("trusted.afr.dirty", counters(0)),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "f",
        0,
        ReleaseReq {
            gfid: gfid(1),
            fd: 0,
            xdata: Dict::new(),
        },
    )
    .await;
    s.run(
        "closed",
        0,
        FstatReq {
            gfid: gfid(1),
            fd: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "gone",
        0,
        StatReq {
            gfid: gfid(1),
            xdata: NO,
        },
    )
    .await;
    s.run("d", 25, rmdir("d")).await;
}
