//! Supplementary groups of the processes that use the mount.
//!
//! A FUSE request carries one group id; the bricks check permissions with all of them, so they are read from
//! `/proc/PID/status` and remembered for `gid-timeout` (wire-protocol.md 7.2), like the C client does. Root needs none.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::request::Who;

/// Entries beyond which the cache drops what is out of date (and if nothing is, everything).
const MANY: usize = 4096;

#[derive(Debug)]
struct Known {
    groups: Rc<[u32]>,
    until: Instant,
}

/// The groups of recent callers, per core.
#[derive(Debug)]
pub struct GroupCache {
    ttl: Duration,
    none: Rc<[u32]>,
    known: HashMap<Who, Known>,
}

impl std::hash::Hash for Who {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.uid, self.gid, self.pid).hash(state);
    }
}

impl GroupCache {
    /// A cache whose entries live for `ttl`; zero reads /proc every time.
    pub fn new(ttl: Duration) -> GroupCache {
        GroupCache {
            ttl,
            none: Rc::from([]),
            known: HashMap::new(),
        }
    }

    /// The groups of a caller: none for root, for the kernel's own requests, and for a process that is gone.
    pub fn of(&mut self, who: Who) -> Rc<[u32]> {
        if who.uid == 0 || who.pid == 0 {
            return Rc::clone(&self.none);
        }
        let now = Instant::now();
        if let Some(known) = self.known.get(&who)
            && known.until > now
        {
            return Rc::clone(&known.groups);
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", who.pid)).unwrap_or_default();
        let groups: Rc<[u32]> = parse_groups(&status).into();
        if self.known.len() >= MANY {
            self.known.retain(|_, k| k.until > now);
            if self.known.len() >= MANY {
                self.known.clear();
            }
        }
        if !self.ttl.is_zero() {
            self.known.insert(
                who,
                Known {
                    groups: Rc::clone(&groups),
                    until: now + self.ttl,
                },
            );
        }
        groups
    }
}

/// The numbers of the `Groups:` line; empty when there is none.
fn parse_groups(status: &str) -> Vec<u32> {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("Groups:"))
        .unwrap_or_default();
    line.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_line_is_found_among_the_others() {
        let text = "Name:\tcat\nUid:\t5\t5\t5\t5\nGroups:\t4 24 1000 \nNStgid:\t1\n";
        assert_eq!(parse_groups(text), [4, 24, 1000]);
        assert!(parse_groups("Groups:\t\n").is_empty());
        assert!(parse_groups("").is_empty());
    }

    #[test]
    fn root_and_vanished_processes_have_none() {
        let mut cache = GroupCache::new(Duration::from_secs(300));
        assert!(cache.of(Who { uid: 0, gid: 0, pid: 1 }).is_empty());
        assert!(
            cache
                .of(Who {
                    uid: 5,
                    gid: 5,
                    pid: u32::MAX
                })
                .is_empty()
        );
    }

    #[test]
    fn an_answer_is_reused_while_it_is_fresh() {
        let mut cache = GroupCache::new(Duration::from_secs(300));
        let who = Who {
            uid: 5,
            gid: 5,
            pid: std::process::id(),
        };
        let first = cache.of(who);
        assert!(Rc::ptr_eq(&first, &cache.of(who)));
        let mut uncached = GroupCache::new(Duration::ZERO);
        let first = uncached.of(who);
        assert!(!Rc::ptr_eq(&first, &uncached.of(who)) || first.is_empty());
    }
}
