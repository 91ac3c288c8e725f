//! The sending side of a connection: many messages per system call, one call in flight per socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

use crate::exec::net::Stream;
use crate::exec::sync::Notify;

/// The most bytes gathered into one send. More would only delay the first message of the batch.
const BATCH_BYTES: usize = 1 << 20;
/// The most slices gathered into one send, below the kernel's limit of 1024.
const BATCH_SLICES: usize = 256;

/// Messages waiting for their socket. `push` never waits: callers that must not run ahead look at
/// [`Outbox::backlog`] or wait in [`Outbox::room`].
#[derive(Debug)]
pub struct Outbox {
    stream: Stream,
    queue: RefCell<VecDeque<Bytes>>,
    backlog: Cell<usize>,
    sent: Cell<u64>,
    closed: Cell<bool>,
    wake: Notify,
    drained: Notify,
}

impl Outbox {
    /// An outbox for `stream`; nothing is sent until [`Outbox::run`] runs.
    pub fn new(stream: Stream) -> Rc<Outbox> {
        Rc::new(Outbox {
            stream,
            queue: RefCell::default(),
            backlog: Cell::new(0),
            sent: Cell::new(0),
            closed: Cell::new(false),
            wake: Notify::new(),
            drained: Notify::new(),
        })
    }

    /// Queues one message (its slices go out in this order, unmixed with others). `false`: the connection is closed
    /// and the message was dropped.
    pub fn push(&self, message: impl IntoIterator<Item = Bytes>) -> bool {
        if self.closed.get() {
            return false;
        }
        let mut added = 0;
        let mut queue = self.queue.borrow_mut();
        for slice in message {
            added += slice.len();
            if !slice.is_empty() {
                queue.push_back(slice);
            }
        }
        drop(queue);
        self.backlog.set(self.backlog.get() + added);
        self.wake.notify_one();
        true
    }

    /// Bytes queued or in the socket call under way.
    pub fn backlog(&self) -> usize {
        self.backlog.get()
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Waits until less than `limit` bytes are queued, or the connection is closed.
    pub async fn room(&self, limit: usize) {
        while self.backlog.get() >= limit && !self.closed.get() {
            self.drained.notified().await;
        }
    }

    /// Stops sending; later messages are dropped.
    pub fn close(&self) {
        self.closed.set(true);
        self.queue.borrow_mut().clear();
        self.backlog.set(0);
        self.wake.notify_one();
        self.drained.notify_waiters();
    }

    /// Sends until the socket fails or [`Outbox::close`] is called. To be spawned once per connection.
    ///
    /// # Errors
    /// The socket's error; the outbox is closed then.
    pub async fn run(&self) -> io::Result<()> {
        loop {
            let (batch, bytes) = self.take_batch();
            if batch.is_empty() {
                if self.closed.get() {
                    return Ok(());
                }
                self.wake.notified().await;
                continue;
            }
            if let Err(e) = self.stream.send(batch).await {
                self.close();
                return Err(e);
            }
            self.sent.set(self.sent.get() + bytes as u64);
            self.backlog.set(self.backlog.get().saturating_sub(bytes));
            self.drained.notify_waiters();
        }
    }

    fn take_batch(&self) -> (Vec<Bytes>, usize) {
        let mut queue = self.queue.borrow_mut();
        let mut batch = Vec::with_capacity(queue.len().min(BATCH_SLICES));
        let mut bytes = 0;
        while batch.len() < BATCH_SLICES && bytes < BATCH_BYTES {
            let Some(slice) = queue.pop_front() else { break };
            bytes += slice.len();
            batch.push(slice);
        }
        (batch, bytes)
    }
}
