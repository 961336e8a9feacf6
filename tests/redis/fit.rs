//! Servers that cannot hold a log, and those that should be otherwise.

use tower_edge::distribution::bus::{BusError, Redis};

use crate::server::{Keeps, Server};
use crate::site::settings;

async fn refused(server: &Server, trusting: bool) -> Option<String> {
    let redis = Redis::new(&server.url(), settings(trusting)).unwrap();
    match redis.check().await {
        Ok(_) => None,
        Err(BusError::Unfit { setting, .. }) => Some(setting),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_cannot_hold_a_log_is_refused_by_the_setting() {
    let evicts = Server::with(Keeps::All, &["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    assert_eq!(refused(&evicts, false).await.as_deref(), Some("maxmemory-policy"));
    let forgets = Server::start(Keeps::Nothing);
    assert_eq!(refused(&forgets, false).await, None);
    assert_eq!(refused(&forgets, true).await.as_deref(), Some("appendonly"));
    let keeps = Server::start(Keeps::All);
    assert_eq!(refused(&keeps, true).await, None);
    let replica = Server::with(Keeps::All, &["--replicaof", "127.0.0.1 1"]);
    assert_eq!(refused(&replica, false).await.as_deref(), Some("role"));
    let locked = Server::with(Keeps::All, &[]);
    locked.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let error = Redis::new(&locked.url(), settings(false)).unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("NOAUTH"), "{error}");
    let wrong = locked.url().replace("//", "//:hunter2@");
    let error = Redis::new(&wrong, settings(false)).unwrap().check().await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_should_be_otherwise_is_told() {
    let forgets = Server::with(Keeps::Nothing, &["--maxmemory-policy", "allkeys-lru"]);
    let concerns = Redis::new(&forgets.url(), settings(false)).unwrap().check().await.unwrap();
    let named: Vec<_> = concerns.iter().map(|concern| concern.setting()).collect();
    assert_eq!(named, ["appendonly", "maxmemory-policy"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let server = Server::start(Keeps::Nothing);
    server.pause();
    let redis = Redis::new(&server.url(), settings(false)).unwrap();
    let began = std::time::Instant::now();
    assert!(matches!(redis.check().await, Err(BusError::Unreachable(_))));
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
    server.resume();
}
