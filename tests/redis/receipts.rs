//! What a receipt says of every edge.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tower_edge::Invalidation;
use tower_edge::distribution::bus::{
    BusInvalidateError, BusInvalidator, EdgeProgress, EdgeState, Redis, WithoutContact,
};

use crate::server::{Keeps, Server};
use crate::site::{AFTER, Got, SILENCE, Site, eventually, settings, soon};

fn states(edges: &[EdgeProgress]) -> Vec<(&str, EdgeState)> {
    let mut states: Vec<_> = edges.iter().map(|edge| (edge.name.as_str(), edge.state)).collect();
    states.sort_unstable();
    states
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_completed_receipt_means_that_nobody_serves_what_was_before() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 3, WithoutContact::Serve).await;
    for _ in 0..20 {
        site.warm().await;
        let version = site.change().await;
        for member in &site.members {
            assert_eq!(member.get("/").await, Got { version, hit: false });
        }
    }
    let receipt = site.invalidator.invalidate(Invalidation::tags(["t"]).unwrap()).await.unwrap();
    let edges = soon("completed", receipt.completed()).await.unwrap();
    let swept = ["edge-1", "edge-2", "edge-3"].map(|name| (name, EdgeState::Swept));
    assert_eq!(states(&edges), swept);
    assert!(site.members.iter().all(|member| member.follower.applied() == receipt.position()));
    assert!(site.members.iter().all(|member| member.resets() == 1), "the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn an_edge_that_does_not_answer_is_waited_for_and_then_named() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Revalidate { after: AFTER }).await;
    site.change().await;
    site.warm().await;
    site.members[1].proxy.cut();
    let receipt = site.invalidator.invalidate(Invalidation::all()).await.unwrap();
    eventually("applied by the other", || site.members[0].follower.applied() == receipt.position()).await;
    assert_eq!(states(&receipt.edges().await.unwrap())[1], ("edge-2", EdgeState::Pending));
    let edges = soon("completed", receipt.completed()).await.unwrap();
    assert_eq!(states(&edges), [("edge-1", EdgeState::Swept), ("edge-2", EdgeState::Silent)]);
    assert!(!site.members[1].follower.is_trusted(), "it serves nothing that it has not asked about");
    site.members[1].proxy.mend();
    soon("reached", site.members[1].follower.reached(receipt.position().unwrap())).await;
    assert_eq!(site.members[1].resets(), 1, "it replayed what it had missed");
    let edges = soon("completed", receipt.completed()).await.unwrap();
    eventually("heard of again", || edges.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn an_edge_that_left_is_not_waited_for() {
    let server = Server::start(Keeps::Nothing);
    let mut site = Site::new(&server, 2, WithoutContact::Serve).await;
    site.change().await;
    site.members.pop().unwrap().follower.leave().await.unwrap();
    let receipt = site.invalidator.invalidate(Invalidation::all()).await.unwrap();
    let edges = timeout(SILENCE, receipt.completed()).await.expect("at once").unwrap();
    assert_eq!(states(&edges), [("edge-1", EdgeState::Swept)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_reference_is_one_invalidation_whoever_makes_it() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 1, WithoutContact::Serve).await;
    let another =
        BusInvalidator::new(Arc::new(Redis::new(&server.url(), settings(false)).unwrap()), "another");
    let make = || Invalidation::all().reference("release-7");
    let first = site.invalidator.invalidate(make()).await.unwrap();
    let again = another.invalidate(make()).await.unwrap();
    let other = another.invalidate(Invalidation::all().reference("release-8")).await.unwrap();
    assert_eq!(first.position(), again.position());
    assert_ne!(first.position(), other.position());
    soon("completed", other.completed()).await.unwrap();
    assert_eq!(site.members[0].edge.invalidator().history().len(), 3, "the reset, and two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn distributions_share_a_server_and_nothing_else() {
    let server = Server::start(Keeps::Nothing);
    let mut other = settings(false);
    other.namespace = "other".into();
    let (site, other) = (
        Site::new(&server, 1, WithoutContact::Serve).await,
        Site::with(&server, 1, WithoutContact::Serve, other).await,
    );
    other.warm().await;
    site.change().await;
    assert_eq!(other.members[0].get("/").await, Got { version: 0, hit: true });
    assert_eq!(
        states(&site.invalidator.invalidate(Invalidation::all()).await.unwrap().edges().await.unwrap()).len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn without_the_log_an_invalidation_fails_or_waits_in_order_as_it_was_told() {
    let mut server = Server::start(Keeps::All);
    let site = Site::with(&server, 2, WithoutContact::Serve, settings(true)).await;
    let own = site.members[0].edge.clone();
    let bus = Arc::new(Redis::new(&server.url(), settings(true)).unwrap());
    let queueing = BusInvalidator::new(bus, "queue").silence(SILENCE).queueing(2, [own]);
    site.change().await;
    site.warm().await;
    server.kill();
    let refused = timeout(Duration::from_secs(5), site.invalidator.invalidate(Invalidation::all())).await;
    assert!(matches!(refused, Ok(Err(BusInvalidateError::Bus(_)))), "{refused:?}");
    let waiting = queueing.invalidate(Invalidation::paths(["/"]).unwrap()).await.unwrap();
    assert_eq!((waiting.position(), queueing.queued()), (None, 1));
    assert!(!site.members[0].get("/").await.hit, "in force here");
    assert!(site.members[1].get("/").await.hit, "and nowhere else");
    let second = queueing.invalidate(Invalidation::paths(["/b"]).unwrap()).await.unwrap();
    let third = queueing.invalidate(Invalidation::paths(["/c"]).unwrap()).await;
    assert!(matches!(third, Err(BusInvalidateError::QueueFull { limit: 2 })), "{third:?}");
    server.restart();
    soon("completed", waiting.completed()).await.unwrap();
    soon("completed", second.completed()).await.unwrap();
    assert!(waiting.position() < second.position());
    assert_eq!(queueing.queued(), 0);
    assert!(!site.members[1].get("/").await.hit);
}
