//! How often a hit asks the allocator for memory. Alone in its process, since the allocator counts for all threads.

use std::alloc::System;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};
use tower_edge::{Edge, Outcome};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

async fn origin<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder()
        .header("cache-control", "max-age=60")
        .header("content-type", "text/html; charset=utf-8")
        .header("etag", "\"1\"")
        .header("vary", "accept-encoding");
    Ok(response.body(Full::from("rendered")).expect("well-formed fields"))
}

fn request(more: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = Request::get("/a/page?of=this")
        .header("host", "www.example.com")
        .header("accept-encoding", "gzip, br");
    let request = more.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::default()).expect("a request")
}

// One test: another beside it would be counted with it.
#[test]
fn a_hit_allocates_no_more_than_this() {
    let edge = Edge::builder().outcomes(true).build().expect("a configuration that works");
    let mut site = edge.layer().layer(service_fn(origin));
    let plain = Edge::builder().build().expect("a configuration that works");
    let mut plain = plain.layer().layer(service_fn(origin));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let Ok(response) = site.call(request(&[])).await;
        response.collect().await.expect("a whole body");
        let Ok(response) = plain.call(request(&[])).await;
        response.collect().await.expect("a whole body");
    });
    let first = {
        let request = request(&[]);
        let region = Region::new(ALLOCATOR);
        site.call(request).now_or_never().expect("a hit is ready at once").expect("a response");
        region.change()
    };
    let mut allocations = |tells: bool, request: fn() -> Request<Full<Bytes>>| {
        let site = if tells { &mut site } else { &mut plain };
        // The fields are kept as a map once they were asked for a few times in a second, and in each new second `Age` and
        // `Cache-Status` are spelled anew.
        let counted = [(); 12].map(|()| {
            let request = request();
            let region = Region::new(ALLOCATOR);
            let Some(Ok(response)) = site.call(request).now_or_never() else {
                panic!("a hit is ready at once")
            };
            let change = region.change();
            let outcome = response.extensions().get::<Outcome>();
            assert_eq!(outcome.map(Outcome::is_hit), tells.then_some(true));
            change.allocations + change.reallocations
        });
        counted.into_iter().min().expect("twelve")
    };

    // The fields, which are the viewer's to change, take two: their table and their values.
    assert_eq!(allocations(false, || request(&[])), 2, "GET");
    // The outcome takes one, and its place among the extensions two, unless the request brought one.
    let served = || {
        let mut request = request(&[]);
        request.extensions_mut().insert("what a server knows of the viewer");
        request
    };
    assert_eq!(allocations(true, served), 3, "GET, an outcome, by a server");
    assert_eq!(allocations(true, || request(&[])), 5, "GET, an outcome");
    // What is asked for seldom is unpacked, and its values are in an allocation of their own.
    assert_eq!(first.allocations + first.reallocations, 6, "GET, an outcome, for the first time");
    assert_eq!(allocations(false, || request(&[("if-none-match", "\"1\"")])), 2, "304");
    // More: the values of `Content-Range` and `Content-Length`, in one, and room for them in the table.
    assert_eq!(allocations(false, || request(&[("range", "bytes=0-2")])), 4, "range");
    assert_eq!(allocations(true, || request(&[("range", "bytes=0-2")])), 7, "range, an outcome");
}
