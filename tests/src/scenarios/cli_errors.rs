//! What `gluster` says to a mistake, word for word as GlusterFS says it: the same commands on our cluster and on the
//! C implementation's, exit codes and outputs compared with host names and paths made equal.

use super::{Need, Scenario};
use crate::lab::disk::{BrickDisk, make_bricks};
use crate::lab::error::{Result, ensure};
use crate::lab::{Cluster, Flavor, Lab};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "cli_errors",
    about: "mistakes on the gluster command line: exit code and words as the C implementation's",
    needs: &[Need::Ours, Need::C],
    seconds: 240,
    run,
};

/// Commands in order; `{H}` is the server's name, `{D}` a directory that exists, `{B}` the first brick.
const COMMANDS: &[&str] = &[
    "volume start nosuch",
    "volume stop nosuch",
    "volume delete nosuch",
    "volume info nosuch",
    "volume status nosuch",
    "volume set nosuch cluster.quorum-type none",
    "volume get nosuch all",
    "volume reset nosuch",
    "volume heal nosuch",
    "volume heal nosuch info",
    "volume start 0001",
    "volume delete 0001",
    "volume create 0001 replica 2 {H}:{D}/x {H}:{D}/y force",
    "volume create other replica 2 {H}:relative {H}:{D}/y force",
    "volume create other replica 2 {H}:{D}/x {H}:{D}/x force",
    "volume create other replica 2 {H}:{B} {H}:{D}/y force",
    "volume create bad/name replica 2 {H}:{D}/x {H}:{D}/y force",
    "volume create other replica 2 nowhere.invalid:{D}/x {H}:{D}/y force",
    "volume create other",
    "volume set 0001 nosuch.option 1",
    "volume set 0001 cluster.quorum-type sometimes",
    "volume set 0001 cluster.quorum-count many",
    "volume set 0001 cluster.self-heal-daemon perhaps",
    "volume set 0001",
    "volume get 0001 nosuch.option",
    "volume reset 0001 nosuch.option",
    "volume bogus",
    "bogus",
    "volume start",
    "volume heal 0001 bogus",
    "volume stop 0001",
    "volume stop 0001",
    "volume heal 0001",
    "volume heal 0001 info",
    "volume status 0001",
    "volume list",
    "volume delete 0001",
    "volume list",
    "volume info",
    "volume status",
];

/// Where GlusterFS's words do not name the fault ("Failed to create volume files"): what ours must contain.
const BETTER: &[(&str, &str)] = &[(
    "volume create other replica 3 {H}:{D}/x {H}:{D}/y force",
    "not a multiple of replica count (3)",
)];

fn run() -> Result<()> {
    let lab = Lab::with_hosts(2, false)?;
    let ours = Side::start(&lab, Flavor::Ringluster, "worker1")?;
    let theirs = Side::start(&lab, Flavor::C, "worker2")?;
    let mut differences = Vec::new();
    for command in COMMANDS {
        let (our, their) = (ours.say(command)?, theirs.say(command)?);
        if our != their {
            differences.push(format!(
                "gluster {command}\n--- GlusterFS\n{their}--- Ringluster\n{our}"
            ));
        }
    }
    for (command, words) in BETTER {
        let our = ours.say(command)?;
        if !our.contains(words) || our.starts_with("exit code 0") {
            differences.push(format!("gluster {command}: {words:?} is missing in\n{our}"));
        }
    }
    let (count, all) = (differences.len(), COMMANDS.len() + BETTER.len());
    ensure(
        count == 0,
        format!("{count} of {all} commands differ:\n{}", differences.join("\n")),
    )?;
    lab.remove()
}

struct Side {
    cluster: Cluster,
    dir: String,
}

impl Side {
    fn start(lab: &Lab, flavor: Flavor, host: &str) -> Result<Side> {
        let host = lab.host(host)?;
        let bricks = make_bricks(lab, host, BrickDisk::Directory, 3)?;
        let cluster = Cluster::start(lab, host, flavor, &bricks)?;
        Ok(Side {
            cluster,
            dir: lab.make_dir("other")?.display().to_string(),
        })
    }

    /// Exit code and output with this side's names replaced by the placeholders.
    fn say(&self, command: &str) -> Result<String> {
        let brick = self
            .cluster
            .bricks()
            .first()
            .map(|brick| brick.display().to_string())
            .unwrap_or_default();
        let home = self.cluster.bricks().first().and_then(|brick| brick.parent()?.parent());
        let home = home.map(|home| home.display().to_string()).unwrap_or_default();
        let server = self.cluster.server();
        let names = [
            ("{B}", brick.as_str()),
            ("{P}", home.as_str()),
            ("{D}", self.dir.as_str()),
            ("{H}", server),
        ];
        let words: Vec<String> = command
            .split(' ')
            .map(|word| {
                names
                    .iter()
                    .fold(word.to_string(), |word, (mark, name)| word.replace(mark, name))
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = self.cluster.gluster(&words)?.output()?;
        let mut text = format!(
            "exit code {}\nstdout: {}\nstderr: {}\n",
            done.code(),
            done.stdout,
            done.stderr
        );
        for (mark, name) in names {
            text = text.replace(name, mark);
        }
        Ok(text)
    }
}
