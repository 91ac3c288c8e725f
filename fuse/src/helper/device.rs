//! The device of a GlusterFS mount: `HOST:/VOLUME` and its variants (wire-protocol.md 7.1). Pure functions.

use super::Refusal;
use crate::servers;

/// A device taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Device {
    /// Servers, at least one.
    pub servers: Vec<String>,
    /// The volfile id as typed, with or without slash, without the sub-directory.
    pub volfile_id: String,
    /// The sub-directory with its leading slash.
    pub subdir: Option<String>,
}

impl Device {
    /// Takes a device apart. The volume is what follows the last colon, so IPv6 addresses need no brackets.
    pub fn parse(device: &str) -> Result<Device, Refusal> {
        let form = || Refusal::new(1, format!("device \"{device}\" is not of the form HOST:/VOLUME"));
        let (hosts, volume) = device.rsplit_once(':').ok_or_else(form)?;
        if hosts.is_empty() || volume.trim_matches('/').is_empty() {
            return Err(form());
        }
        let servers = servers::split(hosts).map_err(|why| Refusal::new(1, format!("device \"{device}\": {why}")))?;
        let (volfile_id, subdir) = split_subdir(volume);
        Ok(Device {
            servers,
            volfile_id,
            subdir,
        })
    }

    /// Whether it names a snapshot, which is mounted read-only.
    pub fn is_snapshot(&self) -> bool {
        self.volfile_id.starts_with("/snaps/")
    }
}

/// `/VOL/sub/dir` is volume and sub-directory; `/snaps/SNAP/VOL` is one id.
fn split_subdir(volume: &str) -> (String, Option<String>) {
    if volume.starts_with("/snaps/") {
        return (volume.to_owned(), None);
    }
    let (slash, rest) = match volume.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", volume),
    };
    match rest.split_once('/') {
        Some((name, path)) if !path.trim_matches('/').is_empty() => {
            (format!("{slash}{name}"), Some(format!("/{}", path.trim_matches('/'))))
        }
        _ => (format!("{slash}{}", rest.trim_end_matches('/')), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> (String, String, String) {
        let d = Device::parse(text).unwrap();
        (d.servers.join(" "), d.volfile_id, d.subdir.unwrap_or_default())
    }

    fn as_text(parts: (&str, &str, &str)) -> (String, String, String) {
        (parts.0.to_owned(), parts.1.to_owned(), parts.2.to_owned())
    }

    #[test]
    fn every_form_is_taken_apart() {
        assert_eq!(device("localhost:0001"), as_text(("localhost", "0001", "")));
        assert_eq!(device("localhost:/0001"), as_text(("localhost", "/0001", "")));
        assert_eq!(device("localhost:/0001/"), as_text(("localhost", "/0001", "")));
        assert_eq!(device("h1,h2,h3:/v"), as_text(("h1 h2 h3", "/v", "")));
        assert_eq!(device("h1:h2:h3:/v"), as_text(("h1 h2 h3", "/v", "")));
        assert_eq!(device("fd00::1:/v"), as_text(("fd00::1", "/v", "")));
        assert_eq!(device("h:/v/a/b/"), as_text(("h", "/v", "/a/b")));
        assert_eq!(device("h:/snaps/s1/v"), as_text(("h", "/snaps/s1/v", "")));
        assert!(Device::parse("h:/snaps/s1/v").unwrap().is_snapshot());
    }

    #[test]
    fn nonsense_is_refused_with_its_text() {
        for bad in ["v", ":/v", "h:", "h:/", ""] {
            let refusal = Device::parse(bad).unwrap_err();
            assert_eq!(refusal.code, 1);
            assert!(refusal.text.contains(&format!("\"{bad}\"")), "{refusal}");
        }
        assert!(Device::parse("h 1:/v").unwrap_err().text.contains("h 1"));
    }
}
