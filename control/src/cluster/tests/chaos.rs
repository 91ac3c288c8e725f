//! Nodes are cut off, mended, killed and started in an order made from a number, while changes are proposed everywhere.
//! Whatever happens, a change that was acknowledged is never lost, and in the end all nodes have the same state.

use super::nodes::{Node, Place, odd, voters};
use super::{LONG, eventually};
use crate::cluster::{Change, ClusterError};
use crate::rt;

const NODES: u8 = 5;
const ROUNDS: usize = 25;

/// A small generator: the same number, the same order.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

enum Slot {
    Running(Node),
    Cut(Node),
    Dead,
}

/// Proposes one change to the options and remembers whether it was acknowledged or may have been made.
async fn propose(node: &Node, mark: usize, acknowledged: &mut Vec<String>) {
    let (version, mut options) = node.state().options.clone();
    let mark = format!("mark-{mark}");
    options.push((mark.clone(), String::new()));
    let change = Change::SetOptions {
        version: version + 1,
        options,
    };
    match node.propose(change).await {
        Ok(_) => acknowledged.push(mark),
        Err(ClusterError::Conflict(_) | ClusterError::NoQuorum | ClusterError::Uncertain(_)) => {}
        Err(e) => panic!("an error that does not belong here: {e:?}"),
    }
}

async fn disturb(place: &Place, nodes: &mut [Slot], dice: &mut Dice) {
    let at = dice.roll(nodes.len());
    let number = u8::try_from(at + 1).unwrap();
    let away = nodes.iter().filter(|node| !matches!(node, Slot::Running(_))).count();
    nodes[at] = match std::mem::replace(&mut nodes[at], Slot::Dead) {
        // Mostly a majority is left: else nothing happens at all.
        Slot::Running(node) if away >= 2 => Slot::Running(node),
        Slot::Running(node) if dice.roll(2) == 0 => {
            node.cut();
            Slot::Cut(node)
        }
        Slot::Running(node) => {
            node.stop().await;
            Slot::Dead
        }
        Slot::Cut(node) => {
            node.mend(place);
            Slot::Running(node)
        }
        Slot::Dead => Slot::Running(place.start(number).await),
    };
}

async fn run(seed: u64) {
    println!("seed {seed}");
    let place = Place::new(&format!("chaos-{seed}"));
    let mut nodes: Vec<Slot> = place.cluster(NODES).await.into_iter().map(Slot::Running).collect();
    let mut dice = Dice(seed);
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        if dice.roll(3) == 0 {
            disturb(&place, &mut nodes, &mut dice).await;
        }
        let proposer = dice.roll(nodes.len());
        match &nodes[proposer] {
            Slot::Running(node) => propose(node, round, &mut acknowledged).await,
            // One that is cut off must not claim to have changed anything, nor hang.
            Slot::Cut(node) => {
                let begun = rt::Instant::now();
                propose(node, round, &mut acknowledged).await;
                assert!(begun.elapsed() < LONG);
            }
            Slot::Dead => {}
        }
    }
    let mut all = Vec::new();
    for (at, node) in nodes.into_iter().enumerate() {
        all.push(match node {
            Slot::Running(node) => node,
            Slot::Cut(node) => {
                node.mend(&place);
                node
            }
            Slot::Dead => place.start(u8::try_from(at + 1).unwrap()).await,
        });
    }
    voters(&all, odd(NODES)).await;
    all[0].put_surely(1).await;
    eventually("all are equal", || {
        all.iter()
            .all(|node| *node.state() == *all[0].state() && node.version() == 1)
    })
    .await;
    let state = all[0].state();
    println!(
        "{} of {ROUNDS} changes acknowledged, {} made",
        acknowledged.len(),
        state.options.1.len()
    );
    assert!(!acknowledged.is_empty());
    let mut made = state.options.1.iter().map(|(mark, _)| mark);
    // In the order in which they were acknowledged, none missing, none twice.
    for mark in &acknowledged {
        assert!(made.any(|made| made == mark), "{mark} is lost or out of order");
    }
    for (at, (mark, _)) in state.options.1.iter().enumerate() {
        assert!(
            !state.options.1[..at].iter().any(|(other, _)| other == mark),
            "{mark} was made twice"
        );
    }
}

#[test]
fn acknowledged_changes_survive_anything() {
    for seed in [1, 2] {
        rt::block_on(run(seed)).unwrap();
    }
}
