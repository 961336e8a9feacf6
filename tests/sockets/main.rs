//! Invariants 3 and 4 on real threads and over real sockets: an edge served by hyper, in front of an origin served by hyper;
//! readers, writers and an operator all at once. What virtual time and a single thread cannot show.
//!
//! `TOWER_EDGE_SECONDS` sets how long it takes.

mod chance;
mod origin;
mod viewers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::Layer;
use tower_edge::{Cache, Edge, EdgeBuilder, Tariff};

use self::origin::{Truth, Upstream, serve};
use self::viewers::{Tally, Viewer};

const READERS: u64 = 16;
const WRITERS: u64 = 2;

fn edge() -> EdgeBuilder {
    let unlimited =
        Tariff { paths_in_progress: u64::MAX, wildcards_in_progress: u64::MAX, ..Tariff::default() };
    Edge::builder().outcomes(true).capacity(4 << 20).tariff(unlimited)
}

/// Serves the edge on a socket.
async fn serve_edge(cache: Cache<Upstream>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(cache.clone());
            // A connection that its viewer leaves ends with an error.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Everyone at once for this long, or until somebody sees what must not be seen: that is the error.
async fn run(edge: &Edge, time: Duration) -> Result<Arc<Tally>, String> {
    let truth = Arc::new(Truth::default());
    let origin = serve(Arc::clone(&truth)).await;
    let address = serve_edge(edge.layer().layer(Upstream::to(origin))).await;
    let viewer = Viewer::of(address, &truth);
    let readers = (0..READERS).map(|seed| tokio::spawn(viewer.clone().read(seed)));
    let writers = (0..WRITERS).map(|seed| tokio::spawn(viewer.clone().write(100 + seed)));
    let operator = tokio::spawn(viewer.clone().invalidate(edge.invalidator(), 200));
    let all: Vec<_> = readers.chain(writers).chain([operator]).collect();
    let stops: Vec<_> = all.iter().map(tokio::task::JoinHandle::abort_handle).collect();
    let first = tokio::time::timeout(time, select_all(all)).await;
    stops.iter().for_each(tokio::task::AbortHandle::abort);
    match first {
        Ok((ended, ..)) => Err(ended.unwrap_or_else(|panic| panic.to_string())),
        Err(_) => Ok(viewer.tally),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_sees_what_came_before_an_invalidation_or_a_write() {
    let seconds = std::env::var("TOWER_EDGE_SECONDS").ok();
    let seconds = seconds.map_or(1, |value| value.parse().expect("TOWER_EDGE_SECONDS is a number"));
    let edge = edge().build().expect("an edge");
    let tally = run(&edge, Duration::from_secs(seconds)).await.unwrap_or_else(|why| panic!("{why}"));
    println!("{seconds} s: {tally:?}");
    // As far as a second shows each of them on any machine.
    for (what, times) in [
        ("hits", &tally.hits),
        ("stale", &tally.stale),
        ("joined", &tally.joined),
        ("revalidated", &tally.revalidated),
        ("misses", &tally.misses),
        ("written", &tally.written),
        ("invalidated", &tally.invalidated),
    ] {
        let times = AtomicU64::load(times, Ordering::Relaxed);
        assert!(times >= seconds, "{what}: {times} times only");
    }
    // Everyone has left, and nothing is held for them.
    let ended = async {
        while edge.stats().fills > 0 || edge.stats().bytes_in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("every fill ends");
}

/// The test can fail: without one of the log's checks somebody sees the past.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_left_out_is_found() {
    for check in [tower_edge::Check::Lookup, tower_edge::Check::Publish, tower_edge::Check::Join] {
        let edge = edge().leave_out(check).build().expect("an edge");
        let started = std::time::Instant::now();
        match run(&edge, Duration::from_secs(30)).await {
            Ok(tally) => panic!("blind without {check:?}: {tally:?}"),
            Err(why) => println!("without {check:?}, after {:?}: {why}", started.elapsed()),
        }
    }
}
