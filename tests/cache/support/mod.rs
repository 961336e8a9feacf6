//! A scripted origin, a clock that stands still, and a viewer who writes down what came.

pub(crate) mod services;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, Service};
use tower_edge::{Cache, CachePolicy, Edge, EdgeBuilder, ManualClock, Outcome, ResponseFuture};

pub(crate) type RequestBody = Full<Bytes>;
pub(crate) type OriginBody = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type OriginResult = Result<Response<OriginBody>, OriginDown>;
type Script = dyn Fn(Seen) -> BoxFuture<'static, OriginResult> + Send + Sync;

/// The origin did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginDown;

impl std::fmt::Display for OriginDown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin is down")
    }
}

impl std::error::Error for OriginDown {}

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The how-manieth request this is, from 0.
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: http::Extensions,
}

/// An origin that does what its script says and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Origin {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    pub(crate) fn new<F>(script: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = OriginResult> + Send + 'static,
    {
        Self { script: Arc::new(move |seen| Box::pin(script(seen))), seen: Arc::default() }
    }

    /// Answers every request with the same `headers` and a body that says which request it was.
    pub(crate) fn numbered(headers: &'static [(&'static str, &'static str)]) -> Self {
        Self::new(move |seen| async move { Ok(response(200, headers, format!("answer {}", seen.number))) })
    }

    /// What the origin was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<OriginBody>;
    type Error = OriginDown;
    type Future = BoxFuture<'static, OriginResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginDown>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        let mut all = self.seen.lock().unwrap();
        let seen = Seen {
            number: all.len(),
            method: parts.method,
            uri: parts.uri.to_string(),
            headers: parts.headers,
            extensions: parts.extensions,
        };
        all.push(seen.clone());
        drop(all);
        (self.script)(seen)
    }
}

/// A response whose body is at hand, with its `Content-Length`.
pub(crate) fn response(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<OriginBody> {
    let body = body.into();
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    if status != 304 {
        response = response.header("content-length", body.len());
    }
    response.body(Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()).unwrap()
}

/// A response whose body is `body`.
pub(crate) fn streamed(
    headers: &[(&str, &str)],
    body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static,
) -> Response<OriginBody> {
    let mut response = Response::builder().status(200);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.boxed_unsync()).unwrap()
}

/// A body that the test feeds frame by frame.
pub(crate) fn feed() -> (Feed, FedBody) {
    let shared = Arc::new(Mutex::new(FeedState::default()));
    (Feed(Arc::clone(&shared)), FedBody(shared))
}

#[derive(Default)]
struct FeedState {
    frames: VecDeque<Result<Bytes, BoxError>>,
    ended: bool,
    dropped: bool,
    waker: Option<std::task::Waker>,
}

pub(crate) struct Feed(Arc<Mutex<FeedState>>);
pub(crate) struct FedBody(Arc<Mutex<FeedState>>);

impl Feed {
    pub(crate) fn send(&self, bytes: impl Into<Bytes>) {
        self.change(|state| state.frames.push_back(Ok(bytes.into())));
    }

    pub(crate) fn fail(&self, error: &str) {
        let error = error.to_owned();
        self.change(|state| state.frames.push_back(Err(error.into())));
    }

    pub(crate) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Whether the edge has let go of the body.
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.lock().unwrap().dropped
    }

    /// Frames that nobody has read yet.
    pub(crate) fn unread(&self) -> usize {
        self.0.lock().unwrap().frames.len()
    }

    fn change(&self, change: impl FnOnce(&mut FeedState)) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Body for FedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.0.lock().unwrap();
        match state.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame.map(Frame::data))),
            None if state.ended => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for FedBody {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped = true;
    }
}

/// An edge on a clock that stands still, in front of a scripted origin.
pub(crate) struct World {
    pub(crate) edge: Edge,
    pub(crate) clock: ManualClock,
    pub(crate) origin: Origin,
    pub(crate) cache: Cache<Origin>,
}

impl World {
    pub(crate) fn new(origin: Origin) -> Self {
        Self::with(origin, |edge| edge)
    }

    pub(crate) fn with_policy(origin: Origin, policy: CachePolicy) -> Self {
        Self::with(origin, |edge| edge.policy(policy))
    }

    pub(crate) fn with(origin: Origin, configure: impl FnOnce(EdgeBuilder) -> EdgeBuilder) -> Self {
        let clock = ManualClock::new(start());
        let builder = Edge::builder().outcomes(true).name("test").capacity(64 << 20).clock(clock.clone());
        let edge = configure(builder).build().unwrap();
        let cache = edge.layer().layer(origin.clone());
        Self { edge, clock, origin, cache }
    }

    pub(crate) fn send(&self, request: Request<RequestBody>) -> ResponseFuture<OriginBody, OriginDown> {
        self.cache.clone().call(request)
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&self, request: Request<RequestBody>) -> Reply {
        read(self.send(request).await.expect("the origin answers")).await.expect("the body is whole")
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(get(path)).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask(request("GET", path, headers)).await
    }

    /// Lets this much time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(crate) fn pass_seconds(&self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }
}

/// The moment at which every test begins: Thu, 01 Jan 2026 00:00:00 GMT.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

pub(crate) fn get(path: &str) -> Request<RequestBody> {
    request("GET", path, &[])
}

/// A request for `http://site.example` and `path`, in HTTP/1.1's origin form.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<RequestBody> {
    let mut request = Request::builder().method(method).uri(path).header("host", "site.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// What the viewer saw.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) outcome: Option<Outcome>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.expect("every answer has an outcome")
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.outcome().is_hit()
    }
}

/// Reads a response to its end.
pub(crate) async fn read<B: Body<Data = Bytes>>(response: Response<B>) -> Result<Reply, B::Error> {
    let (parts, body) = response.into_parts();
    let outcome = parts.extensions.get::<Outcome>().copied();
    let body = body.collect().await?.to_bytes();
    Ok(Reply { status: parts.status, headers: parts.headers, body, outcome })
}

/// Lets every task that can run do so.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
