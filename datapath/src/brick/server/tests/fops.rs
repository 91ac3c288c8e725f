//! Every fop at least once, with its errors, as a client of a replicate volume uses it.

use super::*;
use crate::wire::fop::{
    ANONYMOUS_FD, AccessReq, FgetxattrReq, FremovexattrReq, FsetattrReq, FsetxattrReq, FstatReq, FsyncdirReq,
    GetxattrReq, IcreateReq, IpcReq, LeaseReq, LinkReq, MknodReq, NamelinkReq, OpenReq, OpendirReq, ReaddirReq,
    ReaddirpReq, ReadlinkReq, ReleaseReq, ReleasedirReq, RemovexattrReq, RenameReq, RmdirReq, SetactivelkReq,
    SetattrReq, SetxattrReq, StatReq, StatfsReq, SymlinkReq, UnlinkReq,
};
use crate::wire::{Iatt, flags::setattr};

const NO: Dict = Dict::null();

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn lookups_and_their_errors() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let root = a.lookup_gfid(Gfid::ROOT, NO).await.unwrap();
        assert_eq!(
            (root.prestat.gfid, root.prestat.ino, root.prestat.flags),
            (Gfid::ROOT, 1, Iatt::VALID)
        );
        assert_eq!(root.poststat, Iatt::default());
        a.create("f", gfid(1)).await;
        let found = a.lookup("f").await.unwrap();
        assert_eq!(
            (found.prestat.gfid, found.prestat.nlink, found.poststat.gfid),
            (gfid(1), 1, Gfid::ROOT)
        );
        assert_eq!(errno(a.lookup("none").await), Errno::ENOENT);
        assert_eq!(errno(a.lookup_gfid(gfid(9), NO).await), Errno::ENOENT);
        assert_eq!(errno(a.lookup_gfid(Gfid::NULL, NO).await), Errno::EINVAL);
        let below = LookupReq {
            pargfid: gfid(9),
            bname: name("x"),
            ..LookupReq::default()
        };
        assert_eq!(errno(a.fop(&below).await), Errno::ESTALE);
        let slash = LookupReq {
            pargfid: Gfid::ROOT,
            bname: name("a/b"),
            ..LookupReq::default()
        };
        assert_eq!(errno(a.fop(&slash).await), Errno::EINVAL);
        assert_eq!(errno(a.lookup(".glusterfs").await), Errno::EPERM);
        let fd = a.create("g", gfid(2)).await.fd as i64;
        a.write(gfid(2), fd, 0, b"hello").await.unwrap();
        let content = Dict::new().with("glusterfs.content", Value::Uint(65536));
        let found = a.lookup_gfid(gfid(2), content).await.unwrap();
        assert_eq!(found.xdata.get_bytes("glusterfs.content"), Some(&b"hello"[..]));
    });
}

#[test]
fn stat_access_statfs_readlink() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        assert_eq!(
            a.fop(&StatReq {
                gfid: Gfid::ROOT,
                xdata: NO
            })
            .await
            .unwrap()
            .stat
            .mode
                & 0o170000,
            0o040000
        );
        assert_eq!(
            errno(
                a.fop(&StatReq {
                    gfid: gfid(9),
                    xdata: NO
                })
                .await
            ),
            Errno::ESTALE
        );
        assert_eq!(
            errno(
                a.fop(&StatReq {
                    gfid: Gfid::NULL,
                    xdata: NO
                })
                .await
            ),
            Errno::EINVAL
        );
        let statfs = a
            .fop(&StatfsReq {
                gfid: Gfid::ROOT,
                xdata: NO,
            })
            .await
            .unwrap()
            .statfs;
        assert!(statfs.blocks > 0 && statfs.bsize > 0 && statfs.namemax == 255);

        let fd = a.create("f", gfid(1)).await.fd as i64;
        assert_eq!(
            a.fop(&FstatReq {
                gfid: gfid(1),
                fd,
                xdata: NO
            })
            .await
            .unwrap()
            .stat
            .gfid,
            gfid(1)
        );
        let anonymous = FstatReq {
            gfid: gfid(1),
            fd: ANONYMOUS_FD,
            xdata: NO,
        };
        assert_eq!(a.fop(&anonymous).await.unwrap().stat.gfid, gfid(1));
        for bad in [-1, 77] {
            assert_eq!(
                errno(
                    a.fop(&FstatReq {
                        gfid: gfid(1),
                        fd: bad,
                        xdata: NO
                    })
                    .await
                ),
                Errno::EBADF
            );
        }

        assert!(
            a.fop(&AccessReq {
                gfid: gfid(1),
                mask: 4,
                xdata: NO
            })
            .await
            .is_ok()
        );
        {
            let mut cred = a.cred.borrow_mut();
            (cred.uid, cred.gid) = (1000, 1000);
        }
        assert!(
            a.fop(&AccessReq {
                gfid: gfid(1),
                mask: 4,
                xdata: NO
            })
            .await
            .is_ok()
        );
        assert_eq!(
            errno(
                a.fop(&AccessReq {
                    gfid: gfid(1),
                    mask: 2,
                    xdata: NO
                })
                .await
            ),
            Errno::EACCES
        );
        a.cred.borrow_mut().pid = 1;
        let nfs = a
            .fop(&AccessReq {
                gfid: gfid(1),
                mask: 7,
                xdata: NO,
            })
            .await
            .unwrap();
        assert_eq!(
            (nfs.op_ret, nfs.op_errno),
            (0, 4),
            "an NFS server gets the granted bits"
        );
    });
}

#[test]
fn names_are_made_moved_and_removed() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        // Newest wins: the stamp has to be later than the root's own times.
        a.stamp(31, 4_000_000_000);
        let made = a.mkdir("d", gfid(1)).await;
        assert_eq!(
            (made.stat.gfid, made.stat.mode, made.postparent.gfid),
            (gfid(1), 0o40755, Gfid::ROOT)
        );
        assert_eq!(
            (made.stat.mtime, made.postparent.mtime),
            (4_000_000_000, 4_000_000_000),
            "the client's stamp is stored"
        );
        let again = MkdirReq {
            pargfid: Gfid::ROOT,
            bname: name("d"),
            xdata: gfid_req(gfid(2)),
            ..MkdirReq::default()
        };
        assert_eq!(errno(a.fop(&again).await), Errno::EEXIST);
        let bare = MkdirReq {
            pargfid: Gfid::ROOT,
            bname: name("e"),
            ..MkdirReq::default()
        };
        assert_eq!(errno(a.fop(&bare).await), Errno::EINVAL, "without gfid-req");
        let fifo = MknodReq {
            pargfid: gfid(1),
            mode: 0o010600,
            bname: name("fifo"),
            xdata: gfid_req(gfid(3)),
            ..MknodReq::default()
        };
        assert_eq!(a.fop(&fifo).await.unwrap().stat.mode, 0o010600);
        let link = SymlinkReq {
            pargfid: gfid(1),
            bname: name("sl"),
            umask: 0,
            linkname: name("target"),
            xdata: gfid_req(gfid(4)),
        };
        assert_eq!(a.fop(&link).await.unwrap().stat.file_type(), libc::S_IFLNK);
        let text = a
            .fop(&ReadlinkReq {
                gfid: gfid(4),
                size: 4096,
                xdata: NO,
            })
            .await
            .unwrap();
        assert_eq!(
            (text.op_ret, &text.path[..], text.buf.gfid),
            (6, &b"target"[..], gfid(4))
        );
        assert_eq!(
            errno(
                a.fop(&ReadlinkReq {
                    gfid: gfid(1),
                    size: 9,
                    xdata: NO
                })
                .await
            ),
            Errno::EINVAL
        );

        let fd = a.create("f", gfid(5)).await.fd as i64;
        a.fop(&ReleaseReq {
            gfid: gfid(5),
            fd,
            xdata: NO,
        })
        .await
        .unwrap();
        let hard = LinkReq {
            oldgfid: gfid(5),
            newpargfid: gfid(1),
            newbname: name("hard"),
            xdata: NO,
        };
        assert_eq!(a.fop(&hard).await.unwrap().stat.nlink, 2);
        assert_eq!(errno(a.fop(&hard).await), Errno::EEXIST);
        let rename = RenameReq {
            oldpargfid: Gfid::ROOT,
            newpargfid: gfid(1),
            oldbname: name("f"),
            newbname: name("moved"),
            xdata: NO,
        };
        let moved = a.fop(&rename).await.unwrap();
        assert_eq!(
            (moved.stat.gfid, moved.preoldparent.gfid, moved.postnewparent.gfid),
            (gfid(5), Gfid::ROOT, gfid(1))
        );
        assert_eq!(errno(a.fop(&rename).await), Errno::ENOENT);

        let rmdir = RmdirReq {
            pargfid: Gfid::ROOT,
            xflags: 0,
            bname: name("d"),
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&rmdir).await), Errno::ENOTEMPTY);
        for entry in ["fifo", "sl", "hard", "moved"] {
            let req = UnlinkReq {
                pargfid: gfid(1),
                bname: name(entry),
                xflags: 0,
                xdata: NO,
            };
            assert_eq!(a.fop(&req).await.unwrap().poststat.gfid, gfid(1), "{entry}");
        }
        let gone = UnlinkReq {
            pargfid: gfid(1),
            bname: name("moved"),
            xflags: 0,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&gone).await), Errno::ENOENT);
        assert_eq!(a.fop(&rmdir).await.unwrap().prestat.gfid, Gfid::ROOT);
        assert_eq!(
            errno(
                a.fop(&StatReq {
                    gfid: gfid(5),
                    xdata: NO
                })
                .await
            ),
            Errno::ESTALE
        );
    });
}

#[test]
fn attributes_are_set() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let stbuf = Iatt {
            mode: 0o600,
            uid: 5,
            gid: 6,
            mtime: 77,
            mtime_nsec: 8,
            ..Iatt::default()
        };
        let valid = setattr::MODE | setattr::UID | setattr::GID | setattr::MTIME;
        let set = a
            .fop(&SetattrReq {
                gfid: gfid(1),
                stbuf,
                valid,
                xdata: NO,
            })
            .await
            .unwrap();
        assert_eq!((set.prestat.mode, set.poststat.mode), (0o100644, 0o100600));
        assert_eq!(
            (
                set.poststat.uid,
                set.poststat.gid,
                set.poststat.mtime,
                set.poststat.mtime_nsec
            ),
            (5, 6, 77, 8)
        );
        let stbuf = Iatt {
            mode: 0o640,
            ..Iatt::default()
        };
        let req = FsetattrReq {
            gfid: gfid(1),
            fd,
            stbuf,
            valid: setattr::MODE,
            xdata: NO,
        };
        assert_eq!(a.fop(&req).await.unwrap().poststat.mode, 0o100640);
        a.cred.borrow_mut().uid = 1234;
        let req = SetattrReq {
            gfid: gfid(1),
            stbuf,
            valid: setattr::MODE,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&req).await), Errno::EPERM);
    });
}

#[test]
fn xattrs_are_set_read_and_removed() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let dict = Dict::new().with("user.x", Value::ptr(&b"value"[..]));
        a.fop(&SetxattrReq {
            gfid: gfid(1),
            flags: 0,
            dict: dict.clone(),
            xdata: NO,
        })
        .await
        .unwrap();
        let again = SetxattrReq {
            gfid: gfid(1),
            flags: 1,
            dict,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&again).await), Errno::EEXIST, "XATTR_CREATE");
        let dict = Dict::new().with("user.y", Value::ptr(&b"2"[..]));
        a.fop(&FsetxattrReq {
            gfid: gfid(1),
            fd,
            flags: 0,
            dict,
            xdata: NO,
        })
        .await
        .unwrap();
        let get = |key| GetxattrReq {
            gfid: gfid(1),
            namelen: 1,
            name: name(key),
            xdata: NO,
        };
        let got = a.fop(&get("user.x")).await.unwrap();
        assert_eq!((got.op_ret, got.dict.get_bytes("user.x")), (5, Some(&b"value"[..])));
        assert_eq!(errno(a.fop(&get("user.none")).await), Errno::ENODATA);
        assert_eq!(errno(a.fop(&get("trusted.gfid")).await), Errno::ENODATA, "never shown");
        let all = FgetxattrReq {
            gfid: gfid(1),
            fd,
            namelen: 0,
            name: Bytes::new(),
            xdata: NO,
        };
        let all = a.fop(&all).await.unwrap().dict;
        assert!(all.contains("user.x") && all.contains("user.y"), "{all:?}");
        a.fop(&RemovexattrReq {
            gfid: gfid(1),
            name: name("user.x"),
            xdata: NO,
        })
        .await
        .unwrap();
        a.fop(&FremovexattrReq {
            gfid: gfid(1),
            fd,
            name: name("user.y"),
            xdata: NO,
        })
        .await
        .unwrap();
        let gone = RemovexattrReq {
            gfid: gfid(1),
            name: name("user.x"),
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&gone).await), Errno::ENODATA);
        let stolen = Dict::new().with("trusted.gfid", Value::ptr(vec![1u8; 16]));
        let req = SetxattrReq {
            gfid: gfid(1),
            flags: 0,
            dict: stolen,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&req).await), Errno::EPERM);
        let path = GetxattrReq {
            gfid: Gfid::ROOT,
            namelen: 1,
            name: name("trusted.glusterfs.pathinfo"),
            xdata: NO,
        };
        let path = a.fop(&path).await.unwrap();
        let text = path.dict.get_str("trusted.glusterfs.pathinfo").unwrap();
        assert!(text.starts_with("<POSIX(") && text.contains(":lab:"), "{text}");
    });
}

#[test]
fn directories_are_listed() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        a.create("f", gfid(1)).await;
        a.mkdir("d", gfid(2)).await;
        let fd = a
            .fop(&OpendirReq {
                gfid: Gfid::ROOT,
                xdata: NO,
            })
            .await
            .unwrap()
            .fd;
        let list = ReaddirReq {
            gfid: Gfid::ROOT,
            fd,
            offset: 0,
            size: 131072,
            xdata: NO,
        };
        let page = a.fop(&list).await.unwrap();
        let mut names: Vec<_> = page.entries.iter().map(|e| e.name.clone()).collect();
        names.sort();
        assert_eq!(names, [".", "..", "d", "f"], "without .glusterfs");
        assert_eq!((page.op_ret, page.op_errno), (4, libc::ENOENT));
        let end = ReaddirReq {
            offset: page.entries[3].d_off,
            ..list.clone()
        };
        let end = a.fop(&end).await.unwrap();
        assert_eq!((end.op_ret, end.op_errno), (0, libc::ENOENT));
        let req = ReaddirpReq {
            gfid: Gfid::ROOT,
            fd,
            offset: 0,
            size: 131072,
            xdata: NO,
        };
        let plus = a.fop(&req).await.unwrap();
        let f = plus.entries.iter().find(|e| &e.entry.name[..] == b"f").unwrap();
        assert_eq!(
            (f.stat.gfid, f.entry.d_ino, f.entry.d_type),
            (gfid(1), gfid(1).ino(), u32::from(libc::DT_REG))
        );
        let anonymous = ReaddirReq {
            fd: ANONYMOUS_FD,
            ..list.clone()
        };
        assert_eq!(a.fop(&anonymous).await.unwrap().op_ret, 4);
        let small = ReaddirReq { size: 230, ..list };
        let small = a.fop(&small).await.unwrap();
        assert_eq!((small.op_ret, small.op_errno), (1, 0), "one entry fits");
        a.fop(&FsyncdirReq {
            gfid: Gfid::ROOT,
            fd,
            data: 0,
            xdata: NO,
        })
        .await
        .unwrap();
        a.fop(&ReleasedirReq {
            gfid: Gfid::ROOT,
            fd,
            xdata: Dict::new(),
        })
        .await
        .unwrap();
        let closed = ReaddirReq {
            gfid: Gfid::ROOT,
            fd,
            offset: 0,
            size: 1000,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&closed).await), Errno::EBADF);
        assert_eq!(
            errno(
                a.fop(&OpendirReq {
                    gfid: gfid(1),
                    xdata: NO
                })
                .await
            ),
            Errno::ENOTDIR
        );
        assert_eq!(
            errno(
                a.fop(&OpendirReq {
                    gfid: gfid(9),
                    xdata: NO
                })
                .await
            ),
            Errno::ESTALE
        );
        let file = a
            .fop(&OpenReq {
                gfid: gfid(1),
                flags: 0,
                xdata: NO,
            })
            .await
            .unwrap()
            .fd;
        let req = ReaddirReq {
            gfid: gfid(1),
            fd: file,
            offset: 0,
            size: 1000,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&req).await), Errno::ENOTDIR);
    });
}

#[test]
fn open_and_release() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        a.create("f", gfid(1)).await;
        assert_eq!(
            errno(
                a.fop(&OpenReq {
                    gfid: gfid(9),
                    flags: 0,
                    xdata: NO
                })
                .await
            ),
            Errno::ESTALE
        );
        assert_eq!(
            errno(
                a.fop(&OpenReq {
                    gfid: Gfid::ROOT,
                    flags: 0,
                    xdata: NO
                })
                .await
            ),
            Errno::EISDIR
        );
        let excl = CreateReq {
            pargfid: Gfid::ROOT,
            flags: flags::open::RDWR | flags::open::CREAT | flags::open::EXCL,
            mode: 0o100644,
            umask: 0,
            bname: name("f"),
            xdata: gfid_req(gfid(2)),
        };
        assert_eq!(errno(a.fop(&excl).await), Errno::EEXIST);
        let open = OpenReq {
            gfid: gfid(1),
            flags: 0,
            xdata: NO,
        };
        let fd = a.fop(&open).await.unwrap().fd;
        let rsp = a
            .fop(&ReleaseReq {
                gfid: gfid(1),
                fd,
                xdata: Dict::new(),
            })
            .await
            .unwrap();
        assert_eq!((rsp.op_ret, rsp.xdata), (0, Dict::new()));
        assert!(
            a.fop(&ReleaseReq {
                gfid: gfid(1),
                fd,
                xdata: Dict::new()
            })
            .await
            .is_ok(),
            "as 10.3"
        );
        {
            let mut cred = a.cred.borrow_mut();
            (cred.uid, cred.gid) = (1000, 1000);
        }
        let denied = OpenReq {
            gfid: gfid(1),
            flags: 2,
            xdata: NO,
        };
        assert_eq!(errno(a.fop(&denied).await), Errno::EACCES);
    });
}

#[test]
fn features_that_are_off_say_so() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        assert_eq!(errno(a.fop(&LeaseReq::default()).await), Errno::ENOSYS);
        assert_eq!(errno(a.fop(&IpcReq::default()).await), Errno::EOPNOTSUPP);
        assert_eq!(errno(a.fop(&SetactivelkReq::default()).await), Errno::EOPNOTSUPP);
        assert_eq!(errno(a.fop(&IcreateReq::default()).await), Errno::EOPNOTSUPP);
        assert_eq!(errno(a.fop(&NamelinkReq::default()).await), Errno::EOPNOTSUPP);
    });
}
