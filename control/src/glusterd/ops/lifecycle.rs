//! `volume start`, `stop`, `delete`, `statedump` and `barrier`.

use std::time::Duration;

use datapath::sys::process;
use datapath::wire::OldDict;
use datapath::wire::brickop::{BrickOpReq, Proc};

use super::super::daemon::Daemon;
use super::super::hooks;
use super::super::model::{OpError, Volume, VolumeStatus};
use super::super::node;
use super::{OpResult, forced, named_volume, text, with_volume_id};

/// How long a node may take to start its bricks.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Starts the bricks and the self-heal daemon.
pub(super) async fn start(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let mut volume = named_volume(daemon, &request)?;
    let force = forced(&request);
    if volume.is_started() && !force {
        return Err(OpError::new(format!("Volume {} already started", volume.name)));
    }
    require_server_quorum(daemon, &volume)?;
    let named = OldDict::new().with_str("volname", &volume.name);
    if !force {
        node::ask_all(daemon, node::START_CHECK, &named, "Staging", START_LIMIT).await?;
    }
    let first = first_or_last(daemon, &volume.name);
    hooks::run_before(daemon, "start", &volume.name, &[&first]).await;
    let was_started = volume.is_started();
    if !was_started {
        volume.status = VolumeStatus::Started;
        daemon.save(volume.clone()).await?;
    }
    let bring_up = named.with_int("force", i32::from(force));
    if let Err(error) = node::ask_all(daemon, node::BRING_UP, &bring_up, "Commit", START_LIMIT).await {
        if let Some(mut volume) = daemon.volume(&volume.name) {
            volume.status = VolumeStatus::Stopped;
            daemon.save(volume).await?;
        }
        return Err(error);
    }
    hooks::run_after(daemon, "start", &volume.name, &[&first]);
    Ok(with_volume_id(request, &volume))
}

/// `--first=yes` if no other volume runs; the counterpart of `--last`.
fn first_or_last(daemon: &Daemon, name: &str) -> String {
    let others = daemon.volume_names().into_iter().filter(|n| n != name);
    let running = others.filter_map(|n| daemon.volume(&n)).any(|v| v.is_started());
    format!("--first={}", if running { "no" } else { "yes" })
}

/// A volume that follows the server quorum is not changed by a node that has lost it.
pub(super) fn require_server_quorum(daemon: &Daemon, volume: &Volume) -> Result<(), OpError> {
    match volume.follows_server_quorum() && !daemon.has_server_quorum() {
        true => Err(OpError::no_quorum()),
        false => Ok(()),
    }
}

/// Stops the self-heal daemon and the bricks.
pub(super) async fn stop(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let mut volume = named_volume(daemon, &request)?;
    if !volume.is_started() && !forced(&request) {
        return Err(OpError::new(format!(
            "Volume {} is not in the started state",
            volume.name
        )));
    }
    require_server_quorum(daemon, &volume)?;
    let last = first_or_last(daemon, &volume.name).replace("--first", "--last");
    hooks::run_before(daemon, "stop", &volume.name, &[&last]).await;
    if volume.is_started() {
        volume.status = VolumeStatus::Stopped;
        daemon.save(volume.clone()).await?;
    }
    hooks::run_after(daemon, "stop", &volume.name, &[&last]);
    Ok(with_volume_id(request, &volume))
}

/// Forgets a stopped volume. The bricks' directories keep their contents and marks, as with GlusterFS.
pub(super) async fn delete(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let volume = named_volume(daemon, &request)?;
    if volume.is_started() {
        return Err(OpError::new(format!(
            "Volume {} has been started.Volume needs to be stopped before deletion.",
            volume.name
        )));
    }
    require_server_quorum(daemon, &volume)?;
    hooks::run_before(daemon, "delete", &volume.name, &[]).await;
    daemon.delete(&volume).await?;
    hooks::run_after(daemon, "delete", &volume.name, &[]);
    Ok(with_volume_id(request, &volume))
}

/// Makes the bricks of all nodes write a statedump (wire-protocol.md 6.4). The options file that would choose sections is not
/// written: all sections are dumped.
pub(super) async fn statedump(daemon: &Daemon, request: OldDict) -> OpResult {
    let volume = named_volume(daemon, &request)?;
    if !volume.is_started() {
        return Err(OpError::new(format!(
            "Volume {} is not in the started state",
            volume.name
        )));
    }
    let options = request.get_str("options").unwrap_or("");
    if let Some(option) = options
        .split_whitespace()
        .find(|o| matches!(*o, "client" | "quotad" | "nfs"))
    {
        return Err(OpError::new(format!(
            "statedump of '{option}' is not supported in this release"
        )));
    }
    super::collect(daemon, node::STATEDUMP, &request, "Commit").await?;
    Ok(with_volume_id(request, &volume))
}

/// This node's part of a statedump.
pub(super) fn local_statedump(daemon: &Daemon, request: &OldDict) -> OpResult {
    let volume = named_volume(daemon, request)?;
    for brick in &volume.bricks {
        if let Some(pid) = daemon.brick_status(&volume.name, &brick.path).pid
            && daemon.is_local(brick)
            && let Err(error) = process::kill(pid, libc::SIGUSR1)
        {
            return Err(OpError::new(format!(
                "brick process {pid} cannot be signalled: {error}"
            )));
        }
    }
    Ok(OldDict::new())
}

/// Opens or closes the barrier of all bricks.
pub(super) async fn barrier(daemon: &Daemon, request: OldDict) -> OpResult {
    let volume = named_volume(daemon, &request)?;
    if !volume.is_started() {
        return Err(OpError::new(format!("Volume {} is not started", volume.name)));
    }
    text(&request, "barrier")?;
    super::collect(daemon, node::BARRIER, &request, "Commit").await?;
    Ok(with_volume_id(request, &volume))
}

/// This node's part of a barrier command.
pub(super) async fn local_barrier(daemon: &Daemon, request: &OldDict) -> OpResult {
    let volume = named_volume(daemon, request)?;
    for brick in volume.bricks.iter().filter(|brick| daemon.is_local(brick)) {
        let Some(process) = daemon.brick_process(&volume.name, &brick.path) else {
            continue;
        };
        let call = BrickOpReq {
            name: brick.path.clone().into(),
            input: request.serialize(),
            ..BrickOpReq::default()
        };
        match process.call(Proc::Barrier, call).await {
            Ok(reply) if reply.op_ret == 0 => {}
            Ok(_) => return Err(OpError::new("Failed to reconfigure barrier.")),
            Err(why) => return Err(OpError::new(why)),
        }
    }
    Ok(OldDict::new())
}
