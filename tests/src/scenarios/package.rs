//! The Debian package on a machine: it takes the place of the C packages, its service serves, the user's fstab line
//! mounts, logs rotate, upgrades and stops of the daemon leave bricks and mounts alone, and a removal leaves nothing but
//! what must stay.
//!
//! The machine is a lab host whose root is a copy-on-write view of this machine's, with what is installed here.

mod contents;
mod machine;
mod units;

use super::{Need, Scenario, common};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::gluster::parse_status;
use crate::lab::process::Pid;
use crate::lab::run::wait_for;
use crate::lab::{Cmd, Host, Lab, binaries};
use crate::package;
use machine::{Service, packaged_machine};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "package",
    about: "the .deb replaces the C packages; service, fstab line, log rotation, upgrade, removal",
    needs: &[Need::Ours, Need::C],
    seconds: 600,
    run,
};

/// Where the user mounts the volume, and the line of fstab that does it.
const MOUNT_POINT: &str = "/mnt/GlusterFS/Docker/Swarm/0001/data";
const FSTAB: &str = "localhost:0001 /mnt/GlusterFS/Docker/Swarm/0001/data glusterfs \
                     defaults,_netdev,backupvolfile-server=worker2:worker3:worker4:worker5:worker6 0 0\n";
/// Bricks of the volume.
const BRICKS: usize = 6;
/// A package is unpacked or removed.
const DPKG_LIMIT: Duration = Duration::from_secs(120);

fn run() -> Result<()> {
    let lab = Lab::with_network()?;
    let package = contents::same_bytes_twice(&lab)?;
    contents::check(&package)?;
    let host = packaged_machine(&lab, &package)?;
    take_over(&host).context("taking over from the C packages")?;
    units::check(&host).context("units")?;
    let service = Service::start(&lab, &host).context("start of the service")?;
    let bricks = volume(&host)?;
    fstab(&host).context("fstab")?;
    rotation(&lab, &host, &service).context("log rotation")?;
    let service = daemon_away(&lab, &host, service, &bricks).context("stopping the daemon")?;
    upgrade(&host, &bricks).context("upgrade")?;
    service.reload().context("reload")?;
    removal(&lab, &host).context("removal")?;
    purge(&host).context("purge")?;
    lab.remove()
}

/// `dpkg` on the machine, which must not ask anything. Answers everything it said.
fn dpkg(host: &Host, words: &str) -> Result<String> {
    let cmd = host
        .words(&format!("dpkg {words}"))
        .env("DEBIAN_FRONTEND", "noninteractive");
    let done = cmd.limit(DPKG_LIMIT).output()?;
    ensure(done.status.success(), format!("dpkg {words}: {}", done.all()))?;
    Ok(done.all())
}

/// State of a package on the machine: `installed`, `config-files`, `not-installed`...
fn state(host: &Host, name: &str) -> Result<String> {
    let cmd = host.words("dpkg-query -W -f=${db:Status-Status}").arg(name);
    let done = cmd.output()?;
    Ok(match done.status.success() {
        true => done.stdout.trim().to_string(),
        false => "not-installed".to_string(),
    })
}

/// One command replaces the C packages, whose untouched configuration files become ours; they do not come back while
/// ours is there.
fn take_over(host: &Host) -> Result<()> {
    ensure(
        state(host, "glusterfs-client")? == "installed",
        "the C packages are not installed",
    )?;
    let said = dpkg(host, &format!("-i {}", machine::PACKAGE))?;
    for name in package::REPLACED {
        let state = state(host, name)?;
        ensure(
            matches!(&*state, "config-files" | "not-installed"),
            format!("{name} is {state}: {said}"),
        )?;
    }
    ensure(
        said.contains("do not purge glusterfs-common"),
        format!("no warning of its purge: {said}"),
    )?;
    for program in ["glusterd", "gluster", "glusterfs", "glusterfsd"] {
        let text = host.cmd(program).arg("--version").run()?;
        ensure(
            text.starts_with("glusterfs 10.3\n") && text.contains("Ringluster"),
            format!("{program} --version: {text}"),
        )?;
    }
    let helper = host.words("/sbin/mount.glusterfs -h").run()?;
    ensure(helper.contains("backupvolfile-server"), helper)?;
    let volfile = fs::read_to_string(host.outside(Path::new("/etc/glusterfs/glusterd.vol")))?;
    let ours = fs::read_to_string(package::sources().join("etc/glusterd.vol"))?;
    ensure(volfile == ours, "glusterd.vol is still the C package's")?;
    let refused = host.words(&format!("dpkg -i {}", machine::C_CLIENT)).output()?;
    ensure(
        !refused.status.success() && refused.all().contains("conflicts with"),
        format!("a C package is installed beside ours: {}", refused.all()),
    )
}

/// Creates and starts the volume with the installed command and answers the bricks' processes.
fn volume(host: &Host) -> Result<Vec<Pid>> {
    let gluster = |words: &str| host.words(&format!("gluster --mode=script {words}")).run();
    ensure(
        gluster("peer status")?.starts_with("Number of Peers: 0"),
        "peers on a new machine",
    )?;
    let bricks: Vec<String> = (1..=BRICKS).map(|n| format!("worker1:/bricks/{n}/0001")).collect();
    gluster(&format!(
        "volume create 0001 replica {BRICKS} {} force",
        bricks.join(" ")
    ))?;
    gluster("volume start 0001")?;
    wait_for("all bricks online", Duration::from_secs(60), || {
        let pids = brick_pids(host)?;
        Ok((pids.len() == BRICKS).then_some(pids))
    })
}

/// The bricks that are online.
fn brick_pids(host: &Host) -> Result<Vec<Pid>> {
    let rows = parse_status(&host.words("gluster volume status 0001").run()?)?;
    let pids = rows.iter().filter(|row| row.online).filter_map(|row| row.pid);
    pids.map(Pid::of).collect()
}

fn mounted_file(host: &Host, name: &str) -> PathBuf {
    host.outside(&Path::new(MOUNT_POINT).join(name))
}

/// The user's line, unchanged, with every command that reads it.
fn fstab(host: &Host) -> Result<()> {
    let at = host.outside(Path::new(MOUNT_POINT));
    fs::create_dir_all(&at).context(MOUNT_POINT)?;
    fs::write(host.outside(Path::new("/etc/fstab")), FSTAB)?;
    let mounted = || host.words("cat /proc/self/mounts").run();
    host.words("mount -a").run()?;
    let wanted = format!("localhost:0001 {MOUNT_POINT} fuse.glusterfs rw,");
    let table = mounted()?;
    ensure(
        table.lines().any(|line| line.starts_with(&wanted)),
        format!("no {wanted} in {table}"),
    )?;
    common::write_and_check(&mounted_file(host, "first"), &common::pattern(1, 300_000))?;
    // What is mounted already is none of its business, and no error.
    host.words("mount -a").run()?;
    host.words("umount").arg(MOUNT_POINT).run()?;
    ensure(!mounted()?.contains(MOUNT_POINT), "still mounted")?;
    host.words("mount").arg(MOUNT_POINT).run()?;
    common::expect_content(&mounted_file(host, "first"), &common::pattern(1, 300_000))?;
    let df = host.words("df -h").run()?;
    ensure(df.lines().any(|line| line.starts_with("localhost:0001 ")), df)
}

/// Our server and client processes on the machine.
fn processes(lab: &Lab) -> Vec<Pid> {
    let ours = |pid: &Pid| {
        let program = pid.program();
        let name = program.as_ref().and_then(|path| path.file_name()?.to_str());
        // An upgrade has replaced the program of a process that runs on.
        let name = name.map(|name| name.trim_end_matches(" (deleted)"));
        matches!(name, Some("glusterd" | "glusterfsd" | "glusterfs"))
    };
    let tagged = crate::lab::process::with_env(crate::lab::record::TAG, &lab.record().tag());
    tagged.into_iter().filter(ours).collect()
}

/// Paths of the logs a process has open.
fn open_logs(pid: Pid) -> BTreeSet<String> {
    let directory = fs::read_dir(format!("/proc/{}/fd", pid.pid));
    let links = directory
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    let paths = links.map(|path| path.display().to_string());
    paths.filter(|path| path.contains("/log/glusterfs/")).collect()
}

/// After a rotation every process writes to a new file of the old name.
fn rotation(lab: &Lab, host: &Host, service: &Service) -> Result<()> {
    let all = processes(lab);
    // glusterd, bricks, the self-heal daemon and the mount's client.
    ensure(all.len() == BRICKS + 3, format!("{} processes", all.len()))?;
    let before: usize = all.iter().map(|pid| open_logs(*pid).len()).sum();
    ensure(
        before >= all.len(),
        format!("{} processes have {before} logs open", all.len()),
    )?;
    host.words("logrotate -f -s /run/logrotate.state /etc/logrotate.d/glusterfs-common")
        .run()?;
    wait_for("every process has a new log", Duration::from_secs(20), || {
        for pid in &all {
            let logs = open_logs(*pid);
            if logs.is_empty() || logs.iter().any(|path| !path.ends_with(".log")) {
                return Err(fail(format!("{}: {logs:?}", pid.command())));
            }
        }
        Ok(Some(()))
    })?;
    service.has_reloaded()?;
    ensure(all.iter().all(Pid::alive), "the rotation has ended a process")?;
    let old = host.outside(Path::new("/var/log/glusterfs/glusterd.log.1"));
    ensure(old.is_file(), "glusterd.log was not rotated")?;
    common::expect_content(&mounted_file(host, "first"), &common::pattern(1, 300_000))
}

/// P11: files stay available while the daemon is away, and it takes up the bricks that run.
fn daemon_away(lab: &Lab, host: &Host, service: Service, bricks: &[Pid]) -> Result<Service> {
    service.stop()?;
    ensure(bricks.iter().all(Pid::alive), "a brick went with the daemon")?;
    common::write_and_check(&mounted_file(host, "without-daemon"), &common::pattern(2, 100_000))?;
    let service = Service::start(lab, host)?;
    same_bricks(host, bricks)?;
    // Killed, it leaves its pid file and sockets behind.
    service.kill()?;
    common::write_and_check(&mounted_file(host, "daemon-killed"), &common::pattern(3, 100_000))?;
    let service = Service::start(lab, host)?;
    same_bricks(host, bricks)?;
    Ok(service)
}

fn same_bricks(host: &Host, bricks: &[Pid]) -> Result<()> {
    wait_for("the same bricks are online", Duration::from_secs(30), || {
        let now = brick_pids(host)?;
        ensure(now == bricks, format!("{now:?} instead of {bricks:?}"))?;
        Ok(Some(()))
    })
}

/// The same version again goes the way of an upgrade. Without systemd nobody restarts the daemon; nothing stops.
fn upgrade(host: &Host, bricks: &[Pid]) -> Result<()> {
    dpkg(host, &format!("-i {}", machine::PACKAGE))?;
    same_bricks(host, bricks)?;
    common::write_and_check(&mounted_file(host, "upgraded"), &common::pattern(4, 100_000))
}

/// A removal ends what the package runs and takes every file of it but the configuration.
fn removal(lab: &Lab, host: &Host) -> Result<()> {
    let listed = host.words("dpkg -L").arg(package::NAME).run()?;
    let kept: Vec<String> = contents::configuration(host)?;
    ensure(kept.len() == 3, format!("configuration files: {kept:?}"))?;
    host.words("umount").arg(MOUNT_POINT).run()?;
    wait_for("the client has ended", Duration::from_secs(20), || {
        Ok((processes(lab).len() == BRICKS + 2).then_some(()))
    })?;
    dpkg(host, &format!("-r {}", package::NAME))?;
    wait_for(
        "glusterd, bricks and the self-heal daemon have ended",
        Duration::from_secs(5),
        || Ok(processes(lab).is_empty().then_some(())),
    )?;
    let exists = |path: &&str| {
        let path = host.outside(Path::new(path));
        // Directories stay while others use them; /lib and /sbin are links to some.
        fs::symlink_metadata(&path).is_ok() && !path.is_dir()
    };
    let mut left: Vec<&str> = listed.lines().filter(exists).collect();
    left.sort_unstable();
    ensure(left == kept, format!("left: {left:?} instead of {kept:?}"))?;
    let volume = host.outside(Path::new("/var/lib/glusterd/vols/0001/info"));
    ensure(volume.is_file(), "the removal has deleted the volume's configuration")
}

/// A purge deletes the configuration only when nobody's data depends on it.
fn purge(host: &Host) -> Result<()> {
    let state_dir = host.outside(Path::new("/var/lib/glusterd"));
    let said = dpkg(host, &format!("-P {}", package::NAME))?;
    ensure(
        said.contains("/var/lib/glusterd is kept"),
        format!("no word about the volume: {said}"),
    )?;
    ensure(
        state_dir.join("vols/0001/info").is_file(),
        "the volume's configuration is gone",
    )?;
    ensure(
        !host.outside(Path::new("/var/log/glusterfs")).exists(),
        "the logs are still there",
    )?;
    let volfile = host.outside(Path::new("/etc/glusterfs/glusterd.vol"));
    ensure(!volfile.exists(), "the configuration file is still there")?;
    dpkg(host, &format!("-i {}", machine::PACKAGE))?;
    fs::remove_dir_all(state_dir.join("vols/0001")).context("vols/0001")?;
    dpkg(host, &format!("-P {}", package::NAME))?;
    ensure(
        !state_dir.exists(),
        "the state of a node without volumes is still there",
    )
}

/// Our programs as they were built; what is packed.
fn programs() -> Result<PathBuf> {
    binaries::our_directory()
}

/// Fields of a package's control file.
fn field(package: &Path, name: &str) -> Result<String> {
    let text = Cmd::words("dpkg-deb -f").arg(package).arg(name).run()?;
    Ok(text.trim().to_string())
}
