//! What a write past the parent invalidates does not come back from the parent.
//!
//! Between the write and its record the child has no place in the log by which it could say how new it wants what it asks for.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_edge::EdgeBuilder;
use tower_edge::distribution::Announce;

use crate::held::{Appends, Held};
use crate::resurrection::{Tiers, tiers};
use crate::support::{Origin, edge, follow, get, token};
use crate::writes::{put, written};

const URI: &str = "http://site.example/x";
const OTHER: &str = "http://site.example/other";
const SECOND: Duration = Duration::from_secs(1);
const BEHIND: &str = "shield; fwd=bypass; detail=behind, fra-1; fwd=uri-miss; stored";

/// By the child, straight to the origin, as when its parent fails at that moment.
async fn put_past_the_parent(tiers: &Tiers) {
    let past = tiers.child.edge().layer().layer(tiers.origin.clone());
    put(&tiers.origin, &past, URI).await;
}

async fn warm(shield: EdgeBuilder) -> Tiers {
    let tiers = tiers(Origin::cacheable(), shield, Duration::from_millis(100)).await;
    get(&tiers.site, URI).await;
    get(&tiers.parent, OTHER).await;
    tiers.way.hold(true);
    tiers
}

/// What the child has at once, and what it has for good.
async fn read_after_a_write_past(shield: EdgeBuilder) -> [String; 2] {
    let tiers = warm(shield).await;
    put_past_the_parent(&tiers).await;
    let at_once = get(&tiers.site, URI).await.body;
    tiers.way.hold(false);
    sleep(SECOND).await;
    assert_eq!(tiers.shield.applied(), tiers.child.applied());
    let answer = get(&tiers.site, URI).await;
    assert!(answer.status().contains("fra-1; hit"), "{answer:?}");
    [at_once, answer.body]
}

#[tokio::test(start_paused = true)]
async fn a_child_reads_its_own_write_though_its_parent_does_not_know_of_it() {
    assert_eq!(read_after_a_write_past(edge("shield")).await, ["content 2", "content 2"]);
}

/// The same without the check: so the test above can fail.
#[cfg(feature = "faults")]
#[tokio::test(start_paused = true)]
async fn without_the_check_of_positions_what_was_written_over_comes_back_for_good() {
    let shield = edge("shield").leave_out(tower_edge::Check::Position);
    assert_eq!(read_after_a_write_past(shield).await, ["content 1", "content 1"]);
}

#[tokio::test(start_paused = true)]
async fn from_the_record_on_the_child_says_its_place() {
    let tiers = warm(edge("shield")).await;
    put_past_the_parent(&tiers).await;
    sleep(SECOND).await;
    assert!(tiers.child.applied() > tiers.shield.applied());
    // By now of anything, since the parent has not come so far.
    for uri in [URI, OTHER] {
        assert_eq!(get(&tiers.site, uri).await.status(), BEHIND, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_through_the_parent_is_told_once() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), Duration::from_millis(100)).await;
    for _ in 0..2 {
        put(&tiers.origin, &tiers.site, URI).await;
        sleep(SECOND).await;
    }
    put(&tiers.origin, &tiers.parent, URI).await;
    sleep(SECOND).await;
    let by: Vec<_> = written(&tiers.bus).await.iter().map(|record| record.author().to_owned()).collect();
    let [child, shield] = [&tiers.child, &tiers.shield].map(|follower| follower.id());
    assert_eq!(by, [child, child, shield]);
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_away_only_what_was_written_is_asked_for_past_the_parent() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), Duration::from_millis(100)).await;
    let way = Held::on(&tiers.bus);
    let nyc = edge("nyc-1").build().unwrap();
    let up = Announce::new(tiers.parent.clone(), follow(&nyc, way.clone()).await, token());
    let (site, past) = (nyc.layer().layer(up), nyc.layer().layer(tiers.origin.clone()));
    for uri in [URI, OTHER] {
        get(&tiers.parent, uri).await;
    }
    way.append_as(Appends::Fail);
    put(&tiers.origin, &past, URI).await;
    sleep(SECOND * 10).await;
    let began = Instant::now();
    let answer = get(&site, URI).await;
    assert_eq!(answer.status(), "shield; fwd=bypass; detail=behind, nyc-1; fwd=uri-miss; stored");
    assert_eq!((answer.body.as_str(), began.elapsed()), ("content 2", Duration::ZERO));
    assert!(get(&site, OTHER).await.status().starts_with("shield; hit"), "what has nothing to do with it");
    assert_eq!(get(&tiers.parent, URI).await.body, "content 1", "as its own viewers may have it");
    way.append_as(Appends::Work);
    sleep(SECOND * 10).await;
    for site in [get(&tiers.parent, URI).await, get(&site, URI).await] {
        assert_eq!(site.body, "content 2");
    }
}
