//! Who is measured, and how each is set up: as its documentation shows, in memory, and large enough.
//!
//! Not here: `hitbox-tower`, whose cache policy is code that its user writes, so that there is no default to measure.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use http_cache::MokaManager;
use http_cache_tower_server::{QueryKeyer, ServerCacheLayer};
use tower::Layer;
use tower::util::MapResponse;
use tower_edge::Edge;

use crate::peer::Peer;
use crate::pingora::Pingora;
use crate::site::BoxError;

const DAY: Duration = Duration::from_secs(86_400);

/// The service by itself, then this crate, then the others.
///
/// # Errors
///
/// What does not accept its configuration.
pub(crate) fn all(length: usize) -> Result<Vec<Peer>, BoxError> {
    let edge = Edge::builder().build()?;
    Ok(vec![
        Peer::bare("the service by itself", length),
        Peer::new("tower-edge", length, |site| edge.layer().layer(site)),
        // A map and a lock, "for testing only"; but the crate has no other storage.
        Peer::new("pingora-cache 0.9 (MemCache)", length, Pingora::new),
        // The key is the path; Vary is not looked at.
        Peer::new("tower-http-cache 0.6 (moka)", length, |site| {
            tower_http_cache::layer::CacheLayer::builder(
                tower_http_cache::backend::memory::InMemoryBackend::new(1000),
            )
            .ttl(DAY)
            .build()
            .layer(site)
        }),
        // The key is method and URI; Cache-Control and Vary are not looked at. It calls its service before it looks, so that
        // this costs it what the service by itself does.
        Peer::new("axum-response-cache 0.5", length, |site| {
            let site = MapResponse::new(site, |response: Response<Full<Bytes>>| response.map(Body::new));
            axum_response_cache::CacheLayer::with_lifespan(DAY).layer(site)
        }),
        Peer::new("http-cache-tower 1.0-alpha.9 (moka)", length, |site| {
            http_cache_tower::HttpCacheLayer::new(MokaManager::default()).layer(site)
        }),
        // By default its key lacks the query.
        Peer::new("http-cache-tower-server 0.2 (moka)", length, |site| {
            ServerCacheLayer::with_keyer(MokaManager::default(), QueryKeyer).layer(site)
        }),
    ])
}
