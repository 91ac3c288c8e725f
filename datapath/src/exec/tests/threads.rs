//! Messages and wakes from other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::core;
use crate::exec::mailbox::{SendError, channel};
use crate::exec::{self, timeout};

#[test]
fn a_million_messages_from_four_threads() {
    const EACH: u64 = 250_000;
    let (tx, mut rx) = channel::<(usize, u64)>(1024);
    let senders: Vec<_> = (0..4)
        .map(|number| {
            let tx = tx.clone();
            std::thread::spawn(move || {
                for i in 0..EACH {
                    let mut message = (number, i);
                    while let Err(error) = tx.send(message) {
                        assert!(matches!(error, SendError::Full(_)));
                        message = error.into_inner();
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(tx);
    core(|| async move {
        let mut next = [0; 4];
        // The time limit turns a lost wake into a failure.
        while let Some((number, i)) = timeout(Duration::from_secs(30), rx.recv())
            .await
            .expect("a wake was lost")
        {
            assert_eq!(i, next[number], "order per sender");
            next[number] += 1;
        }
        assert_eq!(next, [EACH; 4]);
    });
    for sender in senders {
        sender.join().unwrap();
    }
}

/// One message at a time, so that the core goes to sleep before each: every one needs its own wake.
#[test]
fn ping_pong_between_cores() {
    let (to_b, mut at_b) = channel::<u32>(1);
    let (to_a, mut at_a) = channel::<u32>(1);
    let other = std::thread::spawn(move || {
        core(|| async move {
            while let Some(n) = at_b.recv().await {
                to_a.send(n + 1).unwrap();
            }
        });
    });
    core(|| async move {
        for n in 0..20_000 {
            to_b.send(n).unwrap();
            assert_eq!(timeout(Duration::from_secs(10), at_a.recv()).await, Ok(Some(n + 1)));
        }
    });
    other.join().unwrap();
}

#[test]
fn full_and_closed() {
    let (tx, mut rx) = channel(1);
    tx.send(1).unwrap();
    assert_eq!(tx.send(2), Err(SendError::Full(2)));
    assert_eq!(rx.try_recv(), Some(1));
    drop(rx);
    assert_eq!(tx.send(3), Err(SendError::Closed(3)));
}

#[test]
fn wakers_work_from_anywhere_and_after_the_end() {
    let done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&done);
    let kept = core(|| async move {
        let mut thread = None;
        std::future::poll_fn(|cx| {
            if flag.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if thread.is_none() {
                let (flag, waker) = (Arc::clone(&flag), cx.waker().clone());
                thread = Some(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(10));
                    flag.store(true, Ordering::Release);
                    waker.wake_by_ref();
                    waker
                }));
            }
            Poll::Pending
        })
        .await;
        let task = exec::spawn(std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        (thread.unwrap().join().unwrap(), task.await.unwrap())
    });
    kept.0.wake();
    kept.1.wake();
    assert!(done.load(Ordering::Acquire));
}
