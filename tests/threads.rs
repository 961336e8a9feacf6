//! Invariants 4 and 5 on real threads: readers, invalidations, writes and slow fills at once. What the manual clock and a
//! single thread cannot show.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_edge::{Edge, Invalidation, RequestBody, Tariff};

const PATHS: u64 = 4;
const READERS: u64 = 6;
const READS: u64 = 4_000;

/// What the origin would answer now, for each path, and what every reader must see at least.
#[derive(Default)]
struct Truth {
    current: [AtomicU64; PATHS as usize],
    floor: [AtomicU64; PATHS as usize],
}

/// A cheap source of numbers that differ from thread to thread.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn request(method: &str, path: u64) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(format!("/{path}")).header("host", "site.example");
    request.body(Full::default()).expect("a request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_sees_what_came_before_an_invalidation_or_a_write() {
    let truth = Arc::new(Truth::default());
    let answers = Arc::clone(&truth);
    let origin = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let truth = Arc::clone(&answers);
        async move {
            let at: usize = request.uri().path()[1..].parse().expect("a path of this test");
            if request.method() == "PUT" {
                truth.current[at].fetch_add(1, Ordering::SeqCst);
                return Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()));
            }
            let current = truth.current[at].load(Ordering::SeqCst);
            // Between what is read and what is answered everything else may happen.
            for _ in 0..current % 7 {
                tokio::task::yield_now().await;
            }
            let tag = format!("\"{current}\"");
            let conditional =
                request.headers().get("if-none-match").is_some_and(|value| value == tag.as_str());
            let mut response = Response::new(Full::<Bytes>::from(if conditional {
                String::new()
            } else {
                current.to_string()
            }));
            if conditional {
                *response.status_mut() = http::StatusCode::NOT_MODIFIED;
            }
            // Every other generation is stale at once, and so revalidated on each use.
            let control = if current.is_multiple_of(2) { "max-age=3600" } else { "max-age=0" };
            response.headers_mut().insert("cache-control", http::HeaderValue::from_static(control));
            response.headers_mut().insert("etag", tag.parse().expect("a tag"));
            Ok(response)
        }
    });
    let unlimited =
        Tariff { paths_in_progress: u64::MAX, wildcards_in_progress: u64::MAX, ..Tariff::default() };
    let edge = Edge::builder().capacity(1 << 20).tariff(unlimited).build().expect("an edge");
    let cache = edge.layer().layer(origin);

    let readers = (0..READERS).map(|reader| {
        let (truth, mut cache) = (Arc::clone(&truth), cache.clone());
        tokio::spawn(async move {
            let mut seed = 0x9E37_79B9_7F4A_7C15 ^ reader;
            for _ in 0..READS {
                let path = next(&mut seed) % PATHS;
                let floor = truth.floor[path as usize].load(Ordering::SeqCst);
                let response =
                    cache.ready().await.expect("ready").call(request("GET", path)).await.expect("an answer");
                let hit = response.headers()["cache-status"].clone();
                let body = response.into_body().collect().await.expect("a whole body").to_bytes();
                let seen: u64 = std::str::from_utf8(&body).expect("text").parse().expect("a generation");
                assert!(seen >= floor, "read {seen} of /{path} after {floor} was made good ({hit:?})");
            }
        })
    });
    let changers = (0..2u64).map(|changer| {
        let (truth, mut cache, invalidator) = (Arc::clone(&truth), cache.clone(), edge.invalidator());
        tokio::spawn(async move {
            let mut seed = 0xD1B5_4A32_D192_ED03 ^ changer;
            for turn in 0..READS / 4 {
                let path = next(&mut seed) % PATHS;
                let at = path as usize;
                let made = if turn % 2 == 0 {
                    let before = truth.current[at].load(Ordering::SeqCst);
                    cache.ready().await.expect("ready").call(request("PUT", path)).await.expect("written");
                    before + 1
                } else {
                    let made = truth.current[at].fetch_add(1, Ordering::SeqCst) + 1;
                    let scope = match turn % 3 {
                        0 => Invalidation::all(),
                        _ => Invalidation::paths([format!("/{path}")]).expect("a path"),
                    };
                    invalidator.invalidate(scope).expect("a limit high enough");
                    made
                };
                truth.floor[at].fetch_max(made, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        })
    });
    for done in join_all(readers.chain(changers).collect::<Vec<_>>()).await {
        done.expect("no reader saw the past");
    }
    // Everything that ran has ended, and nothing is held for it.
    let ended = async {
        while edge.stats().fills > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("every fill ends");
    assert_eq!(edge.stats().bytes_in_flight, 0);
    assert!(edge.stats().hits > 0);
}
