//! Every scope of an invalidation, hard and soft, and what its receipt says.

use std::time::Duration;

use tower_edge::{
    CachePolicy, Edge, InvalidateError, Invalidation, InvalidationState, KeyPolicy, ManualClock, Select,
    Tariff,
};

use crate::support::{Origin, World, feed, get, read, request, response, settle, streamed};

const PAGE: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("etag", "\"v\""),
    ("cache-tag", "News, front"),
    ("surrogate-key", "s1 s2"),
    ("cache-groups", "\"g1\""),
];

fn world() -> World {
    World::new(Origin::new(|seen| async move {
        // Only this page has the labels.
        let headers = if seen.uri.contains("/news") { PAGE } else { &PAGE[..2] };
        Ok(response(200, headers, format!("answer {}", seen.number)))
    }))
}

async fn hits(world: &World, paths: &[&str]) -> Vec<bool> {
    let mut hits = Vec::new();
    for path in paths {
        hits.push(world.get(path).await.is_hit());
    }
    hits
}

#[tokio::test(start_paused = true)]
async fn each_scope_clears_what_it_names_and_no_more() {
    type Case = (&'static str, fn() -> Invalidation, [bool; 4]);
    let cases: [Case; 12] = [
        ("path", || Invalidation::paths(["/news/1"]).unwrap(), [false, true, true, true]),
        ("wildcard", || Invalidation::paths(["/news/*"]).unwrap(), [false, false, true, true]),
        (
            "wildcard over the query",
            || Invalidation::paths(["/news/1*"]).unwrap(),
            [false, false, true, true],
        ),
        (
            "this host",
            || Invalidation::host_paths("Site.Example", ["/n*", "/x"]).unwrap(),
            [false, false, false, true],
        ),
        (
            "another host",
            || Invalidation::host_paths("other.example", ["/*", "/x"]).unwrap(),
            [true, true, true, true],
        ),
        ("url", || Invalidation::url("http://site.example/news/1?q").unwrap(), [true, false, true, true]),
        (
            "url of another scheme",
            || Invalidation::url("https://site.example/x").unwrap(),
            [true, true, true, true],
        ),
        ("tag", || Invalidation::tags(["NEWS"]).unwrap(), [false, false, true, true]),
        ("surrogate key", || Invalidation::tags(["s2"]).unwrap(), [false, false, true, true]),
        ("no such tag", || Invalidation::tags(["s"]).unwrap(), [true, true, true, true]),
        (
            "group",
            || Invalidation::groups("http://site.example", ["g1"]).unwrap(),
            [false, false, true, true],
        ),
        ("all", Invalidation::all, [false, false, false, false]),
    ];
    let paths = ["/news/1", "/news/1?q", "/x", "/y"];
    for (name, invalidation, expected) in cases {
        let world = world();
        hits(&world, &paths).await;
        assert_eq!(hits(&world, &paths).await, [true; 4]);
        let receipt = world.edge.invalidator().invalidate(invalidation()).unwrap();
        receipt.completed().await;
        let gone = expected.iter().filter(|hit| !**hit).count();
        assert_eq!(receipt.objects(), gone as u64, "{name}");
        assert_eq!(receipt.bytes() > 0, gone > 0, "{name}");
        assert_eq!(hits(&world, &paths).await, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_is_in_force_before_its_sweep() {
    let world = world();
    world.get("/news/1").await;
    let receipt = world.edge.invalidator().invalidate(Invalidation::tags(["news"]).unwrap()).unwrap();
    assert_eq!(receipt.state(), InvalidationState::InProgress);
    assert!(!world.get("/news/1").await.is_hit());
    assert_eq!(world.origin.seen()[1].headers.get("if-none-match"), None, "gone: not revalidated");
}

#[tokio::test(start_paused = true)]
async fn viewers_see_no_tags_and_a_304_may_change_them() {
    let world = World::new(Origin::new(|seen| async move {
        Ok(match seen.number {
            0 => response(200, PAGE, "body"),
            1 => response(304, &[("cache-control", "max-age=60"), ("etag", "\"v\"")], ""),
            2 => response(
                304,
                &[("cache-tag", "sport"), ("etag", "\"v\""), ("cache-control", "max-age=60")],
                "",
            ),
            _ => response(200, PAGE, "new"),
        })
    }));
    let invalidate = |tag| {
        let tags = Invalidation::tags([tag]).unwrap();
        world.edge.invalidator().invalidate(tags).unwrap()
    };
    for _ in 0..3 {
        let reply = world.get("/news").await;
        assert_eq!(reply.text(), "body");
        assert!(!reply.headers.contains_key("cache-tag") && !reply.headers.contains_key("surrogate-key"));
        assert_eq!(reply.header("cache-groups"), Some("\"g1\""));
        world.pass_seconds(61);
    }
    world.pass_seconds(0);
    // The first 304 kept the tags, the second replaced them.
    let fresh = world.get("/other").await;
    assert_eq!(fresh.text(), "new");
    invalidate("news").completed().await;
    assert_eq!(world.edge.stats().objects, 1, "only the other page had that tag");
    invalidate("sport").completed().await;
    assert_eq!(world.edge.stats().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn tags_do_not_leave_with_what_is_not_stored() {
    let world = World::new(Origin::numbered(&[("cache-control", "no-store"), ("cache-tag", "a")]));
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        let reply = world.ask(request(method, "/a", &[])).await;
        assert!(!reply.headers.contains_key("cache-tag"), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn soft_makes_stale_and_keeps_the_windows() {
    let headers =
        &[("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=90"), ("etag", "\"v\"")];
    let world = World::new(Origin::new(move |seen| async move {
        Ok(match seen.number {
            0 => response(200, headers, "old"),
            1 => response(503, &[], "down"),
            _ => response(304, headers, ""),
        })
    }));
    world.get("/a").await;
    world.pass_seconds(10);
    let receipt = world.edge.invalidator().invalidate(Invalidation::paths(["/a"]).unwrap().soft()).unwrap();
    receipt.completed().await;
    assert_eq!(receipt.objects(), 1);
    // Within the first window, which began with the invalidation.
    let stale = world.get("/a").await;
    assert_eq!((stale.text(), stale.outcome().ttl), ("old", Some(0)));
    assert_eq!(stale.header("age"), Some("10"));
    settle().await;
    assert_eq!(world.origin.asked(), 2, "it is being refreshed");
    world.pass_seconds(40);
    // Past the first window: revalidated, and as good as new.
    let revalidated = world.get("/a").await;
    assert_eq!(revalidated.outcome().fwd_status.map(|status| status.as_u16()), Some(304));
    assert!(world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_fill_under_way_is_revoked_by_tag_before_and_after_its_head() {
    for late in [false, true] {
        let (feed, body) = feed();
        let body = std::sync::Mutex::new(Some(body));
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let opened = std::sync::Arc::clone(&gate);
        let world = World::new(Origin::new(move |seen| {
            let body = body.lock().unwrap().take();
            let gate = std::sync::Arc::clone(&opened);
            async move {
                if let Some(body) = body {
                    gate.acquire().await.unwrap().forget();
                    return Ok(streamed(PAGE, body));
                }
                Ok(response(200, PAGE, format!("answer {}", seen.number)))
            }
        }));
        let leader = tokio::spawn(world.send(get("/news")));
        settle().await;
        let invalidate =
            || world.edge.invalidator().invalidate(Invalidation::tags(["news"]).unwrap()).unwrap();
        let mut receipt = None;
        if !late {
            receipt = Some(invalidate());
            settle().await;
        }
        gate.add_permits(1);
        settle().await;
        if late {
            receipt = Some(invalidate());
        }
        let receipt = receipt.unwrap();
        receipt.completed().await;
        assert_eq!(receipt.fills_revoked(), 1);
        // Who comes now joins nothing that began before.
        assert_eq!(world.get("/news").await.text(), "answer 1");
        feed.send("old");
        feed.end();
        assert_eq!(read(leader.await.unwrap().unwrap()).await.unwrap().text(), "old");
        assert_eq!(world.get("/news").await.text(), "answer 1", "late: {late}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_invalidated_by_writes_that_worked() {
    for (method, status, cleared) in [("POST", 200, true), ("POST", 500, false), ("GET", 200, false)] {
        let world = World::new(Origin::new(move |seen| async move {
            Ok(if seen.uri == "/write" {
                response(status, &[("cache-group-invalidation", "\"g1\"")], "")
            } else {
                response(200, PAGE, "page")
            })
        }));
        world.get("/news").await;
        world.ask(request(method, "/write", &[])).await;
        assert_eq!(world.get("/news").await.is_hit(), !cleared, "{method} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_reference_returns_the_first_receipt() {
    let world = world();
    let invalidator = world.edge.invalidator();
    let invalidate = || invalidator.invalidate(Invalidation::paths(["/x"]).unwrap().reference("r1"));
    let first = invalidate().unwrap();
    first.completed().await;
    world.get("/x").await;
    let again = invalidate().unwrap();
    assert_eq!((again.id(), again.reference()), (first.id(), Some("r1")));
    assert_eq!(invalidator.receipt_of("r1").map(|receipt| receipt.id()), Some(first.id()));
    assert!(invalidator.receipt_of("r2").is_none() && !first.is_soft());
    assert!(world.get("/x").await.is_hit(), "nothing was invalidated again");
    assert_eq!(invalidator.usage().paths, 1);
    assert_eq!(invalidator.history().len(), 1);
    assert_eq!(invalidator.receipt(&first.id()).unwrap().created(), first.created());
    assert!(invalidator.receipt("I0").is_none());
}

#[tokio::test(start_paused = true)]
async fn over_a_limit_nothing_is_invalidated() {
    let tariff = Tariff { free_paths: 0, budget: Some(5_000), wildcards_in_progress: 1, ..Tariff::default() };
    let clock = ManualClock::new(crate::support::start());
    let edge = Edge::builder().tariff(tariff).clock(clock.clone()).build().unwrap();
    let invalidator = edge.invalidator();
    let paths = |paths: &[&str]| invalidator.invalidate(Invalidation::paths(paths).unwrap());
    assert_eq!(
        paths(&["/a", "/b"]).unwrap_err(),
        InvalidateError::OverBudget { amount: 10_000, budget: 5_000 }
    );
    let too_many = InvalidateError::TooManyWildcards { in_progress: 0, limit: 1 };
    assert_eq!(paths(&["/a*", "/b*"]).unwrap_err(), too_many);
    assert_eq!(paths(&[]).unwrap_err(), InvalidateError::Empty);
    assert_eq!((edge.stats().invalidations, invalidator.usage().amount), (0, 0));
    let receipt = paths(&["/a*"]).unwrap();
    assert_eq!((receipt.charge().billed_paths, receipt.charge().amount), (1, 5_000));
    receipt.completed().await;
    // A new month, a new budget.
    clock.advance(Duration::from_secs(31 * 86_400));
    assert!(paths(&["/b*"]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_the_key_leaves_out_of_a_query_may_be_named_all_the_same() {
    let but_x = Select::AllBut(vec!["x".into()]);
    type Case = (fn() -> Invalidation, bool);
    let cases: [Case; 7] = [
        (|| Invalidation::paths(["/a?x=1&y=2"]).unwrap(), true),
        (|| Invalidation::paths(["/a?x=1*"]).unwrap(), true),
        (|| Invalidation::paths(["/a?*"]).unwrap(), true),
        (|| Invalidation::host_paths("site.example", ["/a?y=2&x=3"]).unwrap(), true),
        (|| Invalidation::url("http://site.example/a?x=9&y=2").unwrap(), true),
        (|| Invalidation::url("http://site.example/a?x=9&y=3").unwrap(), false),
        (|| Invalidation::paths(["/b?x=1*"]).unwrap(), false),
    ];
    for (number, (invalidation, cleared)) in cases.into_iter().enumerate() {
        let key = KeyPolicy { query: but_x.clone(), ..KeyPolicy::default() };
        let origin = Origin::numbered(&[("cache-control", "max-age=60")]);
        let world = World::with_policy(origin, CachePolicy { key, ..CachePolicy::default() });
        world.get("/a?x=1&y=2").await;
        assert!(world.get("/a?y=2&x=7").await.is_hit());
        let receipt = world.edge.invalidator().invalidate(invalidation()).unwrap();
        assert_eq!(receipt.charge().paths, 1, "{number}");
        receipt.completed().await;
        assert_eq!(receipt.objects(), u64::from(cleared), "{number}");
        assert_eq!(world.get("/a?x=1&y=2").await.is_hit(), !cleared, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_before_the_sweep_comes_is_counted() {
    let world = world();
    world.get("/x").await;
    let receipt = world.edge.invalidator().invalidate(Invalidation::paths(["/x"]).unwrap()).unwrap();
    // The new answer takes the place of the old one.
    assert!(!world.get("/x").await.is_hit());
    assert_eq!(world.edge.stats().objects, 1);
    receipt.completed().await;
    assert_eq!(receipt.objects(), 1);
    assert!(world.get("/x").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_is_joined_is_soft_only_if_all_of_it_is() {
    for (first, second, served) in [(false, true, false), (true, false, false), (true, true, true)] {
        let world =
            World::new(Origin::numbered(&[("cache-control", "max-age=60, stale-while-revalidate=30")]));
        world.get("/a").await;
        let named = |path: &str, soft: bool| {
            let named = Invalidation::paths([path]).unwrap();
            if soft { named.soft() } else { named }
        };
        let both = named("/a", first).and(named("/b", second));
        world.edge.invalidator().invalidate(both).unwrap();
        assert_eq!(world.get("/a").await.is_hit(), served, "{first} {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_cleared_on_a_host_by_either_scheme() {
    for scheme in ["http", "https"] {
        let world = world();
        let uri = format!("{scheme}://site.example/news");
        world.get(&uri).await;
        assert!(world.get(&uri).await.is_hit());
        let groups = Invalidation::host_groups("site.example", ["g1"]).unwrap();
        let receipt = world.edge.invalidator().invalidate(groups).unwrap();
        assert_eq!(receipt.charge().paths, 1);
        assert!(!world.get(&uri).await.is_hit(), "{scheme}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_offer_of_another_protocol_that_is_ignored_does_not_show_the_tags() {
    let world = world();
    let offer = [("connection", "upgrade"), ("upgrade", "websocket")];
    let reply = world.get_with("/news", &offer).await;
    assert!(!reply.headers.contains_key("cache-tag"));
    assert_eq!(reply.header("cache-status"), Some("test; fwd=bypass; detail=untouched"));
}
