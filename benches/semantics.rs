//! What the rules take to read and to decide, each by itself: `cargo bench --bench semantics`.
//!
//! A hit runs few of them: what the answer says was read when it was stored. The floor is the cloning of the fields that
//! they read.

mod support;

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{ETAG, LAST_MODIFIED, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tower_edge::semantics::directives::{RequestCacheControl, ResponseCacheControl};
use tower_edge::semantics::freshness::parse_date;
use tower_edge::semantics::vary::Vary;
use tower_edge::semantics::{headers, preconditions, range};

use self::support::{KIB, Site, fields, request};

const RICH: &str = "public, max-age=600, s-maxage=3600, stale-while-revalidate=60, stale-if-error=86400, no-cache=\"set-cookie\"";

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let head = Site::new(KIB).headers;
    let rich = fields(&[("cache-control", RICH)]);
    let asks = fields(&[("cache-control", "no-cache, max-age=0"), ("pragma", "no-cache")]);
    let date = HeaderValue::from_static("Mon, 06 Nov 2023 07:00:00 GMT");
    group.bench_function("nothing: fields cloned", |bencher| bencher.iter(|| black_box(&head).clone()));
    group.bench_function("Cache-Control of a response", |bencher| {
        bencher.iter(|| ResponseCacheControl::parse(black_box(&head)));
    });
    group.bench_function("Cache-Control of a response, six directives", |bencher| {
        bencher.iter(|| ResponseCacheControl::parse(black_box(&rich)));
    });
    group.bench_function("Cache-Control of a request", |bencher| {
        bencher.iter(|| RequestCacheControl::parse(black_box(&asks)));
    });
    group.bench_function("a date", |bencher| bencher.iter(|| parse_date(black_box(&date))));
    let sent = request(&Method::GET, &[]).headers().clone();
    let varies: HeaderMap =
        [(VARY, HeaderValue::from_static("accept-encoding, accept-language"))].into_iter().collect();
    group.bench_function("Vary, and what the request had", |bencher| {
        bencher.iter(|| Vary::new(black_box(&varies), black_box(&sent), Default::default()));
    });
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let head = Site::new(64 * KIB).headers;
    let sent = |more: &[(&str, &str)]| request(&Method::GET, more).headers().clone();
    let plain = sent(&[]);
    let varies: HeaderMap =
        [(VARY, HeaderValue::from_static("accept-encoding, accept-language"))].into_iter().collect();
    let vary = Vary::new(&varies, &plain, Default::default()).expect("a Vary that says something");
    group.bench_function("Vary, spelt alike", |bencher| bencher.iter(|| vary.matches(black_box(&plain))));
    let respelt = {
        let mut headers = plain.clone();
        headers.insert("accept-encoding", HeaderValue::from_static("br, gzip,deflate"));
        headers
    };
    group.bench_function("Vary, spelt another way", |bencher| {
        bencher.iter(|| vary.matches(black_box(&respelt)))
    });
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let etag = head.get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    for (name, condition) in [
        ("If-None-Match", ("if-none-match", etag.as_str())),
        (
            "If-None-Match, ten others before",
            ("if-none-match", &format!("{}{etag}", "\"another\", ".repeat(10))),
        ),
        ("If-Modified-Since", ("if-modified-since", head[LAST_MODIFIED].to_str().unwrap_or_default())),
    ] {
        let sent = sent(&[condition]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| preconditions::evaluate(black_box(&sent), StatusCode::OK, &head, received));
        });
    }
    for (name, ranges) in [("one range", "bytes=0-1023"), ("four ranges", "bytes=0-9,20-29,40-49,-10")] {
        let sent = sent(&[("range", ranges)]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| range::select(black_box(&sent), &head, 65_536, 16));
        });
    }
    let nominates = sent(&[("connection", "keep-alive, x-one, x-two"), ("x-one", "1"), ("x-two", "2")]);
    group.bench_function("hop-by-hop fields, and a clone", |bencher| {
        bencher.iter(|| {
            let mut sent = black_box(&nominates).clone();
            headers::strip_hop_by_hop(&mut sent);
            sent
        });
    });
    group.finish();
}

criterion_group!(benches, parse, decide);
criterion_main!(benches);
