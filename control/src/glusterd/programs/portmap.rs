//! The Portmap program (wire-protocol.md 2.4, 4.4).

use std::rc::Rc;

use bytes::Bytes;
use datapath::wire::portmap::{PortByBrickReq, PortByBrickRsp, Proc, SignInReq, SignInRsp, SignOutReq, SignOutRsp};
use datapath::wire::program;
use futures_util::future::LocalBoxFuture;

use super::super::daemon::{Daemon, is_local_address};
use super::{arguments, id, reply};
use crate::rpc::{Address, Call, Program, ProgramId, Refusal};

pub(super) struct Portmap(Daemon);

impl Portmap {
    pub(super) fn new(daemon: Daemon) -> Self {
        Self(daemon)
    }

    fn answer(&self, call: &Call) -> Result<Bytes, Refusal> {
        match Proc::from_u32(call.procedure) {
            Some(Proc::PortByBrick) => {
                let request: PortByBrickReq = arguments(call)?;
                let port = brick_name(&request.brick).and_then(|brick| self.0.portmap().port_of(brick));
                reply(&match port {
                    Some(port) => PortByBrickRsp {
                        port: port.into(),
                        ..PortByBrickRsp::default()
                    },
                    None => PortByBrickRsp {
                        op_ret: -1,
                        ..PortByBrickRsp::default()
                    },
                })
            }
            Some(Proc::SignIn | Proc::SignOut) if !is_local(call.peer.address()) => {
                tracing::warn!(
                    "{}: a brick of another server is not signed in here",
                    call.peer.address()
                );
                reply(&SignInRsp {
                    op_ret: -1,
                    op_errno: libc::EPERM,
                })
            }
            Some(Proc::SignIn) => {
                let request: SignInReq = arguments(call)?;
                let port = u16::try_from(request.port).ok().filter(|p| *p != 0);
                let (Some(brick), Some(port)) = (brick_name(&request.brick), port) else {
                    tracing::warn!("{}: sign-in with port {} refused", call.peer.address(), request.port);
                    return reply(&SignInRsp {
                        op_ret: -1,
                        op_errno: libc::EINVAL,
                    });
                };
                tracing::info!("brick {brick} signed in on port {port}");
                self.0.portmap().sign_in(brick, port, request.pid);
                reply(&SignInRsp::default())
            }
            Some(Proc::SignOut) => {
                let request: SignOutReq = arguments(call)?;
                let known = brick_name(&request.brick).zip(u16::try_from(request.port).ok());
                if let Some((brick, port)) = known
                    && self.0.portmap().sign_out(brick, port)
                {
                    tracing::info!("brick {brick} signed out of port {port}");
                }
                reply(&SignOutRsp::default())
            }
            // 10.3 never answers BRICKBYPORT; a refusal at least ends the wait.
            Some(Proc::BrickByPort) | None => Err(Refusal::ProcUnavail),
        }
    }
}

/// Whether the caller is on this server. Bricks of different servers often have the same path: one that signed in with
/// the wrong daemon would hide that server's own.
fn is_local(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => is_local_address(address.ip()),
        Address::Unix(_) => true,
    }
}

fn brick_name(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

impl Program for Portmap {
    fn id(&self) -> ProgramId {
        id(program::PORTMAP)
    }

    fn name(&self) -> &'static str {
        program::PORTMAP.name
    }

    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(async move { self.answer(&call) })
    }
}
