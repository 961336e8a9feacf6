//! Parts of what is too large to be stored whole are stored as what they are, and put together where they meet
//! (RFC 9111 §3.3, §3.4).

use http::Method;
use tower_edge::{CachePolicy, ForwardReason, Limits};

use crate::support::{Origin, Reply, Seen, World, request, response};

const TEXT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// An origin of one text too large to be stored, under an entity tag that counts the `generation`.
fn ranged(seen: &Seen, generation: usize) -> http::Response<crate::support::OriginBody> {
    let tag = format!("\"{generation}\"");
    let headers = [("cache-control", "max-age=60"), ("etag", tag.as_str())];
    let spec = seen.headers.get("range").and_then(|range| range.to_str().unwrap().strip_prefix("bytes="));
    let Some((first, last)) = spec.and_then(|spec| spec.split_once('-')) else {
        return response(200, &headers, TEXT);
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(TEXT.len() - 1));
    let range = format!("bytes {first}-{last}/{}", TEXT.len());
    let [control, tag] = headers;
    response(206, &[control, tag, ("content-range", &range)], &TEXT[first..=last])
}

fn world(origin: Origin) -> World {
    let limits = Limits { object_size: Some(20), ..Limits::default() };
    World::with_policy(origin, CachePolicy { limits, ..CachePolicy::default() })
}

async fn range(world: &World, range: &str) -> Reply {
    world.get_with("/a", &[("range", range)]).await
}

#[tokio::test]
async fn parts_are_stored_and_put_together() {
    let world = world(Origin::new(|seen| async move { Ok(ranged(&seen, 0)) }));
    // Nobody knows yet how large it is: the whole is asked for, and cut.
    let first = range(&world, "bytes=0-3").await;
    assert_eq!((first.status.as_u16(), first.text()), (206, "0123"));

    let part = range(&world, "bytes=4-9").await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "456789"));
    assert_eq!(part.header("content-range"), Some("bytes 4-9/36"));
    assert_eq!(part.header("content-length"), Some("6"));
    assert!(part.outcome().stored);
    assert_eq!(world.origin.seen()[1].headers["range"], "bytes=4-9");

    // Within the part, and beyond it.
    let hit = range(&world, "bytes=5-7").await;
    assert_eq!((hit.is_hit(), hit.text(), hit.header("content-range")), (true, "567", Some("bytes 5-7/36")));
    let beyond = range(&world, "bytes=8-14").await;
    assert_eq!(beyond.outcome().forward_reason(), Some(ForwardReason::Partial));
    assert_eq!(beyond.text(), "89abcde");
    let both = range(&world, "bytes=4-14").await;
    assert_eq!((both.is_hit(), both.text()), (true, "456789abcde"));
    let several = range(&world, "bytes=4-5,12-13").await;
    assert!(several.is_hit() && several.text().contains("cd"));
    // A part apart from the rest takes its place.
    assert_eq!(range(&world, "bytes=30-31").await.text(), "uv");
    assert!(range(&world, "bytes=30-30").await.is_hit());
    assert_eq!(world.origin.asked(), 4);
}

#[tokio::test]
async fn a_part_answers_no_request_for_the_whole() {
    let world = world(Origin::new(|seen| async move { Ok(ranged(&seen, 0)) }));
    range(&world, "bytes=0-3").await;
    range(&world, "bytes=0-9").await;
    let whole = world.get("/a").await;
    assert_eq!((whole.status.as_u16(), whole.body.as_ref()), (200, TEXT));
    assert!(!whole.is_hit());
    assert_eq!(range(&world, "bytes=5-").await.status.as_u16(), 206);
    let head = world.ask(request("HEAD", "/a", &[])).await;
    assert_eq!(head.header("content-length"), Some("36"));
    assert_eq!(world.origin.seen().last().unwrap().method, Method::HEAD);
}

#[tokio::test]
async fn parts_of_two_generations_never_mix() {
    let world = world(Origin::new(|seen| async move { Ok(ranged(&seen, seen.number / 2)) }));
    range(&world, "bytes=0-3").await;
    range(&world, "bytes=0-9").await;
    assert_eq!(range(&world, "bytes=10-14").await.header("etag"), Some("\"1\""));
    // The newer part alone is stored.
    assert!(range(&world, "bytes=10-14").await.is_hit());
    assert!(!range(&world, "bytes=0-9").await.is_hit());
}

#[tokio::test]
async fn parts_are_invalidated_like_wholes() {
    let world = world(Origin::new(|seen| async move { Ok(ranged(&seen, 0)) }));
    range(&world, "bytes=0-3").await;
    range(&world, "bytes=0-9").await;
    assert!(range(&world, "bytes=0-9").await.is_hit());
    world.ask(request("PUT", "/a", &[("range", "bytes=0-1")])).await;
    assert!(!range(&world, "bytes=0-9").await.is_hit());
}

#[tokio::test]
async fn a_part_that_contradicts_itself_is_not_stored() {
    for (fields, says_length) in [
        (&[("content-range", "bytes 0-9/36"), ("etag", "\"v\"")][..], true),
        // Its length is known all the same.
        (&[("content-range", "bytes 0-9/36"), ("etag", "\"v\"")], false),
        (&[("content-range", "bytes 0-4/*"), ("etag", "\"v\"")], true),
        (&[("content-range", "bytes 0-4/36"), ("etag", "W/\"v\"")], true),
        (&[("content-range", "bytes 0-4/36")], true),
        (&[("etag", "\"v\"")], true),
    ] {
        let world = world(Origin::new(move |seen| async move {
            if !seen.headers.contains_key("range") {
                return Ok(ranged(&seen, 0));
            }
            let mut all = vec![("cache-control", "max-age=60")];
            all.extend_from_slice(fields);
            let mut answer = response(206, &all, "01234");
            if !says_length {
                answer.headers_mut().remove("content-length");
            }
            Ok(answer)
        }));
        range(&world, "bytes=0-4").await;
        range(&world, "bytes=0-4").await;
        let again = range(&world, "bytes=0-4").await;
        assert_eq!(
            (again.status.as_u16(), again.text(), again.is_hit()),
            (206, "01234", false),
            "{fields:?}"
        );
        assert_eq!(world.origin.asked(), 3, "{fields:?}");
    }
}

#[tokio::test]
async fn a_part_is_not_what_another_variant_is_asked_about() {
    // A 304 to a condition that names a part's entity tag would have to be answered with the whole.
    let world = world(Origin::new(|seen| async move {
        let mut answer = if seen.headers.contains_key("if-none-match") {
            response(304, &[("etag", "\"0\"")], "")
        } else {
            ranged(&seen, 0)
        };
        answer.headers_mut().insert("vary", "x-device".parse().unwrap());
        Ok(answer)
    }));
    let tv = [("x-device", "tv"), ("range", "bytes=4-9")];
    world.get_with("/a", &tv).await;
    world.get_with("/a", &tv).await;
    assert!(world.get_with("/a", &tv).await.is_hit());
    let phone = world.get_with("/a", &[("x-device", "phone")]).await;
    assert_eq!((phone.status.as_u16(), phone.body.as_ref()), (200, TEXT));
    assert!(!world.origin.seen()[2].headers.contains_key("if-none-match"));
}

#[tokio::test]
async fn a_304_to_another_variant_makes_no_whole_of_a_part() {
    // The other variant is small enough to be stored whole, and has the part's entity tag.
    let world = world(Origin::new(|seen| async move {
        let mut answer = if seen.headers.contains_key("if-none-match") {
            response(304, &[("cache-control", "max-age=60"), ("etag", "\"0\"")], "")
        } else if seen.headers["x-device"] == "phone" {
            response(200, &[("cache-control", "max-age=60"), ("etag", "\"0\"")], "small")
        } else {
            ranged(&seen, 0)
        };
        answer.headers_mut().insert("vary", "x-device".parse().unwrap());
        Ok(answer)
    }));
    let tv = [("x-device", "tv"), ("range", "bytes=4-9")];
    world.get_with("/a", &tv).await;
    world.get_with("/a", &tv).await;
    world.get_with("/a", &[("x-device", "phone")]).await;
    world.pass_seconds(61);
    assert_eq!(world.get_with("/a", &[("x-device", "phone")]).await.text(), "small");
    let whole = world.get_with("/a", &[("x-device", "tv"), ("cache-control", "max-stale")]).await;
    assert_eq!(whole.body.as_ref(), TEXT);
}

#[tokio::test]
async fn an_answer_that_is_only_about_a_range_is_not_stored() {
    // RFC 9110 §15.5.17: whoever asks for the whole next must not be told that it cannot be satisfied.
    for status in [416, 400] {
        let world = world(Origin::new(move |seen| async move {
            let past_the_end = seen.headers.get("range").is_some_and(|range| range == "bytes=99-");
            let refused = [("cache-control", "max-age=60"), ("content-range", "bytes */36")];
            Ok(if past_the_end { response(status, &refused, "") } else { ranged(&seen, 0) })
        }));
        range(&world, "bytes=0-3").await;
        assert_eq!(range(&world, "bytes=99-").await.status.as_u16(), status);
        // Nor does it put an end to the storing of parts.
        assert_eq!(range(&world, "bytes=20-21").await.text(), "kl");
        assert!(range(&world, "bytes=20-20").await.is_hit(), "{status}");
        let whole = world.get("/a").await;
        assert_eq!((whole.status.as_u16(), whole.body.as_ref()), (200, TEXT), "{status}");
    }
}

#[tokio::test]
async fn a_part_answers_with_its_own_condition_and_no_other() {
    let world = world(Origin::new(|seen| async move { Ok(ranged(&seen, 0)) }));
    range(&world, "bytes=0-3").await;
    range(&world, "bytes=4-9").await;
    // RFC 9110 §13.1.5: where If-Range does not hold, the whole is wanted.
    let other = world.get_with("/a", &[("range", "bytes=4-5"), ("if-range", "\"other\"")]).await;
    assert!(!other.is_hit());
    assert_eq!(world.origin.seen()[2].headers["if-range"], "\"other\"");
    let same = world.get_with("/a", &[("range", "bytes=4-5"), ("if-range", "\"0\"")]).await;
    assert_eq!((same.status.as_u16(), same.is_hit(), same.text()), (206, true, "45"));
    // §13.2.2: the condition is decided before the range.
    let known = world.get_with("/a", &[("range", "bytes=4-5"), ("if-none-match", "\"0\"")]).await;
    assert_eq!((known.status.as_u16(), known.is_hit()), (304, true));
}

#[tokio::test]
async fn a_stale_part_is_replaced_by_a_part() {
    let world = world(Origin::new(|seen| async move {
        let mut answer = ranged(&seen, 0);
        let control = "max-age=60, stale-while-revalidate=600".parse().unwrap();
        answer.headers_mut().insert("cache-control", control);
        Ok(answer)
    }));
    range(&world, "bytes=0-3").await;
    range(&world, "bytes=4-9").await;
    world.pass_seconds(61);
    let again = range(&world, "bytes=4-9").await;
    assert_eq!((again.text(), again.outcome().forward_reason()), ("456789", Some(ForwardReason::Stale)));
    crate::support::settle().await;
    assert!(range(&world, "bytes=4-9").await.is_hit());
    let seen = world.origin.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].headers["range"], "bytes=4-9");
}

#[tokio::test]
async fn a_stale_part_answers_nobody() {
    let world = world(Origin::new(|seen| async move {
        if seen.number > 1 { Err(crate::support::OriginDown) } else { Ok(ranged(&seen, 0)) }
    }));
    range(&world, "bytes=0-3").await;
    range(&world, "bytes=4-9").await;
    assert!(range(&world, "bytes=4-9").await.is_hit());
    world.pass_seconds(60);
    let request = request("GET", "/a", &[("range", "bytes=4-9")]);
    assert!(world.send(request).await.is_err());
}

#[tokio::test]
async fn a_digest_of_the_content_goes_with_that_content_alone() {
    // RFC 9530 §2: of what a message has for content, and of the representation (§3); RFC 1864 is as old as ranges.
    const DIGESTS: [(&str, &str); 3] =
        [("content-digest", "sha-256=:AAAA:"), ("content-md5", "AAAA"), ("repr-digest", "sha-256=:BBBB:")];
    let shown = |reply: &Reply| DIGESTS.map(|(name, _)| reply.header(name).is_some());
    let (of_whole, of_part) = ([true; 3], [false, false, true]);

    let origin = Origin::new(|_| async {
        let headers = [&[("cache-control", "max-age=60"), ("etag", "\"a\"")][..], &DIGESTS].concat();
        Ok(response(200, &headers, TEXT))
    });
    let stored = World::new(origin.clone());
    for _ in 0..2 {
        assert_eq!(shown(&stored.get("/a").await), of_whole);
        for range in ["bytes=0-3", "bytes=0-3,5-6", "bytes=99-"] {
            assert_eq!(shown(&stored.get_with("/a", &[("range", range)]).await), of_part, "{range}");
        }
    }
    // Nor with what is cut from an answer of the origin's that is not stored.
    assert_eq!(shown(&range(&world(origin), "bytes=0-3").await), of_part);

    let parts = world(Origin::new(|seen| async move {
        let mut answer = ranged(&seen, 0);
        DIGESTS.iter().for_each(|&(name, value)| {
            answer.headers_mut().insert(name, value.parse().unwrap());
        });
        Ok(answer)
    }));
    range(&parts, "bytes=0-3").await;
    range(&parts, "bytes=0-9").await;
    let hit = range(&parts, "bytes=2-3").await;
    assert_eq!((hit.is_hit(), shown(&hit)), (true, of_part));
}
