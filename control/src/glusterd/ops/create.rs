//! `volume create`: the checks, in GlusterFS's order, and the new volume.

use std::collections::HashSet;

use datapath::wire::OldDict;

use super::super::daemon::Daemon;
use super::super::hooks;
use super::super::hosts;
use super::super::model::{
    Brick, NEW_VOLUME_OPTIONS, OpError, TYPE_REPLICATE, Volume, VolumeStatus, new_uuid, normal_path,
};
use super::super::node::{self, NewBrick, Prepared};
use super::super::store::NEW_VOLUME_EXTRA;
use super::{OpResult, text};

/// Longest name of a volume that fits into every file name made from it.
const MAX_NAME: usize = 255;
/// Longest component of a brick's path, and longest path (GlusterFS: 255 and 1023).
const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 1023;

/// One brick as the user gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) host: String,
    pub(super) path: String,
}

impl Given {
    pub(super) fn label(&self) -> String {
        format!("{}:{}", self.host, self.path)
    }
}

/// Creates a volume.
pub(super) async fn create(daemon: &Daemon, mut request: OldDict) -> OpResult {
    let name = text(&request, "volname")?.to_string();
    check_name(&name)?;
    let _transaction = daemon.transaction(&name).await?;
    // A directory of a volume that this release cannot run is somebody's too.
    if daemon.volume(&name).is_some() || daemon.store().paths().volume(&name).exists() {
        return Err(OpError {
            errno: 0,
            text: format!("Volume {name} already exists"),
        });
    }
    let bricks = parse_bricks(text(&request, "bricks")?)?;
    let replica_count = check_kind(&request, bricks.len())?;
    let force = request.get_i32("force").is_some_and(|f| f != 0);
    let bricks = locate(daemon, bricks).await?;
    check_overlap(daemon, &bricks)?;
    if !force && replica_count > 1 {
        check_order(&bricks)?;
    }
    let mut prepared = node::prepare(daemon, &bricks, force).await?;
    hooks::run_before(daemon, "create", &name, &[]).await;
    let mut volume = new_volume(&name, replica_count, &prepared)?;
    if daemon.config().inet6 {
        volume.set_option("transport.address-family", "inet6");
    }
    let made = async {
        node::claim(daemon, &mut prepared, volume.id).await?;
        daemon.save(volume.clone()).await
    };
    if let Err(error) = made.await {
        node::undo(daemon, &prepared, volume.id).await;
        return Err(error);
    }
    hooks::run_after(daemon, "create", &name, &[]);
    answer(&mut request, &volume);
    Ok(request)
}

fn check_name(name: &str) -> Result<(), OpError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(OpError::new(format!(
            "Volume name exceeds {MAX_NAME} characters or is empty."
        )));
    }
    if name == "all" {
        return Err(OpError::new("\"all\" cannot be the name of a volume."));
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        || name.starts_with('-')
    {
        return Err(OpError::new(
            "Volume names can only contain alphanumeric, '-' and '_' characters.",
        ));
    }
    Ok(())
}

/// The bricks of " host:/path host:/path ".
pub(super) fn parse_bricks(list: &str) -> Result<Vec<Given>, OpError> {
    let mut seen = HashSet::new();
    let mut bricks = Vec::new();
    for word in list.split_whitespace() {
        // The last colon before the path: an IPv6 address has colons of its own.
        let parts = word.split_once(":/").map(|(host, rest)| (host, format!("/{rest}")));
        let Some((host, path)) = parts.filter(|(host, _)| !host.is_empty()) else {
            return Err(OpError::new(format!(
                "Wrong brick type: {word}, use <HOSTNAME>:<export-dir-abs-path>"
            )));
        };
        let brick = Given {
            host: host.to_string(),
            path: normal_path(&path),
        };
        if brick.path.len() > MAX_PATH || brick.path.split('/').any(|c| c.len() > MAX_COMPONENT) {
            return Err(OpError::new(format!("brick path {} is too long.", brick.label())));
        }
        if brick.path.split('/').any(|c| c == "." || c == "..") || brick.path.contains(['`', '"', '\\', '#']) {
            return Err(OpError::new(format!(
                "brick path {} may not contain '.', '..' or quoting",
                brick.label()
            )));
        }
        if !seen.insert(brick.label()) {
            return Err(OpError::new(format!("Found duplicate exports {}", brick.label())));
        }
        bricks.push(brick);
    }
    Ok(bricks)
}

/// What this release can build is one replica set. Answers the replica count.
fn check_kind(request: &OldDict, bricks: usize) -> Result<usize, OpError> {
    let number = |key: &str| request.get_i64(key).unwrap_or(0);
    for key in [
        "arbiter-count",
        "thin-arbiter-count",
        "disperse-count",
        "redundancy-count",
        "stripe-count",
    ] {
        if number(key) > 0 {
            return Err(OpError::new(format!(
                "{key} {} is not supported in this release",
                number(key)
            )));
        }
    }
    let kind = request.get_i32("type").unwrap_or(0);
    let replica = usize::try_from(number("replica-count")).unwrap_or(0);
    if kind != TYPE_REPLICATE || replica < 2 {
        return Err(OpError::new(
            "Only replicate volumes are supported in this release: use 'replica <COUNT>' with a count of 2 or more",
        ));
    }
    if bricks == 0 || !bricks.is_multiple_of(replica) {
        return Err(OpError::new(format!(
            "number of bricks ({bricks}) is not a multiple of replica count ({replica})"
        )));
    }
    if bricks != replica {
        return Err(OpError::new(format!(
            "Distributed volumes are not supported in this release: {bricks} bricks need 'replica {bricks}'"
        )));
    }
    if request.get_str("transport").is_some_and(|t| t != "tcp") {
        return Err(OpError::new("Only the transport tcp is supported"));
    }
    Ok(replica)
}

/// Finds the node of every brick; it must be connected.
pub(super) async fn locate(daemon: &Daemon, bricks: Vec<Given>) -> Result<Vec<NewBrick>, OpError> {
    let mut located: Vec<NewBrick> = Vec::new();
    for Given { host, path } in bricks {
        let known = located.iter().find(|brick| brick.host == host).map(|brick| brick.node);
        let node = match known {
            Some(node) => node,
            None => hosts::connected_node_of(daemon, &host).await?,
        };
        located.push(NewBrick { host, path, node });
    }
    Ok(located)
}

/// Without force no two bricks of a replica set are on one server.
pub(super) fn check_order(bricks: &[NewBrick]) -> Result<(), OpError> {
    let mut nodes = HashSet::new();
    if bricks.iter().all(|brick| nodes.insert(brick.node)) {
        return Ok(());
    }
    Err(OpError::new(
        "Multiple bricks of a replicate volume are present on the same server. This setup is not optimal. Bricks \
         should be on different nodes to have best fault tolerant configuration. Use 'force' at the end of the \
         command if you want to override this behavior. ",
    ))
}

/// Whether one path is the other or below it.
fn overlaps(a: &str, b: &str) -> bool {
    let below = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|r| r.is_empty() || r.starts_with('/'))
    };
    below(a, b) || below(b, a)
}

/// No brick may contain another of its node, new or old.
pub(super) fn check_overlap(daemon: &Daemon, bricks: &[NewBrick]) -> Result<(), OpError> {
    let taken = |brick: &NewBrick| {
        OpError::new(format!(
            "Brick: {} not available. Brick may be containing or be contained by an existing brick.",
            brick.label()
        ))
    };
    for (index, brick) in bricks.iter().enumerate() {
        let mut earlier = bricks.iter().take(index);
        if earlier.any(|other| other.node == brick.node && overlaps(&brick.path, &other.path)) {
            return Err(taken(brick));
        }
        for volume in daemon.volume_names().iter().filter_map(|name| daemon.volume(name)) {
            let mut old = volume.bricks.iter().filter(|old| old.node == brick.node);
            if old.any(|old| overlaps(&brick.path, &old.path) || overlaps(&brick.path, &old.real_path)) {
                return Err(taken(brick));
            }
        }
    }
    Ok(())
}

/// A brick of a volume out of its prepared directory.
pub(super) fn brick(prepared: &Prepared, brick_id: String) -> Brick {
    let Prepared { brick, directory, .. } = prepared;
    Brick {
        node: brick.node,
        host: brick.host.clone(),
        path: brick.path.clone(),
        real_path: directory.real_path.clone(),
        port: 0,
        brick_id,
        mount_dir: directory.mount_dir.clone(),
        fsid: 0,
        extra: Vec::new(),
    }
}

fn new_volume(name: &str, replica_count: usize, prepared: &[Prepared]) -> Result<Volume, OpError> {
    let uuid = || new_uuid().map_err(|e| OpError::new(format!("no random number: {e}")));
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    let bricks = prepared.iter().enumerate();
    Ok(Volume {
        name: name.to_string(),
        id: uuid()?,
        status: VolumeStatus::Created,
        replica_count,
        version: 1,
        username: uuid()?.to_string(),
        password: uuid()?.to_string(),
        bricks: bricks.map(|(i, p)| brick(p, format!("{name}-client-{i}"))).collect(),
        options: pairs(&NEW_VOLUME_OPTIONS),
        extra: pairs(&NEW_VOLUME_EXTRA),
    })
}

fn answer(request: &mut OldDict, volume: &Volume) {
    request
        .set_str(
            "transport.address-family",
            volume.option("transport.address-family").unwrap_or("inet"),
        )
        .set_str("volume-id", &volume.id.to_string())
        .set_str("internal-username", &volume.username)
        .set_str("internal-password", &volume.password)
        .set_int("port", 24008);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bricks_are_taken_apart() {
        let bricks = parse_bricks(" w1:/a//b/ [fe80::1]:/c ").unwrap();
        assert_eq!(
            bricks[0],
            Given {
                host: "w1".into(),
                path: "/a/b".into()
            }
        );
        assert_eq!(bricks[1].host, "[fe80::1]");
        let text = |list: &str| parse_bricks(list).unwrap_err().text;
        assert_eq!(
            text("vm:relative"),
            "Wrong brick type: vm:relative, use <HOSTNAME>:<export-dir-abs-path>"
        );
        assert_eq!(text("vm:/a vm:/a/"), "Found duplicate exports vm:/a");
        let long = format!("vm:/{}", "x".repeat(256));
        assert_eq!(text(&long), format!("brick path {long} is too long."));
        assert!(text("vm:/a/../b").contains("'..'"));
    }

    #[test]
    fn only_one_replica_set_is_built() {
        let kind = |request: OldDict, bricks| check_kind(&request, bricks).map_err(|e| e.text);
        let replica = |n: i32| OldDict::new().with_int("type", 2).with_int("replica-count", n);
        assert_eq!(kind(replica(3), 3), Ok(3));
        assert_eq!(
            kind(replica(3), 2).unwrap_err(),
            "number of bricks (2) is not a multiple of replica count (3)"
        );
        assert!(
            kind(replica(2), 4)
                .unwrap_err()
                .starts_with("Distributed volumes are not supported")
        );
        assert!(
            kind(OldDict::new().with_int("type", 0), 1)
                .unwrap_err()
                .starts_with("Only replicate volumes")
        );
        assert!(
            kind(replica(3).with_int("arbiter-count", 1), 3)
                .unwrap_err()
                .starts_with("arbiter-count 1")
        );
    }

    #[test]
    fn names() {
        assert!(check_name("0001").is_ok());
        for bad in ["", "all", "a/b", "a.b", "-a", "..", "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_overlap_by_components() {
        assert!(overlaps("/a/b", "/a") && overlaps("/a", "/a/b") && overlaps("/a", "/a"));
        assert!(!overlaps("/a/bc", "/a/b"));
    }
}
