//! The object changes, is invalidated or evicted while it is read.

use super::{Cinema, Film, SIZE, content};
use crate::support::services::next;
use crate::support::{get, read, request, settle};

const LENGTH: usize = 100_000;

#[tokio::test]
async fn a_change_that_is_seen_before_the_head_is_sent_starts_over() {
    for (name, length) in [("changed", LENGTH), ("shrunk", 50_000), ("grown", 150_000)] {
        let cinema = Cinema::new(Film::new(0, LENGTH));
        cinema.range("bytes=0-0").await;
        cinema.show(Film::new(1, length));
        let part = cinema.range("bytes=40000-49999").await;
        assert_eq!(part.header("etag"), Some("\"1\""), "{name}");
        assert_eq!(part.body, content(1, length)[40_000..50_000], "{name}");
        assert_eq!(part.header("content-range"), Some(&*format!("bytes 40000-49999/{length}")), "{name}");
        // Nothing of the old is left.
        assert_eq!(cinema.range("bytes=0-0").await.body, content(1, length)[..1], "{name}");
        assert_eq!(cinema.world.edge.stats().requests, 3, "{name}: each is counted once");
    }
}

#[tokio::test]
async fn an_object_that_has_become_small_or_gone_is_answered_as_it_is_now() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    cinema.show(Film::new(1, 50));
    let past = cinema.range("bytes=40000-").await;
    assert_eq!(past.status, 416);
    assert_eq!(cinema.range("bytes=0-9").await.body, content(1, 50)[..10]);
}

#[tokio::test]
async fn a_change_that_is_seen_later_ends_the_body_in_an_error() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    let mut response = cinema.world.send(get("/film")).await.unwrap();
    let first = next(response.body_mut()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, content(0, LENGTH)[..first.len()]);
    cinema.show(Film::new(1, LENGTH));
    let error = read(response).await.unwrap_err();
    assert_eq!(error.kind(), tower_edge::BodyErrorKind::Changed);
    // The next gets the new object.
    assert_eq!(cinema.world.get("/film").await.body, content(1, LENGTH));
}

#[tokio::test]
async fn an_invalidation_takes_every_slice() {
    let cinema = Cinema::new(Film::new(0, LENGTH).with("cache-tag", "films"));
    let all = [
        tower_edge::Invalidation::all(),
        tower_edge::Invalidation::tags(["films"]).unwrap(),
        tower_edge::Invalidation::url("http://site.example/film").unwrap(),
    ];
    for (generation, what) in all.into_iter().enumerate() {
        cinema.range("bytes=0-8191").await;
        assert!(cinema.range("bytes=0-8191").await.is_hit());
        cinema.show(Film::new(generation + 1, LENGTH).with("cache-tag", "films"));
        let receipt = cinema.world.edge.invalidator().invalidate(what).unwrap();
        let part = cinema.range("bytes=4096-8191").await;
        assert_eq!(part.body, content(generation + 1, LENGTH)[4096..8192]);
        receipt.completed().await;
        assert_eq!(receipt.objects(), 3, "the head and two slices");
    }
}

#[tokio::test]
async fn a_tag_that_a_slice_came_with_takes_it_though_the_object_has_another_by_now() {
    let cinema = Cinema::new(Film::new(0, LENGTH).with("cache-tag", "old"));
    cinema.range("bytes=0-8191").await;
    cinema.world.pass_seconds(61);
    cinema.show(Film::new(0, LENGTH).with("cache-tag", "new"));
    assert!(!cinema.range("bytes=0-0").await.is_hit());
    assert!(cinema.range("bytes=0-8191").await.is_hit());
    let asked = cinema.world.origin.asked();
    cinema.world.edge.invalidator().invalidate(tower_edge::Invalidation::tags(["old"]).unwrap()).unwrap();
    // Before it is swept from memory.
    let reply = cinema.range("bytes=0-8191").await;
    assert_eq!(cinema.asked()[asked..], ["bytes=0-4095", "bytes=4096-8191"]);
    assert_eq!(reply.body, content(0, LENGTH)[..8192]);
}

#[tokio::test]
async fn who_reads_while_the_object_is_invalidated_reads_on_if_it_has_not_changed() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    let mut response = cinema.world.send(get("/film")).await.unwrap();
    next(response.body_mut()).await.unwrap().unwrap().unwrap();
    cinema.world.edge.invalidator().invalidate(tower_edge::Invalidation::all()).unwrap();
    assert_eq!(read(response).await.unwrap().body.len(), LENGTH - SIZE as usize);
    settle().await;
    assert_eq!(cinema.world.edge.stats().objects, 0, "nothing of what nobody finds is kept");
}

#[tokio::test]
async fn a_write_takes_every_slice() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    cinema.show(Film::new(1, LENGTH));
    cinema.world.ask(request("DELETE", "/film", &[])).await;
    assert_eq!(cinema.range("bytes=0-0").await.body, content(1, LENGTH)[..1]);
}

#[tokio::test]
async fn a_stale_object_is_made_fresh_and_keeps_its_slices() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-8191").await;
    cinema.world.pass_seconds(61);
    let part = cinema.range("bytes=4096-4097").await;
    assert_eq!(part.body, content(0, LENGTH)[4096..4098]);
    let seen = cinema.world.origin.seen();
    assert_eq!(
        (&seen[2].headers["if-none-match"], &seen[2].headers["range"]),
        (&"\"0\"".parse().unwrap(), &"bytes=4096-8191".parse().unwrap())
    );
    assert!(cinema.range("bytes=0-8191").await.is_hit());
    assert_eq!(seen.len(), 3);

    cinema.world.pass_seconds(61);
    cinema.show(Film::new(1, LENGTH));
    let part = cinema.range("bytes=4096-4097").await;
    assert_eq!((part.body.as_ref(), part.header("etag")), (&content(1, LENGTH)[4096..4098], Some("\"1\"")));
    assert_eq!(cinema.range("bytes=0-0").await.body, content(1, LENGTH)[..1]);
    assert_eq!(cinema.asked()[3..], ["bytes=4096-8191", "bytes=0-4095"]);
}

#[tokio::test]
async fn a_stale_object_is_refreshed_by_a_slice_while_it_is_served() {
    let control = "max-age=60, stale-while-revalidate=600";
    let cinema = Cinema::new(Film::new(0, LENGTH).with("cache-control", control));
    cinema.range("bytes=4096-4096").await;
    cinema.world.pass_seconds(61);
    cinema.show(Film::new(1, LENGTH).with("cache-control", control));
    let stale = cinema.range("bytes=4096-4096").await;
    assert!(stale.is_hit());
    assert_eq!(stale.header("etag"), Some("\"0\""));
    settle().await;
    assert_eq!(cinema.asked(), ["bytes=4096-8191", "bytes=0-4095"]);
    assert_eq!(cinema.range("bytes=0-0").await.body, content(1, LENGTH)[..1]);
}

#[tokio::test]
async fn an_object_that_is_gone_when_it_is_refreshed_is_served_no_more() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_gone = std::sync::Arc::clone(&gone);
    let film = Film::new(0, LENGTH).with("cache-control", "max-age=60, stale-while-revalidate=600");
    let origin = crate::support::Origin::new(move |seen| {
        let answer = match is_gone.load(std::sync::atomic::Ordering::Relaxed) {
            true => crate::support::response(404, &[], "gone"),
            false => film.answer(&seen),
        };
        async move { Ok(answer) }
    });
    let world = crate::support::World::with_policy(origin, super::policy());
    world.get_with("/film", &[("range", "bytes=0-0")]).await;
    world.pass_seconds(61);
    gone.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(world.get_with("/film", &[("range", "bytes=0-0")]).await.is_hit(), "while it is refreshed");
    settle().await;
    assert_eq!(world.get_with("/film", &[("range", "bytes=0-0")]).await.status, 404);
}

#[tokio::test]
async fn a_slice_that_was_evicted_is_got_again() {
    let policy = super::policy();
    let limits = tower_edge::Limits { object_size: Some(8 * 1024), ..policy.limits };
    let policy = tower_edge::CachePolicy { limits, ..policy };
    let length = 1 << 20;
    let film = std::sync::Arc::new(Film::new(0, length));
    let shown = std::sync::Arc::clone(&film);
    let origin = crate::support::Origin::new(move |seen| {
        let answer = shown.answer(&seen);
        async move { Ok(answer) }
    });
    let world = crate::support::World::with(origin, |edge| edge.capacity(256 * 1024).policy(policy));
    for _ in 0..3 {
        let whole = world.get("/film").await;
        assert_eq!(whole.body, film.content);
    }
    let (objects, bytes) = (world.edge.stats().objects, world.edge.stats().bytes);
    assert!(objects > 10 && bytes <= 256 * 1024, "{objects} {bytes}");
}

#[tokio::test]
async fn a_slice_that_is_not_for_everyone_ends_what_is_stored_of_the_object() {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("cache-control", "private, max-age=60"),
        ("set-cookie", "a=b"),
        ("vary", "*"),
    ] {
        // In the midst of a body.
        let cinema = Cinema::new(Film::new(0, LENGTH));
        cinema.range("bytes=0-0").await;
        cinema.show(Film::new(0, LENGTH).with(name, value));
        let body = cinema.world.send(request("GET", "/film", &[("range", "bytes=0-8191")])).await.unwrap();
        assert!(read(body).await.is_err(), "{name}: {value}");
        assert!(!cinema.range("bytes=0-0").await.is_hit(), "{name}: {value}");

        // Before the head.
        let cinema = Cinema::new(Film::new(0, LENGTH));
        cinema.range("bytes=0-0").await;
        cinema.show(Film::new(0, LENGTH).with(name, value));
        for _ in 0..2 {
            let part = cinema.range("bytes=40000-40009").await;
            assert_eq!((part.status.as_u16(), &part.body[..]), (206, &content(0, LENGTH)[40_000..40_010]));
            assert!(!part.is_hit(), "{name}: {value}");
            assert_eq!(part.header(name), Some(value));
        }
        assert_eq!(cinema.world.edge.stats().objects, 0, "{name}: {value}");
    }
}

#[tokio::test]
async fn an_origin_that_serves_no_ranges_any_more_is_taken_at_its_word() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=0-0").await;
    let film = Film { takes_ranges: false, ..Film::new(0, LENGTH) };
    cinema.show(film.clone());
    let body = cinema.world.send(request("GET", "/film", &[("range", "bytes=0-8191")])).await.unwrap();
    assert!(read(body).await.is_err());
    let part = cinema.range("bytes=40000-40009").await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &film.content[40_000..40_010]));
    // It is too large to be stored whole, so its answer is now handed on as it is.
    let whole = cinema.range("bytes=40000-40009").await;
    assert!(whole.status == 200 && whole.body == film.content, "{}", whole.status);
}

#[tokio::test]
async fn the_answer_to_a_head_freshens_an_object_in_slices_or_ends_it() {
    for (generation, is_same) in [(0, true), (1, false)] {
        let cinema = Cinema::new(Film::new(0, LENGTH));
        cinema.range("bytes=0-8191").await;
        cinema.world.pass_seconds(61);
        cinema.show(Film::new(generation, LENGTH));
        cinema.world.ask(request("HEAD", "/film", &[])).await;
        let part = cinema.range("bytes=0-8191").await;
        assert_eq!((part.is_hit(), &part.body[..]), (is_same, &content(generation, LENGTH)[..8192]));
    }
}
