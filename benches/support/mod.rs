//! What the benchmarks share: a site whose answers lie ready, requests for it, and turns taken between two services so
//! that whatever else the machine does falls on both alike.

// Each benchmark uses some of it.
#![allow(dead_code, reason = "compiled into every benchmark")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service};
use tower_edge::{Cache, Edge};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
/// Of the first object.
pub(crate) const PATH: &str = "/articles/2023/11/0.html?edition=2";
pub(crate) const ETAG: &str = "\"65488a00-10000\"";

/// A service whose answer lies ready, the same for every path: what a hit is compared with.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Site {
    /// With six fields, and those that say where it ends and when it was.
    pub(crate) fn new(length: usize) -> Self {
        let headers = fields(&[
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", &length.to_string()),
            ("date", &httpdate::fmt_http_date(SystemTime::now())),
            ("last-modified", "Mon, 06 Nov 2023 07:00:00 GMT"),
            ("etag", ETAG),
            ("cache-control", "public, max-age=86400"),
            ("vary", "accept-encoding"),
            ("x-content-type-options", "nosniff"),
        ]);
        Self { headers, body: Bytes::from(vec![b'x'; length]) }
    }

    /// With so many fields in all.
    pub(crate) fn with_fields(mut self, number: usize) -> Self {
        for n in self.headers.len()..number {
            let name = HeaderName::try_from(format!("x-field-{n}")).expect("a name");
            self.headers.insert(name, HeaderValue::from_static("a value of ordinary length"));
        }
        self
    }

    /// With another `Vary`, or none.
    pub(crate) fn varying_by(mut self, vary: &'static str) -> Self {
        self.headers.remove("vary");
        if !vary.is_empty() {
            self.headers.insert("vary", HeaderValue::from_static(vary));
        }
        self
    }
}

impl<B> Service<Request<B>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        ready(Ok(response))
    }
}

/// A site behind an edge that already holds so many of its objects.
pub(crate) fn cached(site: Site, objects: u64) -> Cache<Site> {
    let room = 256 * MIB + objects as usize * (site.body.len() + 4 * KIB);
    let edge = Edge::builder().capacity(room as u64).build().expect("the default configuration works");
    let mut site = edge.layer().layer(site);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        for number in 0..objects {
            let Ok(response) = site.call(object(number)).await;
            assert_eq!(response.headers()["cache-status"], "tower-edge; fwd=uri-miss; stored");
            response.collect().await.expect("a whole body");
        }
    });
    assert_eq!(edge.stats().objects, objects);
    // From here on there is no runtime, and a hit needs none.
    let Some(Ok(response)) = site.call(request(&Method::GET, &[])).now_or_never() else {
        panic!("a hit is ready at once")
    };
    assert!(response.headers()["cache-status"].as_bytes().starts_with(b"tower-edge; hit"));
    site
}

pub(crate) fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |&(name, value): &(&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    lines.iter().map(|pair| line(pair).expect("a well-formed field")).collect()
}

/// A request for the first object, as a browser sends it, with fields of its own.
pub(crate) fn request(method: &Method, more: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method.clone();
    *request.uri_mut() = PATH.parse().expect("a target");
    *request.headers_mut() = fields(&[
        ("host", "www.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("referer", "http://www.example.com/articles/"),
        ("cookie", "consent=1"),
        ("sec-fetch-mode", "navigate"),
    ]);
    request.headers_mut().extend(fields(more));
    request
}

/// A GET of one of many objects.
pub(crate) fn object(number: u64) -> Request<Full<Bytes>> {
    let mut request = request(&Method::GET, &[]);
    *request.uri_mut() = format!("/articles/2023/11/{number}.html?edition=2").parse().expect("a target");
    request
}

/// Calls the service, which answers at once, and reads the answer to its end. Returns the bytes read.
pub(crate) fn exchange<S, Q, B>(service: &mut S, request: Request<Q>) -> usize
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let Some(Ok(response)) = service.call(request).now_or_never() else { panic!("an answer at once") };
    let (parts, body) = response.into_parts();
    black_box(&parts);
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = 0;
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        let Ok(frame) = frame else { panic!("a whole body") };
        // As a server does who writes it.
        black_box(frame.data_ref().and_then(|data| data.first().copied()));
        read += black_box(&frame).data_ref().map_or(0, Bytes::len);
    }
    read
}

/// Requests a turn.
pub(crate) const TURN: usize = 32;

/// What a turn of exchanges takes.
pub(crate) fn turn<S, Q, B>(service: &mut S, requests: Vec<Request<Q>>) -> Duration
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let start = Instant::now();
    for request in requests {
        black_box(exchange(service, request));
    }
    start.elapsed()
}

/// The median, in nanoseconds, of what one of `each` exchanges took.
pub(crate) fn median(mut turns: Vec<Duration>, each: usize) -> f64 {
    turns.sort_unstable();
    turns[turns.len() / 2].as_nanos() as f64 / each as f64
}

/// SplitMix64: well mixed, and the same in every run.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Whether the benchmark is only asked whether it starts, as `cargo test --benches` does.
pub(crate) fn is_only_a_test() -> bool {
    std::env::args().any(|arg| arg == "--test" || arg == "--list")
}
