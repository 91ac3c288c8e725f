//! Where the header of a WRITE call or READ reply ends and its payload begins (wire-protocol.md 1.6).
//!
//! A receiver asks with the first bytes of a record, before the rest has arrived, so that it can place the payload
//! page-aligned. The answer rests on the dictionary's own `xdr_size`; whoever decodes the header afterwards must
//! find it to end exactly there.

use super::Proc;
use crate::wire::auth::MAX_BODY_LEN;
use crate::wire::program;
use crate::wire::xdr::{MAX_RECORD_LEN, padded};
use crate::wire::{Iatt, dict_codec};

/// Bytes of a record's beginning that always suffice for an answer: the header with the longest credential and
/// verifier, and the fixed part of a WRITE.
pub const PREFIX_LEN: usize = CALL_WORDS + 2 * (8 + MAX_BODY_LEN) + WRITE_FIXED;

/// Bytes from xid to procedure.
const CALL_WORDS: usize = 24;
/// gfid, fd, offset, size, flag.
const WRITE_BEFORE_DICT: usize = 16 + 8 + 8 + 4 + 4;
/// A WRITE's arguments without the pairs of its dictionary.
const WRITE_FIXED: usize = WRITE_BEFORE_DICT + dict_codec::HEAD_LEN;
/// op_ret, op_errno, stat, size.
const READ_BEFORE_DICT: usize = 4 + 4 + Iatt::WIRE_LEN + 4;
/// A READ's result without the pairs of its dictionary.
const READ_FIXED: usize = READ_BEFORE_DICT + dict_codec::HEAD_LEN;

/// What the first bytes of a record say about its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderLen {
    /// Too few bytes to tell.
    NeedMore,
    /// The record has no payload, or is damaged: read it whole and decode it.
    NotPayload,
    /// The payload begins at this offset of the record (its mark not counted). It may lie beyond the record's end
    /// if the sender lies; the receiver compares.
    At(usize),
}

/// Looks for the payload of a WRITE call. `prefix` is the beginning of a record of any kind, behind its mark.
pub fn write_call_header_len(prefix: &[u8]) -> HeaderLen {
    let wanted = [0, 2, program::FOP.number, program::FOP.version, Proc::Write as u32];
    for (i, wanted) in wanted.into_iter().enumerate() {
        match word(prefix, 4 + 4 * i) {
            None => return HeaderLen::NeedMore,
            Some(found) if found != wanted => return HeaderLen::NotPayload,
            Some(_) => {}
        }
    }
    match skip_auth(prefix, CALL_WORDS).and_then(|at| skip_auth(prefix, at)) {
        Ok(args) => behind_dict(prefix, args + WRITE_BEFORE_DICT),
        Err(stop) => stop,
    }
}

/// Looks for the payload of a reply that is known to answer a READ.
pub fn read_reply_header_len(prefix: &[u8]) -> HeaderLen {
    const REPLY: u32 = 1;
    const ACCEPTED: u32 = 0;
    const SUCCESS: u32 = 0;
    for (at, wanted) in [(4, REPLY), (8, ACCEPTED)] {
        match word(prefix, at) {
            None => return HeaderLen::NeedMore,
            Some(found) if found != wanted => return HeaderLen::NotPayload,
            Some(_) => {}
        }
    }
    let stat = match skip_auth(prefix, 12) {
        Ok(at) => at,
        Err(stop) => return stop,
    };
    match word(prefix, stat) {
        None => HeaderLen::NeedMore,
        Some(SUCCESS) => behind_dict(prefix, stat + 4 + READ_BEFORE_DICT),
        Some(_) => HeaderLen::NotPayload,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|w| u32::from_be_bytes(*w))
}

/// The offset behind the credential or verifier at `at`.
fn skip_auth(prefix: &[u8], at: usize) -> Result<usize, HeaderLen> {
    match word(prefix, at + 4).map(|len| len as usize) {
        None => Err(HeaderLen::NeedMore),
        Some(len) if len > MAX_BODY_LEN => Err(HeaderLen::NotPayload),
        Some(len) => Ok(at + 8 + padded(len)),
    }
}

/// The offset behind the dictionary that begins at `at`.
fn behind_dict(prefix: &[u8], at: usize) -> HeaderLen {
    match word(prefix, at).map(|size| size as usize) {
        None => HeaderLen::NeedMore,
        Some(size) if size > MAX_RECORD_LEN => HeaderLen::NotPayload,
        Some(size) => HeaderLen::At(at + dict_codec::HEAD_LEN + padded(size)),
    }
}

const _: () = assert!(WRITE_FIXED == 52 && READ_FIXED == 172, "wire-protocol.md 1.6");

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::auth::{Credential, GlusterfsCred};
    use crate::wire::fop::{ReadRsp, WriteReq};
    use crate::wire::record::MARK_LEN;
    use crate::wire::rpc::{AcceptStat, ReplyHeader, call_record, error_record, reply_record};
    use crate::wire::{Dict, Value};

    fn write_call(xdata: Dict, owner: &'static [u8]) -> Bytes {
        let cred = Credential::V3(GlusterfsCred {
            lk_owner: Bytes::from_static(owner),
            ..GlusterfsCred::default()
        });
        let req = WriteReq {
            size: 5,
            xdata,
            ..WriteReq::default()
        };
        call_record(7, program::FOP, Proc::Write as u32, &cred, &req, 5).slice(MARK_LEN..)
    }

    fn check(record: &Bytes, find: fn(&[u8]) -> HeaderLen, fixed: usize) {
        let known = (0..=record.len())
            .find(|n| find(&record[..*n]) != HeaderLen::NeedMore)
            .unwrap();
        assert!(known <= fixed, "{known} bytes were needed");
        for n in known..=record.len() {
            assert_eq!(find(&record[..n]), HeaderLen::At(record.len()), "prefix of {n}");
        }
    }

    #[test]
    fn write_boundary() {
        let some = Dict::new().with("glusterfs.write-is-append", Value::Uint(4));
        for xdata in [Dict::null(), Dict::new(), some] {
            for owner in [&b"1234"[..], b"12345678", b"123"] {
                check(&write_call(xdata.clone(), owner), write_call_header_len, PREFIX_LEN);
            }
        }
    }

    #[test]
    fn read_boundary() {
        for xdata in [Dict::null(), Dict::new().with("abc", Value::str("de"))] {
            let record = reply_record(
                7,
                &ReadRsp {
                    op_ret: 5,
                    size: 5,
                    xdata,
                    ..ReadRsp::default()
                },
                5,
            );
            check(&record.slice(MARK_LEN..), read_reply_header_len, 24 + READ_FIXED);
        }
    }

    #[test]
    fn other_records_have_no_payload() {
        let call = write_call(Dict::null(), b"1234");
        for at in [7, 11, 15, 19, 23] {
            let mut other = call.to_vec();
            other[at] ^= 1;
            assert_eq!(
                write_call_header_len(&other),
                HeaderLen::NotPayload,
                "byte {at} changed"
            );
        }
        let error = error_record(&ReplyHeader::accepted(7, AcceptStat::GarbageArgs)).slice(MARK_LEN..);
        assert_eq!(read_reply_header_len(&error), HeaderLen::NotPayload);
        assert_eq!(read_reply_header_len(&call), HeaderLen::NotPayload);
    }

    #[test]
    fn absurd_lengths_are_no_payload() {
        let mut call = write_call(Dict::null(), b"1234").to_vec();
        call[28..32].fill(0xff);
        assert_eq!(write_call_header_len(&call), HeaderLen::NotPayload);
        let mut call = write_call(Dict::null(), b"1234").to_vec();
        let dict = call.len() - dict_codec::HEAD_LEN;
        call[dict..dict + 4].fill(0xff);
        assert_eq!(write_call_header_len(&call), HeaderLen::NotPayload);
    }
}
