//! Whether the tests have left anything behind: compared with what was there before they began.

use super::children::Outcome;
use ::tests::lab::error::Result;
use ::tests::lab::{binaries, mounts, process, record};
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// What is on the machine that a test might have made.
#[derive(Debug)]
pub struct Snapshot {
    things: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the machine now.
    pub fn take() -> Result<Snapshot> {
        Ok(Snapshot { things: look()? })
    }

    /// Passed when nothing has been added since; the kernel gets some seconds for devices that go away late.
    pub fn verdict(&self) -> Outcome {
        let begin = Instant::now();
        loop {
            let added: Vec<String> = match look() {
                Ok(now) => now.difference(&self.things).cloned().collect(),
                Err(error) => return Outcome::Failed(error.to_string()),
            };
            if added.is_empty() {
                return Outcome::Passed(begin.elapsed().as_secs_f64());
            }
            if begin.elapsed() > Duration::from_secs(10) {
                return Outcome::Failed(format!("left behind:\n  {}", added.join("\n  ")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Everything that carries the lab's names. What belongs to another run on the same machine, whose owner lives, is
/// left out.
fn look() -> Result<BTreeSet<String>> {
    let base = record::base_directory();
    let live = record::live();
    let owned: BTreeSet<String> = live.iter().flat_map(record::Record::network_names).collect();
    let mut things = BTreeSet::new();
    let mut add = |thing: String| {
        if !live
            .iter()
            .any(|record| thing.contains(&*record.dir().to_string_lossy()))
        {
            things.insert(thing);
        }
    };
    for (device, backing) in mounts::loop_devices()? {
        add(format!("loop device {} on {backing}", device.display()));
    }
    for line in mounts::table() {
        if line.point.starts_with(&base) || line.kind == "fuse.glusterfs" {
            add(format!("mount {}", line.point.display()));
        }
    }
    for entry in fs::read_dir(&base)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        add(format!("directory {}", entry.path().display()));
    }
    for place in ["/run/netns", "/sys/class/net"] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // A host's outer interface is named after its bridge and goes with it.
            let bridge = name.split('-').next().unwrap_or_default();
            if name.starts_with("rlbr") && !owned.contains(&name) && !owned.contains(bridge) {
                add(format!("{place}/{name}"));
            }
        }
    }
    let ours = binaries::our_directory()?;
    for pid in process::all() {
        // What cargo's tests have started carries no tag, but comes from our directory (this program does, too).
        let program = pid.program();
        let name = program.as_ref().and_then(|path| path.file_name()?.to_str());
        // Its file may have been replaced by the build it runs.
        let this = name.is_some_and(|name| name.strip_suffix(" (deleted)").unwrap_or(name) == "suite");
        if program.as_ref().is_some_and(|path| path.starts_with(&ours)) && !this {
            add(format!("process {}: {}", pid.pid, pid.command()));
        }
        if let Some(lab) = pid.env_value(record::TAG) {
            add(format!("process {} of {lab}: {}", pid.pid, pid.command()));
        }
    }
    Ok(things)
}
