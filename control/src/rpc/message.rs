//! Call and reply headers (wire-protocol.md 1.2, 1.3, 1.5) for the control plane's needs: headers and argument bytes.
//!
//! Decoding checks every length against the bytes at hand. Programs' arguments do not belong here.

use bytes::{BufMut, Bytes, BytesMut};

const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;
const AUTH_GLUSTERFS_V2: u32 = 390_039;
/// Longest credential or verifier body (RFC 5531).
const MAX_AUTH_BODY: usize = 400;

/// Who calls, as the credential says. Control programs only look at this for their logs: access to them is a matter
/// of the socket, not of the caller's user id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credential {
    /// The authentication flavor (0, 1, 5, 390039, 390040).
    pub flavor: u32,
    /// Its body, undecoded.
    pub body: Bytes,
}

impl Credential {
    /// The AUTH_GLUSTERFS v2 credential of this process: its pid, root, no groups, 4-byte zero lock owner.
    pub fn own() -> Credential {
        let mut body = BytesMut::with_capacity(24);
        body.put_u32(std::process::id());
        for word in [0, 0, 0, 4, 0] {
            body.put_u32(word);
        }
        Credential {
            flavor: AUTH_GLUSTERFS_V2,
            body: body.freeze(),
        }
    }
}

/// A call without its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHeader {
    /// Matches the reply to the call.
    pub xid: u32,
    /// RPC program number.
    pub program: u32,
    /// RPC program version.
    pub version: u32,
    /// Procedure number.
    pub procedure: u32,
    /// Who calls.
    pub credential: Credential,
}

/// Why a server accepted a call but did not carry it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptStatus {
    /// No such program.
    ProgUnavail,
    /// The program exists in another version.
    ProgMismatch,
    /// No such procedure.
    ProcUnavail,
    /// The arguments do not decode.
    GarbageArgs,
    /// Failure inside the server.
    SystemErr,
    /// A number that has no meaning.
    Unknown(u32),
}

impl AcceptStatus {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            AcceptStatus::ProgUnavail => 1,
            AcceptStatus::ProgMismatch => 2,
            AcceptStatus::ProcUnavail => 3,
            AcceptStatus::GarbageArgs => 4,
            AcceptStatus::SystemErr => 5,
            AcceptStatus::Unknown(n) => n,
        }
    }

    fn from_number(n: u32) -> AcceptStatus {
        match n {
            1 => AcceptStatus::ProgUnavail,
            2 => AcceptStatus::ProgMismatch,
            3 => AcceptStatus::ProcUnavail,
            4 => AcceptStatus::GarbageArgs,
            5 => AcceptStatus::SystemErr,
            n => AcceptStatus::Unknown(n),
        }
    }
}

impl std::fmt::Display for AcceptStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AcceptStatus::ProgUnavail => f.write_str("program unavailable"),
            AcceptStatus::ProgMismatch => f.write_str("program version mismatch"),
            AcceptStatus::ProcUnavail => f.write_str("procedure unavailable"),
            AcceptStatus::GarbageArgs => f.write_str("garbage arguments"),
            AcceptStatus::SystemErr => f.write_str("system error"),
            AcceptStatus::Unknown(n) => write!(f, "accept status {n}"),
        }
    }
}

/// How the server took a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyStatus {
    /// Carried out; the result body follows.
    Success,
    /// Accepted, not carried out.
    Accepted(AcceptStatus),
    /// Denied: RPC version (0) or authentication (1), with the detail number.
    Denied(u32, u32),
}

/// One decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Call(CallHeader, Bytes),
    Reply { xid: u32, status: ReplyStatus, body: Bytes },
}

/// A message that is not RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

struct Reader(Bytes);

impl Reader {
    fn word(&mut self) -> Result<u32, Malformed> {
        let head: [u8; 4] = self
            .0
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .ok_or(Malformed("message ends early"))?;
        let _ = self.0.split_to(4);
        Ok(u32::from_be_bytes(head))
    }

    fn auth(&mut self) -> Result<Credential, Malformed> {
        let flavor = self.word()?;
        let len = self.word()? as usize;
        if len > MAX_AUTH_BODY {
            return Err(Malformed("credential longer than 400 bytes"));
        }
        let padded = len.next_multiple_of(4);
        if self.0.len() < padded {
            return Err(Malformed("message ends inside the credential"));
        }
        let body = self.0.split_to(padded).slice(..len);
        Ok(Credential { flavor, body })
    }
}

pub(super) fn decode(record: Bytes) -> Result<Message, Malformed> {
    let mut r = Reader(record);
    let xid = r.word()?;
    match r.word()? {
        CALL => {
            if r.word()? != RPC_VERSION {
                return Err(Malformed("RPC version is not 2"));
            }
            let (program, version, procedure) = (r.word()?, r.word()?, r.word()?);
            let credential = r.auth()?;
            r.auth()?;
            Ok(Message::Call(
                CallHeader {
                    xid,
                    program,
                    version,
                    procedure,
                    credential,
                },
                r.0,
            ))
        }
        REPLY => {
            let status = match r.word()? {
                0 => {
                    r.auth()?;
                    match r.word()? {
                        0 => ReplyStatus::Success,
                        n => ReplyStatus::Accepted(AcceptStatus::from_number(n)),
                    }
                }
                1 => ReplyStatus::Denied(r.word()?, r.word()?),
                _ => return Err(Malformed("reply is neither accepted nor denied")),
            };
            Ok(Message::Reply { xid, status, body: r.0 })
        }
        _ => Err(Malformed("message is neither call nor reply")),
    }
}

fn put_auth(out: &mut Vec<u8>, auth: &Credential) {
    out.put_u32(auth.flavor);
    out.put_u32(u32::try_from(auth.body.len()).unwrap_or(0));
    out.extend_from_slice(&auth.body);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A call as one record, mark included.
pub(super) fn encode_call(header: &CallHeader, args: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + header.credential.body.len() + args.len());
    for word in [
        0,
        header.xid,
        CALL,
        RPC_VERSION,
        header.program,
        header.version,
        header.procedure,
    ] {
        out.put_u32(word);
    }
    put_auth(&mut out, &header.credential);
    put_auth(&mut out, &Credential::default());
    out.extend_from_slice(args);
    mark(out)
}

/// A reply as one record, mark included. `body` counts only for success.
pub(super) fn encode_reply(xid: u32, status: ReplyStatus, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(36 + body.len());
    for word in [0, xid, REPLY] {
        out.put_u32(word);
    }
    match status {
        ReplyStatus::Success => {
            for word in [0, 0, 0, 0] {
                out.put_u32(word);
            }
            out.extend_from_slice(body);
        }
        ReplyStatus::Accepted(why) => {
            for word in [0, 0, 0, why.number()] {
                out.put_u32(word);
            }
            if why == AcceptStatus::ProgMismatch {
                out.put_u64(0);
            }
        }
        ReplyStatus::Denied(kind, detail) => {
            for word in [1, kind, detail] {
                out.put_u32(word);
            }
            if kind == 0 {
                out.put_u32(detail);
            }
        }
    }
    mark(out)
}

/// Fills in the record mark: last fragment, with the length of what follows. Bodies are far below 2 GiB (see
/// `MAX_RECORD`), so the length fits.
fn mark(mut record: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(record.len().saturating_sub(4)).unwrap_or(0);
    if let Some(head) = record.get_mut(..4) {
        head.copy_from_slice(&(len | 0x8000_0000).to_be_bytes());
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> CallHeader {
        CallHeader {
            xid: 7,
            program: 1,
            version: 2,
            procedure: 3,
            credential: Credential::own(),
        }
    }

    #[test]
    fn calls_and_replies_survive_the_wire() {
        let record = Bytes::from(encode_call(&call(), b"argsargs"));
        assert_eq!(&record[..4], &(0x8000_0000 | (record.len() as u32 - 4)).to_be_bytes());
        assert_eq!(
            decode(record.slice(4..)),
            Ok(Message::Call(call(), Bytes::from_static(b"argsargs")))
        );
        for status in [
            ReplyStatus::Success,
            ReplyStatus::Accepted(AcceptStatus::ProcUnavail),
            ReplyStatus::Accepted(AcceptStatus::GarbageArgs),
            ReplyStatus::Denied(1, 2),
        ] {
            let record = Bytes::from(encode_reply(9, status, b"body"));
            let body = if status == ReplyStatus::Success {
                Bytes::from_static(b"body")
            } else {
                Bytes::new()
            };
            assert_eq!(decode(record.slice(4..)), Ok(Message::Reply { xid: 9, status, body }));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let record = Bytes::from(encode_call(&call(), b"")).slice(4..);
        for len in 0..record.len() {
            assert!(decode(record.slice(..len)).is_err(), "{len} bytes were accepted");
        }
        let mut long = record.to_vec();
        long[28..32].copy_from_slice(&401u32.to_be_bytes());
        assert_eq!(
            decode(Bytes::from(long)),
            Err(Malformed("credential longer than 400 bytes"))
        );
    }
}
