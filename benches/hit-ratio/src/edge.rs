//! The store, asked as viewers ask: through an Edge's layer.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_edge::{Cache, Edge, Outcome};

use crate::Keeper;

/// The smallest capacity an Edge works with.
pub(crate) const LEAST: u64 = 2 << 20;

pub(crate) struct ThroughEdge {
    edge: Edge,
    site: Cache<Site>,
    runtime: Runtime,
}

/// An origin whose objects are as long as their paths say: `/key/size`.
#[derive(Clone)]
struct Site {
    /// At least as long as any.
    bytes: Bytes,
}

impl<B> Service<Request<B>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let size = request.uri().path().rsplit('/').next().and_then(|size| size.parse().ok());
        let body = self.bytes.slice(..size.unwrap_or(0).min(self.bytes.len()));
        let response = Response::builder()
            .header("content-type", "application/octet-stream")
            .header("content-length", body.len())
            .header("cache-control", "max-age=31536000");
        ready(Ok(response.body(Full::new(body)).expect("well-formed fields")))
    }
}

impl ThroughEdge {
    pub(crate) fn new(capacity: u64) -> Self {
        let edge = Edge::builder().outcomes(true).capacity(capacity.max(LEAST)).build().expect("a configuration that works");
        let largest = (capacity / crate::LARGEST) as usize + 1;
        let site = edge.layer().layer(Site { bytes: Bytes::from(vec![b'x'; largest]) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { edge, site, runtime }
    }
}

impl Keeper for ThroughEdge {
    fn ask(&mut self, key: u32, size: u64) -> bool {
        // As long for every object, so that each weighs its size and the same.
        let uri = format!("http://www.example.com/{key:010}/{size:020}");
        let request = Request::get(uri).body(Empty::<Bytes>::new()).expect("a well-formed request");
        self.runtime.block_on(async {
            let Ok(response) = self.site.call(request).await;
            let hit = response.extensions().get::<Outcome>().is_some_and(Outcome::is_hit);
            if !hit {
                response.into_body().collect().await.expect("a whole body");
            }
            hit
        })
    }
}

/// What an object weighs beside its size.
pub(crate) fn overhead() -> u64 {
    let mut edge = ThroughEdge::new(64 << 20);
    edge.ask(0, 1_000);
    edge.edge.stats().bytes - 1_000
}
