//! The core: one thread, one driver, and the loop that ties tasks, timers and completions together.
//!
//! # A turn of the loop
//! 1. Poll ready tasks, those woken meanwhile included, until none is left or `POLLS_PER_TURN` have been.
//! 2. Take wakes left by other threads.
//! 3. Give the driver its turn: everything submitted in step 1 goes out in one batch, and what has completed is
//!    collected. It sleeps only when no task is ready and no wake is waiting, and at most until the next timer.
//! 4. Wake whom completions and due timers concern.
//!
//! So a task that is always ready cannot keep completions from being collected for longer than one turn, and
//! operations started by many tasks in one turn cost one system call.
//!
//! No `RefCell` of a core stays borrowed while code of a task (poll, drop, waker) runs.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;

use super::buf::{Overflow, PageBuf};
use super::driver::{Completion, Driver, Key, Op, Park};
use super::host::HostId;
use super::op::Waiters;
use super::task::{JoinHandle, Shared, TaskHeader, TaskId, Tasks};
use super::time::Mono;
use super::timer::Timers;
use crate::sys::mem::Arena;

/// Tasks polled before the driver gets a turn, however many are ready.
const POLLS_PER_TURN: usize = 128;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Calls `f` with the thread's core; none outside of [`super::run`].
pub(super) fn try_with<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.borrow().as_deref().map(f))
        .ok()
        .flatten()
}

/// Calls `f` with the thread's core.
///
/// # Panics
/// Outside of [`super::run`]: an I/O call without a core is a mistake in the program.
pub(super) fn with<R>(f: impl FnOnce(&Core) -> R) -> R {
    match try_with(f) {
        Some(result) => result,
        None => panic!("datapath::exec used on a thread that runs no core"),
    }
}

/// Everything a thread's executor consists of.
pub(super) struct Core {
    shared: Arc<Shared>,
    /// None once the core has stopped.
    driver: RefCell<Option<Box<dyn Driver>>>,
    tasks: RefCell<Tasks>,
    ready: RefCell<VecDeque<TaskId>>,
    timers: RefCell<Timers>,
    waiters: RefCell<Waiters>,
    arena: RefCell<Option<Arena>>,
    overflow: Arc<Overflow>,
    host: Cell<HostId>,
    /// Stopped hosts and their tasks that became ready. Empty but in simulations.
    paused: RefCell<BTreeMap<HostId, Vec<TaskId>>>,
    any_paused: Cell<bool>,
}

impl Core {
    fn new(mut driver: Box<dyn Driver>) -> Core {
        Core {
            shared: Arc::new(Shared::new(driver.unparker())),
            arena: RefCell::new(driver.take_arena()),
            driver: RefCell::new(Some(driver)),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            timers: RefCell::default(),
            waiters: RefCell::default(),
            overflow: Overflow::new(),
            host: Cell::new(HostId(0)),
            paused: RefCell::default(),
            any_paused: Cell::new(false),
        }
    }

    pub(super) fn host(&self) -> HostId {
        self.host.get()
    }

    pub(super) fn set_host(&self, host: HostId) -> HostId {
        self.host.replace(host)
    }

    pub(super) fn spawn<F: Future<Output: 'static> + 'static>(&self, host: HostId, future: F) -> JoinHandle<F::Output> {
        let id = self.tasks.borrow_mut().reserve();
        let (handle, finisher) = JoinHandle::new(id, Arc::clone(&self.shared));
        let body = Box::pin(future.map(move |value| finisher.finish(value)));
        let header = TaskHeader::new(id, Arc::clone(&self.shared));
        self.tasks.borrow_mut().start(id, host, header, body);
        self.ready.borrow_mut().push_back(id);
        handle
    }

    /// Queues a task woken on this thread; false if it belongs to another core.
    pub(super) fn wake_local(&self, shared: &Arc<Shared>, id: TaskId) -> bool {
        let ours = Arc::ptr_eq(&self.shared, shared);
        if ours {
            self.ready.borrow_mut().push_back(id);
        }
        ours
    }

    pub(super) fn abort(&self, shared: &Arc<Shared>, id: TaskId) {
        if Arc::ptr_eq(&self.shared, shared) {
            let future = self.tasks.borrow_mut().abort(id);
            drop(future);
        }
    }

    pub(super) fn abort_host(&self, host: HostId) -> usize {
        let ids = self.tasks.borrow().ids(Some(host));
        for id in &ids {
            let future = self.tasks.borrow_mut().abort(*id);
            drop(future);
        }
        ids.len()
    }

    pub(super) fn pause_host(&self, host: HostId) {
        self.paused.borrow_mut().entry(host).or_default();
        self.any_paused.set(true);
    }

    pub(super) fn resume_host(&self, host: HostId) {
        let mut paused = self.paused.borrow_mut();
        let ready = paused.remove(&host).unwrap_or_default();
        self.any_paused.set(!paused.is_empty());
        self.ready.borrow_mut().extend(ready);
    }

    /// Puts a ready task aside if its host is stopped.
    fn hold_back(&self, id: TaskId) -> bool {
        let Some(host) = self.tasks.borrow().host(id) else {
            return false;
        };
        self.paused
            .borrow_mut()
            .get_mut(&host)
            .map(|held| held.push(id))
            .is_some()
    }

    pub(super) fn task_count(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Calls the driver.
    ///
    /// # Panics
    /// After the core has stopped, when there is none any more.
    pub(super) fn with_driver<R>(&self, f: impl FnOnce(&mut dyn Driver) -> R) -> R {
        match self.driver.borrow_mut().as_mut() {
            Some(driver) => f(driver.as_mut()),
            None => panic!("datapath::exec used while its core stops"),
        }
    }

    pub(super) fn now(&self) -> Mono {
        self.with_driver(|driver| driver.now())
    }

    pub(super) fn submit(&self, op: Op) -> Key {
        let key = self.waiters.borrow_mut().add();
        self.with_driver(|driver| driver.submit(self.host.get(), key, op));
        key
    }

    pub(super) fn poll_op(&self, key: Key, waker: &Waker) -> Option<Completion> {
        self.waiters.borrow_mut().poll(key, waker)
    }

    /// The future of an operation was dropped.
    pub(super) fn forget_op(&self, key: Key) {
        let (pending, done) = self.waiters.borrow_mut().forget(key);
        drop(done);
        if pending && let Some(driver) = self.driver.borrow_mut().as_mut() {
            driver.cancel(key);
        }
    }

    pub(super) fn timers(&self) -> &RefCell<Timers> {
        &self.timers
    }

    pub(super) fn alloc(&self, len: usize) -> PageBuf {
        let span = self.arena.borrow_mut().as_mut().and_then(|arena| arena.allocate(len));
        match span {
            Some(span) => PageBuf::from_span(span, len),
            None => self.overflow.alloc(len),
        }
    }

    fn poll_task(&self, id: TaskId) {
        if self.any_paused.get() && self.hold_back(id) {
            return;
        }
        let Some(mut running) = self.tasks.borrow_mut().check_out(id) else {
            return;
        };
        running.header.unqueue();
        self.host.set(running.host);
        let result = running.future.as_mut().poll(&mut Context::from_waker(&running.waker));
        self.host.set(HostId(0));
        let leftover = match result {
            Poll::Ready(()) => {
                self.tasks.borrow_mut().remove(id);
                Some(running.future)
            }
            Poll::Pending => self.tasks.borrow_mut().check_in(id, running.waker, running.future),
        };
        drop(leftover);
    }

    /// Steps 2 to 4 of a turn.
    fn drive(&self, done: &mut Vec<Completion>) -> io::Result<()> {
        while let Some(id) = self.shared.take_foreign() {
            self.ready.borrow_mut().push_back(id);
        }
        let idle = self.ready.borrow().is_empty() && self.shared.prepare_sleep();
        let park = if idle {
            Park::Until(self.timers.borrow().next())
        } else {
            Park::Poll
        };
        let result = self.with_driver(|driver| driver.wait(park, done));
        self.shared.woke();
        for completion in done.drain(..) {
            let (waker, orphan) = self.waiters.borrow_mut().complete(completion);
            if let Some(waker) = waker {
                waker.wake();
            }
            // Nobody waits any more: an accepted socket is closed, a buffer returns to the arena.
            drop(orphan);
        }
        self.fire_timers();
        result
    }

    /// Wakes what is due.
    fn fire_timers(&self) {
        if self.timers.borrow().next().is_none() {
            return;
        }
        let now = self.now();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            match due {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

/// Ends a core whichever way `run` is left, by return or by panic.
struct Stop(Rc<Core>);

impl Drop for Stop {
    fn drop(&mut self) {
        // Dropping a task may spawn another one, so until none is left; a bound, in case one always does.
        for _ in 0..1000 {
            let ids = self.0.tasks.borrow().ids(None);
            let mut dropped = false;
            for id in ids {
                let future = self.0.tasks.borrow_mut().abort(id);
                dropped |= future.is_some();
                drop(future);
            }
            // What is left is the task whose panic brought us here; it is being dropped by the unwinding.
            if !dropped {
                break;
            }
        }
        // Timers and waiters hold wakers only. The driver's drop waits for the kernel to let go of every buffer.
        let driver = self.0.driver.borrow_mut().take();
        drop(driver);
        let results = self.0.waiters.take();
        drop(results);
        CURRENT.with(|current| current.borrow_mut().take());
    }
}

/// Runs `future`, and everything it spawns, on this thread until it has finished. Other tasks are then dropped and what
/// they had in flight is cancelled and waited for.
///
/// # Panics
/// If the thread runs a core already, or if the driver breaks (it cannot go on then).
pub fn run<F: Future>(driver: impl Driver + 'static, future: F) -> F::Output {
    let core = Rc::new(Core::new(Box::new(driver)));
    CURRENT.with(|current| {
        assert!(current.borrow().is_none(), "exec::run inside exec::run");
        *current.borrow_mut() = Some(Rc::clone(&core));
    });
    let stop = Stop(core);
    let core = &stop.0;
    // Declared after `stop`: dropped before it, while the core still takes cancellations.
    let mut future = pin!(future);
    let header = TaskHeader::new(TaskId::ROOT, Arc::clone(&core.shared));
    let waker = Waker::from(Arc::clone(&header));
    core.ready.borrow_mut().push_back(TaskId::ROOT);
    let mut done = Vec::with_capacity(256);
    loop {
        for _ in 0..POLLS_PER_TURN {
            let next = core.ready.borrow_mut().pop_front();
            match next {
                None => break,
                Some(TaskId::ROOT) => {
                    header.unqueue();
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return output;
                    }
                }
                Some(id) => core.poll_task(id),
            }
        }
        if let Err(error) = core.drive(&mut done) {
            panic!("the driver of this core broke: {error}");
        }
    }
}
