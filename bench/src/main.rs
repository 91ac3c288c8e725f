//! Benchmarks of a mount, ours beside the C implementation.
//!
//! `bench --mount DIR` measures a file system that is already mounted. `bench --compare` makes a six-brick cluster of
//! our programs and, where the C implementation is installed, one of its programs on equal disks and networks, runs
//! every load on both in turn and prints the ratios. Figures are medians of several runs. `bench --stalls` shows how
//! long an application's operations stall when servers, bricks, disks and networks of a six-server cluster fail.

mod compare;
mod figure;
mod load;

use ::tests::lab::error::{Context, Result, fail};
use ::tests::lab::{Flavor, build};
use ::tests::stalls::rows;
use clap::Parser;
use figure::{Figure, Sample};
use load::{Load, Plan};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Measures sequential, random, fsync and small-file loads.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Options {
    /// Measures the file system mounted here (a directory of its own is made and removed again).
    #[arg(long, value_name = "DIR", required_unless_present_any = ["compare", "stalls", "list"])]
    mount: Option<PathBuf>,
    /// Makes our cluster and the C implementation's and prints the ratios. Needs root.
    #[arg(long, conflicts_with = "mount")]
    compare: bool,
    /// Makes six servers and a manager, lets them fail in every way and prints the longest stalls. Needs root.
    #[arg(long, conflicts_with_all = ["mount", "compare"])]
    stalls: bool,
    /// Whose programs --stalls measures.
    #[arg(long, value_enum, default_value_t = Whose::Both, requires = "stalls")]
    flavor: Whose,
    /// Only these faults of --stalls (names from --stalls --list).
    #[arg(long, value_name = "ROW", requires = "stalls")]
    row: Vec<String>,
    /// Writes every operation of --stalls, with when it began and what it took, into this file.
    #[arg(long, value_name = "FILE", requires = "stalls")]
    operations: Option<PathBuf>,
    /// Names the loads, or with --stalls the faults.
    #[arg(long)]
    list: bool,
    /// Runs of each load; the median is printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..100))]
    runs: u32,
    /// Seconds of each timed load.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Size of the large file in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..1_000_000))]
    size: u64,
    /// Prints samples for another `bench` to read instead of medians.
    #[arg(long, hide = true)]
    raw: bool,
    /// Only these loads (names from --list).
    #[arg(long, value_name = "LOAD")]
    only: Vec<String>,
}

/// Whose programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Whose {
    /// Ours.
    Ours,
    /// The C implementation's.
    C,
    /// One after the other.
    Both,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.stalls {
        return stalls(options);
    }
    if options.list {
        for load in Load::ALL {
            println!("{:<18} {}", load.name(), load.about());
        }
        return Ok(());
    }
    let loads = chosen(&options.only)?;
    let plan = Plan {
        length: duration(options.seconds)?,
        file_bytes: options.size << 20,
    };
    if options.compare {
        return compare::run(&loads, &plan, options.runs);
    }
    let mount = options
        .mount
        .as_deref()
        .ok_or_else(|| fail("--mount DIR or --compare"))?;
    measure(mount, &loads, &plan, options.runs, options.raw)
}

fn stalls(options: &Options) -> Result<()> {
    if options.list {
        for row in rows::ALL {
            println!("{:<18} {}", row.name, row.about);
        }
        return Ok(());
    }
    let find =
        |name: &String| rows::find(name).ok_or_else(|| fail(format!("no row {name}; --stalls --list names them")));
    let chosen: Vec<_> = match options.row.as_slice() {
        [] => rows::ALL.iter().collect(),
        names => names.iter().map(find).collect::<Result<_>>()?,
    };
    let flavors: &[Flavor] = match options.flavor {
        Whose::Ours => &[Flavor::Ringluster],
        Whose::C => &[Flavor::C],
        Whose::Both => &[Flavor::Ringluster, Flavor::C],
    };
    if options.flavor != Whose::C {
        build::programs()?;
    }
    ::tests::stalls::measure(flavors, &chosen, options.operations.as_deref())
}

fn chosen(names: &[String]) -> Result<Vec<Load>> {
    if names.is_empty() {
        return Ok(Load::ALL.to_vec());
    }
    let find = |name: &String| {
        let load = Load::ALL.into_iter().find(|load| load.name() == name);
        load.ok_or_else(|| fail(format!("no load {name}; --list names them")))
    };
    names.iter().map(find).collect()
}

fn duration(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).context("--seconds")
}

/// Runs the loads on a mounted directory. Later loads use files of earlier ones, so all of them run in each round.
fn measure(mount: &Path, loads: &[Load], plan: &Plan, runs: u32, raw: bool) -> Result<()> {
    let mut figures: Vec<Figure> = loads.iter().map(|load| Figure::new(*load)).collect();
    for round in 0..runs {
        let dir = load::Directory::create(mount, round)?;
        for figure in &mut figures {
            let sample = figure.load.run(&dir, plan).context(figure.load.name())?;
            if raw {
                println!("{}", sample.to_line(figure.load));
            }
            figure.add(sample);
        }
        dir.remove()?;
    }
    if !raw {
        for figure in &figures {
            println!("{}", figure.line());
        }
    }
    Ok(())
}

/// What a `bench --raw` has printed.
fn parse_raw(text: &str) -> Result<Vec<(Load, Sample)>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(Sample::parse_line)
        .collect()
}
