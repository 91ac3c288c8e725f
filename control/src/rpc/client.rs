//! The calling side of a control connection: xid matching, time limits, callbacks.
//!
//! Reconnecting is the caller's business: a [`Client`] is one connection and ends with it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::wire::Xdr;
use datapath::wire::rpc::{CallHeader, ReplyStatus};

use super::message::{self, Message};
use super::record::RecordReader;
use super::{Address, ProgramId};
use crate::rt::{self, OwnedTask, Stream, sync};

/// First xid of a connection, as GlusterFS's (wire-protocol.md 1.4).
const FIRST_XID: u32 = 2;

/// A call from the server to this client. It is never answered.
#[derive(Debug, Clone)]
pub struct Callback {
    /// The callback program.
    pub program: ProgramId,
    /// Its procedure.
    pub procedure: u32,
    /// Its arguments, undecoded.
    pub args: Bytes,
}

/// Takes the callbacks of a connection.
pub type CallbackHandler = Rc<dyn Fn(Callback)>;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The connection ended (the text says how) before the reply came.
    Disconnected(String),
    /// The server did not carry the call out.
    Refused(ReplyStatus),
    /// No reply within the time limit.
    TimedOut(Duration),
    /// The result body is not what the procedure returns.
    Undecodable(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Disconnected(why) => write!(f, "disconnected: {why}"),
            CallError::Refused(why) => write!(f, "refused by the server: {why}"),
            CallError::Undecodable(why) => write!(f, "undecodable reply: {why}"),
            CallError::TimedOut(limit) => write!(f, "no reply within {} ms", limit.as_millis()),
        }
    }
}

impl std::error::Error for CallError {}

type Waiter = sync::oneshot::Sender<Result<Bytes, CallError>>;

struct Shared {
    next_xid: Cell<u32>,
    waiting: RefCell<HashMap<u32, Waiter>>,
    outgoing: sync::mpsc::UnboundedSender<Vec<u8>>,
    ended: sync::watch::Sender<Option<String>>,
    peer: Address,
    local: Address,
}

impl Shared {
    /// Fails all outstanding calls and marks the connection ended; the first reason stays.
    fn end(&self, why: String) {
        let why = self.ended.borrow().clone().unwrap_or(why);
        self.ended.send_replace(Some(why.clone()));
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waiter in waiting.into_values() {
            // A caller that gave up has dropped its end.
            let _ = waiter.send(Err(CallError::Disconnected(why.clone())));
        }
    }
}

/// One connection to a server. Clones share it; it is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    shared: Rc<Shared>,
    _tasks: Rc<(OwnedTask<()>, OwnedTask<()>)>,
    stream: Stream,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.shared.peer)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to `address`. `callbacks` gets every call the server makes on this connection.
    pub async fn connect(address: &Address, callbacks: CallbackHandler) -> std::io::Result<Client> {
        Ok(Client::over(Stream::connect(address).await?, callbacks))
    }

    /// Connects and ignores callbacks.
    pub async fn connect_plain(address: &Address) -> std::io::Result<Client> {
        Client::connect(address, Rc::new(|_| ())).await
    }

    /// Uses a connected stream.
    pub fn over(stream: Stream, callbacks: CallbackHandler) -> Client {
        let (outgoing, queue) = sync::mpsc::unbounded_channel();
        let shared = Rc::new(Shared {
            next_xid: Cell::new(FIRST_XID),
            waiting: RefCell::default(),
            outgoing,
            ended: sync::watch::Sender::new(None),
            peer: stream.peer().clone(),
            local: stream.local().clone(),
        });
        let reader = rt::spawn_owned(read_loop(stream.clone(), shared.clone(), callbacks));
        let writer = rt::spawn_owned(write_loop(stream.clone(), shared.clone(), queue));
        Client {
            shared,
            _tasks: Rc::new((reader, writer)),
            stream,
        }
    }

    /// Calls a procedure and waits for its result body, for `limit` at most.
    pub async fn call(
        &self,
        program: ProgramId,
        procedure: u32,
        args: &[u8],
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        if let Some(why) = self.end_reason() {
            return Err(CallError::Disconnected(why));
        }
        let xid = self.shared.next_xid.get();
        self.shared.next_xid.set(xid.wrapping_add(1));
        let header = CallHeader {
            xid,
            prog: program.number,
            vers: program.version,
            proc: procedure,
            cred: message::own_credential(),
        };
        let (waiter, reply) = sync::oneshot::channel();
        self.shared.waiting.borrow_mut().insert(xid, waiter);
        if self.shared.outgoing.send(message::encode_call(&header, args)).is_err() {
            self.shared.end("the connection's writer has ended".to_owned());
        }
        let result = rt::timeout(limit, reply).await;
        self.shared.waiting.borrow_mut().remove(&xid);
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::Disconnected("connection dropped".to_owned())),
            Err(_) => Err(CallError::TimedOut(limit)),
        }
    }

    /// [`Client::call`] with typed arguments and result.
    pub async fn call_typed<Q: Xdr, R: Xdr>(
        &self,
        program: ProgramId,
        procedure: u32,
        request: &Q,
        limit: Duration,
    ) -> Result<R, CallError> {
        let body = self.call(program, procedure, &request.to_bytes(), limit).await?;
        R::from_bytes(&body).map_err(|e| CallError::Undecodable(e.to_string()))
    }

    /// Why the connection ended, if it has.
    pub fn end_reason(&self) -> Option<String> {
        self.shared.ended.borrow().clone()
    }

    /// Waits for the end of the connection and says why it ended.
    pub async fn ended(&self) -> String {
        let mut watch = self.shared.ended.subscribe();
        loop {
            if let Some(why) = watch.borrow_and_update().clone() {
                return why;
            }
            if watch.changed().await.is_err() {
                return "connection dropped".to_owned();
            }
        }
    }

    /// Ends the connection; outstanding calls fail.
    pub fn close(&self) {
        self.shared.end("closed by this side".to_owned());
        self.stream.shutdown();
    }

    /// The server's address.
    pub fn peer(&self) -> &Address {
        &self.shared.peer
    }

    /// This side's address.
    pub fn local(&self) -> &Address {
        &self.shared.local
    }
}

async fn read_loop(stream: Stream, shared: Rc<Shared>, callbacks: CallbackHandler) {
    let mut records = RecordReader::new(stream.clone());
    let why = loop {
        let record = match records.next().await {
            Ok(record) => record,
            Err(e) => break e.to_string(),
        };
        // The message type decides first: a callback's xid regularly equals that of an outstanding call.
        match message::decode(&record) {
            Ok(Message::Call(header, args)) => callbacks(Callback {
                program: ProgramId::new(header.prog, header.vers),
                procedure: header.proc,
                args,
            }),
            Ok(Message::Reply(header, body)) => {
                let Some(waiter) = shared.waiting.borrow_mut().remove(&header.xid) else {
                    tracing::debug!("{}: reply with xid {} that nobody waits for", shared.peer, header.xid);
                    continue;
                };
                let result = if header.is_success() {
                    Ok(body)
                } else {
                    Err(CallError::Refused(header.status))
                };
                // A caller that gave up has dropped its end.
                let _ = waiter.send(result);
            }
            Err(why) => break format!("malformed message: {why}"),
        }
    };
    shared.end(why);
    stream.shutdown();
}

async fn write_loop(stream: Stream, shared: Rc<Shared>, mut queue: sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(record) = queue.recv().await {
        if let Err(e) = stream.write_all(record).await {
            shared.end(format!("socket error: {e}"));
            stream.shutdown();
            return;
        }
    }
}
