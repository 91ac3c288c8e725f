//! Which members vote. Pure: the leader's view in, its next step out.
//!
//! At most seven vote, and always an odd number of them: an even number needs a larger majority and survives no more
//! failures. So of two nodes one votes, of six five; the others are learners, which have everything but the vote and are
//! promoted when a voter leaves. Only a node that answers and has caught up becomes a voter: until then the majority does
//! not depend on it.

use std::collections::BTreeSet;

/// Most voters: each change waits for a majority of them.
pub(super) const MOST: usize = 7;

/// What the leader sees. All sets are of raft ids.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// The leader.
    pub me: u64,
    /// The sets of voters; more than one while a change of voters is under way.
    pub configs: Vec<BTreeSet<u64>>,
    /// All members, learners included.
    pub members: BTreeSet<u64>,
    /// The peers of the state.
    pub peers: BTreeSet<u64>,
    /// Nodes being let in, which are not peers yet.
    pub joining: BTreeSet<u64>,
    /// Members that answer.
    pub connected: BTreeSet<u64>,
    /// Members that answer and have caught up.
    pub ready: BTreeSet<u64>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These are to be the voters.
    Vote(BTreeSet<u64>),
    /// These are peers, but not members: a change that was given up half-way, or was overtaken.
    Add(BTreeSet<u64>),
    /// These are to be members no longer.
    Remove(BTreeSet<u64>),
}

/// The next step towards the right membership, if one is possible and needed.
pub(super) fn plan(view: &View) -> Option<Step> {
    if let [_, .., last] = view.configs.as_slice() {
        // Begun by this leader or by one before: it has to be finished first.
        return Some(Step::Vote(last.clone()));
    }
    let voters = view.configs.first()?;
    let wanted = choose(view, voters);
    if !wanted.is_empty() && wanted != *voters {
        return Some(Step::Vote(wanted));
    }
    // 0 is no raft id: a peer that has never joined.
    let missing: BTreeSet<u64> = view
        .peers
        .difference(&view.members)
        .copied()
        .filter(|id| *id != 0)
        .collect();
    if !missing.is_empty() {
        return Some(Step::Add(missing));
    }
    let is_stale = |id: &&u64| !view.peers.contains(id) && !view.joining.contains(id) && !voters.contains(id);
    let stale: BTreeSet<u64> = view.members.iter().filter(is_stale).copied().collect();
    (!stale.is_empty()).then_some(Step::Remove(stale))
}

fn choose(view: &View, voters: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut staying: Vec<u64> = voters.intersection(&view.peers).copied().collect();
    // Who is to give up the vote, if one must: rather a node that does not answer, never the leader.
    staying.sort_by_key(|id| (*id != view.me, !view.connected.contains(id), *id));
    let is_candidate = |id: &&u64| view.peers.contains(id) && view.members.contains(id) && !voters.contains(id);
    let candidates = view.ready.iter().filter(is_candidate).copied();
    let pool: Vec<u64> = staying.into_iter().chain(candidates).collect();
    let count = pool.len().min(MOST);
    let odd = if count.is_multiple_of(2) {
        count.saturating_sub(1)
    } else {
        count
    };
    pool.into_iter().take(odd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        ids.into_iter().collect()
    }

    /// A view in which all `n` nodes are members, answer and have caught up.
    fn view(n: u64, voters: impl IntoIterator<Item = u64>) -> View {
        View {
            me: 1,
            configs: vec![set(voters)],
            members: set(1..=n),
            peers: set(1..=n),
            joining: set([]),
            connected: set(1..=n),
            ready: set(1..=n),
        }
    }

    #[test]
    fn an_odd_number_of_at_most_seven_vote() {
        for (n, expected) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (8, 7), (20, 7)] {
            let mut view = view(n, [1]);
            while let Some(step) = plan(&view) {
                match step {
                    Step::Vote(voters) => view.configs = vec![voters],
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(view.configs[0].len(), expected, "{n} nodes");
            assert!(view.configs[0].contains(&1));
        }
    }

    #[test]
    fn only_nodes_that_caught_up_get_the_vote() {
        let mut view = view(3, [1]);
        view.ready = set([1, 2]);
        assert_eq!(plan(&view), None, "two voters are no better than one");
        view.ready = set([1, 2, 3]);
        assert_eq!(plan(&view), Some(Step::Vote(set(1..=3))));
    }

    #[test]
    fn voters_that_do_not_answer_stay() {
        let mut view = view(4, [1, 2, 3]);
        view.connected = set([1, 4]);
        view.ready = set([1, 4]);
        assert_eq!(plan(&view), None);
    }

    #[test]
    fn a_learner_takes_the_place_of_a_voter_that_left() {
        let mut view = view(8, 1..=7);
        view.peers.remove(&3);
        assert_eq!(plan(&view), Some(Step::Vote(set([1, 2, 4, 5, 6, 7, 8]))));
        view.configs = vec![set([1, 2, 4, 5, 6, 7, 8])];
        assert_eq!(plan(&view), Some(Step::Remove(set([3]))));
        view.members.remove(&3);
        assert_eq!(plan(&view), None);
    }

    #[test]
    fn of_two_that_are_left_the_leader_votes() {
        let mut view = view(3, 1..=3);
        view.me = 2;
        view.peers.remove(&3);
        assert_eq!(plan(&view), Some(Step::Vote(set([2]))));
    }

    #[test]
    fn a_leader_that_leaves_hands_over() {
        let mut view = view(2, [1]);
        view.peers.remove(&1);
        assert_eq!(plan(&view), Some(Step::Vote(set([2]))));
        view.ready = set([1]);
        assert_eq!(plan(&view), None, "nobody could take over");
    }

    #[test]
    fn a_wiped_node_is_replaced_by_its_new_life() {
        let mut view = view(3, 1..=3);
        // Node 3 came back as 30: member, peer and ready.
        view.members.insert(30);
        (view.peers, view.connected, view.ready) = (set([1, 2, 30]), set([1, 2, 30]), set([1, 2, 30]));
        assert_eq!(plan(&view), Some(Step::Vote(set([1, 2, 30]))));
    }

    #[test]
    fn peers_are_members() {
        let mut view = view(3, 1..=3);
        view.peers.extend([0, 4]);
        assert_eq!(plan(&view), Some(Step::Add(set([4]))));
    }

    #[test]
    fn half_done_changes_are_finished_and_joiners_left_alone() {
        let mut view = view(3, [1]);
        view.configs = vec![set([1]), set(1..=3)];
        assert_eq!(plan(&view), Some(Step::Vote(set(1..=3))));
        view.configs = vec![set(1..=3)];
        view.members.insert(9);
        view.joining.insert(9);
        assert_eq!(plan(&view), None);
        view.joining.clear();
        assert_eq!(plan(&view), Some(Step::Remove(set([9]))));
    }
}
