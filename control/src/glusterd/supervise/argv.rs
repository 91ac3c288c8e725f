//! The command lines of bricks and self-heal daemons: GlusterFS's argument for argument (wire-protocol.md 6.1), so that
//! either implementation's processes can be started and adopted.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use datapath::wire::Gfid;

use super::super::config::DEFAULT_PORT;
use super::super::model::Brick;
use super::super::paths::{Paths, brick_volfile_id};
use super::launch::find_program;
use super::{ProcessEvent, ProcessSpec};

/// SIGKILL follows SIGTERM after this time for services (bricks are never killed).
const SERVICE_KILL: Duration = Duration::from_secs(1);

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_string).to_vec()
}

/// The port of this daemon, which the process gets its volfile from, if it is not the usual one.
fn volfile_port(port: u16) -> Vec<String> {
    if port == DEFAULT_PORT {
        Vec::new()
    } else {
        vec![format!("--volfile-server-port={port}")]
    }
}

/// What all processes of one node have in common.
#[derive(Debug, Clone)]
pub struct NodeContext {
    /// The daemon's directories.
    pub paths: Paths,
    /// The node's uuid.
    pub node: Gfid,
    /// The TCP port of this daemon.
    pub server_port: u16,
    /// Pause before a process that died is started again; None for never.
    pub restart_delay: Option<Duration>,
}

impl NodeContext {
    fn brick_arguments(&self, volume: &str, brick: &Brick, port: u16) -> Vec<String> {
        let paths = &self.paths;
        let mut arguments = words(["-s", &brick.host]);
        arguments.extend(volfile_port(self.server_port));
        arguments.extend(words(["--volfile-id", &brick_volfile_id(volume, brick)]));
        arguments.extend(words(["-p", &text(&paths.brick_pid(volume, brick))]));
        arguments.extend(words([
            "-S",
            &text(&paths.brick_socket(volume, brick)),
            "--brick-name",
            &brick.path,
        ]));
        arguments.extend(words(["-l", &text(&paths.brick_log(brick))]));
        arguments.extend(words([
            "--xlator-option",
            &format!("*-posix.glusterd-uuid={}", self.node),
        ]));
        arguments.extend(words(["--process-name", "brick", "--brick-port", &port.to_string()]));
        arguments.extend(words([
            "--xlator-option",
            &format!("{volume}-server.listen-port={port}"),
        ]));
        arguments
    }

    fn shd_arguments(&self, volume: &str) -> Vec<String> {
        let (paths, node) = (&self.paths, self.node);
        let mut arguments = words(["-s", "localhost"]);
        arguments.extend(volfile_port(self.server_port));
        arguments.extend(words([
            "--volfile-id",
            &format!("shd/{volume}"),
            "-p",
            &text(&paths.shd_pid(volume)),
        ]));
        arguments.extend(words([
            "-l",
            &text(&paths.shd_log()),
            "-S",
            &text(&paths.shd_socket(volume, node)),
        ]));
        arguments.extend(words(["--xlator-option", &format!("*replicate*.node-uuid={node}")]));
        arguments.extend(words(["--process-name", "glustershd", "--client-pid=-6"]));
        arguments
    }

    /// The process of a brick.
    pub fn brick_spec(
        &self,
        volume: &str,
        brick: &Brick,
        pick_port: impl Fn() -> Result<u16, String> + 'static,
        events: Rc<dyn Fn(ProcessEvent)>,
    ) -> ProcessSpec {
        let (context, own_volume, own_brick) = (self.clone(), volume.to_string(), brick.clone());
        ProcessSpec {
            label: format!("brick {}", brick.label()),
            program: find_program("glusterfsd"),
            arguments: Box::new(move |port| context.brick_arguments(&own_volume, &own_brick, port)),
            pid_file: self.paths.brick_pid(volume, brick),
            socket: self.paths.brick_socket(volume, brick),
            pick_port: Some(Box::new(pick_port)),
            restart_delay: self.restart_delay,
            kill_after: None,
            events,
        }
    }

    /// The self-heal daemon of a volume. There is one per volume: GlusterFS attaches further volumes to the first one's
    /// process, which would let one volume's trouble stop the healing of all.
    pub fn shd_spec(&self, volume: &str) -> ProcessSpec {
        let (context, own_volume) = (self.clone(), volume.to_string());
        ProcessSpec {
            label: format!("self-heal daemon of {volume}"),
            program: find_program("glusterfs"),
            arguments: Box::new(move |_| context.shd_arguments(&own_volume)),
            pid_file: self.paths.shd_pid(volume),
            socket: self.paths.shd_socket(volume, self.node),
            pick_port: None,
            restart_delay: self.restart_delay,
            kill_after: Some(SERVICE_KILL),
            events: Rc::new(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(server_port: u16) -> NodeContext {
        let paths = Paths {
            workdir: "/var/lib/glusterd".into(),
            rundir: "/var/run/gluster".into(),
            logdir: "/var/log/glusterfs".into(),
        };
        let node = "70ea0598-e6eb-48c9-a6fb-635b76a305c6".parse().unwrap();
        NodeContext {
            paths,
            node,
            server_port,
            restart_delay: None,
        }
    }

    /// The command lines that GlusterFS 10.3 used for this brick and this volume.
    #[test]
    fn equal_glusterfs() {
        let brick = Brick {
            node: context(0).node,
            host: "vm".into(),
            path: "/tmp/gd-oracle/b/1".into(),
            real_path: "/tmp/gd-oracle/b/1".into(),
            port: 0,
            brick_id: "v1-client-0".into(),
            mount_dir: "/1".into(),
            fsid: 1,
            extra: Vec::new(),
        };
        let want = "-s vm --volfile-id v1.vm.tmp-gd-oracle-b-1 -p /var/run/gluster/vols/v1/vm-tmp-gd-oracle-b-1.pid \
            -S /var/run/gluster/242a8a253e040d0e.socket --brick-name /tmp/gd-oracle/b/1 \
            -l /var/log/glusterfs/bricks/tmp-gd-oracle-b-1.log \
            --xlator-option *-posix.glusterd-uuid=70ea0598-e6eb-48c9-a6fb-635b76a305c6 --process-name brick \
            --brick-port 52698 --xlator-option v1-server.listen-port=52698";
        assert_eq!(context(24007).brick_arguments("v1", &brick, 52698).join(" "), want);
        let want = "-s localhost --volfile-id shd/v1 -p /var/run/gluster/shd/v1/v1-shd.pid \
            -l /var/log/glusterfs/glustershd.log -S /var/run/gluster/f582d31d070ed748.socket \
            --xlator-option *replicate*.node-uuid=70ea0598-e6eb-48c9-a6fb-635b76a305c6 --process-name glustershd \
            --client-pid=-6";
        assert_eq!(context(24007).shd_arguments("v1").join(" "), want);
        assert!(
            context(5)
                .shd_arguments("v1")
                .contains(&"--volfile-server-port=5".to_string())
        );
    }
}
