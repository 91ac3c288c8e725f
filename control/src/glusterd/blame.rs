//! The marks that make a new brick of a running volume be healed: every brick that stays blames it for the root
//! directory's entries and attributes, so that nobody reads its emptiness as the truth (GlusterFS does it with
//! `trusted.add-brick` and `trusted.replace-brick` on a mount of its own).

use std::time::Duration;

use datapath::client;
use datapath::errno::Errno;
use datapath::exec;
use datapath::replicate::pending::{Counters, Slot};
use datapath::wire::fop::XattropReq;
use datapath::wire::{Dict, Gfid, Value, flags};

use super::daemon::Daemon;
use super::model::{OpError, Volume};
use crate::client::{self as volume_client, ClientOptions, VolfileServer};
use crate::rt;

/// How this client calls itself, and GlusterFS's pid for it.
const PROCESS_NAME: &str = "add-replica";
const CLIENT_PID: i32 = -10;
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// How long the bricks may take to be connected.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Buffers of the client; its requests are small.
const BUFFER_BYTES: usize = 4 << 20;

/// Blames the brick named `brick_id` (the name of its protocol/client xlator, new or one that a replaced brick had) on
/// all bricks that the volume has now, except the one of index `except`.
///
/// # Errors
/// No brick could be marked. One is enough: a mark on any copy keeps readers away from the new one and is spread by the
/// heal.
pub async fn blame(daemon: &Daemon, volume: &Volume, brick_id: &str, except: Option<usize>) -> Result<(), OpError> {
    let socket = daemon.config().socket.clone();
    let mut options = ClientOptions::new(volume.name.clone(), vec![VolfileServer::Unix(socket)]);
    options.process_name = PROCESS_NAME.to_owned();
    options.client_pid = CLIENT_PID;
    options.mgmt_port = daemon.port();
    options.cores = Some(1);
    options.core.buffer_bytes = BUFFER_BYTES;
    options.fetch_limit = FETCH_LIMIT;
    let (key, granular) = (
        format!("trusted.afr.{brick_id}"),
        volume.is_on("cluster.granular-entry-heal"),
    );
    let marked = rt::blocking(move || mark_all(options, key, granular, except)).await;
    let marked = marked.unwrap_or_else(|e| Err(format!("the helper thread failed: {e}")));
    let marked = marked.map_err(|why| OpError::new(format!("the other bricks could not be marked: {why}")))?;
    for (name, result) in &marked {
        match result {
            Ok(()) => tracing::info!("{name} blames {brick_id}: it is to be healed"),
            Err(errno) => tracing::warn!("{name} could not be made to blame {brick_id}: {errno}"),
        }
    }
    match marked.iter().any(|(_, result)| result.is_ok()) {
        true => Ok(()),
        false => Err(OpError::new(format!(
            "no brick of volume {} could be marked",
            volume.name
        ))),
    }
}

type Marked = Vec<(String, Result<(), Errno>)>;

/// Runs a client of the volume for this. Blocks.
fn mark_all(options: ClientOptions, key: String, granular: bool, except: Option<usize>) -> Result<Marked, String> {
    let (answer, answered) = std::sync::mpsc::channel();
    let handle = volume_client::start(options, move |_, volume| {
        let (answer, key, volume) = (answer.clone(), key.clone(), volume.current());
        async move {
            if exec::timeout(READY_LIMIT, volume.ready()).await.is_err() {
                volume.end_start_up();
            }
            // Whoever asked may have given up.
            drop(answer.send(mark(&volume, &key, granular, except).await));
        }
    })
    .map_err(|e| e.to_string())?;
    let marked = answered.recv().map_err(|_| "the client ended".to_owned());
    handle.shutdown();
    marked
}

async fn mark(volume: &client::Volume, key: &str, granular: bool, except: Option<usize>) -> Marked {
    let mut counters = Counters::ZERO;
    counters.0[Slot::Metadata as usize] = 1;
    counters.0[Slot::Entry as usize] = 1;
    // With granular entry heal only names that were remembered are looked at; blame for data as well says that this
    // directory is to be gone through as a whole.
    counters.0[Slot::Data as usize] = i32::from(granular);
    let request = XattropReq {
        gfid: Gfid::ROOT,
        flags: flags::xattrop::ADD_ARRAY,
        dict: Dict::new().with(key.to_string(), Value::Ptr(counters.to_bytes())),
        xdata: Dict::null(),
    };
    let mut marked = Vec::new();
    for brick in (0..volume.bricks()).filter(|brick| Some(*brick) != except) {
        let (subvol, cred) = (volume.subvol(brick), volume.own_cred(0));
        let result = subvol.call(&cred, &request).await;
        marked.push((subvol.name(), result.map(drop)));
    }
    marked
}
