//! The commands: checks, changes, and what the user is told. One file per family. The wire form of requests and
//! replies is the dictionary of wire-protocol.md 2.7; the texts are GlusterFS 10.3's.

mod bricks;
mod create;
mod heal;
mod info;
mod lifecycle;
mod options;
pub mod peers;
mod replace;
mod status;

use std::time::Duration;

use datapath::wire::cli::Proc;
use datapath::wire::{Gfid, OldDict};

use super::daemon::Daemon;
use super::model::{OpError, Volume};
use super::node;

/// What a command answers: the dictionary of the reply, or the failure.
pub type OpResult = Result<OldDict, OpError>;

/// Carries out one CLI procedure. None: this daemon does not have it.
pub async fn run(daemon: &Daemon, procedure: Proc, request: OldDict) -> Option<OpResult> {
    Some(match procedure {
        Proc::Deprobe => peers::detach(daemon, &request).await,
        Proc::CreateVolume => create::create(daemon, request).await,
        Proc::GetVolume => info::volumes(daemon, &request),
        Proc::ListVolume => Ok(info::list(daemon)),
        Proc::UuidGet => Ok(info::uuid(daemon, request)),
        Proc::DeleteVolume => lifecycle::delete(daemon, request).await,
        Proc::AddBrick => bricks::add(daemon, request).await,
        Proc::RemoveBrick => bricks::remove(daemon, request).await,
        Proc::ReplaceBrick => replace::replace(daemon, request).await,
        Proc::ResetBrick => replace::reset(daemon, request).await,
        Proc::StartVolume => lifecycle::start(daemon, request).await,
        Proc::StopVolume => lifecycle::stop(daemon, request).await,
        Proc::StatedumpVolume => lifecycle::statedump(daemon, request).await,
        Proc::BarrierVolume => lifecycle::barrier(daemon, request).await,
        Proc::SetVolume => options::set(daemon, request).await,
        Proc::ResetVolume => options::reset(daemon, request).await,
        Proc::GetVolOpt => options::get(daemon, request),
        Proc::StatusVolume | Proc::StatusAll => status::status(daemon, request).await,
        Proc::ProfileVolume => status::profile(daemon, request).await,
        Proc::HealVolume => heal::heal(daemon, request).await,
        _ => return None,
    })
}

/// What this node contributes to a command that runs on a node of its cluster. None: it does not know the kind.
pub async fn local_part(daemon: &Daemon, kind: &str, request: OldDict) -> Option<OpResult> {
    Some(match kind {
        node::STATUS => status::local_status(daemon, request).await,
        node::HEAL => heal::local_heal(daemon, request).await,
        node::PROFILE => status::local_profile(daemon, request).await,
        node::STATEDUMP => lifecycle::local_statedump(daemon, &request),
        node::BARRIER => lifecycle::local_barrier(daemon, &request).await,
        _ => return None,
    })
}

/// How long a node may take for its part of a command: its bricks are asked in turn.
const PART_LIMIT: Duration = Duration::from_secs(110);

/// The parts of this node and of all connected peers, this node's first. Peers that do not answer are left out; the
/// first failure of one that does is the command's.
async fn collect(daemon: &Daemon, kind: &str, request: &OldDict, stage: &str) -> Result<Vec<(Gfid, OldDict)>, OpError> {
    let here = daemon.node().uuid;
    let own = node::ask(daemon, here, kind, request, PART_LIMIT);
    let others = node::ask_connected(daemon, kind, request, PART_LIMIT);
    let (own, others) = futures_util::join!(own, others);
    let mut parts = vec![(here, own.map_err(|error| node::at_node(daemon, here, stage, error))?)];
    for (peer, part) in others {
        match part {
            Ok(part) => parts.push((peer.uuid, part)),
            Err(error) if error.errno == node::UNREACHABLE => {
                tracing::warn!("{kind}: {}: {error}", daemon.peer_name(peer.uuid));
            }
            Err(error) => return Err(node::at_node(daemon, peer.uuid, stage, error)),
        }
    }
    Ok(parts)
}

/// The volume that a request names.
fn named_volume(daemon: &Daemon, request: &OldDict) -> Result<Volume, OpError> {
    daemon.need_volume(text(request, "volname")?)
}

/// A text that must be in the request.
fn text<'a>(request: &'a OldDict, key: &str) -> Result<&'a str, OpError> {
    request
        .get_str(key)
        .ok_or_else(|| OpError::new(format!("the request has no valid '{key}'")))
}

/// Whether the request is forced (`flags` of start and stop has bit 0 set).
fn forced(request: &OldDict) -> bool {
    request.get_i32("flags").is_some_and(|flags| flags & 1 != 0)
}

/// The request with the volume's id, which is what most commands answer.
fn with_volume_id(mut request: OldDict, volume: &Volume) -> OldDict {
    request.set_str("vol-id", &volume.id.to_string());
    request
}
