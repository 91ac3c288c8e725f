//! Servers and bricks under every kind of name: IPv6 addresses, names that have only an IPv6 address or both kinds, and
//! peers that were probed again by another name or address, as administrators do to add one.

use super::common::{self, HEAL_LIMIT, expect_content, pattern};
use super::{Need, Scenario};
use crate::lab::SixServers;
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::wait_for;
use crate::lab::six::fault;
use crate::lab::six::node::{Addressing, BRICK, DATA, Role};
use crate::lab::six::{MANAGER, VOLUME, WORKERS, worker};
use nix::sys::signal::Signal;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "six_addresses",
    about: "bricks and volfile servers by IPv6 address and by names of one or both kinds, peers with several names",
    needs: &[Need::Ours],
    seconds: 300,
    run,
};

/// Connections are made again within this time.
const LIMIT: Duration = Duration::from_secs(20);

fn run() -> Result<()> {
    let mut six = SixServers::with_addresses(common::flavor(), Addressing::Both)?;
    let begin = Instant::now();
    let done = |what: &str| println!("   {:5.1?} {what}", begin.elapsed());
    probe(&six).context("peer probe")?;
    done("probed");
    create(&six).context("volume create")?;
    mount(&six).context("mount")?;
    written_and_read(&six, "first")?;
    done("volume made, mounted, written and read");
    brick_dies(&mut six).context("a brick named by an IPv6 address dies")?;
    done("a brick died and was healed");
    other_address(&mut six).context("the address a brick is reached by is cut off")?;
    done("a brick is reached by its other address");
    peer_by_other_name(&mut six).context("the address a peer is reached by is cut off")?;
    done("a peer is reached by its other name");
    server_away(&mut six).context("the volfile server named by an IPv6 address is gone")?;
    done("mounted by the backup server");
    written_and_read(&six, "last")?;
    six.expect_identical(HEAL_LIMIT)?;
    six.finish()
}

fn v6_name(number: usize) -> String {
    format!("{}-v6", worker(number))
}

/// The name by which the worker's brick is in the volume.
fn brick_host(six: &SixServers, number: usize) -> Result<String> {
    Ok(match number {
        2 => six.address(2)?.to_string(),
        4 => v6_name(4),
        5 => "worker5-both".into(),
        _ => six.address6(number)?.to_string(),
    })
}

/// Names and addresses of the peers in the order of their probes.
fn names(six: &SixServers, number: usize) -> Result<Vec<String>> {
    let address6 = six.address6(number)?.to_string();
    Ok(match number {
        2 => vec![worker(2), six.address(2)?.to_string()],
        3 => vec![address6],
        4 => vec![v6_name(4)],
        5 => vec!["worker5-both".into()],
        6 => vec![worker(6), address6, v6_name(6)],
        _ => return Err(fail(format!("worker {number} is not probed"))),
    })
}

fn probe(six: &SixServers) -> Result<()> {
    for number in 2..=WORKERS {
        for name in names(six, number)? {
            let said = six.gluster(1, &["peer", "probe", &name])?.run()?;
            ensure(said.trim() == "peer probe: success", format!("{name}: {said}"))?;
        }
    }
    let again = six.address(2)?.to_string();
    let said = six.gluster(1, &["peer", "probe", &again])?.run()?;
    let known = format!("peer probe: Host {again} port 24007 already in peer list");
    ensure(said.trim() == known, format!("probed again: {said}"))?;
    // The first server is known by the name it probed from; it gets its other address from another one.
    let first = six.address6(1)?.to_string();
    six.gluster(2, &["peer", "probe", &first])?.run()?;
    six.wait_peers(WORKERS - 1)?;
    for asked in [1, 3] {
        let text = six.gluster(asked, &["peer", "status"])?.run()?;
        for number in (2..=WORKERS).filter(|number| *number != asked) {
            shows(&text, &names(six, number)?).context(worker(asked))?;
        }
    }
    let text = six.gluster(4, &["peer", "status"])?.run()?;
    shows(&text, &[worker(1), first]).context("worker4")
}

/// `peer status` has the first name as the host's and the others, if there are any, below "Other names:".
fn shows(text: &str, names: &[String]) -> Result<()> {
    let (first, others) = names.split_first().ok_or_else(|| fail("no name"))?;
    let mut blocks = text.split("\n\n");
    let head = format!("Hostname: {first}\n");
    let block = blocks.find(|block| block.starts_with(&head));
    let block = block.ok_or_else(|| fail(format!("no {first} in\n{text}")))?;
    let below = block.split_once("Other names:\n").map(|(_, rest)| rest.trim_end());
    let wanted = (!others.is_empty()).then(|| others.join("\n"));
    ensure(below == wanted.as_deref(), format!("{first}: {below:?} in\n{text}"))
}

/// From a server that is none of those that were named by address.
fn create(six: &SixServers) -> Result<()> {
    let bricks = (1..=WORKERS).map(|number| Ok(format!("{}:{BRICK}", brick_host(six, number)?)));
    let bricks: Vec<String> = bricks.collect::<Result<_>>()?;
    let create = six.gluster(2, &["volume", "create", VOLUME, "replica", "6"])?;
    create.args(&bricks).run()?;
    six.gluster(3, &["volume", "start", VOLUME])?.run()?;
    six.wait_all_online()?;
    let info = six.gluster(4, &["volume", "info", VOLUME])?.run()?;
    for (number, brick) in (1..).zip(&bricks) {
        let line = format!("Brick{number}: {brick}\n");
        ensure(info.contains(&line), format!("no {line} in\n{info}"))?;
    }
    ensure(
        info.contains("transport.address-family: inet6\n"),
        format!("address family in\n{info}"),
    )
}

fn mount(six: &SixServers) -> Result<()> {
    let (first, second) = (six.address6(1)?, six.address6(2)?);
    let backups = format!(",backupvolfile-server=[{second}]:{}", v6_name(3));
    six.set_fstab(MANAGER, &format!("[{first}]:"), &backups)?;
    six.set_fstab(2, &format!("{}:", v6_name(4)), "")?;
    six.set_fstab(3, &format!("{first}:/"), "")?;
    (1..=MANAGER).try_for_each(|number| six.mount_all(number).context(number))
}

/// What each machine writes all read.
fn written_and_read(six: &SixServers, name: &str) -> Result<()> {
    for number in 1..=MANAGER {
        let file = six.mounted(number)?.join(format!("{name}-{number}"));
        fs::write(&file, pattern(number as u64, 100_000)).context(file.display())?;
    }
    for (reader, number) in (1..=MANAGER).flat_map(|reader| (1..=MANAGER).map(move |number| (reader, number))) {
        let file = six.mounted(reader)?.join(format!("{name}-{number}"));
        expect_content(&file, &pattern(number as u64, 100_000))?;
    }
    Ok(())
}

/// Files written on the manager and read on a worker.
fn goes_on(six: &SixServers, name: &str) -> Result<()> {
    for number in 0..20 {
        let name = format!("{name}-{number}");
        let file = six.mounted(MANAGER)?.join(&name);
        fs::write(&file, pattern(number, 50_000)).context(file.display())?;
        expect_content(&six.mounted(2)?.join(&name), &pattern(number, 50_000))?;
    }
    Ok(())
}

fn brick_dies(six: &mut SixServers) -> Result<()> {
    let repair = fault::kill(six, 3, Role::Brick, Signal::SIGKILL)?;
    goes_on(six, "brick-dead")?;
    let status = six.status(1)?;
    let offline: Vec<&str> = status
        .iter()
        .filter(|row| !row.online)
        .map(|row| row.brick.as_str())
        .collect();
    let wanted = format!("{}:{BRICK}", six.address6(3)?);
    ensure(offline == [wanted.as_str()], format!("offline: {offline:?}"))?;
    repair(six)?;
    six.expect_identical(HEAL_LIMIT)
}

/// Whether the manager's client has a connection to a brick at this address.
fn is_used(six: &SixServers, address: IpAddr) -> Result<bool> {
    let client = six.process(MANAGER, Role::Client)?;
    let host = match address {
        IpAddr::V4(v4) => v4.to_string(),
        // Without brackets the last number is taken for a port.
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let sockets = six
        .command(MANAGER, "ss")?
        .args(["-Htnp", "state", "established", "dst"])
        .arg(host)
        .run()?;
    let owner = format!("pid={},", client.pid);
    // Management daemons have a port of their own.
    let brick = |line: &&str| line.contains(&owner) && !line.contains(":24007 ");
    Ok(sockets.lines().any(|line| brick(&line)))
}

/// The brick of worker 5 is named by a name with two addresses.
fn other_address(six: &mut SixServers) -> Result<()> {
    let both = [six.address6(5)?, six.address(5)?];
    let used: Vec<IpAddr> = both
        .into_iter()
        .filter(|at| is_used(six, *at).unwrap_or(false))
        .collect();
    let [used] = used.as_slice() else {
        return Err(fail(format!("the brick of worker5 is reached at {used:?}")));
    };
    let other = if used == &both[0] { both[1] } else { both[0] };
    let repair = fault::cut_address(six, MANAGER, *used)?;
    let begin = Instant::now();
    goes_on(six, "address-cut")?;
    wait_for(
        &format!("the brick is reached at {other} instead of {used}"),
        LIMIT,
        || Ok(is_used(six, other)?.then_some(())),
    )?;
    println!("   reached at {other} instead of {used} after {:.1?}", begin.elapsed());
    // What was missed is healed by then, and nothing more is missed.
    six.expect_identical(HEAL_LIMIT)?;
    goes_on(six, "by-the-other-address")?;
    six.expect_identical(Duration::from_secs(5))?;
    repair(six)
}

/// Worker 6 was probed by a name with an IPv4 address and then by its IPv6 address.
fn peer_by_other_name(six: &mut SixServers) -> Result<()> {
    let address = six.address(6)?;
    let repair = fault::cut_address(six, 1, address)?;
    // Longer than a silent peer is called connected.
    std::thread::sleep(Duration::from_secs(3));
    wait_for("the peer is connected by its other address", LIMIT, || {
        let text = six.gluster(1, &["peer", "status"])?.run()?;
        let connected = text.matches("Peer in Cluster (Connected)").count();
        Ok((connected == WORKERS - 1).then_some(()))
    })?;
    // What daemons ask each other must not wait for the connection that was cut either.
    let set = six.gluster(1, &["volume", "set", VOLUME, "network.probe-timeout", "600"])?;
    set.limit(LIMIT).run()?;
    let seen = six
        .gluster(6, &["volume", "get", VOLUME, "network.probe-timeout"])?
        .run()?;
    ensure(seen.contains("600"), format!("worker6 has {seen}"))?;
    repair(six)
}

/// The first server of the manager's line does not run: its backup is an IPv6 address in brackets.
fn server_away(six: &mut SixServers) -> Result<()> {
    let repair = fault::kill(six, 1, Role::Daemon, Signal::SIGKILL)?;
    six.command(MANAGER, "umount")?.arg(DATA).run()?;
    six.mount_all(MANAGER)?;
    goes_on(six, "by-the-backup")?;
    repair(six)?;
    six.wait_peers(WORKERS - 1)
}
