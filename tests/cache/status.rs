//! `Cache-Status` says what happened, in a form that a parser of Structured Fields reads (RFC 9211).

use std::future::pending;
use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use sfv::{BareItem, Item, List, ListEntry, Parser};
use tower_edge::{CachePolicy, CustomKey, KeyPolicy};

use crate::support::{
    Origin, OriginDown, OriginResult, Reply, RequestBody, World, get, read, request, response, settle,
};

type Lines = &'static [(&'static str, &'static str)];

const MINUTE: Lines = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];

/// The members of a `Cache-Status`, all its lines taken together.
fn members(reply: &Reply) -> Vec<Item> {
    let lines: Vec<_> = reply.headers.get_all("cache-status").iter().map(|line| line.as_bytes()).collect();
    let list: List = Parser::new(&lines.join(&b", "[..])).parse().expect("a list");
    list.into_iter()
        .map(|member| match member {
            ListEntry::Item(item) => item,
            ListEntry::InnerList(_) => panic!("an inner list names no cache"),
        })
        .collect()
}

/// The edge's own member, the last one, as its parameters are spelt; having checked their types (RFC 9211 §2).
fn own(reply: &Reply) -> String {
    let item = members(reply).pop().expect("every answer has one");
    assert!(matches!(item.bare_item, BareItem::Token(_) | BareItem::String(_)), "{item:?}");
    let mut text = Vec::new();
    for (name, value) in &item.params {
        text.push(match (name.as_str(), value) {
            ("hit" | "stored" | "collapsed", BareItem::Boolean(true)) => name.as_str().to_owned(),
            ("fwd" | "detail", BareItem::Token(token)) => format!("{name}={token}"),
            ("fwd-status" | "ttl", BareItem::Integer(number)) => format!("{name}={number}"),
            other => panic!("{other:?}"),
        });
    }
    // RFC 9211 §2.2: forwarded or not; §2.5, §2.6: the rest is about requests that were.
    let has = |name: &str| item.params.contains_key(name);
    assert!(has("hit") != has("fwd"), "{text:?}");
    assert!(has("fwd") || !(has("stored") || has("collapsed") || has("fwd-status")), "{text:?}");
    text.join("; ")
}

/// An origin that answers with `MINUTE`, and with an empty 304 to whoever asks about it.
fn validating() -> Origin {
    Origin::new(|seen| async move {
        let conditional = seen.headers.contains_key("if-none-match");
        Ok(if conditional { response(304, MINUTE, "") } else { response(200, MINUTE, "body") })
    })
}

/// An origin that answers with `lines` once, and then as `later` says.
fn once(lines: Lines, later: fn() -> OriginResult) -> Origin {
    Origin::new(move |seen| async move {
        if seen.number == 0 { Ok(response(200, lines, "body")) } else { later() }
    })
}

fn down() -> OriginResult {
    Err(OriginDown)
}

fn unavailable() -> OriginResult {
    Ok(response(503, &[], "sorry"))
}

#[tokio::test]
async fn a_read_is_a_hit_or_says_why_it_went_forward() {
    const VARY: Lines = &[("cache-control", "max-age=60"), ("vary", "foo")];
    const NO_STORE: Lines = &[("cache-control", "no-store")];
    let two_hosts: Lines = &[("host", "other.example")];
    type Row = (fn() -> Origin, u64, Lines, &'static str);
    let table: &[Row] = &[
        // What the origin says, the seconds between two requests, the second one's fields, its `Cache-Status`.
        (validating, 10, &[], "hit; ttl=50"),
        (validating, 10, &[("range", "bytes=0-0")], "hit; ttl=50"),
        (validating, 10, &[("if-none-match", "\"v\"")], "hit; ttl=50"),
        (validating, 60, &[], "fwd=stale; fwd-status=304; stored"),
        (validating, 10, &[("cache-control", "no-cache")], "fwd=request; fwd-status=304; stored"),
        (validating, 70, &[("cache-control", "max-stale=60")], "hit; ttl=-10; detail=max-stale"),
        (validating, 70, &[("cache-control", "only-if-cached")], "fwd=miss; detail=only-if-cached"),
        (validating, 10, two_hosts, "fwd=bypass; detail=not-canonical"),
        (validating, 10, &[("x-http-method-override", "PUT")], "fwd=bypass; detail=untouched"),
        (validating, 10, &[("if-match", "\"v\"")], "fwd=bypass; detail=untouched"),
        (|| Origin::numbered(VARY), 10, &[("foo", "1")], "fwd=vary-miss; stored"),
        (|| Origin::numbered(NO_STORE), 10, &[], "fwd=uri-miss; detail=uncacheable"),
        (|| once(MINUTE, unavailable), 70, &[], "fwd=stale"),
        (|| once(MINUTE, down), 70, &[], "fwd=stale; ttl=-10; detail=stale-if-error"),
    ];
    for (origin, seconds, fields, expected) in table {
        let world = World::new(origin());
        let first = own(&world.get("/a").await);
        assert!(["fwd=uri-miss; stored", "fwd=uri-miss"].contains(&first.as_str()), "{first}");
        world.pass_seconds(*seconds);
        assert_eq!(own(&world.get_with("/a", fields).await), *expected, "{seconds} {fields:?}");
    }
}

#[tokio::test]
async fn stale_answers_say_how_stale_and_on_what_grounds() {
    let windows: Lines =
        &[("cache-control", "max-age=60, stale-while-revalidate=20, stale-if-error=50"), ("etag", "\"v\"")];
    let world = World::new(once(windows, unavailable));
    world.get("/a").await;
    world.pass_seconds(65);
    assert_eq!(own(&world.get("/a").await), "hit; ttl=-5; detail=stale-while-revalidate");
    settle().await;
    world.pass_seconds(30);
    let instead = own(&world.get("/a").await);
    assert_eq!(instead, "fwd=stale; fwd-status=503; ttl=-35; detail=stale-if-error");
    // The origin is left alone for a while.
    assert_eq!(own(&world.get("/a").await), "hit; ttl=-35; detail=stale-if-error");
    assert_eq!(world.origin.asked(), 3);
}

#[tokio::test]
async fn methods_and_keys_of_the_operator_go_past_the_cache() {
    let custom = Some(CustomKey::new(|_| None));
    let bypass = CachePolicy { key: KeyPolicy { custom, ..KeyPolicy::default() }, ..CachePolicy::default() };
    let world = World::with_policy(Origin::numbered(MINUTE), bypass);
    assert_eq!(own(&world.get("/a").await), "fwd=bypass");
    for method in ["POST", "PUT", "DELETE", "PURGE", "OPTIONS", "QUERY"] {
        assert_eq!(own(&world.ask(request(method, "/a", &[])).await), "fwd=method", "{method}");
    }
}

#[tokio::test]
async fn who_shared_an_exchange_says_collapsed() {
    let world = World::new(Origin::numbered(MINUTE));
    let all = together(&world, 3).await;
    let all: Vec<_> = all.iter().map(|reply| own(reply.as_ref().unwrap())).collect();
    assert_eq!(all, ["fwd=uri-miss; stored", "fwd=uri-miss; collapsed", "fwd=uri-miss; collapsed"]);
}

#[tokio::test]
async fn who_waited_for_a_failure_says_origin_error() {
    // A refusal: each asks for itself.
    let world = World::new(Origin::new(|_| async { unavailable() }));
    let all = together(&world, 2).await;
    assert_eq!(own(all[0].as_ref().unwrap()), "fwd=uri-miss");
    assert_eq!(own(all[1].as_ref().unwrap()), "fwd=uri-miss; detail=origin-error");

    // No answer: some try in turn, then the edge answers for the origin.
    let world = World::new(Origin::new(|_| async { down() }));
    let all = together(&world, 8).await;
    let answered: Vec<_> = all.iter().flatten().collect();
    assert!(!answered.is_empty(), "followers are not asked to fail one by one");
    for reply in answered {
        assert_eq!(reply.status, 502);
        assert_eq!(own(reply), "fwd=uri-miss; collapsed; detail=origin-error");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_too_long_says_timeout() {
    let world = World::new(Origin::new(|seen| async move {
        if seen.number == 0 { pending().await } else { Ok(response(200, MINUTE, "late")) }
    }));
    let leader = tokio::spawn(world.send(get("/a")));
    settle().await;
    assert_eq!(own(&world.get("/a").await), "fwd=uri-miss; detail=timeout");
    leader.abort();
}

#[tokio::test]
async fn who_found_the_edge_at_its_limit_says_busy() {
    let origin = Origin::new(|seen| async move {
        if seen.uri == "/slow" { pending().await } else { Ok(response(200, MINUTE, "quick")) }
    });
    let world = World::with(origin, |edge| edge.max_fills(1));
    let slow = tokio::spawn(world.send(get("/slow")));
    settle().await;
    assert_eq!(own(&world.get("/a").await), "fwd=uri-miss; detail=busy");
    slow.abort();
}

#[tokio::test]
async fn the_edge_stands_after_the_caches_nearer_the_origin() {
    // RFC 9211 §2: each cache appends its member.
    let upstream: &[(Lines, &[&str])] = &[
        (&[("cache-status", "origin; hit; ttl=5")], &["origin"]),
        (&[("cache-status", "a; fwd=miss, \"b, c\"; hit")], &["a", "b, c"]),
        (&[("cache-status", "a; hit"), ("cache-status", "b; fwd=stale; key=\"/x\"")], &["a", "b"]),
    ];
    for (lines, names) in upstream {
        for control in ["max-age=60", "no-store"] {
            let lines: Vec<_> = lines.iter().copied().chain([("cache-control", control)]).collect();
            let world = World::with(
                Origin::new(move |_| {
                    let answer = response(200, &lines, "body");
                    async { Ok(answer) }
                }),
                |edge| edge.name("my \"edge\""),
            );
            for _ in 0..2 {
                let reply = world.get("/a").await;
                let found: Vec<_> = members(&reply).iter().map(name).collect();
                let expected: Vec<_> = names.iter().copied().chain(["my \"edge\""]).collect();
                assert_eq!(found, expected, "{control}");
                own(&reply);
            }
        }
    }
}

#[tokio::test]
async fn no_member_says_the_key() {
    let world = World::new(Origin::numbered(MINUTE));
    for _ in 0..2 {
        let reply = world.get("/secret?token=secret").await;
        assert!(!reply.header("cache-status").unwrap().contains("secret"));
    }
}

fn name(item: &Item) -> String {
    match &item.bare_item {
        BareItem::Token(name) => name.as_str().to_owned(),
        BareItem::String(name) => name.as_str().to_owned(),
        other => panic!("{other:?} names no cache"),
    }
}

/// Requests for `/a` that are all under way before the origin gets the first.
async fn together(world: &World, viewers: usize) -> Vec<Result<Reply, OriginDown>> {
    let requests: Vec<Request<RequestBody>> = (0..viewers).map(|_| get("/a")).collect();
    let answers = join_all(requests.into_iter().map(|request| world.send(request))).await;
    let patience = Duration::from_secs(5);
    let read = answers.into_iter().map(|answer| async move {
        match answer {
            Ok(response) => Ok(read(response).await.expect("the body is whole")),
            Err(down) => Err(down),
        }
    });
    tokio::time::timeout(patience, join_all(read)).await.expect("nobody waits for ever")
}
