//! What a brick process cannot serve it refuses: one line that names what is wrong, on standard error and in the log,
//! and a status other than 0. The parent process hands the daemon's line and status on. Needs root, like every brick.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VOLFILE: &str = include_str!("../../tests/captures/generated/0001.w1.srv-node-w1-brick-b.vol");
/// The brick's directory and name in that volfile.
const RECORDED: &str = "/srv/node/w1/brick/b";

/// A directory of one test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("glusterfsd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("brick")).unwrap();
        Place(path)
    }

    fn brick(&self) -> String {
        self.0.join("brick").display().to_string()
    }

    /// The recorded volfile, for this directory and changed by `change`.
    fn volfile(&self, change: impl Fn(String) -> String) -> PathBuf {
        let path = self.0.join("volfile");
        std::fs::write(&path, change(VOLFILE.replace(RECORDED, &self.brick()))).unwrap();
        path
    }

    /// Runs a brick that is expected to end by itself.
    fn run(&self, volfile: &Path, port: u16, more: &[&str]) -> Output {
        let file = |name: &str| self.0.join(name);
        Command::new(env!("CARGO_BIN_EXE_glusterfsd"))
            .arg("-f")
            .arg(volfile)
            .args(["--brick-name", &self.brick(), "--brick-port", &port.to_string()])
            .arg("-p")
            .arg(file("pid"))
            .arg("-S")
            .arg(file("socket"))
            .arg("-l")
            .arg(file("log"))
            .args(more)
            .output()
            .unwrap()
    }

    /// Asserts status and words, in the log too.
    fn refused(&self, output: &Output, status: i32, named: &str) {
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{told}");
        assert!(
            told.starts_with("glusterfsd: ") && told.contains(named),
            "'{named}' is not in: {told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
        let log = std::fs::read_to_string(self.0.join("log")).unwrap();
        assert!(
            log.lines().any(|line| line.contains("] E [") && line.contains(named)),
            "{log}"
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The system cleans up what cannot be removed here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn damaged_volfiles() {
    let place = Place::new("volfile");
    let cut = place.volfile(|text| text.replacen("end-volume", "", 1));
    place.refused(&place.run(&cut, free_port(), &[]), 1, "volfile: ");
    let unknown = place.volfile(|text| text.replace("type features/quota", "type features/novel"));
    place.refused(&place.run(&unknown, free_port(), &[]), 1, "features/novel");
    let on = place.volfile(|text| text.replace("option server-quota off", "option server-quota on"));
    place.refused(&place.run(&on, free_port(), &[]), 1, "server-quota");
    let served = format!("subvolumes {}", place.brick());
    let other = place.volfile(|text| text.replace(&served, "subvolumes 0001-quota"));
    place.refused(&place.run(&other, free_port(), &[]), 1, &place.brick());
    place.refused(
        &place.run(Path::new("/nonexistent/volfile"), free_port(), &[]),
        1,
        "/nonexistent/volfile",
    );
}

#[test]
fn directories_that_are_no_brick_of_the_volume() {
    let place = Place::new("directory");
    let volfile = place.volfile(|text| text);
    // Never part of a volume.
    place.refused(&place.run(&volfile, free_port(), &[]), 1, "trusted.glusterfs.volume-id");
    let id = Command::new("setfattr")
        .args([
            "-n",
            "trusted.glusterfs.volume-id",
            "-v",
            "0x11111111111111111111111111111111",
            &place.brick(),
        ])
        .status()
        .unwrap();
    assert!(
        id.success(),
        "setfattr failed: is this root, and is the attr package installed?"
    );
    place.refused(
        &place.run(&volfile, free_port(), &[]),
        1,
        "11111111-1111-1111-1111-111111111111",
    );
    std::fs::remove_dir(place.brick()).unwrap();
    place.refused(&place.run(&volfile, free_port(), &[]), 1, "does not exist");
}

#[test]
fn a_port_in_use_is_told_by_its_number() {
    let place = Place::new("port");
    let volfile = place.volfile(|text| text);
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = place.run(&volfile, port, &[]);
    // The management daemon tries another port when it sees this status.
    place.refused(&output, libc::EADDRINUSE, &format!("0.0.0.0:{port}"));
}

#[test]
fn options_that_are_not_known() {
    let place = Place::new("options");
    let volfile = place.volfile(|text| text);
    for (option, named) in [
        ("--frobnicate", "--frobnicate"),
        ("--brick-mux", "--brick-mux"),
        ("-x", "-x"),
    ] {
        let output = place.run(&volfile, free_port(), &[option]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(named) && told.lines().count() == 1, "{told}");
    }
    assert!(!place.0.join("log").exists(), "a wrong command line made a log");
}
