//! No one waits for ever: whoever goes away, wherever they are, everyone else still ends, and nothing is left behind.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_edge::{Cache, CachePolicy, Edge, Limits, ManualClock};

use crate::support::services::{Gate, Strict, at_hand, pause, poll_times, whole, yielding};
use crate::support::{
    Origin, OriginDown, OriginResult, Reply, Seen, World, feed, get, read, request, response, settle, start,
    streamed,
};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];

/// What the origin does, letting others run wherever it can.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Known,
    Unknown,
    Private,
    Varied,
    Revalidated,
    Down,
    BodyDies,
}

const KINDS: [Kind; 7] =
    [Kind::Known, Kind::Unknown, Kind::Private, Kind::Varied, Kind::Revalidated, Kind::Down, Kind::BodyDies];

async fn script(kind: Kind, seen: Seen) -> OriginResult {
    pause(3).await;
    let frames = ["one ", "two ", "three"].map(Bytes::from);
    let body = yielding(frames, 2);
    Ok(match kind {
        Kind::Known => streamed(&[("cache-control", "max-age=60"), ("content-length", "13")], body),
        Kind::Unknown => streamed(MINUTE, body),
        Kind::Private => streamed(&[("cache-control", "private")], body),
        Kind::Varied => streamed(&[("cache-control", "max-age=60"), ("vary", "accept-language")], body),
        Kind::Revalidated if seen.headers.contains_key("if-none-match") => response(304, MINUTE, ""),
        Kind::Revalidated => streamed(MINUTE, body),
        Kind::Down => return Err(OriginDown),
        Kind::BodyDies => streamed(&[("cache-control", "max-age=60"), ("content-length", "14")], body),
    })
}

/// Whether this is how a request ends whose viewer stayed.
fn ended_well(kind: Kind, reply: &Result<Reply, String>) -> bool {
    match (kind, reply) {
        (Kind::Down, Ok(reply)) => reply.status == 502,
        (Kind::Down, Err(error)) => error.contains("is down"),
        (Kind::BodyDies, Err(error)) => error.contains("length"),
        (Kind::BodyDies, Ok(_)) => false,
        (_, Ok(reply)) => reply.status == 200 && reply.text() == "one two three",
        (_, Err(_)) => false,
    }
}

/// The edge in front of such an origin, which is not ready at once either. Where it revalidates, what it revalidates is
/// there.
async fn world(kind: Kind) -> (Edge, Cache<Strict<Origin>>) {
    let clock = ManualClock::new(start());
    let policy = CachePolicy {
        stale: tower_edge::Stale { if_disconnected: Duration::ZERO, ..Default::default() },
        ..Default::default()
    };
    let edge = Edge::builder().policy(policy).clock(clock.clone()).build().unwrap();
    let origin = Origin::new(move |seen| script(kind, seen));
    let cache = edge.layer().layer(Strict::new(origin, &Gate::default(), 2));
    if kind == Kind::Revalidated {
        whole(cache.clone(), get("/a")).await.unwrap();
        clock.advance(Duration::from_secs(61));
    }
    (edge, cache)
}

/// Lets `goers` of five viewers go away after so many polls, for every number of polls up to the end of their answers.
async fn drop_everywhere(kind: Kind, goers: impl Fn(usize) -> bool) {
    for polls in 0.. {
        let (edge, cache) = world(kind).await;
        let viewer = |n: usize| {
            let language = ["en", "de"][n % 2];
            let request = request("GET", "/a", &[("accept-language", language)]);
            let answer = whole(cache.clone(), request);
            let times = if goers(n) { polls } else { 10_000 };
            async move { (n, poll_times(answer, times).await) }
        };
        let begin = Instant::now();
        let ends = join_all((0..5).map(viewer)).await;
        assert_eq!(
            begin.elapsed(),
            Duration::ZERO,
            "{kind:?}, {polls} polls: somebody had to wait for a timer"
        );
        let everyone_stayed = ends.iter().all(|(_, end)| end.is_some());
        for (n, end) in ends {
            match end {
                Some(reply) => {
                    assert!(ended_well(kind, &reply), "{kind:?}, {polls} polls: {n} got {reply:?}")
                }
                None => assert!(goers(n), "{kind:?}, {polls} polls: {n} waits"),
            }
        }
        settle().await;
        let stats = edge.stats();
        assert_eq!((stats.fills, stats.bytes_in_flight), (0, 0), "{kind:?}, {polls} polls");
        let again = whole(cache, request("GET", "/a", &[("accept-language", "en")]));
        let next = poll_times(again, 10_000).await.expect("a new request ends");
        assert!(ended_well(kind, &next), "{kind:?}, {polls} polls: afterwards {next:?}");
        if everyone_stayed {
            assert!(polls > 3, "{kind:?} never waited");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_may_go_away_anywhere() {
    for kind in KINDS {
        drop_everywhere(kind, |n| n == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn followers_may_go_away_anywhere() {
    for kind in KINDS {
        drop_everywhere(kind, |n| n == 1 || n == 2).await;
        drop_everywhere(kind, |n| n != 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn everyone_may_go_away_anywhere() {
    for kind in KINDS {
        drop_everywhere(kind, |_| true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_nobody_wants_any_more_is_dropped() {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let world = World::new(Origin::new(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok(streamed(&[("cache-control", "max-age=60"), ("content-length", "100000")], body)) }
    }));
    let leader = world.send(get("/a")).await.unwrap();
    let follower = world.send(get("/a")).await.unwrap();
    feed.send(vec![b'x'; 50_000]);
    drop(leader);
    settle().await;
    assert!(!feed.is_dropped());
    drop(follower);
    settle().await;
    assert!(feed.is_dropped());
    assert_eq!(world.edge.stats().fills, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fill_with_little_left_goes_on_but_not_for_ever() {
    for ends in [true, false] {
        let (feed, body) = feed();
        let body = std::sync::Mutex::new(Some(body));
        let world = World::new(Origin::new(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Ok(streamed(&[("cache-control", "max-age=60"), ("content-length", "100000")], body)) }
        }));
        let leader = world.send(get("/a")).await.unwrap();
        feed.send(vec![b'x'; 90_000]);
        settle().await;
        drop(leader);
        sleep(Duration::from_secs(59)).await;
        assert!(!feed.is_dropped());
        if ends {
            feed.send(vec![b'x'; 10_000]);
            feed.end();
            settle().await;
            assert!(world.get("/a").await.is_hit());
        } else {
            // A sign of life is worth another minute.
            feed.send("x");
            sleep(Duration::from_secs(59)).await;
            assert!(!feed.is_dropped());
            sleep(Duration::from_secs(2)).await;
            assert!(feed.is_dropped());
        }
        assert_eq!(world.edge.stats().fills, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_kept_after_a_304_ends_when_the_origin_falls_silent() {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let world = World::new(Origin::new(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok(streamed(MINUTE, body)) }
    }));
    feed.send("begin");
    let leader = world.get_with("/a", &[("if-none-match", "\"v\"")]).await;
    assert_eq!(leader.status, 304);
    sleep(Duration::from_secs(59)).await;
    assert!(!feed.is_dropped());
    sleep(Duration::from_secs(2)).await;
    assert!(feed.is_dropped());
    assert_eq!(world.edge.stats().fills, 0);
}

#[tokio::test(start_paused = true)]
async fn followers_leave_an_origin_that_never_answers() {
    let limits = Limits { follower_wait: Duration::from_secs(5), ..Limits::default() };
    let policy = CachePolicy { limits, ..CachePolicy::default() };
    let world = World::with_policy(
        Origin::new(|seen| async move {
            if seen.number == 0 {
                std::future::pending::<()>().await;
            }
            Ok(response(200, MINUTE, "late"))
        }),
        policy,
    );
    let leader = world.send(get("/a"));
    let mut leader = Box::pin(leader);
    assert!(futures_util::poll!(leader.as_mut()).is_pending());
    let begin = Instant::now();
    let followers = join_all((0..10).map(|_| world.get("/a"))).await;
    assert_eq!(begin.elapsed().as_secs(), 5);
    assert!(followers.iter().all(|reply| reply.text() == "late"));
    assert_eq!(world.origin.asked(), 11);
    assert_eq!(world.edge.stats().fills, 1);
    drop(leader);
    settle().await;
    assert_eq!(world.edge.stats().fills, 0);
    assert_eq!(world.get("/a").await.text(), "late");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_does_not_wait_for_ever() {
    let swr = &[("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", "\"v\"")];
    let world = World::new(Origin::new(move |seen| async move {
        if seen.number > 0 {
            std::future::pending::<()>().await;
        }
        Ok(response(200, swr, "old"))
    }));
    world.get("/a").await;
    world.pass_seconds(61);
    assert_eq!(world.get("/a").await.text(), "old");
    assert_eq!(world.get("/a").await.text(), "old");
    settle().await;
    assert_eq!((world.origin.asked(), world.edge.stats().fills), (2, 1));
    sleep(Duration::from_secs(61)).await;
    assert_eq!(world.edge.stats().fills, 0);
}

#[test]
fn a_runtime_that_ends_ends_the_fills_it_ran() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::new(Origin::new(|seen| async move {
        if seen.number == 0 {
            std::future::pending::<()>().await;
        }
        Ok(response(200, MINUTE, "second"))
    }));
    let first = runtime();
    let mut leader = Box::pin(world.send(get("/a")));
    first.block_on(async { assert!(poll_times(&mut leader, 3).await.is_none()) });
    let second = runtime();
    let mut follower = Box::pin(world.get("/a"));
    second.block_on(async { assert!(poll_times(&mut follower, 3).await.is_none()) });
    drop(first);
    assert_eq!(second.block_on(follower).text(), "second");
    let leader = second.block_on(async { read(leader.await.unwrap()).await.unwrap() });
    assert_eq!(leader.status, 502);
    assert_eq!(world.edge.stats().fills, 0);
}

#[test]
fn a_runtime_that_ends_under_a_body_is_an_error_to_its_readers() {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let world = World::new(Origin::new(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok(streamed(MINUTE, body)) }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut response = runtime.block_on(world.send(get("/a"))).unwrap();
    feed.send("begin");
    assert_eq!(runtime.block_on(at_hand(response.body_mut())), "begin");
    drop(runtime);
    assert!(feed.is_dropped());
    let error = futures_util::FutureExt::now_or_never(read(response)).expect("an end").unwrap_err();
    assert_eq!(error.kind(), tower_edge::BodyErrorKind::Aborted);
}
