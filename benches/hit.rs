//! What a hit costs beside the same service without the layer: `cargo bench --bench hit`.
//!
//! Both answer with the same head and the same bytes, in process, and both bodies are read to their end. Criterion
//! measures each by itself; the table at the end comes from turns taken between them, so that whatever else the machine
//! does falls on both alike (`-- --turns` prints it alone). The bodies are shared, not copied, so their length should
//! make no difference.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service};
use tower_edge::{Cache, Edge, Outcome};

const KIB: usize = 1024;
const SIZES: [(&str, usize); 2] = [("1 KiB", KIB), ("64 KiB", 64 * KIB)];

/// A service whose answer lies ready: what a hit is compared with.
#[derive(Clone)]
struct Site {
    headers: HeaderMap,
    body: Bytes,
}

impl Site {
    fn new(length: usize) -> Self {
        let headers = fields(&[
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", &length.to_string()),
            ("date", &httpdate::fmt_http_date(SystemTime::now())),
            ("last-modified", "Mon, 06 Nov 2023 07:00:00 GMT"),
            ("etag", "\"65488a00-10000\""),
            ("cache-control", "public, max-age=86400"),
            ("vary", "accept-encoding"),
            ("x-content-type-options", "nosniff"),
        ]);
        Self { headers, body: Bytes::from(vec![b'x'; length]) }
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

/// The site behind an edge that already holds its page.
fn cached(length: usize) -> Cache<Site> {
    let edge = Edge::builder().build().expect("the default configuration works");
    let mut site = edge.layer().layer(Site::new(length));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let Ok(response) = site.call(request(&Method::GET, &[])).await;
        assert!(response.extensions().get::<Outcome>().is_some_and(|outcome| outcome.stored));
        http_body_util::BodyExt::collect(response).await.expect("a whole body");
    });
    // From here on there is no runtime, and a hit needs none.
    let Some(Ok(response)) = site.call(request(&Method::GET, &[])).now_or_never() else {
        panic!("a hit is ready at once")
    };
    assert!(response.extensions().get::<Outcome>().is_some_and(Outcome::is_hit));
    site
}

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |&(name, value): &(&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    lines.iter().map(|pair| line(pair).expect("a well-formed field")).collect()
}

fn request(method: &Method, more: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method.clone();
    *request.uri_mut() = "/articles/2023/11/a-page.html?edition=2".parse().expect("a target");
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

/// Calls the service and reads the answer to its end. Returns the bytes read.
fn exchange<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
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
        read += black_box(&frame).data_ref().map_or(0, Bytes::len);
    }
    read
}

fn by_criterion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    for (name, length) in SIZES {
        let request = request(&Method::GET, &[]);
        let (mut bare, mut layered) = (Site::new(length), cached(length));
        group.bench_function(BenchmarkId::new("without the layer", name), |bencher| {
            bencher.iter_batched(|| request.clone(), |r| exchange(&mut bare, r), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("through the layer", name), |bencher| {
            bencher.iter_batched(|| request.clone(), |r| exchange(&mut layered, r), BatchSize::SmallInput);
        });
    }
}

/// Requests a turn, and turns each of the two gets.
const TURN: usize = 32;
const TURNS: usize = 20_000;

/// The median over many turns of what one exchange takes without the layer and through it, in nanoseconds.
fn in_turns(length: usize, request: &Request<Full<Bytes>>) -> (f64, f64) {
    let (mut bare, mut layered) = (Site::new(length), cached(length));
    let (mut without, mut through) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(turn(&mut bare, request));
        through.push(turn(&mut layered, request));
    }
    (median(without), median(through))
}

fn turn<S, B>(service: &mut S, request: &Request<Full<Bytes>>) -> Duration
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let requests = vec![request.clone(); TURN];
    let start = Instant::now();
    for request in requests {
        black_box(exchange(service, request));
    }
    start.elapsed()
}

fn median(mut turns: Vec<Duration>) -> f64 {
    turns.sort_unstable();
    turns[turns.len() / 2].as_nanos() as f64 / TURN as f64
}

fn side_by_side() {
    println!(
        "\nns an exchange            without   through     added   (medians of {TURNS} turns of {TURN})"
    );
    let get = request(&Method::GET, &[]);
    for (name, length) in SIZES {
        row(&format!("GET, {name}"), in_turns(length, &get));
    }
    // The service without the layer knows nothing of these and answers in full, which costs it the same.
    let etag = request(&Method::GET, &[("if-none-match", "\"65488a00-10000\"")]);
    row("304, 64 KiB", in_turns(64 * KIB, &etag));
    row("HEAD, 64 KiB", in_turns(64 * KIB, &request(&Method::HEAD, &[])));
    row("range of 1 KiB of 64 KiB", in_turns(64 * KIB, &request(&Method::GET, &[("range", "bytes=0-1023")])));
}

fn row(name: &str, (without, through): (f64, f64)) {
    println!("{name:<25} {without:>7.0}   {through:>7.0}   {:>7.0}", through - without);
}

criterion_group!(benches, by_criterion);

fn main() {
    let mut args = std::env::args();
    if !args.any(|arg| arg == "--turns") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
    if !std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        side_by_side();
    }
}
