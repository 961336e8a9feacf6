//! The origin: one HTTP/1.1 site behind a pool of connections.
//!
//! [`Upstream`] sends a request once. `head` says what of a message's head travels on, `body` bounds the time
//! between bytes, `tunnel` joins two upgraded connections, and [`OriginError`] is what can go wrong.

mod body;
mod error;
mod head;
mod tunnel;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::{Body, Incoming};
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use self::body::{Count, Counted};
pub use self::body::{Paced, PacedError};
pub use self::error::OriginError;
use self::head::Rules;
use crate::origin::Viewer;

const CONNECT_TIME: Duration = Duration::from_millis(3500);
const FIRST_BYTE_TIME: Duration = Duration::from_secs(30);
const BETWEEN_BYTES_TIME: Duration = Duration::from_secs(15);
/// Less than the 5 s after which common servers close an idle connection, so that a request is not sent into
/// a connection that is just being closed.
const IDLE_TIME: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS: usize = 256;
const HEAD_BYTES: usize = 64 * 1024;

/// A service that asks the origin.
pub struct Upstream<B> {
    client: Client<HttpConnector, Counted<B>>,
    rules: Arc<Rules>,
}

impl<B> Upstream<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// In front of `origin`, by the name of `edge` in `Via`.
    pub fn new(origin: Authority, edge: String, rewrite_host: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME));
        connector.set_nodelay(true);
        // A request that is sent again here never left its queue: hyper hands it back only unread.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(HEAD_BYTES)
            .build(connector);
        Self { client, rules: Arc::new(Rules { origin, edge, rewrite_host }) }
    }
}

impl<B> Clone for Upstream<B> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<B> Service<Request<B>> for Upstream<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Paced<Incoming>>;
    type Error = OriginError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The pool opens as many connections as there are requests.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(exchange(self.client.clone(), Arc::clone(&self.rules), request))
    }
}

async fn exchange<B>(
    client: Client<HttpConnector, Counted<B>>,
    rules: Arc<Rules>,
    mut request: Request<B>,
) -> Result<Response<Paced<Incoming>>, OriginError>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let viewer = request.extensions().get::<Viewer>().cloned();
    let upgrade = tunnel::wanted(&mut request);
    rules.prepare_request(&mut request, viewer.as_ref(), upgrade.as_ref())?;

    let sent = Count::default();
    let request = request.map(|body| Counted::new(body, sent.clone()));
    let mut response = first_byte(client.request(request), &sent).await?;

    let received = response.version();
    *response.version_mut() = Version::HTTP_11;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(upgrade) = upgrade else {
            return Err(OriginError::Unasked101);
        };
        upgrade.join(&mut response, viewer);
        rules.sign(response.headers_mut(), received);
    } else {
        rules.prepare_response(&mut response, received);
    }
    Ok(response.map(|body| Paced::new(body, BETWEEN_BYTES_TIME)))
}

/// Waits for the head of the answer. The time runs anew while the request's own body still moves.
async fn first_byte<F>(response: F, sent: &Count) -> Result<Response<Incoming>, OriginError>
where
    F: Future<Output = Result<Response<Incoming>, hyper_util::client::legacy::Error>>,
{
    let mut response = std::pin::pin!(response);
    let mut before = sent.get();
    loop {
        match tokio::time::timeout(FIRST_BYTE_TIME, response.as_mut()).await {
            Ok(answer) => return answer.map_err(OriginError::from),
            Err(_) if sent.get() != before => before = sent.get(),
            Err(_) => return Err(OriginError::FirstByteTime),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_stays_silent_is_given_up_in_time() {
        let start = Instant::now();
        let error = first_byte(pending(), &Count::default()).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(start.elapsed(), FIRST_BYTE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_take_longer_while_it_moves() {
        let start = Instant::now();
        let sent = Count::default();
        let upload = async {
            for _ in 0..10 {
                sleep(FIRST_BYTE_TIME / 2).await;
                sent.add();
            }
            pending().await
        };
        first_byte(upload, &sent).await.unwrap_err();
        assert!(start.elapsed() > FIRST_BYTE_TIME * 5);
        assert!(start.elapsed() <= FIRST_BYTE_TIME * 7);
    }
}
