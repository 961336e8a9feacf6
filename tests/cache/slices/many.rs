//! Many viewers, and origins that fail or hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::sleep;
use tower::BoxError;
use tower_edge::{BodyErrorKind, Slices};

use super::{Cinema, Film, SIZE, content, policy, sliced};
use crate::support::{Origin, OriginDown, World, feed, read, request, response, settle, streamed};

const LENGTH: usize = 100_000;

#[tokio::test]
async fn a_hundred_viewers_of_one_slice_cost_one_request() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    let viewers = (0..100).map(|n| {
        let range = format!("bytes={}-{}", 5000 + n, 5100 + n);
        let future = cinema.world.send(request("GET", "/film", &[("range", &range)]));
        async move { read(future.await.unwrap()).await.unwrap() }
    });
    let whole = content(0, LENGTH);
    for (n, reply) in join_all(viewers).await.into_iter().enumerate() {
        assert_eq!(reply.body, whole[5000 + n..=5100 + n]);
    }
    assert_eq!(cinema.asked(), ["bytes=4096-8191"]);

    // Another slice of what is known by now.
    let viewers = (0..100).map(|_| {
        let future = cinema.world.send(request("GET", "/film", &[("range", "bytes=50000-50009")]));
        async move { read(future.await.unwrap()).await.unwrap() }
    });
    for reply in join_all(viewers).await {
        assert_eq!(reply.body, whole[50_000..50_010]);
    }
    assert_eq!(cinema.asked(), ["bytes=4096-8191", "bytes=49152-53247"]);
}

#[tokio::test]
async fn a_thousand_single_bytes_pull_no_slice_twice() {
    let (cinema, whole) = (Cinema::new(Film::new(0, LENGTH)), content(0, LENGTH));
    for n in 0..1000 {
        let at = n * 97 % LENGTH;
        let part = cinema.range(&format!("bytes={at}-{at}")).await;
        assert_eq!(part.body, whole[at..=at]);
    }
    let mut asked = cinema.asked();
    let pulled = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(pulled, asked.len());
    assert!(pulled <= LENGTH.div_ceil(SIZE as usize));
}

#[tokio::test]
async fn an_origin_that_is_down_answers_nobody_and_spoils_nothing() {
    let (down, film) = (Arc::new(AtomicBool::new(false)), Film::new(0, LENGTH));
    let is_down = Arc::clone(&down);
    let world = World::with_policy(
        Origin::new(move |seen| {
            let answer =
                if is_down.load(Ordering::Relaxed) { Err(OriginDown) } else { Ok(film.answer(&seen)) };
            async move { answer }
        }),
        policy(),
    );
    let range = |range: &'static str| world.send(request("GET", "/film", &[("range", range)]));
    read(range("bytes=0-0").await.unwrap()).await.unwrap();
    down.store(true, Ordering::Relaxed);
    assert_eq!(range("bytes=50000-50001").await.unwrap_err(), OriginDown);
    assert_eq!(read(range("bytes=1-1").await.unwrap()).await.unwrap().status, 206);
    // It fails in the midst of the body.
    let broken = range("bytes=0-8191").await.unwrap();
    assert!(read(broken).await.is_err());
    down.store(false, Ordering::Relaxed);
    assert_eq!(read(range("bytes=0-8191").await.unwrap()).await.unwrap().body, content(0, LENGTH)[..8192]);
}

#[tokio::test]
async fn an_error_of_the_origin_is_handed_on() {
    let (failing, film) = (Arc::new(AtomicBool::new(false)), Film::new(0, LENGTH));
    let fails = Arc::clone(&failing);
    let world = World::with_policy(
        Origin::new(move |seen| {
            let answer =
                if fails.load(Ordering::Relaxed) { response(503, &[], "later") } else { film.answer(&seen) };
            async move { Ok(answer) }
        }),
        policy(),
    );
    let range = async |range| world.get_with("/film", &[("range", range)]).await;
    failing.store(true, Ordering::Relaxed);
    assert_eq!(range("bytes=0-0").await.status, 503);
    failing.store(false, Ordering::Relaxed);
    assert_eq!(range("bytes=0-0").await.status, 206);
    failing.store(true, Ordering::Relaxed);
    assert_eq!(range("bytes=50000-").await.status, 503);
    assert!(range("bytes=0-0").await.is_hit());
    assert_eq!(world.edge.stats().requests, 4, "each is counted once");
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_hangs_holds_nobody_but_its_reader() {
    let film = Film::new(0, LENGTH);
    let world = World::with_policy(
        Origin::new(move |seen| {
            let answer = film.answer(&seen);
            async move {
                // The second request never has an answer.
                if seen.number == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(answer)
            }
        }),
        policy(),
    );
    let range = || world.send(request("GET", "/film", &[("range", "bytes=50000-50001")]));
    world.get_with("/film", &[("range", "bytes=0-0")]).await;
    let hanging = tokio::spawn(range());
    settle().await;
    let part = tokio::time::timeout(Duration::from_secs(6), range()).await.expect("not for ever").unwrap();
    assert_eq!(read(part).await.unwrap().body, content(0, LENGTH)[50_000..50_002]);
    hanging.abort();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(world.edge.stats().fills, 0);
}

#[tokio::test]
async fn a_slice_that_breaks_off_is_got_once_more() {
    let film = Film::new(0, LENGTH);
    let (feeder, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let world = World::with_policy(
        Origin::new(move |seen| {
            let answer = match seen.number {
                1 => {
                    let body = body.lock().unwrap().take().unwrap();
                    let (mut head, _) = film.answer(&seen).into_parts();
                    let answer = streamed(&[], body);
                    head.headers.remove("content-length");
                    http::Response::from_parts(head, answer.into_body())
                }
                _ => film.answer(&seen),
            };
            async move { Ok(answer) }
        }),
        policy(),
    );
    world.get_with("/film", &[("range", "bytes=0-0")]).await;
    let viewer = tokio::spawn(world.send(request("GET", "/film", &[("range", "bytes=4096-8191")])));
    settle().await;
    feeder.send(content(0, LENGTH).slice(4096..5000));
    let viewer = tokio::spawn(read(viewer.await.unwrap().unwrap()));
    settle().await;
    feeder.fail("cut");
    assert_eq!(viewer.await.unwrap().unwrap().body, content(0, LENGTH)[4096..8192]);
    assert_eq!(world.origin.asked(), 3);
}

/// Each slice but the first breaks off so many times, after its first hundred bytes. Says what a reader gets of two of them,
/// and how often the origin was asked for them.
async fn read_with(breaks: usize) -> (Result<usize, BodyErrorKind>, usize) {
    let film = Film::new(0, LENGTH);
    let origin = Origin::new(move |seen| {
        let answer = film.answer(&seen);
        // In rounds, so that a reader who never gives up comes to an end.
        let is_broken = seen.number > 0 && (seen.number - 1) % (breaks + 1) < breaks && seen.number < 50;
        async move {
            if !is_broken {
                return Ok(answer);
            }
            let (mut head, body) = answer.into_parts();
            head.headers.remove("content-length");
            let first = body.collect().await.unwrap().to_bytes().slice(..100);
            let frames = stream::unfold(Some(first), |first| async move {
                let Some(first) = first else {
                    sleep(Duration::from_millis(10)).await;
                    return Some((Err(BoxError::from("cut")), None));
                };
                Some((Ok(Frame::data(first)), None))
            });
            Ok(http::Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
        }
    });
    let world = World::with_policy(origin, policy());
    world.get_with("/film", &[("range", "bytes=0-0")]).await;
    let reply = world.send(request("GET", "/film", &[("range", "bytes=4096-12287")])).await.unwrap();
    let came = read(reply).await.map(|reply| reply.body.len()).map_err(|error| error.kind());
    (came, world.origin.asked() - 1)
}

#[tokio::test(start_paused = true)]
async fn each_slice_that_breaks_off_is_got_a_few_times_more_and_no_more() {
    assert_eq!(read_with(0).await, (Ok(8192), 2));
    assert_eq!(read_with(2).await, (Ok(8192), 6));
    let (came, asked) = read_with(3).await;
    assert!(came.is_err());
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn viewers_are_served_though_the_edge_runs_as_many_fills_as_it_may() {
    let film = Film::new(0, LENGTH);
    let origin = Origin::new(move |seen| {
        let answer = film.answer(&seen);
        async move { Ok(answer) }
    });
    let world = World::with(origin, |edge| edge.max_fills(1).policy(policy()));
    for _ in 0..2 {
        assert_eq!(world.get("/film").await.body, content(0, LENGTH));
        assert_eq!(world.get_with("/film", &[("range", "bytes=-1")]).await.body.len(), 1);
    }
}

#[tokio::test]
async fn readers_of_what_the_store_cannot_hold_pull_little_more_than_they_read() {
    let length = 1 << 20;
    for read_ahead in 0..4 {
        let film = Film::new(0, length);
        let origin = Origin::new(move |seen| {
            let answer = film.answer(&seen);
            async move { Ok(answer) }
        });
        let slices = Slices { read_ahead, threshold: 2 * SIZE, ..Slices::of(SIZE) };
        let mut policy = sliced(slices);
        policy.limits.object_size = Some(8 * 1024);
        let world = World::with(origin, |edge| edge.capacity(64 * 1024).policy(policy));
        world.get_with("/film", &[("range", "bytes=0-0")]).await;
        // Two readers so far apart that the one finds nothing of the other's.
        let mut readers = Vec::new();
        for range in ["bytes=0-", "bytes=524288-"] {
            readers.push(world.send(request("GET", "/film", &[("range", range)])).await.unwrap());
        }
        let mut came = 0;
        for _ in 0..48 {
            for reader in &mut readers {
                let frame = reader.body_mut().frame().await.unwrap().unwrap();
                came += frame.into_data().unwrap().len() as u64;
                // What is fetched ahead is there, and may have made room again, before it is wanted.
                settle().await;
            }
        }
        let pulled = world.origin.asked() as u64 * SIZE;
        assert!(came >= 48 * SIZE && world.edge.stats().bytes <= 64 * 1024);
        let ahead = 2 * (read_ahead as u64 + 1) * SIZE;
        assert!(pulled <= came + ahead, "{read_ahead} ahead: {pulled} pulled for {came}");
    }
}

#[tokio::test]
async fn a_slice_that_one_viewer_is_refused_is_asked_for_by_the_next() {
    let film = Film::new(0, LENGTH);
    let (refuse, refused) = tokio::sync::oneshot::channel::<()>();
    let refused = std::sync::Mutex::new(Some(refused));
    let world = World::with_policy(
        Origin::new(move |seen| {
            let is_first = seen.headers.get("cookie").is_some_and(|cookie| cookie == "old");
            let held = if is_first { refused.lock().unwrap().take() } else { None };
            let answer = if is_first { response(403, &[], "no") } else { film.answer(&seen) };
            async move {
                if let Some(held) = held {
                    let _ = held.await;
                }
                Ok(answer)
            }
        }),
        policy(),
    );
    world.get_with("/film", &[("range", "bytes=0-4095")]).await;
    let first = world.send(request("GET", "/film", &[("range", "bytes=0-8191"), ("cookie", "old")]));
    let mut first = first.await.unwrap();
    first.body_mut().frame().await.unwrap().unwrap();
    let first = tokio::spawn(read(first));
    settle().await;
    let second = world.send(request("GET", "/film", &[("range", "bytes=0-8191")])).await.unwrap();
    let second = tokio::spawn(read(second));
    settle().await;
    refuse.send(()).unwrap();
    assert!(first.await.unwrap().is_err());
    assert_eq!(
        second.await.unwrap().expect("it is not the second who was refused").body,
        content(0, LENGTH)[..8192]
    );
}
