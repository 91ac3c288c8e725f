//! Streams over TCP and unix sockets of the kernel.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;

use super::core;
use crate::exec::buf::{self, PageBuf};
use crate::exec::net::{Addr, Listener, Shutdown, Stream};
use crate::exec::{self, sleep, timeout};

const MS: Duration = Duration::from_millis(1);

fn any_port() -> Addr {
    Addr::Inet("127.0.0.1:0".parse().unwrap())
}

async fn pair(addr: &Addr) -> (Stream, Stream) {
    let listener = Listener::bind(addr).await.unwrap();
    let (client, server) = join(Stream::connect(listener.local()), listener.accept()).await;
    (client.unwrap(), server.unwrap())
}

async fn receive_all(stream: &Stream, total: usize) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = buf::alloc(64 << 10);
    while got.len() < total {
        let (n, back) = stream.recv(buf, 100).await;
        buf = back;
        match n.unwrap() {
            0 => break,
            n => got.extend_from_slice(&buf[100..100 + n]),
        }
    }
    got
}

async fn echo(addr: Addr) {
    let (client, server) = pair(&addr).await;
    assert_eq!(client.peer(), server.local());
    let task = exec::spawn(async move {
        let mut buf = buf::alloc(4096);
        loop {
            let (n, back) = server.recv(buf, 0).await;
            let n = n.unwrap();
            if n == 0 {
                return;
            }
            server.send(vec![Bytes::copy_from_slice(&back[..n])]).await.unwrap();
            buf = back;
        }
    });
    for i in 0..100u32 {
        client
            .send(vec![
                Bytes::from_static(b"ab"),
                Bytes::new(),
                Bytes::copy_from_slice(&i.to_be_bytes()),
            ])
            .await
            .unwrap();
        let (n, buf) = client.recv_exact(buf::alloc(10), 1, 6).await;
        assert_eq!(n.unwrap(), 6);
        assert_eq!((&buf[1..3], &buf[3..7]), (&b"ab"[..], &i.to_be_bytes()[..]));
    }
    client.shutdown(Shutdown::Write).unwrap();
    let (n, _) = client.recv(buf::alloc(10), 0).await;
    assert_eq!(n.unwrap(), 0);
    task.await.unwrap();
}

#[test]
fn echo_over_tcp() {
    core(|| echo(any_port()));
}

#[test]
fn echo_over_unix_and_stale_socket_files() {
    let dir = std::env::temp_dir().join(format!("ringluster-exec-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let addr = Addr::Unix(dir.join("sock"));
    core(|| async {
        echo(addr.clone()).await;
        // The first listener left its file behind; the second takes it over, the third finds it in use.
        let listener = Listener::bind(&addr).await.unwrap();
        assert_eq!(listener.local(), &addr);
        assert_eq!(
            Listener::bind(&addr).await.unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(listener);
        assert_eq!(
            Stream::connect(&addr).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    });
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn large_sends_arrive_in_order() {
    core(|| async {
        let (client, server) = pair(&any_port()).await;
        let mut large = buf::alloc(1 << 20);
        for (i, byte) in large.iter_mut().enumerate() {
            *byte = (i % 251) as u8;
        }
        let large = large.freeze(0..1 << 20);
        // More buffers than one message takes.
        let small: Vec<Bytes> = large.chunks(500).map(Bytes::copy_from_slice).collect();
        assert!(small.len() > 1024);
        let (whole, parts) = (large.clone(), large.clone());
        let task = exec::spawn(async move {
            client
                .send(vec![whole.slice(..1000), whole.slice(1000..)])
                .await
                .unwrap();
            client.send(small).await.unwrap();
        });
        let got = receive_all(&server, 2 << 20).await;
        task.await.unwrap();
        assert_eq!(got.len(), 2 << 20);
        assert!(got[..1 << 20] == parts[..] && got[1 << 20..] == parts[..]);
    });
}

#[test]
fn abort_resets_the_peer_and_ends_what_is_in_flight() {
    core(|| async {
        let (client, server) = pair(&any_port()).await;
        let reader = client.clone();
        let reading = exec::spawn(async move { reader.recv(buf::alloc(100), 0).await.0 });
        let writer = client.clone();
        let writing = exec::spawn(async move { writer.send(vec![Bytes::from(vec![0; 64 << 20])]).await });
        sleep(MS * 5).await;
        assert!(!reading.is_finished() && !writing.is_finished());
        client.abort();
        timeout(MS * 1000, async {
            assert!(reading.await.unwrap().is_err());
            assert!(writing.await.unwrap().is_err());
        })
        .await
        .unwrap();
        // While `client` still exists: the reset does not wait for the last handle.
        let mut buf = buf::alloc(64 << 10);
        let error = loop {
            let (n, back) = timeout(MS * 1000, server.recv(buf, 0)).await.unwrap();
            buf = back;
            match n {
                Ok(0) => panic!("an orderly end instead of a reset"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
        drop(client);
    });
}

#[test]
fn abort_of_a_unix_stream_ends_it() {
    core(|| async {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let (a, b) = (Stream::from_std(a).unwrap(), Stream::from_std(b).unwrap());
        let reader = a.clone();
        let reading = exec::spawn(async move { reader.recv(buf::alloc(100), 0).await.0 });
        sleep(MS).await;
        a.abort();
        timeout(MS * 1000, reading).await.unwrap().unwrap().ok();
        assert_eq!(
            timeout(MS * 1000, b.recv(buf::alloc(10), 0)).await.unwrap().0.unwrap(),
            0
        );
    });
}

#[test]
fn a_dropped_receive_keeps_its_buffer_until_the_kernel_lets_go() {
    core(|| async {
        let (client, server) = pair(&any_port()).await;
        // All of the arena, so that only a returned buffer can come from it again.
        let buf = buf::alloc(1 << 20);
        assert!(buf.in_arena());
        let receive = Box::pin(server.recv(buf, 0));
        assert!(timeout(MS * 2, receive).await.is_err());
        assert!(!buf::alloc(4096).in_arena(), "still the kernel's");
        sleep(MS * 10).await;
        assert!(buf::alloc(1 << 20).in_arena(), "returned with the completion");
        // The stream works on.
        client.send(vec![Bytes::from_static(b"later")]).await.unwrap();
        assert_eq!(receive_all(&server, 5).await, b"later");
    });
}

#[test]
fn a_dropped_accept_or_connect_leaks_no_socket() {
    let open_fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    core(|| async {
        let listener = Listener::bind(&any_port()).await.unwrap();
        for _ in 0..20 {
            let accepting = listener.accept();
            assert!(timeout(Duration::ZERO, accepting).await.is_err());
            let stream = Stream::connect(listener.local()).await.unwrap();
            let accepted = timeout(MS * 1000, listener.accept()).await;
            // Either the dropped accept had taken it (then it is closed) or this one did; no hang, no leak.
            drop((stream, accepted));
        }
        // Addresses that never answer: the attempt ends with the future.
        let nowhere = Addr::Inet("192.0.2.1:9".parse().unwrap());
        let _ = timeout(MS * 5, Stream::connect(&nowhere)).await;
        sleep(MS * 20).await;
    });
    // Other tests of this process open and close descriptors too; a leak of 20 or more would stand out.
    assert!(open_fds() < 500);
}

#[test]
fn refused_and_malformed() {
    core(|| async {
        let listener = Listener::bind(&any_port()).await.unwrap();
        let addr = listener.local().clone();
        drop(listener);
        assert_eq!(
            Stream::connect(&addr).await.unwrap_err().raw_os_error(),
            Some(libc::ECONNREFUSED)
        );
        let long = Addr::Unix("x".repeat(200).into());
        assert_eq!(
            Stream::connect(&long).await.unwrap_err().raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );
        assert_eq!(
            Listener::bind(&long).await.unwrap_err().raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );
        let missing = Addr::Unix("/nonexistent/ringluster".into());
        assert_eq!(
            Stream::connect(&missing).await.unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        let (client, server) = pair(&any_port()).await;
        assert!(
            client.recv_some(buf::alloc(10), 5, 6).await.0.is_err(),
            "beyond the buffer"
        );
        assert_eq!(client.recv(buf::alloc(10), 10).await.0.unwrap(), 0);
        drop(client);
        assert_eq!(server.recv(buf::alloc(10), 0).await.0.unwrap(), 0);
        // Writing to a closed peer: EPIPE or ECONNRESET as an error, not a signal.
        let mut failed = false;
        for _ in 0..10 {
            failed |= server.send(vec![Bytes::from_static(b"x")]).await.is_err();
            sleep(MS).await;
        }
        assert!(failed);
    });
}

#[test]
fn options_and_foreign_sockets() {
    core(|| async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = Listener::from_std(listener).unwrap();
        let (client, server) = join(Stream::connect(listener.local()), listener.accept()).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        client
            .set_keepalive(Duration::from_secs(20), Duration::from_secs(2), 9)
            .unwrap();
        client.set_user_timeout(Duration::from_secs(42)).unwrap();
        assert!(
            Stream::from_std(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).is_err(),
            "not connected"
        );
        let std = std::net::TcpStream::from(client.as_fd().unwrap().try_clone_to_owned().unwrap());
        assert!(std.nodelay().unwrap());
        std.set_nonblocking(true).unwrap();
        let again = Stream::from_std(std).unwrap();
        server.send(vec![Bytes::from_static(b"hello")]).await.unwrap();
        assert_eq!(receive_all(&again, 5).await, b"hello");
    });
}

/// More in flight than the submission queue has entries, and buffers beyond the arena.
#[test]
fn many_in_flight() {
    core(|| async {
        let listener = Listener::bind(&any_port()).await.unwrap();
        let mut readers = Vec::new();
        let mut writers = Vec::new();
        for _ in 0..150 {
            let (client, server) = join(Stream::connect(listener.local()), listener.accept()).await;
            writers.push(client.unwrap());
            let server = server.unwrap();
            readers.push(exec::spawn(async move {
                let (n, buf): (_, PageBuf) = server.recv_exact(buf::alloc(20_000), 0, 20_000).await;
                assert_eq!(n.unwrap(), 20_000);
                (buf.in_arena(), buf[0], buf[19_999])
            }));
        }
        exec::yield_now().await;
        for (i, writer) in writers.iter().enumerate() {
            let writer = writer.clone();
            exec::spawn(async move { writer.send(vec![Bytes::from(vec![i as u8; 20_000])]).await });
        }
        let mut outside = 0;
        for (i, reader) in readers.into_iter().enumerate() {
            let (in_arena, first, last) = reader.await.unwrap();
            assert_eq!((first, last), (i as u8, i as u8));
            outside += usize::from(!in_arena);
        }
        assert!(outside > 0, "150 times 5 pages do not fit 256 pages");
    });
}

/// Futures dropped at any moment: no buffer is lost, nothing hangs, the core stops cleanly.
#[test]
fn dropping_futures_at_random() {
    core(|| async {
        let listener = Listener::bind(&any_port()).await.unwrap();
        let accepting = exec::spawn(async move {
            loop {
                let stream = listener.accept().await.unwrap();
                exec::spawn(async move {
                    let mut buf = buf::alloc(8192);
                    loop {
                        let (n, back) = stream.recv(buf, 0).await;
                        let Ok(n @ 1..) = n else { return };
                        let reply = back.freeze(0..n);
                        if stream.send(vec![reply]).await.is_err() {
                            return;
                        }
                        buf = buf::alloc(8192);
                    }
                });
            }
        });
        sleep(MS).await;
        let listener = Listener::bind(&any_port()).await.unwrap();
        drop(listener);
        accepting.abort();
        let listener = Listener::bind(&any_port()).await.unwrap();
        let addr = listener.local().clone();
        let serving = exec::spawn(async move {
            while let Ok(stream) = listener.accept().await {
                exec::spawn(async move {
                    let mut buf = buf::alloc(8192);
                    while let (Ok(n @ 1..), back) = stream.recv(buf, 0).await {
                        let _ = timeout(MS, stream.send(vec![back.freeze(0..n)])).await;
                        buf = buf::alloc(8192);
                    }
                });
            }
        });
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let addr = addr.clone();
            tasks.push(exec::spawn(async move {
                for _ in 0..60 {
                    let micros = |most: u64| Duration::from_micros(exec::random_u64() % most);
                    let Ok(Ok(stream)) = timeout(micros(2000), Stream::connect(&addr)).await else {
                        continue;
                    };
                    for _ in 0..5 {
                        let data = Bytes::from(vec![1; (exec::random_u64() % 100_000) as usize]);
                        let _ = timeout(micros(500), stream.send(vec![data])).await;
                        let _ = timeout(micros(500), stream.recv(buf::alloc(8192), 0)).await;
                    }
                    if exec::random_u64().is_multiple_of(2) {
                        stream.abort();
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        serving.abort();
        timeout(MS * 5000, async {
            while exec::task_count() > 0 || !buf::alloc(1 << 20).in_arena() {
                sleep(MS).await;
            }
        })
        .await
        .expect("all connections end and the whole arena is free again");
    });
}
