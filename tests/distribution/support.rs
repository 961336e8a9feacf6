//! An origin whose content changes, edges that follow a log, and a viewer who writes down what came.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Service, ServiceExt};
use tower_edge::distribution::Token;
use tower_edge::distribution::bus::{Bus, BusInvalidator, BusReceipt, Follower, FollowerSettings};
use tower_edge::{CacheHints, Edge, EdgeBuilder, Invalidation};

/// Answers with the number of its content.
#[derive(Clone)]
pub(crate) struct Origin {
    content: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<(http::Uri, HeaderMap)>>>,
    fields: &'static [(&'static str, &'static str)],
    hints: Option<CacheHints>,
}

impl Origin {
    pub(crate) fn new(fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { content: Arc::new(AtomicU64::new(1)), seen: Arc::default(), fields, hints: None }
    }

    pub(crate) fn cacheable() -> Self {
        Self::new(&[("cache-control", "max-age=600")])
    }

    /// The same; it says to its edge alone how long to keep the answer, and a tag of it.
    pub(crate) fn hinting(mut self) -> Self {
        let hints = CacheHints::new().ttl(Duration::from_secs(7)).tags(["hinted"]).unwrap();
        self.hints = Some(hints);
        self
    }

    pub(crate) fn change(&self) {
        self.content.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Target and fields of the last request.
    pub(crate) fn last(&self) -> (http::Uri, HeaderMap) {
        self.seen.lock().unwrap().last().cloned().expect("it was asked")
    }
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.seen.lock().unwrap().push((request.uri().clone(), request.headers().clone()));
        let mut response = Response::builder();
        for (name, value) in self.fields {
            response = response.header(*name, *value);
        }
        let content = format!("content {}", self.content.load(Ordering::SeqCst));
        let mut response = response.body(content.into()).unwrap();
        if let Some(hints) = &self.hints {
            response.extensions_mut().insert(hints.clone());
        }
        ready(Ok(response))
    }
}

pub(crate) async fn follow(edge: &Edge, bus: Arc<dyn Bus>) -> Arc<Follower> {
    let follower = Follower::start(edge, bus, FollowerSettings::default()).unwrap();
    follower.joined().await;
    Arc::new(follower)
}

pub(crate) fn edge(name: &str) -> EdgeBuilder {
    Edge::builder().name(name)
}

pub(crate) fn token() -> Token {
    Token::new("a-secret-of-the-edges").unwrap()
}

pub(crate) async fn invalidate(bus: Arc<dyn Bus>, invalidation: Invalidation) -> BusReceipt {
    BusInvalidator::new(bus, "test").invalidate(invalidation).await.unwrap()
}

/// What came: the body, and the fields.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: String,
    pub(crate) headers: HeaderMap,
}

impl Answer {
    /// `Cache-Status`, its lines as one.
    pub(crate) fn status(&self) -> String {
        let lines = self.headers.get_all("cache-status").iter();
        lines.map(|line| line.to_str().unwrap()).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) async fn get<S, R>(site: &S, uri: &str) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
    R: Body,
    R::Error: Into<BoxError>,
{
    ask(site, Request::get(uri).body(Full::default()).unwrap()).await
}

pub(crate) async fn ask<S, R>(site: &S, request: Request<Full<Bytes>>) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
    R: Body,
    R::Error: Into<BoxError>,
{
    let response = site.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(Into::into).unwrap().to_bytes();
    Answer { body: String::from_utf8(body.into()).unwrap(), headers: parts.headers }
}
