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
