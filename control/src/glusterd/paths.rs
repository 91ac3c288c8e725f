//! Where the daemon's files are: working directory, run directory and log directory, with GlusterFS's names
//! (wire-protocol.md 6.1, 6.2, 6.5). Only names are made here; nothing is opened.

use std::path::{Path, PathBuf};

use datapath::wire::Gfid;
use xxhash_rust::xxh64::xxh64;

use super::model::Brick;

/// The three directories everything else stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `/var/lib/glusterd` unless configured.
    pub workdir: PathBuf,
    /// `/var/run/gluster` unless configured.
    pub rundir: PathBuf,
    /// `/var/log/glusterfs` unless configured.
    pub logdir: PathBuf,
}

/// A path in "dashes" form: without the leading slash, every other slash turned into a dash.
pub fn dashes(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "-")
}

/// The name of a brick's file in `bricks/`: host, colon, and the path with every slash turned into a dash.
pub fn brick_file_name(brick: &Brick) -> String {
    format!("{}:{}", brick.host, brick.path.replace('/', "-"))
}

/// The volfile id of a brick, which is also its volfile's name without `.vol`.
pub fn brick_volfile_id(volume: &str, brick: &Brick) -> String {
    format!("{volume}.{}.{}", brick.host, dashes(&brick.path))
}

impl Paths {
    /// `vols/VOL`.
    pub fn volume(&self, volume: &str) -> PathBuf {
        self.workdir.join("vols").join(volume)
    }

    /// The pid file of a brick.
    pub fn brick_pid(&self, volume: &str, brick: &Brick) -> PathBuf {
        self.rundir
            .join("vols")
            .join(volume)
            .join(format!("{}-{}.pid", brick.host, dashes(&brick.path)))
    }

    /// The unix socket of a brick.
    pub fn brick_socket(&self, volume: &str, brick: &Brick) -> PathBuf {
        let name = format!("{}-{}", brick.host, dashes(&brick.path));
        self.hashed_socket(&self.rundir.join("vols").join(volume).join("run").join(name))
    }

    /// The log of a brick.
    pub fn brick_log(&self, brick: &Brick) -> PathBuf {
        self.logdir.join("bricks").join(format!("{}.log", dashes(&brick.path)))
    }

    /// The pid file of a volume's self-heal daemon.
    pub fn shd_pid(&self, volume: &str) -> PathBuf {
        self.rundir.join("shd").join(volume).join(format!("{volume}-shd.pid"))
    }

    /// The unix socket of a volume's self-heal daemon.
    pub fn shd_socket(&self, volume: &str, node: Gfid) -> PathBuf {
        self.hashed_socket(&self.rundir.join("shd").join(volume).join(format!("run-{node}")))
    }

    /// The log of the self-heal daemon.
    pub fn shd_log(&self) -> PathBuf {
        self.logdir.join("glustershd.log")
    }

    /// The socket file that stands for a path: XXH64 of its text, seed 0.
    fn hashed_socket(&self, path: &Path) -> PathBuf {
        let hash = xxh64(path.as_os_str().as_encoded_bytes(), 0);
        self.rundir.join(format!("{hash:016x}.socket"))
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

    fn brick(host: &str, path: &str) -> Brick {
        Brick {
            node: Gfid::NULL,
            host: host.into(),
            path: path.into(),
            real_path: path.into(),
            port: 0,
            brick_id: String::new(),
            mount_dir: String::new(),
            fsid: 0,
            extra: Vec::new(),
        }
    }

    /// Names that GlusterFS 10.3 gave its sockets.
    #[test]
    fn socket_names_equal_glusterfs() {
        let sockets = [
            ("/tmp/gd-oracle/b/1", "242a8a253e040d0e"),
            ("/tmp/gd-oracle/b/1/sub", "1c713ec8bbac363f"),
            ("/tmp/gd-oracle/b/3", "6e4e5fb2457a877b"),
        ];
        for (path, name) in sockets {
            let socket = paths().brick_socket("v1", &brick("vm", path));
            assert_eq!(socket, PathBuf::from(format!("/var/run/gluster/{name}.socket")));
        }
        let node = "70ea0598-e6eb-48c9-a6fb-635b76a305c6".parse().unwrap();
        assert_eq!(
            paths().shd_socket("v1", node),
            PathBuf::from("/var/run/gluster/f582d31d070ed748.socket")
        );
    }

    #[test]
    fn file_names() {
        let brick = brick("w1", "/srv/node/w1/brick/b");
        assert_eq!(brick_file_name(&brick), "w1:-srv-node-w1-brick-b");
        assert_eq!(brick_volfile_id("0001", &brick), "0001.w1.srv-node-w1-brick-b");
        let pid = paths().brick_pid("0001", &brick);
        assert_eq!(
            pid,
            PathBuf::from("/var/run/gluster/vols/0001/w1-srv-node-w1-brick-b.pid")
        );
        assert_eq!(
            paths().brick_log(&brick),
            PathBuf::from("/var/log/glusterfs/bricks/srv-node-w1-brick-b.log")
        );
    }
}
