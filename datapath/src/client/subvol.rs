//! `protocol/client`: the session of one core with one brick.
//!
//! A session is made from an address the control thread supplies ([`super::establish`]); then the brick counts as up.
//! When it ends, its calls fail with `ENOTCONN` at once.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fd::{Fd, FdTable};
use super::health::Transition;
use super::monitor::Monitor;
use super::reply::{DataReply, Reply};
use super::spec::ClientSpec;
use crate::exec;
use crate::exec::sync::oneshot;
use crate::replicate::BrickSet;
use crate::rpc::{Connection, Patience, RawReply, RpcError};
use crate::wire::auth::{Credential, GlusterfsCred};
use crate::wire::callback::{CacheInvalidation, EntrylkContention, InodelkContention};
use crate::wire::fop::{self, Flock, Fop, OpenReq, ReadReq, ReleaseReq, ReleasedirReq, WriteReq};
use crate::wire::rpc::CallHeader;
use crate::wire::xdr::{Decoder, Xdr};
use crate::wire::{Dict, Gfid, callback, dump, olddict::OldDict, program};

/// What a session tells the layer above it, and asks of it.
pub trait SubvolEvents {
    /// The brick may be used: SETVOLUME accepted, fds re-opened.
    fn up(&self, brick: usize);
    /// The brick may not be used any more; calls under way have failed.
    fn down(&self, brick: usize, why: &str);
    /// The watch over the sessions.
    fn monitor(&self) -> &Rc<Monitor>;
    /// All bricks.
    fn subvols(&self) -> &[Subvol];
    /// What is thought of the brick has changed.
    fn health(&self, brick: usize, change: &Transition);
    /// Whether a set of bricks may decide modifications.
    fn quorum(&self, set: BrickSet) -> bool;
    /// Somebody has recorded on the brick that copies of an inode missed something, or were healed: `blamed` has the
    /// keys of those copies.
    fn blamed(&self, gfid: Gfid, blamed: &OldDict);
    /// The POSIX and flock locks that a brick is to be asked for when its session is made, with their fds.
    fn held_locks(&self) -> Vec<(Fd, Flock)>;
    /// Another client waits for an inode lock this one holds.
    fn inodelk_contention(&self, brick: usize, gfid: Gfid, domain: &[u8]);
    /// Another client waits for an entry lock this one holds.
    fn entrylk_contention(&self, brick: usize, gfid: Gfid, name: &[u8]);
}

/// Why a session could not be made or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Try again with a fresh address.
    Retry(String),
    /// The brick refused this client for good.
    AuthFailed(String),
}

/// One brick, seen from one core. Cheap to clone.
#[derive(Clone)]
pub struct Subvol(pub(super) Rc<Inner>);

pub(super) struct Inner {
    /// Index in `spec`; `None` once the brick has left the volume.
    brick: Cell<Option<usize>>,
    pub(super) spec: RefCell<Arc<ClientSpec>>,
    session: RefCell<Option<Connection>>,
    pub(super) reconnects: Cell<u32>,
    attempt: Cell<u64>,
    /// Counts sessions made.
    sessions: Cell<u64>,
    /// The brick is of this implementation, too.
    pub(super) ours: Cell<bool>,
    /// Where the session leads.
    pub(super) peer: Cell<Option<SocketAddr>>,
    pub(super) fds: Rc<FdTable>,
    events: RefCell<Weak<dyn SubvolEvents>>,
}

impl fmt::Debug for Subvol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subvol")
            .field("name", &self.name())
            .field("up", &self.is_up())
            .finish()
    }
}

impl Subvol {
    /// The session with brick `brick` of `spec`, not connected.
    pub fn new(brick: usize, spec: Arc<ClientSpec>, fds: Rc<FdTable>, events: Weak<dyn SubvolEvents>) -> Subvol {
        Subvol(Rc::new(Inner {
            brick: Cell::new(Some(brick)),
            spec: RefCell::new(spec),
            session: RefCell::new(None),
            reconnects: Cell::new(0),
            attempt: Cell::new(0),
            sessions: Cell::new(0),
            ours: Cell::new(false),
            peer: Cell::new(None),
            fds,
            events: RefCell::new(events),
        }))
    }

    /// Name of the `protocol/client` block.
    pub fn name(&self) -> String {
        let spec = self.0.spec.borrow();
        let brick = self.0.brick.get().and_then(|brick| spec.bricks.get(brick));
        brick.map_or_else(
            || "a brick that left the volume".to_owned(),
            |brick| brick.subvolume.clone(),
        )
    }

    /// Its index in the volume; `None` once the brick has left it.
    pub fn index(&self) -> Option<usize> {
        self.0.brick.get()
    }

    /// Takes over new options. The session goes on: what only SETVOLUME tells is told by the next one.
    pub fn set_spec(&self, spec: Arc<ClientSpec>) {
        self.0.spec.replace(spec);
    }

    /// Gives the session, which goes on, to another replica set, where the brick is number `brick`.
    pub fn move_to(&self, brick: usize, spec: Arc<ClientSpec>, events: Weak<dyn SubvolEvents>) {
        self.0.brick.set(Some(brick));
        self.0.spec.replace(spec);
        self.0.events.replace(events);
    }

    /// The brick has left the volume: its session ends and there will be no other. Nobody is told.
    pub fn retire(&self) {
        self.0.brick.set(None);
        self.disconnect("the brick has left the volume");
    }

    pub(super) fn tell(&self, f: impl FnOnce(usize, &dyn SubvolEvents)) {
        let events = self.0.events.borrow().upgrade();
        if let (Some(events), Some(brick)) = (events, self.index()) {
            f(brick, &*events);
        }
    }

    pub(super) fn ask<T>(&self, f: impl FnOnce(usize, &dyn SubvolEvents) -> T) -> Option<T> {
        let events = self.0.events.borrow().upgrade()?;
        Some(f(self.index()?, &*events))
    }

    /// The session's connection.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.0.session.borrow().clone()
    }

    /// Whether calls can be made.
    pub fn is_up(&self) -> bool {
        self.0.session.borrow().is_some()
    }

    /// Which session there is now, if any. A brick's fd numbers mean nothing in another one.
    pub fn session_id(&self) -> Option<u64> {
        self.is_up().then(|| self.0.sessions.get())
    }

    /// Whether the brick is of this implementation and understands what GlusterFS's do not.
    pub fn is_ours(&self) -> bool {
        self.0.ours.get()
    }

    /// Bytes waiting to be sent to it.
    pub fn backlog(&self) -> usize {
        self.0.session.borrow().as_ref().map_or(0, Connection::backlog)
    }

    /// Sends `req` now and returns the reply to come.
    pub fn call<R: Fop>(&self, cred: &GlusterfsCred, req: &R) -> Reply<R::Reply> {
        self.send(cred, req, None, patience(R::PROC))
    }

    /// Sends `req`, which is answered when somebody else has given up a lock.
    pub fn call_blocking<R: Fop>(&self, cred: &GlusterfsCred, req: &R) -> Reply<R::Reply> {
        self.send(cred, req, None, Patience::Unbounded)
    }

    /// Sends a WRITE with its data.
    pub fn write(&self, cred: &GlusterfsCred, req: &WriteReq, data: Bytes) -> Reply<<WriteReq as Fop>::Reply> {
        self.send(cred, req, Some(data), Patience::Prompt)
    }

    /// Sends a READ.
    pub fn read(&self, cred: &GlusterfsCred, req: &ReadReq) -> DataReply {
        DataReply::new(self.send(cred, req, None, Patience::Read))
    }

    fn send<R: Fop>(&self, cred: &GlusterfsCred, req: &R, data: Option<Bytes>, patience: Patience) -> Reply<R::Reply> {
        let cred = || Credential::V3(cred.clone());
        match &*self.0.session.borrow() {
            Some(c) => Reply::new(c.call_with(program::FOP, R::PROC as u32, &cred(), req, data, patience)),
            None => Reply::not_connected(),
        }
    }

    /// Ends the session, if there is one, as if its peer had vanished.
    pub fn disconnect(&self, why: &str) {
        self.0.attempt.set(self.0.attempt.get() + 1);
        let session = self.0.session.borrow().clone();
        if let Some(connection) = session {
            connection.abort(why);
        }
    }

    /// Makes a session with the brick at `addr` and serves it until it ends. A session that exists is ended first. A
    /// brick that was given up for not answering is not tried before its time.
    pub async fn run(&self, addr: SocketAddr) -> SessionEnd {
        if self.index().is_none() {
            return SessionEnd::Retry("the brick has left the volume".to_owned());
        }
        self.disconnect("replaced by a new session");
        let attempt = self.0.attempt.get();
        let hold_off = self.ask(|brick, events| events.monitor().hold_off(brick));
        exec::sleep(hold_off.unwrap_or_default()).await;
        let connection = match self.establish(addr, attempt).await {
            Ok(connection) => connection,
            Err(end) => return end,
        };
        if self.0.attempt.get() != attempt {
            connection.abort("replaced while connecting");
            return SessionEnd::Retry("replaced while connecting".into());
        }
        self.0.sessions.set(self.0.sessions.get() + 1);
        self.0.session.replace(Some(connection.clone()));
        self.0.peer.set(Some(addr));
        tracing::debug!("{}: connected to {addr}", self.name());
        self.tell(|brick, events| events.up(brick));
        let why = connection.ended().await;
        self.0.session.replace(None);
        if let Some(brick) = self.index() {
            self.0.fds.lost(brick);
        }
        self.tell(|brick, events| events.down(brick, &why));
        SessionEnd::Retry(why)
    }

    pub(super) fn opened(&self, fd: &Fd, number: i64) {
        if let Some(brick) = self.index() {
            fd.set_remote(brick, Some(number));
        }
    }

    fn is_open(&self, fd: &Fd) -> bool {
        self.index().is_some_and(|brick| fd.remote(brick).is_some())
    }

    /// Opens `fd` on this brick in the background if it is not open there: the brick was away when it was opened.
    pub fn open_late(&self, fd: &Fd, cred: &GlusterfsCred) {
        if fd.is_dir() || self.is_open(fd) || !self.is_up() {
            return;
        }
        let flags = fd.flags() & !((libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC) as u32);
        let reply = self.call(
            cred,
            &OpenReq {
                gfid: fd.gfid(),
                flags,
                xdata: Dict::null(),
            },
        );
        let (fd, subvol, opened_in) = (fd.clone(), self.clone(), self.session_id());
        let brick = self.index();
        fd.set_opening(brick.into_iter().collect());
        exec::spawn(async move {
            let answer = reply.await;
            brick.into_iter().for_each(|brick| fd.not_opening(brick));
            if let Ok(rsp) = answer {
                subvol.take_late(&fd, rsp.fd, opened_in);
            }
        });
    }

    /// Takes the number of an OPEN whose answer nobody waited for, or gives it back if it is of no use any more.
    pub fn take_late(&self, fd: &Fd, number: i64, opened_in: Option<u64>) {
        if self.session_id() != opened_in {
            return;
        }
        match self.connection() {
            Some(connection) if fd.is_released() || self.is_open(fd) => drop(give_back(&connection, fd, number)),
            _ => self.opened(fd, number),
        }
    }

    /// The longest time after which a second brick is asked.
    pub const LONGEST_HEDGE: Duration = Duration::from_millis(150);

    /// How long a read may take before a second brick is asked.
    pub fn hedge_delay(&self) -> Duration {
        self.delay(Patience::Read, Duration::from_millis(5))
    }

    /// How long a question to all bricks waits for this one when a quorum has answered.
    pub fn straggle_delay(&self) -> Duration {
        self.delay(Patience::Prompt, Duration::from_millis(30))
    }

    fn delay(&self, kind: Patience, least: Duration) -> Duration {
        let usual = self.connection().and_then(|c| c.usual_time(kind));
        usual.map_or(Self::LONGEST_HEDGE / 3, |time| {
            (time * 2).clamp(least, Self::LONGEST_HEDGE)
        })
    }

    /// Whether it has left a call of a moment unanswered for longer than it usually takes, and has said nothing since.
    pub fn lags(&self) -> bool {
        let Some(connection) = self.connection() else {
            return false;
        };
        let now = exec::now();
        let waits = [Patience::Prompt, Patience::Read, Patience::Ping]
            .into_iter()
            .filter_map(|kind| connection.oldest(kind))
            .map(|call| now - call.sent)
            .max();
        waits.is_some_and(|wait| wait.min(connection.silence()) >= self.straggle_delay())
    }

    pub(super) fn on_callback(&self, header: &CallHeader, args: Bytes) {
        if !header.is_for(program::CALLBACK) {
            return;
        }
        let mut d = Decoder::new(&args);
        match callback::Proc::from_u32(header.proc) {
            Some(callback::Proc::InodelkContention) => match InodelkContention::decode(&mut d) {
                Ok(req) => self.tell(|brick, events| events.inodelk_contention(brick, req.gfid, &req.domain)),
                Err(e) => tracing::warn!("inodelk contention callback: {e}"),
            },
            Some(callback::Proc::EntrylkContention) => match EntrylkContention::decode(&mut d) {
                Ok(req) => self.tell(|brick, events| events.entrylk_contention(brick, req.gfid, &req.name)),
                Err(e) => tracing::warn!("entrylk contention callback: {e}"),
            },
            Some(callback::Proc::CacheInvalidation) => match CacheInvalidation::decode(&mut d) {
                Ok(req) => match std::str::from_utf8(&req.gfid).map(str::parse) {
                    Ok(Ok(gfid)) => self.tell(|_, events| events.blamed(gfid, &req.xdata)),
                    _ => tracing::warn!("invalidation callback: {:?} is no gfid", req.gfid),
                },
                Err(e) => tracing::warn!("invalidation callback: {e}"),
            },
            // The brick's disk has failed: it is as good as gone. While it is down the brick refuses SETVOLUME, so a new
            // session is there as soon as it is usable again, and CHILD_UP need not be waited for.
            Some(callback::Proc::ChildDown) => self.disconnect("its storage is down (CHILD_DOWN)"),
            // Unknown callbacks are ignored (wire-protocol.md 2.5).
            _ => {}
        }
    }
}

/// Releases a number that is of no use.
pub(super) fn give_back(connection: &Connection, fd: &Fd, number: i64) -> Reply<fop::CommonRsp> {
    let cred = nobody_v3();
    let (gfid, xdata) = (fd.gfid(), Dict::new());
    if fd.is_dir() {
        let req = ReleasedirReq {
            gfid,
            fd: number,
            xdata,
        };
        Reply::new(connection.call(program::FOP, ReleasedirReq::PROC as u32, &cred, &req, None))
    } else {
        let req = ReleaseReq {
            gfid,
            fd: number,
            xdata,
        };
        Reply::new(connection.call(program::FOP, ReleaseReq::PROC as u32, &cred, &req, None))
    }
}

/// Credentials of what a session asks on its own behalf.
fn nobody() -> GlusterfsCred {
    GlusterfsCred {
        lk_owner: Bytes::from_static(&[0; 4]),
        ..GlusterfsCred::default()
    }
}

pub(super) fn nobody_v2() -> Credential {
    Credential::V2(nobody())
}

pub(super) fn nobody_v3() -> Credential {
    Credential::V3(nobody())
}

/// Asks the peer whether it lives.
pub(super) fn ping(connection: &Connection) -> oneshot::Receiver<Result<RawReply, RpcError>> {
    let proc = dump::Proc::Ping as u32;
    connection.call_with(program::DUMP, proc, &nobody_v2(), &(), None, Patience::Ping)
}

/// How soon a fop is answered, as far as its kind tells.
pub(super) fn patience(proc: fop::Proc) -> Patience {
    use fop::Proc;
    match proc {
        Proc::Read | Proc::Readdir | Proc::Readdirp | Proc::Seek => Patience::Read,
        Proc::Fsync | Proc::Fsyncdir | Proc::Truncate | Proc::Ftruncate | Proc::Unlink | Proc::Rmdir => Patience::Slow,
        Proc::Fallocate | Proc::Discard | Proc::Zerofill | Proc::Rchecksum | Proc::CopyFileRange => Patience::Slow,
        _ => Patience::Prompt,
    }
}
