//! `volume replace-brick` and `reset-brick`: a brick's place in the volume, and its name in the changelogs, stay.

use std::time::Duration;

use datapath::wire::OldDict;

use super::super::blame::blame;
use super::super::daemon::Daemon;
use super::super::model::{OpError, Volume};
use super::super::node::{self, NewBrick};
use super::bricks::{bring_in, online_bricks, start_new};
use super::lifecycle::require_server_quorum;
use super::{OpResult, create, text, with_volume_id};

/// How long a node may take to stop a brick.
const HOLD_LIMIT: Duration = Duration::from_secs(30);

/// The volume and the index of the brick that a request names.
fn source(daemon: &Daemon, request: &OldDict) -> Result<(Volume, usize), OpError> {
    let name = text(request, "volname")?;
    let volume = daemon
        .volume(name)
        .ok_or_else(|| OpError::new(format!("volume: {name} does not exist")))?;
    if !volume.is_started() {
        return Err(OpError::new(format!("volume: {name} is not started")));
    }
    let label = text(request, "src-brick")?;
    let index = volume.brick_index(label);
    let index = index.ok_or_else(|| OpError::new(format!("brick: {label} does not exist in volume: {name}")))?;
    Ok((volume, index))
}

/// The brick that is to be there afterwards, on a node that is connected.
async fn destination(daemon: &Daemon, request: &OldDict) -> Result<NewBrick, OpError> {
    let given = create::parse_bricks(text(request, "dst-brick")?)?;
    let mut bricks = create::locate(daemon, given).await?;
    let one = bricks.pop().filter(|_| bricks.is_empty());
    one.ok_or_else(|| OpError::new("the request has no valid 'dst-brick'"))
}

/// Stops a brick and keeps it stopped, or lets it run again, if its node is there.
async fn hold(daemon: &Daemon, volume: &Volume, index: usize, hold: bool) -> Result<(), OpError> {
    let Some(brick) = volume.bricks.get(index) else {
        return Ok(());
    };
    if !daemon.is_local(brick) && !daemon.cluster().connected(brick.node) {
        return Ok(());
    }
    let request = OldDict::new()
        .with_str("volname", &volume.name)
        .with_str("path", &brick.path)
        .with_int("hold", i32::from(hold));
    let held = node::ask(daemon, brick.node, node::BRICK_HOLD, &request, HOLD_LIMIT).await;
    held.map(drop)
        .map_err(|error| node::at_node(daemon, brick.node, "Commit", error))
}

/// Puts another, empty brick in the place of one.
pub(super) async fn replace(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let (before, index) = source(daemon, &request)?;
    require_server_quorum(daemon, &before)?;
    let operation = text(&request, "operation")?;
    if operation != "GF_REPLACE_OP_COMMIT_FORCE" {
        return Err(OpError::new(format!("replace-brick has no operation {operation}")));
    }
    let new = destination(daemon, &request).await?;
    create::check_overlap(daemon, std::slice::from_ref(&new))?;
    let mut prepared = node::prepare(daemon, std::slice::from_ref(&new), true).await?;
    let mut after = before.clone();
    if let (Some(place), Some(prepared)) = (after.bricks.get_mut(index), prepared.first()) {
        *place = create::brick(prepared, place.brick_id.clone());
    }
    // The old brick first: while it runs its marks, which are the new one's, would be healed away.
    let made = async {
        hold(daemon, &before, index, true).await?;
        bring_in(daemon, &before, &after, &[index], Some(index), &mut prepared).await
    };
    let made = made.await;
    let released = hold(daemon, &before, index, false).await;
    if let Err(error) = made {
        node::undo(daemon, &prepared, after.id).await;
        return Err(error);
    }
    released?;
    start_new(daemon, &after).await?;
    Ok(with_volume_id(request, &after))
}

/// Stops a brick for work on its disk, or takes it back afterwards, empty or not.
pub(super) async fn reset(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let (before, index) = source(daemon, &request)?;
    require_server_quorum(daemon, &before)?;
    let force = match text(&request, "operation")? {
        "GF_RESET_OP_START" => {
            hold(daemon, &before, index, true).await?;
            return Ok(with_volume_id(request, &before));
        }
        "GF_RESET_OP_COMMIT" => false,
        "GF_RESET_OP_COMMIT_FORCE" => true,
        other => return Err(OpError::new(format!("reset-brick has no operation {other}"))),
    };
    let new = destination(daemon, &request).await?;
    check_reset(daemon, &before, index, &new).await?;
    let mut prepared = node::prepare_again(daemon, &new, before.id, force).await?;
    node::claim_new(daemon, &mut prepared, before.id).await?;
    let mut after = before.clone();
    if let Some(brick) = after.bricks.get_mut(index) {
        blame(daemon, &before, &brick.brick_id, Some(index)).await?;
        // The same brick by another name of its host.
        brick.host = new.host;
    }
    if after != before {
        daemon.save(after.clone()).await?;
    }
    hold(daemon, &after, index, false).await?;
    start_new(daemon, &after).await?;
    Ok(with_volume_id(request, &after))
}

/// A brick is reset in its place, and stopped.
async fn check_reset(daemon: &Daemon, volume: &Volume, index: usize, new: &NewBrick) -> Result<(), OpError> {
    let same = volume
        .bricks
        .get(index)
        .is_some_and(|old| old.node == new.node && old.path == new.path);
    if !same {
        create::check_overlap(daemon, std::slice::from_ref(new))?;
        return Err(OpError::new(
            "When destination brick is new, please use gluster volume replace-brick <volname> <src-brick> <dst-brick> \
             commit force",
        ));
    }
    if online_bricks(daemon, volume).await?.get(index) == Some(&true) {
        return Err(OpError::new(
            "Source brick must be stopped. Please use gluster volume reset-brick <volname> <dst-brick> start.",
        ));
    }
    Ok(())
}
