//! What edges tell each other, and what nobody else can tell them.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower_edge::Invalidation;
use tower_edge::distribution::bus::Position;

use crate::resurrection::tiers;
use crate::support::{Origin, ask, edge, get, invalidate};

const URI: &str = "http://site.example/x";
const PATIENCE: Duration = Duration::from_secs(100);

fn saying(fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(URI);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_viewer_cannot_have_a_parent_ask_the_origin() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), PATIENCE).await;
    get(&tiers.parent, URI).await;
    let Position { incarnation, number } = tiers.child.applied().unwrap();
    let ahead = Position { incarnation, number: number + 1 }.to_string();
    for fields in [
        &[("tower-edge-position", ahead.as_str())][..],
        &[("tower-edge-position", &ahead), ("tower-edge-token", "a-secret-of-the-others")],
        &[("tower-edge-position", &ahead), ("tower-edge-token", "")],
        // With the secret, but nothing that makes sense.
        &[("tower-edge-position", "0000000000000001"), ("tower-edge-token", "a-secret-of-the-edges")],
        &[
            ("tower-edge-position", &ahead),
            ("tower-edge-position", &ahead),
            ("tower-edge-token", "a-secret-of-the-edges"),
        ],
    ] {
        let answer = ask(&tiers.parent, saying(fields)).await;
        assert_eq!(answer.status(), "shield; hit; ttl=600", "{fields:?}");
        // Nor through a child, which says what it knows itself.
        let answer = ask(&tiers.site, saying(fields)).await;
        assert!(!answer.status().contains("behind"), "{fields:?} {answer:?}");
    }
    assert_eq!(tiers.origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_only_the_origin_needs_is_asked_for_when_the_origin_is() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), Duration::ZERO).await;
    let Position { incarnation, number } = tiers.child.applied().unwrap();
    let reached = Position { incarnation, number }.to_string();
    let ahead = Position { incarnation, number: number + 1 }.to_string();
    let token = ("tower-edge-token", "a-secret-of-the-edges");
    for (fields, goes) in [
        (&[][..], true),
        (&[], false),
        (&[token], false),
        (&[token, ("tower-edge-position", &reached)], false),
        (&[token, ("tower-edge-position", &ahead)], true),
    ] {
        let (mut extended, before) = (0, tiers.origin.asked());
        let response = tiers.parent.call_with(saying(fields), |_| extended += 1).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_eq!(
            (extended, tiers.origin.asked() - before),
            (usize::from(goes), usize::from(goes)),
            "{fields:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_edges_say_to_each_other_goes_no_further() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), PATIENCE).await;
    let fields = [("tower-edge-position", "x"), ("tower-edge-token", "a-secret-of-the-edges")];
    let answer = ask(&tiers.site, saying(&fields)).await;
    assert_eq!(answer.status(), "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored");
    let (_, seen) = tiers.origin.last();
    assert!(fields.iter().all(|(name, _)| !seen.contains_key(*name)), "{seen:?}");
    assert!(fields.iter().all(|(name, _)| !answer.headers.contains_key(*name)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_child_knows_the_tags_of_what_it_has_from_its_parent() {
    let fields =
        &[("cache-control", "max-age=600"), ("cache-tag", "news, front-page"), ("surrogate-key", "n")];
    for tag in ["news", "front-page", "n"] {
        let tiers = tiers(Origin::new(fields), edge("shield"), PATIENCE).await;
        // From the parent's store, too.
        get(&tiers.parent, URI).await;
        let answer = get(&tiers.site, URI).await;
        assert_eq!(answer.status(), "shield; hit; ttl=600, fra-1; fwd=uri-miss; stored");
        for name in ["cache-tag", "surrogate-key"] {
            assert!(!answer.headers.contains_key(name), "a viewer has no use for it");
            assert!(!get(&tiers.parent, URI).await.headers.contains_key(name));
        }
        tiers.origin.change();
        let receipt = invalidate(tiers.bus.clone(), Invalidation::tags([tag]).unwrap()).await;
        receipt.completed().await.unwrap();
        assert_eq!(get(&tiers.site, URI).await.body, "content 2", "{tag}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_keeps_what_its_parent_keeps_by_fields_for_caches_alone() {
    let fields = &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=300")];
    let tiers = tiers(Origin::new(fields), edge("shield"), PATIENCE).await;
    get(&tiers.site, URI).await;
    let answer = get(&tiers.site, URI).await;
    assert!(answer.status().ends_with("fra-1; hit; ttl=300"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_of_its_answer_counts_for_every_edge_in_its_process() {
    let fields = &[("cache-control", "max-age=600")];
    let tiers = tiers(Origin::new(fields).hinting(), edge("shield"), Duration::ZERO).await;
    for status in [
        "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored",
        "shield; fwd=uri-miss; stored, fra-1; hit; ttl=7",
    ] {
        assert_eq!(get(&tiers.site, URI).await.status(), status);
    }
    // Where nothing is stored here, too.
    let receipt = tiers.change_behind_the_parents_back(Invalidation::tags(["hinted"]).unwrap()).await;
    let answer = get(&tiers.site, URI).await;
    assert!(answer.status().starts_with("shield; fwd=bypass; detail=behind, "), "{answer:?}");
    tiers.way.hold(false);
    receipt.completed().await.unwrap();
    let answer = get(&tiers.site, URI).await;
    assert!(answer.status().contains("fra-1; hit; ttl="), "{answer:?}");
    let receipt = invalidate(tiers.bus.clone(), Invalidation::tags(["hinted"]).unwrap()).await;
    receipt.completed().await.unwrap();
    assert_eq!(
        get(&tiers.site, URI).await.status(),
        "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_through_a_child_clears_the_way_to_the_origin() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), PATIENCE).await;
    get(&tiers.site, URI).await;
    tiers.origin.change();
    ask(&tiers.site, Request::post(URI).body(Full::from("x")).unwrap()).await;
    let answer = get(&tiers.site, URI).await;
    assert_eq!(answer.status(), "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored");
    assert_eq!(answer.body, "content 2");
}
