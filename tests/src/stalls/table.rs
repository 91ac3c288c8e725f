//! The table: one line per row, machine and implementation.

use super::load::Kind;
use super::stage::{Figures, Measured, Stall};
use crate::lab::Flavor;
use crate::lab::six::{MANAGER, worker};

/// Title lines.
#[must_use]
pub fn head() -> String {
    let mut line = format!("{:<18} {:<8} {:<5}", "row", "where", "whose");
    for kind in Kind::ALL {
        line.push_str(&format!(" {:>20}", format!("{} ms", kind.name())));
    }
    line.push_str(&format!(" {:>8} {:>7}  errors", "back ms", "heal s"));
    format!(
        "longest operation before / during / after the fault; + had not ended with the phase; back: until the brick is \
         used again\n{line}"
    )
}

/// A row's lines.
#[must_use]
pub fn lines(measured: &Measured) -> Vec<String> {
    let mut lines: Vec<String> = measured
        .machines
        .iter()
        .map(|figures| line(measured, figures))
        .collect();
    lines.extend(measured.wrong.iter().map(|wrong| format!("  ! {wrong}")));
    lines
}

fn line(measured: &Measured, figures: &Figures) -> String {
    let (machine, whose) = (machine(figures.machine), whose(measured.flavor));
    let mut line = format!("{:<18} {machine:<8} {whose:<5}", measured.row.name);
    for stalls in &figures.stalls {
        let parts: Vec<String> = stalls.iter().map(shown).collect();
        line.push_str(&format!(" {:>20}", parts.join(" / ")));
    }
    let reached = figures
        .reached
        .map_or_else(|| "-".into(), |time| time.as_millis().to_string());
    line.push_str(&format!(" {reached:>8} {:>7.1}", measured.healed.as_secs_f64()));
    line.push_str(&format!("  {}", errors(figures)));
    line
}

/// A machine's name.
pub(super) fn machine(number: usize) -> String {
    if number == MANAGER {
        "manager".into()
    } else {
        worker(number)
    }
}

/// Whose programs.
pub(super) fn whose(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Ringluster => "ours",
        Flavor::C => "C",
    }
}

/// Milliseconds; one digit behind the point below 10.
fn shown(stall: &Stall) -> String {
    let milliseconds = stall.length.as_secs_f64() * 1000.0;
    let number = if milliseconds < 9.95 {
        format!("{milliseconds:.1}")
    } else {
        format!("{milliseconds:.0}")
    };
    if stall.open { format!("{number}+") } else { number }
}

fn errors(figures: &Figures) -> String {
    let mut parts = Vec::new();
    for ((kind, errors), done) in Kind::ALL.into_iter().zip(&figures.errors).zip(figures.done) {
        for (text, count) in errors {
            parts.push(format!("{count} of {} {}: {text}", done + count, kind.name()));
        }
    }
    if parts.is_empty() { "0".into() } else { parts.join(", ") }
}
