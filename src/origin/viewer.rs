//! [`Viewer`]: who asked.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who sent a request, and how: an extension that a server puts into each request, and that travels past the cache to
/// the origin. `Upstream` tells the origin by `Forwarded` and `X-Forwarded-*`.
///
/// The address is no part of any cache key. The scheme is, and the key takes it from the URI, or else from
/// [`EdgeBuilder::https`](crate::EdgeBuilder::https): a server that speaks both puts it into the URI.
///
/// ```
/// use std::sync::Arc;
/// use http::Request;
/// use tower_edge::origin::Viewer;
///
/// let connection = Arc::new("counted while this lives");
/// let mut request = Request::get("https://example.com/").body(())?;
/// let viewer = Viewer::new("192.0.2.7:4711".parse()?).https(true).keep(connection.clone());
/// request.extensions_mut().insert(viewer);
/// assert_eq!(Arc::strong_count(&connection), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Viewer {
    address: SocketAddr,
    https: bool,
    /// Held for its drop.
    kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl Viewer {
    /// A viewer at `address`, who came without TLS.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, https: false, kept: None }
    }

    /// Whether the viewer came by TLS.
    #[must_use]
    pub fn https(self, https: bool) -> Self {
        Self { https, ..self }
    }

    /// The same connection, but of somebody at `address`: who stands between says so, and is believed.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Keeps `value` for as long as anything is left of the viewer's connection, such as a tunnel, which outlives both
    /// its request and the answer. What a server counts its connections by goes here.
    #[must_use]
    pub fn keep(self, value: Arc<dyn Any + Send + Sync>) -> Self {
        Self { kept: Some(value), ..self }
    }

    /// Keeps nothing any more.
    pub(crate) fn let_go(&mut self) {
        self.kept = None;
    }

    /// The other end of the viewer's connection.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the viewer came by TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("address", &self.address)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}
