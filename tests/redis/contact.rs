//! What an edge does without contact, by its policy.

use std::sync::atomic::Ordering;

use tokio::time::sleep;
use tower_edge::distribution::bus::{BusError, WithoutContact};

use crate::server::{Keeps, Server};
use crate::site::{AFTER, Got, Site, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn an_edge_goes_on_validates_or_forwards_as_its_operator_says() {
    for policy in [
        WithoutContact::Serve,
        WithoutContact::Revalidate { after: AFTER },
        WithoutContact::Refuse { after: AFTER },
    ] {
        let server = Server::start(Keeps::Nothing);
        let site = Site::new(&server, 1, policy).await;
        let [member] = &site.members[..] else { unreachable!() };
        eventually("trusted", || member.follower.is_trusted()).await;
        site.warm().await;
        let asked = || site.origin.asked.load(Ordering::SeqCst);
        server.pause();
        let before = asked();
        if policy == WithoutContact::Serve {
            sleep(AFTER * 3).await;
            assert_eq!((member.get("/").await.hit, asked()), (true, before), "{policy:?}");
        } else {
            eventually("without contact", || !member.follower.is_trusted()).await;
            site.origin.version.store(1, Ordering::SeqCst);
            for more in 1..=2 {
                assert_eq!(member.get("/").await, Got { version: 1, hit: false }, "{policy:?}");
                assert_eq!(asked(), before + more, "{policy:?}: every request asks");
            }
        }
        server.resume();
        eventually("trusted again", || member.follower.is_trusted()).await;
        site.in_contact().await;
        let asked_then = asked();
        let got = member.get("/").await;
        assert!(got.hit && asked() == asked_then, "{policy:?}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn an_edge_that_was_away_is_trusted_when_it_has_replayed_and_no_sooner() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 2, WithoutContact::Revalidate { after: AFTER }).await;
    site.change().await;
    for _ in 0..5 {
        site.warm().await;
        site.members[1].proxy.cut();
        let version = site.change().await;
        site.members[1].proxy.mend();
        // Completed without it, since it does not use what it has.
        while !site.members[1].get("/").await.hit {
            tokio::task::yield_now().await;
        }
        assert_eq!(site.members[1].get("/").await, Got { version, hit: true });
        assert_eq!(site.members[1].resets(), 1);
        eventually("trusted", || site.members.iter().all(|member| member.follower.is_trusted())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_primary_that_another_takes_the_place_of_is_not_followed() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 1, WithoutContact::Revalidate { after: AFTER }).await;
    let [member] = &site.members[..] else { unreachable!() };
    site.change().await;
    site.warm().await;
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    eventually("without contact", || !member.follower.is_trusted()).await;
    assert!(!member.get("/").await.hit);
    let refused =
        || matches!(member.follower.trouble(), Some(BusError::Unfit { setting, .. }) if setting == "role");
    eventually("refused by its role", refused).await;
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    eventually("trusted again", || member.follower.is_trusted()).await;
    assert!(member.get("/").await.hit);
    site.change().await;
}
