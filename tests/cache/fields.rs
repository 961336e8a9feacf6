//! The fields of answers, where maps of them are kept for those asked for often: each gets its own.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::{Origin, World, request, response};

/// Fields such as origins send: some several times, some empty, some with bytes that are no ASCII; and who it is for.
fn put_fields(headers: &mut HeaderMap, of: &str) {
    for n in 0..60 {
        let name = HeaderName::try_from(format!("x-{}", n % 50)).unwrap();
        headers.append(name, HeaderValue::try_from(format!("{of} {n}")).unwrap());
    }
    headers.append("x-empty", HeaderValue::from_static(""));
    headers.append("x-bytes", HeaderValue::from_bytes(b"\xff\t\x80").unwrap());
    headers.append("link", HeaderValue::from_static("</a>"));
    headers.append("link", HeaderValue::from_static("</b>"));
    headers.append("x-of", HeaderValue::try_from(of).unwrap());
}

#[tokio::test]
async fn everyone_gets_the_fields_of_what_was_asked_for() {
    let origin = Origin::new(|seen| async move {
        let device = seen.headers["x-device"].to_str().unwrap().to_owned();
        let path = seen.uri.strip_prefix("http://site.example").unwrap_or(&seen.uri);
        let of = format!("{path} {device} {}", seen.number);
        let tag = format!("\"{}{device}\"", path.len());
        let headers = [
            ("cache-control", "max-age=3"),
            ("vary", "x-device"),
            ("etag", &tag),
            ("cache-status", "far; hit"),
        ];
        let is_known = seen.headers.get("if-none-match").is_some_and(|known| *known == *tag);
        // Now and then it has changed, and else is made fresh with other fields.
        let mut answer = match is_known && seen.number % 3 > 0 {
            true => response(304, &headers, ""),
            false => response(200, &headers, of.clone()),
        };
        put_fields(answer.headers_mut(), &of);
        Ok(answer)
    });
    // A place for each of two maps, and six that want one.
    let world = World::with(origin, |edge| edge.capacity(1 << 20));
    let mut came = HashMap::new();
    let (mut random, mut now) = (1_u64, 0);
    for _ in 0..3_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut dice = (random >> 33) as usize;
        let mut roll = |sides| {
            let side = dice % sides;
            dice /= sides;
            side
        };
        if roll(60) == 0 {
            world.pass_seconds(1);
            now += 1;
        }
        let (path, device) = (["/a", "/bc", "/def"][roll(3)], ["tv", "phone"][roll(2)]);
        let method = ["GET", "HEAD"][roll(2)];
        let how = [("accept", "*/*"), ("range", "bytes=1-2"), ("if-none-match", "*")][roll(3)];
        let reply = world.ask(request(method, path, &[("x-device", device), how])).await;
        let of = reply.header("x-of").unwrap().to_owned();
        assert!(of.starts_with(&format!("{path} {device} ")), "{of} for {path} {device}");
        let mut expected = HeaderMap::new();
        put_fields(&mut expected, &of);
        for name in expected.keys() {
            assert!(reply.headers.get_all(name).iter().eq(expected.get_all(name)), "{name} of {of}");
        }
        let said: Vec<_> =
            reply.headers.get_all("cache-status").iter().map(|said| said.to_str().unwrap()).collect();
        assert_eq!(said.join(", "), format!("far; hit, test{}", reply.outcome()));
        let came = *came.entry(of.clone()).or_insert(now);
        if reply.is_hit() {
            assert_eq!(reply.header("age").unwrap(), (now - came).to_string(), "{of}");
        }
    }
    assert!(world.origin.asked() < 1_000, "{}", world.origin.asked());
}
