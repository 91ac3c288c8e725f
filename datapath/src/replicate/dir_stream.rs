//! Where the listing of an open directory stands, so that it can go on at another brick. No I/O.
//!
//! An offset of one brick's listing means nothing on another. A stream therefore remembers which brick gives it and what
//! it has given out: of each entry the brick's offset and a hash of the name. When the brick is lost, another one lists
//! the directory from its beginning, and the names that were given out already are left out.
//!
//! Offsets that go to the application ("cookies") are the brick's own as long as the stream stays where it began: they
//! then mean something to another open of the directory, too. After a move the offsets of two bricks' listings could be
//! the same number, so cookies are counted from then on.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use crate::errno::{Errno, FsResult};

/// Cookies given out after a move: this and the number of entries up to there. Far from small offsets (XFS, tmpfs), and
/// as good as never one of the hashes that ext4 has for offsets; positive as an `off_t`.
const COUNTED: u64 = 0x6d6f_7665 << 32;

/// Who gives a stream its entries: a brick, in one session. In the next one it may have another file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Index of the brick.
    pub brick: usize,
    /// [`crate::client::Subvol::session_id`].
    pub session: u64,
}

/// A place in a stream: what was given out before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// So many entries of the stream.
    given: usize,
    /// The offset that was asked for, if the stream never gave it: one of another open of the directory, or of a part
    /// that has changed since.
    foreign: Option<u64>,
}

impl Place {
    /// Whether it is the beginning of the directory.
    pub fn is_start(self) -> bool {
        self.given == 0 && self.foreign.is_none()
    }
}

/// How a source goes on from a place.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Who is read.
    pub source: Source,
    /// The offset to read on at, in the source's own counting.
    pub at: u64,
    place: Place,
    /// The source takes over here: it gives its whole directory less the names that are left out.
    takes_over: bool,
    /// Sorted hashes of the names to leave out.
    left_out: Rc<[u64]>,
    names: RandomState,
}

impl Reading {
    /// Whether the name was given out before the source took over.
    pub fn leaves_out(&self, name: &[u8]) -> bool {
        !self.left_out.is_empty() && self.left_out.binary_search(&self.names.hash_one(name)).is_ok()
    }

    /// Whether there are names the source is to be searched for that nobody wants to see again.
    pub fn passes_over(&self) -> bool {
        self.takes_over && !self.left_out.is_empty()
    }
}

/// 16 bytes for each name given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Given {
    /// The giver's offset behind the entry.
    off: u64,
    name: u64,
}

/// The state of one open directory's listing.
#[derive(Debug, Default)]
pub struct DirStream {
    source: Option<Source>,
    /// Everything given out, in its order.
    given: Vec<Given>,
    /// So many of `given` came from the first source: their cookies are its offsets.
    first: usize,
    /// Where the present source took over.
    taken_over: usize,
    /// Sorted hashes of the names given out before that.
    left_out: Rc<[u64]>,
    /// The hash is keyed: nobody can make two names that have the same.
    names: RandomState,
}

impl DirStream {
    /// Who gives the stream its entries.
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// The place behind the entry that was given out with `cookie`; 0 is the beginning.
    ///
    /// # Errors
    /// `ENOENT` ("the position of the stream is invalid", readdir(3)) for a counted cookie of another open.
    pub fn place(&self, cookie: u64) -> FsResult<Place> {
        let known = |given| Ok(Place { given, foreign: None });
        if cookie == 0 {
            return known(0);
        }
        // Nearly always the last one.
        let first = self.given.get(..self.first).unwrap_or_default();
        if let Some(index) = first.iter().rposition(|given| given.off == cookie) {
            return known(index + 1);
        }
        match usize::try_from(cookie ^ COUNTED) {
            Ok(count) if count <= u32::MAX as usize && self.given.is_empty() => Err(Errno::ENOENT),
            // What followed has changed since: nothing that was given out comes again.
            Ok(count) if count <= u32::MAX as usize => known(count.min(self.given.len())),
            _ => Ok(Place {
                given: self.given.len(),
                foreign: Some(cookie),
            }),
        }
    }

    /// How `source` goes on from `place`.
    pub fn reading(&self, place: Place, source: Source) -> Reading {
        let at = self.offset_of(place, source);
        let given = self.given.get(..place.given).unwrap_or(&self.given);
        Reading {
            source,
            at: at.unwrap_or(0),
            place,
            takes_over: at.is_none(),
            left_out: match at {
                Some(_) => self.left_out.clone(),
                None => {
                    let mut names: Vec<u64> = given.iter().map(|given| given.name).collect();
                    names.sort_unstable();
                    names.into()
                }
            },
            names: self.names.clone(),
        }
    }

    /// The offset of `place` in the listing of `source`, if `source` knows it.
    fn offset_of(&self, place: Place, source: Source) -> Option<u64> {
        if let Some(foreign) = place.foreign {
            let nobody_else = self.source.is_none() || self.source == Some(source) && self.taken_over == 0;
            return nobody_else.then_some(foreign);
        }
        if self.source != Some(source) || place.given < self.taken_over {
            return None;
        }
        if place.given == self.taken_over {
            return Some(0);
        }
        self.given.get(place.given - 1).map(|given| given.off)
    }

    /// Notes that `entries` (name and the source's offset) are given out, and returns their cookies.
    pub fn give<'a>(&mut self, reading: &Reading, entries: impl Iterator<Item = (&'a [u8], u64)>) -> Vec<u64> {
        let from = reading.place.given.min(self.given.len());
        // Another request may have moved the stream meanwhile.
        if reading.takes_over || self.source != Some(reading.source) {
            self.given.truncate(from);
            self.first = self.first.min(from);
            self.taken_over = from;
            self.source = Some(reading.source);
            self.left_out = reading.left_out.clone();
        }
        let cookies = entries.enumerate().map(|(n, (name, off))| {
            let name = self.names.hash_one(name);
            self.put(from + n, Given { off, name })
        });
        cookies.collect()
    }

    /// Puts an entry at `index`, at most the end. What follows stays as long as it is the same as before: offsets that
    /// lie ahead of a seekdir(3) keep their meaning.
    fn put(&mut self, index: usize, entry: Given) -> u64 {
        if self.given.get(index) != Some(&entry) {
            self.given.truncate(index);
            self.given.push(entry);
            self.first = self.first.min(index);
        }
        if self.taken_over > 0 {
            return COUNTED | (index as u64 + 1);
        }
        self.first = self.given.len();
        entry.off
    }

    /// The bricks of the volume have changed: `was` has for each brick the index it had.
    pub fn renumber(&mut self, was: &[Option<usize>]) {
        let Some(source) = &mut self.source else { return };
        // A number no brick has: whoever goes on takes over.
        source.brick = was.iter().position(|w| *w == Some(source.brick)).unwrap_or(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A brick's listing: names in its own order, offsets counted by `step`.
    struct Brick {
        source: Source,
        names: Vec<String>,
        step: u64,
    }

    impl Brick {
        fn new(brick: usize, step: u64, names: impl Iterator<Item = usize>) -> Brick {
            Brick {
                source: Source { brick, session: 1 },
                names: names.map(|n| format!("name{n}")).collect(),
                step,
            }
        }

        /// At most `count` entries after `off`, as a client would read them.
        fn page(&self, stream: &mut DirStream, cookie: u64, count: usize) -> Vec<(String, u64)> {
            let reading = stream.reading(stream.place(cookie).unwrap(), self.source);
            let entries: Vec<(&[u8], u64)> = self
                .names
                .iter()
                .zip(1..)
                .map(|(name, n)| (name.as_bytes(), n * self.step))
                .filter(|(name, off)| *off > reading.at && !reading.leaves_out(name))
                .take(count)
                .collect();
            let cookies = stream.give(&reading, entries.iter().copied());
            let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
            entries.iter().map(|(name, _)| text(name)).zip(cookies).collect()
        }
    }

    /// Reads on from `cookie` to the end by pages of `count`, each from the next of `bricks`.
    fn read_on(stream: &mut DirStream, mut cookie: u64, bricks: &[&Brick], count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for brick in bricks.iter().cycle() {
            let page = brick.page(stream, cookie, count);
            let Some(last) = page.last() else { break };
            cookie = last.1;
            all.extend(page.into_iter().map(|(name, _)| name));
        }
        all
    }

    fn sorted(mut names: Vec<String>) -> Vec<String> {
        names.sort();
        names
    }

    #[test]
    fn every_name_once_whoever_gives_it() {
        // The same numbers are offsets of different names on all of them.
        let a = Brick::new(0, 1, 0..1000);
        let b = Brick::new(1, 1, (0..1000).rev());
        let c = Brick::new(2, 3, (0..1000).map(|n| n * 7 % 1000));
        let all = sorted(a.names.clone());
        for count in [1, 3, 64, 700] {
            for order in [&[&a][..], &[&a, &b], &[&a, &a, &b, &c], &[&c, &a, &b, &b, &b]] {
                let read = read_on(&mut DirStream::default(), 0, order, count);
                assert_eq!(sorted(read), all, "pages of {count}");
            }
        }
    }

    #[test]
    fn a_session_that_ended_is_another_source() {
        let a = Brick::new(0, 1, 0..100);
        let mut again = Brick::new(0, 1, (0..100).rev());
        again.source.session = 2;
        let mut stream = DirStream::default();
        let first = a.page(&mut stream, 0, 40);
        let rest = read_on(&mut stream, first[39].1, &[&again], 16);
        let both = first.into_iter().map(|(name, _)| name).chain(rest).collect();
        assert_eq!(sorted(both), sorted(a.names));
    }

    #[test]
    fn cookies_are_the_bricks_offsets_until_the_stream_moves() {
        let a = Brick::new(0, 5, 0..10);
        let b = Brick::new(1, 5, 0..10);
        let mut stream = DirStream::default();
        let page = a.page(&mut stream, 0, 3);
        assert_eq!(page.iter().map(|(_, off)| *off).collect::<Vec<_>>(), [5, 10, 15]);
        // A fresh open takes them.
        let mut fresh = DirStream::default();
        assert_eq!(a.page(&mut fresh, 15, 1)[0], ("name3".to_owned(), 20));
        let moved = b.page(&mut stream, 15, 2);
        assert_eq!(moved[1], ("name4".to_owned(), COUNTED | 5));
        assert!(i64::try_from(moved[1].1).is_ok(), "an off_t");
        assert_eq!(DirStream::default().place(moved[1].1).err(), Some(Errno::ENOENT));
    }

    #[test]
    fn what_was_not_taken_comes_again_and_seeks_find_their_place() {
        let a = Brick::new(0, 1, 0..100);
        let b = Brick::new(1, 1, (0..100).rev());
        let mut stream = DirStream::default();
        let page = a.page(&mut stream, 0, 50);
        // Only twenty were taken before the brick was lost: thirty of them come from the other brick.
        let rest = read_on(&mut stream, page[19].1, &[&b], 7);
        assert_eq!(sorted(rest), sorted(a.names[20..].to_vec()));
        // Back before the move.
        let rest = read_on(&mut stream, page[4].1, &[&b], 7);
        assert_eq!(sorted(rest), sorted(a.names[5..].to_vec()));
    }

    #[test]
    fn offsets_ahead_of_a_seek_keep_their_meaning() {
        for moved in [false, true] {
            let (a, b) = (Brick::new(0, 1, 0..100), Brick::new(1, 1, 0..100));
            let mut stream = DirStream::default();
            let mut cookie = a.page(&mut stream, 0, 10)[9].1;
            let source = if moved { &b } else { &a };
            let mut behind = BTreeMap::new();
            for _ in 0..9 {
                for (name, next) in source.page(&mut stream, cookie, 10) {
                    behind.insert(name, next);
                    cookie = next;
                }
            }
            assert_eq!(behind.len(), 90);
            for at in [50, 12, 80, 30, 11, 97] {
                let next = source.page(&mut stream, behind[&format!("name{at}")], 1);
                assert_eq!(next[0].0, format!("name{}", at + 1), "moved: {moved}");
            }
        }
    }

    #[test]
    fn what_changed_behind_a_seek_is_read_anew() {
        let a = Brick::new(0, 1, 0..100);
        let changed = Brick::new(0, 1, (0..50).chain(200..250));
        let mut stream = DirStream::default();
        let page = a.page(&mut stream, 0, 100);
        let rest = read_on(&mut stream, page[39].1, &[&changed], 100);
        assert_eq!(rest, changed.names[40..]);
        // The stream is lost now: what it gave before the seek and after it is not given again.
        let b = Brick::new(1, 1, 0..300);
        let last = *stream.given.last().unwrap();
        let rest = read_on(&mut stream, last.off, &[&b], 100);
        assert_eq!(rest.len(), 200);
        assert!(!rest.iter().any(|name| changed.names.contains(name)));
    }
}
