//! The POSIX and flock locks a client holds on an inode, so that they can be taken again on a brick that lost them (it
//! restarted, or its connection broke) or never had them (it joined). Pure data.

use bytes::Bytes;

use crate::client::Fd;
use crate::wire::fop::{Flock, LockType};

/// One lock: a range of one owner.
#[derive(Clone, Debug)]
struct Held {
    owner: Bytes,
    kind: u32,
    pid: u32,
    start: u64,
    /// Last byte; `u64::MAX` for the end of the file, wherever that is.
    end: u64,
    fd: Fd,
}

impl Held {
    fn flock(&self) -> Flock {
        Flock {
            kind: self.kind,
            whence: 0,
            start: self.start,
            len: if self.end == u64::MAX {
                0
            } else {
                self.end - self.start + 1
            },
            pid: self.pid,
            lk_owner: self.owner.clone(),
        }
    }
}

/// The locks of one inode.
#[derive(Clone, Debug, Default)]
pub struct HeldLocks(Vec<Held>);

impl HeldLocks {
    /// Notes that `owner` has set `lock` (or given it back, if it is an unlock) through `fd`. Later calls win over
    /// earlier ones where the ranges of one owner overlap.
    pub fn set(&mut self, fd: &Fd, owner: &Bytes, lock: &Flock) {
        let start = lock.start;
        let end = match lock.len {
            0 => u64::MAX,
            len => start.saturating_add(len - 1),
        };
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for held in self.0.drain(..) {
            if held.owner != *owner || held.end < start || held.start > end {
                kept.push(held);
                continue;
            }
            if held.start < start {
                kept.push(Held {
                    end: start - 1,
                    ..held.clone()
                });
            }
            if held.end > end {
                kept.push(Held { start: end + 1, ..held });
            }
        }
        if lock.kind != LockType::Unlock as u32 {
            kept.push(Held {
                owner: owner.clone(),
                kind: lock.kind,
                pid: lock.pid,
                start,
                end,
                fd: fd.clone(),
            });
        }
        self.0 = kept;
    }

    /// `owner` has closed a descriptor of the file: none of its locks is left.
    pub fn forget_owner(&mut self, owner: &Bytes) {
        self.0.retain(|held| held.owner != *owner);
    }

    /// `fd` is closed for good: the bricks drop the locks that were taken through it.
    pub fn forget_fd(&mut self, fd: &Fd) {
        self.0.retain(|held| !held.fd.is(fd));
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every lock, as the request that takes it, and the fd it was taken through.
    pub fn all(&self) -> Vec<(Fd, Flock)> {
        self.0.iter().map(|held| (held.fd.clone(), held.flock())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Gfid;

    fn lock(kind: LockType, start: u64, len: u64) -> Flock {
        Flock {
            kind: kind as u32,
            start,
            len,
            ..Flock::default()
        }
    }

    fn ranges(locks: &HeldLocks) -> Vec<(u64, u64, u32)> {
        let mut all: Vec<_> = locks.all().iter().map(|(_, l)| (l.start, l.len, l.kind)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn ranges_are_split_and_owners_do_not_meet() {
        let (fd, other) = (Fd::new(Gfid::ROOT, 0, false, 1), Fd::new(Gfid::ROOT, 0, false, 1));
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let (read, write) = (LockType::Read as u32, LockType::Write as u32);
        let mut locks = HeldLocks::default();
        locks.set(&fd, &a, &lock(LockType::Write, 0, 0));
        locks.set(&fd, &a, &lock(LockType::Unlock, 10, 10));
        assert_eq!(ranges(&locks), [(0, 10, write), (20, 0, write)]);
        locks.set(&other, &b, &lock(LockType::Read, 12, 2));
        locks.set(&fd, &a, &lock(LockType::Read, 5, 20));
        assert_eq!(
            ranges(&locks),
            [(0, 5, write), (5, 20, read), (12, 2, read), (25, 0, write)]
        );
        locks.forget_owner(&a);
        assert_eq!(ranges(&locks), [(12, 2, read)]);
        locks.forget_fd(&fd);
        assert!(!locks.is_empty());
        locks.forget_fd(&other);
        assert!(locks.is_empty());
    }
}
