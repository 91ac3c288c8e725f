//! Hook scripts of the administrator (wire-protocol.md 6.7): before a command they are waited for, after it they run by
//! themselves. A hook that fails is logged and changes nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use datapath::wire::OldDict;

use super::daemon::Daemon;
use super::node;
use crate::rt;

/// A hook that takes longer is left to itself.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a peer may take for its hooks before a command goes on.
const PEER_LIMIT: Duration = Duration::from_secs(70);

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the operation; it waits for them.
    Before,
    /// After the operation, by themselves.
    After,
}

impl Stage {
    fn folder(self) -> &'static str {
        match self {
            Self::Before => "pre",
            Self::After => "post",
        }
    }
}

/// Runs the hooks that come before an operation on all nodes, one after the other on each.
pub async fn run_before(daemon: &Daemon, operation: &str, volume: &str, extra: &[&str]) {
    run_here(daemon, operation, Stage::Before, volume, extra).await;
    run_there(daemon, request(operation, Stage::Before, volume, extra)).await;
}

/// Starts the hooks that come after an operation on all nodes and does not wait for them.
pub fn run_after(daemon: &Daemon, operation: &str, volume: &str, extra: &[&str]) {
    let request = request(operation, Stage::After, volume, extra);
    let (daemon, operation, volume) = (daemon.clone(), operation.to_string(), volume.to_string());
    let extra: Vec<String> = extra.iter().map(|word| (*word).to_string()).collect();
    rt::spawn(async move {
        let words: Vec<&str> = extra.iter().map(String::as_str).collect();
        run_here(&daemon, &operation, Stage::After, &volume, &words).await;
        run_there(&daemon, request).await;
    });
}

fn request(operation: &str, stage: Stage, volume: &str, extra: &[&str]) -> OldDict {
    let mut request = OldDict::new()
        .with_str("operation", operation)
        .with_int("before", i32::from(stage == Stage::Before))
        .with_str("volname", volume)
        .with_int("words", i128::try_from(extra.len()).unwrap_or(0));
    for (index, word) in extra.iter().enumerate() {
        request.set_str(format!("word{index}"), word);
    }
    request
}

async fn run_there(daemon: &Daemon, request: OldDict) {
    for (peer, answer) in node::ask_connected(daemon, node::HOOK, &request, PEER_LIMIT).await {
        if let Err(error) = answer {
            tracing::warn!("hooks on {}: {error}", daemon.peer_name(peer.uuid));
        }
    }
}

/// Runs this node's hooks of one stage; those that come after the operation in the background.
pub async fn run_here(daemon: &Daemon, operation: &str, stage: Stage, volume: &str, extra: &[&str]) {
    let commands = commands(daemon, operation, stage.folder(), volume, extra);
    let all = async move {
        for command in commands {
            run(command).await;
        }
    };
    match stage {
        Stage::Before => all.await,
        Stage::After => drop(rt::spawn(all)),
    }
}

fn commands(daemon: &Daemon, operation: &str, stage: &str, volume: &str, extra: &[&str]) -> Vec<Command> {
    let workdir = &daemon.config().paths.workdir;
    let scripts = scripts(&workdir.join("hooks/1").join(operation).join(stage));
    let command = |script: PathBuf| {
        let mut command = Command::new(script);
        command.args(arguments(operation, volume, extra, &workdir.display().to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    scripts.into_iter().map(command).collect()
}

/// What a hook is told; which words come with which operation was observed on GlusterFS 10.3.
fn arguments(operation: &str, volume: &str, extra: &[&str], workdir: &str) -> Vec<String> {
    let mut arguments = vec![format!("--volname={volume}")];
    arguments.extend(extra.iter().map(|word| (*word).to_string()));
    if matches!(operation, "start" | "reset") {
        arguments.extend(["--version=1".to_string(), format!("--volume-op={operation}")]);
    }
    if matches!(operation, "start" | "reset" | "set") {
        arguments.push(format!("--gd-workdir={workdir}"));
    }
    arguments
}

/// Executable files whose name starts with S, in order of their names.
fn scripts(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let wanted = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let leftover = [".rpmsave", ".rpmnew", ".rpmorig", "~"]
            .iter()
            .any(|end| name.ends_with(end));
        let executable = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        name.starts_with('S') && !leftover && executable
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(wanted)
        .collect();
    found.sort();
    found
}

async fn run(command: Command) {
    let name = format!("{command:?}");
    let mut child = match rt::Child::spawn(command) {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!("hook {name} could not be started: {error}");
            return;
        }
    };
    match rt::timeout(LIMIT, child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!("hook {name}: {status}"),
        Ok(Err(error)) => tracing::warn!("hook {name}: {error}"),
        Err(_) => tracing::warn!("hook {name} still runs after {} s", LIMIT.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_told_what_glusterfs_tells_them() {
        let words = |operation, extra: &[&str]| arguments(operation, "v1", extra, "/w").join(" ");
        assert_eq!(words("create", &[]), "--volname=v1");
        assert_eq!(
            words("set", &["-o", "a=b", "c=d"]),
            "--volname=v1 -o a=b c=d --gd-workdir=/w"
        );
        let start = "--volname=v1 --first=yes --version=1 --volume-op=start --gd-workdir=/w";
        assert_eq!(words("start", &["--first=yes"]), start);
        assert_eq!(words("stop", &["--last=yes"]), "--volname=v1 --last=yes");
    }

    #[test]
    fn only_executables_that_start_with_s_in_order() {
        let directory = std::env::temp_dir().join(format!("glusterd-hooks-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (name, mode) in [
            ("S20b", 0o755),
            ("S10a", 0o755),
            ("K10", 0o755),
            ("S30c", 0o644),
            ("S40.rpmsave", 0o755),
        ] {
            std::fs::write(directory.join(name), "").unwrap();
            std::fs::set_permissions(directory.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let names: Vec<_> = scripts(&directory)
            .iter()
            .map(|p| p.file_name().unwrap().to_owned())
            .collect();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(names, ["S10a", "S20b"]);
        assert!(scripts(Path::new("/nonexistent")).is_empty());
    }
}
