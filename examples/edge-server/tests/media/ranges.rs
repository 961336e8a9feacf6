//! What many tiny ranges of a large object cost the origin, beside nginx with its slice module.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;

use crate::client::Client;
use crate::processes::{Edge, Logged, Nginx};

const SIZE: u64 = 1 << 30;
const SLICE: u64 = 1 << 20;
const RANGES: u64 = 1_000;

/// nginx before nginx, as its documentation has it for slices, each with a log of its own.
const SLICED: &str = "
    proxy_cache_path @ROOT@/cache keys_zone=slices:10m max_size=2g;
    server {
        listen @ORIGIN@;
        root @ROOT@/files;
        access_log @ROOT@/sliced.log words;
    }
    server {
        listen @SLICED@;
        access_log off;
        location / {
            slice 1m;
            proxy_cache slices;
            proxy_cache_key $uri$is_args$args$slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_set_header Range $slice_range;
            proxy_http_version 1.1;
            proxy_pass http://@ORIGIN@;
        }
    }";

/// Scattered, and the same in every run.
fn offsets() -> impl Iterator<Item = u64> {
    (0..RANGES).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 34)
}

fn byte(offset: u64) -> u8 {
    (offset % 251) as u8 + 1
}

#[tokio::test]
#[ignore = "needs nginx: tests/all.sh runs it"]
async fn a_thousand_ranges_of_one_byte_cost_the_origin_a_slice_each_at_most() {
    let nginx = Nginx::with(SLICED, &["ORIGIN", "SLICED"]);
    // Nothing but those bytes is really there.
    let file = File::create(nginx.files().join("large.mp4")).unwrap();
    file.set_len(SIZE).unwrap();
    for offset in offsets() {
        file.write_all_at(&[byte(offset)], offset).unwrap();
    }
    let edge = Edge::before(nginx.address, &["--preset", "hls", "--slice", "1MiB", "--capacity", "1GiB"]);

    let slices = offsets().map(|offset| offset / SLICE).collect::<BTreeSet<_>>().len() as u64;
    println!("{RANGES} ranges of one byte in {slices} slices of a GiB:");
    for (name, address, log) in
        [("tower-edge", edge.address, "access.log"), ("nginx", nginx.place("SLICED"), "sliced.log")]
    {
        let sent = ask_for_each(address).await;
        let log = nginx.logged(log);
        let pulled: u64 = log.iter().map(|logged: &Logged| logged.bytes).sum();
        println!("  {name}: {pulled} bytes from the origin in {} requests, {sent} bytes sent", log.len());
        if name == "tower-edge" {
            assert_eq!(sent, RANGES);
            // Each slice once, and so at most one for each range.
            assert_eq!((log.len() as u64, pulled), (slices, slices * SLICE), "{log:?}");
        }
    }
}

/// Asks for the bytes one by one, and says how many came.
async fn ask_for_each(address: SocketAddr) -> u64 {
    let client = Client::new(address);
    let mut sent = 0;
    for offset in offsets() {
        let answer = client.get("/large.mp4", &[("range", &format!("bytes={offset}-{offset}"))]).await;
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.headers()["content-range"], format!("bytes {offset}-{offset}/{SIZE}"));
        assert_eq!(**answer.body(), [byte(offset)]);
        sent += answer.body().len() as u64;
    }
    sent
}
