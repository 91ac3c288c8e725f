//! The words of `volume create`, checked as far as it can be done without the daemon.

use datapath::wire::OldDict;

use super::words::{CREATE, Pattern, WordError, is_host};

/// A volume to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreateArgs {
    pub(super) volume: String,
    /// 1 without `replica`.
    pub(super) replicas: u32,
    /// The last `arbiters` bricks of each set hold no data; 0 or 1.
    pub(super) arbiters: u32,
    pub(super) transport: String,
    /// `HOST:/path`, without trailing or doubled slashes.
    pub(super) bricks: Vec<String>,
    pub(super) force: bool,
}

impl CreateArgs {
    /// Replica 2 without an arbiter cannot tell a majority: GlusterFS asks first.
    pub(super) fn is_prone_to_split_brain(&self) -> bool {
        self.replicas == 2 && self.arbiters == 0
    }

    /// The request (wire-protocol.md 2.7).
    pub(super) fn to_dict(&self) -> OldDict {
        // Type 2 is replicate, 0 distribute.
        let kind = if self.replicas > 1 { 2 } else { 0 };
        let mut dict = OldDict::new().with_str("volname", &self.volume).with_int("type", kind);
        if self.replicas > 1 {
            dict.set_int("replica-count", self.replicas);
        }
        if self.arbiters > 0 {
            dict.set_int("arbiter-count", self.arbiters);
        }
        dict.set_str("transport", &self.transport);
        dict.set_str("bricks", &format!(" {} ", self.bricks.join(" ")));
        dict.set_int("count", self.bricks.len() as u64);
        dict.set_int("force", u32::from(self.force));
        dict
    }
}

/// Reads the words after `volume create`.
pub(super) fn parse(words: &[&str]) -> Result<CreateArgs, WordError> {
    let [volume, rest @ ..] = words else {
        return Err(WordError::usage(&CREATE));
    };
    check_name(volume)?;
    let mut args = CreateArgs {
        volume: (*volume).to_owned(),
        replicas: 1,
        arbiters: 0,
        transport: "tcp".to_owned(),
        bricks: Vec::new(),
        force: false,
    };
    let rest = keywords(rest, &mut args)?;
    let bricks = match rest {
        [bricks @ .., "force"] => {
            args.force = true;
            bricks
        }
        bricks => bricks,
    };
    if bricks.is_empty() {
        return Err(WordError::usage(&CREATE));
    }
    args.bricks = brick_words(bricks, &CREATE)?;
    Ok(args)
}

/// Bricks to be made, cleaned; complaints go with the usage of the command.
pub(super) fn brick_words(words: &[&str], pattern: &Pattern) -> Result<Vec<String>, WordError> {
    let mut bricks = Vec::new();
    for word in words {
        let brick = check_brick(word, pattern)?;
        if bricks.contains(&brick) {
            return Err(WordError::because(pattern, format!("Found duplicate exports {brick}")));
        }
        bricks.push(brick);
    }
    Ok(bricks)
}

fn keywords<'a, 'b>(mut rest: &'a [&'b str], args: &mut CreateArgs) -> Result<&'a [&'b str], WordError> {
    loop {
        rest = match rest {
            ["replica", count, more @ ..] => {
                args.replicas = match count.parse() {
                    Ok(count) if count > 1 => count,
                    _ => return Err(WordError::because(&CREATE, "replica count should be greater than 1")),
                };
                more
            }
            ["arbiter", count, more @ ..] => {
                args.arbiters = match count.parse() {
                    Ok(1) if args.replicas > 2 => 1,
                    _ => {
                        let message = "For arbiter configuration, replica count must be 3 and arbiter count must be 1. \
                                       The last brick of each replica set will be the arbiter";
                        return Err(WordError::because(&CREATE, message));
                    }
                };
                more
            }
            ["transport", kind, more @ ..] => {
                if *kind != "tcp" {
                    return Err(WordError::usage(&CREATE));
                }
                args.transport = (*kind).to_owned();
                more
            }
            [
                word @ ("disperse" | "disperse-data" | "redundancy" | "thin-arbiter" | "stripe"),
                ..,
            ] => {
                return Err(WordError::Unsupported(format!("volume create with {word}")));
            }
            ["replica" | "arbiter" | "transport"] => return Err(WordError::usage(&CREATE)),
            rest => return Ok(rest),
        };
    }
}

fn check_name(name: &str) -> Result<(), WordError> {
    if name == "all" {
        return Err(WordError::because(&CREATE, "\"all\" cannot be the name of a volume."));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(WordError::usage(&CREATE));
    }
    Ok(())
}

/// `HOST:/absolute/path`, the path cleaned of doubled and trailing slashes.
fn check_brick(brick: &str, pattern: &Pattern) -> Result<String, WordError> {
    let wrong = || {
        let message = format!("Wrong brick type: {brick}, use <HOSTNAME>:<export-dir-abs-path>");
        Err(WordError::because(pattern, message))
    };
    let Some((host, path)) = brick.rsplit_once(':') else {
        return wrong();
    };
    if host.is_empty() || !path.starts_with('/') {
        return wrong();
    }
    if is_local_name(host) {
        let message = "Please provide a valid hostname/ip other than localhost, 127.0.0.1 or loopback address \
                       (0.0.0.0 to 0.255.255.255).";
        return Err(WordError::because(pattern, message));
    }
    if !is_host(host) {
        let message = format!("internet address '{host}' does not conform to standards");
        return Err(WordError::Refused(message));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("{host}:/{}", parts.join("/")))
}

fn is_local_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| match ip {
            std::net::IpAddr::V4(v4) => v4.is_loopback() || v4.octets().first() == Some(&0),
            std::net::IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(line: &str) -> Result<CreateArgs, WordError> {
        parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn message(line: &str) -> String {
        match create(line) {
            Err(WordError::Usage { message, .. }) => message.unwrap_or_default(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_request_is_the_captured_one() {
        let args = create("tv replica 2 p1:/srv/r/p1/b p2:/srv/r//p2/b/ force").unwrap();
        assert!(args.is_prone_to_split_brain());
        let dict = args.to_dict();
        assert_eq!(dict.get_str("bricks"), Some(" p1:/srv/r/p1/b p2:/srv/r/p2/b "));
        for (key, value) in [("type", 2), ("replica-count", 2), ("count", 2), ("force", 1)] {
            assert_eq!(dict.get_i64(key), Some(value), "{key}");
        }
        assert_eq!(
            (dict.get_str("volname"), dict.get_str("transport")),
            (Some("tv"), Some("tcp"))
        );
    }

    #[test]
    fn complaints_are_glusters() {
        assert_eq!(message("v1"), "");
        assert_eq!(message("v/1 w1:/a"), "");
        assert_eq!(message("v1 replica x w1:/a"), "replica count should be greater than 1");
        assert_eq!(message("all w1:/a"), "\"all\" cannot be the name of a volume.");
        assert_eq!(
            message("v w1:a"),
            "Wrong brick type: w1:a, use <HOSTNAME>:<export-dir-abs-path>"
        );
        assert_eq!(
            message("v w1:/a force x"),
            "Wrong brick type: force, use <HOSTNAME>:<export-dir-abs-path>"
        );
        assert_eq!(message("v w1:/a w1:/a"), "Found duplicate exports w1:/a");
        assert!(message("v 127.0.0.1:/a").starts_with("Please provide a valid hostname/ip"));
        let brackets = "internet address '[fd00::1]' does not conform to standards";
        assert_eq!(
            create("v replica 2 [fd00::1]:/a fd00::2:/a"),
            Err(WordError::Refused(brackets.to_owned()))
        );
        assert!(create("v replica 2 fd00::1:/a fe80::2%eth0:/a").is_ok());
        assert!(matches!(create("v disperse 3 w1:/a"), Err(WordError::Unsupported(_))));
    }
}
