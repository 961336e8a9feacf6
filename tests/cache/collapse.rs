//! One exchange with the origin for everyone who wants the same, as fast as the origin gives it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::support::services::{at_hand, next};
use crate::support::{Feed, Origin, World, feed, get, read, request, response, settle, streamed};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];
const TEN: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\""), ("content-length", "10")];

/// An origin whose first answer is fed by the test. Later ones say that they are not the first.
fn fed(headers: &'static [(&'static str, &'static str)]) -> (Feed, Origin) {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new(move |seen| {
        let body = body.lock().unwrap().take();
        async move {
            Ok(match body {
                Some(body) => streamed(headers, body),
                None => response(200, &[], format!("answer {}", seen.number)),
            })
        }
    });
    (feed, origin)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_for_a_cold_key_are_one_for_the_origin() {
    let world = World::new(Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        Ok(response(200, MINUTE, format!("{}{}", seen.number, "x".repeat(100_000))))
    }));
    let start = Instant::now();
    let replies = join_all((0..10_000).map(|_| world.get("/a"))).await;
    assert!(start.elapsed() < Duration::from_millis(1_100), "{:?}", start.elapsed());
    assert_eq!(world.origin.asked(), 1);
    assert_eq!(replies[0].body.len(), 100_001);
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    assert_eq!(replies.iter().filter(|reply| reply.outcome().collapsed).count(), 9_999);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_for_what_cannot_be_shared_wait_about_as_long_as_one() {
    let world = World::new(Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        let private = [("cache-control", "private")];
        Ok(response(200, &private, format!("for {}", seen.headers["x-viewer"].to_str().unwrap())))
    }));
    let ask = |viewer: usize| {
        let world = &world;
        async move {
            let reply = world.get_with("/a", &[("x-viewer", &viewer.to_string())]).await;
            assert_eq!(reply.text(), format!("for {viewer}"));
        }
    };
    let start = Instant::now();
    join_all((0..1_000).map(ask)).await;
    assert!(start.elapsed() < Duration::from_millis(2_100), "{:?}", start.elapsed());
    assert_eq!(world.origin.asked(), 1_000);
    // By now it is known that nothing is to be had by waiting.
    let start = Instant::now();
    join_all((0..1_000).map(ask)).await;
    assert!(start.elapsed() < Duration::from_millis(1_100), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bytes_reach_leader_and_late_joiners_as_they_come() {
    for headers in [MINUTE, TEN] {
        let (feed, origin) = fed(headers);
        let world = World::new(origin);
        let mut leader = world.send(get("/a")).await.unwrap().into_body();
        assert_eq!(at_hand(&mut leader).await, "");
        feed.send("abc");
        assert_eq!(at_hand(&mut leader).await, "abc");
        let mut joiner = world.send(get("/a")).await.unwrap().into_body();
        assert_eq!(at_hand(&mut joiner).await, "abc");
        feed.send("def");
        assert_eq!(at_hand(&mut leader).await, "def");
        assert_eq!(at_hand(&mut joiner).await, "def");
        let mut late = world.send(get("/a")).await.unwrap().into_body();
        feed.send("ghij");
        feed.end();
        assert_eq!(at_hand(&mut late).await, "abcdefghij");
        assert_eq!(at_hand(&mut joiner).await, "ghij");
        assert_eq!(at_hand(&mut leader).await, "ghij");
        for body in [&mut leader, &mut joiner, &mut late] {
            assert!(matches!(next(body).await, Some(None)));
        }
        assert_eq!(world.origin.asked(), 1);
        assert!(world.get("/a").await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_slows_nobody() {
    let (feed, origin) = fed(MINUTE);
    let world = World::new(origin);
    let idle = world.send(get("/a")).await.unwrap();
    let mut quick = world.send(get("/a")).await.unwrap().into_body();
    for _ in 0..100 {
        feed.send(vec![b'x'; 10_000]);
        assert_eq!(at_hand(&mut quick).await.len(), 10_000);
        assert_eq!(feed.unread(), 0);
    }
    feed.end();
    assert!(matches!(next(&mut quick).await, Some(None)));
    assert!(world.get("/a").await.is_hit());
    assert_eq!(read(idle).await.unwrap().body.len(), 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn ranges_are_cut_from_a_body_while_it_grows() {
    let (feed, origin) = fed(TEN);
    let world = World::new(origin);
    let range = |range| world.send(request("GET", "/a", &[("range", range)]));
    let leader = range("bytes=2-5").await.unwrap();
    assert_eq!(leader.status(), 206);
    assert_eq!(leader.headers()["content-range"], "bytes 2-5/10");
    assert!(world.origin.seen()[0].headers.get("range").is_none());
    let mut leader = leader.into_body();
    feed.send("0123");
    assert_eq!(at_hand(&mut leader).await, "23");
    let mut suffix = range("bytes=-2").await.unwrap().into_body();
    let multi = range("bytes=1-2,8-9").await.unwrap();
    let length = multi.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
    let mut multi = multi.into_body();
    let beginning = at_hand(&mut multi).await;
    assert!(beginning.contains("Content-Range: bytes 1-2/10\r\n\r\n12"), "{beginning}");
    assert!(beginning.ends_with("Content-Range: bytes 8-9/10\r\n\r\n"), "{beginning}");
    assert_eq!(at_hand(&mut suffix).await, "");
    let beyond = range("bytes=10-").await.unwrap();
    assert_eq!(
        (beyond.status().as_u16(), &beyond.headers()["content-range"]),
        (416, &"bytes */10".parse().unwrap())
    );
    feed.send("456789");
    assert_eq!(at_hand(&mut leader).await, "45");
    assert!(matches!(next(&mut leader).await, Some(None)));
    assert_eq!(at_hand(&mut suffix).await, "89");
    let rest = at_hand(&mut multi).await;
    assert!(rest.starts_with("89\r\n--"), "{rest}");
    assert_eq!(beginning.len() + rest.len(), length);
    feed.end();
    settle().await;
    assert!(world.get("/a").await.is_hit());
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn conditions_and_head_are_answered_while_the_body_still_comes() {
    let (feed, origin) = fed(TEN);
    let world = World::new(origin);
    let leader = world.send(get("/a")).await.unwrap();
    feed.send("01234");
    settle().await;
    let not_modified = world.get_with("/a", &[("if-none-match", "\"v\"")]).await;
    assert_eq!((not_modified.status.as_u16(), not_modified.text()), (304, ""));
    let head = world.ask(request("HEAD", "/a", &[])).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.text()), (200, Some("10"), ""));
    let other = world.send(request("GET", "/a", &[("if-none-match", "\"w\"")]));
    feed.send("56789");
    feed.end();
    assert_eq!(read(leader).await.unwrap().text(), "0123456789");
    assert_eq!(read(other.await.unwrap()).await.unwrap().text(), "0123456789");
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_needs_little_of_the_body_lets_it_come_all_the_same() {
    for headers in [
        [("if-none-match", "\"v\"")],
        [("range", "bytes=0-0")],
        [("range", "bytes=0-0,3-3")],
        [("range", "bytes=200000-")],
    ] {
        let long = &[("cache-control", "max-age=60"), ("etag", "\"v\""), ("content-length", "100000")];
        let (feed, origin) = fed(long);
        let world = World::new(origin);
        feed.send(vec![b'x'; 1_000]);
        let leader = world.ask(request("GET", "/a", &headers)).await;
        assert!(leader.status == 304 || leader.status == 206 || leader.status == 416, "{headers:?}");
        settle().await;
        assert!(!feed.is_dropped(), "{headers:?}");
        feed.send(vec![b'x'; 99_000]);
        feed.end();
        settle().await;
        let stored = world.get("/a").await;
        assert!(stored.is_hit() && stored.body.len() == 100_000, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_variant_collapses_on_its_own() {
    let world = World::new(Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        let language = seen.headers["accept-language"].to_str().unwrap().to_owned();
        Ok(response(200, &[("cache-control", "max-age=60"), ("vary", "accept-language")], language))
    }));
    let languages = ["en", "de", "fr", "it", "es", "pl"];
    let start = Instant::now();
    let ask = |n: usize| {
        let (world, language) = (&world, languages[n % languages.len()]);
        async move {
            let reply = world.get_with("/a", &[("accept-language", language)]).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, language));
        }
    };
    join_all((0..600).map(ask)).await;
    assert_eq!(world.origin.asked(), languages.len());
    // What it varies by is known after the first answer; the others are then asked for side by side.
    assert!(start.elapsed() < Duration::from_millis(2_100), "{:?}", start.elapsed());
    join_all((0..6).map(ask)).await;
    assert_eq!(world.origin.asked(), languages.len());
}
