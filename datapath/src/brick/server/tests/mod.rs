//! Whole sessions over loopback TCP: a client made of `wire` and `rpc` against a brick on a real directory.

mod content;
mod fops;
mod index;
mod junk;
mod locking;
mod oracle;
mod rpc;
mod session;

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{BrickConfig, BrickServer};
use crate::brick::store::{Options, Store, StoreConfig, init_brick};
use crate::errno::{Errno, FsResult};
use crate::exec::net::{Addr, Listener, Stream};
use crate::exec::{self, CoreConfig};
use crate::rpc::{Connection, RawReply};
use crate::wire::auth::{Credential, GlusterfsCred};
use crate::wire::fop::{
    CreateReq, CreateRsp, Fop, FopRsp, Iatt2Rsp, Iatt3Rsp, LookupReq, MkdirReq, Proc, ReadReq, ReadRsp, WriteReq,
};
use crate::wire::handshake::{self, SetvolumeReq, SetvolumeRsp};
use crate::wire::xdr::Xdr;
use crate::wire::{Dict, Gfid, OldDict, Value, flags, program};

pub(super) const VOLUME_ID: Gfid = Gfid([0x77; 16]);
pub(super) const NAME: &str = "/bricks/test";
/// Longer than anything here takes, shorter than a test run's patience.
const PATIENCE: Duration = Duration::from_secs(20);

/// A brick that serves on a loopback port; the directory goes with it.
pub(super) struct Lab {
    pub server: BrickServer,
    pub addr: SocketAddr,
    pub root: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

pub(super) fn config() -> BrickConfig {
    let mut config = BrickConfig::new(NAME, "vol", VOLUME_ID, "server-uuid");
    config.auth.login_allow.insert("user".into());
    config.auth.passwords.insert("user".into(), "secret".into());
    config
}

pub(super) fn fresh_root() -> PathBuf {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let n = LAST.fetch_add(1, Ordering::Relaxed);
    let root = std::env::temp_dir().join(format!("ringluster-server-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).unwrap();
    root
}

pub(super) fn open_store(root: &Path) -> Store {
    let options = Options {
        fips_mode_rchecksum: true,
        hostname: "lab".into(),
        ..Options::default()
    };
    Store::open(StoreConfig {
        root: root.to_path_buf(),
        volume_id: VOLUME_ID,
        options,
    })
    .unwrap()
}

/// Runs `test` on a core of its own against a fresh brick.
pub(super) fn with_brick<F: Future<Output = ()>>(config: BrickConfig, test: impl FnOnce(Rc<Lab>) -> F) {
    let core = CoreConfig {
        entries: 256,
        pin_cpu: None,
        buffer_bytes: 4 << 20,
    };
    exec::uring_core(core, || async move {
        let root = fresh_root();
        init_brick(&root, VOLUME_ID).unwrap();
        let server = BrickServer::new(config, open_store(&root)).unwrap();
        let listener = Listener::bind(&Addr::Inet("127.0.0.1:0".parse().unwrap()))
            .await
            .unwrap();
        let Addr::Inet(addr) = listener.local().clone() else {
            panic!("not a TCP listener")
        };
        let serving = server.clone();
        let accepting = exec::spawn(async move { serving.serve(listener).await });
        let lab = Rc::new(Lab { server, addr, root });
        exec::timeout(PATIENCE, test(Rc::clone(&lab)))
            .await
            .expect("the test hangs");
        lab.server.stop();
        accepting.await.unwrap().unwrap();
    })
    .unwrap();
}

/// Lets other tasks run until `done`, or fails.
pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        exec::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}

/// A client with one connection.
pub(super) struct Raw {
    pub conn: Connection,
    pub cred: RefCell<GlusterfsCred>,
    /// Callbacks received: procedure and arguments.
    pub callbacks: Rc<RefCell<Vec<(u32, Bytes)>>>,
}

impl Raw {
    /// Connects without introducing itself.
    pub async fn connect(lab: &Lab) -> Raw {
        let stream = Stream::connect(&Addr::Inet(lab.addr)).await.unwrap();
        let callbacks: Rc<RefCell<Vec<(u32, Bytes)>>> = Rc::default();
        let seen = Rc::clone(&callbacks);
        let conn = Connection::start(stream, Box::new(move |h, args| seen.borrow_mut().push((h.proc, args))));
        let cred = GlusterfsCred {
            pid: 4242,
            lk_owner: Bytes::from_static(b"ownerAAA"),
            ..GlusterfsCred::default()
        };
        Raw {
            conn,
            cred: RefCell::new(cred),
            callbacks,
        }
    }

    /// Connects and passes SETVOLUME as client `name`.
    pub async fn join(lab: &Lab, name: &str) -> Raw {
        let raw = Raw::connect(lab).await;
        let rsp = raw.set_volume(request(name)).await;
        assert_eq!((rsp.op_ret, rsp.dict.get_str("ERROR")), (0, Some("Success")));
        raw
    }

    pub async fn set_volume(&self, dict: OldDict) -> SetvolumeRsp {
        let proc = handshake::Proc::Setvolume as u32;
        let cred = self.credential();
        self.conn
            .request(program::HANDSHAKE_BRICK, proc, &cred, &SetvolumeReq { dict })
            .await
            .unwrap()
    }

    pub fn credential(&self) -> Credential {
        Credential::V3(self.cred.borrow().clone())
    }

    /// Another lock owner from now on.
    pub fn become_owner(&self, owner: &'static [u8]) {
        self.cred.borrow_mut().lk_owner = Bytes::from_static(owner);
    }

    pub fn stamp(&self, flags: u32, sec: u64) {
        let mut cred = self.cred.borrow_mut();
        (cred.flags, cred.ctime_sec) = (flags, sec);
    }

    /// The reply as it came, with its status.
    pub async fn reply<R: Fop>(&self, req: &R) -> R::Reply {
        self.conn
            .request(program::FOP, R::PROC as u32, &self.credential(), req)
            .await
            .unwrap()
    }

    /// The reply, or the error it reports.
    pub async fn fop<R: Fop>(&self, req: &R) -> FsResult<R::Reply> {
        self.reply(req).await.into_result()
    }

    /// Sends a call and gives what will be its reply.
    pub fn send<R: Fop>(&self, req: &R) -> exec::JoinHandle<R::Reply>
    where
        R::Reply: 'static,
    {
        let reply = self
            .conn
            .call(program::FOP, R::PROC as u32, &self.credential(), req, None);
        exec::spawn(async move { reply.await.unwrap().unwrap().decode().unwrap() })
    }

    /// Calls any procedure with any arguments; the raw reply or why the RPC layer refused.
    pub async fn raw(&self, prog: program::Program, proc: u32, args: &impl Xdr) -> Result<RawReply, String> {
        let reply = self.conn.call(prog, proc, &self.credential(), args, None).await;
        reply.map_err(|_| "dropped".to_string())?.map_err(|e| e.to_string())
    }

    pub async fn write(&self, gfid: Gfid, fd: i64, offset: u64, data: &'static [u8]) -> FsResult<Iatt2Rsp> {
        self.write_with(gfid, fd, offset, Bytes::from_static(data), 0, Dict::null())
            .await
    }

    pub async fn write_with(
        &self,
        gfid: Gfid,
        fd: i64,
        offset: u64,
        data: Bytes,
        flag: u32,
        xdata: Dict,
    ) -> FsResult<Iatt2Rsp> {
        let req = WriteReq {
            gfid,
            fd,
            offset,
            size: data.len() as u32,
            flag,
            xdata,
        };
        let reply = self
            .conn
            .call(program::FOP, Proc::Write as u32, &self.credential(), &req, Some(data))
            .await;
        reply.unwrap().unwrap().decode::<Iatt2Rsp>().unwrap().into_result()
    }

    pub async fn read(&self, gfid: Gfid, fd: i64, offset: u64, size: u32) -> FsResult<(ReadRsp, Bytes)> {
        let req = ReadReq {
            gfid,
            fd,
            offset,
            size,
            flag: 0,
            xdata: Dict::null(),
        };
        let reply = self
            .conn
            .call(program::FOP, Proc::Read as u32, &self.credential(), &req, None)
            .await;
        let reply = reply.unwrap().unwrap();
        let rsp = reply.decode::<ReadRsp>().unwrap().into_result()?;
        assert_eq!(rsp.size as usize, reply.payload.len());
        Ok((rsp, reply.payload))
    }

    pub async fn create(&self, name: &'static str, gfid: Gfid) -> CreateRsp {
        self.fop(&CreateReq {
            pargfid: Gfid::ROOT,
            flags: flags::open::RDWR | flags::open::CREAT | flags::open::EXCL,
            mode: 0o100644,
            umask: 0,
            bname: Bytes::from_static(name.as_bytes()),
            xdata: gfid_req(gfid),
        })
        .await
        .unwrap()
    }

    pub async fn mkdir(&self, name: &'static str, gfid: Gfid) -> Iatt3Rsp {
        let bname = Bytes::from_static(name.as_bytes());
        let req = MkdirReq {
            pargfid: Gfid::ROOT,
            mode: 0o755,
            umask: 0,
            bname,
            xdata: gfid_req(gfid),
        };
        self.fop(&req).await.unwrap()
    }

    pub async fn lookup(&self, name: &'static str) -> FsResult<Iatt2Rsp> {
        let bname = Bytes::from_static(name.as_bytes());
        self.fop(&LookupReq {
            pargfid: Gfid::ROOT,
            bname,
            ..LookupReq::default()
        })
        .await
    }

    pub async fn lookup_gfid(&self, gfid: Gfid, xdata: Dict) -> FsResult<Iatt2Rsp> {
        self.fop(&LookupReq {
            gfid,
            xdata,
            ..LookupReq::default()
        })
        .await
    }

    /// Ends the connection and waits until the brick has noticed.
    pub async fn leave(self, lab: &Lab) {
        let before = lab.server.status().clients.len();
        self.conn.abort("test");
        until("the brick notices a disconnect", || {
            lab.server.status().clients.len() < before
        })
        .await;
    }
}

pub(super) fn gfid_req(gfid: Gfid) -> Dict {
    Dict::new().with("gfid-req", Value::Gfid(gfid))
}

/// A gfid for tests.
pub(super) fn gfid(n: u8) -> Gfid {
    let mut bytes = [n; 16];
    bytes[6] = 0x40;
    Gfid(bytes)
}

/// The SETVOLUME dictionary of a client instance on its first connection.
pub(super) fn request(name: &str) -> OldDict {
    request_as(&format!(
        "CTX_ID:{name}-GRAPH_ID:0-PID:1-HOST:h-PC_NAME:vol-client-0-RECON_NO:-0"
    ))
}

pub(super) fn request_as(uuid: &str) -> OldDict {
    OldDict::new()
        .with_str("remote-subvolume", NAME)
        .with_str("process-uuid", uuid)
        .with_str("fops-version", "1298437")
        .with_str("clnt-lk-version", "1")
        .with_str("client-version", "10.3")
        .with_str("opversion", "100000")
        .with_str("process-name", "fuse")
}

pub(super) fn errno<T: std::fmt::Debug>(result: FsResult<T>) -> Errno {
    result.expect_err("an error was expected")
}
