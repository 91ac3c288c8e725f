//! The open files of one client: small numbers, the lowest free one first (wire-protocol.md 3.5, 4.6).
//!
//! OPEN, OPENDIR and CREATE share the table. What a number stands for is the caller's type.

use std::collections::BTreeSet;

use crate::errno::{Errno, FsResult};

/// A table from fd numbers to open files.
#[derive(Debug)]
pub struct FdTable<T> {
    slots: Vec<Option<T>>,
    /// Free places below `slots.len()`.
    free: BTreeSet<usize>,
    limit: usize,
}

impl<T> FdTable<T> {
    /// An empty table for at most `limit` open files.
    pub fn new(limit: usize) -> FdTable<T> {
        FdTable {
            slots: Vec::new(),
            free: BTreeSet::new(),
            limit,
        }
    }

    /// Enters an open file under the lowest free number; `EMFILE` when the client has too many.
    pub fn insert(&mut self, value: T) -> FsResult<i64> {
        let at = match self.free.pop_first() {
            Some(at) => {
                self.slots[at] = Some(value);
                at
            }
            None if self.slots.len() < self.limit => {
                self.slots.push(Some(value));
                self.slots.len() - 1
            }
            None => return Err(Errno::EMFILE),
        };
        Ok(at as i64)
    }

    /// The open file of a number; `EBADF` if there is none.
    pub fn get(&self, fd: i64) -> FsResult<&T> {
        let at = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.slots.get(at).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    /// Takes a number out; `EBADF` if it is not in use.
    pub fn remove(&mut self, fd: i64) -> FsResult<T> {
        let at = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let value = self.slots.get_mut(at).and_then(Option::take).ok_or(Errno::EBADF)?;
        self.free.insert(at);
        Ok(value)
    }

    /// How many files are open.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Empties the table and gives out what was open.
    pub fn drain(&mut self) -> Vec<(i64, T)> {
        self.free.clear();
        let slots = std::mem::take(&mut self.slots);
        slots
            .into_iter()
            .enumerate()
            .filter_map(|(at, slot)| slot.map(|v| (at as i64, v)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_used() {
        let mut t = FdTable::new(10);
        assert_eq!((t.insert("a"), t.insert("b"), t.insert("c")), (Ok(0), Ok(1), Ok(2)));
        assert_eq!((t.remove(1), t.remove(0)), (Ok("b"), Ok("a")));
        assert_eq!(t.len(), 1);
        assert_eq!((t.insert("d"), t.insert("e"), t.insert("f")), (Ok(0), Ok(1), Ok(3)));
        assert_eq!(t.get(0), Ok(&"d"));
    }

    #[test]
    fn unknown_numbers_are_bad() {
        let mut t = FdTable::new(10);
        t.insert(()).unwrap();
        for fd in [-2, -1, 1, i64::MAX, i64::MIN] {
            assert_eq!(t.get(fd), Err(Errno::EBADF), "{fd}");
            assert_eq!(t.remove(fd), Err(Errno::EBADF), "{fd}");
        }
        t.remove(0).unwrap();
        assert_eq!(t.remove(0), Err(Errno::EBADF), "twice");
    }

    #[test]
    fn a_full_table_refuses_until_one_is_closed() {
        let mut t = FdTable::new(2);
        t.insert(1).unwrap();
        t.insert(2).unwrap();
        assert_eq!(t.insert(3), Err(Errno::EMFILE));
        t.remove(0).unwrap();
        assert_eq!(t.insert(3), Ok(0));
        assert_eq!(t.drain(), [(0, 3), (1, 2)]);
        assert_eq!(t.len(), 0);
        assert_eq!(t.insert(9), Ok(0));
    }
}
