//! Page-aligned memory: an arena cut into spans of pages, and single mappings of their own.
//!
//! Invariant of the arena (the only reason its `unsafe` is sound): **a page belongs to at most one live [`PageSpan`]**.
//! Spans are made by [`Arena::allocate`] alone, from page numbers that [`Buddy`] hands out once, and a page number
//! comes back to `Buddy` only from the span's `Drop`. The mapping lives until the last span and the arena are gone.

use std::io;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use memmap2::{MmapMut, MmapOptions, MmapRaw};

use super::buddy::Buddy;

/// Size in bytes of the pages that spans are made of (the smallest page of every supported machine).
pub const PAGE_BYTES: usize = 4096;

/// The mapping behind an arena. Holding it keeps the address range from being reused for something else.
#[derive(Debug)]
pub struct Region {
    map: MmapRaw,
    /// Page runs (first, count) whose span was dropped, by whichever thread.
    returned: ArrayQueue<(u32, u32)>,
}

impl Region {
    /// Start address and length in bytes, for registering with a ring.
    pub fn address(&self) -> (usize, usize) {
        (self.map.as_mut_ptr().addr(), self.map.len())
    }

    /// Whether `bytes` lies completely inside the region.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        let (start, len) = self.address();
        let at = bytes.as_ptr().addr();
        at >= start && at - start <= len && bytes.len() <= len - (at - start)
    }
}

/// One anonymous mapping handed out in spans of pages. Not shared: it belongs to a core; its spans may go anywhere.
#[derive(Debug)]
pub struct Arena {
    region: Arc<Region>,
    buddy: Buddy,
}

impl Arena {
    /// Maps `bytes` (rounded up to whole pages, at least one), asking for huge pages where the kernel has them.
    ///
    /// # Errors
    /// `ENOMEM` when the address space or the overcommit limit refuses; `EINVAL` beyond 2^31 pages.
    pub fn new(bytes: usize) -> io::Result<Arena> {
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        let count = u32::try_from(pages).ok().filter(|pages| *pages <= 1 << 31);
        let count = count.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let map = MmapOptions::new().len(pages * PAGE_BYTES).map_anon()?;
        // Only a hint: without transparent huge pages the arena works as well, with more page faults at the start.
        let _ = map.advise(memmap2::Advice::HugePage);
        // A fork would copy every pinned page at once, for a child that is going to exec.
        let _ = map.advise(memmap2::Advice::DontFork);
        let region = Region {
            map: MmapRaw::from(map),
            returned: ArrayQueue::new(pages),
        };
        Ok(Arena {
            region: Arc::new(region),
            buddy: Buddy::new(count),
        })
    }

    /// The mapping, for registration and for address checks.
    pub fn region(&self) -> Arc<Region> {
        Arc::clone(&self.region)
    }

    /// A span of at least `bytes` bytes; `None` when no free run of pages is long enough.
    /// The contents are what the last owner left there.
    pub fn allocate(&mut self, bytes: usize) -> Option<PageSpan> {
        while let Some((first, count)) = self.region.returned.pop() {
            self.buddy.free(first, count);
        }
        let count = u32::try_from(bytes.div_ceil(PAGE_BYTES).max(1)).ok()?;
        let first = self.buddy.allocate(count)?;
        Some(PageSpan {
            region: Arc::clone(&self.region),
            first,
            count,
        })
    }

    /// Bytes not handed out at the moment.
    pub fn free_bytes(&mut self) -> usize {
        while let Some((first, count)) = self.region.returned.pop() {
            self.buddy.free(first, count);
        }
        self.buddy.free_pages() as usize * PAGE_BYTES
    }
}

/// Exclusive ownership of a run of pages of an arena. Dropping it (on any thread) returns the pages.
#[derive(Debug)]
pub struct PageSpan {
    region: Arc<Region>,
    first: u32,
    count: u32,
}

impl PageSpan {
    /// Length in bytes, a multiple of [`PAGE_BYTES`].
    pub fn len(&self) -> usize {
        self.count as usize * PAGE_BYTES
    }

    /// Never: a span has at least one page.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn start(&self) -> *mut u8 {
        // Stays inside the mapping: `first + count` never exceeds its pages (Buddy).
        self.region
            .map
            .as_mut_ptr()
            .wrapping_add(self.first as usize * PAGE_BYTES)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the pages are inside the live mapping, initialised (anonymous memory starts as zeros) and, by the
        // module's invariant, reachable through this span only; `&self` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start(), self.len()) }
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; `&mut self` makes this the only reference to the pages.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len()) }
    }
}

impl Drop for PageSpan {
    fn drop(&mut self) {
        // One entry per live span and no more spans than pages, so the queue has room.
        let returned = self.region.returned.push((self.first, self.count));
        debug_assert!(returned.is_ok(), "more spans returned than pages exist");
    }
}

/// A mapping of its own for one buffer, of at least `bytes` bytes.
///
/// # Errors
/// `ENOMEM` when the kernel has none left to promise.
pub fn map_pages(bytes: usize) -> io::Result<MmapMut> {
    MmapOptions::new()
        .len(bytes.div_ceil(PAGE_BYTES).max(1) * PAGE_BYTES)
        .map_anon()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_aligned_and_disjoint() {
        let mut arena = Arena::new(16 * PAGE_BYTES).unwrap();
        let mut a = arena.allocate(5000).unwrap();
        let mut b = arena.allocate(1).unwrap();
        assert_eq!((a.len(), b.len()), (2 * PAGE_BYTES, PAGE_BYTES));
        assert_eq!(a.as_slice().as_ptr().addr() % PAGE_BYTES, 0);
        a.as_mut_slice().fill(1);
        b.as_mut_slice().fill(2);
        assert!(a.as_slice().iter().all(|byte| *byte == 1));
        assert!(arena.region().contains(b.as_slice()));
        assert!(!arena.region().contains(&[0u8; 3]));
    }

    #[test]
    fn a_span_dropped_elsewhere_comes_back() {
        let mut arena = Arena::new(4 * PAGE_BYTES).unwrap();
        let span = arena.allocate(4 * PAGE_BYTES).unwrap();
        assert!(arena.allocate(1).is_none());
        std::thread::spawn(move || drop(span)).join().unwrap();
        assert_eq!(arena.free_bytes(), 4 * PAGE_BYTES);
        assert!(arena.allocate(4 * PAGE_BYTES).is_some());
    }
}
