//! Which core serves a request, and the mailboxes that carry it there.
//!
//! A request that carries a handle goes to the core that opened it, any other to the core that owns its node. Renames
//! and links name a second inode: they visit that one's core first, which fills in the gfid, and go on from there.
//!
//! A core that tells the kernel of an inode it does not own sends [`ToCore::Learn`] to the owner *before* it answers:
//! mailboxes are first in, first out, so the owner knows the node before any request for it can arrive.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use datapath::exec::mailbox::{Receiver, SendError, Sender, channel};
use datapath::wire::Gfid;

use crate::request::Request;
use crate::transport::Intake;
use crate::{handle, inode};

/// Messages a core's mailbox holds before the sender has to wait.
const MAILBOX: usize = 4096;
/// How long a sender waits before it tries a full mailbox again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_micros(200);

/// What arrives at a core.
#[derive(Debug)]
pub enum ToCore {
    /// A request to serve (or, for renames and links, to resolve and send on).
    Request(Request),
    /// A request about an inode that has no name left: the core that has it open serves it. It goes from core to core
    /// until one has.
    Nameless {
        /// A GETATTR or SETATTR without handle.
        request: Request,
        /// Cores that have seen it.
        seen: usize,
    },
    /// Another core tells the kernel of an inode that belongs to this one.
    Learn {
        /// The inode.
        gfid: Gfid,
        /// How many lookups the kernel will count.
        lookups: u64,
        /// Its mode, see [`inode::InodeTable::mode`].
        mode: u32,
    },
    /// All cores are there: start to serve. The first message of a core that was gathered.
    Begin(Router),
    /// The mount is gone: finish.
    Shutdown,
}

/// The mailboxes of all cores of a mount.
#[derive(Clone, Debug)]
pub struct Router {
    cores: Arc<[Sender<ToCore>]>,
}

/// The mailboxes of a mount with `cores` cores: the router for everybody, and one receiver per core.
pub fn mailboxes(cores: usize) -> (Router, Vec<Receiver<ToCore>>) {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..cores.clamp(1, handle::MAX_CORES)).map(|_| channel(MAILBOX)).unzip();
    (Router { cores: senders.into() }, receivers)
}

/// Announces a core that has started on its own thread; its mailbox then gets [`ToCore::Begin`]. `None` when nobody
/// gathers any more.
pub fn announce(index: usize, gatherer: &mpsc::Sender<Announced>) -> Option<Receiver<ToCore>> {
    let (sender, receiver) = channel(MAILBOX);
    gatherer.send(Announced { index, sender }).ok().map(|()| receiver)
}

/// A core that has started.
#[derive(Debug)]
pub struct Announced {
    index: usize,
    sender: Sender<ToCore>,
}

impl Router {
    /// Waits until `cores` cores have announced themselves, lets them begin, and returns their router. `None` if they
    /// do not all come within `limit`.
    pub fn gather(announced: &mpsc::Receiver<Announced>, cores: usize, limit: Duration) -> Option<Router> {
        let deadline = Instant::now() + limit;
        let mut all = BTreeMap::new();
        while all.len() < cores {
            let left = deadline.saturating_duration_since(Instant::now());
            let Announced { index, sender } = announced.recv_timeout(left).ok()?;
            all.insert(index, sender);
        }
        // Indices are 0..cores, so a core's place in the list is its index.
        if all.keys().copied().ne(0..cores) || cores > handle::MAX_CORES {
            return None;
        }
        let router = Router {
            cores: all.into_values().collect::<Vec<_>>().into(),
        };
        for core in 0..cores {
            router.try_send(core, ToCore::Begin(router.clone())).ok()?;
        }
        Some(router)
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// The core that has to see a request next.
    pub fn next_stop(&self, request: &Request) -> usize {
        match (request.op.handle(), request.op.unresolved()) {
            (Some(fh), _) => handle::owner(fh),
            (None, Some(node)) => inode::owner(node, self.cores()),
            (None, None) => inode::owner(request.node, self.cores()),
        }
    }

    /// Puts a message into a core's mailbox; gives it back when that is full. A message for a core that has ended, or
    /// never was, is dropped; a request in it is thereby answered `EIO`.
    #[expect(
        clippy::result_large_err,
        reason = "the message comes back by value to be tried again"
    )]
    pub fn try_send(&self, core: usize, message: ToCore) -> Result<(), ToCore> {
        match self.cores.get(core).map(|sender| sender.send(message)) {
            Some(Err(SendError::Full(message))) => Err(message),
            Some(Err(SendError::Closed(_))) | Some(Ok(())) | None => Ok(()),
        }
    }

    /// Tells every core to finish, from a thread that may wait.
    pub fn shutdown(&self) {
        for core in 0..self.cores() {
            let mut message = ToCore::Shutdown;
            while let Err(back) = self.try_send(core, message) {
                message = back;
                std::thread::sleep(FULL_PAUSE);
            }
        }
    }

    /// [`Router::try_send`] from a core: waits, without blocking the core, while the other's mailbox is full.
    pub async fn send(&self, core: usize, mut message: ToCore) {
        while let Err(back) = self.try_send(core, message) {
            message = back;
            datapath::exec::sleep(FULL_PAUSE).await;
        }
    }
}

impl Intake for Router {
    fn deliver(&self, request: Request) {
        let core = self.next_stop(&request);
        let mut message = ToCore::Request(request);
        while let Err(back) = self.try_send(core, message) {
            message = back;
            std::thread::sleep(FULL_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Op, Reply, Target, Who};

    fn request(node: u64, op: Op) -> Request {
        Request {
            node,
            who: Who::default(),
            op,
            reply: Reply::none(),
        }
    }

    #[test]
    fn handles_come_before_nodes_and_second_inodes_first() {
        let (router, _receivers) = mailboxes(3);
        assert_eq!(router.next_stop(&request(7, Op::Readlink)), 1);
        assert_eq!(router.next_stop(&request(1, Op::Readlink)), 0);
        assert_eq!(
            router.next_stop(&request(
                7,
                Op::Fsync {
                    fh: 5 << 8 | 2,
                    datasync: false
                }
            )),
            2
        );
        let mut link = request(
            3,
            Op::Link {
                of: Target::Node(8),
                name: "x".into(),
            },
        );
        assert_eq!(router.next_stop(&link), 2);
        link.op.resolve(Gfid::ROOT);
        assert_eq!(router.next_stop(&link), 0);
    }

    #[test]
    fn cores_announced_in_any_order_get_their_own_place() {
        let (tx, rx) = mpsc::channel();
        let mut second = announce(1, &tx).unwrap();
        let mut first = announce(0, &tx).unwrap();
        let router = Router::gather(&rx, 2, Duration::from_secs(5)).unwrap();
        assert!(matches!(first.try_recv(), Some(ToCore::Begin(_))));
        assert!(matches!(second.try_recv(), Some(ToCore::Begin(_))));
        router.shutdown();
        router
            .try_send(
                1,
                ToCore::Learn {
                    gfid: Gfid::ROOT,
                    lookups: 1,
                    mode: 0,
                },
            )
            .unwrap();
        assert!(matches!(first.try_recv(), Some(ToCore::Shutdown)));
        assert!(first.try_recv().is_none());
        assert!(matches!(second.try_recv(), Some(ToCore::Shutdown)));
        assert!(matches!(second.try_recv(), Some(ToCore::Learn { .. })));
        assert!(Router::gather(&rx, 1, Duration::ZERO).is_none(), "nobody came");
        drop(rx);
        assert!(announce(0, &tx).is_none());
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back_and_a_closed_one_swallows_it() {
        let (router, receivers) = mailboxes(1);
        let learn = || ToCore::Learn {
            gfid: Gfid::ROOT,
            lookups: 1,
            mode: 0,
        };
        for _ in 0..MAILBOX {
            router.try_send(0, learn()).unwrap();
        }
        assert!(router.try_send(0, learn()).is_err());
        drop(receivers);
        assert!(router.try_send(0, learn()).is_ok());
        assert!(router.try_send(9, learn()).is_ok());
    }
}
