//! What somebody who knows the future could do: Belady's rule, aware of sizes.
//!
//! With sizes the exact optimum is out of reach (NP-hard). What is kept here is what pays best for its room: a request
//! saved is worth one, or as many bytes as the object has, and the room it takes is its weight for the time until then.
//! The worst of some objects drawn at random goes, until there is room; if that is the newcomer, it is not let in.

use std::collections::HashMap;

use crate::trace::{Random, Trace};
use crate::{LARGEST, Ratio};

/// What a hit is worth.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Request,
    Byte,
}

/// Of so many the worst goes.
const DRAWN: usize = 64;

pub(crate) struct Offline<'a> {
    trace: &'a Trace,
    /// When the object of a request is asked for again.
    next: Vec<usize>,
    capacity: u64,
    overhead: u64,
    value: Value,
}

#[derive(Clone, Copy)]
struct Kept {
    key: u32,
    size: u64,
    next: usize,
}

impl<'a> Offline<'a> {
    pub(crate) fn new(trace: &'a Trace, capacity: u64, overhead: u64, value: Value) -> Self {
        let mut next = vec![usize::MAX; trace.requests.len()];
        let mut seen = HashMap::new();
        for (at, &(key, _)) in trace.requests.iter().enumerate().rev() {
            if let Some(later) = seen.insert(key, at) {
                next[at] = later;
            }
        }
        Self { trace, next, capacity, overhead, value }
    }

    /// How long an object takes how much room, for what it is worth.
    fn cost(&self, now: usize, kept: &Kept) -> f64 {
        if kept.next == usize::MAX {
            return f64::INFINITY;
        }
        let room = (kept.next - now) as f64 * (kept.size + self.overhead) as f64;
        match self.value {
            Value::Request => room,
            Value::Byte => room / kept.size.max(1) as f64,
        }
    }

    pub(crate) fn ratio(&self) -> Ratio {
        let mut kept: Vec<Kept> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut random = Random::new(7);
        let (mut held, mut now) = (0, 0);
        Ratio::of(self.trace, |key, size| {
            let at = now;
            now += 1;
            let next = self.next[at];
            if let Some(&place) = places.get(&key) {
                kept[place].next = next;
                return true;
            }
            if size > self.capacity / LARGEST || next == usize::MAX {
                return false;
            }
            places.insert(key, kept.len());
            kept.push(Kept { key, size, next });
            held += size + self.overhead;
            while held > self.capacity {
                let last = kept.len() - 1;
                let drawn = (0..DRAWN).map(|_| random.below(kept.len() as u64) as usize).chain([last]);
                let worst = drawn
                    .max_by(|&a, &b| self.cost(at, &kept[a]).total_cmp(&self.cost(at, &kept[b])))
                    .expect("some are drawn");
                let gone = kept.swap_remove(worst);
                held -= gone.size + self.overhead;
                places.remove(&gone.key);
                if let Some(moved) = kept.get(worst) {
                    places.insert(moved.key, worst);
                }
            }
            false
        })
    }
}
