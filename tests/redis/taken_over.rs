//! A server whose place a replica takes, and what is left over of a log that is lost.

use std::sync::Arc;
use std::time::Duration;

use tower_edge::Invalidation;
use tower_edge::distribution::bus::{
    Bus, BusError, BusInvalidateError, BusInvalidator, Redis, Report, WithoutContact,
};

use crate::server::{Keeps, Server};
use crate::site::{SILENCE, Site, settings, soon};

fn replica_of(server: &Server) -> Server {
    let replica = Server::with(Keeps::Nothing, &["--replicaof", &format!("127.0.0.1 {}", server.port())]);
    in_time("in step", || replica.ask(&["INFO", "replication"]).contains("master_link_status:up"));
    replica
}

fn in_time(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not {what}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_roll_of_a_replica_is_new_when_it_takes_over() {
    let server = Server::start(Keeps::Nothing);
    let redis = Redis::new(&server.url(), settings(false)).unwrap();
    redis.roll().await.unwrap();
    let replica = replica_of(&server);
    // Old enough, and so is the log.
    let uptime = || {
        let info = replica.ask(&["INFO", "server"]);
        let line = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:"));
        line.and_then(|seconds| seconds.trim().parse::<u64>().ok()).unwrap()
    };
    in_time("old", || uptime() >= 3);
    replica.ask(&["REPLICAOF", "NO", "ONE"]);
    let redis = Redis::new(&replica.url(), settings(false)).unwrap();
    let age = redis.roll().await.unwrap().age;
    assert!(age < Duration::from_secs(1), "edges that it was not told of get no time to come: {age:?}");
    // Who connects later finds it as old as it is by then.
    replica.ask(&["HSET", "tower-edge:{default}:meta", "born", "0"]);
    let redis = Redis::new(&replica.url(), settings(false)).unwrap();
    assert!(redis.roll().await.unwrap().age >= Duration::from_secs(1));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_reference_that_is_known_has_its_copies_too() {
    let server = Server::start(Keeps::Nothing);
    let replica = replica_of(&server);
    let mut copied = settings(false);
    copied.copies = 1;
    copied.patience = Duration::from_secs(2);
    let make = async || {
        let bus = Arc::new(Redis::new(&server.url(), copied.clone()).unwrap());
        let invalidation = Invalidation::all().reference("release-7");
        BusInvalidator::new(bus, "test").invalidate(invalidation).await
    };
    make().await.unwrap();
    server.ask(&["DEL", "tower-edge:{default}:ref:release-7"]);
    replica.pause();
    for _ in 0..2 {
        let made = make().await.map(|_| ());
        let few = matches!(made, Err(BusInvalidateError::Bus(BusError::TooFewCopies { .. })));
        assert!(few, "the replica stands still: {made:?}");
    }
    replica.resume();
    make().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_reference_of_a_log_that_is_lost_is_made_anew() {
    let server = Server::start(Keeps::Nothing);
    let site = Site::new(&server, 1, WithoutContact::Serve).await;
    site.change().await;
    let make = async || {
        let receipt = site.invalidator.invalidate(Invalidation::all().reference("release-7")).await;
        soon("completed", receipt.unwrap().completed()).await.unwrap();
    };
    make().await;
    server.ask(&["DEL", "tower-edge:{default}:meta"]);
    make().await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn an_edge_that_may_still_use_what_it_has_is_not_forgotten() {
    let server = Server::start(Keeps::Nothing);
    let mut short = settings(false);
    short.forget = Duration::from_millis(1);
    let redis = Redis::new(&server.url(), short).unwrap();
    let report = |name: &str, trusts_for| Report {
        id: format!("{name}/1"),
        name: name.into(),
        applied: None,
        swept: None,
        is_draining: false,
        trusts_for,
    };
    redis.report(&report("trusting", Some(SILENCE * 1_000))).await.unwrap();
    redis.report(&report("gone", Some(Duration::from_millis(2)))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.ask(&["DEL", "tower-edge:{default}:turn"]);
    redis.report(&report("alive", None)).await.unwrap();
    let roll = redis.roll().await.unwrap();
    let mut names: Vec<_> = roll.members.iter().map(|(report, _)| report.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["alive", "trusting"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn what_waits_for_copies_is_in_the_log_once() {
    let server = Server::start(Keeps::Nothing);
    let replica = replica_of(&server);
    let mut copied = settings(false);
    copied.copies = 1;
    let bus = Arc::new(Redis::new(&server.url(), copied).unwrap());
    let invalidator = BusInvalidator::new(bus, "test").queueing(10, []);
    replica.pause();
    let receipt = invalidator.invalidate(Invalidation::all()).await.unwrap();
    in_time("tried again", || {
        let calls = server.ask(&["INFO", "commandstats"]);
        let calls = calls.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
        calls.and_then(|calls| calls.split(',').next()?.parse().ok()).is_some_and(|calls: u32| calls >= 4)
    });
    assert_eq!(receipt.position(), None);
    replica.resume();
    soon("appended", async {
        while receipt.position().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(server.ask(&["XLEN", "tower-edge:{default}:log"]), "1");
}
