//! What the load's files must hold: every block and every name that was acknowledged. Pure content, no timing.

use super::load::Kind;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::scenarios::common::pattern;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Bytes of one operation.
pub const BLOCK: usize = 4096;
/// Blocks of the files that are read and written.
pub const BLOCKS: u64 = 256;

/// What one load has been promised.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Per block the numbers of the writes it may hold: the last acknowledged one, and those that failed after it.
    blocks: BTreeMap<u64, Vec<u64>>,
    /// Numbers of the files that must exist.
    created: Vec<u64>,
}

impl Acknowledged {
    /// Notes an operation's end.
    pub fn note(&mut self, kind: Kind, number: u64, good: bool) {
        match (kind, good) {
            (Kind::Read, _) | (Kind::Create, false) => {}
            (Kind::Create, true) => self.created.push(number),
            (Kind::Write, true) => {
                self.blocks.insert(place(number), vec![number + 1]);
            }
            (Kind::Write, false) => {
                // Number 0 is what the file was made with.
                let may = self.blocks.entry(place(number)).or_insert_with(|| vec![0]);
                may.push(number + 1);
            }
        }
    }

    /// Adds another thread's part; no two threads have blocks or files in common.
    pub fn merge(&mut self, other: Acknowledged) {
        self.blocks.extend(other.blocks);
        self.created.extend(other.created);
    }

    /// Fails unless a load's directory holds everything that was acknowledged.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub fn check(&self, dir: &Path) -> Result<()> {
        let written = fs::read(dir.join(Kind::Write.name())).context("read the written file")?;
        ensure(
            written.len() as u64 == BLOCKS * BLOCK as u64,
            format!("the written file has {} bytes", written.len()),
        )?;
        for (block, content) in (0u64..).zip(written.chunks(BLOCK)) {
            let original = vec![0];
            let may = self.blocks.get(&block).unwrap_or(&original);
            if !may.iter().any(|number| content == written_content(block, *number)) {
                return Err(fail(format!(
                    "{}: block {block} holds none of the writes {may:?}",
                    dir.display()
                )));
            }
        }
        for number in &self.created {
            let path = dir.join("creates").join(created_name(*number));
            let content = fs::read_to_string(&path).context(format!("acknowledged file {}", path.display()))?;
            ensure(
                content == created_name(*number),
                format!("{} holds `{content}`", path.display()),
            )?;
        }
        Ok(())
    }
}

/// Makes the two files.
///
/// # Errors
/// When they cannot be written.
pub fn prepare(dir: &Path) -> Result<()> {
    let fill = |kind: Kind, content: &dyn Fn(u64) -> Vec<u8>| {
        let bytes: Vec<u8> = (0..BLOCKS).flat_map(content).collect();
        let path = dir.join(kind.name());
        fs::write(&path, bytes).context(path.display())
    };
    fill(Kind::Read, &read_content)?;
    fill(Kind::Write, &|block| written_content(block, 0))
}

/// The block that operation `number` goes to: all in turn, far from each other.
#[must_use]
pub fn place(number: u64) -> u64 {
    // 97 has no divisor in common with the number of blocks.
    number.wrapping_mul(97) % BLOCKS
}

/// Content of a block of the file that is only read.
#[must_use]
pub fn read_content(block: u64) -> Vec<u8> {
    pattern(block + 1_000_000_007, BLOCK)
}

/// Content that write `number` (from 1) gives a block.
#[must_use]
pub fn written_content(block: u64, number: u64) -> Vec<u8> {
    pattern((number << 16) | block, BLOCK)
}

/// Name, and content, of the file that create `number` makes.
#[must_use]
pub fn created_name(number: u64) -> String {
    format!("file-{number}")
}

/// Makes a file that must be new.
///
/// # Errors
/// The system call's.
pub fn create(dir: &Path, number: u64) -> io::Result<()> {
    let name = created_name(number);
    let mut file = File::create_new(dir.join(&name))?;
    file.write_all(name.as_bytes())?;
    // Dropping it would swallow the error of close.
    nix::unistd::close(file).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("ringluster-model-{}-{name}", std::process::id()));
        fs::create_dir_all(dir.join("creates")).unwrap();
        prepare(&dir).unwrap();
        dir
    }

    fn put(dir: &Path, number: u64) {
        use std::os::unix::fs::FileExt;
        let file = File::options().write(true).open(dir.join("write")).unwrap();
        let content = written_content(place(number), number + 1);
        file.write_all_at(&content, place(number) * BLOCK as u64).unwrap();
    }

    #[test]
    fn every_block_is_visited() {
        let visited: std::collections::BTreeSet<u64> = (0..BLOCKS).map(place).collect();
        assert_eq!(visited.len() as u64, BLOCKS);
    }

    #[test]
    fn a_lost_write_is_seen_and_a_failed_one_is_free() {
        let dir = scratch("writes");
        let mut model = Acknowledged::default();
        model.check(&dir).unwrap();
        model.note(Kind::Write, 5, true);
        assert!(model.check(&dir).is_err());
        put(&dir, 5);
        model.check(&dir).unwrap();
        // A write to the same block fails: the old and the new content are both right.
        model.note(Kind::Write, 5 + BLOCKS, false);
        model.check(&dir).unwrap();
        put(&dir, 5 + BLOCKS);
        model.check(&dir).unwrap();
        put(&dir, 5 + 2 * BLOCKS);
        assert!(model.check(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_lost_file_is_seen() {
        let dir = scratch("creates");
        let mut model = Acknowledged::default();
        create(&dir.join("creates"), 3).unwrap();
        model.note(Kind::Create, 3, true);
        model.check(&dir).unwrap();
        assert!(create(&dir.join("creates"), 3).is_err());
        model.note(Kind::Create, 4, true);
        assert!(model.check(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
