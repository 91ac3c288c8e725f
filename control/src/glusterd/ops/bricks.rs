//! `volume add-brick` and `remove-brick`, for changes of the replica count, and the rules that all changes of bricks
//! share.

use std::time::Duration;

use datapath::wire::OldDict;

use super::super::blame::blame;
use super::super::daemon::Daemon;
use super::super::hooks;
use super::super::model::{OpError, Volume, VolumeStatus};
use super::super::node::{self, NewBrick, Prepared};
use super::create;
use super::lifecycle::require_server_quorum;
use super::{OpResult, text, with_volume_id};

/// How long a node may take to start its new brick.
const START_LIMIT: Duration = Duration::from_secs(60);

/// `command` of a removal (wire-protocol.md 2.7).
mod step {
    pub const START: i32 = 1;
    pub const COMMIT: i32 = 2;
    pub const FORCE: i32 = 5;
}

/// Adds copies to a volume.
pub(super) async fn add(daemon: &Daemon, request: OldDict) -> OpResult {
    let name = text(&request, "volname")?.to_string();
    let _transaction = daemon.transaction(&name).await?;
    let missing = || OpError::new(format!("Unable to get volinfo for volume name {name}"));
    let mut volume = daemon.volume(&name).ok_or_else(missing)?;
    let given = create::parse_bricks(text(&request, "bricks")?)?;
    let replicas = check_more(&volume, request.get_u64("replica-count"), given.len())?;
    if volume.status == VolumeStatus::Stopped {
        return Err(OpError::new(
            " Volume must not be in stopped state when replica-count needs to  be increased.",
        ));
    }
    let force = request.get_i32("force").is_some_and(|force| force != 0);
    let bricks = create::locate(daemon, given).await?;
    create::check_overlap(daemon, &bricks)?;
    require_server_quorum(daemon, &volume)?;
    if !force {
        check_placement(&volume, &bricks)?;
        check_all_up(daemon, &volume).await?;
    }
    let mut prepared = node::prepare(daemon, &bricks, force).await?;
    hooks::run_before(daemon, "add-brick", &name, &[]).await;
    let first = next_brick_number(&volume);
    let before = volume.clone();
    for (number, prepared) in (first..).zip(&prepared) {
        volume
            .bricks
            .push(create::brick(prepared, format!("{name}-client-{number}")));
    }
    volume.replica_count = replicas;
    let added: Vec<usize> = (before.bricks.len()..volume.bricks.len()).collect();
    if let Err(error) = bring_in(daemon, &before, &volume, &added, None, &mut prepared).await {
        node::undo(daemon, &prepared, volume.id).await;
        return Err(error);
    }
    start_new(daemon, &volume).await?;
    hooks::run_after(daemon, "add-brick", &name, &[]);
    Ok(with_volume_id(request, &volume))
}

/// The new replica count for so many more bricks.
fn check_more(volume: &Volume, replicas: Option<u64>, more: usize) -> Result<usize, OpError> {
    let had = volume.replica_count;
    let distributed = || {
        OpError::new(format!(
            "Distributed volumes are not supported in this release: {more} more bricks need 'replica {}'",
            had + more
        ))
    };
    let Some(replicas) = replicas
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
    else {
        return Err(match more.is_multiple_of(had.max(1)) {
            true => distributed(),
            false => OpError::new(format!("Incorrect number of bricks supplied {more} with count {had}")),
        });
    };
    if replicas < had {
        return Err(OpError::new(format!(
            "Incorrect replica count ({replicas}) supplied. Volume already has ({had})"
        )));
    }
    match replicas == had {
        true if more.is_multiple_of(had.max(1)) => Err(distributed()),
        false if volume.bricks.len() + more == replicas => Ok(replicas),
        _ => Err(OpError {
            errno: 0,
            text: "Operation failed".into(),
        }),
    }
}

/// Without force the volume has no two bricks on one server.
fn check_placement(volume: &Volume, new: &[NewBrick]) -> Result<(), OpError> {
    let old = volume.bricks.iter().map(|brick| NewBrick {
        host: brick.host.clone(),
        path: brick.path.clone(),
        node: brick.node,
    });
    let all: Vec<NewBrick> = old.chain(new.iter().cloned()).collect();
    create::check_order(&all)
}

/// Without force no brick is down while the number of copies changes.
async fn check_all_up(daemon: &Daemon, volume: &Volume) -> Result<(), OpError> {
    if !volume.is_started() {
        return Ok(());
    }
    let online = online_bricks(daemon, volume).await?;
    match volume.bricks.iter().zip(online).find(|(_, online)| !online) {
        Some((brick, _)) => Err(OpError::new(format!(
            "Brick {} is down, changing replica count needs all the bricks to be up to avoid data loss",
            brick.path
        ))),
        None => Ok(()),
    }
}

/// Which bricks answer, as their nodes say; those of nodes that are away do not.
pub(super) async fn online_bricks(daemon: &Daemon, volume: &Volume) -> Result<Vec<bool>, OpError> {
    let ask = OldDict::new().with_str("volname", &volume.name).with_int("cmd", 0);
    let parts = super::collect(daemon, node::STATUS, &ask, "Commit").await?;
    let online = |index: usize| {
        let key = format!("brick{index}.status");
        parts.iter().any(|(_, part)| part.get_i32(&key) == Some(1))
    };
    Ok((0..volume.bricks.len()).map(online).collect())
}

/// The number of the next brick id: one more than the highest there is, so that ids of present bricks are never given
/// again (wire-protocol.md 5.3).
fn next_brick_number(volume: &Volume) -> u64 {
    let numbers = volume
        .bricks
        .iter()
        .filter_map(|brick| brick.brick_id.rsplit_once('-')?.1.parse::<u64>().ok());
    numbers.max().map_or(0, |highest| highest.saturating_add(1))
}

/// Makes new directories bricks of the volume, lets the bricks that stay blame them, and stores the volume. `bricks` are
/// the indices in `after` of the new ones, in the order of `prepared`; `except` is a brick of `before` that goes away.
///
/// The order matters: a crash before the volume is stored leaves marks for a brick that does not exist, which nobody
/// reads; a brick that is known without being blamed would be believed to be empty rightly.
pub(super) async fn bring_in(
    daemon: &Daemon,
    before: &Volume,
    after: &Volume,
    bricks: &[usize],
    except: Option<usize>,
    prepared: &mut [Prepared],
) -> Result<(), OpError> {
    node::claim_new(daemon, prepared, after.id).await?;
    if before.is_started() {
        for brick in bricks.iter().filter_map(|index| after.bricks.get(*index)) {
            blame(daemon, before, &brick.brick_id, except).await?;
        }
    }
    daemon.save(after.clone()).await
}

/// Starts the bricks of a running volume that are new.
pub(super) async fn start_new(daemon: &Daemon, volume: &Volume) -> Result<(), OpError> {
    if !volume.is_started() {
        return Ok(());
    }
    let bring_up = OldDict::new().with_str("volname", &volume.name).with_int("force", 0);
    node::ask_all(daemon, node::BRING_UP, &bring_up, "Commit", START_LIMIT).await
}

/// Takes copies away from a volume. The bricks' directories keep their contents and marks, as with GlusterFS.
pub(super) async fn remove(daemon: &Daemon, request: OldDict) -> OpResult {
    let name = text(&request, "volname")?.to_string();
    let _transaction = daemon.transaction(&name).await?;
    let mut volume = daemon.need_volume(&name)?;
    let count = request
        .get_u64("count")
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0);
    let replicas = check_less(&volume, request.get_u64("replica-count"), count)?;
    let mut leaving = Vec::new();
    for number in 1..=count {
        let label = text(&request, &format!("brick{number}"))?;
        let index = volume.brick_index(label);
        let index = index.ok_or_else(|| OpError::new(format!("Incorrect brick {label} for volume {name}")))?;
        leaving.push(index);
    }
    leaving.sort_unstable();
    leaving.dedup();
    if leaving.len() != count {
        return Err(OpError::new("Duplicate bricks found"));
    }
    check_step(&volume, request.get_i32("command"), &leaving)?;
    require_server_quorum(daemon, &volume)?;
    hooks::run_before(daemon, "remove-brick", &name, &[]).await;
    for index in leaving.into_iter().rev() {
        volume.bricks.remove(index);
    }
    volume.replica_count = replicas;
    daemon.save(volume.clone()).await?;
    hooks::run_after(daemon, "remove-brick", &name, &[]);
    Ok(with_volume_id(request, &volume))
}

/// The new replica count for so many fewer bricks.
fn check_less(volume: &Volume, replicas: Option<u64>, fewer: usize) -> Result<usize, OpError> {
    let refused = |text: String| OpError { errno: 0, text };
    let had = volume.replica_count;
    let without = || {
        refused(
            "Removing bricks from replicate configuration is not allowed without reducing replica count explicitly."
                .into(),
        )
    };
    let replicas = replicas
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0);
    let replicas = replicas.ok_or_else(without)?;
    if replicas > had {
        return Err(refused(format!(
            "given replica count ({replicas}) option is more than volume {}'s replica count ({had})",
            volume.name
        )));
    }
    if replicas == had {
        return Err(match fewer.is_multiple_of(had) {
            true => without(),
            false => refused(format!(
                "number of bricks provided ({fewer}) is not valid. need at least {had} (or {had}xN)"
            )),
        });
    }
    if fewer == volume.bricks.len() {
        return Err(OpError::new("Deleting all the bricks of the volume is not allowed"));
    }
    let need = had - replicas;
    if fewer != need {
        return Err(refused(format!(
            "need {need}(xN) bricks for reducing replica count of the volume from {had} to {replicas}"
        )));
    }
    if replicas < 2 {
        return Err(refused(
            "Only replicate volumes are supported in this release: the replica count cannot be less than 2".into(),
        ));
    }
    Ok(replicas)
}

/// Only a forced removal does something: there is no data to be moved when copies go.
fn check_step(volume: &Volume, step: Option<i32>, leaving: &[usize]) -> Result<(), OpError> {
    let first = leaving.first().and_then(|index| volume.bricks.get(*index));
    Err(OpError::new(match step {
        Some(step::FORCE) => return Ok(()),
        Some(step::START) => {
            "Migration of data is not needed when reducing replica count. Use the 'force' option".to_string()
        }
        Some(step::COMMIT) => format!(
            "Brick {} is not decommissioned. Use start or force option",
            first.map(|brick| brick.label()).unwrap_or_default()
        ),
        _ => "remove-brick not started.".to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glusterd::model::Brick;
    use datapath::wire::Gfid;

    fn volume(ids: &[&str]) -> Volume {
        let brick = |id: &&str| Brick {
            node: Gfid([1; 16]),
            host: "w1".into(),
            path: format!("/{id}"),
            real_path: format!("/{id}"),
            port: 0,
            brick_id: (*id).to_string(),
            mount_dir: String::new(),
            fsid: 0,
            extra: Vec::new(),
        };
        Volume {
            name: "v".into(),
            id: Gfid([2; 16]),
            status: VolumeStatus::Started,
            replica_count: ids.len(),
            version: 1,
            username: String::new(),
            password: String::new(),
            bricks: ids.iter().map(brick).collect(),
            options: Vec::new(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn brick_ids_go_on_after_the_highest() {
        assert_eq!(next_brick_number(&volume(&["v-client-0", "v-client-1"])), 2);
        assert_eq!(next_brick_number(&volume(&["v-client-4", "v-client-1"])), 5);
        assert_eq!(next_brick_number(&volume(&["v-client-x"])), 0);
    }

    #[test]
    fn counts_of_more_bricks_are_checked_in_glusterfs_words() {
        let two = volume(&["v-client-0", "v-client-1"]);
        let text = |replicas, more| check_more(&two, replicas, more).unwrap_err().text;
        assert_eq!(check_more(&two, Some(3), 1), Ok(3));
        assert_eq!(check_more(&two, Some(6), 4), Ok(6));
        assert_eq!(
            text(Some(1), 1),
            "Incorrect replica count (1) supplied. Volume already has (2)"
        );
        assert_eq!(text(None, 1), "Incorrect number of bricks supplied 1 with count 2");
        assert!(text(None, 2).starts_with("Distributed volumes are not supported"));
        assert!(text(Some(2), 2).starts_with("Distributed volumes are not supported"));
        assert_eq!(text(Some(4), 1), "Operation failed");
    }

    #[test]
    fn counts_of_fewer_bricks_are_checked_in_glusterfs_words() {
        let three = volume(&["v-client-0", "v-client-1", "v-client-2"]);
        let text = |replicas, fewer| check_less(&three, replicas, fewer).unwrap_err().text;
        assert_eq!(check_less(&three, Some(2), 1), Ok(2));
        assert!(text(None, 1).starts_with("Removing bricks from replicate configuration is not allowed"));
        assert_eq!(
            text(Some(4), 1),
            "given replica count (4) option is more than volume v's replica count (3)"
        );
        assert_eq!(
            text(Some(3), 1),
            "number of bricks provided (1) is not valid. need at least 3 (or 3xN)"
        );
        assert_eq!(
            text(Some(2), 2),
            "need 1(xN) bricks for reducing replica count of the volume from 3 to 2"
        );
        assert_eq!(text(Some(2), 3), "Deleting all the bricks of the volume is not allowed");
        assert!(text(Some(1), 2).contains("cannot be less than 2"));
    }

    #[test]
    fn only_a_forced_removal_is_one() {
        let two = volume(&["v-client-0", "v-client-1"]);
        let text = |step| check_step(&two, step, &[1]).unwrap_err().text;
        assert!(check_step(&two, Some(step::FORCE), &[1]).is_ok());
        assert!(text(Some(step::START)).starts_with("Migration of data is not needed"));
        assert_eq!(
            text(Some(step::COMMIT)),
            "Brick w1:/v-client-1 is not decommissioned. Use start or force option"
        );
    }
}
