//! The CLI program (wire-protocol.md 2.7): complete on the unix socket, read-only on TCP.

use std::rc::Rc;

use bytes::Bytes;
use datapath::wire::cli::{CliReq, CliRsp, GetwdReq, GetwdRsp, ListFriendsReq, ListFriendsRsp, Proc};
use datapath::wire::{OldDict, program};
use futures_util::future::LocalBoxFuture;

use super::super::daemon::Daemon;
use super::super::model::OpError;
use super::super::ops;
use super::{arguments, id, reply};
use crate::rpc::{Call, Program, ProgramId, Refusal};

/// `flags` of LIST_FRIENDS: the whole pool, this node included.
const POOL: i32 = 2;
/// `stateId` of a peer that belongs to the cluster (wire-protocol.md 2.8).
const PEER_IN_CLUSTER: i32 = 3;

pub(super) struct Cli {
    daemon: Daemon,
    read_only: bool,
}

impl Cli {
    pub(super) fn new(daemon: Daemon, read_only: bool) -> Self {
        Self { daemon, read_only }
    }

    async fn answer(&self, call: &Call) -> Result<Bytes, Refusal> {
        let procedure = Proc::from_u32(call.procedure).ok_or(Refusal::ProcUnavail)?;
        if self.read_only && !procedure.is_read_only() {
            return Err(Refusal::ProcUnavail);
        }
        match procedure {
            Proc::ListFriends => {
                let request: ListFriendsReq = arguments(call)?;
                reply(&ListFriendsRsp {
                    friends: self.friends(request.flags),
                    ..ListFriendsRsp::default()
                })
            }
            Proc::Getwd => {
                let _: GetwdReq = arguments(call)?;
                let wd = self.daemon.config().paths.workdir.to_string_lossy().into_owned();
                reply(&GetwdRsp {
                    wd: wd.into(),
                    ..GetwdRsp::default()
                })
            }
            Proc::Mount | Proc::Umount => Err(Refusal::ProcUnavail),
            _ => self.command(procedure, call).await,
        }
    }

    /// A command with the usual request and reply, noted in the history.
    async fn command(&self, procedure: Proc, call: &Call) -> Result<Bytes, Refusal> {
        let request: CliReq = arguments(call)?;
        let command = request.dict.get_str("cmd-str").map(str::to_string);
        let result = match procedure {
            Proc::Probe => ops::peers::probe(&self.daemon, &request.dict)
                .await
                .map(|done| (done.number, done.said, OldDict::new())),
            _ => match ops::run(&self.daemon, procedure, request.dict).await {
                Some(result) => result.map(|dict| (0, String::new(), dict)),
                None => {
                    tracing::warn!("{}: {} is not available", call.peer.address(), procedure.name());
                    return Err(Refusal::ProcUnavail);
                }
            },
        };
        if let Some(command) = command {
            let daemon = &self.daemon;
            daemon
                .history()
                .note(&command, result.as_ref().err().map(|e| e.text.as_str()));
        }
        reply(&match result {
            Ok((op_errno, said, dict)) => CliRsp {
                op_errno,
                op_errstr: said.into(),
                dict,
                ..CliRsp::default()
            },
            Err(OpError { errno, text }) => CliRsp {
                op_ret: -1,
                op_errno: errno,
                op_errstr: text.into(),
                dict: OldDict::new(),
            },
        })
    }

    /// The other nodes, or with [`POOL`] all nodes, this one last.
    fn friends(&self, flags: i32) -> OldDict {
        let daemon = &self.daemon;
        let mut friends = OldDict::new();
        let peers = daemon.other_peers();
        for (index, peer) in peers.iter().enumerate() {
            let key = |name: &str| format!("friend{}.{name}", index + 1);
            let primary = daemon.peer_name(peer.uuid);
            friends
                .set_str(key("uuid"), &peer.uuid.to_string())
                .set_str(key("hostname"), &primary)
                .set_int(key("port"), peer.port)
                .set_int(key("stateId"), PEER_IN_CLUSTER)
                .set_str(key("state"), "Peer in Cluster")
                .set_int(key("connected"), i32::from(daemon.cluster().connected(peer.uuid)));
            for (number, name) in peer.hostnames.iter().enumerate() {
                friends.set_str(key(&format!("hostname{number}")), name);
            }
            friends.set_int(key("hostname_count"), i128::try_from(peer.hostnames.len()).unwrap_or(0));
        }
        let mut count = peers.len();
        if flags == POOL {
            count += 1;
            friends
                .set_int(format!("friend{count}.connected"), 1)
                .set_str(format!("friend{count}.hostname"), "localhost")
                .set_str(format!("friend{count}.uuid"), &daemon.node().uuid.to_string());
        }
        friends.set_int("count", i128::try_from(count).unwrap_or(0));
        friends
    }
}

impl Program for Cli {
    fn id(&self) -> ProgramId {
        id(program::CLI)
    }

    fn name(&self) -> &'static str {
        if self.read_only {
            program::CLI_READ_ONLY.name
        } else {
            program::CLI.name
        }
    }

    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(async move { self.answer(&call).await })
    }
}
