//! One value from one task to another.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    sender: bool,
    receiver: bool,
    waker: Option<Waker>,
}

/// The sending half.
#[derive(Debug)]
pub struct Sender<T>(Rc<RefCell<State<T>>>);

/// The receiving half: a future of the value.
#[derive(Debug)]
pub struct Receiver<T>(Rc<RefCell<State<T>>>);

/// The sender was dropped without sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canceled;

impl fmt::Display for Canceled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender is gone")
    }
}

impl std::error::Error for Canceled {}

/// A new pair.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let state = Rc::new(RefCell::new(State {
        value: None,
        sender: true,
        receiver: true,
        waker: None,
    }));
    (Sender(Rc::clone(&state)), Receiver(state))
}

impl<T> Sender<T> {
    /// Hands the value over.
    ///
    /// # Errors
    /// Gives the value back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = self.0.borrow_mut();
        if !state.receiver {
            return Err(value);
        }
        state.value = Some(value);
        Ok(())
        // Dropping `self` wakes the receiver.
    }

    /// Whether nobody will receive.
    pub fn is_closed(&self) -> bool {
        !self.0.borrow().receiver
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.sender = false;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The value, if it has come.
    pub fn try_recv(&mut self) -> Option<T> {
        self.0.borrow_mut().value.take()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Canceled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Canceled>> {
        let mut state = self.0.borrow_mut();
        match state.value.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None if !state.sender => Poll::Ready(Err(Canceled)),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let value = {
            let mut state = self.0.borrow_mut();
            state.receiver = false;
            state.value.take()
        };
        drop(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn value_arrives_or_the_end_is_told() {
        let (tx, mut rx) = oneshot();
        assert!((&mut rx).now_or_never().is_none());
        tx.send(5).unwrap();
        assert_eq!(rx.now_or_never(), Some(Ok(5)));
        let (tx, rx) = oneshot::<u8>();
        drop(tx);
        assert_eq!(rx.now_or_never(), Some(Err(Canceled)));
        let (tx, rx) = oneshot();
        assert!(!tx.is_closed());
        drop(rx);
        assert!(tx.is_closed());
        assert_eq!(tx.send(7), Err(7));
    }
}
