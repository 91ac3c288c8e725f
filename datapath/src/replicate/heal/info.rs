//! What `heal info` reports: the entries of each brick's indices that really need heal (brick-and-replicate.md E.9).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::crawl::INDICES;
use super::plan::Plan;
use crate::errno::{Errno, FsResult};
use crate::replicate::ReplicaSet;
use crate::replicate::pending::Slot;
use crate::wire::fop::{Flock, GetxattrReq, InodelkCmd, InodelkReq, LockType};
use crate::wire::{Dict, Gfid};

/// The state of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HealStatus {
    /// Needs heal.
    Pending,
    /// Copies accuse each other.
    SplitBrain,
    /// Needs heal and somebody is at it.
    PossiblyHealing,
}

/// One entry of a brick's index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealEntry {
    /// Its gfid.
    pub gfid: Gfid,
    /// Its path from the root of the volume, when the brick knows it.
    pub path: Option<String>,
    /// What is the matter.
    pub status: HealStatus,
}

/// The report of one brick.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrickHealInfo {
    /// Index of the brick.
    pub brick: usize,
    /// Why there is no report.
    pub error: Option<Errno>,
    /// What needs heal.
    pub entries: Vec<HealEntry>,
}

impl ReplicaSet {
    /// The report of every brick, in brick order.
    pub async fn heal_info(&self) -> Vec<BrickHealInfo> {
        let mut report = Vec::with_capacity(self.bricks());
        for brick in 0..self.bricks() {
            let (entries, error) = match self.heal_info_of(brick).await {
                Ok(entries) => (entries, None),
                Err(e) => (Vec::new(), Some(e)),
            };
            report.push(BrickHealInfo { brick, error, entries });
        }
        report
    }

    /// How many entries each brick's index of blamed inodes holds, healthy or not (`heal-count`).
    pub async fn heal_count(&self, brick: usize) -> FsResult<u64> {
        Ok(self.blamed_entries(brick).await?.len() as u64)
    }

    /// The inodes of which a brick knows that others have missed changes.
    pub(super) async fn blamed_entries(&self, brick: usize) -> FsResult<Vec<Gfid>> {
        let directory = self.index_directory(brick, INDICES[0]).await?;
        self.index_entries(brick, directory).await
    }

    /// The inodes a brick has under the mark of a change that is under way or was not completed.
    pub(super) async fn dirty_entries(&self, brick: usize) -> FsResult<Vec<Gfid>> {
        let directory = self.index_directory(brick, INDICES[1]).await?;
        self.index_entries(brick, directory).await
    }

    async fn heal_info_of(&self, brick: usize) -> FsResult<Vec<HealEntry>> {
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        for key in INDICES {
            let directory = self.index_directory(brick, key).await?;
            for gfid in self.index_entries(brick, directory).await? {
                if !seen.insert(gfid) {
                    continue;
                }
                if let Some(status) = self.heal_status(gfid).await {
                    let path = self.path_on(brick, gfid).await;
                    entries.push(HealEntry { gfid, path, status });
                }
            }
        }
        Ok(entries)
    }

    /// `None`: nothing needs heal, or the inode is gone.
    async fn heal_status(&self, gfid: Gfid) -> Option<HealStatus> {
        let found = self.refresh_fully(gfid).await.ok()?;
        let evidence = self.evidence(&found, self.up());
        let is_dir = found.said.iter().flatten().any(|t| t.stat.is_dir());
        let plans = [
            if is_dir { Plan::Nothing } else { evidence.data() },
            evidence.metadata(|_, _| false),
            evidence.entry(),
        ];
        if plans.contains(&Plan::SplitBrain) {
            return Some(HealStatus::SplitBrain);
        }
        let slots = [Slot::Data, Slot::Metadata, Slot::Entry];
        let said = || found.said.iter().flatten();
        let blamed = said().any(|t| !t.pending.blamed_any().is_empty());
        if blamed {
            let healing = self.being_healed(gfid, is_dir).await;
            return Some(if healing {
                HealStatus::PossiblyHealing
            } else {
                HealStatus::Pending
            });
        }
        let dirty = said().any(|t| slots.iter().any(|s| t.pending.dirty.slot(*s) != 0));
        let in_progress =
            said().any(|t| t.inodelks > 0) && said().all(|t| slots.iter().all(|s| t.pending.dirty.slot(*s) <= 1));
        (dirty && !in_progress).then_some(HealStatus::Pending)
    }

    /// Whether somebody holds the lock in the heal domain.
    async fn being_healed(&self, gfid: Gfid, is_dir: bool) -> bool {
        if is_dir {
            // Names are healed under an entry lock; trying it would only disturb the healer.
            return false;
        }
        let cred = self.own_cred(self.new_owner());
        let kind = LockType::Write as u32;
        let flock = Flock {
            kind,
            start: 0,
            len: 0,
            ..Flock::default()
        };
        let req = InodelkReq {
            gfid,
            cmd: InodelkCmd::SetLk as u32,
            kind,
            flock,
            volume: self.heal_domain(),
            xdata: Dict::null(),
        };
        let answers = self.ask(self.up(), |_, s| s.call(&cred, &req)).await;
        let unlock = InodelkReq {
            kind: LockType::Unlock as u32,
            flock: Flock {
                kind: LockType::Unlock as u32,
                ..req.flock.clone()
            },
            ..req
        };
        self.ask(answers.ok(), |_, s| s.call(&cred, &unlock)).await;
        !answers.failed_with(Errno::EAGAIN).is_empty()
    }

    async fn path_on(&self, brick: usize, gfid: Gfid) -> Option<String> {
        if gfid == Gfid::ROOT {
            return Some("/".to_string());
        }
        let name = Bytes::from_static(b"glusterfs.gfid2path");
        let req = GetxattrReq {
            gfid,
            namelen: 1,
            name,
            xdata: Dict::null(),
        };
        let rsp = self.subvol(brick).call(&self.own_cred(0), &req).await.ok()?;
        let (_, value) = rsp.dict.iter().next()?;
        let path = value.as_str()?;
        Some(path.split(':').next().unwrap_or(path).to_string())
    }
}
