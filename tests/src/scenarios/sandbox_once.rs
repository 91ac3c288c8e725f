//! The README's main command itself, in its form that ends after the story, and what it leaves behind: nothing.

use super::{Need, Scenario};
use crate::lab::error::{Result, ensure};
use crate::lab::process;
use crate::lab::record::{BASE_VARIABLE, TAG};
use crate::lab::{Lab, binaries, mounts};
use std::fs;
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "sandbox_once",
    about: "the sandbox command tells its story on this machine and leaves nothing behind",
    needs: &[Need::Ours],
    seconds: 300,
    run,
};

fn run() -> Result<()> {
    let lab = Lab::local()?;
    let (state, at) = (lab.make_dir("state")?, lab.dir().join("mnt"));
    let sandbox = lab.this_machine().cmd(binaries::our("sandbox")?);
    let sandbox = sandbox.arg(&at).arg("--state").arg(&state).arg("--once");
    // The programs are those this suite tests; the sandbox would build them again.
    let sandbox = sandbox
        .env(binaries::DIRECTORY_VARIABLE, binaries::our_directory()?)
        .env(BASE_VARIABLE, &state);
    let text = sandbox.limit(Duration::from_secs(280)).run()?;
    for line in [
        "killing the brick now",
        "entries left to heal: 0",
        "the bricks are identical",
        "nothing is left",
    ] {
        ensure(text.contains(line), format!("the story lacks {line:?}:\n{text}"))?;
    }
    ensure(!at.exists(), "the mount point it made is still there")?;
    ensure(mounts::under(lab.dir()).is_empty(), "something is still mounted")?;
    ensure(fs::read_dir(&state)?.count() == 0, "its state directory is not empty")?;
    let left = process::all().into_iter().filter(|pid| {
        pid.env_value(TAG)
            .is_some_and(|tag| tag.starts_with(&*state.to_string_lossy()))
    });
    let left: Vec<String> = left.map(|pid| pid.command()).collect();
    ensure(left.is_empty(), format!("still running: {}", left.join(", ")))?;
    lab.remove()
}
