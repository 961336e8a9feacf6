//! GET and HEAD through the edge.

use object_store::path::Path;
use object_store::{Attribute, ObjectStore, PutOptions};

use crate::support::{Site, path_of};

/// Keys with characters that clients, proxies and servers like to change.
pub(crate) const ODD: [&str; 9] = [
    "a b",
    "a+b",
    "100%",
    "a%20b",
    "a%2Fb",
    "größe/€.txt",
    "~tilde",
    "a&b=c;d,e@f:g!(h)'$*",
    "{a}[b]^|`<c>\"d",
];
/// Paths that are those of no key.
pub(crate) const NONE: [&str; 10] =
    ["/../a", "/a/../b", "/a/./b", "/%2e%2e/a", "/a/%2E%2E/b", "//a", "/a//b", "/a%2Fb", "/a%00", "/a%5Cb"];

pub(crate) async fn all(site: &Site) {
    fill(site).await;
    whole_and_heads(site).await;
    ranges(site).await;
    conditions(site).await;
    missing(site).await;
    odd_keys(site).await;
}

async fn fill(site: &Site) {
    let attributes = [
        (Attribute::ContentType, "text/plain; charset=utf-8"),
        (Attribute::CacheControl, "max-age=60"),
        (Attribute::ContentLanguage, "de"),
        (Attribute::ContentDisposition, "inline"),
        (Attribute::Metadata("author".into()), "me"),
        (Attribute::Metadata("cache-tag".into()), "digits"),
    ];
    // One that the edge keeps, and one that it asks about again each time.
    for (key, cache_control) in [("digits.txt", "max-age=60"), ("asked.txt", "no-cache")] {
        let mut attributes: object_store::Attributes = attributes.clone().into_iter().collect();
        attributes.insert(Attribute::CacheControl, cache_control.into());
        let options = PutOptions { attributes, ..PutOptions::default() };
        site.store.put_opts(&key.into(), "0123456789".into(), options).await.unwrap();
    }
    for key in ["index.html", "docs/index.html", "404.html"].iter().chain(&ODD) {
        let options = PutOptions::default();
        site.store.put_opts(&Path::parse(key).unwrap(), (*key).to_owned().into(), options).await.unwrap();
    }
}

async fn whole_and_heads(site: &Site) {
    let answer = site.get("/digits.txt", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"0123456789"[..]));
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("content-language", "de"),
        ("content-disposition", "inline"),
        ("x-amz-meta-author", "me"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("cache-status", "tower-edge; fwd=uri-miss; stored"),
    ] {
        assert_eq!(answer.headers[name], value, "{answer:?}");
    }
    assert!(answer.headers["etag"].to_str().unwrap().starts_with('"'));
    assert!(answer.headers.contains_key("last-modified"));
    // It is for the edge.
    assert!(
        !answer.headers.contains_key("cache-tag") && !answer.headers.contains_key("x-amz-meta-cache-tag")
    );

    let hit = site.get("/digits.txt", &[]).await;
    assert!(hit.headers["cache-status"].to_str().unwrap().contains("hit"), "{hit:?}");
    for path in ["/digits.txt", "/asked.txt"] {
        let head = site.ask("HEAD", path, &[], "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.headers["content-length"], "10");
        assert_eq!(head.headers["etag"], answer.headers["etag"]);
        assert_eq!(head.headers["x-amz-meta-author"], "me");
    }
    for (path, key) in [("/", "index.html"), ("/docs/", "docs/index.html")] {
        assert_eq!(site.get(path, &[]).await.body, key);
    }
}

async fn ranges(site: &Site) {
    for path in ["/digits.txt", "/asked.txt"] {
        for (range, status, content_range, body) in [
            ("bytes=2-4", 206, "bytes 2-4/10", "234"),
            ("bytes=7-", 206, "bytes 7-9/10", "789"),
            ("bytes=-3", 206, "bytes 7-9/10", "789"),
            ("bytes=8-99", 206, "bytes 8-9/10", "89"),
            ("bytes=10-", 416, "bytes */10", ""),
        ] {
            // `no-store` goes past what the edge has: the range is the bucket's.
            let answer = site.get(path, &[("range", range)]).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {range} {answer:?}");
            assert_eq!(answer.headers["content-range"], content_range, "{range}");
            assert_eq!(answer.body, body, "{range}");
        }
    }
}

async fn conditions(site: &Site) {
    let known = site.get("/asked.txt", &[]).await;
    let (tag, date) = (&known.headers["etag"], &known.headers["last-modified"]);
    let (tag, date) = (tag.to_str().unwrap(), date.to_str().unwrap());
    let weak = format!("W/{tag}, \"other\"");
    // `/asked.txt` is asked about at the bucket each time: `If-Match` is its business, and a 304 freshens what the edge has.
    for (fields, status) in [
        (&[("if-none-match", tag)][..], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", date)], 304),
        (&[("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT")], 200),
        (&[("range", "bytes=0-1"), ("if-range", tag)], 206),
        (&[("range", "bytes=0-1"), ("if-range", "\"other\"")], 200),
        (&[("range", "bytes=0-1"), ("if-none-match", tag)], 304),
    ] {
        for path in ["/asked.txt", "/digits.txt"] {
            let answer = site.get(path, fields).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {fields:?} {answer:?}");
            assert_eq!(answer.headers["etag"], tag);
            assert!(answer.headers.contains_key("cache-control"), "{answer:?}");
            assert_eq!(answer.body.is_empty(), status == 304);
        }
    }
    let revalidated = site.get("/asked.txt", &[]).await;
    let status = revalidated.headers["cache-status"].to_str().unwrap();
    assert!(status.contains("fwd-status=304"), "{revalidated:?}");
}

async fn missing(site: &Site) {
    let answer = site.get("/nothing", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"404.html"[..]));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(site.ask("HEAD", "/nothing", &[], "").await.status, 404);
    assert_eq!(site.get("/nothing", &[("range", "bytes=0-1")]).await.status, 404);
    assert_eq!(site.get("/docs/nothing", &[]).await.status, 404);
}

async fn odd_keys(site: &Site) {
    for key in ODD {
        let answer = site.get(&path_of(key), &[]).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, key.as_bytes()), "{key}");
    }
    for path in NONE {
        assert_eq!(site.get(path, &[]).await.status, 400, "{path}");
    }
    // A query is the edge's business, and credentials are nobody's.
    let answer = site.get("/digits.txt?versionId=x&acl", &[("authorization", "Basic eDp5")]).await;
    assert_eq!(answer.body, "0123456789");
}
