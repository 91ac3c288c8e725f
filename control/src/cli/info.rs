//! `volume info`, `volume list` and `volume get`: tables out of the daemon's dictionaries.

use std::fmt::Write as _;

use datapath::wire::OldDict;

use super::xml::{Xml, escape};

/// Most volumes, bricks or options of one reply that are looked at; a count beyond is not believed.
const MAX_ITEMS: i64 = 1 << 16;

pub(super) fn count(dict: &OldDict, key: &str) -> i64 {
    dict.get_i64(key).unwrap_or(0).clamp(0, MAX_ITEMS)
}

struct Volume<'a> {
    dict: &'a OldDict,
    prefix: String,
}

impl<'a> Volume<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.dict.get_str(&format!("{}.{key}", self.prefix)).unwrap_or_default()
    }

    fn number(&self, key: &str) -> i64 {
        self.dict.get_i64(&format!("{}.{key}", self.prefix)).unwrap_or(0)
    }

    fn bricks(&self) -> i64 {
        self.number("brick_count").clamp(0, MAX_ITEMS)
    }

    fn replicas(&self) -> i64 {
        self.number("replica_count").max(1)
    }

    fn sets(&self) -> i64 {
        self.bricks() / self.replicas()
    }

    /// The type with distribution told apart: GlusterFS adds 5 to the number.
    fn kind(&self) -> (i64, &'static str) {
        match (self.number("type"), self.sets() > 1) {
            (0, _) => (0, "Distribute"),
            (2, false) => (2, "Replicate"),
            (2, true) => (7, "Distributed-Replicate"),
            (4, false) => (4, "Disperse"),
            (4, true) => (9, "Distributed-Disperse"),
            (n, _) => (n, "Unknown"),
        }
    }

    fn status(&self) -> (i64, &'static str) {
        let status = self.number("status");
        let text = match status {
            0 => "Created",
            1 => "Started",
            2 => "Stopped",
            _ => "Unknown",
        };
        (status, text)
    }

    fn is_arbiter(&self, brick: i64) -> bool {
        self.number("arbiter_count") > 0 && brick % self.replicas() == 0
    }

    fn number_of_bricks(&self) -> String {
        let (bricks, replicas, arbiters) = (self.bricks(), self.replicas(), self.number("arbiter_count"));
        match (replicas, arbiters) {
            (1, _) => bricks.to_string(),
            (_, 0) => format!("{} x {replicas} = {bricks}", self.sets()),
            _ => format!("{} x ({} + {arbiters}) = {bricks}", self.sets(), replicas - arbiters),
        }
    }

    /// The options, in the reply's reverse order: upstream dictionaries come newest insertion first.
    fn options(&self) -> Vec<(&'a str, &'a str)> {
        let prefix = format!("{}.option.", self.prefix);
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes.split(|b| *b == 0).next().unwrap_or_default()).ok();
        self.dict
            .iter()
            .rev()
            .filter_map(|(key, value)| Some((text(&key.0)?.strip_prefix(prefix.as_str())?, text(value)?)))
            .collect()
    }

    fn write_text(&self, out: &mut String) {
        let (transport, rest) = match self.number("transport") {
            1 => ("rdma", ""),
            2 => ("tcp,rdma", ""),
            _ => ("tcp", ""),
        };
        // Writing to a String cannot fail; the blank line has a blank, as GlusterFS's.
        let _ = writeln!(out, " \nVolume Name: {}\nType: {}", self.text("name"), self.kind().1);
        let _ = writeln!(
            out,
            "Volume ID: {}\nStatus: {}",
            self.text("volume_id"),
            self.status().1
        );
        let _ = writeln!(out, "Snapshot Count: {}", self.number("snap_count"));
        let _ = writeln!(out, "Number of Bricks: {}{rest}", self.number_of_bricks());
        let _ = writeln!(out, "Transport-type: {transport}\nBricks:");
        for brick in 1..=self.bricks() {
            let mark = if self.is_arbiter(brick) { " (arbiter)" } else { "" };
            let _ = writeln!(out, "Brick{brick}: {}{mark}", self.text(&format!("brick{brick}")));
        }
        let options = self.options();
        if !options.is_empty() {
            out.push_str("Options Reconfigured:\n");
        }
        for (key, value) in options {
            let _ = writeln!(out, "{key}: {value}");
        }
    }

    fn write_xml(&self, xml: &mut Xml) {
        let ((kind, kind_text), (status, status_text)) = (self.kind(), self.status());
        xml.open("volume")
            .leaf("name", self.text("name"))
            .leaf("id", self.text("volume_id"));
        xml.leaf("status", status).leaf("statusStr", status_text);
        xml.leaf("snapshotCount", self.number("snap_count"))
            .leaf("brickCount", self.bricks());
        xml.leaf("distCount", self.sets()).leaf("replicaCount", self.replicas());
        for (name, key) in [
            ("arbiterCount", "arbiter_count"),
            ("disperseCount", "disperse_count"),
            ("redundancyCount", "redundancy_count"),
        ] {
            xml.leaf(name, self.number(key));
        }
        xml.leaf("type", kind)
            .leaf("typeStr", kind_text)
            .leaf("transport", self.number("transport"));
        xml.open("bricks");
        for brick in 1..=self.bricks() {
            let uuid = escape(self.text(&format!("brick{brick}.uuid")));
            let name = escape(self.text(&format!("brick{brick}")));
            let arbiter = u8::from(self.is_arbiter(brick));
            xml.raw(&format!(
                "<brick uuid=\"{uuid}\">{name}<name>{name}</name><hostUuid>{uuid}</hostUuid>\
                 <isArbiter>{arbiter}</isArbiter></brick>"
            ));
        }
        let options = self.options();
        xml.close().leaf("optCount", options.len()).open("options");
        for (key, value) in options {
            xml.open("option").leaf("name", key).leaf("value", value).close();
        }
        xml.close().close();
    }
}

fn volumes<'a>(dicts: &[&'a OldDict]) -> Vec<Volume<'a>> {
    let each = |dict: &'a OldDict| {
        (0..count(dict, "count")).map(move |i| Volume {
            dict,
            prefix: format!("volume{i}"),
        })
    };
    dicts.iter().flat_map(|dict| each(dict)).collect()
}

/// The text of `volume info` for every volume of the replies.
pub(super) fn info_text(dicts: &[&OldDict]) -> String {
    let mut out = String::new();
    volumes(dicts).iter().for_each(|volume| volume.write_text(&mut out));
    out
}

/// The document of `volume info`.
pub(super) fn info_xml(dicts: &[&OldDict], op_ret: i32, op_errno: i32, op_errstr: &str) -> String {
    let mut xml = Xml::with_result(op_ret, op_errno, op_errstr);
    let volumes = volumes(dicts);
    xml.open("volInfo").open("volumes");
    volumes.iter().for_each(|volume| volume.write_xml(&mut xml));
    xml.leaf("count", volumes.len());
    xml.finish()
}

/// The names of `volume list`.
pub(super) fn names(dict: &OldDict) -> Vec<&str> {
    (0..count(dict, "count"))
        .filter_map(|i| dict.get_str(&format!("volume{i}")))
        .collect()
}

/// The document of `volume list`.
pub(super) fn list_xml(dict: &OldDict) -> String {
    let mut xml = Xml::with_result(0, 0, "");
    xml.open("volList").leaf("count", count(dict, "count"));
    for name in names(dict) {
        xml.leaf("volume", name);
    }
    xml.finish()
}

fn options(dict: &OldDict) -> impl Iterator<Item = (&str, &str)> {
    (1..=count(dict, "count")).filter_map(|i| {
        Some((
            dict.get_str(&format!("key{i}"))?,
            dict.get_str(&format!("value{i}")).unwrap_or("(null)"),
        ))
    })
}

/// The table of `volume get`.
pub(super) fn get_text(dict: &OldDict) -> String {
    let mut out = String::new();
    if let Some(warning) = dict.get_str("warning") {
        out.push_str(warning);
        out.push('\n');
    }
    for (key, value) in [("Option", "Value"), ("------", "-----")]
        .into_iter()
        .chain(options(dict))
    {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key:<40} {value:<39}");
    }
    out
}

/// The document of `volume get`.
pub(super) fn get_xml(dict: &OldDict) -> String {
    let mut xml = Xml::with_result(0, 0, "");
    xml.open("volGetopts").leaf("count", count(dict, "count"));
    for (key, value) in options(dict) {
        xml.open("Opt").leaf("Option", key).leaf("Value", value).close();
    }
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(bricks: i32, replicas: i32, arbiters: i32) -> OldDict {
        let mut dict = OldDict::new().with_int("count", 1).with_str("volume0.name", "tv");
        dict.set_int("volume0.type", if replicas > 1 { 2 } else { 0 });
        for (key, value) in [
            ("status", 1),
            ("brick_count", bricks),
            ("replica_count", replicas),
            ("arbiter_count", arbiters),
        ] {
            dict.set_int(format!("volume0.{key}"), value);
        }
        dict.set_str("volume0.volume_id", "9ff9d807-3c3f-435e-8269-d6adf536d7bb");
        for i in 1..=bricks {
            dict.set_str(format!("volume0.brick{i}"), &format!("w{i}:/b"));
            dict.set_str(format!("volume0.brick{i}.uuid"), "u");
        }
        dict.set_str("volume0.option.b.two", "2");
        dict.set_str("volume0.option.a.one", "1");
        dict
    }

    #[test]
    fn info_reads_like_glusters() {
        let text = info_text(&[&volume(3, 3, 1)]);
        let expected = " \nVolume Name: tv\nType: Replicate\nVolume ID: 9ff9d807-3c3f-435e-8269-d6adf536d7bb\n\
                        Status: Started\nSnapshot Count: 0\nNumber of Bricks: 1 x (2 + 1) = 3\nTransport-type: tcp\n\
                        Bricks:\nBrick1: w1:/b\nBrick2: w2:/b\nBrick3: w3:/b (arbiter)\nOptions Reconfigured:\n\
                        a.one: 1\nb.two: 2\n";
        assert_eq!(text, expected);
        assert!(info_text(&[&volume(4, 2, 0)]).contains("Type: Distributed-Replicate"));
        assert!(info_text(&[&volume(4, 2, 0)]).contains("Number of Bricks: 2 x 2 = 4"));
        assert!(info_text(&[&volume(2, 1, 0)]).contains("Type: Distribute\n"));
        assert!(info_text(&[&volume(2, 1, 0)]).contains("Number of Bricks: 2\n"));
        assert!(info_xml(&[&volume(4, 2, 0)], 0, 0, "").contains("<type>7</type>"));
    }

    #[test]
    fn get_pads_its_columns() {
        let dict = OldDict::new()
            .with_int("count", 1)
            .with_str("key1", "a.b")
            .with_str("value1", "none (DEFAULT)");
        let text = get_text(&dict);
        assert!(text.lines().all(|line| line.len() == 80), "{text}");
        assert!(text.ends_with(&format!("{:<41}{:<39}\n", "a.b", "none (DEFAULT)")));
    }

    #[test]
    fn a_lying_count_is_bounded() {
        let dict = OldDict::new().with_int("count", i64::MAX);
        assert!(names(&dict).is_empty());
    }
}
