//! A bare hyper server: what every cache is compared with, and the origin behind it.
//!
//! `site ADDRESS` answers `/BYTES/ANYTHING` with so many bytes and ten fields, and `/count` with how many of those it has
//! answered. With `--as-a-hit` it adds the fields that the edge server adds to a hit, so that both send the same bytes. Its
//! settings are those of `examples/edge-server/src/serve.rs`; what is up to a MiB is sent as one piece, what is longer in pieces of 64 KiB.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mimalloc::MiMalloc;
use tokio::net::TcpListener;

/// The edge server's, so that the two differ by the cache alone.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const READY: [usize; 4] = [1024, 4096, 64 * 1024, 1024 * 1024];
const PIECE: usize = 64 * 1024;

struct Site {
    ready: HashMap<usize, (HeaderMap, Bytes)>,
    as_a_hit: bool,
    answered: AtomicU64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut address: SocketAddr = "127.0.0.1:0".parse()?;
    let mut as_a_hit = false;
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--as-a-hit" => as_a_hit = true,
            other => address = other.parse().map_err(|error| format!("{other}: {error}"))?,
        }
    }
    let ready = READY.map(|length| (length, (head(length, as_a_hit), Bytes::from(vec![b'x'; length]))));
    let site = Arc::new(Site { ready: HashMap::from(ready), as_a_hit, answered: AtomicU64::new(0) });

    let listener = TcpListener::bind(address).await?;
    println!("site http://{}", listener.local_addr()?);
    let server = server();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let (site, server) = (Arc::clone(&site), server.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = site.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A connection that ends early is its client's business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// As in `examples/edge-server/src/serve.rs`.
fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(64 * 1024);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    server
}

impl Site {
    fn answer(&self, request: &Request<Incoming>) -> Response<Pieces> {
        let path = request.uri().path();
        if path == "/count" {
            return Response::new(Pieces::from(self.answered.load(Ordering::Relaxed).to_string()));
        }
        let length = path.strip_prefix('/').and_then(|path| path.split('/').next()?.parse().ok());
        let Some(length) = length else {
            let mut response = Response::new(Pieces::from("The path is /BYTES/ANYTHING.\n".to_owned()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        self.answered.fetch_add(1, Ordering::Relaxed);
        let (head, body) = match self.ready.get(&length) {
            Some((head, bytes)) => (head.clone(), Pieces { piece: bytes.clone(), left: length }),
            None => {
                let piece = Bytes::from_static(&[b'x'; PIECE]);
                (head(length, self.as_a_hit), Pieces { piece, left: length })
            }
        };
        let mut response = Response::new(body);
        *response.headers_mut() = head;
        response
    }
}

/// Ten fields, and those of a hit.
fn head(length: usize, as_a_hit: bool) -> HeaderMap {
    let (length, date) = (length.to_string(), httpdate::fmt_http_date(SystemTime::now()));
    let mut lines = vec![
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", &length),
        ("content-language", "en"),
        ("date", &date),
        ("last-modified", "Mon, 06 Nov 2023 07:00:00 GMT"),
        ("etag", "\"65488a00-10000\""),
        ("cache-control", "public, max-age=86400"),
        ("vary", "accept-encoding"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ];
    if as_a_hit {
        lines.extend([
            ("via", "1.1 tower-edge"),
            ("age", "2"),
            ("cache-status", "tower-edge; hit; ttl=86398"),
        ]);
    }
    let line = |(name, value): (&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("visible characters"))
    };
    lines.into_iter().map(line).collect()
}

/// So many bytes, in pieces that lie ready.
struct Pieces {
    piece: Bytes,
    left: usize,
}

impl From<String> for Pieces {
    fn from(text: String) -> Self {
        Self { left: text.len(), piece: text.into() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(self.piece.len());
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
