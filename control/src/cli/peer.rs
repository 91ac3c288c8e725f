//! `peer status` and `pool list`.

use std::fmt::Write as _;

use datapath::wire::OldDict;

use super::info::count;
use super::xml::Xml;

struct Peer<'a> {
    dict: &'a OldDict,
    index: i64,
}

impl<'a> Peer<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.dict
            .get_str(&format!("friend{}.{key}", self.index))
            .unwrap_or_default()
    }

    fn connected(&self) -> bool {
        self.text("connected") == "1"
    }

    fn connection(&self) -> &'static str {
        if self.connected() { "Connected" } else { "Disconnected" }
    }

    /// The names beside the first.
    fn other_names(&self) -> Vec<&'a str> {
        let names = self.text("hostname_count").parse().unwrap_or(0i64).clamp(0, 1 << 10);
        (0..names)
            .map(|i| self.text(&format!("hostname{i}")))
            .filter(|name| !name.is_empty() && *name != self.text("hostname"))
            .collect()
    }
}

fn peers(dict: &OldDict) -> Vec<Peer<'_>> {
    (1..=count(dict, "count")).map(|index| Peer { dict, index }).collect()
}

/// The text of `peer status`.
pub(super) fn status_text(dict: &OldDict) -> String {
    let peers = peers(dict);
    let mut out = format!("Number of Peers: {}\n", peers.len());
    for peer in peers {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\nHostname: {}\nUuid: {}",
            peer.text("hostname"),
            peer.text("uuid")
        );
        let _ = writeln!(out, "State: {} ({})", peer.text("state"), peer.connection());
        let others = peer.other_names();
        if !others.is_empty() {
            let _ = writeln!(out, "Other names:\n{}", others.join("\n"));
        }
    }
    out
}

/// The table of `pool list`.
pub(super) fn pool_text(dict: &OldDict) -> String {
    let peers = peers(dict);
    let width = peers
        .iter()
        .map(|peer| peer.text("hostname").len())
        .chain([8])
        .max()
        .unwrap_or(8);
    let mut out = format!("UUID\t\t\t\t\t{:<width$}\tState\n", "Hostname");
    for peer in peers {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}\t{:<width$}\t{} ",
            peer.text("uuid"),
            peer.text("hostname"),
            peer.connection()
        );
    }
    out
}

/// The document of both.
pub(super) fn xml(dict: &OldDict) -> String {
    let mut xml = Xml::with_result(0, 0, "");
    let peers = peers(dict);
    if peers.is_empty() {
        xml.leaf("peerStatus", "");
        return xml.finish();
    }
    xml.open("peerStatus");
    for peer in peers {
        xml.open("peer")
            .leaf("uuid", peer.text("uuid"))
            .leaf("hostname", peer.text("hostname"));
        if !peer.text("hostname_count").is_empty() {
            xml.open("hostnames").leaf("hostname", peer.text("hostname"));
            for name in peer.other_names() {
                xml.leaf("hostname", name);
            }
            xml.close();
        }
        xml.leaf("connected", u8::from(peer.connected()));
        if !peer.text("stateId").is_empty() {
            xml.leaf("state", peer.text("stateId"))
                .leaf("stateStr", peer.text("state"));
        }
        xml.close();
    }
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict() -> OldDict {
        let mut dict = OldDict::new().with_int("count", 2);
        for (key, value) in [
            ("friend1.uuid", "46477369-b693-4005-a57f-47e97d20fcdc"),
            ("friend1.hostname", "p2"),
            ("friend1.hostname_count", "1"),
            ("friend1.hostname0", "p2"),
            ("friend1.state", "Peer in Cluster"),
            ("friend1.stateId", "3"),
            ("friend1.connected", "1"),
            ("friend2.uuid", "2cc3c06d-1536-40aa-b20b-60173104c780"),
            ("friend2.hostname", "localhost"),
            ("friend2.connected", "0"),
        ] {
            dict.set_str(key, value);
        }
        dict
    }

    #[test]
    fn tables_are_glusters() {
        assert_eq!(status_text(&OldDict::null()), "Number of Peers: 0\n");
        assert!(status_text(&dict()).starts_with(
            "Number of Peers: 2\n\nHostname: p2\nUuid: 46477369-b693-4005-a57f-47e97d20fcdc\n\
             State: Peer in Cluster (Connected)\n\n"
        ));
        assert_eq!(
            pool_text(&dict()),
            "UUID\t\t\t\t\tHostname \tState\n46477369-b693-4005-a57f-47e97d20fcdc\tp2       \tConnected \n\
             2cc3c06d-1536-40aa-b20b-60173104c780\tlocalhost\tDisconnected \n"
        );
        assert!(xml(&OldDict::null()).ends_with("  <peerStatus/>\n</cliOutput>\n"));
    }
}
