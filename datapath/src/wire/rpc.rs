//! The RPC header of calls and replies (wire-protocol.md 1.2 and 1.3).

use std::fmt;

use bytes::Bytes;

use super::auth::Credential;
use super::program::Program;
use super::record;
use super::xdr::{DecodeError, Decoder, Encoder, Why, Xdr};

/// The only RPC version.
pub const RPC_VERSION: u32 = 2;
/// Bytes of the header of a successful reply.
pub const REPLY_OK_LEN: usize = 24;
/// AUTH_ERROR's value when an unprivileged source port is refused.
pub const AUTH_REJECTED_CRED: u32 = 2;

const CALL: u32 = 0;
const REPLY: u32 = 1;
const MSG_ACCEPTED: u32 = 0;
const MSG_DENIED: u32 = 1;
/// The longest verifier in bytes; nobody sends one, and it is ignored.
const MAX_VERF_LEN: usize = 400;

/// Which way a message goes. Both sides of a connection number their calls on their own, so a receiver looks at
/// this before it looks at the xid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// A request or a callback.
    Call,
    /// The answer to one.
    Reply,
}

/// The xid and type at the beginning of a record, or `None` when it has no 8 bytes or another type.
pub fn peek(record: &[u8]) -> Option<(u32, MessageType)> {
    let (xid, rest) = record.split_first_chunk::<4>()?;
    let kind = match u32::from_be_bytes(*rest.first_chunk::<4>()?) {
        CALL => MessageType::Call,
        REPLY => MessageType::Reply,
        _ => return None,
    };
    Some((u32::from_be_bytes(*xid), kind))
}

/// The head of a call. What follows in the record are the procedure's arguments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallHeader {
    /// The caller's number for this call.
    pub xid: u32,
    /// Program number.
    pub prog: u32,
    /// Program version.
    pub vers: u32,
    /// Procedure number.
    pub proc: u32,
    /// Who asks.
    pub cred: Credential,
}

impl CallHeader {
    /// The head of a call of `program`.
    pub fn new(xid: u32, program: Program, proc: u32, cred: Credential) -> CallHeader {
        CallHeader {
            xid,
            prog: program.number,
            vers: program.version,
            proc,
            cred,
        }
    }

    /// Whether the call is for this program in this version.
    pub fn is_for(&self, program: Program) -> bool {
        (self.prog, self.vers) == (program.number, program.version)
    }
}

/// Appends a call header without the need to own its parts.
pub fn encode_call_header(e: &mut Encoder, xid: u32, program: Program, proc: u32, cred: &Credential) {
    put_call_header(e, xid, (program.number, program.version, proc), cred);
}

fn put_call_header(e: &mut Encoder, xid: u32, (prog, vers, proc): (u32, u32, u32), cred: &Credential) {
    for word in [xid, CALL, RPC_VERSION, prog, vers, proc] {
        e.put_u32(word);
    }
    cred.encode(e);
    put_null_verifier(e);
}

impl Xdr for CallHeader {
    fn encode(&self, e: &mut Encoder) {
        put_call_header(e, self.xid, (self.prog, self.vers, self.proc), &self.cred);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<CallHeader, DecodeError> {
        let xid = d.u32()?;
        expect(d, CALL, "message type")?;
        expect(d, RPC_VERSION, "RPC version")?;
        let (prog, vers, proc) = (d.u32()?, d.u32()?, d.u32()?);
        let cred = Credential::decode(d)?;
        skip_verifier(d)?;
        Ok(CallHeader {
            xid,
            prog,
            vers,
            proc,
            cred,
        })
    }
}

/// What became of a call that the server's RPC layer accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AcceptStat {
    /// The result follows the header.
    #[default]
    Success,
    /// No such program.
    ProgUnavail,
    /// The program exists in other versions only (10.3 says 0 to 0).
    ProgMismatch {
        /// Lowest version.
        low: u32,
        /// Highest version.
        high: u32,
    },
    /// No such procedure.
    ProcUnavail,
    /// The arguments do not decode, or a fop came before SETVOLUME.
    GarbageArgs,
    /// The server failed.
    SystemErr,
}

/// Why a server's RPC layer refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyStat {
    /// Another RPC version is wanted.
    RpcMismatch {
        /// Lowest version.
        low: u32,
        /// Highest version.
        high: u32,
    },
    /// The credential is not accepted; the number says why.
    AuthError(u32),
}

/// The fate of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStatus {
    /// Accepted.
    Accepted(AcceptStat),
    /// Denied.
    Denied(DenyStat),
}

impl Default for ReplyStatus {
    fn default() -> ReplyStatus {
        ReplyStatus::Accepted(AcceptStat::Success)
    }
}

impl fmt::Display for ReplyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ReplyStatus::Accepted(stat) => match stat {
                AcceptStat::Success => f.write_str("success"),
                AcceptStat::ProgUnavail => f.write_str("program unavailable"),
                AcceptStat::ProgMismatch { low, high } => write!(f, "program versions {low} to {high} only"),
                AcceptStat::ProcUnavail => f.write_str("procedure unavailable"),
                AcceptStat::GarbageArgs => f.write_str("garbage arguments"),
                AcceptStat::SystemErr => f.write_str("system error"),
            },
            ReplyStatus::Denied(DenyStat::RpcMismatch { low, high }) => {
                write!(f, "denied: RPC versions {low} to {high} only")
            }
            ReplyStatus::Denied(DenyStat::AuthError(why)) => write!(f, "denied: authentication error {why}"),
        }
    }
}

/// The head of a reply. What follows it, after success only, is the procedure's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReplyHeader {
    /// The xid of the call.
    pub xid: u32,
    /// What became of it.
    pub status: ReplyStatus,
}

impl ReplyHeader {
    /// A reply whose result follows.
    pub fn success(xid: u32) -> ReplyHeader {
        ReplyHeader {
            xid,
            status: ReplyStatus::default(),
        }
    }

    /// A reply of this accept status.
    pub fn accepted(xid: u32, stat: AcceptStat) -> ReplyHeader {
        ReplyHeader {
            xid,
            status: ReplyStatus::Accepted(stat),
        }
    }

    /// Whether a result follows.
    pub fn is_success(&self) -> bool {
        self.status == ReplyStatus::Accepted(AcceptStat::Success)
    }
}

impl Xdr for ReplyHeader {
    fn encode(&self, e: &mut Encoder) {
        e.put_u32(self.xid);
        e.put_u32(REPLY);
        match self.status {
            ReplyStatus::Accepted(stat) => {
                e.put_u32(MSG_ACCEPTED);
                put_null_verifier(e);
                encode_accepted(stat, e);
            }
            ReplyStatus::Denied(stat) => {
                e.put_u32(MSG_DENIED);
                match stat {
                    DenyStat::RpcMismatch { low, high } => [0, low, high].iter().for_each(|w| e.put_u32(*w)),
                    DenyStat::AuthError(why) => [1, why].iter().for_each(|w| e.put_u32(*w)),
                }
            }
        }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<ReplyHeader, DecodeError> {
        let xid = d.u32()?;
        expect(d, REPLY, "message type")?;
        let at = d.position();
        let status = match d.u32()? {
            MSG_ACCEPTED => {
                skip_verifier(d)?;
                ReplyStatus::Accepted(decode_accepted(d)?)
            }
            MSG_DENIED => ReplyStatus::Denied(decode_denied(d)?),
            value => {
                return Err(d.error_at(
                    at,
                    Why::Unknown {
                        what: "reply status",
                        value: value.into(),
                    },
                ));
            }
        };
        Ok(ReplyHeader { xid, status })
    }
}

fn encode_accepted(stat: AcceptStat, e: &mut Encoder) {
    match stat {
        AcceptStat::Success => e.put_u32(0),
        AcceptStat::ProgUnavail => e.put_u32(1),
        AcceptStat::ProgMismatch { low, high } => [2, low, high].iter().for_each(|w| e.put_u32(*w)),
        AcceptStat::ProcUnavail => e.put_u32(3),
        AcceptStat::GarbageArgs => e.put_u32(4),
        AcceptStat::SystemErr => e.put_u32(5),
    }
}

fn decode_accepted(d: &mut Decoder<'_>) -> Result<AcceptStat, DecodeError> {
    let at = d.position();
    Ok(match d.u32()? {
        0 => AcceptStat::Success,
        1 => AcceptStat::ProgUnavail,
        2 => AcceptStat::ProgMismatch {
            low: d.u32()?,
            high: d.u32()?,
        },
        3 => AcceptStat::ProcUnavail,
        4 => AcceptStat::GarbageArgs,
        5 => AcceptStat::SystemErr,
        value => {
            return Err(d.error_at(
                at,
                Why::Unknown {
                    what: "accept status",
                    value: value.into(),
                },
            ));
        }
    })
}

fn decode_denied(d: &mut Decoder<'_>) -> Result<DenyStat, DecodeError> {
    let at = d.position();
    Ok(match d.u32()? {
        0 => DenyStat::RpcMismatch {
            low: d.u32()?,
            high: d.u32()?,
        },
        1 => DenyStat::AuthError(d.u32()?),
        value => {
            return Err(d.error_at(
                at,
                Why::Unknown {
                    what: "reject status",
                    value: value.into(),
                },
            ));
        }
    })
}

fn put_null_verifier(e: &mut Encoder) {
    e.put_u32(0);
    e.put_u32(0);
}

fn skip_verifier(d: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let _flavor = d.u32()?;
    d.opaque_max(MAX_VERF_LEN).map_err(|e| e.within("verifier")).map(drop)
}

fn expect(d: &mut Decoder<'_>, wanted: u32, what: &'static str) -> Result<(), DecodeError> {
    let at = d.position();
    match d.u32()? {
        value if value == wanted => Ok(()),
        value => Err(d.error_at(
            at,
            Why::Unknown {
                what,
                value: value.into(),
            },
        )),
    }
}

/// A complete record of one call; `payload_len` bytes of WRITE data follow it on the stream.
pub fn call_record(
    xid: u32,
    program: Program,
    proc: u32,
    cred: &Credential,
    args: &impl Xdr,
    payload_len: usize,
) -> Bytes {
    record::build(payload_len, |e| {
        encode_call_header(e, xid, program, proc, cred);
        args.encode(e);
    })
}

/// A complete record of one successful reply; `payload_len` bytes of READ data follow it on the stream.
pub fn reply_record(xid: u32, result: &impl Xdr, payload_len: usize) -> Bytes {
    record::build(payload_len, |e| {
        ReplyHeader::success(xid).encode(e);
        result.encode(e);
    })
}

/// A complete record of a reply without result.
pub fn error_record(header: &ReplyHeader) -> Bytes {
    record::build(0, |e| header.encode(e))
}

#[cfg(test)]
mod sampling {
    use super::*;
    use crate::wire::sample::{Entropy, Sample};

    impl Sample for CallHeader {
        fn sample(s: &mut Entropy<'_>) -> CallHeader {
            CallHeader {
                xid: Sample::sample(s),
                prog: Sample::sample(s),
                vers: Sample::sample(s),
                proc: Sample::sample(s),
                cred: Sample::sample(s),
            }
        }
    }

    impl Sample for ReplyHeader {
        fn sample(s: &mut Entropy<'_>) -> ReplyHeader {
            let (low, high) = (Sample::sample(s), Sample::sample(s));
            let status = match s.below(8) {
                0 => ReplyStatus::Accepted(AcceptStat::Success),
                1 => ReplyStatus::Accepted(AcceptStat::ProgUnavail),
                2 => ReplyStatus::Accepted(AcceptStat::ProgMismatch { low, high }),
                3 => ReplyStatus::Accepted(AcceptStat::ProcUnavail),
                4 => ReplyStatus::Accepted(AcceptStat::GarbageArgs),
                5 => ReplyStatus::Accepted(AcceptStat::SystemErr),
                6 => ReplyStatus::Denied(DenyStat::RpcMismatch { low, high }),
                _ => ReplyStatus::Denied(DenyStat::AuthError(low)),
            };
            ReplyHeader {
                xid: Sample::sample(s),
                status,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::program;

    #[test]
    fn type_comes_before_xid() {
        let call = CallHeader::new(9, program::CALLBACK, 1, Credential::Null).to_bytes();
        assert_eq!(peek(&call), Some((9, MessageType::Call)));
        assert_eq!(peek(&ReplyHeader::success(9).to_bytes()), Some((9, MessageType::Reply)));
        assert_eq!(peek(&call[..7]), None);
        assert_eq!(peek(&[0, 0, 0, 1, 0, 0, 0, 2]), None);
    }

    #[test]
    fn a_successful_reply_has_24_bytes_of_header() {
        assert_eq!(ReplyHeader::success(1).to_bytes().len(), REPLY_OK_LEN);
    }

    #[test]
    fn another_rpc_version_is_named() {
        let mut bytes = CallHeader::new(9, program::DUMP, 1, Credential::Null)
            .to_bytes()
            .to_vec();
        bytes[11] = 3;
        let err = CallHeader::from_bytes(&bytes.into()).unwrap_err();
        assert_eq!(
            err.why,
            Why::Unknown {
                what: "RPC version",
                value: 3
            }
        );
    }

    #[test]
    fn a_callback_record_of_the_reference() {
        // wire-protocol.md 8.8: FETCHSPEC.
        let record = call_record(2, program::CALLBACK, 1, &Credential::Null, &(), 0);
        let words = [0x8000_0028u32, 2, 0, 2, 0x0324_cc42, 1, 1, 0, 0, 0, 0];
        assert_eq!(record, words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>());
    }
}
