//! What invalidations cost, and what they cost those who are served meanwhile: `cargo bench --bench invalidation`.
//!
//! Four questions, each with a table: how long a call takes until it is in force, with few and many objects; what a hit
//! takes while a thousand invalidations a second come; how long the sweep takes to have applied one to everything; and
//! whether hits go on, and memory stays, in a storm. What the first two name is not stored, so that the number of objects
//! stays what it is: every object has to be looked at all the same. The tariff allows everything. Takes some 3 GiB of
//! memory. Linux only: it reads `/proc/self/status`.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_edge::{Cache, Edge, Invalidation, InvalidationState, Outcome, Receipt, Tariff};

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
/// Objects by the thousand have a tag and a folder of their own.
const GROUPS: u64 = 1_000;
/// As many receipts as the history keeps.
const HISTORY: usize = 1_000;

/// Small objects, with the tag that their path says: `/folder/number`.
#[derive(Clone)]
struct Site;

impl<B> Service<Request<B>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let folder = request.uri().path().split('/').nth(1).unwrap_or_default();
        let response = Response::builder()
            .header("content-type", "text/plain")
            .header("cache-control", "max-age=86400")
            .header("cache-tag", format!("tag-{folder}"));
        ready(Ok(response.body(Full::from("an object of few bytes")).expect("well-formed fields")))
    }
}

/// An edge that holds so many objects, and the runtime it sweeps on.
struct Filled {
    edge: Edge,
    objects: u64,
    runtime: Runtime,
}

impl Filled {
    fn new(objects: u64) -> Self {
        let tariff = Tariff {
            free_paths: u64::MAX,
            paths_in_progress: u64::MAX,
            wildcards_in_progress: u64::MAX,
            ..Tariff::default()
        };
        let capacity = 64 * 1024 * 1024 + objects * 4096;
        let edge = Edge::builder()
            .outcomes(true)
            .capacity(capacity)
            .tariff(tariff)
            .build()
            .expect("a working configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        let filled = Self { edge, objects, runtime };
        filled.fill();
        filled
    }

    /// Asks for every object once.
    fn fill(&self) {
        self.runtime.block_on(async {
            let tasks = (0..4u64).map(|part| {
                let (mut site, objects) = (self.site(), self.objects);
                tokio::spawn(async move {
                    for number in (part..objects).step_by(4) {
                        let Ok(response) = site.call(request(number)).await;
                        black_box(response.collect().await.expect("a whole body"));
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("no viewer panics");
            }
        });
        assert_eq!(self.edge.stats().objects, self.objects);
    }

    fn site(&self) -> Cache<Site> {
        self.edge.layer().layer(Site)
    }

    /// What a call takes, the making of its argument included. The sweep runs beside it.
    fn time(&self, what: impl FnOnce() -> Invalidation) -> (Duration, Receipt) {
        let _runtime = self.runtime.enter();
        let start = Instant::now();
        let receipt = self.edge.invalidator().invalidate(what()).expect("a tariff that allows everything");
        (start.elapsed(), receipt)
    }

    fn finish(&self, receipt: &Receipt) {
        self.runtime.block_on(receipt.completed());
    }

    /// Fills the history with receipts.
    fn fill_history(&self) {
        let receipts: Vec<_> = (0..HISTORY).map(|n| self.time(|| path(&format!("/history/{n}"))).1).collect();
        self.finish(receipts.last().expect("there are some"));
    }
}

fn request(number: u64) -> Request<Empty<Bytes>> {
    let uri = format!("http://www.example.com/{}/{number}", number % GROUPS);
    Request::get(uri).body(Empty::new()).expect("a well-formed request")
}

fn path(path: &str) -> Invalidation {
    Invalidation::paths([path]).expect("a path")
}

fn tag(tag: &str) -> Invalidation {
    Invalidation::tags([tag]).expect("a tag")
}

/// SplitMix64: well mixed, and the same in every run.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Above the columns of [`Times`].
const HEAD: &str = "   median       99%     99.9%   longest";

/// Times, in order.
struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// In microseconds, what so many of a thousand stay within.
    fn permille(&self, permille: usize) -> f64 {
        self.0[(self.0.len() - 1) * permille / 1_000].as_nanos() as f64 / 1_000.0
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, rare, longest] = [500, 990, 999, 1_000].map(|permille| self.permille(permille));
        write!(f, "{median:>9.2} {most:>9.2} {rare:>9.2} {longest:>9.1}")
    }
}

type Kind = fn(u64) -> Invalidation;

/// The kinds of invalidation, none about anything stored.
const KINDS: [(&str, Kind); 7] = [
    ("path", |n| path(&format!("/absent/{n}"))),
    ("path, soft", |n| path(&format!("/absent/{n}")).soft()),
    ("URL", |n| Invalidation::url(&format!("https://absent.example/{n}")).expect("a URL")),
    ("wildcard", |n| path(&format!("/absent/{n}/*"))),
    ("tag", |n| tag(&format!("absent-{n}"))),
    ("tag, soft", |n| tag(&format!("absent-{n}")).soft()),
    ("100 paths, for each", |n| {
        Invalidation::paths((0..BATCH).map(|i| format!("/absent/{n}/{i}"))).expect("paths")
    }),
];
const BATCH: u64 = 100;
/// Calls of each kind in a turn, and turns.
const CALLS: u64 = 50;
const TURNS: u64 = 20;

/// How long a call takes until it is in force.
fn in_force(filled: &Filled) {
    println!("\nµs to be in force, {:<9} objects     {HEAD}", filled.objects);
    let calls = |kind: Kind, turn: u64| {
        let calls: Vec<_> = (0..CALLS).map(|n| filled.time(|| kind(turn * CALLS + n))).collect();
        filled.finish(&calls.last().expect("there are some").1);
        calls.into_iter().map(|(time, _)| time)
    };
    let print = |name: &str, times: Vec<Duration>| println!("{name:<40} {}", Times::new(times));
    print("path, nothing in the history", (0..TURNS / 2).flat_map(|turn| calls(KINDS[0].1, turn)).collect());
    filled.fill_history();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); KINDS.len()];
    for turn in 0..TURNS {
        for ((_, kind), times) in KINDS.iter().zip(&mut times) {
            times.extend(calls(*kind, turn));
        }
    }
    for ((name, _), mut times) in KINDS.iter().zip(times) {
        if name.starts_with("100") {
            times.iter_mut().for_each(|time| *time /= BATCH as u32);
        }
        print(name, times);
    }
}

/// What requests for stored objects took, and how many of them were not hits.
#[derive(Default)]
struct Served {
    times: Vec<Duration>,
    misses: u64,
}

/// Asks for stored objects in no order, one after the other, until told to stop.
fn serve(filled: &Filled, served: &mut Served, mut until: impl FnMut() -> ControlFlow<()>) {
    let mut site = filled.site();
    for number in 0.. {
        let request = request(mixed(number) % filled.objects);
        let start = Instant::now();
        let response = site.call(request).now_or_never();
        served.times.push(start.elapsed());
        let is_hit =
            |response: Response<_>| response.extensions().get::<Outcome>().is_some_and(Outcome::is_hit);
        served.misses += u64::from(!response.is_some_and(|Ok(response)| is_hit(response)));
        if until().is_break() {
            break;
        }
    }
}

fn for_so_long(time: Duration) -> impl FnMut() -> ControlFlow<()> {
    let start = Instant::now();
    move || if start.elapsed() < time { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

const RATE: u32 = 1_000;
const TURN: Duration = Duration::from_millis(500);

/// What a hit takes with nothing to invalidate, and with [`RATE`] paths, tags and wildcards a second.
fn under_load(filled: &Filled) {
    println!("\nµs a hit, {:<9} objects              {HEAD}", filled.objects);
    let (mut idle, mut busy) = (Served::default(), Served::default());
    let mut sent = 0;
    for _ in 0..TURNS {
        serve(filled, &mut idle, for_so_long(TURN));
        let last = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let start = Instant::now();
                (0..RATE * TURN.as_millis() as u32 / 1_000).fold(None, |_, n| {
                    let due = start + Duration::from_secs(1) / RATE * n;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    sent += 1;
                    Some(filled.time(|| KINDS[[0, 3, 4][n as usize % 3]].1(sent)).1)
                })
            });
            serve(filled, &mut busy, || match sender.is_finished() {
                false => ControlFlow::Continue(()),
                true => ControlFlow::Break(()),
            });
            sender.join().expect("no panic")
        });
        filled.finish(&last.expect("there is one"));
    }
    let misses = idle.misses + busy.misses;
    let (idle, busy) = (Times::new(idle.times), Times::new(busy.times));
    println!("{:<40} {idle}", "nothing pending");
    println!("{:<40} {busy}", format!("{RATE} invalidations a second"));
    println!("{:<40} {:>19.2}", "the one by the other", busy.permille(990) / idle.permille(990));
    println!("{misses} were not hits");
}

/// How long it takes until one invalidation has been applied to everything.
fn sweeps(filled: &Filled) {
    println!("\nms of a sweep, {:<9} objects             swept   cleared   µs the call", filled.objects);
    // The sweep rests as long as it took.
    std::thread::sleep(Duration::from_secs(2));
    let timed = |name: &str, what: Invalidation, with_hits: bool| {
        let start = Instant::now();
        let (call, receipt) = filled.time(|| what);
        let mut served = Served::default();
        if with_hits {
            serve(filled, &mut served, || match receipt.state() {
                InvalidationState::InProgress => ControlFlow::Continue(()),
                InvalidationState::Completed => ControlFlow::Break(()),
            });
        }
        filled.finish(&receipt);
        let took = start.elapsed();
        let call = call.as_nanos() as f64 / 1_000.0;
        println!("{name:<40} {:>9} {:>9} {call:>13.2}", took.as_millis(), receipt.objects());
        std::thread::sleep(took * 2);
    };
    timed("a path that is not stored", path("/absent"), false);
    timed("the same, with hits beside it", path("/absent"), true);
    timed("a tag", tag("tag-7"), false);
    timed("a wildcard", path("/1*"), false);
    timed("everything, soft", Invalidation::all().soft(), false);
    timed("everything", Invalidation::all(), false);
}

const STORM: u64 = 100_000;

/// Whether hits go on, and memory stays, while paths come as fast as they can.
fn storm(filled: &Filled) {
    println!("\nµs, {STORM} paths at once, {:<9} objects{HEAD}", filled.objects);
    let before = resident();
    let mut served = Served::default();
    let (calls, sent, swept, after) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let start = Instant::now();
            let mut calls = Vec::with_capacity(STORM as usize);
            let mut last = None;
            for n in 0..STORM {
                let (time, receipt) = filled.time(|| path(&format!("/storm/{n}")));
                calls.push(time);
                last = Some(receipt);
            }
            let (sent, after) = (start.elapsed(), resident());
            filled.finish(&last.expect("there is one"));
            (Times::new(calls), sent, start.elapsed(), after)
        });
        serve(filled, &mut served, || match sender.is_finished() {
            false => ControlFlow::Continue(()),
            true => ControlFlow::Break(()),
        });
        sender.join().expect("no panic")
    });
    println!("{:<40} {calls}", "a call");
    println!("{:<40} {}", "a hit meanwhile", Times::new(served.times));
    println!(
        "{} were not hits; sent in {} ms, swept after {} ms; {} MiB more resident when all were sent",
        served.misses,
        sent.as_millis(),
        swept.as_millis(),
        after.saturating_sub(before) >> 20,
    );
}

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    for objects in SIZES {
        let filled = Filled::new(objects);
        in_force(&filled);
        under_load(&filled);
        storm(&filled);
        sweeps(&filled);
    }
}
