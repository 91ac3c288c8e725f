//! One connection of a client: reading its requests in order, and sending replies and callbacks.
//!
//! What a request means is decided in `dispatch`; here is only the stream.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::Brick;
use super::auth::Peer;
use super::clients::Client;
use super::config::{BrickConfig, MAX_BACKLOG, MAX_IN_FLIGHT, MAX_RECORD_LEN};
use super::dispatch;
use crate::exec::net::{Addr, Stream};
use crate::exec::sync::Notify;
use crate::exec::{self, Mono};
use crate::rpc::{Outbox, RecordError, RecordReader};
use crate::wire::auth::Credential;
use crate::wire::fop::write_call_header_len;
use crate::wire::rpc::{AcceptStat, ReplyHeader, ReplyStatus, call_record, error_record, reply_record};
use crate::wire::xdr::Xdr;
use crate::wire::{callback, program};

/// A connection.
#[derive(Debug)]
pub struct Conn {
    /// Number of this connection since the start, for logs.
    pub id: u64,
    /// Where it comes from, for authentication.
    pub peer: Peer,
    /// The same for logs and status.
    pub peer_text: String,
    stream: Stream,
    outbox: Rc<Outbox>,
    client: RefCell<Option<Rc<Client>>>,
    /// Requests that are under way as tasks.
    in_flight: Cell<usize>,
    finished: Notify,
    /// Lock requests that wait.
    pub waiting_locks: Cell<usize>,
    callback_xid: Cell<u32>,
    received: Cell<u64>,
    closed: Cell<bool>,
    since: Mono,
    heard: Cell<Mono>,
    /// When it was last asked for a sign of life.
    asked: Cell<Mono>,
    /// Since when what was sent has not been acknowledged, as far as it was looked at.
    unacknowledged: Cell<Option<Mono>>,
}

impl Conn {
    /// A connection over an accepted stream.
    pub fn new(id: u64, stream: Stream) -> Rc<Conn> {
        let peer_text = stream.peer().to_string();
        let peer = match stream.peer() {
            Addr::Inet(addr) => Peer::Inet(addr.ip(), addr.port()),
            Addr::Unix(_) => Peer::Local,
        };
        Rc::new(Conn {
            id,
            peer,
            peer_text,
            outbox: Outbox::new(stream.clone()),
            stream,
            client: RefCell::default(),
            in_flight: Cell::new(0),
            finished: Notify::new(),
            waiting_locks: Cell::new(0),
            callback_xid: Cell::new(1),
            received: Cell::new(0),
            closed: Cell::new(false),
            since: exec::now(),
            heard: Cell::new(exec::now()),
            asked: Cell::default(),
            unacknowledged: Cell::new(None),
        })
    }

    /// The client that passed SETVOLUME here.
    pub fn client(&self) -> Option<Rc<Client>> {
        self.client.borrow().clone()
    }

    /// Binds the connection to a client, or to none; gives the former one.
    pub fn set_client(&self, client: Option<Rc<Client>>) -> Option<Rc<Client>> {
        self.client.replace(client)
    }

    /// Bytes received and sent.
    pub fn traffic(&self) -> (u64, u64) {
        (self.received.get(), self.outbox.sent())
    }

    /// When it was accepted.
    pub fn since(&self) -> Mono {
        self.since
    }

    /// When a request was last read.
    pub fn heard(&self) -> Mono {
        self.heard.get()
    }

    /// For how long, as far as it was looked at, the client's machine has not acknowledged what was sent to it. Asks it
    /// for a sign of life if there is nothing to acknowledge, unless it was heard or asked within `pace`.
    pub fn unacknowledged(&self, pace: Duration, may_ask: bool) -> Duration {
        let now = exec::now();
        if let Ok(Some(last)) = self.stream.unacknowledged() {
            // On a busy connection something is always on its way; on an idle one the last acknowledgement is old.
            let since = self.unacknowledged.get().unwrap_or(now);
            self.unacknowledged.set(Some(since));
            return last.min(now - since).min(now - self.heard.get());
        }
        self.unacknowledged.set(None);
        if may_ask && now - self.heard.get() >= pace && now - self.asked.get() >= pace {
            self.asked.set(now);
            self.callback(callback::Proc::EventNotify, &callback::EventNotify::default());
        }
        Duration::ZERO
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Breaks the connection: the peer gets RST, the reader ends.
    pub fn abort(&self) {
        if !self.closed.replace(true) {
            self.outbox.close();
            self.stream.abort();
            self.finished.notify_waiters();
        }
    }

    /// Sends a successful reply; `payload` is file data, sent from where it is. A connection that has ended takes
    /// no replies: its client's locks and files are cleaned up, so nobody relies on them.
    pub fn reply(&self, xid: u32, result: &impl Xdr, payload: Option<Bytes>) {
        let head = reply_record(xid, result, payload.as_ref().map_or(0, Bytes::len));
        self.push(std::iter::once(head).chain(payload));
    }

    /// Sends a reply without result.
    pub fn refuse(&self, xid: u32, stat: AcceptStat) {
        self.push([error_record(&ReplyHeader::accepted(xid, stat))]);
    }

    /// Sends a reply of any status without result.
    pub fn refuse_with(&self, xid: u32, status: ReplyStatus) {
        self.push([error_record(&ReplyHeader { xid, status })]);
    }

    /// Sends a callback; they have a number series of their own and no replies (wire-protocol.md 1.4, 1.8).
    pub fn callback(&self, proc: callback::Proc, args: &impl Xdr) {
        let xid = self.callback_xid.get();
        self.callback_xid.set(xid.wrapping_add(1));
        self.push([call_record(
            xid,
            program::CALLBACK,
            proc as u32,
            &Credential::Null,
            args,
            0,
        )]);
    }

    fn push(&self, message: impl IntoIterator<Item = Bytes>) {
        if !self.outbox.push(message) && !self.closed.get() {
            tracing::warn!(peer = %self.peer_text, "a reply could not be queued, disconnecting");
            self.abort();
        }
    }

    /// Marks a request as under way in a task until the guard is dropped.
    pub fn begin(self: &Rc<Conn>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(Rc::clone(self))
    }

    /// Whether requests are under way in tasks.
    pub fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Waits until no request is under way.
    pub async fn idle(&self) {
        while self.is_busy() {
            self.finished.notified().await;
        }
    }

    /// Waits until another request may be read: the back-pressure of a slow disk and of a client that does not
    /// take its replies.
    async fn room(&self) {
        while self.in_flight.get() >= MAX_IN_FLIGHT && !self.closed.get() {
            self.finished.notified().await;
        }
        self.outbox.room(MAX_BACKLOG).await;
    }
}

/// A request under way.
#[derive(Debug)]
pub struct InFlight(Rc<Conn>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.finished.notify_waiters();
    }
}

/// Sets the options of an accepted socket. A socket without them still works, so failures are only logged.
fn set_options(stream: &Stream, config: &BrickConfig) {
    if !matches!(stream.peer(), Addr::Inet(_)) {
        return;
    }
    let k = config.keepalive;
    let mut result = stream.set_keepalive(k.idle, k.interval, k.count);
    if result.is_ok() && !k.user_timeout.is_zero() {
        result = stream.set_user_timeout(k.user_timeout);
    }
    if let Err(e) = result {
        tracing::debug!(peer = %stream.peer(), "socket options not set: {e}");
    }
}

/// Serves a connection until it ends; its locks and files are cleaned up then.
pub(super) async fn serve(brick: Rc<Brick>, conn: Rc<Conn>) {
    set_options(&conn.stream, &brick.config());
    let sender = Rc::clone(&conn);
    exec::spawn(async move {
        if let Err(e) = sender.outbox.run().await
            && !sender.is_closed()
        {
            tracing::info!(peer = %sender.peer_text, "send failed, disconnecting: {e}");
            sender.abort();
        }
    });
    let mut reader = RecordReader::new(conn.stream.clone(), MAX_RECORD_LEN);
    let why = loop {
        conn.room().await;
        if conn.is_closed() {
            break "reset by the brick".to_string();
        }
        match reader.next(write_call_header_len).await {
            Ok(Some(record)) if !conn.is_closed() => {
                conn.received.set(reader.received());
                conn.heard.set(exec::now());
                dispatch::handle(&brick, &conn, record);
            }
            Ok(_) => break "closed by the client".to_string(),
            Err(e) => {
                log_end(&conn, &e);
                break e.to_string();
            }
        }
    };
    brick.disconnected(&conn, &why);
}

fn log_end(conn: &Conn, error: &RecordError) {
    match error {
        _ if conn.is_closed() => {}
        RecordError::Io(e) => tracing::info!(peer = %conn.peer_text, "connection lost: {e}"),
        other => tracing::warn!(peer = %conn.peer_text, "connection refused: {other}"),
    }
}
