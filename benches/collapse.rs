//! What it takes to join many requests to one fill: `cargo bench --bench collapse`.
//!
//! All ask for the same object while the origin holds its answer back, and then all read it to its end. Without the layer
//! the origin answers each of them. Wants as much per joiner whatever their number, and one request to the origin.

mod support;

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower::{Layer, Service, service_fn};
use tower_edge::Edge;

use self::support::{KIB, Site, median, request};

const JOINERS: [usize; 3] = [10, 1_000, 10_000];
const TURNS: usize = 15;

fn main() {
    if support::is_only_a_test() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    println!(
        "µs a joiner, 64 KiB   without   through   origin's requests without, through   (medians of {TURNS} turns)"
    );
    let mut each = Vec::new();
    for joiners in JOINERS {
        let (mut without, mut through) = (Vec::new(), Vec::new());
        let (mut asked_without, mut asked_through) = (0, 0);
        for _ in 0..TURNS {
            let (time, asked) = runtime.block_on(together(joiners, false));
            without.push(time);
            asked_without = asked;
            let (time, asked) = runtime.block_on(together(joiners, true));
            through.push(time);
            asked_through = asked_through.max(asked);
        }
        let (without, through) = (median(without, joiners) / 1_000.0, median(through, joiners) / 1_000.0);
        each.push(through);
        println!("{joiners:<20} {without:>9.2} {through:>9.2} {asked_without:>22} {asked_through:>12}");
    }
    println!("{:.2} times as much per joiner at 10,000 as at 1,000", each[2] / each[1]);
}

/// How long so many requests take that all wait for the origin, and how often that is asked.
async fn together(joiners: usize, cached: bool) -> (Duration, u64) {
    let (asked, open) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
    let site = Site::new(64 * KIB);
    let counted = Arc::clone(&asked);
    let gate = Arc::clone(&open);
    let answer = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let (gate, mut site) = (Arc::clone(&gate), site.clone());
        async move {
            drop(gate.acquire().await);
            site.call(Request::new(())).await
        }
    };
    if cached {
        let edge = Edge::builder().build().expect("a configuration that works");
        let service = edge.layer().layer(service_fn(move |_| answer()));
        let time = timed(joiners, &open, |request| {
            let mut service = service.clone();
            async move { service.call(request).await }
        });
        (time.await, asked.load(Ordering::Relaxed))
    } else {
        let time = timed(joiners, &open, |_| answer());
        (time.await, asked.load(Ordering::Relaxed))
    }
}

async fn timed<F, B>(joiners: usize, open: &Semaphore, ask: impl Fn(Request<Full<Bytes>>) -> F) -> Duration
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let requests = vec![request(&Method::GET, &[]); joiners];
    let start = Instant::now();
    let read = requests.into_iter().map(|request| async {
        let Ok(response) = ask(request).await;
        black_box(response.into_body().collect().await.expect("a whole body").to_bytes()).len()
    });
    // Opened by the last in the queue: by then all have asked.
    let opens = async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        open.add_permits(joiners);
        0
    };
    let (read, _) = futures_util::future::join(join_all(read), opens).await;
    let time = start.elapsed();
    assert!(read.iter().all(|&length| length == 64 * KIB));
    time
}
