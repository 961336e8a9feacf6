//! Edges in front of one origin whose content has versions, each with its own way to the server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use std::task::{Context, Poll};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_edge::distribution::bus::{
    BusInvalidator, Follower, FollowerSettings, Redis, RedisSettings, WithoutContact,
};
use tower_edge::{Cache, Edge, Invalidation, Outcome};

use crate::proxy::Proxy;
use crate::server::Server;

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
pub(crate) const AFTER: Duration = Duration::from_millis(400);
pub(crate) const SILENCE: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers with its version, and counts how often it was asked.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    pub(crate) version: Arc<AtomicU64>,
    pub(crate) asked: Arc<AtomicU64>,
}

impl<B: Send + 'static> Service<Request<B>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let version = self.version.load(Ordering::SeqCst).to_string();
        let answer = Response::builder()
            .header("cache-control", "max-age=3600")
            .header("etag", format!("\"{version}\""))
            .body(Full::from(version))
            .unwrap();
        Box::pin(async {
            // Some answers are on their way while something is cleared.
            tokio::task::yield_now().await;
            Ok(answer)
        })
    }
}

pub(crate) struct Member {
    pub(crate) edge: Edge,
    pub(crate) follower: Follower,
    pub(crate) proxy: Proxy,
    cache: Cache<Origin>,
}

/// What a viewer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) version: u64,
    pub(crate) hit: bool,
}

impl Member {
    pub(crate) async fn get(&self, path: &str) -> Got {
        get(&self.cache, path).await
    }

    pub(crate) fn cache(&self) -> Cache<Origin> {
        self.cache.clone()
    }

    pub(crate) fn resets(&self) -> u64 {
        self.follower.progress().resets
    }
}

pub(crate) async fn get(cache: &Cache<Origin>, path: &str) -> Got {
    let request = Request::get(format!("http://site.example{path}")).body(Empty::<Bytes>::new()).unwrap();
    let response = cache.clone().oneshot(request).await.unwrap();
    let hit = response.extensions().get::<Outcome>().is_some_and(Outcome::is_hit);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Got { version: std::str::from_utf8(&body).unwrap().parse().unwrap(), hit }
}

pub(crate) struct Site {
    pub(crate) origin: Origin,
    pub(crate) members: Vec<Member>,
    pub(crate) invalidator: BusInvalidator,
}

pub(crate) fn settings(trusting: bool) -> RedisSettings {
    let mut settings = RedisSettings::default();
    settings.patience = Duration::from_millis(500);
    settings.trust_restarts = trusting;
    settings
}

impl Site {
    pub(crate) async fn new(server: &Server, edges: usize, policy: WithoutContact) -> Self {
        Self::with(server, edges, policy, settings(false)).await
    }

    pub(crate) async fn with(
        server: &Server,
        edges: usize,
        policy: WithoutContact,
        redis: RedisSettings,
    ) -> Self {
        let origin = Origin::default();
        let mut members = Vec::new();
        for number in 1..=edges {
            let proxy = Proxy::to(server.port()).await;
            let edge = Edge::builder()
                .outcomes(true)
                .name(format!("edge-{number}"))
                .capacity(8 << 20)
                .build()
                .unwrap();
            let bus = Arc::new(Redis::new(&proxy.url(), redis.clone()).unwrap());
            let mut following = FollowerSettings::default();
            following.heartbeat = HEARTBEAT;
            following.without_contact = policy;
            following.retry = Duration::from_millis(10);
            let follower = Follower::start(&edge, bus, following).unwrap();
            let cache = edge.layer().layer(origin.clone());
            members.push(Member { edge, follower, proxy, cache });
        }
        for member in &members {
            soon("joined", member.follower.joined()).await;
        }
        let bus = Arc::new(Redis::new(&server.url(), redis).unwrap());
        let invalidator = BusInvalidator::new(bus, "test").silence(SILENCE);
        Self { origin, members, invalidator }
    }

    /// The content changes, and is cleared everywhere before this returns.
    pub(crate) async fn change(&self) -> u64 {
        let version = self.origin.version.fetch_add(1, Ordering::SeqCst) + 1;
        let receipt = self.invalidator.invalidate(Invalidation::paths(["/*"]).unwrap()).await.unwrap();
        soon("completed", receipt.completed()).await.unwrap();
        version
    }

    /// Every edge holds what the origin has now.
    pub(crate) async fn warm(&self) {
        let version = self.origin.version.load(Ordering::SeqCst);
        for member in &self.members {
            // Who has read the last of an answer may ask again before it is in the store.
            let kept = async { while member.get("/").await != (Got { version, hit: true }) {} };
            soon("kept", kept).await;
        }
    }

    pub(crate) async fn in_contact(&self) {
        for member in &self.members {
            let back = || member.follower.trouble().is_none() && member.follower.progress().is_on_roll;
            eventually("in contact", back).await;
        }
    }
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not {what} within {PATIENCE:?}"))
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not {what} within {PATIENCE:?}");
        sleep(Duration::from_millis(2)).await;
    }
}
