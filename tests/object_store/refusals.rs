//! What goes wrong, and what of it is seen.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::support::{Probe, ask, get};

#[tokio::test]
async fn nothing_is_written_unless_writes_are_switched_on() {
    let probe = Probe::new();
    probe.given("a", "old").await;
    let origin = probe.builder().build().unwrap();
    for method in ["PUT", "DELETE", "POST", "PATCH", "TRACE", "PURGE"] {
        let answer = ask(&origin, method.parse().unwrap(), "/a", &[], "new").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD, OPTIONS");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(probe.content("a").await.unwrap(), "old");

    let answer = ask(&origin, Method::OPTIONS, "/a", &[], "").await;
    assert_eq!(
        (answer.status, &answer.headers["allow"]),
        (StatusCode::NO_CONTENT, &"GET, HEAD, OPTIONS".parse().unwrap())
    );
}

#[tokio::test]
async fn an_error_may_have_a_page_of_the_store() {
    let probe = Probe::new();
    probe.given("errors/404.html", "<p>no").await;
    let builder = probe.builder().error_page(StatusCode::NOT_FOUND, "errors/404.html");
    let origin = builder.error_page(StatusCode::BAD_REQUEST, "errors/missing.html").build().unwrap();

    let answer = get(&origin, "/nothing", &[("if-none-match", "*"), ("range", "bytes=0-1")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::NOT_FOUND, "<p>no"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-length"], "5");
    for name in ["etag", "last-modified", "accept-ranges"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    let head = ask(&origin, Method::HEAD, "/nothing", &[], "").await;
    assert_eq!((head.status, head.text()), (StatusCode::NOT_FOUND, ""));
    assert_eq!(head.headers, answer.headers);

    // Where the page is missing too, a line of text stands in.
    let answer = get(&origin, "/a//b", &[]).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::BAD_REQUEST, "400: this path is that of no object\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_a_504() {
    let probe = Probe::new();
    probe.ledger().hangs = true;
    let upload = Default::default();
    let origin = probe.builder().writes(upload).first_byte(Duration::from_secs(7)).build().unwrap();
    for fields in [&[][..], &[("range", "bytes=0-1")], &[("if-none-match", "*")]] {
        let started = Instant::now();
        let answer = get(&origin, "/a", fields).await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{fields:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(started.elapsed().as_secs(), 7);
    }
    let answer = ask(&origin, Method::PUT, "/a", &[], "x").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_to_its_reader() {
    let probe = Probe::new();
    probe.given("a", "content").await;
    probe.ledger().breaks_off = true;
    let origin = probe.builder().build().unwrap();
    let answer = get(&origin, "/a", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.is_err());
}
