//! Whether memory stays near the capacity while far more than it goes through: `cargo bench --bench churn`.
//!
//! First small objects, where heads and keys weigh most, then sizes from 100 B to 4 MiB, the small ones the most
//! frequent. Each is fetched once; bodies are slices of 16 KiB read buffers, as a connection hands them over. Prints
//! what the store says it holds beside what the system says the process has resident. Linux only: it reads
//! `/proc/self/status`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_edge::Edge;

const MIB: u64 = 1024 * 1024;
const CAPACITY: u64 = 256 * MIB;
const READ_BUFFER: usize = 16 * 1024;
/// Viewers who fetch at the same time.
const VIEWERS: u64 = 8;
const SMALLEST: f64 = 100.0;
/// What goes through, in bytes, and how long the longest object of it is.
const PHASES: [(u64, u64); 2] = [(512 * MIB, 4096), (4096 * MIB, 4 * MIB)];

/// A body of so many bytes, in slices of read buffers: what comes with a head, or belongs to the next response, leaves
/// each slice shorter than its buffer.
struct Reads {
    frames: VecDeque<Bytes>,
}

impl Reads {
    fn new(length: usize) -> Self {
        let mut frames = VecDeque::new();
        let mut left = length;
        while left > 0 {
            let taken = left.min(READ_BUFFER - 300);
            let mut buffer = BytesMut::with_capacity(READ_BUFFER);
            buffer.resize(300 + taken, b'x');
            frames.push_back(buffer.split_off(300).freeze());
            left -= taken;
        }
        Self { frames }
    }
}

impl Body for Reads {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(frame))))
    }
}

/// The length of an object: evenly spread over the orders of magnitude.
fn length(number: u64, largest: u64) -> usize {
    // SplitMix64: well mixed, and the same in every run.
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let unit = (mixed >> 11) as f64 / (1u64 << 53) as f64;
    (SMALLEST * (largest as f64 / SMALLEST).powf(unit)) as usize
}

/// Answers `/length/number`.
async fn origin<B>(request: Request<B>) -> Result<Response<Reads>, Infallible> {
    let length = request.uri().path().split('/').nth(1).and_then(|length| length.parse().ok());
    let length: usize = length.expect("the path begins with a length");
    let response = Response::builder()
        .header("content-type", "application/octet-stream")
        .header("content-length", length)
        .header("cache-control", "max-age=86400")
        .header("etag", format!("\"{length:x}\""))
        .header("last-modified", "Mon, 06 Nov 2023 07:00:00 GMT")
        .header("x-content-type-options", "nosniff");
    Ok(response.body(Reads::new(length)).expect("well-formed fields"))
}

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let edge = Edge::builder().capacity(CAPACITY).build().expect("a configuration that works");
    println!("capacity {} MiB", CAPACITY / MIB);
    println!("largest object   churned MiB   objects   accounted MiB   resident MiB   resident/capacity");
    let mut number = 0;
    for (total, largest) in PHASES {
        let (mut churned, mut reported) = (0, 0);
        while churned < total {
            let fetched = (number..number + VIEWERS).map(|number| {
                let path = format!("{}/{number}", length(number, largest));
                tokio::spawn(fetch(edge.clone(), path))
            });
            for read in fetched.collect::<Vec<_>>() {
                churned += read.await.expect("no viewer panics");
            }
            number += VIEWERS;
            if churned >= reported + total / 4 {
                reported += total / 4;
                report(&edge, largest, churned);
            }
        }
    }
}

/// Reads one object to its end. Returns its length.
async fn fetch(edge: Edge, path: String) -> u64 {
    let uri = format!("http://www.example.com/{path}");
    let request = Request::get(uri).body(Empty::<Bytes>::new()).expect("a well-formed request");
    let Ok(response) = edge.layer().layer(service_fn(origin)).oneshot(request).await;
    let mut body = pin!(response.into_body());
    let mut read = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        read += frame.expect("a whole body").data_ref().map_or(0, Bytes::len) as u64;
    }
    read
}

fn report(edge: &Edge, largest: u64, churned: u64) {
    let (stats, resident) = (edge.stats(), resident());
    println!(
        "{:>10} KiB   {:>11}   {:>7}   {:>13}   {:>12}   {:>17.2}",
        largest / 1024,
        churned / MIB,
        stats.objects,
        stats.bytes / MIB,
        resident / MIB,
        resident as f64 / CAPACITY as f64
    );
}
