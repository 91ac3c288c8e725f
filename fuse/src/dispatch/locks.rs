//! Byte-range locks (`fcntl`) and whole-file locks (`flock`).
//!
//! A lock that has to wait keeps only its own task waiting. The transport cannot tell the two kinds apart and hands on
//! no interrupts, see [`crate::transport::fuser_dev`].

use bytes::Bytes;
use datapath::errno::{Errno, FsResult};

use super::Core;
use crate::handle::File;
use crate::ops::{FileOps, Flock, LkOp};
use crate::request::{Answer, LockRange, Who};

/// The kernel's "to the end of the file".
const TO_THE_END: u64 = i64::MAX as u64;

/// The wire's form of a lock: a length instead of a last byte, 0 for "to the end".
fn flock(range: &LockRange, owner: u64) -> FsResult<Flock> {
    if range.end < range.start || range.start > TO_THE_END {
        return Err(Errno::EINVAL);
    }
    let len = if range.end >= TO_THE_END {
        0
    } else {
        range.end - range.start + 1
    };
    Ok(Flock {
        kind: range.kind as u32,
        whence: libc::SEEK_SET as u32,
        start: range.start,
        len,
        pid: range.pid,
        lk_owner: Bytes::copy_from_slice(&owner.to_ne_bytes()),
    })
}

fn range(lock: &Flock) -> LockRange {
    let end = if lock.len == 0 {
        TO_THE_END
    } else {
        lock.start.saturating_add(lock.len - 1).min(TO_THE_END)
    };
    LockRange {
        start: lock.start,
        end,
        kind: lock.kind as i32,
        pid: lock.pid,
    }
}

impl<V: FileOps> Core<V> {
    pub(super) async fn getlk(&self, who: Who, fh: u64, owner: u64, wanted: LockRange) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        let caller = self.caller_owning(who, Some(owner));
        let found = self
            .ops
            .lk(&caller, &file.fd, LkOp::Get, &flock(&wanted, owner)?)
            .await?;
        Ok(Answer::Lock(range(&found)))
    }

    pub(super) async fn setlk(&self, who: Who, fh: u64, owner: u64, wanted: LockRange, wait: bool) -> FsResult<Answer> {
        let file = self.handles.borrow().file(fh)?;
        let caller = self.caller_owning(who, Some(owner));
        let op = if wait { LkOp::SetWait } else { LkOp::Set };
        if wanted.kind != libc::F_UNLCK {
            file.locked.set(true);
        }
        self.ops.lk(&caller, &file.fd, op, &flock(&wanted, owner)?).await?;
        Ok(Answer::Done)
    }

    /// Gives back an owner's locks on a file whose last reference is gone. A brick that cannot be told frees them
    /// with the fd.
    pub(super) async fn unlock_all(&self, who: Who, file: &File<V::Fd>, owner: u64) {
        let all = LockRange {
            start: 0,
            end: TO_THE_END,
            kind: libc::F_UNLCK,
            pid: who.pid,
        };
        let Ok(lock) = flock(&all, owner) else { return };
        let caller = self.caller_owning(who, Some(owner));
        if let Err(e) = self.ops.lk(&caller, &file.fd, LkOp::Set, &lock).await {
            tracing::debug!("releasing the locks of gfid {}: {e}", file.gfid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_survive_both_ways() {
        for (start, end) in [(0, TO_THE_END), (5, 5), (0, 4095), (100, TO_THE_END - 1)] {
            let before = LockRange {
                start,
                end,
                kind: libc::F_WRLCK,
                pid: 7,
            };
            assert_eq!(range(&flock(&before, 1).unwrap()), before);
        }
        let backwards = LockRange {
            start: 5,
            end: 4,
            kind: 0,
            pid: 0,
        };
        assert_eq!(flock(&backwards, 1).err(), Some(Errno::EINVAL));
    }
}
