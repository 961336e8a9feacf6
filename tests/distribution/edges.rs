//! Edges of one distribution: who answers whom, and what is cleared where.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Layer;
use tower_edge::Invalidation;
use tower_edge::distribution::bus::EdgeState;
use tower_edge::distribution::viewer::AddressTable;
use tower_edge::distribution::{
    Coordinates, Distribution, DistributionBuilder, EdgeCondition, Location, Routed,
};

use crate::support::{Answer, Origin, ask, get};

const PARIS: &str = "192.0.2.1";
const BOSTON: &str = "198.51.100.1";
const OSAKA: &str = "203.0.113.1";

fn at(text: &str) -> Coordinates {
    text.parse().unwrap()
}

fn fra() -> Location {
    Location::new("fra-1", at("50.11, 8.68")).region("eu")
}

fn nyc() -> Location {
    Location::new("nyc-1", at("40.71, -74.01")).region("us")
}

fn builder() -> DistributionBuilder {
    let table = format!("{PARIS},48.85,2.35\n{BOSTON},42.36,-71.06\n{OSAKA},34.69,135.50");
    Distribution::builder().locate(table.parse::<AddressTable>().unwrap())
}

async fn from(site: &Routed<Origin>, viewer: &str) -> Answer {
    let mut request = Request::get("http://site.example/x").body(Full::<Bytes>::default()).unwrap();
    request.extensions_mut().insert(viewer.parse::<IpAddr>().unwrap());
    ask(site, request).await
}

#[tokio::test(start_paused = true)]
async fn each_viewer_is_answered_by_the_nearest_edge_out_of_its_own_store() {
    let distribution = builder().edge(nyc()).edge(fra()).build().unwrap();
    distribution.joined().await;
    let site = distribution.layer().layer(Origin::cacheable());
    assert_eq!(from(&site, PARIS).await.status(), "fra-1; fwd=uri-miss; stored");
    assert_eq!(from(&site, BOSTON).await.status(), "nyc-1; fwd=uri-miss; stored");
    for (viewer, status) in [(PARIS, "fra-1; hit; ttl=600"), (BOSTON, "nyc-1; hit; ttl=600")] {
        assert_eq!(from(&site, viewer).await.status(), status);
    }
    // Nobody knows where: the first by name.
    assert_eq!(get(&site, "http://site.example/x").await.status(), "fra-1; hit; ttl=600");
    let stats = distribution.stats();
    let figures: Vec<_> =
        stats.edges.iter().map(|edge| (edge.location.name(), edge.stats.hits, edge.stats.misses)).collect();
    assert_eq!(figures, [("fra-1", 2, 1), ("nyc-1", 1, 1)]);
    assert_eq!((stats.total.hits, stats.total.misses, stats.total.objects), (3, 2, 2));
    assert_eq!(stats.edges[0].location.region_name(), "eu");
}

#[tokio::test(start_paused = true)]
async fn edges_that_drain_or_are_unwell_are_passed_over() {
    let distribution = builder().edge(fra()).edge(nyc()).home(at("0,0")).build().unwrap();
    distribution.joined().await;
    let site = distribution.layer().layer(Origin::cacheable());
    let answered_by = async || from(&site, PARIS).await.status()[..5].to_owned();
    assert!(distribution.drain("fra-1", true) && !distribution.drain("ams-1", true));
    assert_eq!(answered_by().await, "nyc-1");
    assert_eq!(distribution.stats().edges[0].condition, EdgeCondition::Draining);
    assert_eq!(distribution.nearest_to(PARIS.parse().unwrap()).unwrap().name(), "nyc-1");
    distribution.drain("fra-1", false);
    assert_eq!(answered_by().await, "fra-1");
    distribution.set_healthy("fra-1", false);
    assert_eq!(answered_by().await, "nyc-1");
    assert_eq!(distribution.stats().edges[0].condition, EdgeCondition::Unhealthy);
    // All of them: then it is better to ask one that is said to be unwell than none.
    distribution.set_healthy("nyc-1", false);
    assert_eq!(answered_by().await, "fra-1");
    for name in ["fra-1", "nyc-1"] {
        distribution.drain(name, true);
    }
    assert_eq!(from(&site, PARIS).await.status(), "", "the origin itself");
}

#[tokio::test(start_paused = true)]
async fn one_invalidation_clears_every_edge_and_its_receipt_names_them() {
    let distribution = builder().edge(fra()).edge(nyc()).build().unwrap();
    distribution.joined().await;
    let origin = Origin::cacheable();
    let site = distribution.layer().layer(origin.clone());
    for viewer in [PARIS, BOSTON] {
        from(&site, viewer).await;
    }
    origin.change();
    let receipt = distribution.invalidator().invalidate(Invalidation::paths(["/x"]).unwrap()).await.unwrap();
    let edges = receipt.completed().await.unwrap();
    let names: Vec<_> = edges.iter().map(|edge| (edge.name.as_str(), edge.state)).collect();
    assert_eq!(names, [("fra-1", EdgeState::Swept), ("nyc-1", EdgeState::Swept)]);
    assert_eq!(distribution.stats().total.objects, 0);
    for viewer in [PARIS, BOSTON] {
        assert_eq!(from(&site, viewer).await.body, "content 2");
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_may_come_and_go_while_requests_do() {
    let distribution = builder().edge(fra()).edge(nyc()).build().unwrap();
    distribution.joined().await;
    let origin = Origin::cacheable();
    let site = distribution.layer().layer(origin.clone());
    from(&site, OSAKA).await;
    let all = || Invalidation::all();
    distribution.invalidator().invalidate(all()).await.unwrap().completed().await.unwrap();
    distribution.add(Location::new("kix-1", at("34.43, 135.24"))).unwrap();
    // Until it has reached the log it is not asked.
    assert_eq!(distribution.stats().edges[1].condition, EdgeCondition::Joining);
    assert!(from(&site, OSAKA).await.status().starts_with("fra-1; "));
    tokio::time::timeout(Duration::from_secs(1), distribution.joined()).await.unwrap();
    assert_eq!(from(&site, OSAKA).await.status(), "kix-1; fwd=uri-miss; stored");
    let stats = distribution.stats();
    assert_eq!(stats.edges[1].applied, stats.edges[0].applied, "it begins at the head");
    assert_eq!(
        distribution.invalidator().invalidate(all()).await.unwrap().completed().await.unwrap().len(),
        3
    );
    assert!(distribution.remove("kix-1").await.unwrap() && !distribution.remove("kix-1").await.unwrap());
    assert!(from(&site, OSAKA).await.status().starts_with("fra-1; "));
    assert_eq!(
        distribution.invalidator().invalidate(all()).await.unwrap().completed().await.unwrap().len(),
        2
    );
    assert!(distribution.edge("kix-1").is_none());
}

#[tokio::test(start_paused = true)]
async fn edges_ask_the_parent_that_all_choose_and_the_next_where_it_takes_nothing() {
    let shields = ["shield-1", "shield-2"];
    let mut builder = builder();
    for name in shields {
        builder = builder.edge(Location::new(name, at("48.85, 2.35")).for_edges_only());
    }
    let distribution = builder.edge(fra().parents(shields)).edge(nyc().parents(shields)).build().unwrap();
    distribution.joined().await;
    let origin = Origin::cacheable();
    let site = distribution.layer().layer(origin.clone());
    let first = from(&site, PARIS).await.status();
    let chosen = first.split(';').next().unwrap().to_owned();
    assert_eq!(first, format!("{chosen}; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored"));
    assert_eq!(
        from(&site, BOSTON).await.status(),
        format!("{chosen}; hit; ttl=600, nyc-1; fwd=uri-miss; stored")
    );
    assert_eq!(origin.asked(), 1);
    let clear = async || {
        let receipt = distribution.invalidator().invalidate(Invalidation::all()).await.unwrap();
        receipt.completed().await.unwrap();
    };
    let other = shields.into_iter().find(|name| *name != chosen).unwrap();
    clear().await;
    distribution.set_healthy(&chosen, false);
    assert!(from(&site, PARIS).await.status().starts_with(&format!("{other}; fwd=uri-miss; stored, fra-1")));
    clear().await;
    distribution.remove(other).await.unwrap();
    assert_eq!(from(&site, PARIS).await.status(), "fra-1; fwd=uri-miss; stored", "none is left");
    let loops = distribution.add(Location::new("ams-1", at("52,5")).parents(["ams-1"])).unwrap_err();
    assert_eq!(loops.setting(), "edge \"ams-1\"");
    assert_eq!(distribution.add(fra()).unwrap_err().to_string(), "edge \"fra-1\": is there twice");
}

#[tokio::test(start_paused = true)]
async fn a_body_reaches_the_origin_through_all_tiers() {
    let distribution = builder()
        .edge(Location::new("shield", at("48.85, 2.35")).for_edges_only())
        .edge(fra().parents(["shield"]))
        .build()
        .unwrap();
    distribution.joined().await;
    let echo = tower::service_fn(async |request: Request<_>| {
        let body = http_body_util::BodyExt::collect(request.into_body()).await?.to_bytes();
        Ok::<_, tower::BoxError>(http::Response::new(Full::new(body)))
    });
    let site = distribution.layer().layer(echo);
    let request = Request::post("http://site.example/x").body(Full::from("posted")).unwrap();
    let answer = ask(&site, request).await;
    assert_eq!(answer.body, "posted");
    assert_eq!(answer.status(), "shield; fwd=method, fra-1; fwd=method");
}
