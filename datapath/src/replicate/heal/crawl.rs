//! Crawls: the index of one brick, or the whole tree (brick-and-replicate.md E.8).

use std::collections::HashSet;

use bytes::Bytes;

use super::inspect::Outcome;
use crate::errno::{Errno, FsResult};
use crate::exec::{self, sync::Semaphore};
use crate::replicate::ReplicaSet;
use crate::replicate::pending::Counters;
use crate::wire::fop::{
    GetxattrReq, OpendirReq, ReaddirReq, ReaddirpReq, ReleasedirReq, RmdirReq, UnlinkReq, XattropReq,
};
use crate::wire::{Dict, Gfid, Value};

/// The virtual directories of a brick that list what may need heal.
pub(super) const INDICES: [&str; 2] = ["glusterfs.xattrop_index_gfid", "glusterfs.xattrop_dirty_gfid"];
/// The virtual directory of directories whose changed names are remembered.
const NAMES: &str = "glusterfs.xattrop_entry_changes_gfid";
/// Bytes asked for per READDIR.
const LISTING_BYTES: u32 = 128 * 1024;

/// What a crawl has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CrawlSummary {
    /// Inodes healed.
    pub healed: u64,
    /// Inodes in split-brain.
    pub split_brain: u64,
    /// Inodes whose heal failed or must wait.
    pub failed: u64,
}

impl CrawlSummary {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing | Outcome::Waiting => {}
            Outcome::Healed => self.healed += 1,
            Outcome::SplitBrain => self.split_brain += 1,
            Outcome::Pending | Outcome::Failed(_) => self.failed += 1,
        }
    }
}

impl ReplicaSet {
    /// The gfid of one of a brick's virtual index directories.
    pub(super) async fn index_directory(&self, brick: usize, key: &str) -> FsResult<Gfid> {
        let name = Bytes::copy_from_slice(key.as_bytes());
        let req = GetxattrReq {
            gfid: Gfid::ROOT,
            namelen: 1,
            name,
            xdata: Dict::null(),
        };
        let rsp = self.subvol(brick).call(&self.own_cred(0), &req).await?;
        rsp.dict.get_gfid(key).ok_or(Errno::ENODATA)
    }

    /// The gfids in one index directory of a brick.
    pub(super) async fn index_entries(&self, brick: usize, directory: Gfid) -> FsResult<Vec<Gfid>> {
        let (subvol, cred) = (self.subvol(brick), self.own_cred(0));
        let fd = subvol
            .call(
                &cred,
                &OpendirReq {
                    gfid: directory,
                    xdata: Dict::null(),
                },
            )
            .await?
            .fd;
        let mut gfids = Vec::new();
        let mut offset = 0;
        loop {
            let xdata = Dict::new().with("get-gfid-type", Value::Int(1));
            let req = ReaddirReq {
                gfid: directory,
                fd,
                offset,
                size: LISTING_BYTES,
                xdata,
            };
            let rsp = subvol.call(&cred, &req).await?;
            let Some(last) = rsp.entries.last() else { break };
            offset = last.d_off;
            gfids.extend(
                rsp.entries
                    .iter()
                    .filter_map(|e| std::str::from_utf8(&e.name).ok()?.parse::<Gfid>().ok()),
            );
            if rsp.op_errno == Errno::ENOENT.0 {
                break;
            }
        }
        drop(subvol.call(
            &cred,
            &ReleasedirReq {
                gfid: directory,
                fd,
                xdata: Dict::new(),
            },
        ));
        Ok(gfids)
    }

    /// Heals everything one brick's indices list, several inodes at a time, but not what is in `waiting`. What only
    /// waits for bricks that are away is put there.
    ///
    /// # Errors
    /// `ENOTCONN` when the brick goes away.
    pub(super) async fn crawl_index(&self, brick: usize, waiting: &mut HashSet<Gfid>) -> FsResult<CrawlSummary> {
        let mut summary = CrawlSummary::default();
        for key in INDICES {
            let directory = self.index_directory(brick, key).await?;
            let mut entries = self.index_entries(brick, directory).await?;
            entries.retain(|gfid| !waiting.contains(gfid));
            let room = Semaphore::new(self.options().shd_max_threads.clamp(1, 64) * 4);
            let mut under_way = Vec::new();
            for gfid in entries {
                let permit = room.acquire(1).await;
                let set = self.clone();
                under_way.push(exec::spawn(async move {
                    let outcome = set.heal_indexed(brick, directory, gfid).await;
                    drop(permit);
                    (gfid, outcome)
                }));
            }
            for task in under_way {
                if let Ok((gfid, outcome)) = task.await {
                    summary.add(outcome);
                    if outcome == Outcome::Waiting && self.up().len() < self.bricks() {
                        waiting.insert(gfid);
                    }
                }
            }
        }
        self.crawl_names(brick, &mut summary).await?;
        Ok(summary)
    }

    /// Names that were remembered for a brick that was away: once their directory is healed, or gone, they go.
    async fn crawl_names(&self, brick: usize, summary: &mut CrawlSummary) -> FsResult<()> {
        let directory = self.index_directory(brick, NAMES).await?;
        for gfid in self.index_entries(brick, directory).await? {
            let outcome = self.heal_indexed(brick, directory, gfid).await;
            summary.add(outcome);
            if outcome == Outcome::Nothing && self.up().len() == self.bricks() {
                self.purge_names(brick, directory, gfid).await;
            }
        }
        Ok(())
    }

    async fn purge_names(&self, brick: usize, directory: Gfid, gfid: Gfid) {
        let dict = self.0.keys.operand(Some(Counters::ZERO), |_| Counters::ZERO);
        let xdata = Dict::new().with("glusterfs.xattrop-purge-index", Value::Int(1));
        let flags = crate::wire::flags::xattrop::ADD_ARRAY;
        let (subvol, cred) = (self.subvol(brick), self.own_cred(0));
        let req = XattropReq {
            gfid,
            flags,
            dict,
            xdata,
        };
        if let Err(Errno::ENOENT | Errno::ESTALE) = subvol.call(&cred, &req).await {
            let bname = Bytes::from(gfid.to_string());
            let req = RmdirReq {
                pargfid: directory,
                xflags: 1,
                bname,
                xdata: Dict::null(),
            };
            if let Err(e) = subvol.call(&cred, &req).await {
                tracing::debug!("{}: names of {gfid} not removed: {e}", subvol.name());
            }
        }
    }

    async fn heal_indexed(&self, brick: usize, directory: Gfid, gfid: Gfid) -> Outcome {
        // Every brick's index lists the same inodes: one healer of this daemon is enough.
        if !self.0.healing.borrow_mut().insert(gfid) {
            return Outcome::Pending;
        }
        let outcome = self.heal_inode(gfid).await;
        self.0.healing.borrow_mut().remove(&gfid);
        match outcome {
            Outcome::Failed(Errno::ENOENT | Errno::ESTALE) => {
                // No brick has the inode any more: the entry is left over.
                self.drop_index_entry(brick, directory, gfid).await;
                Outcome::Nothing
            }
            Outcome::Nothing => {
                self.look_again(gfid).await;
                Outcome::Nothing
            }
            other => {
                if let Outcome::Failed(e) = other {
                    tracing::warn!("heal of {gfid} failed: {e}");
                }
                other
            }
        }
    }

    async fn drop_index_entry(&self, brick: usize, directory: Gfid, gfid: Gfid) {
        let bname = Bytes::from(gfid.to_string());
        let req = UnlinkReq {
            pargfid: directory,
            bname,
            xflags: 0,
            xdata: Dict::null(),
        };
        if let Err(e) = self.subvol(brick).call(&self.own_cred(0), &req).await {
            tracing::debug!("{}: index entry {gfid} not removed: {e}", self.subvol(brick).name());
        }
    }

    /// An index entry without any mark: a crash between marking and indexing left it. An xattrop of zeros makes the
    /// bricks look again.
    async fn look_again(&self, gfid: Gfid) {
        let dict = self.0.keys.operand(Some(Counters::ZERO), |_| Counters::ZERO);
        let cred = self.own_cred(self.new_owner());
        self.xattrop(gfid, self.up(), dict, Dict::null(), &cred).await;
    }

    /// Heals every inode of the tree, as seen from `brick`.
    ///
    /// # Errors
    /// `ENOTCONN` when the brick goes away.
    pub async fn crawl_tree(&self, brick: usize) -> FsResult<CrawlSummary> {
        let mut summary = CrawlSummary::default();
        let mut left = vec![Gfid::ROOT];
        while let Some(dir) = left.pop() {
            summary.add(self.heal_inode(dir).await);
            for (gfid, is_dir) in self.children(brick, dir).await? {
                if is_dir {
                    left.push(gfid);
                } else {
                    summary.add(self.heal_inode(gfid).await);
                }
            }
        }
        Ok(summary)
    }

    async fn children(&self, brick: usize, dir: Gfid) -> FsResult<Vec<(Gfid, bool)>> {
        let (subvol, cred) = (self.subvol(brick), self.own_cred(0));
        let fd = match subvol
            .call(
                &cred,
                &OpendirReq {
                    gfid: dir,
                    xdata: Dict::null(),
                },
            )
            .await
        {
            Ok(rsp) => rsp.fd,
            Err(Errno::ENOENT | Errno::ESTALE) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut children = Vec::new();
        let mut offset = 0;
        loop {
            let req = ReaddirpReq {
                gfid: dir,
                fd,
                offset,
                size: LISTING_BYTES,
                xdata: Dict::null(),
            };
            let rsp = subvol.call(&cred, &req).await?;
            let Some(last) = rsp.entries.last() else { break };
            offset = last.entry.d_off;
            let real = |n: &[u8]| n != b"." && n != b"..";
            children.extend(
                rsp.entries
                    .iter()
                    .filter(|e| real(&e.entry.name) && !e.stat.gfid.is_null())
                    .map(|e| (e.stat.gfid, e.stat.is_dir())),
            );
            if rsp.op_errno == Errno::ENOENT.0 {
                break;
            }
        }
        drop(subvol.call(
            &cred,
            &ReleasedirReq {
                gfid: dir,
                fd,
                xdata: Dict::new(),
            },
        ));
        Ok(children)
    }
}
