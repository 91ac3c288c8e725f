//! The lab's own machines, disks and faults: private directories, names, partitions, stopped processes, frozen disks.
//! A fault that does nothing would let every test that uses it pass.

use super::Scenario;
use crate::lab::disk::{BrickDisk, make_bricks};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::fault::{Frozen, Partition, Stopped};
use crate::lab::{Host, Lab, process};
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "lab_faults",
    about: "the lab's machines are separate and its faults are felt: partition, SIGSTOP, frozen disk",
    needs: &[],
    seconds: 60,
    run,
};

fn run() -> Result<()> {
    let lab = Lab::with_hosts(2, true)?;
    separate(&lab).context("separate machines")?;
    partition(&lab).context("partition")?;
    stopped(&lab).context("SIGSTOP")?;
    frozen(&lab).context("frozen disk")?;
    lab.remove()
}

fn separate(lab: &Lab) -> Result<()> {
    for host in lab.hosts() {
        let name = host.cmd("cat").arg("/proc/sys/kernel/hostname").run()?;
        ensure(
            name.trim() == host.name(),
            format!("{} calls itself {name}", host.name()),
        )?;
        let hosts = host.cmd("cat").arg("/etc/hosts").run()?;
        for other in lab.hosts() {
            let line = format!("{} {}", other.address(), other.name());
            ensure(
                hosts.contains(&line),
                format!("{} does not know {}", host.name(), other.name()),
            )?;
        }
    }
    let (one, two) = (lab.host("worker1")?, lab.host("worker2")?);
    for dir in ["/var/lib/glusterd", "/run", "/var/log/glusterfs"] {
        let file = Path::new(dir).join("ringluster-probe");
        fs::write(one.outside(&file), b"x").context(file.display())?;
        ensure(
            one.cmd("test").arg("-e").arg(&file).succeeds(),
            format!("{dir} is not where it should be"),
        )?;
        ensure(
            !two.outside(&file).exists() && !file.exists(),
            format!("{dir} is shared"),
        )?;
    }
    Ok(())
}

fn connects(host: &Host, address: IpAddr, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{address}/{port}");
    host.cmd("bash")
        .arg("-c")
        .arg(script)
        .limit(Duration::from_millis(1500))
        .succeeds()
}

fn partition(lab: &Lab) -> Result<()> {
    let host = lab.host("worker1")?;
    let address = IpAddr::V4(lab.gateway()?);
    let listener = TcpListener::bind((address, 0)).context(address)?;
    let port = listener.local_addr()?.port();
    ensure(connects(host, address, port), "no connection before the cut")?;
    let cut = Partition::cut(host, address, true)?;
    ensure(!connects(host, address, port), "a connection through the cut")?;
    ensure(
        connects(lab.host("worker2")?, address, port),
        "another host is cut off too",
    )?;
    cut.lift()?;
    ensure(connects(host, address, port), "no connection after the cut was lifted")?;
    let cut = Partition::cut_port(host, address, port)?;
    ensure(!connects(host, address, port), "a connection to the port that is cut")?;
    drop(cut);
    ensure(
        connects(host, address, port),
        "no connection after the guard was dropped",
    )
}

fn stopped(lab: &Lab) -> Result<()> {
    let log = lab.dir().join("sleep.log");
    let sleeper = lab.this_machine().cmd("sleep").arg("30").background(&log)?;
    let state = || process::state(sleeper.pid.pid).ok_or_else(|| fail("the process is gone"));
    let guard = Stopped::stop(sleeper.pid)?;
    std::thread::sleep(Duration::from_millis(50));
    ensure(state()? == 'T', format!("state {} while stopped", state()?))?;
    drop(guard);
    std::thread::sleep(Duration::from_millis(50));
    ensure(state()? == 'S', format!("state {} after it went on", state()?))
}

fn frozen(lab: &Lab) -> Result<()> {
    let host = lab.host("worker1")?;
    for disk in [BrickDisk::Xfs(300), BrickDisk::Ext4(64)] {
        let bricks = make_bricks(lab, host, disk, 1)?;
        let brick = bricks.first().ok_or_else(|| fail("no brick"))?;
        let point = brick.parent().ok_or_else(|| fail("no mount point"))?;
        let guard = Frozen::freeze(lab, host, point)?;
        let file = host.outside(&brick.join("f"));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| fs::write(&file, b"late"));
            std::thread::sleep(Duration::from_millis(300));
            let early = writer.is_finished();
            drop(guard);
            let written = writer.join().map_err(|_| fail("the writer panicked"))?;
            ensure(!early, format!("{disk:?}: a write to a frozen disk was done"))?;
            written.context("write after the thaw")
        })?;
    }
    Ok(())
}
