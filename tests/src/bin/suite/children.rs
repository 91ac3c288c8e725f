//! Each scenario in a process of its own: a hang or a panic of one must not take the others with it.

use ::tests::lab::error::Result;
use ::tests::lab::signals::Interrupt;
use ::tests::lab::{Cmd, binaries, cleanup_leftovers, record};
use ::tests::scenarios::{self, Scenario};
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a scenario ended.
#[derive(Debug)]
pub enum Outcome {
    /// After so many seconds.
    Passed(f64),
    /// With this text.
    Failed(String),
    /// For this reason.
    Skipped(String),
}

/// Runs a scenario in this process, for the child.
pub fn run_here(name: &str) -> ExitCode {
    let Some(scenario) = scenarios::find(name) else {
        eprintln!("no scenario {name}");
        return ExitCode::from(2);
    };
    match (scenario.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a scenario in a child and removes whatever the child could not.
pub fn run(scenario: &Scenario, interrupt: &Interrupt) -> Outcome {
    if let Some(reason) = scenarios::reason_to_skip(scenario) {
        return Outcome::Skipped(reason);
    }
    println!("scenario {} ...", scenario.name);
    let begin = Instant::now();
    let outcome = match child(scenario, interrupt) {
        Ok(None) => Outcome::Passed(begin.elapsed().as_secs_f64()),
        Ok(Some(reason)) => Outcome::Failed(reason),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    match (outcome, cleanup_leftovers()) {
        (Outcome::Passed(_), Err(error)) => Outcome::Failed(format!("passed, but could not be cleaned up: {error}")),
        (outcome, _) => outcome,
    }
}

/// `None` when it passed, else why not. The child's output is shown as it comes.
fn child(scenario: &Scenario, interrupt: &Interrupt) -> Result<Option<String>> {
    let base = record::base_directory();
    fs::create_dir_all(&base)?;
    let log = base.join(format!("suite-{}-{}.log", std::process::id(), scenario.name));
    let cmd = Cmd::new(binaries::this_program()?).arg("--one").arg(scenario.name);
    let mut running = cmd.background(&log)?;
    let end = Instant::now() + Duration::from_secs(scenario.seconds);
    let mut shown = 0;
    let verdict = loop {
        let ended = running.ended()?;
        let text = fs::read_to_string(&log).unwrap_or_default();
        print!("{}", text.get(shown..).unwrap_or_default());
        shown = text.len();
        match ended {
            Some(status) if status.success() => break None,
            Some(status) => break Some(format!("  ended with {status}")),
            None if interrupt.asked() => break Some("  interrupted".into()),
            None if Instant::now() >= end => break Some(format!("  not done after {} s: killed", scenario.seconds)),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    running.kill();
    fs::remove_file(&log)?;
    Ok(verdict)
}
