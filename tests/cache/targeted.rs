//! Fields for caches like this one count before `Cache-Control` (RFC 9213).

use http::header::HeaderName;
use tower_edge::{CachePolicy, Targeted};

use crate::support::{Origin, World, response};

type Lines = &'static [(&'static str, &'static str)];

/// What `Cache-Status` says of a second request.
async fn second(policy: CachePolicy, lines: Lines) -> String {
    let world = World::with_policy(Origin::numbered(lines), policy);
    world.get("/a").await;
    world.pass_seconds(10);
    world.get("/a").await.header("cache-status").expect("every answer has one").to_owned()
}

#[tokio::test]
async fn a_valid_targeted_field_puts_cache_control_and_expires_out_of_force() {
    const HIT: &str = "test; hit; ttl=50";
    let table: &[(Lines, &str)] = &[
        (&[("cdn-cache-control", "max-age=60")], HIT),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], HIT),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "private, max-age=5")], HIT),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "must-understand, no-store")], HIT),
        (&[("cdn-cache-control", "max-age=60"), ("expires", "0")], HIT),
        (&[("cdn-cache-control", "max-age=60"), ("pragma", "no-cache")], HIT),
        (&[("cdn-cache-control", "max-age=60;x=1, y=(1 2)")], HIT),
        (&[("cdn-cache-control", "no-store, must-understand, max-age=60")], HIT),
        // Age counts, by RFC 9213 §2.3 as ever.
        (&[("cdn-cache-control", "max-age=90"), ("age", "30")], HIT),
        // In the other direction.
        (
            &[("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")],
            "test; fwd=uri-miss; detail=uncacheable",
        ),
        (
            &[("cdn-cache-control", "private"), ("cache-control", "max-age=60")],
            "test; fwd=uri-miss; detail=uncacheable",
        ),
        (
            &[("cdn-cache-control", "max-age=0"), ("cache-control", "max-age=60")],
            "test; fwd=uri-miss; detail=uncacheable",
        ),
        (
            &[("cdn-cache-control", "x"), ("expires", "Fri, 02 Jan 2026 00:00:00 GMT")],
            "test; fwd=uri-miss; detail=uncacheable",
        ),
        // Malformed, empty, or not for this cache.
        (&[("cdn-cache-control", "max-age=5,"), ("cache-control", "max-age=60")], HIT),
        (&[("cdn-cache-control", ""), ("cache-control", "max-age=60")], HIT),
        (&[("other-cache-control", "no-store"), ("cache-control", "max-age=60")], HIT),
    ];
    for (lines, expected) in table {
        assert_eq!(second(CachePolicy::default(), lines).await, *expected, "{lines:?}");
    }
}

#[tokio::test]
async fn the_policy_names_the_fields_and_their_order() {
    let lines: Lines = &[
        ("ours-cache-control", "max-age=60"),
        ("cdn-cache-control", "max-age=30"),
        ("cache-control", "max-age=20"),
    ];
    let ours = HeaderName::from_static("ours-cache-control");
    let cdn = HeaderName::from_static("cdn-cache-control");
    for (fields, expected) in [
        (vec![], "test; hit; ttl=10"),
        (vec![cdn.clone()], "test; hit; ttl=20"),
        (vec![cdn.clone(), ours.clone()], "test; hit; ttl=20"),
        (vec![ours, cdn], "test; hit; ttl=50"),
    ] {
        let targeted = Targeted { fields, ..Targeted::default() };
        let policy = CachePolicy { targeted, ..CachePolicy::default() };
        assert_eq!(second(policy, lines).await, expected);
    }
}

#[tokio::test]
async fn viewers_see_the_origins_fields_as_they_are() {
    // RFC 9213 §2.3: nothing is dressed up for the next cache.
    let lines: Lines = &[
        ("cdn-cache-control", "max-age=600"),
        ("cache-control", "max-age=5"),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("expires", "Thu, 01 Jan 2026 00:00:05 GMT"),
    ];
    let world = World::new(Origin::numbered(lines));
    world.get("/a").await;
    world.pass_seconds(60);
    let hit = world.get("/a").await;
    assert!(hit.is_hit());
    assert_eq!(hit.header("age"), Some("60"));
    for (name, value) in lines {
        assert_eq!(hit.header(name), Some(*value), "{name}");
    }
}

#[tokio::test]
async fn the_policy_can_keep_the_fields_from_viewers_and_still_go_by_them() {
    let targeted = Targeted { forward: false, ..Targeted::default() };
    let origin = Origin::new(|seen| async move {
        Ok(match (seen.uri.as_str(), seen.number) {
            ("/own", _) => response(200, &[("cdn-cache-control", "no-store")], "own"),
            (_, 0) => response(
                200,
                &[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store"), ("etag", "\"a\"")],
                "shared",
            ),
            _ => response(304, &[("etag", "\"a\"")], ""),
        })
    });
    let world = World::with_policy(origin, CachePolicy { targeted, ..CachePolicy::default() });
    for (seconds, status) in [
        (0, "test; fwd=uri-miss; stored"),
        (59, "test; hit; ttl=1"),
        // The stored copy has the field still: after a 304 that says nothing of it, it counts.
        (1, "test; fwd=stale; fwd-status=304; stored"),
        (59, "test; hit; ttl=1"),
    ] {
        world.pass_seconds(seconds);
        let answer = world.get("/a").await;
        assert_eq!(answer.header("cache-status"), Some(status));
        assert_eq!(answer.header("cdn-cache-control"), None, "{status}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{status}");
    }
    assert_eq!(world.get("/own").await.header("cdn-cache-control"), None);
}

#[tokio::test]
async fn a_targeted_field_can_open_an_answer_to_credentials() {
    // RFC 9111 §3.5, by way of RFC 9213 §2.2.
    for (lines, hit) in [
        (&[("cdn-cache-control", "max-age=60, public")][..], true),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "public")], false),
    ] {
        let world = World::new(Origin::numbered(lines));
        world.get_with("/a", &[("authorization", "Basic YTpi")]).await;
        assert_eq!(world.get("/a").await.is_hit(), hit, "{lines:?}");
    }
}
