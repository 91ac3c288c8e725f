//! `volume info`, `volume list`, `system:: uuid get`.

use datapath::wire::OldDict;

use super::super::daemon::Daemon;
use super::super::model::{OpError, TYPE_REPLICATE, Volume};
use super::{OpResult, text};

/// `flags` of GET_VOLUME: all volumes, the named one, the one after the named one.
const ALL: i32 = 1;
const ONE: i32 = 2;
const NEXT: i32 = 3;

/// The definitions of volumes.
pub(super) fn volumes(daemon: &Daemon, request: &OldDict) -> OpResult {
    let names = match request.get_i32("flags") {
        Some(ALL) => daemon.volume_names(),
        Some(ONE) => {
            let name = text(request, "volname")?;
            if daemon.volume(name).is_none() {
                return Err(OpError {
                    errno: OpError::NO_VOLUME,
                    ..OpError::no_volume(name)
                });
            }
            vec![name.to_string()]
        }
        Some(NEXT) => {
            let after = request.get_str("volname").unwrap_or("");
            daemon
                .volume_names()
                .into_iter()
                .find(|name| name.as_str() > after)
                .into_iter()
                .collect()
        }
        other => return Err(OpError::new(format!("GET_VOLUME has no flags {other:?}"))),
    };
    let mut reply = OldDict::new();
    let mut count = 0;
    for volume in names.iter().filter_map(|name| daemon.volume(name)) {
        describe(&mut reply, count, &volume);
        count += 1;
    }
    reply.set_int("count", count);
    Ok(reply)
}

fn describe(reply: &mut OldDict, index: i32, volume: &Volume) {
    let prefix = format!("volume{index}");
    let number = |n: usize| i128::try_from(n).unwrap_or(0);
    let numbers = [
        ("type", i128::from(TYPE_REPLICATE)),
        ("status", i128::from(volume.status.number())),
        ("brick_count", number(volume.bricks.len())),
        ("dist_count", number(volume.replica_count)),
        ("replica_count", number(volume.replica_count)),
        ("disperse_count", 0),
        ("redundancy_count", 0),
        ("arbiter_count", 0),
        ("transport", 0),
        ("thin_arbiter_count", 0),
        ("rebalance", 0),
        ("snap_count", 0),
    ];
    reply.set_str(format!("{prefix}.name"), &volume.name);
    for (key, value) in numbers {
        reply.set_int(format!("{prefix}.{key}"), value);
    }
    reply.set_str(format!("{prefix}.volume_id"), &volume.id.to_string());
    for (i, brick) in volume.bricks.iter().enumerate() {
        reply.set_str(format!("{prefix}.brick{}", i + 1), &brick.label());
        reply.set_str(format!("{prefix}.brick{}.uuid", i + 1), &brick.node.to_string());
    }
    reply.set_int(format!("{prefix}.opt_count"), number(volume.options.len()));
    // Newest first is how they are shown; a dictionary is read from its end (wire-protocol.md 3.4).
    for (key, value) in volume.options.iter().rev() {
        reply.set_str(format!("{prefix}.option.{key}"), value);
    }
}

/// The names of all volumes.
pub(super) fn list(daemon: &Daemon) -> OldDict {
    let mut reply = OldDict::new();
    let names = daemon.volume_names();
    reply.set_int("count", i128::try_from(names.len()).unwrap_or(0));
    for (index, name) in names.iter().enumerate() {
        reply.set_str(format!("volume{index}"), name);
    }
    reply
}

/// The node's uuid.
pub(super) fn uuid(daemon: &Daemon, mut request: OldDict) -> OldDict {
    request.set_str("uuid", &daemon.node().uuid.to_string());
    request
}
