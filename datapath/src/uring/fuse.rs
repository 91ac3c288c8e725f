//! Memory of FUSE over io_uring: a ring entry, in which the kernel leaves a request and takes the reply.
//!
//! The kernel learns an entry's addresses when it is registered and uses them in two spans only: from REGISTER to its
//! completion, and from COMMIT_AND_FETCH to its completion. In both the entry is in the in-flight slab, as any buffer
//! is. Between them it belongs to the program and the kernel leaves it alone; a reply is committed with the id that came
//! with the entry's own request (the id is private here), so the kernel never reads another entry's memory for it.
//!
//! Layout of the header and of the commands: `fuse_uring_req_header`, `fuse_uring_cmd_req` in linux/fuse.h (6.14).

use std::io;
use std::mem::{offset_of, size_of};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use io_uring::squeue::Entry128;
use io_uring::{opcode, types};

use crate::exec::buf::PageBuf;

/// `FUSE_IO_URING_CMD_REGISTER`
const REGISTER: u32 = 1;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`
const COMMIT_AND_FETCH: u32 = 2;
/// The kernel wants exactly these two buffers: header and payload.
const BUFFERS: u32 = 2;
/// Where `len` is in a submission entry; the io-uring crate has no setter for it on this command.
const SQE_LEN_OFFSET: usize = 24;
const _: () = assert!(size_of::<Entry128>() == 128);

/// `struct fuse_uring_req_header`, 288 bytes.
#[repr(C, align(8))]
struct Header {
    /// `fuse_in_header` of the request, then `fuse_out_header` of the reply.
    in_out: [u8; 128],
    /// The request's own arguments.
    op_in: [u8; 128],
    flags: u64,
    commit_id: u64,
    payload_size: u32,
    padding: u32,
    reserved: u64,
}

const _: () = assert!(size_of::<Header>() == 288 && offset_of!(Header, commit_id) == 264);

/// One slot for one request at a time, of one queue (a queue is a CPU's).
pub struct FuseEntry {
    header: Box<Header>,
    payload: Arc<PageBuf>,
    /// What REGISTER points to: header and payload.
    iovecs: Box<[libc::iovec; 2]>,
    queue: u16,
    /// Id of the request it holds.
    commit_id: Option<u64>,
}

impl std::fmt::Debug for FuseEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FuseEntry")
            .field("queue", &self.queue)
            .field("commit_id", &self.commit_id)
            .finish()
    }
}

impl FuseEntry {
    /// An entry for `queue` (a CPU number) with `payload` as its data buffer, whose length must be at least the
    /// connection's max_write, max_pages * 4 KiB and 8 KiB (or registering fails with `EINVAL`).
    pub fn new(queue: u16, payload: PageBuf) -> FuseEntry {
        let header = Header {
            in_out: [0; 128],
            op_in: [0; 128],
            flags: 0,
            commit_id: 0,
            payload_size: 0,
            padding: 0,
            reserved: 0,
        };
        let none = || libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        FuseEntry {
            header: Box::new(header),
            payload: Arc::new(payload),
            iovecs: Box::new([none(), none()]),
            queue,
            commit_id: None,
        }
    }

    /// The queue it serves.
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// Whether it holds a request that was not answered.
    pub fn has_request(&self) -> bool {
        self.commit_id.is_some()
    }

    /// `struct fuse_in_header` of the request, in its first 40 bytes.
    pub fn in_header(&self) -> &[u8; 128] {
        &self.header.in_out
    }

    /// The fixed-size arguments of the request.
    pub fn op_header(&self) -> &[u8; 128] {
        &self.header.op_in
    }

    /// The rest of the request: names, data.
    pub fn payload(&self) -> &[u8] {
        let len = (self.header.payload_size as usize).min(self.payload.len());
        &self.payload[..len]
    }

    /// Part of the payload as shared bytes, without a copy. The entry cannot be written or committed while they live.
    /// None if the range is not within the payload.
    pub fn lend(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.payload().len() {
            return None;
        }
        Some(Bytes::from_owner(Lent(Arc::clone(&self.payload))).slice(range))
    }

    /// Whether lent bytes are still in use.
    pub fn is_lent(&self) -> bool {
        Arc::strong_count(&self.payload) > 1
    }

    /// The payload buffer, for the reply's data; none while lent bytes are in use. Request and reply share it.
    pub fn payload_mut(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.payload).map(|payload| &mut payload[..])
    }

    /// Fills in the reply's header: `errno` 0 or positive, and the length of the data in the payload buffer.
    pub fn set_reply(&mut self, errno: i32, payload_len: usize) {
        let len = u32::try_from(payload_len.min(self.payload.len())).unwrap_or(0);
        // fuse_in_header: len, opcode, unique; fuse_out_header: len, error, unique.
        self.header.in_out[..4].copy_from_slice(&(len + 16).to_ne_bytes());
        self.header.in_out[4..8].copy_from_slice(&(-errno).to_ne_bytes());
        self.header.payload_size = len;
    }

    /// The command that offers the entry to the kernel for the first time.
    pub(super) fn register_command(&mut self, fd: &OwnedFd) -> Option<Entry128> {
        let payload = Arc::get_mut(&mut self.payload)?;
        self.iovecs[0].iov_base = (&raw mut *self.header).cast();
        self.iovecs[0].iov_len = size_of::<Header>();
        self.iovecs[1].iov_base = payload.as_mut_ptr().cast();
        self.iovecs[1].iov_len = payload.len();
        Some(self.command(fd, REGISTER, 0))
    }

    /// The command that gives the reply and waits for the next request; none if there is no request, or if the payload
    /// is still lent.
    pub(super) fn commit_command(&mut self, fd: &OwnedFd) -> Option<Entry128> {
        let id = self.commit_id?;
        Arc::get_mut(&mut self.payload)?;
        Some(self.command(fd, COMMIT_AND_FETCH, id))
    }

    fn command(&self, fd: &OwnedFd, code: u32, commit_id: u64) -> Entry128 {
        // struct fuse_uring_cmd_req: flags u64, commit_id u64, qid u16, padding.
        let mut request = [0u8; 80];
        request[8..16].copy_from_slice(&commit_id.to_ne_bytes());
        request[16..18].copy_from_slice(&self.queue.to_ne_bytes());
        let command = opcode::UringCmd80::new(types::Fd(fd.as_raw_fd()), code).cmd(request);
        let iovecs = self.iovecs.as_ptr().expose_provenance() as u64;
        let mut entry = command.addr(Some(iovecs)).build();
        if code == REGISTER {
            let at = (&raw mut entry).cast::<u8>().wrapping_add(SQE_LEN_OFFSET).cast::<u32>();
            // SAFETY: Entry128 is the kernel's 128-byte io_uring_sqe (size asserted above), in which `len` is the u32 at
            // offset 24 (linux/io_uring.h); it is aligned, as the structure is to 8 bytes.
            unsafe { at.write(BUFFERS) };
        }
        entry
    }

    /// A command completed.
    pub(super) fn completed(&mut self, result: &io::Result<usize>) {
        self.commit_id = result.is_ok().then_some(self.header.commit_id);
    }
}

struct Lent(Arc<PageBuf>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
