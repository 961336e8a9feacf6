//! The maps of heads that are asked for often, signed and ready to be cloned: that takes half of what it takes to unpack
//! one.
//!
//! There are so many places, and a hand that goes around them when a head wants one. It passes by a place that was used since
//! it last came, and gives the next to the newcomer, or empties it and goes on while there is no room for the newcomer's map.
//! Who lost its place unpacks. A hit that finds its map touches nothing that hits on other objects touch.

use std::sync::OnceLock;

use http::HeaderMap;

use super::fields::Fields;
use crate::outcome::Outcome;
use crate::signature::Signature;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

/// The share of the capacity that is set aside for maps.
const SHARE: u64 = 128;
/// So much is set aside for each place, in bytes. A map with ten fields takes half of it.
const TYPICAL: usize = 4 * 1024;
/// The largest map that gets a place, in bytes.
const LARGEST: usize = 16 * 1024;
const MOST: u64 = 4096;
/// Hits within a second of age after which a head gets a place. With fewer it does not matter.
const HITS: u64 = 4;
/// Places that the hand looks at for one newcomer.
const STEPS: usize = 8;

#[derive(Debug)]
pub(crate) struct Maps {
    /// Made when the hand first comes to them.
    places: Box<[OnceLock<Box<Place>>]>,
    /// What all maps together may take.
    room: usize,
    hand: Mutex<Hand>,
}

#[derive(Debug, Default)]
struct Hand {
    next: usize,
    /// How many places were given.
    turn: u64,
    /// What the maps take.
    held: usize,
}

/// A place has its cache lines to itself.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Place {
    used: AtomicBool,
    map: RwLock<Map>,
}

#[derive(Debug, Default)]
struct Map {
    /// Whose it is: of the head that got this turn.
    turn: u64,
    /// What it takes, with its place.
    bytes: usize,
    age: u64,
    outcome: Option<Outcome>,
    headers: HeaderMap,
}

/// What a head knows of its map: in 8 bytes, how often it was asked for of late, or which place it has.
///
/// The highest bit is set if it has one: then come 15 bits for the place and 48 for the turn. Else the lowest 8 bits count the
/// hits at an age, in seconds, that stands above them.
#[derive(Debug, Default)]
pub(crate) struct Heat(AtomicU64);

const PLACED: u64 = 1 << 63;
const TURN_BITS: u32 = 48;
const TURNS: u64 = (1 << TURN_BITS) - 1;
const COUNT_BITS: u32 = 8;
const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;
const AGES: u64 = u32::MAX as u64;

impl Maps {
    /// What they take at most, of a capacity.
    pub(super) fn share(capacity: u64) -> u64 {
        Self::places(capacity) * TYPICAL as u64
    }

    pub(super) fn new(capacity: u64) -> Self {
        Self::with_places(Self::places(capacity) as usize)
    }

    /// How many there are in a capacity: in one under 512 KiB none.
    fn places(capacity: u64) -> u64 {
        (capacity / SHARE / TYPICAL as u64).min(MOST)
    }

    fn with_places(number: usize) -> Self {
        let places = (0..number).map(|_| OnceLock::new()).collect();
        Self { places, room: number * TYPICAL, hand: Mutex::default() }
    }

    /// The fields of an answer. Nobody waits: whoever finds another at it unpacks.
    pub(super) fn signed(&self, fields: &Fields, heat: &Heat, signature: &Signature<'_>) -> HeaderMap {
        let known = heat.0.load(Ordering::Relaxed);
        if known & PLACED == 0 {
            let headers = fields.signed(signature);
            if heat.counts(known, signature.age) {
                let bytes = size_of::<Place>() + fields.unpacked();
                if bytes <= LARGEST.min(self.room) {
                    self.give(heat, signature, &headers, bytes);
                }
            }
            return headers;
        }
        if let Some(place) = self.place(known) {
            if let Some(map) = place.map.try_read() {
                if map.turn != known & TURNS {
                    // Somebody else has it by now.
                    let _ = heat.0.compare_exchange(known, 0, Ordering::Relaxed, Ordering::Relaxed);
                } else if map.is_signed(signature) {
                    place.note_use();
                    return map.headers.clone();
                }
            }
            if let Some(mut map) = place.map.try_write()
                && map.turn == known & TURNS
            {
                place.note_use();
                if !map.is_signed(signature) {
                    fields.sign(&mut map.headers, signature);
                    (map.age, map.outcome) = (signature.age, Some(*signature.outcome));
                }
                return map.headers.clone();
            }
        }
        fields.signed(signature)
    }

    fn place(&self, known: u64) -> Option<&Place> {
        let at = (known & !PLACED) >> TURN_BITS;
        self.places.get(at as usize)?.get().map(|place| &**place)
    }

    /// Gives a place to a head, if one is found at once.
    fn give(&self, heat: &Heat, signature: &Signature<'_>, headers: &HeaderMap, bytes: usize) {
        // Dropped after the lock.
        let mut gone = Vec::new();
        let Some(mut hand) = self.hand.try_lock() else { return };
        let known = heat.0.load(Ordering::Relaxed);
        if known & PLACED != 0 {
            return;
        }
        for _ in 0..STEPS.min(self.places.len()) {
            let at = hand.next;
            hand.next = (at + 1) % self.places.len();
            let place = self.places[at].get_or_init(Box::default);
            if place.used.swap(false, Ordering::Relaxed) {
                continue;
            }
            let Some(mut map) = place.map.try_write() else { continue };
            hand.held -= map.bytes;
            if hand.held + bytes > self.room {
                gone.push(std::mem::take(&mut *map));
                continue;
            }
            hand.held += bytes;
            hand.turn += 1;
            let turn = hand.turn & TURNS;
            // A clone has no spare room.
            let headers = headers.clone();
            let before = std::mem::replace(
                &mut *map,
                Map { turn, bytes, age: signature.age, outcome: Some(*signature.outcome), headers },
            );
            drop(map);
            place.note_use();
            // Only here, under the hand's lock, does a head come to a place.
            heat.0.store(PLACED | (at as u64) << TURN_BITS | turn, Ordering::Relaxed);
            drop(hand);
            drop(before);
            return;
        }
    }
}

impl Place {
    fn note_use(&self) {
        // Where nothing changes, nothing is written.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

impl Map {
    fn is_signed(&self, signature: &Signature<'_>) -> bool {
        self.age == signature.age && self.outcome.as_ref() == Some(signature.outcome)
    }
}

impl Heat {
    /// Counts a hit. Says whether there were enough at this age.
    fn counts(&self, known: u64, age: u64) -> bool {
        let age = age.min(AGES) << COUNT_BITS;
        let count = if known & !MAX_COUNT == age { known & MAX_COUNT } else { 0 } + 1;
        // Who gets no place then starts over.
        let counted = if count < HITS { age | count } else { age };
        // A count that is lost to another thread's matters less than a place.
        let _ = self.0.compare_exchange(known, counted, Ordering::Relaxed, Ordering::Relaxed);
        count >= HITS
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{AGE, CACHE_STATUS, ETAG};

    use super::*;

    /// Fields that can be told from those of others.
    fn fields(number: usize) -> Fields {
        Fields::pack(&HeaderMap::from_iter([(ETAG, HeaderValue::from(number))]))
    }

    /// Asks so often in one second, and sees that the answer is right.
    fn ask(maps: &Maps, number: usize, heat: &Heat, age: u64, times: usize) {
        // The same for all, so that nothing but its place tells whose a map is.
        let outcome = Outcome::hit(9);
        for _ in 0..times {
            let signature = Signature { name: "edge", outcome: &outcome, age };
            let headers = maps.signed(&fields(number), heat, &signature);
            assert_eq!(headers[ETAG], number.to_string());
            assert_eq!(headers[AGE], age.to_string());
            assert_eq!(headers[CACHE_STATUS], format!("edge{outcome}"));
        }
    }

    fn has_place(heat: &Heat) -> bool {
        heat.0.load(Ordering::Relaxed) & PLACED != 0
    }

    fn kept(maps: &Maps) -> usize {
        maps.places.iter().filter(|place| place.get().is_some_and(|place| place.map.read().turn > 0)).count()
    }

    #[test]
    fn a_head_gets_a_place_when_it_is_asked_for_often() {
        let (maps, heat) = (Maps::with_places(2), Heat::default());
        for age in 0..10 {
            ask(&maps, 1, &heat, age, HITS as usize - 1);
        }
        assert!(!has_place(&heat) && kept(&maps) == 0);
        ask(&maps, 1, &heat, 10, HITS as usize);
        assert!(has_place(&heat) && kept(&maps) == 1);
        // Signed anew, each second.
        for age in 10..20 {
            ask(&maps, 1, &heat, age, 2);
        }
        assert_eq!(kept(&maps), 1);
    }

    #[test]
    fn there_are_no_more_maps_than_places() {
        let maps = Maps::with_places(3);
        let heats: Vec<_> = (0..20).map(|_| Heat::default()).collect();
        for age in 0..5 {
            for (number, heat) in heats.iter().enumerate() {
                ask(&maps, number, heat, age, 3 * HITS as usize);
                assert!(has_place(heat));
            }
            assert_eq!(kept(&maps), 3);
        }
    }

    #[test]
    fn who_is_asked_for_keeps_its_place() {
        let maps = Maps::with_places(3);
        let (often, heats) = (Heat::default(), (1..20).map(|_| Heat::default()).collect::<Vec<_>>());
        ask(&maps, 0, &often, 0, HITS as usize);
        let place = often.0.load(Ordering::Relaxed);
        for (number, heat) in heats.iter().enumerate() {
            ask(&maps, number + 1, heat, 0, HITS as usize);
            ask(&maps, 0, &often, 0, 1);
        }
        assert_eq!(often.0.load(Ordering::Relaxed), place);
    }

    #[test]
    fn who_lost_its_place_has_to_be_asked_for_again() {
        let maps = Maps::with_places(1);
        let (one, other) = (Heat::default(), Heat::default());
        ask(&maps, 1, &one, 0, HITS as usize);
        ask(&maps, 2, &other, 0, 2 * HITS as usize);
        assert!(has_place(&other));
        ask(&maps, 1, &one, 0, 1);
        assert!(!has_place(&one));
        ask(&maps, 1, &one, 0, 2 * HITS as usize);
        assert!(has_place(&one));
    }

    #[test]
    fn without_a_place_nothing_is_kept() {
        let heat = Heat::default();
        ask(&Maps::new(0), 1, &heat, 0, 100);
        assert!(!has_place(&heat));
        let (maps, outcome) = (Maps::with_places(8), Outcome::hit(1));
        // What was said upstream is in the block, in the first answer's text and in that of the answer signed anew.
        for (name, length) in [(ETAG, LARGEST), (CACHE_STATUS, LARGEST / 3)] {
            let value = HeaderValue::from_bytes(&vec![b'x'; length]).unwrap();
            let large = Fields::pack(&HeaderMap::from_iter([(name, value)]));
            for _ in 0..100 {
                let signature = Signature { name: "edge", outcome: &outcome, age: 1 };
                maps.signed(&large, &heat, &signature);
            }
            assert!(!has_place(&heat) && kept(&maps) == 0, "{length}");
        }
    }

    #[test]
    fn what_maps_take_is_set_aside() {
        for capacity in [0, 64 << 10, 511 << 10, 512 << 10, 700 << 10, 64 << 20, 512 << 20, 4 << 30, u64::MAX]
        {
            assert_eq!(Maps::share(capacity), Maps::new(capacity).room as u64, "{capacity}");
        }
        assert_eq!(Maps::share(512 << 20), 4 << 20);
        assert_eq!(Maps::share(u64::MAX), 16 << 20);
    }

    #[test]
    fn maps_take_no_more_than_is_set_aside() {
        let (maps, outcome) = (Maps::with_places(10), Outcome::hit(1));
        let (mut most, mut fewest) = (0, usize::MAX);
        for round in 0..200 {
            // Small ones, then large ones, then small ones again.
            let length = if (50..150).contains(&round) { LARGEST / 4 } else { 10 };
            let value = HeaderValue::from_bytes(&vec![b'x'; length]).unwrap();
            let (fields, heat) = (Fields::pack(&HeaderMap::from_iter([(ETAG, value)])), Heat::default());
            for _ in 0..2 * HITS {
                let signature = Signature { name: "edge", outcome: &outcome, age: 1 };
                maps.signed(&fields, &heat, &signature);
            }
            let bytes =
                maps.places.iter().filter_map(|place| Some(place.get()?.map.read().bytes)).sum::<usize>();
            assert_eq!(maps.hand.lock().held, bytes);
            assert!(bytes <= maps.room, "{bytes} in round {round}");
            (most, fewest) = match round {
                40..50 | 190.. => (most.max(kept(&maps)), fewest),
                100..150 => (most, fewest.min(kept(&maps))),
                _ => (most, fewest),
            };
        }
        assert_eq!(most, 10);
        assert!((1..10).contains(&fewest), "{fewest}");
    }

    #[test]
    fn nobody_waits_for_a_map() {
        let (maps, heat) = (Maps::with_places(1), Heat::default());
        let hand = maps.hand.lock();
        ask(&maps, 1, &heat, 0, 10);
        drop(hand);
        ask(&maps, 1, &heat, 0, 10);
        assert!(has_place(&heat));
        let place = maps.places[0].get().unwrap();
        let map = place.map.write();
        ask(&maps, 1, &heat, 0, 10);
        ask(&maps, 1, &heat, 1, 10);
        drop(map);
        let map = place.map.read();
        ask(&maps, 1, &heat, 2, 10);
        drop(map);
    }

    #[test]
    fn threads_get_their_own_answers() {
        let maps = Maps::with_places(2);
        let heats: Vec<_> = (0..5).map(|_| Heat::default()).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (maps, heats) = (&maps, &heats);
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let number = (round * (thread + 1)) % heats.len();
                        ask(maps, number, &heats[number], (round / 100) as u64, 3);
                    }
                });
            }
        });
        assert!(kept(&maps) == 2);
    }
}
