//! Traces: read from a file, or made up from a seed.

use std::collections::HashMap;
use std::fmt;

/// So that no sum of sizes overflows.
const MAX_SIZE: u64 = 1 << 40;

/// Which object each request is for, and its size.
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) requests: Vec<(u32, u64)>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sizes: HashMap<u32, u64> = HashMap::new();
        sizes.extend(self.requests.iter().copied());
        let bytes = sizes.values().sum::<u64>() as f64 / (1024.0 * 1024.0);
        write!(f, "{}: {} requests, {} objects, {bytes:.0} MiB", self.name, self.requests.len(), sizes.len())
    }
}

impl Trace {
    /// Reads lines of `time,key,size`. Times are not looked at: the lines stand in their order.
    pub(crate) fn read(file: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        Self::parse(file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self, String> {
        let mut keys: HashMap<&str, u32> = HashMap::new();
        let mut sizes: HashMap<u32, u64> = HashMap::new();
        let mut requests = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut columns = line.split(',').map(str::trim);
            let (_, key, size) = (columns.next(), columns.next(), columns.next());
            match (key, size.and_then(|size| size.parse().ok())) {
                (_, Some(size)) if size > MAX_SIZE => {
                    return Err(format!("{file}, line {}: {size} bytes are more than a TiB", number + 1));
                }
                (Some(key), Some(size)) => {
                    let fresh = keys.len() as u32;
                    let key = *keys.entry(key).or_insert(fresh);
                    // An object keeps the size it came with: a cache would not notice another one.
                    requests.push((key, *sizes.entry(key).or_insert(size)));
                }
                _ if number == 0 || line.is_empty() => {}
                _ => return Err(format!("{file}, line {}: not time,key,size: {line:?}", number + 1)),
            }
        }
        if requests.is_empty() {
            return Err(format!("{file}: no requests"));
        }
        Ok(Self { name: file.to_owned(), requests })
    }

    /// What everything that is asked for weighs together.
    pub(crate) fn weight(&self, overhead: u64) -> u64 {
        let sizes: HashMap<u32, u64> = self.requests.iter().copied().collect();
        sizes.values().map(|size| size + overhead).sum()
    }

    pub(crate) fn generated(requests: usize, seed: u64) -> Vec<Self> {
        let make = |name: &str, sizes: Sizes, next: &mut dyn FnMut(&mut Random, usize) -> u32| {
            let mut random = Random::new(seed);
            let requests = (0..requests).map(|at| next(&mut random, at)).map(|key| (key, sizes.of(key)));
            Self { name: name.to_owned(), requests: requests.collect() }
        };
        let zipf = Zipf::new(40_000, 0.9);
        let steep = Zipf::new(40_000, 1.1);
        let count = requests;
        // Keys of different parts of a trace must not meet.
        const OTHERS: u32 = 1 << 24;
        let mut fresh = OTHERS;
        let mut other = || {
            fresh += 1;
            fresh
        };
        let mut scan = OTHERS * 2;
        vec![
            make("Zipf 0.9", Sizes::Alike, &mut |random, _| zipf.draw(random)),
            make("Zipf 1.1", Sizes::Alike, &mut |random, _| steep.draw(random)),
            make("Zipf 0.9, a third asked for once", Sizes::Alike, &mut |random, _| match random.below(3) {
                0 => other(),
                _ => zipf.draw(random),
            }),
            // Ten times a crawler comes and reads 10,000 objects, the same ones each time.
            make("Zipf 0.9 and a scan", Sizes::Alike, &mut |random, at| {
                let from = at % (count / 10).max(1);
                if from < 20_000.min(count / 20) && from.is_multiple_of(2) {
                    scan = OTHERS * 2 + from as u32 / 2;
                    return scan;
                }
                zipf.draw(random)
            }),
            make("Zipf 0.9, sizes from 100 B to 1 MiB", Sizes::Mixed, &mut |random, _| zipf.draw(random)),
            // What is popular changes wholly five times.
            make("Zipf 0.9, shifting at once", Sizes::Alike, &mut |random, at| {
                let epoch = (at / (count / 5).max(1)) as u32;
                zipf.draw(random) + epoch * 40_000
            }),
            // Somebody's rank becomes another's, one after the other.
            make("Zipf 0.9, drifting", Sizes::Mixed, &mut |random, at| {
                let rank = zipf.draw(random);
                rank + (at as u64 * 40_000 * 4 / count as u64
                    + u64::from(mixed(u64::from(rank)) as u32 % 40_000)) as u32
                    / 40_000
                    * 40_000
            }),
            // The newer the more often: news, live video.
            make("the newest, sizes from 100 B to 1 MiB", Sizes::Mixed, &mut |random, at| {
                let newest = at as u64 / 8 + 100;
                let ago = (random.unit().powi(4) * newest as f64) as u64;
                (newest - ago.min(newest)) as u32
            }),
            // Larger than most capacities: LRU has nothing of it.
            make("a loop beside Zipf 0.9", Sizes::Alike, &mut |random, at| match at % 2 {
                0 => OTHERS * 3 + (at / 2 % 20_000) as u32,
                _ => zipf.draw(random),
            }),
        ]
    }
}

/// How large objects are.
#[derive(Clone, Copy)]
enum Sizes {
    /// Within a factor of four.
    Alike,
    /// Evenly spread over the orders of magnitude.
    Mixed,
}

impl Sizes {
    fn of(self, key: u32) -> u64 {
        let unit = Random::new(u64::from(key) ^ 0x5bd1_e995).unit();
        match self {
            Self::Alike => (1024.0 * 4.0_f64.powf(unit)) as u64,
            Self::Mixed => (100.0 * 10_485.76_f64.powf(unit)) as u64,
        }
    }
}

/// Draws ranks, the first the most often.
struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(objects: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulate = |rank: usize| {
            sum += (rank as f64).powf(-exponent);
            sum
        };
        Self { cumulated: (1..=objects).map(cumulate).collect() }
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let total = self.cumulated.last().copied().unwrap_or(0.0);
        let drawn = random.unit() * total;
        self.cumulated.partition_point(|&sum| sum < drawn) as u32
    }
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mixed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_and_a_line_that_is_none_is_named() {
        let read = |text: &str| Trace::parse("t.csv", text).map(|trace| trace.requests);
        let wanted = vec![(0, 5), (1, 7), (0, 5)];
        assert_eq!(read("time,key,size\n1,a,5\n2, b ,7,more\n\n3,a,6\n"), Ok(wanted.clone()));
        assert_eq!(read("1,a,5\r\n2,b,7\r\n3,a,6"), Ok(wanted));
        for (text, error) in [
            ("", "t.csv: no requests"),
            ("time,key,size\n", "t.csv: no requests"),
            ("1,a,5\n2,b\n", "t.csv, line 2: not time,key,size: \"2,b\""),
            ("1,a,5\n\n2,b,-7\n", "t.csv, line 3: not time,key,size: \"2,b,-7\""),
            ("1,a,1099511627777\n", "t.csv, line 1: 1099511627777 bytes are more than a TiB"),
        ] {
            assert_eq!(read(text), Err(error.into()), "{text:?}");
        }
    }
}
