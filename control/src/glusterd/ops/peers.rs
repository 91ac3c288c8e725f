//! `peer probe` and `peer detach` of a single server: this node needs neither, other nodes cannot join yet.

use std::net::ToSocketAddrs;

use datapath::errno::Errno;
use datapath::wire::OldDict;

use super::super::daemon::is_local_address;
use super::super::model::OpError;
use super::{OpResult, text};
use crate::rt;

/// Result code of a probe of this node itself (wire-protocol.md 2.8); told as a success.
const PROBE_LOCALHOST: i32 = 1;

/// A probe of this node needs nothing. Answers the number that goes with the success.
pub async fn probe(request: &OldDict) -> Result<i32, OpError> {
    let host = text(request, "hostname")?.to_string();
    if is_this_node(&host).await {
        return Ok(PROBE_LOCALHOST);
    }
    Err(OpError {
        errno: Errno::EOPNOTSUPP.0,
        text: format!("{host} cannot be added: this release manages one server"),
    })
}

/// Nothing can be detached from a pool of one.
pub(super) async fn detach(request: &OldDict) -> OpResult {
    let host = text(request, "hostname")?.to_string();
    if is_this_node(&host).await {
        return Err(OpError {
            errno: 1,
            text: format!("{host} is localhost"),
        });
    }
    Err(OpError {
        errno: Errno::ENOENT.0,
        text: format!("{host} is not part of cluster"),
    })
}

async fn is_this_node(host: &str) -> bool {
    let host = host.to_string();
    let resolve = move || {
        (host.as_str(), 0)
            .to_socket_addrs()
            .is_ok_and(|mut a| a.any(|a| is_local_address(a.ip())))
    };
    rt::blocking(resolve).await.unwrap_or(false)
}
