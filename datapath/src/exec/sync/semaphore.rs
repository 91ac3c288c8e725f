//! Permits, handed out first come first served: a large request is not overtaken by small ones behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
struct Waiter {
    wanted: usize,
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Inner {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

/// A counter of permits. Clones share it.
#[derive(Clone, Debug)]
pub struct Semaphore(Rc<Inner>);

impl Semaphore {
    /// With `permits` free.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore(Rc::new(Inner {
            free: Cell::new(permits),
            waiting: RefCell::default(),
        }))
    }

    /// Permits that nobody holds.
    pub fn available(&self) -> usize {
        self.0.free.get()
    }

    /// Tasks waiting for permits.
    pub fn waiting(&self) -> usize {
        self.0.waiting.borrow().len()
    }

    /// Waits for `count` permits. A count that never becomes free waits for ever.
    pub fn acquire(&self, count: usize) -> Acquire {
        Acquire {
            semaphore: self.clone(),
            count,
            waiter: None,
            done: false,
        }
    }

    /// Takes `count` permits now, if they are free and nobody waits.
    pub fn try_acquire(&self, count: usize) -> Option<Permit> {
        if !self.0.waiting.borrow().is_empty() || self.0.free.get() < count {
            return None;
        }
        self.0.free.set(self.0.free.get() - count);
        Some(Permit {
            semaphore: self.clone(),
            count,
        })
    }

    /// Adds permits, beyond the first number if need be.
    pub fn release(&self, count: usize) {
        self.0.free.set(self.0.free.get() + count);
        self.grant();
    }

    fn grant(&self) {
        loop {
            let waiter = {
                let mut waiting = self.0.waiting.borrow_mut();
                match waiting.front() {
                    Some(first) if first.wanted <= self.0.free.get() => waiting.pop_front(),
                    _ => None,
                }
            };
            let Some(waiter) = waiter else { return };
            self.0.free.set(self.0.free.get() - waiter.wanted);
            waiter.granted.set(true);
            let waker = waiter.waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Permits held; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    semaphore: Semaphore,
    count: usize,
}

impl Permit {
    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives `count` of them back early.
    pub fn release(&mut self, count: usize) {
        let count = count.min(self.count);
        self.count -= count;
        self.semaphore.release(count);
    }

    /// Keeps them taken for good; [`Semaphore::release`] may add them again.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.release(self.count);
        }
    }
}

/// Future of [`Semaphore::acquire`]. Takes its place in the queue at the first poll.
#[derive(Debug)]
pub struct Acquire {
    semaphore: Semaphore,
    count: usize,
    waiter: Option<Rc<Waiter>>,
    done: bool,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        if let Some(waiter) = &self.waiter {
            if !waiter.granted.get() {
                *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.waiter = None;
            self.done = true;
            return Poll::Ready(Permit {
                semaphore: self.semaphore.clone(),
                count: self.count,
            });
        }
        if let Some(permit) = self.semaphore.try_acquire(self.count) {
            self.done = true;
            return Poll::Ready(permit);
        }
        let waker = RefCell::new(Some(cx.waker().clone()));
        let waiter = Rc::new(Waiter {
            wanted: self.count,
            granted: Cell::new(false),
            waker,
        });
        self.semaphore.0.waiting.borrow_mut().push_back(Rc::clone(&waiter));
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if waiter.granted.get() {
            self.semaphore.release(self.count);
        } else {
            self.semaphore
                .0
                .waiting
                .borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, &waiter));
            // The one behind may fit where this one did not.
            self.semaphore.grant();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn permits_come_in_order() {
        let semaphore = Semaphore::new(3);
        let held = semaphore.try_acquire(2).unwrap();
        let mut large = semaphore.acquire(3);
        assert!((&mut large).now_or_never().is_none());
        let mut small = semaphore.acquire(1);
        assert!((&mut small).now_or_never().is_none(), "must not overtake");
        assert!(semaphore.try_acquire(1).is_none());
        drop(held);
        let got = (&mut large).now_or_never().unwrap();
        assert!((&mut small).now_or_never().is_none());
        drop(got);
        assert_eq!((&mut small).now_or_never().unwrap().count(), 1);
        assert_eq!(semaphore.available(), 3);
    }

    #[test]
    fn a_waiter_that_leaves_makes_room() {
        let semaphore = Semaphore::new(1);
        let mut large = semaphore.acquire(2);
        let mut small = semaphore.acquire(1);
        assert!((&mut large).now_or_never().is_none());
        assert!((&mut small).now_or_never().is_none());
        drop(large);
        assert!((&mut small).now_or_never().is_some());
    }

    #[test]
    fn a_grant_nobody_took_returns() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.try_acquire(1).unwrap();
        let mut next = semaphore.acquire(1);
        assert!((&mut next).now_or_never().is_none());
        drop(held);
        assert_eq!(semaphore.available(), 0);
        drop(next);
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn early_and_no_release() {
        let semaphore = Semaphore::new(5);
        let mut permit = semaphore.try_acquire(4).unwrap();
        permit.release(3);
        assert_eq!(semaphore.available(), 4);
        permit.forget();
        assert_eq!(semaphore.available(), 4);
        semaphore.release(1);
        assert_eq!(semaphore.available(), 5);
    }
}
