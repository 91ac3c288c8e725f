//! A lab and its machines. A machine has its own network, mounts, host name, `/etc/hosts`, `/var/lib/glusterd`,
//! `/run` and `/var/log/glusterfs`; everything else is shared with the real machine.
//!
//! A machine lives as long as its holder process; [`Host::outside`] gives the path by which its files are reached
//! from the real machine.

use super::error::{Context, Result};
use super::net::Network;
use super::process::Pid;
use super::record::{self, Record, TAG};
use super::run::{Background, Cmd, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Directories of a machine that are its own, and the name of each under the machine's private directory.
const PRIVATE: [(&str, &str); 3] = [
    ("/var/lib/glusterd", "glusterd"),
    ("/run", "run"),
    ("/var/log/glusterfs", "log"),
];

/// Everything one test, sandbox or benchmark has made. Dropping it removes all of it.
#[derive(Debug)]
pub struct Lab {
    record: Record,
    network: Option<Network>,
    hosts: Vec<Host>,
    next: AtomicU32,
}

impl Lab {
    /// A lab without machines of its own: processes run on the real machine, with private directories.
    ///
    /// # Errors
    /// When the lab's directory cannot be made.
    pub fn local() -> Result<Lab> {
        Lab::local_in(&record::base_directory())
    }

    /// The same with its directory under `base`.
    ///
    /// # Errors
    /// When the lab's directory cannot be made.
    pub fn local_in(base: &Path) -> Result<Lab> {
        Ok(Lab {
            record: Record::create(base)?,
            network: None,
            hosts: Vec::new(),
            next: AtomicU32::new(0),
        })
    }

    /// A lab with machines `worker1`..`workerN` (addresses .1 to .N) and, when asked for, `manager` (.100).
    ///
    /// # Errors
    /// When namespaces, bridges or mounts are refused.
    pub fn with_hosts(workers: u8, manager: bool) -> Result<Lab> {
        let mut lab = Lab::local()?;
        let network = Network::create(&lab.record)?;
        let mut names: Vec<(String, u8)> = (1..=workers).map(|n| (format!("worker{n}"), n)).collect();
        if manager {
            names.push(("manager".into(), 100));
        }
        let mut hosts_file = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for (name, last) in &names {
            hosts_file.push_str(&format!("{} {name}\n", network.address(*last)));
        }
        for (name, last) in &names {
            let machine = Machine {
                name,
                last: *last,
                hosts_file: &hosts_file,
                setup: "",
            };
            let host = Host::start(&lab.record, &network, &machine)?;
            lab.hosts.push(host);
        }
        lab.network = Some(network);
        Ok(lab)
    }

    /// A lab with a network whose machines are switched on and off one by one ([`Lab::boot`], [`Lab::power_off`]).
    ///
    /// # Errors
    /// When the bridge cannot be made.
    pub fn with_network() -> Result<Lab> {
        let mut lab = Lab::local()?;
        lab.network = Some(Network::create(&lab.record)?);
        Ok(lab)
    }

    /// The lab's network.
    ///
    /// # Errors
    /// When the lab has none.
    pub fn network(&self) -> Result<&Network> {
        self.network
            .as_ref()
            .ok_or_else(|| super::fail("a lab without hosts has no network"))
    }

    /// Switches a machine on. Its private directories are those of its life before, except for an empty `/run`.
    ///
    /// # Errors
    /// When namespaces or mounts are refused.
    pub fn boot(&self, machine: &Machine<'_>) -> Result<Host> {
        Host::start(&self.record, self.network()?, machine)
    }

    /// Takes a machine's power away: first its network, so that nothing tells the others, then every process, then
    /// its namespaces with everything mounted there.
    ///
    /// # Errors
    /// When something of it is left.
    pub fn power_off(&self, host: Host) -> Result<()> {
        let network = self.network()?;
        let [.., last] = host.address.octets();
        network.unplug(last)?;
        let netns = network.namespace(&host.name);
        wait_for("every process of the machine is gone", Duration::from_secs(20), || {
            let left = record::netns_processes(&netns);
            left.iter().try_for_each(|pid| pid.signal(Signal::SIGKILL))?;
            Ok(left.is_empty().then_some(()))
        })?;
        network.remove_namespace(&netns)
    }

    /// Where a machine's private directories lie on the real machine.
    #[must_use]
    pub fn private_dir(&self, name: &str) -> PathBuf {
        self.record.dir().join(name)
    }

    /// Directory of the lab on the real machine.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.record.dir()
    }

    /// What the lab has made so far.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The lab's machines: workers in order, then the manager.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A machine by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts
            .iter()
            .find(|host| host.name == name)
            .ok_or_else(|| super::fail(format!("no host {name}")))
    }

    /// Address of the real machine in the lab's network.
    ///
    /// # Errors
    /// When the lab has no hosts.
    pub fn gateway(&self) -> Result<Ipv4Addr> {
        Ok(self.network()?.address(254))
    }

    /// The real machine, with the lab's tag on its processes.
    #[must_use]
    pub fn this_machine(&self) -> Host {
        Host {
            name: "localhost".into(),
            address: Ipv4Addr::LOCALHOST,
            holder: None,
            tag: self.record.dir().to_path_buf(),
        }
    }

    /// A new directory in the lab.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.record.dir().join(format!("{name}-{number}"));
        fs::create_dir_all(&dir).context(dir.display())?;
        Ok(dir)
    }

    /// Removes everything now and reports what could not be removed, which dropping can only print.
    ///
    /// # Errors
    /// A list of what is left.
    pub fn remove(self) -> Result<()> {
        let result = self.record.remove();
        std::mem::forget(self);
        result
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.record.remove() {
            eprintln!("lab {}: {error}", self.record.dir().display());
        }
    }
}

/// How a machine is made.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Host name.
    pub name: &'a str,
    /// Last byte of its address.
    pub last: u8,
    /// Text of its `/etc/hosts`.
    pub hosts_file: &'a str,
    /// Shell lines that run in its namespaces before it is used.
    pub setup: &'a str,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    holder: Option<Pid>,
    tag: PathBuf,
}

impl Host {
    fn start(record: &Record, network: &Network, machine: &Machine<'_>) -> Result<Host> {
        let Machine { name, last, .. } = *machine;
        let netns = network.attach(record, name, last)?;
        let private = record.dir().join(name);
        let (run, ready) = (private.join("run"), private.join("ready"));
        if ready.exists() {
            fs::remove_file(&ready).context(ready.display())?;
            fs::remove_dir_all(&run).context(run.display())?;
        }
        for (_, own) in PRIVATE {
            fs::create_dir_all(private.join(own)).context(private.display())?;
        }
        fs::create_dir_all(run.join("netns"))?;
        fs::write(private.join("hosts"), machine.hosts_file)?;
        let script = holder_script(&private, machine);
        let background = Cmd::new("ip")
            .args([
                "netns",
                "exec",
                &netns,
                "unshare",
                "--mount",
                "--uts",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", &script])
            .env(TAG, record.dir())
            .background(&private.join("holder.log"))?;
        let made = wait_for(&format!("host {name}"), Duration::from_secs(10), || {
            Ok(ready.exists().then_some(()))
        });
        if let Err(error) = made {
            let log = fs::read_to_string(private.join("holder.log")).unwrap_or_default();
            return Err(super::fail(format!("{error}: {log}")));
        }
        let holder = background.pid;
        // The holder lives until the record is removed.
        Background::leave(background);
        Ok(Host {
            name: name.into(),
            address: network.address(last),
            holder: Some(holder),
            tag: record.dir().to_path_buf(),
        })
    }

    /// Its name, as in its `/etc/hosts`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether it is a machine of the lab and not the real one.
    #[must_use]
    pub fn is_separate(&self) -> bool {
        self.holder.is_some()
    }

    /// A command on this machine.
    pub fn cmd(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        let cmd = match self.holder {
            None => Cmd::new(program),
            Some(holder) => Cmd::new("nsenter")
                .arg(format!("--mount=/proc/{}/ns/mnt", holder.pid))
                .arg(format!("--net=/proc/{}/ns/net", holder.pid))
                .arg(format!("--uts=/proc/{}/ns/uts", holder.pid))
                .arg("--")
                .arg(program),
        };
        cmd.env(TAG, &self.tag)
    }

    /// A command line on this machine, split at blanks.
    pub fn words(&self, line: &str) -> Cmd {
        let mut words = line.split_whitespace();
        self.cmd(words.next().unwrap_or_default()).args(words)
    }

    /// The path by which the real machine sees one of this machine's paths (which must be absolute).
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        match (self.holder, path.strip_prefix("/")) {
            (Some(holder), Ok(inner)) => Path::new("/proc").join(holder.pid.to_string()).join("root").join(inner),
            _ => path.to_path_buf(),
        }
    }
}

/// Shell commands that put the machine's private directories in place and then wait for ever.
fn holder_script(private: &Path, machine: &Machine<'_>) -> String {
    let dir = private.display();
    let name = machine.name;
    let mut script = String::from("set -e\n");
    // The real machine may lack the directories of a package that is not installed.
    for (point, own) in PRIVATE {
        script.push_str(&format!("mkdir -p {point}; mount --bind '{dir}/{own}' {point}\n"));
    }
    script.push_str(&format!("mount --bind '{dir}/hosts' /etc/hosts\nhostname {name}\n"));
    script.push_str(machine.setup);
    script.push_str(&format!("touch '{dir}/ready'\nexec sleep infinity\n"));
    script
}
