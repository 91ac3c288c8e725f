//! Where each brick listens: the management daemon of its host is asked, again and again, as long as a core wants to
//! connect (wire-protocol.md 4.2, 4.4).
//!
//! One task a brick. Cores ask through [`Connector::want`]; the answers are paced for each core, so that a brick that
//! accepts and breaks off does not make a busy loop, and so that a brick that can be reached again is found within a
//! second (DESIGN.md section 5). A brick runs on without its daemon: the port it had is tried beside the question
//! (P11). Whether it is the right brick that listens there, SETVOLUME finds out.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::client::{BrickSpec, ToCore};
use datapath::exec::mailbox;
use datapath::wire::portmap::{PortByBrickReq, PortByBrickRsp, Proc};
use futures_util::future::{Either, select};

use super::connect::{connect_any, stream_to_any};
use super::resolve::Resolver;
use crate::rpc::{Address, ProgramId};
use crate::rt::{self, Instant, sync};

/// Least and greatest time from one attempt to the next (DESIGN.md section 5). The greatest leaves room for the
/// attempt itself: a brick that can be reached again shall be connected within a second.
const FIRST_PERIOD: Duration = Duration::from_millis(200);
const LONGEST_PERIOD: Duration = Duration::from_millis(600);
/// The same while operations wait for the brick.
const HURRIED_PERIOD: Duration = Duration::from_millis(20);
/// One question to the daemon, connecting included.
const QUERY_LIMIT: Duration = Duration::from_secs(2);
/// The same when the brick's last port is known and tried too.
const QUERY_LIMIT_KNOWN: Duration = Duration::from_millis(600);
/// How long the question is ahead of the try.
const HEAD_START: Duration = Duration::from_millis(20);
/// How long the daemon may take to say another port once the brick's last port has been found open.
const GRACE: Duration = Duration::from_millis(100);

/// What a connector needs besides its brick; the same for all.
#[derive(Clone)]
pub(super) struct Surroundings {
    /// Port of the management daemons.
    pub mgmt_port: u16,
    /// The daemon of this machine by its socket, for a brick that is local.
    pub socket: Option<PathBuf>,
    pub resolver: Resolver,
    /// Whether the volume's bricks listen on IPv6 addresses too (`transport.address-family`); it may change.
    pub inet6: Rc<Cell<bool>>,
    pub cores: Vec<mailbox::Sender<ToCore>>,
}

impl Surroundings {
    /// The addresses of a host that its bricks can be reached at. One that has no other than IPv6 addresses is tried by
    /// them whatever the volume says.
    fn usable(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        if !self.inet6.get() && addresses.iter().any(IpAddr::is_ipv4) {
            addresses.retain(IpAddr::is_ipv4);
        }
        addresses
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = self.resolver.resolve(host).await;
        found.map(|all| self.usable(all)).map_err(|e| e.to_string())
    }
}

/// Where one core is with the brick.
#[derive(Clone, Copy, Default)]
struct Pace {
    wanting: bool,
    /// When the last attempt for it began.
    last: Option<Instant>,
    period: Duration,
}

impl Pace {
    /// When the core's next attempt may begin: `None` when it wants none.
    fn due(&self) -> Option<Instant> {
        let last = self.last.map_or_else(Instant::now, |last| last + self.period);
        self.wanting.then_some(last)
    }

    fn began(&mut self, at: Instant) {
        self.last = Some(at);
        self.period = (self.period * 2).clamp(FIRST_PERIOD, LONGEST_PERIOD);
    }
}

/// Finds one brick for all cores.
pub(super) struct Connector {
    place: usize,
    brick: BrickSpec,
    fixed_port: Cell<Option<u16>>,
    around: Surroundings,
    pace: RefCell<Vec<Pace>>,
    wanted: sync::Notify,
    last: Cell<Option<SocketAddr>>,
}

impl Connector {
    /// The connector of the brick at `place`.
    pub(super) fn new(place: usize, brick: BrickSpec, fixed_port: Option<u16>, around: Surroundings) -> Rc<Connector> {
        Rc::new(Connector {
            place,
            brick,
            fixed_port: Cell::new(fixed_port),
            pace: RefCell::new(vec![Pace::default(); around.cores.len()]),
            around,
            wanted: sync::Notify::new(),
            last: Cell::new(None),
        })
    }

    /// The brick.
    pub(super) fn brick(&self) -> &BrickSpec {
        &self.brick
    }

    /// A core has no connection to the brick and wants its address.
    pub(super) fn want(&self, core: usize) {
        if let Some(pace) = self.pace.borrow_mut().get_mut(core) {
            pace.wanting = true;
        }
        self.wanted.notify_one();
    }

    /// An operation waits for bricks: the next attempt for the core, if it wants one, is at once.
    pub(super) fn hurry(&self, core: usize) {
        if let Some(pace) = self.pace.borrow_mut().get_mut(core) {
            pace.period = HURRIED_PERIOD;
        }
        self.wanted.notify_one();
    }

    /// A session came up: the next loss is followed by an attempt at once.
    pub(super) fn succeeded(&self, core: usize) {
        if let Some(pace) = self.pace.borrow_mut().get_mut(core) {
            pace.period = FIRST_PERIOD;
        }
    }

    /// Answers for ever.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            let due = self.pace.borrow().iter().filter_map(Pace::due).min();
            match due {
                None => self.wanted.notified().await,
                Some(due) if due > Instant::now() => {
                    let due = std::pin::pin!(rt::sleep_until(due));
                    select(due, std::pin::pin!(self.wanted.notified())).await;
                }
                Some(_) => self.attempt().await,
            }
        }
    }

    async fn attempt(&self) {
        let start = Instant::now();
        let located = self.locate().await;
        // A core that has begun to want meanwhile is served too.
        let due: Vec<usize> = {
            let mut paces = self.pace.borrow_mut();
            let due = paces.iter_mut().enumerate();
            due.filter(|(_, pace)| pace.due().is_some_and(|due| due <= Instant::now()))
                .map(|(core, pace)| {
                    pace.began(start);
                    // Those that get no address keep waiting.
                    pace.wanting = located.is_err();
                    core
                })
                .collect()
        };
        let brick = self.place;
        match located {
            Ok(addr) => {
                self.last.set(Some(addr));
                due.into_iter()
                    .for_each(|core| self.tell(core, ToCore::Endpoint { brick, addr }));
            }
            Err(why) => {
                tracing::debug!("{}: {why}", self.brick.subvolume);
                // At the start they know thereby that there is nothing to wait for.
                due.into_iter().for_each(|core| {
                    let why = why.clone();
                    self.tell(core, ToCore::Unreachable { brick, why });
                });
            }
        }
    }

    fn tell(&self, core: usize, message: ToCore) {
        let Some(sender) = self.around.cores.get(core) else {
            return;
        };
        match sender.send(message) {
            Ok(()) | Err(mailbox::SendError::Closed(_)) => {}
            // The core asks again only after an answer, so it must get one: wait for the next round.
            Err(mailbox::SendError::Full(_)) => self.want(core),
        }
    }

    async fn locate(&self) -> Result<SocketAddr, String> {
        if let Some(port) = self.fixed_port.take() {
            // As in GlusterFS, a fixed port is believed for the first attempt only.
            if let Some(ip) = self.around.resolve(&self.brick.host).await?.first() {
                return Ok((*ip, port).into());
            }
        }
        let Some(last) = self.last.get() else {
            let asked = rt::timeout(QUERY_LIMIT, self.query()).await;
            return asked.unwrap_or_else(|_| Err(self.silent_daemon()));
        };
        let query = std::pin::pin!(rt::timeout(QUERY_LIMIT_KNOWN, self.query()));
        let knock = std::pin::pin!(async {
            // A daemon that is there answers before: the brick need not be disturbed.
            rt::sleep(HEAD_START).await;
            self.knock(last).await
        });
        match select(query, knock).await {
            Either::Left((Ok(Ok(addr)), _)) => Ok(addr),
            Either::Left((_, knock)) => knock.await,
            Either::Right((Ok(open), query)) => match rt::timeout(GRACE, query).await {
                Ok(Ok(Ok(addr))) => Ok(addr),
                _ => Ok(open),
            },
            Either::Right((Err(_), query)) => query.await.unwrap_or_else(|_| Err(self.silent_daemon())),
        }
    }

    fn silent_daemon(&self) -> String {
        format!("the daemon of {} does not answer", self.brick.host)
    }

    /// Whether anybody listens at the brick's last port, at the last address or another of its host.
    async fn knock(&self, last: SocketAddr) -> Result<SocketAddr, String> {
        let mut addresses = vec![Address::Tcp(last)];
        let known = self.around.resolver.remembered(&self.brick.host);
        for ip in self.around.usable(known) {
            let address = Address::Tcp((ip, last.port()).into());
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match stream_to_any(&addresses).await?.peer() {
            Address::Tcp(open) => Ok(*open),
            Address::Unix(_) => Ok(last),
        }
    }

    /// Asks the brick's daemon.
    async fn query(&self) -> Result<SocketAddr, String> {
        let addresses = self.around.resolve(&self.brick.host).await?;
        let socket = self.around.socket.as_ref().filter(|_| Resolver::is_local(&addresses));
        if let Some(socket) = socket
            && let (Ok((port, _)), Some(ip)) = (self.ask(&[Address::Unix(socket.clone())]).await, addresses.first())
        {
            return Ok((*ip, port).into());
        }
        let daemons: Vec<Address> = addresses
            .iter()
            .map(|ip| Address::Tcp(SocketAddr::new(*ip, self.around.mgmt_port)))
            .collect();
        let (port, ip) = self.ask(&daemons).await?;
        let ip = ip.or_else(|| addresses.first().copied()).ok_or("no address")?;
        Ok((ip, port).into())
    }

    async fn ask(&self, daemons: &[Address]) -> Result<(u16, Option<IpAddr>), String> {
        let client = connect_any(daemons, Rc::new(|_| ()))
            .await
            .map_err(|why| format!("the daemon of {} cannot be reached: {why}", self.brick.host))?;
        let request = PortByBrickReq {
            brick: Bytes::from(self.brick.path.clone().into_bytes()),
        };
        let reply: PortByBrickRsp = client
            .call_typed(ProgramId::PORTMAP, Proc::PortByBrick as u32, &request, QUERY_LIMIT)
            .await
            .map_err(|e| e.to_string())?;
        let ip = match client.peer() {
            Address::Tcp(addr) => Some(addr.ip()),
            Address::Unix(_) => None,
        };
        match u16::try_from(reply.port) {
            Ok(port) if reply.op_ret == 0 && port > 0 => Ok((port, ip)),
            _ => Err(format!("brick {}:{} is not running", self.brick.host, self.brick.path)),
        }
    }
}

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

    fn around(mgmt_port: u16, cores: Vec<mailbox::Sender<ToCore>>) -> Surroundings {
        Surroundings {
            mgmt_port,
            socket: None,
            resolver: Resolver::new(None),
            inet6: Rc::default(),
            cores,
        }
    }

    fn listen() -> (Listener, SocketAddr) {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let Address::Tcp(at) = *listener.local() else {
            panic!("not TCP")
        };
        (listener, at)
    }

    async fn endpoint(receiver: &mut mailbox::Receiver<ToCore>) -> SocketAddr {
        loop {
            match receiver.recv().await {
                Some(ToCore::Unreachable { brick: 3, .. }) => {}
                Some(ToCore::Endpoint { brick: 3, addr }) => return addr,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn cores_get_the_port_once_the_brick_has_signed_in_and_without_the_daemon_the_last_one() {
        rt::block_on(async {
            let (listener, daemon) = listen();
            let (_brick, listening) = listen();
            let portmap = Rc::new(Portmap(Cell::new(0)));
            let server = Server::new(vec![portmap.clone()]);
            let serving = rt::spawn_owned(async move { server.serve(listener).await });
            let (sender, mut receiver) = mailbox::channel(4);
            let connector = Connector::new(3, brick(), None, around(daemon.port(), vec![sender]));
            rt::spawn(connector.clone().run());
            connector.want(0);
            let first = receiver.recv().await;
            assert!(matches!(first, Some(ToCore::Unreachable { brick: 3, .. })), "{first:?}");
            portmap.0.set(i32::from(listening.port()));
            assert_eq!(endpoint(&mut receiver).await, listening);
            drop(serving);
            connector.want(0);
            assert_eq!(endpoint(&mut receiver).await, listening);
        })
        .unwrap();
    }

    #[test]
    fn the_daemon_knows_better_where_the_brick_is_and_a_silent_one_is_not_waited_for() {
        rt::block_on(async {
            let (listener, daemon) = listen();
            let (_old, before) = listen();
            let (_new, after) = listen();
            let portmap = Rc::new(Portmap(Cell::new(i32::from(after.port()))));
            let server = Server::new(vec![portmap]);
            let serving = rt::spawn_owned(async move { server.serve(listener).await });
            let connector = Connector::new(3, brick(), None, around(daemon.port(), Vec::new()));
            // Something listens at the last port, but the brick has moved.
            connector.last.set(Some(before));
            assert_eq!(connector.locate().await, Ok(after));
            drop(serving);
            // A daemon that takes the connection and never answers: stopped, or hung.
            let (_silent, daemon) = listen();
            let connector = Connector::new(3, brick(), None, around(daemon.port(), Vec::new()));
            connector.last.set(Some(before));
            let start = Instant::now();
            assert_eq!(connector.locate().await, Ok(before));
            assert!(start.elapsed() < QUERY_LIMIT, "the silent daemon was waited for");
        })
        .unwrap();
    }

    #[test]
    fn bricks_of_an_ipv4_volume_are_not_looked_for_at_ipv6_addresses() {
        let around = around(1, Vec::new());
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        assert_eq!(around.usable(vec![v6, v4]), [v4]);
        assert_eq!(around.usable(vec![v6]), [v6], "there is no other");
        around.inet6.set(true);
        assert_eq!(around.usable(vec![v6, v4]), [v6, v4]);
    }

    #[test]
    fn attempts_are_paced_for_each_core() {
        let mut pace = Pace::default();
        assert!(pace.due().is_none());
        pace.wanting = true;
        let now = Instant::now();
        assert!(
            pace.due().is_some_and(|due| due <= Instant::now()),
            "the first is at once"
        );
        for expected in [200, 400, 600, 600] {
            pace.began(now);
            assert_eq!(pace.due(), Some(now + Duration::from_millis(expected)));
        }
    }
}
