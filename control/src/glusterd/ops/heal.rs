//! `volume heal`: launching heals, counting what is left, crawl statistics, switching the self-heal daemon and granular
//! entry heal. `heal info` and split-brain resolution are done by the command line itself, as with GlusterFS.

use std::time::Duration;

use datapath::wire::OldDict;
use datapath::wire::brickop::{BrickOpReq, Proc};

use super::super::daemon::Daemon;
use super::super::model::{OpError, Volume};
use super::super::node;
use super::lifecycle::require_server_quorum;
use super::{OpResult, named_volume, options, with_volume_id};

/// How long a self-heal daemon that was just started may take to answer.
const ONLINE_LIMIT: Duration = Duration::from_secs(3);

/// How long a node may take to start its self-heal daemon.
const AWAIT_LIMIT: Duration = Duration::from_secs(30);

/// `heal-op` (wire-protocol.md 2.7).
mod op {
    pub const INDEX: i32 = 1;
    pub const FULL: i32 = 2;
    pub const STATISTICS: i32 = 7;
    pub const HEAL_COUNT: i32 = 8;
    pub const HEAL_COUNT_REPLICA: i32 = 9;
    pub const ENABLE: i32 = 12;
    pub const DISABLE: i32 = 13;
    pub const GRANULAR_ENABLE: i32 = 15;
    pub const GRANULAR_DISABLE: i32 = 16;
}

/// Carries out one heal operation.
pub(super) async fn heal(daemon: &Daemon, request: OldDict) -> OpResult {
    let volume = named_volume(daemon, &request)?;
    match request.get_i32("heal-op") {
        Some(op::ENABLE) => switch(daemon, request, &volume, "cluster.self-heal-daemon", "enable").await,
        Some(op::DISABLE) => switch(daemon, request, &volume, "cluster.self-heal-daemon", "disable").await,
        Some(op::GRANULAR_ENABLE) => {
            check_healed(daemon, &request, &volume).await?;
            switch(daemon, request, &volume, "cluster.granular-entry-heal", "enable").await
        }
        Some(op::GRANULAR_DISABLE) => switch(daemon, request, &volume, "cluster.granular-entry-heal", "disable").await,
        Some(op::INDEX | op::FULL | op::STATISTICS | op::HEAL_COUNT | op::HEAL_COUNT_REPLICA) => {
            ask_daemon(daemon, request, &volume).await
        }
        other => Err(OpError::new(format!(
            "heal operation {other:?} is not one of the management daemon"
        ))),
    }
}

/// Before the way of recording entry heals changes, everything must be up and healed: what was recorded the old way
/// would be overlooked.
async fn check_healed(daemon: &Daemon, request: &OldDict, volume: &Volume) -> Result<(), OpError> {
    if !volume.is_started() {
        return Ok(());
    }
    let refusal = || {
        OpError::new(
            "One or more bricks could be down. Please execute the command again after bringing all bricks online and \
             finishing any pending heals",
        )
    };
    let status = OldDict::new().with_str("volname", &volume.name).with_int("cmd", 0);
    let parts = super::collect(daemon, node::STATUS, &status, "Commit").await?;
    let online = |index: usize| {
        let key = format!("brick{index}.status");
        parts.iter().any(|(_, part)| part.get_i32(&key) == Some(1))
    };
    if !(0..volume.bricks.len()).all(online) {
        return Err(refusal());
    }
    let mut count = request.clone();
    count.set_int("heal-op", op::HEAL_COUNT);
    let counted = super::collect(daemon, node::HEAL, &count, "Commit")
        .await
        .map_err(|why| {
            tracing::error!("pending heals of volume {} cannot be counted: {why}", volume.name);
            refusal()
        })?;
    match counted.iter().all(|(_, part)| pending_entries(part) == Some(0)) {
        true => Ok(()),
        false => Err(refusal()),
    }
}

/// The sum of all counts in a heal-count answer; None if it has none or one is no number.
fn pending_entries(answer: &OldDict) -> Option<u64> {
    let counts = answer.iter().filter(|(key, _)| key.0.ends_with(b"-hardlinks"));
    let numbers = counts.map(|(key, _)| answer.get_u64(std::str::from_utf8(&key.0).ok()?));
    let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
    if numbers.is_empty() {
        None
    } else {
        Some(numbers.iter().sum())
    }
}

async fn switch(daemon: &Daemon, request: OldDict, volume: &Volume, key: &str, value: &str) -> OpResult {
    let _transaction = daemon.transaction(&volume.name).await?;
    let mut volume = daemon.need_volume(&volume.name)?;
    require_server_quorum(daemon, &volume)?;
    volume.set_option(key, value);
    options::apply(daemon, &volume).await?;
    if volume.is_started() {
        // So that the next command finds the self-heal daemons.
        let named = OldDict::new().with_str("volname", &volume.name);
        node::ask_all(daemon, node::AWAIT_SHD, &named, "Commit", AWAIT_LIMIT).await?;
    }
    Ok(with_volume_id(request, &volume))
}

async fn ask_daemon(daemon: &Daemon, mut request: OldDict, volume: &Volume) -> OpResult {
    if !volume.is_started() {
        return Err(OpError::new(format!("Volume {} is not started.", volume.name)));
    }
    if !volume.wants_shd() {
        return Err(OpError::new(format!(
            "Self-heal-daemon is disabled. Heal will not be triggered on volume {}",
            volume.name
        )));
    }
    for (index, brick) in volume.bricks.iter().enumerate() {
        request
            .set_str(format!("{index}-hostname"), &brick.host)
            .set_str(format!("{index}-path"), &brick.path);
    }
    request.set_int("count", i128::try_from(volume.bricks.len()).unwrap_or(0));
    let parts = super::collect(daemon, node::HEAL, &request, "Commit").await?;
    for (node, part) in parts {
        for (key, value) in part.iter() {
            let Ok(key) = std::str::from_utf8(&key.0) else { continue };
            // Each node's daemon tells about all bricks; what counts is what it says of its own.
            let brick = brick_of_key(key).and_then(|index| volume.bricks.get(index));
            if brick.is_none_or(|brick| brick.node == node) || !request.contains(key) {
                request.set(key.to_string(), value.clone());
            }
        }
    }
    Ok(with_volume_id(request, volume))
}

/// The number of the brick that a renumbered key is about.
fn brick_of_key(key: &str) -> Option<usize> {
    let mut parts = key.split('-');
    let first = parts.next()?;
    match first.starts_with("statistics") {
        true => parts.next()?.parse().ok(),
        false => first.parse().ok(),
    }
}

/// This node's part: what its self-heal daemon answers, with the bricks numbered as in the volume. A node without a brick
/// of the volume has no part.
pub(super) async fn local_heal(daemon: &Daemon, request: OldDict) -> OpResult {
    let volume = named_volume(daemon, &request)?;
    if !volume.bricks.iter().any(|brick| daemon.is_local(brick)) {
        return Ok(OldDict::new());
    }
    let answer = call_shd(daemon, &request, &volume).await.map_err(|why| {
        tracing::error!("heal of volume {}: {why}", volume.name);
        OpError::new("Glusterd Syncop Mgmt brick op 'Heal' failed. Please check glustershd log file for details.")
    })?;
    let mut part = OldDict::new();
    for (key, value) in answer.iter() {
        if let Ok(key) = std::str::from_utf8(&key.0) {
            part.set(brick_key(key, volume.replica_count), value.clone());
        }
    }
    Ok(part)
}

/// Asks the self-heal daemon about all replica sets of the volume.
async fn call_shd(daemon: &Daemon, request: &OldDict, volume: &Volume) -> Result<OldDict, String> {
    let process = daemon
        .shd_process(&volume.name)
        .ok_or("the self-heal daemon is not running")?;
    process.wait_online(ONLINE_LIMIT).await;
    let mut input = request.clone();
    let operation = request.get_i32("heal-op").unwrap_or(op::INDEX);
    let sets = volume.bricks.len() / volume.replica_count.max(1);
    input
        .set_int("xl-op", operation)
        .set_int("count", i128::try_from(sets).unwrap_or(0));
    for set in 0..sets {
        let name = format!("{}-replicate-{set}", volume.name);
        input
            .set_int(name.clone(), i128::try_from(set).unwrap_or(0))
            .set_str(format!("xl-{set}"), &name);
    }
    input.set_str("vol-id", &volume.id.to_string());
    let call = BrickOpReq {
        input: input.serialize(),
        ..BrickOpReq::default()
    };
    let reply = process.call(Proc::XlatorOp, call).await?;
    if reply.op_ret != 0 {
        return Err(format!(
            "error {}: {}",
            reply.op_errno,
            String::from_utf8_lossy(&reply.op_errstr)
        ));
    }
    reply.output_dict().map_err(|e| format!("malformed answer: {e}"))
}

/// The daemon numbers a brick by replica set and child; the command line wants its number in the volume. Keys are
/// `SET-CHILD-what` or `statistics…-SET-CHILD[-n|-count]`.
fn brick_key(key: &str, replica_count: usize) -> String {
    let parts: Vec<&str> = key.split('-').collect();
    let number = |i: usize| parts.get(i).and_then(|p| p.parse::<usize>().ok());
    let first = usize::from(key.starts_with("statistics"));
    let (Some(set), Some(child)) = (number(first), number(first + 1)) else {
        return key.to_string();
    };
    let index = set.saturating_mul(replica_count).saturating_add(child).to_string();
    let mut renamed: Vec<&str> = parts.iter().take(first).copied().collect();
    renamed.push(&index);
    renamed.extend(parts.iter().skip(first + 2));
    renamed.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_entries_are_summed() {
        let answer = |pairs: &[(&'static str, &str)]| {
            pairs
                .iter()
                .fold(OldDict::new(), |dict, (key, value)| dict.with_str(*key, value))
        };
        assert_eq!(
            pending_entries(&answer(&[("0-0-hardlinks", "2"), ("0-1-hardlinks", "3"), ("x", "9")])),
            Some(5)
        );
        assert_eq!(pending_entries(&answer(&[("0-0-hardlinks", "many")])), None);
        assert_eq!(
            pending_entries(&answer(&[("0-0-status", "Brick is not connected")])),
            None
        );
    }

    #[test]
    fn bricks_are_renumbered() {
        for (key, want) in [
            ("0-1-status", "1-status"),
            ("1-0-shd-status", "3-shd-status"),
            ("1-2-hardlinks", "5-hardlinks"),
            ("statistics-1-1-count", "statistics-4-count"),
            ("statistics_healed_cnt-0-2-7", "statistics_healed_cnt-2-7"),
            ("count", "count"),
        ] {
            assert_eq!(brick_key(key, 3), want);
        }
    }
}
