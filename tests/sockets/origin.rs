//! An origin on a socket of its own, the way there, and what is true of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::{BoxError, Service};

use crate::chance::Chance;

pub(crate) const PATHS: usize = 6;

/// What each path has, and what every reader must see at least.
#[derive(Default)]
pub(crate) struct Truth {
    /// Exchanges that have begun. An answer names the one that brought or last confirmed it.
    exchanges: AtomicU64,
    contents: AtomicU64,
    paths: [Path; PATHS],
}

#[derive(Default)]
pub(crate) struct Path {
    /// Its content and how many it has had: the place of that content.
    current: Mutex<(u64, u64)>,
    /// What began earlier, or had another content, is not seen any more.
    pub(crate) exchange: AtomicU64,
    pub(crate) place: AtomicU64,
    /// What began earlier is no fresh hit any more.
    pub(crate) soft: AtomicU64,
}

impl Truth {
    /// The exchanges that have begun by now are below this.
    pub(crate) fn next_exchange(&self) -> u64 {
        self.exchanges.load(Ordering::SeqCst) + 1
    }

    /// A content that nobody has had.
    pub(crate) fn new_content(&self) -> u64 {
        self.contents.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The path has this content from now on. Its place.
    pub(crate) fn change(&self, path: usize, content: u64) -> u64 {
        let mut current = self.paths[path].current.lock().expect("nobody panicked");
        *current = (content, current.1 + 1);
        current.1
    }

    /// What the path has now, and its place.
    pub(crate) fn current(&self, path: usize) -> (u64, u64) {
        *self.paths[path].current.lock().expect("nobody panicked")
    }

    pub(crate) fn path(&self, path: usize) -> &Path {
        &self.paths[path]
    }
}

/// A content's bytes, other ones for each.
pub(crate) fn body(path: usize, content: u64) -> Vec<u8> {
    let mut body = format!("[path {path} content {content}]").into_bytes();
    let length = 100 + (content * 37 % 20_000) as usize;
    let mut chance = Chance::new(content ^ (path as u64) << 48);
    while body.len() < length {
        body.extend_from_slice(&chance.next().to_le_bytes());
    }
    body.truncate(length);
    body
}

pub(crate) fn path_of(uri: &Uri) -> usize {
    uri.path()[1..].parse().expect("a path of this test")
}

/// Serves the truth on a socket.
pub(crate) async fn serve(truth: Arc<Truth>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let truth = Arc::clone(&truth);
            let service = service_fn(move |request| answer(Arc::clone(&truth), request));
            // A connection that its viewer leaves ends with an error.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn answer(truth: Arc<Truth>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let exchange = truth.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
    let path = path_of(request.uri());
    let mut chance = Chance::new(exchange);
    let wait = |chance: &mut Chance| {
        let micros = if chance.below(4) == 0 { chance.below(4_000) } else { 0 };
        async move {
            if micros > 0 {
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
        }
    };
    wait(&mut chance).await;
    if *request.method() == Method::PUT {
        let content = number(request.headers(), "x-content").expect("a PUT names its content");
        let Ok(uploaded) = request.into_body().collect().await else {
            return Ok(plain(StatusCode::BAD_REQUEST));
        };
        assert_eq!(uploaded.to_bytes(), body(path, content), "a PUT arrives whole");
        let place = truth.change(path, content);
        wait(&mut chance).await;
        return Ok(respond(StatusCode::OK, content, place, exchange, Bytes::new()));
    }
    let (content, place) = truth.current(path);
    // Between what is read and what is answered everything else may happen.
    wait(&mut chance).await;
    if chance.below(50) == 0 {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE));
    }
    let tag = format!("\"{content}\"");
    Ok(match request.headers().get("if-none-match").is_some_and(|value| *value == *tag) {
        true => respond(StatusCode::NOT_MODIFIED, content, place, exchange, Bytes::new()),
        false => respond(StatusCode::OK, content, place, exchange, body(path, content).into()),
    })
}

fn respond(
    status: StatusCode,
    content: u64,
    place: u64,
    exchange: u64,
    body: Bytes,
) -> Response<Full<Bytes>> {
    let control = match content % 4 {
        0 => "max-age=0",
        1 => "max-age=0, stale-while-revalidate=10",
        _ => "max-age=3600",
    };
    Response::builder()
        .status(status)
        .header("cache-control", control)
        .header("cache-tag", format!("t{}", content % 3))
        .header("etag", format!("\"{content}\""))
        .header("x-content", content)
        .header("x-place", place)
        .header("x-exchange", exchange)
        .body(Full::new(body))
        .expect("well-formed fields")
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The way to the origin: a client with a pool of connections.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, UnsyncBoxBody<Bytes, BoxError>>,
    origin: SocketAddr,
}

impl Upstream {
    pub(crate) fn to(origin: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), origin }
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let target = format!("http://{}{}", self.origin, head.uri.path());
        head.uri = target.parse().expect("a URL");
        let request = Request::from_parts(head, body.map_err(Into::into).boxed_unsync());
        let answer = self.client.request(request);
        Box::pin(async move { Ok(answer.await?) })
    }
}
