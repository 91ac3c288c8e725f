//! eventfd: the kernel's smallest wake-up, used to wake a core that sleeps in its driver.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// A counter in the kernel. Writing adds to it, reading takes it; a read of zero waits.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A new counter at zero (close-on-exec, blocking, so that a ring can wait on it).
    ///
    /// # Errors
    /// `EMFILE`/`ENFILE`/`ENOMEM` when the process or the machine is out of descriptors or memory.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no memory is passed.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
        // SAFETY: `fd` was just made by the kernel and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd { fd })
    }

    /// Adds one. Safe from any thread; never blocks in practice (the counter would have to reach 2^64).
    pub fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the eight bytes of `one` are live for the whole call and only read.
        let written = unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        debug_assert_eq!(written, 8, "an eventfd takes any increment");
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn signals_add_up() {
        let event = EventFd::new().unwrap();
        event.signal();
        event.signal();
        let mut file = std::fs::File::from(event.fd.try_clone().unwrap());
        let mut count = [0u8; 8];
        file.read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 2);
    }
}
