//! [`Viewer`]: who asked.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who sent a request: an extension that a server puts into each, and that travels past the cache to the origin.
#[derive(Clone)]
pub struct Viewer {
    /// The other end of the viewer's connection.
    pub address: SocketAddr,
    keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl Viewer {
    /// A viewer at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, keep: None }
    }

    /// Keeps `value` for as long as anything is left of the viewer's connection, such as a tunnel: a server's count of
    /// connections, for one.
    #[must_use]
    pub fn keep(self, value: Arc<dyn Any + Send + Sync>) -> Self {
        Self { keep: Some(value), ..self }
    }

    pub(crate) fn into_kept(self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.keep
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("address", &self.address).finish_non_exhaustive()
    }
}
