//! `protocol/client`: the session of one core with one brick.
//!
//! A session is made from an address the control thread supplies: connect, DUMP, SETVOLUME, re-open the fds, then
//! the brick counts as up (wire-protocol.md 4.2, 4.5, 4.6). When it ends, its calls fail with `ENOTCONN` at once.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fd::{Fd, FdTable};
use super::reply::{DataReply, Reply};
use super::spec::ClientSpec;
use crate::errno::Errno;
use crate::exec;
use crate::exec::net::{Addr, Stream};
use crate::rpc::{Connection, RpcError};
use crate::wire::auth::{Credential, GlusterfsCred};
use crate::wire::callback::{EntrylkContention, InodelkContention};
use crate::wire::dump::{DumpReq, DumpRsp};
use crate::wire::fop::{self, Fop, OpenReq, OpendirReq, ReadReq, ReleaseReq, ReleasedirReq, WriteReq};
use crate::wire::handshake::{SetvolumeReq, SetvolumeRsp};
use crate::wire::rpc::CallHeader;
use crate::wire::xdr::{Decoder, Xdr};
use crate::wire::{Dict, Gfid, callback, dump, handshake, olddict::OldDict, program};

/// How long a TCP connect and each handshake step may take. The control thread asks for the port anew afterwards.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a session looks whether its peer is silent.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Silence with calls outstanding that makes a session ask whether the peer lives.
const PING_AFTER: Duration = Duration::from_secs(1);

/// What a session tells the layer above it.
pub trait SubvolEvents {
    /// The brick may be used: SETVOLUME accepted, fds re-opened.
    fn up(&self, brick: usize);
    /// The brick may not be used any more; calls under way have failed.
    fn down(&self, brick: usize, why: &str);
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
pub struct Subvol(Rc<Inner>);

struct Inner {
    /// Index in `spec`; `None` once the brick has left the volume.
    brick: Cell<Option<usize>>,
    spec: RefCell<Arc<ClientSpec>>,
    session: RefCell<Option<Connection>>,
    reconnects: Cell<u32>,
    attempt: Cell<u64>,
    /// Counts sessions made.
    sessions: Cell<u64>,
    fds: Rc<FdTable>,
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

    fn tell(&self, f: impl FnOnce(usize, &dyn SubvolEvents)) {
        let events = self.0.events.borrow().upgrade();
        if let (Some(events), Some(brick)) = (events, self.index()) {
            f(brick, &*events);
        }
    }

    /// Whether calls can be made.
    pub fn is_up(&self) -> bool {
        self.0.session.borrow().is_some()
    }

    /// Which session there is now, if any. A brick's fd numbers mean nothing in another one.
    pub fn session_id(&self) -> Option<u64> {
        self.is_up().then(|| self.0.sessions.get())
    }

    /// Bytes waiting to be sent to it.
    pub fn backlog(&self) -> usize {
        self.0.session.borrow().as_ref().map_or(0, Connection::backlog)
    }

    /// Sends `req` now and returns the reply to come.
    pub fn call<R: Fop>(&self, cred: &GlusterfsCred, req: &R) -> Reply<R::Reply> {
        self.send(cred, req, None)
    }

    /// Sends a WRITE with its data.
    pub fn write(&self, cred: &GlusterfsCred, req: &WriteReq, data: Bytes) -> Reply<<WriteReq as Fop>::Reply> {
        self.send(cred, req, Some(data))
    }

    /// Sends a READ.
    pub fn read(&self, cred: &GlusterfsCred, req: &ReadReq) -> DataReply {
        DataReply::new(self.send(cred, req, None))
    }

    fn send<R: Fop>(&self, cred: &GlusterfsCred, req: &R, data: Option<Bytes>) -> Reply<R::Reply> {
        match &*self.0.session.borrow() {
            Some(c) => Reply::new(c.call(program::FOP, R::PROC as u32, &Credential::V3(cred.clone()), req, data)),
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

    /// Makes a session with the brick at `addr` and serves it until it ends. A session that exists is ended first.
    pub async fn run(&self, addr: SocketAddr) -> SessionEnd {
        if self.index().is_none() {
            return SessionEnd::Retry("the brick has left the volume".to_owned());
        }
        self.disconnect("replaced by a new session");
        let attempt = self.0.attempt.get();
        let made = exec::timeout(CONNECT_TIMEOUT, self.establish(addr)).await;
        let connection = match made {
            Ok(Ok(connection)) => connection,
            Ok(Err(end)) => return end,
            Err(_) => return SessionEnd::Retry(format!("no answer from {addr} within {CONNECT_TIMEOUT:?}")),
        };
        if self.0.attempt.get() != attempt {
            connection.abort("replaced while connecting");
            return SessionEnd::Retry("replaced while connecting".into());
        }
        self.0.sessions.set(self.0.sessions.get() + 1);
        self.0.session.replace(Some(connection.clone()));
        tracing::info!("{}: connected to {addr}", self.name());
        self.tell(|brick, events| events.up(brick));
        let watch = exec::spawn(watch(self.clone(), connection.clone()));
        let why = connection.ended().await;
        watch.abort();
        self.0.session.replace(None);
        if let Some(brick) = self.index() {
            self.0.fds.lost(brick);
            tracing::warn!("{}: disconnected from {addr}: {why}", self.name());
        }
        self.tell(|brick, events| events.down(brick, &why));
        SessionEnd::Retry(why)
    }

    async fn establish(&self, addr: SocketAddr) -> Result<Connection, SessionEnd> {
        let retry = |e: RpcError| SessionEnd::Retry(e.to_string());
        let stream = Stream::connect(&Addr::Inet(addr))
            .await
            .map_err(|e| SessionEnd::Retry(format!("connect to {addr}: {e}")))?;
        let me = Rc::downgrade(&self.0);
        let on_callback = move |header: &CallHeader, args| {
            if let Some(inner) = me.upgrade() {
                Subvol(inner).on_callback(header, args);
            }
        };
        let connection = Connection::start(stream, Box::new(on_callback));
        let guard = AbortOnDrop(Some(connection.clone()));
        let v2 = Credential::V2(GlusterfsCred {
            lk_owner: Bytes::from_static(&[0; 4]),
            ..GlusterfsCred::default()
        });
        let programs: DumpRsp = connection
            .request(
                program::DUMP,
                dump::Proc::Dump as u32,
                &v2,
                &DumpReq {
                    gfs_id: dump::CLIENT_GFS_ID,
                },
            )
            .await
            .map_err(retry)?;
        if !programs.has(program::FOP) {
            return Err(SessionEnd::Retry(format!(
                "{addr} does not serve GLUSTERFS version 4 fops"
            )));
        }
        self.set_volume(&connection).await?;
        self.reopen(&connection).await;
        guard.disarm();
        Ok(connection)
    }

    /// SETVOLUME: presents this client and names the brick (wire-protocol.md 4.5).
    async fn set_volume(&self, connection: &Connection) -> Result<(), SessionEnd> {
        let spec = self.0.spec.borrow().clone();
        let Some(brick) = self.index().and_then(|brick| spec.bricks.get(brick)) else {
            return Err(SessionEnd::Retry("the brick has left the volume".to_owned()));
        };
        let again = self.0.reconnects.get();
        self.0.reconnects.set(again + 1);
        let uuid = format!("{}-PC_NAME:{}-RECON_NO:-{again}", spec.client_id, brick.subvolume);
        let mut dict = OldDict::new()
            .with_str("remote-subvolume", &brick.path)
            .with_str("process-uuid", &uuid)
            .with_str("fops-version", &program::FOP.number.to_string())
            .with_str("clnt-lk-version", "1")
            .with_str("client-version", "10.3")
            .with_str("opversion", "100000")
            .with_str("process-name", &spec.process_name)
            .with_str("volfile-key", &spec.volfile_key)
            .with_str("volfile-checksum", "0");
        if let Some(id) = &spec.volume_id {
            dict = dict.with_str("volume-id", id);
        }
        if let Some((user, password)) = &spec.credentials {
            dict = dict.with_str("username", user).with_str("password", password);
        }
        let cred = Credential::V3(GlusterfsCred {
            lk_owner: Bytes::from_static(&[0; 4]),
            ..GlusterfsCred::default()
        });
        let rsp: SetvolumeRsp = connection
            .request(
                program::HANDSHAKE_BRICK,
                handshake::Proc::Setvolume as u32,
                &cred,
                &SetvolumeReq { dict },
            )
            .await
            .map_err(|e| SessionEnd::Retry(e.to_string()))?;
        if rsp.op_ret >= 0 {
            return Ok(());
        }
        let text = rsp.dict.get_str("ERROR").unwrap_or("no reason given").to_string();
        let why = format!(
            "{}: SETVOLUME refused: {text} ({})",
            brick.subvolume,
            Errno(rsp.op_errno)
        );
        Err(if rsp.op_errno == Errno::EACCES.0 {
            SessionEnd::AuthFailed(why)
        } else {
            SessionEnd::Retry(why)
        })
    }

    /// Opens every fd of this core on the brick again, before the brick counts as up.
    async fn reopen(&self, connection: &Connection) {
        let cred = Credential::V3(GlusterfsCred {
            lk_owner: Bytes::from_static(&[0; 4]),
            ..GlusterfsCred::default()
        });
        let mut under_way = Vec::new();
        for fd in self.0.fds.live() {
            let reply: Reply<fop::OpenRsp> = if fd.is_dir() {
                let req = OpendirReq {
                    gfid: fd.gfid(),
                    xdata: Dict::new(),
                };
                Reply::new(connection.call(program::FOP, OpendirReq::PROC as u32, &cred, &req, None))
            } else {
                let flags = fd.flags() & !((libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC) as u32);
                let req = OpenReq {
                    gfid: fd.gfid(),
                    flags,
                    xdata: Dict::new(),
                };
                Reply::new(connection.call(program::FOP, OpenReq::PROC as u32, &cred, &req, None))
            };
            under_way.push((fd, reply));
        }
        for (fd, reply) in under_way {
            match reply.await {
                // Closed meanwhile: nobody else knows this number.
                Ok(rsp) if fd.is_released() => drop(give_back(connection, &fd, rsp.fd)),
                Ok(rsp) => self.opened(&fd, rsp.fd),
                // A file the brick does not have yet: heal brings it, the anonymous fd serves until then.
                Err(e) => tracing::debug!("{}: {} not re-opened: {e}", self.name(), fd.gfid()),
            }
        }
    }

    fn opened(&self, fd: &Fd, number: i64) {
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
        exec::spawn(async move {
            let Ok(rsp) = reply.await else { return };
            if subvol.session_id() != opened_in {
                return;
            }
            let session = subvol.0.session.borrow().clone();
            match session {
                Some(connection) if fd.is_released() || subvol.is_open(&fd) => {
                    drop(give_back(&connection, &fd, rsp.fd));
                }
                _ => subvol.opened(&fd, rsp.fd),
            }
        });
    }

    fn on_callback(&self, header: &CallHeader, args: Bytes) {
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
            // CHILD_DOWN and CHILD_UP: the brick's own disk. Unknown callbacks are ignored (wire-protocol.md 2.5).
            _ => {}
        }
    }
}

/// Releases a number that is of no use.
fn give_back(connection: &Connection, fd: &Fd, number: i64) -> Reply<fop::CommonRsp> {
    let cred = Credential::V3(GlusterfsCred {
        lk_owner: Bytes::from_static(&[0; 4]),
        ..GlusterfsCred::default()
    });
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

/// Ends a half-made connection when its handshake fails or is given up.
struct AbortOnDrop(Option<Connection>);

impl AbortOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.abort("handshake not completed");
        }
    }
}

/// Pings a peer that is silent with calls outstanding; ends the session after `ping-timeout` of silence.
async fn watch(subvol: Subvol, connection: Connection) {
    let cred = Credential::V2(GlusterfsCred {
        lk_owner: Bytes::from_static(&[0; 4]),
        ..GlusterfsCred::default()
    });
    let mut ping = None;
    while !connection.is_closed() {
        exec::sleep(WATCH_INTERVAL).await;
        // Silence without a call to answer says nothing: it counts from the oldest question on.
        let asked = connection.oldest_wait().unwrap_or_default();
        let silence = connection.silence().min(asked);
        if silence < PING_AFTER {
            ping = None;
            continue;
        }
        if ping.is_none() {
            ping = Some(connection.call(program::DUMP, dump::Proc::Ping as u32, &cred, &(), None));
        }
        let limit = subvol.0.spec.borrow().options.ping_timeout;
        if !limit.is_zero() && silence >= limit {
            let text = format!(
                "has not responded in the last {} seconds, disconnecting.",
                limit.as_secs()
            );
            tracing::error!("{}: server {text}", subvol.name());
            connection.abort(&text);
        }
    }
}
