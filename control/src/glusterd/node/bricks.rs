//! Directories that become bricks, on whichever node they are: checked and made, claimed for the volume, and taken back
//! if the command fails later.

use std::time::Duration;

use datapath::wire::{Gfid, OldDict};

use super::super::brickdir::{self, BrickDirectory};
use super::super::daemon::Daemon;
use super::super::model::OpError;
use super::{BRICK_CLAIM, BRICK_PREPARE, BRICK_UNDO, ask, at_node};
use crate::rt;

/// How long a node may take for a directory: its disk may be slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A brick as the user gave it, and the node it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBrick {
    /// Its host as given.
    pub host: String,
    /// Its path without needless slashes.
    pub path: String,
    /// The node that the host is.
    pub node: Gfid,
}

impl NewBrick {
    /// HOST:PATH.
    pub fn label(&self) -> String {
        format!("{}:{}", self.host, self.path)
    }
}

/// A directory that has been checked, and what has been done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The brick.
    pub brick: NewBrick,
    /// What its node said.
    pub directory: BrickDirectory,
    /// Whether it has been made a brick of the volume.
    pub claimed: bool,
}

/// Checks the directories of new bricks on their nodes and makes those whose last component is missing.
///
/// # Errors
/// GlusterFS's text for what is wrong. What was made is taken back.
pub async fn prepare(daemon: &Daemon, bricks: &[NewBrick], force: bool) -> Result<Vec<Prepared>, OpError> {
    let force = OldDict::new().with_int("force", i32::from(force));
    prepare_with(daemon, bricks, &force).await
}

/// Checks the directory of a brick that was one of the volume before: emptied, or with `force` as it is.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_again(
    daemon: &Daemon,
    brick: &NewBrick,
    volume: Gfid,
    force: bool,
) -> Result<Vec<Prepared>, OpError> {
    let again = OldDict::new()
        .with_int("force", i32::from(force))
        .with_int("again", 1)
        .with_str("volume-id", &volume.to_string());
    prepare_with(daemon, std::slice::from_ref(brick), &again).await
}

async fn prepare_with(daemon: &Daemon, bricks: &[NewBrick], how: &OldDict) -> Result<Vec<Prepared>, OpError> {
    let mut prepared: Vec<Prepared> = Vec::new();
    for brick in bricks {
        let mut request = how.clone();
        request.set_str("label", &brick.label()).set_str("path", &brick.path);
        let answer = ask(daemon, brick.node, BRICK_PREPARE, &request, LIMIT).await;
        match answer.and_then(|answer| directory(&answer)) {
            Ok(directory) => prepared.push(Prepared {
                brick: brick.clone(),
                directory,
                claimed: false,
            }),
            Err(error) => {
                undo(daemon, &prepared, Gfid::NULL).await;
                return Err(at_node(daemon, brick.node, "Staging", error));
            }
        }
    }
    Ok(prepared)
}

fn directory(answer: &OldDict) -> Result<BrickDirectory, OpError> {
    let need = |key: &str| {
        let value = answer.get_str(key).map(str::to_string);
        value.ok_or_else(|| OpError::new(format!("the answer about a brick has no valid '{key}'")))
    };
    Ok(BrickDirectory {
        real_path: need("real-path")?,
        mount_dir: need("mount-dir")?,
        fsid: answer.get_u64("fsid").unwrap_or(0),
        created: answer.get_i32("created") == Some(1),
    })
}

/// Makes the directories bricks of the volume.
///
/// # Errors
/// The first that could not be; the caller takes all of them back with [`undo`].
pub async fn claim(daemon: &Daemon, bricks: &mut [Prepared], volume: Gfid) -> Result<(), OpError> {
    claim_with(daemon, bricks, volume, false).await
}

/// [`claim`] for bricks of a volume that has data: they are marked as not to be trusted.
///
/// # Errors
/// As [`claim`].
pub async fn claim_new(daemon: &Daemon, bricks: &mut [Prepared], volume: Gfid) -> Result<(), OpError> {
    claim_with(daemon, bricks, volume, true).await
}

async fn claim_with(daemon: &Daemon, bricks: &mut [Prepared], volume: Gfid, dirty: bool) -> Result<(), OpError> {
    for prepared in bricks {
        let node = prepared.brick.node;
        let request = OldDict::new()
            .with_str("path", &prepared.brick.path)
            .with_str("volume-id", &volume.to_string())
            .with_int("dirty", i32::from(dirty));
        // Also a claim without an answer may have been carried out.
        prepared.claimed = true;
        ask(daemon, node, BRICK_CLAIM, &request, LIMIT)
            .await
            .map_err(|error| at_node(daemon, node, "Staging", error))?;
    }
    Ok(())
}

/// Takes back what [`prepare`] and [`claim`] did: marks of this volume, directories that were made.
pub async fn undo(daemon: &Daemon, bricks: &[Prepared], volume: Gfid) {
    for prepared in bricks.iter().filter(|p| p.claimed || p.directory.created) {
        let request = OldDict::new()
            .with_str("path", &prepared.brick.path)
            .with_str("volume-id", &volume.to_string())
            .with_int("claimed", i32::from(prepared.claimed))
            .with_int("created", i32::from(prepared.directory.created));
        if let Err(error) = ask(daemon, prepared.brick.node, BRICK_UNDO, &request, LIMIT).await {
            tracing::warn!("{}: not taken back: {error}", prepared.brick.label());
        }
    }
}

fn need<'a>(request: &'a OldDict, key: &str) -> Result<&'a str, OpError> {
    let value = request.get_str(key);
    value.ok_or_else(|| OpError::new(format!("the request about a brick has no valid '{key}'")))
}

fn volume_id(request: &OldDict) -> Result<Gfid, OpError> {
    let text = need(request, "volume-id")?;
    text.parse()
        .map_err(|_| OpError::new(format!("'{text}' is no volume id")))
}

async fn helper<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, OpError> {
    rt::blocking(work)
        .await
        .map_err(|e| OpError::new(format!("the helper thread failed: {e}")))
}

/// This node's part of [`prepare`].
pub(super) async fn local_prepare(daemon: &Daemon, request: &OldDict) -> Result<OldDict, OpError> {
    let (label, path) = (need(request, "label")?.to_string(), need(request, "path")?.to_string());
    let force = request.get_i32("force") == Some(1);
    let workdir = daemon.config().paths.workdir.clone();
    // A brick that was in the volume before is taken with its old marks only by force.
    let again = match request.get_i32("again") {
        Some(1) => Some(volume_id(request)?),
        _ => None,
    };
    let found = helper(move || {
        if let Some(volume) = again {
            brickdir::check_reset(&path, volume, force)?;
        }
        brickdir::prepare(&label, &path, &workdir, force || again.is_some())
    })
    .await??;
    Ok(OldDict::new()
        .with_str("real-path", &found.real_path)
        .with_str("mount-dir", &found.mount_dir)
        .with_int("fsid", found.fsid)
        .with_int("created", i32::from(found.created)))
}

/// This node's part of [`claim`].
pub(super) async fn local_claim(request: &OldDict) -> Result<OldDict, OpError> {
    let (path, volume) = (need(request, "path")?.to_string(), volume_id(request)?);
    let dirty = request.get_i32("dirty") == Some(1);
    helper(move || {
        brickdir::claim(&path, volume)?;
        if dirty { brickdir::mark_dirty(&path) } else { Ok(()) }
    })
    .await??;
    Ok(OldDict::new())
}

/// This node's part of [`undo`].
pub(super) async fn local_undo(request: &OldDict) -> Result<OldDict, OpError> {
    let (path, volume) = (need(request, "path")?.to_string(), volume_id(request)?);
    let (claimed, created) = (
        request.get_i32("claimed") == Some(1),
        request.get_i32("created") == Some(1),
    );
    helper(move || {
        if claimed {
            brickdir::release(&path, volume);
        }
        if created {
            // Only what an unfinished claim made is inside; anything else keeps the directory.
            let _ = std::fs::remove_dir(std::path::Path::new(&path).join(".glusterfs"));
            brickdir::discard(&path);
        }
    })
    .await?;
    Ok(OldDict::new())
}
