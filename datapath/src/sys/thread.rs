//! What a thread asks of the scheduler.

use std::io;

use super::check;

/// Ties the calling thread to one CPU (numbered from 0, as in /proc/cpuinfo).
///
/// # Errors
/// `EINVAL` if the machine (or this process's cpuset) has no such CPU.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    let limit = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    if cpu >= limit {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: cpu_set_t is a plain bit mask, for which all zeros is a valid (empty) value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below CPU_SETSIZE (checked above), so the bit lies inside the mask.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: thread 0 is the caller; the kernel only reads `set`, whose size is passed along.
    check(unsafe { libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_cpu_is_refused() {
        assert_eq!(pin_to_cpu(1_000_000).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn cpu_zero_can_be_had() {
        std::thread::spawn(|| pin_to_cpu(0).unwrap()).join().unwrap();
    }
}
