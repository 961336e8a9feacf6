//! What a hit costs beside the same service without the layer: `cargo bench --bench hit`.
//!
//! Both answer with the same head and the same bytes, in process, and both bodies are read to their end. Criterion
//! measures the common case by itself; the tables come from turns taken between the two (`-- --turns` prints them alone).
//! The bodies are shared, not copied, so their length should make no difference. The service without the layer knows
//! nothing of conditions and ranges, and answers in full, which costs it the same. Takes some 2 GiB of memory.

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};
use http::{Method, Request};
use http_body_util::Full;
use tower_edge::Cache;

use self::support::{ETAG, KIB, MIB, Site, TURN, cached, exchange, median, mixed, object, request, turn};

fn by_criterion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    for (name, length) in [("1 KiB", KIB), ("64 KiB", 64 * KIB)] {
        let request = request(&Method::GET, &[]);
        let (mut bare, mut layered) = (Site::new(length), cached(Site::new(length), 1));
        group.bench_function(BenchmarkId::new("without the layer", name), |bencher| {
            bencher.iter_batched(|| request.clone(), |r| exchange(&mut bare, r), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("through the layer", name), |bencher| {
            bencher.iter_batched(|| request.clone(), |r| exchange(&mut layered, r), BatchSize::SmallInput);
        });
    }
}

/// Turns each of the two gets.
const TURNS: u64 = 10_000;

/// The median of what one exchange takes without the layer and through it, in nanoseconds. `requests` makes those of a turn.
fn in_turns(site: Site, objects: u64, requests: impl Fn(u64) -> Vec<Request<Full<Bytes>>>) -> (f64, f64) {
    let (mut bare, mut layered) = (site.clone(), cached(site, objects));
    let (mut without, mut through) = (Vec::new(), Vec::new());
    for number in 0..TURNS {
        without.push(turn(&mut bare, requests(number)));
        through.push(turn(&mut layered, requests(number)));
    }
    (median(without, TURN), median(through, TURN))
}

fn alike(request: Request<Full<Bytes>>) -> impl Fn(u64) -> Vec<Request<Full<Bytes>>> {
    move |_| vec![request.clone(); TURN]
}

/// Requests for any of the first so many objects, in no order.
fn among(objects: u64) -> impl Fn(u64) -> Vec<Request<Full<Bytes>>> {
    move |number| (0..TURN as u64).map(|n| object(mixed(number * TURN as u64 + n) % objects)).collect()
}

fn side_by_side() {
    println!(
        "\nns an exchange                     without   through     added   (medians of {TURNS} turns of {TURN})"
    );
    let get = || alike(request(&Method::GET, &[]));
    let page = || Site::new(64 * KIB);
    row("GET, 1 KiB", in_turns(Site::new(KIB), 1, get()));
    row("GET, 64 KiB", in_turns(page(), 1, get()));
    row("GET, 8 MiB", in_turns(Site::new(8 * MIB), 1, get()));
    row("GET, no Vary", in_turns(page().varying_by(""), 1, get()));
    row(
        "GET, Vary of three fields",
        in_turns(page().varying_by("accept-encoding, accept-language, cookie"), 1, get()),
    );
    let respelt = alike(request(&Method::GET, &[("accept-encoding", "br, gzip,deflate")]));
    row("GET, Vary, spelt another way", in_turns(page(), 1, respelt));
    row("GET, 40 fields", in_turns(page().with_fields(40), 1, get()));
    row("304", in_turns(page(), 1, alike(request(&Method::GET, &[("if-none-match", ETAG)]))));
    row("HEAD", in_turns(page(), 1, alike(request(&Method::HEAD, &[]))));
    row("range of 1 KiB", in_turns(page(), 1, alike(request(&Method::GET, &[("range", "bytes=0-1023")]))));
}

/// Objects: many, and few of them.
const MANY: u64 = 1_000_000;
const FEW: u64 = 100;

fn by_number() {
    println!("\nns an exchange, 100 B objects      without   through     added");
    let small = || Site::new(100);
    let few = in_turns(small(), FEW, among(FEW));
    row("100 objects", few);
    let (mut bare, mut layered) = (small(), cached(small(), MANY));
    let mut among_many = |asked: u64| {
        let (mut without, mut through) = (Vec::new(), Vec::new());
        for number in 0..TURNS {
            without.push(turn(&mut bare, among(asked)(number)));
            through.push(turn(&mut layered, among(asked)(number)));
        }
        (median(without, TURN), median(through, TURN))
    };
    let hot = among_many(FEW);
    row("1,000,000, and 100 asked for", hot);
    let any = among_many(MANY);
    row("1,000,000, and any asked for", any);
    println!("{:<34} {:>7.2}   at most 1.3 wanted", "many beside few, 100 asked for", hot.1 / few.1);
    println!(
        "{:<34} {:>7.2}   what it takes to fetch them into the processor's cache",
        "many beside few, any",
        any.1 / few.1
    );
}

fn row(name: &str, (without, through): (f64, f64)) {
    println!("{name:<34} {without:>7.0}   {through:>7.0}   {:>7.0}", through - without);
}

/// Requests of a thread's turn, and turns.
const LONG_TURN: usize = 2_000;
const LONG_TURNS: usize = 200;

/// How much more two threads get done than one.
fn two_threads() {
    println!("\nexchanges a second of two threads beside those of one   without   through");
    let edge = cached(Site::new(KIB), FEW);
    // Each thread's own, as the answers of two requests to a service that makes them are.
    let bare = [Site::new(KIB), Site::new(KIB)];
    for (name, asked) in [("one object", [0, 0]), ("an object each", [0, 1])] {
        let without = together(bare.clone(), asked);
        let through = together([edge.clone(), edge.clone()], asked);
        println!("{name:<55} {without:>7.2}   {through:>7.2}");
    }
}

trait Asked: Send {
    fn turn(&mut self, requests: Vec<Request<Full<Bytes>>>) -> Duration;
}

impl Asked for Site {
    fn turn(&mut self, requests: Vec<Request<Full<Bytes>>>) -> Duration {
        turn(self, requests)
    }
}

impl Asked for Cache<Site> {
    fn turn(&mut self, requests: Vec<Request<Full<Bytes>>>) -> Duration {
        turn(self, requests)
    }
}

/// What two get done beside one in the same time. The best turns count: in the others something else had the cores.
fn together<S: Asked>(mut sites: [S; 2], asked: [u64; 2]) -> f64 {
    let requests = |number| vec![object(number); LONG_TURN];
    let best = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 10].as_secs_f64()
    };
    let (mut alone, mut both) = (Vec::new(), Vec::new());
    for _ in 0..LONG_TURNS {
        alone.push(sites[0].turn(requests(asked[0])));
        let start = std::sync::Barrier::new(2);
        let times: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> = sites
                .iter_mut()
                .zip(asked)
                .map(|(site, asked)| {
                    let (requests, start) = (requests(asked), &start);
                    scope.spawn(move || {
                        // Both are warm, and both at it, while it counts.
                        black_box(site.turn(requests.clone()));
                        start.wait();
                        site.turn(requests)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        both.push(times.into_iter().max().expect("two"));
    }
    2.0 * best(&alone) / best(&both)
}

criterion_group!(benches, by_criterion);

fn main() {
    let started = Instant::now();
    if !std::env::args().any(|arg| arg == "--turns") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
    if !support::is_only_a_test() {
        side_by_side();
        two_threads();
        by_number();
        println!("\n{} s", started.elapsed().as_secs());
    }
}
