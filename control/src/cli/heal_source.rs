//! Where `heal info` gets its lists: the volume's own bricks, asked by a client of the volume inside this process.

use datapath::errno::Errno;
use datapath::wire::OldDict;
use datapath::wire::cli::Proc;

use super::daemon::{Daemon, NoAnswer};
use super::heal::BrickHeal;
use super::options::Options;

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
    let _ = (uuids, options);
    Err(NoList::new(
        Errno::EOPNOTSUPP,
        format!("{volume}: the bricks' heal lists are not read by this version"),
    ))
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
