//! The lab's network: one bridge, one network namespace per machine, addresses 10.77.N.x.
//!
//! The bridge's name carries N and making a bridge is atomic in the kernel, so several labs never share a network.

use super::error::{Result, fail};
use super::record::{Item, Record};
use super::run::Cmd;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A bridge with its /24 network.
#[derive(Debug, Clone)]
pub struct Network {
    bridge: String,
    number: u8,
}

impl Network {
    /// Makes the first bridge whose name is free.
    ///
    /// # Errors
    /// When none of 200 can be made.
    pub fn create(record: &Record) -> Result<Network> {
        let mut last = None;
        for number in 0..200u8 {
            let bridge = format!("rlbr{number}");
            if std::path::Path::new("/sys/class/net").join(&bridge).exists() {
                continue;
            }
            match Cmd::new("ip").args(["link", "add", &bridge, "type", "bridge"]).run() {
                Ok(_) => {
                    record.add(&Item::Link(bridge.clone()))?;
                    let network = Network { bridge, number };
                    network.bring_up()?;
                    return Ok(network);
                }
                // Another lab was faster, or bridges cannot be made here at all: the last attempt tells.
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| fail("no free bridge name")))
    }

    /// The network's number N in 10.77.N.0/24; 0 for the only lab of a machine.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Address of machine `last`.
    #[must_use]
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, last)
    }

    /// IPv6 address of machine `last`, for those that are given one: fd00:77:N::LAST in a /64 network.
    #[must_use]
    pub fn address6(&self, last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x77, self.number.into(), 0, 0, 0, 0, last.into())
    }

    /// Makes a namespace with an interface `eth0` on the bridge. Returns the namespace's name.
    ///
    /// # Errors
    /// When a step is refused.
    pub fn attach(&self, record: &Record, host: &str, last: u8) -> Result<String> {
        let (netns, outer) = (self.namespace(host), self.port(last));
        // A machine keeps its hardware address when it is switched off and on: its neighbours remember it.
        let mac = format!("02:52:4c:{:02x}:00:{last:02x}", self.number);
        record.add(&Item::Netns(netns.clone()))?;
        // Connections that nobody has closed can keep a deleted namespace, and with it the cable, for minutes.
        record.add(&Item::Link(outer.clone()))?;
        Cmd::new("ip").args(["netns", "add", &netns]).run()?;
        let add = format!("ip link add {outer} type veth peer name eth0 address {mac} netns {netns}");
        Cmd::words(&add).run()?;
        Cmd::words(&format!("ip link set {outer} master {} up", self.bridge)).run()?;
        let inside = format!("ip -n {netns}");
        Cmd::words(&format!("{inside} addr add {}/24 dev eth0", self.address(last))).run()?;
        Cmd::words(&format!("{inside} link set eth0 up")).run()?;
        Cmd::words(&format!("{inside} link set lo up")).run()?;
        Ok(netns)
    }

    /// Name of a machine's network namespace.
    #[must_use]
    pub fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.bridge)
    }

    /// Pulls machine `last`'s plug: from now on it neither sends nor receives anything.
    ///
    /// # Errors
    /// When it is not attached.
    pub fn unplug(&self, last: u8) -> Result<()> {
        Cmd::words(&format!("ip link del {}", self.port(last))).run().map(drop)
    }

    /// Removes a namespace, so that [`Network::attach`] can make it anew.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove_namespace(&self, netns: &str) -> Result<()> {
        Cmd::words(&format!("ip netns del {netns}")).run().map(drop)
    }

    /// The outer end of machine `last`'s cable.
    fn port(&self, last: u8) -> String {
        format!("{}-{last}", self.bridge)
    }

    /// The bridge itself is address .254, so that the outer machine reaches every host.
    fn bring_up(&self) -> Result<()> {
        let own = self.address(254);
        Cmd::words(&format!("ip addr add {own}/24 dev {}", self.bridge)).run()?;
        Cmd::words(&format!("ip link set {} up", self.bridge)).run().map(drop)
    }
}
