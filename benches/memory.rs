//! What a stored object takes beyond its own bytes, and whether that is what is accounted: `cargo bench --bench memory`.
//!
//! Bytes of the heap, as the allocator was asked for them, per object: before any of them was stored, after, and after each
//! was hit once. The head is a typical one. Beside it, what a `HashMap` of the same URLs, fields and bodies takes: `http`'s
//! map of the fields alone is some 110 bytes a field. Resident is what the process takes, which with glibc's allocator is more
//! than the heap, since what a fill needs for a moment leaves holes between what stays; `LD_PRELOAD` another to compare. Takes
//! some 5 GiB of memory; `-- --objects 100000` takes less. Linux only: it reads `/proc/self/status`.

mod support;

use std::alloc::System;
use std::collections::HashMap;
use std::hint::black_box;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::{Layer, Service};
use tower_edge::Edge;

use self::support::{KIB, MIB, Site, exchange, object};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const OBJECTS: u64 = 1_000_000;
/// No more than this is held at a time: of larger objects there are fewer.
const AT_MOST: u64 = 2_500 * MIB as u64;
const SIZES: [(&str, usize); 3] = [("100 B", 100), ("1 KiB", KIB), ("10 KiB", 10 * KIB)];
/// Beyond the bytes of body, fields and key.
const GOAL: f64 = 600.0;

fn main() {
    if support::is_only_a_test() {
        return;
    }
    let objects = std::env::args()
        .skip_while(|arg| arg != "--objects")
        .nth(1)
        .map_or(OBJECTS, |number| number.parse().expect("a number of objects"));
    println!(
        "bytes an object         objects     heap   own bytes   beyond    of a map  beside it  after a hit  accounted   resident"
    );
    for (name, size) in SIZES {
        measure(name, size, objects.min(AT_MOST / (size as u64 + 2 * KIB as u64)));
    }
    println!("at most {GOAL} beyond are wanted");
}

/// Bytes the allocator has given out.
fn heap() -> i64 {
    let stats = ALLOCATOR.stats();
    // What a reallocation grows by is counted among the allocated bytes.
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

fn measure(name: &str, size: usize, objects: u64) {
    let site = Site::new(size);
    // Body and fields as the origin sends them, and the URL.
    let head: usize = site.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let url = object(objects / 2).uri().to_string().len() + "http://www.example.com".len();
    let own = (size + head + url) as f64;
    let map = of_a_map(&site);
    let capacity = 256 * MIB as u64 + objects * (size as u64 + 4 * KIB as u64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (before, resident_before) = (heap(), resident());
    let edge = Edge::builder().capacity(capacity).build().expect("a configuration that works");
    let mut cached = edge.layer().layer(site);
    runtime.block_on(async {
        for number in 0..objects {
            let Ok(response) = cached.call(object(number)).await;
            let body: Bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
            black_box(body);
        }
    });
    let stats = edge.stats();
    assert_eq!(stats.objects, objects, "none was evicted");
    let each = |bytes: i64| bytes as f64 / objects as f64;
    let stored = each(heap() - before);
    for number in 0..objects {
        exchange(&mut cached, object(number));
    }
    let hit = each(heap() - before);
    let resident = (resident() - resident_before) as f64 / objects as f64;
    println!(
        "{name:<20} {objects:>10} {stored:>8.0} {own:>11.0} {:>8.0} {map:>11.0} {:>10.0} {hit:>12.0} {:>10.0} {resident:>10.0}",
        stored - own,
        stored - map,
        stats.bytes as f64 / objects as f64,
    );
}

/// The same for objects in a map, each with fields and a body of its own.
fn of_a_map(site: &Site) -> f64 {
    // Just before the map grows: what it has in reserve is then the least.
    const OBJECTS: usize = 14_000;
    let before = heap();
    let object = |number: usize| {
        let mut headers = site.headers.clone();
        for value in headers.values_mut() {
            *value = HeaderValue::from_bytes(value.as_bytes()).expect("a copy of a value");
        }
        let url = object(number as u64).uri().to_string();
        (format!("http://www.example.com{url}"), (headers, Bytes::copy_from_slice(&site.body)))
    };
    let map: HashMap<String, (HeaderMap, Bytes)> = (0..OBJECTS).map(object).collect();
    let bytes = heap() - before;
    drop(black_box(map));
    bytes as f64 / OBJECTS as f64
}

/// Bytes of the process that are in memory.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
    line.trim().trim_end_matches(" kB").parse::<i64>().expect("a number of kB") * 1024
}
