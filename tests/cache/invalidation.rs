//! Invariant 4, invalidated is gone: a request that starts after an invalidation has returned never sees what the origin
//! was asked for before it.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tokio::sync::Semaphore;
use tower::{Layer, Service};
use tower_edge::{Edge, Invalidation, Invalidator, ManualClock};

use crate::support::{
    Origin, OriginBody, OriginDown, World, feed, get, read, request, response, settle, start, streamed,
};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];

fn clear(world: &World, path: &str) {
    world.edge.invalidator().invalidate(Invalidation::paths([path]).unwrap()).unwrap();
}

/// An origin that numbers its answers and gives each only when the gate lets it. It answers every condition with 304.
fn gated() -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let guard = Arc::clone(&gate);
    let origin = Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            Ok(match seen.headers.contains_key("if-none-match") {
                true => response(304, MINUTE, ""),
                false => response(200, MINUTE, format!("answer {}", seen.number)),
            })
        }
    });
    (origin, gate)
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_gone_and_nothing_else() {
    let world = World::new(Origin::numbered(MINUTE));
    for path in ["/a", "/b", "/a?q", "/a/"] {
        world.get(path).await;
    }
    clear(&world, "/a");
    assert_eq!(world.get("/a").await.text(), "answer 4");
    for path in ["/b", "/a?q", "/a/"] {
        assert!(world.get(path).await.is_hit(), "{path}");
    }
    clear(&world, "/a?q");
    assert!(world.get("/a").await.is_hit());
    assert!(!world.get("/a?q").await.is_hit());
    world.edge.invalidator().invalidate(Invalidation::all()).unwrap();
    for path in ["/a", "/b", "/a?q", "/a/"] {
        assert!(!world.get(path).await.is_hit(), "{path}");
    }
    // The sweep takes the objects out, and what came since stays.
    settle().await;
    assert_eq!(world.edge.stats().objects, 4);
}

#[tokio::test(start_paused = true)]
async fn every_variant_host_and_method_is_gone() {
    let world = World::new(Origin::numbered(&[("cache-control", "max-age=60"), ("vary", "accept")]));
    let forms = || {
        let mut elsewhere = get("/a");
        elsewhere.headers_mut().insert("host", "other.example".parse().unwrap());
        [
            request("GET", "/a", &[("accept", "x")]),
            request("GET", "/a", &[("accept", "y")]),
            get("/a"),
            elsewhere,
        ]
    };
    for form in forms() {
        world.ask(form).await;
    }
    for form in forms() {
        assert!(world.ask(form).await.is_hit());
    }
    clear(&world, "/a");
    assert!(!world.ask(request("HEAD", "/a", &[("accept", "x")])).await.is_hit());
    for form in forms() {
        assert!(!world.ask(form).await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_object_stands_in_for_nothing() {
    let control = "max-age=60, stale-while-revalidate=600, stale-if-error=600";
    let up = Arc::new(Mutex::new(true));
    let is_up = Arc::clone(&up);
    let world = World::new(Origin::new(move |_| {
        let up = *is_up.lock().unwrap();
        async move { if up { Ok(response(200, &[("cache-control", control)], "old")) } else { Err(OriginDown) } }
    }));
    world.get("/a").await;
    world.pass_seconds(100);
    *up.lock().unwrap() = false;
    assert_eq!(world.get("/a").await.text(), "old", "stale while revalidating");
    settle().await;
    clear(&world, "/a");
    assert!(world.send(get("/a")).await.is_err());
    let cached = world.get_with("/a", &[("cache-control", "only-if-cached, max-stale")]).await;
    assert_eq!(cached.status.as_u16(), 504);
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_began_before_is_neither_stored_nor_joined() {
    let (origin, gate) = gated();
    let world = World::new(origin);
    let before = tokio::spawn(world.send(get("/a")));
    settle().await;
    let joined = tokio::spawn(world.send(get("/a")));
    settle().await;
    clear(&world, "/a");
    let after = tokio::spawn(world.send(get("/a")));
    settle().await;
    let joined_after = tokio::spawn(world.send(get("/a")));
    settle().await;
    assert_eq!(world.origin.asked(), 2, "who came after has a fill of their own, and shares it");
    gate.add_permits(1);
    for reply in [before, joined] {
        assert_eq!(read(reply.await.unwrap().unwrap()).await.unwrap().text(), "answer 0");
    }
    assert_eq!(world.edge.stats().objects, 0);
    gate.add_permits(1);
    for reply in [after, joined_after] {
        assert_eq!(read(reply.await.unwrap().unwrap()).await.unwrap().text(), "answer 1");
    }
    assert_eq!(world.get("/a").await.text(), "answer 1");
    assert_eq!(world.origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_between_head_and_end_counts() {
    for before_last_byte in [true, false] {
        let (feed, body) = feed();
        let body = Mutex::new(Some(body));
        let world = World::new(Origin::new(move |seen| {
            let body = body.lock().unwrap().take();
            async move {
                Ok(match body {
                    Some(body) => streamed(&[("cache-control", "max-age=60"), ("content-length", "6")], body),
                    None => response(200, MINUTE, format!("answer {}", seen.number)),
                })
            }
        }));
        let before = world.send(get("/a")).await.unwrap();
        feed.send("old");
        settle().await;
        if !before_last_byte {
            // All bytes are here; the end is not.
            feed.send("old");
            settle().await;
        }
        clear(&world, "/a");
        // Who joined the old fill would wait for its end.
        let after = tokio::time::timeout(Duration::from_secs(1), world.get("/a")).await;
        assert_eq!(after.expect("a fill of its own").text(), "answer 1");
        if before_last_byte {
            feed.send("old");
        }
        feed.end();
        assert_eq!(read(before).await.unwrap().text(), "oldold", "who was being served is served to the end");
        settle().await;
        assert_eq!(world.get("/a").await.text(), "answer 1");
        assert_eq!(world.origin.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_outlives_the_sweep_while_an_older_fill_runs() {
    let (origin, gate) = gated();
    let world = World::new(origin);
    let before = tokio::spawn(world.send(get("/a")));
    settle().await;
    clear(&world, "/a");
    // The sweep looks again and again; the fill takes longer.
    tokio::time::sleep(Duration::from_secs(30)).await;
    gate.add_permits(1);
    read(before.await.unwrap().unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.edge.stats().objects, 0);
    gate.add_permits(1);
    assert_eq!(world.get("/a").await.text(), "answer 1");
    assert!(world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_not_modified_that_comes_afterwards_revives_nothing() {
    let (origin, gate) = gated();
    let world = World::new(origin);
    gate.add_permits(1);
    world.get("/a").await;
    world.pass_seconds(61);
    let before = tokio::spawn(world.send(get("/a")));
    settle().await;
    clear(&world, "/a");
    settle().await;
    gate.add_permits(1);
    assert_eq!(read(before.await.unwrap().unwrap()).await.unwrap().text(), "answer 0");
    assert_eq!(world.edge.stats().objects, 0);
    gate.add_permits(1);
    let after = world.get("/a").await;
    assert_eq!(after.text(), "answer 2");
    assert!(
        world.origin.seen()[2].headers.get("if-none-match").is_none(),
        "and nobody asks about what is gone"
    );
}

/// An origin whose clone is a moment at which something else happens.
struct Meddled<S> {
    origin: S,
    meddle: Arc<dyn Fn() + Send + Sync>,
}

impl<S: Clone> Clone for Meddled<S> {
    fn clone(&self) -> Self {
        (self.meddle)();
        Self { origin: self.origin.clone(), meddle: Arc::clone(&self.meddle) }
    }
}

impl<B, S: Service<Request<B>>> Service<Request<B>> for Meddled<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.origin.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.origin.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_between_lookup_and_refresh_counts() {
    // 1. A request finds a stale object. 2. It is invalidated. 3. The request begins the refresh, as of a log that has the
    // rule. 4. The origin answers 304. What was found in 1 must not come back as new.
    let control = [("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", "\"v\"")];
    let origin = Origin::new(move |seen| async move {
        Ok(match seen.headers.contains_key("if-none-match") {
            true => response(304, &control, ""),
            false => response(200, &control, format!("answer {}", seen.number)),
        })
    });
    let clock = ManualClock::new(start());
    let edge = Edge::builder().capacity(64 << 20).clock(clock.clone()).build().unwrap();
    let armed: Arc<Mutex<Option<Invalidator>>> = Arc::default();
    let trigger = Arc::clone(&armed);
    let meddle = Arc::new(move || {
        if let Some(invalidator) = trigger.lock().unwrap().take() {
            invalidator.invalidate(Invalidation::paths(["/a"]).unwrap()).unwrap();
        }
    });
    let mut cache = edge.layer().layer(Meddled { origin: origin.clone(), meddle });
    read::<tower_edge::Body<OriginBody>>(cache.call(get("/a")).await.unwrap()).await.unwrap();
    clock.advance(Duration::from_secs(61));
    *armed.lock().unwrap() = Some(edge.invalidator());
    let stale = read(cache.call(get("/a")).await.unwrap()).await.unwrap();
    assert_eq!(stale.text(), "answer 0", "it began before the invalidation");
    settle().await;
    let after = read(cache.call(get("/a")).await.unwrap()).await.unwrap();
    assert_ne!(after.text(), "answer 0");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_between_lookup_and_head_counts() {
    // The same for a HEAD, whose answer would freshen what was found.
    let world = World::new(Origin::numbered(&[("cache-control", "max-age=60"), ("etag", "\"v\"")]));
    world.get("/a").await;
    world.pass_seconds(61);
    let head = world.send(request("HEAD", "/a", &[]));
    world.edge.invalidator().invalidate(Invalidation::paths(["/a"]).unwrap()).unwrap();
    read(head.await.unwrap()).await.unwrap();
    let after = world.get("/a").await;
    assert_eq!((after.text(), after.is_hit()), ("answer 2", false));
}

#[tokio::test(start_paused = true)]
async fn the_memo_of_an_uncacheable_answer_is_gone() {
    let private = Arc::new(Mutex::new(true));
    let is_private = Arc::clone(&private);
    let world = World::new(Origin::new(move |seen| {
        let control = if *is_private.lock().unwrap() { "private" } else { "max-age=60" };
        async move { Ok(response(200, &[("cache-control", control)], format!("answer {}", seen.number))) }
    }));
    world.get("/a").await;
    *private.lock().unwrap() = false;
    clear(&world, "/a");
    let led = world.get("/a").await;
    assert!(led.outcome().stored, "it did not go alone");
    assert!(world.get("/a").await.is_hit());
}

#[test]
fn an_invalidation_needs_no_runtime() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let world = World::new(Origin::numbered(MINUTE));
    runtime.block_on(async { (world.get("/a").await, world.get("/b").await) });
    clear(&world, "/a");
    std::thread::scope(|scope| scope.spawn(|| clear(&world, "/b")).join().unwrap());
    assert_eq!(runtime.block_on(world.get("/a")).text(), "answer 2");
    assert_eq!(runtime.block_on(world.get("/b")).text(), "answer 3");
    // Outside of a runtime nothing can be filled, and all the same nothing old is served.
    clear(&world, "/a");
    let reply = futures_util::FutureExt::now_or_never(world.get("/a")).unwrap();
    assert_eq!(reply.text(), "answer 4");
}
