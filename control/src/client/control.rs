//! The control thread of a client: the volfile, the connectors, and what the cores tell.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use datapath::client::{ClientSpec, FromCore, ToCore};
use datapath::exec::mailbox;
use datapath::wire::Gfid;
use futures_util::future::{Either, select};

use super::fetch::{Fetched, Fetcher, Notices};
use super::portmap::Connector;
use super::resolve::Resolver;
use super::spec::{self, Parsed, Process};
use super::{CORE_QUEUE, ClientOptions, Shared, StartError, VolfileServer, client_id};
use crate::rt;
use crate::volfile::Graph;

/// Cores a client runs when the volfile does not say (`client.event-threads`).
const DEFAULT_EVENT_THREADS: usize = 2;
const MAX_CORES: usize = 32;

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
    cores: RefCell<Vec<mailbox::Sender<ToCore>>>,
    spec: RefCell<Option<Arc<ClientSpec>>>,
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
        cores: RefCell::default(),
        spec: RefCell::default(),
    });
    let notices = Notices::default();
    let (connectors, started) = match control.start(&notices).await {
        Ok(started) => started,
        Err(e) => return drop(answer.send(Err(e))),
    };
    // The starter waits for this; if it has gone there is nobody to work for.
    if answer.send(Ok(started)).is_err() {
        return;
    }
    drop(shared);
    for connector in &connectors {
        rt::spawn(connector.clone().run());
    }
    loop {
        let order = {
            let event = std::pin::pin!(from_cores.recv());
            let order = std::pin::pin!(next_order(&mut orders));
            match select(event, order).await {
                Either::Left((Some((core, event)), _)) => {
                    control.heard(core, &event, &connectors);
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

    async fn start(self: &Rc<Self>, notices: &Notices) -> Result<(Vec<Rc<Connector>>, Started), StartError> {
        let fetched = self.first_volfile(notices).await?;
        let text = match &fetched {
            Source::Server(_, fetched) => fetched.text.clone(),
            Source::File(text) => text.clone(),
        };
        let mut parsed = self.parse(&text).map_err(StartError::Volfile)?;
        if let (Some(log), Some(level)) = (&self.options.log, parsed.log_level) {
            log.set_level(level);
        }
        self.find_local_bricks(&mut parsed.spec).await;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = parsed.event_threads.unwrap_or(DEFAULT_EVENT_THREADS).min(cpus);
        let cores = self.options.cores.unwrap_or(threads).clamp(1, MAX_CORES);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox::channel(CORE_QUEUE)).unzip();
        let socket = self.options.servers.iter().find_map(|server| match server {
            VolfileServer::Unix(path) => Some(path.clone()),
            VolfileServer::Tcp(..) => None,
        });
        let connector = |(index, (brick, port)): (usize, (&datapath::client::BrickSpec, &Option<u16>))| {
            let (resolver, mgmt_port) = (self.resolver.clone(), self.options.mgmt_port);
            Connector::new(
                index,
                brick.clone(),
                *port,
                mgmt_port,
                socket.clone(),
                resolver,
                senders.clone(),
            )
        };
        let connectors = parsed
            .spec
            .bricks
            .iter()
            .zip(&parsed.fixed_ports)
            .enumerate()
            .map(connector)
            .collect();
        let spec = Arc::new(parsed.spec);
        self.cores.replace(senders.clone());
        self.spec.replace(Some(spec.clone()));
        if let Source::Server(fetcher, fetched) = fetched {
            let (control, notices) = (self.clone(), notices.clone());
            rt::spawn(async move {
                fetcher
                    .follow(fetched, notices, |_| (), |text| control.volfile_changed(&text))
                    .await;
            });
        }
        Ok((connectors, (spec, senders, receivers)))
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
        let limit = Some(self.options.fetch_limit);
        let fetched = fetcher
            .fetch(&notices.handler(), limit)
            .await
            .map_err(StartError::Fetch)?;
        tracing::info!("got the volfile '{}' from {}", fetcher.key, fetched.server);
        Ok(Source::Server(fetcher, fetched))
    }

    /// Marks the bricks whose host has an address of this machine. A name that does not resolve is not local.
    async fn find_local_bricks(&self, spec: &mut ClientSpec) {
        let lookups = spec.bricks.iter().map(|brick| self.resolver.resolve(&brick.host));
        let found = futures_util::future::join_all(lookups).await;
        for (brick, addresses) in spec.bricks.iter_mut().zip(found) {
            match addresses {
                Ok(addresses) => brick.local = Resolver::is_local(&addresses),
                Err(e) => tracing::warn!("{}: {e}", brick.subvolume),
            }
        }
    }

    fn volfile_changed(&self, text: &Bytes) {
        let mut parsed = match self.parse(text) {
            Ok(parsed) => parsed,
            Err(why) => return tracing::error!("the changed volfile cannot be used, the old one stays: {why}"),
        };
        if let (Some(log), Some(level)) = (&self.options.log, parsed.log_level) {
            log.set_level(level);
        }
        let Some(old) = self.spec.borrow().clone() else { return };
        if !old.same_bricks(&parsed.spec) {
            return tracing::error!("the volume's bricks have changed; mount it anew to follow");
        }
        for (new, old) in parsed.spec.bricks.iter_mut().zip(&old.bricks) {
            new.local = old.local;
        }
        let new = Arc::new(parsed.spec);
        if new == old {
            return;
        }
        tracing::info!("the volfile has changed; the new options are handed to the cores");
        for core in self.cores.borrow().iter() {
            if let Err(e) = core.send(ToCore::Topology(new.clone())) {
                tracing::warn!("a core did not get the new options: {e}");
            }
        }
        self.spec.replace(Some(new));
    }

    fn heard(&self, core: usize, event: &FromCore, connectors: &[Rc<Connector>]) {
        let spec = self.spec.borrow();
        let name = |brick: &usize| {
            let brick = spec.as_ref().and_then(|spec| spec.bricks.get(*brick));
            brick.map_or_else(
                || "unknown brick".to_owned(),
                |b| format!("{} ({}:{})", b.subvolume, b.host, b.path),
            )
        };
        match event {
            FromCore::NeedEndpoint { brick } => {
                if let Some(connector) = connectors.get(*brick) {
                    connector.want(core);
                }
            }
            FromCore::Up { brick } => {
                if let Some(connector) = connectors.get(*brick) {
                    connector.succeeded();
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
