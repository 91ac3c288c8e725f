//! Bricks that have just come back: the first operation after that succeeds, whatever the client was doing about its
//! connections at that moment.

use datapath::exec::host::scope;
use datapath::exec::sleep;
use datapath::wire::Gfid;

use super::world::{BRICKS, CLIENT, HEALER, World, caller, host, random_below, random_time};
use super::*;

const ROUNDS: usize = 12;

async fn nothing_fails_once_they_are_back(world: World) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    world.watch(&volume);
    scope(CLIENT, async {
        volume.mkdir(&caller(), Gfid::ROOT, b"dir", 0o755).await.expect("mkdir");
        for round in 0..ROUNDS {
            for brick in 0..BRICKS {
                let _ = world.sim.kill(host(brick));
            }
            while !volume.up().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
            sleep(random_time(Duration::from_secs(2))).await;
            let lost = volume.lookup(&caller(), Gfid::ROOT, b"dir").await;
            assert_eq!(lost.expect_err("no brick is there"), Errno::ENOTCONN);
            (0..BRICKS).for_each(|brick| world.start(brick));
            if round % 2 == 0 {
                let found = volume.lookup(&caller(), Gfid::ROOT, b"dir").await;
                found.unwrap_or_else(|e| panic!("lookup in round {round}: {e}"));
            }
            let made = volume
                .mkdir(&caller(), Gfid::ROOT, format!("{round}").as_bytes(), 0o755)
                .await;
            made.unwrap_or_else(|e| panic!("mkdir in round {round}: {e}"));
        }
    })
    .await;
    world.settle().await;
    world.compare_bricks();
}

/// Directories are removed, or renamed over, while a brick that is back still has something in them.
async fn what_a_stale_brick_still_has_is_removed_too(world: World) {
    let volume = scope(CLIENT, world.client(CLIENT, "client")).await;
    world.watch(&volume);
    let stale = random_below(BRICKS);
    let make = async |parent, name: &[u8]| {
        let made = volume.mkdir(&caller(), parent, name, 0o755).await;
        made.expect("mkdir").gfid
    };
    scope(CLIENT, async {
        let dir = make(Gfid::ROOT, b"dir").await;
        let (sub, over) = (make(dir, b"sub").await, make(dir, b"over").await);
        make(sub, b"inner").await;
        make(over, b"inner").await;
        make(dir, b"new").await;
        world.sim.isolate(HEALER, (0..BRICKS).map(host));
        let _ = world.sim.kill(host(stale));
        while volume.up().contains(stale) {
            sleep(Duration::from_millis(10)).await;
        }
        for parent in [sub, over] {
            volume
                .rmdir(&caller(), parent, b"inner")
                .await
                .expect("without a brick");
        }
        world.start(stale);
        while !volume.up().contains(stale) {
            sleep(Duration::from_millis(10)).await;
        }
        volume.rmdir(&caller(), dir, b"sub").await.expect("with a stale brick");
        let renamed = volume.rename(&caller(), dir, b"new", dir, b"over", 0).await;
        renamed.expect("over what a stale brick has something in");
        volume.rmdir(&caller(), dir, b"over").await.expect("what was renamed");
        volume.rmdir(&caller(), Gfid::ROOT, b"dir").await.expect("the whole");
    })
    .await;
    (0..BRICKS).for_each(|brick| world.sim.heal(HEALER, host(brick)));
    world.settle().await;
    world.compare_bricks();
}

#[test]
fn a_directory_that_is_not_empty_on_a_stale_brick_is_removed_there_by_heal() {
    if possible() {
        for seed in seeds().into_iter().take(4) {
            simulate(seed, what_a_stale_brick_still_has_is_removed_too);
        }
    }
}

#[test]
fn the_first_operation_after_the_bricks_are_back_succeeds() {
    if possible() {
        for seed in seeds().into_iter().take(3) {
            simulate(seed, nothing_fails_once_they_are_back);
        }
    }
}
