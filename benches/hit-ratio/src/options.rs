//! What quick_cache does with various options: how the Edge's store has come by its own.

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::lru::Lru;
use crate::trace::Trace;
use crate::{Keeper, LARGEST, Ratio, SHARES, edge};

struct Direct {
    cache: Cache<u32, u64, ByWeight>,
    capacity: u64,
}

#[derive(Clone)]
struct ByWeight {
    overhead: u64,
}

impl Weighter<u32, u64> for ByWeight {
    fn weight(&self, _: &u32, size: &u64) -> u64 {
        size + self.overhead
    }
}

#[derive(Clone, Copy, Debug)]
struct Options {
    hot: f64,
    ghost: f64,
    /// What an object is taken to weigh.
    typical: u64,
}

impl Direct {
    fn new(capacity: u64, overhead: u64, options: Options) -> Self {
        let built = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity((capacity / options.typical).max(32) as usize)
            .weight_capacity(capacity)
            .hot_allocation(options.hot)
            .ghost_allocation(options.ghost)
            .build()
            .expect("every option is set");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { cache: Cache::with_options(built, ByWeight { overhead }, hasher, lifecycle), capacity }
    }
}

impl Keeper for Direct {
    fn ask(&mut self, key: u32, size: u64) -> bool {
        if self.cache.get(&key).is_some() {
            return true;
        }
        if size <= self.capacity / LARGEST {
            self.cache.insert(key, size);
        }
        false
    }
}

const HOT: [f64; 6] = [0.97, 0.9, 0.8, 0.7, 0.58, 0.4];
const GHOST: [f64; 3] = [0.0, 0.5, 1.0];
const TYPICAL: [u64; 2] = [16 * 1024, 2 * 1024];

/// Prints how far above LRU each of the options is, at its worst over the capacities, and on average.
pub(crate) fn compare(trace: &Trace, overhead: u64) {
    println!("\n{trace}\npoints above LRU at worst, and on average      objects            bytes");
    let everything = trace.weight(overhead);
    let capacities = SHARES.map(|share| ((everything as f64 * share) as u64).max(edge::LEAST));
    let lru = capacities.map(|capacity| {
        let mut lru = Lru::new(capacity, overhead);
        Ratio::of(trace, |key, size| lru.ask(key, size))
    });
    for typical in TYPICAL {
        for ghost in GHOST {
            for hot in HOT {
                let options = Options { hot, ghost, typical };
                let above: Vec<Ratio> = capacities
                    .iter()
                    .zip(&lru)
                    .map(|(capacity, lru)| {
                        let mut direct = Direct::new(*capacity, overhead, options);
                        let ratio = Ratio::of(trace, |key, size| direct.ask(key, size));
                        Ratio { objects: ratio.objects - lru.objects, bytes: ratio.bytes - lru.bytes }
                    })
                    .collect();
                let worst = |of: fn(&Ratio) -> f64| above.iter().map(of).fold(f64::MAX, f64::min) * 100.0;
                let mean =
                    |of: fn(&Ratio) -> f64| above.iter().map(of).sum::<f64>() / above.len() as f64 * 100.0;
                println!(
                    "hot {hot:.2}, ghosts {ghost:.1}, typical {typical:>5}       {:>7.2} {:>7.2}  {:>7.2} {:>7.2}",
                    worst(|ratio| ratio.objects),
                    mean(|ratio| ratio.objects),
                    worst(|ratio| ratio.bytes),
                    mean(|ratio| ratio.bytes)
                );
            }
        }
    }
}
