//! The control thread of a client: the volfile, the connectors, and what the cores tell.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use datapath::client::{BrickSpec, ClientSpec, FromCore, Places, ToCore};
use datapath::exec::mailbox;
use datapath::wire::Gfid;
use futures_util::future::{Either, select};

use super::fetch::{Fetched, Fetcher, Notices, Patience};
use super::portmap::{Connector, Surroundings};
use super::resolve::Resolver;
use super::spec::{self, Parsed, Process};
use super::{CORE_QUEUE, ClientOptions, Shared, StartError, VolfileServer, client_id};
use crate::rt::{self, OwnedTask, sync};
use crate::volfile::Graph;

/// Cores a client runs when the volfile does not say (`client.event-threads`).
const DEFAULT_EVENT_THREADS: usize = 2;
const MAX_CORES: usize = 32;
/// Pause before a core's full mailbox is tried again.
const FULL_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// From the process to its control thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Refetch,
    Stop,
}

/// The topology, and both ends of each core's mailbox.
pub(super) type Started = (
    Arc<ClientSpec>,
    Vec<mailbox::Sender<ToCore>>,
    Vec<mailbox::Receiver<ToCore>>,
);

struct Control {
    options: ClientOptions,
    process: Process,
    resolver: Resolver,
    shared: Arc<Shared>,
    cores: RefCell<Vec<mailbox::Sender<ToCore>>>,
    spec: RefCell<Option<Arc<ClientSpec>>>,
    places: RefCell<Places>,
    /// By place; those that have left the volume are gone.
    connectors: RefCell<BTreeMap<usize, Connecting>>,
    /// Whether the volume's bricks listen on IPv6 addresses too.
    inet6: Rc<Cell<bool>>,
    fetcher: RefCell<Option<Rc<Fetcher>>>,
}

/// A connector and the task that runs it.
struct Connecting {
    connector: Rc<Connector>,
    _task: OwnedTask<()>,
}

/// Runs the control side until [`Order::Stop`]. `answer` gets the result of the start.
pub(super) async fn run(
    options: ClientOptions,
    context: Gfid,
    mut from_cores: mailbox::Receiver<(usize, FromCore)>,
    mut orders: mailbox::Receiver<Order>,
    shared: Arc<Shared>,
    answer: SyncSender<Result<Started, StartError>>,
) {
    let process = Process {
        name: options.process_name.clone(),
        client_pid: options.client_pid,
        volfile_key: options.volfile_id.clone(),
        client_id: client_id(context, 0),
    };
    let resolver = Resolver::new(options.address_file.clone());
    let control = Rc::new(Control {
        options,
        process,
        resolver,
        shared,
        cores: RefCell::default(),
        spec: RefCell::default(),
        places: RefCell::new(Places::new(0)),
        connectors: RefCell::default(),
        inet6: Rc::default(),
        fetcher: RefCell::default(),
    });
    let notices = Notices::default();
    let started = match control.start(&notices).await {
        Ok(started) => started,
        Err(e) => return drop(answer.send(Err(e))),
    };
    // The starter waits for this; if it has gone there is nobody to work for.
    if answer.send(Ok(started)).is_err() {
        return;
    }
    loop {
        let order = {
            let event = std::pin::pin!(from_cores.recv());
            let order = std::pin::pin!(next_order(&mut orders));
            match select(event, order).await {
                Either::Left((Some((core, event)), _)) => {
                    control.heard(core, &event);
                    continue;
                }
                Either::Left((None, _)) => return,
                Either::Right((order, _)) => order,
            }
        };
        match order {
            Order::Refetch => notices.poke(),
            Order::Stop => return,
        }
    }
}

/// The next order; when the handle was dropped the client goes on and nobody orders any more.
async fn next_order(orders: &mut mailbox::Receiver<Order>) -> Order {
    match orders.recv().await {
        Some(order) => order,
        None => std::future::pending().await,
    }
}

impl Control {
    fn parse(&self, text: &[u8]) -> Result<Parsed, String> {
        let mut graph = Graph::parse(text).map_err(|e| e.to_string())?;
        for option in &self.options.xlator_options {
            graph.apply_xlator_option(option)?;
        }
        spec::parse(&graph, self.options.volume_name.as_deref(), &self.process).map_err(|e| e.0)
    }

    async fn start(self: &Rc<Self>, notices: &Notices) -> Result<Started, StartError> {
        let fetched = self.first_volfile(notices).await?;
        let text = match &fetched {
            Source::Server(_, fetched) => fetched.text.clone(),
            Source::File(text) => text.clone(),
        };
        let mut parsed = self.parse(&text).map_err(StartError::Volfile)?;
        if let (Some(log), Some(level)) = (&self.options.log, parsed.log_level) {
            log.set_level(level);
        }
        self.inet6.set(parsed.inet6);
        self.find_local_bricks(&mut parsed.spec.bricks, &[]).await;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = parsed.event_threads.unwrap_or(DEFAULT_EVENT_THREADS).min(cpus);
        let cores = self.options.cores.unwrap_or(threads).clamp(1, MAX_CORES);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox::channel(CORE_QUEUE)).unzip();
        self.cores.replace(senders.clone());
        self.places.replace(Places::new(parsed.spec.bricks.len()));
        self.connect_bricks(&parsed.spec.bricks, &parsed.fixed_ports);
        let spec = Arc::new(parsed.spec);
        self.spec.replace(Some(spec.clone()));
        if let Source::Server(fetcher, fetched) = fetched {
            self.fetcher.replace(Some(fetcher.clone()));
            self.learn_servers(&spec.bricks);
            let (texts, changed) = sync::mpsc::unbounded_channel();
            let notices = notices.clone();
            let follow = async move {
                // The receiver lives as long as this thread works.
                let changed = |text| drop(texts.send(text));
                fetcher.follow(fetched, notices, |_| (), changed).await;
            };
            rt::spawn(follow);
            rt::spawn(self.clone().apply_changes(changed));
        }
        Ok((spec, senders, receivers))
    }

    /// Makes connectors for bricks that have none, and drops those of bricks that have left.
    fn connect_bricks(&self, bricks: &[BrickSpec], fixed_ports: &[Option<u16>]) {
        let socket = self.options.servers.iter().find_map(|server| match server {
            VolfileServer::Unix(path) => Some(path.clone()),
            VolfileServer::Tcp(..) => None,
        });
        let around = Surroundings {
            mgmt_port: self.options.mgmt_port,
            socket,
            resolver: self.resolver.clone(),
            inet6: self.inet6.clone(),
            cores: self.cores.borrow().clone(),
        };
        let places = self.places.borrow();
        let mut connectors = self.connectors.borrow_mut();
        connectors.retain(|place, _| places.index(*place).is_some());
        for (index, brick) in bricks.iter().enumerate() {
            let Some(place) = places.of(index) else { continue };
            let port = fixed_ports.get(index).copied().flatten();
            connectors.entry(place).or_insert_with(|| {
                let connector = Connector::new(place, brick.clone(), port, around.clone());
                Connecting {
                    _task: rt::spawn_owned(connector.clone().run()),
                    connector,
                }
            });
        }
    }

    /// Every brick's host has a management daemon that knows the volume.
    fn learn_servers(&self, bricks: &[BrickSpec]) {
        if !self.options.learn_servers {
            return;
        }
        if let Some(fetcher) = &*self.fetcher.borrow() {
            for brick in bricks {
                fetcher.learn(VolfileServer::Tcp(brick.host.clone(), self.options.mgmt_port));
            }
        }
    }

    async fn first_volfile(&self, notices: &Notices) -> Result<Source, StartError> {
        if let Some(path) = &self.options.volfile {
            let text = std::fs::read(path)
                .map_err(|e| StartError::Volfile(format!("{} cannot be read: {e}", path.display())))?;
            return Ok(Source::File(text.into()));
        }
        let fetcher = Rc::new(Fetcher {
            key: self.options.volfile_id.clone(),
            is_client: true,
            extra: Vec::new(),
            servers: RefCell::new(self.options.servers.clone()),
            resolver: self.resolver.clone(),
        });
        let patience = match self.options.fetch_attempts {
            Some(attempts) => Patience::Rounds(attempts),
            None => Patience::For(self.options.fetch_limit),
        };
        let fetched = fetcher
            .fetch(&notices.handler(), patience)
            .await
            .map_err(StartError::Fetch)?;
        tracing::info!("got the volfile '{}' from {}", fetcher.key, fetched.server);
        Ok(Source::Server(fetcher, fetched))
    }

    /// Marks the bricks whose host has an address of this machine; what is known of bricks that were there before is
    /// kept. A name that does not resolve is not local.
    async fn find_local_bricks(&self, bricks: &mut [BrickSpec], known: &[BrickSpec]) {
        let lookups = bricks.iter_mut().map(|brick| async {
            if let Some(old) = known.iter().find(|old| old.host == brick.host) {
                brick.local = old.local;
                return;
            }
            match self.resolver.resolve(&brick.host).await {
                Ok(addresses) => brick.local = Resolver::is_local(&addresses),
                Err(e) => tracing::warn!("{}: {e}", brick.subvolume),
            }
        });
        futures_util::future::join_all(lookups).await;
    }

    /// Changed volfiles, one after the other.
    async fn apply_changes(self: Rc<Self>, mut texts: sync::mpsc::UnboundedReceiver<Bytes>) {
        while let Some(text) = texts.recv().await {
            match self.parse(&text) {
                Ok(parsed) => self.apply(parsed).await,
                Err(why) => tracing::error!("the changed volfile cannot be used, the old one stays: {why}"),
            }
        }
    }

    async fn apply(&self, mut parsed: Parsed) {
        if let (Some(log), Some(level)) = (&self.options.log, parsed.log_level) {
            log.set_level(level);
        }
        let Some(old) = self.spec.borrow().clone() else { return };
        self.inet6.set(parsed.inet6);
        self.find_local_bricks(&mut parsed.spec.bricks, &old.bricks).await;
        let new = Arc::new(parsed.spec);
        if new == old {
            return;
        }
        if !old.same_bricks(&new) {
            if !self.options.follow_bricks {
                tracing::info!("the volume's bricks have changed");
                return self.shared.update(|state| state.bricks_changed = true);
            }
            self.log_bricks(&old, &new);
            self.places.borrow_mut().change(&old.bricks, &new.bricks);
            self.connect_bricks(&new.bricks, &parsed.fixed_ports);
            self.learn_servers(&new.bricks);
            let places = self.places.borrow();
            let stays = |(_, place): &(usize, usize)| places.index(*place).is_some();
            self.shared.update(|state| state.up.retain(stays));
        }
        tracing::info!("the volfile has changed; it is handed to the cores");
        self.spec.replace(Some(new.clone()));
        let cores = self.cores.borrow().clone();
        for core in cores {
            let mut message = ToCore::Topology(new.clone());
            // Each core counts the bricks' places by itself: it must see every change.
            while let Err(mailbox::SendError::Full(back)) = core.send(message) {
                message = back;
                rt::sleep(FULL_PAUSE).await;
            }
        }
    }

    fn log_bricks(&self, old: &ClientSpec, new: &ClientSpec) {
        let has = |spec: &ClientSpec, brick: &BrickSpec| spec.bricks.iter().any(|other| other.is_same_brick(brick));
        for brick in new.bricks.iter().filter(|brick| !has(old, brick)) {
            tracing::info!("brick {}:{} joins the volume", brick.host, brick.path);
        }
        for brick in old.bricks.iter().filter(|brick| !has(new, brick)) {
            tracing::info!("brick {}:{} has left the volume", brick.host, brick.path);
        }
    }

    fn heard(&self, core: usize, event: &FromCore) {
        let connectors = self.connectors.borrow();
        let connector = |place: &usize| connectors.get(place).map(|connecting| &connecting.connector);
        let name = |place: &usize| match connector(place).map(|connector| connector.brick()) {
            Some(brick) => format!("{} ({}:{})", brick.subvolume, brick.host, brick.path),
            None => "a brick that has left".to_owned(),
        };
        match event {
            FromCore::NeedEndpoint { brick } => {
                if let Some(connector) = connector(brick) {
                    connector.want(core);
                }
            }
            FromCore::Wanted => connectors.values().for_each(|brick| brick.connector.hurry(core)),
            FromCore::Up { brick } => {
                if let Some(connector) = connector(brick) {
                    connector.succeeded(core);
                }
                tracing::info!("core {core}: connected to {}", name(brick));
            }
            FromCore::Down { brick, why } => tracing::warn!("core {core}: {} is down: {why}", name(brick)),
            FromCore::Health { brick, change } => tracing::debug!("core {core}: {}: {change}", name(brick)),
            FromCore::Ready { up } => tracing::info!("core {core}: ready with {up} bricks"),
            FromCore::AuthFailed { brick, why } => {
                tracing::error!("core {core}: {} refuses this client: {why}", name(brick));
            }
        }
    }
}

enum Source {
    Server(Rc<Fetcher>, Fetched),
    File(Bytes),
}
