//! Several real `glusterd`s, each in a network namespace of its own on one bridge, driven by the real `gluster`. Needs
//! root and `ip`.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use control::rpc::{Address, Client, ProgramId};
use control::rt;
use datapath::sys::process;
use datapath::wire::handshake::{GetspecReq, GetspecRsp};
use datapath::wire::{OldDict, handshake};

/// How long something may take to happen; a machine under load is slow.
const PATIENCE: Duration = Duration::from_secs(60);

static POOLS: AtomicU32 = AtomicU32::new(0);

fn ip(line: &str) {
    let done = Command::new("ip").args(line.split_whitespace()).output().unwrap();
    assert!(
        done.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Servers w1, w2, …; when the test ends everything of them goes.
struct Pool {
    root: PathBuf,
    tag: String,
    servers: usize,
}

impl Pool {
    fn new(servers: usize) -> Self {
        let number = POOLS.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let tag = format!("gp{id}{number}");
        let root = std::env::temp_dir().join(format!("glusterd-peers-{id}-{number}"));
        let pool = Self { root, tag, servers };
        let net = format!("10.{}.{}", 64 + (id / 250) % 128, (id + number * 40) % 250);
        ip(&format!("link add {}b type bridge", pool.tag));
        ip(&format!("link set {}b up", pool.tag));
        for i in 1..=servers {
            let ns = pool.namespace(i);
            ip(&format!("netns add {ns}"));
            ip(&format!(
                "link add {}v{i} type veth peer name eth0 netns {ns}",
                pool.tag
            ));
            ip(&format!("link set {}v{i} master {}b up", pool.tag, pool.tag));
            ip(&format!("-n {ns} addr add {net}.{i}/24 dev eth0"));
            ip(&format!("-n {ns} link set eth0 up"));
            ip(&format!("-n {ns} link set lo up"));
            let names = (1..=servers).map(|j| format!("{net}.{j} w{j}\n")).collect::<String>();
            std::fs::create_dir_all(format!("/etc/netns/{ns}")).unwrap();
            std::fs::write(
                format!("/etc/netns/{ns}/hosts"),
                format!("127.0.0.1 localhost\n{names}"),
            )
            .unwrap();
            std::fs::create_dir_all(pool.path(i, "bricks")).unwrap();
            let config = "volume management\n type mgmt/glusterd\n option brick-restart-delay 100ms\nend-volume\n";
            std::fs::write(pool.path(i, "glusterd.vol"), config).unwrap();
            pool.start(i);
        }
        pool
    }

    fn namespace(&self, i: usize) -> String {
        format!("{}n{i}", self.tag)
    }

    fn path(&self, i: usize, name: &str) -> PathBuf {
        self.root.join(format!("w{i}")).join(name)
    }

    fn inside(&self, i: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(i), program]);
        command.stdin(Stdio::null());
        command
    }

    /// Starts the daemon of a server; it answers when this returns.
    fn start(&self, i: usize) {
        let mut command = self.inside(i, env!("CARGO_BIN_EXE_glusterd"));
        for (option, file) in [
            ("--volfile", "glusterd.vol"),
            ("--pid-file", "glusterd.pid"),
            ("--workdir", "lib"),
            ("--rundir", "run"),
            ("--logdir", "log"),
            ("--socket", "socket"),
        ] {
            command.arg(option).arg(self.path(i, file));
        }
        let status = command.stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "glusterd of w{i}: {status}: {}", self.log(i));
    }

    fn log(&self, i: usize) -> String {
        std::fs::read_to_string(self.path(i, "log/glusterd.log")).unwrap_or_default()
    }

    fn daemon(&self, i: usize) -> Option<i32> {
        process::running_pid(&self.path(i, "glusterd.pid"))
    }

    /// Pids of the bricks of `v` that run on a server.
    fn bricks(&self, i: usize) -> Vec<i32> {
        let Ok(entries) = std::fs::read_dir(self.path(i, "run/vols/v")) else {
            return Vec::new();
        };
        entries.filter_map(|e| process::running_pid(&e.ok()?.path())).collect()
    }

    /// Power off: the daemon and the bricks are gone at once.
    fn kill(&self, i: usize) {
        for pid in self.daemon(i).into_iter().chain(self.bricks(i)) {
            let _ = process::kill(pid, libc::SIGKILL);
        }
        self.wait("the processes end", || {
            self.daemon(i).is_none() && self.bricks(i).is_empty()
        });
    }

    fn gluster(&self, i: usize, line: &str) -> Said {
        let mut command = self.inside(i, env!("CARGO_BIN_EXE_gluster"));
        command.arg("--mode=script");
        command.arg(format!("--glusterd-sock={}", self.path(i, "socket").display()));
        let done = command.args(line.split_whitespace()).output().unwrap();
        Said {
            code: done.status.code(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// A command that must succeed; what it prints.
    fn done(&self, i: usize, line: &str) -> String {
        let said = self.gluster(i, line);
        assert_eq!(said.code, Some(0), "{line}: {said:?}\n{}", self.log(i));
        said.stdout
    }

    /// A command that must fail; what it complains.
    fn refused(&self, i: usize, line: &str) -> String {
        let said = self.gluster(i, line);
        assert_eq!(said.code, Some(1), "{line}: {said:?}");
        said.stderr
    }

    fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            let logs = || (1..=self.servers).map(|i| self.log(i)).collect::<String>();
            assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}\n{}", logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn brick(&self, i: usize, name: &str) -> String {
        format!("w{i}:{}", self.path(i, &format!("bricks/{name}")).display())
    }

    /// All servers in one cluster.
    fn probe_all(&self) {
        for i in 2..=self.servers {
            assert_eq!(self.done(1, &format!("peer probe w{i}")), "peer probe: success\n");
        }
    }

    /// Makes and starts `v` on the first servers. Its self-heal daemon is off: the binary is another crate's.
    fn make_volume(&self, replicas: usize) {
        let bricks: Vec<String> = (1..=replicas).map(|i| self.brick(i, "b")).collect();
        let line = format!("volume create v replica {replicas} {} force", bricks.join(" "));
        self.done(1, &line);
        self.done(1, "volume set v cluster.self-heal-daemon off");
        self.done(1, "volume start v");
    }

    /// Gets the volfile from a server; the other servers that it names beside.
    fn servers_beside(&self, i: usize) -> String {
        let xdata = OldDict::new()
            .with_int("min-op-version", 1)
            .with_int("max-op-version", 100_000);
        let request = GetspecReq {
            flags: 1,
            key: "/v".to_string().into(),
            xdata,
        };
        let asked = async {
            let client = Client::connect_plain(&Address::Unix(self.path(i, "socket")))
                .await
                .unwrap();
            let procedure = handshake::Proc::Getspec as u32;
            client
                .call_typed(ProgramId::HANDSHAKE, procedure, &request, PATIENCE)
                .await
        };
        let reply: GetspecRsp = rt::block_on(asked).unwrap().unwrap();
        assert!(reply.op_ret > 0, "{}: {}", reply.op_ret, reply.op_errno);
        reply
            .xdata
            .get_str("cluster.brick-vol-servers")
            .unwrap_or_default()
            .to_string()
    }

    fn online(&self, i: usize) -> usize {
        let status = self.gluster(i, "volume status v").stdout;
        status
            .lines()
            .filter(|l| l.split_whitespace().rev().nth(1) == Some("Y"))
            .count()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for i in 1..=self.servers {
            for pid in self.daemon(i).into_iter().chain(self.bricks(i)) {
                let _ = process::kill(pid, libc::SIGKILL);
            }
            let ns = self.namespace(i);
            let _ = Command::new("ip").args(["netns", "del", &ns]).output();
            let _ = std::fs::remove_dir_all(format!("/etc/netns/{ns}"));
        }
        let _ = Command::new("ip")
            .args(["link", "del", &format!("{}b", self.tag)])
            .output();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

#[test]
fn three_servers_are_one_cluster() {
    let pool = Pool::new(3);
    assert_eq!(pool.done(1, "peer status"), "Number of Peers: 0\n");
    pool.probe_all();
    assert_eq!(
        pool.done(1, "peer probe w3"),
        "peer probe: Host w3 port 24007 already in peer list\n"
    );
    assert_eq!(
        pool.done(2, "peer probe w2"),
        "peer probe: Probe on localhost not needed\n"
    );
    assert_eq!(
        pool.refused(1, "peer detach w2x"),
        "peer detach: failed: w2x is not part of cluster\n"
    );
    // The first node was known by its address; it has got its name from the one it probed.
    let peers = pool.done(3, "peer status");
    assert!(peers.starts_with("Number of Peers: 2\n\nHostname: w1\n"), "{peers}");
    pool.wait("all are connected", || {
        let peers = pool.done(3, "peer status");
        peers.matches("State: Peer in Cluster (Connected)").count() == 2
    });
    pool.make_volume(3);
    for i in 1..=3 {
        assert_eq!(pool.online(i), 3, "as w{i} sees it\n{}", pool.log(i));
        assert_eq!(pool.bricks(i).len(), 1);
    }
    let refusal = pool.refused(2, "peer detach w3");
    assert!(
        refusal.starts_with("peer detach: failed: Peer w3 hosts one or more bricks."),
        "{refusal}"
    );
    // A change on any node is there on all others when the command returns.
    pool.done(3, "volume set v network.ping-timeout 7");
    for i in 1..=3 {
        let value = pool.done(i, "volume get v network.ping-timeout");
        assert!(
            value
                .lines()
                .last()
                .unwrap()
                .split_whitespace()
                .eq(["network.ping-timeout", "7"]),
            "{value}"
        );
        let volfile = std::fs::read_to_string(pool.path(i, "lib/vols/v/v.tcp-fuse.vol")).unwrap();
        assert!(volfile.contains("option ping-timeout 7"), "w{i}");
    }
    pool.done(2, "volume stop v");
    assert!((1..=3).all(|i| pool.bricks(i).is_empty()));
    pool.done(1, "volume delete v");
    assert!((1..=3).all(|i| !pool.path(i, "lib/vols/v").exists()));
    assert_eq!(pool.done(1, "peer detach w3"), "peer detach: success\n");
    assert!(pool.done(2, "peer status").starts_with("Number of Peers: 1\n"));
    pool.wait("the detached node is alone", || {
        pool.gluster(3, "peer status").stdout == "Number of Peers: 0\n"
    });
}

#[test]
fn bricks_are_checked_where_they_are() {
    let pool = Pool::new(2);
    let bricks = format!("{} {}", pool.brick(1, "b"), pool.brick(2, "b"));
    let refusal = pool.refused(1, &format!("volume create v replica 2 {bricks} force"));
    assert_eq!(
        refusal,
        "volume create: v: failed: Host w2 is not in 'Peer in Cluster' state\n"
    );
    pool.probe_all();
    std::fs::write(pool.path(2, "bricks/b"), "").unwrap();
    let refusal = pool.refused(1, &format!("volume create v replica 2 {bricks} force"));
    let want = format!(
        "volume create: v: failed: Staging failed on w2. Error: The provided path {} which is already present, is not a \
         directory\n",
        pool.path(2, "bricks/b").display()
    );
    assert_eq!(refusal, want);
    assert!(!pool.path(1, "bricks/b").exists(), "what the check made is gone");
    std::fs::remove_file(pool.path(2, "bricks/b")).unwrap();
    pool.kill(2);
    pool.wait("w2 is missed", || {
        pool.gluster(1, "peer status").stdout.contains("(Disconnected)")
    });
    let refusal = pool.refused(1, &format!("volume create v replica 2 {bricks} force"));
    assert_eq!(refusal, "volume create: v: failed: Host w2 not connected\n");
}

#[test]
fn a_majority_goes_on_and_a_minority_still_answers() {
    let pool = Pool::new(3);
    pool.probe_all();
    pool.make_volume(3);
    pool.kill(3);
    pool.wait("w3 is missed", || {
        pool.gluster(1, "pool list").stdout.contains("Disconnected")
    });
    pool.done(1, "volume set v network.ping-timeout 9");
    assert_eq!(pool.servers_beside(1), "w2:24007 ", "w3 is away");
    // Rows of servers that are away are not shown.
    let status = pool.done(2, "volume status v");
    assert!(
        !status.contains("Brick w3:") && status.contains("Brick w1:"),
        "{status}"
    );
    pool.kill(2);
    pool.wait("both are missed", || {
        pool.gluster(1, "pool list").stdout.matches("Disconnected").count() == 2
    });
    pool.wait("the majority is gone", || {
        let refusal = pool.refused(1, "volume stop v");
        refusal == "volume stop: v: failed: Quorum not met. Volume operation not allowed.\n"
    });
    assert_eq!(pool.done(1, "volume list"), "v\n");
    assert_eq!(pool.online(1), 1);
    assert_eq!(pool.bricks(1).len(), 1, "bricks run on");
    assert_eq!(pool.servers_beside(1), "", "the volfile is there without anybody else");
    pool.start(2);
    pool.start(3);
    pool.wait("the servers that were away have caught up", || {
        let volfile = std::fs::read_to_string(pool.path(3, "lib/vols/v/v.tcp-fuse.vol"));
        volfile.is_ok_and(|text| text.contains("option ping-timeout 9")) && pool.online(3) == 3
    });
    pool.done(3, "volume set v network.ping-timeout 11");
}

#[test]
fn a_wiped_server_gets_everything_back() {
    let pool = Pool::new(3);
    pool.probe_all();
    pool.make_volume(3);
    let info = std::fs::read_to_string(pool.path(2, "lib/glusterd.info")).unwrap();
    pool.kill(2);
    std::fs::remove_dir_all(pool.path(2, "lib")).unwrap();
    pool.start(2);
    assert_eq!(pool.done(2, "peer status"), "Number of Peers: 0\n");
    pool.wait("w2 is missed", || {
        pool.gluster(1, "pool list").stdout.contains("Disconnected")
    });
    assert_eq!(pool.done(1, "peer probe w2"), "peer probe: success\n");
    pool.wait("its brick runs", || pool.bricks(2).len() == 1 && pool.online(2) == 3);
    assert_eq!(
        std::fs::read_to_string(pool.path(2, "lib/glusterd.info")).unwrap(),
        info
    );
    pool.done(2, "volume set v network.ping-timeout 5");
}

#[test]
fn a_brick_ends_if_its_volume_was_stopped_while_no_daemon_ran() {
    let pool = Pool::new(3);
    pool.probe_all();
    pool.make_volume(3);
    process::kill(pool.daemon(3).unwrap(), libc::SIGTERM).unwrap();
    pool.wait("the daemon ends", || pool.daemon(3).is_none());
    pool.wait("w3 is missed", || {
        pool.gluster(1, "pool list").stdout.contains("Disconnected")
    });
    assert_eq!(pool.bricks(3).len(), 1, "bricks run without the daemon");
    pool.done(1, "volume stop v");
    assert_eq!(pool.bricks(3).len(), 1);
    pool.start(3);
    pool.wait("its brick is stopped", || pool.bricks(3).is_empty());
    pool.done(3, "volume start v");
    assert_eq!(pool.online(2), 3);
}

#[test]
fn bricks_follow_the_server_quorum() {
    let pool = Pool::new(3);
    pool.probe_all();
    pool.make_volume(3);
    pool.done(1, "volume set v cluster.server-quorum-type server");
    let brick = pool.bricks(1);
    pool.kill(2);
    pool.wait("w2 is missed", || {
        pool.gluster(1, "pool list").stdout.contains("Disconnected")
    });
    assert_eq!(pool.bricks(1), brick, "two of three are a quorum");
    pool.kill(3);
    pool.wait("the brick is stopped", || pool.bricks(1).is_empty());
    pool.wait("it is said", || {
        pool.log(1)
            .contains("Server quorum lost for volume v. Stopping local bricks.")
    });
    pool.start(2);
    pool.wait("the brick runs again", || pool.bricks(1).len() == 1);
    assert!(
        pool.log(1)
            .contains("Server quorum regained for volume v. Starting local bricks.")
    );
}

#[test]
fn copies_are_added_replaced_and_removed_across_servers() {
    let pool = Pool::new(3);
    pool.probe_all();
    pool.make_volume(2);
    let clients = |i: usize| -> Vec<String> {
        let volfile = std::fs::read_to_string(pool.path(i, "lib/vols/v/v.tcp-fuse.vol")).unwrap();
        let names = volfile.lines().filter_map(|line| line.strip_prefix("volume v-client-"));
        names.map(str::to_string).collect()
    };
    let blamed = |i: usize, brick: &str, key: &str| {
        let directory = std::fs::File::open(pool.path(i, &format!("bricks/{brick}"))).unwrap();
        datapath::sys::xattr::fget(&directory, key.as_bytes()).unwrap_or_default()
    };
    let third = pool.brick(3, "b");
    assert_eq!(
        pool.done(2, &format!("volume add-brick v replica 3 {third} force")),
        "volume add-brick: success\n"
    );
    assert_eq!(clients(3), ["0", "1", "2"]);
    assert_eq!(pool.online(1), 3);
    // Data, metadata and entries: the bricks that were there blame the new one, which is marked dirty itself.
    let all = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
    for i in [1, 2] {
        assert_eq!(blamed(i, "b", "trusted.afr.v-client-2"), all, "w{i}");
    }
    assert_eq!(
        blamed(3, "b", "trusted.afr.dirty"),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    );
    let other = pool.brick(2, "c");
    let line = format!("volume replace-brick v {} {other} commit force", pool.brick(2, "b"));
    assert_eq!(
        pool.done(3, &line),
        "volume replace-brick: success: replace-brick commit force operation successful\n"
    );
    assert_eq!(clients(1), ["0", "1", "2"], "the name of the place stays");
    assert_eq!(blamed(1, "b", "trusted.afr.v-client-1"), all);
    assert_eq!(pool.bricks(2).len(), 1);
    assert_eq!(pool.online(3), 3);
    let line = format!("volume remove-brick v replica 2 {} force", pool.brick(1, "b"));
    assert_eq!(pool.done(2, &line), "volume remove-brick commit force: success\n");
    assert_eq!(clients(2), ["1", "2"], "the others keep their names");
    assert!(pool.bricks(1).is_empty());
    let old = pool.brick(1, "b");
    let refusal = pool.refused(3, &format!("volume add-brick v replica 3 {old}"));
    assert!(
        refusal.contains("is being created in the root partition") || refusal.contains("is already part"),
        "{refusal}"
    );
    pool.done(3, &format!("volume add-brick v replica 3 {old} force"));
    assert_eq!(clients(1), ["1", "2", "3"], "a name that is in use is not given again");
}

#[test]
fn two_commands_at_once_do_not_mix() {
    let pool = Pool::new(2);
    pool.probe_all();
    pool.make_volume(2);
    let keys = [
        "network.ping-timeout",
        "cluster.eager-lock",
        "performance.write-behind",
        "performance.io-cache",
    ];
    std::thread::scope(|scope| {
        for (n, key) in keys.iter().enumerate() {
            let value = if n == 0 { "12" } else { "off" };
            let line = format!("volume set v {key} {value}");
            let pool = &pool;
            scope.spawn(move || pool.done(n % 2 + 1, &line));
        }
    });
    let info = pool.done(1, "volume info v");
    assert!(keys.iter().all(|key| info.contains(&format!("\n{key}: "))), "{info}");
    assert_eq!(info, pool.done(2, "volume info v"));
}
