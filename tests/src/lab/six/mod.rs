//! The user's installation: `worker1`..`worker6`, each with its own management daemon, disk and brick, and `manager`
//! without a brick; one volume `0001` of six replicas, mounted on all of them by their `/etc/fstab`.
//!
//! Everything is done with the commands of the user's manual, by the names of an installed system (`/usr/sbin/glusterd`,
//! `gluster`, `mount -a`): for our flavour a machine finds our programs there. Faults are in [`fault`].

pub mod fault;
pub mod node;

use super::cluster::Flavor;
use super::compare::{Comparison, compare_bricks, indexed, wait_identical};
use super::disk;
use super::error::{Context, Result, fail};
use super::gluster::{BrickStatus, HealInfo, parse_heal_info, parse_status};
use super::host::{Host, Lab};
use super::process::Pid;
use super::run::{Cmd, wait_for};
use node::{Addressing, BRICK, DATA, Node, Role};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of workers; they are counted from 1, as in their names.
pub const WORKERS: usize = 6;
/// The manager's number.
pub const MANAGER: usize = 7;
/// Name of the volume.
pub const VOLUME: &str = "0001";
/// Size of a brick's disk in MiB; the image is sparse.
const DISK_MIB: u64 = 1024;
/// A management daemon answers after this long at the latest; the C one, started without its peers, is slow.
const DAEMON_LIMIT: Duration = Duration::from_secs(60);
/// The C implementation starts bricks one daemon at a time.
const ONLINE_LIMIT: Duration = Duration::from_secs(60);

/// Where each worker's brick directory is to be found at the moment, for threads that watch it while machines go and
/// come.
#[derive(Debug, Clone, Default)]
pub struct BrickPaths(Arc<Mutex<BTreeMap<usize, PathBuf>>>);

impl BrickPaths {
    /// A worker's brick, while it is switched on.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<PathBuf> {
        self.lock().get(&number).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Six servers, a manager and their volume. Dropping it removes everything.
#[derive(Debug)]
pub struct SixServers {
    flavor: Flavor,
    nodes: Vec<Node>,
    paths: BrickPaths,
    lab: Lab,
}

impl SixServers {
    /// Everything switched on, the volume started and mounted on all seven machines.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn start(flavor: Flavor) -> Result<SixServers> {
        let mut six = SixServers::without_volume(flavor)?;
        six.form_cluster().context("form the cluster")?;
        six.create_volume().context("make the volume")?;
        for number in 1..=MANAGER {
            six.mount_all(number)?;
        }
        Ok(six)
    }

    /// The machines with their disks and management daemons, which do not know each other yet.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn without_volume(flavor: Flavor) -> Result<SixServers> {
        SixServers::with_addresses(flavor, Addressing::V4)
    }

    /// The same with these addresses.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn with_addresses(flavor: Flavor, addressing: Addressing) -> Result<SixServers> {
        let lab = Lab::with_network()?;
        let nodes = (1..=MANAGER)
            .map(|number| Node::make(&lab, flavor, addressing, number))
            .collect::<Result<Vec<_>>>()?;
        let mut six = SixServers {
            flavor,
            nodes,
            paths: BrickPaths::default(),
            lab,
        };
        for number in 1..=WORKERS {
            disk::make_xfs_image(&six.lab, &six.node(number)?.image(&six.lab), DISK_MIB)?;
        }
        for number in 1..=MANAGER {
            six.switch_on(number)?;
        }
        for number in 1..=WORKERS {
            six.start_daemon(number)?;
        }
        Ok(six)
    }

    /// `peer probe` of the other five from `worker1`.
    ///
    /// # Errors
    /// What `gluster` said, or when a peer does not become connected.
    pub fn form_cluster(&mut self) -> Result<()> {
        for number in 2..=WORKERS {
            self.gluster(1, &["peer", "probe", &worker(number)])?.run()?;
        }
        self.wait_peers(WORKERS - 1)
    }

    /// Waits until every running worker sees `count` others connected.
    ///
    /// # Errors
    /// When one does not within a minute.
    pub fn wait_peers(&self, count: usize) -> Result<()> {
        wait_for("the peers are connected", ONLINE_LIMIT, || {
            for number in self.running() {
                let text = self.gluster(number, &["peer", "status"])?.run()?;
                let connected = text.matches("Peer in Cluster (Connected)").count();
                if connected != count {
                    return Err(fail(format!("{} sees {connected} of {count}", worker(number))));
                }
            }
            Ok(Some(()))
        })
    }

    /// `volume create` and `volume start`, as in the user's manual.
    ///
    /// # Errors
    /// What `gluster` said, or when a brick does not come online.
    pub fn create_volume(&mut self) -> Result<()> {
        let bricks = (1..=WORKERS).map(brick_name);
        let create = self.gluster(1, &["volume", "create", VOLUME, "replica", "6"])?;
        create.args(bricks).run()?;
        self.gluster(1, &["volume", "start", VOLUME])?.run()?;
        self.wait_all_online()
    }

    /// Whose programs run.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// A machine, while it is switched on: a worker's number or [`MANAGER`].
    ///
    /// # Errors
    /// When it is switched off or there is none.
    pub fn host(&self, number: usize) -> Result<&Host> {
        self.node(number)?.host()
    }

    fn node(&self, number: usize) -> Result<&Node> {
        let index = number.checked_sub(1);
        let node = index.and_then(|index| self.nodes.get(index));
        node.ok_or_else(|| fail(format!("there is no machine {number}")))
    }

    fn node_mut(&mut self, number: usize) -> Result<&mut Node> {
        let index = number.checked_sub(1);
        let node = index.and_then(|index| self.nodes.get_mut(index));
        node.ok_or_else(|| fail(format!("there is no machine {number}")))
    }

    /// A worker's address.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn address(&self, number: usize) -> Result<std::net::IpAddr> {
        Ok(self.lab.network()?.address(self.node(number)?.last()).into())
    }

    /// A worker's IPv6 address; machines have one with [`Addressing::Both`].
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn address6(&self, number: usize) -> Result<std::net::IpAddr> {
        Ok(self.lab.network()?.address6(self.node(number)?.last()).into())
    }

    /// The workers that are switched on and whose management daemon runs.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        let runs = |number: &usize| self.process(*number, Role::Daemon).is_ok();
        (1..=WORKERS).filter(runs).collect()
    }

    /// A `gluster` command on one machine.
    ///
    /// # Errors
    /// When it is switched off.
    pub fn gluster(&self, number: usize, args: &[&str]) -> Result<Cmd> {
        let cmd = self.command(number, "gluster")?.arg("--mode=script").args(args);
        // Longer than the C command line's own limit of two minutes.
        Ok(cmd.limit(Duration::from_secs(130)))
    }

    /// A command on one machine with an installed system's search path.
    ///
    /// # Errors
    /// When it is switched off.
    pub fn command(&self, number: usize, program: &str) -> Result<Cmd> {
        Ok(self.host(number)?.cmd(program).env("PATH", node::SEARCH_PATH))
    }

    /// `gluster` on the first worker whose management daemon runs.
    ///
    /// # Errors
    /// When there is none, or what `gluster` said.
    pub fn ask(&self, args: &[&str]) -> Result<String> {
        let running = self.running();
        let first = running.first().ok_or_else(|| fail("no management daemon runs"))?;
        self.gluster(*first, args)?.run()
    }

    /// The only process of a kind on a machine.
    ///
    /// # Errors
    /// When there is none or several.
    pub fn process(&self, number: usize, role: Role) -> Result<Pid> {
        match self.processes(number, role)?.as_slice() {
            [one] => Ok(*one),
            found => Err(fail(format!(
                "{} processes {role:?} on {}",
                found.len(),
                self.node(number)?.name()
            ))),
        }
    }

    /// Every process of a kind on a machine.
    ///
    /// # Errors
    /// When it is switched off.
    pub fn processes(&self, number: usize, role: Role) -> Result<Vec<Pid>> {
        let node = self.node(number)?;
        node.host()?;
        Ok(node.processes(&self.lab, role))
    }

    /// Starts a worker's management daemon with the unit file's command and waits until it answers.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn start_daemon(&self, number: usize) -> Result<()> {
        let log = self.host(number)?.outside(Path::new("/var/log/glusterfs/glusterd.log"));
        let started = self
            .command(number, "/usr/sbin/glusterd")?
            .args(["-p", "/var/run/glusterd.pid", "--log-level", "INFO"])
            .limit(DAEMON_LIMIT)
            .run();
        let answers = started.and_then(|_| {
            wait_for("the management daemon answers", DAEMON_LIMIT, || {
                let list = self.gluster(number, &["volume", "list"])?;
                Ok(list.limit(Duration::from_secs(10)).succeeds().then_some(()))
            })
        });
        answers.map_err(|error| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let end = super::run::tail(&text);
            fail(format!("{}: {error}\nend of glusterd.log:\n{end}", worker(number)))
        })
    }

    /// `mount -a` on a machine.
    ///
    /// # Errors
    /// What it said with the end of the client's log, or when the volume is not mounted afterwards.
    pub fn mount_all(&self, number: usize) -> Result<()> {
        let host = self.host(number)?;
        let done = self.command(number, "mount")?.arg("-a").output()?;
        let mounted = self.command(number, "findmnt")?.args(["-n", "-o", "FSTYPE", DATA]);
        let kind = mounted.output()?.stdout;
        if done.status.success() && kind.trim() == "fuse.glusterfs" {
            return Ok(());
        }
        let log = host.outside(Path::new("/var/log/glusterfs").join(log_name()).as_path());
        let text = std::fs::read_to_string(log).unwrap_or_default();
        Err(fail(format!(
            "mount -a on {} ended with {}, mounted is `{}`:\n{}{}",
            host.name(),
            done.status,
            kind.trim(),
            done.all(),
            super::run::tail(&text)
        )))
    }

    /// `mount -a` until it succeeds: after a boot, an administrator or a systemd automount tries again.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn mount_patiently(&self, number: usize) -> Result<()> {
        wait_for("mount -a after the boot", Duration::from_secs(60), || {
            self.mount_all(number).map(Some)
        })
    }

    /// Writes the only line of a machine's `/etc/fstab`: the volume from `server` (all before the volume's name, with
    /// the separator) with these further options.
    ///
    /// # Errors
    /// When the machine is switched off.
    pub fn set_fstab(&self, number: usize, server: &str, options: &str) -> Result<()> {
        let line = format!("{server}{VOLUME} {DATA} glusterfs defaults,_netdev{options} 0 0\n");
        let file = self.host(number)?.outside(Path::new("/etc/fstab"));
        std::fs::write(&file, line).context(file.display())
    }

    /// `umount -l` of the volume on a machine.
    ///
    /// # Errors
    /// When it is not mounted.
    pub fn unmount(&self, number: usize) -> Result<()> {
        self.command(number, "umount")?.args(["-l", DATA]).run().map(drop)
    }

    /// The mounted volume of a machine, as this process sees it.
    ///
    /// # Errors
    /// When the machine is switched off.
    pub fn mounted(&self, number: usize) -> Result<PathBuf> {
        Ok(self.host(number)?.outside(Path::new(DATA)))
    }

    /// A worker's brick directory, as this process sees it.
    ///
    /// # Errors
    /// When the machine is switched off.
    pub fn brick(&self, number: usize) -> Result<PathBuf> {
        Ok(self.host(number)?.outside(Path::new(BRICK)))
    }

    /// The brick lines of `volume status`, as a worker prints them.
    ///
    /// # Errors
    /// When the command fails.
    pub fn status(&self, number: usize) -> Result<Vec<BrickStatus>> {
        parse_status(&self.gluster(number, &["volume", "status", VOLUME])?.run()?)
    }

    /// Waits until every brick is online.
    ///
    /// # Errors
    /// When one is not within a minute.
    pub fn wait_all_online(&self) -> Result<()> {
        wait_for("all bricks online", ONLINE_LIMIT, || {
            let rows = parse_status(&self.ask(&["volume", "status", VOLUME])?)?;
            let online = rows.iter().filter(|row| row.online).count();
            if online == WORKERS {
                return Ok(Some(()));
            }
            Err(fail(format!("{online} of {WORKERS}")))
        })
    }

    /// Starts the bricks and daemons that are down on running servers and waits until all bricks are online.
    ///
    /// # Errors
    /// When they are not.
    pub fn restart_bricks(&self) -> Result<()> {
        // The C daemon may take a brick that has just died for a running one: it is asked again.
        let mut last = Ok(());
        for _ in 0..6 {
            self.ask(&["volume", "start", VOLUME, "force"])?;
            last = wait_for("every brick process runs", Duration::from_secs(5), || {
                let started = (1..=WORKERS).all(|number| self.process(number, Role::Brick).is_ok());
                Ok(started.then_some(()))
            });
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// `volume heal 0001 info`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn heal_info(&self) -> Result<Vec<HealInfo>> {
        parse_heal_info(&self.ask(&["volume", "heal", VOLUME, "info"])?)
    }

    /// Waits until `heal info` shows six connected bricks without entries. The C daemon is asked to begin.
    ///
    /// # Errors
    /// What is left after `limit`.
    pub fn wait_healed(&self, limit: Duration) -> Result<()> {
        let mut round = 0u32;
        let healed = wait_for("heal info shows 0 entries", limit, || {
            if self.flavor == Flavor::C && round.is_multiple_of(10) {
                // Refused while a daemon is still connecting.
                let _ = self.ask(&["volume", "heal", VOLUME]);
            }
            round += 1;
            let info = self.heal_info()?;
            let left: Vec<String> = info
                .iter()
                .filter(|brick| !brick.connected || brick.entries != Some(0))
                .map(|brick| format!("{} {:?}", brick.brick, brick.entries))
                .collect();
            if left.is_empty() && info.len() == WORKERS {
                return Ok(Some(()));
            }
            Err(fail(left.join(", ")))
        });
        healed.map_err(|error| fail(format!("{error}\n{}", self.marks())))
    }

    /// What the indices of all bricks list, with the marks.
    fn marks(&self) -> String {
        let bricks = self.running().into_iter().filter(|number| *number <= WORKERS);
        let lines = bricks.flat_map(|number| {
            let marks = self.brick(number).map(|brick| indexed(&brick)).unwrap_or_default();
            marks.into_iter().map(move |line| format!("{}: {line}", worker(number)))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Compares the bricks of all six workers.
    ///
    /// # Errors
    /// When a worker is switched off or a brick cannot be read.
    pub fn compare(&self) -> Result<Comparison> {
        let bricks: Result<Vec<PathBuf>> = (1..=WORKERS).map(|number| self.brick(number)).collect();
        compare_bricks(&bricks?)
    }

    /// Waits for heal, then fails unless all bricks are identical.
    ///
    /// # Errors
    /// The differences, or what is left to heal.
    pub fn expect_identical(&self, limit: Duration) -> Result<()> {
        self.wait_healed(limit)?;
        wait_identical(|| self.compare()).map(drop)
    }

    /// Switches a machine on (again): its network, private directories and disk; no daemon, no mount.
    fn switch_on(&mut self, number: usize) -> Result<()> {
        let index = number.checked_sub(1);
        let node = index.and_then(|index| self.nodes.get_mut(index));
        node.ok_or_else(|| fail(format!("there is no machine {number}")))?
            .switch_on(&self.lab)?;
        let brick = self.brick(number)?;
        self.paths.lock().insert(number, brick);
        Ok(())
    }

    /// Where the bricks are, kept up to date.
    #[must_use]
    pub fn brick_paths(&self) -> BrickPaths {
        self.paths.clone()
    }

    /// Takes a machine's power away: nothing of it says goodbye.
    ///
    /// # Errors
    /// When it is off already or something of it is left.
    pub fn power_off(&mut self, number: usize) -> Result<()> {
        let host = self.node_mut(number)?.take_host()?;
        self.paths.lock().remove(&number);
        self.lab.power_off(host)
    }

    /// Switches a machine on again, with its daemon when it is a worker. It does not mount.
    ///
    /// # Errors
    /// When a step fails.
    pub fn power_on(&mut self, number: usize) -> Result<()> {
        self.switch_on(number)?;
        if number == MANAGER {
            return Ok(());
        }
        self.start_daemon(number)
    }

    /// Ends what `systemctl stop glusterd` and a shutdown end, each process with SIGTERM and time to say goodbye.
    ///
    /// # Errors
    /// When a process does not end within 20 seconds.
    pub fn terminate_server(&self, number: usize) -> Result<()> {
        for role in [Role::Daemon, Role::Brick, Role::Healer] {
            for pid in self.processes(number, role)? {
                end(pid)?;
            }
        }
        Ok(())
    }

    /// Unmounts and removes everything, reporting what cannot be removed.
    ///
    /// # Errors
    /// When something is left.
    pub fn finish(self) -> Result<()> {
        for number in 1..=MANAGER {
            if self.host(number).is_ok() {
                self.command(number, "umount")?.arg(DATA).run()?;
            }
        }
        self.lab.remove()
    }
}

/// Ends a process with SIGTERM and waits until it is gone.
fn end(pid: Pid) -> Result<()> {
    pid.signal(nix::sys::signal::Signal::SIGTERM)?;
    if pid.wait_gone(Duration::from_secs(20)) {
        return Ok(());
    }
    Err(fail(format!("SIGTERM did not end {}", pid.command())))
}

/// A worker's name.
#[must_use]
pub fn worker(number: usize) -> String {
    format!("worker{number}")
}

/// A worker's brick as `gluster` names it.
#[must_use]
pub fn brick_name(number: usize) -> String {
    format!("{}:{BRICK}", worker(number))
}

/// File name of the client's log: the mount point with dashes.
#[must_use]
pub fn log_name() -> String {
    format!("{}.log", DATA.trim_start_matches('/').replace('/', "-"))
}
