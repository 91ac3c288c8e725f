//! Bad input is refused with a log line, and the brick goes on serving: garbage on its port, cut and oversized
//! records, unknown procedures, a brick of another volume, a damaged volfile.
//!
//! Requests are built by hand here: the codec under test must not check itself.

use super::common::{self, Setup, pattern, write_and_check};
use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::wait_for;
use crate::lab::{binaries, xattr};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "bad_input",
    about: "garbage, cut and 2 GiB records, unknown procedures, wrong volume-id, damaged volfile: logged and refused",
    needs: &[Need::Ours],
    seconds: 180,
    run,
};

/// wire-protocol.md: RPC program GLUSTERFS v4.
const GLUSTERFS: u32 = 1_298_437;
const LAST_FRAGMENT: u32 = 0x8000_0000;

type Check = (&'static str, fn(&Setup) -> Result<()>);

const CHECKS: &[Check] = &[
    ("garbage", |setup| {
        refused(setup, b"GET / HTTP/1.1\r\nHost: brick\r\n\r\n")
    }),
    ("record of 2 GiB", |setup| {
        refused(setup, &(LAST_FRAGMENT | 0x7fff_ffff).to_be_bytes())
    }),
    ("short RPC header", |setup| refused(setup, &record(&[0, 0, 0, 1, 0, 0]))),
    ("truncated record", truncated_record),
    ("unknown procedure", |setup| {
        accept_status(setup, GLUSTERFS, 400, 999, 3)
    }),
    ("unknown program", |setup| accept_status(setup, 77_777, 1, 1, 1)),
    ("wrong volume-id", wrong_volume_id),
    ("damaged volfile", damaged_volfile),
];

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let mut failures = Vec::new();
    for (name, check) in CHECKS {
        let served = || write_and_check(&setup.mount.path().join("after"), &pattern(1, 100_000));
        if let Err(error) = check(&setup).and_then(|()| served()) {
            println!("   {name}: {error}");
            failures.push(format!("{name}: {error}"));
        }
    }
    setup.finish()?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(fail(failures.join("\n")))
    }
}

fn connect(setup: &Setup) -> Result<TcpStream> {
    let rows = setup.cluster.status()?;
    let port = rows
        .get(1)
        .and_then(|row| row.port)
        .ok_or_else(|| fail("brick 2 has no port"))?;
    let address = SocketAddr::from((setup.cluster.host().address(), port));
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).context(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

fn brick_log(setup: &Setup, index: usize) -> Result<(PathBuf, String)> {
    let brick = setup.cluster.bricks().get(index).ok_or_else(|| fail("no such brick"))?;
    let name = brick.display().to_string().trim_start_matches('/').replace('/', "-");
    let path = setup.cluster.logdir().join("bricks").join(format!("{name}.log"));
    let text = fs::read_to_string(&path).context(path.display())?;
    Ok((path, text))
}

/// New lines of brick 2's log that warn or complain.
fn complaints_since(setup: &Setup, before: usize) -> Result<Vec<String>> {
    let (_, text) = brick_log(setup, 1)?;
    let new = text.get(before..).unwrap_or_default();
    let level = |line: &&str| [" W [", " E [", " C ["].iter().any(|mark| line.contains(mark));
    Ok(new.lines().filter(level).map(str::to_string).collect())
}

fn record(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&(LAST_FRAGMENT | length).to_be_bytes()[..], body].concat()
}

/// The brick must close the connection and say why in its log.
fn refused(setup: &Setup, bytes: &[u8]) -> Result<()> {
    let before = brick_log(setup, 1)?.1.len();
    let mut stream = connect(setup)?;
    stream.write_all(bytes)?;
    expect_closed(&mut stream)?;
    let address = stream
        .local_addr()
        .map(|address| address.port().to_string())
        .unwrap_or_default();
    logged(setup, before, &address)
}

/// Fails unless the peer closes (or resets) the connection without a word.
fn expect_closed(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0; 64]) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        Ok(length) => Err(fail(format!("answered with {length} bytes"))),
        Err(error) => Err(fail(format!("the connection was not closed: {error}"))),
    }
}

/// A complaint must name the peer, by which an administrator finds the culprit.
fn logged(setup: &Setup, before: usize, word: &str) -> Result<()> {
    wait_for(
        &format!("a warning that names {word} in the brick's log"),
        Duration::from_secs(3),
        || {
            Ok(complaints_since(setup, before)?
                .iter()
                .any(|line| line.contains(word))
                .then_some(()))
        },
    )
}

/// A peer that goes away in the middle of a record costs nothing but its connection.
fn truncated_record(setup: &Setup) -> Result<()> {
    let before = brick_log(setup, 1)?.1.len();
    let mut stream = connect(setup)?;
    stream.write_all(&(LAST_FRAGMENT | 1000).to_be_bytes())?;
    stream.write_all(&[1; 100])?;
    let port = stream.local_addr()?.port().to_string();
    stream.shutdown(std::net::Shutdown::Write)?;
    expect_closed(&mut stream)?;
    logged(setup, before, &port)
}

/// A well-formed call that nobody serves gets RPC's own refusal (`status` of RFC 5531), and the connection stays.
fn accept_status(setup: &Setup, program: u32, version: u32, procedure: u32, status: u32) -> Result<()> {
    let mut stream = connect(setup)?;
    for xid in [7u32, 8] {
        // xid, CALL, RPC version 2, program, version, procedure, null credential, null verifier.
        let words = [xid, 0, 2, program, version, procedure, 0, 0, 0, 0];
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        stream.write_all(&record(&body))?;
        let reply = read_record(&mut stream)?;
        let word = |index: usize| {
            let bytes = reply
                .get(index * 4..index * 4 + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes
                .map(u32::from_be_bytes)
                .ok_or_else(|| fail(format!("a reply of {} bytes", reply.len())))
        };
        // xid, REPLY, MSG_ACCEPTED, verifier flavour and length, accept status.
        let got = (word(0)?, word(1)?, word(2)?, word(5)?);
        ensure(
            got == (xid, 1, 0, status),
            format!("reply {got:?} instead of status {status}"),
        )?;
    }
    Ok(())
}

fn read_record(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut mark = [0; 4];
    stream.read_exact(&mut mark).context("no reply")?;
    let length = u32::from_be_bytes(mark) & !LAST_FRAGMENT;
    ensure(length < 65_536, format!("a reply of {length} bytes"))?;
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).context("a cut reply")?;
    Ok(body)
}

/// A brick directory that belongs to another volume must not be served.
fn wrong_volume_id(setup: &Setup) -> Result<()> {
    const NAME: &str = "trusted.glusterfs.volume-id";
    let outside = setup.cluster.bricks_outside();
    let brick = outside.get(4).ok_or_else(|| fail("no brick 5"))?;
    let right = xattr::get(brick, NAME)?.ok_or_else(|| fail("the brick has no volume-id"))?;
    setup.cluster.kill_brick(4)?;
    let before = brick_log(setup, 4)?.1.len();
    xattr::set(brick, NAME, &[0x5a; 16])?;
    let volume = setup.cluster.volume();
    let forced = setup.cluster.gluster(&["volume", "start", volume, "force"])?.output()?;
    std::thread::sleep(Duration::from_secs(2));
    let online = setup.cluster.status()?.get(4).is_some_and(|row| row.online);
    let (_, text) = brick_log(setup, 4)?;
    xattr::set(brick, NAME, &right)?;
    setup.cluster.restart_bricks()?;
    ensure(!online, "a brick of another volume is online")?;
    let said = [text.get(before..).unwrap_or_default(), &forced.stdout, &forced.stderr].concat();
    ensure(
        ["volume-id", "volume id"]
            .iter()
            .any(|word| said.to_lowercase().contains(word)),
        format!("neither the log nor gluster names the volume-id:\n{said}"),
    )
}

/// Our programs must name what is wrong with a volfile and where.
fn damaged_volfile(setup: &Setup) -> Result<()> {
    if common::flavor() == crate::lab::Flavor::C {
        return Ok(());
    }
    let path = setup.lab.dir().join("damaged.vol");
    let good = "volume a\n    type storage/posix\n    option directory /nowhere\nend-volume\n";
    let damages = [
        ("no end", "volume a\n    type storage/posix\n".to_string()),
        ("no type", "volume a\nend-volume\n".to_string()),
        ("a word that is none", good.replace("option", "opinion")),
        (
            "an unknown subvolume",
            format!("{good}volume b\n    type protocol/server\n    subvolumes zzz\nend-volume\n"),
        ),
        ("no text", "\u{0}\u{1}\u{2}".to_string()),
    ];
    let log = setup.lab.dir().join("damaged.log");
    for (name, text) in damages {
        fs::write(&path, text)?;
        let at = setup.lab.make_dir("damaged")?;
        let cmd = setup.cluster.host().cmd(binaries::our("glusterfs")?);
        let done = cmd
            .arg("--volfile")
            .arg(&path)
            .arg("--log-file")
            .arg(&log)
            .arg(&at)
            .limit(Duration::from_secs(20));
        let done = done.output()?;
        let said = format!("{}{}", done.all(), fs::read_to_string(&log).unwrap_or_default());
        ensure(done.code() != 0, format!("{name}: accepted"))?;
        ensure(
            said.contains("damaged.vol") || said.contains("line "),
            format!("{name}: no clear line: {said}"),
        )?;
        ensure(!said.contains("panicked"), format!("{name}: {said}"))?;
    }
    Ok(())
}
