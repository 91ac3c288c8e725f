//! `volume status` in its forms, and `volume profile`.

use datapath::wire::brickop::{BrickOpReq, BrickOpRsp, Proc};
use datapath::wire::{Gfid, OldDict};

use super::super::brickdir;
use super::super::daemon::{Daemon, ProcessStatus};
use super::super::model::{Brick, OpError, Volume};
use super::super::node;
use super::{OpResult, named_volume, options, text, with_volume_id};
use crate::rt;

/// Bits of `cmd` (wire-protocol.md 2.7).
mod command {
    /// mem, clients, inode, fd, callpool and client-list: answered by the bricks themselves.
    pub const ASK_BRICK: i32 = 1 | 2 | 4 | 8 | 16 | 128;
    pub const DETAIL: i32 = 32;
    pub const TASKS: i32 = 64;
    pub const ALL: i32 = 512;
    pub const BRICK: i32 = 1024;
    pub const SHD: i32 = 4096;
    pub const QUOTAD: i32 = 8192;
    pub const SNAPD: i32 = 16384;
    pub const BITD: i32 = 32768;
    pub const SCRUB: i32 = 65536;
}

/// Tells how a volume's processes are.
pub(super) async fn status(daemon: &Daemon, mut request: OldDict) -> OpResult {
    let cmd = request
        .get_i32("cmd")
        .ok_or_else(|| OpError::new("the request has no valid 'cmd'"))?;
    if cmd & command::ALL != 0 {
        return Ok(all_names(daemon, request));
    }
    let volume = named_volume(daemon, &request)?;
    if !volume.is_started() {
        return Err(OpError::new(format!("Volume {} is not started", volume.name)));
    }
    let absent = [
        (command::QUOTAD, "does not have quota enabled"),
        (command::SNAPD, "does not have uss enabled"),
        (command::BITD, "does not have bitrot enabled"),
        (command::SCRUB, "does not have bitrot enabled"),
    ];
    if let Some((_, why)) = absent.iter().find(|(bit, _)| cmd & bit != 0) {
        return Err(OpError::new(format!("Volume {} {why}", volume.name)));
    }
    let only = match cmd & command::BRICK {
        0 => None,
        _ => Some(restricted_brick(&volume, text(&request, "brick")?)?),
    };
    let shd_only = cmd & command::SHD != 0;
    if shd_only && !volume.wants_shd() {
        return Err(OpError::new(format!(
            "Self-heal Daemon is disabled for volume {}",
            volume.name
        )));
    }
    let mut ask = request.clone();
    if let Some(only) = only {
        ask.set_int(ONLY, i128::try_from(only).unwrap_or(0));
    }
    let parts = super::collect(daemon, node::STATUS, &ask, "Commit").await?;
    request
        .set_int("type", -1)
        .set_int("hot_brick_count", -1)
        .set_int("tasks", 0);
    gather(daemon, &volume, parts, &mut request);
    Ok(with_volume_id(request, &volume))
}

/// Which brick alone is asked for, in the requests between nodes.
const ONLY: &str = "only-brick";
/// Prefix of the self-heal daemon's keys in the answer of a node.
const SHD_PREFIX: &str = "shd";

/// Puts the parts of the nodes together: bricks at their places, then the self-heal daemons. Bricks of nodes that did
/// not answer are missing, as with GlusterFS.
fn gather(daemon: &Daemon, volume: &Volume, parts: Vec<(Gfid, OldDict)>, reply: &mut OldDict) {
    let (mut count, mut others) = (0, 0);
    let last = parts
        .iter()
        .flat_map(|(_, part)| (0..volume.bricks.len()).filter(|i| part.contains(&format!("brick{i}.hostname"))))
        .max();
    let next = last.map_or(0, |last| last + 1);
    for (node, part) in parts {
        count += (0..volume.bricks.len())
            .filter(|i| part.contains(&format!("brick{i}.hostname")))
            .count();
        let shd = format!("brick{}", next + others);
        merge(reply, &part, |key| match key.strip_prefix(SHD_PREFIX) {
            Some(rest) if rest.starts_with('.') => format!("{shd}{rest}"),
            _ => key.to_string(),
        });
        if part.contains(&format!("{SHD_PREFIX}.hostname")) {
            reply.set_str(format!("{shd}.path"), &daemon.peer_name(node));
            others += 1;
        }
    }
    let number = |n: usize| i128::try_from(n).unwrap_or(0);
    reply
        .set_int("count", number(count + others))
        .set_int("other-count", number(others))
        .set_int("brick-index-max", number(next) - 1);
}

/// This node's part: its bricks, and its self-heal daemon.
pub(super) async fn local_status(daemon: &Daemon, request: OldDict) -> OpResult {
    let cmd = request.get_i32("cmd").unwrap_or(0);
    let volume = named_volume(daemon, &request)?;
    let only = request.get_u64(ONLY).and_then(|only| usize::try_from(only).ok());
    let mut part = OldDict::new();
    if cmd & (command::SHD | command::TASKS) == 0 {
        for (index, brick) in volume.bricks.iter().enumerate() {
            if daemon.is_local(brick) && only.is_none_or(|only| only == index) {
                show_brick(daemon, &volume, index, &request, &mut part).await;
            }
        }
    }
    let whole = cmd & (command::ASK_BRICK | command::DETAIL | command::TASKS) == 0 && only.is_none();
    let has_brick = volume.bricks.iter().any(|brick| daemon.is_local(brick));
    if whole && has_brick && volume.wants_shd() {
        show_shd(daemon, &volume, &mut part);
    }
    Ok(part)
}

fn all_names(daemon: &Daemon, mut request: OldDict) -> OldDict {
    let names = daemon.volume_names();
    for (index, name) in names.iter().enumerate() {
        request.set_str(format!("vol{index}"), name);
    }
    request.set_int("vol_count", i128::try_from(names.len()).unwrap_or(0));
    request
}

fn restricted_brick(volume: &Volume, label: &str) -> Result<usize, OpError> {
    let missing = || OpError::new(format!("No brick {label} in volume {}", volume.name));
    volume.brick_index(label).ok_or_else(missing)
}

fn set_process(reply: &mut OldDict, prefix: &str, status: ProcessStatus, port: u16) {
    let pid = status.pid.filter(|_| status.online).unwrap_or(-1);
    reply
        .set_int(format!("{prefix}.port"), if status.online { port } else { 0 })
        .set_int(format!("{prefix}.rdma_port"), 0)
        .set_int(format!("{prefix}.pid"), pid)
        .set_int(format!("{prefix}.status"), i32::from(status.online));
}

async fn show_brick(daemon: &Daemon, volume: &Volume, index: usize, request: &OldDict, reply: &mut OldDict) {
    let Some(brick) = volume.bricks.get(index) else { return };
    let cmd = request.get_i32("cmd").unwrap_or(0);
    let prefix = format!("brick{index}");
    reply
        .set_str(format!("{prefix}.hostname"), &brick.host)
        .set_str(format!("{prefix}.path"), &brick.path)
        .set_str(format!("{prefix}.peerid"), &brick.node.to_string());
    let status = daemon.brick_status(&volume.name, &brick.path);
    // The volume was read before; the port of a brick that has restarted since is the registered one.
    let port = daemon.portmap().port_of(&brick.path).unwrap_or(brick.port);
    set_process(reply, &prefix, status, port);
    if cmd & command::DETAIL != 0 {
        show_file_system(brick, &prefix, reply).await;
        show_history(daemon, &volume.name, brick, &prefix, reply);
    }
    if cmd & command::ASK_BRICK != 0 && status.online {
        match ask_brick(daemon, volume, brick, request).await {
            Ok(answer) => merge(reply, &answer, |key| format!("{prefix}.{key}")),
            Err(why) => tracing::warn!("status of {}: {why}", brick.label()),
        }
    }
}

async fn ask_brick(daemon: &Daemon, volume: &Volume, brick: &Brick, request: &OldDict) -> Result<OldDict, String> {
    let process = daemon
        .brick_process(&volume.name, &brick.path)
        .ok_or("it is not running")?;
    let mut input = OldDict::new();
    for key in ["cmd-str", "cmd", "volname"] {
        if let Some(value) = request.get(key) {
            input.set(key, value.clone());
        }
    }
    input
        .set_str("brick-name", &brick.path)
        .set_str("vol-id", &volume.id.to_string());
    let call = BrickOpReq {
        input: input.serialize(),
        ..BrickOpReq::default()
    };
    checked(process.call(Proc::Status, call).await?)
}

/// The dictionary of a successful answer.
fn checked(reply: BrickOpRsp) -> Result<OldDict, String> {
    if reply.op_ret != 0 {
        let text = String::from_utf8_lossy(&reply.op_errstr);
        return Err(if text.is_empty() {
            format!("failed with error {}", reply.op_errno)
        } else {
            text.into_owned()
        });
    }
    reply.output_dict().map_err(|e| format!("malformed answer: {e}"))
}

fn merge(reply: &mut OldDict, answer: &OldDict, name: impl Fn(&str) -> String) {
    for (key, value) in answer.iter() {
        if let Ok(key) = std::str::from_utf8(&key.0) {
            reply.set(name(key), value.clone());
        }
    }
}

async fn show_file_system(brick: &Brick, prefix: &str, reply: &mut OldDict) {
    let path = brick.path.clone();
    let found = match rt::blocking(move || brickdir::file_system(&path)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!("{}: {error}", brick.path);
            return;
        }
        Err(error) => {
            tracing::warn!("{}: {error}", brick.path);
            return;
        }
    };
    let stat = found.stat;
    for (key, value) in [
        ("block_size", stat.bsize),
        ("free", stat.bavail.saturating_mul(stat.frsize)),
        ("total", stat.blocks.saturating_mul(stat.frsize)),
        ("total_inodes", stat.files),
        ("free_inodes", stat.ffree),
    ] {
        reply.set_int(format!("{prefix}.{key}"), value);
    }
    for (key, value) in [
        ("device", &found.device),
        ("fs_name", &found.kind),
        ("mnt_options", &found.options),
    ] {
        reply.set_str(format!("{prefix}.{key}"), value);
    }
}

/// How long a brick has been up or down, in keys of our own.
fn show_history(daemon: &Daemon, volume: &str, brick: &Brick, prefix: &str, reply: &mut OldDict) {
    let history = daemon
        .brick_process(volume, &brick.path)
        .and_then(|process| process.history());
    if let Some((since, changes)) = history {
        reply
            .set_int(
                format!("{prefix}.since-ms"),
                since.as_millis().min(u128::from(u64::MAX)) as i128,
            )
            .set_int(format!("{prefix}.changes"), changes);
    }
}

fn show_shd(daemon: &Daemon, volume: &Volume, reply: &mut OldDict) {
    reply
        .set_str(format!("{SHD_PREFIX}.hostname"), "Self-heal Daemon")
        .set_str(format!("{SHD_PREFIX}.peerid"), &daemon.node().uuid.to_string());
    set_process(reply, SHD_PREFIX, daemon.shd_status(&volume.name), 0);
}

/// `op` of a profile request.
const PROFILE_START: i32 = 1;
const PROFILE_STOP: i32 = 2;
const PROFILE_INFO: i32 = 3;
/// The options that make bricks count and time operations.
const PROFILE_OPTIONS: [&str; 2] = ["diagnostics.latency-measurement", "diagnostics.count-fop-hits"];

/// Switches profiling, or collects what the bricks have counted.
pub(super) async fn profile(daemon: &Daemon, mut request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let mut volume = named_volume(daemon, &request)?;
    if !volume.is_started() {
        return Err(OpError::new(format!("Volume {} is not started.", volume.name)));
    }
    let running = PROFILE_OPTIONS.iter().all(|key| volume.is_on(key));
    let name = volume.name.clone();
    let mut count = 0;
    match request.get_i32("op") {
        Some(PROFILE_START) if running => {
            return Err(OpError::new(format!("Profile on Volume {name} is already started")));
        }
        Some(PROFILE_START) => {
            PROFILE_OPTIONS.iter().for_each(|key| volume.set_option(key, "on"));
            options::apply(daemon, &volume).await?;
        }
        Some(PROFILE_STOP | PROFILE_INFO) if !running => {
            return Err(OpError::new(format!("Profile on Volume {name} is not started")));
        }
        Some(PROFILE_STOP) => {
            volume
                .options
                .retain(|(key, _)| !PROFILE_OPTIONS.contains(&key.as_str()));
            options::apply(daemon, &volume).await?;
        }
        Some(PROFILE_INFO) => count = collect_profile(daemon, &mut request).await?,
        other => return Err(OpError::new(format!("profile has no operation {other:?}"))),
    }
    request.set_int("count", count);
    Ok(with_volume_id(request, &volume))
}

async fn collect_profile(daemon: &Daemon, request: &mut OldDict) -> Result<i32, OpError> {
    let mut count = 0;
    for (_, part) in super::collect(daemon, node::PROFILE, request, "Commit").await? {
        let bricks = part.get_i32("count").unwrap_or(0);
        // A node numbers its bricks from 1.
        merge(request, &part, |key| match key.split_once('-') {
            Some((number, rest)) => match number.parse::<i32>() {
                Ok(number) => format!("{}-{rest}", number.saturating_add(count)),
                Err(_) => key.to_string(),
            },
            None => key.to_string(),
        });
        count = count.saturating_add(bricks);
    }
    Ok(count)
}

/// This node's part of a profile.
pub(super) async fn local_profile(daemon: &Daemon, request: OldDict) -> OpResult {
    let volume = named_volume(daemon, &request)?;
    let mut part = OldDict::new();
    let mut count = 0;
    let input = request.serialize();
    for brick in volume.bricks.iter().filter(|brick| daemon.is_local(brick)) {
        let Some(process) = daemon.brick_process(&volume.name, &brick.path) else {
            continue;
        };
        let call = BrickOpReq {
            name: brick.path.clone().into(),
            input: input.clone(),
            ..BrickOpReq::default()
        };
        match process.call(Proc::XlatorInfo, call).await.and_then(checked) {
            Ok(answer) => {
                count += 1;
                part.set_str(format!("{count}-brick"), &brick.label());
                merge(&mut part, &answer, |key| format!("{count}-{key}"));
            }
            Err(why) => tracing::warn!("profile of {}: {why}", brick.label()),
        }
    }
    part.set_int("count", count);
    Ok(part)
}
