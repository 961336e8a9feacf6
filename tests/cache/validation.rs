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
async fn a_304_tells_which_stored_variant_is_for_a_new_request() {
    let world = World::new(Origin::new(|seen| async move {
        let one = [("cache-control", "max-age=60"), ("vary", "x-device"), ("etag", "\"one\"")];
        let two = [("cache-control", "max-age=60"), ("vary", "x-device"), ("etag", "\"two\"")];
        Ok(match seen.number {
            0 => response(200, &one, "for tv"),
            1 => response(200, &two, "for phone"),
            _ => response(304, &one, ""),
        })
    }));
    world.get_with("/a", &[("x-device", "tv")]).await;
    world.get_with("/a", &[("x-device", "phone")]).await;
    let chosen = world.get_with("/a", &[("x-device", "big tv")]).await;
    assert_eq!((chosen.status.as_u16(), chosen.text()), (200, "for tv"));
    assert_eq!(chosen.outcome().forward_reason(), Some(ForwardReason::VaryMiss));
    assert_eq!(world.origin.seen()[2].headers["if-none-match"], "\"two\", \"one\"");
    assert!(world.get_with("/a", &[("x-device", "big tv")]).await.is_hit());
    assert_eq!(world.get_with("/a", &[("x-device", "phone")]).await.text(), "for phone");
    assert_eq!(world.origin.asked(), 3);
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
    let cases: [Case<'_>; 7] = [
        (&[EXPLICIT, ("content-location", "/a")], 200, true),
        (&[EXPLICIT, ("content-location", "http://site.example/a")], 200, true),
        (&[EXPLICIT, ("content-location", "/b")], 200, false),
        (&[EXPLICIT, ("content-location", "http://other.example/a")], 200, false),
        (&[EXPLICIT], 200, false),
        (&[("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("content-location", "/a")], 200, false),
        (&[("cache-control", "no-store"), ("content-location", "/a")], 200, false),
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
async fn a_304_that_could_be_about_either_variant_is_taken_for_neither() {
    // Its 304 does not say which variant it means, which RFC 9110 §15.4.5 requires.
    let origin = Origin::new(|seen| async move {
        let language = if seen.headers["accept-language"] == "en" { "en" } else { "de" };
        let tag = format!("\"{language}\"");
        let headers = [("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", &*tag)];
        Ok(match seen.headers.get("if-none-match").map(|tags| tags.to_str().unwrap()) {
            Some(tags) if tags.contains(&tag) => response(304, &[], ""),
            _ => response(200, &headers, language),
        })
    });
    let world = World::new(origin);
    let ask = async |language| world.get_with("/a", &[("accept-language", language)]).await;
    ask("de").await;
    ask("en").await;
    assert_eq!(ask("fr").await.status, 502);
    // What made the doubt is gone.
    for (language, text) in [("fr", "de"), ("en", "en")] {
        assert_eq!(ask(language).await.text(), text);
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
