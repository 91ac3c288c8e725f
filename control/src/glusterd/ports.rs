//! Ports of bricks: which port a new brick gets, and which brick signed in on which (wire-protocol.md 4.4). Memory only;
//! bricks sign in again after a restart of the daemon.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::TcpListener;

/// Tries to find a free port before giving up.
const TRIES: usize = 200;

/// A brick that signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SignedIn {
    port: u16,
    pid: i32,
}

/// The registry behind the Portmap program.
#[derive(Debug, Default)]
pub struct Portmap {
    bricks: RefCell<BTreeMap<String, SignedIn>>,
}

impl Portmap {
    /// A brick listens. A later sign-in of the same brick replaces the earlier one.
    pub fn sign_in(&self, brick: &str, port: u16, pid: i32) {
        self.bricks
            .borrow_mut()
            .insert(brick.to_string(), SignedIn { port, pid });
    }

    /// A brick ends. Only the port that is registered counts: a late sign-out must not remove a newer process.
    /// Answers whether it was registered.
    pub fn sign_out(&self, brick: &str, port: u16) -> bool {
        let mut bricks = self.bricks.borrow_mut();
        match bricks.get(brick) {
            Some(entry) if entry.port == port => bricks.remove(brick).is_some(),
            _ => false,
        }
    }

    /// A brick's process is gone, whatever it had registered.
    pub fn forget(&self, brick: &str) {
        self.bricks.borrow_mut().remove(brick);
    }

    /// The port of a brick that has signed in.
    pub fn port_of(&self, brick: &str) -> Option<u16> {
        self.bricks.borrow().get(brick).map(|entry| entry.port)
    }

    /// A random port of the range that no signed-in brick has and nobody listens on.
    ///
    /// # Errors
    /// A text saying that none was found, or that the system has no random numbers.
    pub fn pick(&self, base: u16, max: u16) -> Result<u16, String> {
        let span = u64::from(max.saturating_sub(base)) + 1;
        for _ in 0..TRIES {
            let mut random = [0; 8];
            datapath::sys::clock::fill_random(&mut random).map_err(|e| format!("no random number: {e}"))?;
            let offset = u64::from_ne_bytes(random) % span;
            let port = base.saturating_add(u16::try_from(offset).unwrap_or(0));
            let leased = self.bricks.borrow().values().any(|entry| entry.port == port);
            if !leased && TcpListener::bind(("0.0.0.0", port)).is_ok() {
                return Ok(port);
            }
        }
        Err(format!(
            "no free port between {base} and {max} was found in {TRIES} tries"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bricks_sign_in_and_out() {
        let map = Portmap::default();
        assert_eq!(map.port_of("/b"), None);
        map.sign_in("/b", 50_000, 7);
        map.sign_in("/b", 50_001, 8);
        assert_eq!(map.port_of("/b"), Some(50_001));
        assert!(!map.sign_out("/b", 50_000));
        assert_eq!(map.port_of("/b"), Some(50_001));
        assert!(map.sign_out("/b", 50_001));
        assert_eq!(map.port_of("/b"), None);
    }

    #[test]
    fn a_picked_port_is_in_the_range_and_free() {
        let map = Portmap::default();
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(map.pick(port, port).unwrap_err().contains("no free port"));
        let picked = map.pick(49_152, 60_999).unwrap();
        assert!((49_152..=60_999).contains(&picked));
    }
}
