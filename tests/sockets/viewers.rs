//! Viewers on keep-alive connections to the edge: some read, some write, and an operator invalidates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower_edge::{Invalidation, Invalidator};

use crate::chance::Chance;
use crate::origin::{PATHS, Truth, body, number};

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) revalidated: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) invalidated: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What every viewer needs.
#[derive(Clone)]
pub(crate) struct Viewer {
    pub(crate) truth: Arc<Truth>,
    pub(crate) tally: Arc<Tally>,
    edge: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Viewer {
    pub(crate) fn of(edge: SocketAddr, truth: &Arc<Truth>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { truth: Arc::clone(truth), tally: Arc::default(), edge, client }
    }

    /// Reads for ever, or until it sees the past.
    pub(crate) async fn read(self, seed: u64) -> String {
        let mut chance = Chance::new(seed);
        loop {
            let path = chance.below(PATHS as u64) as usize;
            let leaves = (chance.below(20) == 0).then(|| Duration::from_micros(chance.below(3_000)));
            let reading = self.read_once(path);
            let seen = match leaves {
                None => reading.await,
                Some(time) => tokio::time::timeout(time, reading).await.unwrap_or_else(|_| {
                    count(&self.tally.left);
                    Ok(())
                }),
            };
            if let Err(why) = seen {
                return why;
            }
        }
    }

    async fn read_once(&self, path: usize) -> Result<(), String> {
        let truth = self.truth.path(path);
        let floor = |floor: &AtomicU64| floor.load(Ordering::SeqCst);
        let (exchange, place, soft) = (floor(&truth.exchange), floor(&truth.place), floor(&truth.soft));
        let request = Request::get(format!("http://{}/{path}", self.edge)).body(Full::default());
        let Ok(response) = self.client.request(request.expect("a request")).await else {
            count(&self.tally.errors);
            return Ok(());
        };
        let (head, read) = response.into_parts();
        let status =
            head.headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (Some(content), Some(seen_place), Some(seen)) = (
            number(&head.headers, "x-content"),
            number(&head.headers, "x-place"),
            number(&head.headers, "x-exchange"),
        ) else {
            count(&self.tally.errors);
            return match head.status.is_server_error() {
                true => Ok(()),
                false => Err(format!("/{path}: {} without content", head.status)),
            };
        };
        self.note(status);
        let what = format!("/{path}: content {content}, at {seen_place}, of exchange {seen} ({status})");
        if seen_place < place {
            return Err(format!("{what}, and {place} was there when a write or invalidation returned"));
        }
        if seen < exchange {
            return Err(format!("{what}, which began before a write or invalidation returned: {exchange}"));
        }
        if seen < soft && status.contains("; hit") && !status.contains("detail=") {
            return Err(format!("{what} is fresh, and was made stale: {soft}"));
        }
        let Ok(read) = read.collect().await else {
            count(&self.tally.errors);
            return Ok(());
        };
        match read.to_bytes() == body(path, content) {
            true => Ok(()),
            false => Err(format!("{what} has other bytes")),
        }
    }

    fn note(&self, status: &str) {
        let Tally { hits, stale, joined, revalidated, misses, .. } = &*self.tally;
        count(match status {
            _ if status.contains("detail=stale") => stale,
            _ if status.contains("; hit") => hits,
            _ if status.contains("; collapsed") => joined,
            _ if status.contains("fwd-status=304") => revalidated,
            _ => misses,
        });
    }

    /// Writes for ever. Returns only in trouble.
    pub(crate) async fn write(self, seed: u64) -> String {
        let mut chance = Chance::new(seed);
        loop {
            tokio::time::sleep(Duration::from_micros(chance.below(12_000))).await;
            let path = chance.below(PATHS as u64) as usize;
            let content = self.truth.new_content();
            let truth = self.truth.path(path);
            // What is there before it is sent is gone for certain when it has returned, whatever became of it.
            let (exchange, (_, place)) = (self.truth.next_exchange(), self.truth.current(path));
            let uri = format!("http://{}/{path}", self.edge);
            let request = Request::put(uri).header("x-content", content);
            let request = request.body(Full::from(body(path, content))).expect("a request");
            let answer = self.client.request(request).await;
            let headers = answer.as_ref().map(Response::headers);
            let done = |name| headers.ok().and_then(|headers: &HeaderMap| number(headers, name));
            truth.place.fetch_max(done("x-place").unwrap_or(place), Ordering::SeqCst);
            truth.exchange.fetch_max(done("x-exchange").unwrap_or(exchange), Ordering::SeqCst);
            match answer {
                Ok(answer) if answer.status().is_success() => drop(answer.into_body().collect().await),
                other => return format!("/{path}: a PUT came to {other:?}"),
            }
            count(&self.tally.written);
        }
    }

    /// Changes what the origin has, and invalidates it, for ever.
    pub(crate) async fn invalidate(self, invalidator: Invalidator, seed: u64) -> String {
        let mut chance = Chance::new(seed);
        loop {
            tokio::time::sleep(Duration::from_micros(chance.below(12_000))).await;
            let path = chance.below(PATHS as u64) as usize;
            let place = self.truth.change(path, self.truth.new_content());
            let exchange = self.truth.next_exchange();
            let scope = match chance.below(6) {
                0 => Invalidation::all(),
                1 => Invalidation::paths(["/*"]).expect("a path"),
                2 => Invalidation::url(&format!("http://{}/{path}", self.edge)).expect("a URL"),
                // Every content has one of them.
                3 => Invalidation::tags((0..3).map(|tag| format!("t{tag}"))).expect("tags"),
                _ => Invalidation::paths([format!("/{path}")]).expect("a path"),
            };
            let soft = chance.below(4) == 0;
            let invalidation = if soft { scope.soft() } else { scope };
            if let Err(error) = invalidator.invalidate(invalidation) {
                return format!("/{path}: {error}");
            }
            let truth = self.truth.path(path);
            if soft {
                truth.soft.fetch_max(exchange, Ordering::SeqCst);
            } else {
                truth.place.fetch_max(place, Ordering::SeqCst);
                truth.exchange.fetch_max(exchange, Ordering::SeqCst);
            }
            count(&self.tally.invalidated);
        }
    }
}
