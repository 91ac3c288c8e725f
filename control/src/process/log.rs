//! Log files in GlusterFS's line format (wire-protocol.md 6.6).
//!
//! A `tracing` subscriber without spans: an event becomes one line, written by one system call to a file opened for
//! appending, so threads need no lock. Rotation is the system's: after SIGHUP call [`Log::reopen`].

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use datapath::sys;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

/// Log levels as GlusterFS names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing at all.
    None = 0,
    /// Letter C. Nothing of ours logs here; a limit that only lets worse than errors through.
    Critical = 1,
    /// Letter E.
    Error = 2,
    /// Letter W.
    Warning = 3,
    /// Letter I, the default.
    Info = 4,
    /// Letter D.
    Debug = 5,
    /// Letter T.
    Trace = 6,
}

impl FromStr for Level {
    type Err = String;

    /// Accepts GlusterFS's names in any case.
    fn from_str(text: &str) -> Result<Level, String> {
        match text.to_ascii_uppercase().as_str() {
            "NONE" => Ok(Level::None),
            "CRITICAL" => Ok(Level::Critical),
            "ERROR" => Ok(Level::Error),
            "WARNING" => Ok(Level::Warning),
            "INFO" => Ok(Level::Info),
            "DEBUG" => Ok(Level::Debug),
            "TRACE" => Ok(Level::Trace),
            _ => Err(format!(
                "unknown log level '{text}' (one of NONE, CRITICAL, ERROR, WARNING, INFO, DEBUG, TRACE)"
            )),
        }
    }
}

impl Level {
    fn of(level: &tracing::Level) -> (Level, char) {
        match *level {
            tracing::Level::ERROR => (Level::Error, 'E'),
            tracing::Level::WARN => (Level::Warning, 'W'),
            tracing::Level::INFO => (Level::Info, 'I'),
            tracing::Level::DEBUG => (Level::Debug, 'D'),
            tracing::Level::TRACE => (Level::Trace, 'T'),
        }
    }

    fn from_u8(value: u8) -> Level {
        match value {
            0 => Level::None,
            1 => Level::Critical,
            2 => Level::Error,
            3 => Level::Warning,
            4 => Level::Info,
            5 => Level::Debug,
            _ => Level::Trace,
        }
    }
}

struct Inner {
    file: File,
    path: Option<PathBuf>,
    level: AtomicU8,
}

/// The log of this process. Clones share it.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.0.path)
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

impl Log {
    /// Logs to `path` (its directory is made if missing); to standard error if `None`.
    pub fn new(path: Option<&Path>, level: Level) -> io::Result<Log> {
        let file = match path {
            Some(path) => open(path)?,
            None => OpenOptions::new()
                .append(true)
                .open("/dev/stderr")
                .or_else(|_| open(Path::new("/dev/null")))?,
        };
        let path = path.map(Path::to_owned);
        Ok(Log(Arc::new(Inner {
            file,
            path,
            level: AtomicU8::new(level as u8),
        })))
    }

    /// Makes this the process's log. Once per process; later calls are errors.
    pub fn install(&self) -> Result<(), String> {
        tracing::subscriber::set_global_default(Lines(self.clone())).map_err(|e| e.to_string())
    }

    /// Opens the file anew under the same name, for SIGHUP after a rotation.
    pub fn reopen(&self) -> io::Result<()> {
        match &self.0.path {
            Some(path) => sys::process::replace_open_file(&self.0.file, &open(path)?),
            None => Ok(()),
        }
    }

    /// The limit now.
    pub fn level(&self) -> Level {
        Level::from_u8(self.0.level.load(Ordering::Relaxed))
    }

    /// Changes the limit (`diagnostics.*-log-level`).
    pub fn set_level(&self, level: Level) {
        self.0.level.store(level as u8, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    fn line(&self, event: &Event<'_>) -> String {
        let meta = event.metadata();
        let (_, letter) = Level::of(meta.level());
        let file = meta.file().and_then(|f| f.rsplit('/').next()).unwrap_or("unknown");
        let mut module = meta.target().rsplit("::");
        let (last, parent) = (module.next().unwrap_or_default(), module.next());
        let mut line = String::with_capacity(160);
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            "[{}] {letter} [{file}:{}:{last}] 0-",
            Timestamp::now(),
            meta.line().unwrap_or(0)
        );
        let _ = write!(line, "{}: ", parent.unwrap_or(last));
        let mut fields = Fields::default();
        event.record(&mut fields);
        // A line break in a message would look like a second entry.
        line.push_str(&fields.message.replace('\n', " "));
        if !fields.rest.is_empty() {
            let _ = write!(line, " [{}]", fields.rest.join(", "));
        }
        line.push('\n');
        line
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.rest.push(format!("{{{name}={value}}}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

struct Lines(Log);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The consensus library reports each of its steps, and each failure to reach a peer again and again; what an
        // administrator must know of it is logged by its caller.
        let limit = match metadata.target().starts_with("openraft") {
            true => Level::Debug,
            false => Level::of(metadata.level()).0,
        };
        metadata.is_event() && limit.max(Level::of(metadata.level()).0) <= self.0.level()
    }

    fn event(&self, event: &Event<'_>) {
        // There is nowhere to report that the log itself cannot be written.
        let _ = (&self.0.0.file).write_all(self.0.line(event).as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A moment in UTC, printed as `YYYY-MM-DD HH:MM:SS.uuuuuu +0000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    seconds: i64,
    micros: u32,
}

impl Timestamp {
    /// The current time.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(0),
            micros: since.subsec_micros(),
        }
    }

    /// Seconds since the epoch.
    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp { seconds, micros: 0 }
    }

    /// As C's `ctime` prints it, without the line break: `Sun Nov 22 20:51:58 2026`. In UTC.
    pub fn to_c_time(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let days = self.seconds.div_euclid(86_400);
        let (year, month, day) = Timestamp::date(days);
        let name = |list: &[&'static str], index: i64| {
            usize::try_from(index)
                .ok()
                .and_then(|i| list.get(i).copied())
                .unwrap_or_default()
        };
        let (week_day, month) = (name(&DAYS, days.rem_euclid(7)), name(&MONTHS, month - 1));
        let of_day = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{week_day} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
    }

    /// Year, month (1 to 12) and day (1 to 31) of a day count since the epoch, Gregorian. The year is taken to begin
    /// in March, so that the leap day is its last.
    fn date(days: i64) -> (i64, i64, i64) {
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = Timestamp::date(self.seconds.div_euclid(86_400));
        let of_day = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:06} +0000",
            self.micros
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00.000000 +0000"),
            (951_782_399, "2000-02-28 23:59:59.000000 +0000"),
            (951_782_400, "2000-02-29 00:00:00.000000 +0000"),
            (4_107_542_399, "2100-02-28 23:59:59.000000 +0000"),
            (4_107_542_400, "2100-03-01 00:00:00.000000 +0000"),
            (1_795_380_838, "2026-11-22 20:53:58.000000 +0000"),
        ] {
            assert_eq!(Timestamp::from_seconds(seconds).to_string(), text);
        }
    }

    #[test]
    fn c_times() {
        assert_eq!(Timestamp::from_seconds(0).to_c_time(), "Thu Jan  1 00:00:00 1970");
        assert_eq!(
            Timestamp::from_seconds(1_795_380_718).to_c_time(),
            "Sun Nov 22 20:51:58 2026"
        );
    }

    #[test]
    fn lines_levels_and_rotation() {
        let directory = std::env::temp_dir().join(format!("ringluster-log-{}", std::process::id()));
        let path = directory.join("sub/x.log");
        let log = Log::new(Some(&path), Level::Info).unwrap();
        tracing::subscriber::with_default(Lines(log.clone()), || {
            tracing::info!(brick = 3, "brick is {}\nup", "now");
            tracing::debug!("not shown");
            std::fs::rename(&path, directory.join("old")).unwrap();
            log.reopen().unwrap();
            tracing::error!("after");
        });
        let old = std::fs::read_to_string(directory.join("old")).unwrap();
        let new = std::fs::read_to_string(&path).unwrap();
        assert_eq!((old.lines().count(), new.lines().count()), (1, 1), "{old}{new}");
        let (time, rest) = old.split_at(36);
        assert!(time.starts_with('[') && time.contains(" +0000] I"), "{time}");
        assert!(
            rest.starts_with(" [log.rs:") && rest.ends_with(": brick is now up [{brick=3}]\n"),
            "{rest}"
        );
        assert!(new.contains("] E [") && new.ends_with("after\n"), "{new}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
