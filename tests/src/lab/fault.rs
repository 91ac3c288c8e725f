//! Faults: a cut network, a stopped process, a frozen disk. Each is undone when its guard is dropped.
//!
//! Processes are killed by `process::Pid::signal`; this file holds the faults that must be lifted again.

use super::error::{Result, fail};
use super::host::{Host, Lab};
use super::process::Pid;
use super::record::Item;
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A rule that drops packets. The firewall of the real machine is never touched.
#[derive(Debug)]
pub struct Partition {
    host: Host,
    rules: Vec<Vec<String>>,
}

impl Partition {
    /// Drops what `host` sends to `peer`, and with `both` also what it receives from there.
    ///
    /// # Errors
    /// When `host` is the real machine or the rule is refused.
    pub fn cut(host: &Host, peer: IpAddr, both: bool) -> Result<Partition> {
        let mut rules = vec![rule("OUTPUT", "-d", peer, &[])];
        if both {
            rules.push(rule("INPUT", "-s", peer, &[]));
        }
        Partition::install(host, rules)
    }

    /// Drops what `host` sends to one TCP port of `peer` (a single brick, for instance).
    ///
    /// # Errors
    /// As [`Partition::cut`].
    pub fn cut_port(host: &Host, peer: IpAddr, port: u16) -> Result<Partition> {
        let port = port.to_string();
        Partition::install(host, vec![rule("OUTPUT", "-d", peer, &["-p", "tcp", "--dport", &port])])
    }

    fn install(host: &Host, rules: Vec<Vec<String>>) -> Result<Partition> {
        if !host.is_separate() {
            return Err(fail(
                "a partition needs a lab host: the real machine's firewall is left alone",
            ));
        }
        let mut partition = Partition {
            host: host.clone(),
            rules: Vec::new(),
        };
        for rule in rules {
            partition.iptables("-A", &rule)?;
            partition.rules.push(rule);
        }
        Ok(partition)
    }

    fn iptables(&self, action: &str, rule: &[String]) -> Result<()> {
        self.host
            .cmd("iptables")
            .args(["-w", "5", action])
            .args(rule)
            .run()
            .map(drop)
    }

    /// Lets packets pass again.
    ///
    /// # Errors
    /// When a rule cannot be removed.
    pub fn lift(mut self) -> Result<()> {
        let rules = std::mem::take(&mut self.rules);
        rules.iter().try_for_each(|rule| self.iptables("-D", rule))
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        for rule in std::mem::take(&mut self.rules) {
            if let Err(error) = self.iptables("-D", &rule) {
                eprintln!("partition on {}: {error}", self.host.name());
            }
        }
    }
}

fn rule(chain: &str, side: &str, peer: IpAddr, more: &[&str]) -> Vec<String> {
    let mut words = vec![chain.to_string(), side.to_string(), peer.to_string()];
    words.extend(more.iter().map(|word| (*word).to_string()));
    words.extend(["-j".to_string(), "DROP".to_string()]);
    words
}

/// A process stopped with SIGSTOP: it keeps its sockets and answers nothing.
#[derive(Debug)]
pub struct Stopped(Pid);

impl Stopped {
    /// Stops a process.
    ///
    /// # Errors
    /// When the signal is refused.
    pub fn stop(pid: Pid) -> Result<Stopped> {
        pid.signal(Signal::SIGSTOP)?;
        Ok(Stopped(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = self.0.signal(Signal::SIGCONT) {
            eprintln!("process {}: {error}", self.0.pid);
        }
    }
}

/// A file system that takes no writes: each waits until it is thawed.
#[derive(Debug)]
pub struct Frozen {
    host: Host,
    point: PathBuf,
}

impl Frozen {
    /// Freezes the file system mounted at `point` of `host` (one of the lab's loop mounts).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn freeze(lab: &Lab, host: &Host, point: &Path) -> Result<Frozen> {
        lab.record().add(&Item::Frozen(host.outside(point)))?;
        host.cmd("fsfreeze").arg("-f").arg(point).run()?;
        Ok(Frozen {
            host: host.clone(),
            point: point.into(),
        })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.host.cmd("fsfreeze").arg("-u").arg(&self.point).run() {
            eprintln!("{}: {error}", self.point.display());
        }
    }
}
