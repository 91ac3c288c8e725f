//! The machine's mount table and loop devices: what is there, and taking it away.
//!
//! Reads `/proc/self/mountinfo` and `/sys/block`, never asks a file system that might hang.

use super::error::{Context, Result};
use super::run::Cmd;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountLine {
    /// Where it is mounted.
    pub point: PathBuf,
    /// File system type, such as `fuse.glusterfs`.
    pub kind: String,
    /// Its source, such as `localhost:0001`.
    pub source: String,
}

/// Everything mounted in this mount namespace, in mount order.
#[must_use]
pub fn table() -> Vec<MountLine> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// What is mounted on or below a directory, in mount order.
#[must_use]
pub fn under(dir: &Path) -> Vec<PathBuf> {
    table()
        .into_iter()
        .map(|line| line.point)
        .filter(|point| point.starts_with(dir))
        .collect()
}

/// Unmounts everything on or below a directory, newest first, lazily where it is busy.
pub fn detach_under(dir: &Path, problems: &mut Vec<String>) {
    for point in under(dir).iter().rev() {
        if Cmd::new("umount").arg(point).limit(Duration::from_secs(10)).succeeds() {
            continue;
        }
        if let Err(error) = Cmd::new("umount")
            .arg("-l")
            .arg(point)
            .limit(Duration::from_secs(10))
            .run()
        {
            problems.push(error.to_string());
        }
    }
}

/// Loop devices whose backing file is `file`, deleted or not.
///
/// # Errors
/// When `/sys/block` cannot be read.
pub fn loop_devices_of(file: &Path) -> Result<Vec<PathBuf>> {
    let wanted = file.display().to_string();
    let deleted = format!("{wanted} (deleted)");
    Ok(loop_devices()?
        .into_iter()
        .filter(|(_, backing)| *backing == wanted || *backing == deleted)
        .map(|(device, _)| device)
        .collect())
}

/// Every loop device in use and its backing file.
///
/// # Errors
/// When `/sys/block` cannot be read.
pub fn loop_devices() -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").context("/sys/block")?.flatten() {
        let name = entry.file_name();
        let backing = entry.path().join("loop/backing_file");
        if let Ok(text) = fs::read_to_string(backing) {
            found.push((Path::new("/dev").join(name), text.trim_end().to_string()));
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Vec<MountLine> {
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let point = PathBuf::from(unescape(before.split(' ').nth(4)?));
            let mut rest = after.split(' ');
            let kind = rest.next()?.to_string();
            let source = unescape(rest.next()?);
            Some(MountLine { point, kind, source })
        })
        .collect()
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(3).collect();
        let value = digits
            .iter()
            .fold(0u32, |n, d| n * 8 + u32::from(d.saturating_sub(b'0')));
        out.push(u8::try_from(value).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines() {
        let text = "36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - fuse.glusterfs localhost:0001 rw,user_id=0\n\
                    36 35 98:0 / /x rw - ext4 /dev/vda rw\n";
        let lines = parse(text);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].point, PathBuf::from("/mnt/a b"));
        assert_eq!(lines[0].kind, "fuse.glusterfs");
        assert_eq!(lines[0].source, "localhost:0001");
        assert_eq!(lines[1].kind, "ext4");
    }
}
