//! Timers: an ordered map from (deadline, number) to waker. Cancelling removes the entry, so that a hundred thousand
//! calls a second, each with a timeout of a minute, leave nothing behind.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::core;
use super::time::Mono;

/// The pending timers of a core. Equal deadlines fire in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pending: BTreeMap<(Mono, u64), Waker>,
    last: u64,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Mono> {
        self.pending.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Waker> {
        let entry = self.pending.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    fn set(&mut self, number: Option<u64>, deadline: Mono, waker: &Waker) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.pending.insert((deadline, number), waker.clone());
        number
    }

    fn cancel(&mut self, deadline: Mono, number: u64) -> Option<Waker> {
        self.pending.remove(&(deadline, number))
    }
}

/// Future of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
pub struct Sleep {
    deadline: Mono,
    number: Option<u64>,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Mono {
        self.deadline
    }
}

/// Ends `time` from now.
pub fn sleep(time: Duration) -> Sleep {
    sleep_until(super::now() + time)
}

/// Ends at `deadline`; at once if that has passed.
pub fn sleep_until(deadline: Mono) -> Sleep {
    Sleep { deadline, number: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        core::with(|core| {
            if self.deadline <= core.now() {
                return Poll::Ready(());
            }
            let number = core.timers().borrow_mut().set(self.number, self.deadline, cx.waker());
            self.number = Some(number);
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            core::try_with(|core| core.timers().borrow_mut().cancel(self.deadline, number));
        }
    }
}

/// The time given to [`timeout`] ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time ran out")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> std::io::Error {
        std::io::Error::from_raw_os_error(libc::ETIMEDOUT)
    }
}

/// Runs `future` for at most `time`; then drops it (which cancels what it has in flight).
///
/// # Errors
/// [`Elapsed`] when the time ran out first.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut sleep = std::pin::pin!(sleep(time));
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}

/// Lets the other ready tasks run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
