//! One server with all bricks of one volume: our management daemon with private paths, or the C implementation's
//! inside a lab host.
//!
//! Everything goes through `gluster`, as an administrator would do it.

use super::binaries;
use super::client::{Client, Mount};
use super::compare::{Comparison, compare_bricks, wait_identical};
use super::error::{Context, Result, fail};
use super::gluster::{BrickStatus, HealInfo, parse_heal_info, parse_status};
use super::host::{Host, Lab};
use super::process::Pid;
use super::record::TAG;
use super::run::{Cmd, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// GlusterFS's management port.
const DEFAULT_PORT: u16 = 24007;

/// Whose programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Ours.
    Ringluster,
    /// GlusterFS 10.
    C,
}

/// A server and its volume.
#[derive(Debug)]
pub struct Cluster {
    flavor: Flavor,
    host: Host,
    volume: String,
    server: String,
    port: u16,
    bricks: Vec<PathBuf>,
    home: PathBuf,
    tag: String,
}

impl Cluster {
    /// Starts a management daemon on `host` that will own `bricks`. The C implementation needs a separate host.
    ///
    /// # Errors
    /// When it does not answer within 30 seconds, with the end of its log.
    pub fn launch(lab: &Lab, host: &Host, flavor: Flavor, bricks: &[PathBuf]) -> Result<Cluster> {
        if flavor == Flavor::C && !host.is_separate() {
            return Err(fail(
                "the C implementation's paths are fixed: it needs a lab host of its own",
            ));
        }
        let port = if host.is_separate() { DEFAULT_PORT } else { free_port()? };
        let cluster = Cluster {
            flavor,
            host: host.clone(),
            volume: "0001".into(),
            server: server_name(host),
            port,
            bricks: bricks.to_vec(),
            home: lab.make_dir("cluster")?,
            tag: lab.record().tag(),
        };
        for dir in ["work", "run", "log"] {
            fs::create_dir_all(cluster.home.join(dir))?;
        }
        cluster.start_daemon()?;
        Ok(cluster)
    }

    /// A cluster with its volume created and started and all bricks online.
    ///
    /// # Errors
    /// When a step fails.
    pub fn start(lab: &Lab, host: &Host, flavor: Flavor, bricks: &[PathBuf]) -> Result<Cluster> {
        let cluster = Cluster::launch(lab, host, flavor, bricks)?;
        cluster.create_volume()?;
        cluster.gluster(&["volume", "start", &cluster.volume])?.run()?;
        cluster.wait_all_online()?;
        Ok(cluster)
    }

    /// Starts the management daemon (again) and waits until it answers.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn start_daemon(&self) -> Result<()> {
        let started = self.daemon_command()?.run().and_then(|_| {
            wait_for("the management daemon answers", Duration::from_secs(30), || {
                Ok(self
                    .gluster(&["volume", "list"])?
                    .limit(Duration::from_secs(10))
                    .succeeds()
                    .then_some(()))
            })
        });
        started.map_err(|error| {
            let log = fs::read_to_string(self.daemon_log()).unwrap_or_default();
            fail(format!(
                "{error}\nlog of the management daemon:\n{}",
                super::run::tail(&log)
            ))
        })
    }

    /// Creates the volume (without starting it).
    ///
    /// # Errors
    /// What `gluster` said.
    pub fn create_volume(&self) -> Result<()> {
        let count = self.bricks.len().to_string();
        let names = self.bricks.iter().map(|brick| self.brick_name(brick));
        let cmd = self.gluster(&["volume", "create", &self.volume, "replica", &count])?;
        cmd.args(names).arg("force").run().map(drop)
    }

    /// A `gluster` command for this cluster.
    ///
    /// # Errors
    /// When our command line has not been built.
    pub fn gluster(&self, args: &[&str]) -> Result<Cmd> {
        let words = self.gluster_words()?;
        let mut words = words.into_iter();
        let cmd = self
            .host
            .cmd(words.next().unwrap_or_default())
            .args(words)
            .arg("--mode=script")
            .args(args);
        match self.flavor {
            Flavor::Ringluster => Ok(cmd.env("PATH", binaries::search_path()?)),
            Flavor::C => Ok(cmd),
        }
    }

    /// The words of a `gluster` command that reaches this cluster from a shell of its host.
    ///
    /// # Errors
    /// When our command line has not been built.
    pub fn gluster_words(&self) -> Result<Vec<String>> {
        Ok(match self.flavor {
            Flavor::Ringluster => vec![
                binaries::our("gluster")?.display().to_string(),
                format!("--glusterd-sock={}", self.socket().display()),
                format!("--log-file={}", self.home.join("log/cli.log").display()),
            ],
            Flavor::C => vec!["/usr/sbin/gluster".into()],
        })
    }

    /// The brick lines of `volume status`, in brick order.
    ///
    /// # Errors
    /// When the command fails or its output is not what it should be.
    pub fn status(&self) -> Result<Vec<BrickStatus>> {
        let text = self.gluster(&["volume", "status", &self.volume])?.run()?;
        let rows = parse_status(&text)?;
        if rows.len() != self.bricks.len() {
            return Err(fail(format!(
                "volume status shows {} bricks of {}:\n{text}",
                rows.len(),
                self.bricks.len()
            )));
        }
        Ok(rows)
    }

    /// Process of brick `index` (from 0), from `volume status`. Only processes of this lab are returned.
    ///
    /// # Errors
    /// When it is not online or not ours.
    pub fn brick_pid(&self, index: usize) -> Result<Pid> {
        let rows = self.status()?;
        let row = rows
            .get(index)
            .ok_or_else(|| fail(format!("there is no brick {index}")))?;
        let pid = Pid::of(
            row.pid
                .ok_or_else(|| fail(format!("brick {} is not online", row.brick)))?,
        )?;
        if pid.env_value(TAG).as_deref() == Some(&self.tag) {
            return Ok(pid);
        }
        Err(fail(format!(
            "process {} of brick {} does not carry {TAG}: not touched",
            pid.pid, row.brick
        )))
    }

    /// Kills brick `index` with SIGKILL and waits until the process is gone.
    ///
    /// # Errors
    /// When it is not online.
    pub fn kill_brick(&self, index: usize) -> Result<()> {
        kill_process(self.brick_pid(index)?)
    }

    /// Starts the bricks that are down and waits until all are online.
    ///
    /// # Errors
    /// When they are not within 30 seconds.
    pub fn restart_bricks(&self) -> Result<()> {
        // The C daemon may take a brick that has just died for a running one: it is asked again.
        let mut last = Ok(());
        for _ in 0..8 {
            self.gluster(&["volume", "start", &self.volume, "force"])?.run()?;
            last = self.wait_online_within(Duration::from_secs(4));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Waits until every brick is online.
    ///
    /// # Errors
    /// When they are not within 30 seconds.
    pub fn wait_all_online(&self) -> Result<()> {
        self.wait_online_within(Duration::from_secs(30))
    }

    fn wait_online_within(&self, limit: Duration) -> Result<()> {
        wait_for("all bricks online", limit, || {
            let rows = self.status()?;
            let down: Vec<_> = rows
                .iter()
                .filter(|row| !row.online)
                .map(|row| row.brick.clone())
                .collect();
            if down.is_empty() {
                Ok(Some(()))
            } else {
                Err(fail(format!("down: {}", down.join(" "))))
            }
        })
    }

    /// `volume heal VOL info`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn heal_info(&self) -> Result<Vec<HealInfo>> {
        let text = self
            .gluster(&["volume", "heal", &self.volume, "info"])?
            .limit(Duration::from_secs(120))
            .run()?;
        parse_heal_info(&text)
    }

    /// Entries that need healing by `heal info`, or `None` while a brick does not answer.
    ///
    /// # Errors
    /// When the command fails.
    pub fn heal_entries(&self) -> Result<Option<u64>> {
        Ok(self
            .heal_info()?
            .iter()
            .map(|brick| brick.entries.filter(|_| brick.connected))
            .sum())
    }

    /// Asks for an index heal and waits until `heal info` shows nothing. `progress` sees each count.
    ///
    /// # Errors
    /// When entries are left after `limit`.
    pub fn wait_healed(&self, limit: Duration, mut progress: impl FnMut(u64)) -> Result<()> {
        let mut round = 0u32;
        wait_for("heal info shows 0 entries", limit, || {
            // The daemon begins by itself when a brick returns; the command makes the C one begin at once, and may
            // be refused while a daemon is still connecting.
            if round.is_multiple_of(20) {
                let _ = self.gluster(&["volume", "heal", &self.volume])?.output()?;
            }
            round += 1;
            let Some(entries) = self.heal_entries()? else {
                return Err(fail("a brick does not answer"));
            };
            progress(entries);
            if entries == 0 {
                Ok(Some(()))
            } else {
                Err(fail(format!("{entries} entries left")))
            }
        })
    }

    /// Compares all bricks.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn compare(&self) -> Result<Comparison> {
        compare_bricks(&self.bricks_outside())
    }

    /// Waits for heal, then fails unless all bricks are identical.
    ///
    /// # Errors
    /// The differences, or what is left to heal.
    pub fn expect_identical(&self, limit: Duration) -> Result<Comparison> {
        self.wait_healed(limit, |_| {})?;
        wait_identical(|| self.compare())
    }

    /// A client of this cluster.
    #[must_use]
    pub fn client(&self, flavor: Flavor) -> Client {
        Client {
            flavor,
            server: self.server.clone(),
            port: self.port,
            volume: self.volume.clone(),
            log: self.home.join(match flavor {
                Flavor::Ringluster => "log/mount.log",
                Flavor::C => "log/mount-c.log",
            }),
            options: Vec::new(),
        }
    }

    /// Mounts the volume with the cluster's own kind of client at `NAME` in the cluster's directory.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(&self, name: &str) -> Result<Mount> {
        self.mount_with(self.flavor, name)
    }

    /// Mounts the volume with either client on the cluster's host.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount_with(&self, flavor: Flavor, name: &str) -> Result<Mount> {
        self.client(flavor).mount(&self.host, &self.home.join(name))
    }

    /// The brick directories, as the cluster's host sees them.
    #[must_use]
    pub fn bricks(&self) -> &[PathBuf] {
        &self.bricks
    }

    /// The brick directories, as the real machine sees them.
    #[must_use]
    pub fn bricks_outside(&self) -> Vec<PathBuf> {
        self.bricks.iter().map(|brick| self.host.outside(brick)).collect()
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The volume's name.
    #[must_use]
    pub fn volume(&self) -> &str {
        &self.volume
    }

    /// `HOST:/path` of a brick.
    #[must_use]
    pub fn brick_name(&self, brick: &Path) -> String {
        format!("{}:{}", self.server, brick.display())
    }

    /// Name under which clients and bricks reach the server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Management port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Directory that holds the cluster's work, run and log directories (ours only) and its mounts.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Directory of the state in GlusterFS's file formats, as the real machine sees it.
    #[must_use]
    pub fn workdir(&self) -> PathBuf {
        match self.flavor {
            Flavor::Ringluster => self.home.join("work"),
            Flavor::C => self.host.outside(Path::new("/var/lib/glusterd")),
        }
    }

    /// Directory of the logs, as the real machine sees it.
    #[must_use]
    pub fn logdir(&self) -> PathBuf {
        match self.flavor {
            Flavor::Ringluster => self.home.join("log"),
            Flavor::C => self.host.outside(Path::new("/var/log/glusterfs")),
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.join("run/glusterd.socket")
    }

    fn daemon_log(&self) -> PathBuf {
        self.logdir().join("glusterd.log")
    }

    fn daemon_command(&self) -> Result<Cmd> {
        if self.flavor == Flavor::C {
            return Ok(self
                .host
                .words("/usr/sbin/glusterd -p /run/glusterd.pid --log-level INFO"));
        }
        let volfile = self.home.join("glusterd.vol");
        fs::write(&volfile, self.daemon_volfile()).context(volfile.display())?;
        let cmd = self
            .host
            .cmd(binaries::our("glusterd")?)
            .env("PATH", binaries::search_path()?);
        Ok(cmd
            .arg("--volfile")
            .arg(&volfile)
            .arg("--pid-file")
            .arg(self.home.join("run/glusterd.pid"))
            .arg("--log-file")
            .arg(self.daemon_log()))
    }

    /// The daemon's configuration file in GlusterFS's format, with every path private. A killed brick stays dead
    /// until a test brings it back.
    fn daemon_volfile(&self) -> String {
        let home = self.home.display();
        format!(
            "volume management\n    type mgmt/glusterd\n    option working-directory {home}/work\n    \
             option run-directory {home}/run\n    option log-directory {home}/log\n    \
             option glusterd-sockfile {}\n    option transport-type socket\n    \
             option transport.socket.listen-port {}\n    option base-port 49152\n    option max-port 60999\n    \
             option brick-restart-delay 0\nend-volume\n",
            self.socket().display(),
            self.port
        )
    }
}

/// Kills a process with SIGKILL and waits until it is gone.
///
/// # Errors
/// When it is still there after 10 seconds.
pub fn kill_process(pid: Pid) -> Result<()> {
    pid.signal(Signal::SIGKILL)?;
    // The C daemon takes a zombie for a running brick, and a container's init may collect zombies late.
    wait_for("the killed process is gone", Duration::from_secs(10), || {
        Ok(pid.collected().then_some(()))
    })
}

/// A name for the server that is neither refused by `gluster` (as localhost is) nor unknown to the resolver.
fn server_name(host: &Host) -> String {
    if host.is_separate() {
        return host.name().to_string();
    }
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    match own {
        Some(name) if name != "localhost" && (name.as_str(), 0).to_socket_addrs().is_ok() => name,
        _ => "127.0.0.1".into(),
    }
}

/// A TCP port nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("0.0.0.0", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
