//! What a lab has made, written down before it is made, so that it can be removed even after a SIGKILL.
//!
//! One text file per lab directory, one line per thing. Removal uses these names, the lab's own environment tag
//! for processes and nothing else: never a pattern that could match somebody else's.

use super::error::{Context, Result, fail};
use super::mounts;
use super::process::{self, Pid};
use super::run::Cmd;
use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the environment variable every process of a lab carries; its value is the lab's directory.
pub const TAG: &str = "RINGLUSTER_LAB";
/// Set to another directory to keep labs elsewhere than in `/var/tmp/ringluster-lab`.
pub const BASE_VARIABLE: &str = "RINGLUSTER_LAB_DIR";
const FILE: &str = "record";
const DEFAULT_BASE: &str = "/var/tmp/ringluster-lab";

/// One thing that must be removed at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The process that owns the lab; while it lives nobody else removes anything.
    Owner(Pid),
    /// A network namespace under `/run/netns`.
    Netns(String),
    /// A network device.
    Link(String),
    /// A loop device's backing file.
    Loop(PathBuf),
    /// A file system that may be frozen.
    Frozen(PathBuf),
    /// A mount point outside the lab's own directory that was there before: it is unmounted and stays.
    Mount(PathBuf),
    /// A directory the lab has made outside its own: unmounted, and removed when it is empty.
    Outside(PathBuf),
}

impl Item {
    fn line(&self) -> String {
        match self {
            Item::Owner(pid) => format!("owner {pid}"),
            Item::Netns(name) => format!("netns {name}"),
            Item::Link(name) => format!("link {name}"),
            Item::Loop(path) => format!("loop {}", path.display()),
            Item::Frozen(path) => format!("frozen {}", path.display()),
            Item::Mount(path) => format!("mount {}", path.display()),
            Item::Outside(path) => format!("outside {}", path.display()),
        }
    }

    fn parse(line: &str) -> Result<Item> {
        let (kind, rest) = line
            .split_once(' ')
            .ok_or_else(|| fail(format!("not a record line: {line}")))?;
        Ok(match kind {
            "owner" => Item::Owner(rest.parse()?),
            "netns" => Item::Netns(rest.into()),
            "link" => Item::Link(rest.into()),
            "loop" => Item::Loop(rest.into()),
            "frozen" => Item::Frozen(rest.into()),
            "mount" => Item::Mount(rest.into()),
            "outside" => Item::Outside(rest.into()),
            other => return Err(fail(format!("unknown kind of record: {other}"))),
        })
    }
}

/// Directory that holds the directories of all labs.
#[must_use]
pub fn base_directory() -> PathBuf {
    std::env::var_os(BASE_VARIABLE).map_or_else(|| PathBuf::from(DEFAULT_BASE), PathBuf::from)
}

/// Record of one lab.
#[derive(Debug, Clone)]
pub struct Record {
    dir: PathBuf,
}

impl Record {
    /// Makes a new lab directory under `base`, owned by this process.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn create(base: &Path) -> Result<Record> {
        fs::create_dir_all(base).context(base.display())?;
        let own = Pid::own()?;
        for number in 0..10_000 {
            let dir = base.join(format!("{}-{number}", own.pid));
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let record = Record { dir };
                    record.add(&Item::Owner(own))?;
                    return Ok(record);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(format!("{}: {error}", dir.display()))),
            }
        }
        Err(fail(format!("{} is full of old labs", base.display())))
    }

    /// The lab's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Value of [`TAG`] in the environment of each of the lab's processes.
    #[must_use]
    pub fn tag(&self) -> String {
        self.dir.display().to_string()
    }

    /// Names of the network namespaces and devices made so far.
    #[must_use]
    pub fn network_names(&self) -> Vec<String> {
        let name = |item| match item {
            Item::Netns(name) | Item::Link(name) => Some(name),
            _ => None,
        };
        self.items().unwrap_or_default().into_iter().filter_map(name).collect()
    }

    /// Writes down something that is about to be made.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn add(&self, item: &Item) -> Result<()> {
        let path = self.dir.join(FILE);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .context(path.display())?;
        writeln!(file, "{}", item.line()).context(path.display())
    }

    /// Everything written down so far.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn items(&self) -> Result<Vec<Item>> {
        let path = self.dir.join(FILE);
        fs::read_to_string(&path)
            .context(path.display())?
            .lines()
            .map(Item::parse)
            .collect()
    }

    /// Removes everything. Goes on after a failure and reports all of them at the end.
    ///
    /// # Errors
    /// A list of what could not be removed.
    pub fn remove(&self) -> Result<()> {
        let mut problems = Vec::new();
        let items = self.items()?;
        for item in &items {
            if let Item::Frozen(path) = item {
                // Fails when it is not frozen any more: that is the usual case.
                let _ = Cmd::new("fsfreeze")
                    .arg("-u")
                    .arg(path)
                    .limit(Duration::from_secs(5))
                    .output();
            }
        }
        self.stop_processes(&items, &mut problems);
        mounts::detach_under(&self.dir, &mut problems);
        for item in items.iter().rev() {
            if let Err(error) = remove_item(item) {
                problems.push(error.to_string());
            }
        }
        // Never into something that is still mounted.
        if mounts::under(&self.dir).is_empty()
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            problems.push(format!("{}: {error}", self.dir.display()));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(fail(problems.join("\n")))
        }
    }

    /// Kills every process that carries the tag or lives in one of the lab's network namespaces.
    fn stop_processes(&self, items: &[Item], problems: &mut Vec<String>) {
        let tag = self.tag();
        let own = std::process::id();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let mut left = process::with_env(TAG, &tag);
            for item in items {
                if let Item::Netns(name) = item {
                    left.extend(netns_processes(name));
                }
            }
            left.retain(|pid| u32::try_from(pid.pid) != Ok(own) && pid.alive());
            if left.is_empty() {
                return;
            }
            if Instant::now() >= end {
                problems.extend(
                    left.iter()
                        .map(|pid| format!("process {} still runs: {}", pid.pid, pid.command())),
                );
                return;
            }
            for pid in &left {
                if let Err(error) = pid.signal(Signal::SIGKILL) {
                    problems.push(error.to_string());
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Every process of a network namespace, by the namespace's name; none when there is no such namespace.
#[must_use]
pub fn netns_processes(name: &str) -> Vec<Pid> {
    let Ok(text) = Cmd::new("ip").args(["netns", "pids", name]).run() else {
        return Vec::new();
    };
    text.split_whitespace()
        .filter_map(|pid| Pid::of(pid.parse().ok()?).ok())
        .collect()
}

fn remove_item(item: &Item) -> Result<()> {
    match item {
        Item::Owner(_) | Item::Frozen(_) => Ok(()),
        Item::Netns(name) => {
            if Path::new("/run/netns").join(name).exists() {
                Cmd::new("ip").args(["netns", "del", name]).run()?;
            }
            Ok(())
        }
        Item::Link(name) => {
            if Path::new("/sys/class/net").join(name).exists() {
                Cmd::new("ip").args(["link", "del", name]).run()?;
            }
            Ok(())
        }
        Item::Loop(file) => {
            for device in mounts::loop_devices_of(file)? {
                Cmd::new("losetup").arg("-d").arg(device).run()?;
            }
            Ok(())
        }
        Item::Mount(path) => detach(path),
        Item::Outside(path) => {
            detach(path)?;
            match fs::remove_dir(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                // Somebody put files there: they are not the lab's to delete.
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
                other => other.context(path.display()),
            }
        }
    }
}

fn detach(path: &Path) -> Result<()> {
    let mut problems = Vec::new();
    mounts::detach_under(path, &mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(fail(problems.join("; ")))
    }
}

/// Labs whose owner lives.
#[must_use]
pub fn live() -> Vec<Record> {
    all()
        .into_iter()
        .filter(|(_, lives)| *lives)
        .map(|(record, _)| record)
        .collect()
}

/// Removes every lab whose owner has died. Returns the directories removed.
///
/// # Errors
/// A list of what could not be removed.
pub fn cleanup_leftovers() -> Result<Vec<PathBuf>> {
    let (mut removed, mut problems) = (Vec::new(), Vec::new());
    for (record, _) in all().into_iter().filter(|(_, lives)| !lives) {
        match record.remove() {
            Ok(()) => removed.push(record.dir),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() {
        Ok(removed)
    } else {
        Err(fail(problems.join("\n")))
    }
}

/// Every lab of the base directory, and whether its owner lives.
fn all() -> Vec<(Record, bool)> {
    let Ok(entries) = fs::read_dir(base_directory()) else {
        return Vec::new();
    };
    let labs = entries.flatten().map(|entry| Record { dir: entry.path() });
    labs.filter_map(|record| {
        let items = record.items().ok()?;
        let lives = items.iter().any(|item| matches!(item, Item::Owner(pid) if pid.alive()));
        Some((record, lives))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        let items = [
            Item::Owner(Pid { pid: 7, start: 99 }),
            Item::Netns("a".into()),
            Item::Link("b".into()),
            Item::Loop("/x y".into()),
            Item::Frozen("/z".into()),
            Item::Mount("/mnt/p".into()),
            Item::Outside("/mnt/q".into()),
        ];
        for item in items {
            assert_eq!(Item::parse(&item.line()).unwrap(), item);
        }
        assert!(Item::parse("nonsense 1").is_err());
    }

    #[test]
    fn tagged_processes_die_with_the_record() {
        let base = std::env::temp_dir().join(format!("ringluster-record-{}", std::process::id()));
        let record = Record::create(&base).unwrap();
        let (name, value) = (TAG, record.dir().to_path_buf());
        let pid = Cmd::new("sh")
            .args(["-c", "setsid sleep 60 & echo $!"])
            .env(name, value)
            .run()
            .unwrap();
        let pid = Pid::of(pid.trim().parse().unwrap()).unwrap();
        record.remove().unwrap();
        assert!(!pid.alive());
        assert!(!record.dir().exists());
        fs::remove_dir(&base).unwrap();
    }
}
