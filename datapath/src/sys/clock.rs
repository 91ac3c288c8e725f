//! The kernel's clocks and its random source.

use std::io;

/// `CLOCK_MONOTONIC` in nanoseconds: never goes back, the same for every thread of the machine, unrelated to the date.
pub fn monotonic_ns() -> u64 {
    let (sec, nsec) = read(libc::CLOCK_MONOTONIC);
    u64::try_from(sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(nsec))
}

/// `CLOCK_REALTIME` as seconds since 1970 and nanoseconds below one second.
pub fn realtime() -> (i64, u32) {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> (i64, u32) {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a live, writable timespec for the whole call. The two clocks read here exist on every Linux, so
    // the call cannot fail; were it to, `ts` stays zero.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    (ts.tv_sec, u32::try_from(ts.tv_nsec).unwrap_or(0))
}

/// Fills `bytes` from `getrandom(2)`.
///
/// # Errors
/// Whatever the kernel says (only a seccomp filter can make this call fail).
pub fn fill_random(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the pointer and length describe the live, writable slice `bytes`.
        let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => bytes = &mut bytes[n..],
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_does_not_go_back() {
        let first = monotonic_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic_ns() >= first + 2_000_000);
    }

    #[test]
    fn random_bytes_differ() {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        fill_random(&mut a).unwrap();
        fill_random(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
