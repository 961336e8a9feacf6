//! Everything has a limit, and what meets it is still served.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower_edge::{BodyErrorKind, CachePolicy, Detail, Limits};

use crate::support::services::{endless, next};
use crate::support::{Feed, Origin, World, feed, get, read, request, response, settle, streamed};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"v\"")];
const MIB: u64 = 1 << 20;
const FRAME: usize = 64 << 10;
/// What a body that is not kept may be ahead of its readers, and a frame, and what the pieces cost.
const AHEAD: u64 = (256 << 10) + 2 * FRAME as u64;

fn small_objects() -> CachePolicy {
    CachePolicy { limits: Limits { object_size: Some(MIB), ..Limits::default() }, ..CachePolicy::default() }
}

/// An edge that stores no body over 1 MiB, before an origin whose first body is fed by the test.
fn fed(headers: &'static [(&'static str, &'static str)]) -> (Feed, World) {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new(move |_| {
        let body = body.lock().unwrap().take();
        async move { Ok(body.map_or_else(|| response(200, MINUTE, "next"), |body| streamed(headers, body))) }
    });
    (feed, World::with_policy(origin, small_objects()))
}

/// Frame number `n`, all of one byte.
fn frame(n: usize) -> Bytes {
    Bytes::from(vec![n as u8; FRAME])
}

#[tokio::test(start_paused = true)]
async fn a_body_known_to_be_too_long_is_passed_on_as_it_is_read() {
    let (feed, world) = fed(&[("cache-control", "max-age=60"), ("content-length", "4194304")]);
    let mut leader = world.send(get("/a")).await.unwrap();
    (0..64).for_each(|n| feed.send(frame(n)));
    feed.end();
    settle().await;
    assert_eq!((feed.unread(), world.edge.stats().bytes_in_flight), (64, 0));
    assert_eq!(next(leader.body_mut()).await.unwrap().unwrap().unwrap(), frame(0));
    assert_eq!(read(leader).await.unwrap().body.len(), 63 * FRAME);
    assert!(!world.get("/a").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_long_is_read_no_faster_than_its_reader() {
    let (feed, world) = fed(MINUTE);
    let leader = world.send(get("/a")).await.unwrap();
    (0..64).for_each(|n| feed.send(frame(n)));
    feed.end();
    settle().await;
    // Nothing has been read yet.
    assert!(feed.unread() > 40, "{}", feed.unread());
    assert!(world.edge.stats().bytes_in_flight <= MIB + AHEAD);
    let whole = read(leader).await.expect("one reader is never too slow").body;
    assert_eq!(whole.len(), 64 * FRAME);
    assert!((0..64).all(|n| whole[n * FRAME..][..FRAME] == frame(n)));
    settle().await;
    let stats = world.edge.stats();
    assert_eq!((stats.objects, stats.bytes_in_flight, stats.fills, stats.not_stored), (0, 0, 0, 1));
    // It is known now: nobody waits for it.
    assert_eq!(world.get("/a").await.outcome().detail, Some(Detail::Uncacheable));
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_is_served_for_as_long_as_it_is_read() {
    let world = World::with_policy(
        Origin::new(|_| async { Ok(streamed(MINUTE, endless(frame(7)))) }),
        small_objects(),
    );
    let mut body = world.send(get("/a")).await.unwrap().into_body();
    let (mut length, mut most) = (0, 0);
    while length < 64 * MIB {
        length += body.frame().await.unwrap().unwrap().into_data().unwrap().len() as u64;
        most = most.max(world.edge.stats().bytes_in_flight);
    }
    assert!((MIB..=MIB + 2 * AHEAD).contains(&most), "{most}");
    drop(body);
    settle().await;
    let stats = world.edge.stats();
    assert_eq!((stats.fills, stats.bytes_in_flight, stats.objects), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reader_far_behind_a_body_that_is_not_kept_gets_an_error() {
    let (feed, world) = fed(MINUTE);
    let mut laggard = world.send(get("/a")).await.unwrap().into_body();
    let mut quick = world.send(get("/a")).await.unwrap().into_body();
    for n in 0..100 {
        feed.send(frame(n));
        let got = next(&mut quick).await.expect("it is there").unwrap().unwrap();
        assert_eq!(got, frame(n), "{n}");
        if n == 0 {
            assert!(next(&mut laggard).await.is_some());
        }
        assert!(world.edge.stats().bytes_in_flight <= MIB + AHEAD);
        assert_eq!(feed.unread(), 0, "the quick one does not wait");
    }
    let error = next(&mut laggard).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), BodyErrorKind::TooSlow);
    // Who comes now could not have the beginning: it gets an answer of its own.
    assert_eq!(world.get("/a").await.text(), "next");
    feed.end();
    assert!(matches!(next(&mut quick).await, Some(None)));
}

#[tokio::test(start_paused = true)]
async fn fills_hold_no_more_than_their_share_together() {
    const LENGTH: usize = 400 << 10;
    let origin = Origin::new(|_| async { Ok(response(200, MINUTE, vec![b'x'; LENGTH])) });
    let world = World::with(origin, |edge| edge.capacity(4 * MIB));
    // Each would fit; all of them together are ten times what may be in flight.
    let responses = join_all((0..25).map(|n| world.send(get(&format!("/{n}"))))).await;
    settle().await;
    let held = world.edge.stats().bytes_in_flight;
    assert!(held <= MIB + 25 * LENGTH as u64, "{held}");
    for response in responses {
        assert_eq!(read(response.unwrap()).await.unwrap().body.len(), LENGTH);
    }
    settle().await;
    assert_eq!((world.edge.stats().fills, world.edge.stats().bytes_in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_budget_of_all_is_not_kept() {
    // The budget is 1 MiB; each of these takes 512 KiB at most.
    let feeds: Vec<_> = (0..16).map(|_| feed()).collect();
    let (feeds, bodies): (Vec<_>, Vec<_>) = feeds.into_iter().unzip();
    let bodies = std::sync::Mutex::new(bodies.into_iter());
    let origin = Origin::new(move |_| {
        let body = bodies.lock().unwrap().next().unwrap();
        async move { Ok(streamed(MINUTE, body)) }
    });
    let world = World::with(origin, |edge| edge.capacity(4 * MIB));
    let mut responses = Vec::new();
    for n in 0..16 {
        responses.push(world.send(get(&format!("/{n}"))).await.unwrap());
    }
    for n in 0..7 {
        feeds.iter().for_each(|feed| feed.send(frame(n)));
        settle().await;
        let held = world.edge.stats().bytes_in_flight;
        assert!(held <= MIB + 16 * AHEAD, "{held}");
    }
    feeds.iter().for_each(Feed::end);
    for response in responses {
        assert_eq!(read(response).await.unwrap().body.len(), 7 * FRAME);
    }
    settle().await;
    let stats = world.edge.stats();
    assert_eq!((stats.fills, stats.bytes_in_flight), (0, 0));
    assert!(stats.stored < 16, "{}", stats.stored);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_late_range_gets_it_however_late_it_begins_to_read() {
    const LENGTH: usize = 7 * FRAME;
    // The budget is 1 MiB: with these three under way nothing more is kept.
    let feeds: Vec<_> = (0..4).map(|_| feed()).collect();
    let (feeds, bodies): (Vec<_>, Vec<_>) = feeds.into_iter().unzip();
    let bodies = std::sync::Mutex::new(bodies.into_iter());
    let origin = Origin::new(move |_| {
        let body = bodies.lock().unwrap().next().unwrap();
        let headers = [("cache-control", "max-age=60"), ("content-length", "458752")];
        async move { Ok(streamed(&headers, body)) }
    });
    let world = World::with(origin, |edge| edge.capacity(4 * MIB));
    let mut others = Vec::new();
    for (n, feed) in feeds.iter().take(3).enumerate() {
        others.push(world.send(get(&format!("/{n}"))).await.unwrap());
        (0..6).for_each(|n| feed.send(frame(n)));
        settle().await;
    }
    let range = format!("bytes={}-", LENGTH - 10);
    let late = world.send(request("GET", "/late", &[("range", &range)])).await.unwrap();
    (0..7).for_each(|n| feeds[3].send(frame(n)));
    feeds[3].end();
    // As far as it is read without the reader.
    settle().await;
    assert!(feeds[3].unread() > 0, "it is not kept");
    let read =
        tokio::time::timeout(Duration::from_secs(60), read(late)).await.expect("it does not wait for ever");
    assert_eq!(read.unwrap().body, vec![6; 10]);
}

#[tokio::test(start_paused = true)]
async fn requests_past_the_number_of_fills_are_forwarded() {
    let origin = Origin::new(|_| async {
        sleep(Duration::from_secs(1)).await;
        Ok(response(200, MINUTE, "body"))
    });
    let world = World::with(origin, |edge| edge.max_fills(2));
    let replies = join_all(["/a", "/b", "/c", "/c", "/a"].map(|path| world.get(path))).await;
    let details: Vec<_> = replies.iter().map(|reply| reply.outcome().detail).collect();
    assert_eq!(details, [None, None, Some(Detail::Busy), Some(Detail::Busy), None]);
    assert!(replies.iter().all(|reply| reply.text() == "body"));
    assert_eq!(world.origin.asked(), 4);
    assert!(world.get("/a").await.is_hit());
    assert!(!world.get("/c").await.is_hit());
    assert!(world.get("/c").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn uploads_take_no_room_from_fills() {
    let origin = Origin::new(|seen| async move {
        if seen.method == "POST" {
            sleep(Duration::from_secs(100)).await;
        }
        Ok(response(200, MINUTE, "body"))
    });
    let world = World::with(origin, |edge| edge.max_fills(2));
    let uploads = ["/a", "/b", "/c"].map(|path| tokio::spawn(world.send(request("POST", path, &[]))));
    settle().await;
    world.get("/d").await;
    assert!(world.get("/d").await.is_hit());
    uploads.iter().for_each(|upload| upload.abort());
}

#[tokio::test(start_paused = true)]
async fn a_key_holds_so_many_variants() {
    let vary = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let origin = Origin::numbered(vary);
    let limits = Limits { variants: 3, ..Limits::default() };
    let world = World::with_policy(origin, CachePolicy { limits, ..CachePolicy::default() });
    let languages: Vec<_> = (0..20).map(|n| format!("l{n}")).collect();
    for language in &languages {
        world.get_with("/a", &[("accept-language", language)]).await;
    }
    assert_eq!(world.edge.stats().objects, 1);
    for (n, language) in languages.iter().enumerate().rev() {
        let request =
            request("GET", "/a", &[("accept-language", language), ("cache-control", "only-if-cached")]);
        assert_eq!(world.ask(request).await.is_hit(), n >= 17, "{language}");
    }
}

/// Eight that weigh nearly an eighth each are more than the store admits as one: the newest stay.
#[tokio::test(start_paused = true)]
async fn large_variants_give_way_to_newer_ones() {
    let vary = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let origin = Origin::new(|_| async { Ok(response(200, vary, vec![b'x'; 120 << 10])) });
    let world = World::with(origin, |edge| edge.capacity(MIB));
    for n in 0..8 {
        let language = &[("accept-language", ["a", "b", "c", "d", "e", "f", "g", "h"][n])];
        assert!(!world.get_with("/a", language).await.is_hit());
        assert!(world.get_with("/a", language).await.is_hit(), "variant {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_stays_within_its_capacity() {
    let origin = Origin::new(|_| async { Ok(response(200, MINUTE, vec![b'x'; 16 << 10])) });
    let world = World::with(origin, |edge| edge.capacity(MIB));
    for n in 0..500 {
        assert_eq!(world.get(&format!("/{n}")).await.body.len(), 16 << 10);
        assert!(world.edge.stats().bytes <= MIB);
    }
    assert!(world.edge.stats().bytes > MIB / 2);
}

#[tokio::test(start_paused = true)]
async fn a_memo_of_what_cannot_be_stored_ends() {
    let world = World::new(Origin::new(|seen| async move {
        Ok(if seen.number < 2 {
            response(200, &[("cache-control", "no-store")], "private")
        } else {
            response(200, MINUTE, "shared")
        })
    }));
    assert_eq!(world.get("/a").await.outcome().detail, None);
    assert_eq!(world.get("/a").await.outcome().detail, Some(Detail::Uncacheable));
    world.pass_seconds(120);
    assert_eq!(world.get("/a").await.outcome().detail, None);
    assert!(world.get("/a").await.is_hit());
}

#[tokio::test]
async fn a_body_that_is_not_stored_after_all_counts_for_as_long_as_it_is_read() {
    let (feed, world) = fed(MINUTE);
    let reader = world.send(get("/a")).await.unwrap();
    (0..4).for_each(|n| feed.send(frame(n)));
    settle().await;
    world.edge.invalidator().invalidate(tower_edge::Invalidation::all()).unwrap();
    feed.end();
    settle().await;
    let stats = world.edge.stats();
    assert!(stats.objects == 0 && stats.bytes_in_flight >= 4 * FRAME as u64, "{stats:?}");
    assert_eq!(read(reader).await.unwrap().body.len(), 4 * FRAME);
    assert_eq!(world.edge.stats().bytes_in_flight, 0);
}
