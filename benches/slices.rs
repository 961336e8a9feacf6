//! What objects in slices cost: the origin, for single bytes here and there; memory, for many readers of something much larger
//! than the edge.
//!
//! `cargo bench --bench slices`. `TOWER_EDGE_GIB` sets how much is streamed.

use std::alloc::System;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::{Layer, Service, ServiceExt};
use tower_edge::{Cache, CachePolicy, Edge, Slices};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const GIB: u64 = 1 << 30;
const FRAME: u64 = 64 * 1024;
const READERS: u32 = 50;

/// An origin of one object that is never held: its bytes follow from their place.
#[derive(Clone)]
struct Origin {
    length: u64,
    pattern: Bytes,
    asked: Arc<AtomicU64>,
    pulled: Arc<AtomicU64>,
}

impl Origin {
    fn new(length: u64) -> Self {
        let pattern = (0..2 * FRAME).map(|at| ((at % FRAME * 31) >> 3) as u8).collect::<Vec<_>>().into();
        Self { length, pattern, asked: Arc::default(), pulled: Arc::default() }
    }
}

struct Generated {
    origin: Origin,
    at: u64,
    end: u64,
}

impl http_body::Body for Generated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = FRAME.min(self.end - self.at);
        if length == 0 {
            return Poll::Ready(None);
        }
        let first = (self.at % FRAME) as usize;
        self.at += length;
        self.origin.pulled.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.origin.pattern.slice(first..first + length as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.end
    }
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Generated>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Generated>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder()
            .header("cache-control", "max-age=3600")
            .header("etag", "\"a\"")
            .header("accept-ranges", "bytes");
        let range = request
            .headers()
            .get("range")
            .map(|range| range.to_str().expect("text")["bytes=".len()..].to_owned());
        let (response, first, end) = match range.as_deref().and_then(|range| range.split_once('-')) {
            None => (response, 0, self.length),
            Some((first, last)) => {
                let (first, last): (u64, u64) =
                    (first.parse().expect("a number"), last.parse().expect("a number"));
                let end = self.length.min(last + 1);
                let range = format!("bytes {first}-{}/{}", end - 1, self.length);
                (response.status(206).header("content-range", range), first, end)
            }
        };
        let body = Generated { origin: self.clone(), at: first, end };
        std::future::ready(Ok(response
            .header("content-length", end - first)
            .body(body)
            .expect("valid fields")))
    }
}

fn edge(origin: &Origin, capacity: u64) -> (Edge, Cache<Origin>) {
    let policy = CachePolicy { slices: Some(Slices::default()), ..CachePolicy::default() };
    let edge = Edge::builder().capacity(capacity).policy(policy).build().expect("a policy that works");
    let cache = edge.layer().layer(origin.clone());
    (edge, cache)
}

fn get(range: Option<String>) -> Request<Empty<Bytes>> {
    let mut request = Request::get("http://site.example/film");
    if let Some(range) = range {
        request = request.header("range", range);
    }
    request.body(Empty::new()).expect("valid fields")
}

/// 1,000 single bytes, spread over a GiB.
async fn single_bytes() {
    let origin = Origin::new(GIB);
    let (_, cache) = edge(&origin, 2 * GIB);
    let mut sent = 0;
    for n in 0..1_000_u64 {
        let at = n * 7_919 * 1_048_573 % GIB;
        let response =
            cache.clone().oneshot(get(Some(format!("bytes={at}-{at}")))).await.expect("infallible");
        assert_eq!(response.status(), 206);
        sent += response.into_body().collect().await.expect("whole").to_bytes().len();
    }
    let (asked, pulled) = (origin.asked.load(Ordering::Relaxed), origin.pulled.load(Ordering::Relaxed));
    println!(
        "1,000 single bytes of 1 GiB: {asked} requests to the origin, {} MiB pulled, {sent} bytes sent",
        pulled >> 20
    );
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// MiB that the allocator has given out.
fn heap() -> u64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64 >> 20
}

/// Readers at different speeds, of something forty times as large as the edge.
async fn memory() {
    let gib = std::env::var("TOWER_EDGE_GIB").map_or(10, |text| text.parse().expect("a number"));
    let origin = Origin::new(gib * GIB);
    let (edge, cache) = edge(&origin, 256 << 20);
    let before = resident();
    let began = Instant::now();
    let read = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (cache, read) = (cache.clone(), Arc::clone(&read));
            tokio::spawn(async move {
                let response = cache.oneshot(get(None)).await.expect("infallible");
                let mut body = response.into_body();
                let (mut mine, mut rested) = (0_u64, 0);
                while let Some(frame) = body.frame().await {
                    mine += frame.expect("no error").into_data().expect("data").len() as u64;
                    // The first reads as fast as it can, the last a thousandth of that.
                    if mine >> 20 > rested {
                        rested = mine >> 20;
                        read.fetch_add(1 << 20, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(u64::from(reader * reader) / 4)).await;
                    }
                }
                mine
            })
        })
        .collect();
    // What is given out, resident, stored and in flight, at most in a second.
    let mut peaks: Vec<[u64; 4]> = Vec::new();
    // Until the fastest has all of it.
    while !readers[0].is_finished() {
        let (mut peak, second) = ([0; 4], Instant::now());
        while second.elapsed() < Duration::from_secs(1) && !readers[0].is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let stats = edge.stats();
            let now = [heap(), resident(), stats.bytes >> 20, stats.bytes_in_flight >> 20];
            peak = std::array::from_fn(|at| now[at].max(peak[at]));
        }
        peaks.push(peak);
    }
    println!(
        "{gib} GiB to {READERS} readers, an edge of 256 MiB: {:.1} GiB read and {:.1} GiB pulled in {:.1} s",
        read.load(Ordering::Relaxed) as f64 / GIB as f64,
        origin.pulled.load(Ordering::Relaxed) as f64 / GIB as f64,
        began.elapsed().as_secs_f64()
    );
    println!("  at most, second by second, in MiB ({before} resident before):");
    for (at, name) in ["given out", "resident", "stored", "in flight"].into_iter().enumerate() {
        let peaks: Vec<String> = peaks.iter().map(|peak| format!("{:>3}", peak[at])).collect();
        println!("  {name:>9} {}", peaks.join(" "));
    }
    readers.iter().for_each(|reader| reader.abort());
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        single_bytes().await;
        memory().await;
    });
}
