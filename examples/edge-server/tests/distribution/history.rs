//! Everything at once, and nobody gets what was cleared.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::readers::{Tally, read, read_once};
use crate::server::Keeps;
use crate::site::Site;
use crate::truth::{EDGES, PATHS};
use crate::{faults, operators};

const READERS: usize = 3;
const OPERATORS: u64 = 60;
/// Of those, so many wait until each is completed.
const PATIENT: u64 = 6;
const LONGEST: Duration = Duration::from_secs(900);

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect(variable))
}

/// Once a receipt says completed, no edge gives what was before, in a request that begins afterwards; and no edge does
/// that a receipt names as having applied it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server and root, and takes two minutes"]
async fn nobody_gets_what_a_receipt_says_is_cleared_whatever_happens() {
    let (seed, enough) = (number("TOWER_EDGE_SEED", 1), number("TOWER_EDGE_INVALIDATIONS", 10_000));
    println!("TOWER_EDGE_SEED={seed} TOWER_EDGE_INVALIDATIONS={enough}");
    let flags: &[&str] = &["--without-contact", "revalidate:3s"];
    let site = Site::apart(Keeps::All, [flags; EDGES]).await;
    let tally = Tally::default();
    let started = Instant::now();
    let clearing = async {
        let operators = (0..OPERATORS)
            .map(|at| operators::operate(&site, &tally, seed * 1_000 + at, at < PATIENT, enough));
        join_all(operators).await;
        tally.over.store(true, Ordering::SeqCst);
    };
    let stopping = async {
        // What must not be has been seen: there is nothing to wait for.
        while !tally.is_over() && tally.wrong.lock().unwrap().len() < 10 && started.elapsed() < LONGEST {
            sleep(Duration::from_millis(50)).await;
        }
        tally.over.store(true, Ordering::SeqCst);
    };
    let viewers = (0..EDGES * READERS).map(|at| read(&site, &tally, at % EDGES, seed * 2_000 + at as u64));
    let everything = async {
        tokio::join!(clearing, stopping, join_all(viewers), faults::happen(&site, &tally, seed));
    };
    timeout(LONGEST + Duration::from_secs(120), everything).await.expect("everybody ends");

    // Everybody has contact again: what the log has taken is in force on every edge, and nothing of it is lost.
    site.in_contact().await;
    let taken = site.truth.taken();
    for edge in 0..EDGES {
        site.truth.hold(edge, &taken);
        for path in 0..PATHS {
            read_once(&site, &tally, edge, path).await;
        }
        println!("{}: {}", site.edges[edge].name, site.state(edge).await);
    }
    println!("{:.0?}: {tally:#?}", started.elapsed());
    let total = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert!(tally.wrong.lock().unwrap().is_empty(), "seed {seed}: {:#?}", tally.wrong);
    // It saw something.
    assert!(total(&tally.taken) >= enough, "{} invalidations", total(&tally.taken));
    assert!(total(&tally.hits) > enough, "{} hits", total(&tally.hits));
    assert!(total(&tally.completed) > enough / 100, "{} completed", total(&tally.completed));
    assert!(total(&tally.acknowledged) > enough / 100, "{} acknowledged", total(&tally.acknowledged));
    assert!(total(&tally.silent) > 0, "no receipt named a silent edge");
}
