//! Messages from other threads to a core: a bounded lock-free queue and a wake.
//!
//! A sender never waits: when the queue is full it gets the message back. It makes a system call only if the receiving
//! core is asleep. Why no wake is lost: the receiver registers its waker and *then* looks at the queue once more, the
//! sender queues and *then* takes the waker; the wake itself crosses to the core by the same argument (see `task`).

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use crossbeam::queue::ArrayQueue;
use futures_util::task::AtomicWaker;

struct Shared<T> {
    queue: ArrayQueue<T>,
    waker: AtomicWaker,
    senders: AtomicUsize,
    receiver: AtomicBool,
}

/// The sending half, for any thread.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving half. It may be moved to its core's thread before use; there, one task at a time receives.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Not to be shared between threads.
    not_sync: PhantomData<std::cell::Cell<()>>,
}

/// Why a message was not taken; it is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The queue is full: the core does not keep up.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Full(message) | SendError::Closed(message) => message,
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full",
            SendError::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "the mailbox is full",
            SendError::Closed(_) => "the mailbox is closed",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}

/// A mailbox for `capacity` messages (at least 1).
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity.max(1)),
        waker: AtomicWaker::new(),
        senders: AtomicUsize::new(1),
        receiver: AtomicBool::new(true),
    });
    (
        Sender(Arc::clone(&shared)),
        Receiver {
            shared,
            not_sync: PhantomData,
        },
    )
}

impl<T: Send> Sender<T> {
    /// Queues a message and wakes the core if it sleeps.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Closed`], with the message.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError::Closed(message));
        }
        self.0.queue.push(message).map_err(SendError::Full)?;
        self.0.waker.wake();
        Ok(())
    }

    /// Whether nobody will receive.
    pub fn is_closed(&self) -> bool {
        !self.0.receiver.load(Ordering::Acquire)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waker.wake();
        }
    }
}

impl<T: Send> Receiver<T> {
    /// The next message; `None` when the queue is empty and all senders are gone.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(message) = self.shared.queue.pop() {
                return Poll::Ready(Some(message));
            }
            self.shared.waker.register(cx.waker());
            // Read before the queue: a sender's last message comes before its going.
            let open = self.shared.senders.load(Ordering::Acquire) > 0;
            match self.shared.queue.pop() {
                Some(message) => Poll::Ready(Some(message)),
                None if !open => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A message, if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver.store(false, Ordering::Release);
        while self.shared.queue.pop().is_some() {}
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("queued", &self.0.queue.len()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("queued", &self.shared.queue.len())
            .finish()
    }
}
