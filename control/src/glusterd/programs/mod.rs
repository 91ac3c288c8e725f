//! The RPC programs of the daemon: handshake (volfiles), portmap, command line. They decode, ask the state or run a
//! command, and encode; they decide nothing.

mod cli;
mod handshake;
mod portmap;

use std::rc::Rc;

use bytes::Bytes;
use datapath::wire::{Xdr, program};

use super::daemon::Daemon;
use crate::rpc::{Call, Program, ProgramId, Refusal, Server};

/// The servers for TCP and for the unix socket. They differ in which commands they take: on TCP only those that
/// change nothing.
///
/// The cluster's own programs are served on TCP, where peers connect.
pub fn servers(daemon: &Daemon) -> (Server, Server) {
    let make = |read_only: bool| {
        let cli: Rc<dyn Program> = Rc::new(cli::Cli::new(daemon.clone(), read_only));
        let portmap: Rc<dyn Program> = Rc::new(portmap::Portmap::new(daemon.clone()));
        let handshake: Rc<dyn Program> = Rc::new(handshake::Handshake::new(daemon.clone()));
        let mut programs = vec![cli, portmap, handshake];
        if read_only {
            programs.extend(daemon.cluster().programs());
        }
        Server::new(programs)
    };
    (make(true), make(false))
}

fn id(program: program::Program) -> ProgramId {
    ProgramId::new(program.number, program.version)
}

/// The arguments of a call.
fn arguments<T: Xdr>(call: &Call) -> Result<T, Refusal> {
    T::from_bytes(&call.args).map_err(|error| {
        tracing::warn!("{}: malformed arguments: {error}", call.peer.address());
        Refusal::GarbageArgs
    })
}

/// A reply body.
fn reply<T: Xdr>(value: &T) -> Result<Bytes, Refusal> {
    Ok(value.to_bytes())
}
