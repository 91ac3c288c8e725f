//! The same requests to this brick and to one of the C implementation 10.3; the replies are compared.
//!
//! Needs a C brick of volume `vol` with the volume id of these tests, called `/bricks/test`, on a fresh directory, at
//! the address in `RINGLUSTER_ORACLE` (host:port). What differs by nature (device numbers, blocks, times the brick
//! takes from its own clock) is left out of the comparison.

use std::fmt::Debug;
use std::rc::Rc;

use super::*;
use crate::wire::fop::*;
use crate::wire::{Iatt, flags::setattr};

/// What a script saw: step and masked reply.
type Trace = Vec<(String, String)>;

/// A reply without what differs by nature.
trait Show: Debug {
    fn show(&self) -> String;
}

fn iatt(i: &Iatt) -> String {
    if *i == Iatt::default() {
        return "none".into();
    }
    let Iatt {
        gfid,
        flags,
        ino,
        size,
        nlink,
        uid,
        gid,
        mode,
        rdev,
        ..
    } = i;
    // Directory sizes are the file system's business.
    let size = if i.is_dir() { 0 } else { *size };
    let stamped = |t: i64| if t >= STAMP as i64 { t.to_string() } else { "own".into() };
    let times = [i.atime, i.mtime, i.ctime].map(stamped).join("/");
    format!("{gfid} {flags:x} {ino:x} {mode:o} {nlink} {uid}:{gid} {size} {rdev:x} {times}")
}

fn dict(d: &Dict) -> String {
    let mut pairs: Vec<_> = d
        .iter()
        .map(|(k, v)| match v {
            Value::Iatt(i) => format!("{k:?}: {}", iatt(i)),
            // Times from before the first stamp are the brick's own.
            Value::Ptr(b) if b.len() == 57 => format!("{k:?}: mdata"),
            v => format!("{k:?}: {v:?}"),
        })
        .collect();
    pairs.sort();
    pairs.join(", ")
}

/// op_errno means something on failure only (and in READ and READDIR, shown there).
fn status(op_ret: i32, op_errno: i32) -> String {
    if op_ret < 0 {
        format!("failed: {:?}", Errno(op_errno))
    } else {
        format!("{op_ret}")
    }
}

macro_rules! show {
    ($( $t:ident: |$r:ident| $body:expr ; )*) => { $(
        impl Show for $t {
            fn show(&self) -> String {
                let $r = self;
                format!("{} {{{}}} {}", status($r.op_ret, $r.op_errno), dict(&$r.xdata), $body)
            }
        }
    )* };
}

show! {
    CommonRsp: |_r| "";
    Iatt1Rsp: |r| iatt(&r.stat);
    Iatt2Rsp: |r| [iatt(&r.prestat), iatt(&r.poststat)].join(" | ");
    Iatt3Rsp: |r| [iatt(&r.stat), iatt(&r.preparent), iatt(&r.postparent)].join(" | ");
    CreateRsp: |r| format!("fd {} {}", r.fd, [iatt(&r.stat), iatt(&r.preparent), iatt(&r.postparent)].join(" | "));
    RenameRsp: |r| [&r.stat, &r.preoldparent, &r.postoldparent, &r.prenewparent, &r.postnewparent].map(iatt).join(" | ");
    DictRsp: |r| format!("[{}] {} | {}", dict(&r.dict), iatt(&r.prestat), iatt(&r.poststat));
    OpenRsp: |r| r.fd;
    ReadlinkRsp: |r| format!("{:?} {}", r.path, iatt(&r.buf));
    LkRsp: |r| format!("{:?}", r.flock);
    SeekRsp: |r| r.offset;
    LeaseRsp: |r| format!("{:?}", r.lease);
    RchecksumRsp: |r| format!("{} {:08x} {:?}", r.flags, r.weak_checksum, r.strong_checksum);
    GetactivelkRsp: |r| r.locks.len();
    ReaddirRsp: |r| {
        let mut names: Vec<_> = r.entries.iter().map(|e| format!("{:?} {}", e.name, e.d_type)).collect();
        names.sort();
        format!("errno {} {}", r.op_errno, names.join(", "))
    };
    ReaddirpRsp: |r| {
        let show = |e: &DirEntryPlus| format!("{:?} {} {} {{{}}}", e.entry.name, e.entry.d_type, iatt(&e.stat), dict(&e.dict));
        let mut names: Vec<_> = r.entries.iter().map(show).collect();
        names.sort();
        format!("errno {} {}", r.op_errno, names.join(", "))
    };
}

/// The date of every stamp: later than any time a brick takes from its own clock.
const STAMP: u64 = 4_000_000_000;
const NO: Dict = Dict::null();

/// Runs requests and records the replies.
struct Script<'a> {
    raw: &'a Raw,
    trace: Trace,
    time: u64,
}

impl Script<'_> {
    async fn run<R: Fop>(&mut self, what: &str, flags: u32, req: R) -> R::Reply
    where
        R::Reply: Show,
    {
        self.time += 1;
        self.raw.stamp(flags, STAMP + self.time);
        let reply = self.raw.reply(&req).await;
        self.trace.push((format!("{} {what}", R::PROC.name()), reply.show()));
        reply
    }

    async fn write(&mut self, what: &str, fd: i64, offset: u64, data: &'static [u8], flag: u32, xdata: Dict) {
        self.time += 1;
        self.raw.stamp(3, STAMP + self.time);
        let data = Bytes::from_static(data);
        let req = WriteReq {
            gfid: gfid(1),
            fd,
            offset,
            size: data.len() as u32,
            flag,
            xdata,
        };
        let proc = Proc::Write as u32;
        let reply = self
            .raw
            .conn
            .call(program::FOP, proc, &self.raw.credential(), &req, Some(data))
            .await;
        let reply: Iatt2Rsp = reply.unwrap().unwrap().decode().unwrap();
        self.trace.push((format!("WRITE {what}"), reply.show()));
    }

    async fn read(&mut self, what: &str, fd: i64, offset: u64, size: u32) {
        self.raw.stamp(0, 0);
        let req = ReadReq {
            gfid: gfid(1),
            fd,
            offset,
            size,
            flag: 0,
            xdata: NO,
        };
        let reply = self
            .raw
            .conn
            .call(program::FOP, Proc::Read as u32, &self.raw.credential(), &req, None)
            .await;
        let reply = reply.unwrap().unwrap();
        let rsp: ReadRsp = reply.decode().unwrap();
        let text = format!(
            "{} {} {} {:?}",
            status(rsp.op_ret, rsp.op_errno),
            rsp.op_errno,
            iatt(&rsp.stat),
            reply.payload
        );
        self.trace.push((format!("READ {what}"), text));
    }
}

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn lookup(pargfid: Gfid, bname: &'static str, xdata: Dict) -> LookupReq {
    LookupReq {
        pargfid,
        bname: name(bname),
        xdata,
        ..LookupReq::default()
    }
}

/// What AFR and the caching layers of a FUSE mount ask of every lookup.
fn afr_asks() -> Dict {
    Dict::new()
        .with("link-count", Value::str("glusterfs.xattrop_index_count"))
        .with("glusterfs.parent-entrylk", Value::Uint(0))
        .with("glusterfs.entrylk-count", Value::Uint(0))
        .with("glusterfs.inodelk-count", Value::Uint(0))
        .with("list-xattr", Value::Int(1))
        .with("trusted.afr.dirty", Value::Uint(12))
        .with("trusted.afr.vol-client-0", Value::Uint(12))
        .with("security.capability", Value::Int(0))
        .with("glusterfs.content", Value::Uint(65536))
        .with("trusted.glusterfs.mdata", Value::Int(1))
}

async fn names_and_files(s: &mut Script<'_>) {
    let by_gfid = |gfid, xdata| LookupReq {
        gfid,
        xdata,
        ..LookupReq::default()
    };
    s.run("root", 0, by_gfid(Gfid::ROOT, afr_asks())).await;
    s.run("nothing", 0, lookup(Gfid::ROOT, "f", afr_asks())).await;
    s.run("below nothing", 0, lookup(gfid(9), "f", NO)).await;
    s.run("unknown gfid", 0, by_gfid(gfid(9), NO)).await;
    s.run("hidden", 0, lookup(Gfid::ROOT, ".glusterfs", NO)).await;
    let mkdir = |bname, xdata| MkdirReq {
        pargfid: Gfid::ROOT,
        mode: 0o755,
        umask: 0,
        bname: name(bname),
        xdata,
    };
    s.run("d", 31, mkdir("d", gfid_req(gfid(2)))).await;
    s.run("d again", 31, mkdir("d", gfid_req(gfid(3)))).await;
    s.run("without gfid", 31, mkdir("e", NO)).await;
    s.run(
        "below nothing",
        31,
        MkdirReq {
            pargfid: gfid(9),
            ..mkdir("e", gfid_req(gfid(3)))
        },
    )
    .await;
    let flags = flags::open::RDWR | flags::open::CREAT | flags::open::EXCL;
    let create = |xdata| CreateReq {
        pargfid: Gfid::ROOT,
        flags,
        mode: 0o100644,
        umask: 0,
        bname: name("f"),
        xdata,
    };
    s.run("f", 31, create(gfid_req(gfid(1)))).await;
    s.run("f again", 31, create(gfid_req(gfid(8)))).await;
    s.run(
        "f without gfid",
        31,
        CreateReq {
            bname: name("g"),
            ..create(NO)
        },
    )
    .await;
    s.run("f", 0, lookup(Gfid::ROOT, "f", afr_asks())).await;
    s.run(
        "f",
        0,
        StatReq {
            gfid: gfid(1),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "unknown",
        0,
        StatReq {
            gfid: gfid(9),
            xdata: NO,
        },
    )
    .await;
    s.run(
        "null",
        0,
        StatReq {
            gfid: Gfid::NULL,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "f",
        0,
        FstatReq {
            gfid: gfid(1),
            fd: 0,
            xdata: afr_asks(),
        },
    )
    .await;
    s.run(
        "bad fd",
        0,
        FstatReq {
            gfid: gfid(1),
            fd: 5,
            xdata: NO,
        },
    )
    .await;
    let sym = |xdata| SymlinkReq {
        pargfid: gfid(2),
        bname: name("sl"),
        umask: 0,
        linkname: name("../f"),
        xdata,
    };
    s.run("sl", 31, sym(gfid_req(gfid(4)))).await;
    s.run(
        "sl",
        0,
        ReadlinkReq {
            gfid: gfid(4),
            size: 4096,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "a directory",
        0,
        ReadlinkReq {
            gfid: gfid(2),
            size: 4096,
            xdata: NO,
        },
    )
    .await;
    let fifo = MknodReq {
        pargfid: gfid(2),
        mode: 0o010600,
        bname: name("p"),
        xdata: gfid_req(gfid(5)),
        ..Default::default()
    };
    s.run("fifo", 31, fifo).await;
    let node = MknodReq {
        pargfid: gfid(2),
        mode: 0o020600,
        dev: 0x105,
        bname: name("c"),
        xdata: gfid_req(gfid(6)),
        ..Default::default()
    };
    s.run("device", 31, node).await;
    let link = |to| LinkReq {
        oldgfid: gfid(1),
        newpargfid: to,
        newbname: name("hard"),
        xdata: Dict::new(),
    };
    s.run("hard", 25, link(gfid(2))).await;
    s.run("hard again", 25, link(gfid(2))).await;
    s.run("into nothing", 25, link(gfid(9))).await;
    s.run("hard", 0, lookup(gfid(2), "hard", afr_asks())).await;
}

async fn contents(s: &mut Script<'_>) {
    let asks = Dict::new()
        .with("glusterfs.write-is-append", Value::Uint(4))
        .with("glusterfs.inodelk-dom-count", Value::str("vol-replicate-0"))
        .with("glusterfs.open-active-fd-count", Value::Uint(4));
    s.write("at the start", 0, 0, b"0123456789", 0x8002, asks.clone()).await;
    s.write("over", 0, 2, b"ab", 0x8002, asks).await;
    s.write("anonymous", -2, 10, b"XYZ", 0, NO).await;
    s.write("bad fd", 7, 0, b"x", 0, NO).await;
    s.read("some", 0, 1, 4).await;
    s.read("all", 0, 0, 4096).await;
    s.read("beyond", 0, 4096, 10).await;
    s.read("anonymous", -2, 0, 3).await;
    s.read("bad fd", 7, 0, 3).await;
    s.run("f", 0, lookup(Gfid::ROOT, "f", afr_asks())).await;
    s.run(
        "shorter",
        3,
        FtruncateReq {
            gfid: gfid(1),
            fd: 0,
            offset: 4,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "longer",
        3,
        TruncateReq {
            gfid: gfid(1),
            offset: 65536,
            xdata: Dict::new(),
        },
    )
    .await;
    s.run(
        "a directory",
        3,
        TruncateReq {
            gfid: gfid(2),
            offset: 0,
            xdata: NO,
        },
    )
    .await;
    for (what, offset) in [(0, 0), (1, 0), (0, 1 << 20), (2, 0)] {
        s.run(
            &format!("{what} from {offset}"),
            0,
            SeekReq {
                gfid: gfid(1),
                fd: 0,
                offset,
                what,
                xdata: NO,
            },
        )
        .await;
    }
    s.run(
        "grow",
        6,
        FallocateReq {
            gfid: gfid(1),
            fd: 0,
            flags: 0,
            offset: 0,
            size: 131072,
            xdata: Dict::new(),
        },
    )
    .await;
    s.run(
        "keep",
        6,
        FallocateReq {
            gfid: gfid(1),
            fd: 0,
            flags: 1,
            offset: 0,
            size: 262144,
            xdata: Dict::new(),
        },
    )
    .await;
    s.run(
        "hole",
        6,
        DiscardReq {
            gfid: gfid(1),
            fd: 0,
            offset: 0,
            size: 4096,
            xdata: Dict::new(),
        },
    )
    .await;
    s.run(
        "zeros",
        6,
        ZerofillReq {
            gfid: gfid(1),
            fd: 0,
            offset: 8,
            size: 4,
            xdata: NO,
        },
    )
    .await;
    for len in [16, 4096] {
        let req = RchecksumReq {
            gfid: gfid(1),
            fd: 0,
            offset: 0,
            len,
            flags: 0,
            xdata: NO,
        };
        s.run(&format!("{len} bytes"), 0, req).await;
    }
    let zero = Dict::new().with("check-zero-filled", Value::Int(1));
    s.run(
        "of zeros",
        0,
        RchecksumReq {
            gfid: gfid(1),
            fd: 0,
            offset: 8192,
            len: 4096,
            flags: 0,
            xdata: zero,
        },
    )
    .await;
    s.run(
        "file",
        0,
        FsyncReq {
            gfid: gfid(1),
            fd: 0,
            data: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "bad fd",
        0,
        FsyncReq {
            gfid: gfid(1),
            fd: 9,
            data: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "f",
        0,
        FlushReq {
            gfid: gfid(1),
            fd: 0,
            xdata: NO,
        },
    )
    .await;
    s.run(
        "bad fd",
        0,
        FlushReq {
            gfid: gfid(1),
            fd: 9,
            xdata: NO,
        },
    )
    .await;
}

async fn attributes(s: &mut Script<'_>) {
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

async fn counters_and_index(s: &mut Script<'_>) {
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

async fn locks(s: &mut Script<'_>) {
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

async fn listings_and_removal(s: &mut Script<'_>) {
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

async fn whole_script(raw: &Raw) -> Trace {
    let mut s = Script {
        raw,
        trace: Trace::new(),
        time: 0,
    };
    names_and_files(&mut s).await;
    contents(&mut s).await;
    attributes(&mut s).await;
    counters_and_index(&mut s).await;
    locks(&mut s).await;
    listings_and_removal(&mut s).await;
    s.trace
}

/// Steps whose replies differ from 10.3's on purpose, and why.
const DELIBERATE: &[(&str, &str)] = &[];

#[test]
#[ignore = "needs a C brick at RINGLUSTER_ORACLE"]
fn replies_are_those_of_10_3() {
    let addr = std::env::var("RINGLUSTER_ORACLE").expect("RINGLUSTER_ORACLE=host:port of a C brick");
    with_brick(config(), async |lab| {
        let ours = whole_script(&Raw::join(&lab, "a").await).await;
        let oracle = Rc::new(Lab {
            server: lab.server.clone(),
            addr: addr.parse().unwrap(),
            root: "/nonexistent".into(),
        });
        let theirs = whole_script(&Raw::join(&oracle, "a").await).await;
        let mut different = 0;
        for (number, ((step, us), (_, them))) in ours.iter().zip(&theirs).enumerate() {
            if us == them || DELIBERATE.iter().any(|(s, _)| s == step) {
                continue;
            }
            different += 1;
            eprintln!("{number} {step}\n  ours   {us}\n  theirs {them}");
        }
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(different, 0, "of {} replies", ours.len());
    });
}
