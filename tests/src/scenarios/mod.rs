//! The scenarios of the suite: each a named test on a cluster of real processes.
//!
//! A scenario makes its own lab, so it can run alone (`cargo suite NAME`), and says by its [`Need`]s what it cannot
//! do without; the suite skips it with that reason where it is missing. A scenario fails by returning an error.

pub mod bad_input;
pub mod cli_errors;
pub mod common;
pub mod fio_verify_under_kills;
pub mod five_dead;
pub mod git_under_kills;
pub mod interop;
pub mod kill_latency;
pub mod lab_faults;
pub mod lab_on_c;
pub mod listing_under_kills;
pub mod mount_basic;
pub mod package;
pub mod sandbox_once;
pub mod seed_commands;
pub mod six_addresses;
pub mod six_bricks;
pub mod six_full_disk;
pub mod six_lab;
pub mod six_mounts;
pub mod six_server_quorum;
pub mod six_servers;
pub mod story;
pub mod tar_under_kills;
pub mod two_dead;

use crate::lab::{Flavor, Result, binaries};

/// Something a scenario cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Our programs.
    Ours,
    /// The C implementation.
    C,
    /// fio.
    Fio,
    /// git.
    Git,
}

/// One test.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// What it needs.
    pub needs: &'static [Need],
    /// Longest time it may take, in seconds.
    pub seconds: u64,
    /// The test.
    pub run: fn() -> Result<()>,
}

/// Every scenario, in the order in which the suite runs them.
pub const ALL: &[Scenario] = &[
    lab_faults::SCENARIO,
    lab_on_c::SCENARIO,
    mount_basic::SCENARIO,
    story::SCENARIO,
    kill_latency::SCENARIO,
    two_dead::SCENARIO,
    five_dead::SCENARIO,
    fio_verify_under_kills::SCENARIO,
    git_under_kills::SCENARIO,
    tar_under_kills::SCENARIO,
    interop::C_CLIENT,
    interop::C_CLUSTER,
    bad_input::SCENARIO,
    cli_errors::SCENARIO,
    sandbox_once::SCENARIO,
    package::SCENARIO,
    six_servers::USER_TESTS,
    six_servers::FAULTS,
    six_servers::OUTAGES,
    six_mounts::SCENARIO,
    six_bricks::SCENARIO,
    six_addresses::SCENARIO,
    six_server_quorum::SCENARIO,
    seed_commands::SCENARIO,
];

/// Scenarios that run only when they are named: what they show is either shown in short by one of [`ALL`], too, or
/// takes longer than a suite that runs for every change may take.
pub const BY_NAME: &[Scenario] = &[
    listing_under_kills::SCENARIO,
    six_lab::SCENARIO,
    six_full_disk::SCENARIO,
    six_servers::EVERY_ROW,
    six_servers::SURVIVORS,
];

/// A scenario by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().chain(BY_NAME).find(|scenario| scenario.name == name)
}

/// Why a scenario cannot run on this machine, if it cannot.
#[must_use]
pub fn reason_to_skip(scenario: &Scenario) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    if let Err(error) = std::fs::File::open("/dev/fuse") {
        return Some(format!("/dev/fuse: {error}"));
    }
    scenario.needs.iter().find_map(lacking)
}

fn lacking(need: &Need) -> Option<String> {
    match need {
        Need::Ours if common::flavor() == Flavor::C => lacking(&Need::C),
        Need::Ours => match binaries::ours_missing() {
            Ok(missing) if missing.is_empty() => None,
            Ok(missing) => Some(format!("not built: {}", missing.join(" "))),
            Err(error) => Some(error.to_string()),
        },
        Need::C if binaries::c_installed() => None,
        Need::C => Some("GlusterFS's C implementation is not installed".into()),
        Need::Fio => tool("fio"),
        Need::Git => tool("git"),
    }
}

fn tool(name: &str) -> Option<String> {
    let found = crate::lab::Cmd::new(name).arg("--version").succeeds();
    (!found).then(|| format!("{name} is not installed"))
}
