//! The cache never makes it worse: trouble inside it, or at the origin, leaves viewers no worse off than without it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Request;
use tokio::time::sleep;
use tower::{Layer, Service};
use tower_edge::{CachePolicy, Detail, Outcome, Slices};

use crate::support::services::{Gate, Strict, poll_times};
use crate::support::{
    Origin, OriginDown, OriginResult, Reply, RequestBody, World, feed, get, read, request, response, settle,
    streamed,
};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];

async fn outcome(world: &World, request: Request<RequestBody>) -> Result<Reply, OriginDown> {
    match world.send(request).await {
        Ok(response) => Ok(read(response).await.unwrap()),
        Err(error) => Err(error),
    }
}

/// Runs what needs no runtime.
fn without_runtime<T>(future: impl Future<Output = T>) -> T {
    assert!(tokio::runtime::Handle::try_current().is_err());
    future.now_or_never().expect("the origin answers at once")
}

#[tokio::test(start_paused = true)]
async fn a_hit_does_not_wait_for_an_origin_that_is_busy() {
    let world = World::new(Origin::numbered(MINUTE));
    world.get("/a").await;
    let gate = Gate::default();
    gate.close();
    let mut cache = world.edge.layer().layer(Strict::new(world.origin.clone(), &gate, 0));
    assert!(
        futures_util::poll!(std::future::poll_fn(|cx| Service::<Request<RequestBody>>::poll_ready(
            &mut cache, cx
        )))
        .is_ready()
    );
    let hit = cache.call(get("/a")).now_or_never().expect("a hit is there at once").unwrap();
    assert_eq!(read(hit).await.unwrap().text(), "answer 0");
    let mut miss = Box::pin(cache.call(get("/b")));
    assert!(poll_times(&mut miss, 10).await.is_none());
    assert!(cache.call(get("/a")).now_or_never().is_some());
    gate.open();
    assert_eq!(read(miss.await.unwrap()).await.unwrap().text(), "answer 1");
}

#[tokio::test(start_paused = true)]
async fn the_origins_error_is_the_leaders_own() {
    let world = World::new(Origin::new(|_| async { Err(OriginDown) }));
    for request in
        [get("/a"), request("HEAD", "/a", &[]), request("PUT", "/a", &[]), request("OPTIONS", "/a", &[])]
    {
        let error: OriginDown = world.send(request).await.unwrap_err();
        assert_eq!(error, OriginDown);
    }
    assert_eq!(world.edge.stats().fills, 0);
}

#[tokio::test(start_paused = true)]
async fn each_request_that_the_origin_fails_is_counted_once() {
    let sliced = CachePolicy { slices: Some(Slices::of(4096)), ..CachePolicy::default() };
    for policy in [CachePolicy::default(), sliced] {
        let world = World::with_policy(Origin::new(|_| async { Err(OriginDown) }), policy);
        for (method, fields, misses, passed) in [
            ("GET", &[][..], 1, 0),
            ("GET", &[("range", "bytes=0-0")], 1, 0),
            ("GET", &[("authorization", "me")], 1, 0),
            ("GET", &[("cache-control", "no-store")], 1, 0),
            ("HEAD", &[], 1, 0),
            ("GET", &[("if-match", "\"v\"")], 0, 1),
            ("GET", &[("connection", "upgrade"), ("upgrade", "websocket")], 0, 1),
            ("PUT", &[], 0, 1),
            ("OPTIONS", &[], 0, 1),
        ] {
            let before = world.edge.stats();
            world.send(request(method, "/a", fields)).await.unwrap_err();
            let stats = world.edge.stats();
            let more = (stats.misses - before.misses, stats.passed - before.passed);
            assert_eq!(more, (misses, passed), "{method} {fields:?}");
            assert_eq!(stats.requests, before.requests + 1, "{method} {fields:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_a_failed_leader_try_a_few_times_in_turn() {
    for good_from in [1, 2, 3, 4] {
        let world = World::new(Origin::new(move |seen| async move {
            sleep(Duration::from_millis(100)).await;
            if seen.number < good_from { Err(OriginDown) } else { Ok(response(200, MINUTE, "body")) }
        }));
        let answers = join_all((0..100).map(|_| outcome(&world, get("/a")))).await;
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(failed, good_from);
        let status = if good_from < 4 { 200 } else { 502 };
        assert!(answers.iter().flatten().all(|reply| reply.status == status), "{good_from}");
        assert_eq!(world.origin.asked(), 4.min(good_from + 1));
        // The next request begins anew.
        assert_eq!(world.get("/a").await.text(), "body");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_answer_is_not_shared_and_everyone_asks_at_once() {
    let world = World::new(Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        Ok(response(503, &[], format!("answer {}", seen.number)))
    }));
    let start = tokio::time::Instant::now();
    let replies = join_all((0..100).map(|_| world.get("/a"))).await;
    assert!(start.elapsed() < Duration::from_millis(2_100));
    assert!(replies.iter().all(|reply| reply.status == 503 && reply.text().starts_with("answer ")));
}

#[test]
fn without_a_runtime_requests_are_forwarded() {
    let world = World::new(Origin::numbered(MINUTE));
    assert_eq!(without_runtime(world.get("/a")).text(), "answer 0");
    assert_eq!(without_runtime(world.get("/a")).text(), "answer 1");
    assert_eq!(without_runtime(world.ask(request("HEAD", "/a", &[]))).status, 200);
    assert_eq!(without_runtime(world.ask(request("PUT", "/a", &[]))).status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(world.get("/a")).text(), "answer 4");
    assert!(without_runtime(world.get("/a")).is_hit());
    let refresh = world.get_with("/a", &[("cache-control", "no-cache")]);
    assert_eq!(without_runtime(refresh).text(), "answer 5");
}

#[test]
fn without_a_runtime_nobody_joins_a_fill_of_one() {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let world = World::new(Origin::new(move |_| {
        let body = body.lock().unwrap().take();
        async move { Ok(body.map_or_else(|| response(200, &[], "own"), |body| streamed(MINUTE, body))) }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let leader = runtime.block_on(world.send(get("/a"))).unwrap();
    assert_eq!(without_runtime(world.get("/a")).text(), "own");
    assert_eq!(without_runtime(world.ask(request("HEAD", "/a", &[]))).status, 200);
    feed.send("body");
    feed.end();
    assert_eq!(runtime.block_on(read(leader)).unwrap().text(), "body");
}

/// The headers of what is stored, and what the origin does after that.
type Case = (&'static [(&'static str, &'static str)], fn() -> OriginResult);

#[tokio::test(start_paused = true)]
async fn what_is_stored_stands_in_for_an_origin_that_fails() {
    let cases: [Case; 3] = [
        (MINUTE, || Err(OriginDown)),
        (&[("cache-control", "max-age=60, stale-if-error=600")], || Ok(response(503, &[], "no"))),
        (&[("cache-control", "max-age=60, stale-if-error=600")], || panic!("the origin panics")),
    ];
    for (headers, fail) in cases {
        let world = World::new(Origin::new(move |seen| async move {
            if seen.number == 0 { Ok(response(200, headers, "old")) } else { fail() }
        }));
        world.get("/a").await;
        world.pass_seconds(61);
        for reply in join_all((0..10).map(|_| world.get("/a"))).await {
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "old"));
            assert_eq!(reply.outcome().detail, Some(Detail::StaleIfError));
        }
        // The origin is let alone for a moment.
        let asked = world.origin.asked();
        assert_eq!(world.get("/a").await.text(), "old");
        assert_eq!(world.origin.asked(), asked);
        assert_eq!(asked, 2);
    }
}

/// Like hyper's handle to the connection of an upgrade: not cloned, or somebody else might get it.
#[derive(Clone, Debug, PartialEq)]
struct OnUpgrade(u32);

#[tokio::test(start_paused = true)]
async fn what_is_none_of_the_caches_business_passes_untouched() {
    for (method, headers) in [
        ("CONNECT", &[("proxy-authorization", "x")][..]),
        ("GET", &[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")]),
        ("GET", &[("content-length", "3"), ("accept-encoding", "br, gzip;q=0.5")]),
        ("GET", &[("transfer-encoding", "chunked"), ("te", "trailers")]),
        ("GET", &[("accept", "text/event-stream"), ("if-none-match", "\"v\""), ("range", "bytes=0-1")]),
        ("GET", &[("x-http-method-override", "DELETE"), ("cookie", "a=b")]),
        ("OPTIONS", &[("origin", "x")]),
    ] {
        let world = World::new(Origin::new(|_| async {
            let mut answer =
                response(200, &[("cache-control", "max-age=60"), ("upgrade", "websocket")], "own");
            answer.extensions_mut().insert(OnUpgrade(2));
            Ok(answer)
        }));
        for _ in 0..2 {
            let target = if method == "CONNECT" { "site.example:443" } else { "/a?b=1&a=2" };
            let mut request = request(method, target, headers);
            request.extensions_mut().insert(OnUpgrade(1));
            let sent = request.headers().clone();
            let answer = world.send(request).await.unwrap();
            let seen = world.origin.seen().pop().unwrap();
            assert_eq!((seen.uri.as_str(), &seen.headers), (target, &sent), "{method} {headers:?}");
            assert_eq!((seen.method.as_str(), seen.extensions.get()), (method, Some(&OnUpgrade(1))));
            assert_eq!(answer.extensions().get(), Some(&OnUpgrade(2)), "{method} {headers:?}");
            assert_eq!(answer.headers()["upgrade"], "websocket");
            assert!(!answer.extensions().get::<Outcome>().is_some_and(|outcome| outcome.is_hit()));
            assert_eq!(read(answer).await.unwrap().text(), "own");
        }
        settle().await;
        assert_eq!((world.origin.asked(), world.edge.stats().objects), (2, 0), "{method} {headers:?}");
    }
}
