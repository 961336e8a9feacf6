//! `CacheHints`: what a handler in the same process says to the edge alone.

use std::time::Duration;

use http_body_util::BodyExt;
use tower_edge::{CacheHints, CachePolicy, Invalidation, Ttl};

use crate::support::{Origin, World, request, response, settle};

type Lines = &'static [(&'static str, &'static str)];

fn hinting(fields: Lines, hints: CacheHints) -> Origin {
    Origin::new(move |seen| {
        let mut answer = response(200, fields, format!("answer {}", seen.number));
        answer.extensions_mut().insert(hints.clone());
        async move { Ok(answer) }
    })
}

fn seconds(ttl: u64) -> CacheHints {
    CacheHints::new().ttl(Duration::from_secs(ttl))
}

#[tokio::test(start_paused = true)]
async fn the_lifetime_takes_the_place_of_the_one_in_the_fields() {
    for (fields, ttl) in [
        (&[][..], 30),
        (&[("cache-control", "max-age=5")], 30),
        (&[("cache-control", "max-age=0")], 30),
        (&[("cache-control", "s-maxage=5, max-age=50")], 30),
        (&[("cdn-cache-control", "max-age=5")], 30),
        (&[("expires", "0")], 30),
    ] {
        let world = World::new(hinting(fields, seconds(30)));
        let first = world.get("/a").await;
        assert!(first.outcome().stored, "{fields:?}");
        for (name, value) in fields {
            assert_eq!(first.header(name), Some(*value), "viewers see what the origin said");
        }
        assert_eq!(world.get("/a").await.outcome().ttl, Some(ttl), "{fields:?}");
    }
    let bounded = CachePolicy {
        ttl: Ttl { min: Duration::from_secs(10), max: Duration::from_secs(20), ..Ttl::default() },
        ..CachePolicy::default()
    };
    for (hint, ttl) in [(1, 10), (15, 15), (u64::MAX, 20)] {
        let world = World::with_policy(hinting(&[], seconds(hint)), bounded.clone());
        world.get("/a").await;
        assert_eq!(world.get("/a").await.outcome().ttl, Some(ttl), "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_permits_nothing() {
    for (fields, asked) in [
        (&[("cache-control", "no-store")][..], &[][..]),
        (&[("cache-control", "private, max-age=9")], &[]),
        (&[("cache-control", "no-cache")], &[]),
        (&[("set-cookie", "s=1")], &[]),
        (&[("vary", "*")], &[]),
        (&[("cache-control", "max-age=9")], &[("authorization", "Bearer x")][..]),
    ] {
        let world = World::new(hinting(fields, seconds(30)));
        world.get_with("/a", asked).await;
        assert!(!world.get_with("/a", asked).await.is_hit(), "{fields:?}");
        assert_eq!(world.edge.stats().objects, 0, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn its_tags_clear_the_answer_beside_those_in_the_fields() {
    let hints = CacheHints::new().tags(["Article-7", "front"]).unwrap();
    let fields: Lines = &[("cache-control", "max-age=60"), ("cache-tag", "news")];
    for (tag, cleared) in [("article-7", true), ("FRONT", true), ("news", true), ("article", false)] {
        let world = World::new(hinting(fields, hints.clone()));
        world.get("/a").await;
        world.edge.invalidator().invalidate(Invalidation::tags([tag]).unwrap()).unwrap();
        assert_eq!(world.get("/a").await.is_hit(), !cleared, "{tag}");
    }
    for (tag, position) in [("", 0), ("a b", 1), ("a,b", 1)] {
        assert_eq!(CacheHints::new().tags([tag]).unwrap_err().position(), position, "{tag:?}");
    }
    // 64 in all, and the handler's come first.
    let many = CacheHints::new().tags((0..64).map(|n| format!("t{n}"))).unwrap();
    let world = World::new(hinting(fields, many));
    world.get("/a").await;
    world.edge.invalidator().invalidate(Invalidation::tags(["news"]).unwrap()).unwrap();
    assert!(world.get("/a").await.is_hit());
    world.edge.invalidator().invalidate(Invalidation::tags(["t63"]).unwrap()).unwrap();
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_304_brings_new_hints_and_keeps_the_tags_if_it_has_none() {
    let world = World::new(Origin::new(|seen| async move {
        let status = if seen.number == 0 { 200 } else { 304 };
        let mut answer = response(status, &[("etag", "\"v\"")], if status == 200 { "body" } else { "" });
        let hints = match seen.number {
            0 => seconds(10).tags(["first"]).unwrap(),
            1 => seconds(20),
            _ => seconds(30).tags(["third"]).unwrap(),
        };
        answer.extensions_mut().insert(hints);
        Ok(answer)
    }));
    for ttl in [10, 20, 30] {
        assert_eq!(world.get("/a").await.text(), "body");
        assert_eq!(world.get("/a").await.outcome().ttl, Some(ttl));
        let cleared = world.edge.invalidator().invalidate(Invalidation::tags(["second"]).unwrap()).unwrap();
        cleared.completed().await;
        world.pass_seconds(ttl.unsigned_abs());
    }
    let invalidate = |tag| world.edge.invalidator().invalidate(Invalidation::tags([tag]).unwrap()).unwrap();
    invalidate("first").completed().await;
    assert_eq!(world.edge.stats().objects, 1, "replaced by the third answer's");
    invalidate("third").completed().await;
    assert_eq!(world.edge.stats().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_it_leaves_the_edge() {
    for (method, fields) in [
        ("GET", &[("cache-control", "max-age=60")][..]),
        ("GET", &[("cache-control", "no-store")]),
        ("HEAD", &[("cache-control", "max-age=60")]),
        ("POST", &[]),
        ("OPTIONS", &[]),
    ] {
        let world = World::new(hinting(fields, seconds(30)));
        for _ in 0..2 {
            let response = world.send(request(method, "/a", &[])).await.unwrap();
            assert!(response.extensions().get::<CacheHints>().is_none(), "{method} {fields:?}");
            response.into_body().collect().await.unwrap();
            settle().await;
        }
    }
}
