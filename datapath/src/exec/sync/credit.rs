//! Back-pressure: a budget of bytes and of items. Whoever wants to queue something takes credit first and waits, in
//! order, while the budget is spent.

use super::semaphore::{Permit, Semaphore};

/// A budget. Clones share it.
#[derive(Clone, Debug)]
pub struct Credit {
    bytes: Semaphore,
    count: Semaphore,
    most_bytes: usize,
}

impl Credit {
    /// At most `bytes` and at most `count` items at a time (both at least 1).
    pub fn new(bytes: usize, count: usize) -> Credit {
        let most_bytes = bytes.max(1);
        Credit {
            bytes: Semaphore::new(most_bytes),
            count: Semaphore::new(count.max(1)),
            most_bytes,
        }
    }

    /// Waits for room for one item of `bytes`. One larger than the whole budget is let through when it is alone.
    pub async fn acquire(&self, bytes: usize) -> CreditGuard {
        // Always count first, then bytes: two tasks cannot each hold what the other waits for.
        let count = self.count.acquire(1).await;
        let bytes = self.bytes.acquire(bytes.min(self.most_bytes)).await;
        CreditGuard {
            _bytes: bytes,
            _count: count,
        }
    }

    /// Room for one item of `bytes` if there is some now.
    pub fn try_acquire(&self, bytes: usize) -> Option<CreditGuard> {
        let count = self.count.try_acquire(1)?;
        let bytes = self.bytes.try_acquire(bytes.min(self.most_bytes))?;
        Some(CreditGuard {
            _bytes: bytes,
            _count: count,
        })
    }

    /// Bytes of the budget in use.
    pub fn used_bytes(&self) -> usize {
        self.most_bytes - self.bytes.available().min(self.most_bytes)
    }
}

/// Room taken; dropping it gives the room back.
#[derive(Debug)]
pub struct CreditGuard {
    _bytes: Permit,
    _count: Permit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn both_limits_hold() {
        let credit = Credit::new(100, 2);
        let a = credit.acquire(60).now_or_never().unwrap();
        assert!(credit.try_acquire(60).is_none());
        let b = credit.try_acquire(40).unwrap();
        assert_eq!(credit.used_bytes(), 100);
        drop(a);
        let c = credit.try_acquire(0).unwrap();
        assert!(credit.try_acquire(0).is_none(), "two items already");
        drop((b, c));
        let big = credit.acquire(1_000_000).now_or_never().unwrap();
        assert!(credit.try_acquire(1).is_none());
        drop(big);
        assert_eq!(credit.used_bytes(), 0);
    }
}
