//! The ring itself: setup, queueing of entries and the calls that enter the kernel.

use std::io;
use std::sync::Arc;

use io_uring::squeue::Entry128;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, types};

use crate::sys::mem::Region;

/// `IORING_ENTER_GETEVENTS`: run deferred work. The io-uring crate keeps the constant to itself.
const GETEVENTS: u32 = 1;

/// 128-byte entries, so that the commands of FUSE-over-io_uring fit the same ring.
pub(super) struct Ring {
    ring: IoUring<Entry128, cqueue::Entry>,
    /// Keeps registered addresses from being given to other memory.
    region: Option<Arc<Region>>,
}

impl Ring {
    pub(super) fn new(entries: u32) -> io::Result<Ring> {
        let ring = Ring::build(entries, true).or_else(|error| match error.raw_os_error() {
            // A kernel before 6.1 knows no DEFER_TASKRUN.
            Some(libc::EINVAL) => Ring::build(entries, false),
            _ => Err(error),
        });
        let ring = ring.map_err(|error| io::Error::new(error.kind(), format!("io_uring_setup({entries}): {error}")))?;
        Ok(Ring { ring, region: None })
    }

    fn build(entries: u32, defer: bool) -> io::Result<IoUring<Entry128, cqueue::Entry>> {
        let mut builder = IoUring::<Entry128, cqueue::Entry>::builder();
        builder
            .dontfork()
            .setup_clamp()
            .setup_submit_all()
            .setup_coop_taskrun()
            .setup_taskrun_flag();
        builder.setup_cqsize(entries.saturating_mul(4));
        if defer {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        builder.build(entries)
    }

    /// Registers an arena as fixed buffer 0. Failing is no harm: the memory is then used like any other.
    pub(super) fn register(&mut self, region: Arc<Region>) -> io::Result<()> {
        let (start, len) = region.address();
        let iovec = libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(start),
            iov_len: len,
        };
        // SAFETY: the range is the whole live mapping of `region`, which `self` keeps until after the ring is closed
        // (field order), so the address stays valid memory as long as it is registered.
        unsafe { self.ring.submitter().register_buffers(&[iovec]) }?;
        self.region = Some(region);
        Ok(())
    }

    /// The registered arena.
    pub(super) fn region(&self) -> Option<&Region> {
        self.region.as_deref()
    }

    /// Queues an entry. False if there is no room even after submitting.
    ///
    /// # Safety
    /// Everything the entry points to must stay valid until its final completion has been collected.
    pub(super) unsafe fn push(&mut self, entry: &Entry128) -> bool {
        // SAFETY: passed on to the caller.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return true;
        }
        // Full. EBUSY and EAGAIN leave entries in the queue, so look again.
        let _ = self.ring.submit();
        // SAFETY: passed on to the caller.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Queues the cancellation of one operation; its own completion carries `user_data`.
    pub(super) fn push_cancel(&mut self, target: u64, user_data: u64) -> bool {
        let entry = opcode::AsyncCancel::new(target).build().user_data(user_data);
        // SAFETY: the entry points to no memory.
        unsafe { self.push(&entry.into()) }
    }

    /// Queues the cancellation of everything in flight.
    pub(super) fn push_cancel_all(&mut self, user_data: u64) -> bool {
        let entry = opcode::AsyncCancel2::new(types::CancelBuilder::any().all())
            .build()
            .user_data(user_data);
        // SAFETY: the entry points to no memory.
        unsafe { self.push(&entry.into()) }
    }

    /// Submits what is queued and collects what is there, without waiting. No system call when there is nothing to do.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        let (queued, work) = (queue.len(), queue.taskrun() || queue.cq_overflow());
        drop(queue);
        if queued == 0 && !work {
            return Ok(());
        }
        // SAFETY: without an argument the kernel touches no memory of ours but the rings.
        let entered = unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(queued as u32, 0, GETEVENTS, None)
        };
        tolerate(entered)
    }

    /// Submits what is queued and waits for a completion, at most `nanoseconds` long if given.
    pub(super) fn wait(&mut self, nanoseconds: Option<u64>) -> io::Result<()> {
        if !self.ring.completion().is_empty() {
            return self.turn();
        }
        let Some(ns) = nanoseconds else {
            return tolerate(self.ring.submit_and_wait(1));
        };
        let time = Timespec::new()
            .sec(ns / 1_000_000_000)
            .nsec((ns % 1_000_000_000) as u32);
        tolerate(
            self.ring
                .submitter()
                .submit_with_args(1, &SubmitArgs::new().timespec(&time)),
        )
    }

    /// Appends (user_data, result, flags) of all completions that are there.
    pub(super) fn collect(&mut self, into: &mut Vec<(u64, i32)>) {
        into.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result())));
    }
}

/// Errors of entering the ring that mean "look at the completions and come again".
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}
