//! The same requests to this brick and to one of the C implementation 10.3; the replies are compared.
//!
//! Needs a C brick of volume `vol` with the volume id of these tests, called `/bricks/test`, on a fresh directory, at
//! the address in `RINGLUSTER_ORACLE` (host:port). What differs by nature (device numbers, blocks, times the brick
//! takes from its own clock) is left out of the comparison.

mod people;
mod script;
mod state;

use std::fmt::Debug;
use std::rc::Rc;

use super::*;
use crate::wire::fop::*;
use crate::wire::{Iatt, flags::setattr};

use script::{STAMP, whole_script};

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

/// Steps whose replies differ from 10.3's on purpose, and why.
const DELIBERATE: &[(&str, &str)] = &[
    (
        "FSTAT f",
        "10.3 gives glusterfs.content of an empty file to LOOKUP but not to FSTAT",
    ),
    (
        "SETXATTR user.x",
        "10.3 forgets the ctime of a SETXATTR by gfid; its clients never stamp one",
    ),
    ("FSETXATTR user.y by fd", "follows from the one above: prestat"),
    ("SETXATTR trusted.gfid", "10.3 says success and does nothing"),
    (
        "SETXATTR trusted.glusterfs.volume-id",
        "10.3 says success and does nothing",
    ),
    ("GETXATTR trusted.gfid", "10.3 says success with an empty dictionary"),
    (
        "GETXATTR glusterfs.gfid.string",
        "10.3 leaves it to the client's top layer; harmless here",
    ),
    ("GETXATTR glusterfs.gfid2path", "10.3 gives one of two recorded paths"),
    (
        "GETXATTR all",
        "op_ret counts other bytes; clients go by the dictionary",
    ),
    (
        "GETXATTR all, as the healer",
        "op_ret counts other bytes; clients go by the dictionary",
    ),
    ("LK other unlock", "10.3 answers an unlock of a part with type read"),
    ("LK split", "10.3 answers an unlock of a part with type read"),
    ("IPC off", "10.3 takes operation 0 for known"),
    ("READDIRP all", "10.3 gives attributes of `..`"),
    ("READDIRP root", "10.3 gives attributes of `..`"),
    ("UNLINK sl", "10.3 always adds get-link-count 0"),
    ("UNLINK p", "10.3 always adds get-link-count 0"),
    ("UNLINK c", "10.3 always adds get-link-count 0"),
    ("UNLINK hard", "10.3 always adds get-link-count 0"),
    ("UNLINK moved", "10.3 always adds get-link-count 0"),
    (
        "FSTAT open but unlinked",
        "10.3 does not stamp a file whose last name goes",
    ),
    ("WRITE unlinked", "follows from the one above: prestat"),
    ("STAT unlinked", "10.3 finds a parked file by fd only"),
    ("XATTROP of unlinked", "10.3 finds a parked file by fd only"),
    (
        "STAT gone",
        "10.3 remembers that it knew the gfid: ENOENT instead of ESTALE",
    ),
];

#[test]
#[ignore = "needs a C brick at RINGLUSTER_ORACLE"]
fn replies_are_those_of_10_3() {
    compare(async |raw| whole_script(raw).await, DELIBERATE);
}

#[test]
#[ignore = "needs a C brick at RINGLUSTER_ORACLE"]
fn permissions_are_those_of_10_3() {
    compare(async |raw| people::script(raw).await, people::DELIBERATE);
}

/// Runs a script against both bricks; their replies must be equal but for the steps named.
fn compare(script: impl AsyncFn(&Raw) -> Trace + 'static, deliberate: &'static [(&str, &str)]) {
    let addr = std::env::var("RINGLUSTER_ORACLE").expect("RINGLUSTER_ORACLE=host:port of a C brick");
    with_brick(config(), async move |lab| {
        let ours = script(&Raw::join(&lab, "a").await).await;
        let oracle = Rc::new(Lab {
            server: lab.server.clone(),
            addr: addr.parse().unwrap(),
            root: "/nonexistent".into(),
        });
        let theirs = script(&Raw::join(&oracle, "a").await).await;
        let mut different = 0;
        for (number, ((step, us), (_, them))) in ours.iter().zip(&theirs).enumerate() {
            if us == them || deliberate.iter().any(|(s, _)| s == step) {
                continue;
            }
            different += 1;
            eprintln!("{number} {step}\n  ours   {us}\n  theirs {them}");
        }
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(different, 0, "of {} replies", ours.len());
    });
}
