//! How a session with a brick is made, from the connect to the moment at which the brick may be used: DUMP, SETVOLUME,
//! the canary of a brick that was given up, its fds opened and its locks taken again (wire-protocol.md 4.2, 4.5, 4.6).
//!
//! What happens in a session is not known here.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::health::Canary;
use super::reply::Reply;
use super::subvol::{SessionEnd, Subvol, give_back, nobody_v2, nobody_v3, patience, ping};
use crate::errno::Errno;
use crate::exec;
use crate::exec::net::{Addr, Stream};
use crate::replicate::lk_request;
use crate::rpc::{Connection, RpcError};
use crate::wire::auth::{Credential, GlusterfsCred};
use crate::wire::dump::{DumpReq, DumpRsp};
use crate::wire::fop::{self, Fop, FsyncReq, LkCmd, LookupReq, OpenReq, OpendirReq, RemovexattrReq};
use crate::wire::handshake::{SetvolumeReq, SetvolumeRsp};
use crate::wire::rpc::CallHeader;
use crate::wire::{Dict, Gfid, dump, handshake, olddict::OldDict, program};

/// How long a TCP connect may take: a SYN in the kernel's back-off is given up for a fresh one (DESIGN.md section 5).
const CONNECT_TIMEOUT: Duration = Duration::from_millis(900);
/// Every so many attempts one gets the whole handshake's time: a network so slow is slow, not broken.
const PATIENT_ATTEMPT: u64 = 8;
/// How long the handshake may take. The control thread asks for the port anew afterwards.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// A brick that hung at its disk is asked to work and may take so long for the first time: it answers when the disk is
/// back, and is not asked again and again meanwhile.
const WORK_TIMEOUT: Duration = Duration::from_secs(42);
/// An xattr nobody has: removing it goes through everything that a change goes through and changes nothing.
const NO_XATTR: &[u8] = b"user.ringluster.canary";

impl Subvol {
    /// Finds out by another connection whether the session, which is silent, has any future. A server that went down
    /// and came back knows nothing of it, and the kernel, which repeats what was not acknowledged at ever longer
    /// intervals, would find that out after up to as long as the server was away.
    pub(super) async fn knock(self) {
        let (Some(connection), Some(addr)) = (self.connection(), self.0.peer.get()) else {
            return;
        };
        let heard = connection.received();
        if let Ok(Some(found)) = exec::timeout(CONNECT_TIMEOUT, sound_out(addr)).await
            && connection.received() == heard
        {
            connection.abort(&format!("silent, while {found} at {addr}"));
        }
    }

    pub(super) async fn establish(&self, addr: SocketAddr, attempt: u64) -> Result<Connection, SessionEnd> {
        let patient = attempt.is_multiple_of(PATIENT_ATTEMPT);
        let limit = if patient { HANDSHAKE_TIMEOUT } else { CONNECT_TIMEOUT };
        let late = |what: &str, limit: Duration| SessionEnd::Retry(format!("no {what} from {addr} within {limit:?}"));
        let stream = exec::timeout(limit, Stream::connect(&Addr::Inet(addr)))
            .await
            .map_err(|_| late("connection", limit))?
            .map_err(|e| SessionEnd::Retry(format!("connect to {addr}: {e}")))?;
        let me = Rc::downgrade(&self.0);
        let on_callback = move |header: &CallHeader, args| {
            if let Some(inner) = me.upgrade() {
                Subvol(inner).on_callback(header, args);
            }
        };
        let connection = Connection::start(stream, Box::new(on_callback));
        let guard = AbortOnDrop(Some(connection.clone()));
        exec::timeout(HANDSHAKE_TIMEOUT, self.shake_hands(addr, &connection))
            .await
            .map_err(|_| late("answer", HANDSHAKE_TIMEOUT))??;
        self.show_canary(&connection).await?;
        exec::timeout(HANDSHAKE_TIMEOUT, self.reopen(&connection))
            .await
            .map_err(|_| late("answer to OPEN", HANDSHAKE_TIMEOUT))?;
        exec::timeout(HANDSHAKE_TIMEOUT, self.lock_again(&connection))
            .await
            .map_err(|_| late("answer to LK", HANDSHAKE_TIMEOUT))?;
        guard.disarm();
        Ok(connection)
    }

    async fn shake_hands(&self, addr: SocketAddr, connection: &Connection) -> Result<(), SessionEnd> {
        let retry = |e: RpcError| SessionEnd::Retry(e.to_string());
        let dump = DumpReq {
            gfs_id: dump::CLIENT_GFS_ID,
        };
        let programs: DumpRsp = connection
            .request(program::DUMP, dump::Proc::Dump as u32, &nobody_v2(), &dump)
            .await
            .map_err(retry)?;
        if !programs.has(program::FOP) {
            return Err(SessionEnd::Retry(format!(
                "{addr} does not serve GLUSTERFS version 4 fops"
            )));
        }
        self.set_volume(connection).await
    }

    /// A brick that was given up must show that it answers again, and one whose disk hung that it works again, before
    /// anything waits for it.
    async fn show_canary(&self, connection: &Connection) -> Result<(), SessionEnd> {
        let Some((canary, limit)) = self.ask(|brick, events| events.monitor().canary(brick)).flatten() else {
            return Ok(());
        };
        if canary == Canary::Work {
            // The first may have to wait for the disk; what comes after it must not.
            self.canary_within(WORK_TIMEOUT, self.work(connection)).await?;
            self.canary_within(limit, self.work(connection)).await?;
        }
        self.canary_within(limit, async {
            ping(connection).await.map_err(|_| RpcError::Disconnected)??;
            let root = LookupReq {
                gfid: Gfid::ROOT,
                ..LookupReq::default()
            };
            raw(connection, &root).await
        })
        .await
    }

    async fn canary_within(
        &self,
        limit: Duration,
        canary: impl Future<Output = Result<(), RpcError>>,
    ) -> Result<(), SessionEnd> {
        match exec::timeout(limit, canary).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(SessionEnd::Retry(e.to_string())),
            Err(_) => {
                self.tell(|brick, events| events.monitor().canary_failed(brick));
                Err(SessionEnd::Retry(format!("it does not answer within {limit:?} yet")))
            }
        }
    }

    /// Something that goes to the disk and leaves nothing there. What the brick says to it does not matter.
    async fn work(&self, connection: &Connection) -> Result<(), RpcError> {
        let remove = RemovexattrReq {
            gfid: Gfid::ROOT,
            name: Bytes::from_static(NO_XATTR),
            xdata: Dict::null(),
        };
        raw(connection, &remove).await?;
        let sync = FsyncReq {
            gfid: Gfid::ROOT,
            fd: fop::ANONYMOUS_FD,
            data: 0,
            xdata: Dict::null(),
        };
        raw(connection, &sync).await
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
            .with_str("volfile-checksum", "0")
            .with_str(handshake::OURS, "1");
        if let Some(id) = &spec.volume_id {
            dict = dict.with_str("volume-id", id);
        }
        if let Some((user, password)) = &spec.credentials {
            dict = dict.with_str("username", user).with_str("password", password);
        }
        let cred = nobody_v3();
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
            self.0.ours.set(rsp.dict.get_str(handshake::OURS).is_some());
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
        let cred = nobody_v3();
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

    /// Takes the locks this client holds again on the brick, which has dropped them with the connection before this.
    async fn lock_again(&self, connection: &Connection) {
        let held = self.ask(|_, events| events.held_locks()).unwrap_or_default();
        let mut under_way = Vec::new();
        for (fd, flock) in held {
            let Some(number) = self.index().and_then(|brick| fd.remote(brick)) else {
                continue;
            };
            let cred = Credential::V3(GlusterfsCred {
                pid: flock.pid.cast_signed(),
                lk_owner: flock.lk_owner.clone(),
                ..GlusterfsCred::default()
            });
            let req = lk_request(&fd, number, LkCmd::SetLk, flock);
            let reply: Reply<fop::LkRsp> =
                Reply::new(connection.call(program::FOP, fop::LkReq::PROC as u32, &cred, &req, None));
            under_way.push((fd, reply));
        }
        for (fd, reply) in under_way {
            if let Err(e) = reply.await {
                // Another client has it there by now; on the bricks that stayed it is still this one's.
                tracing::warn!("{}: a lock of {} could not be taken again: {e}", self.name(), fd.gfid());
            }
        }
    }
}

/// What another connection to a brick's address finds; `None`: nothing that tells whether the brick is there.
async fn sound_out(addr: SocketAddr) -> Option<&'static str> {
    let stream = match Stream::connect(&Addr::Inet(addr)).await {
        Ok(stream) => stream,
        Err(e) => return (e.raw_os_error() == Some(Errno::ECONNREFUSED.0)).then_some("nobody listens"),
    };
    let connection = Connection::start(stream, Box::new(|_, _| ()));
    let _guard = AbortOnDrop(Some(connection.clone()));
    let answer = ping(&connection).await;
    answer
        .is_ok_and(|reply| reply.is_ok())
        .then_some("a new connection is answered")
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

/// Makes a call whose result is of no interest; only that there is one.
async fn raw<R: Fop>(connection: &Connection, req: &R) -> Result<(), RpcError> {
    let call = connection.call_with(program::FOP, R::PROC as u32, &nobody_v3(), req, None, patience(R::PROC));
    call.await.map_err(|_| RpcError::Disconnected)?.map(drop)
}
