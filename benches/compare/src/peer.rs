//! One who is measured: a service, in front of a site that counts its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tokio::runtime::Runtime;
use tower::Service;

use crate::site::{BoxError, Site, exchange, request};

/// Exchanges a turn.
pub(crate) const TURN: usize = 32;

/// Exchanges before those, not measured. They find in the processor's caches what the peer before left there, which is the more
/// the more it copies, and pay for bringing their own back.
const LEAD: usize = 8;

/// How often a peer may be asked until it has stored the answer. Some store it in a task of their own.
const PATIENCE: usize = 100;

/// Takes a turn on the runtime, and says how long it took.
type Turn = Box<dyn FnMut(&Runtime) -> Result<Duration, BoxError>>;

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) turns: Vec<Duration>,
    calls: Arc<AtomicUsize>,
    turn: Turn,
    asks_every_time: bool,
}

impl Peer {
    /// What `wrap` makes of a site with a body of this length.
    pub(crate) fn new<S, B>(name: &'static str, length: usize, wrap: impl FnOnce(Site) -> S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let site = Site::new(length);
        let calls = Arc::clone(&site.calls);
        let mut service = wrap(site);
        let template = request();
        let turn = move |runtime: &Runtime| {
            // Making the requests is nobody's business.
            let requests: Vec<_> = (0..LEAD + TURN).map(|_| copy(&template)).collect();
            runtime.block_on(async {
                let mut requests = requests.into_iter();
                ask(&mut service, requests.by_ref().take(LEAD), length).await?;
                let start = Instant::now();
                ask(&mut service, requests, length).await?;
                Ok(start.elapsed())
            })
        };
        Self { name, turns: Vec::new(), calls, turn: Box::new(turn), asks_every_time: false }
    }

    /// The service by itself.
    pub(crate) fn bare(name: &'static str, length: usize) -> Self {
        Self { asks_every_time: true, ..Self::new(name, length, |site| site) }
    }

    /// Has the answer stored, and makes sure that it is answered from there.
    ///
    /// # Errors
    ///
    /// A peer that still asks its site after many exchanges has no cache, and no place here.
    pub(crate) fn warm(&mut self, runtime: &Runtime) -> Result<(), BoxError> {
        for _ in 0..PATIENCE {
            let before = self.calls();
            self.take_turn(runtime)?;
            if self.asks_every_time || self.calls() == before {
                self.turns.clear();
                return Ok(());
            }
            // Lets tasks run that store something.
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        Err(format!("{} does not answer from its cache", self.name).into())
    }

    /// # Errors
    ///
    /// What an exchange ended with.
    pub(crate) fn take_turn(&mut self, runtime: &Runtime) -> Result<(), BoxError> {
        let turn = (self.turn)(runtime).map_err(|error| format!("{}: {error}", self.name))?;
        self.turns.push(turn);
        Ok(())
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether its site heard of an exchange since there were so many calls, though it must not.
    pub(crate) fn asked_since(&self, calls: usize) -> bool {
        !self.asks_every_time && self.calls() != calls
    }

    /// The median of what one exchange took, in nanoseconds.
    pub(crate) fn median(&mut self) -> f64 {
        self.turns.sort_unstable();
        self.turns[self.turns.len() / 2].as_nanos() as f64 / TURN as f64
    }
}

async fn ask<S, B>(
    service: &mut S,
    requests: impl Iterator<Item = Request<Body>>,
    length: usize,
) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    for request in requests {
        let (read, fields) = exchange(service, request).await?;
        if read != length || fields < 10 {
            return Err(format!("an answer of {read} bytes and {fields} fields").into());
        }
    }
    Ok(())
}

fn copy(template: &Request<Body>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = template.uri().clone();
    *request.headers_mut() = template.headers().clone();
    request
}
