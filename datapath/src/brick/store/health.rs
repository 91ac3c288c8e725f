//! The health check of a brick's disk: a time stamp is written to `.glusterfs/health_check` and read back
//! (brick-and-replicate.md B.12). When to run it and what a failure means is the server's business.
//!
//! A disk without room passes: it answers, reads and deletes go on, and writes get their own ENOSPC. GlusterFS takes the
//! brick down for it, and nothing starts it again when there is room.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::fs;

/// A check that can be taken to a thread of its own, since a broken disk may never answer.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    hidden: Arc<OwnedFd>,
}

impl HealthCheck {
    pub(super) fn new(hidden: Arc<OwnedFd>) -> HealthCheck {
        HealthCheck { hidden }
    }

    /// Writes `now` (seconds since the epoch) as UTC text through to the disk, reads it back and compares.
    ///
    /// # Errors
    /// What the disk gave, lack of room apart; `EIO` if it returned other bytes than were written.
    pub fn run(&self, now: i64) -> FsResult<()> {
        match self.stamp(&stamp_text(now)) {
            Err(Errno::ENOSPC | Errno::EDQUOT) => Ok(()),
            other => other,
        }
    }

    fn stamp(&self, text: &str) -> FsResult<()> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NOFOLLOW;
        let file = fs::openat(&*self.hidden, b"health_check", flags, 0o644)?;
        if fs::pwrite(&file, text.as_bytes(), 0)? != text.len() {
            return Err(Errno::EIO);
        }
        fs::ftruncate(&file, text.len() as u64)?;
        fs::fsync(&file, true)?;
        let mut back = vec![0; text.len() + 1];
        let n = fs::pread(&file, &mut back, 0)?;
        if back.get(..n) == Some(text.as_bytes()) {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS +0000`, 25 bytes for the years 1000 to 9999.
fn stamp_text(now: i64) -> String {
    let (days, rest) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} +0000",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted in eras of 400 years that begin on 1 March, so that the leap day is the last of a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Brick;
    use super::*;

    #[test]
    fn text_is_25_bytes_of_utc() {
        assert_eq!(stamp_text(0), "1970-01-01 00:00:00 +0000");
        assert_eq!(stamp_text(951_782_399), "2000-02-28 23:59:59 +0000");
        assert_eq!(stamp_text(951_782_400), "2000-02-29 00:00:00 +0000");
        assert_eq!(stamp_text(1_795_380_180), "2026-11-22 20:43:00 +0000");
        assert_eq!(stamp_text(1_795_380_180).len(), 25);
    }

    #[test]
    fn a_full_disk_is_not_a_broken_one() {
        let brick = Brick::new();
        let check = brick.store().health_check();
        // Another /dev/full: every write to it fails for lack of room.
        fs::mknodat(
            &*check.hidden,
            b"health_check",
            libc::S_IFCHR | 0o644,
            libc::makedev(1, 7),
        )
        .unwrap();
        assert_eq!(check.stamp("2026-11-22 20:43:00 +0000"), Err(Errno::ENOSPC));
        assert_eq!(check.run(1_795_380_180), Ok(()));
    }

    #[test]
    fn the_stamp_is_on_the_disk() {
        let brick = Brick::new();
        brick.store().health_check().run(1_795_380_180).unwrap();
        let text = std::fs::read_to_string(brick.path().join(".glusterfs/health_check")).unwrap();
        assert_eq!(text, "2026-11-22 20:43:00 +0000");
    }
}
