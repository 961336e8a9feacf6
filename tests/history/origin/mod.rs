//! The origin: it looks at its state at one moment of an exchange and answers at another, and not always well.

mod read;
mod write;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use tower::{BoxError, Service};

use crate::frames::Frames;
use crate::random::{Random, mix};
use crate::record::What;
use crate::run::Site;
use crate::site::{COLOUR, Content, GROUPS, OBJECTS, TAGS};

/// The operation that a request comes from.
pub(crate) const OPERATION: &str = "x-operation";
/// The content of an answer, the exchange that brought or confirmed it, and the exchange that brought its body.
pub(crate) const CONTENT: &str = "x-content";
pub(crate) const EXCHANGE: &str = "x-exchange";
pub(crate) const FETCHED: &str = "x-fetched";

#[derive(Clone)]
pub(crate) struct Origin(pub(crate) Arc<Site>);

/// The origin cannot be reached, or went away.
#[derive(Debug)]
pub(crate) struct Down;

impl<B> Service<Request<B>> for Origin
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Frames>;
    type Error = Down;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Frames>, Down>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let site = Arc::clone(&self.0);
        let exchange = site.truth().exchange();
        let (head, body) = request.into_parts();
        let object = OBJECTS
            .iter()
            .position(|object| {
                let host = head.uri.host().or_else(|| head.headers.get("host")?.to_str().ok());
                host == Some(object.authority())
                    && head.uri.path_and_query().is_some_and(|path| path == object.path)
            })
            .expect("a URL of the site");
        let operation = number(&head.headers, OPERATION).expect("every request names its operation");
        let asked = Asked { site, exchange, object, head, operation: operation as u32 };
        match asked.head.method {
            Method::GET | Method::HEAD => Box::pin(asked.read()),
            _ => Box::pin(asked.write(body)),
        }
    }
}

pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// One exchange.
struct Asked {
    site: Arc<Site>,
    exchange: u64,
    object: usize,
    head: http::request::Parts,
    operation: u32,
}

/// How long an answer may be used.
const LIVES: [(usize, &str); 12] = [
    (30, "max-age=3600"),
    (10, "max-age=2"),
    (8, "max-age=0"),
    (6, "max-age=1, must-revalidate"),
    (12, "max-age=1, stale-while-revalidate=3"),
    (6, "max-age=0, stale-while-revalidate=30"),
    (6, "max-age=1, stale-if-error=20"),
    (5, "public, s-maxage=5"),
    (5, "no-cache"),
    (4, "no-store"),
    (3, "private, max-age=60"),
    (5, "public, max-age=60"),
];

impl Asked {
    fn chances(&self) -> Random {
        let seed = self.site.operation(self.operation).seed;
        Random::new(mix(seed) ^ self.object as u64)
    }

    fn colour(&self) -> Option<&str> {
        self.head.headers.get(COLOUR)?.to_str().ok()
    }

    fn record(&self, what: What) {
        self.site.record(self.operation, Some(self.object), what);
    }

    /// The head of an answer about a content, with what is wanted of it besides.
    fn head_of(&self, content: Content, control: &str, labels: bool, etag: bool) -> Response<()> {
        let mut response = Response::builder()
            .header("cache-control", control)
            .header(CONTENT, content.id)
            .header(EXCHANGE, self.exchange);
        if etag && let Some(etag) = content.etag(content.variant(self.colour())) {
            response = response.header("etag", etag);
        }
        if content.varies() {
            response = response.header("vary", COLOUR);
        }
        for label in content.labels().filter(|_| labels) {
            response = match label.checked_sub(TAGS.len()) {
                None if content.id.is_multiple_of(2) => response.header("cache-tag", TAGS[label]),
                None => response.header("surrogate-key", TAGS[label]),
                Some(group) => response.header("cache-groups", format!("\"{}\"", GROUPS[group])),
            };
        }
        response.body(()).expect("well-formed fields")
    }

    fn with_body(&self, mut response: Response<()>, body: &[u8], chances: &mut Random) -> Response<Frames> {
        let body = frames(body, chances);
        let headers = response.headers_mut();
        headers.insert(FETCHED, self.exchange.into());
        if let Some(length) = body.size_hint().exact() {
            headers.insert("content-length", length.into());
        }
        response.map(|()| body)
    }
}

/// An answer that says nothing about any content.
fn plain(status: StatusCode) -> Response<Frames> {
    let frames = Frames::new(b"nothing of the kind", std::iter::repeat(Duration::ZERO), 1);
    let mut response = Response::new(frames);
    *response.status_mut() = status;
    response
}

/// A body as this origin sends it.
fn frames(body: &[u8], chances: &mut Random) -> Frames {
    let pieces = 1 + chances.below(4);
    let slow = chances.percent(40);
    let mut times = chances.clone();
    let times = std::iter::from_fn(move || slow.then(|| times.while_()));
    let frames = Frames::new(body, times, pieces);
    let whole = chances.below(pieces);
    match chances.below(100) {
        0..4 => frames.cut_after(whole),
        4..8 => frames.broken_after(whole),
        8..25 => frames.of_unknown_length(),
        25..28 => frames.broken_after(whole).of_unknown_length(),
        _ => frames,
    }
}
