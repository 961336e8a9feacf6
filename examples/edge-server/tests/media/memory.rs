//! What a large object takes of memory on its way to many.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::processes::{Edge, Nginx};

const SIZE: u64 = 10 << 30;
const READERS: u64 = 50;
const CAPACITY: u64 = 256 << 20;
/// A machine on which 10 GiB take longer sees as much of them as comes by then.
const TIME: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nginx: tests/all.sh runs it"]
async fn what_fifty_readers_have_of_ten_gibibytes_takes_no_more_memory_than_the_beginning() {
    let nginx = Nginx::start();
    // It takes no room on the disk.
    File::create(nginx.files().join("large.mp4")).unwrap().set_len(SIZE).unwrap();
    let edge = Edge::before(nginx.address, &["--preset", "hls", "--slice", "1MiB", "--capacity", "256MiB"]);

    let (over, read) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut readers = JoinSet::new();
    // From 32 KiB to one and a half MiB a second.
    for number in 1..READERS {
        let rate = number << 15;
        readers.spawn(reader(edge.address, Some(rate), Arc::clone(&over), Arc::clone(&read)));
    }
    let start = Instant::now();
    let fastest = tokio::spawn(reader(edge.address, None, Arc::clone(&over), Arc::default()));
    let mut resident = Vec::new();
    while start.elapsed() < TIME && !fastest.is_finished() {
        sleep(Duration::from_millis(200)).await;
        resident.push(edge.resident() >> 20);
    }
    let took = start.elapsed();
    over.store(true, Ordering::Relaxed);
    let came = timeout(PATIENCE, fastest).await.expect("it reads on").unwrap();
    assert!(came >= 8 * CAPACITY, "{came} bytes are too few to say anything");
    let others = timeout(PATIENCE, readers.join_all()).await.expect("they read on");
    assert!(others.iter().all(|came| *came > 0));

    let (first, rest) = resident.split_at(resident.len() / 3);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    println!(
        "{:.1} of {} GiB to one reader and {} MiB to {} others, slower by far, in {took:.1?}; resident at most {} MiB in \
         the first third, {} MiB after that, with a capacity of {} MiB",
        came as f64 / (1 << 30) as f64,
        SIZE >> 30,
        read.load(Ordering::Relaxed) >> 20,
        READERS - 1,
        most(first),
        most(rest),
        CAPACITY >> 20,
    );
    assert!(most(&resident) < (2 * CAPACITY) >> 20, "{resident:?}");
    assert!(most(rest) <= most(first) + most(first) / 5, "{resident:?}");
}

/// Reads at so many bytes a second until it has all or it is over; says how many came.
async fn reader(address: SocketAddr, rate: Option<u64>, over: Arc<AtomicBool>, read: Arc<AtomicU64>) -> u64 {
    let mut body = Client::new(address).open("/large.mp4", &[]).await.into_body();
    let start = Instant::now();
    let mut came = 0;
    while !over.load(Ordering::Relaxed)
        && let Some(frame) = body.frame().await
    {
        let length = frame.unwrap().into_data().unwrap().len() as u64;
        came += length;
        read.fetch_add(length, Ordering::Relaxed);
        if let Some(rate) = rate {
            let due = Duration::from_millis(came * 1000 / rate);
            sleep(due.saturating_sub(start.elapsed()).min(Duration::from_secs(1))).await;
        }
    }
    came
}
