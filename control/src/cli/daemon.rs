//! The conversation with the management daemon: one connection, the CLI program, GlusterFS's answers.

use std::path::Path;
use std::time::Duration;

use datapath::wire::OldDict;
use datapath::wire::cli::{CliReq, CliRsp, ListFriendsReq, ListFriendsRsp, Proc};

use crate::rpc::{Address, CallError, Client, ProgramId};
use crate::rt;

/// How long connecting may take; the daemon is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no answer. None of these is the daemon's own refusal: that is an answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nobody listens.
    Unreachable,
    /// The connection or the reply is broken.
    Failed(CallError),
}

impl From<CallError> for NoAnswer {
    fn from(error: CallError) -> NoAnswer {
        NoAnswer::Failed(error)
    }
}

/// What the daemon said.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) op_ret: i32,
    pub(super) op_errno: i32,
    pub(super) op_errstr: String,
    pub(super) dict: OldDict,
}

impl Reply {
    pub(super) fn ok(&self) -> bool {
        self.op_ret == 0
    }
}

/// A connection to the daemon.
pub(super) struct Daemon {
    client: Client,
    limit: Duration,
    /// The command line as typed, for the daemon's history (`cmd-str`).
    line: String,
}

impl Daemon {
    pub(super) async fn connect(socket: &Path, limit: Duration, line: String) -> Result<Daemon, NoAnswer> {
        let address = Address::Unix(socket.to_owned());
        match rt::timeout(CONNECT_LIMIT, Client::connect_plain(&address)).await {
            Ok(Ok(client)) => Ok(Daemon { client, limit, line }),
            Ok(Err(_)) | Err(_) => Err(NoAnswer::Unreachable),
        }
    }

    /// Calls a procedure of the CLI program. The command line is added to the request.
    pub(super) async fn call(&self, procedure: Proc, mut dict: OldDict) -> Result<Reply, NoAnswer> {
        if !dict.is_null() && !self.line.is_empty() {
            dict.set_str("cmd-str", &self.line);
        }
        let request = CliReq { dict };
        let reply: CliRsp = self
            .client
            .call_typed(ProgramId::CLI, procedure as u32, &request, self.limit)
            .await?;
        Ok(Reply {
            op_ret: reply.op_ret,
            op_errno: reply.op_errno,
            op_errstr: String::from_utf8_lossy(&reply.op_errstr).into_owned(),
            dict: reply.dict,
        })
    }

    /// The peers; with `pool` this machine is among them.
    pub(super) async fn friends(&self, pool: bool) -> Result<Reply, NoAnswer> {
        let request = ListFriendsReq {
            flags: if pool { 2 } else { 1 },
            dict: OldDict::null(),
        };
        let procedure = Proc::ListFriends as u32;
        let reply: ListFriendsRsp = self
            .client
            .call_typed(ProgramId::CLI, procedure, &request, self.limit)
            .await?;
        Ok(Reply {
            op_ret: reply.op_ret,
            op_errno: reply.op_errno,
            op_errstr: String::new(),
            dict: reply.friends,
        })
    }
}
