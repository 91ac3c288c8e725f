//! The simulated installation: six bricks, clients, a self-heal daemon.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use datapath::brick::server::{BrickConfig, BrickServer};
use datapath::brick::store::{Options, Store, StoreConfig, Times, init_brick};
use datapath::client::{self, BrickSpec, Caller, ClientOptions, ClientSpec, Volume};
use datapath::errno::FsResult;
use datapath::exec::host::{HostId, spawn_on};
use datapath::exec::net::{Addr, Listener};
use datapath::exec::sync::Notify;
use datapath::exec::{self, sleep};
use datapath::replicate::heal::HealDaemon;
use datapath::replicate::{BrickEvent, BrickSet};
use datapath::sim::{Sim, ip_of};
use datapath::sys::xattr;
use datapath::wire::Gfid;

pub const BRICKS: usize = 6;
const PORT: u16 = 49152;
/// Where the first client is; the others follow.
pub const CLIENT: HostId = HostId(100);
/// Another one.
pub const SECOND: HostId = HostId(101);
/// One that crashes.
pub const CRASHING: HostId = HostId(102);
/// Where the self-heal daemon is.
pub const HEALER: HostId = HostId(200);
const VOLUME_ID: Gfid = Gfid([0xa5; 16]);

/// How often the self-heal daemon looks at everything (`heal-timeout`).
const CRAWLS: Duration = Duration::from_secs(60);
/// How often a brick frees what forced rmdirs left.
const JANITOR: Duration = Duration::from_secs(10);

/// Six bricks and a self-heal daemon; clients as wanted.
#[derive(Clone)]
pub struct World {
    pub sim: Sim,
    root: Rc<PathBuf>,
    healer: Volume,
    /// Stops when it is dropped.
    _daemon: HealDaemon,
    clients: Rc<RefCell<Vec<Volume>>>,
}

/// The machine of a brick.
pub fn host(brick: usize) -> HostId {
    HostId(brick as u16 + 1)
}

/// Who does everything.
pub fn caller() -> Caller {
    Caller {
        pid: 1000,
        lk_owner: 7,
        ..Caller::default()
    }
}

/// Tells what is done, with the time: seen when a test fails.
pub fn tell(what: &str) {
    let now = exec::wall_clock();
    println!("{:>6}.{:09} {what}", now.sec % 1_000_000, now.nsec);
}

/// A random number below `n`.
pub fn random_below(n: usize) -> usize {
    (exec::random_u64() % n.max(1) as u64) as usize
}

/// A random time up to `limit`.
pub fn random_time(limit: Duration) -> Duration {
    Duration::from_millis(random_below(limit.as_millis() as usize + 1) as u64)
}

fn spec(process: &str, pid: i32) -> Arc<ClientSpec> {
    let bricks = (0..BRICKS)
        .map(|i| BrickSpec {
            subvolume: format!("sim-client-{i}"),
            pending_name: format!("sim-client-{i}"),
            host: format!("worker{i}"),
            path: format!("/brick{i}"),
            local: pid < 0,
        })
        .collect();
    Arc::new(ClientSpec {
        volume: "sim".into(),
        replicate: "sim-replicate-0".into(),
        volume_id: Some(VOLUME_ID.to_string()),
        bricks,
        credentials: None,
        process_name: process.into(),
        volfile_key: "sim".into(),
        client_id: format!("CTX_ID:{process}-GRAPH_ID:0-PID:1-HOST:{process}"),
        client_pid: pid,
        options: ClientOptions {
            utime: pid >= 0,
            granular_entry_heal: true,
            use_anonymous_inode: true,
            heal_timeout: CRAWLS,
            shd_max_threads: 2,
            ..ClientOptions::default()
        },
    })
}

/// Connects `volume` to every brick for ever, as a control thread would: at once when an operation waits for it, which
/// `wanted` tells.
fn connect(on: HostId, volume: &Volume, wanted: &Rc<Notify>) {
    for brick in 0..BRICKS {
        let (volume, wanted) = (volume.clone(), wanted.clone());
        spawn_on(on, async move {
            loop {
                volume
                    .subvol(brick)
                    .clone()
                    .run((ip_of(host(brick)), PORT).into())
                    .await;
                volume.unreachable(brick);
                let _ = exec::timeout(Duration::from_millis(200), wanted.notified()).await;
            }
        });
    }
}

/// Gives a new brick's root the times of the simulation. Without them the client would ask the bricks for the kernel's
/// and write those, which no two runs have in common.
fn settle_times(dir: &Path) {
    let now = exec::wall_clock();
    let times = Times::all((now.sec, now.nsec)).encode();
    let fd = File::open(dir).expect("the brick's directory");
    xattr::fset(&fd, b"trusted.glusterfs.mdata", &times, 0).expect("the root's times");
}

impl World {
    /// Makes and starts the bricks and the self-heal daemon.
    pub fn new(sim: Sim, root: PathBuf) -> World {
        let healer = Volume::new(spec("glustershd", -6));
        let wanted = Rc::new(Notify::new());
        connect(HEALER, &healer, &wanted);
        let daemon = HealDaemon::start(healer.clone());
        let woken = daemon.clone();
        healer.on_event(move |event| match event {
            BrickEvent::Wanted => wanted.notify_waiters(),
            BrickEvent::Health(..) => {}
            BrickEvent::Up(_) | BrickEvent::Down(..) => woken.bricks_changed(),
        });
        let world = World {
            sim,
            root: Rc::new(root),
            healer,
            _daemon: daemon,
            clients: Rc::default(),
        };
        for brick in 0..BRICKS {
            let dir = world.dir(brick);
            std::fs::create_dir_all(&dir).expect("brick directory");
            std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
            init_brick(&dir, VOLUME_ID).expect("a new brick");
            settle_times(&dir);
            world.start(brick);
        }
        world
    }

    /// A client on `on` that is connected.
    pub async fn client(&self, on: HostId, name: &str) -> Volume {
        let volume = Volume::new(spec(name, 0));
        let wanted = Rc::new(Notify::new());
        connect(on, &volume, &wanted);
        volume.on_event(move |event| {
            if matches!(event, BrickEvent::Wanted) {
                wanted.notify_waiters();
            }
        });
        spawn_on(on, client::confirm(volume.clone()));
        volume.ready().await;
        volume.settle_root_times().await.expect("the root's times");
        volume
    }

    /// Counts a client among those that must be whole again before faults go on to other bricks.
    pub fn watch(&self, volume: &Volume) {
        self.clients.borrow_mut().push(volume.clone());
    }

    /// Whether everybody sees all bricks and nothing is to be healed.
    pub fn is_whole(&self) -> bool {
        let all = BrickSet::first(BRICKS);
        self.healer.up() == all && self.clients.borrow().iter().all(|c| c.trusted() == all)
    }

    fn dir(&self, brick: usize) -> PathBuf {
        self.root.join(format!("brick{brick}"))
    }

    /// Starts a brick's process.
    pub fn start(&self, brick: usize) {
        let root = self.dir(brick);
        spawn_on(host(brick), async move {
            let store = Store::open(StoreConfig {
                root,
                volume_id: VOLUME_ID,
                options: Options::default(),
            })
            .expect("the brick opens");
            let config = BrickConfig::new(format!("/brick{brick}"), "sim", VOLUME_ID, format!("brick-{brick}"));
            let server = BrickServer::new(config, store).expect("the brick starts");
            let janitor = server.store().janitor();
            exec::spawn(async move {
                loop {
                    sleep(JANITOR).await;
                    janitor.purge().expect("the landfill can be emptied");
                }
            });
            let listener = Listener::bind(&Addr::Inet(([0, 0, 0, 0], PORT).into()))
                .await
                .expect("the port is free");
            server.serve(listener).await.expect("the brick serves");
        });
    }

    /// Waits until everything is healed. All bricks must be there.
    pub async fn settle(&self) {
        let clients = self.clients.borrow().clone();
        for client in &clients {
            client.release_everything().await;
        }
        for _ in 0..600 {
            sleep(Duration::from_millis(500)).await;
            if self.healer.up().len() < BRICKS || clients.iter().any(|c| c.up().len() < BRICKS) {
                continue;
            }
            if self.is_clean().await == Ok(true) {
                // Names that were remembered for heals that were not needed go with the next crawl.
                sleep(CRAWLS + JANITOR).await;
                return;
            }
        }
        panic!(
            "still to be healed after five minutes: {:#?}",
            self.healer.heal_info().await
        );
    }

    async fn is_clean(&self) -> FsResult<bool> {
        for brick in self.healer.heal_info().await {
            if brick.error.is_some() || !brick.entries.is_empty() {
                return Ok(false);
            }
        }
        for brick in 0..BRICKS {
            if self.healer.heal_count(brick).await? != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All six directories hold the same.
    pub fn compare_bricks(&self) {
        let bricks: Vec<PathBuf> = (0..BRICKS).map(|b| self.dir(b)).collect();
        tests::lab::compare::compare_bricks(&bricks)
            .and_then(|c| c.check())
            .expect("the bricks are equal");
    }
}
