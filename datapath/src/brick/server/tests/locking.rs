//! Locks across clients: blocking, contention callbacks, counters in xdata.

use super::*;
use crate::wire::callback::{self, EntrylkContention, InodelkContention};
use crate::wire::fop::{
    CommonRsp, EntrylkReq, FentrylkReq, FinodelkReq, Flock, FlushReq, InodelkReq, LkReq, LkRsp, OpendirReq, ReleaseReq,
    XattropReq,
};
use crate::wire::handshake::IF_LOCKED;

const DOMAIN: Bytes = Bytes::from_static(b"vol-replicate-0");

pub(super) fn inodelk_req(gfid: Gfid, cmd: u32, kind: u32) -> InodelkReq {
    let flock = Flock {
        kind,
        ..Flock::default()
    };
    InodelkReq {
        gfid,
        cmd,
        kind,
        flock,
        volume: DOMAIN,
        xdata: Dict::null(),
    }
}

/// INODELK of the whole file: `cmd` 1 try, 2 wait; `kind` 0 read, 1 write, 2 unlock.
pub(super) async fn inodelk(raw: &Raw, gfid: Gfid, cmd: u32, kind: u32) -> FsResult<CommonRsp> {
    raw.fop(&inodelk_req(gfid, cmd, kind)).await
}

fn entrylk_req(gfid: Gfid, cmd: u32, name: &'static str) -> EntrylkReq {
    let named = u64::from(!name.is_empty());
    let name = Bytes::from_static(name.as_bytes());
    EntrylkReq {
        gfid,
        cmd,
        kind: 1,
        namelen: named,
        name,
        volume: DOMAIN,
        xdata: Dict::null(),
    }
}

/// ENTRYLK: `cmd` 0 wait, 1 unlock, 2 try; an empty name is the whole directory.
pub(super) async fn entrylk(raw: &Raw, gfid: Gfid, cmd: u32, name: &'static str) -> FsResult<CommonRsp> {
    raw.fop(&entrylk_req(gfid, cmd, name)).await
}

fn lk_req(raw: &Raw, gfid: Gfid, fd: i64, cmd: u32, kind: u32) -> LkReq {
    let lk_owner = raw.cred.borrow().lk_owner.clone();
    let flock = Flock {
        kind,
        start: 10,
        len: 20,
        pid: 99,
        lk_owner,
        ..Flock::default()
    };
    LkReq {
        gfid,
        fd,
        cmd,
        kind,
        flock,
        xdata: Dict::null(),
    }
}

/// LK of bytes 10 to 29: `cmd` 0 query, 1 try, 2 wait.
pub(super) async fn lk(raw: &Raw, gfid: Gfid, fd: i64, cmd: u32, kind: u32) -> FsResult<LkRsp> {
    raw.fop(&lk_req(raw, gfid, fd, cmd, kind)).await
}

#[test]
fn a_waiting_lock_does_not_hold_up_the_connection() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        a.create("f", gfid(1)).await;
        inodelk(&a, gfid(1), 1, 1).await.unwrap();
        assert_eq!(errno(inodelk(&b, gfid(1), 1, 1).await), Errno::EAGAIN);
        let waiting = b.send(&inodelk_req(gfid(1), 2, 1));
        assert!(b.lookup("f").await.is_ok(), "other requests go on");
        assert!(!waiting.is_finished());
        inodelk(&a, gfid(1), 1, 2).await.unwrap();
        assert_eq!(waiting.await.unwrap().op_ret, 0);
        assert_eq!(errno(inodelk(&a, gfid(1), 1, 1).await), Errno::EAGAIN);
        assert_eq!(
            errno(inodelk(&a, gfid(1), 1, 2).await),
            Errno::EINVAL,
            "not held any more"
        );
    });
}

#[test]
fn fd_forms_lock_the_same_inode() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let flock = Flock {
            kind: 1,
            ..Flock::default()
        };
        let req = FinodelkReq {
            gfid: gfid(1),
            fd,
            cmd: 1,
            kind: 1,
            flock,
            volume: DOMAIN,
            xdata: Dict::null(),
        };
        a.fop(&req).await.unwrap();
        assert_eq!(errno(inodelk(&b, gfid(1), 1, 1).await), Errno::EAGAIN);
        assert_eq!(errno(b.fop(&req).await), Errno::EBADF, "fd numbers are per client");

        a.mkdir("d", gfid(2)).await;
        let fd = a
            .fop(&OpendirReq {
                gfid: gfid(2),
                xdata: Dict::null(),
            })
            .await
            .unwrap()
            .fd;
        let req = FentrylkReq {
            gfid: gfid(2),
            fd,
            cmd: 2,
            kind: 1,
            namelen: 0,
            name: Bytes::new(),
            volume: DOMAIN,
            xdata: Dict::null(),
        };
        a.fop(&req).await.unwrap();
        assert_eq!(errno(entrylk(&b, gfid(2), 2, "n").await), Errno::EAGAIN);
    });
}

#[test]
fn locks_on_what_is_not_here_fail() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        assert_eq!(errno(inodelk(&a, gfid(9), 1, 1).await), Errno::ESTALE);
        assert_eq!(errno(entrylk(&a, gfid(9), 2, "n").await), Errno::ESTALE);
        assert_eq!(errno(inodelk(&a, Gfid::NULL, 1, 1).await), Errno::EINVAL);
        assert_eq!(errno(inodelk(&a, Gfid::ROOT, 0, 1).await), Errno::EOPNOTSUPP);
        assert_eq!(errno(inodelk(&a, Gfid::ROOT, 7, 1).await), Errno::EINVAL);
        assert_eq!(errno(entrylk(&a, Gfid::ROOT, 7, "n").await), Errno::EINVAL);
    });
}

#[test]
fn holders_are_told_of_contention() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        a.mkdir("d", gfid(1)).await;
        inodelk(&a, gfid(1), 1, 1).await.unwrap();
        entrylk(&a, gfid(1), 2, "n").await.unwrap();
        let first = b.send(&inodelk_req(gfid(1), 2, 1));
        let second = b.send(&entrylk_req(gfid(1), 0, ""));
        assert_eq!(errno(inodelk(&b, gfid(1), 1, 1).await), Errno::EAGAIN);
        until("two callbacks", || a.callbacks.borrow().len() == 2).await;
        let seen = a.callbacks.borrow().clone();
        assert_eq!(seen[0].0, callback::Proc::InodelkContention as u32);
        let inode = InodelkContention::from_bytes(&seen[0].1).unwrap();
        assert_eq!((inode.gfid, inode.pid, inode.domain), (gfid(1), 4242, DOMAIN));
        assert_eq!(
            inode.flock,
            Flock {
                kind: 1,
                ..Flock::default()
            },
            "as 10.3 sends it"
        );
        assert_eq!(seen[1].0, callback::Proc::EntrylkContention as u32);
        let entry = EntrylkContention::from_bytes(&seen[1].1).unwrap();
        assert_eq!((entry.gfid, entry.kind, &entry.name[..]), (gfid(1), 1, &b"n"[..]));
        inodelk(&a, gfid(1), 1, 2).await.unwrap();
        entrylk(&a, gfid(1), 1, "n").await.unwrap();
        assert_eq!((first.await.unwrap().op_ret, second.await.unwrap().op_ret), (0, 0));
        assert!(b.callbacks.borrow().is_empty());
    });
}

#[test]
fn record_locks_between_clients() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        let fa = a.create("f", gfid(1)).await.fd as i64;
        let fb = b
            .fop(&crate::wire::fop::OpenReq {
                gfid: gfid(1),
                flags: 2,
                xdata: Dict::null(),
            })
            .await
            .unwrap()
            .fd;
        b.become_owner(b"ownerBBB");
        let rsp = lk(&a, gfid(1), fa, 1, 1).await.unwrap();
        assert_eq!(
            (rsp.flock.kind, rsp.flock.start, rsp.flock.len, rsp.flock.pid),
            (1, 10, 20, 99),
            "echoed"
        );
        let failed = b.reply(&lk_req(&b, gfid(1), fb, 1, 1)).await;
        assert_eq!(
            (failed.op_ret, failed.op_errno, failed.flock),
            (-1, libc::EAGAIN, Flock::default())
        );
        let held = lk(&b, gfid(1), fb, 0, 1).await.unwrap().flock;
        assert_eq!((held.kind, held.start, held.len, held.pid), (1, 10, 20, 99));
        assert_eq!(&held.lk_owner[..], b"ownerAAA");
        assert_eq!(
            lk(&a, gfid(1), fa, 0, 1).await.unwrap().flock.kind,
            2,
            "no obstacle to its holder"
        );
        let waiting = b.send(&lk_req(&b, gfid(1), fb, 2, 1));
        until("b waits", || lab.server.status().waiting_calls == 1).await;
        a.fop(&FlushReq {
            gfid: gfid(1),
            fd: fa,
            xdata: Dict::null(),
        })
        .await
        .unwrap();
        let granted = waiting.await.unwrap();
        assert_eq!(
            (granted.op_ret, granted.flock.kind, &granted.flock.lk_owner[..]),
            (0, 1, &b"ownerBBB"[..])
        );
        let again = a.send(&lk_req(&a, gfid(1), fa, 2, 0));
        until("a waits", || lab.server.status().waiting_calls == 1).await;
        b.fop(&ReleaseReq {
            gfid: gfid(1),
            fd: fb,
            xdata: Dict::new(),
        })
        .await
        .unwrap();
        assert_eq!(again.await.unwrap().op_ret, 0, "release drops the fd's locks");
        assert_eq!(errno(lk(&a, gfid(1), fa, 1, 7).await), Errno::EINVAL);
        assert_eq!(errno(lk(&a, gfid(1), fa, 9, 1).await), Errno::EINVAL);
        assert_eq!(errno(lk(&a, gfid(1), fa, 6, 1).await), Errno::EOPNOTSUPP);
    });
}

#[test]
fn replies_count_locks_when_asked() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        let fd = a.create("f", gfid(1)).await.fd as i64;
        inodelk(&a, gfid(1), 1, 1).await.unwrap();
        let _waiting = b.send(&inodelk_req(gfid(1), 2, 1));
        until("b waits", || lab.server.status().waiting_calls == 1).await;
        entrylk(&a, Gfid::ROOT, 2, "f").await.unwrap();
        lk(&a, gfid(1), fd, 1, 1).await.unwrap();

        let asked = Dict::new()
            .with("glusterfs.inodelk-count", Value::Uint(0))
            .with("glusterfs.entrylk-count", Value::Uint(0))
            .with("glusterfs.posixlk-count", Value::Uint(0))
            .with("glusterfs.parent-entrylk", Value::Uint(0))
            .with("link-count", Value::str("glusterfs.xattrop_index_count"))
            .with("glusterfs.multi-dom-lk-cnt-req", Value::Uint(1))
            .with("glusterfs.inodelk-dom-prefix:vol-replicate-0", Value::Uint(0))
            .with("glusterfs.inodelk-dom-prefix:other", Value::Uint(0));
        let bname = Bytes::from_static(b"f");
        let found = a
            .fop(&LookupReq {
                pargfid: Gfid::ROOT,
                bname,
                xdata: asked.clone(),
                ..LookupReq::default()
            })
            .await
            .unwrap();
        let count = |key: &str| found.xdata.get_i64(key);
        assert_eq!(count("glusterfs.inodelk-count"), Some(2), "granted and waiting");
        assert_eq!(count("glusterfs.entrylk-count"), Some(0));
        assert_eq!(count("glusterfs.posixlk-count"), Some(1));
        assert_eq!(count("glusterfs.parent-entrylk"), Some(1));
        assert_eq!(count("link-count"), Some(0));
        assert_eq!(count("glusterfs.inodelk-dom-prefix:vol-replicate-0"), Some(2));
        assert_eq!(count("glusterfs.inodelk-dom-prefix:other"), Some(0));

        let domain = Dict::new().with("glusterfs.inodelk-dom-count", Value::str("vol-replicate-0"));
        let data = Bytes::from_static(b"x");
        let wrote = a.write_with(gfid(1), fd, 0, data, 0, domain).await.unwrap();
        assert_eq!(wrote.xdata.get_i64("glusterfs.inodelk-count"), Some(2));

        let bname = Bytes::from_static(b"none");
        let missing = a
            .reply(&LookupReq {
                pargfid: Gfid::ROOT,
                bname,
                xdata: asked,
                ..LookupReq::default()
            })
            .await;
        assert_eq!((missing.op_ret, missing.op_errno), (-1, libc::ENOENT));
        assert_eq!(
            missing.xdata.get_i64("link-count"),
            Some(0),
            "told even when the lookup fails"
        );
        assert_eq!(missing.xdata.len(), 1);
    });
}

#[test]
fn a_mark_that_goes_out_with_its_lock_is_set_only_if_the_lock_was_granted() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        a.create("f", gfid(1)).await;
        let mark = |domain: &str| XattropReq {
            gfid: gfid(1),
            flags: 0,
            dict: Dict::new().with("trusted.afr.dirty", Value::ptr([0, 0, 0, 1].repeat(3))),
            xdata: Dict::new().with(IF_LOCKED, Value::str(domain)),
        };
        let domain = "vol-replicate-0";
        assert_eq!(errno(a.fop(&mark(domain)).await), Errno::EAGAIN, "without a lock");
        // Both are sent before either is answered.
        let (lock, marked) = (a.send(&inodelk_req(gfid(1), 1, 1)), a.send(&mark(domain)));
        assert_eq!((lock.await.unwrap().op_ret, marked.await.unwrap().op_ret), (0, 0));
        let (lock, marked) = (b.send(&inodelk_req(gfid(1), 1, 1)), b.send(&mark(domain)));
        assert_eq!(lock.await.unwrap().op_errno, libc::EAGAIN);
        assert_eq!(marked.await.unwrap().op_errno, libc::EAGAIN, "another's lock");
        assert_eq!(errno(a.fop(&mark("another")).await), Errno::EAGAIN, "another domain");
        inodelk(&a, gfid(1), 1, 2).await.unwrap();
        assert_eq!(errno(a.fop(&mark(domain)).await), Errno::EAGAIN, "given back");
        let plain = XattropReq {
            xdata: Dict::null(),
            ..mark(domain)
        };
        let now = a.fop(&plain).await.unwrap().dict;
        assert_eq!(
            now.get("trusted.afr.dirty").and_then(Value::as_bytes),
            Some(&[0, 0, 0, 2].repeat(3)[..]),
            "two marks of six were set"
        );
    });
}
