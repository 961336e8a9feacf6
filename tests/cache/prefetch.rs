//! What is fetched ahead of viewers: the right things, few of them, and at nobody's cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use tokio::time::{Instant, sleep};
use tower_edge::prefetch::{Manifests, Prefetch, Served};
use tower_edge::{CachePolicy, preset};

use crate::support::{Origin, Seen, World, get, read, response, settle};

const LIVE: &str = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2,\n1.m4s\n#EXTINF:2,\n2.m4s\n#EXTINF:2,\n3.m4s\n\
    #EXTINF:2,\nhttp://other.example/4.m4s\n";

/// Answers with what a film has, or with what is on the air.
fn site(is_live: bool) -> Origin {
    Origin::new(move |seen| async move {
        Ok(match seen.uri.rsplit('/').next() {
            Some("index.m3u8") if is_live => response(200, &[], LIVE),
            Some("index.m3u8") => response(200, &[], format!("{LIVE}#EXT-X-ENDLIST\n")),
            Some(name) => response(200, &[], format!("bytes of {name}")),
            None => response(404, &[], ""),
        })
    })
}

fn world(origin: Origin) -> World {
    let policy = CachePolicy { prefetch: Some(Arc::new(Manifests::new(2))), ..CachePolicy::default() };
    World::with(origin, |edge| edge.behaviors(preset::hls("*", &policy)).policy(policy))
}

fn paths(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.uri.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_live_list_is_there_before_its_viewers_come() {
    let world = world(site(true));
    world.get_with("/live/index.m3u8", &[("cookie", "viewer=1"), ("x-forwarded-for", "1.2.3.4")]).await;
    settle().await;
    let seen = world.origin.seen();
    assert_eq!(paths(&seen), ["/live/index.m3u8", "/live/init.mp4", "/live/2.m4s", "/live/3.m4s"]);
    for ahead in &seen[1..] {
        assert_eq!(ahead.headers["host"], "site.example");
        assert!(!ahead.headers.contains_key("cookie") && !ahead.headers.contains_key("x-forwarded-for"));
    }
    assert!(world.get("/live/3.m4s").await.is_hit());
    let stats = world.edge.stats();
    assert_eq!((stats.prefetched, stats.requests), (3, 2));
    // The same list again leads to nothing more.
    world.get("/live/index.m3u8").await;
    settle().await;
    assert_eq!(world.origin.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_film_is_fetched_as_far_ahead_as_it_is_watched() {
    let world = world(site(false));
    world.get("/film/index.m3u8").await;
    settle().await;
    assert_eq!(paths(&world.origin.seen())[1..], ["/film/init.mp4", "/film/1.m4s"]);
    assert!(world.get("/film/1.m4s").await.is_hit());
    settle().await;
    assert_eq!(paths(&world.origin.seen())[3..], ["/film/2.m4s", "/film/3.m4s"]);
    for _ in 0..3 {
        assert!(world.get("/film/2.m4s").await.is_hit());
        assert!(world.get("/film/3.m4s").await.is_hit());
        settle().await;
    }
    // Past the end there is nothing of this origin.
    assert_eq!(world.origin.asked(), 5);
    assert_eq!(world.edge.stats().prefetched, 4);
}

#[tokio::test(start_paused = true)]
async fn no_viewer_waits_for_what_is_fetched_ahead() {
    let world = world(Origin::new(|seen| async move {
        if seen.uri.ends_with(".m3u8") {
            return Ok(response(200, &[], LIVE));
        }
        sleep(Duration::from_secs(3)).await;
        Ok(response(200, &[], seen.uri))
    }));
    let start = Instant::now();
    for _ in 0..3 {
        world.get("/live/index.m3u8").await;
        settle().await;
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(world.edge.stats().fills, 3);
    // Who wants it joins what is on its way.
    sleep(Duration::from_secs(2)).await;
    let reply = world.get("/live/3.m4s").await;
    assert!(reply.outcome().collapsed);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(world.origin.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_behind_viewers_is_followed_too() {
    let world = world(Origin::new(|seen| async move {
        Ok(match seen.uri.as_str() {
            "/live/index.m3u8" => response(200, &[], format!("#EXTM3U\n#EXTINF:1,\n{}.ts\n", seen.number)),
            _ => response(200, &[], seen.uri),
        })
    }));
    world.get("/live/index.m3u8").await;
    settle().await;
    world.pass_seconds(1);
    assert!(world.get("/live/index.m3u8").await.is_hit());
    settle().await;
    assert_eq!(paths(&world.origin.seen())[2..], ["/live/index.m3u8", "/live/2.ts"]);
}

#[tokio::test(start_paused = true)]
async fn credentials_lead_to_nothing() {
    let world =
        world(Origin::new(
            |_| async move { Ok(response(200, &[("cache-control", "public, max-age=9")], LIVE)) },
        ));
    for _ in 0..2 {
        world.get_with("/live/index.m3u8", &[("authorization", "Basic eDp5")]).await;
        settle().await;
    }
    assert_eq!(world.origin.asked(), 1);
}

/// Wants a lot, and counts how often it is asked.
#[derive(Clone, Debug, Default)]
struct Greedy(Arc<AtomicUsize>);

impl Prefetch for Greedy {
    fn after(&self, served: &Served<'_>) -> Vec<Uri> {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(served.length(), served.body().len() as u64);
        assert_eq!(served.headers()["content-type"], "text/plain");
        (0..1_000).map(|number| format!("{}/{number}", served.uri()).parse().unwrap()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_of_ones_own_is_asked_once_a_response_and_bounded() {
    let origin = Origin::new(|seen| async move {
        sleep(Duration::from_secs(1)).await;
        Ok(response(200, &[("cache-control", "max-age=60"), ("content-type", "text/plain")], seen.uri))
    });
    let greedy = Greedy::default();
    let policy = CachePolicy { prefetch: Some(Arc::new(greedy.clone())), ..CachePolicy::default() };
    let world = World::with_policy(origin, policy);
    for path in ["/a", "/b", "/c", "/d", "/e", "/f"] {
        drop(read(world.send(get(path)).await.unwrap()).await);
        world.get(path).await;
        settle().await;
    }
    let ahead = world.origin.seen().iter().filter(|seen| seen.uri.matches('/').count() == 2).count();
    assert_eq!(ahead, 6 * 16);
    assert_eq!(greedy.0.load(Ordering::Relaxed), 6);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.origin.asked(), 6 + 6 * 16, "what was fetched ahead leads to nothing");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_sixty_four_are_fetched_ahead_at_a_time() {
    let origin = Origin::new(|seen| async move {
        if seen.uri.matches('/').count() == 2 {
            sleep(Duration::from_secs(100)).await;
        }
        Ok(response(200, &[("cache-control", "max-age=600"), ("content-type", "text/plain")], seen.uri))
    });
    let policy = CachePolicy { prefetch: Some(Arc::new(Greedy::default())), ..CachePolicy::default() };
    let world = World::with_policy(origin, policy);
    for page in 0..10 {
        world.get(&format!("/{page}")).await;
        settle().await;
    }
    assert_eq!(world.edge.stats().fills, 64);
    sleep(Duration::from_secs(101)).await;
    assert_eq!(world.edge.stats().fills, 0);
    world.get("/another").await;
    settle().await;
    assert_eq!(world.edge.stats().fills, 16);
}
