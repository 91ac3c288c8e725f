//! Fops on the content of files: through the page cache, past it, and in the order they were sent.

use super::*;
use crate::wire::fop::{
    ANONYMOUS_FD, CopyFileRangeReq, DiscardReq, FallocateReq, FsyncReq, FtruncateReq, OpenReq, RchecksumReq, SeekReq,
    TruncateReq, ZerofillReq,
};

const NO: Dict = Dict::null();

#[test]
fn content_is_written_and_read() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        a.stamp(3, 2000);
        let made = a.create("f", gfid(1)).await;
        assert_eq!(made.xdata.get_gfid("gfid-req"), Some(gfid(1)), "xdata is echoed");
        let fd = made.fd as i64;
        let append = Dict::new()
            .with("glusterfs.write-is-append", Value::Uint(4))
            .with("glusterfs.open-active-fd-count", Value::Uint(4));
        let data: Bytes = (0..300_000u32).map(|n| n as u8).collect::<Vec<_>>().into();
        let wrote = a
            .write_with(gfid(1), fd, 0, data.clone(), 0x8002, append.clone())
            .await
            .unwrap();
        assert_eq!(
            (wrote.op_ret, wrote.prestat.size, wrote.poststat.size),
            (300_000, 0, 300_000)
        );
        assert_eq!(wrote.xdata.get_u64("glusterfs.write-is-append"), Some(1));
        assert_eq!(wrote.xdata.get_u64("glusterfs.open-active-fd-count"), Some(1));
        assert_eq!(wrote.poststat.mtime, 2000);
        let over = a
            .write_with(gfid(1), fd, 10, Bytes::from_static(b"abc"), 0, append)
            .await
            .unwrap();
        assert_eq!(over.xdata.get_u64("glusterfs.write-is-append"), Some(0));

        let (rsp, part) = a.read(gfid(1), fd, 8, 8).await.unwrap();
        assert_eq!(
            (&part[..], rsp.op_errno, rsp.stat.size),
            (&b"\x08\x09abc\x0d\x0e\x0f"[..], 0, 300_000)
        );
        let (rsp, all) = a.read(gfid(1), fd, 0, 1 << 20).await.unwrap();
        assert_eq!(
            (rsp.op_ret, rsp.op_errno),
            (300_000, libc::ENOENT),
            "the file ends with this read"
        );
        assert_eq!(all[13..], data[13..]);
        let (rsp, none) = a.read(gfid(1), fd, 300_000, 10).await.unwrap();
        assert_eq!((rsp.op_ret, rsp.op_errno, none.len()), (0, libc::ENOENT, 0));
        let (_, part) = a.read(gfid(1), ANONYMOUS_FD, 10, 3).await.unwrap();
        assert_eq!(&part[..], b"abc");
        a.write(gfid(1), ANONYMOUS_FD, 0, b"ZZ").await.unwrap();
        assert_eq!(errno(a.read(gfid(1), 55, 0, 1).await), Errno::EBADF);
        assert_eq!(errno(a.write(gfid(1), 55, 0, b"x").await), Errno::EBADF);
        assert_eq!(errno(a.read(gfid(9), ANONYMOUS_FD, 0, 1).await), Errno::ESTALE);

        let ro = a
            .fop(&OpenReq {
                gfid: gfid(1),
                flags: 0,
                xdata: NO,
            })
            .await
            .unwrap()
            .fd;
        assert_eq!(errno(a.write(gfid(1), ro, 0, b"x").await), Errno::EBADF);
        let wo = a
            .fop(&OpenReq {
                gfid: gfid(1),
                flags: 1,
                xdata: NO,
            })
            .await
            .unwrap()
            .fd;
        assert_eq!(errno(a.read(gfid(1), wo, 0, 1).await), Errno::EBADF);
        assert_eq!(a.write(gfid(1), wo, 0, b"").await.unwrap().op_ret, 0);
    });
}

#[test]
fn cold_and_direct_io_go_through_the_ring() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let data: Bytes = vec![7u8; 1 << 20].into();
        let direct = libc::O_DIRECT as u32;
        let wrote = a.write_with(gfid(1), fd, 0, data.clone(), direct, NO).await.unwrap();
        assert_eq!((wrote.op_ret, wrote.poststat.size), (1 << 20, 1 << 20));
        let sync = a
            .write_with(gfid(1), fd, 0, data.slice(..100), libc::O_SYNC as u32, NO)
            .await
            .unwrap();
        assert_eq!(sync.op_ret, 100);
        let file = std::fs::File::open(lab.root.join("f")).unwrap();
        file.sync_all().unwrap();
        // The reads that follow find part of the file out of the page cache.
        let (_, all) = a.read(gfid(1), fd, 0, 1 << 20).await.unwrap();
        assert_eq!(all, data);
        let req = ReadReq {
            gfid: gfid(1),
            fd,
            offset: 4096,
            size: 8192,
            flag: direct,
            xdata: NO,
        };
        let reply = a
            .conn
            .call(program::FOP, Proc::Read as u32, &a.credential(), &req, None)
            .await;
        assert_eq!(reply.unwrap().unwrap().payload, data.slice(..8192));
    });
}

#[test]
fn many_reads_and_writes_in_flight_keep_their_order() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let mut last = Vec::new();
        for round in 0..500u32 {
            let data = Bytes::from(round.to_be_bytes().to_vec());
            let req = WriteReq {
                gfid: gfid(1),
                fd,
                offset: 0,
                size: 4,
                flag: 0,
                xdata: NO,
            };
            last.push(
                a.conn
                    .call(program::FOP, Proc::Write as u32, &a.credential(), &req, Some(data)),
            );
        }
        let (_, seen) = a.read(gfid(1), fd, 0, 4).await.unwrap();
        assert_eq!(seen[..], 499u32.to_be_bytes(), "a read sees every write sent before it");
        for reply in last {
            reply.await.unwrap().unwrap();
        }
    });
}

#[test]
fn sizes_holes_and_checksums() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        a.write(gfid(1), fd, 0, b"0123456789").await.unwrap();
        let cut = a
            .fop(&FtruncateReq {
                gfid: gfid(1),
                fd,
                offset: 4,
                xdata: NO,
            })
            .await
            .unwrap();
        assert_eq!((cut.prestat.size, cut.poststat.size), (10, 4));
        let grown = a
            .fop(&TruncateReq {
                gfid: gfid(1),
                offset: 1 << 20,
                xdata: NO,
            })
            .await
            .unwrap();
        assert_eq!((grown.prestat.size, grown.poststat.size), (4, 1 << 20));
        assert_eq!(
            errno(
                a.fop(&TruncateReq {
                    gfid: Gfid::ROOT,
                    offset: 0,
                    xdata: NO
                })
                .await
            ),
            Errno::EISDIR
        );
        let seek = |offset, what| SeekReq {
            gfid: gfid(1),
            fd,
            offset,
            what,
            xdata: NO,
        };
        assert_eq!(a.fop(&seek(0, 0)).await.unwrap().offset, 0);
        assert_eq!(a.fop(&seek(0, 1)).await.unwrap().offset, 4096);
        assert_eq!(errno(a.fop(&seek(1 << 21, 0)).await), Errno::ENXIO);
        let allocate = FallocateReq {
            gfid: gfid(1),
            fd,
            flags: 0,
            offset: 0,
            size: 2 << 20,
            xdata: NO,
        };
        assert_eq!(a.fop(&allocate).await.unwrap().poststat.size, 2 << 20);
        let req = DiscardReq {
            gfid: gfid(1),
            fd,
            offset: 0,
            size: 4096,
            xdata: NO,
        };
        assert_eq!(a.fop(&req).await.unwrap().poststat.size, 2 << 20);
        assert_eq!(&a.read(gfid(1), fd, 0, 4).await.unwrap().1[..], [0; 4]);
        a.write(gfid(1), fd, 0, b"0123").await.unwrap();
        let req = ZerofillReq {
            gfid: gfid(1),
            fd,
            offset: 1,
            size: 2,
            xdata: NO,
        };
        a.fop(&req).await.unwrap();
        assert_eq!(&a.read(gfid(1), fd, 0, 4).await.unwrap().1[..], b"0\0\x003");
        let sum = |offset, len| RchecksumReq {
            gfid: gfid(1),
            fd,
            offset,
            len,
            flags: 0,
            xdata: NO,
        };
        let sums = a.fop(&sum(0, 4)).await.unwrap();
        assert_eq!((sums.strong_checksum.len(), sums.flags), (32, 1));
        assert_eq!(sums.xdata.get_i64("fips-mode-rchecksum"), Some(1));
        assert_ne!(sums.strong_checksum, a.fop(&sum(4, 4)).await.unwrap().strong_checksum);
        let out = a.create("g", gfid(2)).await.fd as i64;
        let copy = CopyFileRangeReq {
            gfid1: gfid(1),
            gfid2: gfid(2),
            fd_in: fd,
            fd_out: out,
            size: 4,
            ..CopyFileRangeReq::default()
        };
        let copied = a.fop(&copy).await.unwrap();
        assert_eq!(
            (copied.op_ret, copied.stat.gfid, copied.postparent.size),
            (4, gfid(1), 4)
        );
        let sync = a
            .fop(&FsyncReq {
                gfid: gfid(1),
                fd,
                data: 0,
                xdata: NO,
            })
            .await
            .unwrap();
        assert_eq!(sync.poststat.gfid, gfid(1));
        a.fop(&FsyncReq {
            gfid: gfid(1),
            fd: ANONYMOUS_FD,
            data: 1,
            xdata: NO,
        })
        .await
        .unwrap();
        assert_eq!(
            errno(
                a.fop(&FsyncReq {
                    gfid: gfid(1),
                    fd: 99,
                    data: 0,
                    xdata: NO
                })
                .await
            ),
            Errno::EBADF
        );
    });
}
