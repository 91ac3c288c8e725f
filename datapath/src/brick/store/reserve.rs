//! Free space: STATFS and the reserve that ordinary clients may not use (brick-and-replicate.md B.11).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::errno::{Errno, FsResult};
use crate::sys::fs;

use super::{Call, Store};

/// How long a look that found enough free space is trusted.
const TRUSTED: Duration = Duration::from_secs(5);
/// How long one that found too little is: room that has been made is used at once.
const TRUSTED_FULL: Duration = Duration::from_millis(50);

/// The answer to STATFS: block counts in units of `frsize` bytes.
pub type Statfs = fs::StatVfs;

/// Whether the disk was full when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Cell<Option<(Instant, bool)>>,
}

impl Watch {
    /// The next question looks at the disk.
    pub fn forget(&self) {
        self.seen.set(None);
    }
}

impl Store {
    /// STATFS: the file system's numbers less the reserve (what the file system keeps for root counts towards it),
    /// divided among the bricks that share it.
    ///
    /// # Errors
    /// What the file system gives.
    pub fn statfs(&self) -> FsResult<Statfs> {
        let mut s = fs::fstatvfs(&*self.root)?;
        let options = self.options();
        let reserved = options.reserve.bytes(s.blocks.saturating_mul(s.frsize)) / s.frsize.max(1);
        s.bfree = s.bfree.saturating_sub(reserved);
        s.bavail = s.bavail.min(s.bfree);
        let share = options.shared_brick_count.max(1);
        for n in [
            &mut s.blocks,
            &mut s.bfree,
            &mut s.bavail,
            &mut s.files,
            &mut s.ffree,
            &mut s.favail,
        ] {
            *n = if options.export_statfs_size { *n / share } else { 0 };
        }
        Ok(s)
    }

    /// Whether the free space is below the reserve.
    pub(super) fn is_full(&self) -> bool {
        if let Some((when, full)) = self.reserve.seen.get()
            && when.elapsed() < if full { TRUSTED_FULL } else { TRUSTED }
        {
            return full;
        }
        let full = match fs::fstatvfs(&*self.root) {
            Ok(s) => {
                let total = s.blocks.saturating_mul(s.frsize);
                s.bfree.saturating_mul(s.frsize) < self.options.borrow().reserve.bytes(total)
            }
            Err(e) => {
                tracing::warn!(error = %e, "the free space of the brick is unknown");
                false
            }
        };
        let was = self
            .reserve
            .seen
            .replace(Some((Instant::now(), full)))
            .is_some_and(|(_, full)| full);
        if full != was {
            tracing::info!(brick = %self.root_path.display(), full, "free space against storage.reserve");
        }
        full
    }

    /// Refuses a fop that takes space when the reserve is reached, unless GlusterFS itself makes it.
    pub(super) fn check_reserve(&self, call: &Call<'_>) -> FsResult<()> {
        let exempt = call.who.is_internal() || call.xdata.contains("glusterfs-internal-fop");
        if exempt || !self.is_full() {
            Ok(())
        } else {
            Err(Errno::ENOSPC)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Brick, Who};
    use super::super::{Options, Reserve};
    use super::*;

    #[test]
    fn below_the_reserve_only_internal_clients_may_grow() {
        let brick = Brick::new();
        let who = Who::root();
        let full = Options {
            reserve: Reserve::Bytes(u64::MAX),
            ..Options::default()
        };
        brick.store().set_options(full).unwrap();
        assert_eq!(brick.store().statfs().unwrap().bavail, 0);
        assert_eq!(brick.try_create(&who, "f").unwrap_err(), Errno::ENOSPC);
        brick.try_create(&Who::internal(), "healed").unwrap();
        brick.store().set_options(Options::default()).unwrap();
        brick.try_create(&who, "f").unwrap();
    }

    #[test]
    fn shared_bricks_divide_the_numbers() {
        let brick = Brick::new();
        let one = brick.store().statfs().unwrap();
        brick
            .store()
            .set_options(Options {
                shared_brick_count: 4,
                ..Options::default()
            })
            .unwrap();
        assert_eq!(brick.store().statfs().unwrap().blocks, one.blocks / 4);
    }
}
