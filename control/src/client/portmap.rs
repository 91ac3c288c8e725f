//! Where each brick listens: the management daemon of its host is asked, again and again, as long as a core wants to
//! connect (wire-protocol.md 4.2, 4.4).
//!
//! One task a brick. Cores ask through [`Connector::want`]; the answers are paced, so that a brick that accepts and
//! breaks off does not make a busy loop.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::client::{BrickSpec, ToCore};
use datapath::exec::mailbox;
use datapath::wire::portmap::{PortByBrickReq, PortByBrickRsp, Proc};

use super::fetch::connect_any;
use super::resolve::Resolver;
use crate::rpc::{Address, ProgramId};
use crate::rt::{self, sync};

/// First and longest pause between attempts (DESIGN.md section 5).
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// One question to the daemon, connecting included.
const QUERY_LIMIT: Duration = Duration::from_secs(2);

/// Finds one brick for all cores.
pub(super) struct Connector {
    index: usize,
    brick: BrickSpec,
    fixed_port: Cell<Option<u16>>,
    mgmt_port: u16,
    /// The daemon of this machine by its socket, for a brick that is local.
    socket: Option<PathBuf>,
    resolver: Resolver,
    cores: Vec<mailbox::Sender<ToCore>>,
    wanting: RefCell<Vec<usize>>,
    wanted: sync::Notify,
    last: Cell<Option<SocketAddr>>,
    pause: Cell<Duration>,
}

impl Connector {
    pub(super) fn new(
        index: usize,
        brick: BrickSpec,
        fixed_port: Option<u16>,
        mgmt_port: u16,
        socket: Option<PathBuf>,
        resolver: Resolver,
        cores: Vec<mailbox::Sender<ToCore>>,
    ) -> Rc<Connector> {
        Rc::new(Connector {
            index,
            brick,
            fixed_port: Cell::new(fixed_port),
            mgmt_port,
            socket,
            resolver,
            cores,
            wanting: RefCell::default(),
            wanted: sync::Notify::new(),
            last: Cell::new(None),
            pause: Cell::new(Duration::ZERO),
        })
    }

    /// A core has no connection to the brick and wants its address.
    pub(super) fn want(&self, core: usize) {
        let mut wanting = self.wanting.borrow_mut();
        if !wanting.contains(&core) {
            wanting.push(core);
        }
        self.wanted.notify_one();
    }

    /// A session came up: the next loss is followed by an attempt at once.
    pub(super) fn succeeded(&self) {
        self.pause.set(Duration::ZERO);
    }

    /// Answers for ever.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            while self.wanting.borrow().is_empty() {
                self.wanted.notified().await;
            }
            let pause = self.pause.get();
            self.pause.set((pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE));
            rt::sleep(pause).await;
            match self.locate().await {
                Ok(addr) => {
                    self.last.set(Some(addr));
                    for core in self.wanting.take() {
                        self.tell(
                            core,
                            ToCore::Endpoint {
                                brick: self.index,
                                addr,
                            },
                        );
                    }
                }
                Err(why) => {
                    tracing::debug!("{}: {why}", self.brick.subvolume);
                    // They keep waiting, and know meanwhile that there is nothing to wait for at the start.
                    let cores = self.wanting.borrow().clone();
                    for core in cores {
                        self.tell(
                            core,
                            ToCore::Unreachable {
                                brick: self.index,
                                why: why.clone(),
                            },
                        );
                    }
                }
            }
        }
    }

    fn tell(&self, core: usize, message: ToCore) {
        let Some(sender) = self.cores.get(core) else { return };
        match sender.send(message) {
            Ok(()) | Err(mailbox::SendError::Closed(_)) => {}
            // The core asks again only after an answer, so it must get one: wait for the next round.
            Err(mailbox::SendError::Full(_)) => self.want(core),
        }
    }

    async fn locate(&self) -> Result<SocketAddr, String> {
        if let Some(port) = self.fixed_port.take() {
            // As in GlusterFS, a fixed port is believed for the first attempt only.
            let addresses = self
                .resolver
                .resolve(&self.brick.host)
                .await
                .map_err(|e| e.to_string())?;
            if let Some(ip) = addresses.first() {
                return Ok((*ip, port).into());
            }
        }
        match rt::timeout(QUERY_LIMIT, self.query()).await {
            Ok(Ok(addr)) => Ok(addr),
            Ok(Err(Absent(why))) => Err(why),
            Ok(Err(NoDaemon(why))) => self.remembered(why),
            Err(_) => self.remembered(format!("the daemon of {} does not answer", self.brick.host)),
        }
    }

    /// A brick runs on without its daemon: where it was is where it most likely still is. It checks by SETVOLUME that
    /// it is the right one.
    fn remembered(&self, why: String) -> Result<SocketAddr, String> {
        self.last.get().ok_or(why)
    }

    async fn query(&self) -> Result<SocketAddr, QueryError> {
        let addresses = self
            .resolver
            .resolve(&self.brick.host)
            .await
            .map_err(|e| NoDaemon(e.to_string()))?;
        if let Some(socket) = self.socket.as_ref().filter(|_| Resolver::is_local(&addresses))
            && let (Ok((port, _)), Some(ip)) = (self.ask(&[Address::Unix(socket.clone())]).await, addresses.first())
        {
            return Ok((*ip, port).into());
        }
        let daemons: Vec<Address> = addresses
            .iter()
            .map(|ip| Address::Tcp(SocketAddr::new(*ip, self.mgmt_port)))
            .collect();
        let (port, ip) = self.ask(&daemons).await?;
        let ip = ip
            .or_else(|| addresses.first().copied())
            .ok_or_else(|| NoDaemon("no address".to_owned()))?;
        Ok((ip, port).into())
    }

    async fn ask(&self, daemons: &[Address]) -> Result<(u16, Option<IpAddr>), QueryError> {
        let client = connect_any(daemons, Rc::new(|_| ()))
            .await
            .map_err(|why| NoDaemon(format!("the daemon of {} cannot be reached: {why}", self.brick.host)))?;
        let request = PortByBrickReq {
            brick: Bytes::from(self.brick.path.clone().into_bytes()),
        };
        let reply: PortByBrickRsp = client
            .call_typed(ProgramId::PORTMAP, Proc::PortByBrick as u32, &request, QUERY_LIMIT)
            .await
            .map_err(|e| NoDaemon(e.to_string()))?;
        let ip = match client.peer() {
            Address::Tcp(addr) => Some(addr.ip()),
            Address::Unix(_) => None,
        };
        match u16::try_from(reply.port) {
            Ok(port) if reply.op_ret == 0 && port > 0 => Ok((port, ip)),
            _ => Err(Absent(format!(
                "brick {}:{} is not running",
                self.brick.host, self.brick.path
            ))),
        }
    }
}

/// Why the daemon gave no port.
enum QueryError {
    /// It knows of no running brick of that name.
    Absent(String),
    /// It does not answer.
    NoDaemon(String),
}

use QueryError::{Absent, NoDaemon};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Call, Program, Refusal, Server};
    use crate::rt::Listener;
    use datapath::wire::Xdr;
    use futures_util::future::{FutureExt, LocalBoxFuture};

    struct Portmap(Cell<i32>);

    impl Program for Portmap {
        fn id(&self) -> ProgramId {
            ProgramId::PORTMAP
        }

        fn name(&self) -> &'static str {
            "Gluster Portmap"
        }

        fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
            async move {
                let request = PortByBrickReq::from_bytes(&call.args).map_err(|_| Refusal::GarbageArgs)?;
                assert_eq!(request.brick, "/b");
                let port = self.0.get();
                let op_ret = if port > 0 { 0 } else { -1 };
                Ok(PortByBrickRsp {
                    op_ret,
                    op_errno: 0,
                    status: 0,
                    port,
                }
                .to_bytes())
            }
            .boxed_local()
        }
    }

    fn brick() -> BrickSpec {
        BrickSpec {
            subvolume: "v-client-3".to_owned(),
            pending_name: "v-client-3".to_owned(),
            host: "127.0.0.1".to_owned(),
            path: "/b".to_owned(),
            local: true,
        }
    }

    #[test]
    fn cores_get_the_port_once_the_brick_has_signed_in_and_without_the_daemon_the_last_one() {
        rt::block_on(async {
            let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
            let Address::Tcp(daemon) = *listener.local() else {
                panic!("not TCP")
            };
            let portmap = Rc::new(Portmap(Cell::new(0)));
            let server = Server::new(vec![portmap.clone()]);
            let serving = rt::spawn_owned(async move { server.serve(listener).await });
            let (sender, mut receiver) = mailbox::channel(4);
            let connector = Connector::new(3, brick(), None, daemon.port(), None, Resolver::new(None), vec![sender]);
            rt::spawn(connector.clone().run());
            connector.want(0);
            let first = receiver.recv().await;
            assert!(matches!(first, Some(ToCore::Unreachable { brick: 3, .. })), "{first:?}");
            portmap.0.set(49_152);
            let expected: SocketAddr = "127.0.0.1:49152".parse().unwrap();
            loop {
                match receiver.recv().await {
                    Some(ToCore::Unreachable { .. }) => {}
                    Some(ToCore::Endpoint { brick: 3, addr }) => break assert_eq!(addr, expected),
                    other => panic!("{other:?}"),
                }
            }
            drop(serving);
            connector.want(0);
            let again = receiver.recv().await;
            assert!(
                matches!(again, Some(ToCore::Endpoint { addr, .. }) if addr == expected),
                "{again:?}"
            );
        })
        .unwrap();
    }
}
