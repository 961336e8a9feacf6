//! What a viewer gets, and what the origin is asked for it.

use tower_edge::ForwardReason;

use super::{Cinema, Film, SIZE, content};
use crate::support::request;

const LENGTH: usize = 100_000;

#[tokio::test]
async fn a_range_of_an_unknown_object_pulls_one_slice() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    let part = cinema.range("bytes=5000-5009").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, content(0, LENGTH)[5000..5010]);
    assert_eq!(part.header("content-range"), Some("bytes 5000-5009/100000"));
    assert_eq!(part.header("content-length"), Some("10"));
    assert_eq!(part.header("accept-ranges"), Some("bytes"));
    assert!(part.outcome().stored);
    assert_eq!(cinema.asked(), ["bytes=4096-8191"]);

    let again = cinema.range("bytes=8191-8191").await;
    assert!(again.is_hit());
    assert_eq!(again.body, content(0, LENGTH)[8191..8192]);
    assert_eq!(cinema.world.origin.asked(), 1);
}

#[tokio::test]
async fn a_range_pulls_the_slices_it_lies_in_and_no_other() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    let part = cinema.range("bytes=8000-13000").await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &content(0, LENGTH)[8000..13001]));
    assert_eq!(part.outcome().forward_reason(), Some(ForwardReason::Partial));
    assert_eq!(cinema.asked(), ["bytes=0-4095", "bytes=4096-8191", "bytes=8192-12287", "bytes=12288-16383"]);
    let all = cinema.range("bytes=0-16383").await;
    assert!(all.is_hit());
    assert_eq!(all.body, content(0, LENGTH)[..16384]);
    assert_eq!(cinema.world.origin.asked(), 4);
}

#[tokio::test]
async fn every_kind_of_range_is_cut_from_slices() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    let whole = content(0, LENGTH);
    for (range, status, expected) in [
        ("bytes=99990-", 206, &whole[99_990..]),
        ("bytes=-10", 206, &whole[99_990..]),
        ("bytes=4095-4096", 206, &whole[4095..4097]),
        ("bytes=0-999999", 206, &whole[..]),
        ("bytes=-999999", 206, &whole[..]),
        ("bytes=100000-", 416, &[]),
        ("bytes=2-1", 200, &whole[..]),
        ("bytes=0-9,5-7", 200, &whole[..]),
        ("lines=1-2", 200, &whole[..]),
    ] {
        for _ in 0..2 {
            let part = cinema.range(range).await;
            assert_eq!((part.status.as_u16(), &part.body[..]), (status, expected), "{range}");
        }
    }
    let several = cinema.range("bytes=0-1,50000-50001,-1").await;
    assert_eq!(several.status, 206);
    assert!(several.header("content-type").unwrap().starts_with("multipart/byteranges"));
    assert_eq!(several.header("content-length").unwrap(), several.body.len().to_string());
    for needle in [&whole[..2], &whole[50_000..50_002], b"bytes 50000-50001/100000", b"video/mp4"] {
        assert!(several.body.windows(needle.len()).any(|window| window == needle));
    }
}

#[tokio::test]
async fn the_end_of_an_unknown_object_takes_its_beginning_too() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    assert_eq!(cinema.range("bytes=-10").await.body, content(0, LENGTH)[99_990..]);
    assert_eq!(cinema.asked(), ["bytes=0-4095", "bytes=98304-99999"]);
}

#[tokio::test]
async fn several_ranges_of_an_unknown_object_pull_only_their_slices() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    assert_eq!(cinema.range("bytes=0-0,50000-50000").await.status, 206);
    assert_eq!(cinema.asked(), ["bytes=0-4095", "bytes=49152-53247"]);
}

#[tokio::test]
async fn a_range_past_the_end_is_the_origin_s_to_refuse() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    for _ in 0..2 {
        let refused = cinema.range("bytes=200000-").await;
        assert_eq!((refused.status.as_u16(), refused.header("content-range")), (416, Some("bytes */100000")));
    }
    // It says nothing about the object.
    assert_eq!(cinema.range("bytes=0-0").await.status, 206);
    let known = cinema.range("bytes=200000-").await;
    assert_eq!((known.status.as_u16(), known.header("content-range")), (416, Some("bytes */100000")));
    assert_eq!(cinema.world.origin.asked(), 3);
}

#[tokio::test]
async fn what_only_a_slice_could_not_have_is_asked_for_again() {
    // RFC 9110 §13.1.5, §13.2.2, §14.1.2: a later range, a condition or the length decides.
    for (headers, length, status) in [
        (&[("range", "bytes=200000-200001,0-0")][..], LENGTH, 206),
        (&[("range", "bytes=200000-"), ("if-none-match", "\"0\"")], LENGTH, 304),
        (&[("range", "bytes=200000-"), ("if-range", "\"1\"")], LENGTH, 200),
        (&[("range", "bytes=-5")], 0, 200),
    ] {
        let cinema = Cinema::new(Film::new(0, length));
        let reply = cinema.world.get_with("/film", headers).await;
        assert_eq!(reply.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn conditions_are_decided_by_the_head() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    let asks = |headers: &'static [(&'static str, &'static str)]| cinema.world.get_with("/film", headers);
    let known = asks(&[("if-none-match", "\"0\""), ("range", "bytes=50000-50001")]).await;
    assert_eq!((known.status.as_u16(), known.is_hit(), known.body.len()), (304, true, 0));
    let head = cinema.world.ask(request("HEAD", "/film", &[])).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("100000")));
    assert!(head.is_hit());
    assert_eq!(cinema.world.origin.asked(), 1);
    let same = asks(&[("if-range", "\"0\""), ("range", "bytes=0-1")]).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (206, 2));
    let other = asks(&[("if-range", "\"1\""), ("range", "bytes=0-1")]).await;
    assert_eq!((other.status.as_u16(), other.body.len()), (200, LENGTH));
}

#[tokio::test]
async fn a_small_object_is_fetched_whole_and_stored_so() {
    let cinema = Cinema::new(Film::new(0, 2 * SIZE as usize));
    let part = cinema.range("bytes=5000-5001").await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &content(0, 8192)[5000..5002]));
    assert_eq!(cinema.asked(), ["bytes=4096-8191", "whole"]);
    assert!(cinema.world.get("/film").await.is_hit());

    let tiny = Cinema::new(Film::new(0, 100).with("etag", ""));
    assert_eq!(tiny.range("bytes=5-6").await.body, content(0, 100)[5..7]);
    assert_eq!(tiny.asked(), ["bytes=0-4095"]);
    let whole = tiny.world.get("/film").await;
    assert!(whole.is_hit());
    assert_eq!((whole.status.as_u16(), whole.header("content-range")), (200, None));
    assert_eq!(whole.body, content(0, 100));
}

#[tokio::test]
async fn an_origin_without_ranges_is_asked_for_the_whole() {
    let cinema = Cinema::new(Film { takes_ranges: false, ..Film::new(0, 50_000) });
    assert_eq!(cinema.range("bytes=5-6").await.body, content(0, 50_000)[5..7]);
    assert!(cinema.range("bytes=40000-40001").await.is_hit());
    assert!(cinema.world.get("/film").await.is_hit());
    assert_eq!(cinema.world.origin.asked(), 1);
}

#[tokio::test]
async fn what_cannot_be_told_apart_is_not_sliced() {
    for tag in ["", "W/\"a\""] {
        let cinema = Cinema::new(Film::new(0, LENGTH).with("etag", tag));
        for _ in 0..3 {
            let part = cinema.range("bytes=5000-5001").await;
            assert_eq!(
                (part.status.as_u16(), &part.body[..]),
                (206, &content(0, LENGTH)[5000..5002]),
                "{tag}"
            );
            assert!(!part.is_hit());
        }
        assert_eq!(cinema.asked()[1..], ["bytes=5000-5001"; 3], "{tag}");
    }
}

#[tokio::test]
async fn a_date_tells_slices_apart_where_there_is_no_tag() {
    let film = |modified| Film::new(0, LENGTH).with("etag", "").with("last-modified", modified);
    let cinema = Cinema::new(film("Wed, 31 Dec 2025 00:00:00 GMT"));
    cinema.range("bytes=0-0").await;
    assert!(cinema.range("bytes=1-1").await.is_hit());
    cinema.show(film("Wed, 31 Dec 2025 00:00:01 GMT"));
    let part = cinema.range("bytes=4096-8191").await;
    assert_eq!((part.status.as_u16(), part.body.len()), (206, 4096));
    assert_eq!(part.header("last-modified"), Some("Wed, 31 Dec 2025 00:00:01 GMT"));
}

#[tokio::test]
async fn what_must_not_be_stored_is_not_sliced() {
    for control in ["no-store", "private"] {
        let cinema = Cinema::new(Film::new(0, LENGTH).with("cache-control", control));
        for _ in 0..3 {
            let part = cinema.range("bytes=5000-5001").await;
            assert_eq!(part.body, content(0, LENGTH)[5000..5002], "{control}");
            assert!(!part.is_hit());
        }
        assert_eq!(cinema.world.edge.stats().objects, 0);
    }
}

#[tokio::test]
async fn a_request_that_takes_only_what_is_stored_gets_only_that() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-4095").await;
    let only = async |range| {
        cinema.world.get_with("/film", &[("cache-control", "only-if-cached"), ("range", range)]).await
    };
    assert_eq!(only("bytes=0-4095").await.status, 206);
    assert_eq!(only("bytes=0-4096").await.status, 504);
    assert_eq!(only("bytes=50000-").await.status, 504);
    assert_eq!(cinema.world.origin.asked(), 1);
    let no_store = [("cache-control", "no-store"), ("range", "bytes=50000-50000")];
    assert_eq!(cinema.world.get_with("/film", &no_store).await.body, content(0, LENGTH)[50_000..50_001]);
    assert!(!cinema.range("bytes=50000-50000").await.is_hit());
}

#[tokio::test]
async fn slices_ahead_of_a_reader_are_fetched_within_its_range() {
    let slices = tower_edge::Slices { read_ahead: 2, threshold: 2 * SIZE, ..tower_edge::Slices::of(SIZE) };
    let cinema = Cinema::with(Film::new(0, LENGTH), super::sliced(slices));
    cinema.range("bytes=0-0").await;
    crate::support::settle().await;
    assert_eq!(cinema.asked(), ["bytes=0-4095"]);
    let request = request("GET", "/film", &[("range", "bytes=4096-")]);
    let mut response = cinema.world.send(request).await.unwrap();
    crate::support::services::next(response.body_mut()).await.unwrap().unwrap().unwrap();
    crate::support::settle().await;
    assert_eq!(cinema.asked()[1..], ["bytes=4096-8191", "bytes=8192-12287", "bytes=12288-16383"]);
}

#[tokio::test]
async fn an_operator_sees_one_object_and_how_much_of_it_is_held() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-8191").await;
    cinema.range("bytes=50000-50000").await;
    let found = cinema.world.edge.objects("http://site.example/film").await.unwrap();
    let [object] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((object.status.as_u16(), object.length, object.slices), (200, LENGTH as u64, Some(3)));
    assert!(
        object.weight > 3 * SIZE && object.weight <= cinema.world.edge.stats().bytes,
        "{}",
        object.weight
    );
    assert_eq!(cinema.world.edge.stats().objects, 4);
}

#[tokio::test]
async fn variants_are_sliced_apart() {
    let origin = crate::support::Origin::new(|seen| {
        let tv = seen.headers.get("x-device").is_some_and(|device| device == "tv");
        let answer = Film::new(usize::from(tv), LENGTH).with("vary", "x-device").answer(&seen);
        async move { Ok(answer) }
    });
    let world = crate::support::World::with_policy(origin, super::policy());
    let range = [("range", "bytes=5000-5001")];
    let tv = [range[0], ("x-device", "tv")];
    for _ in 0..2 {
        assert_eq!(world.get_with("/film", &range).await.body, content(0, LENGTH)[5000..5002]);
        assert_eq!(world.get_with("/film", &tv).await.body, content(1, LENGTH)[5000..5002]);
    }
    assert_eq!(world.origin.asked(), 2);
}

#[tokio::test]
async fn what_is_for_one_viewer_is_not_sliced_for_others() {
    // What is not shared is asked for as a slice first, and not again for a while.
    for (control, is_shared, asked) in [("max-age=60", false, 1 + 3), ("public, max-age=60", true, 1)] {
        let cinema = Cinema::new(Film::new(0, LENGTH).with("cache-control", control));
        let mine = [("authorization", "Basic eDp5"), ("range", "bytes=5000-5001")];
        for _ in 0..3 {
            let part = cinema.world.get_with("/film", &mine).await;
            assert_eq!(
                (part.status.as_u16(), &part.body[..]),
                (206, &content(0, LENGTH)[5000..5002]),
                "{control}"
            );
        }
        assert_eq!(cinema.world.origin.asked(), asked, "{control}");
        assert_eq!(cinema.range("bytes=5000-5001").await.is_hit(), is_shared, "{control}");
    }
}

#[tokio::test]
async fn a_digest_of_one_slice_is_not_that_of_the_object() {
    let film = Film::new(0, LENGTH).with("content-digest", "sha-256=:AAAA:").with("content-md5", "AAAA");
    let cinema = Cinema::new(film.with("repr-digest", "sha-256=:BBBB:"));
    cinema.range("bytes=0-9").await;
    let whole = cinema.world.get("/film").await;
    assert_eq!(whole.body, content(0, LENGTH));
    assert_eq!((whole.header("content-digest"), whole.header("content-md5")), (None, None));
    assert_eq!(whole.header("repr-digest"), Some("sha-256=:BBBB:"));
}
