//! Healing the names of a directory (brick-and-replicate.md E.4).
//!
//! The listings of all bricks are compared in memory; only names that differ are locked, looked up again and healed.
//! The directory is inspected again with each of them: a client that does not reach all bricks the healer reaches may
//! have changed the name since, and an authority that missed that would undo it.
//! What is made on a brick is first marked on its sources, so that a crash in between leaves the mark that finishes it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::join;

use super::inspect::{Held, Outcome};
use super::metadata::attributes_differ;
use super::moved::Place;
use super::plan::Plan;
use super::undo::Undo;
use super::unfinished::Undoing;
use crate::errno::{Errno, FsResult};
use crate::replicate::locking::LockObject;
use crate::replicate::lookup::{Found, having, name_lookup, states_of};
use crate::replicate::name_ops::WHOLE_RANGE;
use crate::replicate::pending::{Counters, Slot};
use crate::replicate::readable::{Claim, claim, judge};
use crate::replicate::{Answers, BrickSet, ReplicaSet};
use crate::wire::auth::{GlusterfsCred, utime};
use crate::wire::fop::{
    Iatt2Rsp, LinkReq, LookupReq, MkdirReq, MknodReq, OpendirReq, ReaddirpReq, ReadlinkReq, ReleasedirReq, RmdirReq,
    SymlinkReq, UnlinkReq,
};
use crate::wire::{Dict, Gfid, Iatt, Value, flags};

/// Bytes asked for per READDIRP.
const LISTING_BYTES: u32 = 128 * 1024;

/// name -> gfid of one brick's directory.
type Names = BTreeMap<Bytes, Gfid>;

/// What is known of the directory that is healed.
#[derive(Clone, Copy)]
struct Inspection<'a> {
    dir: Gfid,
    found: &'a Found,
    participants: BrickSet,
    authority: Authority,
}

/// Who decides about names in this heal.
#[derive(Clone, Copy)]
enum Authority {
    /// These bricks' names are right.
    Sources(BrickSet),
    /// Nobody's: blame tells name by name, and what is anywhere is right where it does not.
    Union,
}

fn all_names(gfid: Gfid) -> LockObject {
    LockObject::Entry { gfid, name: None }
}

fn is_private(dir: Gfid, name: &[u8]) -> bool {
    name == b"."
        || name == b".."
        || (dir == Gfid::ROOT
            && (name == b".glusterfs"
                || name == b".trashcan"
                || name == b".landfill"
                || name.starts_with(b".glusterfs-anonymous-inode-")))
}

/// Whether two of `bricks` have other inodes under a name.
fn have_differently(bricks: BrickSet, seen: &Answers<Iatt2Rsp>) -> bool {
    let gfid = |b: usize| seen.get(b).map(|r| r.prestat.gfid);
    let first = bricks.lowest().and_then(gfid);
    bricks.iter().any(|b| gfid(b) != first)
}

impl ReplicaSet {
    /// `found`: what the bricks say of it without a lock, enough to see that there is nothing to do.
    pub(super) async fn heal_entries(&self, gfid: Gfid, found: &Found) -> FsResult<Outcome> {
        if self.evidence(found, self.up()).entry() == Plan::Nothing {
            return Ok(Outcome::Nothing);
        }
        let outer = self.heal_lock(all_names(gfid)).await?;
        let result = self.heal_entries_locked(gfid, &outer).await;
        self.give_back_heal(outer).await;
        result
    }

    async fn heal_entries_locked(&self, gfid: Gfid, outer: &Held) -> FsResult<Outcome> {
        let lock = self.heal_sublock(outer, all_names(gfid)).await?;
        let inspected = self.hurried(&lock, self.refresh_fully(gfid)).await;
        self.give_back_heal(lock).await;
        let found = inspected?;
        let evidence = self.evidence(&found, outer.on);
        let participants = evidence.participants;
        self.quorum_of(participants)?;
        let authority = match evidence.entry() {
            Plan::Nothing => return Ok(Outcome::Nothing),
            Plan::Wait => return Ok(Outcome::Pending),
            Plan::SplitBrain => return Ok(Outcome::SplitBrain),
            Plan::ClearMarks { sources } | Plan::Heal { sources, .. } => Authority::Sources(sources),
            Plan::Merge { bricks } if bricks == participants => Authority::Union,
            Plan::Merge { bricks } => Authority::Sources(bricks),
        };
        let mut outcome = Outcome::Healed;
        let inspection = Inspection {
            dir: gfid,
            found: &found,
            participants,
            authority,
        };
        for name in self.differing_names(gfid, participants, &outer.cred).await? {
            outcome = outcome.and(self.heal_name(inspection, &name, outer).await.into());
        }
        if outcome != Outcome::Healed {
            return Ok(outcome);
        }
        self.copy_directory_times(gfid, participants, authority, &outer.cred)
            .await;
        let lock = self.heal_sublock(outer, all_names(gfid)).await?;
        let absent = BrickSet::first(self.bricks()) - participants;
        let undo = Undo {
            gfid,
            slots: &[Slot::Entry, Slot::Data],
            good: participants & lock.on,
            found: &found,
            absent,
            purge_names: absent.is_empty(),
        };
        let cleared = self.hurried(&lock, self.undo_pending(&undo, &outer.cred)).await;
        self.give_back_heal(lock).await;
        cleared.map(|()| Outcome::Healed)
    }

    /// All bricks get the times of the brick whose directory changed last.
    async fn copy_directory_times(&self, gfid: Gfid, bricks: BrickSet, authority: Authority, cred: &GlusterfsCred) {
        let Ok(now) = self.refresh_fully(gfid).await else {
            return;
        };
        let from = match authority {
            Authority::Sources(sources) => sources & bricks,
            Authority::Union => bricks,
        };
        let newest = from
            .iter()
            .filter_map(|b| now.stat(b))
            .max_by_key(|s| (s.mtime, s.mtime_nsec, s.ctime, s.ctime_nsec));
        let Some(newest) = newest else { return };
        let same = |s: &Iatt| {
            (s.mtime, s.mtime_nsec, s.ctime, s.ctime_nsec)
                == (newest.mtime, newest.mtime_nsec, newest.ctime, newest.ctime_nsec)
        };
        let others = bricks
            .iter()
            .filter(|&b| now.stat(b).is_some_and(|s| !same(&s)))
            .collect();
        self.set_times(gfid, others, &newest, cred).await;
    }

    /// Names that are not on every brick with the same gfid.
    async fn differing_names(&self, gfid: Gfid, bricks: BrickSet, cred: &GlusterfsCred) -> FsResult<Vec<Bytes>> {
        let mut listings: Vec<Names> = Vec::new();
        for brick in bricks.iter() {
            listings.push(self.listing(gfid, brick, cred).await?);
        }
        let all: BTreeSet<&Bytes> = listings.iter().flat_map(BTreeMap::keys).collect();
        let differs = |name: &Bytes| {
            let first = listings.first().and_then(|l| l.get(name));
            first.is_none_or(|g| g.is_null()) || listings.iter().any(|l| l.get(name) != first)
        };
        Ok(all.into_iter().filter(|n| differs(n)).cloned().collect())
    }

    async fn listing(&self, gfid: Gfid, brick: usize, cred: &GlusterfsCred) -> FsResult<Names> {
        let subvol = self.subvol(brick);
        let fd = subvol
            .call(
                cred,
                &OpendirReq {
                    gfid,
                    xdata: Dict::null(),
                },
            )
            .await?
            .fd;
        let mut names = Names::new();
        let mut offset = 0;
        let result = loop {
            let req = ReaddirpReq {
                gfid,
                fd,
                offset,
                size: LISTING_BYTES,
                xdata: Dict::null(),
            };
            let rsp = match subvol.call(cred, &req).await {
                Ok(rsp) => rsp,
                Err(e) => break Err(e),
            };
            let Some(last) = rsp.entries.last() else {
                break Ok(names);
            };
            offset = last.entry.d_off;
            let end = rsp.op_errno == Errno::ENOENT.0;
            for e in rsp.entries {
                if !is_private(gfid, &e.entry.name) {
                    names.insert(e.entry.name, e.stat.gfid);
                }
            }
            if end {
                break Ok(names);
            }
        };
        drop(subvol.call(
            cred,
            &ReleasedirReq {
                gfid,
                fd,
                xdata: Dict::new(),
            },
        ));
        result
    }

    /// Heals one name under its lock.
    async fn heal_name(&self, inspection: Inspection<'_>, name: &Bytes, outer: &Held) -> FsResult<Outcome> {
        let object = LockObject::Entry {
            gfid: inspection.dir,
            name: Some(name.clone()),
        };
        let lock = self.heal_sublock(outer, object).await?;
        let work = self.heal_name_locked(inspection, name, &lock);
        let result = self.hurried(&lock, work).await;
        self.give_back_heal(lock).await;
        result
    }

    async fn heal_name_locked(&self, inspection: Inspection<'_>, name: &Bytes, lock: &Held) -> FsResult<Outcome> {
        let dir = inspection.dir;
        let req = name_lookup(dir, name);
        let (still, seen) = join(
            self.still_authorised(inspection, lock.on),
            self.ask(lock.on, |_, s| s.call(&lock.cred, &req)),
        )
        .await;
        still?;
        let missing = seen.failed_with(Errno::ENOENT);
        if !(seen.failed() - missing).is_empty() {
            return Err(seen.errno());
        }
        let trusted = match inspection.authority {
            Authority::Sources(sources) => sources,
            Authority::Union if !self.quorum().is_decisive() => seen.ok(),
            Authority::Union => match claim(&inspection.found.said, &states_of(&seen)) {
                Claim::One(state) => having(&seen, state),
                // Who knows is away. With all here it was nothing that was acknowledged.
                Claim::Several if inspection.participants.len() < self.bricks() => return Ok(Outcome::Pending),
                Claim::Several | Claim::Nobody => seen.ok(),
            },
        };
        let mut holders = trusted & seen.ok();
        if have_differently(holders, &seen) {
            let accused = holders - judge(&inspection.found.said).data;
            if !accused.is_empty() {
                return Ok(Outcome::SplitBrain);
            }
            match self.undo_rename(&seen, holders, lock).await? {
                Undoing::Keep(kept) => holders = kept,
                Undoing::Wait => return Ok(Outcome::Pending),
                Undoing::SplitBrain => return Ok(Outcome::SplitBrain),
            }
        }
        let Some(model) = holders.lowest() else {
            // No authority has the name: it was removed while the others were away.
            return self.remove_everywhere(dir, name, &seen, &lock.cred).await;
        };
        let stat = seen.get(model).map(|r| r.prestat).ok_or(Errno::EIO)?;
        if stat.gfid.is_null() {
            return Ok(Outcome::SplitBrain);
        }
        let other: BrickSet = seen
            .iter()
            .filter(|(_, r)| r.prestat.gfid != stat.gfid)
            .map(|(b, _)| b)
            .collect();
        for brick in other.iter() {
            let victim = seen.get(brick).map(|r| r.prestat).unwrap_or_default();
            self.remove_name(dir, name, brick, &victim, &lock.cred).await?;
        }
        let alike = |b: usize| seen.get(b).is_some_and(|r| !attributes_differ(&r.prestat, &stat));
        if !holders.iter().all(alike) {
            self.mark_attributes(stat.gfid, holders, &lock.cred).await?;
        }
        for brick in (missing | other).iter() {
            self.make_name(dir, name, brick, &stat, model, holders, &lock.cred)
                .await?;
        }
        Ok(Outcome::Healed)
    }

    /// All who take part are still here, and nobody has said since the inspection that one who decides missed something.
    async fn still_authorised(&self, inspection: Inspection<'_>, locked: BrickSet) -> FsResult<()> {
        let Inspection {
            found, participants, ..
        } = inspection;
        let judges = match inspection.authority {
            Authority::Sources(sources) => sources,
            Authority::Union => participants,
        };
        let now = self.refresh_fully(inspection.dir).await?;
        let accused = now.accused_since(found, Slot::Entry) & judges;
        if accused.is_empty() && (participants - locked).is_empty() {
            Ok(())
        } else {
            Err(Errno::EAGAIN)
        }
    }

    async fn remove_everywhere(
        &self,
        dir: Gfid,
        name: &Bytes,
        seen: &Answers<Iatt2Rsp>,
        cred: &GlusterfsCred,
    ) -> FsResult<Outcome> {
        for (brick, rsp) in seen.iter() {
            self.remove_name(dir, name, brick, &rsp.prestat, cred).await?;
        }
        Ok(Outcome::Healed)
    }

    async fn remove_name(
        &self,
        dir: Gfid,
        name: &Bytes,
        brick: usize,
        victim: &Iatt,
        cred: &GlusterfsCred,
    ) -> FsResult<()> {
        tracing::info!(
            "{}: removing stale name {} of {dir}",
            self.subvol(brick).name(),
            String::from_utf8_lossy(name)
        );
        if !victim.is_dir() && victim.nlink > 1 {
            self.mark_attributes(victim.gfid, BrickSet::one(brick), cred).await?;
        }
        let subvol = self.subvol(brick);
        let removed = if victim.is_dir() {
            let xflags = flags::rmdir::RECURSIVE;
            subvol
                .call(
                    cred,
                    &RmdirReq {
                        pargfid: dir,
                        xflags,
                        bname: name.clone(),
                        xdata: Dict::new(),
                    },
                )
                .await
                .map(drop)
        } else {
            subvol
                .call(
                    cred,
                    &UnlinkReq {
                        pargfid: dir,
                        bname: name.clone(),
                        xflags: 0,
                        xdata: Dict::new(),
                    },
                )
                .await
                .map(drop)
        };
        match removed {
            Err(Errno::ENOENT | Errno::ESTALE) => Ok(()),
            other => other,
        }
    }

    /// Makes `name` on `brick` as it is on `model`, and heals what was made.
    #[allow(
        clippy::too_many_arguments,
        reason = "one name, where it comes from and where it goes"
    )]
    async fn make_name(
        &self,
        dir: Gfid,
        name: &Bytes,
        brick: usize,
        stat: &Iatt,
        model: usize,
        holders: BrickSet,
        cred: &GlusterfsCred,
    ) -> FsResult<()> {
        let subvol = self.subvol(brick);
        let lookup = LookupReq {
            gfid: stat.gfid,
            ..LookupReq::default()
        };
        let there = match subvol.call(cred, &lookup).await {
            Ok(rsp) => Some(rsp.prestat),
            Err(Errno::ENOENT | Errno::ESTALE) => None,
            Err(e) => return Err(e),
        };
        if there.is_some_and(|there| attributes_differ(&there, stat)) {
            self.mark_attributes(stat.gfid, holders | BrickSet::one(brick), cred)
                .await?;
        }
        let exists = there.is_some();
        if exists && stat.is_dir() {
            // A directory has one place.
            let place = Place { dir, name, model };
            if self.move_directory(stat.gfid, place, brick, cred).await? {
                return Ok(());
            }
        }
        // MKNOD would link it too, but make an empty file without a mark if the inode went meanwhile (by the janitor).
        if exists && !stat.is_dir() {
            let link = LinkReq {
                oldgfid: stat.gfid,
                newpargfid: dir,
                newbname: name.clone(),
                xdata: Dict::new(),
            };
            match subvol.call(cred, &link).await {
                // Gone, or only held by those who have it open: made anew.
                Err(Errno::ENOENT | Errno::ESTALE) => {}
                linked => return linked.map(drop),
            }
        }
        self.mark_new(stat, brick, holders, cred).await?;
        // A new inode has the model's times from the first moment: the brick's own clock must not enter.
        let times = utime::CTIME | utime::MTIME | utime::ATIME;
        let cred = &GlusterfsCred {
            flags: times,
            ctime_sec: stat.ctime as u64,
            ctime_nsec: stat.ctime_nsec,
            ..cred.clone()
        };
        let (gfid, bname, mode) = (stat.gfid, name.clone(), stat.mode);
        let xdata = Dict::new().with("gfid-req", Value::Gfid(gfid));
        match stat.file_type() {
            libc::S_IFDIR => {
                let layout = Value::Ptr(Bytes::from_static(&WHOLE_RANGE));
                let xdata = xdata.with("trusted.glusterfs.dht", layout);
                let req = MkdirReq {
                    pargfid: dir,
                    mode: mode & 0o7777,
                    umask: 0,
                    bname,
                    xdata,
                };
                subvol.call(cred, &req).await.map(drop)
            }
            libc::S_IFLNK => {
                let read = ReadlinkReq {
                    gfid,
                    size: libc::PATH_MAX as u32,
                    xdata: Dict::null(),
                };
                let linkname = self.subvol(model).call(cred, &read).await?.path;
                subvol
                    .call(
                        cred,
                        &SymlinkReq {
                            pargfid: dir,
                            bname,
                            umask: 0,
                            linkname,
                            xdata,
                        },
                    )
                    .await
                    .map(drop)
            }
            _ => {
                let xdata = xdata.with("glusterfs-internal-fop", Value::Int(1));
                let dev = raw_dev(stat.rdev);
                subvol
                    .call(
                        cred,
                        &MknodReq {
                            pargfid: dir,
                            dev,
                            mode,
                            umask: 0,
                            bname,
                            xdata,
                        },
                    )
                    .await
                    .map(drop)
            }
        }?;
        // A full directory or a large file: the crawl finds it by its mark, deep trees are no recursion here.
        tracing::debug!("{}: made {} ({gfid})", subvol.name(), String::from_utf8_lossy(name));
        Ok(())
    }

    /// An operation on names changes the change time of their inode, too. Who missed that is on record only if the
    /// operation succeeded and its client lived to tell: the inodes of names that differ are marked, before the names
    /// are alike and nothing shows any more where to look.
    async fn mark_attributes(&self, gfid: Gfid, on: BrickSet, cred: &GlusterfsCred) -> FsResult<()> {
        if self.mark_metadata(gfid, on, cred).await == on {
            Ok(())
        } else {
            Err(Errno::EAGAIN)
        }
    }

    /// The sources note that `brick` has an empty new inode.
    async fn mark_new(&self, stat: &Iatt, brick: usize, holders: BrickSet, cred: &GlusterfsCred) -> FsResult<()> {
        let counters = match stat.file_type() {
            libc::S_IFREG => Counters([1, 1, 0]),
            libc::S_IFDIR => Counters([1, 1, 1]),
            _ => Counters([0, 1, 0]),
        };
        let dict = self
            .0
            .keys
            .operand(None, |b| if b == brick { counters } else { Counters::ZERO });
        let noted = self.xattrop(stat.gfid, holders, dict, Dict::null(), cred).await;
        // A mark that is only on a brick that goes away now would be missing when the others are asked.
        if noted == holders { Ok(()) } else { Err(Errno::EAGAIN) }
    }
}

/// `major << 32 | minor` of an iatt as the raw `dev_t` MKNOD takes.
fn raw_dev(rdev: u64) -> u64 {
    libc::makedev((rdev >> 32) as u32, rdev as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers() {
        assert_eq!(raw_dev((8 << 32) | 1), 0x801);
    }

    #[test]
    fn private_names() {
        assert!(is_private(Gfid::ROOT, b".glusterfs") && is_private(Gfid([7; 16]), b".."));
        assert!(!is_private(Gfid([7; 16]), b".glusterfs"));
    }
}
