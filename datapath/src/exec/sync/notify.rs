//! Wakes one waiting task, or all of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    None,
    One,
    All,
}

#[derive(Debug)]
struct Waiter {
    signal: Cell<Signal>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    fn wake(&self, signal: Signal) {
        self.signal.set(signal);
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// A `notify_one` that found nobody.
    stored: Cell<bool>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

/// A place to wait at. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Notify(Rc<Inner>);

impl Notify {
    /// Nobody waits, nothing is stored.
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the longest waiting task; with none, the next `notified()` returns at once (at most one is stored).
    pub fn notify_one(&self) {
        let first = self.0.waiting.borrow_mut().pop_front();
        match first {
            Some(waiter) => waiter.wake(Signal::One),
            None => self.0.stored.set(true),
        }
    }

    /// Wakes all tasks that wait now; stores nothing.
    pub fn notify_waiters(&self) {
        let all = self.0.waiting.take();
        for waiter in all {
            waiter.wake(Signal::All);
        }
    }

    /// Waits for a notification. The place in the queue is taken at the first poll.
    pub fn notified(&self) -> Notified {
        Notified {
            notify: self.clone(),
            waiter: None,
        }
    }
}

/// Future of [`Notify::notified`].
#[derive(Debug)]
pub struct Notified {
    notify: Notify,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiter) = &self.waiter {
            if waiter.signal.get() == Signal::None {
                *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.waiter = None;
            return Poll::Ready(());
        }
        if self.notify.0.stored.replace(false) {
            return Poll::Ready(());
        }
        let waker = RefCell::new(Some(cx.waker().clone()));
        let waiter = Rc::new(Waiter {
            signal: Cell::new(Signal::None),
            waker,
        });
        self.notify.0.waiting.borrow_mut().push_back(Rc::clone(&waiter));
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        match waiter.signal.get() {
            Signal::None => self
                .notify
                .0
                .waiting
                .borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, &waiter)),
            // Woken but never polled: the notification is somebody else's.
            Signal::One => self.notify.notify_one(),
            Signal::All => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn one_is_stored_not_two() {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        assert!(notify.notified().now_or_never().is_some());
        assert!(notify.notified().now_or_never().is_none());
    }

    #[test]
    fn one_wakes_the_first_and_a_dropped_one_passes_on() {
        let notify = Notify::new();
        let (mut a, mut b) = (notify.notified(), notify.notified());
        assert!((&mut a).now_or_never().is_none());
        assert!((&mut b).now_or_never().is_none());
        notify.notify_one();
        drop(a);
        assert!(b.now_or_never().is_some());
    }

    #[test]
    fn all_wakes_only_who_waits() {
        let notify = Notify::new();
        let mut a = notify.notified();
        assert!((&mut a).now_or_never().is_none());
        notify.notify_waiters();
        assert!(a.now_or_never().is_some());
        assert!(notify.notified().now_or_never().is_none());
    }
}
