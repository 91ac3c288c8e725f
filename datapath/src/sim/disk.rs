//! File operations of the simulation: done at once on the real descriptor, completed later.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use super::world::{Event, Pending, World};
use crate::exec::driver::{Completion, Key, Op, Payload};
use crate::exec::host::HostId;

impl World {
    /// Starts a file operation.
    pub(super) fn file(&mut self, host: HostId, key: Key, op: Op) {
        let (result, payload) = perform(op);
        let (low, high) = self.config.disk_ns;
        let time = self.now + self.rng.between(low, high);
        self.pending.insert(key, Pending::File);
        self.at(
            time,
            Event::File {
                host,
                completion: Completion { key, result, payload },
            },
        );
    }
}

fn perform(op: Op) -> (io::Result<usize>, Payload) {
    match op {
        Op::Read {
            fd,
            offset,
            mut buf,
            len,
        } => {
            let len = len.min(buf.len());
            let result = file(&fd).and_then(|mut file| match offset {
                Some(offset) => file.read_at(&mut buf[..len], offset),
                None => file.read(&mut buf[..len]),
            });
            (result, Payload::Buf(buf))
        }
        Op::Write {
            fd,
            offset,
            data,
            dsync: _,
        } => {
            let result = file(&fd).and_then(|mut file| match offset {
                Some(offset) => file.write_at(&data, offset),
                None => file.write(&data),
            });
            (result, Payload::None)
        }
        // Nothing here loses the page cache, so there is nothing to make durable.
        Op::Fsync { fd, datasync: _ } => (file(&fd).and_then(|file| file.metadata()).map(|_| 0), Payload::None),
        Op::FuseRegister { entry, .. } | Op::FuseCommit { entry, .. } => {
            (Err(io::Error::from_raw_os_error(libc::ENOSYS)), Payload::Fuse(entry))
        }
        Op::Poll { .. } | Op::Connect { .. } | Op::Accept { .. } | Op::Recv { .. } | Op::Send { .. } => {
            (Err(io::Error::from_raw_os_error(libc::ENOSYS)), Payload::None)
        }
    }
}

fn file(fd: &OwnedFd) -> io::Result<File> {
    fd.try_clone().map(File::from)
}
