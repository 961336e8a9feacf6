//! What everyone answers with, what everyone is asked, and what asks.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service whose answer lies ready: ten fields and a shared body. It counts how often it answers.
#[derive(Clone)]
pub(crate) struct Site {
    headers: HeaderMap,
    body: Bytes,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Site {
    pub(crate) fn new(length: usize) -> Self {
        let headers = fields(&[
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", &length.to_string()),
            ("content-language", "en"),
            ("date", &httpdate::fmt_http_date(SystemTime::now())),
            ("last-modified", "Mon, 06 Nov 2023 07:00:00 GMT"),
            ("etag", "\"65488a00-10000\""),
            ("cache-control", "public, max-age=86400"),
            ("vary", "accept-encoding"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
        ]);
        Self { headers, body: Bytes::from(vec![b'x'; length]), calls: Arc::default() }
    }
}

impl<B> Service<Request<B>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        Answer { response: Some(response), calls: Arc::clone(&self.calls) }
    }
}

/// Counts when it is waited for: axum-response-cache calls its service before it looks, and then drops what it got.
pub(crate) struct Answer {
    response: Option<Response<Full<Bytes>>>,
    calls: Arc<AtomicUsize>,
}

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(self.response.take().expect("a future is not polled after its end")))
    }
}

/// What a browser asks. The target is absolute, since clients' middleware needs that.
pub(crate) fn request() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() =
        "http://www.example.com/articles/2023/11/a-page.html?edition=2".parse().expect("a target");
    *request.headers_mut() = fields(&[
        ("host", "www.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("referer", "http://www.example.com/articles/"),
        ("cookie", "consent=1"),
        ("sec-fetch-mode", "navigate"),
    ]);
    request
}

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |&(name, value): &(&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    lines.iter().map(|pair| line(pair).expect("a well-formed field")).collect()
}

/// Asks and reads the answer to its end. Returns the bytes read and the number of fields.
///
/// # Errors
///
/// Whatever the service or the body ends with.
pub(crate) async fn exchange<S, B>(
    service: &mut S,
    request: Request<Body>,
) -> Result<(usize, usize), BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = service.ready().await.map_err(Into::into)?.call(request).await.map_err(Into::into)?;
    let (parts, body) = response.into_parts();
    if parts.status != http::StatusCode::OK {
        return Err(format!("the answer is {}", parts.status).into());
    }
    let mut body = pin!(body);
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.map_err(Into::into)?.data_ref().map_or(0, Bytes::len);
    }
    Ok((read, parts.headers.len()))
}
