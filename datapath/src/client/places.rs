//! Names for bricks that stay the same while the volume's bricks change.
//!
//! The control thread and a core speak of bricks while the volume may be reconfigured, and a message about "brick 3" may
//! cross the change. So a brick is named by its place: numbers given in the order in which bricks joined, never given
//! twice. Both sides see the same topologies in the same order and so count alike. Pure data.

use super::spec::BrickSpec;

/// The places of the bricks of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Place of each brick, by index.
    now: Vec<usize>,
    /// The next place to give.
    next: usize,
}

impl Places {
    /// The places of the first topology: the indices.
    pub fn new(bricks: usize) -> Places {
        Places {
            now: (0..bricks).collect(),
            next: bricks,
        }
    }

    /// The bricks have changed from `old` to `new`: those that stay keep their places. Returns for each new brick the
    /// index it had.
    pub fn change(&mut self, old: &[BrickSpec], new: &[BrickSpec]) -> Vec<Option<usize>> {
        let was: Vec<Option<usize>> = new
            .iter()
            .map(|brick| old.iter().position(|o| o.is_same_brick(brick)))
            .collect();
        self.now = was
            .iter()
            .map(|was| match was.and_then(|was| self.now.get(was)) {
                Some(place) => *place,
                None => {
                    self.next += 1;
                    self.next - 1
                }
            })
            .collect();
        was
    }

    /// The place of the brick with this index.
    pub fn of(&self, index: usize) -> Option<usize> {
        self.now.get(index).copied()
    }

    /// The index of the brick at `place`; `None` when it has left the volume.
    pub fn index(&self, place: usize) -> Option<usize> {
        self.now.iter().position(|p| *p == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bricks(names: &str) -> Vec<BrickSpec> {
        let brick = |(index, name): (usize, char)| BrickSpec {
            subvolume: format!("v-client-{index}"),
            pending_name: format!("v-client-{name}"),
            host: name.to_string(),
            path: "/b".to_owned(),
            local: false,
        };
        names.chars().enumerate().map(brick).collect()
    }

    #[test]
    fn bricks_that_stay_keep_their_places() {
        let mut places = Places::new(3);
        assert_eq!(places.change(&bricks("abc"), &bricks("acd")), [Some(0), Some(2), None]);
        assert_eq!((places.of(0), places.of(1), places.of(2)), (Some(0), Some(2), Some(3)));
        assert_eq!((places.index(1), places.index(2)), (None, Some(1)));
        // One that returns is another: its predecessor's sessions are gone.
        places.change(&bricks("acd"), &bricks("abcd"));
        assert_eq!((places.of(1), places.index(3), places.of(9)), (Some(4), Some(3), None));
    }
}
