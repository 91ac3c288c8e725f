//! The brick operations the management daemon asks for on the Unix socket (wire-protocol.md 2.6).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::brick::server::{BrickStatus, ClientStatus};
use datapath::wire::brickop::{BrickOpReq, BrickOpRsp, Proc};
use datapath::wire::{OldDict, Xdr};
use futures_util::future::{FutureExt, LocalBoxFuture};

use super::core::Core;
use crate::rpc::{Call, Program, ProgramId, Refusal};
use crate::rt::sync;

/// `GF_CLI_STATUS_CLIENTS` and `..._CLIENT_LIST` in the `cmd` key (wire-protocol.md 2.7).
const STATUS_CLIENTS: u32 = 2;
const STATUS_CLIENT_LIST: u32 = 128;

/// The program, for one brick.
pub(super) struct BrickOps {
    pub(super) core: Rc<Core>,
    /// Told to end by TERMINATE.
    pub(super) terminate: Rc<sync::Notify>,
}

impl Program for BrickOps {
    fn id(&self) -> ProgramId {
        ProgramId::BRICK_OP
    }

    fn name(&self) -> &'static str {
        "brick operations"
    }

    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
        async move {
            let request = BrickOpReq::from_bytes(&call.args).map_err(|_| Refusal::GarbageArgs)?;
            let input = request.input_dict();
            let reply = match (call.procedure, input) {
                (n, _) if n == Proc::Terminate as u32 => {
                    self.terminate.notify_one();
                    BrickOpRsp::success(&OldDict::null())
                }
                // No counters are kept: an empty table is the truth.
                (n, _) if n == Proc::XlatorInfo as u32 => BrickOpRsp::success(&OldDict::new()),
                (n, Ok(input)) if n == Proc::Status as u32 || n == Proc::NodeStatus as u32 => self.status(&input).await,
                (n, Ok(input)) if n == Proc::Barrier as u32 || n == Proc::VolumeBarrierOp as u32 => barrier(&input),
                (n, Err(e)) if n <= Proc::SvcDetach as u32 => BrickOpRsp::failure(libc::EINVAL, e.to_string()),
                (n, _) => BrickOpRsp::failure(libc::EOPNOTSUPP, format!("brick operation {n} is not supported")),
            };
            Ok(reply.to_bytes())
        }
        .boxed_local()
    }
}

impl BrickOps {
    async fn status(&self, input: &OldDict) -> BrickOpRsp {
        let wanted = input.get_u32("cmd").unwrap_or(0) & 0xff;
        let Some(status) = self.core.status().await else {
            return BrickOpRsp::failure(libc::EIO, "the brick's core has ended");
        };
        match wanted & !(STATUS_CLIENTS | STATUS_CLIENT_LIST) {
            0 if wanted == 0 => BrickOpRsp::success(&OldDict::new()),
            0 => BrickOpRsp::success(&clients(&status)),
            _ => BrickOpRsp::failure(libc::EOPNOTSUPP, "this kind of status is not supported by the brick"),
        }
    }
}

fn clients(status: &BrickStatus) -> OldDict {
    let mut dict = OldDict::new();
    // A connection without a name has not been let in yet.
    let inside: Vec<_> = status.clients.iter().filter(|client| !client.uuid.is_empty()).collect();
    dict.set_int("clientcount", inside.len() as u64);
    for (i, client) in inside.into_iter().enumerate() {
        dict.set_str(format!("client{i}.hostname"), &client.peer);
        dict.set_int(format!("client{i}.bytesread"), client.bytes_read);
        dict.set_int(format!("client{i}.byteswrite"), client.bytes_written);
        dict.set_int(format!("client{i}.opversion"), client.op_version);
        dict.set_str(format!("client{i}.name"), &client.process_name);
        health(&mut dict, i, client);
    }
    dict
}

/// How the connection does, in keys of our own (times in milliseconds): since when it is there, when it was last heard,
/// how often the client was let in, when and why its last connection ended.
fn health(dict: &mut OldDict, i: usize, client: &ClientStatus) {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    dict.set_int(format!("client{i}.connected-ms"), ms(client.connected));
    dict.set_int(format!("client{i}.heard-ms"), ms(client.heard_ago));
    dict.set_int(format!("client{i}.connections"), client.connections);
    if let Some((ago, why)) = &client.last_end {
        dict.set_int(format!("client{i}.last-end-ms"), ms(*ago));
        dict.set_str(format!("client{i}.last-end"), why);
    }
}

/// A barrier holds back acknowledgements while a snapshot is made; there are no snapshots here.
fn barrier(input: &OldDict) -> BrickOpRsp {
    match input.get_str("barrier") {
        Some("disable") => BrickOpRsp::success(&OldDict::null()),
        _ => BrickOpRsp::failure(libc::EOPNOTSUPP, "barriers are not supported by this brick"),
    }
}
