//! What the control port answers, right and wrong requests alike.

use std::io::Write;
use std::sync::{Arc, Mutex, mpsc};

use crate::clearing::site;
use crate::support::{Edge, origin, read_head};

#[test]
fn what_cannot_be_cleared_is_refused_by_its_place() {
    let edge = Edge::controlled(site(), &[]);
    let many =
        |path: &str, times| format!(r#"{{"paths": [{}]}}"#, vec![format!("\"{path}\""); times].join(","));
    let cases: &[(&str, u16, &str)] = &[
        ("", 400, "the body is no JSON"),
        (r#"{"paths": ["/a""#, 400, "the body is no JSON"),
        (r#"{"paths": ["/a"]} x"#, 400, "the body is no JSON"),
        (r#"[["/a"], [], [], false, null, false, null]"#, 422, "expected an object"),
        (r#"{"pahts": ["/a"]}"#, 422, "unknown field `pahts`"),
        (r#"{"paths": ["/a"], "paths": ["/b"]}"#, 422, "duplicate field `paths`"),
        (r#"{"paths": "/a"}"#, 422, "paths: invalid type"),
        (r#"{"paths": ["/a", 3]}"#, 422, "paths[1]: invalid type"),
        (r#"{"all": "yes"}"#, 422, "all: invalid type"),
        ("{}", 422, "names nothing"),
        (r#"{"paths": [], "all": false, "host": "site"}"#, 422, "names nothing"),
        (r#"{"paths": ["/a", "/b", "/c d"]}"#, 422, "paths[2]: \"/c d\" has a character"),
        (r#"{"paths": ["a"]}"#, 422, "paths[0]: \"a\" does not start with '/' (at byte 0)"),
        (r#"{"tags": ["a", "b,c"]}"#, 422, "tags[1]: \"b,c\" is not"),
        (r#"{"groups": ["a"]}"#, 422, "groups: a group is one of its host's"),
        (r#"{"groups": ["a", "\n"], "host": "site"}"#, 422, "groups[1]: is not 1 to 256"),
        (r#"{"paths": ["/a"], "host": "a b"}"#, 422, "host: \"a b\" is no host"),
        (r#"{"paths": ["/a"], "host": ""}"#, 422, "host: \"\" is no host"),
        (r#"{"paths": ["/a"], "host": "a:"}"#, 422, "host: is no host"),
        (r#"{"paths": ["/a"], "reference": ""}"#, 422, "reference: is not 1 to 256"),
        (&many("/", 3_001), 422, "too many paths"),
        (&many("/*", 16), 422, "too many wildcards"),
    ];
    for (body, status, detail) in cases {
        let answer = edge.tell("POST /invalidations", body);
        assert_eq!(answer.status, *status, "{body}: {answer:?}");
        assert!(answer.detail().contains(detail), "{body}: {answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
        assert_eq!(answer.body["status"], *status);
    }
    let answer = edge.tell("POST /invalidations", r#"{"paths": ["/a", "/b", "/c d"]}"#);
    assert_eq!((&answer.body["pointer"], &answer.body["position"]), (&"#/paths/2".into(), &2.into()));
    let usage = edge.ask("GET /usage", "", "");
    assert_eq!((usage.status, &usage.body["paths"]), (200, &0.into()), "{usage:?}");
}

#[test]
fn a_receipt_is_waited_for() {
    // While a fetch lasts the sweep is under way, and the next rules are gathered before they are applied.
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let edge = Edge::controlled(
        origin(move |_, mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap();
            let _ = held.lock().unwrap().recv();
        }),
        &[],
    );
    let mut viewer = edge.connect();
    viewer.write_all(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n").unwrap();
    read_head(&mut viewer);
    for n in 0..10 {
        let made = edge.tell("POST /invalidations", &format!(r#"{{"paths": ["/{n}"]}}"#)).body;
        let receipt =
            edge.ask(&format!("GET /invalidations/{}?wait=30", made["id"].as_str().unwrap()), "", "");
        assert_eq!(receipt.body["state"], "completed", "{n}: {receipt:?}");
    }
    drop(release);
}

#[test]
fn a_body_over_64_kib_is_refused() {
    let edge = Edge::controlled(site(), &[]);
    let body = |length: usize| format!(r#"{{"paths": ["/a"]{}}}"#, " ".repeat(length - 17));
    assert_eq!(body(100).len(), 100);
    assert_eq!(edge.tell("POST /invalidations", &body(64 * 1024)).status, 201);
    assert_eq!(edge.tell("POST /invalidations", &body(64 * 1024 + 1)).status, 413);
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let edge = Edge::controlled(site(), &[]);
    for (what, status) in [
        ("GET /", 404),
        ("GET /invalidations/I0000FFFF", 404),
        ("GET /invalidations/x", 404),
        ("GET /invalidations/I00000001?wait=31", 400),
        ("GET /invalidations/I00000001?wiat=1", 400),
        ("GET /invalidations?limit=0", 400),
        ("GET /invalidations?limit=x", 400),
        ("GET /invalidations?before=x", 400),
        ("GET /objects", 400),
        ("GET /objects?url=/news", 400),
        ("DELETE /invalidations", 405),
        ("PURGE /news", 404),
        ("OPTIONS /invalidations", 405),
    ] {
        let answer = edge.ask(what, "", "");
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.body["status"], status, "{what}: {answer:?}");
        assert!(answer.head.contains("cache-control: no-store"), "{what}: {answer:?}");
        assert_eq!(answer.head.contains("allow: get"), status == 405, "{what}: {answer:?}");
    }
}

#[test]
fn the_history_is_read_page_by_page() {
    let edge = Edge::controlled(site(), &[]);
    for n in 0..5 {
        assert_eq!(
            edge.tell("POST /invalidations", &format!(r#"{{"paths": ["/{n}"], "reference": "r{n}"}}"#))
                .status,
            201
        );
    }
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = edge.ask(&format!("GET /invalidations?limit=2{next}"), "", "");
        let receipts = page.body["invalidations"].as_array().unwrap();
        seen.extend(receipts.iter().map(|receipt| receipt["reference"].as_str().unwrap().to_owned()));
        match page.body["next"].as_str() {
            Some(id) => next = format!("&before={id}"),
            None => break,
        }
        assert!(seen.len() < 10, "{seen:?}");
    }
    assert_eq!(seen, ["r4", "r3", "r2", "r1", "r0"]);
}

#[test]
fn an_object_is_described_until_it_is_cleared() {
    let edge = Edge::controlled(site(), &[]);
    let look = || edge.ask("GET /objects?url=http%3A%2F%2Fsite%2Fnews", "", "").body;
    assert_eq!((look()["stored"].clone(), look()["objects"].clone()), (false.into(), serde_json::json!([])));
    edge.get("/news", "");
    let body = look();
    let object = &body["objects"][0];
    assert_eq!(body["stored"], true);
    assert_eq!(object["tags"], serde_json::json!(["news", "front"]));
    assert_eq!(
        (&object["status"], &object["size"], &object["etag"]),
        (&200.into(), &6.into(), &"\"v\"".into())
    );
    assert!(object["ttl"].as_i64().is_some_and(|ttl| (50..=60).contains(&ttl)), "{body}");
    edge.tell("POST /invalidations", r#"{"tags": ["front"]}"#);
    assert_eq!(look()["stored"], false);
    let stats = edge.ask("GET /stats", "", "").body;
    assert_eq!(
        (&stats["requests"], &stats["stored"], &stats["invalidations"], &stats["prefetched"]),
        (&1.into(), &1.into(), &1.into(), &0.into())
    );
}

#[test]
fn the_description_names_every_resource() {
    let edge = Edge::controlled(site(), &[]);
    let description = edge.ask("GET /openapi.json", "", "").body;
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["security"], serde_json::json!([]), "no token is asked for");
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        paths,
        [
            "/distribution",
            "/distribution/invalidations",
            "/distribution/invalidations/{id}",
            "/invalidations",
            "/invalidations/{id}",
            "/nearest",
            "/objects",
            "/openapi.json",
            "/stats",
            "/usage",
        ]
    );
}
