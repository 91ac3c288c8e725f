//! Where `heal info` gets its lists: the volume's own bricks, asked by a client of the volume inside this process.

use std::time::Duration;

use datapath::client::BrickSpec;
use datapath::errno::Errno;
use datapath::exec;
use datapath::replicate::heal::{self, BrickHealInfo, HealStatus};
use datapath::wire::OldDict;
use datapath::wire::cli::Proc;

use super::daemon::{Daemon, NoAnswer};
use super::heal::{BrickHeal, EntryState, HealEntry};
use super::options::Options;
use crate::client::{self, ClientOptions, DEFAULT_PORT, VolfileServer};
use crate::rt;

/// How GlusterFS's tool calls itself, and its pid (wire-protocol.md 1.5).
const PROCESS_NAME: &str = "gfapi.glfsheal";
const CLIENT_PID: i32 = -7;
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// How long bricks may take to be connected.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Buffers of the client; the lists are small.
const BUFFER_BYTES: usize = 4 << 20;

/// Why there are no lists.
#[derive(Debug)]
pub(super) struct NoList {
    pub(super) errno: Errno,
    pub(super) message: String,
}

impl NoList {
    fn new(errno: Errno, message: impl Into<String>) -> NoList {
        NoList {
            errno,
            message: message.into(),
        }
    }

    /// GlusterFS's tool exits with the negative error number.
    pub(super) fn exit_code(&self) -> i32 {
        self.errno.0.wrapping_neg() & 255
    }
}

impl From<NoAnswer> for NoList {
    fn from(error: NoAnswer) -> NoList {
        let message = match error {
            NoAnswer::Unreachable => "Connection failed. Please check if gluster daemon is operational.".to_owned(),
            NoAnswer::Failed(why) => format!("Error : {why}"),
        };
        NoList::new(Errno::ENOTCONN, message)
    }
}

/// The lists of every brick of `volume`, in brick order.
pub(super) async fn fetch(daemon: &Daemon, volume: &str, options: &Options) -> Result<Vec<BrickHeal>, NoList> {
    let uuids = node_uuids(daemon, volume).await?;
    let mut client = ClientOptions::new(volume, vec![VolfileServer::Unix(options.socket.clone())]);
    client.process_name = PROCESS_NAME.to_owned();
    client.client_pid = CLIENT_PID;
    client.mgmt_port = options.port.unwrap_or(DEFAULT_PORT);
    client.cores = Some(1);
    client.core.buffer_bytes = BUFFER_BYTES;
    client.fetch_limit = FETCH_LIMIT;
    let asked = rt::blocking(move || ask_bricks(client)).await;
    let (bricks, report) = asked
        .map_err(|e| NoList::new(Errno::EIO, format!("{volume}: {e}")))
        .and_then(|asked| asked.map_err(|why| NoList::new(Errno::EIO, format!("{volume}: {why}"))))?;
    let lists = bricks.iter().zip(report).enumerate().map(|(index, (brick, info))| {
        let known = uuids.get(index).filter(|_| info.error.is_none()).cloned();
        brick_heal(brick, known, info)
    });
    Ok(lists.collect())
}

/// Runs a client of the volume for one question. Blocks.
fn ask_bricks(options: ClientOptions) -> Result<(Vec<BrickSpec>, Vec<BrickHealInfo>), String> {
    let (answer, answered) = std::sync::mpsc::channel();
    let handle = client::start(options, move |_, volume| {
        let answer = answer.clone();
        let volume = volume.current();
        async move {
            // A brick that says nothing at all in this time is reported as not connected.
            if exec::timeout(READY_LIMIT, volume.ready()).await.is_err() {
                volume.end_start_up();
            }
            // Whoever asked may have given up.
            drop(answer.send(volume.heal_info().await));
        }
    })
    .map_err(|e| e.to_string())?;
    let bricks = handle.spec().bricks.clone();
    let report = answered.recv().map_err(|_| "the client ended".to_owned());
    handle.shutdown();
    Ok((bricks, report?))
}

fn brick_heal(brick: &BrickSpec, host_uuid: Option<String>, info: BrickHealInfo) -> BrickHeal {
    let entry = |entry: heal::HealEntry| HealEntry {
        path: entry.path.unwrap_or_else(|| format!("<gfid:{}>", entry.gfid)),
        gfid: entry.gfid.to_string(),
        state: match entry.status {
            HealStatus::Pending => EntryState::Pending,
            HealStatus::SplitBrain => EntryState::SplitBrain,
            HealStatus::PossiblyHealing => EntryState::PossiblyHealing,
        },
    };
    BrickHeal {
        brick: format!("{}:{}", brick.host, brick.path),
        host_uuid,
        entries: match info.error {
            None => Ok(info.entries.into_iter().map(entry).collect()),
            Some(errno) => Err(errno.to_string()),
        },
    }
}

/// Checks that the volume can have lists at all and returns the node of each brick.
async fn node_uuids(daemon: &Daemon, volume: &str) -> Result<Vec<String>, NoList> {
    let dict = OldDict::new().with_int("flags", 2).with_str("volname", volume);
    let reply = daemon.call(Proc::GetVolume, dict).await?;
    if !reply.ok() || reply.dict.get_i64("count").unwrap_or(0) == 0 {
        return Err(NoList::new(Errno::ENOENT, format!("Volume {volume} does not exist")));
    }
    if !matches!(reply.dict.get_i64("volume0.type"), Some(2 | 4)) {
        let message = format!(
            "This command is supported for only volumes of replicate/disperse type. Volume {volume} is not of type \
             replicate/disperse"
        );
        return Err(NoList::new(Errno::EINVAL, message));
    }
    if reply.dict.get_i64("volume0.status") != Some(1) {
        return Err(NoList::new(
            Errno::EIO,
            format!("{volume}: Not able to fetch volfile from glusterd"),
        ));
    }
    let bricks = super::info::count(&reply.dict, "volume0.brick_count");
    let uuid = |brick| {
        reply
            .dict
            .get_str(&format!("volume0.brick{brick}.uuid"))
            .unwrap_or("-")
            .to_owned()
    };
    Ok((1..=bricks).map(uuid).collect())
}
