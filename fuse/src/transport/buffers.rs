//! Page-aligned buffers for write data, reused.
//!
//! A transport thread copies a write's data out of its read buffer once; from then on the bytes are shared by
//! reference until the last socket has sent them. Fresh pages cost more than the copy itself, so big buffers go back
//! to a pool when their last reference is dropped, on whichever thread that happens. No kernel I/O here.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam::queue::ArrayQueue;
use memmap2::MmapMut;

/// Data up to this size is copied into an ordinary allocation.
const SMALL: usize = 16 << 10;

/// Buffers of one size, shared by all transport threads.
#[derive(Debug, Clone)]
pub struct BufferPool {
    free: Arc<ArrayQueue<MmapMut>>,
    size: usize,
}

impl BufferPool {
    /// A pool of buffers of `size` bytes that keeps at most `keep` unused ones.
    pub fn new(size: usize, keep: usize) -> BufferPool {
        BufferPool {
            free: Arc::new(ArrayQueue::new(keep.max(1))),
            size,
        }
    }

    /// An owned copy of `data`, page-aligned if it is bigger than a few pages.
    pub fn copy(&self, data: &[u8]) -> Bytes {
        if data.len() <= SMALL || data.len() > self.size {
            return Bytes::copy_from_slice(data);
        }
        let Some(mut map) = self.free.pop().or_else(|| MmapMut::map_anon(self.size).ok()) else {
            return Bytes::copy_from_slice(data);
        };
        map[..data.len()].copy_from_slice(data);
        let lease = Lease {
            map: Some(map),
            len: data.len(),
            home: Arc::clone(&self.free),
        };
        Bytes::from_owner(lease)
    }
}

/// A filled buffer; returns to its pool when dropped.
struct Lease {
    map: Option<MmapMut>,
    len: usize,
    home: Arc<ArrayQueue<MmapMut>>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().and_then(|m| m.get(..self.len)).unwrap_or_default()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            // A full pool means enough is kept: this one is unmapped.
            drop(self.home.push(map));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_buffers_come_back_and_small_ones_never_enter() {
        let pool = BufferPool::new(64 << 10, 1);
        let data: Vec<u8> = (0..40_000u32).map(|i| i as u8).collect();
        let first = pool.copy(&data);
        let second = pool.copy(&data);
        assert_eq!(first, data);
        assert_eq!(first.as_ptr() as usize % 4096, 0);
        let clone = first.clone();
        drop(first);
        assert_eq!(pool.free.len(), 0, "a clone still holds it");
        drop(clone);
        assert_eq!(pool.free.len(), 1);
        drop(second);
        assert_eq!(pool.free.len(), 1, "keeps at most one");
        assert_eq!(pool.copy(&data), data);
        assert_eq!(pool.copy(b"x"), "x");
        assert_eq!(pool.copy(&vec![1; 100_000]).len(), 100_000);
    }
}
