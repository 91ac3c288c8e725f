//! The comparison's requests made for several people: who may do what where.

use super::script::{NO, Script};
use super::*;

/// Steps whose replies differ from 10.3's on purpose, and why.
pub(super) const DELIBERATE: &[(&str, &str)] = &[];

/// Name, uid, gid, supplementary groups, process id.
type Person = (&'static str, u32, u32, &'static [u32], i32);

const PEOPLE: [Person; 5] = [
    ("root", 0, 0, &[], 100),
    ("owner", 1001, 1001, &[], 100),
    ("member", 1002, 1002, &[7, 500], 100),
    ("stranger", 1003, 1003, &[], 100),
    ("healer", 1003, 1003, &[], -6),
];

/// Directories: name, mode, owner, group.
const PLACES: [(&str, u32, u32, u32); 6] = [
    ("public", 0o777, 0, 0),
    ("private", 0o700, 1001, 1001),
    ("team", 0o770, 0, 500),
    ("listed", 0o755, 1001, 500),
    ("sticky", 0o1777, 0, 0),
    ("inheriting", 0o2777, 0, 500),
];

/// Files in each directory: name, mode, owner, group.
const FILES: [(&str, u32, u32, u32); 5] = [
    ("a", 0o644, 1001, 1001),
    ("b", 0o600, 1001, 500),
    ("c", 0o660, 0, 500),
    ("d", 0o066, 1001, 500),
    ("e", 0o644, 1002, 1002),
];

struct Names<'s, 'r> {
    s: &'s mut Script<'r>,
    next: u16,
}

impl Names<'_, '_> {
    fn fresh(&mut self) -> Gfid {
        self.next += 1;
        let mut bytes = [0x55; 16];
        bytes[..2].copy_from_slice(&self.next.to_be_bytes());
        bytes[14..].copy_from_slice(&self.next.to_be_bytes());
        bytes[6] = 0x40;
        Gfid(bytes)
    }

    fn become_person(&self, (_, uid, gid, groups, pid): Person) {
        let mut cred = self.s.raw.cred.borrow_mut();
        (cred.uid, cred.gid, cred.pid) = (uid, gid, pid);
        cred.groups = groups.to_vec();
    }

    async fn own(&mut self, gfid: Gfid, mode: u32, uid: u32, gid: u32) {
        let stbuf = Iatt {
            mode,
            uid,
            gid,
            ..Iatt::default()
        };
        let valid = setattr::MODE | setattr::UID | setattr::GID;
        self.s
            .run(
                "prepare",
                1,
                SetattrReq {
                    gfid,
                    stbuf,
                    valid,
                    xdata: NO,
                },
            )
            .await;
    }

    async fn file(&mut self, pargfid: Gfid, bname: &'static str) -> Gfid {
        let gfid = self.fresh();
        let req = MknodReq {
            pargfid,
            dev: 0,
            mode: 0o100644,
            umask: 0,
            bname: bname.into(),
            xdata: gfid_req(gfid),
        };
        self.s.run("prepare", 31, req).await;
        gfid
    }

    async fn dir(&mut self, pargfid: Gfid, bname: &str) -> Gfid {
        let gfid = self.fresh();
        let bname = Bytes::copy_from_slice(bname.as_bytes());
        self.s
            .run(
                "prepare",
                31,
                MkdirReq {
                    pargfid,
                    mode: 0o755,
                    umask: 0,
                    bname,
                    xdata: gfid_req(gfid),
                },
            )
            .await;
        gfid
    }

    /// Everything one person tries in one directory.
    async fn try_names(&mut self, what: &str, dir: Gfid, files: &[Gfid]) {
        let text = |t: &'static str| Bytes::from_static(t.as_bytes());
        let s = &mut *self.s;
        s.run(
            what,
            0,
            LookupReq {
                pargfid: dir,
                bname: text("a"),
                ..LookupReq::default()
            },
        )
        .await;
        s.run(what, 0, OpendirReq { gfid: dir, xdata: NO }).await;
        for mask in [1, 2, 4, 7] {
            s.run(
                &format!("{what} {mask}"),
                0,
                AccessReq {
                    gfid: dir,
                    mask,
                    xdata: NO,
                },
            )
            .await;
        }
        let gfid = self.fresh();
        let create = CreateReq {
            pargfid: dir,
            flags: 0o302,
            mode: 0o100755,
            umask: 0,
            bname: text("new"),
            xdata: gfid_req(gfid),
        };
        let s = &mut *self.s;
        s.run(what, 31, create).await;
        let rename = |from: &'static str, to: &'static str| RenameReq {
            oldpargfid: dir,
            newpargfid: dir,
            oldbname: text(from),
            newbname: text(to),
            xdata: NO,
        };
        s.run(&format!("{what} own"), 27, rename("new", "newer")).await;
        s.run(&format!("{what} other's"), 27, rename("victim", "victim2")).await;
        s.run(&format!("{what} back"), 27, rename("victim2", "victim")).await;
        s.run(&format!("{what} over other's"), 27, rename("newer", "victim"))
            .await;
        let link = LinkReq {
            oldgfid: files[0],
            newpargfid: dir,
            newbname: text("hard"),
            xdata: NO,
        };
        s.run(what, 25, link).await;
        for name in ["newer", "victim", "hard"] {
            let req = UnlinkReq {
                pargfid: dir,
                bname: text(name),
                xflags: 0,
                xdata: NO,
            };
            s.run(&format!("{what} {name}"), 25, req).await;
        }
        let gfid = self.fresh();
        let mkdir = MkdirReq {
            pargfid: dir,
            mode: 0o755,
            umask: 0,
            bname: text("sub"),
            xdata: gfid_req(gfid),
        };
        let s = &mut *self.s;
        s.run(what, 31, mkdir).await;
        for name in ["sub", "others"] {
            let req = RmdirReq {
                pargfid: dir,
                bname: text(name),
                xflags: 0,
                xdata: NO,
            };
            s.run(&format!("{what} {name}"), 25, req).await;
        }
        let gfid = self.fresh();
        let symlink = SymlinkReq {
            pargfid: dir,
            bname: text("sym"),
            umask: 0,
            linkname: text("t"),
            xdata: gfid_req(gfid),
        };
        self.s.run(what, 31, symlink).await;
        self.restore(dir).await;
    }

    /// Puts back, as root, what the person may have removed.
    async fn restore(&mut self, dir: Gfid) {
        self.become_person(PEOPLE[0]);
        for bname in ["newer", "new", "victim", "victim2", "hard", "sym"] {
            let req = UnlinkReq {
                pargfid: dir,
                bname: bname.into(),
                xflags: 0,
                xdata: NO,
            };
            self.s.run("prepare", 25, req).await;
        }
        for bname in ["sub", "others"] {
            self.s
                .run(
                    "prepare",
                    25,
                    RmdirReq {
                        pargfid: dir,
                        bname: bname.into(),
                        xflags: 0,
                        xdata: NO,
                    },
                )
                .await;
        }
        let victim = self.file(dir, "victim").await;
        self.own(victim, 0o644, 1009, 1009).await;
        let others = self.dir(dir, "others").await;
        self.own(others, 0o755, 1009, 1009).await;
    }

    /// Everything one person tries with one file.
    async fn try_file(&mut self, what: &str, gfid: Gfid, (mode, uid, gid): (u32, u32, u32)) {
        for flags in [0, 1, 2, 0o1000, 0o40] {
            self.s
                .run(&format!("{what} {flags:o}"), 0, OpenReq { gfid, flags, xdata: NO })
                .await;
        }
        for mask in [1, 2, 4] {
            self.s
                .run(&format!("{what} {mask}"), 0, AccessReq { gfid, mask, xdata: NO })
                .await;
        }
        self.s
            .run(
                what,
                3,
                TruncateReq {
                    gfid,
                    offset: 0,
                    xdata: NO,
                },
            )
            .await;
        let changes: [(&str, i32, u32, u32, u32); 7] = [
            ("chmod", setattr::MODE, 0o640, 0, 0),
            ("chmod setgid", setattr::MODE, 0o2755, 0, 0),
            ("chown to 1005", setattr::UID, 0, 1005, 0),
            ("chgrp 500", setattr::GID, 0, 0, 500),
            ("chgrp 600", setattr::GID, 0, 0, 600),
            ("utime", setattr::ATIME | setattr::MTIME, 0, 0, 0),
            (
                "touch",
                setattr::ATIME | setattr::MTIME | setattr::ATIME_NOW | setattr::MTIME_NOW,
                0,
                0,
                0,
            ),
        ];
        let me = self.s.raw.cred.borrow().clone();
        for (change, valid, mode_to, uid_to, gid_to) in changes {
            if valid == setattr::GID && gid_to == gid {
                // Changing nothing is allowed here as in POSIX; 10.3 wants the owner to be in the group all the same.
                continue;
            }
            let t = script::STAMP as i64 + 900;
            let stbuf = Iatt {
                mode: mode_to,
                uid: uid_to,
                gid: gid_to,
                atime: t,
                mtime: t,
                ..Iatt::default()
            };
            self.s
                .run(
                    &format!("{what} {change}"),
                    1,
                    SetattrReq {
                        gfid,
                        stbuf,
                        valid,
                        xdata: NO,
                    },
                )
                .await;
            self.become_person(PEOPLE[0]);
            self.own(gfid, mode, uid, gid).await;
            *self.s.raw.cred.borrow_mut() = me.clone();
        }
        let dict = Dict::new().with("user.k", Value::ptr(&b"v"[..]));
        self.s
            .run(
                &format!("{what} user"),
                0,
                SetxattrReq {
                    gfid,
                    flags: 0,
                    dict,
                    xdata: NO,
                },
            )
            .await;
        for key in ["user.k", "system.posix_acl_access"] {
            let req = GetxattrReq {
                gfid,
                namelen: 1,
                name: key.into(),
                xdata: NO,
            };
            self.s.run(&format!("{what} {key}"), 0, req).await;
        }
        let req = RemovexattrReq {
            gfid,
            name: "user.k".into(),
            xdata: NO,
        };
        self.s.run(&format!("{what} user"), 0, req).await;
    }
}

pub(super) async fn script(raw: &Raw) -> Trace {
    let mut s = Script::new(raw);
    let mut n = Names { s: &mut s, next: 0 };
    n.become_person(PEOPLE[0]);
    for (place, mode, uid, gid) in PLACES {
        let dir = n.dir(Gfid::ROOT, place).await;
        let mut files = Vec::new();
        for (name, mode, uid, gid) in FILES {
            let file = n.file(dir, name).await;
            n.own(file, mode, uid, gid).await;
            files.push(file);
        }
        n.restore(dir).await;
        n.own(dir, mode, uid, gid).await;
        for person in PEOPLE {
            n.become_person(person);
            n.try_names(&format!("{} in {place}", person.0), dir, &files).await;
            if place == "public" {
                for (i, (name, mode, uid, gid)) in FILES.into_iter().enumerate() {
                    n.become_person(person);
                    n.try_file(&format!("{} on {name}", person.0), files[i], (mode, uid, gid))
                        .await;
                }
            }
        }
        n.become_person(PEOPLE[0]);
    }
    s.trace.into_iter().map(masked).collect()
}

/// A step without what differs on purpose.
fn masked((step, reply): (String, String)) -> (String, String) {
    // 10.3 always adds it.
    (step, reply.replace("\"get-link-count\": Uint(0)", ""))
}
