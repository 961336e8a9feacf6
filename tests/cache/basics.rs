//! A hit, a miss, a stale answer: the plain walk.

use tower_edge::ForwardReason;

use crate::support::{Origin, World, request, response};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];

#[tokio::test]
async fn a_second_request_is_answered_from_the_store() {
    let world = World::new(Origin::numbered(MINUTE));
    let first = world.get("/a").await;
    assert_eq!(first.outcome().forward_reason(), Some(ForwardReason::UriMiss));
    assert_eq!(first.header("cache-status"), Some("test; fwd=uri-miss; stored"));
    assert_eq!(first.header("age"), None);
    world.pass_seconds(10);
    let second = world.get("/a").await;
    assert_eq!(second.text(), "answer 0");
    assert_eq!(second.header("cache-status"), Some("test; hit; ttl=50"));
    assert_eq!(second.header("age"), Some("10"));
    assert_eq!(second.header("content-length"), Some("8"));
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test]
async fn an_expired_object_is_revalidated() {
    let world = World::new(Origin::new(|seen| async move {
        Ok(if seen.headers.contains_key("if-none-match") {
            response(304, &[("cache-control", "max-age=30"), ("etag", "\"v\""), ("x-new", "1")], "")
        } else {
            response(200, MINUTE, "body")
        })
    }));
    world.get("/a").await;
    world.pass_seconds(61);
    let revalidated = world.get("/a").await;
    assert_eq!(revalidated.text(), "body");
    assert_eq!(revalidated.header("cache-status"), Some("test; fwd=stale; fwd-status=304; stored"));
    assert_eq!(revalidated.header("x-new"), Some("1"));
    world.pass_seconds(29);
    assert!(world.get("/a").await.is_hit());
    world.pass_seconds(1);
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test]
async fn a_hit_answers_conditions_ranges_and_head() {
    let world = World::new(Origin::numbered(MINUTE));
    world.get("/a").await;
    let not_modified = world.get_with("/a", &[("if-none-match", "\"v\"")]).await;
    assert_eq!((not_modified.status.as_u16(), not_modified.text()), (304, ""));
    let part = world.get_with("/a", &[("range", "bytes=0-2")]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "ans"));
    assert_eq!(part.header("content-range"), Some("bytes 0-2/8"));
    let parts = world.get_with("/a", &[("range", "bytes=0-0,7-7")]).await;
    assert_eq!(parts.status.as_u16(), 206);
    assert_eq!(parts.header("content-length").unwrap(), parts.body.len().to_string());
    let beyond = world.get_with("/a", &[("range", "bytes=9-")]).await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, Some("bytes */8")));
    let head = world.ask(request("HEAD", "/a", &[])).await;
    assert_eq!((head.header("content-length"), head.text()), (Some("8"), ""));
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test]
async fn a_write_clears_what_it_changed() {
    let world = World::new(Origin::numbered(MINUTE));
    world.get("/a").await;
    world.get("/b").await;
    assert!(world.get("/a").await.is_hit());
    world.ask(request("PUT", "/a", &[])).await;
    assert_eq!(world.get("/a").await.text(), "answer 3");
    assert_eq!(world.get("/b").await.text(), "answer 1");
}
