//! git clone and fsck on the mount while every brick is killed once.

use super::common::{self, BRICKS, HEAL_LIMIT, Setup};
use super::{Need, Scenario};
use crate::lab::Host;
use crate::lab::error::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "git_under_kills",
    about: "git clone of a local repository and git fsck while each brick is killed -9 and restarted",
    needs: &[Need::Ours, Need::Git],
    seconds: 400,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    let host = setup.mount.host();
    let source = make_repository(host, &setup.lab.make_dir("repository")?)?;
    let clones = common::while_bricks_die(&setup.cluster, BRICKS, |round| {
        let clone = setup.mount.inside().join(format!("clone-{round}"));
        let url = format!("file://{}", source.display());
        git(host, &["clone", "--quiet", &url, &clone.display().to_string()])?;
        let at = clone.display().to_string();
        git(host, &["-C", &at, "fsck", "--full", "--strict"])?;
        let changed = git(host, &["-C", &at, "status", "--porcelain"])?;
        ensure(
            changed.is_empty(),
            format!("the clone differs from its commit:\n{changed}"),
        )
    })?;
    println!("   {clones} clones while {BRICKS} bricks died and came back");
    setup.cluster.expect_identical(HEAL_LIMIT)?;
    setup.finish()
}

/// A repository of some hundred files in three commits.
fn make_repository(host: &Host, dir: &Path) -> Result<PathBuf> {
    let at = dir.display().to_string();
    git(host, &["init", "--quiet", &at])?;
    for commit in 0..3u64 {
        for number in 0..60u64 {
            let home = dir.join(format!("part{}", number % 7));
            fs::create_dir_all(&home).context(home.display())?;
            let content = common::pattern(commit * 1000 + number, 2000 + 90 * usize::try_from(number).unwrap_or(0));
            fs::write(home.join(format!("file{number}")), content)?;
        }
        git(host, &["-C", &at, "add", "--all"])?;
        git(
            host,
            &["-C", &at, "commit", "--quiet", "--message", &format!("commit {commit}")],
        )?;
    }
    Ok(dir.to_path_buf())
}

/// git with an identity of its own and none of the user's configuration.
fn git(host: &Host, args: &[&str]) -> Result<String> {
    let mut cmd = host
        .cmd("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        cmd = cmd
            .env(&format!("GIT_{role}_NAME"), "Lab")
            .env(&format!("GIT_{role}_EMAIL"), "lab@example.org");
    }
    // Files that another user owns are refused by default; here all are root's, seen through a mount.
    cmd.args(["-c", "safe.directory=*", "-c", "gc.auto=0"])
        .args(args)
        .limit(Duration::from_secs(120))
        .run()
}
