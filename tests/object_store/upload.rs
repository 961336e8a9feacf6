//! Transfer acceleration: a body goes into the store while it arrives, and is an object only when it is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use http_body_util::channel::Channel;
use tokio::time::Instant;
use tower_edge::origin::ObjectStore;
use tower_edge::origin::object_store::Upload;

use crate::support::{Probe, request, send};

const PART: usize = 1024;
const PARALLEL: usize = 3;

fn writable(probe: &Probe) -> ObjectStore {
    let upload = Upload { part: PART, parallel: PARALLEL, ..Upload::default() };
    probe.builder().writes(upload).build().unwrap()
}

fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// A body in frames of 100 bytes, and how much of it was read.
fn counted(
    content: Bytes,
) -> (StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, String>>>, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let frames = stream::unfold(content, move |mut rest| {
        let piece = rest.split_to(rest.len().min(100));
        counter.fetch_add(piece.len(), Ordering::Relaxed);
        std::future::ready((!piece.is_empty()).then(|| (Ok(Frame::data(piece)), rest)))
    });
    (StreamBody::new(frames), read)
}

#[tokio::test]
async fn small_bodies_take_one_request_and_large_ones_equal_parts() {
    for (length, parts) in [
        (0, &[][..]),
        (1, &[]),
        (PART, &[]),
        (PART + 1, &[PART, 1]),
        (3 * PART, &[PART, PART, PART]),
        (10 * PART + 7, &[PART, PART, PART, PART, PART, PART, PART, PART, PART, PART, 7]),
    ] {
        let probe = Probe::new();
        let answer =
            send(&writable(&probe), request(Method::PUT, "/a", &[], counted(content(length)).0)).await;
        assert_eq!(answer.status, StatusCode::OK, "{length}");
        assert!(answer.headers.contains_key("etag"));
        assert_eq!(probe.ledger().parts, parts, "{length}");
        assert_eq!(probe.ledger().puts, usize::from(parts.is_empty()), "{length}");
        assert_eq!(probe.ledger().aborted, 0);
        assert_eq!(probe.content("a").await.unwrap(), content(length));
    }
}

#[tokio::test]
async fn an_upload_holds_no_more_than_its_parts_and_the_client_waits() {
    let probe = Probe::gated();
    let origin = writable(&probe);
    let (body, read) = counted(content(20 * PART));
    let put = tokio::spawn(async move { send(&origin, request(Method::PUT, "/a", &[], body)).await });

    probe.gate.add_permits(1);
    probe.until(|ledger| ledger.under_way == PARALLEL).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let held = read.load(Ordering::Relaxed);
    assert!(held <= (PARALLEL + 1) * PART + 100, "{held}");
    assert!(probe.content("a").await.is_none());

    probe.gate.add_permits(100);
    assert_eq!(put.await.unwrap().status, StatusCode::OK);
    assert_eq!(probe.ledger().most_under_way, PARALLEL);
    assert_eq!(probe.content("a").await.unwrap(), content(20 * PART));
}

#[tokio::test]
async fn what_breaks_its_promise_is_never_seen() {
    for length in [PART / 2, 5 * PART] {
        let long = (length + 1).to_string();
        let short = (length - 1).to_string();
        for fields in [
            ("content-length", long.as_str()),
            ("content-length", short.as_str()),
            ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"),
        ] {
            let probe = Probe::new();
            let body = counted(content(length)).0;
            let answer = send(&writable(&probe), request(Method::PUT, "/a", &[fields], body)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{length} {fields:?}");
            probe.until(|ledger| ledger.aborted == ledger.begun).await;
            assert_eq!(probe.ledger().completed, 0);
            assert!(probe.content("a").await.is_none(), "{length} {fields:?}");
        }
    }
}

#[tokio::test]
async fn a_promise_that_is_kept_is_checked_over_all_parts() {
    // sha-256 of `content(5 * PART)`.
    let digest = "sha-256=:LT+5FhSTUJ4/o/VHLYooTuaH9kUk8JJb5n4TLvQ/Q+A=:";
    let probe = Probe::new();
    let body = counted(content(5 * PART)).0;
    let fields = [("repr-digest", digest), ("content-length", "5120")];
    assert_eq!(
        send(&writable(&probe), request(Method::PUT, "/a", &fields, body)).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    // Its connection breaks: an error in the body.
    let probe = Probe::new();
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(100);
    sender.send_data(content(5 * PART)).await.unwrap();
    sender.abort(std::io::Error::other("gone"));
    assert_eq!(
        send(&writable(&probe), request(Method::PUT, "/a", &[], body)).await.status,
        StatusCode::BAD_REQUEST
    );
    probe.until(|ledger| ledger.aborted == 1).await;

    // The server drops the request: while the upload begins, and while parts are under way.
    for permits in [0, 1, 2] {
        let probe = Probe::gated();
        probe.gate.add_permits(permits);
        let origin = writable(&probe);
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(100);
        sender.send_data(content(5 * PART)).await.unwrap();
        let put = tokio::spawn(async move { send(&origin, request(Method::PUT, "/a", &[], body)).await });
        probe.until(|ledger| if permits == 0 { ledger.begun == 1 } else { ledger.under_way >= 2 }).await;
        put.abort();
        assert!(put.await.is_err_and(|error| error.is_cancelled()));
        // The store answers when nobody waits any more.
        probe.gate.add_permits(100);
        probe.until(|ledger| ledger.aborted == 1).await;
        assert_eq!(probe.ledger().completed, 0);
        assert!(probe.content("a").await.is_none());
    }
}

#[tokio::test]
async fn a_part_that_fails_ends_the_upload() {
    let probe = Probe::new();
    probe.ledger().failing_part = Some(1);
    let (body, read) = counted(content(1000 * PART));
    let answer = send(&writable(&probe), request(Method::PUT, "/a", &[], body)).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(read.load(Ordering::Relaxed) < 10 * PART);
    probe.until(|ledger| ledger.aborted == 1).await;
    assert!(probe.content("a").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_is_waited_for_only_so_long() {
    let probe = Probe::new();
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(100);
    sender.send_data(content(5 * PART)).await.unwrap();
    let started = Instant::now();
    let answer = send(&writable(&probe), request(Method::PUT, "/a", &[], body)).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(started.elapsed(), Duration::from_secs(15));
    probe.until(|ledger| ledger.aborted == 1).await;
}

#[tokio::test]
async fn a_conditional_body_is_held_as_a_whole_or_refused() {
    let fields = [("if-none-match", "*")];
    let probe = Probe::new();
    let origin = writable(&probe);
    let whole = counted(content(PARALLEL * PART)).0;
    assert_eq!(send(&origin, request(Method::PUT, "/a", &fields, whole)).await.status, StatusCode::CREATED);
    assert_eq!(probe.ledger().puts, 1);
    assert_eq!(probe.ledger().begun, 0);

    let (larger, read) = counted(content(PARALLEL * PART + 1));
    let answer = send(&origin, request(Method::PUT, "/b", &fields, larger)).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert!(read.load(Ordering::Relaxed) > 0);

    let (larger, read) = counted(content(PARALLEL * PART + 1));
    let length = (PARALLEL * PART + 1).to_string();
    let fields = [("if-none-match", "*"), ("content-length", &length)];
    let answer = send(&origin, request(Method::PUT, "/b", &fields, larger)).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(read.load(Ordering::Relaxed), 0, "what is refused by its length is not read");
    assert!(probe.content("b").await.is_none());
}

#[tokio::test]
async fn a_body_of_too_many_parts_is_refused_before_it_is_read() {
    let probe = Probe::new();
    let length = (10_000 * PART + 1).to_string();
    let (body, read) = counted(content(10));
    let answer =
        send(&writable(&probe), request(Method::PUT, "/a", &[("content-length", &length)], body)).await;
    assert_eq!((answer.status, read.load(Ordering::Relaxed)), (StatusCode::PAYLOAD_TOO_LARGE, 0));

    let answer =
        send(&writable(&probe), request(Method::PUT, "/a", &[], counted(content(10_000 * PART + 1)).0)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    probe.until(|ledger| ledger.aborted == 1).await;
    assert!(probe.content("a").await.is_none());
}
