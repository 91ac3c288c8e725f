//! Getting a volfile: from whichever server answers first, again when it has changed.
//!
//! After the first answer no server is special: the connection only carries notices of changes, and when it ends the
//! next server is asked, for ever (DESIGN.md P1, P2). Facts: wire-protocol.md 4.3, 4.7.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::wire::handshake::{GetspecReq, GetspecRsp, Proc};
use datapath::wire::{OldDict, callback};
use futures_util::future::{Either, select};

use super::connect::{connect_any, first};
use super::resolve::Resolver;
use crate::rpc::{Address, Callback, CallbackHandler, Client, ProgramId};
use crate::rt::{self, sync};

/// Port of the management daemon.
pub const DEFAULT_PORT: u16 = 24_007;
/// The next server is tried beside those that have not answered after this time.
const STAGGER: Duration = Duration::from_millis(150);
/// One GETSPEC.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Pause between rounds over all servers.
const ROUND_PAUSE: Duration = Duration::from_millis(500);
/// Op-versions this program understands (10.x).
const MAX_OP_VERSION: u32 = 100_000;

/// A management daemon that may have the volfile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum VolfileServer {
    /// Host name or address, and port.
    Tcp(String, u16),
    /// The daemon's Unix socket on this machine.
    Unix(PathBuf),
}

impl std::fmt::Display for VolfileServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VolfileServer::Tcp(host, port) => write!(f, "{host}:{port}"),
            VolfileServer::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl VolfileServer {
    /// Reads a list of hosts separated by commas or colons, IPv6 addresses in brackets (or alone). A word that is a
    /// path is a Unix socket.
    pub fn parse_list(text: &str, port: u16) -> Vec<VolfileServer> {
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return vec![VolfileServer::Tcp(text.to_owned(), port)];
        }
        let mut hosts = vec![String::new()];
        let mut bracket = false;
        for c in text.chars() {
            match c {
                '[' => bracket = true,
                ']' => bracket = false,
                ',' | ':' | ' ' if !bracket => hosts.push(String::new()),
                c => hosts.last_mut().into_iter().for_each(|host| host.push(c)),
            }
        }
        let server = |host: String| match host.starts_with('/') {
            true => VolfileServer::Unix(host.into()),
            false => VolfileServer::Tcp(host, port),
        };
        hosts.into_iter().filter(|host| !host.is_empty()).map(server).collect()
    }
}

/// How long servers that do not answer are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until one answers.
    Forever,
    /// Rounds over all servers begin as long as this time is not over; one round at least.
    For(Duration),
    /// So many rounds over all servers (`fetch-attempts`); 0 is taken for 1.
    Rounds(u32),
}

impl Patience {
    fn is_over(self, start: rt::Instant, rounds: u32) -> bool {
        match self {
            Patience::Forever => false,
            Patience::For(limit) => start.elapsed() >= limit,
            Patience::Rounds(most) => rounds >= most,
        }
    }
}

/// Why there is no volfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// A server answered that it has no such volfile.
    NoSuchVolfile(String),
    /// A server answered that this client is too old or too new for the volume.
    OpVersion(String),
    /// No server answered: each with its reason.
    NoServer(String),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FetchError::NoSuchVolfile(key) => write!(f, "no server has a volfile for '{key}'"),
            FetchError::OpVersion(key) => write!(f, "'{key}' needs another version of the client"),
            FetchError::NoServer(why) => write!(f, "failed to fetch the volfile: {why}"),
        }
    }
}

impl std::error::Error for FetchError {}

/// A volfile and the connection it came by.
#[derive(Debug)]
pub struct Fetched {
    /// The text.
    pub text: Bytes,
    /// The connection: callbacks of changes come on it.
    pub client: Client,
    /// The server that answered.
    pub server: VolfileServer,
}

/// What to ask for, and whom.
pub struct Fetcher {
    /// The volfile's key, as typed.
    pub key: String,
    /// Whether the process is a client (GETSPEC flag 1).
    pub is_client: bool,
    /// Further keys of the request: `brick_name` of a brick.
    pub extra: Vec<(&'static str, String)>,
    /// The servers to try in this order; those learnt from answers are added.
    pub servers: RefCell<Vec<VolfileServer>>,
    /// How names are resolved.
    pub resolver: Resolver,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("key", &self.key)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    fn request(&self) -> GetspecReq {
        let mut xdata = OldDict::new()
            .with_int("min-op-version", 1)
            .with_int("max-op-version", MAX_OP_VERSION);
        for (key, value) in &self.extra {
            xdata.set_str(*key, value);
        }
        GetspecReq {
            flags: u32::from(self.is_client),
            key: Bytes::from(self.key.clone().into_bytes()),
            xdata,
        }
    }

    /// Asks an open connection again.
    pub async fn getspec(&self, client: &Client) -> Result<Bytes, FetchError> {
        let reply: GetspecRsp = client
            .call_typed(ProgramId::HANDSHAKE, Proc::Getspec as u32, &self.request(), CALL_LIMIT)
            .await
            .map_err(|e| FetchError::NoServer(e.to_string()))?;
        if reply.op_ret < 0 {
            return Err(match reply.op_errno {
                libc::EOPNOTSUPP => FetchError::OpVersion(self.key.clone()),
                _ => FetchError::NoSuchVolfile(self.key.clone()),
            });
        }
        // A brick asks its own management daemon only: with another it would sign in for that server's brick of the same
        // path, and nobody would find that one again.
        if self.is_client
            && let Some(list) = reply.xdata.get_str("cluster.brick-vol-servers")
        {
            self.learn_list(list);
        }
        Ok(reply.spec)
    }

    /// Adds the servers that an answer names: `HOST:PORT HOST:PORT ...`.
    fn learn_list(&self, list: &str) {
        for word in list.split_whitespace() {
            let Some((host, port)) = word.rsplit_once(':') else {
                continue;
            };
            if let Ok(port) = port.parse() {
                self.learn(VolfileServer::Tcp(host.to_owned(), port));
            }
        }
    }

    /// Adds a server to those to try, if it is not one of them.
    pub fn learn(&self, server: VolfileServer) {
        let mut servers = self.servers.borrow_mut();
        if !servers.contains(&server) {
            tracing::info!("learnt of the volfile server {server}");
            servers.push(server);
        }
    }

    async fn connect(&self, server: &VolfileServer, callbacks: CallbackHandler) -> Result<Client, String> {
        let addresses = match server {
            VolfileServer::Unix(path) => vec![Address::Unix(path.clone())],
            VolfileServer::Tcp(host, port) => {
                let found = self.resolver.resolve(host).await.map_err(|e| e.to_string())?;
                found.into_iter().map(|ip| Address::Tcp((ip, *port).into())).collect()
            }
        };
        connect_any(&addresses, callbacks).await
    }

    async fn try_server(&self, server: VolfileServer, callbacks: CallbackHandler) -> Result<Fetched, FetchError> {
        let client = self
            .connect(&server, callbacks)
            .await
            .map_err(|why| FetchError::NoServer(format!("{server}: {why}")))?;
        match self.getspec(&client).await {
            Ok(text) => Ok(Fetched { text, client, server }),
            Err(FetchError::NoServer(why)) => Err(FetchError::NoServer(format!("{server}: {why}"))),
            Err(other) => Err(other),
        }
    }

    /// One round over all servers, in parallel with a stagger; the first good answer wins.
    pub async fn round(&self, callbacks: &CallbackHandler) -> Result<Fetched, FetchError> {
        let servers = self.servers.borrow().clone();
        let attempt = |server| self.try_server(server, callbacks.clone());
        first(servers, STAGGER, attempt).await.map_err(worst)
    }

    /// Rounds until one succeeds or `patience` is over. That a volfile does not exist is believed at once, unless it is
    /// asked for for ever; that no server answers only in the end.
    pub async fn fetch(&self, callbacks: &CallbackHandler, patience: Patience) -> Result<Fetched, FetchError> {
        let start = rt::Instant::now();
        let mut complained = false;
        let mut rounds = 0;
        loop {
            rounds += 1;
            let error = match self.round(callbacks).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            let certain = patience != Patience::Forever && !matches!(error, FetchError::NoServer(_));
            if certain || patience.is_over(start, rounds) {
                return Err(error);
            }
            if !complained {
                tracing::warn!("{error}; trying on");
                complained = true;
            }
            rt::sleep(ROUND_PAUSE).await;
        }
    }

    /// Follows the volfile for ever: `changed` gets every text that differs from the one before. A notice that comes
    /// while another is being looked at is not lost. `connected` gets every connection that is used, the first included.
    pub async fn follow(
        &self,
        first: Fetched,
        notices: Notices,
        mut connected: impl FnMut(&Client),
        mut changed: impl FnMut(Bytes),
    ) {
        let mut known = first.text.clone();
        let mut current = first;
        connected(&current.client);
        loop {
            let text = self.next_text(&mut current, &notices, &mut connected).await;
            if text != known {
                known = text.clone();
                changed(text);
            }
        }
    }

    /// Waits for a notice or the end of the connection, then asks again; changes to another server if it must.
    async fn next_text(&self, current: &mut Fetched, notices: &Notices, connected: &mut impl FnMut(&Client)) -> Bytes {
        let ended = {
            let ended = std::pin::pin!(current.client.ended());
            let notified = std::pin::pin!(notices.notified());
            match select(ended, notified).await {
                Either::Left((why, _)) => Some(why),
                Either::Right(_) => None,
            }
        };
        let why = match ended {
            Some(why) => why,
            None => match self.getspec(&current.client).await {
                Ok(text) => return text,
                Err(e) => e.to_string(),
            },
        };
        tracing::info!("the volfile connection to {} is over: {why}", current.server);
        current.client.close();
        loop {
            // Without a limit it ends only with success.
            if let Ok(fetched) = self.fetch(&notices.handler(), Patience::Forever).await {
                tracing::info!("the volfile connection is now to {}", fetched.server);
                *current = fetched;
                connected(&current.client);
                return current.text.clone();
            }
        }
    }
}

/// That a volfile does not exist weighs more than servers that are down.
fn worst(failures: Vec<FetchError>) -> FetchError {
    let mut reasons = BTreeSet::new();
    for failure in failures {
        match failure {
            FetchError::NoServer(why) => drop(reasons.insert(why)),
            certain => return certain,
        }
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    FetchError::NoServer(if reasons.is_empty() {
        "no server is given".to_owned()
    } else {
        reasons.join("; ")
    })
}

/// Collects FETCHSPEC callbacks of every connection the volfile comes by.
#[derive(Clone)]
pub struct Notices(Rc<sync::Notify>);

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notices")
    }
}

impl Default for Notices {
    fn default() -> Notices {
        Notices(Rc::new(sync::Notify::new()))
    }
}

impl Notices {
    /// The handler to give to connections.
    pub fn handler(&self) -> CallbackHandler {
        let notify = self.0.clone();
        Rc::new(move |call: Callback| {
            if call.program == ProgramId::CALLBACK && call.procedure == callback::Proc::Fetchspec as u32 {
                notify.notify_one();
            }
        })
    }

    /// Asks for the volfile again as if a callback had come (SIGHUP).
    pub fn poke(&self) {
        self.0.notify_one();
    }

    async fn notified(&self) {
        self.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Call, Program, Refusal, Server};
    use crate::rt::Listener;
    use datapath::wire::Xdr;
    use futures_util::future::{FutureExt, LocalBoxFuture};

    fn tcp(host: &str) -> VolfileServer {
        VolfileServer::Tcp(host.to_owned(), 7)
    }

    #[test]
    fn lists_of_servers() {
        let list = |text: &str| VolfileServer::parse_list(text, 7);
        assert_eq!(list("w1"), [tcp("w1")]);
        assert_eq!(list("w2:w3,w4"), [tcp("w2"), tcp("w3"), tcp("w4")]);
        assert_eq!(list("fd00::1"), [tcp("fd00::1")]);
        assert_eq!(list("[fd00::1]:w2"), [tcp("fd00::1"), tcp("w2")]);
        assert_eq!(list("/run/x.socket"), [VolfileServer::Unix("/run/x.socket".into())]);
        assert!(list("").is_empty());
    }

    /// A daemon that has the volfile `v` and can change it.
    struct Daemon(RefCell<&'static str>);

    impl Program for Daemon {
        fn id(&self) -> ProgramId {
            ProgramId::HANDSHAKE
        }

        fn name(&self) -> &'static str {
            "Gluster Handshake"
        }

        fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
            async move {
                let request = GetspecReq::from_bytes(&call.args).map_err(|_| Refusal::GarbageArgs)?;
                assert_eq!(request.xdata.get_i64("max-op-version"), Some(100_000));
                let found = request.key == "v";
                let spec = if found { *self.0.borrow() } else { "" };
                Ok(GetspecRsp {
                    op_ret: if found { spec.len() as i32 } else { -1 },
                    op_errno: if found { 0 } else { libc::ENOENT },
                    spec: Bytes::from_static(spec.as_bytes()),
                    xdata: OldDict::null(),
                }
                .to_bytes())
            }
            .boxed_local()
        }
    }

    fn daemon(text: &'static str) -> (Rc<Daemon>, Server, u16) {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let Address::Tcp(address) = *listener.local() else {
            panic!("not TCP")
        };
        let program = Rc::new(Daemon(RefCell::new(text)));
        let server = Server::new(vec![program.clone()]);
        let serving = server.clone();
        rt::spawn(async move { serving.serve(listener).await });
        (program, server, address.port())
    }

    fn fetcher(key: &str, servers: Vec<VolfileServer>) -> Fetcher {
        Fetcher {
            key: key.to_owned(),
            is_client: true,
            extra: Vec::new(),
            servers: RefCell::new(servers),
            resolver: Resolver::new(None),
        }
    }

    #[test]
    fn a_dead_first_server_costs_only_the_stagger() {
        rt::block_on(async {
            let (_, _, port) = daemon("volfile text");
            // 192.0.2.0/24 is never routed: the attempt hangs or fails, as the machine likes.
            let servers = vec![
                VolfileServer::Tcp("192.0.2.1".to_owned(), 1),
                VolfileServer::Tcp("127.0.0.1".to_owned(), port),
            ];
            let start = rt::Instant::now();
            let fetched = fetcher("v", servers.clone())
                .fetch(&Notices::default().handler(), Patience::For(STAGGER))
                .await
                .unwrap();
            assert_eq!(fetched.text, "volfile text");
            assert!(start.elapsed() < CALL_LIMIT);
            let error = fetcher("w", servers)
                .fetch(&Notices::default().handler(), Patience::For(STAGGER))
                .await
                .unwrap_err();
            assert_eq!(error, FetchError::NoSuchVolfile("w".to_owned()));
        })
        .unwrap();
    }

    #[test]
    fn nobody_there_is_told_after_the_limit() {
        rt::block_on(async {
            let servers = vec![VolfileServer::Unix("/nonexistent/socket".into())];
            let error = fetcher("v", servers)
                .fetch(&Notices::default().handler(), Patience::For(Duration::ZERO))
                .await
                .unwrap_err();
            assert!(
                error.to_string().contains("/nonexistent/socket: No such file"),
                "{error}"
            );
        })
        .unwrap();
    }

    /// A server that ends every connection, and how often it was tried.
    fn refusing() -> (Rc<std::cell::Cell<u32>>, u16) {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let Address::Tcp(address) = *listener.local() else {
            panic!("not TCP")
        };
        let tried = Rc::new(std::cell::Cell::new(0));
        let count = tried.clone();
        rt::spawn(async move {
            while let Ok(connection) = listener.accept().await {
                count.set(count.get() + 1);
                drop(connection);
            }
        });
        (tried, address.port())
    }

    #[test]
    fn servers_are_tried_as_often_as_was_asked_for() {
        rt::block_on(async {
            for attempts in [1, 3] {
                let (tried, port) = refusing();
                let servers = vec![VolfileServer::Tcp("127.0.0.1".to_owned(), port)];
                let fetched = fetcher("v", servers)
                    .fetch(&Notices::default().handler(), Patience::Rounds(attempts))
                    .await;
                assert!(matches!(fetched, Err(FetchError::NoServer(_))), "{fetched:?}");
                assert_eq!(tried.get(), attempts);
            }
        })
        .unwrap();
    }

    #[test]
    fn changes_arrive_by_callback_and_after_a_reconnect() {
        rt::block_on(async {
            let (program, server, port) = daemon("one");
            let notices = Notices::default();
            let fetcher = Rc::new(fetcher("v", vec![VolfileServer::Tcp("127.0.0.1".to_owned(), port)]));
            let first = fetcher.fetch(&notices.handler(), Patience::Forever).await.unwrap();
            let (sender, mut texts) = sync::mpsc::unbounded_channel();
            let following = fetcher.clone();
            rt::spawn(async move {
                following
                    .follow(first, notices, |_| (), move |text| drop(sender.send(text)))
                    .await;
            });
            rt::sleep(Duration::from_millis(20)).await;
            server.broadcast(ProgramId::CALLBACK, 1, b"");
            program.0.replace("two");
            server.broadcast(ProgramId::CALLBACK, 1, b"");
            let second = rt::timeout(Duration::from_secs(5), texts.recv()).await.unwrap();
            assert_eq!(second, Some(Bytes::from_static(b"two")));
            program.0.replace("three");
            server.peers().iter().for_each(|peer| peer.disconnect());
            let third = rt::timeout(Duration::from_secs(5), texts.recv()).await.unwrap();
            assert_eq!(third, Some(Bytes::from_static(b"three")));
        })
        .unwrap();
    }
}
