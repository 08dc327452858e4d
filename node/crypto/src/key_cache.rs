//! Expanded public keys by their bytes, within a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Two generations: the young one fills up and then takes the place of the old one. A key in use is moved to
/// the young one, so it stays; keys that came once are gone after two turns.
pub(crate) struct KeyCache<K> {
    generation_max: usize,
    generations: Mutex<Generations<K>>,
}

struct Generations<K> {
    young: HashMap<Box<[u8]>, Arc<K>>,
    old: HashMap<Box<[u8]>, Arc<K>>,
}

impl<K> KeyCache<K> {
    /// A cache of at most `keys_max` keys.
    pub(crate) fn new(keys_max: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { generation_max: (keys_max / 2).max(1), generations: Mutex::new(generations) }
    }

    /// The key of these bytes, expanded now if it was not held. Expanding holds no lock: two threads may do
    /// the same work once, but none waits for the other.
    pub(crate) fn get(&self, bytes: &[u8], expand: impl FnOnce() -> K) -> Arc<K> {
        if let Some(key) = self.held(bytes) {
            return key;
        }
        let key = Arc::new(expand());
        self.put(bytes.into(), Arc::clone(&key));
        key
    }

    fn held(&self, bytes: &[u8]) -> Option<Arc<K>> {
        let mut generations = self.lock();
        if let Some(key) = generations.young.get(bytes) {
            return Some(Arc::clone(key));
        }
        let (bytes, key) = generations.old.remove_entry(bytes)?;
        drop(generations);
        self.put(bytes, Arc::clone(&key));
        Some(key)
    }

    fn put(&self, bytes: Box<[u8]>, key: Arc<K>) {
        let mut generations = self.lock();
        if generations.young.len() >= self.generation_max {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(bytes, key);
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K>> {
        // Every change is whole before the lock is let go, so a panic elsewhere leaves nothing half done.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(cache: &KeyCache<u16>) -> usize {
        let generations = cache.lock();
        generations.young.len() + generations.old.len()
    }

    #[test]
    fn a_key_in_use_stays_and_the_bound_holds() {
        let cache = KeyCache::new(8);
        let mut expanded = 0;
        for number in 0..1_000_u16 {
            assert_eq!(*cache.get(&number.to_le_bytes(), || number), number);
            let used = cache.get(b"in use", || {
                expanded += 1;
                u16::MAX
            });
            assert_eq!(*used, u16::MAX);
            assert!(held(&cache) <= 8, "{} keys held", held(&cache));
        }
        assert_eq!(expanded, 1);
    }

    #[test]
    fn a_key_that_came_once_is_expanded_again() {
        let cache = KeyCache::new(4);
        cache.get(b"once", || 1_u16);
        for number in 0..8_u16 {
            cache.get(&number.to_le_bytes(), || number);
        }
        assert_eq!(*cache.get(b"once", || 2), 2);
    }
}
