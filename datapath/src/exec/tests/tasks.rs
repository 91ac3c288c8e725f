//! Tasks, timers and what ends them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::core;
use crate::exec::sync::{Event, Notify, Semaphore, oneshot};
use crate::exec::{self, Aborted, Elapsed};

const MS: Duration = Duration::from_millis(1);

#[test]
fn tasks_give_results_and_abort() {
    core(|| async {
        assert_eq!(exec::spawn(async { 7 }).await, Ok(7));
        let dropped = Rc::new(Cell::new(false));
        struct Guard(Rc<Cell<bool>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let guard = Guard(Rc::clone(&dropped));
        let task = exec::spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        exec::yield_now().await;
        task.abort();
        assert!(dropped.get(), "abort drops at once");
        assert_eq!(task.await, Err(Aborted));
        assert_eq!(exec::task_count(), 0);
    });
}

#[test]
fn a_task_may_abort_itself_and_a_detached_one_runs_on() {
    core(|| async {
        let slot: Rc<RefCell<Option<exec::JoinHandle<()>>>> = Rc::default();
        let own = Rc::clone(&slot);
        let (tx, rx) = oneshot();
        *slot.borrow_mut() = Some(exec::spawn(async move {
            own.borrow().as_ref().unwrap().abort();
            tx.send("still here").unwrap();
            exec::yield_now().await;
            unreachable!("aborted before");
        }));
        assert_eq!(rx.await, Ok("still here"));
        exec::sleep(MS).await;
        let handle = slot.borrow_mut().take().unwrap();
        assert_eq!(handle.await, Err(Aborted));

        let (tx, rx) = oneshot();
        drop(exec::spawn(async move { tx.send(1) }));
        assert_eq!(rx.await, Ok(1));
    });
}

#[test]
fn timers_fire_in_order_and_not_early() {
    core(|| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = exec::now();
        let tasks: Vec<_> = [30u32, 10, 20, 10, 0]
            .into_iter()
            .enumerate()
            .map(|(number, ms)| {
                let order = Rc::clone(&order);
                exec::spawn(async move {
                    exec::sleep(MS * ms).await;
                    assert!(exec::now() - start >= MS * ms);
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [4, 1, 3, 2, 0]);
    });
}

#[test]
fn timeouts() {
    core(|| async {
        assert_eq!(exec::timeout(MS * 1000, async { 3 }).await, Ok(3));
        let start = exec::now();
        assert_eq!(exec::timeout(MS * 5, std::future::pending::<()>()).await, Err(Elapsed));
        assert!(exec::now() - start >= MS * 5);
    });
}

#[test]
fn a_busy_task_starves_nobody() {
    core(|| async {
        let stop = Event::new();
        let seen = stop.clone();
        let busy = exec::spawn(async move {
            let mut turns = 0u64;
            while !seen.is_set() {
                exec::yield_now().await;
                turns += 1;
            }
            turns
        });
        // Needs timers and completions while `busy` is always ready.
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = exec::net::Stream::from_std(a).unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(MS * 5);
            std::io::Write::write_all(&mut &b, b"x").unwrap();
            std::thread::sleep(MS * 20);
        });
        let (n, _) = stream.recv(exec::buf::alloc(16), 0).await;
        assert_eq!(n.unwrap(), 1);
        exec::sleep(MS * 5).await;
        stop.set();
        assert!(busy.await.unwrap() > 100);
    });
}

#[test]
fn local_primitives_wake_across_tasks() {
    core(|| async {
        let (notify, semaphore, log) = (Notify::new(), Semaphore::new(0), Rc::new(RefCell::new(Vec::new())));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let (notify, semaphore, log) = (notify.clone(), semaphore.clone(), Rc::clone(&log));
                exec::spawn(async move {
                    notify.notified().await;
                    semaphore.acquire(number + 1).await.forget();
                    log.borrow_mut().push(number);
                })
            })
            .collect();
        exec::sleep(MS).await;
        notify.notify_waiters();
        exec::sleep(MS).await;
        assert!(log.borrow().is_empty());
        semaphore.release(3);
        exec::sleep(MS).await;
        assert_eq!(*log.borrow(), [0, 1]);
        semaphore.release(3);
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn leftover_tasks_are_dropped_with_the_core() {
    let alive = Rc::new(());
    let inner = Rc::clone(&alive);
    core(|| async move {
        for _ in 0..10 {
            let held = Rc::clone(&inner);
            exec::spawn(async move {
                let stream = exec::sleep(Duration::from_secs(1000));
                let _held = held;
                stream.await;
            });
        }
        exec::yield_now().await;
    });
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn a_panic_leaves_the_thread_usable() {
    let result = std::panic::catch_unwind(|| core(|| async { panic!("on purpose") }));
    assert!(result.is_err());
    let result = std::panic::catch_unwind(|| {
        core(|| async {
            // A task with something in flight, and one that goes on spawning when dropped.
            struct Spawner;
            impl Drop for Spawner {
                fn drop(&mut self) {
                    exec::spawn(exec::sleep(MS));
                }
            }
            let spawner = Spawner;
            exec::spawn(async move {
                let _spawner = spawner;
                exec::sleep(MS * 1000).await;
            });
            exec::spawn(async { panic!("in a task") });
            std::future::pending::<()>().await;
        })
    });
    assert!(result.is_err());
    assert_eq!(core(|| async { 1 }), 1);
}

#[test]
fn random_and_clock() {
    core(|| async {
        let mut bytes = [0; 2000];
        exec::fill_random(&mut bytes);
        assert_ne!(bytes[..1000], bytes[1000..]);
        assert_ne!(exec::random_u64(), exec::random_u64());
        assert!(exec::wall_clock().sec > 1_700_000_000);
    });
}
