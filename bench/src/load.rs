//! The loads: what each does, and running it in a directory of the file system that is measured.
//!
//! Each load is written as an application would be: system calls on files, several threads, no knowledge of what is
//! below the mount.

mod buffer;
mod large;
mod small;

use crate::figure::Sample;
use ::tests::lab::error::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// A new file, 1 MiB at a time, until it is closed.
    SeqWrite,
    /// The same file from the start, with an empty page cache.
    SeqRead,
    /// 4 KiB anywhere in it, direct, one thread.
    RandWrite1,
    /// The same, four threads.
    RandWrite4,
    /// 4 KiB from anywhere in it, direct, one thread.
    RandRead1,
    /// The same, four threads.
    RandRead4,
    /// 4 KiB and fsync, over and over.
    WriteFsync,
    /// New files of 4 KiB, four threads.
    Create,
    /// stat of each of them.
    Stat,
    /// Open, read, close each of them.
    Read,
    /// Remove each of them.
    Unlink,
}

/// Size of the run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Length of a timed load.
    pub length: Duration,
    /// Size of the large file, a multiple of 1 MiB.
    pub file_bytes: u64,
}

impl Load {
    /// In the order in which they must run: later ones use the files of earlier ones.
    pub const ALL: [Load; 11] = [
        Load::SeqWrite,
        Load::SeqRead,
        Load::RandWrite1,
        Load::RandWrite4,
        Load::RandRead1,
        Load::RandRead4,
        Load::WriteFsync,
        Load::Create,
        Load::Stat,
        Load::Read,
        Load::Unlink,
    ];

    /// Name on the command line and in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Load::SeqWrite => "seq_write_1m",
            Load::SeqRead => "seq_read_1m",
            Load::RandWrite1 => "rand_write_4k_j1",
            Load::RandWrite4 => "rand_write_4k_j4",
            Load::RandRead1 => "rand_read_4k_j1",
            Load::RandRead4 => "rand_read_4k_j4",
            Load::WriteFsync => "write_fsync_4k",
            Load::Create => "file_create_4k",
            Load::Stat => "file_stat",
            Load::Read => "file_read_4k",
            Load::Unlink => "file_unlink",
        }
    }

    /// What it does.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Load::SeqWrite => "writes a new file, 1 MiB at a time, and closes it",
            Load::SeqRead => "reads that file, 1 MiB at a time, with nothing of it in the page cache",
            Load::RandWrite1 => "overwrites 4 KiB at random places of it, O_DIRECT, one thread",
            Load::RandWrite4 => "the same with four threads",
            Load::RandRead1 => "reads 4 KiB at random places of it, O_DIRECT, one thread",
            Load::RandRead4 => "the same with four threads",
            Load::WriteFsync => "appends 4 KiB and calls fsync, one thread",
            Load::Create => "creates files of 4 KiB (create, write, close), four threads",
            Load::Stat => "stat of each of those files once, a second after its creation, four threads",
            Load::Read => "opens, reads and closes each of them, four threads",
            Load::Unlink => "removes each of them, four threads",
        }
    }

    /// Unit of the rate.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Load::SeqWrite | Load::SeqRead => "MB/s",
            _ => "/s",
        }
    }

    /// The loads whose files this one uses.
    #[must_use]
    pub fn needs(self) -> Option<Load> {
        match self {
            Load::SeqWrite | Load::WriteFsync | Load::Create => None,
            Load::SeqRead | Load::RandWrite1 | Load::RandWrite4 | Load::RandRead1 | Load::RandRead4 => {
                Some(Load::SeqWrite)
            }
            Load::Stat | Load::Read | Load::Unlink => Some(Load::Create),
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// The first error of any operation: a load with errors has no figure.
    pub fn run(self, dir: &Directory, plan: &Plan) -> Result<Sample> {
        match self {
            Load::SeqWrite => large::sequential_write(&dir.large(), plan),
            Load::SeqRead => large::sequential_read(&dir.large()),
            Load::RandWrite1 => large::random(&dir.large(), plan, 1, true),
            Load::RandWrite4 => large::random(&dir.large(), plan, 4, true),
            Load::RandRead1 => large::random(&dir.large(), plan, 1, false),
            Load::RandRead4 => large::random(&dir.large(), plan, 4, false),
            Load::WriteFsync => large::write_fsync(&dir.path.join("synced"), plan),
            Load::Create => small::create(&dir.path, plan),
            Load::Stat => small::stat_all(&dir.path),
            Load::Read => small::each(&dir.path, plan, small::read),
            Load::Unlink => small::unlink_all(&dir.path),
        }
    }
}

/// Directory of one round on the file system that is measured.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(mount: &Path, round: u32) -> Result<Directory> {
        let path = mount.join(format!("bench-{}-{round}", std::process::id()));
        fs::create_dir(&path).context(path.display())?;
        Ok(Directory { path })
    }

    /// Removes it with all files.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).context(self.path.display())
    }

    fn large(&self) -> PathBuf {
        self.path.join("large")
    }
}
