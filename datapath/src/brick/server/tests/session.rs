//! SETVOLUME, identities of clients, reconnects, fencing and what happens after a disconnect.

use super::*;
use crate::wire::callback;
use crate::wire::fop::{CommonRsp, FstatReq, GetactivelkReq, StatReq, StatfsReq};

fn inodelk_domain() -> Dict {
    Dict::new().with("glusterfs.inodelk-count", Value::Uint(0))
}

#[test]
fn the_handshake_answers_as_10_3_does() {
    with_brick(config(), async |lab| {
        let raw = Raw::connect(&lab).await;
        let rsp = raw.set_volume(request("a")).await;
        assert_eq!((rsp.op_ret, rsp.op_errno), (0, 22), "op_errno is 22 on success");
        assert_eq!(rsp.dict.get_str("process-uuid"), Some("server-uuid"));
        assert_eq!(rsp.dict.get_str("volume-id"), Some(VOLUME_ID.to_string().as_str()));
        assert_eq!(rsp.dict.get_str("child_up"), Some("1"));
        assert!(
            raw.fop(&StatfsReq {
                gfid: Gfid::ROOT,
                xdata: Dict::null()
            })
            .await
            .is_ok()
        );
    });
}

#[test]
fn a_refused_client_can_try_again() {
    with_brick(config(), async |lab| {
        let raw = Raw::connect(&lab).await;
        let other = Gfid([1; 16]).to_string();
        let rsp = raw.set_volume(request("a").with_str("volume-id", &other)).await;
        assert_eq!((rsp.op_ret, rsp.op_errno), (-1, libc::EINVAL));
        let text = "Volume-ID different, possible case of same brick re-used in another volume";
        assert_eq!(rsp.dict.get_str("ERROR"), Some(text));
        let rsp = raw
            .set_volume(request("a").with_str("username", "user").with_str("password", "x"))
            .await;
        assert_eq!((rsp.op_ret, rsp.op_errno), (-1, libc::EACCES));
        let early = raw
            .raw(program::FOP, Proc::Statfs as u32, &StatfsReq::default())
            .await
            .unwrap_err();
        assert!(early.contains("GarbageArgs"));
        assert_eq!(raw.set_volume(request("a")).await.op_ret, 0);
    });
}

#[test]
fn fds_are_the_lowest_free_numbers_of_each_client() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        assert_eq!(a.create("f0", gfid(1)).await.fd, 0);
        assert_eq!(a.create("f1", gfid(2)).await.fd, 1);
        assert_eq!(b.create("f2", gfid(3)).await.fd, 0, "another client counts for itself");
        a.fop(&crate::wire::fop::ReleaseReq {
            gfid: gfid(1),
            fd: 0,
            xdata: Dict::new(),
        })
        .await
        .unwrap();
        let gone = a
            .fop(&FstatReq {
                gfid: gfid(1),
                fd: 0,
                xdata: Dict::null(),
            })
            .await;
        assert_eq!(errno(gone), Errno::EBADF);
        assert_eq!(a.create("f3", gfid(4)).await.fd, 0);
        let open: Vec<_> = lab.server.status().clients.iter().map(|c| c.open_files).collect();
        assert_eq!(open, [2, 1]);
    });
}

#[test]
fn connections_of_one_process_uuid_share_a_client() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let second = Raw::join(&lab, "a").await;
        assert!(
            second
                .fop(&FstatReq {
                    gfid: gfid(1),
                    fd,
                    xdata: Dict::null()
                })
                .await
                .is_ok()
        );
        a.leave(&lab).await;
        assert!(
            second
                .fop(&FstatReq {
                    gfid: gfid(1),
                    fd,
                    xdata: Dict::null()
                })
                .await
                .is_ok(),
            "the client lives on"
        );
        second.leave(&lab).await;
        let third = Raw::join(&lab, "a").await;
        let gone = third
            .fop(&FstatReq {
                gfid: gfid(1),
                fd,
                xdata: Dict::null(),
            })
            .await;
        assert_eq!(errno(gone), Errno::EBADF, "with its last connection everything goes");
    });
}

#[test]
fn a_newer_connection_fences_the_older_one() {
    with_brick(config(), async |lab| {
        let old = Raw::connect(&lab).await;
        assert_eq!(old.set_volume(request_as("CTX_ID:x-RECON_NO:-1")).await.op_ret, 0);
        old.create("f", gfid(1)).await;
        locking::inodelk(&old, gfid(1), 1, 1).await.unwrap();
        let new = Raw::connect(&lab).await;
        assert_eq!(new.set_volume(request_as("CTX_ID:x-RECON_NO:-2")).await.op_ret, 0);
        until("the old connection is broken", || old.conn.is_closed()).await;
        let free = new.lookup_gfid(gfid(1), inodelk_domain()).await.unwrap();
        assert_eq!(
            free.xdata.get_i64("glusterfs.inodelk-count"),
            Some(0),
            "its locks went before the new one came"
        );

        let late = Raw::connect(&lab).await;
        let rsp = late.set_volume(request_as("CTX_ID:x-RECON_NO:-1")).await;
        assert_eq!(
            (rsp.op_ret, rsp.op_errno),
            (-1, libc::ESTALE),
            "a late older connection is not let in"
        );
        assert!(!new.conn.is_closed());
    });
}

#[test]
fn a_disconnect_frees_locks_and_files() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        let fd = a.create("f", gfid(1)).await.fd as i64;
        a.write(gfid(1), fd, 0, b"data").await.unwrap();
        locking::inodelk(&a, gfid(1), 1, 1).await.unwrap();
        locking::lk(&a, gfid(1), fd, 1, 1).await.unwrap();
        a.mkdir("d", gfid(2)).await;
        locking::entrylk(&a, gfid(2), 2, "n").await.unwrap();
        let waiting = b.send(&locking::inodelk_req(gfid(1), 2, 1));
        until("b waits", || lab.server.status().waiting_calls == 1).await;
        assert_eq!(
            b.fop(&crate::wire::fop::UnlinkReq {
                pargfid: Gfid::ROOT,
                bname: Bytes::from_static(b"f"),
                ..Default::default()
            })
            .await
            .unwrap()
            .op_ret,
            0
        );
        let parked = lab.root.join(".glusterfs/unlink").join(gfid(1).to_string());
        assert!(parked.exists(), "unlinked while open");
        a.leave(&lab).await;
        let granted: CommonRsp = waiting.await.unwrap();
        assert_eq!(granted.op_ret, 0, "the waiting lock is granted");
        assert!(!parked.exists(), "the last open fd is closed");
        assert_eq!(lab.server.status().locks.len(), 1, "{:?}", lab.server.status().locks);
        let held = b
            .fop(&GetactivelkReq {
                gfid: gfid(2),
                xdata: Dict::null(),
            })
            .await
            .unwrap();
        assert!(held.locks.is_empty());
        b.leave(&lab).await;
        assert!(lab.server.status().locks.is_empty());
    });
}

#[test]
fn a_client_that_dies_while_waiting_leaves_the_queue() {
    with_brick(config(), async |lab| {
        let (a, b, c) = (
            Raw::join(&lab, "a").await,
            Raw::join(&lab, "b").await,
            Raw::join(&lab, "c").await,
        );
        a.create("f", gfid(1)).await;
        locking::inodelk(&a, gfid(1), 1, 1).await.unwrap();
        let args = locking::inodelk_req(gfid(1), 2, 1);
        let _lost = b
            .conn
            .call(program::FOP, Proc::Inodelk as u32, &b.credential(), &args, None);
        until("b waits", || lab.server.status().waiting_calls == 1).await;
        let third = c.send(&locking::inodelk_req(gfid(1), 2, 1));
        until("c waits", || lab.server.status().waiting_calls == 2).await;
        b.leave(&lab).await;
        assert_eq!(lab.server.status().waiting_calls, 1);
        locking::inodelk(&a, gfid(1), 1, 2).await.unwrap();
        assert_eq!(third.await.unwrap().op_ret, 0);
    });
}

#[test]
fn the_waiting_calls_of_a_lost_connection_end_with_it() {
    with_brick(config(), async |lab| {
        let (a, b) = (Raw::join(&lab, "a").await, Raw::join(&lab, "b").await);
        let second = Raw::join(&lab, "b").await;
        a.create("f", gfid(1)).await;
        locking::inodelk(&a, gfid(1), 1, 1).await.unwrap();
        let args = locking::inodelk_req(gfid(1), 2, 1);
        let _lost = second
            .conn
            .call(program::FOP, Proc::Inodelk as u32, &second.credential(), &args, None);
        until("the call waits", || lab.server.status().waiting_calls == 1).await;
        second.leave(&lab).await;
        assert_eq!(
            lab.server.status().waiting_calls,
            0,
            "its client lives on, but nobody would hear of the grant"
        );
        locking::inodelk(&a, gfid(1), 1, 2).await.unwrap();
        assert!(lab.server.status().locks.is_empty());
        locking::inodelk(&b, gfid(1), 1, 1).await.unwrap();
    });
}

#[test]
fn a_fenced_connection_finishes_its_disk_writes_before_the_new_one_enters() {
    with_brick(config(), async |lab| {
        let old = Raw::connect(&lab).await;
        assert_eq!(old.set_volume(request_as("CTX_ID:x-RECON_NO:-1")).await.op_ret, 0);
        let fd = old.create("f", gfid(1)).await.fd as i64;
        let data = Bytes::from(vec![1u8; 1 << 20]);
        let direct = libc::O_DIRECT as u32;
        old.write_with(gfid(1), fd, 0, data.clone(), direct, Dict::null())
            .await
            .unwrap();
        for n in 0..8u64 {
            let size = data.len() as u32;
            let req = WriteReq {
                gfid: gfid(1),
                fd,
                offset: n << 20,
                size,
                flag: direct,
                xdata: Dict::null(),
            };
            let cred = old.credential();
            let _lost = old
                .conn
                .call(program::FOP, Proc::Write as u32, &cred, &req, Some(data.clone()));
        }
        // A call behind the writes: its reply says that all of them were started.
        assert!(old.lookup("f").await.is_ok());
        let new = Raw::connect(&lab).await;
        assert_eq!(new.set_volume(request_as("CTX_ID:x-RECON_NO:-2")).await.op_ret, 0);
        let before = std::fs::metadata(lab.root.join("f")).unwrap();
        exec::sleep(Duration::from_millis(50)).await;
        let after = std::fs::metadata(lab.root.join("f")).unwrap();
        assert_eq!(
            (before.len(), before.modified().unwrap()),
            (after.len(), after.modified().unwrap())
        );
        assert_eq!(after.len(), 8 << 20, "what was started has been finished");
    });
}

#[test]
fn sub_directory_mounts_see_a_root() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        a.mkdir("sub", gfid(1)).await;
        let sub = Raw::connect(&lab).await;
        assert_eq!(
            sub.set_volume(request("s").with_str("subdir-mount", "/sub"))
                .await
                .op_ret,
            0
        );
        let root = sub.lookup_gfid(Gfid::ROOT, Dict::null()).await.unwrap();
        assert_eq!((root.prestat.gfid, root.prestat.ino), (Gfid::ROOT, 1));
        sub.create("f", gfid(2)).await;
        assert!(lab.root.join("sub/f").exists());
        assert_eq!(errno(a.lookup("f").await), Errno::ENOENT);
        let missing = Raw::connect(&lab).await;
        let rsp = missing.set_volume(request("m").with_str("subdir-mount", "/none")).await;
        assert_eq!((rsp.op_ret, rsp.op_errno), (-1, libc::ENOENT));
        assert_eq!(
            rsp.dict.get_str("ERROR"),
            Some("subdirectory for mount \"/none\" is not found")
        );
    });
}

#[test]
fn read_only_bricks_refuse_changes_but_not_from_the_healer() {
    let mut config = config();
    config.read_only = true;
    with_brick(config, async |lab| {
        let a = Raw::join(&lab, "a").await;
        let req = MkdirReq {
            pargfid: Gfid::ROOT,
            bname: Bytes::from_static(b"d"),
            mode: 0o755,
            xdata: gfid_req(gfid(1)),
            ..MkdirReq::default()
        };
        assert_eq!(errno(a.fop(&req).await), Errno::EROFS);
        assert!(
            a.fop(&StatReq {
                gfid: Gfid::ROOT,
                xdata: Dict::null()
            })
            .await
            .is_ok()
        );
        a.cred.borrow_mut().pid = -6;
        assert!(a.fop(&req).await.is_ok());
    });
}

#[test]
fn an_unhealthy_brick_tells_its_clients_and_refuses_new_ones() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        lab.server.set_child_up(false);
        until("CHILD_DOWN arrives", || !a.callbacks.borrow().is_empty()).await;
        let refused = Raw::connect(&lab).await.set_volume(request("b")).await;
        assert_eq!((refused.op_ret, refused.op_errno), (-1, libc::EAGAIN));
        assert_eq!(refused.dict.get_str("child_up"), Some("0"));
        assert_eq!(
            refused.dict.get_str("ERROR"),
            Some("Not received child_up for this xlator")
        );
        lab.server.set_child_up(true);
        until("CHILD_UP arrives", || a.callbacks.borrow().len() == 2).await;
        let procs: Vec<_> = a.callbacks.borrow().iter().map(|(proc, _)| *proc).collect();
        assert_eq!(
            procs,
            [callback::Proc::ChildDown as u32, callback::Proc::ChildUp as u32]
        );
        assert_eq!(Raw::connect(&lab).await.set_volume(request("b")).await.op_ret, 0);
    });
}

#[test]
fn status_tells_who_is_here() {
    with_brick(config(), async |lab| {
        let _a = Raw::join(&lab, "a").await;
        let status = lab.server.status();
        assert_eq!(status.clients.len(), 1);
        let client = &status.clients[0];
        assert_eq!(
            (client.process_name.as_str(), client.version.as_str(), client.op_version),
            ("fuse", "10.3", 100_000)
        );
        assert!(client.uuid.starts_with("CTX_ID:a-") && client.peer.starts_with("127.0.0.1:"));
        assert!(client.bytes_read > 100 && client.bytes_written > 100);
    });
}

#[test]
fn stopping_ends_every_connection() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let idle = Raw::connect(&lab).await;
        until("both are here", || lab.server.status().clients.len() == 2).await;
        lab.server.stop();
        until("both are gone", || a.conn.is_closed() && idle.conn.is_closed()).await;
        assert!(lab.server.status().clients.is_empty());
    });
}
