//! Rules with slices beside rules without them, over one store.

use std::sync::Arc;

use tokio::sync::Notify;
use tower::{Layer, ServiceExt};
use tower_edge::{Cache, CachePolicy, Edge, ForwardReason};

use super::{Cinema, Film, content, policy};
use crate::support::{Origin, OriginDown, Reply, read, request, settle};

const LENGTH: usize = 100_000;

/// The same origin behind rules with slices and behind rules without.
fn both(origin: &Origin) -> (Cache<Origin>, Cache<Origin>) {
    let sliced = Edge::builder().outcomes(true).policy(policy()).build().unwrap();
    let whole = sliced.reconfigured(CachePolicy { slices: None, ..policy() }, []).unwrap();
    (sliced.layer().layer(origin.clone()), whole.layer().layer(origin.clone()))
}

async fn film(cache: &Cache<Origin>, fields: &[(&str, &str)]) -> Reply {
    read(cache.clone().oneshot(request("GET", "/film", fields)).await.unwrap()).await.unwrap()
}

fn shown(film: Film) -> Origin {
    Origin::new(move |seen| {
        let answer = film.answer(&seen);
        async move { Ok(answer) }
    })
}

#[tokio::test]
async fn an_object_in_slices_that_was_stored_for_another_request_answers_with_all_of_its_bytes() {
    let (sliced, whole) = both(&shown(Film::new(0, LENGTH).with("vary", "x-kind")));
    film(&sliced, &[("x-kind", "a"), ("range", "bytes=0-0")]).await;
    let reply = film(&whole, &[("x-kind", "b")]).await;
    assert_eq!(reply.outcome().forward_reason(), Some(ForwardReason::VaryMiss));
    assert_eq!(reply.outcome().fwd_status, Some(http::StatusCode::NOT_MODIFIED));
    assert_eq!(reply.body, content(0, LENGTH));
}

#[tokio::test]
async fn such_an_object_answers_for_a_range_of_what_was_too_large_to_be_stored() {
    let cinema = Cinema::new(Film::new(0, LENGTH).with("vary", "x-kind"));
    let (sliced, whole) = both(&cinema.world.origin);
    film(&sliced, &[("x-kind", "a"), ("range", "bytes=0-0")]).await;
    cinema.show(Film::new(1, LENGTH).with("vary", "x-kind"));
    assert_eq!(film(&whole, &[("x-kind", "b")]).await.body, content(1, LENGTH));
    cinema.show(Film::new(0, LENGTH).with("vary", "x-kind"));
    let reply = film(&whole, &[("x-kind", "b"), ("range", "bytes=50000-50009")]).await;
    let seen = cinema.world.origin.seen();
    assert_eq!(seen[2].headers["if-none-match"], "\"0\"");
    assert_eq!(reply.outcome().fwd_status, Some(http::StatusCode::NOT_MODIFIED));
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (206, &content(0, LENGTH)[50_000..50_010]));
}

/// A request under rules without slices waits for a fill that fails, and asks in its turn. Meanwhile the object was stored
/// in slices: with so many seconds to live.
async fn stored_meanwhile(max_age: u64) -> (Reply, Origin) {
    let (fails, shown) = (Arc::new(Notify::new()), Film::new(0, LENGTH));
    let shown = shown.with("cache-control", &format!("public, max-age={max_age}"));
    let failing = Arc::clone(&fails);
    let origin = Origin::new(move |seen| {
        let (answer, fails) = (shown.answer(&seen), Arc::clone(&failing));
        async move {
            if seen.number == 0 {
                fails.notified().await;
                return Err(OriginDown);
            }
            Ok(answer)
        }
    });
    let (sliced, whole) = both(&origin);
    let first = tokio::spawn(whole.clone().oneshot(request("GET", "/film", &[])));
    settle().await;
    let second = tokio::spawn(whole.oneshot(request("GET", "/film", &[])));
    settle().await;
    // It waits for nobody's fill.
    film(&sliced, &[("authorization", "me"), ("range", "bytes=0-0")]).await;
    fails.notify_one();
    assert_eq!(first.await.unwrap().unwrap_err(), OriginDown);
    (read(second.await.unwrap().unwrap()).await.unwrap(), origin)
}

#[tokio::test]
async fn an_object_that_was_stored_in_slices_meanwhile_answers_with_all_of_its_bytes() {
    let (reply, _) = stored_meanwhile(60).await;
    assert!(reply.is_hit());
    assert_eq!(reply.body, content(0, LENGTH));

    let (reply, origin) = stored_meanwhile(0).await;
    assert_eq!(origin.seen()[2].headers["if-none-match"], "\"0\"");
    assert_eq!(reply.outcome().fwd_status, Some(http::StatusCode::NOT_MODIFIED));
    assert_eq!(reply.body, content(0, LENGTH));
}
