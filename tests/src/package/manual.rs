//! Manual pages: the sentences of `control/packaging/man`, and the lists of options and commands of the programs
//! themselves, so that a page lacks nothing that the program accepts.

use super::sources;
use crate::lab::Cmd;
use crate::lab::error::{Context, Result, ensure};
use clap::CommandFactory as _;
use std::fs;

/// A manual page in roff.
#[derive(Debug)]
pub struct Page {
    /// `glusterd.8`.
    pub file: String,
    /// Its source.
    pub text: String,
}

type Lines = Vec<(String, String)>;

/// Section and names of the pages.
const NAMES: [&str; 5] = ["glusterd", "gluster", "glusterfsd", "glusterfs", "mount.glusterfs"];

/// All pages, dated `date` (seconds since 1970).
///
/// # Errors
/// A source that is missing, or a mark in it that nothing is known for.
pub fn pages(date: u64) -> Result<Vec<Page>> {
    let day = Cmd::words("date -u +%Y-%m-%d -d").arg(format!("@{date}")).run()?;
    NAMES.iter().map(|name| page(name, day.trim())).collect()
}

fn page(name: &str, day: &str) -> Result<Page> {
    let file = format!("{name}.8");
    let path = sources().join("man").join(&file);
    let mut text = fs::read_to_string(&path).context(path.display())?;
    let options = match name {
        "glusterd" => from_clap(&control::glusterd::config::Arguments::command()),
        "glusterfs" => from_clap(&fuse::options::Args::command()),
        "glusterfsd" => from_table(control::process::help::OPTIONS),
        "mount.glusterfs" => from_table(fuse::helper::usage::OPTIONS),
        _ => from_table(control::cli::help::OPTIONS),
    };
    let marks = [
        ("@DATE@", day.to_string()),
        ("@VERSION@", env!("CARGO_PKG_VERSION").to_string()),
        ("@OPTIONS@", list(&options)),
        (
            "@PEER_COMMANDS@",
            list(&from_table(&control::cli::help::peer_commands())),
        ),
        (
            "@VOLUME_COMMANDS@",
            list(&from_table(&control::cli::help::volume_commands())),
        ),
    ];
    for (mark, value) in marks {
        text = text.replace(mark, value.trim_end());
    }
    ensure(!text.contains('@'), format!("{}: a mark is left", path.display()))?;
    Ok(Page { file, text })
}

fn from_table(table: &[(&str, &str)]) -> Lines {
    let owned = |(spelling, help): &(&str, &str)| ((*spelling).to_string(), (*help).to_string());
    table.iter().map(owned).collect()
}

/// Options of a program, without those it hides.
fn from_clap(command: &clap::Command) -> Lines {
    let mut command = command.clone();
    // Adds --help to the options.
    command.build();
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown.map(|argument| (spelling(argument), help(argument))).collect()
}

fn spelling(argument: &clap::Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let Some(long) = argument.get_long() else {
        return value.unwrap_or_default();
    };
    let short = argument
        .get_short()
        .map(|short| format!("-{short}, "))
        .unwrap_or_default();
    let optional = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
    let value = match value {
        Some(value) if optional => format!("[={value}]"),
        Some(value) => format!("={value}"),
        None => String::new(),
    };
    format!("{short}--{long}{value}")
}

fn help(argument: &clap::Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    // A switch's default is that it was not given.
    if argument.get_action().takes_values() && !defaults.is_empty() {
        text.push_str(&format!(" ({})", defaults.join(" ")));
    }
    text
}

/// A list of terms and what they mean.
fn list(lines: &Lines) -> String {
    lines
        .iter()
        .map(|(term, meaning)| {
            format!(
                ".TP\n.B \"{}\"\n{}\n",
                escaped(term).replace('"', "\\(dq"),
                sentence(meaning)
            )
        })
        .collect()
}

/// A term's meaning as a line that roff does not take for a request.
fn sentence(meaning: &str) -> String {
    match escaped(meaning) {
        text if text.starts_with(['.', '\'']) => format!("\\&{text}"),
        text => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_every_option_and_its_meaning() {
        let pages = pages(0).unwrap();
        assert_eq!(pages.len(), NAMES.len());
        let text = |name: &str| &pages.iter().find(|page| page.file == format!("{name}.8")).unwrap().text;
        for (name, option) in [
            ("glusterd", "\\-p, \\-\\-pid\\-file=FILE"),
            ("glusterd", "\\-h, \\-\\-help"),
            ("glusterfs", "\\-\\-direct\\-io\\-mode[=BOOL|auto]"),
            ("glusterfs", "\\-\\-read\\-only\""),
            ("glusterfsd", "\\-\\-brick\\-port=PORT"),
            ("mount.glusterfs", "backupvolfile\\-server=SERVER"),
            ("gluster", "volume heal <VOLNAME>"),
            ("gluster", "pool list"),
        ] {
            assert!(text(name).contains(option), "{name}: {option}");
        }
        assert!(text("glusterd").starts_with(".TH GLUSTERD 8 \"1970-01-01\""));
    }

    /// An option without a word about it helps nobody.
    #[test]
    fn every_option_has_a_meaning() {
        for command in [
            control::glusterd::config::Arguments::command(),
            fuse::options::Args::command(),
        ] {
            for (spelling, meaning) in from_clap(&command) {
                assert!(!meaning.is_empty(), "{}: {spelling}", command.get_name());
            }
        }
    }

    #[test]
    fn text_is_no_request() {
        assert_eq!(
            list(&vec![("a\"b".into(), ".c \\ -".into())]),
            ".TP\n.B \"a\\(dqb\"\n\\&.c \\e \\-\n"
        );
    }
}
