//! The byte examples of wire-protocol.md chapter 8, one test each: decoded to the values the text beside them
//! gives, and encoded to the same bytes.

use bytes::Bytes;

use super::auth::{Credential, GlusterfsCred};
use super::fop::{
    self, CommonRsp, CreateReq, EntrylkReq, FopRsp, HeaderLen, LkReq, ReadRsp, ReaddirpRsp, SeekReq, SeekRsp, WriteReq,
};
use super::handshake::{self, GetspecReq, SetvolumeRsp};
use super::portmap::PortByBrickRsp;
use super::record::{MARK_LEN, Mark};
use super::rpc::{CallHeader, ReplyHeader};
use super::{Decoder, Dict, Gfid, Iatt, OldDict, Value, Xdr, dump, peer, program};

/// Bytes written as hexadecimal words, `"text"` without blanks and `text\0`; `#` begins a comment.
fn bytes(text: &str) -> Bytes {
    let mut out = Vec::new();
    for token in text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or("").split_whitespace())
    {
        match token.strip_prefix('"') {
            Some(quoted) => {
                let quoted = quoted.strip_suffix('"').unwrap();
                out.extend(quoted.replace("\\0", "\0").replace('_', " ").bytes());
            }
            None => out.extend(
                token
                    .as_bytes()
                    .chunks(2)
                    .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()),
            ),
        }
    }
    Bytes::from(out)
}

/// Takes the mark off a record of `payload` more bytes than are here.
fn unmark(record: &Bytes, payload: usize) -> Bytes {
    let mark = Mark::from_bytes(*record.first_chunk().unwrap());
    assert_eq!(mark, Mark::whole(record.len() - MARK_LEN + payload));
    record.slice(MARK_LEN..)
}

/// Decodes a call and checks that it encodes to the same bytes.
fn call<T: Xdr>(record: &Bytes, payload: usize) -> (CallHeader, T) {
    let body = unmark(record, payload);
    let mut d = Decoder::new(&body);
    let (header, args) = (CallHeader::decode(&mut d).unwrap(), T::decode(&mut d).unwrap());
    d.finish().unwrap();
    assert_eq!([header.to_bytes(), args.to_bytes()].concat(), body);
    (header, args)
}

/// Decodes a successful reply and checks that it encodes to the same bytes.
fn reply<T: Xdr>(record: &Bytes, payload: usize) -> (u32, T) {
    let body = unmark(record, payload);
    let mut d = Decoder::new(&body);
    let (header, result) = (ReplyHeader::decode(&mut d).unwrap(), T::decode(&mut d).unwrap());
    d.finish().unwrap();
    assert!(header.is_success());
    assert_eq!([header.to_bytes(), result.to_bytes()].concat(), body);
    (header.xid, result)
}

/// Decodes a bare structure and checks that it encodes to the same bytes.
fn body<T: Xdr>(text: &str) -> T {
    let bytes = bytes(text);
    let value = T::from_bytes(&bytes).unwrap();
    assert_eq!(value.to_bytes(), bytes);
    value
}

fn gfid(text: &str) -> Gfid {
    text.parse().unwrap()
}

const NULL_OWNER: [u8; 4] = [0; 4];

#[test]
fn getspec_call() {
    let record = bytes(
        r#"8000008c 00000002 00000000 00000002 00dbb4a9 00000002 00000002
        0005f397 00000018 00000000 00000000 00000000 00000000 00000004 00000000
        00000000 00000000
        00000001 00000004 30303031 0000003b
        00000002 0000000e 00000007 6d61782d 6f702d76 65727369 6f6e0031 30303030 30000000
        000e0000 00026d69 6e2d6f70 2d766572 73696f6e 00310000"#,
    );
    let (header, args) = call::<GetspecReq>(&record, 0);
    let cred = GlusterfsCred {
        lk_owner: Bytes::from_static(&NULL_OWNER),
        ..GlusterfsCred::default()
    };
    let proc = handshake::Proc::Getspec as u32;
    assert_eq!(
        header,
        CallHeader::new(2, program::HANDSHAKE_MGMT, proc, Credential::V2(cred))
    );
    assert_eq!((args.flags, &args.key[..]), (1, &b"0001"[..]));
    assert_eq!(
        args.xdata,
        OldDict::new()
            .with_str("max-op-version", "100000")
            .with_str("min-op-version", "1")
    );
}

#[test]
fn dump_call_and_reply() {
    let record = bytes(
        "80000048 00000002 00000000 00000002 075bb86d 00000001 00000001 0005f397 00000018 00000000 00000000
        00000000 00000000 00000004 00000000 00000000 00000000 00000000 0000caed",
    );
    let (header, args) = call::<dump::DumpReq>(&record, 0);
    assert!(header.is_for(program::DUMP) && header.proc == dump::Proc::Dump as u32);
    assert_eq!(args.gfs_id, dump::CLIENT_GFS_ID);

    let record = bytes(
        r#"800000c8 00000005 00000001 00000000 00000000 00000000 00000000
        00000000 00000000 00000000 00000000
        00000001 00000010 "GlusterFS_4.x_v1" 00000000 0013d005 00000000 00000190
        00000001 0000000d "GlusterFS_3.3" 000000 00000000 0013d005 00000000 0000014a
        00000001 00000007 "GF-DUMP" 00 00000000 075bb86d 00000000 00000001
        00000001 00000013 "GlusterFS_Handshake" 00 00000000 00dbb4a9 00000000 00000002
        00000000"#,
    );
    let (xid, result) = reply::<dump::DumpRsp>(&record, 0);
    assert_eq!(xid, 5);
    let programs = [program::FOP, program::FOP_330, program::DUMP, program::HANDSHAKE_BRICK];
    assert_eq!(result, dump::DumpRsp::listing(&programs));
}

#[test]
fn ping_call_and_reply() {
    let record = bytes(
        "80000040 00000006 00000000 00000002 075bb86d 00000001 00000002 0005f397 00000018
        00000000 00000000 00000000 00000000 00000004 00000000 00000000 00000000",
    );
    assert_eq!(call::<()>(&record, 0).0.proc, dump::Proc::Ping as u32);
    let record = bytes("80000024 00000006 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000");
    assert_eq!(
        reply::<dump::GfCommonRsp>(&record, 0),
        (6, dump::GfCommonRsp::default())
    );
}

#[test]
fn port_by_brick_reply() {
    let record =
        bytes("80000028 00000004 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0000c3ef");
    assert_eq!(reply::<PortByBrickRsp>(&record, 0).1.port, 50159);
}

#[test]
fn setvolume_reply() {
    let record = bytes(
        r#"80000104 00000007 00000001 00000000 00000000 00000000 00000000
        00000000 00000016 000000de 00000006
        0000000d 00000010 "transport-ptr\0" "140432147039560\0"
        0000000f 00000002 "clnt-lk-version\0" "0\0"
        0000000c 00000025 "process-uuid\0" "3f5abfe8-2755-4ae8-be10-2a23519f90c5\0"
        00000005 00000008 "ERROR\0" "Success\0"
        00000009 00000025 "volume-id\0" "a56c387a-e6ef-4445-9906-2c613da2e930\0"
        00000008 00000002 "child_up\0" "1\0" 0000"#,
    );
    let (_, result) = reply::<SetvolumeRsp>(&record, 0);
    assert_eq!((result.op_ret, result.op_errno, result.dict.len()), (0, 22, 6));
    assert_eq!(result.dict.get_str("ERROR"), Some("Success"));
    assert_eq!(
        result.dict.get_uuid("volume-id"),
        Some(gfid("a56c387a-e6ef-4445-9906-2c613da2e930"))
    );
}

#[test]
fn entrylk_call_and_reply() {
    let record = bytes(
        "800000a0 00000010 00000000 00000002 0013d005 00000190 0000001f
        0005f398 0000002c 00003c8f 00000000 00000000 0000001f 2f27c08b 00000000 6b032bb3
        00000000 00000008 4816041c a47f0000 00000000 00000000
        00000000 00000000 00000000 00000001 00000002 00000001 00000000 00000001
        00000007 63617074 65737400 00000010 30303031 2d726570 6c696361 74652d30
        00000000 ffffffff 00000000",
    );
    let (header, args) = call::<EntrylkReq>(&record, 0);
    assert_eq!((header.xid, header.proc), (16, fop::Proc::Entrylk as u32));
    let cred = header.cred.identity();
    assert_eq!(
        (cred.pid, cred.flags, cred.ctime_sec, cred.ctime_nsec),
        (15503, 31, 0x6b03_2bb3, 0x2f27_c08b)
    );
    assert_eq!(cred.lk_owner, bytes("4816041c a47f0000"));
    let expected = EntrylkReq {
        gfid: Gfid::ROOT,
        cmd: fop::EntrylkCmd::LockNb.to_wire(),
        kind: fop::LockType::Write.to_wire(),
        namelen: 1,
        name: Bytes::from_static(b"captest"),
        volume: Bytes::from_static(b"0001-replicate-0"),
        xdata: Dict::null(),
    };
    assert_eq!(args, expected);

    let record = bytes(
        "8000002c 00000010 00000001 00000000 00000000 00000000 00000000 00000000 00000000
        00000000 ffffffff 00000000",
    );
    assert_eq!(reply::<CommonRsp>(&record, 0), (16, CommonRsp::default()));
}

#[test]
fn create_call() {
    let record = bytes(
        "800000a4 00000016 00000000 00000002 0013d005 00000190 00000017
        0005f398 00000028 00003c8f 00000000 00000000 0000001f 0bb541c4 00000000 6b032bb4 00000000 00000004 8f3c0000
        00000000 00000000
        48cd9101 3d724c5c b5ef3c1f dc674ebb 000000c2 000081a4 00000000 00000003 66346b00
        00000024 00000001 00000001 00000009 67666964 2d726571 00000000
        00000007 12ed8f5d c1124a76 b05d3389 c05b7e5b",
    );
    let (_, args) = call::<CreateReq>(&record, 0);
    assert_eq!(
        (args.flags, args.mode, args.umask, &args.bname[..]),
        (0xc2, 0o100_644, 0, &b"f4k"[..])
    );
    assert_eq!(args.pargfid, gfid("48cd9101-3d72-4c5c-b5ef-3c1fdc674ebb"));
    let id = gfid("12ed8f5d-c112-4a76-b05d-3389c05b7e5b");
    assert_eq!(args.xdata, Dict::new().with("gfid-req", Value::Gfid(id)));
}

/// The example's reply breaks off before the parents, so only its first iatt is compared.
#[test]
fn create_reply_iatt() {
    let stat: Iatt = body(
        "12ed8f5d c1124a76 b05d3389 c05b7e5b 00000000 000017ff b05d3389 c05b7e5b 00000000 0000fe00 00000000 00000000
        00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        00000000 6b032bb4 00000000 6b032bb4 00000000 6b032bb4 00000000 00000000
        0bb541c4 0bb541c4 0bb541c4 00000000
        00000001 00000000 00000000 00001000 000081a4",
    );
    let id = gfid("12ed8f5d-c112-4a76-b05d-3389c05b7e5b");
    let expected = Iatt {
        gfid: id,
        flags: Iatt::VALID,
        ino: id.ino(),
        dev: 0xfe00,
        atime: 0x6b03_2bb4,
        mtime: 0x6b03_2bb4,
        ctime: 0x6b03_2bb4,
        atime_nsec: 0x0bb5_41c4,
        mtime_nsec: 0x0bb5_41c4,
        ctime_nsec: 0x0bb5_41c4,
        nlink: 1,
        blksize: 4096,
        mode: 0o100_644,
        ..Iatt::default()
    };
    assert_eq!(stat, expected);
}

#[test]
fn write_call_header() {
    let record = bytes(
        r#"8000111c 0000001a 00000000 00000002 0013d005 00000190 0000000d
        0005f398 00000028 00003c8f 00000000 00000000 00000003 23b85d61 00000000 6b032bb4 00000000 00000004 8f3c0000
        00000000 00000000
        12ed8f5d c1124a76 b05d3389 c05b7e5b 00000000 00000000 00000000 00000000 00001000 00008002
        00000098 00000003 00000003
        0000001a "glusterfs.write-is-append\0" 0000 00000003 00000000 00000004
        0000001c "glusterfs.inodelk-dom-count\0" 00000005 00000011 "0001-replicate-0\0" 000000
        0000001f "glusterfs.open-active-fd-count\0" 00 00000003 00000000 00000004"#,
    );
    let (_, args) = call::<WriteReq>(&record, 4096);
    assert_eq!((args.size, args.flag, args.xdata.len()), (4096, 0x8002, 3));
    let found = fop::write_call_header_len(&record[MARK_LEN..]);
    assert_eq!(found, HeaderLen::At(record.len() - MARK_LEN));
}

#[test]
fn read_reply_header() {
    let record = bytes(
        "80000136 00000013 00000001 00000000 00000000 00000000 00000000
        00000072 00000002
        855060f5 8f314683 874c55ae c353ebc7 00000000 000017ff 874c55ae c353ebc7 00000000 0000fe00 00000000 00000000
        00000000 00000072 00000000 00000001 00000000 00000000 00000000 00000000
        00000000 6b032cc0 00000000 6b032cc0 00000000 6b032cc0 00000000 00000000 09853ade 09b453f1 09b453f1 00000000
        00000001 00000000 00000000 00001000 000081a4
        00000072
        00000000 ffffffff 00000000",
    );
    let (_, result) = reply::<ReadRsp>(&record, 114);
    assert_eq!(
        (result.op_ret, result.op_errno, result.size, result.stat.size),
        (114, 2, 114, 114)
    );
    let found = fop::read_reply_header_len(&record[MARK_LEN..]);
    assert_eq!(found, HeaderLen::At(record.len() - MARK_LEN));
}

#[test]
fn seek_call_and_reply() {
    let id = "12ed8f5d c1124a76 b05d3389 c05b7e5b";
    let req: SeekReq = body(&format!(
        "{id} 00000000 00000000 00000000 00081000 00000001 00000000 ffffffff 00000000"
    ));
    assert_eq!((req.fd, req.offset, req.what), (0, 0x81000, 1));
    let rsp: SeekRsp = body("00000000 00000000 00000000 ffffffff 00000000 00000000 00081000");
    assert_eq!((rsp.op_ret(), rsp.offset), (0, 0x81000));
}

#[test]
fn lk_call() {
    let id = "12ed8f5d c1124a76 b05d3389 c05b7e5b";
    let req: LkReq = body(&format!(
        "{id} 00000000 00000000 00000002 00000001
        00000001 00000000 00000000 00000000 00000000 00000000 00004ef3 00000008 948f960a dbb5f201
        00000000 ffffffff 00000000"
    ));
    assert_eq!(
        (req.cmd, req.kind),
        (fop::LkCmd::SetLkW.to_wire(), fop::LockType::Write.to_wire())
    );
    assert_eq!(
        (req.flock.kind, req.flock.pid, req.flock.lk_owner.len()),
        (1, 0x4ef3, 8)
    );
}

#[test]
fn empty_readdirp_reply() {
    let rsp: ReaddirpRsp = body("00000000 00000002 00000000 ffffffff 00000000 00000000");
    assert_eq!((rsp.op_errno, rsp.entries.len()), (2, 0));
}

#[test]
fn probe_reply() {
    let rsp: peer::ProbeRsp = body(
        r#"00000046 00000047 00000073 00000069 000000b6 00000093 00000040 00000005
        000000a5 0000007f 00000047 000000e9 0000007d 00000020 000000fc 000000dc
        00000002 "p2" 0000 00000000 00000000 00000000 00000000"#,
    );
    assert_eq!(rsp.uuid.0, gfid("46477369-b693-4005-a57f-47e97d20fcdc"));
    assert_eq!(&rsp.hostname[..], b"p2");
}
