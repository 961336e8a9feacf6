//! Who waited for an answer that is not for them is let go at once, and nobody queues for the next such answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tower_edge::Detail;

use crate::support::{Origin, World, get, read, response, settle};

type Headers = &'static [(&'static str, &'static str)];

/// An origin that numbers its answers and gives each only when the gate lets it.
fn gated(status: u16, headers: Headers) -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let guard = Arc::clone(&gate);
    let origin = Origin::new(move |seen| {
        let guard = Arc::clone(&guard);
        async move {
            guard.acquire().await.unwrap().forget();
            Ok(response(status, headers, format!("answer {}", seen.number)))
        }
    });
    (origin, gate)
}

#[tokio::test(start_paused = true)]
async fn followers_of_an_uncacheable_answer_go_in_parallel() {
    const VIEWERS: usize = 1_000;
    let world = World::new(Origin::new(|seen| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(response(200, &[("cache-control", "private")], seen.number.to_string()))
    }));
    let began = tokio::time::Instant::now();
    let viewers: Vec<_> = (0..VIEWERS).map(|_| tokio::spawn(world.send(get("/a")))).collect();
    let mut bodies = std::collections::HashSet::<Bytes>::new();
    for viewer in viewers {
        bodies.insert(read(viewer.await.unwrap().unwrap()).await.unwrap().body);
    }
    assert_eq!(bodies.len(), VIEWERS, "nobody got another's answer");
    assert_eq!(world.origin.asked(), VIEWERS);
    // One after the other it would be a quarter of an hour: the first answer, then everyone at once.
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_uncacheable_key_is_remembered_for_a_while() {
    let (origin, gate) = gated(200, &[("cache-control", "private")]);
    let world = World::new(origin);
    gate.add_permits(1);
    world.get("/a").await;
    // Both go at once: neither waits for the other.
    let both = [tokio::spawn(world.send(get("/a"))), tokio::spawn(world.send(get("/a")))];
    settle().await;
    assert_eq!(world.origin.asked(), 3);
    gate.add_permits(2);
    for answer in both {
        let reply = read(answer.await.unwrap().unwrap()).await.unwrap();
        assert_eq!(reply.outcome().detail, Some(Detail::Uncacheable));
    }
    world.pass_seconds(120);
    let both = [tokio::spawn(world.send(get("/a"))), tokio::spawn(world.send(get("/a")))];
    settle().await;
    assert_eq!(world.origin.asked(), 4, "the memo is over: one leads, one waits");
    gate.add_permits(2);
    for answer in both {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cacheable_answer_clears_the_memo() {
    let world = World::new(Origin::new(|seen| async move {
        let control = if seen.number == 0 { "private" } else { "max-age=60" };
        Ok(response(200, &[("cache-control", control)], format!("answer {}", seen.number)))
    }));
    world.get("/a").await;
    world.get("/a").await;
    let led = world.get("/a").await;
    assert!(led.outcome().stored, "{:?}", led.outcome());
    assert!(world.get("/a").await.is_hit());
    assert_eq!(world.origin.asked(), 3);
}
