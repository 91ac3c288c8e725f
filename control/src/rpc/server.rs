//! The answering side: a registry of programs behind one or more listeners, and callbacks to connected peers.
//!
//! Each call runs as its own task, so a slow one (a brick start) does not hold up others of the same connection. What a
//! peer can make the server keep is bounded: record length, calls in progress, bytes of unsent answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use datapath::wire::auth::Credential;
use datapath::wire::rpc::{AcceptStat, CallHeader, ReplyHeader, ReplyStatus};
use futures_util::future::LocalBoxFuture;

use super::message::{self, Message};
use super::record::{RecordError, RecordReader};
use super::{Address, ProgramId};
use crate::rt::{self, Listener, Stream, sync};

/// Calls in progress per connection; further ones wait in the socket.
const MAX_CALLS: usize = 64;
/// Bytes queued for one peer; a peer that does not read so much is disconnected.
const MAX_QUEUED: usize = 64 << 20;
/// Pause after an accept that failed (out of descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Number of a connection, unique for the life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Why a call is not carried out. Failures of the operation itself are no refusals: they travel in the result body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The arguments do not decode.
    GarbageArgs,
    /// The program has no such procedure.
    ProcUnavail,
    /// The server failed.
    SystemErr,
}

/// One call to a program.
#[derive(Debug, Clone)]
pub struct Call {
    /// Procedure number.
    pub procedure: u32,
    /// Arguments, undecoded.
    pub args: Bytes,
    /// Who calls, as the credential says.
    pub credential: Credential,
    /// The connection the call came on.
    pub peer: PeerHandle,
}

/// A program that the server answers for.
pub trait Program {
    /// Number and version.
    fn id(&self) -> ProgramId;

    /// The name that DUMP lists (wire-protocol.md 2.1).
    fn name(&self) -> &'static str;

    /// Carries out one call and returns the result body.
    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>>;

    /// A peer has connected.
    fn connected(&self, _peer: &PeerHandle) {}

    /// A peer has gone.
    fn disconnected(&self, _peer: &PeerHandle) {}
}

struct PeerInner {
    id: ConnectionId,
    address: Address,
    local: Address,
    stream: Stream,
    outgoing: sync::mpsc::UnboundedSender<Vec<u8>>,
    queued: Cell<usize>,
    next_callback: Cell<u32>,
}

/// A connected peer: where it comes from, and a way to call it back.
#[derive(Clone)]
pub struct PeerHandle(Rc<PeerInner>);

impl std::fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerHandle({:?}, {})", self.0.id, self.0.address)
    }
}

impl PeerHandle {
    /// The connection's number.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// The peer's address; for a Unix socket usually without a path.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The address the peer connected to.
    pub fn local(&self) -> &Address {
        &self.0.local
    }

    /// Sends a one-way call to the peer. Nothing happens if the peer has gone.
    pub fn callback(&self, program: ProgramId, procedure: u32, args: &[u8]) {
        // Callbacks count from 1 per connection (wire-protocol.md 1.4).
        let xid = self.0.next_callback.get();
        self.0.next_callback.set(xid.wrapping_add(1));
        let header = CallHeader {
            xid,
            prog: program.number,
            vers: program.version,
            proc: procedure,
            cred: Credential::Null,
        };
        self.send(message::encode_call(&header, args));
    }

    /// Ends the connection.
    pub fn disconnect(&self) {
        self.0.stream.shutdown();
    }

    fn send(&self, record: Vec<u8>) {
        let queued = self.0.queued.get() + record.len();
        if queued > MAX_QUEUED {
            tracing::warn!("{}: disconnected, it does not read its answers", self.0.address);
            self.disconnect();
            return;
        }
        if self.0.outgoing.send(record).is_ok() {
            self.0.queued.set(queued);
        }
    }
}

struct ServerInner {
    programs: BTreeMap<ProgramId, Rc<dyn Program>>,
    /// As DUMP lists them.
    order: Vec<ProgramId>,
    peers: RefCell<BTreeMap<ConnectionId, PeerHandle>>,
    next_id: Cell<u64>,
}

/// A registry of programs and the connections to it. Clones share both.
#[derive(Clone)]
pub struct Server(Rc<ServerInner>);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("programs", &self.0.order)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server for `programs`, listed by DUMP in this order. GF-DUMP (DUMP and PING) is added in front.
    pub fn new(programs: Vec<Rc<dyn Program>>) -> Server {
        let order = std::iter::once(ProgramId::DUMP)
            .chain(programs.iter().map(|p| p.id()))
            .collect();
        let programs = programs.into_iter().map(|p| (p.id(), p)).collect();
        Server(Rc::new(ServerInner {
            programs,
            order,
            peers: RefCell::default(),
            next_id: Cell::new(1),
        }))
    }

    /// Accepts and serves connections until the future is dropped.
    pub async fn serve(&self, listener: Listener) {
        loop {
            match listener.accept().await {
                Ok(stream) => self.serve_stream(stream),
                Err(e) => {
                    tracing::error!("accept on {} failed: {e}", listener.local());
                    rt::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connected stream in a task of its own.
    pub fn serve_stream(&self, stream: Stream) {
        let id = ConnectionId(self.0.next_id.get());
        self.0.next_id.set(id.0 + 1);
        let (outgoing, queue) = sync::mpsc::unbounded_channel();
        let peer = PeerHandle(Rc::new(PeerInner {
            id,
            address: stream.peer().clone(),
            local: stream.local().clone(),
            stream: stream.clone(),
            outgoing,
            queued: Cell::new(0),
            next_callback: Cell::new(1),
        }));
        let writer = rt::spawn_owned(write_loop(stream.clone(), queue, Rc::downgrade(&peer.0)));
        let server = self.clone();
        rt::spawn(async move {
            server.0.peers.borrow_mut().insert(id, peer.clone());
            server.0.programs.values().for_each(|p| p.connected(&peer));
            let why = server.read_loop(stream.clone(), &peer).await;
            match why {
                End::Record(RecordError::Closed) => tracing::debug!("{}: disconnected", peer.address()),
                why => tracing::warn!("{}: disconnected: {why}", peer.address()),
            }
            stream.shutdown();
            server.0.peers.borrow_mut().remove(&id);
            server.0.programs.values().for_each(|p| p.disconnected(&peer));
            drop(writer);
        });
    }

    /// The peers connected now.
    pub fn peers(&self) -> Vec<PeerHandle> {
        self.0.peers.borrow().values().cloned().collect()
    }

    /// Sends a one-way call to every connected peer.
    pub fn broadcast(&self, program: ProgramId, procedure: u32, args: &[u8]) {
        for peer in self.peers() {
            peer.callback(program, procedure, args);
        }
    }

    async fn read_loop(&self, stream: Stream, peer: &PeerHandle) -> End {
        let mut records = RecordReader::new(stream);
        let slots = Arc::new(sync::Semaphore::new(MAX_CALLS));
        loop {
            let record = match records.next().await {
                Ok(record) => record,
                Err(e) => return End::Record(e),
            };
            let (header, args) = match message::decode(&record) {
                Ok(Message::Call(header, args)) => (header, args),
                Ok(Message::Reply(..)) => continue,
                Err(why) => return End::Malformed(why),
            };
            let slot = match slots.clone().acquire_owned().await {
                Ok(slot) => slot,
                Err(_) => return End::Malformed("the server is shutting down".to_owned()),
            };
            let (server, peer) = (self.clone(), peer.clone());
            rt::spawn(async move {
                server.answer(header, args, peer).await;
                drop(slot);
            });
        }
    }

    async fn answer(&self, header: CallHeader, args: Bytes, peer: PeerHandle) {
        let id = ProgramId::new(header.prog, header.vers);
        let CallHeader {
            xid,
            proc: procedure,
            cred: credential,
            ..
        } = header;
        let result = match self.0.programs.get(&id) {
            Some(program) => {
                let call = Call {
                    procedure,
                    args,
                    credential,
                    peer: peer.clone(),
                };
                program.clone().call(call).await.map_err(|refusal| match refusal {
                    Refusal::GarbageArgs => AcceptStat::GarbageArgs,
                    Refusal::ProcUnavail => AcceptStat::ProcUnavail,
                    Refusal::SystemErr => AcceptStat::SystemErr,
                })
            }
            None if id == ProgramId::DUMP => self.dump_program(procedure),
            // 10.3 names no versions either.
            None if self.0.order.iter().any(|p| p.number == id.number) => {
                Err(AcceptStat::ProgMismatch { low: 0, high: 0 })
            }
            None => Err(AcceptStat::ProgUnavail),
        };
        let record = match result {
            Ok(body) => message::encode_reply(&ReplyHeader::success(xid), &body),
            Err(why) => {
                let status = ReplyStatus::Accepted(why);
                tracing::debug!("{}: program {id:?} procedure {procedure}: {status}", peer.address());
                message::encode_reply(&ReplyHeader { xid, status }, &[])
            }
        };
        peer.send(record);
    }

    fn dump_program(&self, procedure: u32) -> Result<Bytes, AcceptStat> {
        match procedure {
            1 => Ok(self.dump()),
            // gf_common_rsp: op_ret 0, op_errno 0, empty dictionary.
            2 => Ok(Bytes::from_static(&[0; 12])),
            _ => Err(AcceptStat::ProcUnavail),
        }
    }

    fn dump(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_bytes(0, 16);
        for id in &self.0.order {
            let name = self.0.programs.get(id).map_or("GF-DUMP", |p| p.name());
            out.put_u32(1);
            out.put_u32(u32::try_from(name.len()).unwrap_or(0));
            out.put_slice(name.as_bytes());
            out.put_bytes(0, name.len().next_multiple_of(4) - name.len());
            out.put_u64(u64::from(id.number));
            out.put_u64(u64::from(id.version));
        }
        out.put_u32(0);
        out.freeze()
    }
}

/// Why a connection ended.
enum End {
    Record(RecordError),
    Malformed(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Record(e) => e.fmt(f),
            End::Malformed(why) => write!(f, "malformed message: {why}"),
        }
    }
}

async fn write_loop(stream: Stream, mut queue: sync::mpsc::UnboundedReceiver<Vec<u8>>, peer: std::rc::Weak<PeerInner>) {
    while let Some(record) = queue.recv().await {
        let len = record.len();
        if let Err(e) = stream.write_all(record).await {
            tracing::debug!("{}: answer lost: {e}", stream.peer());
            stream.shutdown();
            return;
        }
        if let Some(peer) = peer.upgrade() {
            peer.queued.set(peer.queued.get().saturating_sub(len));
        }
    }
}
