//! POSIX locks of a client whose machine vanishes, or only stops.

use std::rc::Rc;

use datapath::client::{Fd, LkOp, Volume};
use datapath::errno::FsResult;
use datapath::exec::host::{HostId, scope, spawn_on};
use datapath::exec::{self, JoinHandle, sleep};
use datapath::wire::Gfid;
use datapath::wire::fop::{Flock, LockType};

use super::world::{CLIENT, CRASHING, SECOND, World, caller};
use super::*;

/// A client with a file of everybody's open.
#[derive(Clone)]
struct Locker {
    on: HostId,
    volume: Volume,
    fd: Fd,
}

impl Locker {
    async fn new(world: &World, on: HostId, name: &str, gfid: Gfid) -> Locker {
        let volume = scope(on, world.client(on, name)).await;
        let opened = scope(on, volume.open(&caller(), gfid, libc::O_RDWR as u32)).await;
        let fd = opened.expect("open");
        Locker { on, volume, fd }
    }

    async fn lock(&self, op: LkOp, start: u64, kind: LockType) -> FsResult<()> {
        let lock = Flock {
            kind: kind.to_wire(),
            start,
            len: 10,
            pid: 1000,
            ..Flock::default()
        };
        let who = caller();
        scope(self.on, self.volume.lk(&who, &self.fd, op, &lock))
            .await
            .map(drop)
    }

    /// Waits for the lock in a task of its own.
    fn wait(&self, start: u64) -> JoinHandle<FsResult<()>> {
        let me = self.clone();
        spawn_on(
            self.on,
            async move { me.lock(LkOp::SetWait, start, LockType::Write).await },
        )
    }
}

async fn shared_file(world: &World) -> (Rc<Volume>, Gfid) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    let flags = libc::O_RDWR as u32;
    let made = scope(CLIENT, volume.create(&caller(), Gfid::ROOT, b"locked", flags, 0o644)).await;
    let (iatt, fd) = made.expect("create");
    volume.release(fd);
    (Rc::new(volume), iatt.gfid)
}

/// How long the lock of a machine that has vanished may keep others waiting: each brick asks the holder twice a second
/// and gives it one and a half.
const LIMIT: Duration = Duration::from_millis(2500);

async fn the_holder_loses_its_power(world: World) {
    let (_maker, gfid) = shared_file(&world).await;
    let holder = Locker::new(&world, CRASHING, "holder", gfid).await;
    let waiter = Locker::new(&world, SECOND, "waiter", gfid).await;
    holder.lock(LkOp::Set, 0, LockType::Write).await.expect("it is free");
    let waiting = waiter.wait(5);
    // Long enough that nothing the holder sent is on its way any more.
    sleep(Duration::from_secs(20)).await;
    assert!(!waiting.is_finished(), "the holder lives");
    world.sim.power_off(CRASHING);
    let vanished = exec::now();
    waiting.await.expect("the task ends").expect("the lock is granted");
    let took = exec::now() - vanished;
    println!("granted {took:?} after the holder vanished");
    assert!(took <= LIMIT, "granted {took:?} after the holder vanished");
    waiter.lock(LkOp::Set, 5, LockType::Unlock).await.expect("unlock");
    waiter
        .lock(LkOp::Set, 0, LockType::Write)
        .await
        .expect("nobody holds it");
}

#[test]
fn who_waits_for_a_record_lock_gets_it_when_the_holder_vanishes() {
    if possible() {
        for seed in seeds().into_iter().take(3) {
            simulate(seed, the_holder_loses_its_power);
        }
    }
}

/// Trying again and again gets there, too, and is refused at once each time before.
async fn the_holder_vanishes_unwaited_for(world: World) {
    let (_maker, gfid) = shared_file(&world).await;
    let holder = Locker::new(&world, CRASHING, "holder", gfid).await;
    let other = Locker::new(&world, SECOND, "other", gfid).await;
    holder.lock(LkOp::Set, 0, LockType::Write).await.expect("it is free");
    sleep(Duration::from_secs(20)).await;
    world.sim.power_off(CRASHING);
    let mut tries = 0;
    loop {
        let began = exec::now();
        let tried = other.lock(LkOp::Set, 0, LockType::Write).await;
        let took = exec::now() - began;
        assert!(took < Duration::from_millis(500), "answered after {took:?}");
        tries += 1;
        match tried {
            Ok(()) => break,
            Err(e) => assert_eq!(e, Errno::EAGAIN),
        }
        assert!(tries < 40, "never granted");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(tries > 1, "the lock was not held");
}

#[test]
fn who_tries_for_a_record_lock_gets_it_when_the_holder_has_vanished() {
    if possible() {
        for seed in seeds().into_iter().take(3) {
            simulate(seed, the_holder_vanishes_unwaited_for);
        }
    }
}

/// A holder whose process is stopped, or whose network is slow, keeps its lock; who tries is refused at once.
async fn the_holder_is_slow(world: World) {
    let (_maker, gfid) = shared_file(&world).await;
    let holder = Locker::new(&world, CRASHING, "holder", gfid).await;
    let waiter = Locker::new(&world, SECOND, "waiter", gfid).await;
    holder.lock(LkOp::Set, 0, LockType::Write).await.expect("it is free");
    let waiting = waiter.wait(0);
    let third = Locker::new(&world, CLIENT, "third", gfid).await;
    world.sim.stop(CRASHING);
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        let began = exec::now();
        assert_eq!(third.lock(LkOp::Set, 0, LockType::Write).await, Err(Errno::EAGAIN));
        let took = exec::now() - began;
        assert!(took < Duration::from_millis(500), "refused after {took:?}");
        // Other bytes of the file are free.
        third
            .lock(LkOp::Set, 100, LockType::Write)
            .await
            .expect("nobody holds them");
    }
    assert!(!waiting.is_finished(), "a stopped holder keeps its lock");
    world.sim.resume(CRASHING);
    (0..BRICKS).for_each(|brick| world.sim.set_latency(CRASHING, host(brick), Duration::from_millis(400)));
    sleep(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished(), "a slow holder keeps its lock");
    holder.lock(LkOp::Set, 0, LockType::Unlock).await.expect("unlock");
    waiting.await.expect("the task ends").expect("the lock is granted");
}

#[test]
fn a_slow_holder_keeps_its_record_lock() {
    if possible() {
        for seed in seeds().into_iter().take(3) {
            simulate(seed, the_holder_is_slow);
        }
    }
}

/// A holder that is cut off from some bricks loses the lock there and nowhere else: nobody else gets it.
async fn the_holder_is_cut_off_from_some(world: World) {
    let (_maker, gfid) = shared_file(&world).await;
    let holder = Locker::new(&world, CRASHING, "holder", gfid).await;
    let waiter = Locker::new(&world, SECOND, "waiter", gfid).await;
    holder.lock(LkOp::Set, 0, LockType::Write).await.expect("it is free");
    (0..2).for_each(|brick| world.sim.partition(CRASHING, host(brick)));
    let waiting = waiter.wait(0);
    sleep(Duration::from_secs(15)).await;
    assert!(!waiting.is_finished(), "the other bricks know the holder");
    holder.lock(LkOp::Set, 0, LockType::Unlock).await.expect("unlock");
    waiting.await.expect("the task ends").expect("the lock is granted");
}

#[test]
fn a_record_lock_is_held_as_long_as_one_brick_knows_it() {
    if possible() {
        for seed in seeds().into_iter().take(3) {
            simulate(seed, the_holder_is_cut_off_from_some);
        }
    }
}
