//! A log that was restarted, emptied, trimmed: what is lost there is served nowhere.

use tower_edge::Invalidation;
use tower_edge::distribution::bus::{Reset, WithoutContact};

use crate::server::{Keeps, Server};
use crate::site::{Got, SILENCE, Site, eventually, settings, soon};

/// The key of the log of the namespace `default`.
const LOG: &str = "tower-edge:{default}:log";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_killed_server_that_kept_everything_is_followed_on() {
    let mut server = Server::start(Keeps::All);
    let site = Site::with(&server, 2, WithoutContact::Serve, settings(true)).await;
    let version = site.change().await;
    site.warm().await;
    site.members[1].proxy.cut();
    // Acknowledged, and not yet on that edge.
    site.origin.version.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let receipt = site.invalidator.invalidate(Invalidation::all()).await.unwrap();
    server.kill();
    assert_eq!(site.members[1].get("/").await, Got { version, hit: true }, "it goes on serving");
    server.restart();
    site.members[1].proxy.mend();
    soon("completed", receipt.completed()).await.unwrap();
    for member in &site.members {
        assert_eq!(member.get("/").await, Got { version: version + 1, hit: false });
        assert_eq!(member.resets(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_restarted_server_that_is_not_trusted_clears_everything() {
    let mut server = Server::start(Keeps::All);
    let site = Site::new(&server, 2, WithoutContact::Serve).await;
    site.change().await;
    site.warm().await;
    server.kill();
    server.restart();
    for member in &site.members {
        eventually("started over", || member.resets() == 2).await;
        assert_eq!(member.follower.progress().last_reset, Some(Reset::OtherLog));
        assert!(!member.get("/").await.hit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn what_an_empty_server_does_not_know_is_cleared() {
    let mut server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 3, WithoutContact::Serve).await;
    site.change().await;
    site.warm().await;
    site.members[2].proxy.cut();
    site.origin.version.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let lost = site.invalidator.invalidate(Invalidation::all()).await.unwrap();
    server.replace();
    site.members[2].proxy.mend();
    // Nobody will ever read it; by its receipt it is in force all the same.
    soon("completed", lost.completed()).await.unwrap();
    for member in &site.members {
        assert_eq!(member.get("/").await, Got { version: 2, hit: false });
    }
    site.in_contact().await;
    site.warm().await;
    let version = site.change().await;
    for member in &site.members {
        assert_eq!(member.get("/").await, Got { version, hit: false });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn records_trimmed_before_an_edge_saw_them_clear_it() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Serve).await;
    site.change().await;
    site.warm().await;
    for left in ["0", "1"] {
        let resets = site.members[1].resets();
        site.members[1].proxy.cut();
        site.origin.version.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        for _ in 0..3 {
            site.invalidator.invalidate(Invalidation::paths(["/"]).unwrap()).await.unwrap();
        }
        server.ask(&["XTRIM", LOG, "MAXLEN", left]);
        site.members[1].proxy.mend();
        eventually("started over", || site.members[1].resets() == resets + 1).await;
        assert_eq!(site.members[1].follower.progress().last_reset, Some(Reset::Gap));
        assert!(!site.members[1].get("/").await.hit);
        assert_eq!(site.members[0].resets(), 1, "it had seen them");
        site.warm().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_log_that_went_back_clears_everything_everywhere() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Serve).await;
    site.change().await;
    site.warm().await;
    site.members[1].proxy.cut();
    for _ in 0..2 {
        let receipt = site.invalidator.invalidate(Invalidation::all()).await.unwrap();
        soon("reached", site.members[0].follower.reached(receipt.position().unwrap())).await;
    }
    // As after a failover to a copy that is behind, under a server that does not tell.
    server.ask(&[
        "EVAL",
        "redis.call('XTRIM', KEYS[1], 'MAXLEN', '0'); return redis.call('HSET', KEYS[2], 'head', '1')",
        "2",
        LOG,
        "tower-edge:{default}:meta",
    ]);
    eventually("started over", || site.members[0].resets() >= 2).await;
    site.members[1].proxy.mend();
    // It cannot tell by its own position that it has missed anything.
    eventually("started over", || site.members[1].resets() >= 2).await;
    for member in &site.members {
        assert!(!member.get("/").await.hit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_log_that_everybody_has_applied_is_trimmed_and_one_that_somebody_lacks_is_not() {
    let server = Server::start(Keeps::Nothing);
    let mut small = settings(false);
    small.keep = 10;
    small.limit = 2_000;
    let site = Site::with(&server, 2, WithoutContact::Serve, small).await;
    let length = || server.ask(&["XLEN", LOG]).parse::<u64>().unwrap();
    let append = async |count| {
        for _ in 0..count {
            site.invalidator.invalidate(Invalidation::paths(["/elsewhere"]).unwrap()).await.unwrap();
        }
    };
    site.members[1].proxy.cut();
    append(1_000).await;
    // Whoever reports next tidies up.
    let tidied = async || {
        server.ask(&["DEL", "tower-edge:{default}:turn"]);
        eventually("tidied up", || server.ask(&["EXISTS", "tower-edge:{default}:turn"]) == "1").await;
    };
    tidied().await;
    assert_eq!(length(), 1_000);
    append(4_000).await;
    assert!(length() < 3_000, "{} records are kept, and the limit is 2,000", length());
    site.members[1].proxy.mend();
    eventually("started over", || site.members[1].resets() == 2).await;
    eventually("up to date", || site.members[0].follower.applied() == site.members[1].follower.applied())
        .await;
    tidied().await;
    tidied().await;
    assert!(length() < 500, "{} records are kept, and nobody needs more than 10", length());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn an_empty_server_knows_nothing_of_an_edge_that_trusts_itself_for_a_while() {
    let server = Server::start(Keeps::Nothing);
    let policy = WithoutContact::Revalidate { after: SILENCE * 5 };
    let site = Site::new(&server, 2, policy).await;
    site.warm().await;
    site.members[1].proxy.cut();
    server.ask(&["FLUSHALL"]);
    let receipt = site.invalidator.invalidate(Invalidation::all()).await.unwrap();
    soon("completed", receipt.completed()).await.unwrap();
    assert!(!site.members[1].follower.is_trusted(), "it may serve what was cleared");
}
