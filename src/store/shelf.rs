//! What is kept and what goes when room is short: a clock with adaptive replacement (CAR: Bansal, Modha, FAST 2004),
//! by weight.
//!
//! What is read once stands in one queue, [`RECENT`], what is read again in another, [`FREQUENT`]. A use only sets a mark;
//! the hand that looks for something to let go sends marked objects round once more, among the frequent. What went is
//! remembered for a while, by a hash. When somebody asks for it after all, the queue it went from was too short, and
//! gets a larger part of the room. So a crawler drives out nothing that is read often, and what is no longer read
//! gives way to what is read now: `docs/hit-ratio.md` has the figures.

use hashbrown::HashTable;
use slab::Slab;

use crate::key::CacheKey;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The queues: objects seen once and again, and what went from each.
type Queue = usize;
const RECENT: Queue = 0;
const FREQUENT: Queue = 1;
const WENT_RECENT: Queue = 2;
const WENT_FREQUENT: Queue = 3;

/// What remembering one that went takes.
const MEMORY: u64 = 96;
/// The frequent are always left this part of the room: what is new and not read again would drive them out otherwise
/// before they can show that they are wanted.
const FREQUENT_LEAST: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Shelf<V> {
    places: HashTable<usize>,
    entries: Slab<Entry<V>>,
    queues: [Ends; 4],
    capacity: u64,
    /// How much of the room the recent may have before they are the ones to go.
    recent_room: f64,
}

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    weight: u64,
    queue: Queue,
    before: usize,
    after: usize,
    /// Set by readers, who hold the lock together.
    used: AtomicBool,
    /// `None` once it went.
    object: Option<(CacheKey, V)>,
}

/// A queue's ends, and what is between them.
#[derive(Debug)]
struct Ends {
    first: usize,
    last: usize,
    length: usize,
    weight: u64,
}

const NONE: usize = usize::MAX;

impl<V> Shelf<V> {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            places: HashTable::new(),
            entries: Slab::new(),
            queues: [(); 4].map(|()| Ends { first: NONE, last: NONE, length: 0, weight: 0 }),
            capacity,
            recent_room: capacity as f64 / 2.0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queues[RECENT].length + self.queues[FREQUENT].length
    }

    /// Of the objects.
    pub(super) fn weight(&self) -> u64 {
        self.queues[RECENT].weight + self.queues[FREQUENT].weight
    }

    /// The same, and what is remembered.
    fn held(&self) -> u64 {
        let went = self.queues[WENT_RECENT].length + self.queues[WENT_FREQUENT].length;
        self.weight() + went as u64 * MEMORY
    }

    /// An object, marked as used.
    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<&V> {
        let entry = &self.entries[self.find(hash, key)?];
        // Looked at first: a write would take the line from the other cores, and most find it set.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        entry.object.as_ref().map(|(_, value)| value)
    }

    pub(super) fn peek(&self, hash: u64, key: &[u8]) -> Option<&V> {
        self.entries[self.find(hash, key)?].object.as_ref().map(|(_, value)| value)
    }

    /// The object at the first place from `from` on that has one, and the place after it.
    pub(super) fn next(&self, from: usize) -> Option<(usize, &CacheKey, &V)> {
        (from..self.entries.capacity()).find_map(|place| {
            let (key, value) = self.entries.get(place)?.object.as_ref()?;
            Some((place + 1, key, value))
        })
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |place: &usize| {
            let entry = &self.entries[*place];
            entry.hash == hash && entry.object.as_ref().is_some_and(|(its, _)| its.as_bytes() == key)
        };
        self.places.find(hash, is_it).copied()
    }

    /// Puts an object in, which is lighter than the capacity, and hands `gone` what has to go for it. One with its key keeps
    /// its place: who goes through all of them by place misses none.
    pub(super) fn insert(&mut self, hash: u64, key: CacheKey, value: V, weight: u64, gone: &mut Vec<V>) {
        if let Some(place) = self.find(hash, key.as_bytes()) {
            let entry = &mut self.entries[place];
            let queue = &mut self.queues[entry.queue];
            queue.weight = queue.weight - entry.weight + weight;
            entry.weight = weight;
            *entry.used.get_mut() = true;
            gone.extend(entry.object.replace((key, value)).map(|(_, before)| before));
            return self.make_room(0, gone);
        }
        let queue = if self.went(hash, weight) { FREQUENT } else { RECENT };
        self.make_room(weight, gone);
        if queue == RECENT {
            self.forget(weight);
        }
        let used = AtomicBool::new(false);
        let object = Some((key, value));
        let entry = Entry { hash, weight, queue, before: NONE, after: NONE, used, object };
        let place = self.entries.insert(entry);
        self.push(place, queue);
        let entries = &self.entries;
        self.places.insert_unique(hash, place, |place| entries[*place].hash);
    }

    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<V> {
        let place = self.find(hash, key)?;
        self.unlink(place);
        self.take(place).map(|(_, value)| value)
    }

    /// Whether an object of this hash went a while ago. Then the queue it went from was too short.
    fn went(&mut self, hash: u64, weight: u64) -> bool {
        let is_it =
            |place: &usize| self.entries[*place].hash == hash && self.entries[*place].object.is_none();
        let Some(place) = self.places.find(hash, is_it).copied() else { return false };
        let [recent, frequent] =
            [WENT_RECENT, WENT_FREQUENT].map(|queue| self.queues[queue].weight.max(1) as f64);
        let (more, most) = (weight as f64, self.capacity as f64 * (1.0 - FREQUENT_LEAST));
        // The fewer went from a queue, the more it says that one of them was wanted.
        self.recent_room = match self.entries[place].queue {
            WENT_RECENT => (self.recent_room + more * (frequent / recent).max(1.0)).min(most),
            _ => (self.recent_room - more * (recent / frequent).max(1.0)).max(0.0),
        };
        self.unlink(place);
        self.take(place);
        true
    }

    /// Lets objects go until there is room for so much more.
    fn make_room(&mut self, weight: u64, gone: &mut Vec<V>) {
        while self.held() + weight > self.capacity && self.len() > 0 {
            let recent = self.queues[RECENT].weight;
            let from = match self.queues[FREQUENT].length {
                0 => RECENT,
                _ if recent > 0 && recent as f64 >= self.recent_room => RECENT,
                _ => FREQUENT,
            };
            let place = self.queues[from].first;
            self.unlink(place);
            let entry = &mut self.entries[place];
            if std::mem::take(entry.used.get_mut()) {
                self.push(place, FREQUENT);
            } else {
                gone.extend(entry.object.take().map(|(_, value)| value));
                self.push(place, if from == RECENT { WENT_RECENT } else { WENT_FREQUENT });
            }
        }
        // Many that went may weigh more together than few that are here.
        while self.held() + weight > self.capacity
            && self.forget_one(WENT_FREQUENT) | self.forget_one(WENT_RECENT)
        {}
    }

    /// Forgets what went so long ago that nothing follows from it: with what is here, the recent would fill the room, and
    /// all together twice the room.
    fn forget(&mut self, weight: u64) {
        while self.queues[RECENT].weight + self.queues[WENT_RECENT].weight + weight > self.capacity
            && self.forget_one(WENT_RECENT)
        {}
        while self.queues.iter().map(|queue| queue.weight).sum::<u64>() + weight > 2 * self.capacity
            && self.forget_one(WENT_FREQUENT)
        {}
    }

    fn forget_one(&mut self, queue: Queue) -> bool {
        let place = self.queues[queue].first;
        if place == NONE {
            return false;
        }
        self.unlink(place);
        self.take(place);
        true
    }

    /// Takes an entry, which is in no queue any more, out of everything.
    fn take(&mut self, place: usize) -> Option<(CacheKey, V)> {
        let entry = self.entries.remove(place);
        if let Ok(found) = self.places.find_entry(entry.hash, |other| *other == place) {
            found.remove();
        }
        entry.object
    }

    fn push(&mut self, place: usize, queue: Queue) {
        let ends = &mut self.queues[queue];
        let last = std::mem::replace(&mut ends.last, place);
        ends.length += 1;
        let entry = &mut self.entries[place];
        ends.weight += entry.weight;
        (entry.queue, entry.before, entry.after) = (queue, last, NONE);
        match self.entries.get_mut(last) {
            Some(last) => last.after = place,
            None => ends.first = place,
        }
    }

    fn unlink(&mut self, place: usize) {
        let Entry { queue, before, after, weight, .. } = self.entries[place];
        let ends = &mut self.queues[queue];
        ends.length -= 1;
        ends.weight -= weight;
        match self.entries.get_mut(before) {
            Some(before) => before.after = after,
            None => ends.first = after,
        }
        match self.entries.get_mut(after) {
            Some(after) => after.before = before,
            None => ends.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::key;

    /// A shelf of numbers, each its own hash, as heavy as a tenth of it.
    struct Numbers(Shelf<u64>);

    const HEAVY: u64 = 10_000;

    impl Numbers {
        fn new() -> Self {
            Self(Shelf::new(10 * HEAVY + 10 * MEMORY))
        }

        fn key(number: u64) -> CacheKey {
            key(&format!("http://a/{number}")).to_key()
        }

        /// Whether it was there; now it is.
        fn ask(&mut self, number: u64) -> bool {
            let key = Self::key(number);
            if self.0.get(number, key.as_bytes()).is_some() {
                return true;
            }
            self.0.insert(number, key, number, HEAVY, &mut Vec::new());
            self.check();
            false
        }

        /// What must hold whatever happened.
        fn check(&self) {
            let shelf = &self.0;
            assert!(shelf.held() <= shelf.capacity, "{} of {}", shelf.held(), shelf.capacity);
            assert_eq!(shelf.entries.len(), shelf.places.len());
            for (queue, ends) in shelf.queues.iter().enumerate() {
                let (mut place, mut length, mut weight) = (ends.first, 0, 0);
                while place != NONE {
                    let entry = &shelf.entries[place];
                    assert_eq!((entry.queue, entry.object.is_some()), (queue, queue <= FREQUENT));
                    (length, weight) = (length + 1, weight + entry.weight);
                    assert_eq!(entry.after == NONE, place == ends.last);
                    place = entry.after;
                }
                assert_eq!((length, weight), (ends.length, ends.weight));
            }
        }
    }

    #[test]
    fn a_crawler_drives_out_nothing_that_is_read_often() {
        let mut numbers = Numbers::new();
        for number in [1, 2, 3, 1, 2, 3] {
            numbers.ask(number);
        }
        for crawled in 100..200 {
            numbers.ask(crawled);
            assert!([1, 2, 3].into_iter().filter(|&number| numbers.ask(number)).count() == 3, "{crawled}");
        }
    }

    #[test]
    fn what_is_no_longer_read_gives_way() {
        let mut numbers = Numbers::new();
        for _ in 0..20 {
            (0..8).for_each(|number| _ = numbers.ask(number));
        }
        for _ in 0..4 {
            (100..108).for_each(|number| _ = numbers.ask(number));
        }
        assert!((100..108).all(|number| numbers.ask(number)));
    }

    #[test]
    fn the_books_are_in_order_whatever_happens() {
        let mut numbers = Numbers::new();
        let mut seed = 1u64;
        for _ in 0..5_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (seed >> 33) % 40;
            let key = Numbers::key(number);
            match (seed >> 20) % 8 {
                0 => drop(numbers.0.remove(number, key.as_bytes())),
                1 => {
                    let weight = 1 + (seed >> 40) % (2 * HEAVY);
                    numbers.0.insert(number, key, number, weight, &mut Vec::new());
                }
                _ => _ = numbers.ask(number),
            }
            numbers.check();
        }
        let mut seen = 0;
        let mut from = 0;
        while let Some((next, ..)) = numbers.0.next(from) {
            (from, seen) = (next, seen + 1);
        }
        assert_eq!(seen, numbers.0.len());
        for number in 0..40 {
            numbers.0.remove(number, Numbers::key(number).as_bytes());
        }
        assert_eq!((numbers.0.len(), numbers.0.weight()), (0, 0));
    }
}
