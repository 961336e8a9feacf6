//! PUT and DELETE of whole objects.

use http::{Method, StatusCode};
use object_store::Attribute;
use tower_edge::origin::ObjectStore;
use tower_edge::origin::object_store::Upload;

use crate::support::{Answer, Probe, ask, get};

fn writable(probe: &Probe) -> ObjectStore {
    probe.builder().index("index.html").writes(Upload::default()).build().unwrap()
}

async fn put(origin: &ObjectStore, path: &str, fields: &[(&str, &str)], body: &'static str) -> Answer {
    ask(origin, Method::PUT, path, fields, body).await
}

#[tokio::test]
async fn what_was_put_is_what_is_read() {
    let probe = Probe::new();
    let origin = writable(&probe);
    let fields = [
        ("content-type", "text/plain"),
        ("content-language", "de"),
        ("cache-control", "max-age=60"),
        ("x-amz-meta-author", "me"),
        ("x-amz-meta-cache-tag", "news"),
        ("x-amz-acl", "public-read"),
        ("content-length", "5"),
    ];
    let stored = put(&origin, "/a%20b", &fields, "hello").await;
    assert_eq!((stored.status, stored.text()), (StatusCode::OK, ""));
    assert_eq!(probe.ledger().puts, 1);

    let answer = get(&origin, "/a%20b", &[]).await;
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.headers["etag"], stored.headers["etag"]);
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-language", "de"),
        ("cache-control", "max-age=60"),
        ("x-amz-meta-author", "me"),
        ("cache-tag", "news"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(!answer.headers.contains_key("x-amz-acl"));
}

#[tokio::test]
async fn a_put_on_a_condition_is_carried_out_if_it_holds() {
    let probe = Probe::new();
    let origin = writable(&probe);
    for (fields, status) in [
        (&[("if-match", "*")][..], 412),
        (&[("if-none-match", "*")], 201),
        (&[("if-none-match", "*")], 412),
        (&[("if-none-match", "\"0\"")], 412),
        (&[("if-match", "\"7\"")], 412),
        (&[("if-match", "\"7\", \"0\"")], 200),
        (&[("if-match", "\"0\"")], 412),
        (&[("if-match", "*")], 200),
        (&[("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT")], 412),
    ] {
        assert_eq!(put(&origin, "/a", fields, "x").await.status.as_u16(), status, "{fields:?}");
    }
    assert_eq!(put(&origin, "/b", &[("if-none-match", "\"0\"")], "x").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_that_is_not_the_object_is_not_stored() {
    let probe = Probe::new();
    probe.given("a", "old").await;
    let origin = writable(&probe);
    for (path, fields, status) in [
        ("/a?partNumber=1&uploadId=2", &[][..], 400),
        ("/a?acl", &[], 400),
        ("/a?", &[], 400),
        ("/a", &[("content-range", "bytes 0-2/9")], 400),
        ("/a", &[("x-amz-copy-source", "/other/key")], 501),
        ("/a", &[("content-encoding", "gzip, AWS-chunked")], 415),
        ("/a", &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")], 415),
        ("/a", &[("content-length", "4")], 400),
        ("/a", &[("content-length", "2")], 400),
        ("/a", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], 400),
        ("/a", &[("content-type", "text/\u{e4}")], 400),
        ("/a/../a", &[], 400),
        ("/", &[], 405),
        ("/a/", &[], 405),
    ] {
        let answer = put(&origin, path, fields, "new").await;
        assert_eq!(answer.status.as_u16(), status, "{path} {fields:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(probe.content("a").await.unwrap(), "old");
    assert_eq!(probe.ledger().puts, 0);
}

#[tokio::test]
async fn an_object_is_deleted_on_its_conditions() {
    let probe = Probe::new();
    probe.given("a", "old").await;
    let origin = writable(&probe);
    let delete = async |path: &str, fields: &[(&str, &str)]| {
        ask(&origin, Method::DELETE, path, fields, "").await.status.as_u16()
    };
    assert_eq!(delete("/a?versionId=1", &[]).await, 400);
    assert_eq!(delete("/", &[]).await, 405);
    assert_eq!(delete("/a", &[("if-match", "\"9\"")]).await, 412);
    assert!(probe.content("a").await.is_some());
    assert_eq!(delete("/a", &[("if-match", "\"0\"")]).await, 204);
    assert!(probe.content("a").await.is_none());
    assert_eq!(delete("/a", &[("if-match", "*")]).await, 412);
}

#[tokio::test]
async fn what_describes_an_object_put_in_parts_is_kept_as_well() {
    let probe = Probe::new();
    let upload = Upload { part: 2, ..Upload::default() };
    let origin = probe.builder().writes(upload).build().unwrap();
    assert_eq!(put(&origin, "/a", &[("content-type", "text/plain")], "hello").await.status, StatusCode::OK);
    assert_eq!(probe.ledger().begun, 1);
    let object = object_store::ObjectStoreExt::get(&probe, &"a".into()).await.unwrap();
    assert_eq!(object.attributes.get(&Attribute::ContentType).map(|value| &**value), Some("text/plain"));
}
