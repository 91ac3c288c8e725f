//! Page-aligned buffers. A core's buffers come from one arena registered with its ring; when that is exhausted, from
//! mappings of their own, a few of which are kept for reuse because fresh pages cost more than copying into old ones.
//!
//! A [`PageBuf`] has one owner. Lent to an operation it moves into the driver and comes back with the completion, never
//! earlier. [`PageBuf::freeze`] turns it into shareable [`Bytes`]; the pages return to the arena when the last reference
//! goes, on whichever thread.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytes::Bytes;
use crossbeam::queue::ArrayQueue;
use memmap2::MmapMut;

use super::core;
use crate::sys::mem::{PAGE_BYTES, PageSpan, map_pages};

/// Size classes of reused mappings: 2^0 to 2^12 pages (4 KiB to 16 MiB).
const CLASSES: usize = 13;
/// Bytes kept per size class.
const KEPT_BYTES: usize = 8 << 20;

/// Mappings given back by buffers that did not fit the arena.
#[derive(Debug)]
pub(super) struct Overflow {
    kept: [ArrayQueue<MmapMut>; CLASSES],
}

impl Overflow {
    pub(super) fn new() -> Arc<Overflow> {
        let kept = std::array::from_fn(|class| ArrayQueue::new((KEPT_BYTES / (PAGE_BYTES << class)).clamp(1, 256)));
        Arc::new(Overflow { kept })
    }

    fn class(len: usize) -> Option<usize> {
        let pages = len.div_ceil(PAGE_BYTES).max(1).next_power_of_two();
        let class = pages.trailing_zeros() as usize;
        (class < CLASSES).then_some(class)
    }

    pub(super) fn alloc(self: &Arc<Overflow>, len: usize) -> PageBuf {
        let Some(class) = Overflow::class(len) else {
            return PageBuf::unpooled(len);
        };
        let map = self.kept[class]
            .pop()
            .unwrap_or_else(|| map_or_abort(PAGE_BYTES << class));
        PageBuf {
            mem: Mem::Own(OwnPages {
                map: Some(map),
                home: Some((Arc::clone(self), class)),
            }),
            len,
        }
    }
}

fn map_or_abort(bytes: usize) -> MmapMut {
    match map_pages(bytes) {
        Ok(map) => map,
        // As the global allocator does: nothing sensible can follow.
        Err(error) => panic!("out of memory for a buffer of {bytes} bytes: {error}"),
    }
}

struct OwnPages {
    /// None only while dropping.
    map: Option<MmapMut>,
    home: Option<(Arc<Overflow>, usize)>,
}

impl Drop for OwnPages {
    fn drop(&mut self) {
        if let (Some(map), Some((overflow, class))) = (self.map.take(), self.home.take()) {
            // A full queue unmaps it.
            drop(overflow.kept[class].push(map));
        }
    }
}

enum Mem {
    Span(PageSpan),
    Own(OwnPages),
}

/// An exclusively owned, page-aligned buffer of a fixed capacity. Dereferences to its first `len` bytes.
///
/// The bytes are initialised but not cleared: a new buffer shows what its last user left.
pub struct PageBuf {
    mem: Mem,
    len: usize,
}

/// A buffer of `len` bytes (0 is allowed) from the core's arena; outside a core, a mapping of its own.
///
/// # Panics
/// When the kernel has no memory left, like every allocation.
pub fn alloc(len: usize) -> PageBuf {
    core::try_with(|core| core.alloc(len)).unwrap_or_else(|| PageBuf::unpooled(len))
}

impl PageBuf {
    pub(super) fn from_span(span: PageSpan, len: usize) -> PageBuf {
        debug_assert!(len <= span.len());
        PageBuf {
            mem: Mem::Span(span),
            len,
        }
    }

    fn unpooled(len: usize) -> PageBuf {
        PageBuf {
            mem: Mem::Own(OwnPages {
                map: Some(map_or_abort(len)),
                home: None,
            }),
            len,
        }
    }

    fn whole(&self) -> &[u8] {
        match &self.mem {
            Mem::Span(span) => span.as_slice(),
            Mem::Own(own) => own.map.as_deref().unwrap_or_default(),
        }
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        match &mut self.mem {
            Mem::Span(span) => span.as_mut_slice(),
            Mem::Own(own) => own.map.as_deref_mut().unwrap_or_default(),
        }
    }

    /// Most bytes the buffer can hold: the length asked for, rounded up to whole pages or more.
    pub fn capacity(&self) -> usize {
        match &self.mem {
            Mem::Span(span) => span.len(),
            Mem::Own(own) => own.map.as_ref().map_or(0, |map| map.len()),
        }
    }

    /// Whether the buffer lies in the core's registered arena.
    pub fn in_arena(&self) -> bool {
        matches!(self.mem, Mem::Span(_))
    }

    /// Changes the length, capped at the capacity. Bytes that appear are old ones.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.capacity());
    }

    /// The bytes of `range` as shareable, immutable memory; the pages are freed with the last reference to them.
    ///
    /// # Panics
    /// If `range` is not within the length.
    pub fn freeze(self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "freezing {range:?} of {} bytes",
            self.len
        );
        if range.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(Frozen(self)).slice(range)
    }
}

struct Frozen(PageBuf);

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for PageBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole()[..self.len]
    }
}

impl DerefMut for PageBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.whole_mut()[..len]
    }
}

impl fmt::Debug for PageBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("PageBuf");
        s.field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("in_arena", &self.in_arena())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_core_buffers_are_their_own() {
        let mut buf = alloc(5000);
        assert_eq!((buf.len(), buf.capacity(), buf.in_arena()), (5000, 8192, false));
        buf.set_len(10_000);
        assert_eq!(buf.len(), 8192);
        buf[8191] = 7;
        let bytes = buf.freeze(8190..8192);
        assert_eq!(&bytes[..], &[0, 7]);
        assert!(alloc(0).freeze(0..0).is_empty());
    }

    #[test]
    fn overflow_mappings_are_reused() {
        let overflow = Overflow::new();
        let mut buf = overflow.alloc(100_000);
        buf[0] = 42;
        let at = buf.as_ptr();
        let bytes = buf.freeze(0..10);
        std::thread::spawn(move || drop(bytes)).join().unwrap();
        let again = overflow.alloc(70_000);
        assert_eq!((again.as_ptr(), again[0]), (at, 42));
        assert_eq!(overflow.alloc(64 << 20).len(), 64 << 20, "beyond the classes");
    }

    #[test]
    #[should_panic(expected = "freezing")]
    fn freezing_beyond_the_end_is_a_mistake() {
        let _ = alloc(10).freeze(5..11);
    }
}
