//! The calling side of a connection: calls out, replies matched by xid, callbacks handed on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::latency::Latency;
use super::{Outbox, RecordError, RecordReader};
use crate::exec::net::Stream;
use crate::exec::sync::oneshot;
use crate::exec::{self, Mono};
use crate::wire::auth::Credential;
use crate::wire::fop::{self, HeaderLen};
use crate::wire::program::{self, Program};
use crate::wire::rpc::{self, CallHeader, MessageType, ReplyHeader};
use crate::wire::xdr::{Decoder, Xdr};

/// The largest reply a client accepts, bytes: a directory listing or 1 MiB of file data with room for xdata.
pub const MAX_REPLY: usize = 16 << 20;
/// xid of the first call on a connection object (wire-protocol.md 1.4).
const FIRST_XID: u32 = 2;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcError {
    /// The connection ended before the reply came.
    Disconnected,
    /// The peer refused the call itself: accept or deny status of the RPC header.
    Refused(String),
    /// The reply does not decode.
    BadReply(String),
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcError::Disconnected => f.write_str("connection lost before the reply"),
            RpcError::Refused(why) => write!(f, "call refused: {why}"),
            RpcError::BadReply(why) => write!(f, "reply does not decode: {why}"),
        }
    }
}

impl std::error::Error for RpcError {}

/// The bytes of one reply.
#[derive(Debug)]
pub struct RawReply {
    /// The result body, behind the RPC header.
    pub body: Bytes,
    /// File data of a READ reply.
    pub payload: Bytes,
}

impl RawReply {
    /// Decodes the body.
    ///
    /// # Errors
    /// [`RpcError::BadReply`] naming the bad field.
    pub fn decode<T: Xdr>(&self) -> Result<T, RpcError> {
        let mut d = Decoder::new(&self.body);
        T::decode(&mut d).map_err(|e| RpcError::BadReply(e.to_string()))
    }
}

/// Called with each callback of the peer (wire-protocol.md 2.5): header and arguments.
pub type CallbackHandler = Box<dyn Fn(&CallHeader, Bytes)>;

/// How soon a call may be expected to be answered: calls of one kind are compared with each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Work of a moment.
    Prompt,
    /// Reads: of the moment too, but one brick is asked, not all.
    Read,
    /// Waits for a disk or changes much: fsync, truncate, unlink, allocation.
    Slow,
    /// Asks whether the peer lives, not whether it can work.
    Ping,
    /// Waits for somebody else (a blocking lock): no answer says nothing about the peer.
    Unbounded,
}

impl Patience {
    const KINDS: usize = 5;
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Result<RawReply, RpcError>>,
    /// A READ: its reply carries file data.
    carries_data: bool,
    patience: Patience,
    since: Mono,
}

/// What is known of the answered calls of one kind.
#[derive(Debug, Default)]
struct Answered {
    /// When the latest call that has been answered was sent.
    sent: Cell<Mono>,
    times: RefCell<Latency>,
}

/// The oldest unanswered call of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oldest {
    /// Its number in the connection.
    pub xid: u32,
    /// When it was sent.
    pub sent: Mono,
}

/// A connection that makes calls. Cheap to clone.
#[derive(Clone)]
pub struct Connection(Rc<Inner>);

struct Inner {
    stream: Stream,
    outbox: Rc<Outbox>,
    waiting: RefCell<BTreeMap<u32, Waiting>>,
    next_xid: Cell<u32>,
    closed: Cell<bool>,
    last_received: Cell<Mono>,
    /// Bytes received, counted by the reader.
    received: Rc<Cell<u64>>,
    answered: [Answered; Patience::KINDS],
    ended: exec::sync::Event,
    why: RefCell<Option<String>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.0.stream.peer())
            .field("closed", &self.0.closed.get())
            .finish()
    }
}

impl Connection {
    /// Takes over `stream`: starts its sender and its reader.
    pub fn start(stream: Stream, on_callback: CallbackHandler) -> Connection {
        let outbox = Outbox::new(stream.clone());
        let records = RecordReader::new(stream.clone(), MAX_REPLY);
        let inner = Rc::new(Inner {
            stream,
            outbox: outbox.clone(),
            waiting: RefCell::default(),
            next_xid: Cell::new(FIRST_XID),
            closed: Cell::new(false),
            last_received: Cell::new(exec::now()),
            received: records.counter(),
            answered: Default::default(),
            ended: exec::sync::Event::new(),
            why: RefCell::default(),
        });
        let sender = inner.clone();
        exec::spawn(async move {
            if let Err(e) = outbox.run().await {
                sender.end(&format!("send failed: {e}"));
            }
        });
        let reader = inner.clone();
        exec::spawn(async move {
            let why = reader.read_all(records, on_callback).await;
            reader.end(&why);
        });
        Connection(inner)
    }

    /// Sends a call of a moment now and returns what will be its reply. `payload` is WRITE data, sent from where it is.
    pub fn call(
        &self,
        program: Program,
        proc: u32,
        cred: &Credential,
        args: &impl Xdr,
        payload: Option<Bytes>,
    ) -> oneshot::Receiver<Result<RawReply, RpcError>> {
        self.call_with(program, proc, cred, args, payload, Patience::Prompt)
    }

    /// [`Connection::call`] of another kind.
    pub fn call_with(
        &self,
        program: Program,
        proc: u32,
        cred: &Credential,
        args: &impl Xdr,
        payload: Option<Bytes>,
        patience: Patience,
    ) -> oneshot::Receiver<Result<RawReply, RpcError>> {
        let (tx, rx) = oneshot::oneshot();
        let inner = &self.0;
        if inner.closed.get() {
            let _ = tx.send(Err(RpcError::Disconnected));
            return rx;
        }
        let xid = inner.next_xid.get();
        inner.next_xid.set(xid.wrapping_add(1));
        let carries_data = program == program::FOP && proc == fop::Proc::Read as u32;
        inner.waiting.borrow_mut().insert(
            xid,
            Waiting {
                reply: tx,
                carries_data,
                patience,
                since: exec::now(),
            },
        );
        let head = rpc::call_record(xid, program, proc, cred, args, payload.as_ref().map_or(0, Bytes::len));
        inner.outbox.push(std::iter::once(head).chain(payload));
        rx
    }

    /// Makes a call and decodes its result.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn request<T: Xdr>(
        &self,
        program: Program,
        proc: u32,
        cred: &Credential,
        args: &impl Xdr,
    ) -> Result<T, RpcError> {
        match self.call(program, proc, cred, args, None).await {
            Ok(reply) => reply?.decode(),
            Err(_) => Err(RpcError::Disconnected),
        }
    }

    /// Bytes waiting to be sent.
    pub fn backlog(&self) -> usize {
        self.0.outbox.backlog()
    }

    /// Calls without a reply yet.
    pub fn outstanding(&self) -> usize {
        self.0.waiting.borrow().len()
    }

    /// How long the oldest call has been waiting.
    pub fn oldest_wait(&self) -> Option<Duration> {
        // Numbers grow with time; only every 2^32 calls the oldest is not the first for a moment.
        let waiting = self.0.waiting.borrow();
        waiting.first_key_value().map(|(_, w)| exec::now() - w.since)
    }

    /// The oldest unanswered call of one kind.
    pub fn oldest(&self, patience: Patience) -> Option<Oldest> {
        let waiting = self.0.waiting.borrow();
        let (xid, call) = waiting.iter().find(|(_, w)| w.patience == patience)?;
        Some(Oldest {
            xid: *xid,
            sent: call.since,
        })
    }

    /// The oldest unanswered call of one kind that was sent at `since` or later.
    pub fn oldest_since(&self, patience: Patience, since: Mono) -> Option<Oldest> {
        let waiting = self.0.waiting.borrow();
        let (xid, call) = waiting
            .iter()
            .find(|(_, w)| w.patience == patience && w.since >= since)?;
        Some(Oldest {
            xid: *xid,
            sent: call.since,
        })
    }

    /// When the latest call of a kind that has been answered was sent; the beginning of time if none has.
    pub fn answered(&self, patience: Patience) -> Mono {
        self.0.answered[patience as usize].sent.get()
    }

    /// The time within which 99 of 100 calls of a kind were answered lately; `None` before the first answer.
    pub fn usual_time(&self, patience: Patience) -> Option<Duration> {
        self.0.answered[patience as usize].times.borrow().p99()
    }

    /// Bytes received so far: it grows as long as anything arrives, however long the record.
    pub fn received(&self) -> u64 {
        self.0.received.get()
    }

    /// Bytes the socket has taken so far.
    pub fn sent(&self) -> u64 {
        self.0.outbox.sent()
    }

    /// How long nothing has been received.
    pub fn silence(&self) -> Duration {
        exec::now() - self.0.last_received.get()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// Ends the connection at once: reset, so that nothing of ours can arrive late at the peer.
    pub fn abort(&self, why: &str) {
        self.0.end(why);
    }

    /// Waits for the end and tells why.
    pub async fn ended(&self) -> String {
        self.0.ended.wait().await;
        self.0.why.borrow().clone().unwrap_or_default()
    }
}

impl Inner {
    fn end(&self, why: &str) {
        if self.closed.replace(true) {
            return;
        }
        *self.why.borrow_mut() = Some(why.to_string());
        self.stream.abort();
        self.outbox.close();
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (_, w) in waiting {
            // Whoever gave up on the call has dropped its end.
            let _ = w.reply.send(Err(RpcError::Disconnected));
        }
        self.ended.set();
    }

    /// Reads until the stream ends; returns why it did.
    async fn read_all(&self, mut reader: RecordReader, on_callback: CallbackHandler) -> String {
        loop {
            let split = |prefix: &[u8]| self.split(prefix);
            let record = match reader.next(split).await {
                Ok(Some(record)) => record,
                Ok(None) => return "connection closed by peer".to_string(),
                Err(RecordError::Io(e)) => return e.to_string(),
                Err(e) => return e.to_string(),
            };
            if self.closed.get() {
                return String::new();
            }
            self.last_received.set(exec::now());
            if let Err(why) = self.take(record.message, record.payload, &on_callback) {
                return why;
            }
        }
    }

    fn note_answer(&self, call: &Waiting) {
        let answered = &self.answered[call.patience as usize];
        answered.sent.set(answered.sent.get().max(call.since));
        answered.times.borrow_mut().add(self.last_received.get() - call.since);
    }

    fn split(&self, prefix: &[u8]) -> HeaderLen {
        match rpc::peek(prefix) {
            Some((xid, MessageType::Reply)) if self.waiting.borrow().get(&xid).is_some_and(|w| w.carries_data) => {
                fop::read_reply_header_len(prefix)
            }
            Some(_) => HeaderLen::NotPayload,
            None => HeaderLen::NeedMore,
        }
    }

    /// One record. Replies and callbacks have their own xid counters, so the message type decides first.
    fn take(&self, message: Bytes, payload: Bytes, on_callback: &CallbackHandler) -> Result<(), String> {
        let mut d = Decoder::new(&message);
        match rpc::peek(&message) {
            Some((_, MessageType::Call)) => {
                let header = CallHeader::decode(&mut d).map_err(|e| format!("bad callback header: {e}"))?;
                let args = d.rest();
                on_callback(&header, args);
            }
            Some((_, MessageType::Reply)) => {
                let header = ReplyHeader::decode(&mut d).map_err(|e| format!("bad reply header: {e}"))?;
                let Some(waiting) = self.waiting.borrow_mut().remove(&header.xid) else {
                    return Err(format!("reply to a call that was not made: xid {}", header.xid));
                };
                self.note_answer(&waiting);
                let result = if header.is_success() {
                    Ok(RawReply {
                        body: d.rest(),
                        payload,
                    })
                } else {
                    Err(RpcError::Refused(format!("{:?}", header.status)))
                };
                // Whoever gave up on the call has dropped its end.
                let _ = waiting.reply.send(result);
            }
            None => return Err("record is not an RPC message".to_string()),
        }
        Ok(())
    }
}
