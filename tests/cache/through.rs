//! `Writes::Through`: what a PUT sent is what the next GET gets, if the origin says that it kept it as it was.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_edge::{
    Cache, CachePolicy, Edge, Invalidation, KeyPolicy, Limits, ManualClock, Outcome, Select, Ttl, Writes,
};

use crate::support::{FedBody, OriginBody, OriginDown, Reply, feed, read, response, settle, start};

type Lines = &'static [(&'static str, &'static str)];
/// Status, fields, content.
type Answer = (u16, Lines, &'static str);

/// An origin that keeps what is put.
#[derive(Clone)]
struct Files {
    kept: Arc<Mutex<HashMap<String, Bytes>>>,
    reads: Arc<Mutex<usize>>,
    /// What it says of a PUT.
    answer: Answer,
    /// A PUT of `first` is answered when there is a permit, if this is so.
    gate: Option<Arc<Semaphore>>,
    /// It answers before it has read anything.
    hasty: bool,
}

impl<B> Service<Request<B>> for Files
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<OriginBody>;
    type Error = OriginDown;
    type Future = BoxFuture<'static, Result<Response<OriginBody>, OriginDown>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginDown>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let files = self.clone();
        Box::pin(async move {
            let path = request.uri().to_string();
            if *request.method() == Method::GET {
                *files.reads.lock().unwrap() += 1;
                let kept = files.kept.lock().unwrap().get(&path).cloned();
                return Ok(match kept {
                    Some(bytes) => response(200, &[("cache-control", "max-age=60")], bytes),
                    None => response(404, &[], ""),
                });
            }
            let mut bytes = Vec::new();
            let mut body = pin!(request.into_body());
            while !files.hasty
                && !body.is_end_stream()
                && let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
            {
                let Ok(frame) = frame else { return Err(OriginDown) };
                bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            }
            let waits = bytes == b"first";
            files.kept.lock().unwrap().insert(path, bytes.into());
            if let Some(gate) = files.gate.as_ref().filter(|_| waits) {
                gate.acquire().await.unwrap().forget();
            }
            let (status, fields, content) = files.answer;
            Ok(response(status, fields, content))
        })
    }
}

struct World {
    edge: Edge,
    clock: ManualClock,
    files: Files,
    cache: Cache<Files>,
}

const SAVED: Answer = (201, &[("etag", "\"v1\"")], "");
const MINUTE: Ttl = Ttl {
    min: Duration::ZERO,
    default: Some(Duration::from_secs(60)),
    max: Duration::from_secs(3600),
    override_origin: false,
};

fn through() -> CachePolicy {
    CachePolicy { writes: Writes::Through, ttl: MINUTE, ..CachePolicy::default() }
}

impl World {
    fn new(answer: Answer) -> Self {
        Self::with(answer, through())
    }

    fn with(answer: Answer, policy: CachePolicy) -> Self {
        let files = Files { kept: Arc::default(), reads: Arc::default(), answer, gate: None, hasty: false };
        Self::before(files, policy)
    }

    fn before(files: Files, policy: CachePolicy) -> Self {
        let clock = ManualClock::new(start());
        let edge = Edge::builder()
            .outcomes(true)
            .capacity(64 << 20)
            .clock(clock.clone())
            .policy(policy)
            .build()
            .unwrap();
        let cache = edge.layer().layer(files.clone());
        Self { edge, clock, files, cache }
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Reply, OriginDown>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Ok(read(self.cache.clone().oneshot(request).await?).await.unwrap())
    }

    async fn put(&self, path: &str, fields: Lines, body: &'static str) -> Reply {
        self.send(put(path, fields, Full::new(Bytes::from(body)))).await.unwrap()
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, &[], Full::<Bytes>::default())).await.unwrap()
    }

    fn reads(&self) -> usize {
        *self.files.reads.lock().unwrap()
    }
}

fn request<B>(method: &str, path: &str, fields: Lines, body: B) -> Request<B> {
    let mut request = Request::builder().method(method).uri(path).header("host", "site.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

fn put<B>(path: &str, fields: Lines, body: B) -> Request<B> {
    request("PUT", path, fields, body)
}

#[tokio::test(start_paused = true)]
async fn the_next_get_is_a_hit_with_what_was_put() {
    let world = World::new(SAVED);
    let described: Lines =
        &[("content-type", "text/css"), ("content-language", "de"), ("content-length", "3")];
    let written = world.put("/a", described, "new").await;
    assert!(written.outcome().stored);
    assert_eq!(written.header("cache-status"), Some("tower-edge; fwd=method; stored"));
    let reply = world.get("/a").await;
    assert!(reply.is_hit());
    assert_eq!((reply.text(), reply.header("content-type")), ("new", Some("text/css")));
    assert_eq!(reply.header("content-language"), Some("de"));
    assert_eq!((reply.header("etag"), reply.header("content-length")), (Some("\"v1\""), Some("3")));
    assert!(reply.header("date").is_some());
    assert_eq!(world.reads(), 0);
    // It lives as long as the policy says, and is then what the origin is asked about.
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.get("/a").await.outcome().ttl, Some(1));
    world.clock.advance(Duration::from_secs(2));
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn it_takes_the_place_of_all_that_was_stored() {
    let world = World::new(SAVED);
    world.files.kept.lock().unwrap().insert("/a".into(), "old".into());
    assert_eq!(world.get("/a").await.text(), "old");
    world.put("/a", &[], "new").await;
    assert_eq!(world.get("/a").await.text(), "new");
    // A 404 that was not worth waiting for is forgotten, too.
    assert_eq!(world.get("/b").await.status, 404);
    world.put("/b", &[], "there").await;
    assert!(world.get("/b").await.is_hit());
    // Nothing is as short as no content, and a writer may say so by its length alone.
    world.put("/c", &[], "").await;
    let empty = world.get("/c").await;
    assert!(empty.is_hit() && empty.body.is_empty());
    assert_eq!(empty.header("content-length"), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn conditions_ranges_and_head_are_answered_from_what_was_put() {
    let world = World::new(SAVED);
    world.put("/a", &[("content-type", "text/plain")], "0123456789").await;
    for (method, fields, status, body) in [
        ("GET", &[("if-none-match", "\"v1\"")][..], 304, ""),
        ("GET", &[("range", "bytes=2-4")], 206, "234"),
        ("GET", &[("range", "bytes=2-4"), ("if-range", "\"v0\"")], 200, "0123456789"),
        ("HEAD", &[], 200, ""),
    ] {
        let reply = world.send(request(method, "/a", fields, Full::<Bytes>::default())).await.unwrap();
        assert!(reply.is_hit());
        assert_eq!((reply.status.as_u16(), reply.text()), (status, body), "{method} {fields:?}");
    }
    assert_eq!(world.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_proves_nothing_is_not_stored_and_the_old_is_gone() {
    const TAG: (&str, &str) = ("etag", "\"v1\"");
    let cases: [(&str, Answer, Lines, CachePolicy); 13] = [
        ("around", SAVED, &[], CachePolicy { ttl: MINUTE, ..CachePolicy::default() }),
        ("no validator", (204, &[], ""), &[], through()),
        ("a framework's tag", (200, &[("etag", "W/\"2\"")], "ok"), &[], through()),
        ("not yet done", (202, &[TAG], ""), &[], through()),
        ("elsewhere", (303, &[TAG, ("location", "/b")], ""), &[], through()),
        ("varies", (204, &[TAG, ("vary", "accept-encoding")], ""), &[], through()),
        ("a part", SAVED, &[("content-range", "bytes 0-2/9")], through()),
        ("not to be stored", (204, &[TAG, ("cache-control", "no-store")], ""), &[], through()),
        ("for one viewer", (204, &[TAG, ("cache-control", "private")], ""), &[], through()),
        ("the writer asks not to store", SAVED, &[("cache-control", "no-store")], through()),
        ("with credentials", SAVED, &[("authorization", "Bearer x")], through()),
        ("another method to some", SAVED, &[("x-http-method-override", "PATCH")], through()),
        ("a stream", SAVED, &[("content-type", "text/event-stream")], through()),
    ];
    for (name, answer, fields, policy) in cases {
        let world = World::with(answer, policy);
        world.files.kept.lock().unwrap().insert("/a".into(), "old".into());
        world.get("/a").await;
        let written = world.put("/a", fields, "new").await;
        assert!(!written.outcome().stored, "{name}");
        let reply = world.get("/a").await;
        assert!(!reply.is_hit(), "{name}");
        assert_eq!((reply.text(), world.reads()), ("new", 2), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answers_own_caching_fields_count() {
    for (fields, ttl) in [
        (&[("etag", "\"v\"")][..], 60),
        (&[("etag", "\"v\""), ("cache-control", "max-age=7")], 7),
        (&[("etag", "\"v\""), ("cdn-cache-control", "max-age=9"), ("cache-control", "max-age=7")], 9),
        (&[("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("cache-control", "s-maxage=5")], 5),
    ] {
        let world = World::new((204, fields, ""));
        world.put("/a", &[], "new").await;
        assert_eq!(world.get("/a").await.outcome().ttl, Some(ttl), "{fields:?}");
    }
    // With credentials only what says that it is for everyone.
    let world = World::new((204, &[("etag", "\"v\""), ("cache-control", "public")], ""));
    world.put("/a", &[("authorization", "Bearer x")], "new").await;
    assert!(world.get("/a").await.is_hit());
    // And it can be cleared by the answer's tags.
    let world = World::new((204, &[("etag", "\"v\""), ("cache-tag", "t")], ""));
    assert_eq!(world.put("/a", &[], "new").await.header("cache-tag"), None);
    assert!(world.get("/a").await.is_hit());
    world.edge.invalidator().invalidate(Invalidation::tags(["t"]).unwrap()).unwrap();
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn without_a_lifetime_it_is_what_the_next_get_asks_about() {
    let world = World::with(SAVED, CachePolicy { writes: Writes::Through, ..CachePolicy::default() });
    assert!(world.put("/a", &[], "new").await.outcome().stored);
    let reply = world.get("/a").await;
    assert_eq!(reply.header("cache-status"), Some("tower-edge; fwd=stale; stored"));
}

/// A PUT whose body the test feeds. The bytes promised, if any, are in `Content-Length`.
fn feeding(length: Option<&'static str>) -> (crate::support::Feed, Request<FedBody>) {
    let (feed, body) = feed();
    let mut request = put("/a", &[], body);
    if let Some(length) = length {
        request.headers_mut().insert("content-length", length.parse().unwrap());
    }
    (feed, request)
}

#[tokio::test(start_paused = true)]
async fn a_put_that_is_aborted_short_or_too_large_stores_nothing() {
    let small = CachePolicy { limits: Limits { object_size: Some(4), ..Limits::default() }, ..through() };
    let world = World::with(SAVED, small);
    // Too large, as it says, and as it turns out.
    assert!(!world.put("/a", &[], "12345").await.outcome().stored);
    let (feed, request) = feeding(None);
    feed.send("12");
    feed.send("345");
    feed.end();
    assert!(!world.send(request).await.unwrap().outcome().stored);
    assert_eq!(world.get("/a").await.text(), "12345", "it has reached the origin all the same");
    // As large as it may be.
    assert!(world.put("/b", &[], "1234").await.outcome().stored);

    // Broken off by its sender.
    let world = World::new(SAVED);
    let (feed, request) = feeding(None);
    feed.send("12");
    feed.fail("gone");
    assert_eq!(world.send(request).await.unwrap_err(), OriginDown);
    assert!(!world.get("/a").await.is_hit());

    // Left by its sender.
    let world = World::new(SAVED);
    let (feed, request) = feeding(None);
    feed.send("12");
    let sending = tokio::spawn(world.cache.clone().oneshot(request));
    settle().await;
    sending.abort();
    settle().await;
    assert!(feed.is_dropped());
    assert_eq!((world.edge.stats().objects, world.edge.stats().bytes_in_flight), (0, 0));

    // Answered before it was read.
    let mut world = World::new(SAVED);
    world.files.hasty = true;
    let world = World::before(world.files, through());
    let (feed, request) = feeding(None);
    feed.send("12");
    assert!(!world.send(request).await.unwrap().outcome().stored);
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_as_long_as_it_says_is_not_stored() {
    for (length, stored) in [("4", true), ("3", false), ("5", false), ("x", false)] {
        let world = World::new(SAVED);
        let (feed, request) = feeding(Some(length));
        feed.send("12");
        feed.send("34");
        feed.end();
        assert_eq!(world.send(request).await.unwrap().outcome().stored, stored, "{length}");
        assert_eq!(world.get("/a").await.is_hit(), stored, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_overlapped_the_put_keeps_it_out_of_the_store() {
    type Meanwhile = fn(&World) -> Option<Request<Full<Bytes>>>;
    let cases: [(&str, Meanwhile, bool); 6] = [
        ("nothing", |_| None, true),
        ("another put", |_| Some(put("/a", &[], "other".into())), false),
        ("a delete", |_| Some(request("DELETE", "/a", &[], Full::default())), false),
        ("a write elsewhere", |_| Some(put("/b", &[], "other".into())), true),
        (
            "an invalidation",
            |world| {
                world.edge.invalidator().invalidate(Invalidation::paths(["/a"]).unwrap()).unwrap();
                None
            },
            false,
        ),
        (
            "one of something else",
            |world| {
                world.edge.invalidator().invalidate(Invalidation::paths(["/b/*"]).unwrap()).unwrap();
                None
            },
            true,
        ),
    ];
    for (name, meanwhile, stored) in cases {
        let gate = Arc::new(Semaphore::new(0));
        let files = Files {
            kept: Arc::default(),
            reads: Arc::default(),
            answer: SAVED,
            gate: Some(Arc::clone(&gate)),
            hasty: false,
        };
        let world = World::before(files, through());
        let first =
            tokio::spawn(world.cache.clone().oneshot(put("/a", &[], Full::new(Bytes::from("first")))));
        settle().await;
        if let Some(request) = meanwhile(&world) {
            // The origin answers the second first.
            world.send(request).await.unwrap();
        }
        gate.add_permits(1);
        let written = first.await.unwrap().unwrap();
        assert_eq!(written.extensions().get::<Outcome>().unwrap().stored, stored, "{name}");
        assert_eq!(world.get("/a").await.is_hit(), stored, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_the_key_shortens_is_not_written_through() {
    let key = KeyPolicy { query: Select::None, ..KeyPolicy::default() };
    let world = World::with(SAVED, CachePolicy { key, ..through() });
    assert!(!world.put("/a?version=2", &[], "new").await.outcome().stored);
    assert!(world.put("/a", &[], "new").await.outcome().stored);
    assert!(world.get("/a?x").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_large_put_holds_no_more_than_an_object_may() {
    let world = World::with(
        SAVED,
        CachePolicy { limits: Limits { object_size: Some(1 << 20), ..Limits::default() }, ..through() },
    );
    let (feed, request) = feeding(None);
    let sending = tokio::spawn(world.cache.clone().oneshot(request));
    let mut most = 0;
    for _ in 0..64 {
        feed.send(vec![b'x'; 64 << 10]);
        settle().await;
        assert_eq!(feed.unread(), 0, "it streams");
        most = most.max(world.edge.stats().bytes_in_flight);
    }
    feed.end();
    sending.await.unwrap().unwrap();
    assert!((1 << 20..(1 << 20) + (128 << 10)).contains(&most), "{most}");
    assert_eq!(world.edge.stats().bytes_in_flight, 0);
}

/// Bodies of every kind go through; this one cannot fail.
#[allow(dead_code, reason = "it is enough that it compiles")]
fn any_body(cache: Cache<Files>, request: Request<UnsyncBoxBody<Bytes, Infallible>>) {
    drop(cache.oneshot(request));
}
