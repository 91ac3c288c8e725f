//! The `gluster` command with our daemon behind it prints what GlusterFS 10.3's printed, word for word.
//!
//! The recorded session (tests/captures/cli-10.3.txt) is repeated by cli_session.sh in namespaces of its own, with
//! our programs. uuids, ports and pids differ from run to run and are blanked on both sides; everything else counts,
//! exit codes included. Needs root, like everything that makes bricks.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const RECORDED: &str = include_str!("../../tests/captures/cli-10.3.txt");

/// One command and what it printed, line by line.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    command: String,
    printed: Vec<String>,
}

fn exchanges(text: &str) -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push(Exchange {
                command: command.to_owned(),
                printed: Vec::new(),
            }),
            (None, Some(last)) => last.printed.push(blank(line)),
            (None, None) => panic!("the session begins with '{line}'"),
        }
    }
    all
}

/// Blanks uuids and numbers of two and more digits that stand alone in a line of `volume status`, with the padding
/// that depends on their width.
fn blank(line: &str) -> String {
    let mut out = String::new();
    let mut had_number = false;
    for word in line.split_inclusive([' ', '>', '<', '$', '"']) {
        let text = word.trim_end_matches([' ', '>', '<', '$', '"']);
        let is_uuid = text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        // "0001" is the volume.
        let is_number = text != "0001" && text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit());
        had_number |= is_number;
        match (is_uuid, is_number) {
            (true, _) => out.push_str(&word.replace(text, "UUID")),
            (_, true) => out.push_str(&word.replace(text, "N")),
            _ => out.push_str(word),
        }
    }
    if !had_number {
        return out;
    }
    out.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" $", "$")
}

/// The list for the script: the recorded commands, and the pauses between them.
fn list() -> String {
    let mut list = String::new();
    for line in RECORDED.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            list.push_str(&format!("{command}\n"));
        } else if let Some(seconds) = line.strip_prefix("# PAUSE ") {
            list.push_str(&format!("{seconds} pause\n"));
        }
    }
    list
}

#[test]
fn the_recorded_session_repeats() {
    assert!(
        datapath::sys::process::is_root(),
        "this test makes bricks and namespaces and must run as root"
    );
    let gluster = Path::new(env!("CARGO_BIN_EXE_gluster"));
    // glusterd looks for the brick program beside itself; all are built into one directory.
    let programs = gluster.parent().unwrap();
    assert!(Path::new(env!("CARGO_BIN_EXE_glusterd")).starts_with(programs));
    assert!(Path::new(env!("CARGO_BIN_EXE_glusterfsd")).starts_with(programs));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli_session.sh");
    let mut session = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            script,
        ])
        .arg(programs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The list is far smaller than a pipe holds.
    session.stdin.take().unwrap().write_all(list().as_bytes()).unwrap();
    let output = session.wait_with_output().unwrap();
    assert!(output.status.success(), "the session ended with {}", output.status);
    let ours = exchanges(&String::from_utf8(output.stdout).unwrap());
    let theirs = exchanges(RECORDED);
    assert_eq!(ours.len(), theirs.len(), "not every command was run");
    let different: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .collect();
    for (ours, theirs) in &different {
        eprintln!(
            "{}\n  ours:   {:#?}\n  10.3's: {:#?}",
            ours.command, ours.printed, theirs.printed
        );
    }
    assert!(
        different.is_empty(),
        "{} of {} commands differ",
        different.len(),
        theirs.len()
    );
}
