//! The user's fstab line when things are wrong: servers that refuse or say nothing in every combination, no name
//! service, a client that was killed, a mount that is detached under open files, the server it came from gone.

use super::common::{self, pattern};
use super::{Need, Scenario};
use crate::lab::SixServers;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::{Finished, wait_for};
use crate::lab::six::node::{DATA, Role};
use crate::lab::six::{MANAGER, VOLUME, fault, log_name, worker};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "six_mounts",
    about: "fstab mounts with dead servers in every combination, without DNS, over a dead client; remount, umount -l",
    needs: &[Need::Ours],
    seconds: 420,
    run,
};

/// The servers of the line that is tried; the first is asked first.
const LISTED: [usize; 3] = [1, 2, 3];
/// A file that is on the volume all the time.
const WITNESS: &str = "witness";

/// How a management daemon looks from the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// It answers.
    Alive,
    /// It was ended: its port refuses.
    Refuses,
    /// Its machine is off, or the way to it is cut.
    Silent,
}

fn run() -> Result<()> {
    let mut six = SixServers::start(common::flavor())?;
    fs::write(six.mounted(1)?.join(WITNESS), pattern(1, 300_000)).context(WITNESS)?;
    every_combination(&six).context("dead servers")?;
    nobody_answers(&six).context("no server answers")?;
    without_names(&six).context("no name service")?;
    over_a_dead_client(&mut six).context("a killed client")?;
    detached_under_open_files(&six).context("umount -l")?;
    without_its_server(&mut six).context("the server it was mounted from is gone")?;
    six.finish()
}

/// The user's line with these servers. Without backups the line has no option for them.
fn write_fstab(six: &SixServers, servers: &[usize]) -> Result<()> {
    let names: Vec<String> = servers.iter().map(|number| worker(*number)).collect();
    let (first, rest) = names.split_first().ok_or_else(|| fail("no server"))?;
    let backups = match rest {
        [] => String::new(),
        rest => format!(",backupvolfile-server={}", rest.join(":")),
    };
    let line = format!("{first}:{VOLUME} {DATA} glusterfs defaults,_netdev{backups} 0 0\n");
    fs::write(six.host(MANAGER)?.outside(Path::new("/etc/fstab")), line).context("fstab")
}

fn umount(six: &SixServers) -> Result<()> {
    six.command(MANAGER, "umount")?.arg(DATA).run()?;
    wait_for("the client ends", Duration::from_secs(20), || {
        Ok(six.processes(MANAGER, Role::Client)?.is_empty().then_some(()))
    })
}

fn witness_is_read(six: &SixServers) -> Result<()> {
    let read = fs::read(six.mounted(MANAGER)?.join(WITNESS)).context("read")?;
    ensure(read == pattern(1, 300_000), "other bytes than were written")
}

fn mount_line(six: &SixServers) -> Result<Finished> {
    six.command(MANAGER, "mount")?.arg(DATA).output()
}

/// Every combination in which at least one of the listed servers answers mounts and serves.
fn every_combination(six: &SixServers) -> Result<()> {
    const KINDS: [Server; 3] = [Server::Alive, Server::Refuses, Server::Silent];
    write_fstab(six, &LISTED)?;
    let mut longest = Duration::ZERO;
    for number in 0..27 {
        let servers = [KINDS[number / 9], KINDS[number / 3 % 3], KINDS[number % 3]];
        if !servers.contains(&Server::Alive) {
            continue;
        }
        umount(six)?;
        let lift = look_like(six, servers)?;
        let begin = Instant::now();
        six.mount_all(MANAGER).context(format!("{servers:?}"))?;
        witness_is_read(six).context(format!("{servers:?}"))?;
        longest = longest.max(begin.elapsed());
        lift(six)?;
    }
    println!("   19 combinations of three servers mounted, the slowest with its first read in {longest:.1?}");
    Ok(())
}

type Lift = Box<dyn FnOnce(&SixServers) -> Result<()>>;

/// Makes the management ports look so from the manager, and gives the way back.
fn look_like(six: &SixServers, servers: [Server; 3]) -> Result<Lift> {
    let mut rules = Vec::new();
    for (number, server) in LISTED.into_iter().zip(servers) {
        let target = match server {
            Server::Alive => continue,
            Server::Refuses => "REJECT --reject-with tcp-reset",
            Server::Silent => "DROP",
        };
        let rule = format!("OUTPUT -d {} -p tcp --dport 24007 -j {target}", six.address(number)?);
        six.host(MANAGER)?.words(&format!("iptables -A {rule}")).run()?;
        rules.push(rule);
    }
    Ok(Box::new(move |six| {
        for rule in rules {
            six.host(MANAGER)?.words(&format!("iptables -D {rule}")).run()?;
        }
        Ok(())
    }))
}

/// The mount fails with a message, and what is left is an ordinary empty directory.
fn nobody_answers(six: &SixServers) -> Result<()> {
    umount(six)?;
    for servers in [[Server::Refuses; 3], [Server::Silent; 3]] {
        let lift = look_like(six, servers)?;
        let begin = Instant::now();
        let done = mount_line(six)?;
        println!("   {servers:?}: refused after {:.1?}", begin.elapsed());
        ensure(!done.status.success(), format!("{servers:?}: mount reports success"))?;
        ensure(!done.all().trim().is_empty(), "mount fails without a word")?;
        ensure(
            !six.command(MANAGER, "mountpoint")?.args(["-q", DATA]).succeeds(),
            "something is mounted",
        )?;
        let names = fs::read_dir(six.mounted(MANAGER)?).context("the directory")?.count();
        ensure(names == 0, format!("{names} names in the directory"))?;
        ensure(
            six.processes(MANAGER, Role::Client)?.is_empty(),
            "a client is left behind",
        )?;
        lift(six)?;
    }
    six.mount_all(MANAGER)
}

/// Names that were resolved once are kept on disk.
fn without_names(six: &SixServers) -> Result<()> {
    let file = six.host(MANAGER)?.outside(Path::new("/etc/hosts"));
    let names = fs::read(&file).context("/etc/hosts")?;
    umount(six)?;
    fs::write(&file, "127.0.0.1 localhost\n").context("/etc/hosts")?;
    let unknown = six.command(MANAGER, "getent")?.args(["hosts", "worker2"]).succeeds();
    ensure(!unknown, "worker2 is still known")?;
    let mounted = six.mount_all(MANAGER).and_then(|()| witness_is_read(six));
    fs::write(&file, names).context("/etc/hosts")?;
    mounted
}

/// A killed client leaves a mount that answers nothing; mounting again takes it away.
fn over_a_dead_client(six: &mut SixServers) -> Result<()> {
    let mut open = File::open(six.mounted(MANAGER)?.join(WITNESS)).context("open")?;
    // The repair would unmount first; here nobody does.
    let _repair = fault::kill(six, MANAGER, Role::Client, Signal::SIGKILL)?;
    let dead = fs::metadata(six.mounted(MANAGER)?.join(WITNESS));
    ensure(
        dead.is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN)),
        "the dead mount does not say ENOTCONN",
    )?;
    let done = mount_line(six)?;
    ensure(done.status.success(), format!("mount: {}", done.all()))?;
    witness_is_read(six)?;
    let mut byte = [0];
    ensure(open.read(&mut byte).is_err(), "a file of the dead mount can be read")?;
    let log = six
        .host(MANAGER)?
        .outside(&Path::new("/var/log/glusterfs").join(log_name()));
    let text = fs::read_to_string(log).context("the client's log")?;
    ensure(
        text.lines().any(|line| line.contains(DATA) && line.contains("dead")),
        "the dead mount that was taken away is not in the log",
    )
}

/// A lazily detached mount serves the files that are open until they are closed, beside the new one.
fn detached_under_open_files(six: &SixServers) -> Result<()> {
    let remount = six.command(MANAGER, "mount")?.args(["-o", "remount", DATA]).output()?;
    ensure(remount.status.success(), format!("remount: {}", remount.all()))?;
    let path = six.mounted(MANAGER)?.join("detached");
    let options = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
    };
    let mut file = options().context("create")?;
    file.write_all(b"before").context("write")?;
    let old = six.process(MANAGER, Role::Client)?;
    six.unmount(MANAGER)?;
    six.mount_all(MANAGER)?;
    file.write_all(b" and after").context("write to the detached mount")?;
    file.sync_all().context("fsync of the detached mount")?;
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    ensure(text == "before and after", format!("the detached mount reads {text:?}"))?;
    let seen = fs::read_to_string(&path).context("read by the new mount")?;
    ensure(seen == "before and after", format!("the new mount reads {seen:?}"))?;
    ensure(old.alive(), "the old client ended under an open file")?;
    drop(file);
    ensure(
        old.wait_gone(Duration::from_secs(20)),
        "the old client stays without any file",
    )
}

/// Mounted from one server without backups: the volume's other servers are asked when that one is gone.
fn without_its_server(six: &mut SixServers) -> Result<()> {
    umount(six)?;
    write_fstab(six, &[1])?;
    six.mount_all(MANAGER)?;
    let repair = fault::kill(six, 1, Role::Daemon, Signal::SIGKILL)?;
    let log = six
        .host(MANAGER)?
        .outside(&Path::new("/var/log/glusterfs").join(log_name()));
    let before = fs::read_to_string(&log).context("the client's log")?.len();
    six.gluster(2, &["volume", "set", VOLUME, "network.probe-timeout", "650"])?
        .run()?;
    wait_for("the new volfile arrives", Duration::from_secs(30), || {
        let text = fs::read_to_string(&log).context("the client's log")?;
        let new = text.get(before..).unwrap_or_default();
        Ok(new.contains("new options are in effect").then_some(()))
    })?;
    witness_is_read(six)?;
    repair(six)
}
