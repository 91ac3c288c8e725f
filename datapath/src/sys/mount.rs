//! Mounting and unmounting file systems.
//!
//! Only the system calls; what is mounted where, and with which options, is the caller's business.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::check;

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// mount(2): `source` appears as the device in /proc/mounts, `flags` are `MS_*`, `data` are the file system's own
/// options.
///
/// # Errors
/// The kernel's; `EINVAL` for text with a NUL byte.
pub fn mount(source: &str, target: &Path, fs_type: &str, flags: u64, data: &str) -> io::Result<()> {
    let (source, target) = (c_string(source.as_bytes())?, c_string(target.as_os_str().as_bytes())?);
    let (fs_type, data) = (c_string(fs_type.as_bytes())?, c_string(data.as_bytes())?);
    // SAFETY: the four texts are NUL-terminated and outlive the call, which only reads them.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            fs_type.as_ptr(),
            flags as libc::c_ulong,
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

/// umount2(2) without following a symbolic link. `lazily` detaches the mount at once and ends it when its last user is
/// gone; without it a mount in use is an error (`EBUSY`).
pub fn unmount(target: &Path, lazily: bool) -> io::Result<()> {
    let target = c_string(target.as_os_str().as_bytes())?;
    let flags = libc::UMOUNT_NOFOLLOW | if lazily { libc::MNT_DETACH } else { 0 };
    // SAFETY: the path is NUL-terminated and outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), flags) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_back_as_errors() {
        let here = std::env::temp_dir().join(format!("ringluster-no-mount-{}", std::process::id()));
        std::fs::create_dir(&here).unwrap();
        assert!(unmount(&here, false).is_err(), "not a mount point");
        assert!(mount("x", &here, "no-such-file-system", 0, "").is_err());
        assert_eq!(
            mount("a\0b", &here, "tmpfs", 0, "").unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        std::fs::remove_dir(&here).unwrap();
    }
}
