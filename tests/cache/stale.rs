//! The walk of stale things: who gets a stale answer, who does not, and how often the origin is asked meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;
use tower_edge::{CachePolicy, Detail, Limits, RequestDirectives, Stale};

use crate::support::{Origin, OriginDown, World, feed, get, read, request, response, settle, streamed};

const DOWN: u16 = 0;
const PANICS: u16 = 1;

/// An origin that answers with whatever status it is told to, and `control` where that is 200.
fn moody(control: &'static str) -> (Arc<AtomicU16>, Origin) {
    let mood = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&mood);
    let origin = Origin::new(move |seen| {
        let mood = told.load(Ordering::SeqCst);
        async move {
            match mood {
                DOWN => Err(OriginDown),
                PANICS => panic!("the origin breaks"),
                200 => Ok(response(200, &[("cache-control", control)], format!("answer {}", seen.number))),
                304 => Ok(response(304, &[("cache-control", control)], "")),
                status => Ok(response(status, &[], format!("error {}", seen.number))),
            }
        }
    });
    (mood, origin)
}

/// A world in which `/a` was stored 70 s ago, and the mood changed since.
async fn aged(control: &'static str, policy: CachePolicy, mood: u16) -> World {
    let (told, origin) = moody(control);
    let world = World::with_policy(origin, policy);
    world.get("/a").await;
    world.pass_seconds(70);
    told.store(mood, Ordering::SeqCst);
    world
}

/// What a viewer gets: the body, or how it failed.
async fn answer(world: &World, headers: &[(&str, &str)]) -> String {
    match tokio::spawn(world.send(request("GET", "/a", headers))).await {
        Err(_) => "panicked".into(),
        Ok(Err(OriginDown)) => "down".into(),
        Ok(Ok(response)) if response.status() == 504 => "504".into(),
        Ok(Ok(response)) => read(response).await.unwrap().text().to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn stale_is_served_while_one_fill_refreshes_it() {
    let gate = Arc::new(Semaphore::new(1));
    let guard = Arc::clone(&gate);
    let world = World::new(Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            let headers = [("cache-control", "max-age=60, stale-while-revalidate=60")];
            Ok(response(200, &headers, format!("answer {}", seen.number)))
        }
    }));
    world.get("/a").await;
    world.pass_seconds(70);
    for _ in 0..10 {
        let stale = world.get("/a").await;
        assert_eq!(stale.text(), "answer 0");
        assert_eq!(stale.header("cache-status"), Some("test; hit; ttl=-10; detail=stale-while-revalidate"));
        assert_eq!(stale.header("age"), Some("70"));
        settle().await;
    }
    assert_eq!(world.origin.asked(), 2, "one refresh for all");
    gate.add_permits(1);
    settle().await;
    let fresh = world.get("/a").await;
    assert_eq!((fresh.text(), fresh.header("age")), ("answer 1", Some("0")));
    assert_eq!(world.edge.stats().fills, 0);
    // Past the window it is not served any more.
    world.pass_seconds(120);
    gate.add_permits(1);
    assert_eq!(world.get("/a").await.text(), "answer 2");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_needs_no_viewer_to_stay() {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let headers = [("cache-control", "max-age=60, stale-while-revalidate=60")];
    let world = World::new(Origin::new(move |seen| {
        let body = if seen.number == 1 { body.lock().unwrap().take() } else { None };
        async move {
            Ok(match body {
                Some(body) => streamed(&headers, body),
                None => response(200, &headers, "old"),
            })
        }
    }));
    world.get("/a").await;
    world.pass_seconds(70);
    drop(world.send(get("/a")));
    settle().await;
    feed.send("new");
    settle().await;
    assert!(!feed.is_dropped());
    feed.end();
    settle().await;
    assert_eq!(world.get("/a").await.text(), "new");
    assert_eq!(world.origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_keeps_the_object_and_backs_off() {
    for mood in [DOWN, PANICS, 500, 502, 503, 504] {
        let world = aged("max-age=60, stale-while-revalidate=60", CachePolicy::default(), mood).await;
        for _ in 0..5 {
            assert_eq!(answer(&world, &[]).await, "answer 0", "{mood}");
            settle().await;
        }
        assert_eq!(world.origin.asked(), 2, "{mood}: not asked again at once");
        world.pass_seconds(2);
        assert_eq!(answer(&world, &[]).await, "answer 0", "{mood}");
        settle().await;
        assert_eq!(world.origin.asked(), 3, "{mood}: asked again when it had time to recover");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_can_decline_a_stale_answer() {
    for directive in ["no-cache", "max-age=0", "max-age=65", "min-fresh=1", "max-age=600", "max-stale=5"] {
        let world = aged("max-age=60, stale-while-revalidate=60", CachePolicy::default(), 200).await;
        assert_eq!(answer(&world, &[("cache-control", directive)]).await, "answer 1", "{directive}");
    }
    let world = aged("max-age=60, stale-while-revalidate=60", CachePolicy::default(), 200).await;
    assert_eq!(answer(&world, &[("pragma", "no-cache")]).await, "answer 1");
    let deaf = CachePolicy { request_directives: RequestDirectives::Ignore, ..CachePolicy::default() };
    let world = aged("max-age=60, stale-while-revalidate=60", deaf, 200).await;
    assert_eq!(answer(&world, &[("cache-control", "no-cache")]).await, "answer 0");
}

#[tokio::test(start_paused = true)]
async fn stale_stands_in_for_an_origin_that_fails() {
    const FOR_ERRORS: &str = "max-age=60, stale-if-error=60";
    for (control, mood, expected) in [
        (FOR_ERRORS, 500, "answer 0"),
        (FOR_ERRORS, 502, "answer 0"),
        (FOR_ERRORS, 503, "answer 0"),
        (FOR_ERRORS, 504, "answer 0"),
        (FOR_ERRORS, DOWN, "answer 0"),
        (FOR_ERRORS, PANICS, "answer 0"),
        // RFC 5861 §4: other statuses are answers.
        (FOR_ERRORS, 404, "error 1"),
        (FOR_ERRORS, 501, "error 1"),
        (FOR_ERRORS, 429, "error 1"),
        // RFC 5861 §4: the window opens when it became stale, ten seconds ago.
        ("max-age=60, stale-if-error=9", 503, "error 1"),
        ("max-age=60, stale-if-error=9", DOWN, "down"),
        ("max-age=60, stale-if-error=11", 503, "answer 0"),
        // Without a directive: for an origin that cannot be reached, not for one that answers.
        ("max-age=60", 503, "error 1"),
        ("max-age=60", DOWN, "answer 0"),
        ("max-age=60", PANICS, "answer 0"),
        // RFC 9111 §5.2.2.2, §5.2.2.8, §5.2.2.10.
        ("max-age=60, stale-if-error=60, must-revalidate", 503, "error 1"),
        ("max-age=60, stale-if-error=60, must-revalidate", DOWN, "down"),
        ("max-age=60, stale-while-revalidate=60, must-revalidate", DOWN, "down"),
        ("max-age=60, proxy-revalidate", DOWN, "down"),
        ("max-age=60, proxy-revalidate", PANICS, "panicked"),
        ("s-maxage=60", DOWN, "down"),
        ("s-maxage=60, stale-if-error=60", DOWN, "answer 0"),
    ] {
        let world = aged(control, CachePolicy::default(), mood).await;
        assert_eq!(answer(&world, &[]).await, expected, "{control}, {mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn stale_stands_in_for_a_disconnected_origin_for_an_hour() {
    // RFC 9111 §4.2.4. The hour begins when the response becomes stale.
    for (control, seconds, stands_in) in [
        ("max-age=60", 3659, true),
        ("max-age=60", 3660, false),
        ("max-age=60, no-cache", 70, false),
        ("max-age=60, no-cache=\"x-a\"", 70, true),
        ("max-age=60, must-revalidate", 70, false),
    ] {
        let world = World::new(Origin::new(move |seen| async move {
            let answer = response(200, &[("cache-control", control), ("etag", "\"v\"")], "old");
            if seen.number == 0 { Ok(answer) } else { Err(OriginDown) }
        }));
        world.get("/a").await;
        world.pass_seconds(seconds);
        let answer = world.send(get("/a")).await;
        assert_eq!(answer.is_ok(), stands_in, "{control} {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_opens_windows_that_the_origin_did_not() {
    let stale = Stale {
        if_error: Duration::from_secs(60),
        error_statuses: vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE],
        if_disconnected: Duration::ZERO,
        ..Stale::default()
    };
    let policy = || CachePolicy { stale: stale.clone(), ..CachePolicy::default() };
    for (control, mood, expected) in [
        ("max-age=60", 429, "answer 0"),
        ("max-age=60", 503, "answer 0"),
        ("max-age=60", 500, "error 1"),
        ("max-age=60, must-revalidate", 503, "error 1"),
        ("max-age=60, stale-if-error=0", 503, "error 1"),
    ] {
        assert_eq!(answer(&aged(control, policy(), mood).await, &[]).await, expected, "{control}, {mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn everyone_who_waited_gets_the_stale_answer() {
    for mood in [DOWN, 503] {
        let gate = Arc::new(Semaphore::new(1));
        let guard = Arc::clone(&gate);
        let world = World::new(Origin::new(move |seen| {
            let guard = Arc::clone(&guard);
            async move {
                guard.acquire().await.unwrap().forget();
                match (seen.number, mood) {
                    (0, _) => Ok(response(200, &[("cache-control", "max-age=60, stale-if-error=60")], "old")),
                    (_, DOWN) => Err(OriginDown),
                    (_, status) => Ok(response(status, &[], "error")),
                }
            }
        }));
        world.get("/a").await;
        world.pass_seconds(70);
        let viewers: Vec<_> = (0..20).map(|_| tokio::spawn(world.send(get("/a")))).collect();
        settle().await;
        gate.add_permits(1);
        for viewer in viewers {
            let reply = read(viewer.await.unwrap().unwrap()).await.unwrap();
            assert_eq!(reply.text(), "old", "{mood}");
            assert_eq!(reply.outcome().detail, Some(Detail::StaleIfError), "{mood}");
        }
        assert_eq!(world.origin.asked(), 2, "{mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_failed_is_left_alone_for_a_moment() {
    for mood in [DOWN, 503] {
        let world = aged("max-age=60, stale-if-error=60", CachePolicy::default(), mood).await;
        for _ in 0..5 {
            assert_eq!(answer(&world, &[]).await, "answer 0", "{mood}");
        }
        assert_eq!(world.origin.asked(), 2, "{mood}");
        // Who wants it validated is not put off.
        let wanted = answer(&world, &[("cache-control", "no-cache")]).await;
        assert!(["down", "error 2"].contains(&wanted.as_str()), "{wanted}");
        world.pass_seconds(2);
        answer(&world, &[]).await;
        assert_eq!(world.origin.asked(), 4, "{mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_passed_on_opens_no_window_for_the_next() {
    // No directive allows stale for an error answer, and the origin was reached: the window for an origin that cannot be
    // reached stays shut, so that two viewers a second apart see the same.
    let world = aged("max-age=60", CachePolicy::default(), 503).await;
    assert_eq!(answer(&world, &[]).await, "error 1");
    assert_eq!(answer(&world, &[]).await, "error 2");
}

#[tokio::test]
async fn what_has_grown_too_large_to_store_is_not_served_as_it_was() {
    // The length shows only as the body comes.
    let origin = Origin::new(|seen| async move {
        let headers = [("cache-control", "max-age=60, stale-if-error=600"), ("etag", "\"v\"")];
        Ok(match seen.number {
            0 => response(200, &headers, "small"),
            1 => {
                let (feed, body) = feed();
                feed.send(vec![b'x'; 100]);
                feed.end();
                streamed(&headers, body)
            }
            _ => response(503, &[], "down"),
        })
    });
    let limits = Limits { object_size: Some(50), ..Limits::default() };
    let world = World::with_policy(origin, CachePolicy { limits, ..CachePolicy::default() });
    world.get("/a").await;
    world.pass_seconds(61);
    assert_eq!(world.get("/a").await.text().len(), 100);
    assert_eq!(world.get("/a").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_server_error_replaces_nothing_in_the_background() {
    // Whether it may be stood in for or not, an error says nothing about the object.
    for mood in [501, 505, 507, 599] {
        let (told, origin) = moody("max-age=60, stale-while-revalidate=60");
        let world = World::new(origin);
        world.get("/a").await;
        world.pass_seconds(70);
        told.store(mood, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(answer(&world, &[]).await, "answer 0", "{mood}");
            settle().await;
        }
        assert_eq!(world.origin.asked(), 2, "{mood}");
    }
}
