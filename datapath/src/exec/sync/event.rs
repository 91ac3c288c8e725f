//! A flag to wait for: up or down, and all who wait for "up" go on together.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::notify::{Notified, Notify};

#[derive(Debug, Default)]
struct Inner {
    up: Cell<bool>,
    notify: Notify,
}

/// The flag. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Event(Rc<Inner>);

impl Event {
    /// A flag that is down.
    pub fn new() -> Event {
        Event::default()
    }

    /// Raises the flag and wakes everybody.
    pub fn set(&self) {
        self.0.up.set(true);
        self.0.notify.notify_waiters();
    }

    /// Lowers the flag.
    pub fn clear(&self) {
        self.0.up.set(false);
    }

    /// Whether it is up.
    pub fn is_set(&self) -> bool {
        self.0.up.get()
    }

    /// Waits until the flag is up; at once if it is. A waiter goes on even if the flag was lowered again before it ran.
    pub fn wait(&self) -> EventWait {
        EventWait {
            event: self.clone(),
            notified: None,
        }
    }
}

/// Future of [`Event::wait`].
#[derive(Debug)]
pub struct EventWait {
    event: Event,
    notified: Option<Notified>,
}

impl Future for EventWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.event.is_set() {
            return Poll::Ready(());
        }
        let fresh = self.event.0.notify.clone();
        Pin::new(self.notified.get_or_insert_with(|| fresh.notified())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn waiters_see_the_flag_go_up() {
        let event = Event::new();
        let mut wait = event.wait();
        assert!((&mut wait).now_or_never().is_none());
        event.set();
        event.clear();
        assert!((&mut wait).now_or_never().is_some(), "it was up for a moment");
        assert!(event.wait().now_or_never().is_none());
        event.set();
        assert!(event.wait().now_or_never().is_some());
    }
}
