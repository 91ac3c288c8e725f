//! `volume heal`: what is said about it, and the tables of `heal info`.

use std::fmt::Write as _;

use super::words::HealOp;
use super::xml::{Xml, escape};

/// State of one entry that a brick's index names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// It waits to be healed.
    Pending,
    /// Somebody holds the heal lock: it is probably being healed.
    PossiblyHealing,
    /// The bricks blame each other.
    SplitBrain,
}

/// One entry of `heal info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealEntry {
    /// The gfid, canonical text.
    pub gfid: String,
    /// The path below the volume's root with a leading slash, or `<gfid:...>` if the brick does not know it.
    pub path: String,
    /// What is known of it.
    pub state: EntryState,
}

/// What one brick's index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickHeal {
    /// `HOST:PATH`.
    pub brick: String,
    /// uuid of the brick's node, if known.
    pub host_uuid: Option<String>,
    /// Its entries, or why they are not known (the error's text).
    pub entries: Result<Vec<HealEntry>, String>,
}

/// Which form of the list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoKind {
    /// Every entry.
    All,
    /// Numbers only.
    Summary,
    /// Entries in split-brain.
    SplitBrain,
}

impl InfoKind {
    /// The kind a command asks for, if it is one of the info commands.
    pub(super) fn of(op: &HealOp) -> Option<InfoKind> {
        match op {
            HealOp::Info => Some(InfoKind::All),
            HealOp::InfoSummary => Some(InfoKind::Summary),
            HealOp::InfoSplitBrain => Some(InfoKind::SplitBrain),
            _ => None,
        }
    }
}

struct Numbers {
    pending: usize,
    healing: usize,
    split_brain: usize,
}

impl BrickHeal {
    fn status(&self) -> &str {
        self.entries.as_ref().map_or_else(String::as_str, |_| "Connected")
    }

    fn shown(&self, kind: InfoKind) -> Vec<&HealEntry> {
        let wanted = |entry: &&HealEntry| match kind {
            InfoKind::All => true,
            InfoKind::Summary => false,
            InfoKind::SplitBrain => entry.state == EntryState::SplitBrain,
        };
        self.entries.iter().flatten().filter(wanted).collect()
    }

    fn numbers(&self) -> Option<Numbers> {
        let entries = self.entries.as_ref().ok()?;
        let of = |state| entries.iter().filter(|entry| entry.state == state).count();
        Some(Numbers {
            pending: of(EntryState::Pending),
            healing: of(EntryState::PossiblyHealing),
            split_brain: of(EntryState::SplitBrain),
        })
    }

    /// Label, XML name and value of each number; "-" for a brick that was not asked.
    fn figures(&self, kind: InfoKind) -> Vec<(&'static str, &'static str, String)> {
        let numbers = self.numbers();
        let figure = |pick: fn(&Numbers) -> usize| numbers.as_ref().map_or("-".to_owned(), |n| pick(n).to_string());
        let total = figure(|n| n.pending + n.healing + n.split_brain);
        match kind {
            InfoKind::All => vec![("Number of entries", "numberOfEntries", total)],
            InfoKind::SplitBrain => {
                vec![(
                    "Number of entries in split-brain",
                    "numberOfEntries",
                    figure(|n| n.split_brain),
                )]
            }
            InfoKind::Summary => vec![
                ("Total Number of entries", "totalNumberOfEntries", total),
                (
                    "Number of entries in heal pending",
                    "numberOfEntriesInHealPending",
                    figure(|n| n.pending),
                ),
                (
                    "Number of entries in split-brain",
                    "numberOfEntriesInSplitBrain",
                    figure(|n| n.split_brain),
                ),
                (
                    "Number of entries possibly healing",
                    "numberOfEntriesPossiblyHealing",
                    figure(|n| n.healing),
                ),
            ],
        }
    }
}

/// The text of `heal info` (brick-and-replicate.md E.9).
pub(super) fn info_text(bricks: &[BrickHeal], kind: InfoKind) -> String {
    let mut out = String::new();
    for brick in bricks {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Brick {}", brick.brick);
        for entry in brick.shown(kind) {
            let suffix = match (kind, entry.state) {
                (InfoKind::SplitBrain, _) => "",
                (_, EntryState::Pending) => " ",
                (_, EntryState::PossiblyHealing) => " - Possibly undergoing heal",
                (_, EntryState::SplitBrain) => " - Is in split-brain",
            };
            let _ = writeln!(out, "{}{suffix}", entry.path);
        }
        let _ = writeln!(out, "Status: {}", brick.status());
        for (label, _, value) in brick.figures(kind) {
            let _ = writeln!(out, "{label}: {value}");
        }
        out.push('\n');
    }
    out
}

/// The document of `heal info`.
pub(super) fn info_xml(bricks: &[BrickHeal], kind: InfoKind) -> String {
    let mut xml = Xml::new();
    xml.open("healInfo").open("bricks");
    for brick in bricks {
        let uuid = escape(brick.host_uuid.as_deref().unwrap_or("-"));
        xml.open_with("brick", &format!(" hostUuid=\"{uuid}\""))
            .leaf("name", &brick.brick);
        for entry in brick.shown(kind) {
            xml.leaf_with("file", &format!(" gfid=\"{}\"", escape(&entry.gfid)), &entry.path);
        }
        xml.leaf("status", brick.status());
        for (_, name, value) in brick.figures(kind) {
            xml.leaf(name, value);
        }
        xml.close();
    }
    xml.close().close().result(0, 0, "");
    xml.finish()
}

/// The document of a `heal info` that failed.
pub(super) fn info_failed_xml(op_errno: i32, message: &str) -> String {
    let mut xml = Xml::new();
    xml.open("healInfo")
        .leaf("bricks", "")
        .close()
        .result(-1, op_errno, message);
    xml.finish()
}

/// The entries of each brick as `statistics heal-count` prints them.
pub(super) fn heal_count_text(bricks: &[BrickHeal]) -> String {
    let mut out = String::new();
    for brick in bricks {
        let numbers = match &brick.entries {
            Ok(entries) => format!("Number of entries: {}", entries.len()),
            Err(_) => "Status: Brick is not connected\nNo gathered input for this brick".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\nBrick {}\n{numbers}", brick.brick);
    }
    out
}

/// How GlusterFS names the operation: the beginning of the sentence "... on volume V has been successful".
pub(super) fn sentence(op: &HealOp) -> &'static str {
    match op {
        HealOp::Full => "Launching heal operation to perform full self heal",
        HealOp::Enable => "Enable heal",
        HealOp::Disable => "Disable heal",
        HealOp::GranularEnable => "Enable granular entry heal",
        HealOp::GranularDisable => "Disable granular entry heal",
        HealOp::Statistics => "Gathering crawl statistics",
        HealOp::HealCount => "Gathering count of entries to be healed",
        HealOp::HealCountReplica(_) => "Gathering count of entries to be healed per replica",
        _ => "Launching heal operation to perform index self heal",
    }
}

/// What is printed after a success.
pub(super) fn success(op: &HealOp, volume: &str) -> String {
    let hint = if matches!(op, HealOp::Index | HealOp::Full) {
        "Use heal info commands to check status.\n"
    } else {
        ""
    };
    format!("{} on volume {volume} has been successful \n{hint}", sentence(op))
}

/// What is printed after a failure.
pub(super) fn failure(op: &HealOp, volume: &str, why: &str) -> String {
    format!("{} on volume {volume} has been unsuccessful:\n{why}\n", sentence(op))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bricks() -> Vec<BrickHeal> {
        let entry = |path: &str, state| HealEntry {
            gfid: "g".to_owned(),
            path: path.to_owned(),
            state,
        };
        let brick = |name: &str, uuid: Option<&str>, entries| BrickHeal {
            brick: name.to_owned(),
            host_uuid: uuid.map(str::to_owned),
            entries,
        };
        vec![
            brick(
                "w1:/b1",
                Some("u"),
                Ok(vec![
                    entry("/d1/nd", EntryState::Pending),
                    entry("/d1", EntryState::SplitBrain),
                    entry(
                        "<gfid:6c3dbfb0-3ff2-474f-854e-b332e26d13c0>",
                        EntryState::PossiblyHealing,
                    ),
                ]),
            ),
            brick("w1:/b2", None, Err("Transport endpoint is not connected".to_owned())),
        ]
    }

    #[test]
    fn info_and_its_variants() {
        assert_eq!(
            info_text(&bricks(), InfoKind::All),
            "Brick w1:/b1\n/d1/nd \n/d1 - Is in split-brain\n<gfid:6c3dbfb0-3ff2-474f-854e-b332e26d13c0> - Possibly \
             undergoing heal\nStatus: Connected\nNumber of entries: 3\n\nBrick w1:/b2\nStatus: Transport endpoint is \
             not connected\nNumber of entries: -\n\n"
        );
        assert!(
            info_text(&bricks(), InfoKind::SplitBrain)
                .starts_with("Brick w1:/b1\n/d1\nStatus: Connected\nNumber of entries in split-brain: 1\n\n")
        );
        assert!(info_text(&bricks(), InfoKind::Summary).starts_with(
            "Brick w1:/b1\nStatus: Connected\nTotal Number of entries: 3\nNumber of entries in heal pending: 1\n\
             Number of entries in split-brain: 1\nNumber of entries possibly healing: 1\n\n"
        ));
        let xml = info_xml(&bricks(), InfoKind::All);
        assert!(xml.contains("        <file gfid=\"g\">/d1/nd</file>\n"), "{xml}");
        assert!(xml.contains("      <brick hostUuid=\"-\">\n"), "{xml}");
        assert!(
            heal_count_text(&bricks()).starts_with("\nBrick w1:/b1\nNumber of entries: 3\n\nBrick w1:/b2\nStatus:")
        );
    }
}
