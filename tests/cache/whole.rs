//! Invariant 3, whole or an error: a body that does not end as it should is an error for everyone who reads it, and is
//! not stored.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::BoxError;
use tower_edge::{BodyError, BodyErrorKind};

use crate::support::{
    Feed, Origin, OriginBody, Reply, RequestBody, World, feed, get, read, request, response, settle, streamed,
};

const STORED: (&str, &str) = ("cache-control", "max-age=60");

/// An origin whose first answer is this one; the next are whole.
fn first(answer: Response<OriginBody>) -> Origin {
    let answer = Arc::new(Mutex::new(Some(answer)));
    Origin::new(move |_| {
        let first = answer.lock().unwrap().take();
        async move { Ok(first.unwrap_or_else(|| response(200, &[STORED], "whole"))) }
    })
}

fn fed(length: Option<&str>) -> (Feed, Origin) {
    let (feed, body) = feed();
    let mut headers = vec![STORED, ("etag", "\"a\"")];
    headers.extend(length.map(|length| ("content-length", length)));
    (feed, first(streamed(&headers, body)))
}

type Ending = fn(&Feed);
type Reading = tokio::task::JoinHandle<Result<Reply, BodyError>>;

/// Reads as far as it gets.
fn reader(world: &World) -> Reading {
    reading(world, get("/a"), 200)
}

fn reading(world: &World, request: Request<RequestBody>, status: u16) -> Reading {
    let answer = world.send(request).map(|answer| answer.unwrap().map(|body| body.boxed_unsync()));
    tokio::spawn(async move {
        let answer = answer.await;
        assert_eq!(answer.status().as_u16(), status);
        read(answer).await
    })
}

fn kind(result: Result<Reply, BodyError>) -> BodyErrorKind {
    result.expect_err("the body is not whole").kind()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_dies_is_an_error_for_all_its_readers() {
    let cases: &[(&str, Option<&str>, Ending, BodyErrorKind)] = &[
        ("short", Some("10"), |feed| feed.end(), BodyErrorKind::Length),
        ("short by all", Some("1000000"), |feed| feed.end(), BodyErrorKind::Length),
        ("too long", Some("6"), |feed| feed.send("567"), BodyErrorKind::Length),
        (
            "too long in one more frame",
            Some("6"),
            |feed| {
                feed.send("56");
                feed.send("7");
            },
            BodyErrorKind::Length,
        ),
        (
            "too long and ended",
            Some("6"),
            |feed| {
                feed.send("56");
                feed.send("7");
                feed.end();
            },
            BodyErrorKind::Length,
        ),
        ("reset", Some("10"), |feed| feed.fail("reset"), BodyErrorKind::Origin),
        ("reset of a body of unknown length", None, |feed| feed.fail("reset"), BodyErrorKind::Origin),
        (
            "reset after the last byte",
            Some("6"),
            |feed| {
                feed.send("56");
                feed.fail("reset");
            },
            BodyErrorKind::Origin,
        ),
    ];
    for (case, length, ending, expected) in cases {
        let (feed, origin) = fed(*length);
        let world = World::new(origin);
        let leader = reader(&world);
        settle().await;
        let follower = reader(&world);
        settle().await;
        feed.send("1234");
        let late = reader(&world);
        settle().await;
        ending(&feed);
        for (who, reading) in [("leader", leader), ("follower", follower), ("late", late)] {
            assert_eq!(kind(reading.await.unwrap()), *expected, "{case}: {who}");
        }
        assert_eq!(world.origin.asked(), 1, "{case}");
        assert_eq!(world.edge.stats().objects, 0, "{case}");
        assert_eq!(world.edge.stats().failed_bodies, 1, "{case}");
        assert_eq!(world.edge.stats().bytes_in_flight, 0, "{case}");
        // The next one asks again, and does not find the broken one.
        assert_eq!(world.get("/a").await.text(), "whole", "{case}");
        assert_eq!(world.origin.asked(), 2, "{case}");
    }
}

/// A body that claims a length of its own and may panic.
struct Claims {
    length: u64,
    frames: Vec<&'static str>,
    panics: bool,
}

impl Body for Claims {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop() {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame.into())))),
            None if self.panics => panic!("the body breaks"),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_held_to_the_length_it_claims_in_process() {
    // No server stands between origin and edge that would check it (RFC 9112 §8).
    for (length, frames) in [(5, vec!["1234"]), (3, vec!["1234"]), (3, vec!["4", "123"]), (5, vec![])] {
        let world = World::new(first(streamed(&[STORED], Claims { length, frames, panics: false })));
        let (leader, follower) = (reader(&world), reader(&world));
        assert_eq!(kind(leader.await.unwrap()), BodyErrorKind::Length, "{length}");
        assert_eq!(kind(follower.await.unwrap()), BodyErrorKind::Length, "{length}");
        assert_eq!(world.edge.stats().objects, 0, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_contradicts_its_body_is_not_stored() {
    let body = || Claims { length: 4, frames: vec!["1234"], panics: false };
    for length in ["5", "3", "four", "-4", "4, 4"] {
        let world = World::new(first(streamed(&[STORED, ("content-length", length)], body())));
        // Whatever it is, it is its viewer's alone.
        let _ = world.send(get("/a")).await.unwrap();
        assert!(!world.get("/a").await.is_hit(), "{length}");
        assert_eq!(world.origin.asked(), 2, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_body_is_an_error_for_all_its_readers() {
    let world =
        World::new(first(streamed(&[STORED], Claims { length: 8, frames: vec!["1234"], panics: true })));
    let (leader, follower) = (reader(&world), reader(&world));
    assert_eq!(kind(leader.await.unwrap()), BodyErrorKind::Aborted);
    assert_eq!(kind(follower.await.unwrap()), BodyErrorKind::Aborted);
    assert_eq!(world.get("/a").await.text(), "whole");
    assert_eq!(world.edge.stats().fills, 0);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_body_that_dies_is_an_error_too() {
    let (feed, origin) = fed(Some("10"));
    let world = World::new(origin);
    let whole = reader(&world);
    settle().await;
    let part = |range| reading(&world, request("GET", "/a", &[("range", range)]), 206);
    let (beginning, across, end, several) =
        (part("bytes=0-3"), part("bytes=2-5"), part("bytes=-2"), part("bytes=0-0,9-9"));
    let head = world.ask(request("HEAD", "/a", &[])).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("10")));
    let not_modified = world.get_with("/a", &[("if-none-match", "\"a\"")]).await;
    assert_eq!(not_modified.status.as_u16(), 304);
    feed.send("1234");
    settle().await;
    feed.fail("reset");
    assert_eq!(beginning.await.unwrap().unwrap().text(), "1234", "all of it came");
    for reading in [whole, across, end, several] {
        assert_eq!(kind(reading.await.unwrap()), BodyErrorKind::Origin);
    }
    assert_eq!(world.origin.asked(), 1);
    assert_eq!(world.edge.stats().objects, 0);
    assert_eq!(world.get("/a").await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_length_is_stored_when_it_has_ended() {
    let (feed, origin) = fed(None);
    let world = World::new(origin);
    let leader = reader(&world);
    settle().await;
    feed.send("1234");
    settle().await;
    assert_eq!(world.edge.stats().objects, 0);
    feed.send("5678");
    feed.end();
    assert_eq!(leader.await.unwrap().unwrap().text(), "12345678");
    let hit = world.get("/a").await;
    assert!(hit.is_hit());
    assert_eq!((hit.text(), hit.header("content-length")), ("12345678", Some("8")));
}

#[tokio::test(start_paused = true)]
async fn a_fill_cut_off_by_the_viewer_s_leaving_is_not_stored() {
    let (feed, origin) = fed(Some("1000000"));
    let world = World::new(origin);
    let mut answer = world.send(get("/a")).await.unwrap();
    feed.send("1234");
    assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "1234");
    drop(answer);
    settle().await;
    assert!(feed.is_dropped());
    assert_eq!((world.edge.stats().objects, world.edge.stats().fills), (0, 0));
    assert_eq!(world.get("/a").await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_revalidated_object_keeps_the_body_it_has() {
    // A 304 says nothing of the body: a length or encoding it names is not that of the stored bytes.
    let world = World::new(Origin::new(|seen| async move {
        Ok(match seen.headers.contains_key("if-none-match") {
            true => response(
                304,
                &[STORED, ("etag", "\"a\""), ("content-length", "0"), ("content-encoding", "gzip")],
                "",
            ),
            false => response(200, &[STORED, ("etag", "\"a\"")], "whole"),
        })
    }));
    world.get("/a").await;
    world.pass_seconds(60);
    for _ in 0..2 {
        let reply = world.get("/a").await;
        assert_eq!((reply.text(), reply.header("content-length")), ("whole", Some("5")));
        assert_eq!(reply.header("content-encoding"), None);
    }
    assert_eq!(world.origin.asked(), 2);
}
