//! Connections to the other nodes: found by any of a node's names and addresses, kept, and replaced when they end.
//! What is said over them is not known here.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::wire::Gfid;
use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::{ClusterError, Peer};
use super::wire::{self, Answer, CLUSTER, Envelope, HelloAnswer, Procedure};
use crate::client::resolve::Resolver;
use crate::rpc::{Address, CallError, Client};
use crate::rt::{self, Stream};

/// Time for one TCP connection: in a local network a SYN is answered at once or was lost, and a new attempt finds out
/// sooner than the kernel that the way is open again.
const CONNECT: Duration = Duration::from_millis(500);
/// Time for the other end to say who it is: it may be busy.
const INTRODUCTION: Duration = Duration::from_millis(1500);
/// Head start of a name or address over the next one.
const STAGGER: Duration = Duration::from_millis(100);

/// What a connection is for. Raft's messages must not wait behind the daemon's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Raft,
    Requests,
}

/// Where a node may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// [`Gfid::NULL`] if it is not known who is there.
    pub uuid: Gfid,
    pub hosts: Vec<String>,
    pub port: u16,
}

impl From<&Peer> for Target {
    fn from(peer: &Peer) -> Target {
        Target {
            uuid: peer.uuid,
            hosts: peer.hostnames.clone(),
            port: peer.port,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.hosts.first() {
            Some(host) => f.write_str(host),
            None => write!(f, "peer {}", self.uuid),
        }
    }
}

type Connecting = Shared<LocalBoxFuture<'static, Result<Client, String>>>;

#[derive(Default)]
struct Link {
    client: RefCell<Option<Client>>,
    connecting: RefCell<Option<Connecting>>,
}

/// From which addresses each node calls. Whoever was found by a name of a node may say them: two nodes that know each
/// other by names of different kinds would else refuse each other.
#[derive(Default)]
struct Callers(RefCell<HashMap<Gfid, Vec<IpAddr>>>);

impl Callers {
    /// Addresses that this machine has too (of bridges, say) tell nothing.
    fn learn(&self, uuid: Gfid, mut addresses: Vec<IpAddr>) {
        // A node of an earlier release says nothing when it is found.
        if addresses.is_empty() {
            return;
        }
        let mine = datapath::sys::host::interface_addresses().unwrap_or_default();
        addresses.retain(|address| !mine.contains(address));
        self.0.borrow_mut().insert(uuid, addresses);
    }
}

/// All connections of a node to others.
pub(super) struct Links {
    resolver: Resolver,
    links: RefCell<HashMap<(Gfid, Lane), Rc<Link>>>,
    /// Where a node was last reached: tried first.
    last: Rc<RefCell<HashMap<Gfid, SocketAddr>>>,
    /// Addresses nodes call from, as they said themselves.
    own: Rc<Callers>,
    /// Nodes that have not answered and are looked for anew.
    lost: RefCell<BTreeSet<Gfid>>,
    /// Cut off, for tests of partitions.
    cut: Cell<bool>,
}

impl Links {
    pub fn new(resolver: Resolver) -> Links {
        Links {
            resolver,
            links: RefCell::default(),
            last: Rc::default(),
            own: Rc::default(),
            lost: RefCell::default(),
            cut: Cell::new(false),
        }
    }

    /// The resolver with its memory.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The connection to a known node, made if there is none.
    async fn client(&self, target: &Target, lane: Lane) -> Result<Client, String> {
        if self.cut.get() {
            return Err("cut off".to_owned());
        }
        let link = self.links.borrow_mut().entry((target.uuid, lane)).or_default().clone();
        if let Some(client) = link.client.borrow().as_ref()
            && client.end_reason().is_none()
        {
            return Ok(client.clone());
        }
        let present = link.connecting.borrow().clone();
        let connecting = match present {
            Some(connecting) => connecting,
            None => {
                let last = self.last.borrow().get(&target.uuid).copied();
                let connecting = connect(self.resolver.clone(), self.own.clone(), target.clone(), last)
                    .boxed_local()
                    .shared();
                *link.connecting.borrow_mut() = Some(connecting.clone());
                // In a task of its own: callers may give up before it ends, and the next one profits from it.
                let (task, link, last, uuid) = (connecting.clone(), link.clone(), self.last.clone(), target.uuid);
                rt::spawn(async move {
                    let result = task.await;
                    *link.connecting.borrow_mut() = None;
                    if let Ok(client) = result {
                        if let Address::Tcp(address) = client.peer() {
                            last.borrow_mut().insert(uuid, *address);
                        }
                        *link.client.borrow_mut() = Some(client);
                    }
                });
                connecting
            }
        };
        connecting.await
    }

    /// Ends a connection to a node that keeps silent: the next message looks for it anew.
    pub fn drop_lane(&self, uuid: Gfid, lane: Lane) {
        if let Some(link) = self.links.borrow_mut().remove(&(uuid, lane))
            && let Some(client) = link.client.borrow_mut().take()
        {
            client.close();
        }
    }

    /// A node keeps silent: it is looked for anew, by all its addresses. Its requests go on for now; they may take long,
    /// and a busy node is not a dead one.
    pub fn lose(&self, uuid: Gfid) {
        self.drop_lane(uuid, Lane::Raft);
        self.lost.borrow_mut().insert(uuid);
    }

    /// A node answers. If it had kept silent, it may have been found at another address: the connection for requests may
    /// lead to one that is cut off, where nobody would ever answer. It is tried, and ended if that is so.
    pub fn found(&self, uuid: Gfid) {
        if !self.lost.borrow_mut().remove(&uuid) {
            return;
        }
        let link = self.links.borrow().get(&(uuid, Lane::Requests)).cloned();
        let Some(client) = link.and_then(|link| link.client.borrow().clone()) else {
            return;
        };
        rt::spawn(async move {
            let answer = client.call(CLUSTER, Procedure::Hello as u32, b"", INTRODUCTION).await;
            if let Err(why) = answer {
                tracing::info!("the connection to {uuid} for requests is given up: {why}");
                client.close();
            }
        });
    }

    fn drop_link(&self, uuid: Gfid) {
        self.drop_lane(uuid, Lane::Raft);
        self.drop_lane(uuid, Lane::Requests);
    }

    /// Forgets a node that is no longer a peer.
    pub fn forget(&self, uuid: Gfid) {
        self.drop_link(uuid);
        self.last.borrow_mut().remove(&uuid);
        self.own.0.borrow_mut().remove(&uuid);
        self.lost.borrow_mut().remove(&uuid);
    }

    /// Remembers from which addresses a node calls.
    pub fn learn(&self, uuid: Gfid, addresses: Vec<IpAddr>) {
        self.own.learn(uuid, addresses);
    }

    /// The addresses at which a node was reached or from which it calls, as far as they are known.
    pub fn known_addresses(&self, uuid: Gfid) -> BTreeSet<IpAddr> {
        let mut all: BTreeSet<IpAddr> = self.own.0.borrow().get(&uuid).into_iter().flatten().copied().collect();
        all.extend(self.last.borrow().get(&uuid).map(|address| address.ip().to_canonical()));
        all
    }

    /// Ends all connections and makes none any more, or does again.
    #[cfg(test)]
    pub fn set_cut(&self, cut: bool) {
        self.cut.set(cut);
        let known: Vec<Gfid> = self.links.borrow().keys().map(|(uuid, _)| *uuid).collect();
        known.into_iter().for_each(|uuid| self.drop_link(uuid));
    }

    /// Sends a request with a payload and returns the answer's value and payload. Without an answer the error is
    /// [`ClusterError::Unreachable`] if the request has certainly had no effect, else [`ClusterError::Uncertain`].
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        target: &Target,
        lane: Lane,
        procedure: Procedure,
        request: (&Envelope<Q>, &[u8]),
        limit: Duration,
    ) -> Result<(A, Bytes), ClusterError> {
        let body = wire::encode(request.0, request.1)?;
        let exchange = async {
            let client = self.client(target, lane).await.map_err(Fault::Connect)?;
            let answer = client.call(CLUSTER, procedure as u32, &body, limit).await;
            answer.map_err(Fault::Call)
        };
        let answer = rt::timeout(limit, exchange).await;
        let body = answer
            .unwrap_or(Err(Fault::Call(CallError::TimedOut(limit))))
            .map_err(|fault| fault.of(target))?;
        let (answer, payload) = wire::decode::<Answer<A>>(body)?;
        answer.map(|answer| (answer, payload))
    }

    /// [`Links::call`] over a connection of its own to whoever is at one of `hosts`; the address that answered is
    /// returned too.
    pub async fn call_once<Q: Serialize, A: DeserializeOwned>(
        &self,
        target: &Target,
        procedure: Procedure,
        request: &Envelope<Q>,
        limit: Duration,
    ) -> Result<(A, Client), ClusterError> {
        let body = wire::encode(request, b"")?;
        let exchange = async {
            if self.cut.get() {
                return Err(Fault::Connect("cut off".to_owned()));
            }
            let client = connect(self.resolver.clone(), self.own.clone(), target.clone(), None).await;
            let client = client.map_err(Fault::Connect)?;
            let answer = client.call(CLUSTER, procedure as u32, &body, limit).await;
            answer.map(|answer| (answer, client)).map_err(Fault::Call)
        };
        let answer = rt::timeout(limit, exchange).await;
        let (body, client) = answer
            .unwrap_or(Err(Fault::Call(CallError::TimedOut(limit))))
            .map_err(|fault| fault.of(target))?;
        let (answer, _) = wire::decode::<Answer<A>>(body)?;
        answer.map(|answer| (answer, client))
    }
}

/// Why a message had no answer.
enum Fault {
    Connect(String),
    Call(CallError),
}

impl Fault {
    /// The error of a request to `target`: after it may have been sent, it may have been carried out.
    fn of(self, target: &Target) -> ClusterError {
        let what = format!("{target} ({self})");
        match self {
            Fault::Connect(_) | Fault::Call(CallError::Refused(_)) => ClusterError::Unreachable(what),
            Fault::Call(_) => ClusterError::Uncertain(what),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Connect(why) => f.write_str(why),
            Fault::Call(why) => why.fmt(f),
        }
    }
}

/// Connects to the first address of any of the names that accepts: the last good one at once, the others a little later
/// each.
async fn connect(
    resolver: Resolver,
    callers: Rc<Callers>,
    target: Target,
    last: Option<SocketAddr>,
) -> Result<Client, String> {
    let mut attempts: FuturesUnordered<LocalBoxFuture<'_, Result<Client, String>>> = FuturesUnordered::new();
    if let Some(address) = last {
        attempts.push(connect_address(address, target.uuid, &callers).boxed_local());
    }
    for (place, host) in (u32::from(last.is_some())..).zip(&target.hosts) {
        let (resolver, callers, target) = (&resolver, &callers, &target);
        attempts.push(
            async move {
                rt::sleep(STAGGER * place).await;
                connect_host(resolver, callers, host, target).await
            }
            .boxed_local(),
        );
    }
    let mut why = Vec::new();
    while let Some(result) = attempts.next().await {
        match result {
            Ok(client) => return Ok(client),
            Err(e) => why.push(e),
        }
    }
    match why.is_empty() {
        true => Err("no address is known".to_owned()),
        false => Err(why.join("; ")),
    }
}

async fn connect_host(resolver: &Resolver, callers: &Callers, host: &str, target: &Target) -> Result<Client, String> {
    let addresses = resolver.resolve(host).await.map_err(|e| e.to_string())?;
    let attempts: FuturesUnordered<_> = (0u32..)
        .zip(addresses)
        .map(|(place, address)| async move {
            rt::sleep(STAGGER * place).await;
            connect_address(SocketAddr::new(address, target.port), target.uuid, callers).await
        })
        .collect();
    futures_util::pin_mut!(attempts);
    let mut why = "no address".to_owned();
    while let Some(result) = attempts.next().await {
        match result {
            Ok(client) => return Ok(client),
            Err(e) => why = e,
        }
    }
    Err(why)
}

/// Connects to an address and, if it is known who should be there, asks who is: an address may belong to another node now,
/// or a name mean another one here.
async fn connect_address(address: SocketAddr, uuid: Gfid, callers: &Callers) -> Result<Client, String> {
    let to = Address::Tcp(address);
    let client = match rt::timeout(CONNECT, Stream::connect(&to)).await {
        Ok(Ok(stream)) => Client::over(stream, Rc::new(|_| ())),
        Ok(Err(e)) => return Err(format!("{address}: {e}")),
        Err(_) => return Err(format!("{address}: no answer")),
    };
    if uuid.is_null() {
        return Ok(client);
    }
    let answer = client.call(CLUSTER, Procedure::Hello as u32, b"", INTRODUCTION).await;
    let body = answer.map_err(|e| format!("{address}: {e}"))?;
    match wire::decode::<Answer<HelloAnswer>>(body) {
        Ok((Ok(hello), _)) if hello.uuid == uuid => {
            callers.learn(uuid, hello.addresses);
            Ok(client)
        }
        Ok((Ok(hello), _)) => Err(format!("{address}: there is {} instead", hello.uuid)),
        Ok((Err(e), _)) | Err(e) => Err(format!("{address}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_calls_from_where_it_said_last() {
        let callers = Callers::default();
        let (node, address) = (Gfid([7; 16]), |text: &str| -> IpAddr { text.parse().unwrap() });
        let mine = address("127.0.0.1");
        callers.learn(node, vec![address("192.0.2.1"), address("2001:db8::1"), mine]);
        let known = || callers.0.borrow().get(&node).cloned().unwrap_or_default();
        assert_eq!(
            known(),
            [address("192.0.2.1"), address("2001:db8::1")],
            "this machine has the last one"
        );
        callers.learn(node, Vec::new());
        assert_eq!(known().len(), 2, "nothing was said");
        callers.learn(node, vec![address("192.0.2.9")]);
        assert_eq!(known(), [address("192.0.2.9")]);
    }
}
