//! Invariant 1, keyed = forwarded: nothing that the origin sees and the key does not may change a shared answer.

use tower_edge::{Behavior, CachePolicy, CustomKey, Detail, ForwardReason, KeyPolicy, Select, Ttl};

use crate::support::{Origin, Seen, World, get, request, response};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn keyed_by(key: KeyPolicy) -> CachePolicy {
    CachePolicy { key, ..CachePolicy::default() }
}

/// Answers with all it can see of a request, so that a wrong reuse shows.
fn mirror() -> Origin {
    Origin::new(|seen| async move { Ok(response(200, MINUTE, described(&seen))) })
}

fn described(seen: &Seen) -> String {
    let mut lines: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    format!("{} {}\n{}", seen.method, seen.uri, lines.join("\n"))
}

#[tokio::test]
async fn a_query_rule_drops_from_key_and_request_alike() {
    let all_but = || Select::AllBut(names(&["utm"]));
    let only = || Select::Only(names(&["id"]));
    for (select, asked, forwarded) in [
        (all_but(), "/a?id=1&utm=x", "/a?id=1"),
        (all_but(), "/a?utm=x&id=1", "/a?id=1"),
        (all_but(), "/a?utm=x", "/a"),
        (all_but(), "/a?UTM=x", "/a?UTM=x"),
        (all_but(), "/a?utm=x;id=2", "/a?utm=x;id=2"),
        (all_but(), "/a?utm=x%3Bid=2", "/a?utm=x%3Bid=2"),
        (all_but(), "/a?utm%3d1=2", "/a?utm%3d1=2"),
        (only(), "/a?id=1&other=2&id=3", "/a?id=1&id=3"),
        (only(), "/a?ID=1", "/a"),
        (Select::None, "/a?id=1", "/a"),
        (Select::None, "/a?", "/a"),
        (Select::All, "/a?", "/a?"),
    ] {
        let world =
            World::with_policy(mirror(), keyed_by(KeyPolicy { query: select, ..KeyPolicy::default() }));
        world.get(asked).await;
        assert_eq!(world.origin.seen()[0].uri, forwarded, "{asked}");
        // What was dropped is not in the key either, and what was kept is.
        assert!(world.get(forwarded).await.is_hit(), "{asked}");
        assert!(!world.get("/a?id=other").await.text().contains(" /a?id=1"), "{asked}");
    }
}

#[tokio::test]
async fn spellings_that_an_origin_might_tell_apart_are_kept_apart() {
    let world = World::new(mirror());
    let targets =
        ["/a", "/a/", "/A", "/a?", "/a?b", "/a?b=", "/a?c&b", "/a?b&c", "/%61", "/a%2Fb", "/a/b", "/a//b"];
    for (asked, target) in targets.iter().enumerate() {
        assert!(!world.get(target).await.is_hit(), "{target}");
        assert_eq!(world.origin.asked(), asked + 1);
        assert_eq!(world.origin.seen()[asked].uri, *target);
    }
}

#[tokio::test]
async fn a_header_rule_keys_what_it_keeps_and_drops_the_rest() {
    let world = World::with_policy(
        mirror(),
        keyed_by(KeyPolicy { headers: Some(Select::Only(names(&["X-Lang"]))), ..KeyPolicy::default() }),
    );
    let german = world.get_with("/a", &[("x-lang", "de"), ("x-evil", "1")]).await;
    assert!(german.text().contains("x-lang: de") && !german.text().contains("x-evil"));
    assert!(world.get_with("/a", &[("x-lang", "de"), ("x-evil", "2")]).await.is_hit());
    let french = world.get_with("/a", &[("x-lang", "fr")]).await;
    assert!(french.text().contains("x-lang: fr"));
    assert!(!world.get("/a").await.text().contains("x-lang"));
    // Two lines are not one line, and lines of two fields are not those of one.
    assert!(!world.get_with("/a", &[("x-lang", "de"), ("x-lang", "de")]).await.is_hit());
    assert_eq!(world.origin.asked(), 4);
}

#[tokio::test]
async fn a_cookie_rule_keys_what_it_keeps_and_drops_the_rest() {
    let world = World::with_policy(
        mirror(),
        keyed_by(KeyPolicy { cookies: Some(Select::Only(names(&["theme"]))), ..KeyPolicy::default() }),
    );
    let dark = world.get_with("/a", &[("cookie", "session=1; theme=dark")]).await;
    assert!(dark.text().contains("cookie: theme=dark") && !dark.text().contains("session"));
    assert!(world.get_with("/a", &[("cookie", "theme=dark; session=2")]).await.is_hit());
    assert!(world.get_with("/a", &[("cookie", "session=3"), ("cookie", "theme=dark")]).await.is_hit());
    assert!(!world.get_with("/a", &[("cookie", "theme=light")]).await.is_hit());
    assert!(!world.get("/a").await.text().contains("cookie"));
    assert_eq!(world.origin.asked(), 3);
}

#[tokio::test]
async fn a_viewer_cannot_nominate_away_what_is_in_the_key() {
    // RFC 9110 §7.6.1: fields that `Connection` names go no further. If they stayed in the key, one viewer could have the
    // answer for "no language" stored as the German one.
    let by_header = KeyPolicy { headers: Some(Select::Only(names(&["x-lang"]))), ..KeyPolicy::default() };
    let by_function = KeyPolicy {
        custom: Some(CustomKey::new(|parts| {
            let lang = parts.headers.get("x-lang").map(|lang| lang.as_bytes().to_vec());
            Some(lang.into_iter().collect())
        })),
        ..KeyPolicy::default()
    };
    for policy in [by_header, by_function] {
        let world = World::with_policy(mirror(), keyed_by(policy));
        for nomination in ["x-lang", "keep-alive, X-Lang"] {
            world.get_with("/a", &[("connection", nomination), ("x-lang", "de")]).await;
        }
        let german = world.get_with("/a", &[("x-lang", "de")]).await;
        assert!(german.text().contains("x-lang: de"), "{}", german.text());
    }
}

#[tokio::test]
async fn a_nominated_field_is_no_variant() {
    let world = World::new(Origin::new(|seen| async move {
        let headers = &[("cache-control", "max-age=60"), ("vary", "x-lang")];
        Ok(response(200, headers, described(&seen)))
    }));
    world.get_with("/a", &[("connection", "x-lang"), ("x-lang", "de")]).await;
    assert!(world.get_with("/a", &[("x-lang", "de")]).await.text().contains("x-lang: de"));
    assert!(!world.get("/a").await.text().contains("x-lang"));
}

#[tokio::test]
async fn the_authority_is_one_however_it_is_spelt() {
    let world = World::new(mirror());
    world.get("/a").await;
    for host in ["SITE.example", "site.example:80", "site.example:"] {
        let mut same = get("/a");
        same.headers_mut().insert("host", host.parse().unwrap());
        assert!(world.ask(same).await.is_hit(), "{host}");
    }
    // HTTP/2 has the authority in the target, with or without a Host beside it.
    let mut http2 = get("http://site.example/a");
    assert!(world.ask(http2).await.is_hit());
    http2 = get("http://Site.Example:80/a");
    http2.headers_mut().remove("host");
    assert!(world.ask(http2).await.is_hit());
    for other in ["https://site.example/a", "http://site.example:8080/a", "http://other.example/a"] {
        let mut request = get(other);
        request.headers_mut().remove("host");
        assert!(!world.ask(request).await.is_hit(), "{other}");
    }
    assert_eq!(world.origin.asked(), 4);
}

#[tokio::test]
async fn an_origin_sees_one_spelling_of_the_authority() {
    for (target, host, uri, forwarded) in [
        ("/a", Some("SITE.Example:80"), "/a", Some("site.example")),
        ("/a", Some("site.example:"), "/a", Some("site.example")),
        ("/a", Some("SITE.example:08080"), "/a", Some("site.example:8080")),
        ("/a", Some("[::A]:80"), "/a", Some("[::a]")),
        ("http://SITE.Example:80/a?b", None, "http://site.example/a?b", None),
        ("http://SITE.Example:80", None, "http://site.example/", None),
        ("http://site.example/a", Some("SITE.Example:80"), "http://site.example/a", Some("site.example")),
        ("http://SITE.example:8080/a", None, "http://site.example:8080/a", None),
        ("https://site.example:443/a", None, "https://site.example/a", None),
        ("https://site.example:80/a", None, "https://site.example:80/a", None),
    ] {
        // A GET that fills, and a HEAD whose answer may refresh what is stored.
        let world = World::new(Origin::new(|_| async { Ok(response(200, &[("etag", "\"1\"")], "a")) }));
        for method in ["GET", "HEAD"] {
            let mut request = request(method, target, &[]);
            request.headers_mut().remove("host");
            if let Some(host) = host {
                request.headers_mut().insert("host", host.parse().unwrap());
            }
            world.ask(request).await;
            let seen = world.origin.seen().pop().unwrap();
            assert_eq!(seen.method, method);
            assert_eq!(seen.uri, uri, "{method} {target} {host:?}");
            let host_seen = seen.headers.get("host").map(|host| host.to_str().unwrap());
            assert_eq!(host_seen, forwarded, "{method} {target} {host:?}");
        }
    }
}

#[tokio::test]
async fn what_has_no_canonical_authority_is_forwarded_and_not_cached() {
    let world = World::new(mirror());
    let cases: &[(&str, &[&str])] = &[
        ("/a", &[]),
        ("/a", &["site.example", "site.example"]),
        ("/a", &["site.example", "evil.example"]),
        ("/a", &["site.example:99999"]),
        ("/a", &["site.example:x"]),
        ("/a", &["user@site.example"]),
        ("/a", &["site.example/b"]),
        ("/a", &[""]),
        ("http://site.example/a", &["evil.example"]),
        ("http://user@site.example/a", &[]),
    ];
    for (target, hosts) in cases {
        for _ in 0..2 {
            let mut request = get(target);
            request.headers_mut().remove("host");
            for host in *hosts {
                request.headers_mut().append("host", host.parse().unwrap());
            }
            let reply = world.ask(request).await;
            assert_eq!(reply.outcome().detail, Some(Detail::NotCanonical), "{target} {hosts:?}");
        }
    }
    assert_eq!(world.origin.asked(), 2 * cases.len());
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test]
async fn forwarding_fields_that_change_the_target_are_keyed() {
    for (name, value) in [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-server", "evil.example"),
        ("x-forwarded-scheme", "nothttps"),
        ("x-forwarded-protocol", "ssl"),
        ("x-forwarded-ssl", "on"),
        ("forwarded", "for=1.2.3.4;host=evil.example"),
        ("forwarded", "for=1.2.3.4, proto=https"),
        ("forwarded", "for=\"a;host=evil.example\""),
    ] {
        let world = World::new(mirror());
        let poisoned = world.get_with("/a", &[(name, value)]).await;
        assert!(poisoned.text().contains(value), "{name}");
        assert!(!world.get("/a").await.text().contains(name), "{name}: {value}");
        // The one who set it is told apart, too, when the connection is to hide it.
        let hidden = world.get_with("/a", &[("connection", name), (name, value)]).await;
        assert!(hidden.text().contains(value), "{name}: {value}");
    }
    for (name, value) in
        [("x-host", "evil.example"), ("x-scheme", "x"), ("x-url-scheme", "x"), ("front-end-https", "on")]
    {
        let world = World::new(mirror());
        assert!(world.get_with("/a", &[(name, value)]).await.text().contains(value), "{name}");
        assert!(!world.get("/a").await.is_hit(), "{name}");
    }
    // The viewer's address does not change the target, and keys nothing.
    let world = World::new(mirror());
    world.get("/a").await;
    assert!(world.get_with("/a", &[("forwarded", "for=1.2.3.4")]).await.is_hit());
    assert!(world.get_with("/a", &[("x-forwarded-for", "1.2.3.4")]).await.is_hit());
}

#[tokio::test]
async fn overrides_of_method_and_target_bypass_the_cache() {
    for name in
        ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"]
    {
        let world = World::new(mirror());
        let overridden = world.get_with("/a", &[(name, "/admin")]).await;
        assert_eq!(overridden.outcome().forward_reason(), Some(ForwardReason::Bypass), "{name}");
        assert!(!world.get("/a").await.text().contains("/admin"), "{name}");
        assert!(!world.get_with("/a", &[(name, "/admin")]).await.is_hit(), "{name}");
    }
}

#[tokio::test]
async fn a_get_with_a_body_bypasses_the_cache() {
    let world = World::new(mirror());
    let fat = || {
        let mut request = get("/a");
        *request.body_mut() = "poison".into();
        request
    };
    let announced = request("GET", "/a", &[("content-length", "6")]);
    let chunked = request("GET", "/a", &[("transfer-encoding", "chunked")]);
    for request in [fat(), announced, chunked] {
        let reply = world.ask(request).await;
        assert_eq!(reply.outcome().forward_reason(), Some(ForwardReason::Bypass));
    }
    assert!(!world.get("/a").await.is_hit());
    assert!(!world.ask(fat()).await.is_hit());
    assert_eq!(world.origin.asked(), 5);
}

#[tokio::test]
async fn a_custom_function_adds_to_the_key_or_bypasses() {
    let custom = CustomKey::new(|parts| match parts.headers.get("x-tenant") {
        Some(tenant) if tenant == "none" => None,
        Some(tenant) => Some(vec![tenant.as_bytes().to_vec()]),
        None => Some(Vec::new()),
    });
    let world =
        World::with_policy(mirror(), keyed_by(KeyPolicy { custom: Some(custom), ..KeyPolicy::default() }));
    for (tenant, hit) in [("a", false), ("a", true), ("b", false), ("none", false), ("none", false)] {
        let reply = world.get_with("/a", &[("x-tenant", tenant)]).await;
        assert_eq!(reply.is_hit(), hit, "{tenant}");
        assert!(reply.text().contains(&format!("x-tenant: {tenant}")));
    }
    assert!(!world.get_with("/b", &[("x-tenant", "a")]).await.is_hit());
}

#[tokio::test]
async fn a_path_that_may_mean_another_has_no_behavior() {
    let forever = CachePolicy {
        ttl: Ttl { default: Some(std::time::Duration::from_secs(3600)), ..Ttl::default() },
        ..CachePolicy::default()
    };
    let origin = Origin::new(|seen| async move { Ok(response(200, &[], described(&seen))) });
    let world = World::with(origin, |edge| edge.behavior(Behavior::new("/static/*", forever)));
    world.get("/static/a.css").await;
    assert!(world.get("/static/a.css").await.is_hit());
    for path in [
        "/static/../account",
        "/static/%2e%2E/account",
        "/static/..%2Faccount",
        "/static/..%5caccount",
        "/static/a%00.css",
        "/static/./a.css",
    ] {
        world.get(path).await;
        assert!(!world.get(path).await.is_hit(), "{path}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_extensions_on_its_way_to_the_origin() {
    // hyper's callback for informational responses is one (RFC 9110 §15.2).
    #[derive(Clone, Debug, PartialEq)]
    struct OnInformational(u8);
    let world = World::new(mirror());
    for (number, (method, fields)) in [
        ("GET", &[][..]),
        ("HEAD", &[("cache-control", "no-cache")]),
        ("POST", &[]),
        ("GET", &[("range", "bytes=0-1")]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut request = request(method, "/a", fields);
        request.extensions_mut().insert(OnInformational(7));
        crate::support::read(world.send(request).await.unwrap()).await.unwrap();
        let seen = world.origin.seen();
        assert_eq!(seen.len(), number + 1, "{method}");
        assert_eq!(seen[number].extensions.get(), Some(&OnInformational(7)), "{method}");
    }
}

#[tokio::test]
async fn a_fill_sends_nothing_that_is_for_one_viewer_only() {
    let world = World::new(mirror());
    let own = [
        ("if-none-match", "\"mine\""),
        ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("range", "bytes=0-3"),
        ("if-range", "\"mine\""),
        ("expect", "100-continue"),
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
    ];
    let part = world.get_with("/a", &own).await;
    assert_eq!(part.status.as_u16(), 200, "If-Range names another object");
    assert_eq!(part.text(), "GET /a\nhost: site.example");
    assert!(world.get("/a").await.is_hit());
}
