//! Records that nobody can read, and a log that somebody else has written into.

use std::sync::atomic::Ordering;

use tower_edge::Invalidation;
use tower_edge::distribution::bus::WithoutContact;

use crate::server::{Keeps, Server};
use crate::site::{Site, eventually, soon};

const LOG: &str = "tower-edge:{default}:log";
const META: &str = "tower-edge:{default}:meta";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_record_that_cannot_be_read_clears_everything() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Serve).await;
    site.change().await;
    let next = "local n = redis.call('HINCRBY', KEYS[1], 'head', 1); \
                return redis.call('XADD', KEYS[2], n .. '-0', ARGV[1], ARGV[2])";
    for (unreadable, (field, value)) in
        [("r", "garbage"), ("r", ""), ("r", "\u{2}of a version to come"), ("other", "field")]
            .iter()
            .enumerate()
    {
        site.warm().await;
        server.ask(&["EVAL", next, "2", META, LOG, field, value]);
        for member in &site.members {
            let count = || member.follower.progress().unreadable == unreadable as u64 + 1;
            eventually("cleared", count).await;
            assert!(!member.get("/").await.hit, "{field} {value:?}");
            assert_eq!(member.resets(), 1);
        }
    }
    site.warm().await;
    site.change().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn what_somebody_else_does_to_the_log_clears_everything_and_then_all_is_well() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Serve).await;
    site.change().await;
    for command in [&["FLUSHALL"][..], &["DEL", META], &["XADD", LOG, "*", "r", "x"], &["DEL", META, LOG]] {
        site.warm().await;
        let resets: Vec<_> = site.members.iter().map(|member| member.resets()).collect();
        server.ask(command);
        for (member, before) in site.members.iter().zip(&resets) {
            eventually("started over", || member.resets() > *before).await;
        }
        site.origin.version.fetch_add(1, Ordering::SeqCst);
        let receipt = soon("taken", async {
            // The log may be found to be another just now.
            loop {
                match site.invalidator.invalidate(Invalidation::all()).await {
                    Ok(receipt) => break receipt,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        soon("completed", receipt.await.completed()).await.unwrap();
        for member in &site.members {
            assert!(!member.get("/").await.hit, "{command:?}");
        }
        site.in_contact().await;
        // By now nothing is wrong any more.
        site.change().await;
    }
}
