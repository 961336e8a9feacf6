//! Invariant 2, shareable only: what a shared cache may not reuse reaches nobody but the one who asked, neither through
//! the store nor by waiting for the same fill.

use std::sync::Arc;

use http::Request;
use tokio::sync::Semaphore;
use tower_edge::{Authorization, CachePolicy, SetCookie};

use crate::support::{Origin, RequestBody, World, feed, get, read, request, response, settle, streamed};

type Headers = &'static [(&'static str, &'static str)];

/// An origin that numbers its answers and gives each only when the gate lets it.
fn gated(status: u16, headers: Headers) -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let guard = Arc::clone(&gate);
    let origin = Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            Ok(response(status, headers, format!("answer {}", seen.number)))
        }
    });
    (origin, gate)
}

/// Asks twice at once and a third time later; each must get an answer of its own.
async fn is_shared_with_nobody(
    status: u16,
    headers: Headers,
    policy: CachePolicy,
    ask: fn() -> Request<RequestBody>,
) {
    let (origin, gate) = gated(status, headers);
    let world = World::with_policy(origin, policy);
    let leader = tokio::spawn(world.send(ask()));
    settle().await;
    let follower = tokio::spawn(world.send(ask()));
    settle().await;
    gate.add_permits(3);
    let leader = read(leader.await.unwrap().unwrap()).await.unwrap();
    let follower = read(follower.await.unwrap().unwrap()).await.unwrap();
    let later = world.ask(ask()).await;
    let mut bodies = [leader.text(), follower.text(), later.text()];
    bodies.sort_unstable();
    assert_eq!(bodies, ["answer 0", "answer 1", "answer 2"], "{status} {headers:?}");
    assert_eq!(leader.text(), "answer 0", "{status} {headers:?}");
    assert!(!later.is_hit(), "{status} {headers:?}");
    assert_eq!(world.edge.stats().objects, 0, "{status} {headers:?}");
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_stored_is_not_shared_either() {
    const CASES: &[(u16, Headers)] = &[
        (200, &[("cache-control", "private, max-age=60")]),
        (200, &[("cache-control", "no-store, max-age=60")]),
        (200, &[("cache-control", "max-age=60"), ("cache-control", "NO-STORE")]),
        (200, &[("cache-control", "max-age=60, Private=x")]),
        (200, &[("cache-control", "max-age=60, private=\"")]),
        (200, &[("cache-control", "max-age=60;no-store")]),
        (200, &[("cache-control", "no-cache")]),
        (200, &[("cache-control", "no-cache=, max-age=60")]),
        (200, &[("cache-control", "max-age=0")]),
        (200, &[("cache-control", "max-age=60"), ("age", "60")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "*")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "accept, *")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "acc ept")]),
        (200, &[("cache-control", "max-age=60"), ("set-cookie", "session=1")]),
        (200, &[("cache-control", "max-age=60"), ("content-type", "text/event-stream")]),
        (200, &[("cache-control", "max-age=60"), ("content-length", "9")]),
        (200, &[("expires", "0"), ("last-modified", "yesterday")]),
        (200, &[]),
        (206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-7/100")]),
        (302, &[("location", "/elsewhere")]),
        (404, &[]),
        (403, &[("last-modified", "Thu, 01 Jan 2015 00:00:00 GMT")]),
        (500, &[]),
        (299, &[("cache-control", "max-age=60, must-understand, no-store")]),
        (599, &[("cache-control", "max-age=60, must-understand")]),
    ];
    for (status, headers) in CASES {
        is_shared_with_nobody(*status, headers, CachePolicy::default(), || get("/a")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_not_modified_nobody_asked_for_is_not_kept() {
    let (origin, gate) = gated(304, &[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
    let world = World::new(origin);
    gate.add_permits(3);
    for asked in 1..=3 {
        // The condition is the viewer's, not the edge's: the fill is sent without it.
        let reply = world.get_with("/a", &[("if-none-match", "\"a\"")]).await;
        assert_eq!(reply.status.as_u16(), 304);
        assert_eq!((world.origin.asked(), world.edge.stats().objects), (asked, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_to_credentials_need_leave_to_be_shared() {
    let ask = || request("GET", "/a", &[("authorization", "Basic YTpi")]);
    is_shared_with_nobody(200, &[("cache-control", "max-age=60")], CachePolicy::default(), ask).await;
    is_shared_with_nobody(200, &[("expires", "Thu, 01 Jan 2026 01:00:00 GMT")], CachePolicy::default(), ask)
        .await;
    let bypass = CachePolicy { authorization: Authorization::Bypass, ..CachePolicy::default() };
    is_shared_with_nobody(200, &[("cache-control", "public, max-age=60")], bypass, ask).await;
    for leave in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
        let world = World::new(Origin::new(move |seen| async move {
            Ok(response(200, &[("cache-control", leave)], format!("answer {}", seen.number)))
        }));
        world.ask(ask()).await;
        assert!(world.get("/a").await.is_hit(), "{leave}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_answer_to_credentials() {
    let (origin, gate) = gated(200, &[("cache-control", "max-age=60")]);
    let world = World::new(origin);
    let personal = tokio::spawn(world.send(request("GET", "/a", &[("authorization", "Basic YTpi")])));
    settle().await;
    let anonymous = tokio::spawn(world.send(get("/a")));
    let other = tokio::spawn(world.send(request("GET", "/a", &[("authorization", "Basic Yzpk")])));
    settle().await;
    assert_eq!(world.origin.asked(), 3);
    gate.add_permits(3);
    for answer in [personal, anonymous, other] {
        read(answer.await.unwrap().unwrap()).await.unwrap();
    }
    assert_eq!(world.get("/a").await.text(), "answer 1", "only the anonymous answer is stored");
}

#[tokio::test(start_paused = true)]
async fn what_the_request_forbids_to_store_is_not_stored() {
    is_shared_with_nobody(200, &[("cache-control", "max-age=60")], CachePolicy::default(), || {
        request("GET", "/a", &[("cache-control", "no-store")])
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_cookie_of_one_reaches_no_other_unless_told_so() {
    let cookie: Headers = &[("cache-control", "max-age=60"), ("set-cookie", "session=1")];
    for (set_cookie, kept) in [(SetCookie::Strip, None), (SetCookie::Store, Some("session=1"))] {
        let world = World::with_policy(
            Origin::numbered(cookie),
            CachePolicy { set_cookie, ..CachePolicy::default() },
        );
        world.get("/a").await;
        let second = world.get("/a").await;
        assert!(second.is_hit());
        assert_eq!(second.header("set-cookie"), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn fields_named_private_reach_no_second_viewer() {
    let headers: Headers = &[
        ("cache-control", "max-age=60, private=\"x-user, Set-Cookie\""),
        ("cache-control", "no-cache=\"x-token\""),
        ("x-user", "ann"),
        ("x-token", "1"),
        ("set-cookie", "session=1"),
        ("x-other", "kept"),
    ];
    let (origin, gate) = gated(200, headers);
    let world = World::new(origin);
    let leader = tokio::spawn(world.send(get("/a")));
    settle().await;
    let follower = tokio::spawn(world.send(get("/a")));
    settle().await;
    gate.add_permits(1);
    leader.await.unwrap().unwrap();
    let joined = read(follower.await.unwrap().unwrap()).await.unwrap();
    for reply in [joined, world.get("/a").await] {
        assert_eq!(reply.text(), "answer 0");
        assert_eq!(reply.header("x-other"), Some("kept"));
        for name in ["x-user", "x-token", "set-cookie"] {
            assert_eq!(reply.header(name), None, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_for_another_variant_is_not_for_those_who_joined() {
    let gate = Arc::new(Semaphore::new(0));
    let guard = Arc::clone(&gate);
    let world = World::new(Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            let lang = seen.headers.get("accept-language").map_or("none", |lang| lang.to_str().unwrap());
            Ok(response(
                200,
                &[("cache-control", "max-age=60"), ("vary", "Accept-Language")],
                lang.to_owned(),
            ))
        }
    }));
    let ask = |lang: &'static str| {
        let asked =
            if lang == "none" { get("/a") } else { request("GET", "/a", &[("accept-language", lang)]) };
        (lang, tokio::spawn(world.send(asked)))
    };
    let first = ask("en");
    settle().await;
    let waiting: Vec<_> = ["de", "en", "fr", "de", "none", "fr"].into_iter().map(ask).collect();
    settle().await;
    assert_eq!(world.origin.asked(), 1);
    gate.add_permits(100);
    for (lang, answer) in waiting.into_iter().chain([first]) {
        let reply = read(answer.await.unwrap().unwrap()).await.unwrap();
        assert_eq!(reply.text(), lang);
    }
    assert_eq!(world.origin.asked(), 4, "each variant is asked for once");
    for lang in ["en", "de", "fr"] {
        assert!(world.get_with("/a", &[("accept-language", lang)]).await.is_hit(), "{lang}");
    }
    assert!(world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_makes_nobody_wait() {
    let world = World::new(Origin::new(|_| async {
        let (events, body) = feed();
        events.send("event");
        std::mem::forget(events);
        Ok(streamed(
            &[("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "max-age=60")],
            body,
        ))
    }));
    let streams = [
        world.send(get("/a")),
        world.send(get("/a")),
        world.send(request("GET", "/a", &[("accept", "text/event-stream")])),
    ];
    for stream in streams {
        let response = stream.await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }
    assert_eq!(world.origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_that_forbids_sharing_reaches_no_follower() {
    let gate = Arc::new(Semaphore::new(1));
    let guard = Arc::clone(&gate);
    let world = World::new(Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            Ok(match seen.headers.get("if-none-match") {
                Some(_) => response(304, &[("cache-control", "private"), ("etag", "\"a\"")], ""),
                None if seen.number == 0 => {
                    response(200, &[("cache-control", "max-age=60"), ("etag", "\"a\"")], "answer 0")
                }
                None => response(200, &[("cache-control", "private")], format!("answer {}", seen.number)),
            })
        }
    }));
    world.get("/a").await;
    world.pass_seconds(60);
    let leader = tokio::spawn(world.send(get("/a")));
    settle().await;
    let follower = tokio::spawn(world.send(get("/a")));
    settle().await;
    gate.add_permits(3);
    assert_eq!(read(leader.await.unwrap().unwrap()).await.unwrap().text(), "answer 0");
    // What was stored was for everyone; what the origin says of it now is for the one who asked.
    assert_eq!(read(follower.await.unwrap().unwrap()).await.unwrap().text(), "answer 2");
    assert!(!world.get("/a").await.is_hit());
    assert_eq!(world.edge.stats().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn fields_named_private_reach_the_viewer_they_are_for() {
    // RFC 9111 §5.2.2.7: the field is for a single user, and that is the one whose request went to the origin.
    let world = World::new(Origin::numbered(&[
        ("cache-control", "max-age=60, private=\"set-cookie\""),
        ("set-cookie", "session=1"),
    ]));
    assert_eq!(world.get("/a").await.header("set-cookie"), Some("session=1"));
    assert_eq!(world.get("/a").await.header("set-cookie"), None);
}
