//! The simulated installation and what is done to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datapath::brick::server::{BrickConfig, BrickServer};
use datapath::brick::store::{Options, Store, StoreConfig, Times, init_brick};
use datapath::client::{BrickSpec, Caller, ClientOptions, ClientSpec, Fd, Volume};
use datapath::errno::{Errno, FsResult};
use datapath::exec::host::{HostId, spawn_on};
use datapath::exec::net::{Addr, Listener};
use datapath::exec::{self, sleep};
use datapath::replicate::heal::HealDaemon;
use datapath::sim::{Sim, ip_of};
use datapath::sys::xattr;
use datapath::wire::Gfid;

const BRICKS: usize = 6;
const PORT: u16 = 49152;
const CLIENT: HostId = HostId(100);
const HEALER: HostId = HostId(101);
const VOLUME_ID: Gfid = Gfid([0xa5; 16]);
const OPERATIONS: usize = 150;
/// Time for the client to notice a misfortune before the next one may be chosen.
const NOTICED: Duration = Duration::from_millis(50);
const FILE_BYTES: u64 = 256 * 1024;

/// Six bricks, one client, one self-heal daemon.
pub struct World {
    sim: Sim,
    root: PathBuf,
    pub volume: Volume,
    healer: Volume,
    /// Stops when it is dropped.
    _daemon: HealDaemon,
    down: Rc<RefCell<Vec<bool>>>,
    errors: Cell<u32>,
    last_misfortune: Cell<Duration>,
}

fn host(brick: usize) -> HostId {
    HostId(brick as u16 + 1)
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
            heal_timeout: Duration::from_secs(60),
            shd_max_threads: 2,
            ..ClientOptions::default()
        },
    })
}

/// Connects `volume` to every brick for ever, as a control thread would.
fn connect(on: HostId, volume: &Volume) {
    for brick in 0..BRICKS {
        let volume = volume.clone();
        spawn_on(on, async move {
            loop {
                volume
                    .subvol(brick)
                    .clone()
                    .run((ip_of(host(brick)), PORT).into())
                    .await;
                volume.unreachable(brick);
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
}

fn start_brick(brick: usize, root: PathBuf) {
    spawn_on(host(brick), async move {
        let store = Store::open(StoreConfig {
            root,
            volume_id: VOLUME_ID,
            options: Options::default(),
        })
        .expect("the brick opens");
        let config = BrickConfig::new(format!("/brick{brick}"), "sim", VOLUME_ID, format!("brick-{brick}"));
        let server = BrickServer::new(config, store).expect("the brick starts");
        let listener = Listener::bind(&Addr::Inet(([0, 0, 0, 0], PORT).into()))
            .await
            .expect("the port is free");
        server.serve(listener).await.expect("the brick serves");
    });
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
    /// Makes and starts everything.
    pub fn new(sim: Sim, root: PathBuf) -> World {
        for brick in 0..BRICKS {
            let dir = root.join(format!("brick{brick}"));
            std::fs::create_dir_all(&dir).expect("brick directory");
            std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
            init_brick(&dir, VOLUME_ID).expect("a new brick");
            settle_times(&dir);
            start_brick(brick, dir);
        }
        let volume = Volume::new(spec("client", 0));
        connect(CLIENT, &volume);
        let healer = Volume::new(spec("glustershd", -6));
        connect(HEALER, &healer);
        let daemon = HealDaemon::start(healer.clone());
        let woken = daemon.clone();
        healer.on_event(move |_| woken.bricks_changed());
        World {
            sim,
            root,
            volume,
            healer,
            _daemon: daemon,
            down: Rc::new(RefCell::new(vec![false; BRICKS])),
            errors: Cell::new(0),
            last_misfortune: Cell::default(),
        }
    }

    /// How many operations the application saw fail.
    pub fn client_errors(&self) -> u32 {
        self.errors.get()
    }

    fn dir(&self, brick: usize) -> PathBuf {
        self.root.join(format!("brick{brick}"))
    }

    fn kill(&self, brick: usize) {
        self.sim.kill(host(brick));
        self.down.borrow_mut()[brick] = true;
    }

    fn restart(&self, brick: usize) {
        start_brick(brick, self.dir(brick));
        self.down.borrow_mut()[brick] = false;
    }

    /// Now and then something happens to a brick; never to more than two at once, so that a quorum is always up.
    fn misfortune(&self) {
        if self.sim.elapsed() < self.last_misfortune.get() + NOTICED {
            return;
        }
        self.last_misfortune.set(self.sim.elapsed());
        let brick = (exec::random_u64() % BRICKS as u64) as usize;
        let down: Vec<usize> = (0..BRICKS).filter(|&b| self.down.borrow()[b]).collect();
        if self.down.borrow()[brick] {
            self.restart(brick);
        } else if down.len() < 2 && self.volume.trusted().len() >= BRICKS - 1 {
            match exec::random_u64() % 3 {
                0 | 1 => self.kill(brick),
                _ => self.sim.reset_connections(CLIENT, host(brick)),
            }
        }
    }

    /// Everything comes back and heals.
    pub async fn settle(&self) {
        for brick in 0..BRICKS {
            if self.down.borrow()[brick] {
                self.restart(brick);
            }
        }
        self.volume.release_everything().await;
        for _ in 0..600 {
            sleep(Duration::from_millis(500)).await;
            if self.volume.up().len() < BRICKS || self.healer.up().len() < BRICKS {
                continue;
            }
            let report = self.healer.heal_info().await;
            let mut clean = report.iter().all(|b| b.error.is_none() && b.entries.is_empty());
            for brick in 0..BRICKS {
                clean &= self.healer.heal_count(brick).await == Ok(0);
            }
            if clean {
                return;
            }
        }
        panic!(
            "still to be healed after five minutes: {:#?}",
            self.healer.heal_info().await
        );
    }

    /// All six directories hold the same.
    pub fn compare_bricks(&self) {
        let bricks: Vec<PathBuf> = (0..BRICKS).map(|b| self.dir(b)).collect();
        tests::lab::compare::compare_bricks(&bricks)
            .and_then(|c| c.check())
            .expect("the bricks are equal");
    }
}

/// What the application was told is there.
#[derive(Default)]
pub struct Model {
    files: BTreeMap<(Gfid, Vec<u8>), Vec<u8>>,
    dirs: Vec<(Gfid, Vec<u8>)>,
}

fn caller() -> Caller {
    Caller {
        pid: 1000,
        lk_owner: 7,
        ..Caller::default()
    }
}

fn random_below(n: usize) -> usize {
    (exec::random_u64() % n.max(1) as u64) as usize
}

/// A sequence of operations under faults; every one is noted in the model once it succeeded.
pub async fn workload(world: &World) -> Model {
    world.volume.ready().await;
    world.volume.settle_root_times().await.expect("the root's times");
    let mut model = Model::default();
    let mut dirs = vec![Gfid::ROOT];
    for n in 0..OPERATIONS {
        if exec::random_u64().is_multiple_of(8) {
            world.misfortune();
        }
        if let Err(e) = step(world, &mut model, &mut dirs, n).await {
            world.errors.set(world.errors.get() + 1);
            println!("operation {n} failed: {e}");
        }
        sleep(Duration::from_millis(exec::random_u64() % 100)).await;
    }
    model
}

async fn step(world: &World, model: &mut Model, dirs: &mut Vec<Gfid>, n: usize) -> FsResult<()> {
    let (v, c) = (&world.volume, caller());
    let dir = dirs[random_below(dirs.len())];
    let existing: Vec<_> = model.files.keys().cloned().collect();
    match exec::random_u64() % 8 {
        0 => {
            let name = format!("dir{n}").into_bytes();
            dirs.push(v.mkdir(&c, dir, &name, 0o755).await?.gfid);
            model.dirs.push((dir, name));
        }
        1 | 2 => {
            let name = format!("file{n}").into_bytes();
            let (_, fd) = v
                .create(
                    &c,
                    dir,
                    &name,
                    (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR) as u32,
                    0o644,
                )
                .await?;
            model.files.insert((dir, name.clone()), Vec::new());
            write_some(world, &fd, model.files.get_mut(&(dir, name)).expect("just made")).await?;
            v.flush(&c, &fd).await?;
            v.release(fd);
        }
        3..=5 if !existing.is_empty() => {
            let key = existing[random_below(existing.len())].clone();
            let gfid = v.lookup(&c, key.0, &key.1).await?.gfid;
            let fd = v.open(&c, gfid, libc::O_RDWR as u32).await?;
            write_some(world, &fd, model.files.get_mut(&key).expect("listed")).await?;
            v.flush(&c, &fd).await?;
            v.release(fd);
        }
        6 if !existing.is_empty() => {
            let key = existing[random_below(existing.len())].clone();
            let name = format!("moved{n}").into_bytes();
            v.rename(&c, key.0, &key.1, dir, &name, 0).await?;
            let content = model.files.remove(&key).expect("listed");
            model.files.insert((dir, name), content);
        }
        7 if existing.len() > 4 => {
            let key = existing[random_below(existing.len())].clone();
            v.unlink(&c, key.0, &key.1).await?;
            model.files.remove(&key);
        }
        _ => {}
    }
    Ok(())
}

async fn write_some(world: &World, fd: &Fd, content: &mut Vec<u8>) -> FsResult<()> {
    for _ in 0..1 + random_below(4) {
        let off = exec::random_u64() % FILE_BYTES;
        let len = 1 + random_below(40_000);
        let byte = exec::random_u64() as u8;
        let wrote = world
            .volume
            .write(&caller(), fd, off, Bytes::from(vec![byte; len]), 0)
            .await?;
        assert_eq!(wrote as usize, len, "a write is whole or an error");
        let end = off as usize + len;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[off as usize..end].fill(byte);
        if exec::random_u64().is_multiple_of(4) {
            let read = world.volume.read(&caller(), fd, off, len as u32).await?;
            assert!(
                read.iter().all(|b| *b == byte) && read.len() == len,
                "what was written is read at once"
            );
        }
    }
    Ok(())
}

impl Model {
    /// Everything that was acknowledged is seen through the volume.
    pub async fn check_through(&self, world: &World) {
        let (v, c) = (&world.volume, caller());
        for (dir, name) in &self.dirs {
            assert!(
                v.lookup(&c, *dir, name).await.is_ok(),
                "directory {}",
                String::from_utf8_lossy(name)
            );
        }
        for ((dir, name), content) in &self.files {
            let text = String::from_utf8_lossy(name).into_owned();
            let iatt = v.lookup(&c, *dir, name).await.unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(iatt.size, content.len() as u64, "{text}: size");
            let fd = v.open(&c, iatt.gfid, libc::O_RDONLY as u32).await.expect("opens");
            let read = v.read(&c, &fd, 0, content.len() as u32 + 1).await.expect("reads");
            assert!(read == content[..], "{text}: contents");
            v.release(fd);
        }
        assert_eq!(v.lookup(&c, Gfid::ROOT, b"never made").await.err(), Some(Errno::ENOENT));
    }
}
