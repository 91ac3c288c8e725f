//! Several clients write one file; one of them crashes now and then. Every block must hold what some write put there
//! that no later, acknowledged write replaced.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use datapath::client::{Fd, Volume};
use datapath::errno::FsResult;
use datapath::exec::host::{self, HostId, spawn_on};
use datapath::exec::sleep;
use datapath::wire::Gfid;

use super::world::{CRASHING, World, caller, random_below, random_time, tell};

const BLOCKS: usize = 24;
const BLOCK: usize = 4096;
const PAUSE: Duration = Duration::from_millis(150);
const LIFE: Duration = Duration::from_secs(3);

/// One write of a block.
struct Write {
    tag: u32,
    /// Whose.
    by: HostId,
    start: u64,
    /// When it was answered, or its client died: it can have no effect after that.
    end: Option<u64>,
    acknowledged: bool,
    /// When its client had flushed it: a majority acknowledges a write, but only a flush waits for every brick, so
    /// other clients may read the former contents until then.
    flushed: Option<u64>,
}

/// A file of blocks, each a history of writes.
pub struct Shared {
    gfid: Gfid,
    blocks: RefCell<Vec<Vec<Write>>>,
    clock: Cell<u64>,
    tags: Cell<u32>,
    over: Cell<bool>,
    /// Names the crashing client began to make, and whether it heard that they are made.
    names: RefCell<Vec<(Vec<u8>, bool)>>,
    dir: Gfid,
}

fn block_of(tag: u32) -> Vec<u8> {
    tag.to_le_bytes().repeat(BLOCK / 4)
}

impl Shared {
    /// Makes the file, full of tag 0.
    pub async fn create(volume: &Volume) -> Rc<Shared> {
        let flags = (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR) as u32;
        let dir = volume
            .mkdir(&caller(), Gfid::ROOT, b"crashing", 0o755)
            .await
            .expect("mkdir")
            .gfid;
        let (iatt, fd) = volume
            .create(&caller(), Gfid::ROOT, b"shared", flags, 0o644)
            .await
            .expect("create");
        let zeros = Bytes::from(vec![0; BLOCKS * BLOCK]);
        volume.write(&caller(), &fd, 0, zeros, 0).await.expect("first write");
        volume.flush(&caller(), &fd).await.expect("flush");
        volume.release(fd);
        let first = || {
            vec![Write {
                tag: 0,
                by: HostId(0),
                start: 0,
                end: Some(1),
                acknowledged: true,
                flushed: Some(1),
            }]
        };
        Rc::new(Shared {
            gfid: iatt.gfid,
            blocks: RefCell::new((0..BLOCKS).map(|_| first()).collect()),
            clock: Cell::new(2),
            tags: Cell::new(0),
            over: Cell::new(false),
            names: RefCell::default(),
            dir,
        })
    }

    fn now(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    /// Nobody begins anything more.
    pub fn end(&self) {
        self.over.set(true);
    }

    /// Writes and reads until [`Shared::end`].
    pub async fn work(self: Rc<Shared>, volume: Volume, pause: Duration) {
        while !self.over.get() {
            self.session(&volume, pause).await.expect("a quorum is up");
        }
    }

    async fn session(&self, volume: &Volume, pause: Duration) -> FsResult<()> {
        // As the kernel does before every open.
        volume.lookup(&caller(), Gfid::ROOT, b"shared").await?;
        let fd = volume.open(&caller(), self.gfid, libc::O_RDWR as u32).await?;
        for _ in 0..1 + random_below(5) {
            match random_below(4) {
                0 => self.read(volume, &fd).await?,
                _ => self.write(volume, &fd).await?,
            }
            sleep(random_time(pause)).await;
        }
        if random_below(4) == 0 {
            volume.fsync(&caller(), &fd, true).await?;
        }
        volume.flush(&caller(), &fd).await?;
        self.flushed();
        volume.release(fd);
        Ok(())
    }

    async fn write(&self, volume: &Volume, fd: &Fd) -> FsResult<()> {
        let first = random_below(BLOCKS);
        let end = BLOCKS.min(first + 1 + random_below(4));
        self.tags.set(self.tags.get() + 1);
        let (tag, start) = (self.tags.get(), self.now());
        let by = host::current();
        for history in &mut self.blocks.borrow_mut()[first..end] {
            history.push(Write {
                tag,
                by,
                start,
                end: None,
                acknowledged: false,
                flushed: None,
            });
        }
        let data = Bytes::from(block_of(tag).repeat(end - first));
        let len = data.len();
        let wrote = volume.write(&caller(), fd, (first * BLOCK) as u64, data, 0).await?;
        assert_eq!(wrote as usize, len, "a write is whole or an error");
        let now = self.now();
        let mut blocks = self.blocks.borrow_mut();
        let mine = blocks[first..end].iter_mut().flatten().filter(|w| w.tag == tag);
        mine.for_each(|w| (w.end, w.acknowledged) = (Some(now), true));
        Ok(())
    }

    async fn read(&self, volume: &Volume, fd: &Fd) -> FsResult<()> {
        let block = random_below(BLOCKS);
        let start = self.now();
        let read = volume.read(&caller(), fd, (block * BLOCK) as u64, BLOCK as u32).await?;
        if let Err(e) = self.judge(block, &read, start) {
            panic!("{e}");
        }
        Ok(())
    }

    /// What this client has written is on every brick.
    fn flushed(&self) {
        let (now, by) = (self.now(), host::current());
        let mut blocks = self.blocks.borrow_mut();
        let mine = blocks
            .iter_mut()
            .flatten()
            .filter(|w| w.by == by && w.acknowledged && w.flushed.is_none());
        mine.for_each(|w| w.flushed = Some(now));
    }

    /// Whether `read`, begun at `start`, can be the contents of a block.
    fn judge(&self, block: usize, read: &[u8], start: u64) -> Result<(), String> {
        let tag = read.first_chunk().map_or(u32::MAX, |tag| u32::from_le_bytes(*tag));
        if read != block_of(tag) {
            return Err(format!("block {block} is torn: {:?}...", &read[..read.len().min(16)]));
        }
        let blocks = self.blocks.borrow();
        let Some(found) = blocks[block].iter().find(|w| w.tag == tag) else {
            return Err(format!("block {block} has tag {tag}, which nobody wrote there"));
        };
        let reader = host::current();
        let seen = |w: &Write| {
            if w.by == reader || start == u64::MAX {
                w.end
            } else {
                w.flushed
            }
        };
        let later = |w: &&Write| {
            let after = found.end.is_some_and(|end| w.start > end);
            w.acknowledged && after && seen(w).is_some_and(|end| end < start)
        };
        match blocks[block].iter().find(later) {
            Some(w) => Err(format!(
                "block {block} has tag {tag}, but {} of {:?} was acknowledged later",
                w.tag, w.by
            )),
            None => Ok(()),
        }
    }

    /// A client that writes, makes names and crashes, until [`Shared::end`].
    pub async fn crash_again_and_again(self: Rc<Shared>, world: World) {
        for life in 0.. {
            if self.over.get() {
                return;
            }
            let (me, there) = (self.clone(), world.clone());
            spawn_on(CRASHING, async move {
                let volume = there.client(CRASHING, &format!("crashing{life}")).await;
                let other = me.clone();
                let naming = volume.clone();
                spawn_on(CRASHING, async move { other.make_names(&naming, life).await });
                me.work(volume, Duration::from_millis(10)).await;
            });
            sleep(Duration::from_millis(100) + random_time(LIFE)).await;
            let silent = random_below(4) == 0;
            tell(if silent {
                "client loses its power"
            } else {
                "client crashes"
            });
            if silent {
                world.sim.power_off(CRASHING);
            } else {
                world.sim.kill(CRASHING);
            }
            self.lives_end();
            sleep(random_time(PAUSE)).await;
            if silent {
                world.sim.power_on(CRASHING);
            }
        }
    }

    /// What the crashed client had sent can still be under way to a brick when its machine is silent, but a lock it
    /// held is still held then: nobody's write comes before that.
    fn lives_end(&self) {
        let now = self.now();
        let mut blocks = self.blocks.borrow_mut();
        let cut = blocks
            .iter_mut()
            .flatten()
            .filter(|w| w.by == CRASHING && w.end.is_none());
        cut.for_each(|w| w.end = Some(now));
    }

    async fn make_names(&self, volume: &Volume, life: u32) {
        for n in 0.. {
            let name = format!("name{life}-{n}").into_bytes();
            self.names.borrow_mut().push((name.clone(), false));
            let at = self.names.borrow().len() - 1;
            volume
                .mknod(&caller(), self.dir, &name, libc::S_IFREG | 0o600, 0)
                .await
                .expect("a quorum is up");
            self.names.borrow_mut()[at].1 = true;
            sleep(random_time(PAUSE)).await;
        }
    }

    /// Names whose making was cut short are made the same everywhere by looking at them (name heal).
    pub async fn look_at_doubts(&self, volume: &Volume) {
        let names = self.names.borrow().clone();
        for (name, made) in names {
            let found = volume.lookup(&caller(), self.dir, &name).await;
            assert!(!made || found.is_ok(), "{}: {found:?}", String::from_utf8_lossy(&name));
        }
    }

    /// The whole file as `volume` sees it.
    pub async fn check(&self, volume: &Volume) {
        let fd = volume
            .open(&caller(), self.gfid, libc::O_RDONLY as u32)
            .await
            .expect("opens");
        let read = volume
            .read(&caller(), &fd, 0, (BLOCKS * BLOCK) as u32)
            .await
            .expect("reads");
        volume.release(fd);
        assert_eq!(read.len(), BLOCKS * BLOCK);
        for (block, content) in read.chunks(BLOCK).enumerate() {
            if let Err(e) = self.judge(block, content, u64::MAX) {
                panic!("{e}");
            }
        }
    }
}
