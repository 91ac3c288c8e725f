//! `cmd_history.log`: one line per command that changed or asked for something, in GlusterFS's layout
//! (wire-protocol.md 6.6).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::process::log::Timestamp;

/// Where commands are noted.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// A history in the given file, which is made when first needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Notes a command and its outcome: None for success, else the text of the failure. A failure to write is logged;
    /// it must not fail the command.
    pub fn note(&self, command: &str, failure: Option<&str>) {
        let outcome = failure.map_or_else(|| "SUCCESS".to_string(), |text| format!("FAILED : {text}"));
        let line = format!("[{}]  : {command} : {outcome}\n", Timestamp::now());
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        if let Err(error) = file.and_then(|mut f| f.write_all(line.as_bytes())) {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_glusterfs_layout() {
        let path = std::env::temp_dir().join(format!("glusterd-history-{}", std::process::id()));
        let history = History::new(path.clone());
        history.note("volume start v1", None);
        history.note("volume start v1", Some("Volume v1 already started"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let ends: Vec<&str> = text.lines().map(|l| &l[l.find(']').unwrap()..]).collect();
        let want = [
            "]  : volume start v1 : SUCCESS",
            "]  : volume start v1 : FAILED : Volume v1 already started",
        ];
        assert_eq!(ends, want);
        assert_eq!(text.find(" +0000]"), Some(27));
    }
}
