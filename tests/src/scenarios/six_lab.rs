//! The six-server lab's own check on the C implementation: machines, volume, mounts and every fault do what their names
//! say. A fault that does nothing would let every test that uses it pass.

use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::six::node::Role;
use crate::lab::six::{MANAGER, WORKERS, fault};
use crate::lab::{Flavor, Host, SixServers};
use nix::sys::signal::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "six_lab_on_c",
    about: "the six-server lab on the C implementation: its faults are felt and its repairs repair",
    needs: &[Need::C],
    seconds: 400,
    run,
};

fn run() -> Result<()> {
    let mut six = SixServers::start(Flavor::C)?;
    written_everywhere(&six)?;
    ping_faults(&mut six).context("network faults")?;
    full_disk(&mut six).context("full disk")?;
    power(&mut six).context("power")?;
    six.wait_healed(Duration::from_secs(120))?;
    written_everywhere(&six).context("after the power returned")?;
    six.expect_identical(Duration::from_secs(60))?;
    six.finish()
}

/// A file written on each machine is on all bricks.
fn written_everywhere(six: &SixServers) -> Result<()> {
    for number in 1..=MANAGER {
        let name = format!("from-{number}");
        fs::write(six.mounted(number)?.join(&name), &name).context(&name)?;
        for brick in 1..=WORKERS {
            let at = six.brick(brick)?.join(&name);
            let there = fs::read_to_string(&at).context(at.display())?;
            ensure(there == name, format!("{} holds {there}", at.display()))?;
        }
    }
    Ok(())
}

fn pings(host: &Host, address: std::net::IpAddr) -> bool {
    // A TCP refusal is an answer, too: nobody listens on port 9.
    let script = format!("exec 3<>/dev/tcp/{address}/9");
    let begin = Instant::now();
    let tried = host.cmd("bash").arg("-c").arg(script).limit(Duration::from_millis(700));
    let _ = tried.output();
    begin.elapsed() < Duration::from_millis(600)
}

fn ping_faults(six: &mut SixServers) -> Result<()> {
    let two = six.address(2)?;
    let one = six.address(1)?;
    let expect = |six: &SixServers, from: usize, to, wanted: bool, what: &str| {
        let got = pings(six.host(from)?, to);
        ensure(got == wanted, format!("{what}: answered {got}"))
    };
    expect(six, 1, two, true, "before")?;
    for cut in [fault::cut_output, fault::cut_input] {
        let repair = cut(six, 1, 2)?;
        expect(six, 1, two, false, "cut")?;
        expect(six, 3, two, true, "another machine")?;
        repair(six)?;
        expect(six, 1, two, true, "lifted")?;
    }
    let repair = fault::half_open(six, 1, 2)?;
    expect(six, 1, two, true, "half-open")?;
    repair(six)?;
    let repair = fault::flap(six, 1)?;
    expect(six, 2, one, false, "flapping")?;
    repair(six)?;
    expect(six, 2, one, true, "after flapping")
}

fn full_disk(six: &mut SixServers) -> Result<()> {
    let repair = fault::fill(six, 3)?;
    let place = six.brick(3)?.with_file_name("probe");
    let refused = fs::write(&place, [1u8; 65536]);
    ensure(
        refused.is_err_and(|error| error.raw_os_error() == Some(libc::ENOSPC)),
        "the full disk took a file",
    )?;
    // The name itself may have found room.
    let _ = fs::remove_file(&place);
    repair(six)?;
    fs::write(&place, b"room").context("after the repair")?;
    fs::remove_file(&place).context(place.display())
}

fn power(six: &mut SixServers) -> Result<()> {
    let clients = six.processes(5, Role::Client)?;
    let brick = six.process(5, Role::Brick)?;
    let repair = fault::power_off(six, 5)?;
    ensure(
        clients.iter().all(|pid| !pid.alive()) && !brick.alive(),
        "processes survived",
    )?;
    ensure(
        !pings(six.host(1)?, six.address(5)?),
        "a machine without power answered",
    )?;
    repair(six)?;
    six.process(5, Role::Brick)
        .map_err(|error| fail(format!("after the boot: {error}")))?;
    let repair = fault::kill(six, 4, Role::Brick, Signal::SIGKILL)?;
    ensure(six.process(4, Role::Brick).is_err(), "a killed brick runs")?;
    repair(six)
}
