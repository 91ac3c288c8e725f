//! The answers of several bricks to one request, and what they amount to together (brick-and-replicate.md D.7).

use super::BrickSet;
use crate::errno::Errno;

/// One slot per brick: not asked, answered, or failed.
#[derive(Debug)]
pub struct Answers<T> {
    slots: Vec<Option<Result<T, Errno>>>,
}

impl<T> Answers<T> {
    /// No answers of `bricks` bricks.
    pub fn new(bricks: usize) -> Answers<T> {
        Answers {
            slots: (0..bricks).map(|_| None).collect(),
        }
    }

    /// Notes the answer of `brick`.
    pub fn put(&mut self, brick: usize, answer: Result<T, Errno>) {
        self.slots[brick] = Some(answer);
    }

    /// Bricks that succeeded.
    pub fn ok(&self) -> BrickSet {
        self.select(|r| r.is_ok())
    }

    /// Bricks that failed.
    pub fn failed(&self) -> BrickSet {
        self.select(|r| r.is_err())
    }

    /// Bricks that failed with `errno`.
    pub fn failed_with(&self, errno: Errno) -> BrickSet {
        self.select(|r| r.as_ref().is_err_and(|e| *e == errno))
    }

    fn select(&self, want: impl Fn(&Result<T, Errno>) -> bool) -> BrickSet {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, s)| s.as_ref().is_some_and(&want))
            .map(|(i, _)| i)
            .collect()
    }

    /// Turns successful answers that `stale` is true for into failures with `errno`.
    pub fn reject(&mut self, errno: Errno, stale: impl Fn(&T) -> bool) {
        for slot in &mut self.slots {
            if matches!(slot, Some(Ok(answer)) if stale(answer)) {
                *slot = Some(Err(errno));
            }
        }
    }

    /// The successful answer of `brick`.
    pub fn get(&self, brick: usize) -> Option<&T> {
        self.slots.get(brick)?.as_ref()?.as_ref().ok()
    }

    /// The error of `brick`.
    pub fn error(&self, brick: usize) -> Option<Errno> {
        self.slots.get(brick)?.as_ref()?.as_ref().err().copied()
    }

    /// The successful answers in brick order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(i, s)| Some((i, s.as_ref()?.as_ref().ok()?)))
    }

    /// The answer of `preferred` if it succeeded, else of the first brick that did.
    pub fn best(&self, preferred: Option<usize>) -> Option<&T> {
        preferred
            .and_then(|b| self.get(b))
            .or_else(|| self.iter().next().map(|(_, t)| t))
    }

    /// Only the answers of `bricks`.
    pub fn limited_to(mut self, bricks: BrickSet) -> Answers<T> {
        for (brick, slot) in self.slots.iter_mut().enumerate() {
            if !bricks.contains(brick) {
                *slot = None;
            }
        }
        self
    }

    /// Takes the successful answers out, by brick.
    pub fn into_ok(self) -> Vec<Option<T>> {
        self.slots.into_iter().map(|s| s.and_then(Result::ok)).collect()
    }

    /// Whether every brick asked failed with one and the same errno that is not a lost connection: the request itself
    /// is at fault, not a brick.
    pub fn symmetric_failure(&self) -> Option<Errno> {
        let mut errors = self.slots.iter().flatten();
        let first = match errors.next()? {
            Err(e) if *e != Errno::ENOTCONN => *e,
            _ => return None,
        };
        errors.all(|r| matches!(r, Err(e) if *e == first)).then_some(first)
    }

    /// The errno that stands for all failures: ENODATA before ENOENT before ESTALE before ENOSPC before that of the
    /// highest-numbered brick; a lost connection only if there is nothing else.
    pub fn errno(&self) -> Errno {
        for ranked in [Errno::ENODATA, Errno::ENOENT, Errno::ESTALE, Errno::ENOSPC] {
            if !self.failed_with(ranked).is_empty() {
                return ranked;
            }
        }
        let errors = || {
            self.slots
                .iter()
                .rev()
                .flatten()
                .filter_map(|r| r.as_ref().err().copied())
        };
        errors()
            .find(|e| *e != Errno::ENOTCONN)
            .or_else(|| errors().next())
            .unwrap_or(Errno::ENOTCONN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(list: &[Result<u32, Errno>]) -> Answers<u32> {
        let mut a = Answers::new(list.len() + 1);
        for (i, r) in list.iter().enumerate() {
            a.put(i, *r);
        }
        a
    }

    #[test]
    fn sets_and_choice() {
        let a = answers(&[Err(Errno::EIO), Ok(5), Ok(6)]);
        assert_eq!(a.ok(), [1, 2].into_iter().collect());
        assert_eq!(a.failed(), BrickSet::one(0));
        assert_eq!(a.best(Some(2)), Some(&6));
        assert_eq!(a.best(Some(0)), Some(&5));
        assert_eq!(a.symmetric_failure(), None);
        assert_eq!(a.errno(), Errno::EIO);
    }

    #[test]
    fn rejected_answers_are_failures() {
        let mut a = answers(&[Ok(5), Ok(6), Err(Errno::EIO)]);
        a.reject(Errno::ESTALE, |n| *n == 6);
        assert_eq!(a.ok(), BrickSet::one(0));
        assert_eq!((a.error(1), a.error(2)), (Some(Errno::ESTALE), Some(Errno::EIO)));
    }

    #[test]
    fn errno_ranking() {
        assert_eq!(
            answers(&[Err(Errno::ENOSPC), Err(Errno::ENOENT), Err(Errno::EIO)]).errno(),
            Errno::ENOENT
        );
        assert_eq!(
            answers(&[Err(Errno::EACCES), Err(Errno::ENOTCONN)]).errno(),
            Errno::EACCES
        );
        assert_eq!(answers(&[Err(Errno::ENOTCONN)]).errno(), Errno::ENOTCONN);
        assert_eq!(answers(&[]).errno(), Errno::ENOTCONN);
    }

    #[test]
    fn symmetric_failures() {
        assert_eq!(
            answers(&[Err(Errno::ENOSPC), Err(Errno::ENOSPC)]).symmetric_failure(),
            Some(Errno::ENOSPC)
        );
        assert_eq!(
            answers(&[Err(Errno::ENOTCONN), Err(Errno::ENOTCONN)]).symmetric_failure(),
            None
        );
        assert_eq!(answers(&[Err(Errno::ENOSPC), Ok(1)]).symmetric_failure(), None);
        assert_eq!(answers(&[]).symmetric_failure(), None);
    }
}
