//! Healing the contents of a file (brick-and-replicate.md E.4).
//!
//! The file stays usable: it is locked whole only to inspect and to clear the marks, block by block while it is
//! copied. Blocks whose checksums agree are not moved.

use bytes::Bytes;
use futures_util::future::join;

use super::inspect::{Held, Outcome};
use super::plan::Plan;
use super::undo::Undo;
use crate::errno::{Errno, FsResult};
use crate::replicate::locking::LockObject;
use crate::replicate::lookup::Found;
use crate::replicate::pending::Slot;
use crate::replicate::{BrickSet, ReplicaSet};
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{ANONYMOUS_FD, FsyncReq, RchecksumReq, ReadReq, SetattrReq, TruncateReq, WriteReq};
use crate::wire::{Dict, Gfid, Iatt, Value, flags};

/// Unit of `self-heal-window-size`, bytes.
const WINDOW_UNIT: u64 = 128 * 1024;
/// The largest block, so that one READ can carry it.
const MAX_BLOCK: u64 = 1 << 20;

fn whole(gfid: Gfid) -> LockObject {
    LockObject::Inode { gfid, start: 0, len: 0 }
}

/// One copy run.
struct Copy<'a> {
    gfid: Gfid,
    source: usize,
    stat: Iatt,
    /// Bricks still to be healed; one that fails drops out.
    sinks: BrickSet,
    /// Their sizes before they were cut or extended.
    old: &'a Found,
}

impl ReplicaSet {
    /// `found`: what the bricks say of it without a lock, enough to see that there is nothing to do.
    pub(super) async fn heal_data(&self, gfid: Gfid, found: &Found) -> FsResult<Outcome> {
        if self.evidence(found, self.up()).data() == Plan::Nothing {
            return Ok(Outcome::Nothing);
        }
        let outer = self.heal_lock(whole(gfid)).await?;
        let result = self.heal_data_locked(gfid, &outer).await;
        self.give_back_heal(outer).await;
        result
    }

    async fn heal_data_locked(&self, gfid: Gfid, outer: &Held) -> FsResult<Outcome> {
        let lock = self.heal_sublock(outer, whole(gfid)).await?;
        let prepared = self.hurried(&lock, self.prepare_data(gfid, &lock)).await;
        self.give_back_heal(lock).await;
        let (found, plan) = prepared?;
        let (good, healed) = match plan {
            Plan::Nothing => return Ok(Outcome::Nothing),
            Plan::Wait => return Ok(Outcome::Pending),
            Plan::SplitBrain | Plan::Merge { .. } => return Ok(Outcome::SplitBrain),
            Plan::ClearMarks { sources } => (sources, false),
            Plan::Heal { source, sources, sinks } => {
                let stat = found.stat(source).ok_or(Errno::EIO)?;
                let mut copy = Copy {
                    gfid,
                    source,
                    stat,
                    sinks,
                    old: &found,
                };
                self.copy_blocks(&mut copy, outer).await?;
                self.finish_copy(&mut copy, &outer.cred).await?;
                if copy.sinks.is_empty() {
                    return Err(Errno::ENOTCONN);
                }
                (sources | copy.sinks, true)
            }
        };
        let lock = self.heal_sublock(outer, whole(gfid)).await?;
        let all = BrickSet::first(self.bricks());
        let absent = all - self.evidence(&found, outer.on).participants;
        let undo = Undo {
            gfid,
            slots: &[Slot::Data],
            good: good & lock.on,
            found: &found,
            absent,
            purge_names: false,
        };
        let cleared = self.hurried(&lock, self.undo_pending(&undo, &outer.cred)).await;
        self.give_back_heal(lock).await;
        cleared?;
        Ok(if healed || absent.is_empty() {
            Outcome::Healed
        } else {
            Outcome::Pending
        })
    }

    /// Under the whole-file lock: decides, and sets every sink to the source's size.
    async fn prepare_data(&self, gfid: Gfid, lock: &Held) -> FsResult<(Found, Plan)> {
        let found = self.refresh_fully(gfid).await?;
        let evidence = self.evidence(&found, lock.on);
        self.quorum_of(evidence.participants)?;
        let mut plan = evidence.data();
        if let Plan::Heal { source, sources, sinks } = plan {
            let size = found.stat(source).ok_or(Errno::EIO)?.size;
            let req = TruncateReq {
                gfid,
                offset: size,
                xdata: Dict::null(),
            };
            let cut = self.ask(sinks, |_, s| s.call(&lock.cred, &req)).await;
            plan = Plan::Heal {
                source,
                sources,
                sinks: cut.ok(),
            };
            if cut.ok().is_empty() {
                return Err(cut.errno());
            }
        }
        Ok((found, plan))
    }

    fn block_len(&self) -> u64 {
        (u64::from(self.options().heal_window) * WINDOW_UNIT).clamp(WINDOW_UNIT, MAX_BLOCK)
    }

    async fn copy_blocks(&self, copy: &mut Copy<'_>, outer: &Held) -> FsResult<()> {
        let block = self.block_len();
        let mut off = 0;
        while off < copy.stat.size && !copy.sinks.is_empty() {
            let len = block.min(copy.stat.size - off);
            let range = LockObject::Inode {
                gfid: copy.gfid,
                start: off,
                len,
            };
            let lock = self.heal_sublock(outer, range).await?;
            // A brick that has dropped the lock may have missed a write since.
            copy.sinks &= lock.on;
            let done = match lock.on.contains(copy.source) {
                true => {
                    let work = self.copy_block(copy, off, len as u32, &outer.cred);
                    self.hurried(&lock, work).await
                }
                false => Err(Errno::EAGAIN),
            };
            self.give_back_heal(lock).await;
            done?;
            off += len;
        }
        Ok(())
    }

    async fn copy_block(&self, copy: &mut Copy<'_>, off: u64, len: u32, cred: &GlusterfsCred) -> FsResult<()> {
        let (still, different) = join(self.still_source(copy), self.different(copy, off, len, cred)).await;
        still?;
        let different = different?;
        if different.is_empty() {
            return Ok(());
        }
        let gfid = copy.gfid;
        let req = ReadReq {
            gfid,
            fd: ANONYMOUS_FD,
            offset: off,
            size: len,
            flag: 0,
            xdata: Dict::null(),
        };
        let (_, data) = self.subvol(copy.source).read(cred, &req).await?;
        if data.is_empty() {
            return Ok(());
        }
        let zero = data.iter().all(|b| *b == 0);
        let write_to: BrickSet = different
            .iter()
            .filter(|&b| !(zero && beyond_old_end(copy.old, b, off)))
            .collect();
        self.write_block(copy, write_to, off, data, cred).await;
        Ok(())
    }

    /// Nobody has said since the inspection that the source missed something: a client that does not reach it may have
    /// written to the others, and the source's block would undo that.
    async fn still_source(&self, copy: &Copy<'_>) -> FsResult<()> {
        let now = self.refresh_fully(copy.gfid).await?;
        if now.accused_since(copy.old, Slot::Data).contains(copy.source) {
            Err(Errno::EAGAIN)
        } else {
            Ok(())
        }
    }

    async fn write_block(&self, copy: &mut Copy<'_>, to: BrickSet, off: u64, data: Bytes, cred: &GlusterfsCred) {
        let size = data.len() as u32;
        let req = WriteReq {
            gfid: copy.gfid,
            fd: ANONYMOUS_FD,
            offset: off,
            size,
            flag: libc::O_RDWR as u32,
            xdata: Dict::null(),
        };
        let wrote = self.ask(to, |_, s| s.write(cred, &req, data.clone())).await;
        let complete: BrickSet = wrote
            .iter()
            .filter(|(_, r)| r.op_ret == size as i32)
            .map(|(b, _)| b)
            .collect();
        for brick in (to - complete).iter() {
            tracing::warn!(
                "{}: heal of {} failed at {off}: {:?}",
                self.subvol(brick).name(),
                copy.gfid,
                wrote.error(brick)
            );
        }
        copy.sinks = copy.sinks - (to - complete);
    }

    /// The sinks whose block differs from the source's, by checksum.
    async fn different(&self, copy: &Copy<'_>, off: u64, len: u32, cred: &GlusterfsCred) -> FsResult<BrickSet> {
        let empty_before = |b: usize| copy.old.stat(b).is_some_and(|s| s.size == 0);
        if copy.sinks.iter().all(empty_before) {
            return Ok(copy.sinks);
        }
        let xdata = Dict::new().with("check-zero-filled", Value::Int(1));
        let req = RchecksumReq {
            gfid: copy.gfid,
            fd: ANONYMOUS_FD,
            offset: off,
            len,
            flags: 0,
            xdata,
        };
        let sums = self
            .ask(copy.sinks | BrickSet::one(copy.source), |_, s| s.call(cred, &req))
            .await;
        let Some(wanted) = sums.get(copy.source) else {
            return Err(sums.error(copy.source).unwrap_or(Errno::EIO));
        };
        let same = |b: usize| {
            sums.get(b)
                .is_some_and(|r| r.weak_checksum == wanted.weak_checksum && r.strong_checksum == wanted.strong_checksum)
        };
        Ok(copy.sinks.iter().filter(|&b| !same(b)).collect())
    }

    /// fsync, then the source's times.
    async fn finish_copy(&self, copy: &mut Copy<'_>, cred: &GlusterfsCred) -> FsResult<()> {
        let req = FsyncReq {
            gfid: copy.gfid,
            fd: ANONYMOUS_FD,
            data: 0,
            xdata: Dict::null(),
        };
        let synced = self.ask(copy.sinks, |_, s| s.call(cred, &req)).await;
        copy.sinks &= synced.ok();
        let source = self.subvol(copy.source);
        // Writes that joined while blocks were copied moved the source's times on.
        let xdata = self.lookup_xdata();
        let now = source
            .call(
                cred,
                &crate::wire::fop::LookupReq {
                    gfid: copy.gfid,
                    xdata,
                    ..Default::default()
                },
            )
            .await?;
        let sinks = self.set_times(copy.gfid, copy.sinks, &now.prestat, cred).await;
        copy.sinks &= sinks;
        Ok(())
    }

    /// Gives `bricks` the times of `from`; returns where that worked.
    pub(super) async fn set_times(&self, gfid: Gfid, bricks: BrickSet, from: &Iatt, cred: &GlusterfsCred) -> BrickSet {
        use flags::setattr::{ATIME, CTIME, MTIME};
        let req = SetattrReq {
            gfid,
            stbuf: *from,
            valid: ATIME | MTIME | CTIME,
            xdata: Dict::null(),
        };
        self.ask(bricks, |_, s| s.call(cred, &req)).await.ok()
    }
}

fn beyond_old_end(old: &Found, brick: usize, off: u64) -> bool {
    old.stat(brick).is_some_and(|s| s.size <= off)
}
