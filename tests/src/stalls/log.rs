//! The operations behind the table, one per line, for whoever wants to know when within a fault one had to wait.

use super::load::Kind;
use super::stage::Measured;
use super::table;
use crate::lab::error::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file. Columns are separated by tabs; times are milliseconds since the fault began, negative before it.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Log {
    /// Makes the file with its title line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> Result<Log> {
        let file = File::create(path).context(path.display())?;
        let mut log = Log {
            path: path.into(),
            file: BufWriter::new(file),
        };
        log.line("row\twhose\twhere\tkind\tbegin\ttook\terror")?;
        Ok(log)
    }

    /// Adds a row's operations and, as operations of no machine, the moments between its phases.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, measured: &Measured) -> Result<()> {
        let (row, whose) = (measured.row.name, table::whose(measured.flavor));
        let times = &measured.times;
        let since = |at: Duration| (at.as_secs_f64() - times.fault.as_secs_f64()) * 1000.0;
        for (what, at) in [("fault", times.fault), ("repair", times.repair), ("end", times.end)] {
            self.line(&format!("{row}\t{whose}\t-\t{what}\t{:.1}\t0\t", since(at)))?;
        }
        for one in &measured.seen {
            let machine = table::machine(one.machine);
            for (kind, samples) in Kind::ALL.into_iter().zip(&one.samples) {
                for sample in samples {
                    let took = (sample.end.unwrap_or(times.end).saturating_sub(sample.begin)).as_secs_f64() * 1000.0;
                    let error = match (&sample.error, sample.end) {
                        (Some(error), _) => error.text.as_str(),
                        (None, None) => "not ended",
                        (None, Some(_)) => "",
                    };
                    let begin = since(sample.begin);
                    self.line(&format!(
                        "{row}\t{whose}\t{machine}\t{}\t{begin:.1}\t{took:.1}\t{error}",
                        kind.name()
                    ))?;
                }
            }
        }
        self.file.flush().context(self.path.display())
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.file, "{line}").context(self.path.display())
    }
}
