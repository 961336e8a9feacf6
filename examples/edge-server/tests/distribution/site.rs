//! Everything together: an origin in this process, a Redis, three edges with a way of their own to it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::edge::{Edge, TOKEN};
use crate::namespace::Namespace;
use crate::origin::Origin;
use crate::proxy::Proxy;
use crate::server::{Keeps, Server};
use crate::truth::{EDGES, Truth, name};

/// For what must be so in the end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than an edge is paused, and than a control port lets anybody wait.
const ANSWER: Duration = Duration::from_secs(45);

pub(crate) struct Site {
    pub(crate) truth: Arc<Truth>,
    pub(crate) origin: Origin,
    pub(crate) redis: Mutex<Server>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) edges: Vec<Edge>,
    /// Where each edge is, if not all are here. They go after the edges.
    pub(crate) namespaces: Vec<Namespace>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    }

    /// Which version of its path it is.
    pub(crate) fn version(&self) -> Option<u64> {
        self.text("x-version").parse().ok()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.text("cache-status").contains("; hit")
    }
}

impl Site {
    /// With these edges; each with flags of its own.
    pub(crate) async fn new(keeps: Keeps, flags: [&[&str]; EDGES]) -> Self {
        Self::with(keeps, flags, Vec::new()).await
    }

    /// The same, with each edge as on a machine of its own.
    pub(crate) async fn apart(keeps: Keeps, flags: [&[&str]; EDGES]) -> Self {
        let namespaces = block_in_place(|| flags.map(|_| Namespace::new()).into());
        Self::with(keeps, flags, namespaces).await
    }

    async fn with(keeps: Keeps, flags: [&[&str]; EDGES], namespaces: Vec<Namespace>) -> Self {
        let truth = Arc::new(Truth::default());
        let origin = Origin::new(Arc::clone(&truth));
        let redis = block_in_place(|| Server::start(keeps));
        let (mut proxies, mut edges) = (Vec::new(), Vec::new());
        for (at, more) in flags.into_iter().enumerate() {
            let namespace = namespaces.get(at);
            let here = |of: fn(&Namespace) -> Ipv4Addr| namespace.map_or(Ipv4Addr::LOCALHOST, of);
            let proxy = Proxy::new(here(Namespace::log), redis.port()).await;
            let url = format!("http://{}", origin.listen(here(Namespace::origin)).await);
            let (name, way) = (format!("edge-{}", at + 1), proxy.url());
            let flags = [&["--origin", &url, "--redis", &way], more].concat();
            edges.push(block_in_place(|| match namespace {
                Some(namespace) => Edge::start_in(namespace, &name, &flags),
                None => Edge::start(&name, &flags),
            }));
            proxies.push(proxy);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { truth, origin, redis: Mutex::new(redis), proxies, edges, namespaces, client }
    }

    /// Acts on the Redis, which may take a moment.
    pub(crate) fn redis<T>(&self, act: impl FnOnce(&mut Server) -> T) -> T {
        block_in_place(|| act(&mut self.redis.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn send(&self, method: Method, url: String, host: Option<&str>, body: String) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(url);
        request = match host {
            Some(host) => request.header(HOST, host),
            // An operator, and not a viewer.
            None => request.header(AUTHORIZATION, format!("Bearer {TOKEN}")),
        };
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let exchange = async {
            let response = self.client.request(request.body(Full::from(body)).unwrap()).await.ok()?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(ANSWER, exchange).await.ok().flatten()
    }

    /// As a viewer. `None` if the edge was not there, or ended meanwhile.
    pub(crate) async fn get(&self, edge: usize, path: usize) -> Option<Answer> {
        self.get_from(&self.edges[edge], path).await
    }

    pub(crate) async fn get_from(&self, edge: &Edge, path: usize) -> Option<Answer> {
        // The key has the host, and edges share what they have by it.
        let url = format!("http://{}{}", edge.viewers(), name(path));
        self.send(Method::GET, url, Some("site.example"), String::new()).await
    }

    /// The same of an edge that is there.
    pub(crate) async fn read(&self, edge: usize, path: usize) -> Answer {
        let answer = self.get(edge, path).await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Reads until it is a hit.
    pub(crate) async fn warm(&self, path: usize) {
        for edge in 0..EDGES {
            eventually("a hit", async || self.read(edge, path).await.is_hit()).await;
        }
    }

    /// As an operator.
    pub(crate) async fn ask(&self, edge: usize, path: &str) -> Option<Answer> {
        let control = self.edges[edge].control();
        self.send(Method::GET, format!("http://{control}{path}"), None, String::new()).await
    }

    pub(crate) async fn get_url(&self, url: &str) -> Option<Answer> {
        self.send(Method::GET, url.to_owned(), None, String::new()).await
    }

    /// Clears everywhere, through one edge, and waits so many seconds for the receipt.
    pub(crate) async fn clear(&self, edge: usize, what: &Value, wait: u64) -> Option<Answer> {
        self.clear_by(&self.edges[edge], what, wait).await
    }

    pub(crate) async fn clear_by(&self, edge: &Edge, what: &Value, wait: u64) -> Option<Answer> {
        let url = format!("http://{}/distribution/invalidations?wait={wait}", edge.control());
        self.send(Method::POST, url, None, what.to_string()).await
    }

    /// What an edge says of the distribution.
    pub(crate) async fn state(&self, edge: usize) -> Value {
        self.ask(edge, "/distribution").await.map(|answer| answer.json()).unwrap_or_default()
    }

    /// Waits until every edge has contact, and a new record is in force on all of them.
    pub(crate) async fn in_contact(&self) {
        for edge in 0..EDGES {
            let back = async || {
                let state = self.state(edge).await;
                state["trusted"] == true && state["trouble"].is_null() && state["applied"].is_string()
            };
            eventually(&format!("edge {edge} in contact"), back).await;
        }
        eventually("a record in force everywhere", async || {
            let Some(answer) = self.clear(0, &json!({ "paths": ["/nothing"] }), 20).await else {
                return false;
            };
            let receipt = answer.json();
            let swept = |edge: &Edge| {
                let mut edges = receipt["edges"].as_array().into_iter().flatten();
                edges.any(|found| found["name"] == edge.name.as_str() && found["state"] == "swept")
            };
            self.edges.iter().all(swept)
        })
        .await;
    }
}

/// Polls until it is so.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "not {what} within {PATIENCE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
