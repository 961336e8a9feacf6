//! Writes through the edge server, to an origin that keeps files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod files;
mod outcomes;
mod streaming;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use self::files::{Answer, Files};

/// What `Cache-Status` of an answer says.
fn cache_status(answer: &str) -> &str {
    answer.lines().find_map(|line| line.strip_prefix("cache-status: ")).unwrap_or_default()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn what_was_put_is_read_back_at_once() {
    for (flag, put, read, reads) in [
        ("around", "tower-edge; fwd=method", "tower-edge; fwd=uri-miss; stored", 2),
        ("through", "tower-edge; fwd=method; stored", "tower-edge; hit; ttl=60", 1),
    ] {
        let files = Files::start();
        files.keep("/a", "before");
        let edge = files.edge(&["--writes", flag, "--ttl", "60s"]);
        assert_eq!(body(&edge.get("/a", "")), "before");
        let written = files::put(&edge, "/a", "Content-Type: text/css\r\n", "after");
        assert!(written.starts_with("HTTP/1.1 204"), "{written}");
        assert_eq!(cache_status(&written), put);
        let answer = edge.get("/a", "");
        assert_eq!((body(&answer), cache_status(&answer)), ("after", read), "{flag}");
        assert!(answer.contains("\r\ncontent-type: text/css\r\n"), "{answer}");
        assert!(answer.contains("\r\netag: \"v2\"\r\n"), "{answer}");
        assert_eq!(files.count("GET /a"), reads, "{flag}");
        assert_eq!(files.kept("/a").as_deref(), Some("after"));
    }
}

#[test]
fn what_the_origin_changed_is_not_taken_for_what_was_put() {
    let files = Files::start();
    let edge = files.edge(&["--writes", "through", "--ttl", "60s"]);
    // It says so by sending no validator (RFC 9110 §9.3.4).
    files.answer_next("PUT", Answer::Without("etag"));
    assert_eq!(cache_status(&files::put(&edge, "/a", "", "text")), "tower-edge; fwd=method");
    assert_eq!(cache_status(&edge.get("/a", "")), "tower-edge; fwd=uri-miss; stored");
}
