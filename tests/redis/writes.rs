//! What a write through one edge clears on the others.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tower::ServiceExt;
use tower_edge::Outcome;
use tower_edge::distribution::bus::WithoutContact;

use crate::server::{Keeps, Server};
use crate::site::{Got, Site, settings, soon};

/// The content changes, by a write through the first edge.
async fn put(site: &Site) -> u64 {
    let version = site.origin.version.fetch_add(1, Ordering::SeqCst) + 1;
    let request = Request::put("http://site.example/").body(Empty::<Bytes>::new()).unwrap();
    let response = site.members[0].cache().oneshot(request).await.unwrap();
    assert!(response.extensions().get::<Outcome>().is_some_and(|outcome| !outcome.is_hit()));
    version
}

/// Every edge reads it in the end, the first at once.
async fn everywhere(site: &Site, version: u64) {
    assert_eq!(site.members[0].get("/").await.version, version, "by the edge it was written through");
    for member in &site.members {
        let reads = async { while member.get("/").await.version != version {} };
        soon("read everywhere", reads).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn what_is_written_through_one_edge_is_read_through_all() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 3, WithoutContact::Serve).await;
    for _ in 0..20 {
        site.warm().await;
        let version = put(&site).await;
        everywhere(&site, version).await;
    }
    assert!(site.members.iter().all(|member| member.resets() == 1), "the first");
    let applied = site.members[0].follower.applied().unwrap();
    soon("applied", site.members[1].follower.reached(applied)).await;
    assert_eq!(applied.number, 20, "each was told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn what_is_written_while_redis_is_away_is_told_when_it_is_back() {
    let mut server = Server::start(Keeps::All);
    let site = Site::with(&server, 2, WithoutContact::Serve, settings(true)).await;
    site.change().await;
    site.warm().await;
    server.kill();
    let version = put(&site).await;
    assert_eq!(site.members[0].get("/").await, Got { version, hit: false });
    assert_eq!(site.members[1].get("/").await, Got { version: version - 1, hit: true });
    server.restart();
    everywhere(&site, version).await;
    assert!(site.members.iter().all(|member| member.resets() == 1), "the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn what_is_written_before_redis_is_lost_is_cleared_all_the_same() {
    let mut server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Serve).await;
    for _ in 0..3 {
        site.warm().await;
        let version = put(&site).await;
        server.replace();
        everywhere(&site, version).await;
        site.in_contact().await;
    }
}
