//! The requests of the comparison with 10.3, in order.

use super::state::{attributes, counters_and_index, listings_and_removal, locks};
use super::*;

/// The date of every stamp: later than any time a brick takes from its own clock.
pub(super) const STAMP: u64 = 4_000_000_000;
pub(super) const NO: Dict = Dict::null();

/// Runs requests and records the replies.
pub(super) struct Script<'a> {
    pub(super) raw: &'a Raw,
    pub(super) trace: Trace,
    time: u64,
}

impl<'a> Script<'a> {
    pub(super) fn new(raw: &'a Raw) -> Script<'a> {
        Script {
            raw,
            trace: Trace::new(),
            time: 0,
        }
    }
    pub(super) async fn run<R: Fop>(&mut self, what: &str, flags: u32, req: R) -> R::Reply
    where
        R::Reply: Show,
    {
        self.time += 1;
        self.raw.stamp(flags, STAMP + self.time);
        let reply = self.raw.reply(&req).await;
        self.trace.push((format!("{} {what}", R::PROC.name()), reply.show()));
        reply
    }

    pub(super) async fn write(
        &mut self,
        what: &str,
        fd: i64,
        offset: u64,
        data: &'static [u8],
        flag: u32,
        xdata: Dict,
    ) {
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

    pub(super) async fn read(&mut self, what: &str, fd: i64, offset: u64, size: u32) {
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

pub(super) fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) fn lookup(pargfid: Gfid, bname: &'static str, xdata: Dict) -> LookupReq {
    LookupReq {
        pargfid,
        bname: name(bname),
        xdata,
        ..LookupReq::default()
    }
}

/// What AFR and the caching layers of a FUSE mount ask of every lookup.
pub(super) fn afr_asks() -> Dict {
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

pub(super) async fn whole_script(raw: &Raw) -> Trace {
    let mut s = Script::new(raw);
    names_and_files(&mut s).await;
    contents(&mut s).await;
    attributes(&mut s).await;
    counters_and_index(&mut s).await;
    locks(&mut s).await;
    listings_and_removal(&mut s).await;
    s.trace
}
