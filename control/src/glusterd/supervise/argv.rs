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

fn brick_arguments(paths: &Paths, node: Gfid, server_port: u16, volume: &str, brick: &Brick, port: u16) -> Vec<String> {
    let id = brick_volfile_id(volume, brick);
    let mut arguments = words(["-s", &brick.host]);
    arguments.extend(volfile_port(server_port));
    arguments.extend(words([
        "--volfile-id",
        &id,
        "-p",
        &text(&paths.brick_pid(volume, brick)),
    ]));
    arguments.extend(words([
        "-S",
        &text(&paths.brick_socket(volume, brick)),
        "--brick-name",
        &brick.path,
    ]));
    arguments.extend(words(["-l", &text(&paths.brick_log(brick))]));
    arguments.extend(words(["--xlator-option", &format!("*-posix.glusterd-uuid={node}")]));
    arguments.extend(words(["--process-name", "brick", "--brick-port", &port.to_string()]));
    arguments.extend(words([
        "--xlator-option",
        &format!("{volume}-server.listen-port={port}"),
    ]));
    arguments
}

fn shd_arguments(paths: &Paths, node: Gfid, server_port: u16, volume: &str) -> Vec<String> {
    let mut arguments = words(["-s", "localhost"]);
    arguments.extend(volfile_port(server_port));
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
    paths: &Paths,
    node: Gfid,
    server_port: u16,
    volume: &str,
    brick: &Brick,
    pick_port: impl Fn() -> Result<u16, String> + 'static,
    restart_delay: Option<Duration>,
    events: Rc<dyn Fn(ProcessEvent)>,
) -> ProcessSpec {
    let (own_paths, own_volume, own_brick) = (paths.clone(), volume.to_string(), brick.clone());
    ProcessSpec {
        label: format!("brick {}", brick.label()),
        program: find_program("glusterfsd"),
        arguments: Box::new(move |port| brick_arguments(&own_paths, node, server_port, &own_volume, &own_brick, port)),
        pid_file: paths.brick_pid(volume, brick),
        socket: paths.brick_socket(volume, brick),
        pick_port: Some(Box::new(pick_port)),
        restart_delay,
        kill_after: None,
        events,
    }
}

/// The self-heal daemon of a volume.
pub fn shd_spec(
    paths: &Paths,
    node: Gfid,
    server_port: u16,
    volume: &str,
    restart_delay: Option<Duration>,
) -> ProcessSpec {
    let (own_paths, own_volume) = (paths.clone(), volume.to_string());
    ProcessSpec {
        label: format!("self-heal daemon of {volume}"),
        program: find_program("glusterfs"),
        arguments: Box::new(move |_| shd_arguments(&own_paths, node, server_port, &own_volume)),
        pid_file: paths.shd_pid(volume),
        socket: paths.shd_socket(volume, node),
        pick_port: None,
        restart_delay,
        kill_after: Some(SERVICE_KILL),
        events: Rc::new(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths {
            workdir: "/var/lib/glusterd".into(),
            rundir: "/var/run/gluster".into(),
            logdir: "/var/log/glusterfs".into(),
        }
    }

    /// The command lines that GlusterFS 10.3 used for this brick and this volume.
    #[test]
    fn equal_glusterfs() {
        let node: Gfid = "70ea0598-e6eb-48c9-a6fb-635b76a305c6".parse().unwrap();
        let brick = Brick {
            node,
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
        assert_eq!(
            brick_arguments(&paths(), node, 24007, "v1", &brick, 52698).join(" "),
            want
        );
        let want = "-s localhost --volfile-id shd/v1 -p /var/run/gluster/shd/v1/v1-shd.pid \
            -l /var/log/glusterfs/glustershd.log -S /var/run/gluster/f582d31d070ed748.socket \
            --xlator-option *replicate*.node-uuid=70ea0598-e6eb-48c9-a6fb-635b76a305c6 --process-name glustershd \
            --client-pid=-6";
        assert_eq!(shd_arguments(&paths(), node, 24007, "v1").join(" "), want);
        assert!(shd_arguments(&paths(), node, 5, "v1").contains(&"--volfile-server-port=5".to_string()));
    }
}
