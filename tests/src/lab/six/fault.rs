//! What can happen to the six servers, each with its way back. A fault that is not lifted ends with the lab.
//!
//! Iptables rules are written as the user's manual has them and live in a machine's own network namespace.

use super::node::{DISK, Role};
use super::{SixServers, worker};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::fault::{Frozen, Stopped};
use crate::lab::{Host, cluster};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Undoes a fault: what an administrator would do.
pub type Repair = Box<dyn FnOnce(&mut SixServers) -> Result<()>>;

/// Length of each half of a flapping server's period.
const FLAP: Duration = Duration::from_millis(300);

/// Sends a signal that ends every process of a kind on a machine and waits until they are gone.
///
/// # Errors
/// When there is none, or it does not end.
pub fn kill(six: &mut SixServers, number: usize, role: Role, signal: Signal) -> Result<Repair> {
    let victims = six.processes(number, role)?;
    ensure(!victims.is_empty(), format!("no process {role:?} on machine {number}"))?;
    for pid in victims {
        if signal == Signal::SIGKILL {
            cluster::kill_process(pid)?;
            continue;
        }
        pid.signal(signal)?;
        ensure(
            pid.wait_gone(Duration::from_secs(20)),
            format!("{signal} did not end {}", pid.command()),
        )?;
    }
    Ok(match role {
        Role::Daemon => Box::new(move |six| six.start_daemon(number)),
        Role::Brick | Role::Healer => Box::new(|six| six.restart_bricks()),
        Role::Client => Box::new(move |six| {
            // What a killed client leaves is a mount without a server.
            six.unmount(number)?;
            six.mount_all(number)
        }),
    })
}

/// Stops the only process of a kind on a machine with SIGSTOP: its sockets stay and answer nothing.
///
/// # Errors
/// When there is not exactly one.
pub fn stop(six: &mut SixServers, number: usize, role: Role) -> Result<Repair> {
    let stopped = Stopped::stop(six.process(number, role)?)?;
    Ok(Box::new(move |_| {
        drop(stopped);
        Ok(())
    }))
}

/// What machine `number` sends to `peer` is lost: `iptables -A OUTPUT -d PEER -j DROP`.
///
/// # Errors
/// When the rule is refused.
pub fn cut_output(six: &mut SixServers, number: usize, peer: usize) -> Result<Repair> {
    let rule = format!("OUTPUT -d {} -j DROP", six.address(peer)?);
    add_rule(six, number, rule)
}

/// What machine `number` receives from `peer` is lost; the other direction works.
///
/// # Errors
/// When the rule is refused.
pub fn cut_input(six: &mut SixServers, number: usize, peer: usize) -> Result<Repair> {
    let rule = format!("INPUT -s {} -j DROP", six.address(peer)?);
    add_rule(six, number, rule)
}

/// The answers on the volume's one connection from machine `number` to the brick of `peer` are lost; new connections
/// work.
///
/// # Errors
/// When the client has no such connection or the rule is refused.
pub fn half_open(six: &mut SixServers, number: usize, peer: usize) -> Result<Repair> {
    let client = six.process(number, Role::Client)?;
    let rows = six.status(number)?;
    let brick = rows
        .iter()
        .find(|row| row.brick.starts_with(&format!("{}:", worker(peer))));
    let port = brick
        .and_then(|row| row.port)
        .ok_or_else(|| fail(format!("the brick of {} has no port", worker(peer))))?;
    let address = six.address(peer)?;
    let sockets = six
        .command(number, "ss")?
        .args(["-Htnp", "state", "established", "dst"])
        .arg(format!("{address}:{port}"))
        .run()?;
    let owner = format!("pid={},", client.pid);
    let locals = sockets.lines().filter(|line| line.contains(&owner));
    // Receive queue, send queue, local address, peer address, owner.
    let ports: Vec<&str> = locals
        .filter_map(|line| line.split_whitespace().nth(2)?.rsplit(':').next())
        .collect();
    ensure(
        !ports.is_empty(),
        format!("no connection of the client to {address}:{port} in\n{sockets}"),
    )?;
    let mut repairs = Vec::new();
    for local in ports {
        let rule = format!("INPUT -s {address} -p tcp --sport {port} --dport {local} -j DROP");
        repairs.push(add_rule(six, number, rule)?);
    }
    Ok(Box::new(move |six| {
        repairs.into_iter().try_for_each(|repair| repair(six))
    }))
}

/// Nothing goes between machine `number` and one address of another machine, which may have further ones.
///
/// # Errors
/// When a rule is refused.
pub fn cut_address(six: &mut SixServers, number: usize, address: IpAddr) -> Result<Repair> {
    let program = if address.is_ipv4() { "iptables" } else { "ip6tables" };
    let change = move |six: &SixServers, action: &str| {
        [
            format!("OUTPUT -d {address} -j DROP"),
            format!("INPUT -s {address} -j DROP"),
        ]
        .iter()
        .try_for_each(|rule| {
            six.host(number)?
                .words(&format!("{program} {action} {rule}"))
                .run()
                .map(drop)
        })
    };
    change(six, "-A")?;
    Ok(Box::new(move |six| change(six, "-D")))
}

fn add_rule(six: &mut SixServers, number: usize, rule: String) -> Result<Repair> {
    iptables(six.host(number)?, "-A", &rule)?;
    Ok(Box::new(move |six| iptables(six.host(number)?, "-D", &rule)))
}

fn iptables(host: &Host, action: &str, rule: &str) -> Result<()> {
    host.words(&format!("iptables {action} {rule}")).run().map(drop)
}

/// A worker's disk takes no writes; each waits until it is thawed.
///
/// # Errors
/// When the kernel refuses.
pub fn freeze(six: &mut SixServers, number: usize) -> Result<Repair> {
    let frozen = Frozen::freeze(six.lab(), six.host(number)?, Path::new(DISK))?;
    Ok(Box::new(move |_| {
        drop(frozen);
        Ok(())
    }))
}

/// A worker's disk is full to the last block.
///
/// # Errors
/// When it still has room afterwards.
pub fn fill(six: &mut SixServers, number: usize) -> Result<Repair> {
    const FILLER: &str = "/mnt/bricks/filler";
    let host = six.host(number)?;
    let disk = host.outside(Path::new(DISK));
    let mut step = 256u64 << 20;
    let mut size = 0;
    // Allocated without being written: the image does not grow.
    while step >= 4096 {
        let (from, length) = (size.to_string(), step.to_string());
        let allocate = host.cmd("fallocate").args(["-o", &from, "-l", &length, FILLER]);
        if allocate.succeeds() {
            size += step;
        } else {
            step /= 2;
        }
    }
    let free = nix::sys::statvfs::statvfs(&disk).context(disk.display())?;
    ensure(
        free.blocks_available() < 64,
        format!("{} blocks are still free", free.blocks_available()),
    )?;
    Ok(Box::new(move |six| {
        six.host(number)?.cmd("rm").arg(FILLER).run().map(drop)
    }))
}

/// A worker is cut off from everybody and back again, every 300 ms.
///
/// # Errors
/// When a rule is refused at the start; later ones are reported by the repair.
pub fn flap(six: &mut SixServers, number: usize) -> Result<Repair> {
    let host = six.host(number)?.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    set_cut(&host, true)?;
    let flapper = std::thread::spawn(move || {
        let mut cut = true;
        while !asked.load(Ordering::Acquire) {
            std::thread::sleep(FLAP);
            cut = !cut;
            set_cut(&host, cut)?;
        }
        if cut { set_cut(&host, false) } else { Ok(()) }
    });
    Ok(Box::new(move |_| {
        stop.store(true, Ordering::Release);
        flapper.join().map_err(|_| fail("the flapper panicked"))?
    }))
}

fn set_cut(host: &Host, cut: bool) -> Result<()> {
    let action = if cut { "-A" } else { "-D" };
    ["INPUT -i eth0 -j DROP", "OUTPUT -o eth0 -j DROP"]
        .iter()
        .try_for_each(|rule| iptables(host, action, rule))
}

/// A worker's daemons and brick are ended in order; its machine and its mount stay.
///
/// # Errors
/// When a process does not end.
pub fn end_server(six: &mut SixServers, number: usize) -> Result<Repair> {
    six.terminate_server(number)?;
    Ok(Box::new(move |six| {
        six.start_daemon(number)?;
        six.restart_bricks()?;
        six.wait_all_online()
    }))
}

/// A worker is shut down in order and then switched off. It comes back with its mount.
///
/// # Errors
/// When a process does not end.
pub fn shut_down(six: &mut SixServers, number: usize) -> Result<Repair> {
    six.command(number, "umount")?.args(["-l", super::node::DATA]).run()?;
    six.terminate_server(number)?;
    power_off(six, number)
}

/// A worker loses its power. It comes back with its mount.
///
/// # Errors
/// When something of it is left.
pub fn power_off(six: &mut SixServers, number: usize) -> Result<Repair> {
    six.power_off(number)?;
    Ok(Box::new(move |six| {
        six.power_on(number)?;
        six.mount_patiently(number)
    }))
}
