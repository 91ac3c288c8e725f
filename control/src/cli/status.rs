//! `volume status`: processes, details and clients out of the daemon's dictionary.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use datapath::wire::OldDict;

use super::info::count;
use super::words::StatusKind;
use super::xml::Xml;

const RULE: &str = "------------------------------------------------------------------------------";
const SHORT_RULE: &str = "----------------------------------------------";
/// Width of the process column; longer names go on in the next line.
const NAME_WIDTH: usize = 43;

/// One process of the reply.
struct Node<'a> {
    dict: &'a OldDict,
    index: i64,
    is_brick: bool,
}

impl<'a> Node<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.dict.get_str(&format!("brick{}.{key}", self.index))
    }

    fn number(&self, key: &str) -> i64 {
        self.dict.get_i64(&format!("brick{}.{key}", self.index)).unwrap_or(0)
    }

    fn online(&self) -> bool {
        self.number("status") == 1
    }

    fn name(&self) -> String {
        let (host, path) = (
            self.text("hostname").unwrap_or_default(),
            self.text("path").unwrap_or_default(),
        );
        if self.is_brick {
            format!("Brick {host}:{path}")
        } else {
            format!("{host} on {path}")
        }
    }

    /// Daemons have no port; what is down has none either.
    fn port(&self, key: &str) -> String {
        let port = self.number(key);
        if !self.online() || (port <= 0 && (key == "port" || !self.is_brick)) {
            return "N/A".to_owned();
        }
        port.to_string()
    }

    fn pid(&self) -> String {
        match self.number("pid") {
            pid if self.online() && pid > 0 => pid.to_string(),
            _ => "N/A".to_owned(),
        }
    }

    fn yes_no(&self) -> &'static str {
        if self.online() { "Y" } else { "N" }
    }
}

fn nodes(dict: &OldDict) -> Vec<Node<'_>> {
    let bricks = dict.get_i64("brick-index-max").unwrap_or(-1).clamp(-1, 1 << 16);
    let others = count(dict, "other-count");
    (0..=bricks.saturating_add(others))
        .map(|index| Node {
            dict,
            index,
            is_brick: index <= bricks,
        })
        .filter(|node| node.text("hostname").is_some())
        .collect()
}

fn wrapped(name: &str) -> (Vec<String>, String) {
    let letters: Vec<char> = name.chars().collect();
    let mut lines: Vec<String> = letters.chunks(NAME_WIDTH).map(|line| line.iter().collect()).collect();
    let last = lines.pop().unwrap_or_default();
    (lines, last)
}

fn processes(dict: &OldDict, volume: &str, with_tasks: bool) -> String {
    let mut out = format!("Status of volume: {volume}\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:<44}{:<10}{:<11}{:<8}Pid\n{RULE}",
        "Gluster process", "TCP Port", "RDMA Port", "Online"
    );
    for node in nodes(dict) {
        let (lines, last) = wrapped(&node.name());
        lines.iter().for_each(|line| out.extend([line, "\n"]));
        let (tcp, rdma) = (node.port("port"), node.port("rdma_port"));
        let _ = writeln!(
            out,
            "{last:<44}{tcp:<10}{rdma:<11}{:<8}{:<5}",
            node.yes_no(),
            node.pid()
        );
    }
    out.push_str(" \n");
    if with_tasks {
        out.push_str(&tasks(volume));
    }
    out
}

/// There are no rebalance or remove-brick tasks in this system yet.
fn tasks(volume: &str) -> String {
    format!("Task Status of Volume {volume}\n{RULE}\nThere are no active volume tasks\n \n")
}

/// Bytes as GlusterFS prints them: one decimal of the largest unit that fits.
fn human(bytes: u64) -> String {
    for (shift, unit) in [(50, "PB"), (40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")] {
        if bytes >= 1 << shift {
            return format!("{:.1}{unit}", bytes as f64 / (1u64 << shift) as f64);
        }
    }
    format!("{bytes}Bytes")
}

fn detail(dict: &OldDict, volume: &str) -> String {
    let mut out = format!("Status of volume: {volume}\n");
    for node in nodes(dict).iter().filter(|node| node.is_brick) {
        let text = |key: &str| node.text(key).unwrap_or("N/A").to_owned();
        let size = |key: &str| {
            node.text(key)
                .and_then(|t| t.parse().ok())
                .map_or("N/A".to_owned(), human)
        };
        out.extend([RULE, "\n"]);
        for (label, value) in [
            ("Brick", node.name()),
            ("TCP Port", node.port("port")),
            ("RDMA Port", node.port("rdma_port")),
            ("Online", node.yes_no().to_owned()),
            ("Pid", node.pid()),
            ("File System", text("fs_name")),
            ("Device", text("device")),
            ("Mount Options", text("mnt_options")),
            ("Inode Size", text("inode_size")),
            ("Disk Space Free", size("free")),
            ("Total Disk Space", size("total")),
            ("Inode Count", text("total_inodes")),
            ("Free Inodes", text("free_inodes")),
        ] {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{label:<20} : {value:<20}");
        }
    }
    out.push_str(" \n");
    out.push_str(&brick_health(dict, volume));
    out
}

/// Milliseconds as people read them.
fn period(ms: i64) -> String {
    match ms.max(0) {
        ms @ 0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms @ 10_000..600_000 => format!("{} s", ms / 1000),
        ms @ 600_000..36_000_000 => format!("{} min", ms / 60_000),
        ms => format!("{} h", ms / 3_600_000),
    }
}

/// Since when each brick is up or down and how often that changed. Management daemons of GlusterFS tell nothing of it,
/// and then there is nothing here.
fn brick_health(dict: &OldDict, volume: &str) -> String {
    let mut out = String::new();
    for node in nodes(dict).iter().filter(|node| node.is_brick) {
        if node.text("since-ms").is_none() {
            continue;
        }
        let state = if node.online() { "up" } else { "down" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}: {state} for {}, {} transitions",
            node.name(),
            period(node.number("since-ms")),
            node.number("changes")
        );
    }
    under_title(&format!("Health of the bricks of volume {volume}"), &out)
}

/// How each connection of each brick does; nothing for bricks that do not tell.
fn client_health(dict: &OldDict, volume: &str) -> String {
    let mut out = String::new();
    for node in nodes(dict).iter().filter(|node| node.is_brick && node.online()) {
        let clients = node.number("clientcount").clamp(0, 1 << 16);
        let lines: Vec<String> = (0..clients).filter_map(|i| connection(node, i)).collect();
        if !lines.is_empty() {
            out.push_str(&format!("{}\n{}", node.name(), lines.concat()));
        }
    }
    under_title(&format!("Health of the connections of volume {volume}"), &out)
}

fn connection(node: &Node<'_>, i: i64) -> Option<String> {
    let text = |key: &str| node.text(&format!("client{i}.{key}"));
    let number = |key: &str| node.number(&format!("client{i}.{key}"));
    text("connected-ms")?;
    let mut line = format!(
        "{} ({}): connected for {}, heard {} ago, {} connections",
        text("hostname").unwrap_or_default(),
        text("name").unwrap_or("unknown"),
        period(number("connected-ms")),
        period(number("heard-ms")),
        number("connections")
    );
    if let Some(why) = text("last-end") {
        line.push_str(&format!(
            "; the last ended {} ago: {why}",
            period(number("last-end-ms"))
        ));
    }
    line.push('\n');
    Some(line)
}

fn under_title(title: &str, lines: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{title}\n{SHORT_RULE}\n{lines}{SHORT_RULE}\n\n")
}

fn clients(dict: &OldDict, volume: &str) -> String {
    let mut out = format!("Client connections for volume {volume}\n");
    for node in nodes(dict).iter().filter(|node| node.is_brick) {
        let (host, path) = (
            node.text("hostname").unwrap_or_default(),
            node.text("path").unwrap_or_default(),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{SHORT_RULE}\nBrick : {host}:{path}");
        if !node.online() {
            out.push_str("Brick is offline\n");
            continue;
        }
        let connected = node.number("clientcount").clamp(0, 1 << 16);
        let _ = writeln!(out, "Clients connected : {connected}");
        if connected > 0 {
            row(&mut out, ["Hostname", "BytesRead", "BytesWritten", "OpVersion"]);
            row(&mut out, ["--------", "---------", "------------", "---------"]);
        }
        for i in 0..connected {
            let text = |key: &str| node.text(&format!("client{i}.{key}")).unwrap_or("0");
            row(
                &mut out,
                [
                    text("hostname"),
                    text("bytesread"),
                    text("byteswrite"),
                    text("opversion"),
                ],
            );
        }
    }
    out.extend([SHORT_RULE, "\n\n"]);
    out.push_str(&client_health(dict, volume));
    out
}

fn row(out: &mut String, [host, read, written, version]: [&str; 4]) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{host:<48} {read:>15} {written:>15} {version:>15}");
}

/// Distinct clients by the process name they gave. A client is connected to every brick: the brick that has most of
/// a name counts.
fn client_list(dict: &OldDict, volume: &str) -> String {
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes(dict).iter().filter(|node| node.is_brick && node.online()) {
        let mut here: BTreeMap<&str, usize> = BTreeMap::new();
        for i in 0..node.number("clientcount").clamp(0, 1 << 16) {
            *here
                .entry(node.text(&format!("client{i}.name")).unwrap_or("unknown"))
                .or_default() += 1;
        }
        for (name, n) in here {
            let best = most.entry(name).or_default();
            *best = n.max(*best);
        }
    }
    let mut out = format!(
        "Client connections for volume {volume}\n{:<48} {:>15}\n",
        "Name", "count"
    );
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:<48} {:>15}", "-----", "------");
    for (name, n) in &most {
        let _ = writeln!(out, "{name:<48} {n:>15}");
    }
    let total: usize = most.values().sum();
    let rule = "-".repeat(65);
    let _ = writeln!(out, "\ntotal clients for volume {volume} : {total} \n{rule}\n");
    out
}

/// The text of `volume status` for one volume. `whole` is false when it is restricted to one process.
pub(super) fn text(dict: &OldDict, volume: &str, kind: StatusKind, whole: bool) -> String {
    match kind {
        StatusKind::Processes => processes(dict, volume, whole),
        StatusKind::Detail => detail(dict, volume),
        StatusKind::Clients => clients(dict, volume),
        StatusKind::ClientList => client_list(dict, volume),
        StatusKind::Tasks => tasks(volume),
    }
}

/// The element of one volume within `volStatus/volumes`.
pub(super) fn write_xml(xml: &mut Xml, dict: &OldDict, volume: &str, kind: StatusKind, whole: bool) {
    xml.open("volume").leaf("volName", volume);
    if kind != StatusKind::Tasks {
        let nodes: Vec<Node<'_>> = nodes(dict)
            .into_iter()
            .filter(|node| node.is_brick || kind == StatusKind::Processes)
            .collect();
        xml.leaf("nodeCount", nodes.len());
        nodes.iter().for_each(|node| write_node(xml, node, kind));
    }
    if kind == StatusKind::Tasks || (kind == StatusKind::Processes && whole) {
        xml.leaf("tasks", "");
    }
    xml.close();
}

fn write_node(xml: &mut Xml, node: &Node<'_>, kind: StatusKind) {
    let port = node.port("port");
    let pid = if node.online() { node.number("pid") } else { -1 };
    xml.open("node");
    for key in ["hostname", "path", "peerid"] {
        xml.leaf(key, node.text(key).unwrap_or_default());
    }
    xml.leaf("status", u8::from(node.online())).leaf("port", &port);
    xml.open("ports")
        .leaf("tcp", &port)
        .leaf("rdma", "N/A")
        .close()
        .leaf("pid", pid);
    match kind {
        StatusKind::Detail => {
            for (name, key) in [
                ("sizeTotal", "total"),
                ("sizeFree", "free"),
                ("device", "device"),
                ("blockSize", "block_size"),
                ("mntOptions", "mnt_options"),
                ("fsName", "fs_name"),
                ("inodeSize", "inode_size"),
                ("inodesTotal", "total_inodes"),
                ("inodesFree", "free_inodes"),
            ] {
                if let Some(value) = node.text(key) {
                    xml.leaf(name, value);
                }
            }
        }
        StatusKind::Clients => {
            let clients = node.number("clientcount").clamp(0, 1 << 16);
            xml.open("clientsStatus").leaf("clientCount", clients);
            for i in 0..clients {
                let text = |key: &str| node.text(&format!("client{i}.{key}")).unwrap_or("0");
                xml.open("client")
                    .leaf("hostname", text("hostname"))
                    .leaf("bytesRead", text("bytesread"));
                xml.leaf("bytesWrite", text("byteswrite"))
                    .leaf("opVersion", text("opversion"))
                    .close();
            }
            xml.close();
        }
        StatusKind::Processes | StatusKind::ClientList | StatusKind::Tasks => {}
    }
    xml.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict() -> OldDict {
        let mut dict = OldDict::new().with_int("brick-index-max", 1).with_int("other-count", 1);
        let rows = [
            ("w1", "/tmp/proc-oracle/b/b1", 49586, 1, 22333),
            ("w1", "/tmp/proc-oracle/b/abcdefghijklmnop", 0, 0, -1),
            ("Self-heal Daemon", "localhost", 0, 1, 4022),
        ];
        for (i, (host, path, port, status, pid)) in rows.into_iter().enumerate() {
            dict.set_str(format!("brick{i}.hostname"), host);
            dict.set_str(format!("brick{i}.path"), path);
            for (key, value) in [("port", port), ("rdma_port", 0), ("status", status), ("pid", pid)] {
                dict.set_int(format!("brick{i}.{key}"), value);
            }
        }
        dict
    }

    #[test]
    fn processes_are_laid_out_as_glusters() {
        let expected = "Status of volume: 0001\n\
            Gluster process                             TCP Port  RDMA Port  Online  Pid\n\
            ------------------------------------------------------------------------------\n\
            Brick w1:/tmp/proc-oracle/b/b1              49586     0          Y       22333\n\
            Brick w1:/tmp/proc-oracle/b/abcdefghijklmno\n\
            p                                           N/A       N/A        N       N/A  \n\
            Self-heal Daemon on localhost               N/A       N/A        Y       4022 \n \n\
            Task Status of Volume 0001\n\
            ------------------------------------------------------------------------------\n\
            There are no active volume tasks\n \n";
        assert_eq!(text(&dict(), "0001", StatusKind::Processes, true), expected);
        assert!(!text(&dict(), "0001", StatusKind::Processes, false).contains("Task"));
    }

    #[test]
    fn clients_and_details() {
        let mut dict = dict();
        dict.set_int("brick0.clientcount", 1);
        for (key, value) in [
            ("hostname", "10.99.0.1:49130"),
            ("bytesread", "5636"),
            ("byteswrite", "6680"),
            ("opversion", "100000"),
            ("name", "fuse"),
        ] {
            dict.set_str(format!("brick0.client0.{key}"), value);
        }
        let out = text(&dict, "v", StatusKind::Clients, true);
        assert!(
            out.contains(
                "\n10.99.0.1:49130                                             5636            6680          100000\n"
            ),
            "{out}"
        );
        assert!(
            out.contains("Brick is offline\n----------------------------------------------\n\n"),
            "{out}"
        );
        assert!(!out.contains("Health"), "{out}");
        for (key, value) in [
            ("connected-ms", 61_500),
            ("heard-ms", 120),
            ("connections", 2),
            ("last-end-ms", 700_000),
        ] {
            dict.set_int(format!("brick0.client0.{key}"), value);
        }
        dict.set_str("brick0.client0.last-end", "it was silent");
        let out = text(&dict, "v", StatusKind::Clients, true);
        let want = "Health of the connections of volume v\n----------------------------------------------\n\
            Brick w1:/tmp/proc-oracle/b/b1\n\
            10.99.0.1:49130 (fuse): connected for 61 s, heard 0.1 s ago, 2 connections; the last ended 11 min ago: it was \
            silent\n----------------------------------------------\n\n";
        assert!(out.ends_with(want), "{out}");
        let out = text(&dict, "v", StatusKind::ClientList, true);
        assert!(
            out.contains("\nfuse                                                           1\n"),
            "{out}"
        );
        dict.set_str("brick0.free", "257331519488");
        let out = text(&dict, "v", StatusKind::Detail, true);
        assert!(out.contains("Disk Space Free      : 239.7GB             \n"), "{out}");
        assert!(out.contains("Inode Size           : N/A                 \n"), "{out}");
        dict.set_int("brick0.since-ms", 4_200).set_int("brick0.changes", 3);
        let out = text(&dict, "v", StatusKind::Detail, true);
        assert!(
            out.contains("\nBrick w1:/tmp/proc-oracle/b/b1: up for 4.2 s, 3 transitions\n"),
            "{out}"
        );
    }
}
