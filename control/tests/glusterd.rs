//! A real `glusterd` with real bricks, on directories and ports of its own, driven through its programs as the command
//! line and clients drive it. Needs root (bricks set trusted xattrs).

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use control::rpc::{Address, Callback, Client, ProgramId};
use control::rt;
use control::volfile::Graph;
use datapath::sys::process;
use datapath::wire::cli::{CliReq, CliRsp, Proc};
use datapath::wire::handshake::{GetspecReq, GetspecRsp};
use datapath::wire::portmap::{PortByBrickReq, PortByBrickRsp};
use datapath::wire::{OldDict, Xdr, callback, handshake, portmap, program};

const LIMIT: Duration = Duration::from_secs(60);

/// A daemon with its directories. When the test ends, it and its bricks end and the directories go.
struct Lab {
    root: PathBuf,
    port: u16,
    daemon: Option<Child>,
}

impl Lab {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("glusterd-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("bricks")).unwrap();
        let config = "volume management\n type mgmt/glusterd\n option brick-restart-delay 100ms\nend-volume\n";
        std::fs::write(root.join("glusterd.vol"), config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut lab = Self {
            root,
            port,
            daemon: None,
        };
        lab.start();
        lab
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).to_string_lossy().into_owned()
    }

    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glusterd"));
        command.args([
            "-N",
            "--volfile",
            &self.path("glusterd.vol"),
            "--pid-file",
            &self.path("glusterd.pid"),
        ]);
        command.args([
            "--workdir",
            &self.path("lib"),
            "--rundir",
            &self.path("run"),
            "--logdir",
            &self.path("log"),
        ]);
        command.args([
            "--socket",
            &self.path("socket"),
            "--port",
            &self.port.to_string(),
            "--log-level",
            "DEBUG",
        ]);
        self.daemon = Some(command.stdin(Stdio::null()).spawn().unwrap());
        let socket = self.root.join("socket");
        for _ in 0..500 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("glusterd does not answer: {}", self.log());
    }

    /// Ends the daemon as systemd would, or as a crash would.
    fn end(&mut self, signal: i32) {
        if let Some(mut daemon) = self.daemon.take() {
            process::kill(daemon.id() as i32, signal).unwrap();
            let status = daemon.wait().unwrap();
            assert!(signal != libc::SIGTERM || status.success(), "{status}: {}", self.log());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("log/glusterd.log")).unwrap_or_default()
    }

    /// Pids of the bricks that run.
    fn bricks(&self) -> Vec<i32> {
        let Ok(entries) = std::fs::read_dir(self.root.join("run/vols/vol")) else {
            return Vec::new();
        };
        let mut pids: Vec<i32> = entries.filter_map(|e| process::running_pid(&e.ok()?.path())).collect();
        pids.sort_unstable();
        pids
    }

    async fn cli(&self) -> Cli {
        Cli(Client::connect_plain(&Address::Unix(self.root.join("socket")))
            .await
            .unwrap())
    }

    async fn tcp(&self, heard: Rc<RefCell<Vec<u32>>>) -> Client {
        let address = Address::Tcp(([127, 0, 0, 1], self.port).into());
        let note = move |callback: Callback| heard.borrow_mut().push(callback.procedure);
        Client::connect(&address, Rc::new(note)).await.unwrap()
    }

    fn brick_list(&self) -> String {
        (1..=3)
            .map(|i| format!(" 127.0.0.1:{}", self.path(&format!("bricks/{i}"))))
            .collect::<String>()
            + " "
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for pid in self.bricks() {
            let _ = process::kill(pid, libc::SIGKILL);
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

struct Cli(Client);

impl Cli {
    async fn ask(&self, procedure: Proc, dict: OldDict) -> CliRsp {
        let args = CliReq { dict }.to_bytes();
        let id = ProgramId::new(program::CLI.number, program::CLI.version);
        let body = self.0.call(id, procedure as u32, &args, LIMIT).await.unwrap();
        CliRsp::from_bytes(&body).unwrap()
    }

    /// A command that must succeed.
    async fn done(&self, procedure: Proc, dict: OldDict) -> OldDict {
        let reply = self.ask(procedure, dict).await;
        assert_eq!(
            (reply.op_ret, text(&reply.op_errstr)),
            (0, String::new()),
            "{}",
            procedure.name()
        );
        reply.dict
    }

    /// A command that must fail; its text.
    async fn refused(&self, procedure: Proc, dict: OldDict) -> String {
        let reply = self.ask(procedure, dict).await;
        assert_eq!(reply.op_ret, -1, "{}: {:?}", procedure.name(), reply.dict);
        text(&reply.op_errstr)
    }

    async fn status(&self) -> OldDict {
        self.done(Proc::StatusVolume, volume().with_int("cmd", 256)).await
    }

    /// Makes and starts the volume `vol`. Its self-heal daemon is off: the binary is another crate's.
    async fn create_and_start(&self, lab: &Lab) {
        let create = volume()
            .with_int("type", 2)
            .with_int("replica-count", 3)
            .with_int("count", 3);
        let create = create
            .with_str("transport", "tcp")
            .with_str("bricks", &lab.brick_list())
            .with_int("force", 1);
        self.done(Proc::CreateVolume, create).await;
        self.done(Proc::SetVolume, set("cluster.self-heal-daemon", "off")).await;
        self.done(Proc::StartVolume, volume().with_int("flags", 0)).await;
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn volume() -> OldDict {
    OldDict::new().with_str("volname", "vol")
}

fn set(key: &str, value: &str) -> OldDict {
    volume()
        .with_int("count", 2)
        .with_str("key1", key)
        .with_str("value1", value)
}

async fn getspec(client: &Client, key: &str, most: u32) -> GetspecRsp {
    let xdata = OldDict::new()
        .with_int("min-op-version", 1)
        .with_int("max-op-version", most);
    let args = GetspecReq {
        flags: 1,
        key: key.to_string().into(),
        xdata,
    }
    .to_bytes();
    let id = ProgramId::new(program::HANDSHAKE_MGMT.number, program::HANDSHAKE_MGMT.version);
    let body = client
        .call(id, handshake::Proc::Getspec as u32, &args, LIMIT)
        .await
        .unwrap();
    GetspecRsp::from_bytes(&body).unwrap()
}

async fn port_of(client: &Client, brick: &str) -> PortByBrickRsp {
    let args = PortByBrickReq {
        brick: brick.to_string().into(),
    }
    .to_bytes();
    let id = ProgramId::new(program::PORTMAP.number, program::PORTMAP.version);
    let body = client
        .call(id, portmap::Proc::PortByBrick as u32, &args, LIMIT)
        .await
        .unwrap();
    PortByBrickRsp::from_bytes(&body).unwrap()
}

async fn wait_for(what: &str, lab: &Lab, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        rt::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not happen within 10 s; log:\n{}", lab.log());
}

#[test]
fn a_volume_lives_from_create_to_delete() {
    let lab = Lab::new("life");
    let inside = async {
        let cli = lab.cli().await;
        assert_eq!(
            cli.refused(Proc::StartVolume, volume()).await,
            "Volume vol does not exist"
        );
        cli.create_and_start(&lab).await;
        assert_eq!(
            cli.refused(Proc::StartVolume, volume().with_int("flags", 0)).await,
            "Volume vol already started"
        );
        let status = cli.status().await;
        let tcp = lab.tcp(Rc::default()).await;
        for i in 0..3 {
            let value = |key: &str| status.get_i64(&format!("brick{i}.{key}")).unwrap();
            assert_eq!(value("status"), 1, "{}", lab.log());
            assert!(process::is_running(value("pid") as i32));
            // The brick itself signed in.
            let answer = port_of(&tcp, &lab.path(&format!("bricks/{}", i + 1))).await;
            assert_eq!((answer.op_ret, i64::from(answer.port)), (0, value("port")));
        }
        assert_eq!(port_of(&tcp, "/nowhere").await.op_ret, -1);
        let again = volume()
            .with_int("type", 2)
            .with_int("replica-count", 3)
            .with_str("bricks", &lab.brick_list());
        assert_eq!(
            cli.refused(Proc::CreateVolume, again).await,
            "Volume vol already exists"
        );
        let refusal = "Volume vol has been started.Volume needs to be stopped before deletion.";
        assert_eq!(cli.refused(Proc::DeleteVolume, volume()).await, refusal);
        cli.done(Proc::StopVolume, volume().with_int("flags", 0)).await;
        assert!(lab.bricks().is_empty());
        assert_eq!(port_of(&tcp, &lab.path("bricks/1")).await.op_ret, -1);
        cli.done(Proc::DeleteVolume, volume()).await;
        assert!(!lab.root.join("lib/vols/vol").exists());
        assert_eq!(
            cli.done(Proc::ListVolume, OldDict::new()).await.get_i32("count"),
            Some(0)
        );
    };
    rt::block_on(inside).unwrap();
}

#[test]
fn clients_get_volfiles_and_hear_of_changes() {
    let lab = Lab::new("volfiles");
    let inside = async {
        let cli = lab.cli().await;
        cli.create_and_start(&lab).await;
        let heard = Rc::new(RefCell::new(Vec::new()));
        let tcp = lab.tcp(heard.clone()).await;
        let spec = getspec(&tcp, "/vol", 100_000).await;
        assert_eq!(spec.op_ret, spec.spec.len() as i32);
        let graph = Graph::parse(&spec.spec).unwrap();
        assert_eq!(graph.by_type("protocol/client").count(), 3);
        assert!(
            graph
                .first_of_type("protocol/client")
                .unwrap()
                .option("password")
                .is_some(),
            "this node is trusted"
        );
        assert_eq!(getspec(&tcp, "vol.tcp", 100_000).await.spec, spec.spec);
        let brick = format!(
            "vol.127.0.0.1.{}",
            lab.path("bricks/1").trim_start_matches('/').replace('/', "-")
        );
        let brick = getspec(&tcp, &brick, 100_000).await;
        assert_eq!(
            Graph::parse(&brick.spec).unwrap().top().unwrap().kind,
            "protocol/server"
        );
        assert!(
            getspec(&tcp, "shd/vol", 100_000)
                .await
                .xdata
                .get_str("pidfile")
                .is_some()
        );
        for (key, most, want) in [
            ("none", 100_000, (-1, libc::ENOENT)),
            ("vol/../../glusterd.info", 100_000, (-1, libc::ENOENT)),
            ("shd/../vols/vol", 100_000, (-1, libc::ENOENT)),
            ("vol", 30_000, (-1, libc::EOPNOTSUPP)),
        ] {
            let answer = getspec(&tcp, key, most).await;
            assert_eq!((answer.op_ret, answer.op_errno), want, "{key}");
        }
        heard.borrow_mut().clear();
        let unknown = "option : network.ping-timeot does not exist\nDid you mean network.ping-timeout?";
        assert_eq!(
            cli.refused(Proc::SetVolume, set("network.ping-timeot", "5")).await,
            unknown
        );
        assert!(heard.borrow().is_empty());
        cli.done(Proc::SetVolume, set("network.ping-timeout", "5")).await;
        wait_for("FETCHSPEC", &lab, async || {
            *heard.borrow() == [callback::Proc::Fetchspec as u32]
        })
        .await;
        let spec = getspec(&tcp, "vol", 100_000).await;
        let graph = Graph::parse(&spec.spec).unwrap();
        assert_eq!(
            graph.first_of_type("protocol/client").unwrap().option("ping-timeout"),
            Some("5")
        );
        cli.done(Proc::ResetVolume, volume().with_str("key", "network.ping-timeout"))
            .await;
        let got = cli
            .done(Proc::GetVolOpt, volume().with_str("key", "ping-timeout"))
            .await;
        assert_eq!(got.get_str("value1"), Some("42 (DEFAULT)"));
        // What changes something is not served on TCP.
        let id = ProgramId::new(program::CLI.number, program::CLI.version);
        let args = CliReq { dict: volume() }.to_bytes();
        let refusal = tcp.call(id, Proc::StopVolume as u32, &args, LIMIT).await.unwrap_err();
        assert!(refusal.to_string().contains("procedure unavailable"), "{refusal}");
        assert!(tcp.call(id, Proc::ListVolume as u32, &args, LIMIT).await.is_ok());
    };
    rt::block_on(inside).unwrap();
}

#[test]
fn bricks_outlive_the_daemon_and_are_found_again() {
    let mut lab = Lab::new("adopt");
    rt::block_on(async { lab.cli().await.create_and_start(&lab).await }).unwrap();
    let bricks = lab.bricks();
    assert_eq!(bricks.len(), 3);
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        lab.end(signal);
        assert_eq!(lab.bricks(), bricks, "signal {signal}");
        lab.start();
        let inside = async {
            let cli = lab.cli().await;
            wait_for("adoption", &lab, async || {
                let status = cli.status().await;
                (0..3).all(|i| status.get_i32(&format!("brick{i}.status")) == Some(1))
            })
            .await;
            let tcp = lab.tcp(Rc::default()).await;
            assert_eq!(port_of(&tcp, &lab.path("bricks/2")).await.op_ret, 0);
        };
        rt::block_on(inside).unwrap();
        assert_eq!(lab.bricks(), bricks);
    }
}

#[test]
fn a_brick_that_dies_is_started_again_and_clients_find_it() {
    let lab = Lab::new("restart");
    let inside = async {
        let cli = lab.cli().await;
        cli.create_and_start(&lab).await;
        let before = lab.bricks();
        process::kill(before[0], libc::SIGKILL).unwrap();
        wait_for("the restart", &lab, async || {
            lab.bricks().len() == 3 && lab.bricks() != before
        })
        .await;
        let tcp = lab.tcp(Rc::default()).await;
        wait_for("three registered bricks", &lab, async || {
            let mut found = 0;
            for i in 1..=3 {
                found += i32::from(port_of(&tcp, &lab.path(&format!("bricks/{i}"))).await.op_ret == 0);
            }
            found == 3
        })
        .await;
    };
    rt::block_on(inside).unwrap();
}

#[test]
fn a_start_that_cannot_work_is_refused_and_leaves_nothing_running() {
    let lab = Lab::new("refuse");
    let inside = async {
        let cli = lab.cli().await;
        cli.create_and_start(&lab).await;
        cli.done(Proc::StopVolume, volume().with_int("flags", 0)).await;
        let gone = lab.path("bricks/2");
        std::fs::rename(&gone, lab.path("bricks/elsewhere")).unwrap();
        let why = cli.refused(Proc::StartVolume, volume().with_int("flags", 0)).await;
        let want = format!("Failed to find brick directory {gone} for volume vol. Reason : No such file or directory");
        assert_eq!(why, want);
        assert!(lab.bricks().is_empty());
        // By force the other bricks serve.
        cli.done(Proc::StartVolume, volume().with_int("flags", 1)).await;
        // The third is tried again and again, so that its process is there for moments.
        wait_for("two bricks", &lab, async || lab.bricks().len() == 2).await;
        let status = cli.status().await;
        assert_eq!(status.get_i32("brick1.status"), Some(0));
        assert_eq!(status.get_i32("brick1.pid"), Some(-1));
        cli.done(Proc::StopVolume, volume().with_int("flags", 0)).await;
        wait_for("the end of all bricks", &lab, async || lab.bricks().is_empty()).await;
    };
    rt::block_on(inside).unwrap();
}

#[test]
fn settings_of_the_cluster_and_heals_of_a_volume_without_daemon() {
    let lab = Lab::new("cluster");
    let hooks = lab.root.join("lib/hooks/1/set/post");
    std::fs::write(
        hooks.join("S1note"),
        format!("#!/bin/sh\necho \"$@\" > {}\n", lab.path("hook")),
    )
    .unwrap();
    std::fs::set_permissions(hooks.join("S1note"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let inside = async {
        let cli = lab.cli().await;
        cli.create_and_start(&lab).await;
        let all = |key: &str, value: &str| {
            let mut request = set(key, value);
            request.set_str("volname", "all");
            request
        };
        cli.done(Proc::SetVolume, all("cluster.server-quorum-ratio", "60"))
            .await;
        let stored = std::fs::read_to_string(lab.root.join("lib/options")).unwrap();
        assert_eq!(stored, "cluster.server-quorum-ratio=60\nglobal-option-version=1\n");
        let refusal = "'500.000000' in 'option server-quorum-ratio 500' is out of range [0 - 100]";
        assert_eq!(
            cli.refused(Proc::SetVolume, all("cluster.server-quorum-ratio", "500"))
                .await,
            refusal
        );
        let refusal = "Not a valid option for single volume";
        assert_eq!(
            cli.refused(Proc::SetVolume, set("cluster.server-quorum-ratio", "60"))
                .await,
            refusal
        );
        let refusal = "Self-heal-daemon is disabled. Heal will not be triggered on volume vol";
        assert_eq!(
            cli.refused(Proc::HealVolume, volume().with_int("heal-op", 1)).await,
            refusal
        );
        cli.done(Proc::HealVolume, volume().with_int("heal-op", 16)).await;
        let got = cli
            .done(Proc::GetVolOpt, volume().with_str("key", "cluster.granular-entry-heal"))
            .await;
        assert_eq!(got.get_str("value1"), Some("disable"));
        let told = format!(
            "--volname=vol -o cluster.self-heal-daemon=off --gd-workdir={}\n",
            lab.path("lib")
        );
        let hook = lab.path("hook");
        wait_for("the hook", &lab, async || {
            std::fs::read_to_string(&hook).is_ok_and(|text| text == told)
        })
        .await;
        let history = std::fs::read_to_string(lab.root.join("log/cmd_history.log"));
        assert!(history.is_err(), "nobody gave a command line, so nothing was noted");
    };
    rt::block_on(inside).unwrap();
}

/// Garbage of several kinds on both sockets: refused or disconnected, logged, and the daemon goes on.
#[test]
fn garbage_does_not_disturb_the_daemon() {
    use std::io::Write;
    let lab = Lab::new("garbage");
    let random: Vec<u8> = (0..4096u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    // A record of 2 GiB, a record that ends early, a reply nobody asked for, a call whose arguments are cut off.
    let huge = [0xff; 4].to_vec();
    let short = [0x80, 0, 0, 40, 0, 0, 0, 1].to_vec();
    let reply = [&[0x80, 0, 0, 12][..], &[0; 3], &[7], &[0; 3], &[1], &[0; 4]].concat();
    for garbage in [random, huge, short, reply] {
        let mut tcp = std::net::TcpStream::connect(("127.0.0.1", lab.port)).unwrap();
        tcp.write_all(&garbage).unwrap();
        let mut unix = std::os::unix::net::UnixStream::connect(lab.root.join("socket")).unwrap();
        unix.write_all(&garbage).unwrap();
    }
    let inside = async {
        let cli = lab.cli().await;
        let id = ProgramId::new(program::CLI.number, program::CLI.version);
        for (procedure, args, want) in [
            (Proc::GetVolume as u32, &[0, 0, 0, 99][..], "garbage arguments"),
            (4711, &[][..], "procedure unavailable"),
            (Proc::Tier as u32, &[0; 4][..], "procedure unavailable"),
        ] {
            let error = cli.0.call(id, procedure, args, LIMIT).await.unwrap_err().to_string();
            assert!(error.contains(want), "{procedure}: {error}");
        }
        let error = cli
            .0
            .call(ProgramId::new(4711, 1), 1, &[], LIMIT)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("program unavailable"), "{error}");
        assert_eq!(
            cli.done(Proc::ListVolume, OldDict::new()).await.get_i32("count"),
            Some(0)
        );
    };
    rt::block_on(inside).unwrap();
}

#[test]
fn a_second_daemon_with_the_same_files_does_not_start() {
    let lab = Lab::new("second");
    let mut command = Command::new(env!("CARGO_BIN_EXE_glusterd"));
    command.args([
        "-N",
        "--volfile",
        &lab.path("glusterd.vol"),
        "--pid-file",
        &lab.path("glusterd.pid"),
    ]);
    command.args([
        "--workdir",
        &lab.path("lib"),
        "--rundir",
        &lab.path("run"),
        "--logdir",
        &lab.path("log"),
    ]);
    let output = command
        .args(["--socket", &lab.path("socket"), "--port", "0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another glusterd is running"));
    assert!(Path::new(&lab.path("socket")).exists());
}
