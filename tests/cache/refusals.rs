//! What the edge refuses by default, one row each: what must not be stored is not, what must not reach the origin does not.

use http_body_util::BodyExt;
use tower_edge::{CachePolicy, Edge, Limits};

use crate::support::{Origin, World, feed, read, request, response, settle, streamed};

type Lines<'a> = &'a [(&'a str, &'a str)];

const MINUTE: Lines<'static> = &[("cache-control", "max-age=60")];

/// An origin with one answer.
fn always(status: u16, lines: Lines<'_>, body: &str) -> Origin {
    let lines: Vec<_> = lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = body.to_owned();
    Origin::new(move |_| {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = response(status, &lines, body.clone());
        async { Ok(answer) }
    })
}

/// Whether the answer to a request with `fields` is stored. One that is not reaches no second viewer either.
async fn is_stored(origin: Origin, fields: Lines<'_>) -> bool {
    let world = World::new(origin);
    world.get_with("/a", fields).await;
    settle().await;
    let stored = world.edge.stats().objects > 0;
    assert!(stored || !world.get("/a").await.is_hit());
    stored
}

#[tokio::test]
async fn answers_that_are_not_for_everyone_are_not_stored() {
    let table: &[(u16, Lines<'_>)] = &[
        // Whatever a lenient reader would take for a refusal is one.
        (200, &[("cache-control", "max-age=60, private")]),
        (200, &[("cache-control", "max-age=60,PRIVATE")]),
        (200, &[("cache-control", "max-age=60, private=")]),
        (200, &[("cache-control", "max-age=60, private=set-cookie")]),
        (200, &[("cache-control", "max-age=60, private=\"")]),
        (200, &[("cache-control", "max-age=60, private=\"a\"b")]),
        (200, &[("cache-control", "max-age=60, private=\"vary\"")]),
        (200, &[("cache-control", "max-age=60"), ("cache-control", "private")]),
        (200, &[("cache-control", "max-age=60, no-store")]),
        (200, &[("cache-control", "No-Store , max-age=60")]),
        (200, &[("cache-control", "max-age=60;no-store")]),
        (200, &[("cache-control", "max-age=60, no-store=x")]),
        (200, &[("cache-control", "x=\"a, no-store, max-age=60")]),
        (200, &[("cache-control", "max-age=60"), ("cache-control", "no-store")]),
        (200, &[("cache-control", "max-age=60, no-cache")]),
        (200, &[("cache-control", "max-age=60, no-cache=")]),
        (200, &[("cache-control", "max-age=60, no-cache=foo")]),
        // A lifetime nobody can read.
        (200, &[("cache-control", "max-age=forever")]),
        (200, &[("cache-control", "max-age=-1")]),
        (200, &[("cache-control", "max-age = 60")]),
        (200, &[("expires", "tomorrow")]),
        (200, &[]),
        // A cookie, as long as the policy does not say what becomes of it.
        (200, &[("cache-control", "max-age=60"), ("set-cookie", "id=7")]),
        (200, &[("cache-control", "public, max-age=60"), ("set-cookie", "id=7")]),
        // A `Vary` that fits no other request, or that cannot be read.
        (200, &[("cache-control", "max-age=60"), ("vary", "*")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "foo, *")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "foo"), ("vary", "*")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "foo bar")]),
        // A stream without an end.
        (200, &[("cache-control", "max-age=60"), ("content-type", "text/event-stream; charset=utf-8")]),
        // Parts and validations nobody asked for.
        (206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-3/4")]),
        (304, &[("cache-control", "max-age=60"), ("etag", "\"a\"")]),
        // Errors without a lifetime of their own.
        (500, &[("last-modified", "Wed, 01 Jan 2025 00:00:00 GMT")]),
        (503, &[("etag", "\"a\"")]),
        // A head with two lengths.
        (200, &[("cache-control", "max-age=60"), ("content-length", "9")]),
    ];
    for (status, lines) in table {
        assert!(!is_stored(always(*status, lines, "body"), &[]).await, "{status} {lines:?}");
    }
    assert!(is_stored(always(200, MINUTE, "body"), &[]).await, "and what is for everyone is stored");
}

#[tokio::test]
async fn requests_that_are_not_for_the_cache_leave_nothing_behind() {
    let table: &[Lines<'_>] = &[
        &[("authorization", "Basic YTpi")],
        &[("cache-control", "no-store")],
        &[("host", "other.example")],
        &[("content-length", "4")],
        &[("transfer-encoding", "chunked")],
        &[("accept", "text/event-stream")],
        &[("if-match", "\"a\"")],
        &[("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT")],
        &[("upgrade", "websocket"), ("connection", "upgrade")],
        &[("x-http-method-override", "DELETE")],
        &[("x-http-method", "DELETE")],
        &[("x-method-override", "DELETE")],
        &[("x-original-url", "/admin")],
        &[("x-rewrite-url", "/admin")],
        &[("x-original-uri", "/admin")],
        &[("x-original-host", "other.example")],
    ];
    for fields in table {
        assert!(!is_stored(always(200, MINUTE, "body"), fields).await, "{fields:?}");
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY", "PURGE", "get"] {
        let world = World::new(always(200, MINUTE, "body"));
        world.ask(request(method, "/a", &[])).await;
        assert!(!world.get("/a").await.is_hit(), "{method}");
    }
}

#[tokio::test]
async fn purge_on_the_public_port_is_an_unknown_method() {
    // It invalidates what it names, as any unsafe method does that the origin has carried out, and only then.
    let world = World::new(Origin::new(|seen| async move {
        let status = if seen.method == "PURGE" { 405 } else { 200 };
        Ok(response(status, MINUTE, "body"))
    }));
    world.get("/a").await;
    assert_eq!(world.ask(request("PURGE", "/a", &[])).await.status, 405);
    assert!(world.get("/a").await.is_hit());
}

#[tokio::test]
async fn requests_for_different_things_share_nothing() {
    let table: &[(&str, Lines<'_>)] = &[
        ("/a?", &[]),
        ("/a?x", &[]),
        ("/a/", &[]),
        ("/A", &[]),
        ("/%61", &[]),
        ("/b/../a", &[]),
        ("//a", &[]),
        ("https://site.example/a", &[]),
        ("http://site.example:8080/a", &[]),
        ("/a", &[("x-forwarded-host", "other.example")]),
        ("/a", &[("x-forwarded-proto", "https")]),
        ("/a", &[("x-forwarded-port", "81")]),
        ("/a", &[("x-forwarded-prefix", "/b")]),
        ("/a", &[("forwarded", "host=other.example")]),
        ("/a", &[("forwarded", "for=192.0.2.1;proto=https")]),
        ("/a", &[("host", "site.example")]),
    ];
    for (target, fields) in table {
        let world = World::new(always(200, MINUTE, "body"));
        world.get("/a").await;
        let reply = world.get_with(target, fields).await;
        assert!(!reply.is_hit(), "{target} {fields:?}");
        assert!(world.get("/a").await.is_hit());
    }
}

#[tokio::test]
async fn a_fill_asks_for_the_whole_object_and_nothing_about_the_viewers_connection() {
    let world = World::new(always(200, MINUTE, "body"));
    let fields: Lines<'_> = &[
        ("if-none-match", "\"a\""),
        ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("if-range", "\"a\""),
        ("range", "bytes=0-0"),
        ("expect", "100-continue"),
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "keep-alive"),
        ("connection", "close, x-nominated, cookie, host, cache-control, x-forwarded-for"),
        ("x-nominated", "1"),
    ];
    let kept: Lines<'_> = &[
        ("cookie", "a=b"),
        ("cache-control", "max-age=9"),
        ("x-forwarded-for", "192.0.2.1"),
        ("accept", "*/*"),
    ];
    world.get_with("/a", &[fields, kept].concat()).await;
    let seen = world.origin.seen().pop().unwrap();
    for (name, _) in fields {
        assert!(!seen.headers.contains_key(*name), "{name}");
    }
    for (name, value) in kept.iter().chain(&[("host", "site.example")]) {
        assert_eq!(seen.headers[*name], *value, "{name}");
    }
}

#[tokio::test]
async fn fields_of_the_origins_connection_are_not_stored() {
    let lines: Lines<'_> = &[
        ("cache-control", "max-age=60"),
        ("connection", "x-nominated"),
        ("x-nominated", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("trailer", "x"),
    ];
    let world = World::new(always(200, lines, "body"));
    world.get("/a").await;
    let hit = world.get("/a").await;
    assert!(hit.is_hit());
    for (name, _) in &lines[1..] {
        assert_eq!(hit.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_promised_is_an_error_and_is_not_stored() {
    for (promised, sent, fails) in [("4", "bod", true), ("4", "body", false), ("4", "bodyy", true)] {
        let origin = Origin::new(move |_| async move {
            let (origin, body) = feed();
            origin.send(sent);
            origin.end();
            Ok(streamed(&[("cache-control", "max-age=60"), ("content-length", promised)], body))
        });
        let world = World::new(origin);
        for _ in 0..2 {
            let response = world.send(request("GET", "/a", &[])).await.unwrap();
            assert_eq!(read(response).await.is_err(), fails, "{sent}");
        }
        assert_eq!(world.edge.stats().objects, u64::from(!fails), "{sent}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_an_error_and_is_not_stored() {
    let world = World::new(Origin::new(|_| async {
        let (origin, body) = feed();
        origin.send("bo");
        origin.fail("reset");
        Ok(streamed(MINUTE, body))
    }));
    let response = world.send(request("GET", "/a", &[])).await.unwrap();
    assert!(read(response).await.is_err());
    settle().await;
    assert_eq!(world.edge.stats().objects, 0);
}

#[tokio::test]
async fn limits_hold() {
    assert_eq!(
        Limits::default(),
        Limits {
            object_size: None,
            variants: 8,
            head_size: 32 * 1024,
            head_fields: 128,
            ranges: 16,
            follower_wait: std::time::Duration::from_secs(5),
            follower_retries: 3,
            uncacheable_memo: std::time::Duration::from_secs(120),
        }
    );
    let long = "x".repeat(32 * 1024);
    assert!(!is_stored(always(200, &[MINUTE, &[("x-long", long.as_str())]].concat(), "body"), &[]).await);
    let names: Vec<String> = (0..128).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert!(!is_stored(always(200, &[MINUTE, &many].concat(), "body"), &[]).await);

    // An eighth of the capacity, by default; 64 MiB at most.
    let world = World::with(always(200, MINUTE, &"x".repeat(9 << 10)), |edge| edge.capacity(64 << 10));
    world.get("/a").await;
    assert!(!world.get("/a").await.is_hit());
    let policy = CachePolicy {
        limits: Limits { object_size: Some((8 << 10) + 1), ..Limits::default() },
        ..CachePolicy::default()
    };
    assert!(Edge::builder().capacity(64 << 10).policy(policy).build().is_err());
}

#[tokio::test]
async fn a_key_has_eight_variants_and_no_more() {
    let world = World::new(always(200, &[("cache-control", "max-age=60"), ("vary", "foo")], "body"));
    for number in 0..20 {
        world.get_with("/a", &[("foo", number.to_string().as_str())]).await;
    }
    let mut hits = 0;
    for number in 0..20 {
        let control = ("cache-control", "only-if-cached");
        hits += usize::from(
            world.get_with("/a", &[("foo", number.to_string().as_str()), control]).await.is_hit(),
        );
    }
    assert_eq!(hits, 8);
}

#[tokio::test]
async fn ranges_that_cost_more_than_the_body_get_the_body() {
    let world = World::new(always(200, MINUTE, &"0123456789".repeat(10)));
    world.get("/a").await;
    let seventeen = (0..17).map(|at| format!("{}-{}", at * 3, at * 3)).collect::<Vec<_>>().join(",");
    let many = format!("bytes={seventeen}");
    let sixteen = many.rsplit_once(',').unwrap().0;
    for (range, status) in [
        (sixteen, 206),
        (many.as_str(), 200),
        ("bytes=0-50,20-60", 200),
        ("bytes=50-60,0-10", 200),
        ("bytes=0-,0-,0-", 200),
        ("lines=0-1", 200),
    ] {
        let reply = world.get_with("/a", &[("range", range)]).await;
        assert_eq!(reply.status, status, "{range}");
        assert!(reply.is_hit());
    }
}

#[tokio::test]
async fn a_lifetime_has_an_end() {
    // RFC 9111 §1.2.2 at 2^31 s; the policy's longest is a year.
    let year = 31_536_000;
    for value in ["max-age=99999999999999999999", "s-maxage=2147483648", "max-age=31536001"] {
        let world = World::new(always(200, &[("cache-control", value)], "body"));
        world.get("/a").await;
        assert_eq!(world.get("/a").await.outcome().ttl, Some(year), "{value}");
    }
    // An age without an end is as old as can be.
    let lines = [("cache-control", "max-age=60"), ("age", "99999999999999999999")];
    assert!(!is_stored(always(200, &lines, "body"), &[]).await);
}

#[tokio::test]
async fn a_cookie_in_the_request_does_not_choose_what_others_get_unless_the_origin_says_so() {
    for (vary, hit) in [(None, true), (Some(("vary", "cookie")), false)] {
        let lines: Vec<_> = MINUTE.iter().copied().chain(vary).collect();
        let world = World::new(always(200, &lines, "body"));
        world.get_with("/a", &[("cookie", "id=7")]).await;
        assert_eq!(world.get("/a").await.is_hit(), hit, "{vary:?}");
    }
}

#[tokio::test]
async fn error_pages_of_the_edge_are_constant_and_not_stored_by_anyone() {
    let world = World::new(always(200, MINUTE, "body"));
    let target = "/script?secret";
    let reply = world.get_with(target, &[("cache-control", "only-if-cached")]).await;
    assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (504, Some("no-store")));
    for line in reply.headers.values() {
        assert!(!String::from_utf8_lossy(line.as_bytes()).contains("secret"));
    }
    assert!(!reply.text().contains("script"));
}

#[tokio::test]
async fn extensions_of_a_response_are_not_stored() {
    #[derive(Clone)]
    struct Personal;
    let world = World::new(Origin::new(|_| async {
        let mut response = response(200, MINUTE, "body");
        response.extensions_mut().insert(Personal);
        Ok(response)
    }));
    world.get("/a").await;
    let hit = world.send(request("GET", "/a", &[])).await.unwrap();
    assert!(hit.extensions().get::<Personal>().is_none());
    drop(hit.into_body().collect().await.unwrap());
}
