//! Tasks: the table of a core's futures, their wakers, and the handles that wait for them.
//!
//! Invariants
//! * A task is polled by its own core only; its future never leaves the thread.
//! * `TaskHeader::queued` is true exactly while the task's id is in a queue (or is about to be put there), so a task is
//!   queued at most once. It is cleared *before* the poll: a wake during the poll queues it again.
//! * A future is taken out of the table while it is polled or dropped, so either may spawn, wake and abort freely.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};

use crossbeam::queue::SegQueue;

use super::core;
use super::driver::Unpark;
use super::host::HostId;

/// A task of one core. Ids are reused with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    pub(super) index: u32,
    generation: u32,
}

impl TaskId {
    /// The future given to `run`, which lives outside the table.
    pub(super) const ROOT: TaskId = TaskId {
        index: u32::MAX,
        generation: 0,
    };
}

/// The part of a core that other threads see: where they leave wakes.
#[derive(Debug)]
pub(super) struct Shared {
    foreign: SegQueue<TaskId>,
    asleep: AtomicBool,
    unpark: Arc<dyn Unpark>,
}

impl Shared {
    pub(super) fn new(unpark: Arc<dyn Unpark>) -> Shared {
        Shared {
            foreign: SegQueue::new(),
            asleep: AtomicBool::new(false),
            unpark,
        }
    }

    pub(super) fn take_foreign(&self) -> Option<TaskId> {
        self.foreign.pop()
    }

    /// Announces that the core is about to sleep; false if a wake is waiting, then it must not.
    ///
    /// Pairs with `wake_foreign`: the core writes `asleep` and then reads the queue, the waker writes the queue and then
    /// reads `asleep`. With a sequentially consistent fence between the two on both sides, at least one of them sees the
    /// other's write, so no wake is lost.
    pub(super) fn prepare_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.foreign.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    pub(super) fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    fn wake_foreign(&self, id: TaskId) {
        self.foreign.push(id);
        fence(Ordering::SeqCst);
        // Only the one that turns the flag pays for the system call.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.unpark.unpark();
        }
    }
}

/// What a waker points to.
#[derive(Debug)]
pub(super) struct TaskHeader {
    id: TaskId,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl TaskHeader {
    pub(super) fn new(id: TaskId, shared: Arc<Shared>) -> Arc<TaskHeader> {
        Arc::new(TaskHeader {
            id,
            queued: AtomicBool::new(true),
            shared,
        })
    }

    /// Called right before a poll. Acquires what the wakers did before they woke.
    pub(super) fn unqueue(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for TaskHeader {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let local = core::try_with(|core| core.wake_local(&self.shared, self.id));
        if local != Some(true) {
            self.shared.wake_foreign(self.id);
        }
    }
}

type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    generation: u32,
    used: bool,
    aborted: bool,
    host: HostId,
    header: Option<Arc<TaskHeader>>,
    /// Waker and future; both out while the task is polled.
    body: Option<(Waker, BoxFuture)>,
}

/// All tasks of a core.
#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// A task taken out to be polled.
pub(super) struct Running {
    pub(super) header: Arc<TaskHeader>,
    pub(super) waker: Waker,
    pub(super) future: BoxFuture,
    pub(super) host: HostId,
}

impl Tasks {
    /// Reserves an id; `start` must follow.
    pub(super) fn reserve(&mut self) -> TaskId {
        let index = self.free.pop().unwrap_or_else(|| {
            let slot = Slot {
                generation: 0,
                used: false,
                aborted: false,
                host: HostId(0),
                header: None,
                body: None,
            };
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.used = true;
        slot.aborted = false;
        TaskId {
            index,
            generation: slot.generation,
        }
    }

    pub(super) fn start(&mut self, id: TaskId, host: HostId, header: Arc<TaskHeader>, future: BoxFuture) {
        let slot = &mut self.slots[id.index as usize];
        slot.host = host;
        slot.body = Some((Waker::from(Arc::clone(&header)), future));
        slot.header = Some(header);
    }

    fn slot(&mut self, id: TaskId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|slot| slot.used && slot.generation == id.generation)
    }

    pub(super) fn host(&self, id: TaskId) -> Option<HostId> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.used && slot.generation == id.generation).then_some(slot.host)
    }

    /// Takes a task out for polling; none if it is gone.
    pub(super) fn check_out(&mut self, id: TaskId) -> Option<Running> {
        let slot = self.slot(id)?;
        let host = slot.host;
        let header = Arc::clone(slot.header.as_ref()?);
        let (waker, future) = slot.body.take()?;
        Some(Running {
            header,
            waker,
            future,
            host,
        })
    }

    /// Puts a pending task back; returns its future if it was aborted meanwhile, to be dropped outside the borrow.
    pub(super) fn check_in(&mut self, id: TaskId, waker: Waker, future: BoxFuture) -> Option<BoxFuture> {
        match self.slot(id) {
            Some(slot) if !slot.aborted => {
                slot.body = Some((waker, future));
                None
            }
            _ => {
                self.remove(id);
                Some(future)
            }
        }
    }

    /// Forgets a task; returns its future, to be dropped outside the borrow.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<BoxFuture> {
        let slot = self.slot(id)?;
        let body = slot.body.take();
        slot.header = None;
        slot.used = false;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        body.map(|(_, future)| future)
    }

    /// Aborts a task: its future is returned, to be dropped outside the borrow, or marked if it is running.
    pub(super) fn abort(&mut self, id: TaskId) -> Option<BoxFuture> {
        let slot = self.slot(id)?;
        if slot.body.is_none() {
            slot.aborted = true;
            return None;
        }
        self.remove(id)
    }

    /// Ids of the tasks of a host (or of all).
    pub(super) fn ids(&self, host: Option<HostId>) -> Vec<TaskId> {
        let live = self.slots.iter().enumerate();
        live.filter(|(_, slot)| slot.used && host.is_none_or(|host| slot.host == host))
            .map(|(index, slot)| TaskId {
                index: index as u32,
                generation: slot.generation,
            })
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// The task was aborted (or its core stopped) before it finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was aborted")
    }
}

impl std::error::Error for Aborted {}

/// Where a task leaves its result.
struct Join<T> {
    result: Cell<Option<Result<T, Aborted>>>,
    finished: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

/// Owned by the task; says `Aborted` if the task is dropped unfinished.
pub(super) struct Finisher<T>(Rc<Join<T>>);

impl<T> Finisher<T> {
    pub(super) fn finish(self, value: T) {
        self.set(Ok(value));
    }

    fn set(&self, result: Result<T, Aborted>) {
        if !self.0.finished.replace(true) {
            self.0.result.set(Some(result));
            let waiter = self.0.waiter.take();
            if let Some(waker) = waiter {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Finisher<T> {
    fn drop(&mut self) {
        self.set(Err(Aborted));
    }
}

/// Waits for a task. Dropping it lets the task run on.
pub struct JoinHandle<T> {
    id: TaskId,
    shared: Arc<Shared>,
    join: Rc<Join<T>>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(id: TaskId, shared: Arc<Shared>) -> (JoinHandle<T>, Finisher<T>) {
        let join = Rc::new(Join {
            result: Cell::new(None),
            finished: Cell::new(false),
            waiter: RefCell::new(None),
        });
        (
            JoinHandle {
                id,
                shared,
                join: Rc::clone(&join),
            },
            Finisher(join),
        )
    }

    /// Drops the task's future now, or after the current poll if the task aborts itself. What it had in flight is
    /// cancelled. No effect on a finished task.
    pub fn abort(&self) {
        core::try_with(|core| core.abort(&self.shared, self.id));
    }

    /// Whether the result is there (or was taken).
    pub fn is_finished(&self) -> bool {
        self.join.finished.get()
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id)
            .field("finished", &self.is_finished())
            .finish()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Aborted>> {
        match self.join.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                *self.join.waiter.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
