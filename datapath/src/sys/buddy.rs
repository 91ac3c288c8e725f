//! A buddy allocator of page numbers: which pages of an arena are free. Pure bookkeeping, touches no memory.
//!
//! Blocks are powers of two, aligned to their size; a request that is not a power of two gives its tail back at once, so
//! 257 pages cost 257. Freeing joins neighbours again. All operations are O(log pages).

/// No page: the end of a free list.
const NONE: u32 = u32::MAX;
/// The page does not start a free block.
const NOT_FREE: u8 = u8::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    next: u32,
    /// Order of the free block that starts at this page, or `NOT_FREE`.
    order: u8,
}

/// Free pages `0..pages`.
#[derive(Debug)]
pub struct Buddy {
    nodes: Vec<Node>,
    heads: Vec<u32>,
    free_pages: u32,
}

impl Buddy {
    /// All `pages` free.
    pub fn new(pages: u32) -> Buddy {
        let free = Node {
            previous: NONE,
            next: NONE,
            order: NOT_FREE,
        };
        let mut buddy = Buddy {
            nodes: vec![free; pages as usize],
            heads: vec![NONE; 32],
            free_pages: 0,
        };
        buddy.free(0, pages);
        buddy
    }

    /// Number of free pages.
    pub fn free_pages(&self) -> u32 {
        self.free_pages
    }

    /// Takes `count` consecutive pages; `None` if no free run is long enough (or `count` is 0).
    pub fn allocate(&mut self, count: u32) -> Option<u32> {
        if count == 0 || count > 1 << 31 {
            return None;
        }
        let wanted = count.next_power_of_two().trailing_zeros();
        let order = (wanted..32).find(|order| self.heads[*order as usize] != NONE)?;
        let first = self.heads[order as usize];
        self.unlink(first);
        let taken = 1u32 << order;
        self.free_pages -= taken;
        self.free(first + count, taken - count);
        Some(first)
    }

    /// Gives `count` pages from `first` back.
    ///
    /// # Panics
    /// If the range is not inside the arena: that is memory corruption in the making.
    pub fn free(&mut self, first: u32, count: u32) {
        assert!(
            u64::from(first) + u64::from(count) <= self.nodes.len() as u64,
            "freed range outside the arena"
        );
        self.free_pages += count;
        let (mut at, end) = (first, first + count);
        while at < end {
            let aligned = if at == 0 { 31 } else { at.trailing_zeros() };
            let fits = 31 - (end - at).leading_zeros();
            let order = aligned.min(fits);
            self.join(at, order);
            at += 1 << order;
        }
    }

    /// Adds one block and joins it with its free buddies.
    fn join(&mut self, mut at: u32, mut order: u32) {
        while order < 31 {
            let buddy = at ^ (1 << order);
            let whole = u64::from(at.min(buddy)) + (1u64 << (order + 1)) <= self.nodes.len() as u64;
            if !whole || u32::from(self.nodes[buddy as usize].order) != order {
                break;
            }
            self.unlink(buddy);
            at = at.min(buddy);
            order += 1;
        }
        let head = self.heads[order as usize];
        debug_assert_eq!(self.nodes[at as usize].order, NOT_FREE, "page {at} freed twice");
        self.nodes[at as usize] = Node {
            previous: NONE,
            next: head,
            order: order as u8,
        };
        if head != NONE {
            self.nodes[head as usize].previous = at;
        }
        self.heads[order as usize] = at;
    }

    fn unlink(&mut self, at: u32) {
        let Node { previous, next, order } = self.nodes[at as usize];
        match previous {
            NONE => self.heads[order as usize] = next,
            page => self.nodes[page as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        self.nodes[at as usize].order = NOT_FREE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_sizes_cost_what_they_are() {
        let mut buddy = Buddy::new(1000);
        let a = buddy.allocate(257).unwrap();
        assert_eq!(buddy.free_pages(), 743);
        buddy.free(a, 257);
        assert_eq!(buddy.free_pages(), 1000);
        assert_eq!(buddy.allocate(512), Some(0), "freed blocks joined again");
    }

    #[test]
    fn exhaustion_is_none() {
        let mut buddy = Buddy::new(3);
        assert!(buddy.allocate(4).is_none());
        assert!(buddy.allocate(2).is_some());
        assert!(buddy.allocate(2).is_none());
        assert!(buddy.allocate(1).is_some());
        assert!(buddy.allocate(1).is_none());
        assert!(buddy.allocate(0).is_none());
    }

    proptest! {
        /// Against the obvious model: a bitmap. No page is ever handed out twice and none is lost.
        #[test]
        fn pages_have_one_owner(pages in 1u32..300, steps in proptest::collection::vec((any::<bool>(), 1u32..70), 1..200)) {
            let mut buddy = Buddy::new(pages);
            let mut owned = vec![false; pages as usize];
            let mut live: Vec<(u32, u32)> = Vec::new();
            for (take, n) in steps {
                if take {
                    let Some(first) = buddy.allocate(n) else { continue };
                    for page in first..first + n {
                        prop_assert!(!owned[page as usize]);
                        owned[page as usize] = true;
                    }
                    live.push((first, n));
                } else if !live.is_empty() {
                    let (first, count) = live.swap_remove(n as usize % live.len());
                    owned[first as usize..(first + count) as usize].fill(false);
                    buddy.free(first, count);
                }
                prop_assert_eq!(buddy.free_pages() as usize, owned.iter().filter(|o| !**o).count());
            }
            for (first, count) in live {
                buddy.free(first, count);
            }
            prop_assert_eq!(buddy.free_pages(), pages);
            let whole = if pages.is_power_of_two() { pages } else { pages.next_power_of_two() / 2 };
            prop_assert_eq!(buddy.allocate(whole), Some(0));
        }
    }
}
