//! The load of one mount: 4 KiB direct reads, 4 KiB direct writes and creates, each by a thread of its own at a steady
//! pace, with every operation's latency and error kept and every acknowledged byte remembered.

use super::model::{self, Acknowledged, BLOCK, BLOCKS};
use crate::lab::error::{Context, Result, fail};
use crate::lab::six::BrickPaths;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is measured apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `pread` of 4 KiB, O_DIRECT, of a file that nobody writes.
    Read,
    /// `pwrite` of 4 KiB, O_DIRECT, over existing blocks.
    Write,
    /// open(O_CREAT|O_EXCL), a short write, close.
    Create,
}

impl Kind {
    /// All, in the order of the table.
    pub const ALL: [Kind; 3] = [Kind::Read, Kind::Write, Kind::Create];

    /// Column title.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Create => "create",
        }
    }

    /// One operation begins this long after the one before, or at once when that took longer. Two machines' loads
    /// together need less than half of two CPUs with the slower implementation.
    fn period(self) -> Duration {
        Duration::from_millis(match self {
            Kind::Read => 5,
            Kind::Write => 10,
            Kind::Create => 40,
        })
    }
}

/// One operation. Times are since the clock's start.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it began.
    pub begin: Duration,
    /// When it ended; `None` for one that has not yet.
    pub end: Option<Duration>,
    /// Its error.
    pub error: Option<Failure>,
}

/// An operation's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The number, when the kernel gave one.
    pub errno: Option<i32>,
    /// The words.
    pub text: String,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure {
            errno: error.raw_os_error(),
            text: error.to_string(),
        }
    }
}

/// Operations of one kind; the last one may still run.
type Track = Arc<Mutex<Vec<Sample>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notices when a client reaches a brick again: the first file that is on the brick the moment its creation is
/// acknowledged (creations wait for every brick the client is connected to; a heal comes later).
#[derive(Debug)]
struct Reach {
    victim: usize,
    paths: BrickPaths,
    armed: AtomicBool,
    reached: Mutex<Option<Duration>>,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    machine: usize,
    dir: PathBuf,
    stop: Arc<AtomicBool>,
    tracks: [Track; 3],
    threads: Vec<JoinHandle<Result<Acknowledged>>>,
    reach: Option<Arc<Reach>>,
}

/// What a load has seen in the end.
#[derive(Debug)]
pub struct Seen {
    /// The machine's number.
    pub machine: usize,
    /// Per kind, in the order of [`Kind::ALL`].
    pub samples: [Vec<Sample>; 3],
    /// When the brick that was watched was reached again.
    pub reached: Option<Duration>,
    /// What must be there.
    pub acknowledged: Acknowledged,
    /// Threads that had to be given up.
    pub stuck: bool,
}

impl Load {
    /// Makes a directory `name` in the mount of a machine and begins. `victim` is the worker whose brick is watched.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub fn start(
        (machine, mount): (usize, &Path),
        name: &str,
        clock: Instant,
        (victim, paths): (Option<usize>, BrickPaths),
    ) -> Result<Load> {
        let dir = PathBuf::from(format!("{name}-{machine}"));
        let at = mount.join(&dir);
        fs::create_dir(&at).context(at.display())?;
        fs::create_dir(at.join("creates")).context("creates")?;
        model::prepare(&at)?;
        let stop = Arc::new(AtomicBool::new(false));
        let reach = victim.map(|victim| {
            Arc::new(Reach {
                victim,
                paths,
                armed: AtomicBool::new(false),
                reached: Mutex::new(None),
            })
        });
        let tracks: [Track; 3] = Default::default();
        let worker = |kind: Kind| Worker {
            kind,
            at: at.clone(),
            dir: dir.clone(),
            clock,
            stop: Arc::clone(&stop),
            reach: reach.clone(),
        };
        let threads = Kind::ALL
            .into_iter()
            .zip(&tracks)
            .map(|(kind, track)| {
                let (worker, track) = (worker(kind), Arc::clone(track));
                std::thread::spawn(move || worker.run(&track))
            })
            .collect();
        Ok(Load {
            machine,
            dir,
            stop,
            tracks,
            threads,
            reach,
        })
    }

    /// The machine's number.
    #[must_use]
    pub fn machine(&self) -> usize {
        self.machine
    }

    /// Its directory, relative to the mount.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Begins to look for the watched brick.
    pub fn watch(&self) {
        if let Some(reach) = &self.reach {
            reach.armed.store(true, Ordering::Release);
        }
    }

    /// Whether the watched brick has been reached, or none is watched.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.reach.as_ref().is_none_or(|reach| lock(&reach.reached).is_some())
    }

    /// Whether operations of every kind that began within `span` before `now` have ended by now.
    #[must_use]
    pub fn flows(&self, now: Duration, span: Duration) -> bool {
        const ENOUGH: usize = 5;
        self.tracks.iter().all(|track| {
            let samples = lock(track);
            let recent = samples
                .iter()
                .rev()
                .take_while(|sample| sample.begin + span >= now)
                .filter(|sample| sample.end.is_some());
            recent.count() >= ENOUGH
        })
    }

    /// Ends the load. Threads that do not end within `limit` are given up after `unstick`.
    ///
    /// # Errors
    /// When a thread panicked or read back something that nobody wrote.
    pub fn finish(self, limit: Duration, unstick: impl FnOnce()) -> Result<Seen> {
        self.stop.store(true, Ordering::Release);
        let ended = |limit| wait_ended(&self.threads, limit);
        let mut stuck = false;
        if !ended(limit) {
            stuck = true;
            unstick();
            if !ended(Duration::from_secs(10)) {
                return Err(fail("an operation does not even end when its client is killed"));
            }
        }
        let mut acknowledged = Acknowledged::default();
        for thread in self.threads {
            acknowledged.merge(thread.join().map_err(|_| fail("a load thread panicked"))??);
        }
        let samples = self.tracks.map(|track| lock(&track).clone());
        let reached = self.reach.and_then(|reach| *lock(&reach.reached));
        Ok(Seen {
            machine: self.machine,
            samples,
            reached,
            acknowledged,
            stuck,
        })
    }
}

fn wait_ended(threads: &[JoinHandle<Result<Acknowledged>>], limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while !threads.iter().all(JoinHandle::is_finished) {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// One thread's part.
struct Worker {
    kind: Kind,
    at: PathBuf,
    dir: PathBuf,
    clock: Instant,
    stop: Arc<AtomicBool>,
    reach: Option<Arc<Reach>>,
}

impl Worker {
    fn run(self, track: &Track) -> Result<Acknowledged> {
        own_files()?;
        let mut acknowledged = Acknowledged::default();
        let mut file = match self.kind {
            Kind::Create => None,
            kind => Some(open(&self.at.join(kind.name())).context(kind.name())?),
        };
        let mut memory = Aligned::new();
        let mut next = Instant::now();
        for number in 0u64.. {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next = Instant::now() + self.kind.period();
            lock(track).push(Sample {
                begin: self.clock.elapsed(),
                end: None,
                error: None,
            });
            let done = match self.kind {
                Kind::Read => read(file.as_ref(), &mut memory, number)?,
                Kind::Write => write(file.as_ref(), &mut memory, number),
                Kind::Create => model::create(&self.at.join("creates"), number),
            };
            let end = self.clock.elapsed();
            if self.kind == Kind::Create && done.is_ok() {
                self.look(number);
            }
            acknowledged.note(self.kind, number, done.is_ok());
            let failed = done.is_err();
            if let Some(sample) = lock(track).last_mut() {
                sample.end = Some(end);
                sample.error = done.err().map(Failure::from);
            }
            // An application that gets an error opens its file again; it keeps the old one where it cannot.
            if failed
                && file.is_some()
                && let Ok(again) = open(&self.at.join(self.kind.name()))
            {
                file = Some(again);
            }
        }
        Ok(acknowledged)
    }

    /// Whether the file just created is on the watched brick.
    fn look(&self, number: u64) {
        let Some(reach) = self.reach.as_ref().filter(|reach| reach.armed.load(Ordering::Acquire)) else {
            return;
        };
        let mut reached = lock(&reach.reached);
        if reached.is_none()
            && let Some(brick) = reach.paths.get(reach.victim)
            && brick
                .join(&self.dir)
                .join("creates")
                .join(model::created_name(number))
                .exists()
        {
            *reached = Some(self.clock.elapsed());
        }
    }
}

/// Gives the calling thread open files of its own. Commands that other threads start would inherit those of the mount,
/// and closing one at exec waits for its flush: the repair of a fault would wait for the end of the fault.
///
/// # Errors
/// When the kernel refuses.
pub fn own_files() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).context("open files of its own")
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
}

fn not_open() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// The outer error is a wrong content, which no test may survive.
fn read(file: Option<&File>, memory: &mut Aligned, number: u64) -> Result<io::Result<()>> {
    let block = model::place(number);
    let slice = memory.slice();
    let done = match file {
        Some(file) => file.read_exact_at(slice, block * BLOCK as u64),
        None => Err(not_open()),
    };
    if done.is_ok() && slice != model::read_content(block) {
        return Err(fail(format!("block {block} of the file that is only read has changed")));
    }
    Ok(done)
}

fn write(file: Option<&File>, memory: &mut Aligned, number: u64) -> io::Result<()> {
    let block = model::place(number);
    let slice = memory.slice();
    slice.copy_from_slice(&model::written_content(block, number + 1));
    file.ok_or_else(not_open)?.write_all_at(slice, block * BLOCK as u64)
}

/// Memory that begins at a multiple of the block size, as O_DIRECT wants it.
struct Aligned {
    memory: Vec<u8>,
    offset: usize,
}

impl Aligned {
    fn new() -> Aligned {
        let memory = vec![0u8; 2 * BLOCK];
        let offset = BLOCK - memory.as_ptr().addr() % BLOCK;
        Aligned { memory, offset }
    }

    fn slice(&mut self) -> &mut [u8] {
        let end = self.offset + BLOCK;
        // The offset is between 1 and BLOCK and the memory has twice that.
        self.memory.get_mut(self.offset..end).unwrap_or_default()
    }
}

const _: () = assert!(BLOCKS > 0, "the files have blocks");
