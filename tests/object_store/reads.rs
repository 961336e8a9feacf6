//! GET and HEAD.

use http::{Method, StatusCode};

use crate::support::{Probe, ask, get};

const DATE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
const LONG_AGO: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

#[tokio::test]
async fn an_object_is_read_with_one_request() {
    let probe = Probe::new();
    probe.given("a/b c.txt", "0123456789").await;
    let origin = probe.builder().build().unwrap();

    let answer = get(&origin, "/a/b%20c.txt?version=1", &[("authorization", "secret")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "0123456789"));
    assert_eq!(answer.headers["content-length"], "10");
    assert_eq!(answer.headers["accept-ranges"], "bytes");
    assert_eq!(answer.headers["etag"], "\"0\"");
    assert!(answer.headers.contains_key("last-modified"));
    assert_eq!(probe.reads(), (1, 0));

    let head = ask(&origin, Method::HEAD, "/a/b%20c.txt", &[("range", "bytes=0-1")], "").await;
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    assert_eq!(head.headers, answer.headers);
    assert_eq!(probe.reads(), (1, 1));
}

#[tokio::test]
async fn a_range_is_read_as_a_range() {
    let probe = Probe::new();
    probe.given("digits", "0123456789").await;
    probe.given("empty", "").await;
    let origin = probe.builder().build().unwrap();
    // The path, the range, and the answer: status, `Content-Range`, body.
    for (path, range, status, content_range, body) in [
        ("/digits", "bytes=0-0", 206, "bytes 0-0/10", "0"),
        ("/digits", "bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("/digits", "bytes=7-", 206, "bytes 7-9/10", "789"),
        ("/digits", "bytes=7-99", 206, "bytes 7-9/10", "789"),
        ("/digits", "bytes=7-18446744073709551615", 206, "bytes 7-9/10", "789"),
        ("/digits", "bytes=-3", 206, "bytes 7-9/10", "789"),
        ("/digits", "bytes=-99", 206, "bytes 0-9/10", "0123456789"),
        ("/digits", "bytes=10-", 416, "bytes */10", ""),
        ("/digits", "bytes=10-12", 416, "bytes */10", ""),
        ("/digits", "bytes=18446744073709551615-", 416, "bytes */10", ""),
        ("/digits", "bytes=-0", 416, "bytes */10", ""),
        ("/empty", "bytes=0-", 416, "bytes */0", ""),
        // Not understood, or more work than it is worth: RFC 9110 §14.2.
        ("/digits", "bytes=4-2", 200, "", "0123456789"),
        ("/digits", "lines=0-1", 200, "", "0123456789"),
        ("/digits", "bytes=0-1,3-4", 200, "", "0123456789"),
        ("/empty", "bytes=-5", 200, "", ""),
    ] {
        let answer = get(&origin, path, &[("range", range)]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, body), "{range}");
        let sent = answer.headers.get("content-range").map_or("", |value| value.to_str().unwrap());
        assert_eq!(sent, content_range, "{range}");
        assert_eq!(answer.headers["content-length"], body.len().to_string().as_str(), "{range}");
    }
    let missing = get(&origin, "/nothing", &[("range", "bytes=0-1")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_range_of_another_version_is_the_whole() {
    let probe = Probe::new();
    probe.given("digits", "0123456789").await;
    let origin = probe.builder().build().unwrap();
    for (condition, status) in [("\"0\"", 206), ("\"1\"", 200), ("W/\"0\"", 200), (LONG_AGO, 200), ("*", 200)]
    {
        let answer = get(&origin, "/digits", &[("range", "bytes=0-1"), ("if-range", condition)]).await;
        assert_eq!(answer.status.as_u16(), status, "{condition}");
        assert_eq!(answer.text(), if status == 206 { "01" } else { "0123456789" }, "{condition}");
    }
}

#[tokio::test]
async fn a_copy_that_is_good_costs_one_request_and_no_body() {
    let probe = Probe::new();
    probe.given("digits", "0123456789").await;
    let origin = probe.builder().build().unwrap();
    for fields in [
        &[("if-none-match", "\"0\"")][..],
        &[("if-none-match", "\"9\", W/\"0\"")],
        &[("if-none-match", "*"), ("range", "bytes=0-1")],
        &[("if-modified-since", DATE)],
    ] {
        let answer = get(&origin, "/digits", fields).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::NOT_MODIFIED, ""), "{fields:?}");
        assert_eq!(answer.headers["etag"], "\"0\"");
        assert!(answer.headers.contains_key("last-modified"));
        assert!(!answer.headers.contains_key("content-length"));
    }
    assert_eq!(probe.reads(), (0, 4));
}

#[tokio::test]
async fn conditions_hold_or_stop_the_read() {
    let probe = Probe::new();
    probe.given("digits", "0123456789").await;
    let origin = probe.builder().build().unwrap();
    for (fields, status) in [
        (&[("if-match", "\"0\"")][..], 200),
        (&[("if-match", "\"0\""), ("range", "bytes=0-1")], 206),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"1\"")], 412),
        (&[("if-unmodified-since", DATE)], 200),
        (&[("if-unmodified-since", LONG_AGO)], 412),
        (&[("if-none-match", "\"1\"")], 200),
        (&[("if-modified-since", LONG_AGO)], 200),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&origin, method.clone(), "/digits", fields, "").await;
            let expected = if method == Method::HEAD && status == 206 { 200 } else { status };
            assert_eq!(answer.status.as_u16(), expected, "{method} {fields:?}");
        }
    }
    // RFC 9110 §13.2.1: what is not there has no version that a condition could be about.
    let missing = get(&origin, "/nothing", &[("if-match", "\"1\"")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn folders_show_their_index_and_nothing_outside_the_prefix_is_seen() {
    let probe = Probe::new();
    probe.given("site/index.html", "home").await;
    probe.given("site/docs/index.html", "docs").await;
    probe.given("secret", "secret").await;
    let origin = probe.builder().prefix("site").index("index.html").build().unwrap();
    for (path, status) in [
        ("/", 200),
        ("/docs/", 200),
        ("/docs/index.html", 200),
        ("/docs", 404),
        ("/secret", 404),
        ("/../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/..%2Fsecret", 400),
        ("//secret", 400),
    ] {
        assert_eq!(get(&origin, path, &[]).await.status.as_u16(), status, "{path}");
    }
    let plain = probe.builder().build().unwrap();
    assert_eq!(get(&plain, "/site/", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&plain, "/", &[]).await.status, StatusCode::NOT_FOUND);
}
