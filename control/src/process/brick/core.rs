//! The data-path thread of a brick, and how the control thread speaks to it.

use std::net::TcpListener;
use std::thread::JoinHandle;

use datapath::brick::server::{BrickConfig, BrickServer, BrickStatus};
use datapath::brick::store::{HealthCheck, Janitor, Options, Store};
use datapath::exec::{self, CoreConfig, mailbox, net};
use datapath::sys;

use super::plan::Plan;
use crate::process::daemon::Failure;
use crate::rt::sync::oneshot;

const QUEUE: usize = 64;
const SIGNALS: &[i32] = &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// From the control thread.
pub(super) enum Order {
    Status(oneshot::Sender<BrickStatus>),
    /// Whether the storage is usable.
    ChildUp(bool),
    Reconfigure(Box<(BrickConfig, Options)>),
    Stop,
}

/// What the control thread can do with the store by itself.
pub(super) struct Opened {
    pub(super) health: HealthCheck,
    pub(super) janitor: Janitor,
}

/// A running brick core.
pub(super) struct Core {
    orders: mailbox::Sender<Order>,
    thread: JoinHandle<()>,
}

impl Core {
    /// Opens the store and serves `listener` on a thread of its own.
    ///
    /// # Errors
    /// The store's refusal of the directory, or the ring's of the system.
    pub(super) async fn start(plan: &Plan, listener: TcpListener) -> Result<(Core, Opened), Failure> {
        let (orders, received) = mailbox::channel(QUEUE);
        let (answer, opened) = oneshot::channel();
        let plan = plan.clone();
        let thread = std::thread::Builder::new()
            .name("brick".to_owned())
            .spawn(move || {
                if let Err(e) = sys::process::block_signals(SIGNALS) {
                    tracing::warn!("signals cannot be blocked in the brick's thread: {e}");
                }
                if let Err(e) = exec::uring_core(CoreConfig::default(), || serve(plan, listener, received, answer)) {
                    tracing::error!("the brick's core cannot run: {e}");
                }
            })
            .map_err(|e| Failure::new(format!("the brick's thread cannot be started: {e}")))?;
        let ended = || Failure::new("the brick's core could not be started");
        let opened = opened.await.map_err(|_| ended())??;
        Ok((Core { orders, thread }, opened))
    }

    /// Gives an order; `false` if the core has ended.
    pub(super) fn order(&self, order: Order) -> bool {
        match self.orders.send(order) {
            Ok(()) => true,
            Err(e) => {
                tracing::error!("the brick's core takes no orders: {e}");
                false
            }
        }
    }

    /// Whether the core runs.
    pub(super) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// What the brick tells of itself; `None` if the core has ended.
    pub(super) async fn status(&self) -> Option<BrickStatus> {
        let (answer, status) = oneshot::channel();
        if !self.order(Order::Status(answer)) {
            return None;
        }
        status.await.ok()
    }
}

async fn serve(
    plan: Plan,
    listener: TcpListener,
    mut orders: mailbox::Receiver<Order>,
    answer: oneshot::Sender<Result<Opened, Failure>>,
) {
    let server = match open(plan, listener) {
        Ok((server, listener)) => {
            let opened = Opened {
                health: server.store().health_check(),
                janitor: server.store().janitor(),
            };
            if answer.send(Ok(opened)).is_err() {
                return;
            }
            let serving = server.clone();
            exec::spawn(async move {
                if let Err(e) = serving.serve(listener).await {
                    tracing::error!("the brick's port is broken: {e}");
                }
            });
            server
        }
        // If nobody waits for the answer, nobody wants the brick.
        Err(failure) => return drop(answer.send(Err(failure))),
    };
    while let Some(order) = orders.recv().await {
        match order {
            // Whoever asked may have gone.
            Order::Status(answer) => drop(answer.send(server.status())),
            Order::ChildUp(up) => server.set_child_up(up),
            Order::Reconfigure(new) => {
                let (config, options) = *new;
                server.reconfigure(config);
                if let Err(e) = server.store().set_options(options) {
                    tracing::error!("the brick's root cannot get its new owner: {e}");
                }
            }
            Order::Stop => break,
        }
    }
    server.stop();
}

fn open(plan: Plan, listener: TcpListener) -> Result<(BrickServer, net::Listener), Failure> {
    let listener =
        net::Listener::from_std(listener).map_err(|e| Failure::new(format!("the brick's port cannot be used: {e}")))?;
    let store = Store::open(plan.store).map_err(|e| Failure::new(e.to_string()))?;
    let server = BrickServer::new(plan.config, store)
        .map_err(|e| Failure::new(format!("the brick's index directories cannot be opened: {e}")))?;
    Ok((server, listener))
}
