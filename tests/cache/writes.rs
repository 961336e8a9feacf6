//! Writes: what they change is invalid before their answer is seen (RFC 9111 §4.4).

use std::sync::Arc;

use http::Request;
use tokio::sync::Semaphore;
use tower_edge::{CachePolicy, ForwardReason, KeyPolicy, Select};

use crate::support::{Origin, OriginDown, RequestBody, World, get, read, request, response, settle};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// Answers reads with numbered objects, and writes with this status and these fields.
fn writable(status: u16, headers: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |seen| async move {
        match seen.method.as_str() {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" => {
                Ok(response(200, MINUTE, format!("answer {}", seen.number)))
            }
            _ if status == 0 => Err(OriginDown),
            _ => Ok(response(status, headers, "written")),
        }
    })
}

/// Which of these paths are still stored after a write to `/a/b`.
async fn kept(world: &World, write: Request<RequestBody>, paths: &[&'static str]) -> Vec<&'static str> {
    for path in paths {
        world.get(path).await;
        assert!(world.get(path).await.is_hit(), "{path}");
    }
    drop(world.send(write).await);
    let mut kept = Vec::new();
    for path in paths {
        if world.get_with(path, &[("cache-control", "only-if-cached")]).await.status.as_u16() == 200 {
            kept.push(*path);
        }
    }
    kept
}

#[tokio::test(start_paused = true)]
async fn a_write_that_worked_or_may_have_invalidates() {
    for (status, invalidates) in [
        (200, true),
        (201, true),
        (204, true),
        (303, true),
        (400, false),
        (404, false),
        (412, false),
        (500, false),
        (503, false),
        // The origin did not answer: nobody knows.
        (0, true),
    ] {
        for method in ["PUT", "POST", "PATCH", "DELETE", "PURGE", "get"] {
            let world = World::new(writable(status, &[]));
            let kept = kept(&world, request(method, "/a/b", &[]), &["/a/b", "/a"]).await;
            let expected: &[&str] = if invalidates { &["/a"] } else { &["/a/b", "/a"] };
            assert_eq!(kept, expected, "{method} {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_offers_another_protocol_invalidates() {
    // curl --http2 asks so with every method, and an origin that does not switch writes all the same.
    let world = World::new(writable(200, &[]));
    let offer = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "")];
    assert_eq!(kept(&world, request("PUT", "/a/b", &offer), &["/a/b", "/a"]).await, ["/a"]);
}

#[tokio::test(start_paused = true)]
async fn safe_methods_never_invalidate() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        let world = World::new(writable(200, &[]));
        // Not even one that goes to the origin.
        let asked = request(method, "/a/b", &[("cache-control", "no-store")]);
        assert_eq!(kept(&world, asked, &["/a/b"]).await, ["/a/b"], "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_answer_names_is_invalid_too_within_the_origin() {
    for (field, value, gone) in [
        ("location", "/a/c", "/a/c"),
        ("content-location", "/a/c", "/a/c"),
        ("location", "c", "/a/c"),
        ("location", "../d", "/d"),
        ("location", "c#part", "/a/c"),
        ("location", "?q=1", "/a/b?q=1"),
        ("location", "http://site.example/a/c", "/a/c"),
        ("location", "HTTP://SITE.example:80/a/c", "/a/c"),
        ("location", "//site.example/a/c", "/a/c"),
        // Other origins cannot be emptied from here (RFC 9111 §4.4).
        ("location", "http://other.example/a/c", ""),
        ("location", "https://site.example/a/c", ""),
        ("location", "http://site.example:8080/a/c", ""),
        ("location", "//other.example/a/c", ""),
        ("location", "http://site.example@other.example/a/c", ""),
        ("content-location", "http://[broken", ""),
    ] {
        let all = ["/a/c", "/d", "/a/b?q=1"];
        let headers: &'static [_] = vec![(field, value)].leak();
        let world = World::new(writable(201, headers));
        let kept = kept(&world, request("POST", "/a/b", &[]), &all).await;
        let expected: Vec<_> = all.into_iter().filter(|path| *path != gone).collect();
        assert_eq!(kept, expected, "{field}: {value}");
        // A refused write names nothing.
        let world = World::new(writable(409, headers));
        assert_eq!(self::kept(&world, request("POST", "/a/b", &[]), &all).await, all, "{field}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_variants_and_forms_of_the_target_are_invalid() {
    let world = World::with_policy(
        Origin::numbered(&[("cache-control", "max-age=60"), ("vary", "accept")]),
        CachePolicy {
            key: KeyPolicy {
                query: Select::AllBut(vec!["utm".into()]),
                cookies: Some(Select::All),
                ..KeyPolicy::default()
            },
            ..CachePolicy::default()
        },
    );
    let reads = || {
        [
            request("GET", "/a", &[("accept", "x")]),
            request("GET", "/a", &[("accept", "y"), ("cookie", "a=1")]),
            request("GET", "/a?utm=1", &[("x-forwarded-proto", "https")]),
        ]
    };
    let mut http2 = request("DELETE", "http://SITE.example:80/a?utm=2", &[]);
    http2.headers_mut().remove("host");
    for write in [request("PUT", "/a", &[]), http2] {
        for read in reads() {
            world.ask(read).await;
        }
        for read in reads() {
            assert!(world.ask(read).await.is_hit());
        }
        world.ask(write).await;
        for read in reads() {
            assert!(!world.ask(read).await.is_hit());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_canonical_target_invalidates_the_path_everywhere() {
    // An origin that takes a request without `Host` for its only site has changed that site's object.
    for hosts in [&[][..], &["site.example", "site.example"], &["site.example", "other.example"]] {
        let world = World::new(writable(204, &[]));
        let mut write = request("PUT", "/a/b", &[]);
        write.headers_mut().remove("host");
        for host in hosts {
            write.headers_mut().append("host", host.parse().unwrap());
        }
        assert_eq!(kept(&world, write, &["/a/b", "/a"]).await, ["/a"], "{hosts:?}");
    }
}

/// An origin that holds back every answer until the gate lets it go.
fn gated() -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let guard = Arc::clone(&gate);
    let origin = Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            Ok(response(200, MINUTE, format!("answer {}", seen.number)))
        }
    });
    (origin, gate)
}

#[tokio::test(start_paused = true)]
async fn a_read_that_overlaps_a_write_is_not_stored() {
    for read_first in [true, false] {
        let (origin, gate) = gated();
        let world = World::new(origin);
        let ask = |method| tokio::spawn(world.send(request(method, "/a", &[])));
        let (first, second) = if read_first { ("GET", "PUT") } else { ("PUT", "GET") };
        let first = ask(first);
        settle().await;
        let second = ask(second);
        settle().await;
        let (reading, writing) = if read_first { (first, second) } else { (second, first) };
        // Those who wait are let through in the order in which they came.
        gate.add_permits(2);
        writing.await.unwrap().unwrap();
        let seen = read(reading.await.unwrap().unwrap()).await.unwrap();
        settle().await;
        gate.add_permits(1);
        let after = world.get("/a").await;
        assert_ne!(after.text(), seen.text(), "read first: {read_first}");
        assert_eq!(after.text(), "answer 2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_after_the_write_does_not_join_a_reader_before_it() {
    let gate = Arc::new(Semaphore::new(0));
    let guard = Arc::clone(&gate);
    let world = World::new(Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            if seen.method == "GET" {
                guard.acquire().await.unwrap().forget();
            }
            Ok(response(200, MINUTE, format!("answer {}", seen.number)))
        }
    }));
    let before = tokio::spawn(world.send(get("/a")));
    settle().await;
    world.ask(request("POST", "/a", &[])).await;
    let after = tokio::spawn(world.send(get("/a")));
    settle().await;
    assert_eq!(world.origin.asked(), 3);
    gate.add_permits(2);
    assert_eq!(read(before.await.unwrap().unwrap()).await.unwrap().text(), "answer 0");
    assert_eq!(read(after.await.unwrap().unwrap()).await.unwrap().text(), "answer 2");
    assert_eq!(world.get("/a").await.text(), "answer 2");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_viewer_left_invalidates() {
    let (origin, gate) = gated();
    let world = World::new(origin);
    gate.add_permits(1);
    world.get("/a").await;
    let write = tokio::spawn(world.send(request("PUT", "/a", &[])));
    settle().await;
    assert_eq!(world.origin.asked(), 2);
    assert!(world.get("/a").await.is_hit(), "nothing is known yet");
    write.abort();
    settle().await;
    gate.add_permits(1);
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_started_invalidates_nothing() {
    let world = World::new(writable(200, &[]));
    world.get("/a").await;
    drop(world.send(request("PUT", "/a", &[])));
    assert!(world.get("/a").await.is_hit());
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_write_is_not_that_to_a_read() {
    // RFC 9110 §9.3.3 lets a POST's answer that names its target serve reads; that of no other method, and no other answer.
    for (method, headers) in [
        ("POST", &[("cache-control", "max-age=60")][..]),
        ("POST", &[("cache-control", "max-age=60"), ("content-location", "/b")]),
        ("PUT", &[("cache-control", "max-age=60"), ("content-location", "/a")]),
        ("DELETE", &[("cache-control", "max-age=60"), ("content-location", "/a")]),
    ] {
        let world = World::new(writable(200, headers));
        let written = world.ask(request(method, "/a", &[])).await;
        assert_eq!(written.outcome().forward_reason(), Some(ForwardReason::Method));
        assert_eq!(world.get("/a").await.text(), "answer 1", "{method} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_clears_its_target_as_other_rules_key_it() {
    let world = World::new(writable(200, &[]));
    world.get("/a?utm=1").await;
    let key = KeyPolicy { query: Select::None, ..KeyPolicy::default() };
    let short = world.edge.reconfigured(CachePolicy { key, ..CachePolicy::default() }, []).unwrap();
    let mut cache = tower::Layer::layer(&short.layer(), world.origin.clone());
    tower::Service::call(&mut cache, request("PUT", "/a?utm=1", &[])).await.unwrap();
    // Whoever still goes by the first rules sees what was written.
    assert!(!world.get("/a?utm=1").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_post_that_may_be_for_one_cookie_is_not_for_all() {
    let key = KeyPolicy { cookies: Some(Select::None), ..KeyPolicy::default() };
    let fields = &[("cache-control", "max-age=60"), ("content-location", "/me")];
    for (cookie, stored) in [("sid=alice", false), ("", true)] {
        let world = World::with_policy(
            writable(200, fields),
            CachePolicy { key: key.clone(), ..CachePolicy::default() },
        );
        let with = [("cookie", cookie)];
        let lines = if cookie.is_empty() { &[][..] } else { &with[..] };
        assert_eq!(world.ask(request("POST", "/me", lines)).await.outcome().stored, stored);
        assert_eq!(world.get("/me").await.is_hit(), stored, "{cookie}");
    }
}
