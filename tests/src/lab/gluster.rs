//! What `gluster` prints, read as a script of an administrator would read it.
//!
//! Works on the output of both implementations, which have to agree.

use super::error::{Context, Result, fail};

/// One brick's line of `gluster volume status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickStatus {
    /// `HOST:/path`.
    pub brick: String,
    /// TCP port, while it is online.
    pub port: Option<u16>,
    /// Whether it is online.
    pub online: bool,
    /// Process id, while it is online.
    pub pid: Option<i32>,
}

/// The brick lines of `gluster volume status VOL`. Long names are broken over several lines.
///
/// # Errors
/// When a line does not have the columns it should have.
pub fn parse_status(text: &str) -> Result<Vec<BrickStatus>> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let piece = match (&open, line.strip_prefix("Brick ")) {
            (_, Some(rest)) => rest.to_string(),
            (Some(begun), None) => format!("{begun}{}", line.trim_start()),
            (None, None) => continue,
        };
        match parse_row(&piece) {
            Some(status) => {
                found.push(status);
                open = None;
            }
            None => open = Some(piece.trim_end().to_string()),
        }
    }
    match open {
        None => Ok(found),
        Some(piece) => Err(fail(format!("volume status: not a brick line: {piece}"))),
    }
}

/// `HOST:/path  TCP-port  RDMA-port  Y|N  pid`.
fn parse_row(row: &str) -> Option<BrickStatus> {
    let mut columns = row.split_whitespace().rev();
    let (pid, online, _rdma, port) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let brick = columns.next()?.to_string();
    if columns.next().is_some() || !matches!(online, "Y" | "N") {
        return None;
    }
    Some(BrickStatus {
        brick,
        port: port.parse().ok(),
        online: online == "Y",
        pid: pid.parse().ok(),
    })
}

/// One brick's part of `gluster volume heal VOL info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealInfo {
    /// `HOST:/path`.
    pub brick: String,
    /// Whether the brick answered.
    pub connected: bool,
    /// Number of entries that need healing; `None` when the brick did not answer.
    pub entries: Option<u64>,
}

/// The output of `gluster volume heal VOL info`.
///
/// # Errors
/// When no brick is in it.
pub fn parse_heal_info(text: &str) -> Result<Vec<HealInfo>> {
    let mut found: Vec<HealInfo> = Vec::new();
    for line in text.lines() {
        if let Some(brick) = line.strip_prefix("Brick ") {
            found.push(HealInfo {
                brick: brick.trim().into(),
                connected: false,
                entries: None,
            });
        }
        let Some(last) = found.last_mut() else { continue };
        if let Some(status) = line.strip_prefix("Status: ") {
            last.connected = status.trim() == "Connected";
        }
        if let Some(number) = line.strip_prefix("Number of entries: ") {
            let number = number.trim();
            last.entries = if number == "-" {
                None
            } else {
                Some(number.parse().context("number of entries")?)
            };
        }
    }
    if found.is_empty() {
        Err(fail(format!("heal info names no brick:\n{text}")))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_with_broken_and_offline_lines() {
        let text = "Status of volume: 0001\n\
            Gluster process                             TCP Port  RDMA Port  Online  Pid\n\
            ------------------------------------------------------------------------------\n\
            Brick worker1:/b/1                          49152     0          Y       77   \n\
            Brick worker1:/var/tmp/ringluster-lab/12345-\n0/bricks-0/brick2/0001                      N/A       N/A        N       N/A  \n\
            Self-heal Daemon on localhost               N/A       N/A        Y       99   \n";
        let bricks = parse_status(text).unwrap();
        assert_eq!(bricks.len(), 2);
        assert_eq!(bricks[0].port, Some(49152));
        assert_eq!(bricks[0].pid, Some(77));
        assert_eq!(
            bricks[1].brick,
            "worker1:/var/tmp/ringluster-lab/12345-0/bricks-0/brick2/0001"
        );
        assert!(!bricks[1].online);
        assert_eq!(bricks[1].pid, None);
    }

    #[test]
    fn heal_info_of_live_and_dead_bricks() {
        let text = "Brick a:/1\n/file\nStatus: Connected\nNumber of entries: 1\n\n\
            Brick a:/2\nStatus: Transport endpoint is not connected\nNumber of entries: -\n";
        let info = parse_heal_info(text).unwrap();
        assert_eq!(info[0].entries, Some(1));
        assert!(info[0].connected && !info[1].connected);
        assert_eq!(info[1].entries, None);
        assert!(parse_heal_info("Volume 0001 does not exist\n").is_err());
    }
}
