//! Small services of a node for commands that run on another one.

use datapath::wire::OldDict;

use super::super::brickdir;
use super::super::daemon::Daemon;
use super::super::hooks::{self, Stage};
use super::super::model::OpError;
use crate::rt;

/// Checks the directories of this node's bricks before a start.
pub(super) async fn start_check(daemon: &Daemon, name: &str) -> Result<OldDict, OpError> {
    let volume = daemon.need_volume(name)?;
    for brick in volume.bricks.iter().filter(|brick| daemon.is_local(brick)) {
        let (path, name, id) = (brick.path.clone(), volume.name.clone(), volume.id);
        let checked = rt::blocking(move || brickdir::check_for_start(&path, &name, id)).await;
        checked.map_err(|e| OpError::new(e.to_string()))??;
    }
    Ok(OldDict::new())
}

/// Runs this node's hook scripts of an operation.
pub(super) async fn hook(daemon: &Daemon, request: &OldDict) -> Result<OldDict, OpError> {
    let text = |key: &str| request.get_str(key).unwrap_or_default().to_string();
    let words: Vec<String> = (0..request.get_i32("words").unwrap_or(0).clamp(0, 1 << 12))
        .map(|i| text(&format!("word{i}")))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The operation becomes a path: only names of hook folders are taken.
    let operation = text("operation");
    if !operation.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
        return Err(OpError::new(format!("'{operation}' is not the name of an operation")));
    }
    let stage = if request.get_i32("before") == Some(1) {
        Stage::Before
    } else {
        Stage::After
    };
    hooks::run_here(daemon, &operation, stage, &text("volname"), &words).await;
    Ok(OldDict::new())
}
