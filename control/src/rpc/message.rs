//! Messages of a control connection: the data path's codec of headers, and argument bytes.
//!
//! Programs' arguments do not belong here.

use bytes::Bytes;
use datapath::wire::auth::{Credential, GlusterfsCred};
use datapath::wire::rpc::{CallHeader, MessageType, ReplyHeader, peek};
use datapath::wire::{Decoder, Xdr, record};

/// The AUTH_GLUSTERFS v2 credential of this process: its pid, root, no groups, a lock owner of four zero bytes, as
/// GlusterFS's own processes send it (wire-protocol.md 1.5).
pub(super) fn own_credential() -> Credential {
    Credential::V2(GlusterfsCred {
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        lk_owner: Bytes::from_static(&[0; 4]),
        ..GlusterfsCred::default()
    })
}

/// One decoded message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Call(CallHeader, Bytes),
    Reply(ReplyHeader, Bytes),
}

/// Reads a record. The message type decides first: both sides number their calls on their own.
pub(super) fn decode(record: &Bytes) -> Result<Message, String> {
    let mut decoder = Decoder::new(record);
    let wrong = |e: datapath::wire::DecodeError| e.to_string();
    match peek(record) {
        Some((_, MessageType::Call)) => {
            let header = CallHeader::decode(&mut decoder).map_err(wrong)?;
            Ok(Message::Call(header, decoder.rest()))
        }
        Some((_, MessageType::Reply)) => {
            let header = ReplyHeader::decode(&mut decoder).map_err(wrong)?;
            Ok(Message::Reply(header, decoder.rest()))
        }
        None => Err("it is neither call nor reply".to_owned()),
    }
}

/// A call as one record, mark included.
pub(super) fn encode_call(header: &CallHeader, args: &[u8]) -> Vec<u8> {
    let record = record::build(0, |e| {
        header.encode(e);
        e.put_raw(args);
    });
    record.into()
}

/// A reply as one record, mark included. `body` counts only for success.
pub(super) fn encode_reply(header: &ReplyHeader, body: &[u8]) -> Vec<u8> {
    let record = record::build(0, |e| {
        header.encode(e);
        if header.is_success() {
            e.put_raw(body);
        }
    });
    record.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datapath::wire::rpc::AcceptStat;

    fn call() -> CallHeader {
        CallHeader {
            xid: 7,
            prog: 1,
            vers: 2,
            proc: 3,
            cred: own_credential(),
        }
    }

    #[test]
    fn calls_and_replies_survive_the_wire() {
        let record = Bytes::from(encode_call(&call(), b"argsargs"));
        assert_eq!(&record[..4], &(0x8000_0000 | (record.len() as u32 - 4)).to_be_bytes());
        assert_eq!(
            decode(&record.slice(4..)),
            Ok(Message::Call(call(), Bytes::from_static(b"argsargs")))
        );
        for header in [
            ReplyHeader::success(9),
            ReplyHeader::accepted(9, AcceptStat::ProcUnavail),
        ] {
            let record = Bytes::from(encode_reply(&header, b"body"));
            let body = if header.is_success() {
                Bytes::from_static(b"body")
            } else {
                Bytes::new()
            };
            assert_eq!(decode(&record.slice(4..)), Ok(Message::Reply(header, body)));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let record = Bytes::from(encode_call(&call(), b"")).slice(4..);
        for len in 0..record.len() {
            assert!(decode(&record.slice(..len)).is_err(), "{len} bytes were accepted");
        }
    }
}
