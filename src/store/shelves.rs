//! Objects by key, within a bound of weight, for many threads: [`Shelf`]s with a lock each.

use std::hash::BuildHasher;

use super::shelf::Shelf;
use crate::key::CacheKey;
use crate::sync::RwLock;

/// The largest part of a shelf that one object may take, in percent.
const LARGEST: u64 = 97;

#[derive(Debug)]
pub(super) struct Shelves<V> {
    shelves: Box<[RwLock<Shelf<V>>]>,
    hasher: foldhash::quality::RandomState,
    max_weight: u64,
}

impl<V: Clone> Shelves<V> {
    /// `number` of them, a power of two, of `capacity` together.
    pub(super) fn new(capacity: u64, number: u64) -> Self {
        let each = capacity / number;
        Self {
            shelves: (0..number).map(|_| RwLock::new(Shelf::new(each))).collect(),
            hasher: foldhash::quality::RandomState::default(),
            max_weight: each / 100 * LARGEST,
        }
    }

    /// What the heaviest object may weigh that is kept.
    pub(super) fn max_weight(&self) -> u64 {
        self.max_weight
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<V> {
        let (hash, shelf) = self.place(key);
        shelf.read().get(hash, key).cloned()
    }

    /// The same, without counting as a use.
    pub(super) fn peek(&self, key: &[u8]) -> Option<V> {
        let (hash, shelf) = self.place(key);
        shelf.read().peek(hash, key).cloned()
    }

    /// Puts an object in, or in the place of the one with its key. One that is too heavy is not kept, and its key has nothing
    /// then.
    pub(super) fn insert(&self, key: CacheKey, value: V, weight: u64) {
        if weight > self.max_weight {
            return drop(self.remove(key.as_bytes()));
        }
        let (hash, shelf) = self.place(key.as_bytes());
        // Dropped when the lock is gone.
        let mut gone = Vec::new();
        shelf.write().insert(hash, key, value, weight, &mut gone);
    }

    pub(super) fn remove(&self, key: &[u8]) -> Option<V> {
        let (hash, shelf) = self.place(key);
        shelf.write().remove(hash, key)
    }

    /// Everything that is there from the beginning to the end, and some of what comes or goes. A shelf is locked for a step
    /// at a time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CacheKey, V)> {
        self.shelves.iter().flat_map(|shelf| {
            let mut from = 0;
            std::iter::from_fn(move || {
                let shelf = shelf.read();
                let (next, key, value) = shelf.next(from)?;
                from = next;
                Some((key.clone(), value.clone()))
            })
        })
    }

    /// Objects, and what they weigh.
    pub(super) fn usage(&self) -> (u64, u64) {
        self.shelves.iter().fold((0, 0), |(objects, weight), shelf| {
            let shelf = shelf.read();
            (objects + shelf.len() as u64, weight + shelf.weight())
        })
    }

    fn place(&self, key: &[u8]) -> (u64, &RwLock<Shelf<V>>) {
        let hash = self.hasher.hash_one(key);
        // By bits that the shelf's own table does not begin with.
        (hash, &self.shelves[(hash >> 32) as usize & (self.shelves.len() - 1)])
    }
}
