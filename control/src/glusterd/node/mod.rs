//! What the daemons of a cluster ask each other. A request has a kind and a dictionary; the answer is a dictionary, or
//! a failure in words and GlusterFS's number. Which node has which part of a command is decided by the commands
//! (`super::ops`); here are the services each node has for them.

mod bricks;
mod local;

use std::time::Duration;

use bytes::Bytes;
use datapath::wire::{Gfid, OldDict};
use futures_util::future::join_all;

use super::daemon::Daemon;
use super::model::OpError;
use crate::cluster::{ClusterError, Peer};

pub use bricks::{NewBrick, Prepared, claim, claim_new, prepare, prepare_again, undo};

/// Kinds of requests.
pub const LOCK: &str = "lock";
/// Gives the lock back.
pub const UNLOCK: &str = "unlock";
/// Wait until a revision is in effect.
pub const FOLLOW: &str = "follow";
/// Check a directory that is to become a brick, and make it if need be.
pub const BRICK_PREPARE: &str = "brick-prepare";
/// Make a directory a brick of a volume.
pub const BRICK_CLAIM: &str = "brick-claim";
/// Take back what the two before did.
pub const BRICK_UNDO: &str = "brick-undo";
/// Stop one brick and keep it stopped, or let it run again.
pub const BRICK_HOLD: &str = "brick-hold";
/// Check the directories of a volume that is to start.
pub const START_CHECK: &str = "start-check";
/// Start what is to run for a volume and wait for it.
pub const BRING_UP: &str = "bring-up";
/// Wait a little for the self-heal daemon of a volume, if there is one.
pub const AWAIT_SHD: &str = "await-shd";
/// The processes of a volume.
pub const STATUS: &str = "status";
/// A heal command for the self-heal daemon.
pub const HEAL: &str = "heal";
/// Profile numbers of the bricks.
pub const PROFILE: &str = "profile";
/// Statedumps of the bricks.
pub const STATEDUMP: &str = "statedump";
/// The barrier of the bricks.
pub const BARRIER: &str = "barrier";
/// The name of an address.
pub const NAME_OF: &str = "name-of";
/// Hook scripts before or after an operation.
pub const HOOK: &str = "hook";

/// Number of a failure that is not the node's own: it did not answer.
pub const UNREACHABLE: i32 = libc::ENOTCONN;

/// Keys of a failure within an answer.
const FAILED_ERRNO: &str = "failed-errno";
const FAILED_TEXT: &str = "failed-text";

/// Answers the questions of peers from now on.
pub fn serve(daemon: &Daemon) {
    let weak = daemon.downgrade();
    daemon.cluster().on_ask(move |kind, body| {
        let (weak, kind) = (weak.clone(), kind.to_string());
        Box::pin(async move {
            let daemon = weak.upgrade().ok_or("the daemon is ending")?;
            let request = OldDict::deserialize(&body).map_err(|e| format!("malformed request: {e}"))?;
            let answer = match answer(&daemon, &kind, request).await {
                Ok(answer) => answer,
                Err(error) => OldDict::new()
                    .with_int(FAILED_ERRNO, error.errno)
                    .with_str(FAILED_TEXT, &error.text),
            };
            Ok(answer.serialize())
        })
    });
}

async fn answer(daemon: &Daemon, kind: &str, request: OldDict) -> Result<OldDict, OpError> {
    let need = |key: &str| {
        let value = request.get_str(key).map(str::to_string);
        value.ok_or_else(|| OpError::new(format!("the request '{kind}' has no valid '{key}'")))
    };
    match kind {
        LOCK => {
            let taken = daemon.lock_for(&need("token")?);
            Ok(OldDict::new().with_int("taken", i32::from(taken)))
        }
        UNLOCK => {
            daemon.unlock_for(&need("token")?);
            Ok(OldDict::new())
        }
        FOLLOW => {
            let revision = request.get_u64("revision");
            daemon
                .followed(revision.ok_or_else(|| OpError::new("the request 'follow' has no valid 'revision'"))?)
                .await;
            Ok(OldDict::new())
        }
        BRICK_PREPARE => bricks::local_prepare(daemon, &request).await,
        BRICK_CLAIM => bricks::local_claim(&request).await,
        BRICK_UNDO => bricks::local_undo(&request).await,
        BRICK_HOLD => {
            let hold = request.get_i32("hold") == Some(1);
            daemon.hold_brick(&need("volname")?, &need("path")?, hold).await;
            Ok(OldDict::new())
        }
        START_CHECK => local::start_check(daemon, &need("volname")?).await,
        BRING_UP => {
            let force = request.get_i32("force") == Some(1);
            daemon.bring_up(&need("volname")?, force).await.map(|()| OldDict::new())
        }
        AWAIT_SHD => {
            daemon.await_shd(&need("volname")?).await;
            Ok(OldDict::new())
        }
        NAME_OF => {
            let address = need("address")?;
            let address = address
                .parse()
                .map_err(|_| OpError::new(format!("'{address}' is no address")))?;
            let name = super::hosts::confirmed_name(address).await;
            Ok(name.map_or_else(OldDict::new, |name| OldDict::new().with_str("name", &name)))
        }
        HOOK => local::hook(daemon, &request).await,
        _ => super::ops::local_part(daemon, kind, request)
            .await
            .unwrap_or_else(|| Err(OpError::new(format!("this node does not know the request '{kind}'")))),
    }
}

/// Asks a node, this one included, and waits for `limit` at most.
///
/// # Errors
/// The node's failure, or why it did not answer.
pub async fn ask(
    daemon: &Daemon,
    node: Gfid,
    kind: &str,
    request: &OldDict,
    limit: Duration,
) -> Result<OldDict, OpError> {
    if node == daemon.node().uuid {
        return Box::pin(answer(daemon, kind, request.clone())).await;
    }
    let body = daemon.cluster().ask(node, kind, request.serialize(), limit).await;
    let body: Bytes = body.map_err(|error| match error {
        ClusterError::Failed(text) => OpError::new(text),
        other => OpError {
            errno: UNREACHABLE,
            text: other.to_string(),
        },
    })?;
    let answer = OldDict::deserialize(&body).map_err(|e| OpError::new(format!("malformed answer: {e}")))?;
    match answer.get_str(FAILED_TEXT) {
        Some(text) => Err(OpError {
            errno: answer.get_i32(FAILED_ERRNO).unwrap_or(OpError::INTERNAL),
            text: text.to_string(),
        }),
        None => Ok(answer),
    }
}

/// Asks all other peers that are connected, at the same time.
pub async fn ask_connected(
    daemon: &Daemon,
    kind: &str,
    request: &OldDict,
    limit: Duration,
) -> Vec<(Peer, Result<OldDict, OpError>)> {
    let peers = daemon.other_peers().into_iter();
    let connected = peers.filter(|peer| daemon.cluster().connected(peer.uuid));
    join_all(connected.map(|peer| async move {
        let answer = ask(daemon, peer.uuid, kind, request, limit).await;
        (peer, answer)
    }))
    .await
}

/// Asks this node and then all connected peers; the first failure counts and is named by its node, as GlusterFS names
/// them ("Staging failed on w2. Error: …"). A peer that is lost meanwhile is like one that was away before: it follows
/// the configuration when it is back.
///
/// # Errors
/// The first failure.
pub async fn ask_all(
    daemon: &Daemon,
    kind: &str,
    request: &OldDict,
    stage: &str,
    limit: Duration,
) -> Result<(), OpError> {
    let here = daemon.node().uuid;
    ask(daemon, here, kind, request, limit)
        .await
        .map_err(|error| at_node(daemon, here, stage, error))?;
    for (peer, answer) in ask_connected(daemon, kind, request, limit).await {
        match answer {
            Err(error) if error.errno == UNREACHABLE => {
                tracing::warn!("{kind}: {}: {error}", daemon.peer_name(peer.uuid));
            }
            Err(error) => return Err(at_node(daemon, peer.uuid, stage, error)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// A failure with the stage and the node it happened on. Checks that fail on this node speak for themselves.
pub fn at_node(daemon: &Daemon, node: Gfid, stage: &str, error: OpError) -> OpError {
    let here = node == daemon.node().uuid;
    if here && stage == "Staging" {
        return error;
    }
    let name = daemon.peer_name(node);
    // A text that is a remark about the log stands without "Error:", as in GlusterFS's own.
    let text = match error.text.starts_with("Please check") {
        true => format!("{stage} failed on {name}. {}", error.text),
        false => format!("{stage} failed on {name}. Error: {}", error.text),
    };
    OpError {
        errno: error.errno,
        text,
    }
}
