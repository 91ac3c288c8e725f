//! A bounded map that keeps what was used lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: new and used entries go to the young one; when it is full it becomes the old one and the former
/// old one is dropped. Between `limit` and `2 * limit` entries stay, at the price of two hash look-ups.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    limit: usize,
}

impl<K: Eq + Hash + Copy, V> Recent<K, V> {
    /// Keeps at least the last `limit` entries used.
    pub fn new(limit: usize) -> Recent<K, V> {
        Recent {
            young: HashMap::new(),
            old: HashMap::new(),
            limit: limit.max(1),
        }
    }

    /// The value of `key`, which counts as used.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key)?;
            self.insert(*key, value);
        }
        self.young.get_mut(key)
    }

    /// Puts a value in, over the former one.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.limit && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let young = self.young.remove(key);
        self.old.remove(key).or(young)
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let mut r = Recent::new(4);
        for i in 0..100 {
            r.insert(i, i);
            assert_eq!(r.get(&0), Some(&mut 0));
        }
        assert!(r.young.len() + r.old.len() <= 8);
        assert_eq!(r.get(&50), None);
        assert_eq!(r.remove(&99), Some(99));
        assert_eq!(r.get(&99), None);
        r.clear();
        assert_eq!(r.get(&0), None);
    }
}
