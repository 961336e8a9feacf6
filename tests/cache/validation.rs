//! What a 304, a HEAD and a POST say about what is stored (RFC 9111 §4.3.3 to §4.3.5, RFC 9110 §9.3.3).

use tower_edge::ForwardReason;

use crate::support::{Origin, World, request, response};

#[tokio::test]
async fn a_304_freshens_every_variant_with_its_strong_tag() {
    let world = World::new(Origin::new(|seen| async move {
        let headers = [("cache-control", "max-age=60"), ("vary", "x-device"), ("etag", "\"same\"")];
        Ok(match seen.number {
            0 | 1 => response(200, &headers, "body"),
            _ => response(304, &headers, ""),
        })
    }));
    world.get_with("/a", &[("x-device", "tv")]).await;
    // The second variant is asked for conditionally; the origin chose to send it again.
    world.get_with("/a", &[("x-device", "phone")]).await;
    assert_eq!(world.origin.seen()[1].headers["if-none-match"], "\"same\"");
    world.pass_seconds(61);
    let stale = world.get_with("/a", &[("x-device", "tv")]).await;
    assert_eq!(stale.outcome().fwd_status.map(|status| status.as_u16()), Some(304));
    assert!(world.get_with("/a", &[("x-device", "phone")]).await.is_hit());
    assert_eq!(world.origin.asked(), 3);
}

#[tokio::test]
async fn a_304_may_say_that_a_stored_variant_is_for_a_new_request() {
    // One variant is named, so the answer leaves no doubt, even where the origin forgets the tag (RFC 9110 §15.4.5).
    for tag in [&[("etag", "\"two\"")][..], &[]] {
        let world = World::new(Origin::new(move |seen| async move {
            let one = [("cache-control", "max-age=60"), ("vary", "x-device"), ("etag", "\"one\"")];
            let two = [("cache-control", "max-age=60"), ("vary", "x-device"), ("etag", "\"two\"")];
            Ok(match seen.headers["x-device"].to_str().unwrap() {
                "tv" => response(200, &one, "for tv"),
                "phone" => response(200, &two, "for phone"),
                _ => response(304, &[&two[..2], tag].concat(), ""),
            })
        }));
        world.get_with("/a", &[("x-device", "tv")]).await;
        world.get_with("/a", &[("x-device", "phone")]).await;
        let chosen = world.get_with("/a", &[("x-device", "tablet")]).await;
        assert_eq!((chosen.status.as_u16(), chosen.text()), (200, "for phone"));
        assert_eq!(chosen.outcome().forward_reason(), Some(ForwardReason::VaryMiss));
        assert_eq!(world.origin.seen()[2].headers["if-none-match"], "\"two\"");
        assert!(world.get_with("/a", &[("x-device", "tablet")]).await.is_hit());
        assert_eq!(world.get_with("/a", &[("x-device", "tv")]).await.text(), "for tv");
        assert_eq!(world.origin.asked(), 3);
    }
}

#[tokio::test]
async fn a_plain_copy_is_not_offered_to_who_takes_a_compressed_one() {
    // An origin like nginx, with one entity tag for both, answers 304 to whoever names it.
    let world = World::new(Origin::new(|seen| async move {
        let headers = [("cache-control", "max-age=60"), ("vary", "accept-encoding"), ("etag", "\"v\"")];
        let gzip = seen.headers.contains_key("accept-encoding");
        Ok(match seen.headers.contains_key("if-none-match") {
            true => response(304, &headers, ""),
            false => response(200, &headers, if gzip { "gzip" } else { "plain" }),
        })
    }));
    world.get("/a").await;
    assert_eq!(world.get_with("/a", &[("accept-encoding", "gzip")]).await.text(), "gzip");
    assert_eq!(world.get("/a").await.text(), "plain");
}

#[tokio::test]
async fn a_304_that_freshens_nothing_is_not_said_to_be_stored() {
    let world = World::new(Origin::new(|seen| async move {
        Ok(match seen.headers.get("if-none-match") {
            Some(_) => response(304, &[("etag", "\"other\"")], ""),
            None => response(200, &[("cache-control", "max-age=60"), ("etag", "\"one\"")], "body"),
        })
    }));
    world.get("/a").await;
    world.pass_seconds(61);
    let reply = world.get("/a").await;
    assert_eq!(
        (reply.text(), reply.header("cache-status")),
        ("body", Some("test; fwd=stale; fwd-status=304"))
    );
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test]
async fn a_304_about_a_variant_nobody_named_is_no_answer() {
    let world = World::new(Origin::new(|seen| async move {
        let headers = [("cache-control", "max-age=60"), ("vary", "x-device"), ("etag", "\"one\"")];
        Ok(match seen.headers.get("if-none-match") {
            Some(_) => response(304, &[("etag", "\"other\"")], ""),
            None => response(200, &headers, "body"),
        })
    }));
    world.get_with("/a", &[("x-device", "tv")]).await;
    assert_eq!(world.get_with("/a", &[("x-device", "phone")]).await.status, 502);
    // The next one is not asked for in that way.
    assert_eq!(world.get_with("/a", &[("x-device", "phone")]).await.text(), "body");
}

#[tokio::test]
async fn what_is_about_one_viewer_does_not_cost_the_others_what_is_stored() {
    for (viewer, status) in [
        (("authorization", "Basic eDp5"), 200),
        (("authorization", "Basic eDp5"), 304),
        (("cache-control", "no-store"), 200),
        (("cache-control", "no-store"), 304),
    ] {
        let world = World::new(Origin::new(move |seen| async move {
            let headers = [("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", "\"v\"")];
            let asked_by_one = seen.headers.contains_key("authorization")
                || seen.headers.get("cache-control").is_some_and(|control| control == "no-store");
            let status = if asked_by_one { status } else { 200 };
            Ok(response(status, &headers, if status == 304 { "" } else { "body" }))
        }));
        world.get("/a").await;
        world.pass_seconds(61);
        assert_eq!(world.get_with("/a", &[viewer]).await.text(), "body");
        crate::support::settle().await;
        let next = world.get("/a").await;
        assert!(next.is_hit(), "{viewer:?} {status}");
    }
}

#[tokio::test]
async fn a_head_freshens_the_stored_get_or_clears_it() {
    for (tag, length, freshened) in [("\"v\"", "4", true), ("\"w\"", "4", false), ("\"v\"", "5", false)] {
        let world = World::new(Origin::new(move |seen| async move {
            let mut answer = response(200, &[("cache-control", "max-age=60"), ("etag", tag)], "body");
            if seen.method == "HEAD" {
                answer.headers_mut().insert("x-new", "1".parse().unwrap());
                answer.headers_mut().insert("content-length", length.parse().unwrap());
                *answer.body_mut() = response(200, &[], "").into_body();
            } else if seen.number == 0 {
                answer.headers_mut().insert("etag", "\"v\"".parse().unwrap());
            }
            Ok(answer)
        }));
        world.get("/a").await;
        world.pass_seconds(61);
        world.ask(request("HEAD", "/a", &[])).await;
        let after = world.get("/a").await;
        assert_eq!((after.text(), after.is_hit()), ("body", freshened), "{tag} {length}");
        assert_eq!(after.header("x-new").is_some(), freshened);
    }
}

#[tokio::test]
async fn a_head_that_fails_says_nothing_about_the_stored_get() {
    for status in [404, 410, 500] {
        let world = World::new(Origin::new(move |seen| async move {
            let status = if seen.method == "HEAD" { status } else { 200 };
            Ok(response(status, &[("cache-control", "max-age=60, stale-if-error=600")], "body"))
        }));
        world.get("/a").await;
        world.pass_seconds(61);
        world.ask(request("HEAD", "/a", &[("cache-control", "no-cache")])).await;
        assert_eq!(world.origin.asked(), 2);
        assert_eq!(world.get_with("/a", &[("cache-control", "max-stale")]).await.text(), "body");
        assert_eq!(world.origin.asked(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_posts_answer_serves_later_gets_where_it_says_so() {
    const EXPLICIT: (&str, &str) = ("cache-control", "max-age=60");
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, bool);
    let cases: [Case<'_>; 10] = [
        (&[EXPLICIT, ("content-location", "/a")], 200, true),
        (&[EXPLICIT, ("content-location", "http://site.example/a")], 200, true),
        (&[EXPLICIT, ("content-location", "/b")], 200, false),
        (&[EXPLICIT, ("content-location", "http://other.example/a")], 200, false),
        (&[EXPLICIT], 200, false),
        (&[("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("content-location", "/a")], 200, false),
        (&[("cache-control", "no-store"), ("content-location", "/a")], 200, false),
        // What says "created" or "see there" is about the POST, and would lead a GET astray.
        (&[EXPLICIT, ("content-location", "/a")], 201, false),
        (&[EXPLICIT, ("content-location", "/a"), ("location", "/a")], 303, false),
        (&[EXPLICIT, ("content-location", "/a"), ("content-location", "/b")], 200, false),
    ];
    for (headers, status, served) in cases {
        let world = World::new(Origin::new(move |seen| async move {
            Ok(if seen.method == "POST" {
                response(status, headers, "posted")
            } else {
                response(200, &[EXPLICIT], "got")
            })
        }));
        world.get("/a").await;
        let posted = world.ask(request("POST", "/a", &[])).await;
        assert_eq!(posted.text(), "posted");
        let after = world.get("/a").await;
        assert_eq!(after.text(), if served { "posted" } else { "got" }, "{headers:?}");
        assert_eq!(after.is_hit(), served, "{headers:?}");
        // It serves reads only.
        world.ask(request("POST", "/a", &[])).await;
        assert_eq!(world.origin.seen().iter().filter(|seen| seen.method == "POST").count(), 2);
    }
}

#[tokio::test]
async fn named_fields_go_to_the_one_who_asked_and_no_further() {
    for control in ["max-age=60, no-cache=\"x-me\"", "max-age=60, private=\"X-Me, x-other\""] {
        let world = World::new(Origin::new(move |_| async move {
            Ok(response(200, &[("cache-control", control), ("x-me", "1"), ("x-me", "2")], "body"))
        }));
        let first = world.get("/a").await;
        assert_eq!(first.headers.get_all("x-me").iter().count(), 2);
        let second = world.get("/a").await;
        assert!(second.is_hit());
        assert!(!second.headers.contains_key("x-me"), "{control}");
    }
}

#[tokio::test]
async fn a_head_that_forbids_to_store_ends_what_is_stored() {
    let world = World::new(Origin::new(|seen| async move {
        let control = if seen.method == "HEAD" { "private" } else { "max-age=60" };
        Ok(response(200, &[("cache-control", control), ("etag", "\"v\"")], "body"))
    }));
    world.get("/a").await;
    world.ask(request("HEAD", "/a", &[("cache-control", "no-cache")])).await;
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test]
async fn what_is_immutable_is_validated_when_stale_or_when_the_viewer_insists() {
    // RFC 8246 §2, §2.1
    let world = World::new(Origin::new(|seen| async move {
        let headers = [("cache-control", "max-age=60, immutable"), ("etag", "\"v\"")];
        let known = seen.headers.contains_key("if-none-match");
        Ok(response(if known { 304 } else { 200 }, &headers, if known { "" } else { "body" }))
    }));
    world.get("/a").await;
    let reload = world.get_with("/a", &[("if-none-match", "\"v\"")]).await;
    assert_eq!((reload.status.as_u16(), reload.is_hit()), (304, true));
    let insists = world.get_with("/a", &[("cache-control", "no-cache")]).await;
    assert_eq!(insists.outcome().forward_reason(), Some(ForwardReason::Request));
    world.pass_seconds(61);
    let stale = world.get("/a").await;
    assert_eq!(stale.outcome().forward_reason(), Some(ForwardReason::Stale));
    assert_eq!(world.origin.asked(), 3);
}

#[tokio::test]
async fn each_stored_response_is_chosen_by_its_own_vary() {
    // RFC 9111 §4.1: one that does not vary gives way to one that does and matches.
    let world = World::new(Origin::new(|seen| async move {
        let varied = [("cache-control", "max-age=60"), ("vary", "x-device")];
        Ok(match seen.headers.get("x-device") {
            Some(_) => response(200, &varied, "for tv"),
            None => response(200, &varied[..1], "for all"),
        })
    }));
    world.get_with("/a", &[("x-device", "tv")]).await;
    assert_eq!(world.get("/a").await.text(), "for all");
    // The newest says nothing of Vary, and yet.
    let tv = world.get_with("/a", &[("x-device", "tv")]).await;
    assert_eq!((tv.text(), tv.is_hit()), ("for tv", true));
    let phone = world.get_with("/a", &[("x-device", "phone")]).await;
    assert_eq!((phone.text(), phone.is_hit()), ("for all", true));
    assert_eq!(world.origin.asked(), 2);
}
