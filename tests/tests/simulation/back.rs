//! Bricks that have just come back: the first operation after that succeeds, whatever the client was doing about its
//! connections at that moment.

use datapath::exec::host::scope;
use datapath::exec::sleep;
use datapath::wire::Gfid;

use super::world::{BRICKS, CLIENT, World, caller, host, random_time};
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

#[test]
fn the_first_operation_after_the_bricks_are_back_succeeds() {
    if possible() {
        for seed in seeds().into_iter().take(3) {
            simulate(seed, nothing_fails_once_they_are_back);
        }
    }
}
