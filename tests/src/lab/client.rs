//! Mounting a volume with either client and taking the mount away again.

use super::binaries;
use super::cluster::Flavor;
use super::error::{Context, Result, fail};
use super::host::Host;
use super::run::Cmd;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A mount takes this long at most; it answers when the command returns.
const MOUNT_LIMIT: Duration = Duration::from_secs(60);

/// What to mount, and with which client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Whose client program.
    pub flavor: Flavor,
    /// Server that gives the volfile.
    pub server: String,
    /// Its management port.
    pub port: u16,
    /// Volume name.
    pub volume: String,
    /// Log file of the client.
    pub log: PathBuf,
    /// Further `-o` options.
    pub options: Vec<String>,
}

impl Client {
    /// The mount command, as `mount -t glusterfs` would call it.
    ///
    /// # Errors
    /// When our client has not been built.
    pub fn command(&self, host: &Host, at: &Path) -> Result<Cmd> {
        let program = match self.flavor {
            Flavor::Ringluster => binaries::our("mount-glusterfs")?,
            Flavor::C => PathBuf::from("/sbin/mount.glusterfs"),
        };
        let mut options = vec![
            format!("server-port={}", self.port),
            format!("log-file={}", self.log.display()),
        ];
        options.extend(self.options.iter().cloned());
        let source = format!("{}:/{}", self.server, self.volume);
        let cmd = host
            .cmd(program)
            .arg(source)
            .arg(at)
            .arg("-o")
            .arg(options.join(","))
            .limit(MOUNT_LIMIT);
        match self.flavor {
            Flavor::Ringluster => Ok(cmd.env("PATH", binaries::search_path()?)),
            Flavor::C => Ok(cmd),
        }
    }

    /// Mounts at `at` on `host`, making the directory.
    ///
    /// # Errors
    /// What the mount command said, with the end of the client's log.
    pub fn mount(&self, host: &Host, at: &Path) -> Result<Mount> {
        fs::create_dir_all(host.outside(at)).context(at.display())?;
        let done = self.command(host, at)?.output()?;
        if !done.status.success() {
            let log = fs::read_to_string(host.outside(&self.log)).unwrap_or_default();
            return Err(fail(format!(
                "mount at {} failed: {}\n{}",
                at.display(),
                done.all(),
                super::run::tail(&log)
            )));
        }
        let mount = Mount {
            host: host.clone(),
            at: at.into(),
            log: self.log.clone(),
            mounted: true,
        };
        mount.check_type()?;
        Ok(mount)
    }
}

/// A mounted volume; dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    host: Host,
    at: PathBuf,
    log: PathBuf,
    mounted: bool,
}

impl Mount {
    /// The mount's path for this process.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.host.outside(&self.at)
    }

    /// The mount's path for commands on its host.
    #[must_use]
    pub fn inside(&self) -> &Path {
        &self.at
    }

    /// The host it is mounted on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The client's log file, as this process sees it.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.host.outside(&self.log)
    }

    /// Unmounts now.
    ///
    /// # Errors
    /// When the mount is busy or already gone.
    pub fn unmount(mut self) -> Result<()> {
        self.mounted = false;
        self.host
            .cmd("umount")
            .arg(&self.at)
            .limit(Duration::from_secs(30))
            .run()
            .map(drop)
    }

    fn check_type(&self) -> Result<()> {
        let table = self.host.cmd("cat").arg("/proc/self/mounts").run()?;
        let at = self.at.display().to_string();
        let line = table.lines().rfind(|line| line.split(' ').nth(1) == Some(&at));
        match line {
            Some(line) if line.split(' ').nth(2) == Some("fuse.glusterfs") => Ok(()),
            Some(line) => Err(fail(format!("not mounted as fuse.glusterfs: {line}"))),
            None => Err(fail(format!("the mount command succeeded, but {at} is not mounted"))),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.mounted {
            return;
        }
        let limit = Duration::from_secs(10);
        if self.host.cmd("umount").arg(&self.at).limit(limit).succeeds() {
            return;
        }
        if let Err(error) = self.host.cmd("umount").arg("-l").arg(&self.at).limit(limit).run() {
            eprintln!("{}: {error}", self.at.display());
        }
    }
}
