//! A folder as the bucket: what `LocalFileSystem` makes of requests.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use object_store::local::LocalFileSystem;
use tempfile::TempDir;
use tower::ServiceExt;
use tower_edge::origin::ObjectStore;
use tower_edge::origin::object_store::Upload;

fn folder() -> (TempDir, ObjectStore) {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public");
    std::fs::create_dir_all(public.join("docs")).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(public.join("a b%20c+ü"), "0123456789").unwrap();
    std::fs::write(public.join("docs/index.html"), "docs").unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(public).unwrap());
    let upload = Upload { part: 4, ..Upload::default() };
    let origin = ObjectStore::builder(store).index("index.html").writes(upload).build().unwrap();
    (folder, origin)
}

async fn ask(
    origin: &ObjectStore,
    request: &str,
    fields: &[(&str, &str)],
    body: &'static str,
) -> (u16, Bytes) {
    let (method, path) = request.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = origin.clone().oneshot(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn files_are_read_and_nothing_else_is() {
    let (_folder, origin) = folder();
    let file = "GET /a%20b%2520c%2B%C3%BC";
    assert_eq!(ask(&origin, file, &[], "").await, (200, "0123456789".into()));
    assert_eq!(ask(&origin, file, &[("range", "bytes=-3")], "").await, (206, "789".into()));
    assert_eq!(ask(&origin, file, &[("range", "bytes=10-")], "").await.0, 416);
    assert_eq!(ask(&origin, file, &[("if-none-match", "*")], "").await.0, 304);
    assert_eq!(ask(&origin, "GET /docs/", &[], "").await, (200, "docs".into()));
    for (request, status) in [
        ("GET /nothing", 404),
        ("GET /nothing/there", 404),
        ("GET /docs/index.html/x", 404),
        ("GET /docs", 404),
        ("GET /../secret", 400),
        ("GET /%2e%2e/secret", 400),
        ("GET /..%2Fsecret", 400),
        ("GET /..%5Csecret", 400),
    ] {
        assert_eq!(ask(&origin, request, &[], "").await.0, status, "{request}");
    }
}

#[tokio::test]
async fn files_are_written_whole_or_not_at_all() {
    let (folder, origin) = folder();
    let written = folder.path().join("public/new/file");
    for body in ["abc", "in parts of four"] {
        let broken = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
        assert_eq!(ask(&origin, "PUT /new/file", &broken, body).await.0, 400);
        assert!(!written.exists(), "{body}");
        assert_eq!(ask(&origin, "PUT /new/file", &[], body).await.0, 200);
        assert_eq!(std::fs::read_to_string(&written).unwrap(), body);
        assert_eq!(ask(&origin, "PUT /new/file", &[("if-none-match", "*")], "x").await.0, 412);
        // A file has no attributes, and it is not stored as if it had.
        assert_eq!(ask(&origin, "PUT /new/file", &[("content-type", "text/css")], "x").await.0, 501);
        assert_eq!(ask(&origin, "DELETE /new/file", &[], "").await.0, 204);
        assert!(!written.exists());
        assert_eq!(ask(&origin, "DELETE /new/file", &[], "").await.0, 404);
    }
}
