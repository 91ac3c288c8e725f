//! What the self-heal daemon does: it finds, reads and trims the indices over the wire.

use super::*;
use crate::wire::fop::{
    DictRsp, FxattropReq, GetxattrReq, OpendirReq, ReaddirReq, ReleasedirReq, RmdirReq, UnlinkReq, XattropReq,
};

fn counters(data: u32, metadata: u32, entry: u32) -> Value {
    let bytes: Vec<u8> = [data, metadata, entry].iter().flat_map(|n| n.to_be_bytes()).collect();
    Value::ptr(bytes)
}

async fn xattrop(raw: &Raw, gfid: Gfid, dict: Dict, xdata: Dict) -> FsResult<DictRsp> {
    raw.fop(&XattropReq {
        gfid,
        flags: 0,
        dict,
        xdata,
    })
    .await
}

async fn getxattr(raw: &Raw, name: &'static str) -> FsResult<DictRsp> {
    let name = Bytes::from_static(name.as_bytes());
    raw.fop(&GetxattrReq {
        gfid: Gfid::ROOT,
        namelen: 1,
        name,
        xdata: Dict::null(),
    })
    .await
}

/// The names in an index directory but `.` and `..`, with their types.
async fn names(raw: &Raw, dir: Gfid) -> Vec<(String, u32)> {
    let fd = raw
        .fop(&OpendirReq {
            gfid: dir,
            xdata: Dict::null(),
        })
        .await
        .unwrap()
        .fd;
    let xdata = Dict::new().with("get-gfid-type", Value::Int(1));
    let rsp = raw
        .fop(&ReaddirReq {
            gfid: dir,
            fd,
            offset: 0,
            size: 131072,
            xdata,
        })
        .await
        .unwrap();
    assert_eq!(rsp.op_errno, libc::ENOENT, "the end of the directory");
    assert_eq!(rsp.op_ret as usize, rsp.entries.len());
    raw.fop(&ReleasedirReq {
        gfid: dir,
        fd,
        xdata: Dict::new(),
    })
    .await
    .unwrap();
    rsp.entries
        .iter()
        .map(|e| (String::from_utf8(e.name.to_vec()).unwrap(), e.d_type))
        .filter(|(n, _)| n != "." && n != "..")
        .collect()
}

#[test]
fn pending_counters_enter_and_leave_the_index() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let fd = a.create("f", gfid(1)).await.fd as i64;
        let blame = |n: u32| Dict::new().with("trusted.afr.vol-client-1", counters(n, 0, 0));
        let rsp = xattrop(&a, gfid(1), blame(1), Dict::null()).await.unwrap();
        assert_eq!(
            rsp.dict.get_bytes("trusted.afr.vol-client-1"),
            Some(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..])
        );
        let req = FxattropReq {
            gfid: gfid(1),
            fd,
            flags: 0,
            dict: Dict::new().with("trusted.afr.dirty", counters(0, 1, 0)),
            xdata: Dict::null(),
        };
        a.fop(&req).await.unwrap();
        assert_eq!((lab.server.status().pending, lab.server.status().dirty), (1, 1));
        let asked = Dict::new().with("link-count", Value::str("glusterfs.xattrop_index_count"));
        let root = a.lookup_gfid(Gfid::ROOT, asked).await.unwrap();
        assert_eq!(root.xdata.get_i64("link-count"), Some(1));
        let count = getxattr(&a, "glusterfs.xattrop_index_count").await.unwrap();
        assert_eq!(count.dict.get_u64("glusterfs.xattrop_index_count"), Some(1));

        let dir = getxattr(&a, "glusterfs.xattrop_index_gfid").await.unwrap();
        let dir = dir.dict.get_gfid("glusterfs.xattrop_index_gfid").unwrap();
        let asked = Dict::new().with("glusterfs.index-ia-type-get-req", Value::Int(1));
        let found = a.lookup_gfid(dir, asked.clone()).await.unwrap();
        assert_eq!(found.xdata.get_u64("glusterfs.index-ia-type-get-rsp"), Some(1));
        assert_eq!(
            (found.prestat.gfid, found.prestat.mode, found.prestat.flags),
            (dir, 0o40600, 0x6ff)
        );
        assert_eq!(names(&a, dir).await, [(gfid(1).to_string(), u32::from(libc::DT_REG))]);

        let rsp = xattrop(&a, gfid(1), blame(u32::MAX), Dict::null()).await.unwrap();
        assert_eq!(rsp.dict.get_bytes("trusted.afr.vol-client-1"), Some(&[0u8; 12][..]));
        assert_eq!(lab.server.status().pending, 0);
        assert!(names(&a, dir).await.is_empty());

        let bname = Bytes::from(gfid(1).to_string());
        let dirty = getxattr(&a, "glusterfs.xattrop_dirty_gfid").await.unwrap();
        let dirty = dirty.dict.get_gfid("glusterfs.xattrop_dirty_gfid").unwrap();
        a.fop(&UnlinkReq {
            pargfid: dirty,
            bname: bname.clone(),
            xflags: 0,
            xdata: Dict::null(),
        })
        .await
        .unwrap();
        assert_eq!(lab.server.status().dirty, 0, "the daemon may purge an entry");
        let again = a
            .fop(&UnlinkReq {
                pargfid: dirty,
                bname,
                xflags: 0,
                xdata: Dict::null(),
            })
            .await;
        assert_eq!(errno(again), Errno::ENOENT);
    });
}

#[test]
fn changed_names_are_listed_below_entry_changes() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        a.mkdir("d", gfid(1)).await;
        let blame = Dict::new().with("trusted.afr.vol-client-1", counters(0, 0, 1));
        let create = Dict::new().with("glusterfs.xattrop-entry-create", Value::str("name"));
        xattrop(&a, gfid(1), blame, create).await.unwrap();

        let top = getxattr(&a, "glusterfs.xattrop_entry_changes_gfid").await.unwrap();
        let top = top.dict.get_gfid("glusterfs.xattrop_entry_changes_gfid").unwrap();
        assert_eq!(names(&a, top).await, [(gfid(1).to_string(), u32::from(libc::DT_DIR))]);
        let bname = Bytes::from(gfid(1).to_string());
        let sub = a
            .fop(&LookupReq {
                pargfid: top,
                bname: bname.clone(),
                ..LookupReq::default()
            })
            .await
            .unwrap()
            .prestat
            .gfid;
        assert_eq!(names(&a, sub).await, [("name".to_string(), 0)]);
        let name = Bytes::from_static(b"name");
        a.fop(&UnlinkReq {
            pargfid: sub,
            bname: name,
            xflags: 0,
            xdata: Dict::null(),
        })
        .await
        .unwrap();
        assert!(names(&a, sub).await.is_empty());
        a.fop(&RmdirReq {
            pargfid: top,
            xflags: 0,
            bname,
            xdata: Dict::null(),
        })
        .await
        .unwrap();
        assert!(names(&a, top).await.is_empty());
        assert_eq!(errno(a.lookup_gfid(sub, Dict::null()).await), Errno::ENOENT);
    });
}

#[test]
fn xattrops_on_what_is_gone_leave_no_index_entry() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let blame = Dict::new().with("trusted.afr.vol-client-1", counters(1, 0, 0));
        assert_eq!(errno(xattrop(&a, gfid(7), blame, Dict::null()).await), Errno::ESTALE);
        assert_eq!(lab.server.status().pending, 0);
    });
}

#[test]
fn index_directories_cannot_be_changed_otherwise() {
    with_brick(config(), async |lab| {
        let a = Raw::join(&lab, "a").await;
        let dir = getxattr(&a, "glusterfs.xattrop_index_gfid").await.unwrap();
        let dir = dir.dict.get_gfid("glusterfs.xattrop_index_gfid").unwrap();
        let bname = Bytes::from_static(b"x");
        let req = MkdirReq {
            pargfid: dir,
            mode: 0o755,
            umask: 0,
            bname: bname.clone(),
            xdata: gfid_req(gfid(3)),
        };
        assert_eq!(errno(a.fop(&req).await), Errno::EPERM);
        let req = CreateReq {
            pargfid: dir,
            bname,
            xdata: gfid_req(gfid(3)),
            ..CreateReq::default()
        };
        assert_eq!(errno(a.fop(&req).await), Errno::EPERM);
        let blame = Dict::new().with("trusted.afr.vol-client-1", counters(1, 0, 0));
        assert_eq!(errno(xattrop(&a, dir, blame, Dict::null()).await), Errno::EOPNOTSUPP);
    });
}
