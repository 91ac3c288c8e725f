//! Healing attributes and xattrs (brick-and-replicate.md E.4).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::inspect::{LOCK_PATIENCE, Outcome};
use super::plan::Plan;
use super::undo::Undo;
use crate::errno::{Errno, FsResult};
use crate::replicate::locking::{LockObject, METADATA_START};
use crate::replicate::lookup::Found;
use crate::replicate::pending::Slot;
use crate::replicate::{BrickSet, ReplicaSet};
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{GetxattrReq, RemovexattrReq, SetattrReq, SetxattrReq};
use crate::wire::{Dict, Gfid, Iatt, Key, Value, flags};

type Xattrs = BTreeMap<Bytes, Bytes>;

/// The times of the ctime feature. A brick merges what it is given, the later time wins; a sink that has none yet gets
/// them this way. They are compared as attributes, not as an xattr.
const MDATA: &[u8] = b"trusted.glusterfs.mdata";

/// xattrs that belong to one brick, not to the file.
fn brick_owned(name: &[u8]) -> bool {
    const PREFIX: [&[u8]; 5] = [
        b"trusted.afr.",
        b"trusted.gfid",
        b"trusted.pgfid.",
        b"trusted.glusterfs.volume-id",
        b"glusterfs.",
    ];
    PREFIX.iter().any(|p| name.starts_with(p))
        || name == b"security.selinux"
        || name.starts_with(b"trusted.glusterfs.quota")
}

/// Whether owner, mode or times differ.
pub(super) fn attributes_differ(a: &Iatt, b: &Iatt) -> bool {
    let owner_and_mode = |i: &Iatt| (i.mode, i.uid, i.gid);
    let times = |i: &Iatt| (i.mtime, i.mtime_nsec, i.ctime, i.ctime_nsec, i.atime, i.atime_nsec);
    owner_and_mode(a) != owner_and_mode(b) || times(a) != times(b)
}

impl ReplicaSet {
    /// `found`: what the bricks say of it without a lock, enough to see that there is nothing to do.
    pub(super) async fn heal_metadata(&self, gfid: Gfid, found: &Found) -> FsResult<Outcome> {
        let marked = self
            .evidence(found, self.up())
            .metadata(|a, b| stats_differ(found, a, b));
        // A file being written has times that differ for a moment: only marks are reason enough there.
        let being_written = found.said.iter().flatten().any(|t| t.inodelks > 0);
        let blamed = found
            .said
            .iter()
            .flatten()
            .any(|t| !t.pending.blamed(Slot::Metadata).is_empty());
        if marked == Plan::Nothing || (being_written && !blamed) {
            return Ok(Outcome::Nothing);
        }
        let outer = self.heal_metadata_lock(gfid).await?;
        let work = self.heal_metadata_locked(gfid, outer.on, &outer.cred);
        let result = self.hurried(&outer, work).await;
        self.give_back_heal(outer).await;
        result
    }

    async fn heal_metadata_lock(&self, gfid: Gfid) -> FsResult<super::inspect::Held> {
        let cred = self.own_cred(self.new_owner());
        let domain = self.0.domain.clone();
        let object = LockObject::Inode {
            gfid,
            start: METADATA_START,
            len: 0,
        };
        let on = self
            .lock_politely(&object, &domain, self.up(), &cred, LOCK_PATIENCE)
            .await?;
        self.with_quorum(super::inspect::Held {
            locks: vec![object],
            domain,
            on,
            cred,
        })
        .await
    }

    async fn heal_metadata_locked(&self, gfid: Gfid, on: BrickSet, cred: &GlusterfsCred) -> FsResult<Outcome> {
        let found = self.refresh_fully(gfid).await?;
        let participants = self.evidence(&found, on).participants;
        self.quorum_of(participants)?;
        let xattrs = self.all_xattrs(gfid, participants, cred).await?;
        let differs = |a: usize, b: usize| stats_differ(&found, a, b) || !same_xattrs(&xattrs[a], &xattrs[b]);
        let (good, absent) = match self.evidence(&found, on).metadata(differs) {
            Plan::Nothing => return Ok(Outcome::Nothing),
            Plan::Wait => return Ok(Outcome::Pending),
            Plan::SplitBrain | Plan::Merge { .. } => return Ok(Outcome::SplitBrain),
            Plan::ClearMarks { sources } => (sources, BrickSet::first(self.bricks()) - participants),
            Plan::Heal { source, sources, sinks } => {
                let stat = found.stat(source).ok_or(Errno::EIO)?;
                let mut healed = BrickSet::EMPTY;
                for sink in sinks.iter() {
                    match self
                        .heal_metadata_of(gfid, sink, &stat, &xattrs[source], &xattrs[sink], cred)
                        .await
                    {
                        Ok(()) => healed.insert(sink),
                        Err(e) => tracing::warn!("{}: metadata heal of {gfid} failed: {e}", self.subvol(sink).name()),
                    }
                }
                if healed.is_empty() {
                    return Err(Errno::ENOTCONN);
                }
                (sources | healed, BrickSet::first(self.bricks()) - participants)
            }
        };
        let undo = Undo {
            gfid,
            slots: &[Slot::Metadata],
            good,
            found: &found,
            absent,
            purge_names: false,
        };
        self.undo_pending(&undo, cred).await?;
        Ok(Outcome::Healed)
    }

    /// All xattrs of the file on each brick (index = brick).
    async fn all_xattrs(&self, gfid: Gfid, bricks: BrickSet, cred: &GlusterfsCred) -> FsResult<Vec<Xattrs>> {
        let req = GetxattrReq {
            gfid,
            namelen: 0,
            name: Bytes::new(),
            xdata: Dict::null(),
        };
        let answers = self.ask(bricks, |_, s| s.call(cred, &req)).await;
        if !answers.failed().is_empty() {
            return Err(answers.errno());
        }
        Ok((0..self.bricks())
            .map(|b| {
                let pairs = answers.get(b).into_iter().flat_map(|r| r.dict.iter());
                pairs
                    .filter(|(k, _)| !brick_owned(&k.0))
                    .filter_map(|(k, v)| Some((k.0.clone(), Bytes::copy_from_slice(raw_value(v)?))))
                    .collect()
            })
            .collect())
    }

    async fn heal_metadata_of(
        &self,
        gfid: Gfid,
        sink: usize,
        stat: &Iatt,
        wanted: &Xattrs,
        has: &Xattrs,
        cred: &GlusterfsCred,
    ) -> FsResult<()> {
        use flags::setattr::{ATIME, CTIME, GID, MODE, MTIME, UID};
        let subvol = self.subvol(sink);
        let owner = SetattrReq {
            gfid,
            stbuf: *stat,
            valid: UID | GID,
            xdata: Dict::null(),
        };
        subvol.call(cred, &owner).await?;
        // After chown, which takes set-uid and set-gid bits away. Symlinks have no mode of their own.
        if stat.file_type() != libc::S_IFLNK {
            subvol
                .call(
                    cred,
                    &SetattrReq {
                        valid: MODE,
                        ..owner.clone()
                    },
                )
                .await?;
        }
        for name in has.keys().filter(|name| !wanted.contains_key(*name) && *name != MDATA) {
            let req = RemovexattrReq {
                gfid,
                name: name.clone(),
                xdata: Dict::null(),
            };
            subvol.call(cred, &req).await?;
        }
        let changed: Vec<(Key, Value)> = wanted
            .iter()
            .filter(|(name, value)| has.get(*name) != Some(*value))
            .map(|(name, value)| (Key(name.clone()), Value::Ptr(value.clone())))
            .collect();
        if !changed.is_empty() {
            let req = SetxattrReq {
                gfid,
                flags: 0,
                dict: Dict::from_pairs(changed),
                xdata: Dict::null(),
            };
            subvol.call(cred, &req).await?;
        }
        subvol
            .call(
                cred,
                &SetattrReq {
                    valid: ATIME | MTIME | CTIME,
                    ..owner
                },
            )
            .await?;
        Ok(())
    }
}

fn same_xattrs(a: &Xattrs, b: &Xattrs) -> bool {
    let visible = |x: &Xattrs| -> Xattrs {
        x.iter()
            .filter(|(k, _)| *k != MDATA)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    a.contains_key(MDATA) == b.contains_key(MDATA) && visible(a) == visible(b)
}

fn stats_differ(found: &Found, a: usize, b: usize) -> bool {
    match (found.stat(a), found.stat(b)) {
        (Some(x), Some(y)) => attributes_differ(&x, &y),
        _ => false,
    }
}

fn raw_value(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Ptr(b) | Value::Str(b) | Value::StrOld(b) => Some(b),
        Value::Gfid(g) => Some(&g.0),
        _ => None,
    }
}
