//! `cargo suite`: every test there is, in one command.
//!
//! Installs what is missing, builds the workspace, runs `cargo test` and then each scenario in a process of its own
//! with a time limit, checks that nothing is left behind and prints one closing line. `--list` names the scenarios,
//! names as arguments run only those.

use ::tests::lab::error::{Result, fail};
use ::tests::lab::signals::Interrupt;
use ::tests::lab::{build, cleanup_leftovers, compare_bricks, packages};
use ::tests::scenarios::{self, Scenario};
use clap::Parser;
use std::process::ExitCode;

mod suite {
    pub mod cargo;
    pub mod children;
    pub mod leftovers;
}

use suite::children::Outcome;
use suite::{cargo, children, leftovers};

/// Runs every test there is.
#[derive(Debug, Parser)]
#[command(name = "suite")]
struct Options {
    /// Names the scenarios and what each needs.
    #[arg(long)]
    list: bool,
    /// Removes what killed runs have left behind, and nothing else.
    #[arg(long)]
    cleanup: bool,
    /// Compares the brick directories of one replica set and lists every difference.
    #[arg(long, num_args = 2.., value_name = "BRICK")]
    compare: Vec<std::path::PathBuf>,
    /// Skips `cargo test`.
    #[arg(long)]
    scenarios_only: bool,
    /// Runs one scenario in this very process (the suite starts itself so).
    #[arg(long, hide = true, value_name = "NAME")]
    one: Option<String>,
    /// Only these scenarios.
    names: Vec<String>,
}

/// How many of each.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.one {
        Some(name) => return children::run_here(name),
        None if options.list => list(),
        None if options.cleanup => cleanup(),
        None if !options.compare.is_empty() => compare(&options.compare),
        None => run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("suite: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() -> Result<ExitCode> {
    for scenario in scenarios::ALL {
        println!("{:<22} {}", scenario.name, scenario.about);
    }
    println!("\nOnly by name (cargo suite NAME):");
    for scenario in scenarios::BY_NAME {
        println!("{:<22} {}", scenario.name, scenario.about);
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(bricks: &[std::path::PathBuf]) -> Result<ExitCode> {
    let comparison = compare_bricks(bricks)?;
    for report in &comparison.bricks {
        println!(
            "{}  {}  ({} entries)",
            report.digest,
            report.brick.display(),
            report.entries
        );
    }
    comparison.check().map(|()| ExitCode::SUCCESS)
}

fn cleanup() -> Result<ExitCode> {
    for dir in cleanup_leftovers()? {
        println!("removed {}", dir.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn run(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    let chosen = choose(&options.names)?;
    packages::install()?;
    cleanup_leftovers()?;
    cargo::enable_fuse_over_io_uring();
    build::programs()?;
    let before = leftovers::Snapshot::take()?;
    let mut tally = Tally::default();
    if options.names.is_empty() && !options.scenarios_only {
        let counted = cargo::test()?;
        tally.passed += counted.passed;
        tally.failed += counted.failed;
        tally.skipped += counted.ignored;
    }
    for scenario in chosen {
        if interrupt.asked() {
            return Err(fail("interrupted"));
        }
        count(&mut tally, scenario.name, &children::run(scenario, &interrupt));
    }
    count(&mut tally, "nothing_left_behind", &before.verdict());
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    );
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(scenarios::ALL.iter().collect());
    }
    let pick = |name: &String| scenarios::find(name).ok_or_else(|| fail(format!("no scenario {name}; see --list")));
    names.iter().map(pick).collect()
}

fn count(tally: &mut Tally, name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Passed(seconds) => {
            tally.passed += 1;
            println!("scenario {name} ... passed ({seconds:.1} s)");
        }
        Outcome::Failed(reason) => {
            tally.failed += 1;
            println!("scenario {name} ... FAILED\n{reason}");
        }
        Outcome::Skipped(reason) => {
            tally.skipped += 1;
            println!("scenario {name} ... skipped: {reason}");
        }
    }
}
