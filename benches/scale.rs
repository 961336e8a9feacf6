//! How long an invalidation would take to be in force on 500 edges in 100 places around one Redis, and how much of that Redis
//! it would take: a simulation, with its assumptions. `docs/scale.md` shows what it prints.
//!
//! `cargo bench --bench scale`

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What `benches/propagation.rs` measured on loopback, in milliseconds of Redis' one thread: what an invalidation costs it for
/// the append, and for each edge; what an edge that does nothing costs in a second.
const APPEND: f64 = 0.2;
const PER_EDGE: f64 = 0.04;
const IDLE_PER_EDGE: f64 = 0.16;
/// Of what an edge costs: being handed the record. The rest is its reports and its next reading.
const DELIVERY: f64 = 0.25;
/// From when a record has come until it is in force.
const APPLY: f64 = 0.1;

/// Milliseconds there and back, for a hundred kilometres of great circle. Of the 45 pairs of ten AWS regions in a published
/// table the median is 1.8; one in ten is under 1.3 and one in ten over 2.7.
const STRETCH: [f64; 3] = [1.3, 1.8, 2.7];
/// To the next router, and through two machines.
const LAST_MILE: f64 = 2.0;
/// One packet in so many is lost, and sent again when nothing was heard for so long beyond a round trip.
const LOSS: u64 = 1_000;
const RETRANSMIT: f64 = 200.0;
/// Looks of a receipt at the roll are no further apart.
const LOOK: f64 = 250.0;

/// Records that an edge reads at once.
const BATCH: f64 = 256.0;

const ROUNDS: usize = 4_000;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!(
        "| Redis in | edges | in force on half | on all, median | on all, p99 | receipt applied, median | idle CPU | CPU for ten a second | CPU in a storm | records/s to the farthest |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for home in ["Frankfurt", "Ashburn", "Singapore"] {
        for per_place in [1, 5, 20] {
            simulate(home, per_place);
        }
    }
}

fn simulate(home: &str, per_place: usize) {
    let Some(&(_, latitude, longitude)) = PLACES.iter().find(|(name, ..)| *name == home) else { return };
    let mut chance = Chance(1);
    // A place's stretch is its own and stays.
    let places: Vec<f64> = PLACES
        .iter()
        .map(|(_, lat, long)| {
            let kilometres = distance((latitude, longitude), (*lat, *long));
            LAST_MILE + kilometres / 100.0 * stretch(chance.unit())
        })
        .collect();
    let edges: Vec<f64> = places.iter().flat_map(|rtt| std::iter::repeat_n(*rtt, per_place)).collect();
    let (mut half, mut all, mut receipts) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever invalidates is in one of the places.
        let writer = places[round % places.len()];
        let (mut in_force, applied) = one(&edges, writer, &mut chance);
        in_force.sort_unstable_by(f64::total_cmp);
        half.push(in_force[in_force.len() / 2]);
        all.push(in_force[in_force.len() - 1]);
        receipts.push(applied);
    }
    // However fast they come, an edge reads once in a round trip: all that has come meanwhile, up to a batch.
    let storm: f64 = edges.iter().map(|rtt| PER_EDGE / rtt).sum();
    let farthest = edges.iter().copied().fold(0.0, f64::max);
    let count = edges.len() as f64;
    println!(
        "| {home} | {count} | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} ms | {:.1} % | {:.0} % | {:.0} % | {:.0} |",
        percentile(&mut half, 50),
        percentile(&mut all, 50),
        percentile(&mut all, 99),
        percentile(&mut receipts, 50),
        count * IDLE_PER_EDGE / 10.0,
        APPEND + PER_EDGE * count,
        storm * 100.0,
        BATCH / farthest * 1e3,
    );
}

/// One invalidation: when it is in force on each edge, and when the writer's receipt knows.
fn one(edges: &[f64], writer: f64, chance: &mut Chance) -> (Vec<f64>, f64) {
    let appended = way(writer, chance) + APPEND;
    let mut in_force = Vec::with_capacity(edges.len());
    let mut reports = BinaryHeap::new();
    for (place, rtt) in edges.iter().enumerate() {
        // One after the other.
        let sent = appended + PER_EDGE * DELIVERY * (place + 1) as f64;
        let there = sent + way(*rtt, chance) + APPLY;
        in_force.push(there);
        let back = there + way(*rtt, chance);
        reports.push(Reverse((back * 1e3) as u64));
    }
    // Redis takes the reports as they come, one after the other.
    let mut done = appended + PER_EDGE * DELIVERY * edges.len() as f64;
    while let Some(Reverse(report)) = reports.pop() {
        done = done.max(report as f64 / 1e3) + PER_EDGE * (1.0 - DELIVERY);
    }
    // The look that finds it comes up to one wait later, and is a round trip.
    let known = done + LOOK * chance.unit() + writer;
    (in_force, known)
}

/// One way, with what is lost sent again.
fn way(rtt: f64, chance: &mut Chance) -> f64 {
    let mut time = rtt / 2.0;
    let mut wait = rtt + RETRANSMIT;
    while chance.next().is_multiple_of(LOSS) {
        time += wait;
        wait *= 2.0;
    }
    time
}

/// Between the tenth, the middle and the ninetieth of a hundred pairs.
fn stretch(at: f64) -> f64 {
    let [low, middle, high] = STRETCH;
    if at < 0.5 { low + (middle - low) * at * 2.0 } else { middle + (high - middle) * (at - 0.5) * 2.0 }
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// By the great circle, in kilometres.
fn distance(from: (f64, f64), to: (f64, f64)) -> f64 {
    let [from, to] = [from, to].map(|(lat, long)| (lat.to_radians(), long.to_radians()));
    let half = |a: f64, b: f64| ((a - b) / 2.0).sin().powi(2);
    let chord = half(from.0, to.0) + from.0.cos() * to.0.cos() * half(from.1, to.1);
    2.0 * 6_371.0 * chord.sqrt().asin()
}

/// The same numbers each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 31) as f64
    }
}

#[rustfmt::skip]
const PLACES: [(&str, f64, f64); 100] = [
    ("Frankfurt", 50.1, 8.7), ("Ashburn", 39.0, -77.5), ("Singapore", 1.4, 103.8), ("London", 51.5, -0.1),
    ("Paris", 48.9, 2.4), ("Amsterdam", 52.4, 4.9), ("Madrid", 40.4, -3.7), ("Barcelona", 41.4, 2.2),
    ("Lisbon", 38.7, -9.1), ("Marseille", 43.3, 5.4), ("Milan", 45.5, 9.2), ("Rome", 41.9, 12.5),
    ("Palermo", 38.1, 13.4), ("Zurich", 47.4, 8.5), ("Vienna", 48.2, 16.4), ("Munich", 48.1, 11.6),
    ("Berlin", 52.5, 13.4), ("Hamburg", 53.6, 10.0), ("Dusseldorf", 51.2, 6.8), ("Brussels", 50.9, 4.4),
    ("Dublin", 53.3, -6.3), ("Manchester", 53.5, -2.2), ("Copenhagen", 55.7, 12.6), ("Oslo", 59.9, 10.8),
    ("Stockholm", 59.3, 18.1), ("Helsinki", 60.2, 24.9), ("Warsaw", 52.2, 21.0), ("Prague", 50.1, 14.4),
    ("Budapest", 47.5, 19.0), ("Bucharest", 44.4, 26.1), ("Sofia", 42.7, 23.3), ("Athens", 38.0, 23.7),
    ("Zagreb", 45.8, 16.0), ("Istanbul", 41.0, 29.0), ("Tel Aviv", 32.1, 34.8), ("Dubai", 25.2, 55.3),
    ("Fujairah", 25.1, 56.3), ("Manama", 26.2, 50.6), ("Doha", 25.3, 51.5), ("Jeddah", 21.5, 39.2),
    ("Cairo", 30.0, 31.2), ("Lagos", 6.5, 3.4), ("Nairobi", -1.3, 36.8), ("Johannesburg", -26.2, 28.0),
    ("Cape Town", -33.9, 18.4), ("Accra", 5.6, -0.2), ("Mumbai", 19.1, 72.9), ("Delhi", 28.6, 77.2),
    ("Chennai", 13.1, 80.3), ("Bangalore", 13.0, 77.6), ("Hyderabad", 17.4, 78.5), ("Kolkata", 22.6, 88.4),
    ("Karachi", 24.9, 67.0), ("Dhaka", 23.8, 90.4), ("Colombo", 6.9, 79.9), ("Bangkok", 13.8, 100.5),
    ("Kuala Lumpur", 3.1, 101.7), ("Jakarta", -6.2, 106.8), ("Manila", 14.6, 121.0), ("Ho Chi Minh City", 10.8, 106.7),
    ("Hanoi", 21.0, 105.9), ("Hong Kong", 22.3, 114.2), ("Taipei", 25.0, 121.6), ("Seoul", 37.6, 127.0),
    ("Tokyo", 35.7, 139.7), ("Osaka", 34.7, 135.5), ("Fukuoka", 33.6, 130.4), ("Sydney", -33.9, 151.2),
    ("Melbourne", -37.8, 145.0), ("Brisbane", -27.5, 153.0), ("Perth", -31.9, 115.9), ("Adelaide", -34.9, 138.6),
    ("Auckland", -36.8, 174.8), ("New York", 40.7, -74.0), ("Boston", 42.4, -71.1), ("Philadelphia", 40.0, -75.2),
    ("Atlanta", 33.7, -84.4), ("Miami", 25.8, -80.2), ("Jacksonville", 30.3, -81.7), ("Chicago", 41.9, -87.6),
    ("Minneapolis", 45.0, -93.3), ("Columbus", 40.0, -83.0), ("Dallas", 32.8, -96.8), ("Houston", 29.8, -95.4),
    ("Denver", 39.7, -105.0), ("Phoenix", 33.4, -112.1), ("Los Angeles", 34.1, -118.2), ("San Francisco", 37.8, -122.4),
    ("Seattle", 47.6, -122.3), ("Portland", 45.5, -122.7), ("Salt Lake City", 40.8, -111.9), ("Toronto", 43.7, -79.4),
    ("Montreal", 45.5, -73.6), ("Vancouver", 49.3, -123.1), ("Queretaro", 20.6, -100.4), ("Bogota", 4.7, -74.1),
    ("Lima", -12.0, -77.0), ("Santiago", -33.4, -70.7), ("Buenos Aires", -34.6, -58.4), ("Sao Paulo", -23.5, -46.6),
];
