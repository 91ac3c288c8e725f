//! `volume start`, `stop`, `delete`, `statedump` and `barrier`.

use datapath::sys::process;
use datapath::wire::OldDict;
use datapath::wire::brickop::{BrickOpReq, Proc};

use super::super::brickdir;
use super::super::daemon::Daemon;
use super::super::hooks;
use super::super::model::{OpError, Volume, VolumeStatus};
use super::{OpResult, forced, named_volume, text, with_volume_id};
use crate::rt;

/// Starts the bricks and the self-heal daemon.
pub(super) async fn start(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction().await;
    let mut volume = named_volume(daemon, &request)?;
    let force = forced(&request);
    if volume.is_started() && !force {
        return Err(OpError::new(format!("Volume {} already started", volume.name)));
    }
    if !force {
        check_directories(daemon, &volume).await?;
    }
    let first = first_or_last(daemon, &volume.name);
    hooks::run_before(daemon, "start", &volume.name, &[&first]).await;
    let was_started = volume.is_started();
    if !was_started {
        volume.status = VolumeStatus::Started;
        daemon.save(volume.clone()).await?;
    }
    if let Err(error) = daemon.start_bricks(&volume.name, force).await {
        daemon.stop_bricks(&volume.name).await;
        if let Some(mut volume) = daemon.volume(&volume.name) {
            volume.status = VolumeStatus::Stopped;
            daemon.save(volume).await?;
        }
        return Err(error);
    }
    daemon.settle_shd(&volume.name).await;
    daemon.await_shd(&volume.name).await;
    hooks::run_after(daemon, "start", &volume.name, &[&first]);
    Ok(with_volume_id(request, &volume))
}

/// `--first=yes` if no other volume runs; the counterpart of `--last`.
fn first_or_last(daemon: &Daemon, name: &str) -> String {
    let others = daemon.volume_names().into_iter().filter(|n| n != name);
    let running = others.filter_map(|n| daemon.volume(&n)).any(|v| v.is_started());
    format!("--first={}", if running { "no" } else { "yes" })
}

async fn check_directories(daemon: &Daemon, volume: &Volume) -> Result<(), OpError> {
    for brick in volume.bricks.iter().filter(|b| daemon.is_local(b)) {
        let (path, name, id) = (brick.path.clone(), volume.name.clone(), volume.id);
        let checked = rt::blocking(move || brickdir::check_for_start(&path, &name, id)).await;
        checked.map_err(|e| OpError::new(e.to_string()))??;
    }
    Ok(())
}

/// Stops the self-heal daemon and the bricks.
pub(super) async fn stop(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction().await;
    let mut volume = named_volume(daemon, &request)?;
    if !volume.is_started() && !forced(&request) {
        return Err(OpError::new(format!(
            "Volume {} is not in the started state",
            volume.name
        )));
    }
    let last = first_or_last(daemon, &volume.name).replace("--first", "--last");
    hooks::run_before(daemon, "stop", &volume.name, &[&last]).await;
    if volume.is_started() {
        volume.status = VolumeStatus::Stopped;
        daemon.save(volume.clone()).await?;
    }
    daemon.settle_shd(&volume.name).await;
    daemon.stop_bricks(&volume.name).await;
    hooks::run_after(daemon, "stop", &volume.name, &[&last]);
    Ok(with_volume_id(request, &volume))
}

/// Forgets a stopped volume. The bricks' directories keep their contents and marks, as with GlusterFS.
pub(super) async fn delete(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction().await;
    let volume = named_volume(daemon, &request)?;
    if volume.is_started() {
        return Err(OpError::new(format!(
            "Volume {} has been started.Volume needs to be stopped before deletion.",
            volume.name
        )));
    }
    hooks::run_before(daemon, "delete", &volume.name, &[]).await;
    daemon.delete(&volume.name).await?;
    hooks::run_after(daemon, "delete", &volume.name, &[]);
    Ok(with_volume_id(request, &volume))
}

/// Makes the local bricks write a statedump (wire-protocol.md 6.4). The options file that would choose sections is not
/// written: all sections are dumped.
pub(super) fn statedump(daemon: &Daemon, request: OldDict) -> OpResult {
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
    for index in 0..volume.bricks.len() {
        if let Some(pid) = daemon.brick_status(&volume.name, index).pid
            && let Err(error) = process::kill(pid, libc::SIGUSR1)
        {
            return Err(OpError::new(format!(
                "brick process {pid} cannot be signalled: {error}"
            )));
        }
    }
    Ok(with_volume_id(request, &volume))
}

/// Opens or closes the barrier of all local bricks.
pub(super) async fn barrier(daemon: &Daemon, request: OldDict) -> OpResult {
    let volume = named_volume(daemon, &request)?;
    if !volume.is_started() {
        return Err(OpError::new(format!("Volume {} is not started", volume.name)));
    }
    text(&request, "barrier")?;
    for (index, brick) in volume.bricks.iter().enumerate() {
        let Some(process) = daemon.brick_process(&volume.name, index) else {
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
    Ok(with_volume_id(request, &volume))
}
