//! RCHECKSUM: the sums by which heal compares blocks (brick-and-replicate.md B.8).

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::errno::{Errno, FsResult};
use crate::sys::fs;
use crate::wire::{Dict, Value};

use super::{Call, OpenFile, Store};

/// Bytes read at a time.
const PIECE: usize = 256 * 1024;
/// The largest block: heal compares 128 KiB at a time, and the brick does nothing else meanwhile.
const MAX_BLOCK: usize = 64 * 1024 * 1024;

/// The sums of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Rchecksum {
    /// Adler-32, begun with 0.
    pub weak: u32,
    /// SHA-256, or MD5 and 16 zeros.
    pub strong: [u8; 32],
    /// The reply's xdata.
    pub xdata: Dict,
}

/// Adler-32 of `bytes`, going on from `start` (GlusterFS begins with 0, not 1).
pub fn adler32(start: u32, bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (start & 0xffff, start >> 16);
    // 5552 is the longest run for which the sums cannot exceed 32 bits.
    for run in bytes.chunks(5552) {
        for byte in run {
            a += u32::from(*byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

enum Strong {
    Sha(Sha256),
    Md5(Md5),
}

impl Strong {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Strong::Sha(sum) => sum.update(bytes),
            Strong::Md5(sum) => sum.update(bytes),
        }
    }

    fn finish(self) -> [u8; 32] {
        match self {
            Strong::Sha(sum) => sum.finalize().into(),
            Strong::Md5(sum) => {
                let mut out = [0; 32];
                out[..16].copy_from_slice(&sum.finalize());
                out
            }
        }
    }
}

impl Store {
    /// The sums of at most `len` bytes at `off`; what lies beyond the end of the file does not count.
    ///
    /// # Errors
    /// `EINVAL` for a block of more than 64 MiB, or what the file system gives.
    pub fn rchecksum(&self, call: &Call<'_>, file: &OpenFile, off: u64, len: usize) -> FsResult<Rchecksum> {
        if len > MAX_BLOCK {
            return Err(Errno::EINVAL);
        }
        let fips = self.options.borrow().fips_mode_rchecksum;
        let mut strong = if fips {
            Strong::Sha(Sha256::new())
        } else {
            Strong::Md5(Md5::new())
        };
        let (mut weak, mut zeros, mut done) = (0, true, 0);
        let mut piece = vec![0; len.min(PIECE)];
        // A write-only descriptor of a client cannot be read.
        let own = (!file.is_readable())
            .then(|| fs::reopen(&**file.descriptor(), libc::O_RDONLY))
            .transpose()?;
        while done < len {
            let room = (len - done).min(PIECE);
            let n = match &own {
                Some(fd) => fs::pread(fd, &mut piece[..room], off.saturating_add(done as u64))?,
                None => fs::pread(
                    &**file.descriptor(),
                    &mut piece[..room],
                    off.saturating_add(done as u64),
                )?,
            };
            if n == 0 {
                break;
            }
            weak = adler32(weak, &piece[..n]);
            strong.update(&piece[..n]);
            zeros &= piece[..n].iter().all(|b| *b == 0);
            done += n;
        }
        let mut xdata = Dict::null();
        if call.xdata.contains("check-zero-filled") {
            xdata.set("buf-has-zeroes", Value::Uint(u64::from(zeros)));
        }
        if fips {
            xdata.set("fips-mode-rchecksum", Value::Int(1));
        }
        Ok(Rchecksum {
            weak,
            strong: strong.finish(),
            xdata,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler_is_the_known_one_when_begun_with_1() {
        assert_eq!(adler32(1, b"Wikipedia"), 0x11E6_0398);
        assert_eq!(adler32(0, b""), 0);
        assert_eq!(
            adler32(0, &[0xff; 100_000]),
            adler32(adler32(0, &[0xff; 40_000]), &[0xff; 60_000])
        );
    }
}
