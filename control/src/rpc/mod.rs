//! Remote procedure calls of the control plane: GlusterFS's record-marked Sun RPC over TCP and Unix sockets.
//!
//! [`Server`] answers the programs of a registry (and DUMP and PING for itself), [`Client`] makes calls and hands on
//! callbacks. What the arguments mean is the programs' business; file data never passes through here.
//! Facts: wire-protocol.md 1 and 2.

mod client;
mod message;
mod record;
mod server;

pub use client::{CallError, Callback, CallbackHandler, Client};
pub use record::{MAX_RECORD, RecordError};
pub use server::{Call, ConnectionId, PeerHandle, Program, Refusal, Server};

pub use crate::rt::Address;

/// A program number and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId {
    /// RPC program number (wire-protocol.md 2.1).
    pub number: u32,
    /// Its version.
    pub version: u32,
}

impl ProgramId {
    /// Names a program.
    pub const fn new(number: u32, version: u32) -> ProgramId {
        ProgramId { number, version }
    }

    /// GF-DUMP: list of programs and ping, served by everyone.
    pub const DUMP: ProgramId = ProgramId::new(123_451_501, 1);
    /// Handshake: SETVOLUME on bricks, GETSPEC on glusterd.
    pub const HANDSHAKE: ProgramId = ProgramId::new(14_398_633, 2);
    /// Portmap of glusterd.
    pub const PORTMAP: ProgramId = ProgramId::new(34_123_456, 1);
    /// Callbacks from a server to its clients.
    pub const CALLBACK: ProgramId = ProgramId::new(52_743_234, 1);
    /// Brick operations: glusterd to bricks and daemons.
    pub const BRICK_OP: ProgramId = ProgramId::new(4_867_634, 2);
    /// The command line's program.
    pub const CLI: ProgramId = ProgramId::new(1_238_463, 2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{self, Listener, Stream};
    use bytes::Bytes;
    use datapath::wire::rpc::{AcceptStat, ReplyStatus};
    use futures_util::future::{FutureExt, LocalBoxFuture};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(5);
    const ECHO: ProgramId = ProgramId::new(4711, 1);

    struct Echo;

    impl Program for Echo {
        fn id(&self) -> ProgramId {
            ECHO
        }

        fn name(&self) -> &'static str {
            "echo"
        }

        fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
            async move {
                match call.procedure {
                    1 => Ok(call.args),
                    // A callback with the xid of the call that is outstanding, before its reply.
                    2 => {
                        (0..3).for_each(|_| call.peer.callback(ProgramId::CALLBACK, 1, b""));
                        Ok(Bytes::from_static(b"done"))
                    }
                    3 => {
                        rt::sleep(Duration::from_millis(200)).await;
                        Ok(Bytes::from_static(b"slow"))
                    }
                    4 => {
                        call.peer.disconnect();
                        rt::sleep(Duration::from_millis(50)).await;
                        Ok(Bytes::new())
                    }
                    _ => Err(Refusal::ProcUnavail),
                }
            }
            .boxed_local()
        }
    }

    async fn start() -> Address {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.local().clone();
        rt::spawn(async move { Server::new(vec![Rc::new(Echo)]).serve(listener).await });
        address
    }

    #[test]
    fn calls_callbacks_and_refusals() {
        rt::block_on(async {
            let address = start().await;
            let seen = Rc::new(RefCell::new(Vec::new()));
            let sink = seen.clone();
            let client = Client::connect(&address, Rc::new(move |c| sink.borrow_mut().push(c.procedure)))
                .await
                .unwrap();
            let slow = client.call(ECHO, 3, b"", LIMIT);
            let fast = client.call(ECHO, 1, b"abcd", LIMIT);
            let (slow, fast) = futures_util::join!(slow, fast);
            assert_eq!(
                (slow.unwrap(), fast.unwrap()),
                (Bytes::from_static(b"slow"), Bytes::from_static(b"abcd"))
            );
            assert_eq!(client.call(ECHO, 2, b"", LIMIT).await.unwrap(), "done");
            assert_eq!(*seen.borrow(), [1, 1, 1]);
            assert_eq!(
                client.call(ECHO, 9, b"", LIMIT).await,
                Err(CallError::Refused(ReplyStatus::Accepted(AcceptStat::ProcUnavail)))
            );
            let other = ProgramId::new(ECHO.number, 2);
            assert_eq!(
                client.call(other, 1, b"", LIMIT).await,
                Err(CallError::Refused(ReplyStatus::Accepted(AcceptStat::ProgMismatch {
                    low: 0,
                    high: 0
                })))
            );
            let none = ProgramId::new(1, 1);
            assert_eq!(
                client.call(none, 1, b"", LIMIT).await,
                Err(CallError::Refused(ReplyStatus::Accepted(AcceptStat::ProgUnavail)))
            );
            let limit = Duration::from_millis(20);
            assert_eq!(client.call(ECHO, 3, b"", limit).await, Err(CallError::TimedOut(limit)));
            assert!(matches!(
                client.call(ECHO, 4, b"", LIMIT).await,
                Err(CallError::Disconnected(_))
            ));
            assert!(matches!(
                client.call(ECHO, 1, b"", LIMIT).await,
                Err(CallError::Disconnected(_))
            ));
            assert!(!client.ended().await.is_empty());
        })
        .unwrap();
    }

    #[test]
    fn dump_lists_the_programs() {
        rt::block_on(async {
            let client = Client::connect_plain(&start().await).await.unwrap();
            let body = client.call(ProgramId::DUMP, 1, &[0; 8], LIMIT).await.unwrap();
            assert_eq!(&body[16..32], b"\0\0\0\x01\0\0\0\x07GF-DUMP\0");
            assert_eq!(&body[48..60], b"\0\0\0\x01\0\0\0\x04echo");
            assert_eq!(body.len(), 48 + 12 + 16 + 4);
            assert_eq!(client.call(ProgramId::DUMP, 2, b"", LIMIT).await.unwrap(), vec![0; 12]);
        })
        .unwrap();
    }

    #[test]
    fn garbage_ends_the_connection_and_only_that() {
        rt::block_on(async {
            let address = start().await;
            let records: [&[u8]; 3] = [
                &[0xff; 4],
                b"\x80\0\0\x04junk",
                &[0x80, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 9],
            ];
            for record in records {
                let stream = Stream::connect(&address).await.unwrap();
                stream.write_all(record.to_vec()).await.unwrap();
                if record.len() == 12 {
                    stream.write_all(vec![0; 4]).await.unwrap();
                }
                let end = rt::timeout(LIMIT, stream.read(Vec::with_capacity(16))).await.unwrap().0;
                assert!(matches!(end, Ok(0) | Err(_)), "{record:?} was answered");
            }
            let client = Client::connect_plain(&address).await.unwrap();
            assert_eq!(client.call(ECHO, 1, b"okay", LIMIT).await.unwrap(), "okay");
        })
        .unwrap();
    }
}
