//! Whether the bricks of a replica set are identical, and if not, every difference.
//!
//! Reads brick directories only, as `ls` and `getfattr` would: it shares no code with what it checks. AFR's
//! bookkeeping (`trusted.afr.*`) and backend times are left out of the comparison: the first differs between good
//! bricks by design, the second is replaced by `trusted.glusterfs.mdata`, which is compared.

mod entry;
mod handles;
mod marks;

use super::error::{Result, fail};
use super::run::wait_for;
use entry::{Entry, read_entry};
pub use marks::indexed;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prefix of the self-heal daemon's private directory in the brick root.
const ANONYMOUS: &str = ".glusterfs-anonymous-inode-";

/// What was found on one brick.
#[derive(Debug)]
pub struct BrickReport {
    /// The brick directory.
    pub brick: PathBuf,
    /// Hex SHA-256 over every name with all that is compared of it.
    pub digest: String,
    /// Files, directories and others below the root.
    pub entries: usize,
    /// Sum of the sizes of the regular files, in bytes.
    pub bytes: u64,
    /// Faults that need no other brick to be seen: missing or stray handles, pending heals.
    pub faults: Vec<String>,
    map: BTreeMap<PathBuf, Entry>,
}

/// The bricks side by side.
#[derive(Debug)]
pub struct Comparison {
    /// One report per brick, in the order asked for.
    pub bricks: Vec<BrickReport>,
    /// Every difference between bricks, one line each.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Fails with the first differences and faults unless the bricks are identical and clean.
    ///
    /// # Errors
    /// As said.
    pub fn check(&self) -> Result<()> {
        const SHOWN: usize = 40;
        let mut lines = self.differences.clone();
        for report in &self.bricks {
            let name = report.brick.display();
            lines.extend(report.faults.iter().map(|fault| format!("{name}: {fault}")));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let total = lines.len();
        lines.truncate(SHOWN);
        Err(fail(format!(
            "bricks are not identical, {total} differences:\n  {}",
            lines.join("\n  ")
        )))
    }
}

/// Post-ops delayed by eager locks still change bookkeeping a second after the last close, and an index entry that
/// nothing is wrong with any more goes when the self-heal daemon looks next, which it does every 5 s.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// Compares until the bricks are identical, for a while.
///
/// # Errors
/// The differences of the last comparison.
pub fn wait_identical(compare: impl Fn() -> Result<Comparison>) -> Result<Comparison> {
    wait_for("the bricks are identical", SETTLE_LIMIT, || {
        let comparison = compare()?;
        comparison.check()?;
        Ok(Some(comparison))
    })
}

/// Reads every brick and compares them.
///
/// # Errors
/// When a brick cannot be read; differences are no error here.
pub fn compare_bricks(bricks: &[PathBuf]) -> Result<Comparison> {
    let reports = std::thread::scope(|scope| {
        let running: Vec<_> = bricks
            .iter()
            .map(|brick| scope.spawn(move || read_brick(brick)))
            .collect();
        let joined = running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| fail("a brick reader panicked")));
        joined
            .map(|report| report.and_then(|inner| inner))
            .collect::<Result<Vec<_>>>()
    })?;
    let differences = differences(&reports);
    Ok(Comparison {
        bricks: reports,
        differences,
    })
}

fn read_brick(brick: &Path) -> Result<BrickReport> {
    let mut map = BTreeMap::new();
    let mut faults = Vec::new();
    map.insert(PathBuf::new(), read_entry(brick)?);
    walk(brick, Path::new(""), &mut map, &mut faults)?;
    handles::check(brick, &map, &mut faults)?;
    for (path, entry) in &map {
        faults.extend(
            entry
                .pending
                .iter()
                .map(|key| format!("{}: pending {key}", shown(path))),
        );
    }
    let mut hash = Sha256::new();
    for (path, entry) in &map {
        hash.update(path.as_os_str().as_encoded_bytes());
        for (key, value) in &entry.facts {
            hash.update(format!("\0{key}={value}").as_bytes());
        }
        hash.update(b"\n");
    }
    Ok(BrickReport {
        brick: brick.into(),
        digest: hex(&hash.finalize()),
        entries: map.len().saturating_sub(1),
        bytes: map.values().map(|entry| entry.bytes).sum(),
        faults,
        map,
    })
}

fn walk(brick: &Path, at: &Path, map: &mut BTreeMap<PathBuf, Entry>, faults: &mut Vec<String>) -> Result<()> {
    let dir = brick.join(at);
    let listed = fs::read_dir(&dir).map_err(|error| fail(format!("{}: {error}", dir.display())))?;
    for item in listed {
        let item = item?;
        let path = at.join(item.file_name());
        if at.as_os_str().is_empty() && item.file_name() == ".glusterfs" {
            continue;
        }
        if at.as_os_str().is_empty() && item.file_name().as_encoded_bytes().starts_with(ANONYMOUS.as_bytes()) {
            // The daemon's waiting room is made by each brick on its own; only what was left in it counts.
            for left in fs::read_dir(item.path())?.flatten() {
                faults.push(format!(
                    "left in the anonymous inode directory: {}",
                    left.file_name().to_string_lossy()
                ));
            }
            continue;
        }
        let entry = read_entry(&item.path())?;
        let is_dir = entry.is_dir;
        map.insert(path.clone(), entry);
        if is_dir {
            walk(brick, &path, map, faults)?;
        }
    }
    Ok(())
}

fn differences(reports: &[BrickReport]) -> Vec<String> {
    let paths: BTreeSet<&PathBuf> = reports.iter().flat_map(|report| report.map.keys()).collect();
    let mut lines = Vec::new();
    for path in paths {
        let entries: Vec<Option<&Entry>> = reports.iter().map(|report| report.map.get(path)).collect();
        let there = entries
            .iter()
            .map(|entry| if entry.is_some() { "there" } else { "missing" });
        if let Some(line) = disagreement(there) {
            lines.push(format!("{}: {line}", shown(path)));
            continue;
        }
        let keys: BTreeSet<&String> = entries.iter().flatten().flat_map(|entry| entry.facts.keys()).collect();
        for key in keys {
            let values = entries
                .iter()
                .flatten()
                .map(|entry| entry.facts.get(key).map_or("absent", String::as_str));
            if let Some(line) = disagreement(values) {
                lines.push(format!("{}: {key}: {line}", shown(path)));
            }
        }
    }
    lines
}

/// `None` when all are equal, else each value with the numbers (from 1) of the bricks that have it.
fn disagreement<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, value) in values.enumerate() {
        groups.entry(value).or_default().push((index + 1).to_string());
    }
    if groups.len() < 2 {
        return None;
    }
    let parts: Vec<String> = groups
        .iter()
        .map(|(value, bricks)| format!("{value} on brick {}", bricks.join(",")))
        .collect();
    Some(parts.join("; "))
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        "/".into()
    } else {
        path.display().to_string()
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
