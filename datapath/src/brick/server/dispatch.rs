//! From a record to a program and procedure, and the replies of the RPC layer itself (wire-protocol.md 1.3).
//!
//! What does not concern RPC (the meaning of a fop, of a lock) is in `fops`.

use std::rc::Rc;

use bytes::Bytes;

use super::Brick;
use super::auth::Peer;
use super::connection::Conn;
use super::fops;
use super::request::Ctx;
use super::setvolume::{self, Admission, Refusal, State};
use crate::errno::Errno;
use crate::exec;
use crate::rpc::Record;
use crate::wire::dump::{self, DumpRsp, GfCommonRsp};
use crate::wire::fop::{Proc, Request};
use crate::wire::handshake::{self, SetLkVerReq, SetLkVerRsp, SetvolumeReq, SetvolumeRsp};
use crate::wire::program::{self, Program};
use crate::wire::rpc::{self, AcceptStat, CallHeader, DenyStat, MessageType, RPC_VERSION, ReplyStatus};
use crate::wire::xdr::{DecodeError, Decoder, Why, Xdr};

/// The programs of a brick, as DUMP lists them.
const PROGRAMS: [Program; 3] = [program::FOP, program::DUMP, program::HANDSHAKE_BRICK];
/// Source ports below this one are privileged.
const PRIVILEGED_PORTS: u16 = 1024;
/// AUTH_ERROR's value for a refused source port.
const AUTH_REJECTED: u32 = 2;

/// Answers one record, or starts what will answer it.
pub(super) fn handle(brick: &Rc<Brick>, conn: &Rc<Conn>, record: Record) {
    let Some((xid, kind)) = rpc::peek(&record.message) else {
        tracing::warn!(peer = %conn.peer_text, bytes = record.message.len(), "not an RPC message, disconnecting");
        return conn.abort();
    };
    if kind == MessageType::Reply {
        tracing::debug!(peer = %conn.peer_text, xid, "ignored a reply: callbacks have none");
        return;
    }
    let mut d = Decoder::new(&record.message);
    let header = match CallHeader::decode(&mut d) {
        Ok(header) => header,
        Err(e) => return bad_header(conn, xid, &e),
    };
    if let Peer::Inet(_, port) = conn.peer
        && port >= PRIVILEGED_PORTS
        && !brick.config().auth.allow_insecure
    {
        tracing::warn!(peer = %conn.peer_text, "refused a call from an unprivileged port");
        return conn.refuse_with(xid, ReplyStatus::Denied(DenyStat::AuthError(AUTH_REJECTED)));
    }
    let Some(program) = PROGRAMS.iter().find(|p| p.number == header.prog) else {
        tracing::warn!(peer = %conn.peer_text, program = header.prog, version = header.vers, "unknown program");
        return conn.refuse(xid, AcceptStat::ProgUnavail);
    };
    if program.version != header.vers {
        tracing::warn!(peer = %conn.peer_text, program = program.name, version = header.vers, "unknown program version");
        return conn.refuse(xid, AcceptStat::ProgMismatch { low: 0, high: 0 });
    }
    let result = match *program {
        program::FOP => call_fop(brick, conn, &header, &mut d, record.payload),
        program::DUMP => call_dump(conn, &header, &mut d),
        _ => call_handshake(brick, conn, &header, &mut d),
    };
    if let Err(e) = result {
        refuse_call(conn, program, &header, &e);
    }
}

/// Why a call is refused by the RPC layer.
enum Refused {
    NoSuchProcedure,
    BeforeSetvolume,
    BadArguments(DecodeError),
    /// The payload is not as long as the arguments say.
    PayloadLength {
        wanted: u32,
        found: usize,
    },
}

impl From<DecodeError> for Refused {
    fn from(e: DecodeError) -> Refused {
        Refused::BadArguments(e)
    }
}

/// Logs a refused call with its sender and answers it.
fn refuse_call(conn: &Conn, program: &Program, header: &CallHeader, refused: &Refused) {
    let (peer, proc) = (&conn.peer_text, header.proc);
    let stat = match refused {
        Refused::NoSuchProcedure => {
            tracing::warn!(%peer, program = program.name, proc, "unknown procedure");
            AcceptStat::ProcUnavail
        }
        Refused::BeforeSetvolume => {
            tracing::warn!(%peer, proc, "a fop before SETVOLUME");
            AcceptStat::GarbageArgs
        }
        Refused::BadArguments(e) => {
            tracing::warn!(%peer, program = program.name, proc, "arguments do not decode: {e}");
            AcceptStat::GarbageArgs
        }
        Refused::PayloadLength { wanted, found } => {
            tracing::warn!(%peer, proc, "payload of {found} bytes where {wanted} were announced");
            AcceptStat::GarbageArgs
        }
    };
    conn.refuse(header.xid, stat);
}

/// A message whose xid and type are readable but not the rest of its header.
fn bad_header(conn: &Conn, xid: u32, e: &DecodeError) {
    tracing::warn!(peer = %conn.peer_text, xid, "call header does not decode: {e}");
    match e.why {
        Why::Unknown {
            what: "RPC version", ..
        } => {
            let mismatch = DenyStat::RpcMismatch {
                low: RPC_VERSION,
                high: RPC_VERSION,
            };
            conn.refuse_with(xid, ReplyStatus::Denied(mismatch));
        }
        _ => conn.refuse(xid, AcceptStat::GarbageArgs),
    }
}

fn call_dump(conn: &Conn, header: &CallHeader, d: &mut Decoder<'_>) -> Result<(), Refused> {
    match dump::Proc::from_u32(header.proc) {
        Some(dump::Proc::Dump) => {
            dump::DumpReq::decode(d)?;
            conn.reply(header.xid, &DumpRsp::listing(&PROGRAMS), None);
        }
        Some(dump::Proc::Ping) => conn.reply(header.xid, &GfCommonRsp::default(), None),
        None => return Err(Refused::NoSuchProcedure),
    }
    Ok(())
}

fn call_handshake(brick: &Rc<Brick>, conn: &Rc<Conn>, header: &CallHeader, d: &mut Decoder<'_>) -> Result<(), Refused> {
    match handshake::Proc::from_u32(header.proc) {
        Some(handshake::Proc::Setvolume) => {
            set_volume(brick, conn, header.xid, &SetvolumeReq::decode(d)?);
        }
        Some(handshake::Proc::Ping) => conn.reply(header.xid, &GfCommonRsp::default(), None),
        Some(handshake::Proc::SetLkVer) => {
            let req = SetLkVerReq::decode(d)?;
            conn.reply(
                header.xid,
                &SetLkVerRsp {
                    op_ret: 0,
                    op_errno: 0,
                    lk_ver: req.lk_ver,
                },
                None,
            );
        }
        _ => return Err(Refused::NoSuchProcedure),
    }
    Ok(())
}

/// SETVOLUME (wire-protocol.md 4.5). The answer waits for what an older connection of the same client has at the disk.
fn set_volume(brick: &Rc<Brick>, conn: &Rc<Conn>, xid: u32, req: &SetvolumeReq) {
    let state = State {
        stopping: brick.stopping.is_set(),
        child_up: brick.child_up.get(),
    };
    let admission = match setvolume::check(&brick.config(), state, conn.peer, &req.dict) {
        Ok(admission) => admission,
        Err(refusal) => return refuse_client(brick, conn, xid, &refusal),
    };
    let busy = brick.make_way(&admission);
    if busy.is_empty() {
        return let_in(brick, conn, xid, admission);
    }
    let (brick, conn) = (Rc::clone(brick), Rc::clone(conn));
    exec::spawn(async move {
        for old in busy {
            old.idle().await;
        }
        if !conn.is_closed() {
            let_in(&brick, &conn, xid, admission);
        }
    });
}

fn let_in(brick: &Rc<Brick>, conn: &Rc<Conn>, xid: u32, admission: Admission) {
    let (uuid, subdir, version) = (
        admission.uuid.clone(),
        admission.subdir.clone(),
        admission.version.clone(),
    );
    let ours = admission.ours;
    match brick.enter(conn, admission) {
        Ok(_) => {
            tracing::info!(peer = %conn.peer_text, "accepted client from {uuid} (version: {version})");
            let dict = setvolume::success(&brick.config(), ours);
            conn.reply(
                xid,
                &SetvolumeRsp {
                    op_ret: 0,
                    op_errno: Errno::EINVAL.0,
                    dict,
                },
                None,
            );
        }
        Err(errno) => {
            let text = match (errno, subdir) {
                (Errno::ENOENT, Some(dir)) => format!("subdirectory for mount \"/{dir}\" is not found"),
                (Errno::ESTALE, _) => format!("a newer connection of {uuid} is being served"),
                (e, _) => e.to_string(),
            };
            refuse_client(
                brick,
                conn,
                xid,
                &Refusal {
                    errno,
                    text,
                    child_down: false,
                },
            );
        }
    }
}

fn refuse_client(brick: &Brick, conn: &Conn, xid: u32, refusal: &Refusal) {
    tracing::warn!(peer = %conn.peer_text, "SETVOLUME refused: {}", refusal.text);
    let dict = setvolume::failure(&brick.config(), refusal);
    conn.reply(
        xid,
        &SetvolumeRsp {
            op_ret: -1,
            op_errno: refusal.errno.0,
            dict,
        },
        None,
    );
}

fn call_fop(
    brick: &Rc<Brick>,
    conn: &Rc<Conn>,
    header: &CallHeader,
    d: &mut Decoder<'_>,
    payload: Bytes,
) -> Result<(), Refused> {
    let proc = Proc::from_u32(header.proc)
        .filter(|p| *p != Proc::Put)
        .ok_or(Refused::NoSuchProcedure)?;
    if proc == Proc::Null {
        conn.reply(header.xid, &GfCommonRsp::default(), None);
        return Ok(());
    }
    let client = conn.client().ok_or(Refused::BeforeSetvolume)?;
    let request = Request::decode(proc, d)?;
    if let Request::Write(write) = &request
        && write.size as usize != payload.len()
    {
        return Err(Refused::PayloadLength {
            wanted: write.size,
            found: payload.len(),
        });
    }
    let ctx = Ctx::new(brick, conn, &client, header, &brick.config());
    fops::start(ctx, request, payload);
    Ok(())
}
