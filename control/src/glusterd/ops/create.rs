//! `volume create`: the checks, in GlusterFS's order, and the new volume.

use std::collections::HashSet;
use std::net::ToSocketAddrs;

use datapath::wire::OldDict;

use super::super::brickdir::{self, BrickDirectory};
use super::super::daemon::{Daemon, is_local_address};
use super::super::hooks;
use super::super::model::{
    Brick, NEW_VOLUME_OPTIONS, OpError, TYPE_REPLICATE, Volume, VolumeStatus, new_uuid, normal_path,
};
use super::super::store::NEW_VOLUME_EXTRA;
use super::{OpResult, text};
use crate::rt;

/// Longest name of a volume that fits into every file name made from it.
const MAX_NAME: usize = 255;
/// Longest component of a brick's path, and longest path (GlusterFS: 255 and 1023).
const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 1023;

/// One brick as the user gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NewBrick {
    host: String,
    path: String,
}

impl NewBrick {
    fn label(&self) -> String {
        format!("{}:{}", self.host, self.path)
    }
}

/// Creates a volume.
pub(super) async fn create(daemon: &Daemon, mut request: OldDict) -> OpResult {
    let name = text(&request, "volname")?.to_string();
    check_name(&name)?;
    let _transaction = daemon.transaction().await;
    if daemon.volume(&name).is_some() {
        return Err(OpError {
            errno: 0,
            text: format!("Volume {name} already exists"),
        });
    }
    let bricks = parse_bricks(text(&request, "bricks")?)?;
    let replica_count = check_kind(&request, bricks.len())?;
    let force = request.get_i32("force").is_some_and(|f| f != 0);
    check_hosts(&bricks).await?;
    check_overlap(daemon, &bricks)?;
    if !force && replica_count > 1 && bricks.len() > 1 {
        // All bricks are on this one server.
        return Err(OpError::new(
            "Multiple bricks of a replicate volume are present on the same server. This setup is not optimal. Bricks \
             should be on different nodes to have best fault tolerant configuration. Use 'force' at the end of the \
             command if you want to override this behavior. ",
        ));
    }
    let directories = prepare_all(&bricks, force).await?;
    hooks::run_before(daemon, "create", &name, &[]).await;
    let result = build(daemon, &name, replica_count, &bricks, &directories).await;
    match result {
        Ok(volume) => {
            hooks::run_after(daemon, "create", &name, &[]);
            answer(&mut request, &volume);
            Ok(request)
        }
        Err(error) => {
            undo(&bricks, &directories).await;
            Err(error)
        }
    }
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
fn parse_bricks(list: &str) -> Result<Vec<NewBrick>, OpError> {
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
        let brick = NewBrick {
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

/// Every host must be this node.
async fn check_hosts(bricks: &[NewBrick]) -> Result<(), OpError> {
    let mut checked = HashSet::new();
    for brick in bricks.iter().filter(|b| checked.insert(b.host.clone())) {
        let host = brick.host.trim_matches(['[', ']']).to_string();
        let local = rt::blocking(move || {
            (host.as_str(), 0)
                .to_socket_addrs()
                .is_ok_and(|mut found| found.any(|a| is_local_address(a.ip())))
        });
        if !local.await.unwrap_or(false) {
            return Err(OpError::new(format!(
                "Host {} is not in 'Peer in Cluster' state",
                brick.host
            )));
        }
    }
    Ok(())
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

/// No brick may contain another, new or old.
fn check_overlap(daemon: &Daemon, bricks: &[NewBrick]) -> Result<(), OpError> {
    let taken = |brick: &NewBrick| {
        OpError::new(format!(
            "Brick: {} not available. Brick may be containing or be contained by an existing brick.",
            brick.label()
        ))
    };
    for (index, brick) in bricks.iter().enumerate() {
        if bricks
            .iter()
            .take(index)
            .any(|other| overlaps(&brick.path, &other.path))
        {
            return Err(taken(brick));
        }
        for name in daemon.volume_names() {
            let Some(volume) = daemon.volume(&name) else { continue };
            let old = volume.bricks.iter().filter(|b| daemon.is_local(b));
            if old
                .clone()
                .any(|b| overlaps(&brick.path, &b.path) || overlaps(&brick.path, &b.real_path))
            {
                return Err(taken(brick));
            }
        }
    }
    Ok(())
}

async fn prepare_all(bricks: &[NewBrick], force: bool) -> Result<Vec<BrickDirectory>, OpError> {
    let mut directories = Vec::new();
    for brick in bricks {
        let (label, path) = (brick.label(), brick.path.clone());
        let checked = rt::blocking(move || brickdir::prepare(&label, &path, force)).await;
        match checked.map_err(|e| OpError::new(e.to_string())).and_then(|r| r) {
            Ok(directory) => directories.push(directory),
            Err(error) => {
                undo(bricks, &directories).await;
                return Err(error);
            }
        }
    }
    Ok(directories)
}

/// Removes the directories that were made for a volume that did not come about.
async fn undo(bricks: &[NewBrick], directories: &[BrickDirectory]) {
    for (brick, directory) in bricks.iter().zip(directories) {
        let (path, created) = (brick.path.clone(), directory.created);
        let undone = rt::blocking(move || {
            brickdir::release(&path);
            if created {
                // Only what an unfinished init_brick made is inside; anything else keeps the directory.
                let _ = std::fs::remove_dir(std::path::Path::new(&path).join(".glusterfs"));
                brickdir::discard(&path);
            }
        });
        if let Err(error) = undone.await {
            tracing::warn!("{}: {error}", brick.path);
        }
    }
}

async fn build(
    daemon: &Daemon,
    name: &str,
    replica_count: usize,
    bricks: &[NewBrick],
    directories: &[BrickDirectory],
) -> Result<Volume, OpError> {
    let uuid = || new_uuid().map_err(|e| OpError::new(format!("no random number: {e}")));
    let id = uuid()?;
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    let volume = Volume {
        name: name.to_string(),
        id,
        status: VolumeStatus::Created,
        replica_count,
        version: 1,
        username: uuid()?.to_string(),
        password: uuid()?.to_string(),
        bricks: bricks
            .iter()
            .zip(directories)
            .enumerate()
            .map(|(index, (brick, directory))| Brick {
                node: daemon.node().uuid,
                host: brick.host.clone(),
                path: brick.path.clone(),
                real_path: directory.real_path.clone(),
                port: 0,
                brick_id: format!("{name}-client-{index}"),
                mount_dir: directory.mount_dir.clone(),
                fsid: directory.fsid,
                extra: Vec::new(),
            })
            .collect(),
        options: pairs(&NEW_VOLUME_OPTIONS),
        extra: pairs(&NEW_VOLUME_EXTRA),
    };
    for brick in bricks {
        let path = brick.path.clone();
        rt::blocking(move || brickdir::claim(&path, id))
            .await
            .map_err(|e| OpError::new(e.to_string()))??;
    }
    daemon.save(volume.clone()).await?;
    Ok(volume)
}

fn answer(request: &mut OldDict, volume: &Volume) {
    request
        .set_str("transport.address-family", "inet")
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
            NewBrick {
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
