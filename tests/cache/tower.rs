//! The layer keeps the contracts of Tower, and works with what people wrap their services in.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::get as route;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_edge::{Body, Cache, CachePolicy, Edge, Limits, ManualClock, Outcome, RequestBody};

use crate::support::services::{Gate, Strict, poll_times, whole};
use crate::support::{Origin, get, read, request, response, start};

const MINUTE: &[(&str, &str)] =
    &[("cache-control", "max-age=60, stale-while-revalidate=60"), ("etag", "\"v\"")];

/// An origin that takes a second.
fn slow() -> Origin {
    Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        Ok(response(200, MINUTE, seen.uri))
    })
}

#[tokio::test(start_paused = true)]
async fn an_origin_with_room_for_one_answers_many_and_hits_do_not_queue() {
    let edge = Edge::builder().outcomes(true).build().unwrap();
    let cache = edge.layer().layer(ConcurrencyLimit::new(slow(), 1));
    whole(cache.clone(), get("/hot")).await.unwrap();
    let begin = Instant::now();
    let misses = async {
        let paths: Vec<_> = (0..50).map(|n| format!("/{n}")).collect();
        let replies = join_all(paths.iter().map(|path| whole(cache.clone(), get(path)))).await;
        for (path, reply) in paths.iter().zip(replies) {
            assert_eq!(reply.unwrap().text(), path);
        }
        assert_eq!(begin.elapsed().as_secs(), 50);
    };
    let hits = async {
        for _ in 0..49 {
            sleep(Duration::from_secs(1)).await;
            let hit = cache.clone().call(get("/hot")).now_or_never().expect("at once").unwrap();
            assert!(hit.extensions().get::<Outcome>().unwrap().is_hit());
        }
    };
    futures_util::future::join(misses, hits).await;
}

#[tokio::test]
async fn a_server_may_share_one_cache_and_answer_with_bodies_of_its_own() {
    let edge = Edge::builder().build().unwrap();
    let cache = edge.layer().layer(Origin::numbered(MINUTE));
    let answer = async |path| match path {
        "/" => (&cache).call(get(path)).await,
        _ => Ok(Response::new(Body::from(Bytes::from("no such page")))),
    };
    for (path, text) in [("/", "answer 0"), ("/", "answer 0"), ("/nowhere", "no such page")] {
        assert_eq!(read(answer(path).await.unwrap()).await.unwrap().text(), text);
    }
    assert_eq!(edge.stats().hits, 1);
}

#[tokio::test]
async fn what_only_the_origin_needs_is_asked_for_when_the_origin_is() {
    let clock = ManualClock::new(start());
    let edge = Edge::builder().clock(clock.clone()).build().unwrap();
    let origin = Origin::numbered(MINUTE);
    let cache = edge.layer().layer(origin.clone());
    for (method, path, fields, goes, later) in [
        ("GET", "/", &[][..], true, 0),
        ("GET", "/", &[], false, 0),
        ("HEAD", "/", &[("if-none-match", "\"v\"")], false, 0),
        ("GET", "/", &[("range", "bytes=0-1")], false, 0),
        ("GET", "/none", &[("cache-control", "only-if-cached")], false, 0),
        ("HEAD", "/head", &[], true, 0),
        ("GET", "/", &[("if-match", "\"v\"")], true, 0),
        ("GET", "/", &[("x-http-method-override", "PUT")], true, 0),
        ("GET", "/no-host", &[("host", "")], true, 0),
        ("OPTIONS", "/", &[], true, 0),
        ("GET", "/", &[("upgrade", "websocket")], true, 0),
        // Stale: the answer is at hand, and the origin is asked in the background.
        ("GET", "/", &[], true, 61),
        ("POST", "/", &[], true, 0),
        ("GET", "/", &[], true, 0),
    ] {
        clock.advance(Duration::from_secs(later));
        let (mut asked, before) = (0, origin.asked());
        let mut request = request(method, path, fields);
        if path == "/no-host" {
            request.headers_mut().insert("host", "".parse().unwrap());
        }
        let response = cache.call_with(request, |extensions| {
            asked += 1;
            extensions.insert("the viewer");
        });
        read(response.await.unwrap()).await.unwrap();
        while edge.stats().fills > 0 {
            tokio::task::yield_now().await;
        }
        let seen = origin.seen().split_off(before);
        assert_eq!((seen.len(), asked), (usize::from(goes), usize::from(goes)), "{method} {path} {fields:?}");
        assert!(seen.iter().all(|seen| seen.extensions.get() == Some(&"the viewer")), "{method} {fields:?}");
    }
}

#[tokio::test]
async fn outcomes_are_put_in_if_somebody_wants_them() {
    for (builder, wanted) in [(Edge::builder(), false), (Edge::builder().outcomes(true), true)] {
        let edge = builder.build().unwrap();
        let cache = edge.layer().layer(Origin::numbered(MINUTE));
        for (method, path, fields) in [
            ("GET", "/", &[][..]),
            ("GET", "/", &[]),
            ("GET", "/none", &[("cache-control", "only-if-cached")]),
            ("POST", "/", &[]),
        ] {
            let mut request = request(method, path, fields);
            request.extensions_mut().insert("the viewer's own");
            let response = (&cache).call(request).await.unwrap();
            assert_eq!(response.extensions().get::<Outcome>().is_some(), wanted, "{method} {fields:?}");
            assert!(response.extensions().get::<&str>().is_none());
            assert!(response.headers().contains_key("cache-status"));
            read(response).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_behind_a_buffer_works() {
    // Long enough for the last in the queue.
    let limits = Limits { follower_wait: Duration::from_secs(60), ..Limits::default() };
    let policy = CachePolicy { limits, ..CachePolicy::default() };
    let edge = Edge::builder().policy(policy).build().unwrap();
    let origin = slow();
    let cache = edge.layer().layer(Buffer::new(ConcurrencyLimit::new(origin.clone(), 1), 2));
    let paths: Vec<_> = (0..20).map(|n| format!("/{}", n / 2)).collect();
    let ask = |path: &String| whole(cache.clone(), get(path));
    let misses = async {
        for (path, reply) in paths.iter().zip(join_all(paths.iter().map(ask)).await) {
            assert_eq!(reply.unwrap().text(), path);
        }
    };
    let hits = async {
        // The first is stored by now; the rest fill the buffer for seconds to come.
        sleep(Duration::from_secs(3)).await;
        assert!(origin.asked() < 6);
        let hit = cache.clone().call(get("/0")).now_or_never().expect("at once").unwrap();
        assert_eq!(read(hit).await.unwrap().text(), "/0");
    };
    futures_util::future::join(misses, hits).await;
    assert_eq!(origin.asked(), 10);
}

#[tokio::test(start_paused = true)]
async fn viewers_that_leave_give_back_what_they_held_of_the_origin() {
    for polls in 0..12 {
        let edge = Edge::builder().build().unwrap();
        let origin = Origin::new(|seen| async move { Ok(response(200, &[], seen.uri)) });
        let cache = edge
            .layer()
            .layer(Buffer::new(ConcurrencyLimit::new(Strict::new(origin, &Gate::default(), 2), 1), 1));
        for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
            let gone = whole(cache.clone(), request(method, "/a", &[]));
            poll_times(gone, polls).await;
        }
        let next = poll_times(whole(cache, get("/b")), 1_000).await;
        assert_eq!(next.expect("there is room").unwrap().text(), "/b", "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_origin_is_called_only_when_it_said_that_it_is_ready() {
    let clock = ManualClock::new(start());
    let edge = Edge::builder().outcomes(true).max_fills(1).clock(clock.clone()).build().unwrap();
    let origin = Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        let private = [("cache-control", "private")];
        Ok(response(200, if seen.uri == "/private" { &private } else { MINUTE }, seen.uri))
    });
    let cache = edge.layer().layer(Strict::new(origin.clone(), &Gate::default(), 3));
    let ask = |method: &'static str, path: &'static str, headers: &'static [(&'static str, &'static str)]| {
        let answer = whole(cache.clone(), request(method, path, headers));
        async move { answer.await.expect("the origin answers") }
    };
    // A miss, a follower, one past the number of fills; a refresh, in the foreground and in the background.
    futures_util::join!(ask("GET", "/a", &[]), ask("GET", "/a", &[]), ask("GET", "/b", &[]));
    ask("GET", "/a", &[("cache-control", "no-cache")]).await;
    clock.advance(Duration::from_secs(61));
    assert!(ask("GET", "/a", &[]).await.is_hit());
    sleep(Duration::from_secs(2)).await;
    // What is not shared, with those who waited for it, and a memo.
    futures_util::join!(ask("GET", "/private", &[]), ask("GET", "/private", &[]));
    ask("GET", "/private", &[]).await;
    let asked = origin.asked();
    for (method, headers) in [
        ("HEAD", &[][..]),
        ("PUT", &[]),
        ("OPTIONS", &[]),
        ("CONNECT", &[]),
        ("GET", &[("upgrade", "x")]),
        ("GET", &[("content-length", "1")]),
        ("GET", &[("cache-control", "no-store")]),
        ("GET", &[("authorization", "x")]),
        ("GET", &[("x-http-method-override", "x")]),
    ] {
        ask(method, "/c", headers).await;
    }
    assert_eq!(origin.asked(), asked + 9);
}

#[tokio::test]
async fn an_axum_router_takes_the_layer_as_it_is() {
    let edge = Edge::builder().name("axum").build().unwrap();
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&calls);
    let page = move || async move {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        ([("cache-control", "max-age=60")], "a page")
    };
    let router: Router = Router::new().route("/", route(page)).layer(edge.layer());
    for status in ["axum; fwd=uri-miss; stored", "axum; hit; ttl="] {
        let request =
            Request::builder().uri("/").header("host", "a").body(axum::body::Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert!(answer.headers()["cache-status"].to_str().unwrap().starts_with(status));
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
        assert_eq!(body, "a page");
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_axum_router_makes_no_length_of_a_body_that_is_not_sent() {
    let edge = Edge::builder().build().unwrap();
    let endless = || async {
        let body = futures_util::stream::pending::<Result<Bytes, Infallible>>();
        ([("cache-control", "max-age=60")], axum::body::Body::from_stream(body))
    };
    let tagged = || async { ([("cache-control", "max-age=60"), ("etag", "\"v\"")], "a page") };
    let router: Router =
        Router::new().route("/endless", route(endless)).route("/", route(tagged)).layer(edge.layer());
    let ask = |method: &'static str, path: &'static str, tag: &'static str| {
        let request = Request::builder().method(method).uri(path).header("host", "a");
        let request = request.header("if-none-match", tag).body(axum::body::Body::empty()).unwrap();
        router.clone().oneshot(request).map(Result::unwrap)
    };
    let growing = ask("GET", "/endless", "\"\"").await;
    let head = ask("HEAD", "/endless", "\"\"").await;
    assert_eq!((growing.status().as_u16(), head.status().as_u16()), (200, 200));
    assert_eq!(head.headers().get("content-length"), None);
    for fwd in ["fwd=uri-miss", "hit"] {
        let unmodified = ask("GET", "/", "\"v\"").await;
        assert_eq!(unmodified.status(), 304);
        assert!(unmodified.headers()["cache-status"].to_str().unwrap().contains(fwd));
        assert_eq!(unmodified.headers().get("content-length"), None);
        tokio::task::yield_now().await;
    }
}

/// What a server on hyper wants of a service, whatever the origin's body and error are.
fn serves<S, Q, R>(cache: &Cache<S>)
where
    Cache<S>:
        Service<Request<Q>, Response = Response<Body<R>>, Error = S::Error> + Clone + Send + Sync + 'static,
    <Cache<S> as Service<Request<Q>>>::Future: Send + 'static,
    S: Service<Request<RequestBody<Q>>>,
    R: http_body::Body + 'static,
    Body<R>: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send,
{
    let _ = cache;
}

#[test]
fn any_body_of_a_server_or_client_will_do() {
    type Incoming = hyper::body::Incoming;
    let layer = tower_edge::CacheLayer::new(CachePolicy::default()).unwrap();
    let proxy = tower::service_fn(|_: Request<RequestBody<Incoming>>| async {
        let none: Result<Response<Incoming>, std::io::Error> = Err(std::io::ErrorKind::NotConnected.into());
        none
    });
    serves::<_, Incoming, Incoming>(&layer.layer(proxy));
    let local = tower::service_fn(|_: Request<RequestBody<Incoming>>| async {
        Ok::<_, Infallible>(Response::new(http_body_util::Full::new(Bytes::new())))
    });
    serves::<_, Incoming, http_body_util::Full<Bytes>>(&layer.layer(local));
    serves::<_, axum::body::Body, axum::body::Body>(&layer.layer(Router::<()>::new()));
}
