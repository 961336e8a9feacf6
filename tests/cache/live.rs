//! Live video under the preset: many viewers, one origin, and nothing old.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower_edge::{CachePolicy, preset};

use crate::support::services::{at_hand, next};
use crate::support::{Origin, World, feed, get, response, settle, streamed};

fn world(origin: Origin) -> World {
    World::with(origin, |edge| edge.behaviors(preset::hls("*", &CachePolicy::default())))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_viewers_of_the_segment_being_made_get_it_chunk_by_chunk_from_one_request() {
    let (feed, body) = feed();
    let body = Mutex::new(Some(body));
    // As a packager sends a low-latency segment: without length, a chunk as soon as it is encoded.
    let world = world(Origin::new(move |_| {
        let body = body.lock().unwrap().take().expect("the origin is asked once");
        async move { Ok(streamed(&[("content-type", "video/mp4")], body)) }
    }));
    let send = || async { world.send(get("/live/7.m4s")).await.unwrap().into_body() };
    let mut viewers = join_all((0..500).map(|_| send())).await;
    feed.send("moof-1 ");
    for viewer in &mut viewers {
        assert_eq!(at_hand(viewer).await, "moof-1 ");
    }
    viewers.extend(join_all((500..1_000).map(|_| send())).await);
    feed.send("moof-2");
    for (number, viewer) in viewers.iter_mut().enumerate() {
        assert_eq!(at_hand(viewer).await, if number < 500 { "moof-2" } else { "moof-1 moof-2" });
    }
    feed.end();
    for viewer in &mut viewers {
        assert!(matches!(next(viewer).await, Some(None)));
    }
    assert!(world.get("/live/7.m4s").await.is_hit());
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn viewers_whose_reload_the_origin_holds_wait_together() {
    // RFC 8216bis §6.2.5.2: until the playlist has that part, up to three target durations.
    let held = || {
        Origin::new(|seen| async move {
            sleep(Duration::from_secs(18)).await;
            Ok(response(200, &[("cache-control", "max-age=6")], format!("{} {}", seen.number, seen.uri)))
        })
    };
    let world = world(held());
    let start = Instant::now();
    let replies = join_all((0..600).map(|viewer| {
        let (world, part) = (&world, viewer % 2);
        async move { world.get(&format!("/live.m3u8?_HLS_msn=5&_HLS_part={part}")).await }
    }))
    .await;
    assert!(start.elapsed() < Duration::from_secs(19), "{:?}", start.elapsed());
    assert_eq!(world.origin.asked(), 2, "one request for each part");
    for (viewer, reply) in replies.iter().enumerate() {
        assert!(reply.text().ends_with(&format!("_HLS_msn=5&_HLS_part={}", viewer % 2)), "{}", reply.text());
    }
    // Without the preset, those who wait lose patience and go alone.
    let world = World::new(held());
    join_all((0..10).map(|_| world.get("/live.m3u8?_HLS_msn=5"))).await;
    assert_eq!(world.origin.asked(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_not_there_yet_is_asked_for_again_after_a_second() {
    for fields in [&[][..], &[("cache-control", "max-age=600, stale-while-revalidate=600")]] {
        let world = world(Origin::new(move |seen| async move {
            Ok(match seen.number {
                0 => response(404, fields, "not yet"),
                _ => response(200, &[], "made"),
            })
        }));
        assert_eq!(world.get("/live/8.ts").await.status, 404);
        world.pass(Duration::from_millis(900));
        assert_eq!(world.get("/live/8.ts").await.status, 404);
        assert_eq!(world.origin.asked(), 1, "{fields:?}");
        world.pass(Duration::from_millis(100));
        assert_eq!(world.get("/live/8.ts").await.text(), "made", "{fields:?}");
        world.pass_seconds(600);
        assert!(world.get("/live/8.ts").await.is_hit());
        assert_eq!(world.origin.asked(), 2, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_404_keeps_nobody_from_the_segment_once_it_is_there() {
    let world = world(Origin::new(|seen| async move {
        Ok(match seen.number {
            0 => response(404, &[("cache-control", "no-store")], "not yet"),
            _ => response(200, &[], "made"),
        })
    }));
    assert_eq!(world.get("/live/8.ts").await.status, 404);
    world.pass_seconds(1);
    join_all((0..100).map(|_| world.get("/live/8.ts"))).await;
    assert_eq!(world.origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_refreshed_behind_its_viewers_and_is_seconds_old_at_most() {
    // The origin says far too much; its own second would do, and so would nothing.
    for (fields, fresh) in [
        (&[("cache-control", "max-age=3600")][..], 10),
        (&[("cache-control", "max-age=2")], 2),
        (&[("last-modified", "Thu, 01 Jan 2015 00:00:00 GMT")], 1),
    ] {
        let world = world(Origin::new(move |seen| async move {
            Ok(response(200, fields, format!("version {}", seen.number)))
        }));
        world.get("/live/index.m3u8").await;
        world.pass_seconds(fresh);
        let stale = world.get("/live/index.m3u8").await;
        assert!(stale.is_hit() && stale.text() == "version 0", "{fields:?}");
        settle().await;
        assert_eq!(world.get("/live/index.m3u8").await.text(), "version 1", "{fields:?}");
        // Nobody came for a while: the next one waits for what is so now.
        world.pass_seconds(fresh + 2);
        assert_eq!(world.get("/live/index.m3u8").await.text(), "version 2", "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_who_reloads_does_not_make_the_edge_ask() {
    let world = world(Origin::numbered(&[("cache-control", "max-age=2")]));
    for path in ["/live/index.m3u8", "/live/1.ts"] {
        world.get(path).await;
        assert!(
            world.get_with(path, &[("cache-control", "no-cache"), ("pragma", "no-cache")]).await.is_hit()
        );
    }
}
