//! The machine the package is installed on, and its service as systemd would run it.

use crate::lab::error::{Context, Result, ensure, fail};
use crate::lab::host::Machine;
use crate::lab::process::Pid;
use crate::lab::run::{Background, wait_for};
use crate::lab::{Cmd, Host, Lab, record};
use nix::sys::signal::Signal;
use std::cell::RefCell;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The package on the machine.
pub const PACKAGE: &str = "/root/ringluster.deb";
/// A package with the name of one of the C implementation's, and nothing in it.
pub const C_CLIENT: &str = "/root/glusterfs-client.deb";
/// A start or a reload takes this long at most.
const SERVICE_LIMIT: Duration = Duration::from_secs(60);

/// Boots a machine with a root of its own that shows what this machine has installed, and puts the packages there.
pub fn packaged_machine(lab: &Lab, built: &Path) -> Result<Host> {
    let address = lab.network()?.address(1);
    let hosts_file = format!("127.0.0.1 localhost\n{address} worker1\n");
    let setup = own_root(&lab.private_dir("worker1"), &record::base_directory());
    let machine = Machine {
        name: "worker1",
        last: 1,
        hosts_file: &hosts_file,
        setup: &setup,
    };
    let host = lab.boot(&machine)?;
    fs::copy(built, host.outside(Path::new(PACKAGE))).context(PACKAGE)?;
    let fake = lab.make_dir("c-package")?;
    fs::create_dir_all(fake.join("DEBIAN"))?;
    fs::write(
        fake.join("DEBIAN/control"),
        "Package: glusterfs-client\nVersion: 10.3-5\nArchitecture: all\nMaintainer: Lab <lab@localhost.invalid>\n\
         Description: a name\n",
    )?;
    let packed = fake.join("glusterfs-client.deb");
    Cmd::words("dpkg-deb --root-owner-group --build")
        .arg(&fake)
        .arg(&packed)
        .run()?;
    fs::copy(&packed, host.outside(Path::new(C_CLIENT))).context(C_CLIENT)?;
    Ok(host)
}

/// Shell lines that put the machine's processes below an overlay of this machine's root. The labs' directory stays
/// visible by its name; everything else that is mounted here is not there, except for kernel file systems.
fn own_root(private: &Path, labs: &Path) -> String {
    let (own, labs) = (private.join("root"), labs.display());
    let own = own.display();
    format!(
        "mkdir -p '{own}'; mount -t tmpfs tmpfs '{own}'; mkdir '{own}/upper' '{own}/work' '{own}/root'\n\
         mount -t overlay overlay -o 'lowerdir=/,upperdir={own}/upper,workdir={own}/work' '{own}/root'\n\
         cd '{own}/root'\n\
         for point in proc sys dev; do mount --rbind /$point $point; done\n\
         mount -t tmpfs tmpfs run; mkdir -p '.{labs}'; mount --bind '{labs}' '.{labs}'\n\
         cp '{private}/hosts' etc/hosts; rm -rf var/lib/glusterd var/log/glusterfs; mkdir -p var/lib/glusterd; for n in 1 2 3 4 5 6; do mkdir -p bricks/$n; done\n\
         mkdir -p .before; pivot_root . .before; cd /; umount -l /.before\n",
        private = private.display()
    )
}

/// glusterd, started by the command line of its unit, and what it told the service manager.
#[derive(Debug)]
pub struct Service {
    process: RefCell<Background>,
    manager: UnixDatagram,
}

impl Service {
    /// Starts it and waits until it says that it is ready.
    pub fn start(lab: &Lab, host: &Host) -> Result<Service> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = lab.dir().join(format!("notify-{number}"));
        let manager = UnixDatagram::bind(&path).context(path.display())?;
        manager.set_read_timeout(Some(SERVICE_LIMIT))?;
        let command = host.words(&command_line(host)?).env("NOTIFY_SOCKET", &path);
        let process = command.background(&lab.dir().join(format!("service-{number}.log")))?;
        let service = Service {
            process: RefCell::new(process),
            manager,
        };
        service.expect("READY=1")?;
        ensure(
            host.words("gluster volume list").succeeds(),
            "ready, but the command line gets no answer",
        )?;
        let environment = service.pid().env_value("NOTIFY_SOCKET");
        ensure(environment.is_some(), "the daemon was started in another way")?;
        Ok(service)
    }

    /// The daemon's process.
    pub fn pid(&self) -> Pid {
        self.process.borrow().pid
    }

    /// What `systemctl reload` does.
    pub fn reload(&self) -> Result<()> {
        self.pid().signal(Signal::SIGHUP)?;
        self.has_reloaded()
    }

    /// Waits for the messages of a reload that somebody else has asked for.
    pub fn has_reloaded(&self) -> Result<()> {
        let said = self.expect("RELOADING=1")?;
        ensure(
            said.lines().any(|line| line.starts_with("MONOTONIC_USEC=")),
            format!("a reload without its moment: {said}"),
        )?;
        self.expect("READY=1").map(drop)
    }

    /// What `systemctl stop` does with `KillMode=process`.
    pub fn stop(self) -> Result<()> {
        self.pid().signal(Signal::SIGTERM)?;
        self.expect("STOPPING=1")?;
        wait_for("the daemon has ended well", SERVICE_LIMIT, || {
            match self.process.borrow_mut().ended()? {
                Some(status) if status.success() => Ok(Some(())),
                Some(status) => Err(fail(format!("it ended with {status}"))),
                None => Ok(None),
            }
        })
    }

    /// Kills it with SIGKILL: it cannot say anything.
    pub fn kill(self) -> Result<()> {
        let pid = self.pid();
        // Waits for it, too: this process is its parent.
        self.process.borrow_mut().kill();
        ensure(!pid.alive(), "the daemon survives SIGKILL")
    }

    /// The next message, which must contain this line. Only the daemon may speak: not a brick.
    fn expect(&self, line: &str) -> Result<String> {
        let mut bytes = [0; 1024];
        let length = self.manager.recv(&mut bytes).context(format!("waiting for {line}"))?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        ensure(
            text.lines().any(|said| said == line),
            format!("{text:?} instead of {line}"),
        )?;
        Ok(text)
    }
}

/// `ExecStart` of the installed unit, its variables replaced as systemd does.
fn command_line(host: &Host) -> Result<String> {
    let unit = host.outside(Path::new("/lib/systemd/system/glusterd.service"));
    let text = fs::read_to_string(&unit).context(unit.display())?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    ensure(value("Type=") == Some("notify"), "the unit waits for no message")?;
    ensure(
        value("KillMode=") == Some("process"),
        "the unit's stop would reach the bricks",
    )?;
    let level = value("Environment=LOG_LEVEL=").ok_or_else(|| fail("the unit sets no LOG_LEVEL"))?;
    let command = value("ExecStart=").ok_or_else(|| fail("the unit starts nothing"))?;
    Ok(command.replace("${LOG_LEVEL}", level).replace("$GLUSTERD_OPTIONS", ""))
}
