//! Listings of a large directory whose brick is lost again and again: every name once, and no error.

use std::collections::BTreeSet;

use datapath::client::{Fd, Volume};
use datapath::exec::host::scope;
use datapath::exec::sleep;
use datapath::wire::Gfid;

use super::world::{BRICKS, CLIENT, SECOND, World, caller, host, tell};
use super::*;

/// Names in the directory.
const NAMES: usize = 3000;
/// Bytes asked for at once: some sixty names.
const PAGE: u32 = 16 << 10;
/// Pages between two misfortunes.
const PAGES: usize = 5;

/// What happens to the brick that is listing.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Killed,
    Stopped,
    CutOff,
    PoweredOff,
}

const HARMS: [Harm; 4] = [Harm::Killed, Harm::Stopped, Harm::CutOff, Harm::PoweredOff];

impl Harm {
    fn begin(self, world: &World, brick: usize) {
        tell(&format!("brick {brick}: {self:?}"));
        let (sim, here) = (&world.sim, host(brick));
        match self {
            Harm::Killed => drop(sim.kill(here)),
            Harm::Stopped => sim.stop(here),
            Harm::CutOff => sim.partition(CLIENT, here),
            Harm::PoweredOff => drop(sim.power_off(here)),
        }
    }

    fn end(self, world: &World, brick: usize) {
        let (sim, here) = (&world.sim, host(brick));
        match self {
            Harm::Killed => world.start(brick),
            Harm::Stopped => sim.resume(here),
            Harm::CutOff => sim.heal(CLIENT, here),
            Harm::PoweredOff => {
                sim.power_on(here);
                world.start(brick);
            }
        }
    }
}

async fn all_up(volume: &Volume) {
    while volume.up().len() < BRICKS {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn page(volume: &Volume, fd: &Fd, off: &mut u64) -> (Vec<Vec<u8>>, bool) {
    let (entries, end) = volume
        .readdirp(&caller(), fd, *off, PAGE)
        .await
        .unwrap_or_else(|e| panic!("listing from {off} on: {e}"));
    assert!(end || !entries.is_empty(), "an empty page looks like the end");
    *off = entries.last().map_or(*off, |e| e.off);
    (entries.into_iter().map(|e| e.name.to_vec()).collect(), end)
}

/// Lists the directory while the brick that does it is harmed after every few pages; how often another took over.
async fn list_harmed(world: &World, volume: &Volume, fd: &Fd, names: &BTreeSet<Vec<u8>>) -> usize {
    let (mut off, mut listed, mut moves, mut pages) = (0, Vec::new(), 0, 0);
    let mut harmed: Option<(Harm, usize)> = None;
    let mut harms = HARMS.into_iter().cycle();
    loop {
        let before = fd.listing();
        let (more, end) = page(volume, fd, &mut off).await;
        listed.extend(more);
        moves += usize::from(pages > 0 && before != fd.listing());
        if end {
            break;
        }
        pages += 1;
        if pages % PAGES != 1 {
            continue;
        }
        if let Some((harm, brick)) = harmed.take() {
            harm.end(world, brick);
            all_up(volume).await;
        }
        let (harm, brick) = (harms.next().expect("without end"), fd.listing().expect("it has begun"));
        harm.begin(world, brick);
        harmed = Some((harm, brick));
    }
    if let Some((harm, brick)) = harmed {
        harm.end(world, brick);
        all_up(volume).await;
    }
    let count = listed.len();
    let listed: BTreeSet<Vec<u8>> = listed.into_iter().collect();
    assert_eq!(count, listed.len(), "some name was listed twice");
    assert!(listed == *names, "{} names instead of {}", listed.len(), names.len());
    moves
}

async fn large_directory(volume: &Volume) -> (Gfid, BTreeSet<Vec<u8>>) {
    let dir = volume.mkdir(&caller(), Gfid::ROOT, b"large", 0o755).await;
    let dir = dir.expect("mkdir").gfid;
    let mut names = BTreeSet::from([b".".to_vec(), b"..".to_vec()]);
    for n in 0..NAMES {
        let name = format!("name{n}").into_bytes();
        let made = volume.mknod(&caller(), dir, &name, libc::S_IFREG | 0o644, 0).await;
        made.unwrap_or_else(|e| panic!("mknod {n}: {e}"));
        names.insert(name);
    }
    (dir, names)
}

async fn listings_move(world: World) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    world.watch(&volume);
    scope(CLIENT, async {
        let (dir, names) = large_directory(&volume).await;
        let fd = volume.opendir(&caller(), dir).await.expect("opendir");
        let moves = list_harmed(&world, &volume, &fd, &names).await;
        println!("{moves} bricks took over");
        assert!(moves >= 6, "only {moves} bricks took over");
        // Rewound, the same open lists everything once more.
        let again = list_harmed(&world, &volume, &fd, &names).await;
        assert!(again >= 6, "only {again} bricks took over");
        // The first page goes to a brick that is gone, which nobody has noticed.
        let first = volume.opendir(&caller(), dir).await.expect("opendir");
        page(&volume, &first, &mut 0).await;
        let brick = first.listing().expect("it has begun");
        for harm in HARMS {
            let fd = volume.opendir(&caller(), dir).await.expect("opendir");
            harm.begin(&world, brick);
            page(&volume, &fd, &mut 0).await;
            assert_ne!(fd.listing(), Some(brick), "{harm:?}");
            harm.end(&world, brick);
            all_up(&volume).await;
            volume.release(fd);
        }
        volume.release(first);
        volume.release(fd);
    })
    .await;
}

#[test]
fn a_listing_goes_on_when_its_brick_is_lost() {
    if possible() {
        for seed in seeds().into_iter().take(2) {
            simulate(seed, listings_move);
        }
    }
}

/// Names that come and go while a listing moves are seen at most once; those that stay, exactly once.
async fn changing_directory(world: World) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    let other = scope(SECOND, world.client(SECOND, "second")).await;
    let (dir, mut stay) = scope(CLIENT, large_directory(&volume)).await;
    let fd = scope(CLIENT, volume.opendir(&caller(), dir)).await.expect("opendir");
    let (mut off, mut listed) = (0, Vec::new());
    for n in 0.. {
        let (more, end) = scope(CLIENT, page(&volume, &fd, &mut off)).await;
        listed.extend(more);
        if end {
            break;
        }
        let (gone, new) = (format!("name{}", n * 20), format!("new{n}"));
        let unlinked = scope(SECOND, other.unlink(&caller(), dir, gone.as_bytes())).await;
        unlinked.expect("unlink");
        stay.remove(gone.as_bytes());
        let (who, mode) = (caller(), libc::S_IFREG | 0o644);
        let made = scope(SECOND, other.mknod(&who, dir, new.as_bytes(), mode, 0)).await;
        made.expect("mknod");
        if n % 7 == 3 {
            all_up(&volume).await;
            world
                .sim
                .reset_connections(CLIENT, host(fd.listing().expect("it has begun")));
        }
    }
    let once: BTreeSet<Vec<u8>> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "some name was listed twice");
    assert!(stay.is_subset(&once), "missing: {:?}", stay.difference(&once));
}

#[test]
fn a_listing_moves_while_its_directory_changes() {
    if possible() {
        for seed in seeds().into_iter().take(2) {
            simulate(seed, changing_directory);
        }
    }
}
