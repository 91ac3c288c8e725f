//! Lists of volfile servers as users write them.
//!
//! GlusterFS takes commas in the mount's device and colons in `backup-volfile-servers`, and nothing but one name in
//! `backupvolfile-server` and `--volfile-server` (wire-protocol.md 7.1). Here every list may use either, everywhere.
//! Pure functions.

use std::net::Ipv6Addr;

/// Longest host name of the DNS.
const LONGEST_NAME: usize = 255;

/// The servers of a list separated by commas, colons or both. An IPv6 address stands alone between commas or, among
/// colons, in brackets.
///
/// # Errors
/// A text that names the part that cannot be a host.
pub fn split(list: &str) -> Result<Vec<String>, String> {
    // mount(8) lets users quote a value that has commas and leaves the quotes in.
    let list = list.replace(['"', '\''], "");
    let mut servers = Vec::new();
    for part in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if part.parse::<Ipv6Addr>().is_ok() {
            servers.push(part.to_owned());
        } else {
            split_colons(part, &mut servers)?;
        }
    }
    if servers.is_empty() {
        Err(format!("no server in the list \"{list}\""))
    } else {
        Ok(servers)
    }
}

fn split_colons(part: &str, servers: &mut Vec<String>) -> Result<(), String> {
    let mut rest = part;
    while !rest.is_empty() {
        let (host, tail) = if let Some(inside) = rest.strip_prefix('[') {
            let (host, tail) = inside
                .split_once(']')
                .ok_or_else(|| format!("\"{part}\": [ without ]"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(format!("\"{host}\" in brackets is not an IPv6 address"));
            }
            (host, tail.strip_prefix(':').unwrap_or(tail))
        } else {
            rest.split_once(':').unwrap_or((rest, ""))
        };
        if !host.is_empty() {
            check_host(host)?;
            servers.push(host.to_owned());
        }
        rest = tail;
    }
    Ok(())
}

/// Whether a text can be a host name or address.
pub fn is_host(host: &str) -> bool {
    check_host(host).is_ok()
}

fn check_host(host: &str) -> Result<(), String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    if host.len() > LONGEST_NAME {
        return Err(format!("server name of {} characters is too long", host.len()));
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !host.chars().all(fine) || !host.chars().any(|c| c.is_ascii_alphabetic()) || host.starts_with('-') {
        return Err(format!("\"{host}\" is not a host name or address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_and_commas_both_separate() {
        for list in ["w2:w3:w4", "w2,w3,w4", "w2:w3,w4", "\"w2,w3\",w4", " w2 , w3:w4:"] {
            assert_eq!(split(list).unwrap_or_default(), ["w2", "w3", "w4"], "{list}");
        }
        assert_eq!(split("10.0.0.1:w2").unwrap(), ["10.0.0.1", "w2"]);
    }

    #[test]
    fn ipv6_addresses_stay_whole() {
        assert_eq!(split("fd00::1").unwrap(), ["fd00::1"]);
        assert_eq!(split("fd00::1,w2:w3").unwrap(), ["fd00::1", "w2", "w3"]);
        assert_eq!(split("[fd00::1]:w2:[::1]").unwrap(), ["fd00::1", "w2", "::1"]);
    }

    #[test]
    fn what_cannot_be_a_host_is_named() {
        assert_eq!(
            split("w1:24007").unwrap_err(),
            "\"24007\" is not a host name or address"
        );
        assert!(split("w1;rm").unwrap_err().contains("w1;rm"));
        assert!(split("[zz]").unwrap_err().contains("zz"));
        assert!(split("[::1").unwrap_err().contains("without ]"));
        assert!(split(",:").unwrap_err().contains("no server"));
        assert!(split(&"a".repeat(256)).unwrap_err().contains("too long"));
    }
}
