//! Operations in flight as the executor sees them: who waits for which completion.
//!
//! A place in the table is reused only after its completion has come, whether or not anybody still waited, so a late
//! completion can never be taken for a newer operation's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::core;
use super::driver::{Completion, Key, Op};

#[derive(Debug)]
enum State {
    Free,
    Waiting(Option<Waker>),
    /// The future is gone; the completion will be dropped.
    Forgotten,
    Done(Completion),
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
}

/// The waiters of a core.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Waiters {
    pub(super) fn add(&mut self) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                state: State::Free,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.state = State::Waiting(None);
        Key {
            index,
            generation: slot.generation,
        }
    }

    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|slot| slot.generation == key.generation)
    }

    fn release(&mut self, key: Key) {
        if let Some(slot) = self.slot(key) {
            slot.state = State::Free;
            slot.generation = slot.generation.wrapping_add(1) & 0x7fff_ffff;
            self.free.push(key.index);
        }
    }

    pub(super) fn poll(&mut self, key: Key, waker: &Waker) -> Option<Completion> {
        let slot = self.slot(key)?;
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Done(completion) => {
                self.release(key);
                Some(completion)
            }
            State::Waiting(Some(old)) if old.will_wake(waker) => {
                slot.state = State::Waiting(Some(old));
                None
            }
            _ => {
                slot.state = State::Waiting(Some(waker.clone()));
                None
            }
        }
    }

    /// Files a completion; returns whom to wake, or what nobody wants, both to be used outside the borrow.
    pub(super) fn complete(&mut self, completion: Completion) -> (Option<Waker>, Option<Completion>) {
        let key = completion.key;
        let Some(slot) = self.slot(key) else {
            return (None, Some(completion));
        };
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Waiting(waker) => {
                slot.state = State::Done(completion);
                (waker, None)
            }
            _ => {
                self.release(key);
                (None, Some(completion))
            }
        }
    }

    /// The future was dropped: whether the operation is still in flight, and its unread result if it is not.
    pub(super) fn forget(&mut self, key: Key) -> (bool, Option<Completion>) {
        let Some(slot) = self.slot(key) else {
            return (false, None);
        };
        match std::mem::replace(&mut slot.state, State::Forgotten) {
            State::Done(completion) => {
                self.release(key);
                (false, Some(completion))
            }
            _ => (true, None),
        }
    }
}

/// Waits for one operation; dropping it cancels the operation.
#[derive(Debug)]
pub(super) struct InFlight {
    key: Option<Key>,
}

/// Starts an operation on the thread's core. It is in flight from here on, polled or not.
pub(super) fn submit(op: Op) -> InFlight {
    InFlight {
        key: Some(core::with(|core| core.submit(op))),
    }
}

impl Future for InFlight {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let Some(key) = self.key else {
            panic!("an operation polled after it completed")
        };
        match core::with(|core| core.poll_op(key, cx.waker())) {
            Some(completion) => {
                self.key = None;
                Poll::Ready(completion)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            core::try_with(|core| core.forget_op(key));
        }
    }
}
