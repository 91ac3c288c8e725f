//! Reading directories by cookie: `getdents64(2)` on a descriptor that nobody else reads.

use std::os::fd::{AsFd, AsRawFd};

use crate::errno::{Errno, FsResult};

use super::fs::check;

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// The name's bytes, without NUL; `.` and `..` are included.
    pub name: Vec<u8>,
    /// The file system's inode number.
    pub ino: u64,
    /// The cookie of the position *after* this entry; meaningful for this directory of this file system.
    pub off: u64,
    /// `DT_*`; 0 if the file system does not say.
    pub d_type: u8,
}

/// Bytes before the name in `struct linux_dirent64`.
const HEAD: usize = 19;

/// The entries from the descriptor's position on, as many as fit into `room` bytes. Empty at the end.
pub fn getdents(fd: impl AsFd, room: usize) -> FsResult<Vec<RawEntry>> {
    let fd = fd.as_fd().as_raw_fd();
    let mut buf: Vec<u8> = Vec::with_capacity(room.max(1024));
    let n = check(|| {
        // SAFETY: `buf` has `capacity` writable bytes and outlives the call; `fd` is open.
        unsafe { libc::syscall(libc::SYS_getdents64, fd, buf.as_mut_ptr(), buf.capacity()) }
    })? as usize;
    // SAFETY: the kernel has filled the first `n` bytes, and n <= capacity.
    unsafe { buf.set_len(n) };
    parse(&buf)
}

/// Moves the descriptor to a cookie got from [`RawEntry::off`]; 0 is the start.
pub fn seekdir(fd: impl AsFd, off: u64) -> FsResult<()> {
    // Cookies of ext4 use bit 63; the kernel takes them back as the same bits.
    super::fs::lseek(fd, off as i64, libc::SEEK_SET).map(drop)
}

fn parse(mut buf: &[u8]) -> FsResult<Vec<RawEntry>> {
    let mut out = Vec::with_capacity(buf.len() / 32);
    while !buf.is_empty() {
        let head: &[u8; HEAD] = buf.first_chunk().ok_or(Errno::EIO)?;
        let len = usize::from(u16::from_ne_bytes([head[16], head[17]]));
        let record = buf.get(..len).filter(|_| len > HEAD).ok_or(Errno::EIO)?;
        let text = &record[HEAD..];
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        out.push(RawEntry {
            name: text[..end].to_vec(),
            ino: u64::from_ne_bytes(eight(head, 0)),
            off: u64::from_ne_bytes(eight(head, 8)),
            d_type: head[18],
        });
        buf = &buf[len..];
    }
    Ok(out)
}

fn eight(head: &[u8; HEAD], at: usize) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&head[at..at + 8]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_seen_once_and_cookies_resume() {
        let path = std::env::temp_dir().join(format!("ringluster-dir-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for i in 0..200 {
            std::fs::write(path.join(format!("name-{i:03}")), b"").unwrap();
        }
        let fd = std::fs::File::open(&path).unwrap();
        let mut all = Vec::new();
        loop {
            let part = getdents(&fd, 1024).unwrap();
            if part.is_empty() {
                break;
            }
            all.extend(part);
        }
        let mut names: Vec<_> = all.iter().map(|e| e.name.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 202);
        seekdir(&fd, all[100].off).unwrap();
        assert_eq!(getdents(&fd, 1024).unwrap()[0], all[101]);
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_cut_record_is_an_error_not_a_panic() {
        assert_eq!(parse(&[0; 10]), Err(Errno::EIO));
        let mut record = vec![0u8; 24];
        record[16] = 200;
        assert_eq!(parse(&record), Err(Errno::EIO));
        record[16] = 0;
        assert_eq!(parse(&record), Err(Errno::EIO));
    }
}
