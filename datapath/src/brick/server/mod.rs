//! protocol/server of a brick: connections, the handshake, every fop of GLUSTERFS v4 dispatched to store, locks and
//! index, and the clean-up after clients that are gone.
//!
//! One core serves one brick: requests of a connection are started in the order they arrive, and whatever does not
//! have to wait for a disk is finished before the next one is looked at. Replication may not enter here.

mod auth;
mod clients;
mod config;
mod connection;
mod counts;
mod dispatch;
mod fds;
mod fops;
mod handle;
mod holders;
mod past;
mod request;
mod setvolume;
mod status;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};

pub use auth::AuthConfig;
pub use config::{BrickConfig, KeepAlive, MAX_IN_FLIGHT, MAX_RECORD_LEN, Squash};
pub use status::{BrickStatus, ClientStatus};

use self::clients::{Client, Clients, Entrance};
use self::connection::Conn;
use self::holders::Contended;
use self::past::Past;
use self::setvolume::Admission;
use super::index::Index;
use super::locks::{ContendedLock, Contention, Effects, LkOwner, LockTable, Owner, RequestId};
use super::store::Store;
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::exec::net::Listener;
use crate::exec::sync::Event;
use crate::sys::fs;
use crate::wire::callback::{self, EntrylkContention, InodelkContention};
use crate::wire::fop::{CommonRsp, Flock, FopRsp, LkRsp};
use crate::wire::{Gfid, OldDict};

/// How long to wait before accepting again when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A call that waits for a lock.
#[derive(Debug)]
struct Waiting {
    conn: Rc<Conn>,
    xid: u32,
    /// For LK: the lock to tell in the reply. INODELK and ENTRYLK have none.
    flock: Option<Flock>,
}

/// Everything of a running brick. Belongs to one core.
#[derive(Debug)]
struct Brick {
    config: RefCell<Rc<BrickConfig>>,
    store: Store,
    index: RefCell<Index>,
    locks: RefCell<LockTable>,
    clients: RefCell<Clients>,
    conns: RefCell<BTreeMap<u64, Rc<Conn>>>,
    waiting: RefCell<BTreeMap<RequestId, Waiting>>,
    contended: Contended,
    past: RefCell<Past>,
    last_conn: Cell<u64>,
    last_request: Cell<u64>,
    child_up: Cell<bool>,
    stopping: Event,
}

impl Brick {
    fn config(&self) -> Rc<BrickConfig> {
        Rc::clone(&self.config.borrow())
    }

    fn next_request(&self) -> RequestId {
        let n = self.last_request.get() + 1;
        self.last_request.set(n);
        RequestId(n)
    }

    /// The clock of contention notices.
    fn now_ns(&self) -> u64 {
        exec::now().0
    }

    /// Answers calls whose locks were granted or dropped, and notifies holders.
    fn settle(&self, fx: Effects) {
        for wakeup in fx.wakeups {
            let Some(waiting) = self.waiting.borrow_mut().remove(&wakeup.request) else {
                continue;
            };
            let conn = &waiting.conn;
            conn.waiting_locks.set(conn.waiting_locks.get().saturating_sub(1));
            match (waiting.flock, wakeup.result) {
                (None, Ok(())) => conn.reply(waiting.xid, &CommonRsp::default(), None),
                (None, Err(e)) => conn.reply(waiting.xid, &CommonRsp::failure(e), None),
                (Some(flock), Ok(())) => conn.reply(
                    waiting.xid,
                    &LkRsp {
                        flock,
                        ..LkRsp::default()
                    },
                    None,
                ),
                (Some(_), Err(e)) => conn.reply(waiting.xid, &LkRsp::failure(e), None),
            }
        }
        for contention in fx.contentions {
            self.notify_holder(contention);
        }
    }

    /// Tells a lock's holder that somebody waits for it (brick-and-replicate.md C.7). The flock's owner and pid
    /// stay empty, as the holder sent them.
    fn notify_holder(&self, c: Contention) {
        let client = self.clients.borrow().get(c.owner.client).cloned();
        let Some(conn) = client.and_then(|client| client.connection()) else {
            return;
        };
        let domain = Bytes::copy_from_slice(&c.domain);
        let (gfid, pid) = (c.gfid, c.pid as u32);
        match c.lock {
            ContendedLock::Inode(kind, range) => {
                let flock = Flock {
                    kind: kind.wire(),
                    start: range.start,
                    len: range.wire_len(),
                    ..Flock::default()
                };
                let args = InodelkContention {
                    gfid,
                    flock,
                    pid,
                    domain,
                    xdata: OldDict::null(),
                };
                conn.callback(callback::Proc::InodelkContention, &args);
            }
            ContendedLock::Entry(kind, name) => {
                let name = name.map_or_else(Bytes::new, |n| Bytes::copy_from_slice(&n));
                let args = EntrylkContention {
                    gfid,
                    kind: kind.wire(),
                    pid,
                    name,
                    domain,
                    xdata: OldDict::null(),
                };
                conn.callback(callback::Proc::EntrylkContention, &args);
            }
        }
    }

    /// Breaks and cleans up older connections of the same client instance, so that nothing of theirs can take effect
    /// once the newer one is in. Gives those with requests still at the disk: they must be waited for.
    fn make_way(self: &Rc<Self>, admission: &Admission) -> Vec<Rc<Conn>> {
        let entrance = self.clients.borrow().entrance(&admission.uuid);
        let Entrance::Enter(older) = entrance else {
            return Vec::new();
        };
        let mut busy = Vec::new();
        for old in older {
            tracing::info!(client = %old.admission.uuid, "fenced: replaced by {}", admission.uuid);
            self.past
                .borrow_mut()
                .ended(&old.admission.uuid, "replaced by a newer connection");
            let conns = old.connections().into_iter().chain(old.leaving());
            busy.extend(conns.filter(|c| c.is_busy()));
            self.fence(&old);
        }
        busy
    }

    /// Lets a client in over `conn`, after [`Brick::make_way`].
    ///
    /// # Errors
    /// `ENOENT`: the sub-directory does not exist. `ESTALE`: a newer connection of this client is here.
    fn enter(self: &Rc<Self>, conn: &Rc<Conn>, admission: Admission) -> FsResult<Rc<Client>> {
        let entrance = self.clients.borrow().entrance(&admission.uuid);
        let client = match entrance {
            Entrance::Outdated => return Err(Errno::ESTALE),
            Entrance::Join(client) => client,
            Entrance::Enter(older) => {
                let root = self.find_root(admission.subdir.as_deref())?;
                older.iter().for_each(|old| self.fence(old));
                self.clients.borrow_mut().add(admission, root)
            }
        };
        if let Some(former) = conn.set_client(Some(Rc::clone(&client)))
            && !Rc::ptr_eq(&former, &client)
            && former.detach(conn)
        {
            self.tear_down_when_idle(&former);
        } else {
            client.detach(conn);
        }
        client.attach(conn);
        self.past.borrow_mut().connected(&client.admission.uuid);
        Ok(client)
    }

    /// The gfid of a mount's sub-directory.
    fn find_root(&self, subdir: Option<&str>) -> FsResult<Gfid> {
        let mut at = Gfid::ROOT;
        for name in subdir.iter().flat_map(|s| s.split('/')).filter(|n| !n.is_empty()) {
            let found = request::as_server(|call| self.store.lookup(call, at, name.as_bytes()).result);
            let stat = found.map_err(|_| Errno::ENOENT)?;
            if !stat.is_dir() {
                return Err(Errno::ENOENT);
            }
            at = stat.gfid;
        }
        Ok(at)
    }

    fn fence(self: &Rc<Self>, client: &Rc<Client>) {
        for conn in client.connections() {
            conn.set_client(None);
            conn.abort();
            client.detach(&conn);
            if conn.is_busy() {
                client.leave_with(&conn);
            }
        }
        self.tear_down_when_idle(client);
    }

    /// Tears a client down that has no connection any more, once its last requests are done: one that is at the disk
    /// still takes effect, under the locks it was sent under.
    fn tear_down_when_idle(self: &Rc<Self>, client: &Rc<Client>) {
        let busy: Vec<_> = client.leaving().into_iter().filter(|c| c.is_busy()).collect();
        if busy.is_empty() {
            return self.tear_down(client);
        }
        let (brick, client) = (Rc::clone(self), Rc::clone(client));
        exec::spawn(async move {
            for conn in busy {
                conn.idle().await;
            }
            brick.tear_down(&client);
        });
    }

    /// The connection has ended: if it was its client's last, the client's locks and files go. Otherwise only its
    /// waiting lock calls end, since nobody could be told of a grant.
    fn disconnected(self: &Rc<Self>, conn: &Rc<Conn>, why: &str) {
        conn.abort();
        self.conns.borrow_mut().remove(&conn.id);
        let Some(client) = conn.set_client(None) else { return };
        self.past.borrow_mut().ended(&client.admission.uuid, why);
        if client.detach(conn) {
            tracing::info!(peer = %conn.peer_text, client = %client.admission.uuid, "client disconnected");
            if conn.is_busy() {
                client.leave_with(conn);
            }
            return self.tear_down_when_idle(&client);
        }
        let waiting = self.waiting.borrow();
        let calls = waiting
            .iter()
            .filter(|(_, w)| Rc::ptr_eq(&w.conn, conn))
            .map(|(id, _)| *id)
            .collect();
        drop(waiting);
        let mut fx = Effects::default();
        self.locks.borrow_mut().cancel(self.now_ns(), &calls, &mut fx);
        self.settle(fx);
    }

    /// Releases what a client held: all kinds of locks, waiting ones included, then its open files.
    fn tear_down(&self, client: &Rc<Client>) {
        if self.clients.borrow_mut().remove(client.id).is_none() {
            return;
        }
        let mut fx = Effects::default();
        self.locks.borrow_mut().disconnect(self.now_ns(), client.id, &mut fx);
        let open = client.fds.borrow_mut().drain();
        drop(open);
        self.settle(fx);
    }

    fn owner(client: &Client, lk_owner: &[u8]) -> Owner {
        Owner {
            client: client.id,
            lk_owner: LkOwner::new(lk_owner),
        }
    }
}

/// A brick that serves clients.
#[derive(Clone, Debug)]
pub struct BrickServer(Rc<Brick>);

impl BrickServer {
    /// A server for an opened store. Its index directories are opened (and made if missing).
    ///
    /// # Errors
    /// The index directories cannot be opened.
    pub fn new(config: BrickConfig, store: Store) -> FsResult<BrickServer> {
        let indices = open_indices(&store)?;
        let index = Index::open(&indices, config.watch.clone())?;
        let locks = LockTable::new(config.locks);
        Ok(BrickServer(Rc::new(Brick {
            config: RefCell::new(Rc::new(config)),
            store,
            index: RefCell::new(index),
            locks: RefCell::new(locks),
            clients: RefCell::default(),
            conns: RefCell::default(),
            waiting: RefCell::default(),
            contended: Contended::default(),
            past: RefCell::default(),
            last_conn: Cell::new(0),
            last_request: Cell::new(0),
            child_up: Cell::new(true),
            stopping: Event::new(),
        })))
    }

    /// Accepts clients until [`BrickServer::stop`]. May run for several listeners at once.
    ///
    /// # Errors
    /// The listener's, when it is broken for good.
    pub async fn serve(&self, listener: Listener) -> io::Result<()> {
        let brick = &self.0;
        tracing::info!(address = %listener.local(), brick = %brick.config().name, "serving");
        loop {
            let accepted = match select(Box::pin(listener.accept()), Box::pin(brick.stopping.wait())).await {
                Either::Left((accepted, _)) => accepted,
                Either::Right(_) => return Ok(()),
            };
            match accepted {
                Ok(stream) => self.serve_stream(stream),
                Err(e) => match accept_error(&e) {
                    // Its client has gone before it was accepted; after a stop there can be many of them.
                    AcceptError::OneConnection => tracing::debug!("accept: {e}"),
                    AcceptError::Shortage => {
                        tracing::warn!("accept failed: {e}");
                        exec::sleep(ACCEPT_PAUSE).await;
                    }
                    AcceptError::Listener => return Err(e),
                },
            }
        }
    }

    /// Serves one connected stream in the background.
    pub fn serve_stream(&self, stream: exec::net::Stream) {
        let brick = &self.0;
        let id = brick.last_conn.get() + 1;
        brick.last_conn.set(id);
        let conn = Conn::new(id, stream);
        brick.conns.borrow_mut().insert(id, Rc::clone(&conn));
        exec::spawn(connection::serve(Rc::clone(brick), conn));
    }

    /// Puts changed options in force; clients that are in stay in. The watch lists of the index are fixed at start.
    pub fn reconfigure(&self, config: BrickConfig) {
        self.0.locks.borrow_mut().set_options(config.locks);
        *self.0.config.borrow_mut() = Rc::new(config);
    }

    /// The storage, for options, health checks and the janitor.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Tells all clients that the storage has become usable or unusable; new ones are refused while it is not.
    pub fn set_child_up(&self, up: bool) {
        if self.0.child_up.replace(up) == up {
            return;
        }
        let proc = if up {
            callback::Proc::ChildUp
        } else {
            callback::Proc::ChildDown
        };
        let conns: Vec<_> = self.0.conns.borrow().values().cloned().collect();
        for conn in conns.iter().filter(|c| c.client().is_some()) {
            conn.callback(proc, &());
        }
    }

    /// Clients, their traffic, open files and locks.
    pub fn status(&self) -> BrickStatus {
        BrickStatus::of(&self.0)
    }

    /// Stops accepting and breaks every connection; locks and files are cleaned up.
    pub fn stop(&self) {
        self.0.stopping.set();
        let conns: Vec<_> = self.0.conns.borrow().values().cloned().collect();
        for conn in conns {
            self.0.disconnected(&conn, "the brick is ending");
        }
    }
}

/// What an accept error concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AcceptError {
    /// The connection that was to be accepted.
    OneConnection,
    /// The process or the machine has not enough of something.
    Shortage,
    /// The listener, for good.
    Listener,
}

/// accept(2): errors of the new connection and of the network come out of it too, so everything that is not known to be
/// the listener's own must not end it.
fn accept_error(e: &io::Error) -> AcceptError {
    match e.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptError::Shortage,
        Some(libc::EBADF | libc::ENOTSOCK | libc::EINVAL | libc::EOPNOTSUPP | libc::EFAULT) => AcceptError::Listener,
        Some(_) => AcceptError::OneConnection,
        None => AcceptError::Listener,
    }
}

fn open_indices(store: &Store) -> FsResult<OwnedFd> {
    const NAME: &[u8] = b"indices";
    let hidden = store.hidden_dir();
    match fs::mkdirat(&**hidden, NAME, 0o600) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(e) => return Err(e),
    }
    fs::openat(
        &**hidden,
        NAME,
        libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
        0,
    )
}

#[cfg(test)]
mod accept_tests {
    use super::*;

    #[test]
    fn a_connection_that_ended_before_it_was_accepted_does_not_end_the_listener() {
        let concerns = |errno| accept_error(&io::Error::from_raw_os_error(errno));
        for errno in [
            libc::ENOTCONN,
            libc::ECONNABORTED,
            libc::ECONNRESET,
            libc::EPROTO,
            libc::ETIMEDOUT,
        ] {
            assert_eq!(concerns(errno), AcceptError::OneConnection);
        }
        assert_eq!(concerns(libc::EMFILE), AcceptError::Shortage);
        assert_eq!(concerns(libc::EBADF), AcceptError::Listener);
    }
}
