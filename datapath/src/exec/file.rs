//! File data through the ring: what waits for a disk. Metadata calls and page-cache hits are cheaper as direct system
//! calls (`sys::fs`), since the ring hands most of those to worker threads.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::buf::{self, PageBuf};
use super::driver::{Completion, Op, Payload};
use super::op::submit;

/// Result and buffer of a completion that lent one.
pub(super) fn with_buffer(completion: Completion) -> (io::Result<usize>, PageBuf) {
    match completion.payload {
        Payload::Buf(buf) => (completion.result, buf),
        // Cannot happen with a correct driver; an empty buffer cannot be mistaken for data.
        Payload::None | Payload::Connected(_) | Payload::Fuse(_) => {
            (Err(io::Error::other("the driver lost the buffer")), buf::alloc(0))
        }
    }
}

/// Reads up to `len` bytes (capped at the buffer's length) at byte `offset` into the start of `buf`; 0 is the end.
///
/// # Errors
/// Those of pread(2). The buffer always comes back.
pub async fn read_at(fd: &Arc<OwnedFd>, offset: u64, buf: PageBuf, len: usize) -> (io::Result<usize>, PageBuf) {
    let len = len.min(buf.len());
    with_buffer(
        submit(Op::Read {
            fd: Arc::clone(fd),
            offset: Some(offset),
            buf,
            len,
        })
        .await,
    )
}

/// Reads from a descriptor that has no positions: a pipe, a device.
///
/// # Errors
/// Those of read(2). The buffer always comes back.
pub async fn read_stream(fd: &Arc<OwnedFd>, buf: PageBuf) -> (io::Result<usize>, PageBuf) {
    let len = buf.len();
    with_buffer(
        submit(Op::Read {
            fd: Arc::clone(fd),
            offset: None,
            buf,
            len,
        })
        .await,
    )
}

/// Writes all of `data` at byte `offset`. Dropping the future does not undo what was written.
///
/// # Errors
/// Those of pwrite(2), if nothing could be written; after a part, the number of bytes that were.
pub async fn write_at(fd: &Arc<OwnedFd>, offset: u64, data: Bytes) -> io::Result<usize> {
    write_all(fd, offset, data, false).await
}

/// Like [`write_at`], and returns only when this data is durable (`RWF_DSYNC`).
///
/// # Errors
/// As [`write_at`].
pub async fn write_at_dsync(fd: &Arc<OwnedFd>, offset: u64, data: Bytes) -> io::Result<usize> {
    write_all(fd, offset, data, true).await
}

async fn write_all(fd: &Arc<OwnedFd>, offset: u64, mut data: Bytes, dsync: bool) -> io::Result<usize> {
    let mut written = 0;
    while data.has_remaining() {
        let at = Some(offset + written as u64);
        match submit(Op::Write {
            fd: Arc::clone(fd),
            offset: at,
            data: data.clone(),
            dsync,
        })
        .await
        .result
        {
            Ok(0) => break,
            Ok(n) => {
                data.advance(n);
                written += n;
            }
            Err(error) if written == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(written)
}

/// Makes the file durable; `datasync` leaves out metadata that reading back does not need.
///
/// # Errors
/// Those of fsync(2): `EIO`, `ENOSPC`, `EDQUOT`...
pub async fn fsync(fd: &Arc<OwnedFd>, datasync: bool) -> io::Result<()> {
    submit(Op::Fsync {
        fd: Arc::clone(fd),
        datasync,
    })
    .await
    .result
    .map(drop)
}

/// Waits until `fd` is ready for any of `events` (poll(2) bits); gives the bits that are set.
///
/// # Errors
/// Those of poll(2).
pub async fn poll(fd: &Arc<OwnedFd>, events: u32) -> io::Result<u32> {
    let bits = submit(Op::Poll {
        fd: Arc::clone(fd),
        events,
    })
    .await
    .result?;
    Ok(u32::try_from(bits).unwrap_or(u32::MAX))
}
