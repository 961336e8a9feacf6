//! Least recently used goes first, by weight.

use std::collections::{BTreeMap, HashMap};

use crate::{Keeper, LARGEST};

pub(crate) struct Lru {
    capacity: u64,
    overhead: u64,
    held: u64,
    /// When an object was last asked for, and what it weighs.
    objects: HashMap<u32, (u64, u64)>,
    by_time: BTreeMap<u64, u32>,
    now: u64,
}

impl Lru {
    pub(crate) fn new(capacity: u64, overhead: u64) -> Self {
        Self { capacity, overhead, held: 0, objects: HashMap::new(), by_time: BTreeMap::new(), now: 0 }
    }
}

impl Keeper for Lru {
    fn ask(&mut self, key: u32, size: u64) -> bool {
        self.now += 1;
        if let Some((last, _)) = self.objects.get_mut(&key) {
            self.by_time.remove(last);
            *last = self.now;
            self.by_time.insert(self.now, key);
            return true;
        }
        if size > self.capacity / LARGEST {
            return false;
        }
        let weight = size + self.overhead;
        self.held += weight;
        self.objects.insert(key, (self.now, weight));
        self.by_time.insert(self.now, key);
        while self.held > self.capacity
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.held -= self.objects.remove(&oldest).map_or(0, |(_, weight)| weight);
        }
        false
    }
}
