//! Our cluster and the C implementation's, side by side in one run.
//!
//! Each has a lab host of its own with six XFS disks, and its client on that host. The rounds alternate between the
//! two, so that a slow minute of the machine hits both; the load generator is this program, started on the host.

use crate::figure::{Figure, short};
use crate::load::{Load, Plan};
use crate::parse_raw;
use ::tests::lab::disk::{BrickDisk, make_bricks};
use ::tests::lab::error::{Context, Result, fail};
use ::tests::lab::{Cluster, Flavor, Lab, Mount, binaries};
use std::time::Duration;

const BRICKS: usize = 6;
/// Size of a brick's disk; the image is sparse.
const DISK_MIB: u64 = 8 << 10;

/// One of the two that are measured.
#[derive(Debug)]
struct Side {
    name: &'static str,
    mount: Mount,
    _cluster: Cluster,
    figures: Vec<Figure>,
}

/// Measures whatever is there and prints a line per load.
///
/// # Errors
/// When neither side can run, or a load fails.
pub fn run(loads: &[Load], plan: &Plan, runs: u32) -> Result<()> {
    let loads = with_needed(loads);
    let lab = Lab::with_hosts(2, false)?;
    let mut sides = Vec::new();
    match binaries::ours_missing()? {
        missing if missing.is_empty() => sides.push(Side::start(&lab, "Ringluster", Flavor::Ringluster, "worker1")?),
        missing => eprintln!("our programs are not built: {}", missing.join(" ")),
    }
    if binaries::c_installed() {
        sides.push(Side::start(&lab, "GlusterFS", Flavor::C, "worker2")?);
    } else {
        eprintln!("the C implementation is not installed: no ratios");
    }
    if sides.is_empty() {
        return Err(fail("nothing to measure"));
    }
    for round in 1..=runs {
        for side in &mut sides {
            eprintln!("round {round} of {runs}: {}", side.name);
            side.round(&loads, plan)?;
        }
    }
    print(&loads, &sides);
    drop(sides);
    lab.remove()
}

impl Side {
    fn start(lab: &Lab, name: &'static str, flavor: Flavor, host: &str) -> Result<Side> {
        let host = lab.host(host)?;
        eprintln!("starting {name}: six bricks on XFS");
        let bricks = make_bricks(lab, host, BrickDisk::Xfs(DISK_MIB), BRICKS)?;
        let cluster = Cluster::start(lab, host, flavor, &bricks).context(name)?;
        let mount = cluster.mount("mnt").context(name)?;
        Ok(Side {
            name,
            mount,
            _cluster: cluster,
            figures: Vec::new(),
        })
    }

    fn round(&mut self, loads: &[Load], plan: &Plan) -> Result<()> {
        let mut cmd = self.mount.host().cmd(std::env::current_exe()?);
        cmd = cmd
            .arg("--mount")
            .arg(self.mount.inside())
            .args(["--raw", "--runs", "1"]);
        cmd = cmd.arg("--seconds").arg(plan.length.as_secs_f64().to_string());
        cmd = cmd.arg("--size").arg((plan.file_bytes >> 20).to_string());
        for load in loads {
            cmd = cmd.arg("--only").arg(load.name());
        }
        let text = cmd.limit(Duration::from_secs(600)).run().context(self.name)?;
        for (load, sample) in parse_raw(&text)? {
            match self.figures.iter_mut().find(|figure| figure.load == load) {
                Some(figure) => figure.add(sample),
                None => {
                    let mut figure = Figure::new(load);
                    figure.add(sample);
                    self.figures.push(figure);
                }
            }
        }
        Ok(())
    }

    fn figure(&self, load: Load) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.load == load)
    }
}

/// The loads with those whose files they use, in running order.
fn with_needed(loads: &[Load]) -> Vec<Load> {
    let wanted = |load: &Load| loads.contains(load) || loads.iter().any(|other| other.needs() == Some(*load));
    Load::ALL.into_iter().filter(wanted).collect()
}

fn print(loads: &[Load], sides: &[Side]) {
    for side in sides {
        println!("{}:", side.name);
        for figure in &side.figures {
            println!("  {}", figure.line());
        }
    }
    let [ours, theirs] = sides else { return };
    println!("{:<18} {:>12} {:>12} {:>8}", "load", ours.name, theirs.name, "ratio");
    for load in loads {
        let rates = [ours, theirs].map(|side| side.figure(*load).and_then(Figure::rate));
        let [Some(our_rate), Some(their_rate)] = rates else {
            continue;
        };
        let ratio = our_rate / their_rate.max(1e-9);
        let columns = format!("{:>12} {:>12} {ratio:>7.2}x", short(our_rate), short(their_rate));
        println!("{:<18} {columns}  {}", load.name(), load.unit());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_loads_come_first() {
        assert_eq!(with_needed(&[Load::Stat]), [Load::Create, Load::Stat]);
        assert_eq!(with_needed(&[Load::RandRead1]), [Load::SeqWrite, Load::RandRead1]);
    }
}
