//! A child's side: [`Announce`].

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request};
use tower::Service;

use super::{AsNewAs, POSITION, TOKEN, Token};
use crate::distribution::bus::Follower;

/// The way from an edge to its parent over HTTP: tells it how new its answers have to be.
///
/// Around a service that asks the parent, behind the edge:
///
/// ```
/// use std::sync::Arc;
/// use tower_edge::distribution::bus::{Follower, FollowerSettings, Local};
/// use tower_edge::distribution::{Announce, Token};
/// use tower_edge::{CacheLayer, Edge};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = tower::service_fn(async |_: ()| Ok::<_, ()>(()));
/// let edge = Edge::builder().name("fra-1").build()?;
/// let follower = Arc::new(Follower::start(&edge, Arc::new(Local::new()), FollowerSettings::default())?);
/// let secret = Token::new("correct horse battery staple".replace(' ', "-").as_str())?;
/// let site = edge.layer().layer(Announce::new(client, follower, secret));
/// # let _ = site;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Announce<S> {
    parent: S,
    follower: Arc<Follower>,
    token: Token,
}

impl<S> Announce<S> {
    /// Asks `parent` on behalf of the edge that `follower` keeps in step with the log.
    pub fn new(parent: S, follower: Arc<Follower>, token: Token) -> Self {
        Self { parent, follower, token }
    }
}

impl<S, B> Service<Request<B>> for Announce<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.parent.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        // For the child's sake alone, if it is its request that is passed on; the answer is not stored here.
        let passed_on = request.extensions_mut().remove::<AsNewAs>().map(|AsNewAs(position)| position);
        // Asked after the fill was registered: whatever its stamp covers is told.
        let position = passed_on.or_else(|| self.follower.as_new_as(request.uri(), request.headers()));
        let headers = request.headers_mut();
        super::strip(headers);
        if let Some(position) = position {
            let text = HeaderValue::try_from(position.to_string()).expect("a position is visible ASCII");
            headers.insert(POSITION, text);
            headers.insert(TOKEN, self.token.value().clone());
        }
        self.parent.call(request)
    }
}

impl<S> fmt::Debug for Announce<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announce").field("follower", &self.follower).finish_non_exhaustive()
    }
}
