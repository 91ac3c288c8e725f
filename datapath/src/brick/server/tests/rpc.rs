//! The RPC layer: programs, refusals, and peers that do not speak the protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::wire::dump::{self, DumpReq, DumpRsp, GfCommonRsp};
use crate::wire::fop::{StatReq, StatfsReq};
use crate::wire::program::Program;
use crate::wire::rpc::{CallHeader, call_record};

const UNKNOWN: Program = Program {
    number: 99,
    version: 1,
    name: "none",
};

#[test]
fn programs_are_listed_and_pinged() {
    with_brick(config(), async |lab| {
        let raw = Raw::connect(&lab).await;
        let reply = raw
            .raw(program::DUMP, dump::Proc::Dump as u32, &DumpReq { gfs_id: 0xcaed })
            .await
            .unwrap();
        let listed: DumpRsp = reply.decode().unwrap();
        assert_eq!((listed.gfs_id, listed.op_ret, listed.op_errno), (0, 0, 0));
        assert!(listed.has(program::FOP) && listed.has(program::DUMP) && listed.has(program::HANDSHAKE_BRICK));
        for (prog, proc) in [(program::DUMP, 2), (program::HANDSHAKE_BRICK, 3)] {
            let pong: GfCommonRsp = raw.raw(prog, proc, &()).await.unwrap().decode().unwrap();
            assert_eq!((pong.op_ret, pong.op_errno), (0, 0));
        }
    });
}

#[test]
fn refusals_of_the_rpc_layer() {
    with_brick(config(), async |lab| {
        let raw = Raw::connect(&lab).await;
        let refused = async |prog, proc| raw.raw(prog, proc, &()).await.unwrap_err();
        assert!(refused(UNKNOWN, 1).await.contains("ProgUnavail"));
        assert!(
            refused(program::FOP_330, 1)
                .await
                .contains("ProgMismatch { low: 0, high: 0 }")
        );
        assert!(refused(program::DUMP, 0).await.contains("ProcUnavail"));
        assert!(
            refused(program::HANDSHAKE_BRICK, 2).await.contains("ProcUnavail"),
            "GETSPEC is glusterd's"
        );
        let early = raw
            .raw(program::FOP, Proc::Statfs as u32, &StatfsReq::default())
            .await
            .unwrap_err();
        assert!(early.contains("GarbageArgs"), "a fop before SETVOLUME: {early}");

        let raw = Raw::join(&lab, "a").await;
        let refused =
            async |proc, args: &Bytes| raw.raw(program::FOP, proc, &Verbatim(args.clone())).await.unwrap_err();
        assert!(refused(57, &Bytes::new()).await.contains("ProcUnavail"));
        assert!(refused(1000, &Bytes::new()).await.contains("ProcUnavail"));
        assert!(refused(Proc::Put as u32, &Bytes::new()).await.contains("ProcUnavail"));
        assert!(
            refused(Proc::Compound as u32, &Bytes::new())
                .await
                .contains("GarbageArgs")
        );
        assert!(
            refused(Proc::Stat as u32, &Bytes::from_static(&[1, 2, 3]))
                .await
                .contains("GarbageArgs")
        );
        assert!(
            raw.fop(&StatReq {
                gfid: Gfid::ROOT,
                xdata: Dict::null()
            })
            .await
            .is_ok(),
            "the connection goes on"
        );
    });
}

/// Bytes that are sent as they are.
struct Verbatim(Bytes);

impl Xdr for Verbatim {
    fn encode(&self, e: &mut crate::wire::xdr::Encoder) {
        e.put_raw(&self.0);
    }

    fn decode(_: &mut crate::wire::xdr::Decoder<'_>) -> Result<Self, crate::wire::xdr::DecodeError> {
        Ok(Verbatim(Bytes::new()))
    }
}

/// Runs a blocking peer on a thread of its own while the brick serves.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(f);
    while !thread.is_finished() {
        exec::sleep(Duration::from_millis(1)).await;
    }
    thread.join().unwrap()
}

/// Sends bytes and gives everything the brick answers until it closes (or stays silent for half a second).
async fn exchange(lab: &Lab, bytes: Vec<u8>, end: bool) -> (Vec<u8>, bool) {
    let addr = lab.addr;
    blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(&bytes).unwrap();
        if end {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            match stream.read(&mut part) {
                Ok(0) => return (answer, true),
                Ok(n) => answer.extend_from_slice(&part[..n]),
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return (answer, false);
                }
                // A reset is as good an end as any.
                Err(_) => return (answer, true),
            }
        }
    })
    .await
}

#[test]
fn strangers_are_disconnected() {
    with_brick(config(), async |lab| {
        for (what, bytes) in [
            ("HTTP", b"GET / HTTP/1.1\r\nHost: brick\r\n\r\n".to_vec()),
            ("a 2 GiB record", vec![0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]),
            ("a record just above the limit", {
                let mark = 0x8000_0000u32 | (super::super::MAX_RECORD_LEN as u32 + 1);
                mark.to_be_bytes().to_vec()
            }),
            ("an empty record", vec![0x80, 0, 0, 0]),
            ("a record of four bytes", vec![0x80, 0, 0, 4, 0, 0, 0, 1]),
            (
                "a message that is neither call nor reply",
                vec![0x80, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 7],
            ),
        ] {
            let (answer, closed) = exchange(&lab, bytes, false).await;
            assert!(closed && answer.is_empty(), "{what}: {answer:?}");
        }
        let (answer, closed) = exchange(&lab, vec![0x80, 0, 1, 0, 9, 9], true).await;
        assert!(closed && answer.is_empty(), "a record cut short");
        until("all strangers are gone", || lab.server.status().clients.is_empty()).await;
        Raw::join(&lab, "a").await;
    });
}

#[test]
fn a_fragmented_record_is_put_together() {
    with_brick(config(), async |lab| {
        let whole = call_record(5, program::DUMP, 2, &Credential::Null, &(), 0);
        let mut bytes = Vec::new();
        let chunks: Vec<_> = whole[4..].chunks(12).collect();
        for (i, chunk) in chunks.iter().enumerate() {
            let last = if i + 1 == chunks.len() { 0x8000_0000 } else { 0 };
            bytes.extend_from_slice(&(chunk.len() as u32 | last).to_be_bytes());
            bytes.extend_from_slice(chunk);
        }
        let (answer, _) = exchange(&lab, bytes, true).await;
        assert_eq!(answer.len(), 4 + 24 + 12);
        assert_eq!(answer[4..8], 5u32.to_be_bytes());
    });
}

#[test]
fn another_rpc_version_is_denied() {
    with_brick(config(), async |lab| {
        let mut call = call_record(5, program::DUMP, 2, &Credential::Null, &(), 0).to_vec();
        call[4 + 11] = 3;
        let (answer, _) = exchange(&lab, call, true).await;
        let words: Vec<u32> = answer
            .chunks_exact(4)
            .map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]))
            .collect();
        assert_eq!(words[1..], [5, 1, 1, 0, 2, 2]);
    });
}

#[test]
fn a_credential_that_does_not_decode_is_garbage() {
    with_brick(config(), async |lab| {
        let header = CallHeader::new(5, program::DUMP, 2, Credential::Null).to_bytes();
        let mut message = header.to_vec();
        message[24..28].copy_from_slice(&390_040u32.to_be_bytes());
        let mut record = (0x8000_0000u32 | message.len() as u32).to_be_bytes().to_vec();
        record.extend_from_slice(&message);
        let (answer, _) = exchange(&lab, record, true).await;
        assert_eq!(answer.last(), Some(&4), "{answer:?}");
    });
}

#[test]
fn unprivileged_ports_can_be_shut_out() {
    let mut config = config();
    config.auth.allow_insecure = false;
    with_brick(config, async |lab| {
        let raw = Raw::connect(&lab).await;
        let refused = raw.raw(program::DUMP, 2, &()).await.unwrap_err();
        assert!(refused.contains("AuthError(2)"), "{refused}");
    });
}

#[test]
fn a_write_with_less_data_than_announced_is_garbage() {
    with_brick(config(), async |lab| {
        let raw = Raw::join(&lab, "a").await;
        let made = raw.create("f", gfid(1)).await;
        let req = WriteReq {
            gfid: gfid(1),
            fd: made.fd as i64,
            size: 100,
            ..WriteReq::default()
        };
        let data = Some(Bytes::from_static(b"short"));
        let reply = raw
            .conn
            .call(program::FOP, Proc::Write as u32, &raw.credential(), &req, data)
            .await
            .unwrap();
        assert!(reply.unwrap_err().to_string().contains("GarbageArgs"));
    });
}
