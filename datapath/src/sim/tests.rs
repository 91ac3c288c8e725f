//! Determinism, and the network's behaviour under every fault.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{Sim, SimConfig, ip_of, run};
use crate::exec::host::{HostId, spawn_on};
use crate::exec::net::{Addr, Listener, Shutdown, Stream};
use crate::exec::{self, buf, sleep, timeout};

const A: HostId = HostId(1);
const B: HostId = HostId(2);
const C: HostId = HostId(3);
const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn addr(host: HostId) -> Addr {
    Addr::Inet((ip_of(host), 24007).into())
}

/// Echoes on `host` until killed.
fn serve(host: HostId) {
    spawn_on(host, async {
        let listener = Listener::bind(&Addr::Inet("0.0.0.0:24007".parse().unwrap()))
            .await
            .unwrap();
        while let Ok(stream) = listener.accept().await {
            exec::spawn(async move {
                let mut buf = buf::alloc(16 << 10);
                while let (Ok(n @ 1..), back) = stream.recv(buf, 0).await {
                    if stream.send(vec![back.freeze(0..n)]).await.is_err() {
                        return;
                    }
                    buf = buf::alloc(16 << 10);
                }
            });
        }
    });
}

async fn on<F: Future<Output: 'static> + 'static>(host: HostId, future: F) -> F::Output {
    spawn_on(host, future).await.unwrap()
}

async fn connect(from: HostId, to: HostId) -> io::Result<Stream> {
    on(from, async move { Stream::connect(&addr(to)).await }).await
}

async fn round_trip(stream: &Stream, size: usize) -> io::Result<()> {
    let data: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
    let (back, sender) = (data.clone(), stream.clone());
    let sending = exec::spawn(async move { sender.send(vec![Bytes::from(data)]).await });
    let (n, buf) = stream.recv_exact(buf::alloc(size), 0, size).await;
    if n? < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    assert!(buf[..] == back[..], "bytes arrive whole and in order");
    sending.await.unwrap()
}

fn errno(result: io::Result<impl Sized>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).expect("an errno")
}

fn sim<F: Future>(seed: u64, make: impl FnOnce(Sim) -> F) -> F::Output {
    run(SimConfig::new(seed), make).unwrap().0
}

async fn busy_world(sim: Sim) -> u64 {
    for host in [A, B, C] {
        serve(host);
    }
    let rounds = Rc::new(Cell::new(0u64));
    let tasks: Vec<_> = [(A, B), (B, C), (C, A), (A, C)]
        .into_iter()
        .map(|(from, to)| {
            let rounds = Rc::clone(&rounds);
            spawn_on(from, async move {
                for _ in 0..20 {
                    let size = 1 + (exec::random_u64() % 300_000) as usize;
                    let work = async {
                        let stream = Stream::connect(&addr(to)).await?;
                        round_trip(&stream, size).await
                    };
                    if let Ok(Ok(())) = timeout(S, work).await {
                        rounds.set(rounds.get() + 1);
                    }
                    sleep(Duration::from_micros(exec::random_u64() % 5000)).await;
                }
            })
        })
        .collect();
    for fault in 0..6 {
        sleep(MS * 10).await;
        match fault % 3 {
            0 => sim.partition(A, B),
            1 => {
                sim.kill(C);
                serve(C);
            }
            _ => sim.heal(A, B),
        }
    }
    for task in tasks {
        // Tasks of C were killed.
        let _ = task.await;
    }
    rounds.get()
}

#[test]
fn a_seed_is_a_run() {
    let once = |seed| run(SimConfig::new(seed), busy_world).unwrap();
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (rounds, hash) = once(seed);
        assert!(rounds > 10, "seed {seed}: {rounds}");
        assert_eq!((rounds, hash), once(seed), "seed {seed}");
        hashes.insert(hash);
    }
    assert_eq!(hashes.len(), 20, "other seeds are other runs");
}

/// Every fault at random while clients come and go and drop futures half-way; when all is repaired, all works again.
#[test]
fn chaos_then_calm() {
    for seed in 0..40 {
        sim(seed, |sim| async move {
            let hosts = [A, B, C];
            hosts.into_iter().for_each(serve);
            for from in hosts {
                // Played by another machine, so that clients survive the faults.
                let client = HostId(from.0 + 10);
                spawn_on(client, async move {
                    loop {
                        let random = exec::random_u64();
                        let limit = Duration::from_micros(random % 20_000);
                        let work = async {
                            let stream = Stream::connect(&addr(from)).await?;
                            round_trip(&stream, 1 + (random % 100_000) as usize).await?;
                            if random.is_multiple_of(3) {
                                stream.abort();
                            }
                            io::Result::Ok(())
                        };
                        let _ = timeout(limit, work).await;
                        sleep(Duration::from_micros(random % 700)).await;
                    }
                });
            }
            for _ in 0..60 {
                let random = exec::random_u64();
                let (host, client) = (hosts[(random % 3) as usize], HostId(11 + (random >> 8) as u16 % 3));
                match (random >> 32) % 10 {
                    0 => sim.partition(host, client),
                    1 => sim.partition_one_way(host, client),
                    2 => sim.heal(host, client),
                    3 => sim.stop(host),
                    4 => sim.resume(host),
                    5 => sim.reset_connections(host, client),
                    6 => {
                        sim.kill(host);
                        serve(host);
                    }
                    7 => {
                        sim.power_off(host);
                    }
                    8 => {
                        sim.kill(host);
                        sim.power_on(host);
                        serve(host);
                    }
                    _ => sim.set_latency(host, client, Duration::from_micros(random % 9000)),
                }
                sleep(Duration::from_micros(random % 30_000)).await;
            }
            for host in hosts {
                sim.resume(host);
                sim.kill(host);
                sim.power_on(host);
                for client in 11..14 {
                    sim.heal(host, HostId(client));
                }
                serve(host);
            }
            for client in 11..14 {
                sim.kill(HostId(client));
            }
            sleep(S * 100).await;
            for host in hosts {
                for client in 11..14 {
                    let stream = timeout(S, connect(HostId(client), host)).await.unwrap().unwrap();
                    timeout(S * 5, round_trip(&stream, 400_000)).await.unwrap().unwrap();
                }
            }
            // Nothing may be left of all those connections.
            sleep(S).await;
            // Three listeners wait in three tasks; every stream's task has ended.
            assert_eq!(exec::task_count(), 3, "seed {seed}");
            let world = sim.world.borrow();
            assert_eq!(
                (world.endpoints.len(), world.pipes.len(), world.ports.len()),
                (0, 0, 3),
                "seed {seed}"
            );
            assert_eq!(world.pending.len(), 3, "three accepts");
        });
    }
}

#[test]
fn the_log_tells_what_the_hash_covers() {
    let config = SimConfig {
        keep_log: true,
        ..SimConfig::new(3)
    };
    let ((log, count), _) = run(config, |sim| async move {
        serve(B);
        sleep(MS).await;
        round_trip(&connect(A, B).await.unwrap(), 100).await.unwrap();
        (sim.log(), sim.trace_count())
    })
    .unwrap();
    assert_eq!(log.len() as u64, count);
    assert!(log.iter().any(|line| line.contains("connect 1 -> 2")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("data 2 -> 1")), "{log:?}");
}

#[test]
fn time_jumps() {
    let real = std::time::Instant::now();
    sim(0, |sim| async move {
        let start = (exec::now(), exec::wall_clock());
        sleep(S * 3600).await;
        assert_eq!(exec::now() - start.0, S * 3600);
        assert_eq!(exec::wall_clock().sec - start.1.sec, 3600);
        assert_eq!(sim.elapsed(), S * 3600);
        // A task that spins sees time pass as well.
        let until = exec::now() + MS;
        while exec::now() < until {
            exec::yield_now().await;
        }
    });
    assert!(real.elapsed() < S * 30);
}

#[test]
fn latency_is_the_links() {
    sim(1, |sim| async move {
        serve(B);
        sim.set_latency(A, B, MS * 50);
        sleep(MS).await;
        let start = exec::now();
        let stream = connect(A, B).await.unwrap();
        assert!(
            (100..101).contains(&(exec::now() - start).as_millis()),
            "{:?}",
            exec::now() - start
        );
        round_trip(&stream, 10).await.unwrap();
        assert!((200..202).contains(&(exec::now() - start).as_millis()));
    });
}

#[test]
fn addresses() {
    sim(1, |_| async move {
        serve(B);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        assert_eq!(stream.peer(), &addr(B));
        let Addr::Inet(local) = stream.local() else {
            panic!("not inet")
        };
        assert_eq!(local.ip(), ip_of(A));
        on(B, async {
            let own = Stream::connect(&Addr::Inet("127.0.0.1:24007".parse().unwrap()))
                .await
                .unwrap();
            round_trip(&own, 10).await.unwrap();
            let taken = Listener::bind(&Addr::Inet("0.0.0.0:24007".parse().unwrap())).await;
            assert_eq!(errno(taken), libc::EADDRINUSE);
            assert_eq!(errno(Listener::bind(&addr(A)).await), libc::EADDRNOTAVAIL);
            let nowhere = Addr::Inet("192.0.2.1:1".parse().unwrap());
            assert_eq!(errno(Stream::connect(&nowhere).await), libc::EHOSTUNREACH);
            let unix = Addr::Unix("/run/x.socket".into());
            assert_eq!(errno(Stream::connect(&unix).await), libc::ENOENT);
            let listener = Listener::bind(&unix).await.unwrap();
            let accepting = exec::spawn(async move { listener.accept().await.unwrap() });
            let (client, server) = (Stream::connect(&unix).await.unwrap(), accepting.await.unwrap());
            client.send(vec![Bytes::from_static(b"hi")]).await.unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert!(client.send(vec![Bytes::from_static(b"hi")]).await.is_err());
            let (n, _) = server.recv_exact(buf::alloc(10), 0, 10).await;
            assert_eq!(n.unwrap(), 2, "the end comes after the data");
        })
        .await;
        // Paths belong to their host.
        let elsewhere = on(A, async { Stream::connect(&Addr::Unix("/run/x.socket".into())).await }).await;
        assert_eq!(errno(elsewhere), libc::ENOENT);
    });
}

#[test]
fn refused_without_listener_and_after_a_kill() {
    sim(2, |sim| async move {
        assert_eq!(errno(connect(A, B).await), libc::ECONNREFUSED);
        serve(B);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        round_trip(&stream, 1000).await.unwrap();
        assert!(sim.kill(B) >= 2);
        let (n, _) = timeout(S, stream.recv(buf::alloc(10), 0)).await.unwrap();
        assert_eq!(errno(n), libc::ECONNRESET);
        assert_eq!(
            errno(stream.send(vec![Bytes::from_static(b"x")]).await),
            libc::ECONNRESET
        );
        assert_eq!(errno(connect(A, B).await), libc::ECONNREFUSED);
        serve(B);
        sleep(MS).await;
        round_trip(&connect(A, B).await.unwrap(), 1000).await.unwrap();
    });
}

#[test]
fn a_partition_holds_and_delivers_later() {
    sim(3, |sim| async move {
        serve(B);
        serve(C);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        sim.partition(A, B);
        let late = stream.clone();
        let pending = exec::spawn(async move { round_trip(&late, 500_000).await });
        assert!(timeout(S * 5, connect(A, B)).await.is_err());
        assert!(!pending.is_finished());
        round_trip(&connect(A, C).await.unwrap(), 100).await.unwrap();
        sim.heal(A, B);
        timeout(S * 60, pending).await.unwrap().unwrap().unwrap();
        round_trip(&connect(A, B).await.unwrap(), 100).await.unwrap();
        // Nobody heals this one.
        sim.partition(A, B);
        let start = exec::now();
        assert_eq!(errno(connect(A, B).await), libc::ETIMEDOUT);
        assert_eq!((exec::now() - start).as_secs(), 127);
    });
}

#[test]
fn one_way_partitions_and_user_timeouts() {
    sim(4, |sim| async move {
        serve(B);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        stream.set_user_timeout(S * 2).unwrap();
        sim.partition_one_way(B, A);
        stream.send(vec![Bytes::from_static(b"no answer")]).await.unwrap();
        assert!(
            timeout(S * 10, stream.recv(buf::alloc(10), 0)).await.is_err(),
            "our data is acknowledged"
        );
        sim.partition(A, B);
        let start = exec::now();
        stream.send(vec![Bytes::from_static(b"lost")]).await.unwrap();
        let (n, _) = timeout(S * 10, stream.recv(buf::alloc(10), 0)).await.unwrap();
        assert_eq!(errno(n), libc::ETIMEDOUT);
        assert_eq!((exec::now() - start).as_secs(), 2);
    });
}

#[test]
fn a_stopped_host_accepts_and_is_silent() {
    sim(5, |sim| async move {
        serve(B);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        sim.stop(B);
        let second = connect(A, B).await.unwrap();
        let data = Bytes::from(vec![1; 100_000]);
        stream.send(vec![data.clone()]).await.unwrap();
        assert!(timeout(S * 100, stream.recv(buf::alloc(10), 0)).await.is_err());
        let flood = Bytes::from(vec![0; 1 << 20]);
        assert!(
            timeout(S, second.send(vec![flood])).await.is_err(),
            "windows are finite"
        );
        sim.resume(B);
        let (n, buf) = timeout(S, stream.recv_exact(buf::alloc(100_000), 0, 100_000))
            .await
            .unwrap();
        assert_eq!(n.unwrap(), 100_000);
        assert!(buf[..] == data[..]);
    });
}

#[test]
fn power_loss_is_noticed_only_by_silence_or_the_return() {
    sim(6, |sim| async move {
        serve(B);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        sim.power_off(B);
        stream.send(vec![Bytes::from_static(b"anyone?")]).await.unwrap();
        assert!(timeout(S * 100, stream.recv(buf::alloc(10), 0)).await.is_err());
        assert!(timeout(S, connect(A, B)).await.is_err());
        sim.power_on(B);
        serve(B);
        let (n, _) = timeout(S * 60, stream.recv(buf::alloc(10), 0)).await.unwrap();
        assert_eq!(errno(n), libc::ECONNRESET);
        round_trip(&connect(A, B).await.unwrap(), 10).await.unwrap();
    });
}

#[test]
fn abort_and_close() {
    sim(7, |sim| async move {
        let accepted = spawn_on(B, async {
            let listener = Listener::bind(&addr(B)).await.unwrap();
            (
                listener.accept().await.unwrap(),
                listener.accept().await.unwrap(),
                listener,
            )
        });
        sleep(MS).await;
        let (first, second) = (connect(A, B).await.unwrap(), connect(A, B).await.unwrap());
        let (one, two, _listener) = accepted.await.unwrap();
        let reader = first.clone();
        let reading = exec::spawn(async move { reader.recv(buf::alloc(10), 0).await.0 });
        sleep(MS).await;
        first.abort();
        assert!(reading.await.unwrap().is_err());
        assert_eq!(errno(one.recv(buf::alloc(10), 0).await.0), libc::ECONNRESET);
        // An orderly close delivers everything first.
        second.send(vec![Bytes::from(vec![7; 200_000])]).await.unwrap();
        drop(second);
        let (n, _) = two.recv_exact(buf::alloc(300_000), 0, 300_000).await;
        assert_eq!(n.unwrap(), 200_000);
        // Who closed answers with a reset.
        two.send(vec![Bytes::from_static(b"x")]).await.unwrap();
        assert_eq!(
            errno(
                async { two.recv(buf::alloc(10), 0).await.0 }
                    .await
                    .and_then(|n| match n {
                        0 => Err(io::Error::from_raw_os_error(0)),
                        n => Ok(n),
                    })
            ),
            0,
            "the end, read before the reset"
        );
        sleep(MS * 10).await;
        assert_eq!(errno(two.send(vec![Bytes::from_static(b"x")]).await), libc::ECONNRESET);
        sim.reset_connections(A, B);
    });
}

#[test]
fn mistakes_are_refused() {
    sim(8, |_| async move {
        serve(B);
        sleep(MS).await;
        let stream = connect(A, B).await.unwrap();
        let other = stream.clone();
        let reading = exec::spawn(async move { other.recv(buf::alloc(10), 0).await.0 });
        sleep(MS).await;
        assert_eq!(errno(stream.recv(buf::alloc(10), 0).await.0), libc::EBUSY);
        // A dropped receive makes room for the next.
        reading.abort();
        round_trip(&stream, 10).await.unwrap();
    });
}

#[test]
#[should_panic(expected = "nothing is left to happen")]
fn a_deadlock_is_an_error() {
    sim(9, |_| async {
        std::future::pending::<()>().await;
    });
}

#[test]
fn files_are_real_and_disks_hang() {
    sim(10, |sim| async move {
        let path = std::env::temp_dir().join(format!("ringluster-sim-{}", std::process::id()));
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(path).unwrap();
        let fd = std::sync::Arc::new(std::os::fd::OwnedFd::from(file));
        assert_eq!(
            exec::file::write_at(&fd, 3, Bytes::from_static(b"abc")).await.unwrap(),
            3
        );
        exec::file::fsync(&fd, false).await.unwrap();
        let (n, buf) = exec::file::read_at(&fd, 2, buf::alloc(100), 100).await;
        assert_eq!((n.unwrap(), &buf[..4]), (4, &b"\0abc"[..]));
        sim.hang_disk(A);
        let held = std::sync::Arc::clone(&fd);
        let hanging = spawn_on(
            A,
            async move { exec::file::read_at(&held, 0, buf::alloc(10), 10).await.0 },
        );
        sleep(S).await;
        assert!(!hanging.is_finished());
        exec::file::fsync(&fd, true).await.unwrap();
        sim.resume_disk(A);
        assert_eq!(hanging.await.unwrap().unwrap(), 6);
    });
}
