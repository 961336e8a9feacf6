//! [`CacheLayer`]: the edge as a Tower layer.

use tower::Layer;

use crate::edge::Edge;
use crate::error::ConfigError;
use crate::policy::CachePolicy;
use crate::service::Cache;

/// Puts an edge in front of any origin service. Made by [`Edge::layer`].
///
/// Services made by clones of one layer share its edge. Inside a router that strips a prefix from paths (axum's `nest`),
/// give each nested service an edge of its own, or put the layer around the outermost router: two services that see the
/// same path would otherwise share objects.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    edge: Edge,
}

impl CacheLayer {
    /// A layer with an edge of its own, under `policy`.
    ///
    /// # Errors
    /// If the policy cannot work.
    pub fn new(policy: CachePolicy) -> Result<Self, ConfigError> {
        Ok(Self { edge: Edge::builder().policy(policy).build()? })
    }

    pub(crate) fn from_edge(edge: Edge) -> Self {
        Self { edge }
    }

    /// The edge this layer puts in front.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, origin: S) -> Cache<S> {
        Cache::new(self.edge.clone(), origin)
    }
}
