//! File operations through the ring.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::core;
use crate::exec::{self, buf, file};

fn temporary() -> Arc<OwnedFd> {
    let name = format!("ringluster-file-{}-{:p}", std::process::id(), &());
    let path = std::env::temp_dir().join(format!("{name}-{:?}", std::thread::current().id()));
    let open = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    Arc::new(open.into())
}

#[test]
fn write_read_sync() {
    core(|| async {
        let fd = temporary();
        assert_eq!(file::write_at(&fd, 10, Bytes::from_static(b"hello")).await.unwrap(), 5);
        let mut own = buf::alloc(4096);
        own.fill(9);
        assert!(own.in_arena());
        assert_eq!(file::write_at_dsync(&fd, 15, own.freeze(0..4000)).await.unwrap(), 4000);
        file::fsync(&fd, true).await.unwrap();
        file::fsync(&fd, false).await.unwrap();
        for buf in [buf::alloc(8192), buf::alloc(4 << 20)] {
            let (n, buf) = file::read_at(&fd, 8, buf, 8192).await;
            assert_eq!(n.unwrap(), 4007);
            assert_eq!((&buf[..7], buf[4006]), (&b"\0\0hello"[..], 9));
        }
        let (n, _) = file::read_at(&fd, 4015, buf::alloc(10), 10).await;
        assert_eq!(n.unwrap(), 0, "the end");
        assert_eq!(file::write_at(&fd, 0, Bytes::new()).await.unwrap(), 0);
    });
}

#[test]
fn errors_bring_the_buffer_back() {
    core(|| async {
        let read_only: Arc<OwnedFd> = Arc::new(std::fs::File::open("/proc/self/exe").unwrap().into());
        let error = file::write_at(&read_only, 0, Bytes::from_static(b"x"))
            .await
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let directory: Arc<OwnedFd> = Arc::new(std::fs::File::open("/proc").unwrap().into());
        let (n, buf) = file::read_at(&directory, 0, buf::alloc(100), 100).await;
        assert_eq!(n.unwrap_err().raw_os_error(), Some(libc::EISDIR));
        assert_eq!(buf.len(), 100);
    });
}

#[test]
fn pipes_and_poll() {
    core(|| async {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader: Arc<OwnedFd> = Arc::new(reader.into());
        let writer: Arc<OwnedFd> = Arc::new(writer.into());
        let wanted = libc::POLLIN as u32;
        assert!(
            exec::timeout(Duration::from_millis(2), file::poll(&reader, wanted))
                .await
                .is_err()
        );
        std::io::Write::write_all(&mut std::fs::File::from(writer.try_clone().unwrap()), b"abc").unwrap();
        assert_eq!(file::poll(&reader, wanted).await.unwrap() & wanted, wanted);
        let (n, buf) = file::read_stream(&reader, buf::alloc(10)).await;
        assert_eq!((n.unwrap(), &buf[..3]), (3, &b"abc"[..]));
        drop(writer);
        assert_eq!(file::read_stream(&reader, buf).await.0.unwrap(), 0);
    });
}
