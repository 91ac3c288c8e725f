//! Putting the cluster's state into effect on this node: volume files, volfiles, peer files, processes. Every step can
//! be repeated; a crash anywhere leaves something that the next turn completes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::brickdir;
use super::super::model::{OpError, Volume};
use super::super::paths::brick_volfile_id;
use super::super::store::NodeInfo;
use super::{Daemon, Entry};
use crate::cluster::{Change, State};
use crate::rt;
use crate::volfile::{FuseKind, GenerateError, Graph, brick_volfile, client_volfile, shd_volfile};

/// Pause after a turn that failed (a full disk, say).
const RETRY_PAUSE: Duration = Duration::from_secs(5);

impl Daemon {
    /// Takes up all started volumes (adopts or starts what should run) and follows the cluster from now on.
    pub async fn resume(&self) {
        self.0.live.set(true);
        if let Err(error) = self.follow().await {
            tracing::error!("{error}");
        }
        for name in self.volume_names() {
            self.reconcile(&name).await;
        }
        let daemon = self.clone();
        rt::spawn(async move { daemon.keep_following().await });
        let daemon = self.clone();
        rt::spawn(async move { daemon.watch_server_quorum().await });
    }

    async fn keep_following(&self) {
        let mut seen = *self.0.applied.borrow();
        loop {
            seen = self.0.cluster.changed(seen).await.revision;
            while let Err(error) = self.follow().await {
                tracing::error!("the cluster's configuration cannot be put into effect: {error}");
                rt::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Waits until this node has put a revision into effect.
    pub async fn followed(&self, revision: u64) {
        let mut applied = self.0.applied.subscribe();
        // The sender lives in the daemon: waiting cannot fail while `self` is there.
        let _ = applied.wait_for(|now| *now >= revision).await;
    }

    /// Puts the newest state of the cluster into effect.
    ///
    /// # Errors
    /// What could not be written; the rest is done.
    pub async fn follow(&self) -> Result<(), OpError> {
        let _one = self.0.following.lock().await;
        let state = self.0.cluster.state();
        if state.revision == *self.0.applied.borrow() {
            return Ok(());
        }
        let mut result = self.follow_node(&state).await;
        let mut notify = false;
        for name in self.volume_names() {
            if !state.volumes.contains_key(&name) {
                result = result.and(self.drop_volume(&name).await);
            }
        }
        for volume in state.volumes.values() {
            match self.take_volume(volume).await {
                Ok(changed) => notify |= changed,
                Err(error) => result = Err(error),
            }
        }
        if notify {
            self.notify_volfile_change();
        }
        result?;
        self.0.applied.send_replace(state.revision);
        Ok(())
    }

    /// The node's own files: identity, cluster-wide options, peers.
    async fn follow_node(&self, state: &State) -> Result<(), OpError> {
        let me = self.0.cluster.me();
        let node = NodeInfo {
            uuid: me.uuid,
            op_version: state.op_version.max(self.node().op_version),
        };
        let store = self.0.store.clone();
        if node != self.node() {
            tracing::info!("this node is {} now", node.uuid);
            let store = store.clone();
            self.0.on_disk(move || store.save_node_info(&node)).await?;
            self.0.node.set(node);
        }
        let (version, options) = state.options.clone();
        let others = self.other_peers();
        self.0
            .on_disk(move || {
                if store.cluster_options()? != (version, options.clone()) {
                    store.save_cluster_options(version, &options)?;
                }
                store.save_peers(others.iter().map(|peer| (peer.uuid, peer.hostnames.as_slice())))
            })
            .await
    }

    /// Ends and forgets a volume that the cluster has no more.
    async fn drop_volume(&self, name: &str) -> Result<(), OpError> {
        self.stop_bricks(name).await;
        self.stop_shd(name).await;
        if let Some(volume) = self.volume(name) {
            self.stop_leftovers(&volume, None).await;
        }
        let (store, volume) = (self.0.store.clone(), name.to_string());
        self.0.on_disk(move || store.delete_volume(&volume)).await?;
        self.0.volumes.borrow_mut().remove(name);
        tracing::info!("volume {name} is gone");
        Ok(())
    }

    /// Stores a volume of the cluster if it is new or changed, and lets its processes follow. Answers whether a volfile
    /// changed.
    async fn take_volume(&self, shared: &Volume) -> Result<bool, OpError> {
        let old = self.volume(&shared.name);
        if old.as_ref().is_some_and(|old| old.shared() == *shared) {
            return Ok(false);
        }
        let volume = self.localized(shared, old.as_ref()).await;
        let files = volfiles(&volume, &self.0.config.paths.workdir.to_string_lossy())
            .map_err(|e| OpError::new(format!("Failed to create volume files: {e}")))?;
        let (store, stored) = (self.0.store.clone(), volume.clone());
        let gone = gone_files(old.as_ref(), &volume);
        let changed = self
            .0
            .on_disk(move || {
                store.save_volume(&stored)?;
                let mut changed = false;
                for (name, text) in files {
                    changed |= store.save_volfile(&stored.name, &name, &text)?;
                }
                for name in gone {
                    store.remove_volume_file(&stored.name, &name)?;
                }
                Ok(changed)
            })
            .await?;
        let name = volume.name.clone();
        // As GlusterFS does: a self-heal daemon begins anew with other bricks, and with a crawl of them.
        if old.as_ref().is_some_and(|old| bricks_of(old) != bricks_of(&volume)) {
            self.stop_shd(&name).await;
        }
        if let Some(old) = &old {
            self.stop_leftovers(old, Some(&volume)).await;
        }
        {
            let mut volumes = self.0.volumes.borrow_mut();
            match volumes.get_mut(&name) {
                Some(entry) => entry.volume = volume,
                None => {
                    volumes.insert(name.clone(), Entry::new(volume));
                }
            }
        }
        self.reconcile(&name).await;
        Ok(changed)
    }

    /// The volume with what only this node knows: ports and file systems of its own bricks.
    async fn localized(&self, shared: &Volume, old: Option<&Volume>) -> Volume {
        let mut volume = shared.clone();
        let me = self.node().uuid;
        for brick in volume.bricks.iter_mut().filter(|brick| brick.node == me) {
            let before = old.and_then(|old| old.bricks.iter().find(|b| b.node == me && b.path == brick.path));
            if let Some(before) = before {
                (brick.port, brick.fsid) = (before.port, before.fsid);
            }
            if brick.fsid == 0 {
                let path = brick.path.clone();
                let found = rt::blocking(move || brickdir::file_system(&path)).await;
                // A brick whose directory is not there yet stays without; it cannot be started either.
                brick.fsid = found.ok().and_then(Result::ok).map_or(0, |found| found.stat.fsid);
            }
        }
        volume
    }

    /// Starts and stops the local processes of a volume as its state asks for.
    pub(super) async fn reconcile(&self, name: &str) {
        if !self.0.live.get() {
            return;
        }
        let _one = self.0.settling.lock().await;
        let wanted: BTreeSet<String> = self.wanted_bricks(name).into_iter().collect();
        let gone: Vec<_> = match self.0.volumes.borrow_mut().get_mut(name) {
            Some(entry) => entry
                .bricks
                .extract_if(.., |path, _| !wanted.contains(path))
                .map(|(_, p)| p)
                .collect(),
            None => return,
        };
        if wanted.is_empty() {
            self.settle_shd(name).await;
        }
        futures_util::future::join_all(gone.into_iter().map(|process| process.stop())).await;
        for path in &wanted {
            self.supervise_brick(name, path);
        }
        self.settle_shd(name).await;
    }

    /// Writes all volfiles anew, because this release may generate them differently than the one before.
    pub(super) async fn rewrite_all_volfiles(&self) {
        for name in self.volume_names() {
            let Some(volume) = self.volume(&name) else { continue };
            if let Err(error) = self.rewrite_volfiles(&volume).await {
                tracing::error!("volume {name}: {error}");
            }
        }
    }

    async fn rewrite_volfiles(&self, volume: &Volume) -> Result<(), OpError> {
        let files = volfiles(volume, &self.0.config.paths.workdir.to_string_lossy());
        let files = files.map_err(|e| OpError::new(e.to_string()))?;
        let (store, name) = (self.0.store.clone(), volume.name.clone());
        self.0
            .on_disk(move || {
                for (file, text) in files {
                    store.save_volfile(&name, &file, &text)?;
                }
                Ok(())
            })
            .await
    }

    /// A GlusterFS daemon may have run on the working directory of a lone server since this one ended. What it changed
    /// has a higher version, or is not known at all, and is taken into the configuration. (A volume whose deletion was
    /// interrupted before its files went looks the same and comes back stopped, which loses nothing.)
    pub(super) async fn adopt_newer_files(&self) {
        let state = self.0.cluster.state();
        if state.peers.len() > 1 {
            return;
        }
        for name in self.volume_names() {
            let Some(stored) = self.volume(&name) else { continue };
            let known = state.volumes.get(&name).map(|volume| volume.version);
            if known.is_some_and(|version| version >= stored.version) {
                continue;
            }
            tracing::info!("volume {name}: its files are newer than the configuration, they are taken over");
            let change = Change::PutVolume {
                volume: stored.shared(),
                expect: known,
            };
            if let Err(error) = self.0.cluster.propose(change).await {
                tracing::error!("volume {name}: {error}");
            }
        }
    }
}

/// Which bricks a volume has, under which names.
fn bricks_of(volume: &Volume) -> Vec<(String, &str)> {
    let bricks = volume.bricks.iter();
    bricks.map(|brick| (brick.label(), brick.brick_id.as_str())).collect()
}

/// Files in the volume's directory that belonged to bricks it has no more.
fn gone_files(old: Option<&Volume>, new: &Volume) -> Vec<String> {
    let files = |volume: &Volume| -> BTreeSet<String> {
        let names = volume.bricks.iter().flat_map(|brick| {
            [
                format!("{}.vol", brick_volfile_id(&volume.name, brick)),
                format!("bricks/{}", super::super::paths::brick_file_name(brick)),
            ]
        });
        names.collect()
    };
    let kept = files(new);
    old.map(|old| files(old).into_iter().filter(|name| !kept.contains(name)).collect())
        .unwrap_or_default()
}

/// All volfiles of a volume: file name and text.
pub(super) fn volfiles(volume: &Volume, workdir: &str) -> Result<Vec<(String, String)>, GenerateError> {
    let (spec, name) = (volume.spec(workdir), &volume.name);
    let text = |graph: Graph| graph.to_text().map_err(GenerateError::from);
    let mut files = vec![
        (
            format!("trusted-{name}.tcp-fuse.vol"),
            text(client_volfile(&spec, FuseKind::Trusted)?)?,
        ),
        (
            format!("{name}.tcp-fuse.vol"),
            text(client_volfile(&spec, FuseKind::Untrusted)?)?,
        ),
        (format!("{name}-shd.vol"), text(shd_volfile(&spec)?)?),
    ];
    for (index, brick) in volume.bricks.iter().enumerate() {
        files.push((
            format!("{}.vol", brick_volfile_id(name, brick)),
            text(brick_volfile(&spec, index)?)?,
        ));
    }
    Ok(files)
}
