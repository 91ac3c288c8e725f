//! One machine of the six-server lab: what it is made of, how it is switched on, and which processes run on it.

use crate::lab::binaries;
use crate::lab::cluster::Flavor;
use crate::lab::error::{Context, Result, fail};
use crate::lab::host::{Host, Lab, Machine};
use crate::lab::mounts;
use crate::lab::process::Pid;
use crate::lab::record;
use crate::lab::run::wait_for;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{MANAGER, VOLUME, WORKERS, worker};

/// Where the user mounts the volume.
pub const DATA: &str = "/mnt/GlusterFS/Docker/Swarm/0001/data";
/// Where a worker's disk is mounted.
pub const DISK: &str = "/mnt/bricks";
/// A worker's brick.
pub const BRICK: &str = "/mnt/bricks/0001";
/// What systemd gives a unit.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `glusterd.vol` of our machines: the packaged file, and a killed brick stays dead until a test brings it back (as
/// the C implementation leaves it).
const DAEMON_VOLFILE: &str = "volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.socket.listen-port 24007
    option max-port 60999
    option brick-restart-delay 0
";

/// What lets a management daemon take IPv6 connections; volumes made by it have the option of the same name.
const INET6: &str = "    option transport.address-family inet6\n";

/// The addresses that machines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// 10.77.N.x, and names for them.
    V4,
    /// Also fd00:77:N::x. Beside `workerX` (IPv4) there are the names `workerX-v6` (IPv6) and `workerX-both`; the
    /// management daemons are told to take IPv6.
    Both,
}

/// Kinds of processes a fault can be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `glusterd`.
    Daemon,
    /// `glusterfsd`.
    Brick,
    /// The self-heal daemon.
    Healer,
    /// The FUSE client of the volume.
    Client,
}

impl Role {
    /// Whether a command line is of this kind; both implementations start their processes with the same one.
    fn matches(self, command: &str) -> bool {
        let program = command.split(' ').next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        match self {
            Role::Daemon => name == "glusterd",
            Role::Brick => command.contains("--brick-name"),
            Role::Healer => command.contains("glustershd"),
            Role::Client => command.ends_with(DATA) && name.starts_with("glusterfs"),
        }
    }
}

/// One machine, switched on or off.
#[derive(Debug)]
pub struct Node {
    number: usize,
    name: String,
    flavor: Flavor,
    addressing: Addressing,
    host: Option<Host>,
}

impl Node {
    /// Prepares a machine's private files; it is off.
    ///
    /// # Errors
    /// When they cannot be written or our programs are missing.
    pub fn make(lab: &Lab, flavor: Flavor, addressing: Addressing, number: usize) -> Result<Node> {
        let name = if number == MANAGER {
            "manager".into()
        } else {
            worker(number)
        };
        let node = Node {
            number,
            name,
            flavor,
            addressing,
            host: None,
        };
        let private = lab.private_dir(&node.name);
        let mount = private.join("mnt");
        for dir in [DATA, DISK] {
            let below = Path::new(dir).strip_prefix("/mnt").context(dir)?;
            fs::create_dir_all(mount.join(below))?;
        }
        fs::write(private.join("fstab"), node.fstab())?;
        if flavor == Flavor::Ringluster {
            install_ours(&private)?;
        }
        if node.has_own_configuration() {
            let volfile = match addressing {
                Addressing::V4 => format!("{DAEMON_VOLFILE}end-volume\n"),
                Addressing::Both => format!("{DAEMON_VOLFILE}{INET6}end-volume\n"),
            };
            let etc = private.join("etc");
            fs::create_dir_all(&etc)?;
            fs::write(etc.join("glusterd.vol"), volfile).context("glusterd.vol")?;
        }
        Ok(node)
    }

    /// Whether its `/etc/glusterfs` is not the real machine's.
    fn has_own_configuration(&self) -> bool {
        self.flavor == Flavor::Ringluster || self.addressing == Addressing::Both
    }

    /// The user's line: workers ask themselves, the manager the first worker.
    fn fstab(&self) -> String {
        let server = if self.number == MANAGER { "worker1" } else { "localhost" };
        let backups: Vec<String> = (2..=WORKERS).map(worker).collect();
        format!(
            "{server}:{VOLUME} {DATA} glusterfs defaults,_netdev,backupvolfile-server={} 0 0\n",
            backups.join(":")
        )
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Last byte of its address.
    #[must_use]
    pub fn last(&self) -> u8 {
        address_of(self.number)
    }

    /// The image of its disk.
    #[must_use]
    pub fn image(&self, lab: &Lab) -> PathBuf {
        lab.private_dir(&self.name).join("disk.img")
    }

    /// The machine.
    ///
    /// # Errors
    /// When it is switched off.
    pub fn host(&self) -> Result<&Host> {
        self.host
            .as_ref()
            .ok_or_else(|| fail(format!("{} is switched off", self.name)))
    }

    /// The machine, which counts as switched off from now on.
    ///
    /// # Errors
    /// When it is switched off already.
    pub fn take_host(&mut self) -> Result<Host> {
        self.host
            .take()
            .ok_or_else(|| fail(format!("{} is switched off", self.name)))
    }

    /// Switches it on and mounts its disk.
    ///
    /// # Errors
    /// When it is on already or a step fails.
    pub fn switch_on(&mut self, lab: &Lab) -> Result<()> {
        if self.host.is_some() {
            return Err(fail(format!("{} is switched on already", self.name)));
        }
        let hosts_file = hosts_file(lab, self.addressing)?;
        let machine = Machine {
            name: &self.name,
            last: self.last(),
            hosts_file: &hosts_file,
            setup: &self.setup(lab)?,
        };
        let host = lab.boot(&machine)?;
        if self.number != MANAGER {
            self.mount_disk(lab, &host)?;
        }
        self.host = Some(host);
        Ok(())
    }

    /// Shell lines that give it its own `/mnt`, `/etc/fstab` and, for our flavour, our programs under their installed
    /// names. `/usr/sbin` is covered as a whole because some of the C implementation's names are links to one file.
    fn setup(&self, lab: &Lab) -> Result<String> {
        let private = lab.private_dir(&self.name);
        let dir = private.display();
        let mut lines = format!(
            "mount --bind '{dir}/mnt' /mnt\n[ -e /etc/fstab ] || : > /etc/fstab\nmount --bind '{dir}/fstab' /etc/fstab\n"
        );
        if self.has_own_configuration() {
            lines.push_str(&format!(
                "mkdir -p /etc/glusterfs\nmount --bind '{dir}/etc' /etc/glusterfs\n"
            ));
        }
        if self.flavor == Flavor::Ringluster {
            lines.push_str(&format!(
                "mount -t overlay programs -o 'lowerdir={dir}/sbin:/usr/sbin' /usr/sbin\n"
            ));
        }
        if self.addressing == Addressing::Both {
            let address = lab.network()?.address6(self.last());
            lines.push_str(&format!("ip addr add {address}/64 dev eth0 nodad\n"));
        }
        Ok(lines)
    }

    fn mount_disk(&self, lab: &Lab, host: &Host) -> Result<()> {
        let image = self.image(lab);
        // The mount of the life before goes away a little after its namespace.
        wait_for("the disk is free", Duration::from_secs(60), || {
            Ok(mounts::loop_devices_of(&image)?.is_empty().then_some(()))
        })?;
        host.words("mount -o loop,noatime").arg(&image).arg(DISK).run()?;
        let brick = host.outside(Path::new(BRICK));
        fs::create_dir_all(&brick).context(brick.display())
    }

    /// Its processes of one kind.
    #[must_use]
    pub fn processes(&self, lab: &Lab, role: Role) -> Vec<Pid> {
        let Ok(network) = lab.network() else { return Vec::new() };
        let mut found = record::netns_processes(&network.namespace(&self.name));
        found.retain(|pid| pid.alive() && role.matches(&pid.command()));
        found
    }
}

/// Last byte of a machine's address.
fn address_of(number: usize) -> u8 {
    if number == MANAGER {
        return 100;
    }
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Every machine knows every other by name, as in the user's `/etc/hosts`.
fn hosts_file(lab: &Lab, addressing: Addressing) -> Result<String> {
    let network = lab.network()?;
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for number in 1..=WORKERS {
        let (name, last) = (worker(number), address_of(number));
        let both = match addressing {
            Addressing::V4 => String::new(),
            Addressing::Both => {
                text.push_str(&format!("{} {name}-v6 {name}-both\n", network.address6(last)));
                format!(" {name}-both")
            }
        };
        text.push_str(&format!("{} {name}{both}\n", network.address(last)));
    }
    text.push_str(&format!("{} manager\n", network.address(address_of(MANAGER))));
    Ok(text)
}

/// Links to our programs under the names of an installed system.
fn install_ours(private: &Path) -> Result<()> {
    let programs = private.join("sbin");
    fs::create_dir_all(&programs)?;
    for name in binaries::OURS {
        let installed = if name == "mount-glusterfs" {
            "mount.glusterfs"
        } else {
            name
        };
        symlink(binaries::our(name)?, programs.join(installed)).context(installed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_told_apart() {
        let lines = [
            (
                "/usr/sbin/glusterd -p /var/run/glusterd.pid --log-level INFO",
                Role::Daemon,
            ),
            (
                "/usr/sbin/glusterfsd -s worker1 --volfile-id 0001.worker1.mnt-bricks-0001 --brick-name /mnt/bricks/0001",
                Role::Brick,
            ),
            (
                "/usr/sbin/glusterfs -s localhost --volfile-id shd/0001 -p /var/run/gluster/shd/0001-shd.pid -l /var/log/glusterfs/glustershd.log",
                Role::Healer,
            ),
            (
                "/usr/sbin/glusterfs --process-name fuse --volfile-server=localhost --volfile-id=0001 /mnt/GlusterFS/Docker/Swarm/0001/data",
                Role::Client,
            ),
        ];
        for (line, wanted) in lines {
            for role in [Role::Daemon, Role::Brick, Role::Healer, Role::Client] {
                assert_eq!(role.matches(line), role == wanted, "{line}");
            }
        }
        assert!(!Role::Client.matches("findmnt -n -o FSTYPE /mnt/GlusterFS/Docker/Swarm/0001/data"));
    }
}
