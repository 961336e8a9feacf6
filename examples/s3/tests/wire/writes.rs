//! PUT and DELETE through the edge.

use object_store::ObjectStoreExt;

use crate::reads::{NONE, ODD};
use crate::support::{Site, path_of};

pub(crate) async fn are_denied(site: &Site) {
    site.store.put(&"old".into(), "old".into()).await.unwrap();
    for method in ["PUT", "DELETE", "POST", "PATCH"] {
        let answer = site.ask(method, "/old", &[], "new").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD, OPTIONS");
    }
    assert_eq!(site.stored("old").await.unwrap(), "old");
}

pub(crate) async fn all(site: &Site) {
    what_was_put_is_read(site).await;
    promises(site).await;
    conditions(site).await;
    odd_keys(site).await;
}

async fn what_was_put_is_read(site: &Site) {
    let fields =
        [("content-type", "text/plain"), ("cache-control", "max-age=60"), ("x-amz-meta-author", "me")];
    for content in ["one", "two"] {
        let stored = site.ask("PUT", "/new.txt", &fields, content).await;
        assert_eq!((stored.status.as_u16(), stored.body.len()), (200, 0));
        assert_eq!(site.stored("new.txt").await.unwrap(), content);
        // What the edge had, it has forgotten.
        for _ in 0..2 {
            let answer = site.get("/new.txt", &[]).await;
            assert_eq!(answer.body, content);
            assert_eq!(answer.headers["etag"], stored.headers["etag"]);
            for (name, value) in fields {
                assert_eq!(answer.headers[name], value, "{answer:?}");
            }
        }
    }
    assert_eq!(site.ask("DELETE", "/new.txt", &[], "").await.status, 204);
    assert_eq!(site.get("/new.txt", &[]).await.status, 404);
    assert!(site.stored("new.txt").await.is_none());
}

async fn promises(site: &Site) {
    const SHA256: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    let digest = format!("sha-256=:{SHA256}:");
    for (name, value) in [
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("x-amz-checksum-sha256", SHA256),
        ("repr-digest", &digest),
    ] {
        assert_eq!(site.ask("PUT", "/promise", &[(name, value)], "hello!").await.status, 400, "{name}");
        assert!(site.stored("promise").await.is_none());
    }
    for (name, value) in [
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("x-amz-checksum-sha256", SHA256),
        ("repr-digest", &digest),
    ] {
        assert_eq!(site.ask("PUT", "/promise", &[(name, value)], "hello").await.status, 200, "{name}");
    }
}

async fn conditions(site: &Site) {
    let put = async |fields: &[(&str, &str)]| site.ask("PUT", "/once", fields, "x").await;
    assert_eq!(put(&[("if-match", "*")]).await.status, 412);
    let created = put(&[("if-none-match", "*")]).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(put(&[("if-none-match", "*")]).await.status, 412);
    assert_eq!(put(&[("if-match", "\"other\"")]).await.status, 412);
    let tag = created.headers["etag"].to_str().unwrap();
    assert_eq!(site.ask("DELETE", "/once", &[("if-match", "\"other\"")], "").await.status, 412);
    assert_eq!(site.ask("DELETE", "/once", &[("if-match", tag)], "").await.status, 204);
}

async fn odd_keys(site: &Site) {
    for key in ODD {
        let path = path_of(key);
        assert_eq!(site.ask("PUT", &path, &[], "odd").await.status, 200, "{key}");
        assert_eq!(site.stored(key).await.unwrap(), "odd", "{key}");
        assert_eq!(site.get(&path, &[]).await.body, "odd", "{key}");
        assert_eq!(site.ask("DELETE", &path, &[], "").await.status, 204, "{key}");
        assert!(site.stored(key).await.is_none(), "{key}");
    }
    for path in NONE {
        assert_eq!(site.ask("PUT", path, &[], "x").await.status, 400, "{path}");
        assert_eq!(site.ask("DELETE", path, &[], "").await.status, 400, "{path}");
    }
}
