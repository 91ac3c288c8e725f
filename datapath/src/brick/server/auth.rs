//! Who may connect to a brick: the addr and login modules (wire-protocol.md 4.5).
//!
//! Pure decisions over the options and what the client sent; nothing here resolves names or keeps state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Source ports below this one are privileged.
const PRIVILEGED_PORTS: u16 = 1024;

/// The authentication options of protocol/server for one brick.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// `auth.addr.BRICK.allow`: patterns of addresses; `*` allows everybody.
    pub allow: Vec<String>,
    /// `auth.addr.BRICK.reject`.
    pub reject: Vec<String>,
    /// `auth.login.BRICK.allow`: users with access.
    pub login_allow: BTreeSet<String>,
    /// `auth.login.USER.password`.
    pub passwords: BTreeMap<String, String>,
    /// `rpc-auth-allow-insecure`: accept source ports of 1024 and above.
    pub allow_insecure: bool,
    /// `strict-auth-accept`: refuse clients that send no username.
    pub strict: bool,
}

impl Default for AuthConfig {
    fn default() -> AuthConfig {
        AuthConfig {
            allow: vec!["*".into()],
            reject: Vec::new(),
            login_allow: BTreeSet::new(),
            passwords: BTreeMap::new(),
            allow_insecure: true,
            strict: false,
        }
    }
}

/// Where a client comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A TCP connection.
    Inet(IpAddr, u16),
    /// A socket of this machine.
    Local,
}

/// What a client said of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Login<'a> {
    /// `username`.
    pub user: Option<&'a str>,
    /// `password`.
    pub password: Option<&'a str>,
}

/// An authenticated client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// It knew the password of the trusted volfile.
    pub trusted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Accept,
    Reject,
    DontCare,
}

impl AuthConfig {
    /// Asks both modules: one rejection rejects, else one acceptance accepts, else the client is rejected.
    pub fn check(&self, peer: Peer, login: Login<'_>) -> Option<Accepted> {
        let (addr, user) = (self.addr(peer), self.login(login));
        if addr == Verdict::Reject || user == Verdict::Reject {
            return None;
        }
        let accepted = addr == Verdict::Accept || user == Verdict::Accept;
        accepted.then_some(Accepted {
            trusted: user == Verdict::Accept,
        })
    }

    fn addr(&self, peer: Peer) -> Verdict {
        let (text, port) = match peer {
            Peer::Inet(ip, port) => (plain_ip(ip).to_string(), port),
            // A local socket has no address; it is as near as a client can be.
            Peer::Local => ("127.0.0.1".to_string(), 0),
        };
        if !self.allow_insecure && port >= PRIVILEGED_PORTS {
            return Verdict::Reject;
        }
        let matches = |list: &[String]| list.iter().any(|p| address_matches(p, &text));
        match () {
            () if matches(&self.reject) => Verdict::Reject,
            () if matches(&self.allow) => Verdict::Accept,
            () => Verdict::DontCare,
        }
    }

    fn login(&self, login: Login<'_>) -> Verdict {
        let Some(user) = login.user else {
            return if self.strict {
                Verdict::Reject
            } else {
                Verdict::DontCare
            };
        };
        if !self.login_allow.contains(user) {
            return Verdict::DontCare;
        }
        let known = self.passwords.get(user);
        match login.password.is_some() && known.map(String::as_str) == login.password {
            true => Verdict::Accept,
            false => Verdict::Reject,
        }
    }
}

/// An IPv4 address that came in over an IPv6 socket is still that IPv4 address.
fn plain_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        v4 => v4,
    }
}

/// Whether an address matches a pattern: a network `a.b.c.d/len`, a subdirectory list `/dir(pattern|pattern)` (any
/// of its patterns), or a shell pattern with `*` and `?`. A leading `!` negates.
fn address_matches(pattern: &str, address: &str) -> bool {
    let pattern = pattern.trim();
    if let Some(rest) = pattern.strip_prefix('!') {
        return !address_matches(rest, address);
    }
    if let Some(rest) = pattern.strip_prefix('/') {
        let Some((_, list)) = rest.split_once('(') else {
            return false;
        };
        return list
            .trim_end_matches(')')
            .split('|')
            .any(|p| address_matches(p, address));
    }
    if let Some((network, length)) = pattern.split_once('/') {
        return in_network(network, length, address);
    }
    glob(pattern.as_bytes(), address.as_bytes())
}

fn in_network(network: &str, length: &str, address: &str) -> bool {
    let (Ok(network), Ok(length), Ok(address)) = (
        network.parse::<IpAddr>(),
        length.parse::<u32>(),
        address.parse::<IpAddr>(),
    ) else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            length <= 32 && (u32::from(n) ^ u32::from(a)).checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            length <= 128 && (u128::from(n) ^ u128::from(a)).checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Shell matching with `*` and `?`. Iterative with one point of return: no pattern makes it slow.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, at)) => {
                    p = after;
                    t = at + 1;
                    star = Some((after, at + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer::Inet(ip.parse().unwrap(), 49151)
    }

    fn trusted() -> AuthConfig {
        AuthConfig {
            login_allow: BTreeSet::from(["u".to_string()]),
            passwords: BTreeMap::from([("u".to_string(), "p".to_string())]),
            ..AuthConfig::default()
        }
    }

    fn login<'a>(user: &'a str, password: &'a str) -> Login<'a> {
        Login {
            user: Some(user),
            password: Some(password),
        }
    }

    #[test]
    fn everybody_may_by_default_but_is_not_trusted() {
        let config = AuthConfig::default();
        assert_eq!(
            config.check(peer("10.0.0.1"), Login::default()),
            Some(Accepted { trusted: false })
        );
        assert_eq!(
            config.check(Peer::Local, Login::default()),
            Some(Accepted { trusted: false })
        );
    }

    #[test]
    fn the_password_of_a_listed_user_decides() {
        let config = trusted();
        assert_eq!(
            config.check(peer("10.0.0.1"), login("u", "p")),
            Some(Accepted { trusted: true })
        );
        assert_eq!(config.check(peer("10.0.0.1"), login("u", "wrong")), None);
        assert_eq!(
            config.check(
                peer("10.0.0.1"),
                Login {
                    user: Some("u"),
                    password: None
                }
            ),
            None
        );
        assert_eq!(
            config.check(peer("10.0.0.1"), login("x", "y")),
            Some(Accepted { trusted: false }),
            "don't care"
        );
    }

    #[test]
    fn addresses_are_allowed_and_rejected() {
        let config = AuthConfig {
            allow: vec!["10.1.*".into(), "192.168.7.0/24".into()],
            ..trusted()
        };
        assert!(config.check(peer("10.1.2.3"), Login::default()).is_some());
        assert!(config.check(peer("192.168.7.200"), Login::default()).is_some());
        assert!(config.check(peer("::ffff:10.1.2.3"), Login::default()).is_some());
        assert!(config.check(peer("10.2.2.3"), Login::default()).is_none());
        assert!(
            config.check(peer("10.2.2.3"), login("u", "p")).is_some(),
            "the login alone is enough"
        );
        let config = AuthConfig {
            reject: vec!["10.1.2.3".into()],
            ..trusted()
        };
        assert!(
            config.check(peer("10.1.2.3"), login("u", "p")).is_none(),
            "a rejection always wins"
        );
    }

    #[test]
    fn unprivileged_ports_can_be_refused() {
        let config = AuthConfig {
            allow_insecure: false,
            ..AuthConfig::default()
        };
        let ip = "10.0.0.1".parse().unwrap();
        assert!(config.check(Peer::Inet(ip, 1023), Login::default()).is_some());
        assert!(config.check(Peer::Inet(ip, 1024), Login::default()).is_none());
    }

    #[test]
    fn strict_wants_a_username() {
        let config = AuthConfig {
            strict: true,
            ..trusted()
        };
        assert!(config.check(peer("10.0.0.1"), Login::default()).is_none());
        assert!(config.check(peer("10.0.0.1"), login("u", "p")).is_some());
    }

    #[test]
    fn patterns() {
        for (pattern, address, expected) in [
            ("*", "1.2.3.4", true),
            ("10.?.0.*", "10.7.0.99", true),
            ("10.?.0.*", "10.77.0.99", false),
            ("!10.*", "11.0.0.1", true),
            ("/sub(10.0.0.1|10.0.0.2)", "10.0.0.2", true),
            ("/sub(10.0.0.1|10.0.0.2)", "10.0.0.3", false),
            ("/sub", "10.0.0.3", false),
            ("0.0.0.0/0", "9.9.9.9", true),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "2001::1", false),
            ("10.0.0.0/99", "10.0.0.1", false),
            ("a*b*c*d", "aXbXcX", false),
        ] {
            assert_eq!(address_matches(pattern, address), expected, "{pattern} {address}");
        }
    }
}
