//! The user's commands print the same on both implementations for the same state of the same six servers. Names are
//! equal by construction; ids, process ids, ports and used space are replaced by words of the same width.

use super::{Need, Scenario};
use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::run::wait_for;
use crate::lab::six::node::Role;
use crate::lab::six::{MANAGER, VOLUME, fault};
use crate::lab::{Flavor, SixServers};
use nix::sys::signal::Signal;
use std::fs;
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "six_seed_commands",
    about: "mount, df, peer status, pool list, volume info|status, heal info: the same words as the C implementation",
    needs: &[Need::Ours, Need::C],
    seconds: 400,
    run,
};

/// The user's commands, as they type them. `mount` and `df` lines of other file systems are not theirs.
const COMMANDS: [&str; 8] = [
    "mount | grep fuse.glusterfs",
    "df -h | grep 0001/data",
    "gluster peer status",
    "gluster pool list",
    "gluster volume info",
    "gluster volume status",
    "gluster volume heal 0001 info",
    "gluster volume heal 0001 info split-brain",
];

/// The state in which a server is switched off.
const SERVER_OFF: &str = "a server off";

/// One command's output in one state.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    what: String,
    lines: Vec<String>,
}

fn run() -> Result<()> {
    let theirs = captured(Flavor::C).context("the C implementation")?;
    let ours = captured(Flavor::Ringluster)?;
    ensure(theirs.len() == ours.len(), "different numbers of outputs")?;
    let mut differences = 0;
    for (their, our) in theirs.iter().zip(&ours) {
        if their == our {
            continue;
        }
        differences += 1;
        println!("   {}:", our.what);
        let lines = their.lines.len().max(our.lines.len());
        for index in 0..lines {
            let (left, right) = (their.lines.get(index), our.lines.get(index));
            if left == right {
                continue;
            }
            if let Some(line) = left {
                println!("     C    |{line}|");
            }
            if let Some(line) = right {
                println!("     ours |{line}|");
            }
        }
    }
    let total = ours.len();
    ensure(differences == 0, format!("{differences} of {total} outputs differ"))?;
    println!("   {total} outputs are the same");
    Ok(())
}

fn captured(flavor: Flavor) -> Result<Vec<Shown>> {
    let mut six = SixServers::start(flavor)?;
    let mut shown = Vec::new();
    let file = six.mounted(MANAGER)?.join("file");
    fs::write(&file, b"before").context("write")?;
    // The heal daemons start after the bricks; without them status shows another state.
    settled(&six, "Self-heal Daemon", |text| !text.contains("  N  "))?;
    show(&six, "all up", &mut shown)?;

    let repair = fault::kill(&mut six, 3, Role::Brick, Signal::SIGKILL)?;
    settled(&six, "brick 3 offline", |text| text.contains("  N  "))?;
    fs::write(&file, b"while a brick is dead").context("write")?;
    // The post-op of the write is delayed by up to a second.
    std::thread::sleep(Duration::from_secs(2));
    show(&six, "a brick dead", &mut shown)?;
    repair(&mut six)?;
    six.wait_healed(Duration::from_secs(60))?;

    let repair = fault::end_server(&mut six, 4)?;
    seen_off(&six, "worker4")?;
    show(&six, "a server's programs ended", &mut shown)?;
    repair(&mut six)?;
    six.wait_healed(Duration::from_secs(60))?;

    // Kept off until the end: the repair is not needed.
    let _off = fault::shut_down(&mut six, 5)?;
    seen_off(&six, "worker5")?;
    show(&six, SERVER_OFF, &mut shown)?;
    six.finish()?;
    Ok(shown)
}

/// Waits until the daemons see that one of them is gone, and a little more for whatever else they do about it.
fn seen_off(six: &SixServers, name: &str) -> Result<()> {
    wait_for(&format!("{name} is seen to be off"), Duration::from_secs(60), || {
        let text = six.gluster(1, &["peer", "status"])?.run()?;
        Ok(text.contains("(Disconnected)").then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(3));
    Ok(())
}

fn settled(six: &SixServers, what: &str, good: impl Fn(&str) -> bool) -> Result<()> {
    wait_for(what, Duration::from_secs(60), || {
        let text = six.gluster(1, &["volume", "status", VOLUME])?.run()?;
        Ok(good(&text).then_some(()))
    })
}

fn show(six: &SixServers, state: &str, shown: &mut Vec<Shown>) -> Result<()> {
    for machine in [1, MANAGER] {
        for command in COMMANDS {
            // A manager without a management daemon has no `gluster`.
            if machine == MANAGER && command.starts_with("gluster") {
                continue;
            }
            let done = six.command(machine, "sh")?.args(["-c", command]).output()?;
            let mut lines: Vec<String> = done.stdout.lines().map(normal).collect();
            if !done.stderr.is_empty() {
                lines.extend(done.stderr.lines().map(|line| format!("stderr: {}", normal(line))));
            }
            lines.push(format!("exit code {}", done.code()));
            if state == SERVER_OFF && command.contains(" heal ") && six.flavor() == Flavor::C {
                tell_the_truth(&mut lines);
            }
            // The C implementation lists peers, and their daemons, in an order that depends on its own start.
            if command.starts_with("gluster p") {
                sort_blocks(&mut lines);
            }
            if command == "gluster volume status" {
                sort_daemons(&mut lines);
            }
            if lines.len() < 2 {
                return Err(fail(format!("{state}: `{command}` prints nothing")));
            }
            shown.push(Shown {
                what: format!("{state}, machine {machine}: {command}"),
                lines,
            });
        }
    }
    Ok(())
}

/// What the C command says of the server whose machine is off, and does not even refuse connections, is replaced by
/// what it says of one that does refuse them: it calls it connected, with 0 entries. Ours says the truth (promise P10).
fn tell_the_truth(lines: &mut [String]) {
    let Some(brick) = lines.iter().position(|line| line.starts_with("Brick worker5:")) else {
        return;
    };
    let truth = [
        ("Status: Connected", "Status: Transport endpoint is not connected"),
        ("Number of entries: 0", "Number of entries: -"),
        (
            "Number of entries in split-brain: 0",
            "Number of entries in split-brain: -",
        ),
    ];
    for line in lines.iter_mut().skip(brick + 1).take_while(|line| !line.is_empty()) {
        if let Some((_, instead)) = truth.iter().find(|(said, _)| line == said) {
            *line = (*instead).into();
        }
    }
}

/// Sorts the blocks that empty lines part from each other, or the lines of a list without such.
fn sort_blocks(lines: &mut Vec<String>) {
    let text = lines.join("\n");
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    if blocks.len() == 1 {
        blocks = text.split('\n').collect();
    }
    blocks.sort_unstable();
    let sorted = blocks
        .iter()
        .flat_map(|block| block.lines().map(str::to_string))
        .collect();
    *lines = sorted;
}

/// Sorts the lines of the other servers' self-heal daemons among themselves.
fn sort_daemons(lines: &mut [String]) {
    let daemon = |line: &String| line.starts_with("Self-heal Daemon on worker");
    let mut sorted: Vec<String> = lines.iter().filter(|line| daemon(line)).cloned().collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    for line in lines.iter_mut().filter(|line| daemon(line)) {
        if let Some(next) = sorted.pop() {
            *line = next;
        }
    }
}

/// A line with everything that may differ replaced.
fn normal(line: &str) -> String {
    if line.contains("/data") && line.contains('%') {
        return used_space(line);
    }
    if line.starts_with("Brick ") || line.starts_with("Self-heal Daemon") || line.contains("/0001 ") {
        return status_row(line);
    }
    line.split_inclusive([' ', '\t', ',']).map(id).collect()
}

/// A UUID is five groups of hexadecimal digits.
fn id(word: &str) -> String {
    let bare = word.trim_end_matches([' ', '\t', ',', ')']);
    // The largest request a client sends is its own affair.
    if bare.starts_with("max_read=") {
        return word.replace(bare, "max_read=SIZE");
    }
    let groups: Vec<usize> = bare.split('-').map(str::len).collect();
    let hex = bare.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if groups == [8, 4, 4, 4, 12] && hex {
        return word.replace(bare, &"U".repeat(36));
    }
    word.into()
}

/// Ports have five digits on both sides; process ids differ in length, and blanks fill the column.
fn status_row(line: &str) -> String {
    let filled = line.trim_end();
    let Some((front, last)) = filled.rsplit_once(' ') else {
        return line.into();
    };
    if !last.chars().all(|c| c.is_ascii_digit()) {
        return line.into();
    }
    let pid = format!("{:<1$}", "PID", line.len() - front.len() - 1);
    let front: Vec<String> = front
        .split(' ')
        .map(|word| match word.parse::<u32>() {
            Ok(49152..=60999) => "PORT_".into(),
            _ => word.to_string(),
        })
        .collect();
    format!("{} {pid}", front.join(" "))
}

/// Used, available and per cent of `df -h`.
fn used_space(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [source, size, _, _, _, point] => format!("{source} {size} USED AVAIL PERCENT {point}"),
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_differ_is_replaced() {
        let row = |port: &str, pid: &str| {
            normal(&format!(
                "Brick worker1:/mnt/bricks/0001   {port}     0          Y       {pid:<6}"
            ))
        };
        assert_eq!(row("49152", "77"), row("60001", "123456"));
        assert_ne!(row("49152", "77"), row("N/A  ", "77"));
        let a = normal("Uuid: 8a6fa0a7-6b62-4b7c-8b8a-1c9e6a8b7c11");
        assert_eq!(a, normal("Uuid: 00000000-6b62-4b7c-8b8a-1c9e6a8b7c11"));
        assert_ne!(a, normal("Uuid: 8a6fa0a7"));
        assert_eq!(normal("State: Peer in Cluster"), "State: Peer in Cluster");
    }
}
