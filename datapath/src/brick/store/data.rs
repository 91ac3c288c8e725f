//! Fops on the content of open files: READ, WRITE, TRUNCATE, FSYNC, FALLOCATE, DISCARD, ZEROFILL, SEEK,
//! COPY_FILE_RANGE (brick-and-replicate.md B.8).
//!
//! Content that may have to wait for the disk is moved by the caller: [`Store::write_begin`] and [`Store::write_end`],
//! [`OpenFile::io`] and [`Store::read_done`] are the parts around it. A crash in a write leaves what the file system
//! leaves: part of the content, and the times from before.

use std::io::IoSlice;

use crate::errno::{Errno, FsResult};
use crate::sys::fs::{self, Stat};
use crate::wire::{Dict, Gfid, Iatt, Value};

use super::file::check_regular;
use super::node::Node;
use super::{Call, IoFile, OpenDir, OpenFile, PrePost, Store, Target, access};

const FALLOC_FL_KEEP_SIZE: i32 = 1;
const FALLOC_FL_PUNCH_HOLE: i32 = 2;
const FALLOC_FL_ZERO_RANGE: i32 = 0x10;
const FALLOC_FL_UNSHARE_RANGE: i32 = 0x40;
/// The modes a client may ask for: those that move no other data.
const FALLOC_KNOWN: i32 = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_UNSHARE_RANGE;

/// Zeros are written in pieces of this many bytes.
const ZERO_PIECE: usize = 64 * 1024;

/// Bytes copied in one call at most: the brick does nothing else meanwhile.
const MAX_COPY: usize = 64 * 1024 * 1024;

/// A write that may begin.
#[derive(Clone, Debug)]
pub struct WritePlan {
    /// Where to write.
    pub io: IoFile,
    /// The attributes before.
    pub pre: Iatt,
    /// It begins at the end of the file.
    pub append: bool,
    sync: bool,
}

/// A write that is done.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "`sync` may ask for an fsync before the reply"]
pub struct Written {
    /// The bytes written.
    pub bytes: usize,
    /// The attributes before.
    pub pre: Iatt,
    /// The attributes after.
    pub post: Iatt,
    /// The reply's xdata.
    pub xdata: Dict,
    /// The file must be fsynced before the client is answered.
    pub sync: bool,
}

/// A read that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadDone {
    /// The attributes.
    pub stat: Iatt,
    /// The end of the file was reached: the reply's op_errno is `ENOENT`.
    pub eof: bool,
    /// The reply's xdata.
    pub xdata: Dict,
}

/// A range was copied.
#[derive(Clone, Debug, PartialEq)]
pub struct CopiedRange {
    /// The bytes copied.
    pub bytes: usize,
    /// The source after.
    pub source: Iatt,
    /// The destination before.
    pub pre: Iatt,
    /// The destination after.
    pub post: Iatt,
}

impl Store {
    /// The part of WRITE before the content is written: `len` bytes at `off`, from memory at `address`. `flags` are the
    /// request's.
    ///
    /// # Errors
    /// `EBADF` if the file is not open for writing, `EFBIG`, `EINVAL` for a device, `ENOSPC` below the reserve.
    pub fn write_begin(
        &self,
        call: &Call<'_>,
        file: &OpenFile,
        flags: i32,
        off: u64,
        len: u64,
        address: usize,
    ) -> FsResult<WritePlan> {
        if !file.is_writable() {
            return Err(Errno::EBADF);
        }
        if off.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Errno::EFBIG);
        }
        let node = Node::whole(file.descriptor());
        let stat = node.stat()?;
        check_regular(&stat).map_err(|_| Errno::EINVAL)?;
        if let Err(e) = self.check_reserve(call)
            && !is_allocated(file, &stat, off, len)
        {
            return Err(e);
        }
        let pre = self.iatt_from(&node, file.gfid(), &stat)?;
        let append = (file.flags() | flags) & libc::O_APPEND != 0 || off == stat.size;
        let sync = file.is_sync() || flags & (libc::O_SYNC | libc::O_DSYNC) != 0;
        Ok(WritePlan {
            io: file.io(flags, off, len, address),
            pre,
            append,
            sync,
        })
    }

    /// The part of WRITE after the content was written.
    ///
    /// # Errors
    /// What the file system gives.
    pub fn write_end(&self, call: &Call<'_>, file: &OpenFile, plan: WritePlan, bytes: usize) -> FsResult<Written> {
        let post = self.touched(call, &Node::whole(file.descriptor()), file.gfid())?;
        let mut xdata = Dict::null();
        for (key, _) in call.xdata.iter() {
            match &*key.0 {
                b"glusterfs.write-is-append" => {
                    xdata.set(key.clone(), Value::Uint(u64::from(plan.append)));
                }
                b"glusterfs.open-fd-count" | b"glusterfs.open-active-fd-count" => {
                    xdata.set(key.clone(), Value::Uint(u64::from(self.open_count(file.gfid()))));
                }
                _ => {}
            }
        }
        Ok(Written {
            bytes,
            pre: plan.pre,
            post,
            xdata,
            sync: plan.sync,
        })
    }

    /// WRITE by system calls on this thread. A write that fails after part of the content is a short write.
    ///
    /// # Errors
    /// As [`Store::write_begin`], or what the file system gives for the first byte.
    pub fn write(
        &self,
        call: &Call<'_>,
        file: &OpenFile,
        flags: i32,
        off: u64,
        content: &[IoSlice<'_>],
    ) -> FsResult<Written> {
        let len: u64 = content.iter().map(|s| s.len() as u64).sum();
        // Pieces of odd length cannot be written directly; the first address stands for all only if it is alone.
        let address = if content.len() == 1 {
            content[0].as_ptr() as usize
        } else {
            1
        };
        let plan = self.write_begin(call, file, flags, off, len, address)?;
        let bytes = write_all(&plan.io, off, content)?;
        self.write_end(call, file, plan, bytes)
    }

    /// READ by a system call on this thread: fills `buf` as far as there is content.
    ///
    /// # Errors
    /// `EBADF` if the file is not open for reading, or what the file system gives.
    pub fn read(&self, file: &OpenFile, flags: i32, off: u64, buf: &mut [u8]) -> FsResult<usize> {
        if !file.is_readable() {
            return Err(Errno::EBADF);
        }
        let io = file.io(flags, off, buf.len() as u64, buf.as_ptr() as usize);
        let mut done = 0;
        while done < buf.len() {
            match fs::pread(&*io.fd, &mut buf[done..], off.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// The part of READ after `bytes` were read at `off`.
    ///
    /// # Errors
    /// What the file system gives.
    pub fn read_done(&self, call: &Call<'_>, file: &OpenFile, off: u64, bytes: usize) -> FsResult<ReadDone> {
        let node = Node::whole(file.descriptor());
        let stat = node.stat()?;
        self.apply_stamp(&node, file.gfid(), call.stamp.for_object());
        let iatt = self.iatt_from(&node, file.gfid(), &stat)?;
        let eof = off.saturating_add(bytes as u64) >= stat.size;
        Ok(ReadDone {
            stat: iatt,
            eof,
            xdata: self.fill(&node, file.gfid(), &stat, call.xdata)?,
        })
    }

    /// TRUNCATE and FTRUNCATE to `size` bytes.
    ///
    /// # Errors
    /// `ESTALE`, `EISDIR`, `EACCES`, `EINVAL` if the file is not open for writing, `EFBIG`.
    pub fn truncate(&self, call: &Call<'_>, target: Target<'_>, size: u64) -> FsResult<PrePost> {
        let (node, stat) = self.node_stat(target)?;
        check_regular(&stat)?;
        let pre = self.iatt_from(&node, target.gfid(), &stat)?;
        if let Target::File(file) = target {
            if !file.is_writable() {
                return Err(Errno::EINVAL);
            }
            fs::ftruncate(&**file.descriptor(), size)?;
        } else {
            self.check(call, &node, &stat, access::WRITE)?;
            fs::ftruncate(node.open(libc::O_WRONLY | libc::O_NONBLOCK)?, size)?;
        }
        Ok(PrePost {
            pre,
            post: self.touched(call, &node, target.gfid())?,
            xdata: Dict::null(),
        })
    }

    /// FSYNC on this thread; `datasync` leaves out attributes that reading does not need.
    ///
    /// # Errors
    /// What the disk gives.
    pub fn fsync(&self, file: &OpenFile, datasync: bool) -> FsResult<PrePost> {
        let pre = self.attributes(Target::File(file))?;
        fs::fsync(&**file.descriptor(), datasync)?;
        Ok(PrePost {
            pre,
            post: self.attributes(Target::File(file))?,
            xdata: Dict::null(),
        })
    }

    /// FSYNCDIR on this thread.
    ///
    /// # Errors
    /// What the disk gives.
    pub fn fsync_dir(&self, dir: &OpenDir, datasync: bool) -> FsResult<()> {
        fs::fsync(&**dir.descriptor(), datasync)
    }

    /// FALLOCATE; of `mode`, the bits "keep the size" (1), "punch a hole" (2), "zero the range" (0x10) and "unshare" (0x40)
    /// are known.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for another mode, `EBADF`, `ENOSPC`, `EFBIG`, `EINVAL` for length 0.
    pub fn fallocate(&self, call: &Call<'_>, file: &OpenFile, mode: i32, off: u64, len: u64) -> FsResult<PrePost> {
        if mode & !FALLOC_KNOWN != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.check_reserve(call)?;
        self.change(call, file, || fs::fallocate(&**file.descriptor(), mode, off, len))
    }

    /// DISCARD: a hole of `len` bytes at `off`; the size stays.
    ///
    /// # Errors
    /// As [`Store::fallocate`].
    pub fn discard(&self, call: &Call<'_>, file: &OpenFile, off: u64, len: u64) -> FsResult<PrePost> {
        let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        self.change(call, file, || fs::fallocate(&**file.descriptor(), mode, off, len))
    }

    /// ZEROFILL: `len` zeros at `off`; the file grows if need be.
    ///
    /// # Errors
    /// As [`Store::fallocate`].
    pub fn zerofill(&self, call: &Call<'_>, file: &OpenFile, off: u64, len: u64) -> FsResult<PrePost> {
        self.check_reserve(call)?;
        self.change(call, file, || {
            match fs::fallocate(&**file.descriptor(), FALLOC_FL_ZERO_RANGE, off, len) {
                Err(Errno::EOPNOTSUPP) => write_zeros(file, off, len),
                done => done,
            }
        })
    }

    /// SEEK: the next data (`what` 0) or hole (1) at or after `off`.
    ///
    /// # Errors
    /// `ENXIO` beyond the end of the file, `EOPNOTSUPP` for another `what`.
    pub fn seek(&self, file: &OpenFile, off: u64, what: i32) -> FsResult<u64> {
        let whence = match what {
            0 => libc::SEEK_DATA,
            1 => libc::SEEK_HOLE,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        let off = i64::try_from(off).map_err(|_| Errno::ENXIO)?;
        fs::lseek(&**file.descriptor(), off, whence).map(|at| at as u64)
    }

    /// COPY_FILE_RANGE: at most `len` bytes; fewer if the source ends or it is more than 64 MiB.
    ///
    /// # Errors
    /// `EBADF`, `ENOSPC`, `EFBIG`, `EINVAL` if the ranges overlap.
    pub fn copy_file_range(
        &self,
        call: &Call<'_>,
        (source, source_off): (&OpenFile, u64),
        (dest, dest_off): (&OpenFile, u64),
        len: usize,
    ) -> FsResult<CopiedRange> {
        if !source.is_readable() || !dest.is_writable() {
            return Err(Errno::EBADF);
        }
        self.check_reserve(call)?;
        let len = len.min(MAX_COPY);
        let pre = self.attributes(Target::File(dest))?;
        let bytes = fs::copy_file_range(&**source.descriptor(), source_off, &**dest.descriptor(), dest_off, len)?;
        let post = self.touched(call, &Node::whole(dest.descriptor()), dest.gfid())?;
        Ok(CopiedRange {
            bytes,
            source: self.attributes(Target::File(source))?,
            pre,
            post,
        })
    }

    /// Stamps a changed object and gives its attributes.
    pub(super) fn touched(&self, call: &Call<'_>, node: &Node, gfid: Gfid) -> FsResult<Iatt> {
        self.apply_stamp(node, gfid, call.stamp.for_object());
        self.iatt(node, gfid)
    }

    fn change(&self, call: &Call<'_>, file: &OpenFile, act: impl FnOnce() -> FsResult<()>) -> FsResult<PrePost> {
        if !file.is_writable() {
            return Err(Errno::EBADF);
        }
        let pre = self.attributes(Target::File(file))?;
        act()?;
        Ok(PrePost {
            pre,
            post: self.touched(call, &Node::whole(file.descriptor()), file.gfid())?,
            xdata: Dict::null(),
        })
    }
}

/// Whether a write takes no new space: the range has no hole.
fn is_allocated(file: &OpenFile, stat: &Stat, off: u64, len: u64) -> bool {
    let end = off.saturating_add(len);
    if end > stat.size || (file.flags() & libc::O_APPEND) != 0 {
        return false;
    }
    fs::lseek(&**file.descriptor(), off as i64, libc::SEEK_HOLE).is_ok_and(|hole| hole as u64 >= end)
}

/// Writes all of `content`; the bytes that could be written, if any.
fn write_all(io: &IoFile, off: u64, content: &[IoSlice<'_>]) -> FsResult<usize> {
    let mut done = 0usize;
    for chunk in content.chunks(1024) {
        let mut slices = chunk.to_vec();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match fs::pwritev(&*io.fd, rest, off + done as u64) {
                Ok(0) => return if done > 0 { Ok(done) } else { Err(Errno::EIO) },
                Ok(n) => {
                    done += n;
                    IoSlice::advance_slices(&mut rest, n);
                }
                Err(_) if done > 0 => return Ok(done),
                Err(e) => return Err(e),
            }
        }
    }
    Ok(done)
}

fn write_zeros(file: &OpenFile, off: u64, len: u64) -> FsResult<()> {
    // A descriptor of its own: one with O_APPEND would write at the end.
    let fd = fs::reopen(&**file.descriptor(), libc::O_WRONLY)?;
    let zeros = vec![0u8; ZERO_PIECE];
    let end = off.checked_add(len).ok_or(Errno::EFBIG)?;
    let mut at = off;
    while at < end {
        let piece = (end - at).min(ZERO_PIECE as u64) as usize;
        match fs::pwrite(&fd, &zeros[..piece], at)? {
            0 => return Err(Errno::EIO),
            n => at += n as u64,
        }
    }
    Ok(())
}
