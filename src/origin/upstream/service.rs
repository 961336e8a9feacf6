//! [`Upstream`]: one exchange with the origin, from the viewer's request to an answer for the viewer.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Service};

use super::body::{Body, Count, Outgoing};
use super::builder::Builder;
use super::error::{Error, ErrorKind};
use super::expect::{Leave, Refused, is_expected};
use super::head::{Head, Rules};
use super::pool::{Connection, Connections, Link, Needs};
use super::settings::Timeouts;
use super::tunnel;
use crate::origin::Viewer;

/// A service that asks one HTTP site. Cheap to clone; clones share their connections. See the [module](super).
#[derive(Clone)]
pub struct Upstream(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) rules: Rules,
    /// Whether a connection can be switched to another protocol.
    pub(super) upgrades: bool,
    pub(super) timeouts: Timeouts,
    pub(super) connections: Arc<Connections>,
}

/// An exchange's hold on its connection.
pub(super) struct Lease {
    link: Link,
    permit: OwnedSemaphorePermit,
    connections: Arc<Connections>,
    /// The origin has answered without the body.
    refused: Option<Refused>,
}

impl Upstream {
    /// Starts the configuration of an upstream: `origin` is the scheme, the host and, if need be, the port of a site.
    pub fn builder(origin: impl Into<String>) -> Builder {
        Builder::new(origin.into())
    }

    /// Refuses a request that this upstream has sent before, as it does when it is called. A server asks before its cache:
    /// there the request would wait for the answer to itself.
    ///
    /// # Errors
    /// [`ErrorKind::Loop`], of such a request.
    pub fn refuse_loop(&self, headers: &HeaderMap) -> Result<(), Error> {
        self.0.rules.refuse_loop(headers)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("origin", &self.0.rules.origin).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Who has to wait for a connection waits in the future, with a bound.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let upstream = Arc::clone(&self.0);
        Box::pin(upstream.exchange(request.map(Outgoing::new)))
    }
}

impl Shared {
    async fn exchange(self: Arc<Self>, mut request: Request<Outgoing>) -> Result<Response<Body>, Error> {
        let viewer = request.extensions().get::<Viewer>().cloned();
        let upgrade = if self.upgrades { tunnel::wanted(&mut request) } else { None };
        let leave = expect(&mut request);
        let asked = request.version();
        let (parts, body) = request.into_parts();
        let head = self.rules.prepare(parts, upgrade.as_ref().map(|upgrade| upgrade.protocol.clone()))?;

        let permit = self.connections.admit().await?;
        let needs = Needs { http_1: upgrade.is_some(), after: None };
        let (mut response, link) = self.ask(head, body, needs).await?;

        let received = response.version();
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = upgrade.ok_or(ErrorKind::UnaskedUpgrade)?;
            upgrade.join(&mut response, self.timeouts.tunnel, (viewer, permit));
            self.rules.sign(response.headers_mut(), received);
            return Ok(response.map(|body| Body::new(body, self.timeouts.between_bytes, None)));
        }
        self.rules.prepare_response(&mut response, received);
        let refused = leave.and_then(Leave::refuse);
        if refused.is_some() && asked == Version::HTTP_11 {
            // RFC 9112 §9.6: the viewer may send its body all the same, and nobody would read it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let lease = Lease { link, permit, connections: Arc::clone(&self.connections), refused };
        let silence = self.timeouts.silence(response.headers());
        Ok(response.map(|body| Body::new(body, silence, Some(lease))))
    }

    /// Sends a request, and once more if that does no harm: the connection had been used before, was closed in the
    /// meantime, and either the request was not processed, or it may be processed twice (RFC 9110 §9.2.2).
    async fn ask(
        &self,
        head: Head,
        body: Outgoing,
        needs: Needs,
    ) -> Result<(Response<Incoming>, Link), Error> {
        let mut link = self.connections.take(needs).await?;
        if !link.used {
            return match self.send(&mut link, head, body).await? {
                Ok(response) => Ok((response, link)),
                Err(failure) => Err(Error::with(ErrorKind::Exchange, failure.into_error())),
            };
        }
        let (is_idempotent, is_empty) = (head.is_idempotent(), body.is_empty());
        let mut failure = match self.send(&mut link, head.clone(), body).await? {
            Ok(response) => return Ok((response, link)),
            Err(failure) => failure,
        };
        let body = match failure.take_message() {
            Some(unsent) => unsent.into_body(),
            None if is_empty && may_repeat(failure.error(), is_idempotent) => Outgoing::default(),
            None => return Err(Error::with(ErrorKind::Exchange, failure.into_error())),
        };
        // All connections from before may have died together, as when the origin is restarted.
        let needs = Needs { after: Some(Instant::now()), ..needs };
        let mut link = self.connections.take(needs).await?;
        match self.send(&mut link, head, body).await? {
            Ok(response) => Ok((response, link)),
            Err(failure) => Err(Error::with(ErrorKind::Exchange, failure.into_error())),
        }
    }

    /// Sends a request over a connection, and waits for the head of the answer.
    async fn send(
        &self,
        link: &mut Link,
        head: Head,
        mut body: Outgoing,
    ) -> Result<Result<Response<Incoming>, TrySendError<Request<Outgoing>>>, Error> {
        let sent = body.count();
        let limit = self.timeouts.first_byte;
        match &mut link.connection {
            Connection::Http1(connection) => {
                let request = Request::from_parts(head.over_http_1(), body);
                first_byte(connection.sender.try_send_request(request), limit, &sent).await
            }
            Connection::Http2(connection) => {
                let mut parts = head.over_http_2()?;
                // hyper's client drops interim answers of HTTP/2, so there would be nothing to wait for.
                parts.headers.remove(EXPECT);
                body.wait_no_more();
                let request = Request::from_parts(parts, body);
                let mut sender = connection.sender.clone();
                let response = first_byte(sender.try_send_request(request), limit, &sent).await;
                if response.is_err() {
                    // It may be the connection that is stuck, and nobody else should wait for that.
                    self.connections.retire(connection);
                }
                response
            }
        }
    }
}

impl Lease {
    /// The exchange has ended well, and its connection may have another.
    pub(super) fn end(self) {
        match self.link.connection {
            Connection::Http1(_) if self.refused.is_some() => {}
            Connection::Http1(connection) => self.connections.give_back(connection, self.permit),
            Connection::Http2(_) => {}
        }
    }
}

/// Has the body of a request that says so wait until the origin wants it. hyper tells of interim answers by one callback, so
/// one that was there is not called.
fn expect(request: &mut Request<Outgoing>) -> Option<Arc<Leave>> {
    if request.body().is_empty() || !is_expected(request.headers()) {
        return None;
    }
    let leave = Arc::<Leave>::default();
    request.body_mut().wait_for(&leave);
    let granted = Arc::clone(&leave);
    hyper::ext::on_informational(request, move |answer| {
        if answer.status() == StatusCode::CONTINUE {
            granted.grant();
        }
    });
    Some(leave)
}

/// Whether a request that failed like this may be sent again.
fn may_repeat(error: &hyper::Error, is_idempotent: bool) -> bool {
    // The connection ended before an answer came, rather than that a bad one came.
    let mut died = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let mut cause = error.source();
    while let Some(error) = cause {
        died |= error.is::<io::Error>();
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            died |= error.is_io();
            // RFC 9113 §8.7: the origin says that it has not processed the request.
            let refused = error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
            if refused && error.is_remote() {
                return true;
            }
        }
        cause = error.source();
    }
    died && is_idempotent
}

/// Waits for the head of the answer. The time runs anew while the request's own body still moves.
async fn first_byte<F: Future>(response: F, limit: Duration, sent: &Count) -> Result<F::Output, Error> {
    let mut response = pin!(response);
    let mut before = sent.get();
    loop {
        match timeout(limit, response.as_mut()).await {
            Ok(answer) => return Ok(answer),
            Err(_) if sent.get() != before => before = sent.get(),
            Err(_) => return Err(ErrorKind::FirstByteTime.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_stays_silent_is_given_up_in_time() {
        let start = Instant::now();
        let error = first_byte(pending::<()>(), LIMIT, &Count::default()).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_take_longer_while_it_moves() {
        let start = Instant::now();
        let sent = Count::default();
        let upload = async {
            for _ in 0..10 {
                sleep(LIMIT / 2).await;
                sent.add();
            }
            pending::<()>().await
        };
        first_byte(upload, LIMIT, &sent).await.unwrap_err();
        assert!(start.elapsed() > LIMIT * 5);
        assert!(start.elapsed() <= LIMIT * 7);
    }
}
